//! Scaling of ReplicaSets by their Deployment, also in proportion while a rollout is under way.

use crate::json::Value;

use super::deployment::{Set, View};
use super::fenceposts::{self, replicas};
use super::revisions;
use crate::engine::Ctx;
use crate::rules::Rule;
use crate::status::Status;
use crate::view;

/// Whether the Deployment was scaled since its active ReplicaSets were last scaled.
pub(crate) fn is_scaling_event(seen: &View) -> bool {
    let wanted = replicas(&seen.deployment);
    seen.all().filter(|(_, set)| replicas(set) > 0).any(|(_, set)| revisions::desired(set).is_some_and(|desired| desired != wanted))
}

/// Sets the size of one ReplicaSet; true when it was different. `set` becomes what was stored.
pub(crate) fn resize(ctx: &mut Ctx<'_>, deployment: &Value, set: &mut Set, size: i64) -> Result<bool, Status> {
    if replicas(&set.1) == size {
        return Ok(false);
    }
    resize_annotated(ctx, deployment, set, size)
}

/// Like [`resize`], but also renews the annotations when the size stays.
fn resize_annotated(ctx: &mut Ctx<'_>, deployment: &Value, set: &mut Set, size: i64) -> Result<bool, Status> {
    let before = replicas(&set.1);
    let mut scaled = (*set.1).clone();
    view::set(&mut scaled, &["spec", "replicas"], size);
    revisions::set_replicas(&mut scaled, deployment);
    set.1 = ctx.update(&set.0, scaled)?;
    if before == size {
        return Ok(false);
    }
    let direction = if size > before { "up" } else { "down" };
    let text = format!("Scaled {direction} replica set {} from {before} to {size}", set.0.name);
    ctx.event(deployment, "Normal", "ScalingReplicaSet", &text)?;
    Ok(true)
}

/// Brings the ReplicaSets to a new number of replicas without changing how far the rollout is.
pub(crate) fn scale(ctx: &mut Ctx<'_>, seen: &mut View) -> Result<(), Status> {
    let deployment = std::sync::Arc::clone(&seen.deployment);
    let wanted = replicas(&deployment);
    if let Some(only) = active_or_latest(seen) {
        return resize(ctx, &deployment, only, wanted).map(drop);
    }
    if is_saturated(seen) {
        for set in seen.old.iter_mut().filter(|(_, set)| replicas(set) > 0) {
            resize(ctx, &deployment, set, 0)?;
        }
        return Ok(());
    }
    if !fenceposts::is_rolling(&deployment) || !ctx.store.follows(Rule::DeploymentProportional) {
        return Ok(());
    }
    let surge = fenceposts::resolve(&deployment).surge;
    let mut active: Vec<&mut Set> = seen.old.iter_mut().chain(seen.new.as_mut()).filter(|(_, set)| replicas(set) > 0).collect();
    let total: i64 = active.iter().map(|(_, set)| replicas(set)).sum();
    let allowed = if wanted > 0 { wanted + surge } else { 0 };
    let to_add = allowed - total;
    // Upwards the biggest and then the newest gets the rest, downwards the biggest and then the oldest loses it.
    active.sort_by(|a, b| {
        let age = |set: &Set| view::text(&set.1, &["metadata", "creationTimestamp"]).to_owned();
        let older = age(a).cmp(&age(b)).then_with(|| a.0.name.cmp(&b.0.name));
        replicas(&b.1).cmp(&replicas(&a.1)).then(if to_add > 0 { older.reverse() } else { older })
    });
    let reported = view::count(&deployment, &["status", "replicas"]);
    let sizes = proportions(
        &active.iter().map(|set| (replicas(&set.1), revisions::maximum(&set.1))).collect::<Vec<_>>(),
        wanted,
        surge,
        to_add,
        reported,
    );
    for (set, size) in active.into_iter().zip(sizes) {
        resize_annotated(ctx, &deployment, set, size)?;
    }
    Ok(())
}

/// New sizes of ReplicaSets given as (size, annotated maximum), sorted by who gets the rest.
fn proportions(sets: &[(i64, Option<i64>)], wanted: i64, surge: i64, to_add: i64, reported: i64) -> Vec<i64> {
    let mut added = 0;
    let mut sizes: Vec<i64> = sets
        .iter()
        .map(|&(size, maximum)| {
            if to_add == 0 {
                return size;
            }
            let share = proportion(size, maximum, wanted, surge, reported);
            let rest = to_add - added;
            let share = if to_add > 0 { share.min(rest) } else { share.max(rest) };
            added += share;
            size + share
        })
        .collect();
    if let Some(first) = sizes.first_mut().filter(|_| to_add != 0) {
        *first = (*first + to_add - added).max(0);
    }
    sizes
}

fn proportion(size: i64, maximum: Option<i64>, wanted: i64, surge: i64, reported: i64) -> i64 {
    if wanted == 0 {
        return -size;
    }
    let base = maximum.filter(|m| *m > 0).unwrap_or(reported);
    if base <= 0 {
        return 0;
    }
    // Rounded half away from zero, exactly: floating point is not needed for numbers of pods.
    (size * (wanted + surge) * 2 + base).div_euclid(base * 2) - size
}

/// The only active ReplicaSet; without any the new one, or else the newest old one. `None` when several are active.
fn active_or_latest(seen: &mut View) -> Option<&mut Set> {
    let active = seen.all().filter(|(_, set)| replicas(set) > 0).count();
    match active {
        0 if seen.new.is_some() => seen.new.as_mut(),
        0 => seen.old.last_mut(),
        1 => seen.old.iter_mut().chain(seen.new.as_mut()).find(|(_, set)| replicas(set) > 0),
        _ => None,
    }
}

/// Whether the new ReplicaSet has all the pods that are wanted, available.
fn is_saturated(seen: &View) -> bool {
    let wanted = replicas(&seen.deployment);
    seen.new.as_ref().is_some_and(|(_, set)| {
        revisions::desired(set) == Some(wanted) && replicas(set) == wanted && view::count(set, &["status", "availableReplicas"]) == wanted
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_are_added_and_taken_in_proportion() {
        // 10 replicas, surge 3: a rollout stands at 8 old and 5 new; the Deployment is scaled to 15, surge 4.
        assert_eq!(proportions(&[(8, Some(13)), (5, Some(13))], 15, 4, 6, 13), [12, 7]);
        // Back to 10.
        assert_eq!(proportions(&[(12, Some(19)), (7, Some(19))], 10, 3, -6, 19), [8, 5]);
        // To zero everything goes.
        assert_eq!(proportions(&[(8, Some(13)), (5, Some(13))], 0, 0, -13, 13), [0, 0]);
        // Nothing to add leaves sizes alone; the rest goes to the first.
        assert_eq!(proportions(&[(2, Some(4)), (2, Some(4))], 3, 1, 0, 4), [2, 2]);
        assert_eq!(proportions(&[(1, Some(3)), (1, Some(3)), (1, Some(3))], 4, 0, 1, 3), [2, 1, 1]);
    }
}
