//! The counters of a DaemonSet.

use std::sync::Arc;

use crate::engine::{Ctx, Work};
use crate::json::{Map, Value};
use crate::status::Status;
use crate::store::Key;
use crate::view;

/// Writes the status from what is known of the nodes. The first pod of a node speaks for it (placed before pending, then the oldest),
/// even while it is being deleted, as in the real controller.
pub(super) fn write(ctx: &mut Ctx<'_>, key: &Key, set: &Arc<Value>) -> Result<(), Status> {
    let Some(coverage) = ctx.engine.coverages.of(view::uid(set)) else { return Ok(()) };
    let (tally, ripe) = (coverage.tally, coverage.next_ripe());
    let mut status = Map::new();
    for (field, number) in [
        ("currentNumberScheduled", tally.current),
        ("desiredNumberScheduled", tally.desired),
        ("numberMisscheduled", tally.misplaced),
        ("numberReady", tally.ready),
    ] {
        status.insert(field, number.into());
    }
    for (field, number) in [
        ("observedGeneration", view::generation(set)),
        ("updatedNumberScheduled", tally.updated),
        ("numberAvailable", tally.available),
        ("numberUnavailable", tally.desired - tally.available),
    ] {
        if number > 0 {
            status.insert(field, number.into());
        }
    }
    if let Some(at) = ripe {
        ctx.engine.wake_at(Work::DaemonSet(key.clone()), at);
    }
    for field in ["collisionCount", "conditions"] {
        if let Some(kept) = view::at(set, &["status", field]) {
            status.insert(field, kept.clone());
        }
    }
    let status = Value::from(status);
    if view::at(set, &["status"]) == Some(&status) {
        return Ok(());
    }
    let mut next = (**set).clone();
    view::set(&mut next, &["status"], status);
    ctx.update(key, next).map(drop)
}
