//! What commands change, when it takes effect.

use super::{Activity, EffectModel, File, Machine, Unit, boot_id, kubeadm, node_key};
use crate::commands::{self, Origin};
use crate::controllers::node::set_condition;
use crate::engine::{Ctx, Work};
use crate::kinds;
use crate::lifecycle::change::changed;
use crate::lifecycle::words::{NO_TABLE, Words};
use crate::status::Status;
use crate::store::Key;
use crate::view;
use jiff::Timestamp;

/// One change.
#[derive(Debug, Clone)]
pub(super) enum Effect {
    /// Versions of packages; `None` removes one.
    Packages(Vec<(String, Option<String>)>),
    /// Whether packages are held.
    Hold(Vec<String>, bool),
    /// Until when somebody else holds the lock of the package tool.
    Lock(Timestamp),
    /// A file; `None` removes it.
    File(String, Option<File>),
    /// A unit; `again`: it starts anew even when it runs.
    Unit { name: String, unit: Unit, again: bool },
    /// The machine goes down.
    Reboot,
    /// The machine is there again.
    Up,
    /// The kubelet has found everything it needs.
    KubeletReady,
    /// A static pod has a new image with this tag.
    StaticPod(Key, String),
    /// The ConfigMaps of kubeadm tell this version.
    ClusterVersion(String),
    /// What kubeadm installs beside the control plane follows it.
    Addons,
    /// What an entry says; and what the `*` of its pattern stand for.
    Modelled(Box<EffectModel>, Vec<String>),
}

/// Lets one change take effect.
pub(super) fn apply(ctx: &mut Ctx<'_>, node: &Key, effect: Effect) -> Result<(), Status> {
    let name = node.name.as_str();
    let Some(machine) = ctx.engine.machines.known.get_mut(name) else { return Ok(()) };
    match effect {
        Effect::Packages(packages) => install(machine, packages),
        Effect::Hold(names, true) => machine.held.extend(names),
        Effect::Hold(names, false) => names.iter().for_each(|name| drop(machine.held.remove(name))),
        Effect::Lock(until) => machine.locked_until = Some(until),
        Effect::File(path, Some(file)) => drop(machine.files.insert(path, file)),
        Effect::File(path, None) => drop(machine.files.remove(&path)),
        Effect::Unit { name, unit, again } => return set_unit(ctx, node, &name, unit, again),
        Effect::Reboot => return reboot(ctx, node),
        Effect::Up => {
            machine.away = None;
            machine.boots += 1;
            machine.boot_id = boot_id(name, machine.boots);
            let kubelet = machine.units.get_mut("kubelet").filter(|unit| unit.enabled);
            if let Some(unit) = kubelet {
                unit.activity = Activity::Active;
                return kubelet_starts(ctx, node);
            }
        }
        Effect::KubeletReady => {
            if ctx.engine.machines.kubelet_runs(name) && ctx.engine.models.kubelet_runs(name) {
                return says(ctx, node, "True", "KubeletReady", "kubelet is posting ready status");
            }
        }
        Effect::StaticPod(key, tag) => {
            let away = machine.times.api_away;
            let alone = kubeadm::is_api_server(ctx.store, &key) && kubeadm::api_servers(ctx.store).count() == 1;
            if alone && !away.is_zero() {
                ctx.engine.machines.no_api_until = Some(view::later(ctx.now(), away));
            }
            return static_pod(ctx, &key, &tag);
        }
        Effect::ClusterVersion(version) => return cluster_version(ctx, &version),
        Effect::Addons => return addons(ctx),
        Effect::Modelled(effect, found) => return modelled(ctx, node, *effect, &found),
    }
    Ok(())
}

fn install(machine: &mut Machine, packages: Vec<(String, Option<String>)>) {
    for (name, version) in packages {
        match version {
            Some(version) => drop(machine.packages.insert(name, version)),
            None => drop(machine.packages.remove(&name)),
        }
    }
}

fn set_unit(ctx: &mut Ctx<'_>, node: &Key, name: &str, unit: Unit, again: bool) -> Result<(), Status> {
    let Some(machine) = ctx.engine.machines.known.get_mut(node.name.as_str()) else { return Ok(()) };
    let before = machine.units.insert(name.to_owned(), unit);
    if name != "kubelet" {
        return Ok(());
    }
    let ran = before.is_some_and(|unit| unit.activity == Activity::Active);
    match (ran, unit.activity == Activity::Active) {
        (false, true) => kubelet_starts(ctx, node),
        (true, true) if again => kubelet_starts(ctx, node),
        (true, false) => {
            look(ctx, node);
            Ok(())
        }
        _ => Ok(()),
    }
}

