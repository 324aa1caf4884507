//! How a DaemonSet stands on one node.

use std::sync::Arc;

use jiff::Timestamp;

use super::nodes::Placement;
use super::{POD_GENERATION, REVISION_HASH};
use crate::controllers::pods::{self, KeyedPod};
use crate::defaults::workload::TEMPLATE_GENERATION;
use crate::json::Value;
use crate::store::Key;
use crate::view;

/// What of a DaemonSet decides how its pods are judged.
#[derive(Debug, Clone)]
pub(super) struct Basis {
    spec: Value,
    /// Hash of the current revision.
    hash: String,
    /// Number of the template, as older pods carry it.
    generation: Option<String>,
    pub(super) placement: Placement,
    /// A pod of the current revision, but for its node.
    pub(super) pattern: Value,
    min_ready: i64,
    surges: bool,
}

/// How far the update is on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// More than one pod of a kind: nothing can be said.
    Doubled,
    /// No pod that stays, or none at all where one is wanted.
    Missing,
    /// A new pod, available.
    New,
    /// A new pod that is not available.
    NewWaits,
    /// An old pod, available.
    Old,
    /// An old pod that is not available.
    OldBroken,
    /// An old pod and a new one, available.
    Succeeded,
    /// An old pod and a new one that is not available.
    Surging,
}

/// How a DaemonSet stands on one node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Cover {
    /// The node wants a pod.
    pub(super) run: bool,
    /// The node may keep a pod that runs there.
    pub(super) keep: bool,
    pub(super) current: bool,
    pub(super) ready: bool,
    pub(super) available: bool,
    pub(super) updated: bool,
    pub(super) misplaced: bool,
    pub(super) serving: bool,
    pub(super) step: Option<Step>,
    /// When a pod becomes available by waiting.
    pub(super) ripe: Option<Timestamp>,
    /// There is something to make or to delete.
    pub(super) busy: bool,
}

/// What a judgement asks about a pod.
struct Seen {
    going: bool,
    ended: bool,
    updated: bool,
    available: bool,
    /// When it becomes available by waiting.
    ripe: Option<Timestamp>,
}

/// What is to be done on a node.
#[derive(Debug, Default)]
pub(super) struct Duties {
    pub(super) create: bool,
    pub(super) delete: Vec<Key>,
    /// Pods that have ended, to be deleted too: with whether they failed.
    pub(super) ended: Vec<(Key, bool)>,
}

impl Duties {
    fn is_empty(&self) -> bool {
        !self.create && self.delete.is_empty() && self.ended.is_empty()
    }
}

impl Basis {
    pub(super) fn of(set: &Value, hash: &str) -> Self {
        let surge = view::at(set, &["spec", "updateStrategy", "rollingUpdate", "maxSurge"]);
        Self {
            spec: view::at(set, &["spec"]).cloned().unwrap_or_default(),
            hash: hash.to_owned(),
            generation: view::annotation(set, TEMPLATE_GENERATION).map(str::to_owned),
            placement: Placement::of(set),
            pattern: super::pattern(set, hash),
            min_ready: view::count(set, &["spec", "minReadySeconds"]),
            surges: view::int_or_percent(surge, 1, true) > 0,
        }
    }

    /// Whether the DaemonSet still is as it was judged by.
    pub(super) fn is_of(&self, set: &Value, hash: &str) -> bool {
        self.hash == hash
            && self.generation.as_deref() == view::annotation(set, TEMPLATE_GENERATION)
            && view::at(set, &["spec"]) == Some(&self.spec)
    }

    /// Whether a pod is of the current revision.
    pub(super) fn is_updated(&self, pod: &Value) -> bool {
        view::label(pod, REVISION_HASH) == self.hash || self.generation.as_deref().is_some_and(|g| view::label(pod, POD_GENERATION) == g)
    }

    /// The pods of a node in their order: placed ones first, then the older ones. What has ended and is going does not count.
    fn sorted(mut pods: Vec<KeyedPod>) -> Vec<KeyedPod> {
        fn age(pod: &Value) -> (bool, &str) {
            (view::text(pod, &["spec", "nodeName"]).is_empty(), view::text(pod, &["metadata", "creationTimestamp"]))
        }
        pods.retain(|(_, pod)| !(pods::has_ended(pod) && view::is_terminating(pod)));
        if pods.len() > 1 {
            pods.sort_by(|(ka, a), (kb, b)| age(a).cmp(&age(b)).then_with(|| ka.name.cmp(&kb.name)));
        }
        pods
    }

