//! The scheduler: which node takes a pod, and the real scheduler's words when none does.

pub(crate) mod affinity;
mod filters;
mod load;
mod needs;
mod reach;
mod score;
mod spread;
pub(crate) mod taints;
mod waiting;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::json::{Text, Value, json};

use self::filters::{Filters, Rejection};
pub(crate) use self::load::Load;
pub(crate) use self::needs::Needs;
pub use self::reach::reduced;
pub(crate) use self::reach::{Reach, reach};
pub(crate) use self::waiting::Waiting;
use crate::engine::Ctx;
use crate::kinds;
use crate::status::Status;
use crate::store::Key;
use crate::view;

/// Places one pod, or writes down why that is impossible.
pub(crate) fn sync(ctx: &mut Ctx<'_>, key: &Key) -> Result<(), Status> {
    ctx.engine.unschedulable.remove(key);
    let Some(pod) = ctx.get(key) else { return Ok(()) };
    let placed = !view::text(&pod, &["spec", "nodeName"]).is_empty();
    let foreign = !matches!(view::text(&pod, &["spec", "schedulerName"]), "" | "default-scheduler");
    if placed || foreign || view::is_terminating(&pod) || matches!(view::text(&pod, &["status", "phase"]), "Succeeded" | "Failed") {
        return Ok(());
    }
    if !view::list(&pod, &["spec", "schedulingGates"]).is_empty() {
        let text = "Scheduling is blocked due to non-empty scheduling gates";
        return set_condition(ctx, key, (*pod).clone(), "False", Some(("SchedulingGated", text))).map(drop);
    }
    match place(ctx, &pod) {
        Ok(node) => bind(ctx, key, &pod, &node),
        Err(message) => {
            ctx.engine.unschedulable.insert(key, &pod);
            set_condition(ctx, key, (*pod).clone(), "False", Some(("Unschedulable", &message)))?;
            ctx.event(&pod, "Warning", "FailedScheduling", &message)
        }
    }
}

/// The name of the best node, or the message that no node fits.
fn place(ctx: &mut Ctx<'_>, pod: &Value) -> Result<Text, String> {
    let nodes = || ctx.store.list(kinds::NODE, None).map(|(_, node)| &**node);
    if nodes().next().is_none() {
        return Err("no nodes available to schedule pods".to_owned());
    }
    let needs = Needs::of(pod);
    let filters = Filters::new(ctx, pod, &needs);
    let fits = |node: &&Value| filters.check(node).is_ok();
    let fitting: Vec<&Value> = match filters.pinned() {
        // A pod of a DaemonSet names its node: no need to look at all the others.
        Some(names) => nodes_called(ctx, names).filter(fits).collect(),
        None => nodes().filter(fits).collect(),
    };
    if fitting.is_empty() {
        let rejected = |node| {
            let rejection: Rejection = filters.check(node).err()?;
            Some((filters.preemption(node, &rejection), rejection))
        };
        let rejections: Vec<(Preemption, Rejection)> = nodes().filter_map(rejected).collect();
        return Err(message(pod, &rejections, ctx.store.is_at_least(34)));
    }
    let best = if fitting.len() == 1 { fitting } else { score::best(ctx.engine.index.nodes(), pod, &needs, &fitting) };
    let names: Vec<Text> = best.into_iter().map(|node| view::name(node).into()).collect();
    let choice = usize::try_from(ctx.engine.rng.below(names.len() as u64)).unwrap_or(0);
    names.into_iter().nth(choice).ok_or_else(|| "no nodes available to schedule pods".to_owned())
}

/// The nodes of these names that exist, in the order of all nodes.
fn nodes_called<'a>(ctx: &'a Ctx<'_>, names: &[&str]) -> impl Iterator<Item = &'a Value> + use<'a> {
    let keys: BTreeSet<Key> = names.iter().map(|name| Key::new(kinds::NODE, "", name)).collect();
    keys.into_iter().filter_map(|key| ctx.store.get(&key)).map(|node| &**node)
}

