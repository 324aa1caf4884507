//! The status of a PodDisruptionBudget: how many of its pods may go.
//!
//! As `pkg/controller/disruption` of v1.36. The controller looks at a budget when the budget or one of its pods changes, and not
//! when the size of a workload does.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use crate::json::{Text, Value, json};
use jiff::Timestamp;

use super::pods;
use crate::engine::{Ctx, Scope, Work};
use crate::kinds;
use crate::status::Status;
use crate::store::Key;
use crate::view;

/// So long an evicted pod may stay without being marked as going, until it counts again.
const DELETION_TIMEOUT: i64 = 120;

/// What a budget asks for.
struct Expectation {
    /// Pods that there should be.
    pods: i64,
    /// Healthy ones that must stay.
    healthy: i64,
    /// Whether a pod has no controller that could tell.
    has_unmanaged: bool,
}

/// Why a budget cannot be reckoned up.
enum Trouble {
    /// What the condition and the event say.
    Failed(String),
    /// Something must be loaded first.
    Unknown,
}

/// Counts the pods of one budget.
pub(crate) fn sync(ctx: &mut Ctx<'_>, key: &Key) -> Result<(), Status> {
    let Some(budget) = ctx.get(key) else { return Ok(()) };
    let selector = view::at(&budget, &["spec", "selector"]);
    let chosen: Vec<Arc<Value>> = ctx
        .store
        .list(kinds::POD, Some(&key.namespace))
        .filter(|(_, pod)| view::selects(selector, view::labels(pod)))
        .map(|(_, pod)| Arc::clone(pod))
        .collect();
    if chosen.is_empty() {
        ctx.event(&budget, "Normal", "NoPods", "No matching pods found")?;
    }
    let expected = match expectation(ctx, key, &budget, &chosen) {
        Ok(expected) => expected,
        Err(Trouble::Unknown) => return Ok(()),
        Err(Trouble::Failed(why)) => {
            let text = format!("Failed to calculate the number of expected pods: {why}");
            ctx.event(&budget, "Warning", "CalculateExpectedPodCountFailed", &text)?;
            return fail_safe(ctx, key, &budget, &why);
        }
    };
    if expected.has_unmanaged {
        ctx.event(&budget, "Warning", "UnmanagedPods", &unmanaged(selector))?;
    }
    let (disrupted, recheck) = disrupted_pods(ctx, &budget, &chosen)?;
    let healthy =
        chosen.iter().filter(|pod| pods::is_ready(pod) && !view::is_terminating(pod) && !disrupted.contains_key(view::name(pod))).count()
            as i64;
    write(ctx, key, &budget, healthy, &expected, &disrupted)?;
    if let Some(at) = recheck {
        ctx.engine.wake_at(Work::Disruption(key.clone()), at);
    }
    Ok(())
}

fn write(
    ctx: &mut Ctx<'_>,
    key: &Key,
    budget: &Value,
    healthy: i64,
    expected: &Expectation,
    disrupted: &BTreeMap<String, Text>,
) -> Result<(), Status> {
    // A budget without pods allows nothing: its first pods are not counted yet.
    let allowed = if expected.pods > 0 { (healthy - expected.healthy).max(0) } else { 0 };
    let mut next = budget.clone();
    let mut status = json!({
        "currentHealthy": healthy, "desiredHealthy": expected.healthy, "disruptionsAllowed": allowed, "expectedPods": expected.pods,
        "observedGeneration": view::generation(budget),
    });
    if !disrupted.is_empty() {
        let map: Value = disrupted.iter().map(|(name, at)| (name.clone(), Value::from(at.as_str()))).collect::<crate::json::Map>().into();
        view::set(&mut status, &["disruptedPods"], map);
    }
    if let Some(conditions) = view::at(budget, &["status", "conditions"]) {
        view::set(&mut status, &["conditions"], conditions.clone());
    }
    view::set(&mut next, &["status"], status);
    set_allowed(&mut next, ctx.now());
    if view::at(&next, &["status"]) == view::at(budget, &["status"]) {
        return Ok(());
    }
    ctx.update(key, next).map(drop)
}

