//! The status of a Deployment: counters, the conditions `Available`, `Progressing` and `ReplicaFailure`, and the deadline.

use std::sync::Arc;

use crate::json::{Map, Value, json};
use jiff::Timestamp;

use super::deployment::View;
use super::fenceposts;
use crate::engine::{Ctx, Work};
use crate::rules::Rule;
use crate::status::Status;
use crate::store::Key;
use crate::view;

/// `progressDeadlineSeconds` that means "no deadline".
const NO_DEADLINE: i64 = i32::MAX as i64;

/// A condition about to be set.
pub(crate) struct Condition {
    kind: &'static str,
    status: &'static str,
    reason: &'static str,
    message: String,
}

impl Condition {
    /// A `Progressing` condition.
    pub(crate) fn progressing(status: &'static str, reason: &'static str, message: String) -> Self {
        Self { kind: "Progressing", status, reason, message }
    }
}

/// Whether the Deployment has a progress deadline.
pub(crate) fn has_deadline(deployment: &Value) -> bool {
    view::int(deployment, &["spec", "progressDeadlineSeconds"]).is_some_and(|s| s != NO_DEADLINE)
}

/// Sets a condition. One with the same status and reason stays as it is, its message and times included; one with the same
/// status keeps its transition time.
pub(crate) fn put(deployment: &mut Value, condition: Condition, now: Timestamp) {
    let stamp = view::stamp(now);
    let mut since = stamp.clone();
    if let Some(old) = view::condition(deployment, condition.kind)
        && view::text(old, &["status"]) == condition.status
    {
        if view::text(old, &["reason"]) == condition.reason {
            return;
        }
        since = view::shared(old, &["lastTransitionTime"]);
    }
    drop_condition(deployment, condition.kind);
    if let Some(conditions) = view::list_mut(deployment, &["status", "conditions"]) {
        conditions.push(json!({
            "type": condition.kind, "status": condition.status, "reason": condition.reason,
            "message": condition.message, "lastUpdateTime": stamp, "lastTransitionTime": since,
        }));
    }
}

fn drop_condition(deployment: &mut Value, kind: &str) {
    if view::condition(deployment, kind).is_some()
        && let Some(conditions) = view::list_mut(deployment, &["status", "conditions"])
    {
        conditions.retain(|c| view::text(c, &["type"]) != kind);
    }
}

/// Only `observedGeneration`.
pub(crate) fn observe(ctx: &mut Ctx<'_>, key: &Key, deployment: &Value) -> Result<(), Status> {
    let mut seen = deployment.clone();
    view::set(&mut seen, &["status", "observedGeneration"], view::generation(deployment));
    ctx.update(key, seen).map(drop)
}

/// Says in `Progressing` that the Deployment is paused, or is no longer.
pub(crate) fn sync_paused(ctx: &mut Ctx<'_>, key: &Key, deployment: Arc<Value>) -> Result<Arc<Value>, Status> {
    let reason = view::condition(&deployment, "Progressing").map(|c| view::text(c, &["reason"]));
    if !has_deadline(&deployment) || reason == Some("ProgressDeadlineExceeded") {
        return Ok(deployment);
    }
    let condition = match (view::flag(&deployment, &["spec", "paused"]), reason == Some("DeploymentPaused")) {
        (true, false) => ("DeploymentPaused", "Deployment is paused"),
        (false, true) => ("DeploymentResumed", "Deployment is resumed"),
        _ => return Ok(deployment),
    };
    let mut told = (*deployment).clone();
    put(&mut told, Condition::progressing("Unknown", condition.0, condition.1.to_owned()), ctx.now());
    ctx.update(key, told)
}

