//! The scripts of `tests/truth` on the real control plane: first as a plan, which reads from the server and asks it, then as a run.
//!
//! One plane for all: each script has a namespace and three nodes of its own.

use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lockgate::base::Span;
use lockgate::cluster::{Access, Cluster, LiveOptions, Options, RunId};
use lockgate::run::What;
use serde_json::Value;
use tokio::runtime::Runtime;

use super::Outcome;
use super::binaries::Binaries;
use super::normalise::State;
use super::plane::{ControlPlane, Pace};
use crate::truth::judge::{self, Case};

/// How many scripts are played at a time.
const AT_ONCE: usize = 8;
/// How long a world, or what a script left, may take to come to rest.
const SETTLE: Duration = Duration::from_secs(120);
/// Virtual time for the controllers of a plan to come to rest.
const REST: u64 = 300;

/// All scripts; gives every disagreement at once.
pub(crate) fn scripts(binaries: &Binaries) -> Outcome {
    let only = std::env::var("LOCKGATE_TRUTH").unwrap_or_default();
    let mut cases = judge::cases()?;
    cases.retain(|case| only.is_empty() || case.name.contains(&only));
    let all = cases.len();
    let plane = ControlPlane::start(binaries, Pace::default())?;
    worlds(&plane, &cases)?;
    let (waiting, found) = (Mutex::new(VecDeque::from(cases)), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(case) = taken(&waiting) {
                    if let Err(told) = play(&plane, &case) {
                        found.lock().unwrap_or_else(PoisonError::into_inner).push(told);
                    }
                }
            });
        }
    });
    let found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    if found.is_empty() { Ok(()) } else { Err(format!("dependent steps: {} of {all}\n{}", all - found.len(), found.join("\n"))) }
}

/// Puts the worlds there. Nodes come first and are ready before any pod looks for one: else all of a set may land on the nodes that
/// were quicker, and what a drain of the third finds is chance.
fn worlds(plane: &ControlPlane, cases: &[Case]) -> Outcome {
    let all = cases.len();
    let nodes: Vec<&str> = cases.iter().flat_map(|case| case.world.split("\n---\n")).filter(|text| text.contains("kind: Node\n")).collect();
    plane.apply(&nodes.join("\n---\n"))?;
    plane.until("the nodes are ready", SETTLE, |plane| {
        let nodes = plane.list(None, "nodes")?;
        // Each world has three.
        Ok(nodes.len() == 3 * all && nodes.iter().all(|node| node.pointer("/spec/taints").is_none()))
    })?;
    for case in cases {
        plane.apply(&case.world)?;
    }
    plane.until("the worlds are there", SETTLE, |plane| {
        let ready = |kind: &str, path: &str| -> Outcome<bool> {
            let found = plane.kubectl(&["get", kind, "-A", "-o", &format!("jsonpath={{range .items[*]}}{{{path}}} {{end}}")])?;
            Ok(found.split_whitespace().count() >= all && found.split_whitespace().all(|count| count == "2" || count == "3"))
        };
        let there = ready("deployments", ".status.readyReplicas")?
            && ready("statefulsets", ".status.readyReplicas")?
            && ready("daemonsets", ".status.numberReady")?;
        Ok(there && spread(plane)?)
    })
}

/// Whether no two pods of one `web` share a node. Of those that do, one is deleted: it comes again, on the node that has none.
fn spread(plane: &ControlPlane) -> Outcome<bool> {
    let text = plane.kubectl(&["get", "pods", "-A", "-l", "app=web", "-o", "json"])?;
    let list: Value = serde_json::from_str(&text).map_err(|error| format!("list of pods: {error}"))?;
    let pods = list["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    // One that is going is replaced already: wait for it.
    if pods.iter().any(|pod| pod.pointer("/metadata/deletionTimestamp").is_some()) {
        return Ok(false);
    }
    let mut taken = BTreeSet::new();
    let mut alone = true;
    for pod in pods {
        let text = |pointer: &str| pod.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        if !taken.insert(text("/spec/nodeName")) {
            alone = false;
            plane.kubectl(&[
                "delete",
                "pod",
                "-n",
                text("/metadata/namespace"),
                text("/metadata/name"),
                "--wait=false",
                "--ignore-not-found",
            ])?;
        }
    }
    Ok(alone)
}

fn taken(waiting: &Mutex<VecDeque<Case>>) -> Option<Case> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
}

fn play(plane: &ControlPlane, case: &Case) -> Outcome {
    let told = |error: lockgate::base::Error| format!("{}: {error}", case.name);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = Rc::new(runtime.map_err(|error| format!("starting the runtime: {error}"))?);
    let live = || -> Outcome<Cluster> {
        let options = LiveOptions { kubeconfig: Some(plane.kubeconfig("operator")), context: None };
        runtime.block_on(Cluster::live(options, Options::new(RunId::generate()))).map_err(told)
    };
    let cluster = live()?;
    let before = at_rest(&runtime, &cluster, case)?;
    let twin = cluster.planning();
    let plan = case.perform(&runtime, &twin, What::Plan)?;
    let planned = runtime.block_on(async {
        let until = twin.clock().now() + Span::from_secs(REST).as_duration();
        twin.rest(until).await.map_err(told)?;
        judge::state(&twin, case).await
    })?;
    if at_rest(&runtime, &cluster, case)? != before {
        return Err(format!("{}: the plan has changed the cluster", case.name));
    }
    let cluster = live()?;
    cluster.set_access(Access::ReadWrite);
    let run = case.perform(&runtime, &cluster, What::Run)?;
    let state = at_rest(&runtime, &cluster, case)?;
    let found = judge::disagreements(case, (&plan, &planned), (&run, &state));
    if found.is_empty() { Ok(()) } else { Err(found.join("\n")) }
}

/// What the cluster holds when two looks at it, some time apart, see the same.
fn at_rest(runtime: &Runtime, cluster: &Cluster, case: &Case) -> Outcome<State> {
    let begun = std::time::Instant::now();
    let mut last = None;
    loop {
        let now = runtime.block_on(judge::state(cluster, case))?;
        if last.as_ref() == Some(&now) {
            return Ok(now);
        }
        last = Some(now);
        if begun.elapsed() > SETTLE {
            return Err(format!("{}: the cluster does not come to rest", case.name));
        }
        std::thread::sleep(Duration::from_millis(1200));
    }
}
