//! The Job controller: runs pods until enough of them have succeeded, or too many have failed.
//!
//! As `pkg/controller/job` of v1.36 with its default features. Its pods carry a finalizer until they are counted, and a Job is
//! `Complete` or `Failed` when the last of its pods has stopped; what it will come to is known before, in the conditions
//! `SuccessCriteriaMet` and `FailureTarget`. A real controller looks at a changed pod a second later than this one.

mod back_off;
mod indexes;
mod members;
mod track;

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;

use self::back_off::BackOff;
pub(crate) use self::back_off::BackOffs;
use super::claim;
use super::pods::{self, KeyedPod};
use crate::engine::{Ctx, Work};
use crate::gc::{self, Propagation};
use crate::json::{Value, json};
use crate::kinds;
use crate::rules::Rule;
use crate::status::Status;
use crate::store::Key;
use crate::view;

/// Finalizer of pods that are not counted yet.
pub(crate) const FINALIZER: &str = "batch.kubernetes.io/job-tracking";

/// Whether a loaded Job still has something to do: to run, or to go.
pub(crate) fn is_unfinished(job: &Value) -> bool {
    !is_finished(job) || view::at(job, &["spec", "ttlSecondsAfterFinished"]).is_some()
}

fn is_finished(job: &Value) -> bool {
    view::condition_is_true(job, "Complete") || view::condition_is_true(job, "Failed")
}

fn is_suspended(job: &Value) -> bool {
    view::flag(job, &["spec", "suspend"])
}

fn replaces_only_failed(job: &Value) -> bool {
    view::text(job, &["spec", "podReplacementPolicy"]) == "Failed"
}

/// Whether a pod counts as failed. One that is being deleted does so at once, unless only pods that have failed are replaced.
fn has_failed(pod: &Value, job: &Value) -> bool {
    match view::text(pod, &["status", "phase"]) {
        "Failed" => true,
        "Succeeded" => false,
        _ => !replaces_only_failed(job) && view::is_terminating(pod),
    }
}

fn condition(kind: &str, reason: &str, message: &str, now: Timestamp) -> Value {
    let now = view::stamp(now);
    json!({"type": kind, "status": "True", "lastProbeTime": now, "lastTransitionTime": now, "reason": reason, "message": message})
}

/// A counter of a status; zero is left out.
fn set_number(status: &mut Value, field: &str, number: i64) {
    if number == 0 {
        view::remove(status, &[field]);
    } else {
        view::set(status, &[field], number);
    }
}

/// Reconciles one Job.
pub(crate) fn sync(ctx: &mut Ctx<'_>, key: &Key) -> Result<(), Status> {
    let Some(job) = ctx.get(key) else {
        ctx.engine.job_back_offs.remove(key);
        return Ok(());
    };
    if is_finished(&job) {
        ctx.engine.job_back_offs.remove(key);
        return Ok(());
    }
    let pods = claim::pods(ctx, &job, Some(FINALIZER), |_| true)?;
    let active: Vec<KeyedPod> = pods.iter().filter(|(_, pod)| pods::is_active(pod)).cloned().collect();
    let mut pass = Pass::new(ctx, key, job, &pods, &active);
    if pass.finish.is_some() {
        members::delete(ctx, &mut pass, &active, false)?;
    } else {
        pass.go_on(ctx, &active)?;
    }
    set_number(&mut pass.status, "active", pass.active);
    view::set(&mut pass.status, &["ready"], pass.ready);
    view::set(&mut pass.status, &["terminating"], pass.terminating);
    track::track(ctx, &mut pass, &pods)?;
    ctx.engine.job_back_offs.insert(key.clone(), pass.back_off);
    Ok(())
}

/// Deletes a Job that has been finished for as long as it says.
pub(crate) fn expire(ctx: &mut Ctx<'_>, key: &Key) -> Result<(), Status> {
    let Some(job) = ctx.get(key).filter(|job| is_finished(job) && !view::is_terminating(job)) else { return Ok(()) };
    let Some(seconds) = view::int(&job, &["spec", "ttlSecondsAfterFinished"]) else { return Ok(()) };
    let ended = ["Complete", "Failed"].into_iter().filter(|kind| view::condition_is_true(&job, kind));
    let Some(since) = ended.filter_map(|kind| view::time(view::condition(&job, kind)?, &["lastTransitionTime"])).max() else {
        return Ok(());
    };
    let due = view::later_s(since, seconds);
    if due > ctx.now() {
        ctx.engine.wake_at(Work::Expire(key.clone()), due);
        return Ok(());
    }
    let options = gc::Options { propagation: Some(Propagation::Foreground), ..gc::Options::default() };
    ctx.delete_with(key, &options)
}