/// Writes that nothing is allowed when it cannot be told what would be. What was observed before stays as it is.
fn fail_safe(ctx: &mut Ctx<'_>, key: &Key, budget: &Value, why: &str) -> Result<(), Status> {
    let mut next = budget.clone();
    view::set(&mut next, &["status", "disruptionsAllowed"], 0);
    set_condition(&mut next, "False", "SyncFailed", why, ctx.now());
    ctx.update(key, next).map(drop)
}

/// Sets the condition that follows from `disruptionsAllowed`.
pub(crate) fn set_allowed(budget: &mut Value, now: Timestamp) {
    let allowed = view::count(budget, &["status", "disruptionsAllowed"]) > 0;
    let (status, reason) = if allowed { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
    set_condition(budget, status, reason, "", now);
}

fn set_condition(budget: &mut Value, status: &str, reason: &str, message: &str, now: Timestamp) {
    const TYPE: &str = "DisruptionAllowed";
    let old = view::condition(budget, TYPE).filter(|old| view::text(old, &["status"]) == status);
    let since = old.map_or_else(|| view::stamp(now), |old| view::shared(old, &["lastTransitionTime"]));
    let mut condition = json!({"type": TYPE, "status": status, "reason": reason, "message": message, "lastTransitionTime": since});
    let observed = view::count(budget, &["status", "observedGeneration"]);
    if observed > 0 {
        view::set(&mut condition, &["observedGeneration"], observed);
    }
    if let Some(conditions) = view::list_mut(budget, &["status", "conditions"]) {
        match conditions.iter().position(|c| view::text(c, &["type"]) == TYPE) {
            Some(at) => conditions[at] = condition,
            None => conditions.push(condition),
        }
    }
}

/// Evicted pods that have not been marked as going yet, and when to look again.
fn disrupted_pods(ctx: &mut Ctx<'_>, budget: &Value, chosen: &[Arc<Value>]) -> Result<(BTreeMap<String, Text>, Option<Timestamp>), Status> {
    let (mut still, mut recheck) = (BTreeMap::new(), None::<Timestamp>);
    for pod in chosen.iter().filter(|pod| !view::is_terminating(pod)) {
        let name = view::name(pod);
        let Some(since) = view::time(budget, &["status", "disruptedPods", name]) else { continue };
        let until = view::later_s(since, DELETION_TIMEOUT);
        if until <= ctx.now() {
            // The real text has the namespace twice and no name.
            let namespace = view::namespace(budget);
            let text = format!("Pod was expected by PDB {namespace}/{namespace} to be deleted but it wasn't");
            ctx.event(pod, "Warning", "NotDeleted", &text)?;
            continue;
        }
        recheck = Some(recheck.map_or(until, |earlier| earlier.min(until)));
        still.insert(name.to_owned(), view::stamp(since));
    }
    Ok((still, recheck))
}

fn expectation(ctx: &mut Ctx<'_>, key: &Key, budget: &Value, chosen: &[Arc<Value>]) -> Result<Expectation, Trouble> {
    let (least, most) = (view::at(budget, &["spec", "minAvailable"]), view::at(budget, &["spec", "maxUnavailable"]));
    let fixed = |pods: usize, healthy: i64| Ok(Expectation { pods: pods as i64, healthy, has_unmanaged: false });
    if most.is_none() {
        match least {
            Some(Value::Number(least)) => return fixed(chosen.len(), least.as_i64().unwrap_or(0)),
            None => return fixed(0, 0),
            Some(_) => {}
        }
    }
    let (mut scales, mut has_unmanaged) = (BTreeMap::new(), false);
    for pod in chosen {
        let Some(owner) = view::controller_of(pod) else {
            has_unmanaged = true;
            continue;
        };
        if scales.contains_key(view::text(owner, &["uid"])) {
            continue;
        }
        let (uid, size) = scale_of(ctx, key, owner)?.ok_or_else(|| {
            let name = view::name(pod);
            Trouble::Failed(format!("found no controllers for pod {name:?}"))
        })?;
        scales.insert(uid, size);
    }
    let pods = scales.values().sum();
    let healthy = match most {
        Some(most) => (pods - view::int_or_percent(Some(most), pods, true)).max(0),
        None => view::int_or_percent(least, pods, true),
    };
    Ok(Expectation { pods, healthy, has_unmanaged })
}

/// The workload above a pod, by uid, with the size that it should have; `None` when it is not there.
fn scale_of(ctx: &mut Ctx<'_>, key: &Key, owner: &Value) -> Result<Option<(String, i64)>, Trouble> {
    let (api_version, kind_name) = (view::text(owner, &["apiVersion"]), view::text(owner, &["kind"]));
    let Some(kind) = kinds::by_kind(api_version, kind_name) else {
        return Err(Trouble::Failed(format!("no matches for kind {kind_name:?} in version {api_version:?}")));
    };
    if !kind.has_subresource("scale") {
        return Err(Trouble::Failed(format!("{} does not implement the scale subresource", kind.group_resource())));
    }
    let Some(workload) = named(ctx, key, kind, owner)? else { return Ok(None) };
    let above = view::controller_of(&workload).filter(|o| kind.is(kinds::REPLICA_SET) && view::text(o, &["kind"]) == "Deployment").cloned();
    let above = match above {
        Some(above) => named(ctx, key, kinds::DEPLOYMENT, &above)?,
        None => None,
    };
    let sized = above.unwrap_or(workload);
    Ok(Some((view::uid(&sized).to_owned(), super::fenceposts::replicas(&sized))))
}

/// The owner itself, not another one of its name.
fn named(ctx: &mut Ctx<'_>, key: &Key, kind: &'static kinds::Kind, owner: &Value) -> Result<Option<Arc<Value>>, Trouble> {
    let scope = Scope::named(kind, Some(&key.namespace), view::text(owner, &["name"]));
    if !ctx.engine.require(&Work::Disruption(key.clone()), scope) {
        return Err(Trouble::Unknown);
    }
    let found = ctx.get(&Key { kind, namespace: key.namespace.clone(), name: view::text(owner, &["name"]).into() });
    Ok(found.filter(|object| view::uid(object) == view::text(owner, &["uid"])))
}

fn unmanaged(selector: Option<&Value>) -> String {
    format!(
        "Pods selected by this PodDisruptionBudget (selector: {}) were found to be unmanaged. As a result, the status of the PDB cannot \
         be calculated correctly, which may result in undefined behavior. To account for these pods please set \".spec.minAvailable\" \
         field of the PDB to an integer value.",
        printed(selector)
    )
}

/// A selector as Go prints it.
fn printed(selector: Option<&Value>) -> String {
    let Some(selector) = selector else { return "nil".to_owned() };
    let mut labels = String::new();
    for (key, value) in view::at(selector, &["matchLabels"]).and_then(Value::as_object).into_iter().flatten() {
        // Writing into a String cannot fail.
        let _written = write!(labels, "{key}: {},", value.as_str().unwrap_or_default());
    }
    let mut expressions = String::new();
    for e in view::list(selector, &["matchExpressions"]) {
        let values: Vec<&str> = view::list(e, &["values"]).iter().filter_map(Value::as_str).collect();
        let (key, operator) = (view::text(e, &["key"]), view::text(e, &["operator"]));
        let _written = write!(expressions, "LabelSelectorRequirement{{Key:{key},Operator:{operator},Values:[{}],}},", values.join(" "));
    }
    format!("&LabelSelector{{MatchLabels:map[string]string{{{labels}}},MatchExpressions:[]LabelSelectorRequirement{{{expressions}}},}}")
}
