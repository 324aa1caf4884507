//! ControllerRevisions of a StatefulSet: what its pods are made of, now and before.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::json::Value;

use crate::controllers::pods::KeyedPod;
use crate::controllers::{history, owner_reference, template};
use crate::engine::Ctx;
use crate::kinds;
use crate::status::Status;
use crate::store::Key;
use crate::view;

use super::REVISION_HASH;

/// Label of a revision with its hash; pods carry the whole name of the revision instead.
const HASH: &str = "controller.kubernetes.io/hash";

type Revision = (Key, Arc<Value>);

/// The revisions of a StatefulSet.
pub(super) struct Revisions {
    /// Those that were there, oldest first.
    all: Vec<Revision>,
    /// The one of the template as it is.
    pub(super) update: Revision,
    /// The one that pods below the partition are made of, until all are updated.
    pub(super) current: Revision,
    pub(super) collisions: i64,
}

fn number(revision: &Value) -> i64 {
    view::count(revision, &["revision"])
}

/// Finds or makes the revision of the template, and finds the current one.
pub(super) fn revise(ctx: &mut Ctx<'_>, set: &Arc<Value>) -> Result<Revisions, Status> {
    let mut all = adopt(ctx, set)?;
    all.sort_by(|(ka, a), (kb, b)| {
        let age = |r: &Value| view::text(r, &["metadata", "creationTimestamp"]).to_owned();
        number(a).cmp(&number(b)).then_with(|| age(a).cmp(&age(b))).then_with(|| ka.name.cmp(&kb.name))
    });
    let wanted = view::at(set, &["spec", "template"]).unwrap_or(&Value::Null);
    let same = |r: &Revision| view::at(&r.1, &["data", "spec", "template"]).is_some_and(|t| template::equal(t, wanted));
    let next = all.last().map_or(1, |(_, r)| number(r) + 1);
    let mut collisions = view::count(set, &["status", "collisionCount"]);
    let found = all.iter().rposition(same);
    let update = match found {
        Some(at) if at + 1 == all.len() => all[at].clone(),
        // An older one becomes the newest again: a rollback.
        Some(at) => {
            let (key, revision) = all[at].clone();
            let mut renewed = (*revision).clone();
            view::set(&mut renewed, &["revision"], next);
            let renewed = ctx.update(&key, renewed)?;
            all[at].1 = Arc::clone(&renewed);
            (key, renewed)
        }
        None => history::make(ctx, set, next, HASH, &mut collisions)?,
    };
    let named = view::text(set, &["status", "currentRevision"]);
    let current = all.iter().find(|(key, _)| key.name == *named).cloned().unwrap_or_else(|| update.clone());
    Ok(Revisions { all, update, current, collisions })
}

/// The revisions of the set. Orphans that it selects become its own.
fn adopt(ctx: &mut Ctx<'_>, set: &Arc<Value>) -> Result<Vec<Revision>, Status> {
    let mut all = ctx.owned(kinds::CONTROLLER_REVISION, view::uid(set));
    if view::is_terminating(set) {
        return Ok(all);
    }
    let selector = view::at(set, &["spec", "selector"]);
    for (key, revision) in ctx.orphans(kinds::CONTROLLER_REVISION, view::namespace(set)) {
        if view::selects(selector, view::labels(&revision)) && !view::is_terminating(&revision) {
            let mut adopted = (*revision).clone();
            if let Some(owners) = view::list_mut(&mut adopted, &["metadata", "ownerReferences"]) {
                owners.push(owner_reference(set));
            }
            all.push((key.clone(), ctx.update(&key, adopted)?));
        }
    }
    Ok(all)
}

/// Deletes the oldest revisions beyond the limit, but none that a pod was made of and neither of the two that count.
pub(super) fn clean_up(ctx: &mut Ctx<'_>, set: &Value, pods: &[KeyedPod], revisions: &Revisions) -> Result<(), Status> {
    let limit = view::int(set, &["spec", "revisionHistoryLimit"]).unwrap_or(10);
    // A negative limit keeps all.
    let Ok(limit) = usize::try_from(limit) else { return Ok(()) };
    let mut live: BTreeSet<&str> = pods.iter().map(|(_, pod)| view::label(pod, REVISION_HASH)).collect();
    live.extend([revisions.update.0.name.as_str(), revisions.current.0.name.as_str()]);
    let idle: Vec<&Key> = revisions.all.iter().map(|(key, _)| key).filter(|key| !live.contains(key.name.as_str())).collect();
    let excess = idle.len().saturating_sub(limit);
    for key in idle.into_iter().take(excess) {
        ctx.delete(key)?;
    }
    Ok(())
}
