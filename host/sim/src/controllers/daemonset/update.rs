//! The rolling update of a DaemonSet, node by node.

use std::sync::Arc;

use super::coverage::Coverage;
use super::judge::Step;
use super::{create, delete};
use crate::engine::Ctx;
use crate::json::{Text, Value};
use crate::rules::Rule;
use crate::status::Status;
use crate::store::Key;
use crate::view;

/// `maxSurge` or `maxUnavailable` for the nodes that want a pod; percentages round up.
fn limit(set: &Value, coverage: &Coverage, field: &str) -> i64 {
    let rolling = view::at(set, &["spec", "updateStrategy", "rollingUpdate"]);
    view::int_or_percent(rolling.and_then(|r| r.get(field)), coverage.tally.desired, true)
}

/// One pass: replaces what the limits allow now.
pub(super) fn rolling(ctx: &mut Ctx<'_>, set: &Arc<Value>, hash: &str) -> Result<(), Status> {
    let Some(coverage) = ctx.engine.coverages.of(view::uid(set)) else { return Ok(()) };
    let plan = match limit(set, coverage, "maxSurge") {
        0 => by_deletion(ctx, set, coverage),
        surge => by_surge(if ctx.store.follows(Rule::DaemonSetSurge) { surge } else { i64::MAX }, coverage),
    };
    let old: Vec<Key> = plan.delete.iter().filter_map(|node| old_pod(ctx, set, node)).collect();
    for key in old {
        delete(ctx, set, &key)?;
    }
    for node in plan.create {
        create(ctx, set, hash, &node)?;
    }
    Ok(())
}

/// Nodes whose old pod goes, and nodes that get a new one beside it.
#[derive(Default)]
struct Plan {
    delete: Vec<Text>,
    create: Vec<Text>,
}

/// The one pod of an older revision that stays on a node.
fn old_pod(ctx: &Ctx<'_>, set: &Value, node: &str) -> Option<Key> {
    let coverage = ctx.engine.coverages.of(view::uid(set))?;
    let is_old = |key: &&Key| {
        let pod = ctx.store.get(key);
        pod.is_some_and(|pod| !view::is_terminating(pod) && !coverage.basis.is_updated(pod))
    };
    coverage.pods_on(node).iter().find(is_old).cloned()
}

/// Deletes every old pod that is not available, and available ones as far as the limit goes. Unavailable old pods are not
/// counted against the limit but use it up: three broken nodes are replaced at once whatever the limit is.
fn by_deletion(ctx: &Ctx<'_>, set: &Value, coverage: &Coverage) -> Plan {
    // When both limits come to 0, it is 1.
    let most = limit(set, coverage, "maxUnavailable").max(i64::from(coverage.tally.desired > 0 && both_zero(set, coverage)));
    let away = [Step::Doubled, Step::Missing, Step::NewWaits, Step::OldBroken, Step::Succeeded, Step::Surging];
    let missing: usize = away.into_iter().map(|step| coverage.count(step)).sum();
    let bound = usize::try_from(most).unwrap_or(0).saturating_sub(missing);
    let healthy = if ctx.store.follows(Rule::DaemonSetUnavailable) { bound } else { usize::MAX };
    let broken = if ctx.store.follows(Rule::DaemonSetBroken) { usize::MAX } else { 0 };
    Plan {
        delete: coverage.at(Step::OldBroken).take(broken).chain(coverage.at(Step::Old).take(healthy)).cloned().collect(),
        create: Vec::new(),
    }
}

fn both_zero(set: &Value, coverage: &Coverage) -> bool {
    limit(set, coverage, "maxUnavailable") == 0 && limit(set, coverage, "maxSurge") == 0
}

/// Makes new pods beside old ones, and deletes an old one when its successor is available. Where none is wanted any more, an old pod
/// goes when it is broken, or when there are more available ones than are wanted.
fn by_surge(surge: i64, coverage: &Coverage) -> Plan {
    let surging = coverage.count(Step::Doubled) + coverage.count(Step::Surging);
    let more = usize::try_from(surge).unwrap_or(0).saturating_sub(surging);
    let spare = usize::try_from(coverage.tally.serving - coverage.tally.desired).unwrap_or(0);
    let wanted = |node: &&Text| coverage.wishes(node).0;
    let (broken, unwanted_broken): (Vec<&Text>, Vec<&Text>) = coverage.at(Step::OldBroken).partition(wanted);
    let create = broken.into_iter().chain(coverage.at(Step::Old).filter(wanted).take(more));
    // Looked for only when something may go: else every pass would visit all nodes.
    let unwanted = coverage.at(Step::Old).filter(|node| spare > 0 && !wanted(node)).take(spare);
    let delete = unwanted_broken.into_iter().chain(coverage.at(Step::Succeeded)).chain(unwanted);
    Plan { delete: delete.cloned().collect(), create: create.cloned().collect() }
}