/// Counters and `Available` as the ReplicaSets report them, with what of the Deployment is needed to judge them: most passes
/// change nothing, and copying templates for that is slow.
fn counted(seen: &View, now: Timestamp) -> Value {
    let deployment = &seen.deployment;
    let of_new = |field: &str| seen.new.as_ref().map_or(0, |(_, set)| view::count(set, &["status", field]));
    let available = seen.sum(&["status", "availableReplicas"]);
    let total: i64 = seen.all().map(|(_, set)| fenceposts::replicas(set)).sum();
    let mut status: Map = Map::new();
    for (field, number) in [
        ("observedGeneration", view::generation(deployment)),
        ("replicas", seen.sum(&["status", "replicas"])),
        ("updatedReplicas", of_new("replicas")),
        ("readyReplicas", seen.sum(&["status", "readyReplicas"])),
        ("availableReplicas", available),
        ("unavailableReplicas", (total - available).max(0)),
    ] {
        if number != 0 {
            status.insert(field.to_owned(), number.into());
        }
    }
    status.insert("terminatingReplicas".to_owned(), seen.sum(&["status", "terminatingReplicas"]).into());
    for field in ["collisionCount", "conditions"] {
        if let Some(kept) = view::at(deployment, &["status", field]) {
            status.insert(field.to_owned(), kept.clone());
        }
    }
    let mut counted = json!({"metadata": {"generation": view::generation(deployment)}, "spec": {}, "status": status});
    for field in ["replicas", "progressDeadlineSeconds"] {
        if let Some(number) = view::int(deployment, &["spec", field]) {
            view::set(&mut counted, &["spec", field], number);
        }
    }
    let least = fenceposts::replicas(deployment) - fenceposts::resolve(deployment).unavailable;
    let condition = if available >= least {
        ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    } else {
        ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    };
    let (status, reason, message) = condition;
    put(&mut counted, Condition { kind: "Available", status, reason, message: message.to_owned() }, now);
    counted
}

/// Writes counters and availability; progress is not judged (paused, scaled or being deleted).
pub(crate) fn sync(ctx: &mut Ctx<'_>, seen: &View) -> Result<(), Status> {
    let counted = counted(seen, ctx.now());
    write(ctx, seen, counted).map(drop)
}

/// Writes the status when it differs; whether it did.
fn write(ctx: &mut Ctx<'_>, seen: &View, mut counted: Value) -> Result<bool, Status> {
    if !ctx.store.is_at_least(35) {
        view::remove(&mut counted, &["status", "terminatingReplicas"]);
    }
    let Some(status) = view::remove(&mut counted, &["status"]) else { return Ok(false) };
    if view::at(&seen.deployment, &["status"]) == Some(&status) {
        return Ok(false);
    }
    let mut next = (*seen.deployment).clone();
    view::set(&mut next, &["status"], status);
    ctx.update(&seen.key, next).map(|_| true)
}

/// Writes the whole status and sets the timer for the deadline.
pub(crate) fn sync_rollout(ctx: &mut Ctx<'_>, seen: &View) -> Result<(), Status> {
    let now = ctx.now();
    let mut next = counted(seen, now);
    if has_deadline(&next) {
        let over = ctx.store.follows(Rule::DeploymentDeadline) && has_timed_out(&next, now);
        judge_progress(&mut next, seen, over, now);
    } else {
        drop_condition(&mut next, "Progressing");
    }
    match replica_failure(seen) {
        Some(failure) => put_failure(&mut next, &failure, now),
        None => drop_condition(&mut next, "ReplicaFailure"),
    }
    if !write(ctx, seen, next)? {
        wait_for_deadline(ctx, seen);
    }
    Ok(())
}

/// `over`: the deadline has passed.
fn judge_progress(next: &mut Value, seen: &View, over: bool, now: Timestamp) {
    let current = view::condition(&seen.deployment, "Progressing").cloned();
    let of = |field: &str| view::count(next, &["status", field]);
    let settled =
        of("replicas") == of("updatedReplicas") && current.as_ref().is_some_and(|c| view::text(c, &["reason"]) == "NewReplicaSetAvailable");
    if settled {
        return;
    }
    let who = match &seen.new {
        Some((key, _)) => format!("ReplicaSet \"{}\"", key.name),
        None => format!("Deployment \"{}\"", seen.key.name),
    };
    if is_complete(next) {
        let text = format!("{who} has successfully progressed.");
        put(next, Condition::progressing("True", "NewReplicaSetAvailable", text), now);
    } else if has_progressed(&seen.deployment, next) {
        let since = current.filter(|c| view::text(c, &["status"]) == "True");
        drop_condition(next, "Progressing");
        let text = format!("{who} is progressing.");
        put(next, Condition::progressing("True", "ReplicaSetUpdated", text), now);
        let last = view::list_mut(next, &["status", "conditions"]).and_then(|c| c.last_mut());
        if let (Some(since), Some(last)) = (since, last) {
            view::set(last, &["lastTransitionTime"], view::text(&since, &["lastTransitionTime"]));
        }
    } else if over {
        let text = format!("{who} has timed out progressing.");
        put(next, Condition::progressing("False", "ProgressDeadlineExceeded", text), now);
    }
}

