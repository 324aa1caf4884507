//! Mirrors of static pods. What runs is what a file on the node says; the object only shows it. Whoever deletes the object gets it back,
//! and no container stops (`pkg/kubelet/kubelet.go`, SyncPod: a mirror that is being deleted is deleted and created anew).

use std::sync::Arc;

use super::Run;
use crate::engine::Ctx;
use crate::json::Value;
use crate::kinds;
use crate::status::Status;
use crate::store::Key;
use crate::view;

/// The annotation that makes a pod a mirror.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// Whether a pod is the mirror of a static one.
pub(super) fn is_mirror(pod: &Value) -> bool {
    view::annotation(pod, MIRROR).is_some()
}

/// What its containers belong to: the uid of a pod; of a mirror, the hash of its file, which outlives the object.
pub(super) fn identity(pod: &Value) -> String {
    match view::annotation(pod, MIRROR) {
        Some(hash) => format!("{}/{hash}", view::name(pod)),
        None => view::uid(pod).to_owned(),
    }
}

/// Puts another object of the same name in the place of one that is being deleted; its containers are the ones that run.
pub(super) fn renew(ctx: &mut Ctx<'_>, key: &Key, pod: &Arc<Value>, run: &Run) -> Result<(), Status> {
    let mut fresh = (**pod).clone();
    if let Some(metadata) = fresh.get_mut("metadata").and_then(Value::as_object_mut) {
        for field in ["uid", "resourceVersion", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation"] {
            metadata.remove(field);
        }
    }
    ctx.remove(key);
    let created = ctx.create(kinds::POD, fresh)?;
    let run = Run { stops: None, rested: None, ..run.clone() };
    ctx.engine.kubelets.pods.insert(super::place(&created), Arc::new(run));
    Ok(())
}
