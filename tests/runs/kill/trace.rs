//! All that happened in a world since the run began, event by event: what the store changed, who asked for it, what the journal had said.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lockgate::run::Event;
use lockgate::run::journal::view::Story;
use lockgate::run::journal::{Entry, Fact, Read};
use lockgate_sim::json::Value as Json;
use lockgate_sim::ledger::Effect;
use lockgate_sim::store::{Change, Key};

use super::normal;
use crate::runs::harness::{Scene, World};

/// Everything, when it is over or at the death of a process.
pub(super) struct Trace<'a> {
    pub(super) scene: &'a Scene,
    pub(super) changes: Vec<Change>,
    pub(super) ledger: Vec<Effect>,
    /// Which change each effect was; commands are none.
    pub(super) change_of: Vec<Option<usize>>,
    pub(super) entries: Vec<Entry>,
    /// How many effects there were when each line was written.
    pub(super) marks: Vec<usize>,
    /// What machines did, in order.
    pub(super) machines: Vec<String>,
}

impl<'a> Trace<'a> {
    pub(super) fn of(scene: &'a Scene, world: &World) -> Trace<'a> {
        let begun = scene.sim.store().rv();
        let former = scene.sim.event_log().len();
        let (changes, machines): (Vec<Change>, Vec<String>) = world.simulation.with(|sim| {
            let changes = sim.store().changes_after(begun).expect("the history is kept").cloned().collect();
            let machines = sim.event_log().skip(former).filter_map(|line| Some(line.split_once("MACHINE ")?.1.to_owned()));
            (changes, machines.collect())
        });
        let ledger = world.ledger();
        let change_of = ledger.iter().map(|effect| change_of(effect, &changes)).collect();
        let (entries, marks) = (world.disk.entries.borrow().clone(), world.disk.marks.borrow().clone());
        Trace { scene, changes, ledger, change_of, entries, marks, machines }
    }

    /// The effects in the words that they have in every run, those that changed nothing left out.
    pub(super) fn effective(&self) -> Vec<String> {
        let change = |at: usize| self.change_of[at].map(|change| &self.changes[change]);
        let mut found: Vec<String> =
            self.ledger.iter().enumerate().filter_map(|(at, effect)| normal::effective(effect, change(at))).collect();
        found.sort();
        found
    }

    /// The full name of what an effect wrote.
    pub(super) fn object_of(&self, effect: usize) -> String {
        match self.change_of[effect] {
            Some(change) => full_name(&self.changes[change].key),
            None => {
                let subject = &self.ledger[effect].subject;
                subject.rsplit_once('/').map_or(subject.as_str(), |(object, _)| object).to_owned()
            }
        }
    }

    /// What people were asked and told.
    pub(super) fn told(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().filter_map(|entry| match &entry.fact {
            Fact::Told { event, .. } => match &**event {
                Event::Asked { confirmation, .. } => Some(confirmation.question.as_str()),
                Event::Note { text, .. } => Some(text.as_str()),
                _ => None,
            },
            _ => None,
        })
    }

    /// What the journal tells people.
    pub(super) fn story(&self) -> Story {
        let read = Read { run: String::new(), entries: self.entries.clone(), hashes: Vec::new(), head: String::new(), end: 0, torn: None };
        Story::told(&read, None).expect("it has a header")
    }

    /// The intents that were written before this effect.
    pub(super) fn intents_before(&self, effect: usize) -> impl Iterator<Item = &lockgate::cluster::keep::Intent> {
        let before = self.entries.iter().zip(&self.marks).filter(move |(_, mark)| **mark <= effect);
        before.filter_map(|(entry, _)| match &entry.fact {
            Fact::Intent { intent, .. } => Some(&**intent),
            _ => None,
        })
    }
}

fn change_of(effect: &Effect, changes: &[Change]) -> Option<usize> {
    if effect.subject.ends_with("/exec") {
        return None;
    }
    let end = changes.partition_point(|change| change.rv <= effect.version);
    let named = changes[..end].iter().rposition(|change| {
        let name = full_name(&change.key);
        effect.subject == name || effect.subject.strip_prefix(&name).is_some_and(|rest| rest.starts_with('/'))
    });
    // One that the server named is the last.
    named.or_else(|| end.checked_sub(1))
}

/// `kind/namespace/name`, as intents have it.
pub(super) fn full_name(key: &Key) -> String {
    let parts = [key.kind.singular, &key.namespace, &key.name];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/")
}

/// What invariants look at, as it is after an event.
#[derive(Default)]
pub(super) struct View {
    pub(super) nodes: BTreeMap<String, Arc<Json>>,
    pub(super) pods: BTreeMap<String, Arc<Json>>,
    pub(super) sets: BTreeMap<String, Arc<Json>>,
    /// Budgets as they are, and as they were one change before.
    pub(super) budgets: BTreeMap<String, [Arc<Json>; 2]>,
    /// The nodes that this run cordoned.
    pub(super) ours: BTreeSet<String>,
    /// The objects that this run wrote.
    pub(super) written: BTreeSet<String>,
    /// The images that there were before the run.
    pub(super) images: BTreeSet<String>,
}

impl View {
    /// Before the run.
    pub(super) fn before(scene: &Scene) -> View {
        let mut view = View::default();
        for kind in lockgate_sim::kinds::ALL.iter().copied().filter(|kind| SEEN.contains(&kind.kind)) {
            for (key, object) in scene.sim.store().list(kind, None) {
                view.take(key, None, Some(object));
            }
        }
        view.images = view.pods.values().chain(view.sets.values()).flat_map(|object| images(object)).collect();
        view
    }

    pub(super) fn take(&mut self, key: &Key, before: Option<&Arc<Json>>, after: Option<&Arc<Json>>) {
        let name = full_name(key);
        let shelf = match key.kind.kind {
            "Node" => &mut self.nodes,
            "Pod" => &mut self.pods,
            "ReplicaSet" => &mut self.sets,
            "PodDisruptionBudget" => {
                match after {
                    Some(after) => drop(self.budgets.insert(name, [after.clone(), before.unwrap_or(after).clone()])),
                    None => drop(self.budgets.remove(&name)),
                }
                return;
            }
            _ => return,
        };
        match after {
            Some(after) => drop(shelf.insert(name, after.clone())),
            None => drop(shelf.remove(&name)),
        }
    }
}

const SEEN: [&str; 4] = ["Node", "Pod", "ReplicaSet", "PodDisruptionBudget"];

/// The images of a pod, or of a workload's template.
pub(super) fn images(object: &Json) -> Vec<String> {
    let spec = object.pointer("/spec/template/spec").or_else(|| object.get("spec"));
    let of = |field: &str| spec.and_then(|spec| spec.get(field)).and_then(Json::as_array).map(|all| all.to_vec()).unwrap_or_default();
    of("containers").into_iter().chain(of("initContainers")).filter_map(|one| Some(one["image"].as_str()?.to_owned())).collect()
}