/// Whether a pod waits to be counted by a Job that is not there any more, or has finished.
pub(crate) fn is_forgotten(store: &crate::store::Store, pod: &Value) -> bool {
    if !members::is_tracked(pod) {
        return false;
    }
    let Some(owner) = view::controller_of(pod) else { return true };
    if view::text(owner, &["kind"]) != "Job" || view::text(owner, &["apiVersion"]) != "batch/v1" {
        return false;
    }
    let key = Key::new(kinds::JOB, view::namespace(pod), view::text(owner, &["name"]));
    let job = store.get(&key).filter(|job| view::uid(job) == view::text(owner, &["uid"]));
    job.is_none_or(|job| is_finished(job))
}

/// Takes the finalizer from a pod that nobody will count.
pub(crate) fn release(ctx: &mut Ctx<'_>, key: &Key) -> Result<(), Status> {
    match ctx.get(key) {
        Some(pod) if is_forgotten(ctx.store, &pod) => members::untrack(ctx, key),
        _ => Ok(()),
    }
}

/// A Job as one reconciliation sees it.
struct Pass {
    key: Key,
    job: Arc<Value>,
    /// What will be written.
    status: Value,
    completions: Option<i64>,
    active: i64,
    ready: i64,
    terminating: i64,
    succeeded: i64,
    back_off: BackOff,
    /// The condition that ends the Job.
    finish: Option<Value>,
    /// Indexes that were done before this pass.
    done_before: BTreeSet<i64>,
    /// Indexes that need no new pod.
    taken: BTreeSet<i64>,
}

impl Pass {
    fn new(ctx: &mut Ctx<'_>, key: &Key, job: Arc<Value>, pods: &[KeyedPod], active: &[KeyedPod]) -> Self {
        let mut status = view::at(&job, &["status"]).cloned().unwrap_or_else(|| json!({}));
        if view::at(&status, &["uncountedTerminatedPods"]).is_none() {
            view::set(&mut status, &["uncountedTerminatedPods"], json!({}));
        }
        if view::at(&status, &["startTime"]).is_none() && !is_suspended(&job) {
            view::set(&mut status, &["startTime"], view::stamp(ctx.now()));
        }
        let completions = view::int(&job, &["spec", "completions"]);
        let going = |pod: &Value| view::is_terminating(pod) && !pods::has_ended(pod);
        let count = |list: &[KeyedPod], what: &dyn Fn(&Value) -> bool| list.iter().filter(|(_, pod)| what(pod)).count() as i64;
        let (ready, terminating) = (count(active, &pods::is_ready), count(pods, &going));
        let old = ctx.engine.job_back_offs.get(key).copied().unwrap_or_default();
        let done_before = indexes::read(view::text(&status, &["completedIndexes"]), completions.unwrap_or(0));
        let mut pass = Self {
            key: key.clone(),
            job,
            status,
            completions,
            active: active.len() as i64,
            ready,
            terminating,
            succeeded: 0,
            back_off: old,
            finish: None,
            done_before,
            taken: BTreeSet::new(),
        };
        pass.judge(ctx, pods, active);
        pass
    }

    /// Counts what has ended, and sees whether that ends the Job.
    fn judge(&mut self, ctx: &mut Ctx<'_>, pods: &[KeyedPod], active: &[KeyedPod]) {
        let noted = |status: &Value, list: &str| view::list(status, &["uncountedTerminatedPods", list]).len() as i64;
        let known = |pod: &Value| {
            let lists = ["succeeded", "failed"];
            lists
                .iter()
                .any(|l| view::list(&self.status, &["uncountedTerminatedPods", l]).iter().any(|u| u.as_str() == Some(view::uid(pod))))
        };
        let indexed = indexes::is_indexed(&self.job);
        let total = self.completions.unwrap_or(0);
        let new = |what: &dyn Fn(&Value) -> bool| -> Vec<&KeyedPod> {
            let fresh = pods.iter().filter(|(_, p)| members::is_tracked(p) && !known(p) && what(p));
            fresh.filter(|(_, p)| !indexed || indexes::of_pod(p, total).is_some()).collect()
        };
        let succeeded = new(&|pod| view::text(pod, &["status", "phase"]) == "Succeeded");
        let failed = new(&|pod| has_failed(pod, &self.job));
        self.back_off = self.back_off.after(&succeeded, &failed);
        let failures = view::count(&self.status, &["failed"]) + noted(&self.status, "failed") + failed.len() as i64;
        self.succeeded = view::count(&self.status, &["succeeded"]) + noted(&self.status, "succeeded") + succeeded.len() as i64;
        if indexed {
            let mut done = self.done_before.clone();
            done.extend(succeeded.iter().filter_map(|(_, pod)| indexes::of_pod(pod, total)));
            self.succeeded = done.len() as i64;
            let going = pods.iter().filter(|(_, p)| replaces_only_failed(&self.job) && view::is_terminating(p) && !pods::has_ended(p));
            done.extend(active.iter().chain(going).filter_map(|(_, pod)| indexes::of_pod(pod, total)));
            self.taken = done;
        }
        let limit = view::int(&self.job, &["spec", "backoffLimit"]).unwrap_or(6);
        let met = |kind: &str| view::condition(&self.job, kind).filter(|c| view::text(c, &["status"]) == "True").cloned();
        self.finish = met("SuccessCriteriaMet").or_else(|| {
            // What was decided before stays so, and is not written again.
            let mut failed = met("FailureTarget")?;
            view::set(&mut failed, &["type"], "Failed");
            Some(failed)
        });
        let exceeded = (failures > limit || restarts_exceed(&self.job, pods, limit)) && ctx.store.follows(Rule::JobBackOffLimit);
        if self.finish.is_none() && exceeded {
            let why = "Job has reached the specified backoff limit";
            self.finish = Some(condition("FailureTarget", "BackoffLimitExceeded", why, ctx.now()));
        } else if self.finish.is_none() {
            self.deadline(ctx);
        }
    }

