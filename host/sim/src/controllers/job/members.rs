//! The pods of a Job: which there are, which it makes, which it takes away.

use std::collections::BTreeSet;

use crate::controllers::pods::{self, KeyedPod};
use crate::controllers::template;
use crate::engine::{Ctx, Work};
use crate::json::{Value, json};
use crate::kinds;
use crate::rules::Rule;
use crate::status::Status;
use crate::store::Key;
use crate::view;

use super::indexes::{self, INDEX};
use super::{FINALIZER, Pass, is_suspended, replaces_only_failed};

/// Environment variable with the index of a pod.
const VARIABLE: &str = "JOB_COMPLETION_INDEX";

/// Whether the Job has not counted the pod yet.
pub(super) fn is_tracked(pod: &Value) -> bool {
    view::list(pod, &["metadata", "finalizers"]).iter().any(|f| f.as_str() == Some(FINALIZER))
}

/// Lets go of a pod that is counted. Nothing happens when it is gone already.
pub(super) fn untrack(ctx: &mut Ctx<'_>, key: &Key) -> Result<(), Status> {
    let Some(pod) = ctx.get(key).filter(|pod| is_tracked(pod)) else { return Ok(()) };
    let mut pod = (*pod).clone();
    if let Some(finalizers) = view::list_mut(&mut pod, &["metadata", "finalizers"]) {
        finalizers.retain(|f| f.as_str() != Some(FINALIZER));
        if finalizers.is_empty() {
            view::remove(&mut pod, &["metadata", "finalizers"]);
        }
    }
    ctx.update(key, pod).map(drop)
}

/// Deletes pods; with `forget` they are not counted.
pub(super) fn delete(ctx: &mut Ctx<'_>, pass: &mut Pass, doomed: &[KeyedPod], forget: bool) -> Result<(), Status> {
    for (key, pod) in doomed {
        if forget {
            untrack(ctx, key)?;
        }
        if ctx.get(key).is_some_and(|pod| !view::is_terminating(&pod)) {
            ctx.delete(key)?;
            ctx.event(&pass.job, "Normal", "SuccessfulDelete", &format!("Deleted pod: {}", key.name))?;
        }
        pass.active -= 1;
        pass.terminating += 1;
        pass.ready -= i64::from(pods::is_ready(pod));
    }
    Ok(())
}

/// Brings the number of active pods to what is wanted: either deletes or makes some.
pub(super) fn manage(ctx: &mut Ctx<'_>, pass: &mut Pass, active: &[KeyedPod]) -> Result<(), Status> {
    if is_suspended(&pass.job) && ctx.store.follows(Rule::JobSuspension) {
        return delete(ctx, pass, active, true);
    }
    let parallelism = view::count(&pass.job, &["spec", "parallelism"]);
    let wanted = match pass.completions {
        Some(completions) => (completions - pass.succeeded).clamp(0, parallelism),
        // As many as may be, until the first succeeds; what runs then may end by itself.
        None if pass.succeeded > 0 => pass.active,
        None => parallelism,
    };
    let surplus = usize::try_from(pass.active - wanted).unwrap_or(0);
    let doomed = surplus_of(ctx, pass, active, surplus);
    if !doomed.is_empty() {
        return delete(ctx, pass, &doomed, true);
    }
    let leaving = if replaces_only_failed(&pass.job) { pass.terminating } else { 0 };
    let missing = wanted - leaving - pass.active;
    if missing <= 0 {
        return Ok(());
    }
    if let Some(at) = pass.back_off.until().filter(|at| *at > ctx.now()) {
        ctx.engine.wake_at(Work::Job(pass.key.clone()), at);
        return Ok(());
    }
    create(ctx, pass, missing)
}

/// Pods that are too much: of an indexed Job first those with an index that is not its own, or that another one has too.
fn surplus_of(ctx: &Ctx<'_>, pass: &Pass, active: &[KeyedPod], at_least: usize) -> Vec<KeyedPod> {
    let now = ctx.now();
    let mut left = active.to_vec();
    pods::sort_for_deletion(&mut left, &[], now);
    let mut doomed = Vec::new();
    if indexes::is_indexed(&pass.job) {
        let mut seen = BTreeSet::new();
        let mut kept = Vec::new();
        // The one that is least worth deleting keeps the index.
        for pod in left.into_iter().rev() {
            match indexes::of_pod(&pod.1, pass.completions.unwrap_or(0)) {
                Some(index) if seen.insert(index) => kept.push(pod),
                _ => doomed.push(pod),
            }
        }
        kept.reverse();
        left = kept;
    }
    let more = at_least.saturating_sub(doomed.len());
    doomed.extend(left.into_iter().take(more));
    doomed
}

fn create(ctx: &mut Ctx<'_>, pass: &mut Pass, missing: i64) -> Result<(), Status> {
    let places: Vec<Option<i64>> = if indexes::is_indexed(&pass.job) {
        let count = usize::try_from(missing).unwrap_or(0);
        let free = (0..pass.completions.unwrap_or(0)).filter(|index| !pass.taken.contains(index));
        free.take(count).map(Some).collect()
    } else {
        (0..missing).map(|_| None).collect()
    };
    for index in places {
        match ctx.create(kinds::POD, blueprint(&pass.job, index)) {
            Ok(pod) => ctx.event(&pass.job, "Normal", "SuccessfulCreate", &format!("Created pod: {}", view::name(&pod)))?,
            // A refusal would hit the rest as well.
            Err(refused) => {
                return ctx.event(&pass.job, "Warning", "FailedCreate", &format!("Error creating: {}", refused.message()));
            }
        }
        pass.active += 1;
    }
    Ok(())
}

/// A pod of the Job, at an index when it has one.
fn blueprint(job: &Value, index: Option<i64>) -> Value {
    let mut pod = template::pod(job);
    if !is_tracked(&pod)
        && let Some(finalizers) = view::list_mut(&mut pod, &["metadata", "finalizers"])
    {
        finalizers.push(Value::from(FINALIZER));
    }
    let Some(index) = index else { return pod };
    let name = view::name(job);
    for path in [["metadata", "annotations", INDEX], ["metadata", "labels", INDEX]] {
        view::set(&mut pod, &path, index.to_string());
    }
    view::set(&mut pod, &["spec", "hostname"], format!("{name}-{index}"));
    view::set(&mut pod, &["metadata", "generateName"], format!("{name}-{index}-"));
    for list in ["initContainers", "containers"] {
        if view::list(&pod, &["spec", list]).is_empty() {
            continue;
        }
        for container in view::list_mut(&mut pod, &["spec", list]).into_iter().flat_map(|containers| containers.iter_mut()) {
            if view::list(container, &["env"]).iter().any(|variable| view::text(variable, &["name"]) == VARIABLE) {
                continue;
            }
            if let Some(variables) = view::list_mut(container, &["env"]) {
                let field = format!("metadata.labels['{INDEX}']");
                variables.push(json!({"name": VARIABLE, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": field}}}));
            }
        }
    }
    pod
}
