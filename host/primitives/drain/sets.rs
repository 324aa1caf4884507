//! Pods of StatefulSets: of one set they go one after another, over all nodes of a call, and the next goes when the one before is back.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use super::classify::{Fate, short};
use super::foresee::stateful_set;
use super::prepare::Prepared;
use crate::base::json::Value as Json;
use crate::cluster::{Follow, Resource, Select};
use crate::primitives::view;

/// The label by which every pod of a StatefulSet tells its name, which its successor has too.
const NAME: &str = "statefulset.kubernetes.io/pod-name";

/// The pods of sets of which several go in one call.
#[derive(Default)]
pub(super) struct Sets {
    /// Their names.
    names: Vec<String>,
    /// Those that were made to go and served before, by anybody.
    sent: Vec<Arc<Json>>,
    /// How many of them were back when it was last looked at.
    back: usize,
}

impl Sets {
    /// Of all nodes of a call.
    pub(super) fn of(prepared: &[Prepared]) -> Sets {
        let mut sets: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for judged in prepared.iter().flat_map(Prepared::rows).map(|row| &row.judged) {
            if let Some(set) = stateful_set(&judged.pod).filter(|_| matches!(judged.fate, Fate::Go | Fate::Wait)) {
                sets.entry(set).or_default().push(view::name(&judged.pod).to_owned());
            }
        }
        let mut names: Vec<String> = sets.into_values().filter(|names| names.len() > 1).flatten().collect();
        names.sort_unstable();
        names.dedup();
        Sets { names, ..Sets::default() }
    }

    /// What is to be followed to see them come back; nothing where nobody waits for that.
    pub(super) fn follow(&self, pods: &Rc<Resource>) -> Option<Follow> {
        let labels = Some(format!("{NAME} in ({})", self.names.join(",")));
        (!self.names.is_empty()).then(|| Follow { resource: pods.clone(), namespace: None, select: Select { labels, fields: None } })
    }

    /// This pod goes. One that did not serve before is none that must come back.
    pub(super) fn goes(&mut self, pod: &Arc<Json>) {
        let is_known = self.sent.iter().any(|sent| view::uid(sent) == view::uid(pod));
        if stateful_set(pod).is_some() && view::is_ready(pod) && !is_known {
            self.sent.push(Arc::clone(pod));
        }
    }

    /// What a pod waits for, from the pods that are followed: another one of its set that is not back.
    pub(super) fn waits<'a>(&self, pod: &Json, now: impl Iterator<Item = &'a Arc<Json>> + Clone) -> Option<String> {
        let set = stateful_set(pod)?;
        let mut others = self.sent.iter().filter(|sent| stateful_set(sent) == Some(set) && view::uid(sent) != view::uid(pod));
        let away = others.find(|sent| is_followed(&self.names, sent) && !is_back(sent, now.clone()))?;
        Some(format!("pods of its StatefulSet go one after another, and `pod/{}` is not back yet", short(away)))
    }

    /// Whether more of them are back than when it was last asked.
    pub(super) fn moved<'a>(&mut self, now: impl Iterator<Item = &'a Arc<Json>> + Clone) -> bool {
        let back = self.sent.iter().filter(|sent| is_back(sent, now.clone())).count();
        std::mem::replace(&mut self.back, back) < back
    }
}

fn is_followed(names: &[String], pod: &Json) -> bool {
    names.iter().any(|name| name == view::name(pod))
}

/// Whether another pod serves in the place of this one, or can be nowhere but on a node that takes none: then there is nothing to wait for.
fn is_back<'a>(sent: &Json, mut now: impl Iterator<Item = &'a Arc<Json>>) -> bool {
    let is_same = |pod: &&Arc<Json>| {
        view::name(pod) == view::name(sent) && view::text(pod, "/metadata/namespace") == view::text(sent, "/metadata/namespace")
    };
    now.find(is_same).is_some_and(|pod| {
        view::uid(pod) != view::uid(sent) && !view::is_terminating(pod) && (view::is_ready(pod) || is_bound_elsewhere(pod))
    })
}

/// Whether the scheduler finds no node for a pod because of where it wants to be, and not for want of room, which may come
/// (`pkg/scheduler/framework/plugins/{nodeaffinity,volumebinding}`).
fn is_bound_elsewhere(pod: &Json) -> bool {
    let Some(placed) = view::condition(pod, "PodScheduled") else { return false };
    let says = view::text(placed, "/message");
    let of_place = ["node affinity", "affinity/selector"].iter().any(|words| says.contains(words));
    let of_room = ["Insufficient", "Too many pods", "free ports"].iter().any(|words| says.contains(words));
    view::text(placed, "/reason") == "Unschedulable" && of_place && !of_room
}
