//! What controllers ask about pods: readiness, availability, and in which order they may go.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::json::{Value, json};
use jiff::Timestamp;

use crate::store::Key;
use crate::view;

/// A pod with its key.
pub(crate) type KeyedPod = (Key, Arc<Value>);

/// Whether the pod counts for its controller: neither ended nor being deleted.
pub(crate) fn is_active(pod: &Value) -> bool {
    !has_ended(pod) && !view::is_terminating(pod)
}

/// Whether the pod has succeeded or failed for good.
pub(crate) fn has_ended(pod: &Value) -> bool {
    matches!(view::text(pod, &["status", "phase"]), "Succeeded" | "Failed")
}

/// The pod with this condition in its status. The transition time stays while the status does; an empty reason or message is
/// left out.
pub(crate) fn with_condition(pod: &Value, kind: &str, status: &str, reason: &str, message: &str, now: Timestamp) -> Value {
    let old = view::condition(pod, kind).filter(|old| view::text(old, &["status"]) == status);
    let since = old.map_or_else(|| view::stamp(now), |old| view::shared(old, &["lastTransitionTime"]));
    let mut condition = json!({"type": kind, "status": status, "lastProbeTime": null, "lastTransitionTime": since});
    for (field, text) in [("reason", reason), ("message", message)] {
        if !text.is_empty() {
            view::set(&mut condition, &[field], text);
        }
    }
    let mut pod = pod.clone();
    if let Some(conditions) = view::list_mut(&mut pod, &["status", "conditions"]) {
        match conditions.iter().position(|c| view::text(c, &["type"]) == kind) {
            Some(at) => conditions[at] = condition,
            None => conditions.push(condition),
        }
    }
    pod
}

/// Whether the `Ready` condition is true.
pub(crate) fn is_ready(pod: &Value) -> bool {
    view::condition_is_true(pod, "Ready")
}

/// Since when the pod is ready.
fn ready_since(pod: &Value) -> Option<Timestamp> {
    view::condition(pod, "Ready").and_then(|c| view::time(c, &["lastTransitionTime"])).filter(|_| is_ready(pod))
}

/// When a ready pod has been ready for `min_ready` seconds; `None` when it is not ready.
pub(crate) fn available_at(pod: &Value, min_ready: i64) -> Option<Timestamp> {
    if !is_ready(pod) {
        return None;
    }
    if min_ready == 0 {
        return Some(Timestamp::MIN);
    }
    ready_since(pod).map(|since| view::later_s(since, min_ready))
}

/// Whether the pod is ready for at least `min_ready` seconds.
pub(crate) fn is_available(pod: &Value, min_ready: i64, now: Timestamp) -> bool {
    available_at(pod, min_ready).is_some_and(|at| at <= now)
}

/// Restarts of all containers together; the most restarted container counts.
fn restarts(pod: &Value) -> i64 {
    view::list(pod, &["status", "containerStatuses"]).iter().map(|c| view::count(c, &["restartCount"])).max().unwrap_or(0)
}

/// The cost of deleting this pod, set by an annotation.
fn deletion_cost(pod: &Value) -> i64 {
    view::annotation(pod, "controller.kubernetes.io/pod-deletion-cost").and_then(|v| v.parse().ok()).unwrap_or(0)
}

/// Sorts pods in the order in which a ReplicaSet deletes them. `related` are the active pods of all ReplicaSets of the same
/// owner: a node with more of them gives one up first.
pub(crate) fn sort_for_deletion(pods: &mut [KeyedPod], related: &[KeyedPod], now: Timestamp) {
    let mut on_node: BTreeMap<String, i64> = BTreeMap::new();
    for (_, pod) in related.iter().filter(|(_, pod)| is_active(pod)) {
        *on_node.entry(view::text(pod, &["spec", "nodeName"]).to_owned()).or_default() += 1;
    }
    let rank = |pod: &Value| on_node.get(view::text(pod, &["spec", "nodeName"])).copied().unwrap_or(0);
    pods.sort_by(|(_, a), (_, b)| before(a, b, rank(a), rank(b), now));
}

