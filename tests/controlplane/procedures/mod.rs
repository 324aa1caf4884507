//! The bundled procedures on the real control plane, each from its first step to its last, on manifests and charts in the shapes that their
//! references give.
//!
//! What a case works on are files beside it. Nothing runs in the containers of its pods. Where a procedure asks a container, KWOK answers
//! (`kubelets.yaml`, `logs/`, `programs/`); what a program in a container would write to the API, a stand-in of the case writes. What lockgate
//! wrote is taken from the server's own log and compared with a file, which `BLESS=1` writes.

mod aggregated;
mod calico;
mod cilium;
mod cnx;
mod etcd;
mod kubeadm;
mod migration;
mod operator;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use libtest_mimic::{Completion, Failed, Trial};
use serde_json::{Value, json};

use super::audit::Request;
use super::binaries::Binaries;
use super::command::{self, Finished};
use super::plane::{ControlPlane, Pace, Server};
use super::{Outcome, Real, fixture, is_required, needs_binaries, rbac, with_binaries};
use crate::machine::sshd::Programs;

/// How long what is installed may take to be ready.
const SETTLE: Duration = Duration::from_secs(60);

/// Whose the roles are that lockgate prints.
const SUBJECT: [&str; 2] = ["--subject", "user:nobody"];

/// What is copied of a cluster, besides its custom resources.
const KINDS: &str = "namespaces,nodes,customresourcedefinitions,serviceaccounts,configmaps,secrets,services,deployments,daemonsets,\
                     statefulsets,replicasets,controllerrevisions,pods,poddisruptionbudgets,networkpolicies,roles,rolebindings,clusterroles,\
                     clusterrolebindings";

/// How often a stand-in looks whether there is something to do.
const LOOK: Duration = Duration::from_millis(250);

/// All the cases, by name.
pub(super) fn cases() -> Vec<Trial> {
    let real: [(&str, Real); 9] = [
        ("calico_by_manifest", calico::by_manifest),
        ("calico_by_operator", operator::by_operator),
        ("calico_as_canal", calico::as_canal),
        ("calico_for_policies_only", calico::for_policies_only),
        ("calico_auto_host_endpoints", calico::auto_host_endpoints),
        ("calico_from_manifest_to_operator", migration::to_operator),
        ("cnx_calico_upgrade", cnx::upgrade),
        ("cnx_is_added", cnx::added),
        ("cnx_manager", cnx::manager),
    ];
    let mut cases: Vec<Trial> = real.into_iter().map(|(name, case)| needs_binaries(&format!("procedures::{name}"), case)).collect();
    let by_helm: [(&str, ByHelm); 3] =
        [("calico_by_helm", operator::by_helm), ("cilium_by_helm", cilium::rolling), ("cilium_node_by_node", cilium::node_by_node)];
    for (name, case) in by_helm {
        for helm in ["helm3", "helm4"] {
            cases.push(needs_helm(&format!("procedures::{name}::{helm}"), helm, case));
        }
    }
    let by_machines: [(&str, ByMachines); 5] = [
        ("calico_with_etcd", etcd::upgrade),
        ("calico_from_etcd_to_kubernetes", etcd::to_kubernetes),
        ("calico_back_in_etcd", etcd::taken_back),
        ("kubeadm_over_ssh", kubeadm::upgrade),
        ("kubeadm_by_yum", kubeadm::emptied_first),
    ];
    cases.extend(by_machines.into_iter().map(|(name, case)| needs_machines(&format!("procedures::{name}"), case)));
    cases
}

/// A case that is ignored, with the reason, where the control plane is not built or there can be no machines.
fn needs_machines(name: &str, case: ByMachines) -> Trial {
    let name = format!("controlplane::{name}");
    let found = || Programs::find().and_then(|programs| programs.rooms().map(|()| programs));
    Trial::ignorable_test(name.clone(), move || match found() {
        Err(reason) if is_required("sshd") => Err(Failed::from(reason)),
        Err(reason) => Ok(Completion::ignored_with(reason)),
        Ok(programs) => with_binaries(&name, |binaries| case(&programs, binaries)),
    })
}

