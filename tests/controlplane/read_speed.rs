//! How long reads take beside kubectl and helm on the same server, and how soon a wait ends after the event that ends it. Measured by
//! hand: `tests/bench/reads`.

use std::path::Path;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lockgate::cluster::{Cluster, Follow, Select};
use lockgate::primitives::{Arg, Arguments, Cx, find};
use lockgate_sim::json::{Value as Json, json};

use super::Outcome;
use super::binaries::Binaries;
use super::drain::live;
use super::plane::{ControlPlane, Pace};
use super::verbs::Ears;

/// How many objects are read, one after another.
const READS: usize = 50;
/// How many revisions the release has.
const REVISIONS: usize = 10;
/// How often each is measured.
const ROUNDS: usize = 9;

const CHART: &str = "apiVersion: v2\nname: small\nversion: 1.0.0\n";
const MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: small }\ndata: { n: {{ .Values.n | quote }} }\n";

fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Runs a program to its good end.
fn ran(program: &Path, plane: &ControlPlane, words: &[&str]) -> Outcome {
    let mut command = Command::new(program);
    command.args(words).arg("--kubeconfig").arg(plane.kubeconfig("admin")).env("HOME", plane.path()).env_remove("KUBECONFIG");
    let output = command.stdin(Stdio::null()).output().map_err(said)?;
    if output.status.success() { Ok(()) } else { Err(format!("{words:?}: {}", String::from_utf8_lossy(&output.stderr))) }
}

/// The least times of two pieces of work that are done in turn, so that what else the machine does falls on both: it only adds.
fn least(mut theirs: impl FnMut() -> Outcome, mut ours: impl FnMut() -> Outcome) -> Outcome<(Duration, Duration)> {
    let mut least = (Duration::MAX, Duration::MAX);
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        theirs()?;
        let between = Instant::now();
        ours()?;
        least = (least.0.min(between - begun), least.1.min(between.elapsed()));
    }
    Ok(least)
}

/// How late a wait may be.
const LATE: Duration = Duration::from_millis(50);

const WEB: &str = "apiVersion: v1
kind: Node
metadata: { name: r1, labels: { kubernetes.io/hostname: r1, kubernetes.io/os: linux } }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: web, namespace: default }
spec:
  replicas: 3
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec: { containers: [{ name: web, image: registry.example/web:v0 }] }
";

/// Somebody else who watches the same objects, with a thread and connections of its own.
struct Witness {
    seen: Arc<Mutex<Vec<Instant>>>,
    over: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<Outcome>,
}

impl Witness {
    fn begin(plane: &ControlPlane) -> Outcome<Witness> {
        let (seen, over) = (Arc::<Mutex<Vec<Instant>>>::default(), Arc::<AtomicBool>::default());
        let (log, end, kubeconfig) = (seen.clone(), over.clone(), plane.kubeconfig("operator"));
        let (ready, begun) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(said)?;
            runtime.block_on(async {
                let cluster = live_by(kubeconfig).await?;
                let mut scopes = Vec::new();
                for kind in ["deployments", "pods", "replicasets"] {
                    let resource = cluster.resolve(kind, None).await.map_err(said)?;
                    scopes.push(Follow { resource, namespace: Some("default".to_owned()), select: Select::default() });
                }
                let mut following = cluster.follow(scopes).await.map_err(said)?;
                ready.send(()).map_err(said)?;
                while !end.load(Ordering::Relaxed) {
                    let soon = cluster.clock().now() + Duration::from_millis(200);
                    if following.changed(Some(soon)).await.map_err(said)? == lockgate::cluster::Woke::Changed {
                        log.lock().map_err(said)?.push(Instant::now());
                    }
                }
                Ok(())
            })
        });
        begun.recv_timeout(Duration::from_secs(20)).map_err(said)?;
        Ok(Witness { seen, over, thread })
    }

    /// When the last event before that moment came.
    fn last_before(&self, moment: Instant) -> Outcome<Instant> {
        let seen = self.seen.lock().map_err(said)?;
        seen.iter().rev().find(|at| **at <= moment).copied().ok_or_else(|| "no event was seen".to_owned())
    }

    fn end(self) -> Outcome {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| "the witness panicked".to_owned())?
    }
}