fn before(a: &Value, b: &Value, rank_a: i64, rank_b: i64, now: Timestamp) -> Ordering {
    let assigned = |pod: &Value| !view::text(pod, &["spec", "nodeName"]).is_empty();
    let phase = |pod: &Value| match view::text(pod, &["status", "phase"]) {
        "Pending" => 0,
        "Unknown" => 1,
        _ => 2,
    };
    assigned(a)
        .cmp(&assigned(b))
        .then_with(|| phase(a).cmp(&phase(b)))
        .then_with(|| is_ready(a).cmp(&is_ready(b)))
        .then_with(|| deletion_cost(a).cmp(&deletion_cost(b)))
        .then_with(|| rank_b.cmp(&rank_a))
        .then_with(|| age(ready_since(a), now).cmp(&age(ready_since(b), now)))
        .then_with(|| restarts(b).cmp(&restarts(a)))
        .then_with(|| age(created(a), now).cmp(&age(created(b), now)))
        .then_with(|| view::uid(a).cmp(view::uid(b)))
}

fn created(pod: &Value) -> Option<Timestamp> {
    view::time(pod, &["metadata", "creationTimestamp"])
}

/// An age in buckets that double in size: inside one bucket older is no better. The real server lets the uid decide there at
/// once; here it does so last, because its order has cycles.
fn age(then: Option<Timestamp>, now: Timestamp) -> i64 {
    then.map_or(-2, |then| view::since(now, then).as_nanos().max(0).checked_ilog2().map_or(-1, i64::from))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds;

    fn pod(name: &str, node: &str, phase: &str, ready: Option<&str>) -> KeyedPod {
        let mut pod = json!({"metadata": {"name": name, "uid": name, "creationTimestamp": "2001-02-03T04:05:06Z"},
            "spec": {"nodeName": node}, "status": {"phase": phase}});
        if let Some(since) = ready {
            pod["status"]["conditions"] = json!([{"type": "Ready", "status": "True", "lastTransitionTime": since}]);
        }
        (Key::new(kinds::POD, "x", name), Arc::new(pod))
    }

    #[test]
    fn the_least_useful_pod_goes_first() {
        let now = "2001-02-03T05:00:00Z".parse().unwrap();
        let old = Some("2001-02-03T04:06:00Z");
        let mut pods = vec![
            pod("ready-old", "n1", "Running", old),
            pod("ready-young", "n2", "Running", Some("2001-02-03T04:59:50Z")),
            pod("unready", "n3", "Running", None),
            pod("pending", "n4", "Pending", None),
            pod("unassigned", "", "Pending", None),
        ];
        let related = pods.clone();
        sort_for_deletion(&mut pods, &related, now);
        let names: Vec<&str> = pods.iter().map(|(key, _)| key.name.as_str()).collect();
        assert_eq!(names, ["unassigned", "pending", "unready", "ready-young", "ready-old"]);
    }

    #[test]
    fn crowded_nodes_and_cheap_pods_give_up_first() {
        let now = "2001-02-03T05:00:00Z".parse().unwrap();
        let old = Some("2001-02-03T04:06:00Z");
        let mut pods = vec![pod("alone", "n1", "Running", old), pod("crowd-a", "n2", "Running", old), pod("crowd-b", "n2", "Running", old)];
        let related = pods.clone();
        sort_for_deletion(&mut pods, &related, now);
        assert_eq!(pods[2].0.name, "alone");
        let mut dear = (*pods[0].1).clone();
        view::set(&mut dear, &["metadata", "annotations", "controller.kubernetes.io/pod-deletion-cost"], "10");
        pods[0].1 = Arc::new(dear);
        let dear_name = pods[0].0.name.clone();
        sort_for_deletion(&mut pods, &related, now);
        assert_eq!(pods[2].0.name, dear_name);
    }

    #[test]
    fn availability_waits_for_min_ready_seconds() {
        let (_, pod) = pod("p", "n", "Running", Some("2001-02-03T04:06:00Z"));
        let at = |t: &str| is_available(&pod, 10, t.parse().unwrap());
        assert!(!at("2001-02-03T04:06:09Z"));
        assert!(at("2001-02-03T04:06:10Z"));
        assert!(is_available(&pod, 0, "2001-02-03T04:06:00Z".parse().unwrap()));
    }
}
