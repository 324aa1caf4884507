//! All that happened in a world since the run began, event by event: what the store changed, who asked for it, what the journal had said.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;
use std::sync::Arc;

use lockgate_sim::Cluster as Sim;
use lockgate_sim::json::Value as Json;
use lockgate_sim::store::Key;

use super::deeds::{Deeds, full_name};
use super::world::{SOMEBODY, World};
use crate::cluster::keep::Intent;
use crate::run::event::TargetInfo;
use crate::run::journal::entry::{Header, VERSION};
use crate::run::journal::view::Story;
use crate::run::journal::{Entry, Fact, Read};

/// The run that worked in a world, as far as what holds of it depends on that.
#[derive(Clone, Debug)]
pub struct Of<'a> {
    /// The cluster before it.
    pub before: &'a Sim,
    /// Its id.
    pub run: String,
    /// How many nodes of workers may be out of service at a time.
    pub budget: usize,
    /// Whether requests may arrive late by themselves: then the age of a lock when they do says nothing.
    pub delays: bool,
    /// Whether its processes take the lock of the cluster, as every run outside of tests does.
    pub locked: bool,
}

/// Everything, when it is over or at the death of a process.
#[derive(Debug)]
pub struct Trace<'a> {
    /// Whose it is.
    pub of: Of<'a>,
    /// Where.
    pub(super) world: &'a World,
    /// What was done.
    pub deeds: Deeds,
    /// The journal.
    pub entries: Vec<Entry>,
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
    /// Of this run in this world.
    #[must_use]
    pub fn of(of: Of<'a>, world: &'a World) -> Trace<'a> {
        let entries = world.disk.entries.borrow().clone();
        let marks = world.disk.marks.borrow().iter().map(|mark| mark.saturating_sub(world.earlier)).collect();
        Trace { of, world, deeds: Deeds::of(world), entries, marks }
    }

    /// What the journal tells people.
    #[must_use]
    pub fn story(&self) -> Option<Story> {
        let mut entries = self.entries.clone();
        if let (Some(Entry { fact, at, .. }), false) = (entries.first(), entries.iter().any(|entry| matches!(entry.fact, Fact::Header(_))))
        {
            debug_assert!(matches!(fact, Fact::Begun(_)), "a journal begins with a process");
            let header = Entry { seq: 0, at: *at, fact: Fact::Header(Box::new(self.header())) };
            entries.insert(0, header);
        }
        let read = Read { run: String::new(), entries, hashes: Vec::new(), head: String::new(), end: 0, torn: None };
        Story::told(&read, None)
    }

    /// What the journal of a scenario lacks: it is in memory, and nothing is pinned beside it.
    fn header(&self) -> Header {
        Header {
            v: VERSION,
            run: self.of.run.clone(),
            what: "run".to_owned(),
            of: None,
            runbook: String::new(),
            title: String::new(),
            source: String::new(),
            files: BTreeMap::new(),
            params: BTreeMap::new(),
            typed: BTreeMap::new(),
            target: TargetInfo { name: String::new(), simulated: true },
            way: Json::Null,
            cluster: None,
            namespace: String::new(),
            version: String::new(),
            command: String::new(),
        }
    }

    /// Whether the process of this epoch announced an operation of one before it again.
    pub(super) fn announces_again(&self, op: Option<&str>, epoch: u64) -> bool {
        let its = self.entries.iter().skip_while(|entry| !matches!(&entry.fact, Fact::Begun(begun) if begun.epoch == epoch));
        its.into_iter().any(|entry| matches!(&entry.fact, Fact::Intent { intent, .. } if Some(&*intent.op) == op))
    }

    /// Whether somebody else writes in this world.
    pub(super) fn others_wrote(&self) -> bool {
        self.world.simulation.with(|sim| sim.ledger().iter().any(|effect| effect.by == SOMEBODY))
    }

    /// The intents that were written before this effect.
    pub(super) fn intents_before(&self, effect: usize) -> impl Iterator<Item = &Intent> {
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
    /// Whether the run wrote an object of a kind that is not Kubernetes' own: its operator makes what belongs to it.
    pub(super) custom: bool,
    /// The images that there were before the run.
    pub(super) images: BTreeSet<String>,
}

impl View {
    /// Before the run.
    pub(super) fn before(sim: &Sim) -> View {
        let mut view = View::default();
        for kind in lockgate_sim::kinds::ALL.iter().copied().filter(|kind| SEEN.contains(&kind.kind)) {
            for (key, object) in sim.store().list(kind, None) {
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
