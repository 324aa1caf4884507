//! How far a rollout is: a workload, what its controller keeps for it, and its pods, at one moment.
//!
//! The rules of `kubectl rollout status`, plus what it leaves out: pods of the wanted revision are told from others by what
//! the controllers write on them, never guessed from counters alone where counters mix both.

use std::sync::Arc;

use crate::base::json::Value as Json;

use super::revisions::{self, REVISION, Revision};
use super::view;
use super::workload::replicas;
use crate::base::{Reason, Span, Timestamp};
use crate::cluster::Target;

/// `progressDeadlineSeconds` of a Deployment that has none: the largest 32-bit number.
const NO_DEADLINE: i64 = i32::MAX as i64;

/// What kind of workload it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// A Deployment, with its ReplicaSets.
    Deployment,
    /// A DaemonSet, with its ControllerRevisions.
    DaemonSet,
    /// A StatefulSet.
    StatefulSet,
    /// A ReplicaSet or ReplicationController: it has pods, but no rollouts.
    Replicas,
}

impl Shape {
    /// The shape of this kind; `None` for kinds without pods of their own.
    pub(super) fn of(target: &Target) -> Option<Shape> {
        match (target.resource.group.as_str(), target.resource.kind.as_str()) {
            ("apps", "Deployment") => Some(Shape::Deployment),
            ("apps", "DaemonSet") => Some(Shape::DaemonSet),
            ("apps", "StatefulSet") => Some(Shape::StatefulSet),
            ("apps", "ReplicaSet") | ("", "ReplicationController") => Some(Shape::Replicas),
            _ => None,
        }
    }

    /// What is counted: nodes of a DaemonSet, pods otherwise.
    pub(super) fn noun(self) -> &'static str {
        if self == Shape::DaemonSet { "nodes" } else { "pods" }
    }
}

/// A workload and all that belongs to it, at one moment.
#[derive(Clone, Debug)]
pub(super) struct Rollout {
    /// What it is.
    pub(super) shape: Shape,
    /// Its name for people: `deployment/web`.
    pub(super) name: String,
    /// The workload.
    pub(super) workload: Arc<Json>,
    /// The ReplicaSets of a Deployment.
    pub(super) sets: Vec<Arc<Json>>,
    /// The revisions, oldest first; none for a StatefulSet, which says its own in its status.
    pub(super) revisions: Vec<Revision>,
    /// Its pods, Terminating ones included.
    pub(super) pods: Vec<Arc<Json>>,
    /// Pods that its selector means and nobody controls.
    pub(super) orphans: Vec<Arc<Json>>,
}

/// How many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Wanted.
    pub(super) desired: i64,
    /// Of the wanted revision.
    pub(super) updated: i64,
    /// Of the wanted revision, and ready.
    pub(super) ready: i64,
    /// Ready for long enough, of any revision.
    pub(super) available: i64,
    /// Of other revisions, as the controller counts them: without those that are on their way out.
    pub(super) old: i64,
}

/// What a rollout comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// Everything is as asked.
    Done,
    /// Not yet.
    Going,
    /// It will not be, unless somebody changes something: reason, what is wrong, what to do.
    Never(Reason, String, String),
}