/// A kubelet starts: it tells its version at once, and is ready a moment later.
fn kubelet_starts(ctx: &mut Ctx<'_>, node: &Key) -> Result<(), Status> {
    let now = ctx.now();
    let Some(machine) = ctx.engine.machines.known.get_mut(node.name.as_str()) else { return Ok(()) };
    let due = view::later(now, machine.times.ready);
    machine.expect(due, Effect::KubeletReady);
    let version = machine.packages.get("kubelet").map(|version| super::packages::kubernetes(version));
    let boot = machine.boot_id.clone();
    ctx.engine.silent_nodes.remove(node.name.as_str());
    if let Some(object) = ctx.get(node) {
        let mut next = (*object).clone();
        if let Some(version) = version {
            view::set(&mut next, &["status", "nodeInfo", "kubeletVersion"], version);
        }
        view::set(&mut next, &["status", "nodeInfo", "bootID"], boot);
        drop(ctx.update(node, next)?);
    }
    let why = "container runtime status check may not have completed yet";
    says(ctx, node, "False", "KubeletNotReady", why)
}

/// What the kubelet tells of its node.
fn says(ctx: &mut Ctx<'_>, node: &Key, status: &str, reason: &str, message: &str) -> Result<(), Status> {
    if let Some(object) = ctx.get(node) {
        let mut next = (*object).clone();
        set_condition(&mut next, "Ready", status, reason, message, &view::stamp(ctx.now()));
        drop(ctx.update(node, next)?);
    }
    look(ctx, node);
    Ok(())
}

/// Everything that depends on whether the kubelet works is looked at.
fn look(ctx: &mut Ctx<'_>, node: &Key) {
    ctx.engine.enqueue(Work::Node(node.clone()));
    for pod in ctx.engine.index.pods_on(&node.name) {
        ctx.engine.enqueue(Work::Kubelet(pod));
    }
}

/// The machine goes down: what runs on it is killed, and what was to happen on it does not.
fn reboot(ctx: &mut Ctx<'_>, node: &Key) -> Result<(), Status> {
    let now = ctx.now();
    let Some(machine) = ctx.engine.machines.known.get_mut(node.name.as_str()) else { return Ok(()) };
    let up = view::later(now, machine.times.boot);
    machine.away = Some(up);
    machine.pending.clear();
    let killed = |job: &super::Job| super::Job { killed: job.killed || job.ends > now, ..job.clone() };
    machine.jobs = machine.jobs.iter().map(|(id, job)| (id.clone(), killed(job))).collect();
    machine.expect(up, Effect::Up);
    look(ctx, node);
    Ok(())
}

/// The kubelet replaces a static pod whose manifest has changed: the old mirror pod goes, a new one comes.
fn static_pod(ctx: &mut Ctx<'_>, key: &Key, tag: &str) -> Result<(), Status> {
    let Some(old) = ctx.get(key) else { return Ok(()) };
    let mut next = (*old).clone();
    for field in ["uid", "resourceVersion", "creationTimestamp", "generation", "managedFields"] {
        view::remove(&mut next, &["metadata", field]);
    }
    view::remove(&mut next, &["status"]);
    kubeadm::retag(view::list_mut(&mut next, &["spec", "containers"]), view::label(&old, "component"), tag);
    let hash = ctx.engine.rng.uuid().replace("-", "");
    for annotation in ["kubernetes.io/config.hash", "kubernetes.io/config.mirror"] {
        view::set(&mut next, &["metadata", "annotations", annotation], hash.as_str());
    }
    ctx.remove(key);
    drop(ctx.create(kinds::POD, next)?);
    Ok(())
}

/// The version of the oldest API server: any of them may answer.
fn oldest_api_server(ctx: &Ctx<'_>) -> Option<String> {
    let versions = kubeadm::api_servers(ctx.store).filter_map(|pod| tag(kubeadm::image_of_component(pod)?));
    versions.min_by_key(|version| {
        let numbers: Vec<u64> = version.trim_start_matches('v').split(['.', '-']).map(|part| part.parse().unwrap_or(0)).collect();
        numbers
    })
}