fn bind(ctx: &mut Ctx<'_>, key: &Key, pod: &Arc<Value>, node: &str) -> Result<(), Status> {
    let mut bound = (**pod).clone();
    view::set(&mut bound, &["spec", "nodeName"], node);
    let bound = set_condition(ctx, key, bound, "True", None)?;
    let text = format!("Successfully assigned {}/{} to {node}", key.namespace, key.name);
    ctx.event(&bound, "Normal", "Scheduled", &text)
}

/// Writes the pod with this `PodScheduled` condition; the transition time stays while the status does.
fn set_condition(ctx: &mut Ctx<'_>, key: &Key, mut pod: Value, status: &str, why: Option<(&str, &str)>) -> Result<Arc<Value>, Status> {
    let old = view::condition(&pod, "PodScheduled").filter(|old| view::text(old, &["status"]) == status);
    let since = old.map_or_else(|| view::stamp(ctx.now()), |old| view::shared(old, &["lastTransitionTime"]));
    let mut condition = json!({"type": "PodScheduled", "status": status, "lastProbeTime": null, "lastTransitionTime": since});
    // Only the verdict that no node fits carries the generation that was looked at.
    if view::generation(&pod) > 0 && matches!(why, Some(("Unschedulable", _))) {
        view::set(&mut condition, &["observedGeneration"], view::generation(&pod));
    }
    if let Some((reason, message)) = why {
        view::set(&mut condition, &["reason"], reason);
        view::set(&mut condition, &["message"], message);
    }
    if let Some(conditions) = view::list_mut(&mut pod, &["status", "conditions"]) {
        conditions.retain(|c| view::text(c, &["type"]) != "PodScheduled");
        conditions.push(condition);
    }
    ctx.update_in_generation(key, pod)
}

/// Why preemption does not help on a node.
type Preemption = Vec<Cow<'static, str>>;

/// The message of the real scheduler: reasons counted and sorted as text, then what preemption would not achieve.
/// `claims` says whether it looks at resource claims, as it does since v1.34.
fn message(pod: &Value, rejections: &[(Preemption, Rejection)], claims: bool) -> String {
    let all = rejections.len();
    let histogram = |reasons: &mut dyn Iterator<Item = &str>| {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for reason in reasons {
            *counts.entry(reason).or_default() += 1;
        }
        let mut texts: Vec<String> = counts.into_iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        texts.sort();
        format!("0/{all} nodes are available: {}.", texts.join(", "))
    };
    let reasons = histogram(&mut rejections.iter().flat_map(|(_, rejection)| rejection.reasons.iter().map(|reason| &**reason)));
    let preemption = if view::text(pod, &["spec", "preemptionPolicy"]) == "Never" {
        "not eligible due to preemptionPolicy=Never.".to_owned()
    } else {
        histogram(&mut rejections.iter().flat_map(|(preemption, _)| preemption.iter().map(|reason| &**reason)))
    };
    let claims = if claims { " no new claims to deallocate," } else { "" };
    format!("{reasons}{claims} preemption: {preemption}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_is_the_real_schedulers() {
        let rejected = |reasons: &[&'static str], resolvable| {
            let preemption =
                if resolvable { "No preemption victims found for incoming pod" } else { "Preemption is not helpful for scheduling" };
            (vec![Cow::Borrowed(preemption)], Rejection { reasons: reasons.iter().map(|r| Cow::Borrowed(*r)).collect(), resolvable })
        };
        let ports = || rejected(&["node(s) didn't have free ports for the requested pod ports"], true);
        let other = || rejected(&["node(s) didn't match Pod's node affinity/selector"], false);
        assert_eq!(
            message(&json!({}), &[ports(), ports(), other()], true),
            "0/3 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, 2 node(s) didn't have free ports \
             for the requested pod ports. no new claims to deallocate, preemption: 0/3 nodes are available: 1 Preemption is \
             not helpful for scheduling, 2 No preemption victims found for incoming pod."
        );
        let short = rejected(&["Insufficient cpu", "Insufficient memory"], true);
        let never = json!({"spec": {"preemptionPolicy": "Never"}});
        assert_eq!(
            message(&never, &[short], true),
            "0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient memory. no new claims to deallocate, preemption: \
             not eligible due to preemptionPolicy=Never."
        );
        assert_eq!(
            message(&never, &[other()], false),
            "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector. preemption: not eligible due to \
             preemptionPolicy=Never."
        );
    }
}
