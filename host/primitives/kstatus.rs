//! Whether an object is as its owner wants it: the rules of kstatus, with the changes listed at [`super::ready`].

use crate::base::json::Value as Json;

use super::view;
use super::workload::replicas;
use crate::base::{Span, Timestamp};
use crate::cluster::Resource;

/// How long a pod may be unschedulable, and an object without any status young, before that says something.
const UNSCHEDULABLE: Span = Span::from_secs(15);
/// How long a ReplicaSet may fail to create pods.
const REPLICA_FAILURE: Span = Span::from_secs(60);
/// How young an object without a status may be.
const FRESH: Span = Span::from_secs(5);

/// How an object is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Readiness {
    /// `Current`, `InProgress`, `Failed`, `Terminating`, `NotFound`.
    pub(super) status: &'static str,
    /// One word.
    pub(super) reason: String,
    /// One sentence.
    pub(super) message: String,
}

impl Readiness {
    pub(super) fn new(status: &'static str, reason: impl Into<String>, message: impl Into<String>) -> Readiness {
        Readiness { status, reason: reason.into(), message: message.into() }
    }

    fn current(message: impl Into<String>) -> Readiness {
        Readiness::new("Current", "Current", message)
    }

    fn going(reason: impl Into<String>, message: impl Into<String>) -> Readiness {
        Readiness::new("InProgress", reason, message)
    }

    fn failed(reason: impl Into<String>, message: impl Into<String>) -> Readiness {
        Readiness::new("Failed", reason, message)
    }

    /// From a condition, with its words.
    fn of(status: &'static str, condition: &Json) -> Readiness {
        let kind = view::text(condition, "/type");
        let reason = Some(view::text(condition, "/reason")).filter(|text| !text.is_empty()).unwrap_or(kind);
        let message = Some(view::text(condition, "/message")).filter(|text| !text.is_empty());
        let message = message.map_or_else(|| format!("{kind} is {}", view::text(condition, "/status")), str::to_owned);
        Readiness::new(status, reason, message)
    }
}

/// How the object is at this time.
pub(super) fn of(resource: &Resource, object: &Json, now: Timestamp) -> Readiness {
    if view::is_terminating(object) {
        return Readiness::new("Terminating", "Terminating", "its deletion has begun");
    }
    if let Some(seen) = view::int(object, "/status/observedGeneration")
        && seen != view::count(object, "/metadata/generation")
    {
        return Readiness::going("LatestGenerationNotObserved", "its controller has not seen the latest change yet");
    }
    if let Some(condition) = view::condition(object, "Reconciling").filter(|_| view::holds(object, "Reconciling")) {
        return Readiness::of("InProgress", condition);
    }
    if let Some(condition) = view::condition(object, "Stalled").filter(|_| view::holds(object, "Stalled")) {
        return Readiness::of("Failed", condition);
    }
    match (resource.group.as_str(), resource.kind.as_str()) {
        ("", "Pod") => pod(object, now),
        ("", "Node") => node(object),
        ("", "Service") => service(object),
        ("", "Secret" | "ConfigMap" | "Namespace" | "ServiceAccount") | ("batch", "CronJob") => Readiness::current("it is there"),
        ("policy", "PodDisruptionBudget") => Readiness::current("it is there"),
        ("", "PersistentVolumeClaim") => match view::text(object, "/status/phase") {
            "Bound" => Readiness::current("bound"),
            "" => Readiness::going("NotBound", "it has no status yet"),
            phase => Readiness::going("NotBound", format!("it is {phase}")),
        },
        ("apps", "Deployment") => deployment(object, now),
        ("apps", "ReplicaSet") | ("", "ReplicationController") => replica_set(object, now),
        ("apps", "StatefulSet") => stateful_set(object),
        ("apps", "DaemonSet") => daemon_set(object),
        ("batch", "Job") => job(object),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => definition(object),
        ("apiregistration.k8s.io", "APIService") => condition(object, "Available"),
        ("operator.tigera.io", "TigeraStatus") => operator(object),
        _ => other(object, now),
    }
}