/// A case with machines of its own.
type ByMachines = fn(&Programs, &Binaries) -> Outcome;

/// A case with one of the helms.
type ByHelm = fn(&str, &Binaries) -> Outcome;

/// A case that is ignored, with the reason, where the control plane or the helms are not built.
fn needs_helm(name: &str, helm: &'static str, case: ByHelm) -> Trial {
    let name = format!("controlplane::{name}");
    Trial::ignorable_test(name.clone(), move || match crate::sandbox::helm(helm) {
        Err(reason) if is_required("helm") => Err(Failed::from(reason)),
        Err(reason) => Ok(Completion::ignored_with(reason)),
        Ok(_) => with_binaries(&name, |binaries| case(helm, binaries)),
    })
}

/// A file beside the cases.
fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/controlplane/procedures").join(name)
}

fn text(name: &str) -> Outcome<String> {
    let path = file(name);
    fs::read_to_string(&path).map_err(|error| format!("reading {}: {error}", path.display()))
}

/// A cluster with something installed.
struct Bench {
    plane: ControlPlane,
    /// Whether lockgate is run by somebody who has the roles of a plan alone.
    confined: AtomicBool,
}

impl Bench {
    /// Starts a control plane and installs what is in a file.
    fn start(binaries: &Binaries, installed: &str) -> Outcome<Bench> {
        let bench = Bench::empty(binaries, "")?;
        bench.install(&text(installed)?)?;
        Ok(bench)
    }

    /// Starts a control plane; `more` are further documents for KWOK.
    fn empty(binaries: &Binaries, more: &str) -> Outcome<Bench> {
        Bench::with(binaries, more, Server::default())
    }

    fn with(binaries: &Binaries, more: &str, server: Server) -> Outcome<Bench> {
        let plane =
            ControlPlane::start_with(binaries, &Pace::default().asked(&format!("{}\n---\n{more}", text("kubelets.yaml")?))?, server)?;
        for folder in ["logs", "programs"] {
            let to = plane.path().join(if folder == "programs" { "bin" } else { folder });
            copy(&file(folder), &to).map_err(|error| format!("copying {folder}: {error}"))?;
        }
        Ok(Bench { plane, confined: AtomicBool::new(false) })
    }

    /// Applies documents, and waits until every workload is ready.
    fn install(&self, documents: &str) -> Outcome {
        self.apply(documents)?;
        self.settled()
    }

    /// Applies documents, definitions first.
    fn apply(&self, documents: &str) -> Outcome {
        let whole = format!("\n{documents}");
        let (definitions, rest): (Vec<&str>, Vec<&str>) =
            whole.split("\n---").partition(|document| document.contains("\nkind: CustomResourceDefinition"));
        if !definitions.is_empty() {
            self.plane.apply(&definitions.join("\n---"))?;
            self.plane.kubectl(&["wait", "--for=condition=Established", "customresourcedefinitions", "--all", "--timeout=30s"])?;
        }
        if rest.iter().all(|document| document.lines().all(|line| line.is_empty() || line.starts_with('#'))) {
            return Ok(());
        }
        self.plane.apply(&rest.join("\n---"))
    }

    /// Waits until every workload of the cluster is ready.
    fn settled(&self) -> Outcome {
        self.plane.until("every workload is ready", SETTLE, |plane| {
            let all = parsed(&plane.kubectl(&["get", "deployments,daemonsets", "--all-namespaces", "-o", "json"])?)?;
            let all = all["items"].as_array().cloned().unwrap_or_default();
            let unready = all.iter().filter(|object| !fixture::is_ready(object) && object["spec"]["replicas"] != 0);
            let waiting: Vec<&str> = unready.filter_map(|object| object["metadata"]["name"].as_str()).collect();
            if waiting.is_empty() { Ok(true) } else { Err(format!("{waiting:?} are not ready")) }
        })
    }

