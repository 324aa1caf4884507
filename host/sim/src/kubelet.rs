//! The kubelets: what happens to a pod on its node, in virtual time and as the models say.

mod container;
mod mirror;
mod probes;
mod render;

use std::sync::Arc;

use crate::json::{Text, Value};
use imbl::{OrdMap, OrdSet};
use jiff::{SignedDuration, Timestamp};

use self::container::{Container, State, Told, World};
use crate::engine::{Ctx, Said, Work};
use crate::hash;
use crate::kinds;
use crate::status::Status;
use crate::store::Key;
use crate::view;

/// Longer than any container takes to get ready.
const LONGEST_START: SignedDuration = SignedDuration::from_hours(1);
/// How long a kubelet waits before it tries again to make a pod's sandbox.
const SANDBOX_RETRY: SignedDuration = SignedDuration::from_secs(10);

/// What all kubelets together remember.
#[derive(Debug, Clone, Default)]
pub(crate) struct Kubelets {
    /// When an image is or will be on a node.
    images: OrdMap<(Text, Text), Timestamp>,
    /// Pods by uid, in the order of a number of it: so that a look for one visits no texts elsewhere in memory.
    pods: OrdMap<(u64, Text), Arc<Run>>,
    /// Pods whose containers answer their probes otherwise than it was planned.
    replan: OrdSet<Key>,
    /// The pod whose status a kubelet writes at this moment: it need not look at its own change.
    writing: Option<Key>,
    addresses: u32,
}

/// One pod on its node.
#[derive(Debug, Clone, Default)]
struct Run {
    /// Init containers, then the others.
    containers: Vec<Container>,
    /// Address of the pod; empty in the network of the host.
    ip: String,
    started: Timestamp,
    /// When a deletion is done.
    stops: Option<Timestamp>,
    /// Whether its containers that are not ready yet have still to get it: see [`is_starting`].
    starts: bool,
    /// Resource version of the pod when nothing was left to do, and when something is next.
    rested: Option<(Text, Option<Timestamp>)>,
}

impl Kubelets {
    /// Forgets a pod that is gone.
    pub(crate) fn forget(&mut self, pod: &Value) {
        self.pods.remove(&place(pod));
    }

    /// Notes the images that a loaded pod already runs with.
    pub(crate) fn adopt(&mut self, key: &Key, pod: &Value) {
        let node = view::text(pod, &["spec", "nodeName"]);
        if !key.kind.is(kinds::POD) || node.is_empty() {
            return;
        }
        for container in Container::all_of(pod) {
            if container.has_run() {
                self.images.insert((node.into(), container.image), Timestamp::MIN);
            }
        }
    }

    /// Takes a pod over that was at rest when it was loaded, as it was before other images were named for its containers.
    pub(crate) fn take_over(&mut self, before: &Value, after: &Value) {
        let images = |pod: &Value| -> Vec<Text> {
            let specs = ["initContainers", "containers"].into_iter().flat_map(|list| view::list(pod, &["spec", list]));
            specs.map(|spec| view::shared(spec, &["image"])).collect()
        };
        if is_settled(before) && !self.pods.contains_key(&place(before)) && images(before) != images(after) {
            let started = view::time(before, &["status", "startTime"]).unwrap_or(Timestamp::UNIX_EPOCH);
            let ip = if view::flag(before, &["spec", "hostNetwork"]) { "" } else { view::text(before, &["status", "podIP"]) };
            let run = Run { containers: Container::all_of(before), ip: ip.to_owned(), started, stops: None, starts: false, rested: None };
            self.pods.insert(place(before), Arc::new(run));
        }
    }

    /// Notes that a pod is to be looked at although it is at rest: a model says something new about it.
    pub(crate) fn plan_anew(&mut self, key: &Key) {
        self.replan.insert(key.clone());
    }

    /// Whether a change of a pod is what its kubelet writes.
    pub(crate) fn writes(&self, key: &Key) -> bool {
        self.writing.as_ref() == Some(key)
    }