    /// What is asked about a pod more than once.
    fn look(&self, pod: &Value, now: Timestamp) -> Seen {
        let at = pods::available_at(pod, self.min_ready);
        Seen {
            going: view::is_terminating(pod),
            ended: pods::has_ended(pod),
            updated: self.is_updated(pod),
            available: at.is_some_and(|at| at <= now),
            ripe: at.filter(|at| *at > now),
        }
    }

    /// How it stands on a node, which may not exist, with these pods.
    pub(super) fn judge(&self, node: Option<&Value>, pods: Vec<KeyedPod>, now: Timestamp) -> Cover {
        let pods = Self::sorted(pods);
        let (run, keep) = node.map_or((false, false), |node| self.placement.on(node));
        let seen: Vec<Seen> = pods.iter().map(|(_, pod)| self.look(pod, now)).collect();
        let mut cover = Cover { run, keep, misplaced: node.is_some() && !run && !pods.is_empty(), ..Cover::default() };
        // The first pod speaks for its node, even while it is being deleted.
        if let Some(((_, pod), seen)) = pods.first().zip(seen.first()).filter(|_| run) {
            cover.current = true;
            cover.ready = pods::is_ready(pod);
            cover.available = seen.available;
            cover.updated = seen.updated;
        }
        let staying = |updated: bool| seen.iter().filter(move |seen| !seen.going && seen.updated == updated);
        let first = |updated: bool| staying(updated).next().map(|seen| seen.available);
        let (old, new) = (first(false), first(true));
        cover.step = match (old, new) {
            _ if [false, true].into_iter().any(|updated| staying(updated).nth(1).is_some()) => Some(Step::Doubled),
            (None, None) => (run || !pods.is_empty()).then_some(Step::Missing),
            (None, Some(true)) => Some(Step::New),
            (None, Some(false)) => Some(Step::NewWaits),
            (Some(true), None) => Some(Step::Old),
            (Some(false), None) => Some(Step::OldBroken),
            (Some(_), Some(true)) => Some(Step::Succeeded),
            (Some(_), Some(false)) => Some(Step::Surging),
        };
        cover.serving = cover.step != Some(Step::Doubled) && old.or(new) == Some(true);
        let active = seen.iter().filter(|seen| !seen.going && !seen.ended);
        cover.ripe = active.filter_map(|seen| seen.ripe).min();
        cover.busy = !self.duties(node.is_some(), (run, keep), pods, now).is_empty();
        cover
    }

    /// What is to be done on a node with these pods.
    pub(super) fn duties(&self, exists: bool, (run, keep): (bool, bool), pods: Vec<KeyedPod>, now: Timestamp) -> Duties {
        // Mostly there is the one pod that is wanted.
        if let [(_, pod)] = pods.as_slice()
            && keep
            && pods::is_active(pod)
        {
            return Duties::default();
        }
        let pods = Self::sorted(pods);
        let mut duties = Duties { create: run && pods.is_empty(), ..Duties::default() };
        let staying: Vec<KeyedPod> = pods.into_iter().filter(|(_, pod)| !view::is_terminating(pod)).collect();
        if !keep {
            // What runs on a node that is gone is left to the garbage collector of pods.
            let bound = |pod: &Value| !view::text(pod, &["spec", "nodeName"]).is_empty();
            duties.delete = staying.into_iter().filter(|(_, pod)| exists || !bound(pod)).map(|(key, _)| key).collect();
            return duties;
        }
        let (ended, running): (Vec<_>, Vec<_>) = staying.into_iter().partition(|(_, pod)| pods::has_ended(pod));
        let failed = |pod: &Arc<Value>| view::text(pod, &["status", "phase"]) == "Failed";
        duties.ended = ended.into_iter().map(|(key, pod)| (key, failed(&pod))).collect();
        if !self.surges {
            duties.delete = running.into_iter().skip(1).map(|(key, _)| key).collect();
            return duties;
        }
        if running.len() <= 1 {
            // A surge has at least one pod that stays.
            duties.create |= running.is_empty() && run;
            return duties;
        }
        self.prune(running, now, &mut duties);
        duties
    }

    /// Of each revision the oldest pod stays; the old one only while it is ready and its successor is not available.
    fn prune(&self, running: Vec<KeyedPod>, now: Timestamp, duties: &mut Duties) {
        let (new, old): (Vec<_>, Vec<_>) = running.into_iter().partition(|(_, pod)| view::label(pod, REVISION_HASH) == self.hash);
        let succeeded = new.first().is_some_and(|(_, pod)| pods::is_available(pod, self.min_ready, now));
        let replaced = !new.is_empty() && old.first().is_some_and(|(_, pod)| !pods::is_ready(pod) || succeeded);
        let kept = usize::from(!replaced);
        duties.delete = new.into_iter().skip(1).chain(old.into_iter().skip(kept)).map(|(key, _)| key).collect();
    }
}