    /// Who runs lockgate.
    fn user(&self) -> &'static str {
        if self.confined.load(Ordering::SeqCst) { rbac::USER } else { "operator" }
    }

    /// Runs lockgate.
    fn run(&self, arguments: &[&str]) -> Outcome<Finished> {
        command::run(&self.plane, self.user(), arguments)
    }

    /// The roles that lockgate prints for this runbook on this cluster.
    fn roles(&self, runbook: &[&str]) -> Outcome<String> {
        whole(self.run(&[&["rbac"], runbook, &SUBJECT].concat())?)
    }

    /// The roles that it prints for a copy of this cluster, in which `Model` documents play the operators: what no plan on the server knows
    /// is known there.
    fn roles_of_copy(&self, runbook: &[&str], models: &str) -> Outcome<String> {
        let copy = self.plane.path().join("copy.yaml");
        fs::write(&copy, format!("{}\n---\n{models}", self.objects()?)).map_err(|error| format!("writing {}: {error}", copy.display()))?;
        let sandbox = format!("--sandbox={}", copy.display());
        whole(command::about(&self.plane, &[&["rbac"], runbook, &[&sandbox], &SUBJECT].concat())?)
    }

    /// All that matters of what there is, as kubectl prints it.
    fn objects(&self) -> Outcome<String> {
        let defined =
            self.plane.kubectl(&["get", "customresourcedefinitions", "-o", "jsonpath={range .items[*]},{.metadata.name}{end}"])?;
        let kinds = format!("{KINDS}{defined}");
        let mut found = parsed(&self.plane.kubectl(&["get", &kinds, "--all-namespaces", "-o", "json", "--show-managed-fields"])?)?;
        // What every server makes for itself every sandbox has.
        let is_own = |object: &Value| {
            let metadata = &object["metadata"];
            let is_of_system = metadata["labels"]["kubernetes.io/bootstrapping"] == "rbac-defaults";
            let is_home =
                object["kind"] == "Namespace" && ["default", "kube-system", "kube-public"].iter().any(|name| metadata["name"] == *name);
            is_of_system || is_home || metadata["name"] == "kube-root-ca.crt" || metadata["name"] == "kubernetes"
        };
        if let Some(items) = found["items"].as_array_mut() {
            items.retain(|object| !is_own(object));
        }
        Ok(found.to_string())
    }

    /// Works while lockgate is run by somebody who has these roles, and no other rights: nothing is refused, and nothing of them is left over.
    fn under<T>(&self, roles: &str, work: impl FnOnce() -> Outcome<T>) -> Outcome<T> {
        self.plane.apply(roles)?;
        let before = self.plane.audit()?.len();
        self.confined.store(true, Ordering::SeqCst);
        let done = work();
        self.confined.store(false, Ordering::SeqCst);
        // What was refused says more than how a run ended by it.
        rbac::are_exact_since(&self.plane, rbac::USER, roles, before).map_err(|inexact| match &done {
            Ok(_) => inexact,
            Err(error) => format!("{error}\n{inexact}"),
        })?;
        let done = done?;
        let bindings: Vec<&str> = roles.split("\n---").filter(|document| document.contains("Binding\n")).collect();
        let path = self.plane.path().join("bindings.yaml");
        fs::write(&path, bindings.join("\n---")).map_err(|error| format!("writing {}: {error}", path.display()))?;
        self.plane.kubectl(&["delete", "-f", &path.to_string_lossy()])?;
        // The next run makes the lock anew, as a first one does.
        self.plane.kubectl(&["delete", "lease", "lockgate", "-n", "kube-system"])?;
        Ok(done)
    }

    /// Runs lockgate to its end, with a person at another terminal who says yes at each of these steps, in their order.
    fn run_with(&self, arguments: &[&str], answers: &[&str]) -> Outcome {
        let mut code = self.run(arguments)?;
        for step in answers {
            code.expect_code(4)?;
            command::about(&self.plane, &["approve", "last", step, "--yes"])?.expect_code(0)?;
            code = self.run(&["resume", "last"])?;
        }
        code.expect_code(0)
    }

    /// Runs lockgate, which must refuse with these words before anything is written.
    fn refuses(&self, arguments: &[&str], code: i32, words: &str) -> Outcome {
        let before = self.writes()?;
        let finished = self.run(arguments)?;
        finished.expect_code(code)?;
        finished.expect_said(words)?;
        let after = self.writes()?;
        if before == after { Ok(()) } else { Err(format!("it was refused after these writes:\n{after}")) }
    }

    /// What was written so far by lockgate and the programs that it led, in the order of the server's log: what the server refused was not.
    fn writes(&self) -> Outcome<String> {
        let written = |request: &&Request| {
            ["operator", rbac::USER].contains(&request.user.as_str())
                && !request.is_read()
                && request.resource != "leases"
                && (200..300).contains(&request.code)
        };
        let audit = self.plane.audit()?;
        Ok(audit.iter().filter(written).map(|request| format!("{} {}\n", request.verb, place(&request.uri))).collect())
    }

    /// The runbooks that went to their end, and the writes, are those of a file.
    fn expect_writes(&self, name: &str) -> Outcome {
        is_record(&self.plane, name, &self.writes()?)
    }

    /// An object, by `kind/name` or `kind/namespace/name`.
    fn object(&self, reference: &str) -> Outcome<Value> {
        let parts: Vec<&str> = reference.split('/').collect();
        let mut arguments = vec!["get", parts[0], parts[parts.len() - 1], "-o", "json", "--ignore-not-found"];
        if let [_, namespace, _] = parts[..] {
            arguments.extend(["-n", namespace]);
        }
        let text = self.plane.kubectl(&arguments)?;
        if text.trim().is_empty() {
            return Ok(Value::Null);
        }
        parsed(&text)
    }

    /// An object holds all of this; a `null` says that there is nothing.
    fn holds(&self, reference: &str, wanted: &Value) -> Outcome {
        let found = self.object(reference)?;
        differs(&found, wanted, "").map_or(Ok(()), |difference| Err(format!("{reference}: {difference}")))
    }

    /// There is no such object.
    fn is_gone(&self, reference: &str) -> Outcome {
        self.holds(reference, &Value::Null)
    }

    /// Every container of this name in a workload and its pods runs this image.
    fn runs(&self, workload: &str, container: &str, image: &str) -> Outcome {
        let found = self.object(workload)?;
        let labels =
            found.pointer("/spec/selector/matchLabels").and_then(Value::as_object).ok_or_else(|| format!("{workload}: no labels"))?;
        let selector: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
        let namespace = found["metadata"]["namespace"].as_str().unwrap_or_default();
        let pods = self.plane.kubectl(&["get", "pods", "-n", namespace, "-l", &selector.join(","), "-o", "json"])?;
        let pods = parsed(&pods)?;
        let mut pods = pods["items"].as_array().cloned().unwrap_or_default();
        pods.retain(|pod| pod["metadata"]["deletionTimestamp"].is_null());
        let of = |spec: &Value| -> Vec<String> {
            let lists = ["containers", "initContainers"].into_iter().filter_map(|list| spec[list].as_array());
            let named = lists.flatten().filter(|each| each["name"] == container);
            named.filter_map(|each| each["image"].as_str()).map(str::to_owned).collect()
        };
        for spec in std::iter::once(&found["spec"]["template"]["spec"]).chain(pods.iter().map(|pod| &pod["spec"])) {
            let running = of(spec);
            if running != [image] {
                return Err(format!("{workload}: {container} runs {running:?} instead of {image}"));
            }
        }
        if pods.is_empty() { Err(format!("{workload} has no pods")) } else { Ok(()) }
    }

    /// What the agents of Calico do when they are up: the newest one that is ready writes the release that it is of, where that is another.
    fn tell_release(&self, namespace: &str) -> Outcome {
        let Some(release) = self.newest_release(namespace)? else { return Ok(()) };
        if self.object("clusterinformation/default")?["spec"]["calicoVersion"] == release.as_str() {
            return Ok(());
        }
        let patch = json!({ "spec": { "calicoVersion": release } }).to_string();
        self.plane.kubectl(&["patch", "clusterinformation", "default", "--type=merge", "-p", &patch]).map(drop)
    }

    /// The release of the newest agent that is ready.
    fn newest_release(&self, namespace: &str) -> Outcome<Option<String>> {
        let pods = self.plane.list(Some(namespace), "pods")?;
        let is_agent = |pod: &Value| ["calico-node", "canal"].iter().any(|app| pod["metadata"]["labels"]["k8s-app"] == *app);
        let agents = pods.iter().filter(|pod| is_agent(pod) && pod["status"]["phase"] == "Running");
        let newest = agents.max_by_key(|pod| pod["metadata"]["creationTimestamp"].as_str().map(str::to_owned));
        let image = newest.and_then(|newest| newest["spec"]["containers"][0]["image"].as_str());
        Ok(image.and_then(|image| image.rsplit(':').next()).map(str::to_owned))
    }

    /// Works while a stand-in does again and again what programs in containers would do; what it fails with is told when the work fails.
    fn beside<T>(&self, stand_in: impl Fn(&Bench) -> Outcome + Sync, work: impl FnOnce() -> Outcome<T>) -> Outcome<T> {
        let (over, trouble) = (AtomicBool::new(false), Mutex::new(String::new()));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::SeqCst) {
                    if let Err(error) = stand_in(self) {
                        *trouble.lock().unwrap_or_else(PoisonError::into_inner) = error;
                    }
                    std::thread::sleep(LOOK);
                }
            });
            let done = work();
            over.store(true, Ordering::SeqCst);
            done.map_err(|error| match &*trouble.lock().unwrap_or_else(PoisonError::into_inner) {
                none if none.is_empty() => error,
                trouble => format!("{error}\nthe stand-in failed last with: {trouble}"),
            })
        })
    }
}

