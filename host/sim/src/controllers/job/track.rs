//! Counting pods that have ended: first their uids go into the status, then their finalizers go, then the counters rise. So none is
//! counted twice, and none is lost, whenever the controller stops.

use std::collections::BTreeSet;

use crate::controllers::pods::KeyedPod;
use crate::engine::Ctx;
use crate::json::{Array, Value, json};
use crate::status::Status;
use crate::view;

use super::indexes;
use super::members::{is_tracked, untrack};
use super::{Pass, condition, has_failed};

const FAILURE_TARGET: &str = "FailureTarget";
const SUCCESS_MET: &str = "SuccessCriteriaMet";

fn uids(pass: &Pass, list: &str) -> Vec<String> {
    let path = ["uncountedTerminatedPods", list];
    view::list(&pass.status, &path).iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn set_uids(pass: &mut Pass, list: &str, uids: Vec<String>) {
    let path = ["uncountedTerminatedPods", list];
    if uids.is_empty() {
        view::remove(&mut pass.status, &path);
    } else {
        view::set(&mut pass.status, &path, uids.into_iter().map(Value::from).collect::<Array>());
    }
}

/// Moves uids of pods that are let go from the list to the counter.
fn count_released(pass: &mut Pass, held: &BTreeSet<String>) {
    for (list, counter) in [("succeeded", "succeeded"), ("failed", "failed")] {
        let all = uids(pass, list);
        let total = all.len();
        let left: Vec<String> = all.into_iter().filter(|uid| held.contains(uid)).collect();
        let counted = i64::try_from(total - left.len()).unwrap_or(0);
        if counted > 0 {
            let sum = view::count(&pass.status, &[counter]) + counted;
            view::set(&mut pass.status, &[counter], sum);
            set_uids(pass, list, left);
        }
    }
}

/// Writes the status, lets go of what is counted, and marks the Job as finished when nothing is left to wait for.
pub(super) fn track(ctx: &mut Ctx<'_>, pass: &mut Pass, pods: &[KeyedPod]) -> Result<(), Status> {
    let mut held: BTreeSet<String> = pods.iter().filter(|(_, p)| is_tracked(p)).map(|(_, p)| view::uid(p).to_owned()).collect();
    count_released(pass, &held);
    let released = note_ended(pass, pods);
    let finish = interim(pass);
    // The counters follow in the same write when nothing stands in between.
    pass.flush(ctx)?;
    for (key, pod) in &released {
        untrack(ctx, key)?;
        held.remove(view::uid(pod));
    }
    count_released(pass, &held);
    if let Some(finish) = finish
        && uids(pass, "succeeded").is_empty()
        && uids(pass, "failed").is_empty()
        && pass.terminating == 0
    {
        enact(ctx, pass, &finish)?;
    }
    pass.flush(ctx)
}

/// Notes pods that have ended in the status; these may be let go.
fn note_ended(pass: &mut Pass, pods: &[KeyedPod]) -> Vec<KeyedPod> {
    let indexed = indexes::is_indexed(&pass.job);
    let completions = pass.completions.unwrap_or(0);
    let (mut succeeded, mut failed) = (uids(pass, "succeeded"), uids(pass, "failed"));
    let finished = pass.finish.is_some();
    let finished_badly = pass.finish.as_ref().is_some_and(|c| view::text(c, &["type"]) != SUCCESS_MET);
    let mut released = Vec::new();
    let mut done = pass.done_before.clone();
    for (key, pod) in pods.iter().filter(|(_, pod)| is_tracked(pod)) {
        let (uid, well) = (view::uid(pod).to_owned(), view::text(pod, &["status", "phase"]) == "Succeeded");
        let failure = has_failed(pod, &pass.job);
        if !(view::is_terminating(&pass.job) || finished || well || failure) {
            continue;
        }
        released.push((key.clone(), std::sync::Arc::clone(pod)));
        let index = indexes::of_pod(pod, completions);
        if well && !failed.contains(&uid) {
            if indexed {
                done.extend(index);
            } else if !succeeded.contains(&uid) {
                succeeded.push(uid);
            }
        } else if (failure || finished_badly) && !failed.contains(&uid) && (!indexed || index.is_some()) {
            failed.push(uid);
        }
    }
    set_uids(pass, "succeeded", succeeded);
    set_uids(pass, "failed", failed);
    if indexed {
        super::set_number(&mut pass.status, "succeeded", i64::try_from(done.len()).unwrap_or(0));
        let text = indexes::write(&done);
        if text.is_empty() {
            view::remove(&mut pass.status, &["completedIndexes"]);
        } else {
            view::set(&mut pass.status, &["completedIndexes"], text);
        }
    }
    released
}

/// The condition that says what the Job will come to is written before its pods are let go. Returns the last condition.
fn interim(pass: &mut Pass) -> Option<Value> {
    let met = pass.finish.clone()?;
    let kind = view::text(&met, &["type"]).to_owned();
    let last = match kind.as_str() {
        SUCCESS_MET => "Complete",
        _ => "Failed",
    };
    if kind == FAILURE_TARGET || (kind == SUCCESS_MET && !pass.has_condition(SUCCESS_MET)) {
        pass.add_condition(met.clone());
    }
    Some(json!({"type": last, "reason": met["reason"], "message": met["message"]}))
}

fn enact(ctx: &mut Ctx<'_>, pass: &mut Pass, finish: &Value) -> Result<(), Status> {
    let text = |field: &str| view::text(finish, &[field]).to_owned();
    let (kind, reason, message) = (text("type"), text("reason"), text("message"));
    pass.add_condition(condition(&kind, &reason, &message, ctx.now()));
    if kind == "Complete" {
        view::set(&mut pass.status, &["completionTime"], view::stamp(ctx.now()));
    }
    pass.flush(ctx)?;
    if kind != "Complete" {
        return ctx.event(&pass.job, "Warning", &reason, &message);
    }
    if pass.completions.is_some_and(|wanted| view::count(&pass.status, &["succeeded"]) > wanted) {
        let why = "Too many succeeded pods running after completion count reached";
        ctx.event(&pass.job, "Warning", "TooManySucceededPods", why)?;
    }
    ctx.event(&pass.job, "Normal", "Completed", "Job completed")
}