impl Rollout {
    /// Sorts out what belongs to the workload.
    pub(super) fn new<'a>(
        shape: Shape,
        name: String,
        workload: Arc<Json>,
        pods: impl Iterator<Item = &'a Arc<Json>>,
        holders: impl Iterator<Item = &'a Arc<Json>>,
    ) -> Rollout {
        let uid = view::uid(&workload);
        let all_holders: Vec<&Arc<Json>> = holders.collect();
        let revisions = revisions::of(&workload, all_holders.iter().copied());
        let is_mine = |pod: &Json| {
            let owner = view::controller_uid(pod);
            match shape {
                // A ReplicaSet that is gone already may have left pods that are still going.
                Shape::Deployment => match all_holders.iter().find(|set| view::uid(set) == owner) {
                    Some(set) => view::controller_uid(set) == uid,
                    None => view::controller(pod).is_some_and(|owner| view::text(owner, "/kind") == "ReplicaSet"),
                },
                _ => owner == uid,
            }
        };
        let (orphans, owned): (Vec<_>, Vec<_>) = pods.cloned().partition(|pod| view::controller(pod).is_none());
        let pods = owned.into_iter().filter(|pod| is_mine(pod)).collect();
        let sets = match shape {
            Shape::Deployment => all_holders.into_iter().filter(|set| view::controller_uid(set) == uid).cloned().collect(),
            _ => Vec::new(),
        };
        Rollout { shape, name, workload, sets, revisions, pods, orphans }
    }

    /// The update strategy, with the API's default.
    pub(super) fn strategy(&self) -> &str {
        let pointer = if self.shape == Shape::Deployment { "/spec/strategy/type" } else { "/spec/updateStrategy/type" };
        match view::text(&self.workload, pointer) {
            "" => "RollingUpdate",
            given => given,
        }
    }

    /// The revision that the workload asks for; `None` while its controller has not made it.
    pub(super) fn wanted(&self) -> Option<&Revision> {
        let mut current = self.revisions.iter().filter(|revision| revision.current);
        match self.shape {
            // The controller takes the oldest ReplicaSet of equal ones.
            Shape::Deployment => current.min_by_key(|revision| (revision.created.as_str(), view::name(&revision.object))),
            _ => current.next_back(),
        }
    }

    /// The number of the wanted revision.
    pub(super) fn revision(&self) -> Option<i64> {
        match self.shape {
            Shape::Deployment => view::annotation(&self.workload, REVISION).and_then(|number| number.parse().ok()),
            _ => self.wanted().map(|revision| revision.number),
        }
    }

    /// Whether a pod is of the wanted revision.
    pub(super) fn is_updated(&self, pod: &Json) -> bool {
        match self.shape {
            Shape::Deployment => self.wanted().is_some_and(|set| view::uid(&set.object) == view::controller_uid(pod)),
            Shape::DaemonSet => self.wanted().is_some_and(|revision| {
                let hash = view::label(pod, "controller-revision-hash");
                !hash.is_empty() && hash == view::label(&revision.object, "controller-revision-hash")
            }),
            Shape::StatefulSet => view::label(pod, "controller-revision-hash") == view::text(&self.workload, "/status/updateRevision"),
            Shape::Replicas => true,
        }
    }

    /// How many pods of which sort there are.
    pub(super) fn counts(&self) -> Counts {
        let status = |field: &str| view::count(&self.workload, &format!("/status/{field}"));
        let updated: Vec<&Arc<Json>> = self.pods.iter().filter(|pod| !view::is_terminating(pod) && self.is_updated(pod)).collect();
        let ready = count(updated.iter().filter(|pod| view::is_ready(pod)));
        let by_pods = self.strategy() == "OnDelete" || matches!(self.shape, Shape::StatefulSet | Shape::Replicas);
        let desired = match self.shape {
            Shape::DaemonSet => status("desiredNumberScheduled"),
            _ => replicas(&self.workload),
        };
        let alive = count(self.pods.iter().filter(|pod| !view::is_terminating(pod) && !view::is_finished(pod)));
        match self.shape {
            Shape::DaemonSet => {
                let counted = if by_pods { count(updated.iter()) } else { status("updatedNumberScheduled") };
                Counts { desired, updated: counted, ready, available: status("numberAvailable"), old: alive - count(updated.iter()) }
            }
            Shape::Deployment => {
                let counted = status("updatedReplicas");
                Counts { desired, updated: counted, ready, available: status("availableReplicas"), old: status("replicas") - counted }
            }
            Shape::StatefulSet | Shape::Replicas => {
                let available = view::int(&self.workload, "/status/availableReplicas").unwrap_or_else(|| status("readyReplicas"));
                Counts { desired, updated: count(updated.iter()), ready, available, old: alive - count(updated.iter()) }
            }
        }
    }

    /// How far it is, in a few words: `1/2 nodes updated, 1 ready`.
    pub(super) fn state(&self) -> String {
        if !view::is_observed(&self.workload) {
            return "the controller has not seen the change yet".to_owned();
        }
        let counts = self.counts();
        let mut state = format!("{}/{} {} updated, {} ready", counts.updated, counts.desired, self.shape.noun(), counts.ready);
        if counts.old > 0 && counts.updated >= counts.desired {
            state.push_str(&format!(", {} old left", counts.old));
        } else if counts.ready >= counts.desired && counts.available < counts.desired {
            state.push_str(&format!(", {} available", counts.available));
        }
        state
    }

    /// Whether it is done, or can never be.
    pub(super) fn judge(&self, revision: Option<u32>, min_desired: Option<u32>) -> Judgement {
        let counts = self.counts();
        if !view::is_observed(&self.workload) {
            return Judgement::Going;
        }
        if let Some(asked) = revision.map(i64::from) {
            match self.revision() {
                Some(found) if found == asked => {}
                Some(found) => {
                    return Judgement::Never(
                        Reason::Precondition,
                        format!("it is at revision {found}, not {asked}"),
                        "somebody changed it meanwhile: look at `rollout_history`".to_owned(),
                    );
                }
                None => return Judgement::Going,
            }
        }
        if !self.is_complete(counts) {
            if view::flag(&self.workload, "/spec/paused") {
                return Judgement::Never(Reason::Paused, "it is paused".to_owned(), "resume it first".to_owned());
            }
            return Judgement::Going;
        }
        match min_desired {
            Some(least) if counts.desired < i64::from(least) => Judgement::Never(
                Reason::Precondition,
                format!("it wants {} {}, fewer than {least}", counts.desired, self.shape.noun()),
                "look at its replicas, or at its node selector and tolerations".to_owned(),
            ),
            _ => Judgement::Done,
        }
    }

    fn is_complete(&self, counts: Counts) -> bool {
        match self.shape {
            Shape::Deployment => {
                // Without a ReplicaSet for the template the counters still speak of the former one.
                counts.updated >= counts.desired
                    && counts.old <= 0
                    && counts.available >= counts.updated
                    && (self.wanted().is_some() || counts.desired == 0)
            }
            Shape::DaemonSet if self.strategy() == "OnDelete" => {
                counts.ready >= counts.desired && counts.available >= counts.desired && counts.old == 0
            }
            Shape::DaemonSet => counts.updated >= counts.desired && counts.available >= counts.desired,
            Shape::StatefulSet => {
                let partition = view::count(&self.workload, "/spec/updateStrategy/rollingUpdate/partition");
                let wanted = if self.strategy() == "OnDelete" { counts.desired } else { (counts.desired - partition).max(0) };
                counts.ready >= wanted && counts.available >= counts.desired
            }
            Shape::Replicas => counts.ready >= counts.desired && counts.available >= counts.desired && counts.updated <= counts.desired,
        }
    }

    /// A number that grows as the rollout goes on and does not grow by going round in circles: the wait's measure of progress.
    pub(super) fn progress(&self) -> (i64, i64) {
        let stages: i64 = self.pods.iter().filter(|pod| !view::is_terminating(pod) && self.is_updated(pod)).map(|pod| stage(pod)).sum();
        let old = count(self.pods.iter().filter(|pod| view::is_terminating(pod) || !self.is_updated(pod)));
        let counts = self.counts();
        (view::count(&self.workload, "/status/observedGeneration"), stages + counts.updated + counts.available - old)
    }

    /// Until when waiting without progress is normal: pods that end by their grace period, pods that must stay ready for
    /// `minReadySeconds`.
    pub(super) fn patience(&self) -> Option<Timestamp> {
        let least = u64::try_from(view::count(&self.workload, "/spec/minReadySeconds")).unwrap_or(0);
        let times = self.pods.iter().filter_map(|pod| {
            if view::is_terminating(pod) {
                return view::time(pod, "/metadata/deletionTimestamp");
            }
            let since = view::condition(pod, "Ready").filter(|_| least > 0 && view::is_ready(pod))?;
            Some(Span::from_secs(least).after(view::time(since, "/lastTransitionTime")?))
        });
        times.max()
    }

    /// The Deployment's own verdict that it takes too long, with the time it was given.
    pub(super) fn deadline_exceeded(&self) -> Option<&str> {
        let condition = view::condition(&self.workload, "Progressing").filter(|_| self.shape == Shape::Deployment)?;
        (view::text(condition, "/status") == "False" && view::text(condition, "/reason") == "ProgressDeadlineExceeded")
            .then(|| view::text(condition, "/lastUpdateTime"))
    }

    /// The time a Deployment gives itself between two signs of progress.
    pub(super) fn progress_deadline(&self) -> Option<Span> {
        let seconds = view::int(&self.workload, "/spec/progressDeadlineSeconds").unwrap_or(600);
        (self.shape == Shape::Deployment && seconds < NO_DEADLINE).then(|| Span::from_secs(u64::try_from(seconds).unwrap_or(0)))
    }
}