fn tag(image: &str) -> Option<String> {
    image.split('@').next()?.rsplit_once(':').map(|(_, tag)| tag.to_owned()).filter(|tag| !tag.contains('/'))
}

fn cluster_version(ctx: &mut Ctx<'_>, version: &str) -> Result<(), Status> {
    let key = kubeadm::config_key();
    let Some(config) = ctx.get(&key) else { return Ok(()) };
    let before = kubeadm::cluster_version(ctx.store);
    let line =
        |line: &str| if line.starts_with("kubernetesVersion:") { format!("kubernetesVersion: {version}\n") } else { format!("{line}\n") };
    let text: String = view::text(&config, &["data", "ClusterConfiguration"]).lines().map(line).collect();
    let mut next = (*config).clone();
    view::set(&mut next, &["data", "ClusterConfiguration"], text);
    drop(ctx.update(&key, next)?);
    // Until 1.23 each minor has a ConfigMap of its own for kubelets.
    let name = |version: &str| kubeadm::minor(version).map(|(major, minor)| format!("kubelet-config-{major}.{minor}"));
    let (Some(old), Some(new)) = (before.as_deref().and_then(name), name(version)) else { return Ok(()) };
    let (old, new) = (Key::new(kinds::CONFIG_MAP, "kube-system", &old), Key::new(kinds::CONFIG_MAP, "kube-system", &new));
    if let Some(former) = ctx.get(&old).filter(|_| ctx.get(&new).is_none()) {
        let mut next = (*former).clone();
        for field in ["uid", "resourceVersion", "creationTimestamp", "managedFields"] {
            view::remove(&mut next, &["metadata", field]);
        }
        view::set(&mut next, &["metadata", "name"], new.name.as_str());
        drop(ctx.create(kinds::CONFIG_MAP, next)?);
    }
    Ok(())
}

/// kube-proxy follows the control plane: at once before 1.28, after the last node of the control plane from then on.
fn addons(ctx: &mut Ctx<'_>) -> Result<(), Status> {
    let Some(version) = kubeadm::cluster_version(ctx.store) else { return Ok(()) };
    let waits = kubeadm::minor(&version).is_some_and(|minor| minor >= (1, 28));
    if waits && oldest_api_server(ctx).is_some_and(|oldest| oldest != version) {
        return Ok(());
    }
    let key = Key::new(kinds::DAEMON_SET, "kube-system", "kube-proxy");
    let Some(proxy) = ctx.get(&key) else { return Ok(()) };
    let mut next = (*proxy).clone();
    kubeadm::retag(view::list_mut(&mut next, &["spec", "template", "spec", "containers"]), "kube-proxy", &version);
    changed(key, &proxy, next)?.make(ctx)
}

fn modelled(ctx: &mut Ctx<'_>, node: &Key, effect: EffectModel, found: &[String]) -> Result<(), Status> {
    let EffectModel { packages, available, files, units, objects, reboot: reboots } = effect;
    let subject = ctx.get(node).unwrap_or_default();
    let files: Vec<(String, Option<String>)> = {
        let words = Words { store: ctx.store, subject: &subject, table: &NO_TABLE, found };
        let said = |text: &str| words.text(text).unwrap_or_default();
        files.into_iter().map(|(path, text)| (said(&path), text.map(|text| said(&text)))).collect()
    };
    let Some(machine) = ctx.engine.machines.known.get_mut(node.name.as_str()) else { return Ok(()) };
    install(machine, packages.into_iter().collect());
    machine.available.extend(available);
    for (path, text) in files {
        let mode = machine.files.get(&path).map_or(0o644, |file| file.mode);
        match text {
            Some(text) => drop(machine.files.insert(path, File { text, mode })),
            None => drop(machine.files.remove(&path)),
        }
    }
    for (name, activity) in units {
        let name = super::units::plain(&name).to_owned();
        let known = ctx.engine.machines.known.get(node.name.as_str()).and_then(|machine| machine.units.get(&name).copied());
        let enabled = known.map_or(activity == Activity::Active, |unit| unit.enabled);
        set_unit(ctx, node, &name, Unit { activity, enabled }, false)?;
    }
    commands::carry_out(ctx, &objects, &Origin { subject: &subject, found, given: &[] })?;
    if reboots { reboot(ctx, &node_key(&node.name)) } else { Ok(()) }
}
