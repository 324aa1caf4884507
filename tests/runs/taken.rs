//! Runs that are taken back in this process, with a journal of their own in memory, which may die as any other.

use std::collections::BTreeMap;

use lockgate::cluster::{RunId, Simulation};
use lockgate::run::journal::Past;
use lockgate::run::journal::book::OnDrift;
use lockgate::run::lock::Errand;
use lockgate::run::rollback::{Undoing, rollback};
use lockgate::run::undo;

use super::harness::{Disk, Kill, Lived, Scene, World};

/// A world for the rollback of a run: the same cluster, and a journal of its own.
pub(super) fn way_back(simulation: &Simulation) -> World {
    World::of(simulation.clone(), None)
}

/// One process that takes back the run which `of` tells of, or goes on with that: a run of its own, which takes over the lock of the other.
pub(super) fn take_back(scene: &Scene, of: &Disk, back: &World, kill: Kill) -> Lived {
    let past = Past::of(of.entries.borrow().iter().cloned());
    let run = scene.id().to_string();
    let begin = Errand::TakeBack { of: run.clone(), gone: true };
    scene.works(back, RunId::simulated(scene.sim.now(), 2), begin, kill, OnDrift::Stop, &|script, job, runtime, runbook| {
        let steps = undo::of(runbook, &past, None, &BTreeMap::new()).unwrap();
        let undoing = Undoing { of: run.clone(), past: past.clone(), steps, on_drift: OnDrift::Stop, runtime: runtime.clone() };
        rollback(script, job, &undoing)
    })
}
