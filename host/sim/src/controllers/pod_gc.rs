//! Pods whose node is not there any more, and pods that are going on a node that is out of service: they are removed without their
//! kubelet.
//!
//! As `pkg/controller/podgc` of v1.36, which waits for 40 s after a node is gone and looks every 20 s; here it looks when the 40 s
//! are over. Pods that were on an unknown node when they were loaded are left alone: a fixture may know only a part.

use crate::engine::{Ctx, Work};
use crate::gc;
use crate::kinds;
use crate::status::Status;
use crate::store::Key;
use crate::view;

use super::pods;

/// So long a node must be gone before its pods are removed, in seconds.
const QUARANTINE: i64 = 40;
const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";

/// Looks at one pod whose node is gone or lost.
pub(crate) fn sync(ctx: &mut Ctx<'_>, key: &Key) -> Result<(), Status> {
    let Some(pod) = ctx.get(key) else { return Ok(()) };
    let name = view::text(&pod, &["spec", "nodeName"]).to_owned();
    let why = match ctx.get(&Key::new(kinds::NODE, "", &name)) {
        None => {
            let due = ctx.engine.gone_nodes.get(name.as_str()).map(|gone| view::later_s(*gone, QUARANTINE));
            match due {
                Some(due) if due > ctx.now() => {
                    ctx.engine.wake_at(Work::PodGc(key.clone()), due);
                    return Ok(());
                }
                Some(_) => "PodGC: node no longer exists",
                None => return Ok(()),
            }
        }
        Some(node) => {
            let out = view::list(&node, &["spec", "taints"]).iter().any(|taint| view::text(taint, &["key"]) == OUT_OF_SERVICE);
            if !(out && !view::condition_is_true(&node, "Ready") && view::is_terminating(&pod)) {
                return Ok(());
            }
            ""
        }
    };
    if !pods::has_ended(&pod) {
        let mut failed = if why.is_empty() {
            (*pod).clone()
        } else {
            pods::with_condition(&pod, "DisruptionTarget", "True", "DeletionByPodGC", why, ctx.now())
        };
        view::set(&mut failed, &["status", "phase"], "Failed");
        ctx.update_in_generation(key, failed)?;
    }
    ctx.delete_with(key, &gc::Options { grace: Some(0), ..gc::Options::default() })
}
