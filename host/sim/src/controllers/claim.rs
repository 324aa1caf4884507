//! Which pods belong to a controller: those it controls and that its selector selects. Orphans are adopted, others released.

use std::sync::Arc;

use crate::json::Value;

use super::owner_reference;
use super::pods::{self, KeyedPod};
use crate::engine::Ctx;
use crate::kinds;
use crate::status::Status;
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
            let mut released = (*pod).clone();
            if let Some(owners) = view::list_mut(&mut released, &["metadata", "ownerReferences"]) {
                owners.retain(|owner| view::text(owner, &["uid"]) != uid);
                if owners.is_empty() {
                    view::remove(&mut released, &["metadata", "ownerReferences"]);
                }
            }
            drop_finalizer(&mut released, finalizer);
            ctx.update(&key, released)?;
        }
    }
    if going {
        return Ok(claimed);
    }
    for (key, pod) in ctx.orphans(kinds::POD, view::namespace(owner)) {
        if pods::is_active(&pod) && view::selects(selector, view::labels(&pod)) && belongs(&pod) {
            let mut adopted = (*pod).clone();
            if let Some(owners) = view::list_mut(&mut adopted, &["metadata", "ownerReferences"]) {
                owners.push(owner_reference(owner));
            }
            drop_finalizer(&mut adopted, finalizer);
            if let Some(name) = finalizer
                && let Some(finalizers) = view::list_mut(&mut adopted, &["metadata", "finalizers"])
            {
                finalizers.push(name.into());
            }
            claimed.push((key.clone(), ctx.update(&key, adopted)?));
        }
    }
    Ok(claimed)
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
