//! `wait_rollout`: until a workload runs as asked.

use crate::base::json::{Value as Json, json};

use super::cx::Cx;
use super::diagnosis::{self, Diagnosis};
use super::done::Done;
use super::pace::{Ended, Pace};
use super::reverted::OwnImages;
use super::rollout::{Judgement, Rollout, Shape};
use super::view;
use super::watched::Watched;
use super::workload::unsupported;
use crate::base::{Error, Kind, ObjectRef, Reason, Result, Span, Timestamp, Typed, Value};
use crate::cluster::Target;
use crate::primitive;

/// The least that is the default of `timeout`.
const LEAST_TIMEOUT: Span = Span::from_secs(600);
/// What is added to a Deployment's own deadline.
const BEYOND_DEADLINE: Span = Span::from_secs(60);
/// How long an old verdict of the Deployment controller must stand unchanged to be believed: it outlives the change that made
/// it, until the controller sees progress.
const SETTLE: Span = Span::from_secs(5);

primitive! {
    /// Waits until the rollout of a Deployment, DaemonSet or StatefulSet has finished.
    ///
    /// Finished is: the controller has seen the latest change, every pod is of the wanted revision, available, and no old one is left.
    /// What can never end by itself is an error at once: the workload is paused, an image has no valid name, a new pod waits for a
    /// host port that pods of the same workload hold while its strategy protects them. Everything else is an error after `stall`
    /// without progress, or when the Deployment passes its own deadline: `host_port_conflict`, `unschedulable`, `image_pull`,
    /// `crash_loop`, `quota`, `not_ready`, `progress_deadline`, or `stalled` when nothing tells why. A Deployment's verdict that is
    /// older than the wait counts only when it stands. A workload that is deleted meanwhile is `not_found`, one that is created anew
    /// `replaced`. An image that this run set and somebody else sets otherwise meanwhile is `conflict`, with who it was. Pods with
    /// strategy `OnDelete` are replaced when somebody deletes them; the wait is for that too.
    pub read fn wait_rollout as WaitRollout(
        /// The workload, for example `deployment/cce-eni-ipam`.
        workload: ObjectRef,
    ) options {
        /// The namespace, when the reference has none.
        namespace: Option<String>,
        /// The whole time allowed; default 10 minutes, or a minute more than the Deployment's own deadline when that is longer. 0 asks once.
        timeout: Option<Span>,
        /// The time allowed without any progress; default 3 minutes. Grace periods and `minReadySeconds` do not count.
        stall: Option<Span>,
        /// How long it must stay finished; default not at all.
        stable: Option<Span>,
        /// The fewest pods or nodes that the workload must want; fewer is `precondition`.
        min_desired: Option<u32>,
        /// The revision that must be the one rolled out; another is `precondition`. Deployments and DaemonSets.
        revision: Option<u32>,
    } -> "{ kind: string, desired: number, updated: number, ready: number, available: number, revision: number?, took: Duration }",
        "what runs now, and how long it took";
    since "0.1";
    example r#"wait_rollout("daemonset/cce-cni-node-agent", { timeout = "30m", stable = "30s" })"#;
    needs ["get,list,watch {workload}", "list,watch pods", "list,watch replicasets.apps", "list,watch controllerrevisions.apps", "get nodes"];
}

/// What a wait remembers from one look to the next.
struct Memory {
    pace: Pace,
    progress: Option<(i64, i64)>,
    progressed: Timestamp,
    /// The verdict of the Deployment controller that was there when the wait began.
    stale: Option<String>,
    done_since: Option<Timestamp>,
}

/// What a look comes to.
enum Next {
    Done,
    Look(Timestamp),
    Fail(Error),
    /// Why it ended; the error needs a diagnosis.
    End(Reason, String),
}

impl WaitRollout {
    pub(in crate::primitives) async fn run(self, cx: Cx) -> Result<Done> {
        let target = cx.target(&self.workload, self.namespace.as_deref()).await?;
        self.check(&target)?;
        let object = cx.read(&target).await?;
        let own = OwnImages::of(&cx, &target, &object);
        let mut watched = Watched::begin(&cx, &target, &object, "waiting for the rollout of").await?;
        let first = watched.look()?;
        let timeout = self.timeout.unwrap_or_else(|| {
            first.progress_deadline().map_or(LEAST_TIMEOUT, |deadline| LEAST_TIMEOUT.max(deadline.plus(BEYOND_DEADLINE)))
        });
        let pace = Pace::begin(&cx, format!("rollout of {target}"), timeout, self.stall);
        let progressed = pace.since();
        let stale = first.deadline_exceeded().map(str::to_owned);
        let mut memory = Memory { pace, progress: None, progressed, stale, done_since: None };
        loop {
            let rollout = watched.look()?;
            if let Some(error) = own.taken(&target, &rollout.workload) {
                return Err(error);
            }
            match self.look(&cx, &target, &rollout, &mut memory) {
                Next::Done => {
                    let desired = rollout.counts().desired;
                    memory.pace.done(&cx, &format!("{desired}/{desired} {}", rollout.shape.noun()));
                    return Ok(Done::read(result(&target, &rollout, memory.pace.took(cx.now()))));
                }
                Next::Look(until) => {
                    watched.changed(until).await?;
                    if let Some(trouble) = watched.trouble() {
                        memory.pace.show(&cx, &format!("the server cannot be heard: {trouble}"));
                    }
                }
                Next::Fail(error) => return Err(error),
                Next::End(reason, message) => {
                    let found = diagnosis::with_nodes(&cx, &rollout).await?;
                    return Err(ended(&target, &rollout, reason, message, found));
                }
            }
        }
    }

