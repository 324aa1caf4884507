//! Which pods belong to a controller: those it controls and that its selector selects. Orphans are adopted, others released.

use std::sync::Arc;

use crate::json::Value;

use super::owner_reference;
use super::pods::{self, KeyedPod};
use crate::engine::Ctx;
use crate::kinds;
use crate::rules::Rule;
use crate::status::Status;
use crate::store::Key;
use crate::view;

/// The pods of a workload. `belongs` says whether a pod can be one of them at all, beside the labels. Pods that are adopted get the
/// finalizer, pods that are released lose it.
pub(crate) fn pods(
    ctx: &mut Ctx<'_>,
    owner: &Arc<Value>,
    finalizer: Option<&str>,
    belongs: impl Fn(&Value) -> bool,
) -> Result<Vec<KeyedPod>, Status> {
    let selector = view::at(owner, &["spec", "selector"]);
    let (uid, going) = (view::uid(owner), view::is_terminating(owner));
    let mut claimed = Vec::new();
    for (key, pod) in ctx.owned(kinds::POD, uid) {
        if view::selects(selector, view::labels(&pod)) && belongs(&pod) {
            claimed.push((key, pod));
        } else if !going {
            release(ctx, owner, finalizer, &key, &pod)?;
        }
    }
    if !going {
        claimed.extend(adopt(ctx, owner, finalizer, &belongs)?);
    }
    Ok(claimed)
}

/// Takes the owner off a pod that is none of its own any more.
pub(super) fn release(ctx: &mut Ctx<'_>, owner: &Value, finalizer: Option<&str>, key: &Key, pod: &Value) -> Result<(), Status> {
    if !ctx.store.follows(Rule::Release) {
        return Ok(());
    }
    let uid = view::uid(owner);
    let mut released = pod.clone();
    if let Some(owners) = view::list_mut(&mut released, &["metadata", "ownerReferences"]) {
        owners.retain(|owner| view::text(owner, &["uid"]) != uid);
        if owners.is_empty() {
            view::remove(&mut released, &["metadata", "ownerReferences"]);
        }
    }
    drop_finalizer(&mut released, finalizer);
    ctx.update(key, released).map(drop)
}

/// Makes active orphans that the selector selects the owner's.
pub(super) fn adopt(
    ctx: &mut Ctx<'_>,
    owner: &Arc<Value>,
    finalizer: Option<&str>,
    belongs: &impl Fn(&Value) -> bool,
) -> Result<Vec<KeyedPod>, Status> {
    let selector = view::at(owner, &["spec", "selector"]);
    let mut adopted = Vec::new();
    if !ctx.store.follows(Rule::Adoption) {
        return Ok(adopted);
    }
    for (key, pod) in ctx.orphans(kinds::POD, view::namespace(owner)) {
        if !pods::is_active(&pod) || !view::selects(selector, view::labels(&pod)) || !belongs(&pod) {
            continue;
        }
        let mut next = (*pod).clone();
        if let Some(owners) = view::list_mut(&mut next, &["metadata", "ownerReferences"]) {
            owners.push(owner_reference(owner));
        }
        drop_finalizer(&mut next, finalizer);
        if let Some(name) = finalizer
            && let Some(finalizers) = view::list_mut(&mut next, &["metadata", "finalizers"])
        {
            finalizers.push(name.into());
        }
        let next = ctx.update(&key, next)?;
        adopted.push((key, next));
    }
    Ok(adopted)
}

fn drop_finalizer(pod: &mut Value, name: Option<&str>) {
    if view::list(pod, &["metadata", "finalizers"]).is_empty() {
        return;
    }
    if let Some(finalizers) = view::list_mut(pod, &["metadata", "finalizers"]) {
        finalizers.retain(|finalizer| finalizer.as_str() != name);
        if finalizers.is_empty() {
            view::remove(pod, &["metadata", "finalizers"]);
        }
    }
}