fn count<T>(items: impl Iterator<Item = T>) -> i64 {
    i64::try_from(items.count()).unwrap_or(i64::MAX)
}

/// How far a pod is on its way to ready.
fn stage(pod: &Json) -> i64 {
    let scheduled = i64::from(!view::text(pod, "/spec/nodeName").is_empty());
    let prepared = count(
        view::list(pod, "/status/initContainerStatuses").iter().filter(|status| view::int(status, "/state/terminated/exitCode") == Some(0)),
    );
    let running = i64::from(view::text(pod, "/status/phase") == "Running");
    scheduled + prepared + running + i64::from(view::is_ready(pod))
}

#[cfg(test)]
mod tests {
    use crate::base::json::json;

    use super::*;

    fn template(image: &str) -> Json {
        json!({ "spec": { "containers": [{ "name": "a", "image": image }] } })
    }

    fn set(uid: &str, image: &str) -> Arc<Json> {
        Arc::new(json!({ "metadata": { "uid": uid, "annotations": { REVISION: "1" },
            "ownerReferences": [{ "uid": "d", "controller": true }] }, "spec": { "template": template(image) } }))
    }

    fn pod(owner: &str, ready: bool) -> Arc<Json> {
        Arc::new(json!({ "metadata": { "ownerReferences": [{ "uid": owner, "controller": true, "kind": "ReplicaSet" }] },
            "spec": { "nodeName": "n" },
            "status": { "phase": "Running", "conditions": [{ "type": "Ready", "status": if ready { "True" } else { "False" } }] } }))
    }

