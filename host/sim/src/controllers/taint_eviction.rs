//! Pods leave a node with a `NoExecute` taint: at once, or when the time is up for which they tolerate it.
//!
//! As `pkg/controller/tainteviction` of v1.36. The deletion is an ordinary one: without its kubelet the pod stays `Terminating`.

use imbl::OrdMap;
use jiff::Timestamp;

use super::pods;
use crate::engine::{Ctx, Work};
use crate::json::Value;
use crate::kinds;
use crate::rules::Rule;
use crate::scheduler::taints;
use crate::status::Status;
use crate::store::Key;
use crate::view;

/// When pods are to go.
pub(crate) type Evictions = OrdMap<Key, Timestamp>;

/// Taints of a node that drive pods away.
fn driving(node: &Value) -> Vec<&Value> {
    view::list(node, &["spec", "taints"]).iter().filter(|taint| view::text(taint, &["effect"]) == "NoExecute").collect()
}

/// Whether a node drives pods away.
pub(crate) fn drives_away(node: &Value) -> bool {
    !driving(node).is_empty()
}

/// Whether a change of a node changes which pods it drives away.
pub(crate) fn differs(before: Option<&Value>, after: Option<&Value>) -> bool {
    before.map(driving).unwrap_or_default() != after.map(driving).unwrap_or_default()
}

/// How long a pod stays on a node with these taints, in seconds; `None` for ever.
fn tolerates(pod: &Value, taints: &[&Value]) -> Option<i64> {
    let tolerations = view::list(pod, &["spec", "tolerations"]);
    let mut shortest: Option<i64> = None;
    for taint in taints {
        // The first toleration that covers a taint is the one that counts.
        let Some(toleration) = tolerations.iter().find(|toleration| taints::tolerates(toleration, taint)) else { return Some(0) };
        if let Some(seconds) = view::int(toleration, &["tolerationSeconds"]) {
            let seconds = seconds.max(0);
            shortest = Some(shortest.map_or(seconds, |other| other.min(seconds)));
        }
    }
    shortest
}

/// Whether this controller has deleted a pod.
fn is_deleted(pod: &Value) -> bool {
    let marked = view::condition(pod, "DisruptionTarget").is_some_and(|c| view::text(c, &["reason"]) == "DeletionByTaintManager");
    marked && view::is_terminating(pod)
}

/// Looks at one pod on a node. One that somebody else has deleted is marked and deleted too, as on a real cluster.
pub(crate) fn sync(ctx: &mut Ctx<'_>, key: &Key) -> Result<(), Status> {
    let Some(pod) = ctx.get(key).filter(|pod| !is_deleted(pod)) else {
        ctx.engine.evictions.remove(key);
        return Ok(());
    };
    let node = ctx.get(&Key::new(kinds::NODE, "", view::text(&pod, &["spec", "nodeName"])));
    let taints = node.as_deref().map(driving).unwrap_or_default();
    let wait = if taints.is_empty() { None } else { tolerates(&pod, &taints) };
    let Some(seconds) = wait else {
        if ctx.engine.evictions.remove(key).is_some() {
            let text = format!("Cancelling deletion of Pod {}/{}", key.namespace, key.name);
            ctx.event(&pod, "Normal", "TaintManagerEviction", &text)?;
        }
        return Ok(());
    };
    // A deletion that is planned stays so, whatever taints come after.
    let planned = ctx.engine.evictions.get(key).copied();
    let seconds = if ctx.store.follows(Rule::TolerationSeconds) { seconds } else { 0 };
    let due = if seconds == 0 { ctx.now() } else { planned.unwrap_or_else(|| view::later_s(ctx.now(), seconds)) };
    if due > ctx.now() {
        ctx.engine.evictions.insert(key.clone(), due);
        ctx.engine.wake_at(Work::Evict(key.clone()), due);
        return Ok(());
    }
    ctx.engine.evictions.remove(key);
    let text = format!("Marking for deletion Pod {}/{}", key.namespace, key.name);
    ctx.event(&pod, "Normal", "TaintManagerEviction", &text)?;
    let why = "Taint manager: deleting due to NoExecute taint";
    let marked = pods::with_condition(&pod, "DisruptionTarget", "True", "DeletionByTaintManager", why, ctx.now());
    ctx.update_in_generation(key, marked)?;
    ctx.delete(key)
}
