//! ControllerRevisions of a DaemonSet.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::json::Value;

use super::REVISION_HASH;
use crate::controllers::{history, template};
use crate::engine::Ctx;
use crate::kinds;
use crate::rules::Rule;
use crate::status::Status;
use crate::store::Key;
use crate::view;

/// The revisions of a DaemonSet, the current one apart.
pub(super) struct Revisions {
    current: (Key, Arc<Value>),
    old: Vec<(Key, Arc<Value>)>,
}

impl Revisions {
    /// The hash that pods of the current revision carry.
    pub(super) fn current_hash(&self) -> &str {
        view::label(&self.current.1, REVISION_HASH)
    }
}

fn number(revision: &Value) -> i64 {
    view::count(revision, &["revision"])
}

/// Finds the revision of the current template by equality and gives it the highest number, or makes it.
pub(super) fn revise(ctx: &mut Ctx<'_>, set: &Arc<Value>) -> Result<Revisions, Status> {
    let wanted = view::at(set, &["spec", "template"]).unwrap_or(&Value::Null);
    let all = ctx.owned(kinds::CONTROLLER_REVISION, view::uid(set));
    let newest = all.iter().map(|(_, r)| number(r)).max().unwrap_or(0);
    let (mut equal, mut old): (Vec<_>, Vec<_>) = all.into_iter().partition(|(_, r)| is_same(r, wanted));
    equal.sort_by_key(|(_, r)| number(r));
    let Some((key, mut current)) = equal.pop() else {
        let mut collisions = view::count(set, &["status", "collisionCount"]);
        return Ok(Revisions { current: history::make(ctx, set, newest + 1, REVISION_HASH, &mut collisions)?, old });
    };
    if number(&current) < newest {
        let mut renewed = (*current).clone();
        view::set(&mut renewed, &["revision"], newest + 1);
        current = ctx.update(&key, renewed)?;
    }
    old.append(&mut equal);
    Ok(Revisions { current: (key, current), old })
}

/// Whether a revision holds this template.
fn is_same(revision: &Value, wanted: &Value) -> bool {
    view::at(revision, &["data", "spec", "template"]).is_some_and(|template| template::equal(template, wanted))
}

/// Deletes the oldest revisions beyond the history limit, but none that a pod was made of.
pub(super) fn clean_up(ctx: &mut Ctx<'_>, set: &Value, revisions: &Revisions) -> Result<(), Status> {
    let limit = usize::try_from(view::int(set, &["spec", "revisionHistoryLimit"]).unwrap_or(10)).unwrap_or(0);
    if revisions.old.len() <= limit || !ctx.store.follows(Rule::DaemonSetHistory) {
        return Ok(());
    }
    let Some(coverage) = ctx.engine.coverages.of(view::uid(set)) else { return Ok(()) };
    let pods = coverage.all_pods().filter_map(|key| ctx.store.get(key));
    let live: BTreeSet<&str> = pods.map(|pod| view::label(pod, REVISION_HASH)).collect();
    let mut idle: Vec<&(Key, Arc<Value>)> = revisions.old.iter().filter(|(_, r)| !live.contains(view::label(r, REVISION_HASH))).collect();
    idle.sort_by_key(|(_, r)| number(r));
    let in_use = revisions.old.len() - idle.len();
    let excess = (idle.len() + in_use).saturating_sub(limit).min(idle.len());
    for (key, _) in idle.into_iter().take(excess) {
        ctx.delete(key)?;
    }
    Ok(())
}