/// Whether all wanted pods are updated and available and nothing else is left.
fn is_complete(deployment: &Value) -> bool {
    let of = |field: &str| view::count(deployment, &["status", field]);
    let wanted = fenceposts::replicas(deployment);
    [of("updatedReplicas"), of("replicas"), of("availableReplicas")] == [wanted; 3]
        && of("observedGeneration") >= view::generation(deployment)
}

/// Whether the status that is stored says that the rollout is complete.
pub(crate) fn is_complete_now(deployment: &Value) -> bool {
    is_complete(deployment)
}

fn has_progressed(before: &Value, after: &Value) -> bool {
    let old = |field: &str| view::count(before, &["status", field]);
    let new = |field: &str| view::count(after, &["status", field]);
    new("updatedReplicas") > old("updatedReplicas")
        || new("replicas") - new("updatedReplicas") < old("replicas") - old("updatedReplicas")
        || new("readyReplicas") > old("readyReplicas")
        || new("availableReplicas") > old("availableReplicas")
}

fn has_timed_out(deployment: &Value, now: Timestamp) -> bool {
    let Some(condition) = view::condition(deployment, "Progressing") else { return false };
    match view::text(condition, &["reason"]) {
        "NewReplicaSetAvailable" => false,
        "ProgressDeadlineExceeded" => true,
        _ => deadline(deployment, condition).is_some_and(|at| at < now),
    }
}

fn deadline(deployment: &Value, condition: &Value) -> Option<Timestamp> {
    let seconds = view::int(deployment, &["spec", "progressDeadlineSeconds"])?;
    view::time(condition, &["lastUpdateTime"]).map(|from| view::later_s(from, seconds))
}

/// Nothing changed: the next thing to happen by itself is the deadline.
fn wait_for_deadline(ctx: &mut Ctx<'_>, seen: &View) {
    let deployment = &seen.deployment;
    let Some(condition) = view::condition(deployment, "Progressing") else { return };
    let over = matches!(view::text(condition, &["reason"]), "ProgressDeadlineExceeded" | "NewReplicaSetAvailable");
    if !has_deadline(deployment) || over || is_complete(deployment) || !ctx.store.follows(Rule::DeploymentDeadline) {
        return;
    }
    if let Some(at) = deadline(deployment, condition) {
        // The real controller looks one second after the deadline.
        ctx.engine.wake_at(Work::Deployment(seen.key.clone()), view::later_s(at, 1));
    }
}

/// A failure that a ReplicaSet reports; the new one first.
fn replica_failure(seen: &View) -> Option<Value> {
    let new_first = seen.new.iter().chain(&seen.old);
    new_first.filter_map(|(_, set)| view::condition(set, "ReplicaFailure")).next().cloned()
}

fn put_failure(deployment: &mut Value, failure: &Value, now: Timestamp) {
    let same = view::condition(deployment, "ReplicaFailure")
        .is_some_and(|old| ["status", "reason"].iter().all(|field| view::text(old, &[field]) == view::text(failure, &[field])));
    if same {
        return;
    }
    drop_condition(deployment, "ReplicaFailure");
    let mut condition = failure.clone();
    let stamp = view::shared(failure, &["lastTransitionTime"]);
    view::set(&mut condition, &["lastUpdateTime"], if stamp.is_empty() { view::stamp(now) } else { stamp });
    if let Some(conditions) = view::list_mut(deployment, &["status", "conditions"]) {
        conditions.push(condition);
    }
}