/// Roles that were printed, when they are those of a whole run. What rests on an assumption ends with 3.
fn whole(printed: Finished) -> Outcome<String> {
    if printed.code != Some(3) {
        printed.expect_code(0)?;
    }
    if printed.stderr.contains("the run may need more") {
        return Err(format!("the roles are those of a beginning:\n{}", printed.stderr));
    }
    Ok(printed.stdout)
}

/// A file of a bundled runbook.
fn bundled(runbook: &str, name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("runbooks").join(runbook).join(name)
}

/// The objects of a fixture of a bundled runbook, with the definitions of Calico's kinds, and its models.
fn fixture_of(runbook: &str, name: &str) -> Outcome<(String, String)> {
    let reading = |path: &Path| fs::read_to_string(path).map_err(|error| format!("reading {}: {error}", path.display()));
    let text = reading(&bundled(runbook, name))?;
    let (models, objects): (Vec<&str>, Vec<&str>) = text.split("\n---\n").partition(|document| document.contains("kind: Model\n"));
    if models.is_empty() {
        return Err(format!("{runbook}/{name} has no models"));
    }
    let known = reading(&Path::new(env!("CARGO_MANIFEST_DIR")).join("host/sim/models/calico.yaml"))?;
    let definitions = known.split("\n---\n").filter(|document| document.contains("kind: CustomResourceDefinition\n"));
    Ok((definitions.chain(objects).collect::<Vec<_>>().join("\n---\n"), models.join("\n---\n")))
}

