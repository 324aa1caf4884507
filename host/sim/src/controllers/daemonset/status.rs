//! The counters of a DaemonSet.

use crate::json::{Map, Value};

use super::View;
use crate::controllers::{pods, replicaset};
use crate::engine::{Ctx, Work};
use crate::status::Status;
use crate::view;

/// Counts and writes the status. The first pod of a node speaks for it (placed before pending, then the oldest), even while
/// it is being deleted, as in the real controller.
pub(super) fn write(ctx: &mut Ctx<'_>, seen: &View) -> Result<(), Status> {
    let (now, min_ready) = (ctx.now(), seen.min_ready());
    let (mut current, mut ready, mut available, mut updated, mut misplaced) = (0_u64, 0_u64, 0_u64, 0_u64, 0_u64);
    for node in &seen.wanted {
        let Some((_, pod)) = seen.pods.get(node).and_then(|pods| pods.first()) else { continue };
        current += 1;
        ready += u64::from(pods::is_ready(pod));
        available += u64::from(pods::is_available(pod, min_ready, now));
        updated += u64::from(seen.is_updated(pod));
    }
    for (node, pods) in &seen.pods {
        misplaced += u64::from(!seen.wanted.contains(node) && !node.is_empty() && !pods.is_empty());
    }
    let wanted = seen.wanted.len() as u64;
    let mut status = Map::new();
    for (field, number) in
        [("currentNumberScheduled", current), ("desiredNumberScheduled", wanted), ("numberMisscheduled", misplaced), ("numberReady", ready)]
    {
        status.insert(field.to_owned(), number.into());
    }
    for (field, number) in [
        ("observedGeneration", u64::try_from(view::generation(&seen.set)).unwrap_or(0)),
        ("updatedNumberScheduled", updated),
        ("numberAvailable", available),
        ("numberUnavailable", wanted - available),
    ] {
        if number > 0 {
            status.insert(field.to_owned(), number.into());
        }
    }
    let active: Vec<_> = seen.pods.values().flatten().filter(|(_, pod)| pods::is_active(pod)).cloned().collect();
    if let Some(at) = replicaset::next_available(&active, min_ready, now) {
        ctx.engine.wake_at(Work::DaemonSet(seen.key.clone()), at);
    }
    for field in ["collisionCount", "conditions"] {
        if let Some(kept) = view::at(&seen.set, &["status", field]) {
            status.insert(field.to_owned(), kept.clone());
        }
    }
    let status = Value::from(status);
    if view::at(&seen.set, &["status"]) == Some(&status) {
        return Ok(());
    }
    let mut next = (*seen.set).clone();
    view::set(&mut next, &["status"], status);
    ctx.update(&seen.key, next).map(drop)
}
