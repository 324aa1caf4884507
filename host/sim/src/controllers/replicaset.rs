//! The ReplicaSet controller: keeps the number of active pods.

use std::sync::Arc;

use crate::json::{Map, Value, json};
use jiff::{SignedDuration, Timestamp};

use super::fenceposts::replicas;
use super::pods::{self, KeyedPod};
use super::{claim, template};
use crate::engine::{Ctx, Work};
use crate::kinds;
use crate::rules::Rule;
use crate::status::Status;
use crate::store::Key;
use crate::view;

/// The most pods that are made or deleted in one pass.
const BURST: usize = 500;

/// Whether a loaded ReplicaSet is in the middle of something.
pub(crate) fn is_unfinished(set: &Value) -> bool {
    view::generation(set) != view::count(set, &["status", "observedGeneration"])
        || view::count(set, &["status", "replicas"]) != replicas(set)
}

/// Reconciles one ReplicaSet.
pub(crate) fn sync(ctx: &mut Ctx<'_>, key: &Key) -> Result<(), Status> {
    let Some(set) = ctx.get(key) else { return Ok(()) };
    let pods = claim::pods(ctx, &set, None, |_| true)?;
    let active: Vec<KeyedPod> = pods.iter().filter(|(_, pod)| pods::is_active(pod)).cloned().collect();
    let terminating = pods.iter().filter(|(_, p)| view::is_terminating(p) && !pods::has_ended(p)).count();
    let failure = if view::is_terminating(&set) { None } else { manage(ctx, &set, &active)? };
    let failed = failure.is_some();
    write_status(ctx, key, &active, terminating, failure)?;
    if failed {
        try_again(ctx, key);
    }
    Ok(())
}

/// Comes back to a set whose pods were refused: after a second, then each time after twice as long, up to a quarter of an hour (the real
/// controller doubles from 5 ms on, up to 1000 s).
fn try_again(ctx: &mut Ctx<'_>, key: &Key) {
    const LONGEST: SignedDuration = SignedDuration::from_secs(1000);
    let now = ctx.now();
    let set = ctx.get(key);
    let began = set.as_deref().and_then(|set| view::time(view::condition(set, "ReplicaFailure")?, &["lastTransitionTime"]));
    let span = began.map_or(SignedDuration::ZERO, |began| now.duration_since(began));
    let wait = span.clamp(SignedDuration::from_secs(1), LONGEST);
    ctx.engine.wake_at(Work::ReplicaSet(key.clone()), view::later(now, wait));
}

/// Makes missing pods or deletes surplus ones; the reason and message when that was refused.
fn manage(ctx: &mut Ctx<'_>, set: &Arc<Value>, active: &[KeyedPod]) -> Result<Option<(&'static str, String)>, Status> {
    let wanted = usize::try_from(replicas(set)).unwrap_or(0);
    for _ in active.len()..wanted.min(active.len() + BURST) {
        match ctx.create(kinds::POD, template::pod(set)) {
            Ok(pod) => ctx.event(set, "Normal", "SuccessfulCreate", &format!("Created pod: {}", view::name(&pod)))?,
            // A refusal would hit the rest of the batch as well.
            Err(refused) => {
                ctx.event(set, "Warning", "FailedCreate", &format!("Error creating: {}", refused.message()))?;
                return Ok(Some(("FailedCreate", refused.message().to_owned())));
            }
        }
    }
    if active.len() > wanted {
        let mut ranked = active.to_vec();
        let related = related_pods(ctx, set, active);
        if ctx.store.follows(Rule::DeletionOrder) {
            pods::sort_for_deletion(&mut ranked, &related, ctx.now());
        }
        for (key, _) in ranked.into_iter().take((active.len() - wanted).min(BURST)) {
            ctx.delete(&key)?;
            ctx.event(set, "Normal", "SuccessfulDelete", &format!("Deleted pod: {}", key.name))?;
        }
    }
    Ok(None)
}

/// The pods of all ReplicaSets that have the same controller.
fn related_pods(ctx: &Ctx<'_>, set: &Value, own: &[KeyedPod]) -> Vec<KeyedPod> {
    let Some(owner) = view::controller_uid(set) else { return own.to_vec() };
    let sets = ctx.owned(kinds::REPLICA_SET, owner);
    sets.iter().flat_map(|(_, set)| ctx.owned(kinds::POD, view::uid(set))).collect()
}

/// Writes what was seen before anything was made or deleted, as the real controller does.
fn write_status(
    ctx: &mut Ctx<'_>,
    key: &Key,
    active: &[KeyedPod],
    terminating: usize,
    failure: Option<(&'static str, String)>,
) -> Result<(), Status> {
    let Some(set) = ctx.get(key) else { return Ok(()) };
    let now = ctx.now();
    let min_ready = if ctx.store.follows(Rule::MinReadySeconds) { view::count(&set, &["spec", "minReadySeconds"]) } else { 0 };
    let labels = view::at(&set, &["spec", "template", "metadata", "labels"]).and_then(Value::as_object);
    let has_all_labels =
        |pod: &Value| labels.is_none_or(|want| want.iter().all(|(k, v)| view::labels(pod).and_then(|l| l.get(k)) == Some(v)));
    let count = |what: &dyn Fn(&Value) -> bool| active.iter().filter(|(_, pod)| what(pod)).count();
    let mut status = Map::new();
    status.insert("replicas".to_owned(), active.len().into());
    if ctx.store.is_at_least(35) {
        status.insert("terminatingReplicas".to_owned(), terminating.into());
    }
    for (field, number) in [
        ("fullyLabeledReplicas", count(&has_all_labels)),
        ("readyReplicas", count(&pods::is_ready)),
        ("availableReplicas", count(&|pod| pods::is_available(pod, min_ready, now))),
        ("observedGeneration", usize::try_from(view::generation(&set)).unwrap_or(0)),
    ] {
        if number > 0 {
            status.insert(field.to_owned(), number.into());
        }
    }
    if let Some(condition) = failure_condition(&set, failure, now) {
        status.insert("conditions".to_owned(), json!([condition]));
    }
    if let Some(at) = next_available(active, min_ready, now) {
        ctx.engine.wake_at(Work::ReplicaSet(key.clone()), at);
    }
    let status = Value::from(status);
    if view::at(&set, &["status"]) == Some(&status) {
        return Ok(());
    }
    let mut next = (*set).clone();
    view::set(&mut next, &["status"], status);
    ctx.update(key, next).map(drop)
}

fn failure_condition(set: &Value, failure: Option<(&'static str, String)>, now: Timestamp) -> Option<Value> {
    let (reason, message) = failure?;
    let old = view::condition(set, "ReplicaFailure").filter(|old| view::text(old, &["reason"]) == reason);
    Some(old.cloned().unwrap_or_else(|| {
        json!({"type": "ReplicaFailure", "status": "True", "reason": reason, "message": message,
            "lastTransitionTime": view::stamp(now)})
    }))
}

/// When the next ready pod becomes available.
pub(crate) fn next_available(active: &[KeyedPod], min_ready: i64, now: Timestamp) -> Option<Timestamp> {
    active.iter().filter_map(|(_, pod)| pods::available_at(pod, min_ready)).filter(|at| *at > now).min()
}