    /// The next address of the pod network, 10.244.0.0/16.
    fn next_address(&mut self) -> String {
        self.addresses += 1;
        format!("10.244.{}.{}", self.addresses / 250 % 250, self.addresses % 250 + 2)
    }
}

/// Whether nothing more will happen to a pod by itself, as far as its status tells. What runs without being ready stays so.
pub(crate) fn is_settled(pod: &Value) -> bool {
    let bound = !view::text(pod, &["spec", "nodeName"]).is_empty();
    let waits = view::list(pod, &["status", "containerStatuses"])
        .iter()
        .any(|c| view::text(c, &["state", "waiting", "reason"]).ends_with("BackOff"));
    let at_rest = view::text(pod, &["status", "phase"]) != "Pending" || waits;
    bound && at_rest && !view::is_terminating(pod)
}

/// Whether the status of a pod is of its present content, as far as it tells; servers before v1.33 do not.
fn is_observed(pod: &Value) -> bool {
    view::int(pod, &["status", "observedGeneration"]).is_none_or(|seen| seen >= view::generation(pod))
}

/// Whether a pod may have been read by an overlay while it was starting: what runs in it without being ready began a short while ago.
pub(crate) fn may_be_starting(pod: &Value, now: Timestamp) -> bool {
    let young = |status: &Value| {
        let begun = view::time(status, &["state", "running", "startedAt"]);
        !view::flag(status, &["ready"]) && begun.is_some_and(|begun| view::later(begun, LONGEST_START) > now)
    };
    let running = view::text(pod, &["status", "phase"]) == "Running" && !view::condition_is_true(pod, "Ready");
    running && view::list(pod, &["status", "containerStatuses"]).iter().any(young)
}

/// Whether a pod that an overlay has read is still starting: each of its containers that is not ready began to run less long ago than it
/// takes. What runs longer without being ready stays so.
fn is_starting(ctx: &Ctx<'_>, pod: &Value) -> bool {
    let now = ctx.now();
    if ctx.engine.began().is_none() || !may_be_starting(pod, now) {
        return false;
    }
    let owners = ctx.owners(pod);
    let containers = Container::all_of(pod);
    let mut unready = containers.iter().filter(|container| !container.is_init && !container.is_ready());
    unready.all(|container| container.gets_ready(&ctx.engine.models, pod, &owners).is_some_and(|at| at > now))
}

/// Carries one pod on.
pub(crate) fn sync(ctx: &mut Ctx<'_>, key: &Key) -> Result<(), Status> {
    let Some(pod) = ctx.get(key) else { return Ok(()) };
    let node_key = Key::new(kinds::NODE, "", view::text(&pod, &["spec", "nodeName"]));
    // What was loaded at rest stays as it was written: ids and times included.
    let replan = ctx.engine.kubelets.replan.contains(key) && ctx.engine.models.heeds(&pod, &ctx.owners(&pod));
    let at_rest = is_settled(&pod) && is_observed(&pod) && !ctx.engine.kubelets.pods.contains_key(&place(&pod));
    let starts = at_rest && is_starting(ctx, &pod);
    if !replan && at_rest && !starts {
        return Ok(());
    }
    if !replan && rests(ctx, key, &pod) {
        return Ok(());
    }
    // Without its kubelet nothing happens to a pod, its deletion included.
    let Some(node) = ctx.get(&node_key).filter(|node| is_alive(ctx, node)) else { return Ok(()) };
    let owners = if ctx.engine.models.knows_pods() { ctx.owners(&pod) } else { Vec::new() };
    // Lent, so that the place is not to be looked for again: an empty one stands there until it comes back.
    let known = ctx.engine.kubelets.pods.get_mut(&place(&pod)).map(std::mem::take);
    let is_new = known.is_none();
    let mut run = known.unwrap_or_else(|| Arc::new(admit(ctx, &pod)));
    let state = Arc::make_mut(&mut run);
    state.starts |= starts;
    let outcome = if view::is_terminating(&pod) {
        end(ctx, key, &pod, &node, state, &owners)
    } else {
        carry_on(ctx, key, &pod, &node, state, &owners)
    };
    if is_new {
        if ctx.store.get(key).is_some_and(|now| view::uid(now) == view::uid(&pod)) {
            ctx.engine.kubelets.pods.insert(place(&pod), run);
        }
    } else if let Some(place) = ctx.engine.kubelets.pods.get_mut(&place(&pod)) {
        *place = run;
    }
    outcome
}