    fn deployment(status: Json) -> Arc<Json> {
        Arc::new(json!({ "metadata": { "uid": "d", "generation": 2 },
            "spec": { "replicas": 2, "template": template("a:2") }, "status": status }))
    }

    fn rollout(workload: Arc<Json>, pods: &[Arc<Json>]) -> Rollout {
        let sets = [set("old", "a:1"), set("new", "a:2")];
        Rollout::new(Shape::Deployment, "deployment/web".into(), workload, pods.iter(), sets.iter())
    }

    #[test]
    fn an_unseen_change_is_not_done_whatever_the_counters_say() {
        let status = json!({ "observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2 });
        let rollout = rollout(deployment(status), &[]);
        assert_eq!(rollout.judge(None, None), Judgement::Going);
        assert_eq!(rollout.state(), "the controller has not seen the change yet");
    }

    #[test]
    fn old_pods_and_unavailable_pods_keep_it_going() {
        let judged = |replicas: i64, updated: i64, available: i64| {
            let status =
                json!({ "observedGeneration": 2, "replicas": replicas, "updatedReplicas": updated, "availableReplicas": available });
            rollout(deployment(status), &[pod("new", true), pod("old", true)]).judge(None, None)
        };
        assert_eq!(judged(2, 1, 2), Judgement::Going);
        assert_eq!(judged(3, 2, 3), Judgement::Going);
        assert_eq!(judged(2, 2, 1), Judgement::Going);
        assert_eq!(judged(2, 2, 2), Judgement::Done);
    }

    #[test]
    fn the_state_counts_ready_pods_of_the_wanted_revision() {
        let status = json!({ "observedGeneration": 2, "replicas": 3, "updatedReplicas": 1, "availableReplicas": 2 });
        let rollout = rollout(deployment(status), &[pod("new", false), pod("old", true), pod("old", true), pod("foreign", true)]);
        assert_eq!(rollout.state(), "1/2 pods updated, 0 ready");
        assert!(rollout.is_updated(&rollout.pods[0]) && !rollout.is_updated(&rollout.pods[1]));
    }

    #[test]
    fn a_crash_that_repeats_is_no_progress() {
        let status = json!({ "observedGeneration": 2, "replicas": 2, "updatedReplicas": 1, "availableReplicas": 1 });
        let up = rollout(deployment(status.clone()), &[pod("new", true)]);
        let down = rollout(deployment(status), &[pod("new", false)]);
        assert!(up.progress() > down.progress());
    }

    #[test]
    fn what_was_asked_about_revision_and_size_is_judged() {
        let mut workload = Arc::unwrap_or_clone(deployment(json!({ "observedGeneration": 2 })));
        workload["spec"]["replicas"] = json!(0);
        workload["metadata"]["annotations"] = json!({ REVISION: "4" });
        let rollout = rollout(Arc::new(workload), &[]);
        assert_eq!(rollout.judge(Some(4), None), Judgement::Done);
        assert!(matches!(rollout.judge(Some(3), None), Judgement::Never(Reason::Precondition, ..)));
        assert!(matches!(rollout.judge(None, Some(1)), Judgement::Never(Reason::Precondition, ..)));
    }

    #[test]
    fn paused_can_never_end_unless_it_has() {
        let status = json!({ "observedGeneration": 2, "replicas": 2, "updatedReplicas": 0, "availableReplicas": 2 });
        let mut workload = Arc::unwrap_or_clone(deployment(status));
        workload["spec"]["paused"] = json!(true);
        assert!(matches!(rollout(Arc::new(workload), &[]).judge(None, None), Judgement::Never(Reason::Paused, ..)));
    }
}