fn parsed(text: &str) -> Outcome<Value> {
    serde_json::from_str(text).map_err(|error| format!("{error} in {text}"))
}

/// Which runbooks went to their end on this control plane, by the journals of their runs, and what was written, are those of a file.
///
/// # Errors
/// They are not, or nothing went to its end.
pub(super) fn is_record(plane: &ControlPlane, name: &str, writes: &str) -> Outcome {
    let runs = command::about(plane, &["runs", "-o", "json"])?;
    runs.expect_code(0)?;
    let runs = parsed(&runs.stdout)?;
    let done = runs["runs"].as_array().into_iter().flatten().filter(|run| run["what"] == "run" && run["standing"] == "done");
    let names: BTreeSet<&str> = done.filter_map(|run| run["runbook"].as_str()).collect();
    if names.is_empty() {
        return Err(format!("no run went to its end: {runs}"));
    }
    let head: String = names.iter().map(|name| format!("completed {name}\n")).collect();
    is_text(&format!("{name}.writes"), &format!("{head}{writes}"))
}

/// A text is that of a file beside the cases; with `BLESS=1` it becomes so.
fn is_text(name: &str, found: &str) -> Outcome {
    let path = file(name);
    if std::env::var_os("BLESS").is_some_and(|value| value == "1") {
        fs::write(&path, found).map_err(|error| format!("writing {}: {error}", path.display()))?;
    }
    let wanted = fs::read_to_string(&path).map_err(|error| format!("reading {}: {error}", path.display()))?;
    if found == wanted { Ok(()) } else { Err(format!("it is not as in {}:\n{found}", path.display())) }
}

