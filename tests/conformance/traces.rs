//! Rollouts as somebody sees them who watches: at every change the workload keeps what its strategy promises, on the real cluster and on
//! the simulated one. Which of the possible ways it takes is not compared.

use std::collections::BTreeMap;

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
/// The cases in which a budget keeps the promise of the strategy while others take pods away, updated ones among them.
const BUDGETED: [&str; 1] = ["drain-parallel"];
/// What is watched: workloads, and the ReplicaSets that say how many pods a Deployment has asked for. (What its status says of them is
/// late: a set that has just been scaled down still counts there.)
const KINDS: [&str; 4] = ["deployments", "daemonsets", "statefulsets", "replicasets"];

/// The watches of a run, by kind.
#[derive(Default)]
pub(crate) struct Traces {
    watches: Vec<(&'static str, usize)>,
    /// Whether nobody but the controllers takes pods away.
    undisturbed: bool,
}

/// What a workload promises while nobody changes its size or its strategy.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Promise {
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
    /// The generation that `updated` is about, and whether its controller had as many pods as it may have by then.
    generation: i64,
    at_rest: bool,
    updated: i64,
}

/// All the workloads, as far as the changes have been read.
#[derive(Default)]
struct Workloads {
    undisturbed: bool,
    /// What each promises, by kind and name.
    promises: BTreeMap<(&'static str, String), (Promise, Seen)>,
    /// The pods that each ReplicaSet asks for, by its name; with the name of its Deployment.
    sets: BTreeMap<String, (String, i64)>,
    broken: Vec<String>,
}

impl Traces {
    /// Watches the workloads of a case, where its rollouts are traced.
    ///
    /// # Errors
    /// They cannot be watched.
    pub(crate) fn begin(case: &str, target: &mut dyn Target) -> Outcome<Traces> {
        let mut traces = Traces { watches: Vec::new(), undisturbed: TRACED.contains(&case) };
        if traces.undisturbed || BUDGETED.contains(&case) {
            for kind in KINDS {
                let path = format!("/apis/apps/v1/namespaces/{NAMESPACE}/{kind}?watch=true");
                let watch = target.watch(&path)?.map_err(|answer| format!("watching {kind}: {} {}", answer.status, answer.body))?;
                traces.watches.push((kind, watch));
            }
        }
        Ok(traces)
    }

    /// Where a workload broke its promise, in words. Nothing of a case that is not traced.
    ///
    /// # Errors
    /// The watches cannot be read.
    pub(crate) fn end(self, target: &mut dyn Target) -> Outcome<Vec<String>> {
        if self.watches.is_empty() {
            return Ok(Vec::new());
        }
        let mut changes = Vec::new();
        for (kind, watch) in self.watches {
            changes.extend(target.told(watch)?.into_iter().map(|event| (kind, event)));
        }
        // One order for all kinds: versions count every change of the cluster.
        changes.sort_by_key(|(_, event)| {
            let version = event.pointer("/object/metadata/resourceVersion").and_then(Value::as_str);
            version.and_then(|version| version.parse::<u64>().ok()).unwrap_or_default()
        });
        let mut workloads = Workloads { undisturbed: self.undisturbed, ..Workloads::default() };
        if changes.len() < 6 {
            workloads.broken.push(format!("the watches told {} changes, too few for a rollout", changes.len()));
        }
        for (kind, event) in &changes {
            let object = &event["object"];
            let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
            match (*kind, event["type"] == "DELETED") {
                ("replicasets", gone) => workloads.set(name, object, gone),
                (_, true) => drop(workloads.promises.remove(&(*kind, name.to_owned()))),
                (_, false) => workloads.changed(kind, name, object),
            }
        }
        Ok(workloads.broken)
    }
}

impl Workloads {
    /// A ReplicaSet changed.
    fn set(&mut self, name: &str, set: &Value, gone: bool) {
        let owner = set.pointer("/metadata/ownerReferences/0/name").and_then(Value::as_str).unwrap_or_default().to_owned();
        if gone {
            self.sets.remove(name);
        } else {
            self.sets.insert(name.to_owned(), (owner.clone(), number(set, "/spec/replicas")));
        }
        self.many("deployments", &owner, self.asked_for(&owner));
    }

    /// The pods that a Deployment has asked for.
    fn asked_for(&self, deployment: &str) -> i64 {
        self.sets.values().filter(|(owner, _)| owner == deployment).map(|(_, replicas)| replicas).sum()
    }

    /// A workload changed. What its status says while its controller has not seen the newest spec is about an older one.
    fn changed(&mut self, kind: &'static str, name: &str, state: &Value) {
        let key = (kind, name.to_owned());
        let promise = promise(kind, state);
        let before = self.promises.remove(&key).filter(|(old, _)| Some(*old) == promise);
        let Some(promise) = promise else { return };
        let generation = number(state, "/metadata/generation");
        if number(state, "/status/observedGeneration") != generation {
            self.promises.extend(before.map(|before| (key, before)));
            return;
        }
        let mut seen = before.map(|(_, seen)| seen).unwrap_or_default();
        let (total, available, updated) = counts(kind, state);
        let line = format!("{kind}/{name}: desired {}, updated {updated}, available {available}", promise.desired);
        if self.undisturbed && seen.generation == generation && seen.at_rest && updated < seen.updated {
            self.broken.push(format!("{line}: {} were updated before", seen.updated));
        }
        seen = Seen { generation, updated, at_rest: total <= promise.most, ..seen };
        if available >= promise.least {
            seen.enough = true;
        } else if seen.enough {
            self.broken.push(format!("{line}: fewer than {} are available", promise.least));
        }
        self.promises.insert(key, (promise, seen));
        self.many(kind, name, if kind == "deployments" { self.asked_for(name) } else { total });
    }

    /// A workload has so many pods.
    fn many(&mut self, kind: &'static str, name: &str, total: i64) {
        let Some((promise, seen)) = self.promises.get_mut(&(kind, name.to_owned())) else { return };
        if total <= promise.most {
            seen.few_enough = true;
        } else if seen.few_enough {
            self.broken.push(format!("{kind}/{name}: desired {}, there {total}: more than {} are there", promise.desired, promise.most));
        }
    }
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
    let desired = number(state, if kind == "daemonsets" { "/status/desiredNumberScheduled" } else { "/spec/replicas" });
    let (most, away) = match kind {
        "deployments" => {
            let (surge, away) = (part(&rolling["maxSurge"], desired, true), part(&rolling["maxUnavailable"], desired, false));
            (desired + surge, if surge == 0 && away == 0 { 1 } else { away })
        }
        "daemonsets" => (desired, part(&rolling["maxUnavailable"], desired, true)),
        _ => (desired, 1),
    };
    Some(Promise { desired, most, least: (desired - away).max(0) })
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