fn pod(object: &Json, now: Timestamp) -> Readiness {
    let waits = |reason: &str| {
        view::list(object, "/status/containerStatuses").iter().any(|status| view::text(status, "/state/waiting/reason") == reason)
    };
    match view::text(object, "/status/phase") {
        "Succeeded" => Readiness::current("it has completed"),
        "Failed" => match view::text(object, "/status/message") {
            "" => Readiness::failed("PodFailed", "it has failed"),
            message => Readiness::failed("PodFailed", message),
        },
        _ if view::is_ready(object) => Readiness::current("it is ready"),
        _ if waits("CrashLoopBackOff") => Readiness::failed("CrashLoopBackOff", "a container ends again and again"),
        phase => match view::condition(object, "PodScheduled").filter(|condition| view::text(condition, "/status") == "False") {
            Some(condition) if older(condition, UNSCHEDULABLE, now) => Readiness::of("Failed", condition),
            Some(condition) => Readiness::of("InProgress", condition),
            None if phase.is_empty() => Readiness::going("PodNotReady", "it has no status yet"),
            None => Readiness::going("PodNotReady", format!("it is {phase} and not ready")),
        },
    }
}

/// Whether a condition has been as it is for that long.
fn older(condition: &Json, span: Span, now: Timestamp) -> bool {
    view::time(condition, "/lastTransitionTime").is_none_or(|since| Span::between(since, now) >= span)
}

fn node(object: &Json) -> Readiness {
    let ready = condition(object, "Ready");
    match view::condition(object, "NetworkUnavailable").filter(|_| view::holds(object, "NetworkUnavailable")) {
        Some(network) if ready.status == "Current" => Readiness::of("InProgress", network),
        _ => ready,
    }
}

fn service(object: &Json) -> Readiness {
    if view::text(object, "/spec/type") == "LoadBalancer" && view::text(object, "/spec/clusterIP").is_empty() {
        return Readiness::going("NoIPAssigned", "it has no cluster address yet");
    }
    Readiness::current("it is there")
}

