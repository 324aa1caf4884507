//! The rolling update of a DaemonSet, node by node.

use super::{View, create, delete};
use crate::controllers::pods::{self, KeyedPod};
use crate::engine::Ctx;
use crate::status::Status;
use crate::view;

/// `maxSurge` for the nodes that want a pod; percentages round up.
pub(super) fn surge(seen: &View) -> i64 {
    limit(seen, "maxSurge")
}

fn limit(seen: &View, field: &str) -> i64 {
    let rolling = view::at(&seen.set, &["spec", "updateStrategy", "rollingUpdate"]);
    let nodes = i64::try_from(seen.wanted.len()).unwrap_or(i64::MAX);
    view::int_or_percent(rolling.and_then(|r| r.get(field)), nodes, true)
}

/// `maxUnavailable`; 1 when both limits come to 0.
fn unavailable(seen: &View) -> i64 {
    let most = limit(seen, "maxUnavailable");
    if most == 0 && surge(seen) == 0 { 1 } else { most }
}

/// The pods of one node that are not being deleted.
struct OnNode<'a> {
    old: Option<&'a KeyedPod>,
    new: Option<&'a KeyedPod>,
    /// More than one of a kind: nothing can be said.
    doubled: bool,
}

fn on_node<'a>(seen: &'a View, node: &str) -> OnNode<'a> {
    let pods = seen.pods.get(node).into_iter().flatten().filter(|(_, pod)| !view::is_terminating(pod));
    let (new, old): (Vec<_>, Vec<_>) = pods.partition(|(_, pod)| seen.is_updated(pod));
    OnNode { doubled: old.len() > 1 || new.len() > 1, old: old.first().copied(), new: new.first().copied() }
}

/// One pass: replaces what the limits allow now.
pub(super) fn rolling(ctx: &mut Ctx<'_>, seen: &View) -> Result<(), Status> {
    if surge(seen) > 0 { by_surge(ctx, seen) } else { by_deletion(ctx, seen) }
}

/// Deletes every old pod that is not available, and available ones as far as the limit goes. Unavailable old pods are not
/// counted against the limit but use it up: three broken nodes are replaced at once whatever the limit is.
fn by_deletion(ctx: &mut Ctx<'_>, seen: &View) -> Result<(), Status> {
    let (now, min_ready) = (ctx.now(), seen.min_ready());
    let (mut missing, mut broken, mut candidates) = (0, Vec::new(), Vec::new());
    for node in &seen.wanted {
        let pods = on_node(seen, node);
        match (pods.old, pods.new) {
            _ if pods.doubled => missing += 1,
            (Some(old), None) if pods::is_available(&old.1, min_ready, now) => candidates.push(old),
            (Some(old), None) => {
                broken.push(old);
                missing += 1;
            }
            (None, Some(new)) if pods::is_available(&new.1, min_ready, now) => {}
            _ => missing += 1,
        }
    }
    let healthy = usize::try_from(unavailable(seen) - missing).unwrap_or(0);
    for (key, _) in broken.into_iter().chain(candidates.into_iter().take(healthy)) {
        delete(ctx, seen, key)?;
    }
    Ok(())
}

/// Makes new pods beside old ones, and deletes an old one when its successor is available.
fn by_surge(ctx: &mut Ctx<'_>, seen: &View) -> Result<(), Status> {
    let (now, min_ready) = (ctx.now(), seen.min_ready());
    let (mut surging, mut at_once, mut candidates) = (0, Vec::new(), Vec::new());
    for node in &seen.wanted {
        let pods = on_node(seen, node);
        match (pods.old, pods.new) {
            _ if pods.doubled => surging += 1,
            (Some(old), None) if pods::is_available(&old.1, min_ready, now) => candidates.push(node),
            (Some(_), None) => at_once.push(node),
            (Some(old), Some(new)) if pods::is_available(&new.1, min_ready, now) => delete(ctx, seen, &old.0)?,
            (Some(_), Some(_)) => surging += 1,
            (None, _) => {}
        }
    }
    let more = usize::try_from(surge(seen) - surging).unwrap_or(0);
    for node in at_once.into_iter().chain(candidates.into_iter().take(more)) {
        create(ctx, seen, node)?;
    }
    Ok(())
}