/// What of the wanted value is otherwise in the found one.
fn differs(found: &Value, wanted: &Value, at: &str) -> Option<String> {
    match (found, wanted) {
        (Value::Object(found), Value::Object(wanted)) => {
            wanted.iter().find_map(|(key, value)| differs(found.get(key).unwrap_or(&Value::Null), value, &format!("{at}/{key}")))
        }
        (Value::Array(found), Value::Array(wanted)) if found.len() == wanted.len() => {
            found.iter().zip(wanted).enumerate().find_map(|(place, (found, wanted))| differs(found, wanted, &format!("{at}/{place}")))
        }
        (found, wanted) if found == wanted => None,
        (found, wanted) => Some(format!("{at} is {found} instead of {wanted}")),
    }
}

/// A folder with all that is in it; its files may be run.
fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to)?;
        } else {
            fs::copy(&from, &to)?;
            fs::set_permissions(&to, fs::Permissions::from_mode(0o755))?;
        }
    }
    Ok(())
}

/// What a path of the API is about: `kube-system/daemonsets/calico-node`. Names that a controller has drawn end in `*`.
fn place(uri: &str) -> String {
    let path = uri.split('?').next().unwrap_or_default();
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    let parts = match parts[..] {
        ["api", _, ref rest @ ..] | ["apis", _, _, ref rest @ ..] => rest,
        ref all => all,
    };
    let parts = match parts {
        ["namespaces", namespace, kind, rest @ ..] => [&[*namespace, *kind], rest].concat(),
        all => all.to_vec(),
    };
    let told: Vec<String> = parts
        .iter()
        .enumerate()
        .map(|(at, part)| if at > 0 && parts[at - 1] == "pods" { without_drawn(part) } else { (*part).to_owned() })
        .collect();
    told.join("/")
}

/// The name of a pod without what its controllers drew: five letters, after those of the template.
fn without_drawn(name: &str) -> String {
    let drawn = |part: &str, lengths: std::ops::RangeInclusive<usize>| {
        lengths.contains(&part.len()) && part.chars().all(|letter| "bcdfghjklmnpqrstvwxz2456789".contains(letter))
    };
    match name.rsplit_once('-') {
        Some((rest, last)) if drawn(last, 5..=5) => match rest.rsplit_once('-') {
            Some((owner, template)) if drawn(template, 8..=10) => format!("{owner}-*"),
            _ => format!("{rest}-*"),
        },
        _ => name.to_owned(),
    }
}

/// That a DaemonSet has this many agents, all of the newest revision and ready.
fn rolled_out(count: u64) -> Value {
    json!({ "status": { "desiredNumberScheduled": count, "updatedNumberScheduled": count, "numberReady": count } })
}
