//! The two strategies of a Deployment: rolling update and recreate.

use crate::json::Value;
use std::sync::Arc;

use super::deployment::{Set, View, clean_up, revise};
use super::deployment_scale::resize;
use super::deployment_status as status;
use super::fenceposts::{self, replicas};
use super::pods;
use crate::engine::Ctx;
use crate::kinds;
use crate::rules::Rule;
use crate::status::Status;
use crate::view;

/// One pass of a rolling update: at most one of scaling up and scaling down.
pub(crate) fn rolling(ctx: &mut Ctx<'_>, seen: &mut View) -> Result<(), Status> {
    revise(ctx, seen, true)?;
    if !(scale_up_new(ctx, seen)? || scale_down_old(ctx, seen)?) && status::is_complete_now(&seen.deployment) {
        clean_up(ctx, seen)?;
    }
    status::sync_rollout(ctx, seen)
}

/// One pass of a recreation: all old pods go before the first new one comes.
pub(crate) fn recreate(ctx: &mut Ctx<'_>, seen: &mut View) -> Result<(), Status> {
    revise(ctx, seen, false)?;
    let deployment = Arc::clone(&seen.deployment);
    let mut scaled = false;
    for set in &mut seen.old {
        scaled |= resize(ctx, &deployment, set, 0)?;
    }
    if scaled || (ctx.store.follows(Rule::DeploymentRecreate) && old_pods_exist(ctx, seen)) {
        return status::sync_rollout(ctx, seen);
    }
    if seen.new.is_none() {
        revise(ctx, seen, true)?;
    }
    let deployment = Arc::clone(&seen.deployment);
    if let Some(new) = &mut seen.new {
        resize(ctx, &deployment, new, replicas(&deployment))?;
    }
    if status::is_complete_now(&seen.deployment) {
        clean_up(ctx, seen)?;
    }
    status::sync_rollout(ctx, seen)
}

/// Whether pods of old ReplicaSets are still there, running or terminating.
fn old_pods_exist(ctx: &Ctx<'_>, seen: &View) -> bool {
    let left = |set: &Value| ctx.owned(kinds::POD, view::uid(set)).iter().any(|(_, pod)| !pods::has_ended(pod));
    seen.old.iter().any(|(_, set)| view::count(set, &["status", "replicas"]) > 0 || left(set))
}

/// The size of the new ReplicaSet that the strategy allows now.
pub(crate) fn new_replicas(seen: &View) -> i64 {
    let wanted = replicas(&seen.deployment);
    if !fenceposts::is_rolling(&seen.deployment) {
        return wanted;
    }
    let current = seen.new.as_ref().map_or(0, |(_, set)| replicas(set));
    let most = wanted + fenceposts::resolve(&seen.deployment).surge;
    let total: i64 = seen.all().map(|(_, set)| replicas(set)).sum();
    if total >= most {
        return current;
    }
    current + (most - total).min(wanted - current)
}

fn scale_up_new(ctx: &mut Ctx<'_>, seen: &mut View) -> Result<bool, Status> {
    let deployment = Arc::clone(&seen.deployment);
    let wanted = replicas(&deployment);
    let allowed = if ctx.store.follows(Rule::DeploymentSurge) { new_replicas(seen) } else { wanted };
    let Some(new) = &mut seen.new else { return Ok(false) };
    if replicas(&new.1) == wanted {
        return Ok(false);
    }
    let size = if replicas(&new.1) > wanted { wanted } else { allowed };
    resize(ctx, &deployment, new, size)
}

fn scale_down_old(ctx: &mut Ctx<'_>, seen: &mut View) -> Result<bool, Status> {
    if seen.old.iter().all(|(_, set)| replicas(set) == 0) {
        return Ok(false);
    }
    let deployment = Arc::clone(&seen.deployment);
    let bound = ctx.store.follows(Rule::DeploymentUnavailable);
    let least = if bound { replicas(&deployment) - fenceposts::resolve(&deployment).unavailable } else { 0 };
    let total: i64 = seen.all().map(|(_, set)| replicas(set)).sum();
    let new_missing = seen.new.as_ref().map_or(0, |(_, set)| replicas(set) - available(set));
    let spare = total - least - new_missing;
    if spare <= 0 {
        return Ok(false);
    }
    let cleaned = take_from(ctx, &deployment, &mut seen.old, spare, |set| replicas(set) - available(set))?;
    // Availability counts what the ReplicaSets reported, which the clean-up above has not changed.
    let healthy = seen.sum(&["status", "availableReplicas"]) - least;
    let taken = take_from(ctx, &deployment, &mut seen.old, healthy, replicas)?;
    Ok(cleaned + taken > 0)
}

/// Takes up to `budget` pods from ReplicaSets in their order, from each at most `most`; returns how many.
fn take_from(ctx: &mut Ctx<'_>, deployment: &Value, sets: &mut [Set], budget: i64, most: impl Fn(&Value) -> i64) -> Result<i64, Status> {
    let mut taken = 0;
    for set in sets {
        let size = replicas(&set.1);
        let part = most(&set.1).min(budget - taken).min(size);
        if part > 0 {
            resize(ctx, deployment, set, size - part)?;
            taken += part;
        }
    }
    Ok(taken)
}

fn available(set: &Value) -> i64 {
    view::count(set, &["status", "availableReplicas"])
}