/// Where the kubelets remember a pod.
fn place(pod: &Value) -> (u64, Text) {
    let uid = view::shared(pod, &["metadata", "uid"]);
    (hash::of(&[&uid]), uid)
}

/// Whether the kubelet of a node works. That of a node that is not ready does not.
fn is_alive(ctx: &Ctx<'_>, node: &Value) -> bool {
    view::condition_is_true(node, "Ready") && ctx.engine.kubelet_runs(view::name(node))
}

/// Whether nothing is due and the pod is as it was left: mostly after the kubelet's own write. The timer is set again.
fn rests(ctx: &mut Ctx<'_>, key: &Key, pod: &Value) -> bool {
    let run = ctx.engine.kubelets.pods.get(&place(pod));
    let Some((version, due)) = run.and_then(|run| run.rested.as_ref()) else { return false };
    if version != view::text(pod, &["metadata", "resourceVersion"]) || due.is_some_and(|due| due <= ctx.now()) {
        return false;
    }
    if let Some(due) = *due {
        ctx.engine.wake_at(Work::Kubelet(key.clone()), due);
    }
    true
}

/// Takes over a pod: a new one from the beginning, a known one as its status says.
fn admit(ctx: &mut Ctx<'_>, pod: &Value) -> Run {
    let known = view::text(pod, &["status", "podIP"]);
    let ip = if view::flag(pod, &["spec", "hostNetwork"]) {
        String::new()
    } else if known.is_empty() {
        ctx.engine.kubelets.next_address()
    } else {
        known.to_owned()
    };
    let started = view::time(pod, &["status", "startTime"]).unwrap_or_else(|| ctx.now());
    Run { containers: Container::all_of(pod), ip, started, stops: None, starts: false, rested: None }
}

fn carry_on(ctx: &mut Ctx<'_>, key: &Key, pod: &Arc<Value>, node: &Value, run: &mut Run, owners: &[String]) -> Result<(), Status> {
    let now = ctx.now();
    let mut events = Vec::new();
    let offline = refused_network(ctx, pod, run, owners);
    let replan = ctx.engine.kubelets.replan.remove(key).is_some();
    if !matches!(view::text(pod, &["status", "phase"]), "Succeeded" | "Failed") && offline.is_none() {
        let engine = &mut *ctx.engine;
        let images = &mut engine.kubelets.images;
        let mut world = World { now, models: &engine.models, images, pod, owners, origin: run.started, events: &mut events };
        if std::mem::take(&mut run.starts) {
            run.containers.iter_mut().for_each(|container| container.start_on(&world));
        } else if replan {
            run.containers.iter_mut().for_each(|container| container.plan_anew(&world));
        }
        step(&mut run.containers, &mut world);
    }
    for Told { severity, reason, message, part } in &events {
        ctx.say(pod, Said { severity, reason, message, part })?;
    }
    if let Some(message) = &offline {
        let message =
            format!("Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for sandbox: {message}");
        ctx.say(pod, Said { severity: "Warning", reason: "FailedCreatePodSandBox", message: &message, part: "" })?;
    }
    let ip = if offline.is_some() { "" } else { run.ip.as_str() };
    let status = render::status(pod, node, &run.containers, ip, run.started, now);
    let written = if view::at(pod, &["status"]) == Some(&status) {
        Arc::clone(pod)
    } else {
        let mut next = (**pod).clone();
        view::set(&mut next, &["status"], status);
        ctx.engine.kubelets.writing = Some(key.clone());
        let written = ctx.update(key, next);
        ctx.engine.kubelets.writing = None;
        written?
    };
    let again = offline.map(|_| view::later(now, SANDBOX_RETRY));
    let due = run.containers.iter().filter_map(|c| c.due(now)).chain(again).min();
    if let Some(at) = due {
        ctx.engine.wake_at(Work::Kubelet(key.clone()), at);
    }
    run.rested = Some((view::shared(&written, &["metadata", "resourceVersion"]), due));
    Ok(())
}

