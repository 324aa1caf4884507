//! The status of a PodDisruptionBudget: how many of its pods may go.

use std::collections::BTreeMap;

use crate::json::{Value, json};

use super::{fenceposts, pods};
use crate::engine::Ctx;
use crate::kinds;
use crate::status::Status;
use crate::store::Key;
use crate::view;

/// Counts the pods of one budget.
pub(crate) fn sync(ctx: &mut Ctx<'_>, key: &Key) -> Result<(), Status> {
    let Some(budget) = ctx.get(key) else { return Ok(()) };
    let selector = view::at(&budget, &["spec", "selector"]);
    let chosen: Vec<_> = ctx
        .store
        .list(kinds::POD, Some(&key.namespace))
        .filter(|(_, pod)| view::selects(selector, view::labels(pod)) && !pods::has_ended(pod))
        .map(|(_, pod)| std::sync::Arc::clone(pod))
        .collect();
    let healthy = chosen.iter().filter(|pod| pods::is_ready(pod) && !view::is_terminating(pod)).count() as i64;
    let (expected, desired) = expectation(ctx, key, &budget, &chosen);
    let allowed = if expected > 0 { (healthy - desired).max(0) } else { 0 };
    let mut status = json!({
        "currentHealthy": healthy, "desiredHealthy": desired, "disruptionsAllowed": allowed, "expectedPods": expected,
        "observedGeneration": view::generation(&budget),
    });
    if let Some(disrupted) = view::at(&budget, &["status", "disruptedPods"]) {
        view::set(&mut status, &["disruptedPods"], disrupted.clone());
    }
    view::set(&mut status, &["conditions"], vec![condition(&budget, allowed > 0, &view::stamp(ctx.now()))]);
    if view::at(&budget, &["status"]) == Some(&status) {
        return Ok(());
    }
    let mut next = (*budget).clone();
    view::set(&mut next, &["status"], status);
    ctx.update(key, next).map(drop)
}

/// Pods that there should be, and healthy ones that must stay.
fn expectation(ctx: &Ctx<'_>, key: &Key, budget: &Value, chosen: &[std::sync::Arc<Value>]) -> (i64, i64) {
    let least = view::at(budget, &["spec", "minAvailable"]);
    if let Some(Value::Number(least)) = least {
        return (chosen.len() as i64, least.as_i64().unwrap_or(0));
    }
    let mut scales: BTreeMap<String, i64> = BTreeMap::new();
    for pod in chosen {
        if let Some((uid, size)) = scale_of(ctx, key, pod) {
            scales.insert(uid, size);
        }
    }
    let expected = scales.values().sum();
    let desired = match (least, view::at(budget, &["spec", "maxUnavailable"])) {
        (Some(least), _) => view::int_or_percent(Some(least), expected, true),
        (None, Some(most)) => (expected - view::int_or_percent(Some(most), expected, true)).max(0),
        (None, None) => expected,
    };
    (expected, desired)
}

/// The workload above a pod, by uid, with the size that it should have.
fn scale_of(ctx: &Ctx<'_>, key: &Key, pod: &Value) -> Option<(String, i64)> {
    let find = |owner: &Value, kind: &'static kinds::Kind| {
        let name = view::text(owner, &["name"]).into();
        ctx.get(&Key { kind, namespace: key.namespace.clone(), name })
    };
    let owner = view::controller_of(pod).filter(|o| view::text(o, &["kind"]) == "ReplicaSet")?;
    let set = find(owner, kinds::REPLICA_SET)?;
    let above = view::controller_of(&set).and_then(|owner| find(owner, kinds::DEPLOYMENT));
    let workload = above.unwrap_or(set);
    Some((view::uid(&workload).to_owned(), fenceposts::replicas(&workload)))
}

fn condition(budget: &Value, allowed: bool, now: &str) -> Value {
    let (status, reason) = if allowed { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
    let old = view::condition(budget, "DisruptionAllowed").filter(|old| view::text(old, &["status"]) == status);
    json!({
        "type": "DisruptionAllowed", "status": status, "reason": reason, "message": "",
        "observedGeneration": view::generation(budget),
        "lastTransitionTime": old.map_or(now, |old| view::text(old, &["lastTransitionTime"])),
    })
}