    fn deadline(&mut self, ctx: &mut Ctx<'_>) {
        let Some(seconds) = view::int(&self.job, &["spec", "activeDeadlineSeconds"]) else { return };
        let Some(started) = view::time(&self.status, &["startTime"]).filter(|_| !is_suspended(&self.job)) else { return };
        let due = view::later_s(started, seconds);
        if due > ctx.now() {
            ctx.engine.wake_at(Work::Job(self.key.clone()), due);
            return;
        }
        let why = "Job was active longer than specified deadline";
        self.finish = Some(condition("FailureTarget", "DeadlineExceeded", why, ctx.now()));
    }

    /// Makes and deletes pods, and sees whether the Job is done or at rest.
    fn go_on(&mut self, ctx: &mut Ctx<'_>, active: &[KeyedPod]) -> Result<(), Status> {
        let managed = !view::is_terminating(&self.job);
        if managed {
            members::manage(ctx, self, active)?;
        }
        let enough = self.completions.map_or(self.succeeded > 0, |wanted| self.succeeded >= wanted);
        if enough && self.active == 0 {
            let why = "Reached expected number of succeeded pods";
            self.finish = Some(condition("SuccessCriteriaMet", "CompletionsReached", why, ctx.now()));
        } else if managed {
            self.suspension(ctx)?;
        }
        Ok(())
    }

    /// Keeps the condition `Suspended` in step. A Job that goes on starts its clock anew.
    fn suspension(&mut self, ctx: &mut Ctx<'_>) -> Result<(), Status> {
        let suspended = is_suspended(&self.job);
        let is_true = view::condition_is_true(&self.job, "Suspended");
        if suspended == is_true {
            return Ok(());
        }
        let (reason, event, message) =
            if suspended { ("JobSuspended", "Suspended", "Job suspended") } else { ("JobResumed", "Resumed", "Job resumed") };
        let mut next = condition("Suspended", reason, message, ctx.now());
        if suspended {
            view::remove(&mut self.status, &["startTime"]);
        } else {
            view::set(&mut next, &["status"], "False");
            view::set(&mut self.status, &["startTime"], view::stamp(ctx.now()));
        }
        self.add_condition(next);
        ctx.event(&self.job, "Normal", event, message)
    }

    fn has_condition(&self, kind: &str) -> bool {
        view::list(&self.status, &["conditions"]).iter().any(|c| view::text(c, &["type"]) == kind)
    }

    /// Adds a condition, or puts it in the place of the one of its type.
    fn add_condition(&mut self, condition: Value) {
        let Some(conditions) = view::list_mut(&mut self.status, &["conditions"]) else { return };
        match conditions.iter().position(|c| c["type"] == condition["type"]) {
            Some(at) => conditions[at] = condition,
            None => conditions.push(condition),
        }
    }

    /// Writes the status when it differs.
    fn flush(&mut self, ctx: &mut Ctx<'_>) -> Result<(), Status> {
        let Some(job) = ctx.get(&self.key) else { return Ok(()) };
        if view::at(&job, &["status"]) == Some(&self.status) {
            return Ok(());
        }
        let mut next = (*job).clone();
        view::set(&mut next, &["status"], self.status.clone());
        ctx.update(&self.key, next).map(drop)
    }
}

/// Whether containers that are started again in their pods have failed too often.
fn restarts_exceed(job: &Value, pods: &[KeyedPod], limit: i64) -> bool {
    if view::text(job, &["spec", "template", "spec", "restartPolicy"]) != "OnFailure" {
        return false;
    }
    let alive = pods.iter().filter(|(_, pod)| matches!(view::text(pod, &["status", "phase"]), "Running" | "Pending"));
    let restarts: i64 = alive
        .flat_map(|(_, pod)| ["initContainerStatuses", "containerStatuses"].map(|list| view::list(pod, &["status", list])))
        .flatten()
        .map(|status| view::count(status, &["restartCount"]))
        .sum();
    if limit == 0 { restarts > 0 } else { restarts >= limit }
}
