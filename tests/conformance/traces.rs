//! Rollouts as somebody sees them who watches: at every change the workload keeps what its strategy promises, on the real cluster and on
//! the simulated one. Which of the possible ways it takes is not compared.

use serde_json::Value;

use super::Outcome;
use super::case::NAMESPACE;
use super::run::Target;

/// The cases whose workloads are watched. In others a step takes pods away itself.
const TRACED: [&str; 22] = [
    "daemonset-percent",
    "daemonset-surge",
    "fenceposts-1",
    "fenceposts-10",
    "fenceposts-2",
    "fenceposts-3",
    "fenceposts-4",
    "min-ready-seconds",
    "pause-resume",
    "progress-deadline",
    "proportional-scaling",
    "restart",
    "rollout",
    "rollout-undo",
    "rollover",
    "scale-to-zero",
    "set-image-daemonset",
    "statefulset-partition",
    "statefulset-rollout",
    "surge-all",
    "surge-none",
    "unavailable-all",
];
/// What is watched.
const KINDS: [&str; 3] = ["deployments", "daemonsets", "statefulsets"];

/// The watches of a run, by kind.
#[derive(Default)]
pub(crate) struct Traces(Vec<(&'static str, usize)>);

/// What a workload promises while its spec stays as it is.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Promise {
    generation: i64,
    /// Pods that it wants.
    desired: i64,
    /// Pods that are there at most; DaemonSets count nodes instead.
    most: i64,
    /// Pods that are available at least.
    least: i64,
}

/// What has been seen under one promise. A promise holds from the moment at which it has been reached: a new workload has no pods, and one
/// that is scaled down has too many, updated ones among them.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    enough: bool,
    few_enough: bool,
    updated: i64,
}

impl Traces {
    /// Watches the workloads of a case, where its rollouts are traced.
    ///
    /// # Errors
    /// They cannot be watched.
    pub(crate) fn begin(case: &str, target: &mut dyn Target) -> Outcome<Traces> {
        let mut traces = Traces::default();
        if TRACED.contains(&case) {
            for kind in KINDS {
                let path = format!("/apis/apps/v1/namespaces/{NAMESPACE}/{kind}?watch=true");
                let watch = target.watch(&path)?.map_err(|answer| format!("watching {kind}: {} {}", answer.status, answer.body))?;
                traces.0.push((kind, watch));
            }
        }
        Ok(traces)
    }

    /// Where a workload broke its promise, in words. Nothing of a case that is not traced.
    ///
    /// # Errors
    /// The watches cannot be read.
    pub(crate) fn end(self, target: &mut dyn Target) -> Outcome<Vec<String>> {
        if self.0.is_empty() {
            return Ok(Vec::new());
        }
        let (mut broken, mut lines) = (Vec::new(), 0);
        for (kind, watch) in self.0 {
            let told = target.told(watch)?;
            lines += told.len();
            let mut names: Vec<&str> = told.iter().filter_map(|event| event.pointer("/object/metadata/name")?.as_str()).collect();
            names.sort_unstable();
            names.dedup();
            for name in names {
                let of = told.iter().map(|event| &event["object"]).filter(|object| object["metadata"]["name"] == name);
                broken.extend(breaks(kind, of).into_iter().map(|what| format!("{kind}/{name}: {what}")));
            }
        }
        if lines < 3 {
            broken.push(format!("the watches told {lines} changes, too few for a rollout"));
        }
        Ok(broken)
    }
}

/// What one workload does that it must not, over the states that a watch told.
fn breaks<'a>(kind: &str, states: impl Iterator<Item = &'a Value>) -> Vec<String> {
    let mut broken = Vec::new();
    let mut before: Option<(Promise, Seen)> = None;
    for state in states.filter(|state| number(state, "/status/observedGeneration") == number(state, "/metadata/generation")) {
        let Some(promise) = promise(kind, state) else {
            before = None;
            continue;
        };
        let mut seen = before.filter(|(old, _)| *old == promise).map(|(_, seen)| seen).unwrap_or_default();
        let (total, available, updated) = counts(kind, state);
        let line = format!("desired {}, there {total}, updated {updated}, available {available}", promise.desired);
        if updated < seen.updated && seen.few_enough {
            broken.push(format!("{} were updated before: {line}", seen.updated));
        }
        seen.updated = updated;
        if available >= promise.least {
            seen.enough = true;
        } else if seen.enough {
            broken.push(format!("fewer than {} are available: {line}", promise.least));
        }
        if total <= promise.most {
            seen.few_enough = true;
        } else if seen.few_enough {
            broken.push(format!("more than {} are there: {line}", promise.most));
        }
        before = Some((promise, seen));
    }
    broken
}

/// Pods that are there, that are available, and that are of the newest template.
fn counts(kind: &str, state: &Value) -> (i64, i64, i64) {
    let names = match kind {
        "daemonsets" => ["currentNumberScheduled", "numberAvailable", "updatedNumberScheduled"],
        _ => ["replicas", "availableReplicas", "updatedReplicas"],
    };
    let [total, available, updated] = names.map(|name| number(state, &format!("/status/{name}")));
    (total, available, updated)
}

/// What the strategy promises; nothing where it promises nothing. Percentages of a Deployment's surge round up, those of what may be
/// away down, and one may be away where both are none; those of a DaemonSet round up.
fn promise(kind: &str, state: &Value) -> Option<Promise> {
    let strategy = state.pointer(if kind == "deployments" { "/spec/strategy" } else { "/spec/updateStrategy" })?;
    if strategy["type"] != "RollingUpdate" {
        return None;
    }
    let rolling = &strategy["rollingUpdate"];
    let generation = number(state, "/metadata/generation");
    let desired = number(state, if kind == "daemonsets" { "/status/desiredNumberScheduled" } else { "/spec/replicas" });
    let (most, away) = match kind {
        "deployments" => {
            let (surge, away) = (part(&rolling["maxSurge"], desired, true), part(&rolling["maxUnavailable"], desired, false));
            (desired + surge, if surge == 0 && away == 0 { 1 } else { away })
        }
        "daemonsets" => (desired, part(&rolling["maxUnavailable"], desired, true)),
        _ => (desired, 1),
    };
    Some(Promise { generation, desired, most, least: (desired - away).max(0) })
}

/// A number, or a percentage of `of`.
fn part(value: &Value, of: i64, up: bool) -> i64 {
    match value.as_str().and_then(|text| text.strip_suffix('%')?.parse::<i64>().ok()) {
        Some(percent) => (percent * of + if up { 99 } else { 0 }) / 100,
        None => value.as_i64().unwrap_or_default(),
    }
}

fn number(state: &Value, pointer: &str) -> i64 {
    state.pointer(pointer).and_then(Value::as_i64).unwrap_or_default()
}
