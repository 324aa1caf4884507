//! All that happened in a world since the run began, event by event: what the store changed, who asked for it, what the journal had said.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;
use std::sync::Arc;

pub(super) use lockgate::cli::test::kill::full_name;
use lockgate::cli::test::kill::{Deeds, World};
use lockgate::run::journal::view::Story;
use lockgate::run::journal::{Entry, Fact, Read};
use lockgate_sim::json::Value as Json;
use lockgate_sim::store::Key;

use crate::runs::harness::Scene;

/// Everything, when it is over or at the death of a process.
pub(in crate::runs) struct Trace<'a> {
    pub(super) scene: &'a Scene,
    pub(super) world: &'a World,
    pub(super) deeds: Deeds,
    pub(super) entries: Vec<Entry>,
    /// How many effects there were when each line was written.
    pub(super) marks: Vec<usize>,
}

impl Deref for Trace<'_> {
    type Target = Deeds;

    fn deref(&self) -> &Deeds {
        &self.deeds
    }
}

impl<'a> Trace<'a> {
    pub(in crate::runs) fn of(scene: &'a Scene, world: &'a World) -> Trace<'a> {
        let (entries, marks) = (world.disk.entries.borrow().clone(), world.disk.marks.borrow().clone());
        Trace { scene, world, deeds: Deeds::of(world), entries, marks }
    }

    /// What the journal tells people.
    pub(in crate::runs) fn story(&self) -> Story {
        let read = Read { run: String::new(), entries: self.entries.clone(), hashes: Vec::new(), head: String::new(), end: 0, torn: None };
        Story::told(&read, None).expect("it has a header")
    }

    /// Whether the process of this epoch announced an operation of one before it again.
    pub(super) fn announces_again(&self, op: Option<&str>, epoch: u64) -> bool {
        let its = self.entries.iter().skip_while(|entry| !matches!(&entry.fact, Fact::Begun(begun) if begun.epoch == epoch));
        its.into_iter().any(|entry| matches!(&entry.fact, Fact::Intent { intent, .. } if Some(&*intent.op) == op))
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

/// What invariants look at, as it is after an event.
#[derive(Default)]
pub(super) struct View {
    pub(super) nodes: BTreeMap<String, Arc<Json>>,
    pub(super) pods: BTreeMap<String, Arc<Json>>,
    pub(super) sets: BTreeMap<String, Arc<Json>>,
    /// Budgets as they are, and as they were one change before.
    pub(super) budgets: BTreeMap<String, [Arc<Json>; 2]>,
    /// The lock of the cluster.
    pub(super) lock: Option<Arc<Json>>,
    /// The nodes that this run cordoned.
    pub(super) ours: BTreeSet<String>,
    /// The objects that this run wrote.
    pub(super) written: BTreeSet<String>,
    /// Whether `kubeadm upgrade apply` has noted a new version for the cluster.
    pub(super) applied: bool,
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
            "Lease" if name == LOCK => {
                self.lock = after.cloned();
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

/// The lock of a cluster.
const LOCK: &str = "lease/kube-system/lockgate";

const SEEN: [&str; 5] = ["Node", "Pod", "ReplicaSet", "PodDisruptionBudget", "Lease"];

/// The images of a pod, or of a workload's template.
pub(super) fn images(object: &Json) -> Vec<String> {
    let spec = object.pointer("/spec/template/spec").or_else(|| object.get("spec"));
    let of = |field: &str| spec.and_then(|spec| spec.get(field)).and_then(Json::as_array).map(|all| all.to_vec()).unwrap_or_default();
    of("containers").into_iter().chain(of("initContainers")).filter_map(|one| Some(one["image"].as_str()?.to_owned())).collect()
}