/// What the network plugin says when it refuses a pod that is to begin.
fn refused_network(ctx: &Ctx<'_>, pod: &Value, run: &Run, owners: &[String]) -> Option<String> {
    let begins = run.containers.iter().all(|container| matches!(container.state, State::Waiting));
    let asks = begins && !view::flag(pod, &["spec", "hostNetwork"]);
    if !asks {
        return None;
    }
    ctx.engine.models.refused_network(pod, owners, ctx.store).map(str::to_owned)
}

/// Carries the containers on in their order: images are pulled one after another, init containers run one after another, and
/// the others wait for them.
fn step(containers: &mut [Container], world: &mut World<'_>) {
    for container in containers {
        container.advance(world);
        let holds_up = match container.state {
            State::Pulling { .. } => true,
            _ => container.is_init && !container.lets_others_start(),
        };
        if holds_up {
            return;
        }
    }
}

/// Stops a pod: it is gone after the shorter of its grace period and the time that its slowest container takes to stop.
fn end(ctx: &mut Ctx<'_>, key: &Key, pod: &Arc<Value>, node: &Value, run: &mut Run, owners: &[String]) -> Result<(), Status> {
    if ctx.engine.models.is_stuck(pod, owners) {
        return Ok(());
    }
    if mirror::is_mirror(pod) && view::list(pod, &["metadata", "finalizers"]).is_empty() {
        return mirror::renew(ctx, key, pod, run);
    }
    let now = ctx.now();
    let grace = SignedDuration::from_secs(view::count(pod, &["metadata", "deletionGracePeriodSeconds"]));
    let stops = match run.stops {
        Some(stops) => stops,
        None => {
            let running = run.containers.iter().filter(|c| matches!(c.state, State::Running { .. }));
            let (mut slowest, mut names) = (SignedDuration::ZERO, Vec::new());
            for container in running {
                slowest = slowest.max(ctx.engine.models.stop_time(&container.image));
                names.push((container.name.clone(), container.part()));
            }
            for (name, part) in names {
                let message = format!("Stopping container {name}");
                ctx.say(pod, Said { severity: "Normal", reason: "Killing", message: &message, part: &part })?;
            }
            let stops = view::later(now, slowest.min(grace));
            run.stops = Some(stops);
            stops
        }
    };
    if now < stops {
        ctx.engine.wake_at(Work::Kubelet(key.clone()), stops);
        return Ok(());
    }
    if view::list(pod, &["metadata", "finalizers"]).is_empty() {
        ctx.remove(key);
        return Ok(());
    }
    // Whoever set the finalizers has to let go; with a grace period of 0 the last one then removes the pod.
    if view::count(pod, &["metadata", "deletionGracePeriodSeconds"]) != 0 {
        run.containers.iter_mut().for_each(|container| container.stop(now));
        let mut status = render::status(pod, node, &run.containers, &run.ip, run.started, now);
        if !matches!(view::text(&status, &["phase"]), "Succeeded" | "Failed") {
            // A pod that is stopped before all its containers ran has failed.
            view::set(&mut status, &["phase"], "Failed");
        }
        let mut stopped = (**pod).clone();
        view::set(&mut stopped, &["status"], status);
        view::set(&mut stopped, &["metadata", "deletionGracePeriodSeconds"], 0);
        ctx.update(key, stopped)?;
    }
    Ok(())
}