async fn live_by(kubeconfig: std::path::PathBuf) -> Outcome<Cluster> {
    let options = lockgate::cluster::LiveOptions { kubeconfig: Some(kubeconfig), context: None };
    Cluster::live(options, lockgate::cluster::Options::new(lockgate::cluster::RunId::generate())).await.map_err(said)
}

/// The longest time from the last event that anybody got to the end of a wait for a rollout.
fn after_the_event(plane: &ControlPlane, call: &dyn Fn(&str, Json) -> Outcome<Json>) -> Outcome<Duration> {
    plane.apply(WEB)?;
    call("wait_rollout", json!(["deployment/web"]))?;
    let witness = Witness::begin(plane)?;
    let mut longest = Duration::ZERO;
    for round in 1..=ROUNDS {
        call("set_image", json!(["deployment/web", { "web": format!("registry.example/web:v{round}") }]))?;
        call("wait_rollout", json!(["deployment/web"]))?;
        let ended = Instant::now();
        longest = longest.max(ended - witness.last_before(ended)?);
    }
    witness.end()?;
    Ok(longest)
}

/// 50 reads by 50 kubectl processes and by 50 calls of `get`; the history of ten revisions by `helm history` and by `helm.history`; and
/// how long `wait_rollout` takes to notice.
#[allow(clippy::print_stdout, reason = "the figures are what it is run for")]
pub(super) fn beside_clients(binaries: &Binaries) -> Outcome {
    let plane = ControlPlane::start(binaries, Pace::default())?;
    let (kubectl, helm) = (binaries.path("kubectl"), crate::sandbox::helm("helm4")?);
    let chart = plane.path().join("small");
    std::fs::create_dir_all(chart.join("templates")).map_err(said)?;
    std::fs::write(chart.join("Chart.yaml"), CHART).map_err(said)?;
    std::fs::write(chart.join("templates/map.yaml"), MAP).map_err(said)?;
    let folder = chart.display().to_string();
    for revision in 0..REVISIONS {
        ran(&helm, &plane, &["upgrade", "--install", "small", &folder, "--set", &format!("n={revision}")])?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(said)?;
    let cluster = runtime.block_on(live(&plane))?;
    let call = |verb: &str, positional: Json| -> Outcome<Json> {
        let call = find(verb).and_then(|definition| definition.call).ok_or("no such verb")?;
        let positional = positional.as_array().into_iter().flatten().cloned().map(|value| Arg::Value(value.into())).collect();
        let cx = Cx { cluster: cluster.clone(), talk: Rc::<Ears>::default() };
        let done = runtime.block_on(call(cx, Arguments { positional, ..Arguments::default() })).map_err(said)?;
        Ok(done.value.into_json())
    };
    let (theirs, ours) = least(
        || (0..READS).try_for_each(|_| ran(&kubectl, &plane, &["get", "configmap/small", "-o", "json"])),
        || (0..READS).try_for_each(|_| call("get", json!(["configmap/small"])).map(drop)),
    )?;
    println!("{READS} reads, least of {ROUNDS}\n  kubectl   {theirs:.1?}\n  lockgate  {ours:.1?}");
    let (their_history, our_history) = least(
        || ran(&helm, &plane, &["history", "small", "--output", "json"]),
        || match call("helm.history", json!(["small"]))?.as_array().map(|rows| rows.len()) {
            Some(REVISIONS) => Ok(()),
            other => Err(format!("{other:?} revisions")),
        },
    )?;
    println!("history of {REVISIONS} revisions, least of {ROUNDS}\n  helm      {their_history:.1?}\n  lockgate  {our_history:.1?}");
    let late = after_the_event(&plane, &call)?;
    println!("end of wait_rollout after the last event, longest of {ROUNDS}\n  lockgate  {late:.1?}");
    if late > LATE {
        return Err(format!("a wait ended {late:?} after the event that ended it"));
    }
    if ours * 50 > theirs {
        return Err(format!("{READS} reads took more than 1/50 of kubectl's time: {ours:?} of {theirs:?}"));
    }
    if our_history * 10 > their_history {
        return Err(format!("the history took more than 1/10 of helm's time: {our_history:?} of {their_history:?}"));
    }
    Ok(())
}