/// The first of these pairs whose first number is smaller than its second.
fn lacking(rules: &[(&'static str, &str, i64, i64)]) -> Option<Readiness> {
    let (reason, what, have, want) = rules.iter().find(|(_, _, have, want)| have < want)?;
    Some(Readiness::going(*reason, format!("{what}: {have}/{want}")))
}

fn replica_failure(object: &Json, now: Timestamp) -> Option<Readiness> {
    let condition = view::condition(object, "ReplicaFailure").filter(|_| view::holds(object, "ReplicaFailure"))?;
    Some(Readiness::of(if older(condition, REPLICA_FAILURE, now) { "Failed" } else { "InProgress" }, condition))
}

fn deployment(object: &Json, now: Timestamp) -> Readiness {
    let progressing = view::condition(object, "Progressing");
    if let Some(condition) = progressing.filter(|condition| view::text(condition, "/reason") == "ProgressDeadlineExceeded") {
        return Readiness::of("Failed", condition);
    }
    if let Some(failure) = replica_failure(object, now) {
        return failure;
    }
    let status = |field: &str| view::count(object, &format!("/status/{field}"));
    let wanted = replicas(object);
    let (total, updated, available) = (status("replicas"), status("updatedReplicas"), status("availableReplicas"));
    let rules = [
        ("LessReplicas", "pods", total, wanted),
        ("LessUpdated", "updated pods", updated, wanted),
        ("ExtraPods", "pods that may stay", wanted, total),
        ("LessAvailable", "available pods", available, updated),
        ("LessReady", "ready pods", status("readyReplicas"), wanted),
    ];
    if let Some(lacking) = lacking(&rules) {
        return lacking;
    }
    let deadline = view::int(object, "/spec/progressDeadlineSeconds").is_some_and(|seconds| seconds < i64::from(i32::MAX));
    if let Some(condition) = progressing.filter(|_| deadline)
        && !(view::text(condition, "/status") == "True" && view::text(condition, "/reason") == "NewReplicaSetAvailable")
    {
        return Readiness::of("InProgress", condition);
    }
    if !view::holds(object, "Available") {
        return Readiness::going("DeploymentNotAvailable", "it is not available");
    }
    Readiness::current(format!("{wanted}/{wanted} pods are available"))
}

fn replica_set(object: &Json, now: Timestamp) -> Readiness {
    if let Some(failure) = replica_failure(object, now) {
        return failure;
    }
    let status = |field: &str| view::count(object, &format!("/status/{field}"));
    let wanted = replicas(object);
    let rules = [
        ("LessLabelled", "pods with its labels", status("fullyLabeledReplicas"), wanted),
        ("LessAvailable", "available pods", status("availableReplicas"), wanted),
        ("LessReady", "ready pods", status("readyReplicas"), wanted),
        ("ExtraPods", "pods that may stay", wanted, status("replicas")),
    ];
    lacking(&rules).unwrap_or_else(|| Readiness::current(format!("{wanted}/{wanted} pods are available")))
}

fn stateful_set(object: &Json) -> Readiness {
    let status = |field: &str| view::count(object, &format!("/status/{field}"));
    let wanted = replicas(object);
    let rules = [
        ("LessReplicas", "pods", status("replicas"), wanted),
        ("LessReady", "ready pods", status("readyReplicas"), wanted),
        ("ExtraPods", "pods that may stay", wanted, status("replicas")),
    ];
    if let Some(lacking) = lacking(&rules) {
        return lacking;
    }
    if view::text(object, "/spec/updateStrategy/type") == "OnDelete" {
        return Readiness::current(format!("{wanted}/{wanted} pods are ready"));
    }
    let due = (wanted - view::count(object, "/spec/updateStrategy/rollingUpdate/partition")).max(0);
    lacking(&[("LessUpdated", "updated pods", status("updatedReplicas"), due)])
        .unwrap_or_else(|| Readiness::current(format!("{wanted}/{wanted} pods are ready")))
}

fn daemon_set(object: &Json) -> Readiness {
    if view::int(object, "/status/observedGeneration").is_none() {
        return Readiness::going("NoObservedGeneration", "its controller has not seen it yet");
    }
    let status = |field: &str| view::count(object, &format!("/status/{field}"));
    let wanted = status("desiredNumberScheduled");
    // With OnDelete the pods are updated when somebody deletes them: until then the set is as it was asked to be.
    let updated = if view::text(object, "/spec/updateStrategy/type") == "OnDelete" { wanted } else { status("updatedNumberScheduled") };
    let rules = [
        ("LessNodes", "nodes with a pod", status("currentNumberScheduled"), wanted),
        ("LessUpdated", "updated nodes", updated, wanted),
        ("LessAvailable", "available nodes", status("numberAvailable"), wanted),
        ("LessReady", "ready nodes", status("numberReady"), wanted),
    ];
    lacking(&rules).unwrap_or_else(|| Readiness::current(format!("{wanted}/{wanted} nodes are available")))
}

fn job(object: &Json) -> Readiness {
    if view::holds(object, "Complete") {
        return Readiness::current("it has completed");
    }
    if let Some(condition) = view::condition(object, "Failed").filter(|_| view::holds(object, "Failed")) {
        return Readiness::of("Failed", condition);
    }
    if view::flag(object, "/spec/suspend") {
        return Readiness::current("it is suspended");
    }
    Readiness::going("JobRunning", format!("{} succeeded", view::count(object, "/status/succeeded")))
}

fn definition(object: &Json) -> Readiness {
    let is_false = |kind: &str| view::condition(object, kind).filter(|condition| view::text(condition, "/status") == "False");
    if let Some(condition) = is_false("NamesAccepted") {
        return Readiness::of("Failed", condition);
    }
    match is_false("Established") {
        Some(condition) if view::text(condition, "/reason") != "Installing" => Readiness::of("Failed", condition),
        _ => condition(object, "Established"),
    }
}

/// `TigeraStatus` and its like: available, not degraded, not progressing.
fn operator(object: &Json) -> Readiness {
    for (kind, status) in [("Degraded", "Failed"), ("Progressing", "InProgress")] {
        if let Some(condition) = view::condition(object, kind).filter(|_| view::holds(object, kind)) {
            return Readiness::of(status, condition);
        }
    }
    condition(object, "Available")
}

/// By one condition: `True` is current, all else is on its way.
fn condition(object: &Json, kind: &str) -> Readiness {
    match view::condition(object, kind) {
        Some(condition) if view::text(condition, "/status") == "True" => Readiness::of("Current", condition),
        Some(condition) => Readiness::of("InProgress", condition),
        None => Readiness::going("NoCondition", format!("it has no condition {kind} yet")),
    }
}

fn other(object: &Json, now: Timestamp) -> Readiness {
    if view::condition(object, "Ready").is_some() {
        return condition(object, "Ready");
    }
    let young = view::time(object, "/metadata/creationTimestamp").is_some_and(|at| Span::between(at, now) < FRESH);
    if object.get("status").is_none() && young {
        return Readiness::going("NoStatus", "it is new and has no status yet");
    }
    Readiness::current("it is there")
}

#[cfg(test)]
#[path = "kstatus_tests.rs"]
mod tests;