    fn check(&self, target: &Target) -> Result<()> {
        match Shape::of(target) {
            Some(Shape::Deployment | Shape::DaemonSet) => Ok(()),
            Some(Shape::StatefulSet) if self.revision.is_none() => Ok(()),
            Some(Shape::StatefulSet) => {
                let message = format!("waiting for the rollout of `{target}`: the revisions of a statefulset are not looked at");
                Err(unsupported(target, message).hint("leave out `revision`"))
            }
            Some(Shape::Replicas) | None => {
                let message = format!("waiting for the rollout of `{target}`: a {} has no rollouts", target.resource);
                Err(unsupported(target, message).hint("use `wait_for`"))
            }
        }
    }

    fn look(&self, cx: &Cx, target: &Target, rollout: &Rollout, memory: &mut Memory) -> Next {
        let now = cx.now();
        match rollout.judge(self.revision, self.min_desired) {
            Judgement::Never(reason, why, hint) => {
                let message = format!("rollout of `{target}` cannot finish: {why}");
                return Next::Fail(stuck(target, reason, message).hint(hint));
            }
            Judgement::Done => {
                let stable_at = self.stable.unwrap_or_default().after(*memory.done_since.get_or_insert(now));
                if stable_at <= now {
                    return Next::Done;
                }
                memory.pace.moved(now);
                if let Some(ended @ (Ended::Once | Ended::Timeout)) = memory.pace.ended(now, None) {
                    let message = memory.pace.says(ended, &format!("rollout of `{target}`"));
                    return Next::Fail(stuck(target, Reason::Timeout, format!("{message}: it has not been stable for long enough")));
                }
                memory.pace.show(cx, &format!("finished, to hold for {}", self.stable.unwrap_or_default()));
                return Next::Look(stable_at.min(memory.pace.until(Some(stable_at))));
            }
            Judgement::Going => memory.done_since = None,
        }
        if let Some(found) =
            diagnosis::of(rollout, &Default::default()).filter(|found| found.certain && view::is_observed(&rollout.workload))
        {
            let message = format!("rollout of `{target}` cannot go on: {}", found.message);
            return Next::Fail(with(stuck(target, found.reason, message), found, rollout));
        }
        if memory.progress.is_none_or(|best| rollout.progress() > best) {
            memory.progress = Some(rollout.progress());
            memory.progressed = now;
            memory.pace.moved(now);
        }
        let settles_at = match rollout.deadline_exceeded().filter(|_| view::is_observed(&rollout.workload)) {
            None => None,
            Some(at) if memory.stale.as_deref() == Some(at) => Some(SETTLE.after(memory.progressed)),
            Some(_) => Some(now),
        };
        let patience = rollout.patience();
        match memory.pace.ended(now, patience) {
            Some(Ended::Once) => {}
            _ if settles_at.is_some_and(|at| at <= now) => {
                let deadline = rollout.progress_deadline().unwrap_or_default();
                return Next::End(Reason::ProgressDeadline, format!("rollout of `{target}` passed its own deadline of {deadline}"));
            }
            _ => {}
        }
        if let Some(ended) = memory.pace.ended(now, patience) {
            return Next::End(ended.reason(), memory.pace.says(ended, &format!("rollout of `{target}`")));
        }
        memory.pace.show(cx, &rollout.state());
        let until = memory.pace.until(patience);
        Next::Look(settles_at.map_or(until, |at| at.min(until)))
    }
}

fn stuck(target: &Target, reason: Reason, message: String) -> Error {
    Error::new(Kind::Stuck, reason, message).about(target.full_name())
}

/// The error of a wait that ended: a diagnosis gives it its reason, unless the script's own time was over first.
fn ended(target: &Target, rollout: &Rollout, reason: Reason, message: String, found: Option<Diagnosis>) -> Error {
    match found {
        None => stuck(target, reason, format!("{message}: {}", rollout.state())).details(counts(rollout)),
        Some(found) => {
            let reason = if reason == Reason::Timeout { reason } else { found.reason };
            with(stuck(target, reason, format!("{message}: {}", found.message)), found, rollout)
        }
    }
}

/// Adds what a diagnosis knows.
fn with(error: Error, found: Diagnosis, rollout: &Rollout) -> Error {
    let mut details = counts(rollout);
    if let (Some(fields), Json::Object(more)) = (details.as_object_mut(), found.details()) {
        fields.extend(more);
    }
    let mut error = error.details(details);
    if let Some(evidence) = found.evidence {
        error = error.cause(format!("{}: {evidence}", found.object));
    }
    match found.hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

fn counts(rollout: &Rollout) -> Json {
    let counts = rollout.counts();
    json!({ "desired": counts.desired, "updated": counts.updated, "ready": counts.ready, "available": counts.available })
}

fn result(target: &Target, rollout: &Rollout, took: Span) -> Value {
    let counts = rollout.counts();
    let mut fields = std::collections::BTreeMap::from([
        ("kind".to_owned(), Value::from(target.resource.singular.clone())),
        ("took".to_owned(), Value::Typed(Typed::Duration(took))),
    ]);
    let numbers = [
        ("desired", Some(counts.desired)),
        ("updated", Some(counts.updated)),
        ("ready", Some(counts.ready)),
        ("available", Some(counts.available)),
        ("revision", rollout.revision()),
    ];
    for (name, number) in numbers {
        if let Some(number) = number {
            fields.insert(name.to_owned(), Value::Json(number.into()));
        }
    }
    Value::Map(fields)
}
