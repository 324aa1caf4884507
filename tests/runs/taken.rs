//! Runs that are taken back in this process, with a journal of their own in memory, which may die at a line.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use lockgate::base::{Error, Kind, Reason, Result, Timestamp};
use lockgate::cluster::{Cancel, Cluster, Options, RunId, Simulation};
use lockgate::lua::LuaHost;
use lockgate::run::journal::book::OnDrift;
use lockgate::run::journal::entry::Begun;
use lockgate::run::journal::file::syncs;
use lockgate::run::journal::{Book, Entry, Fact, Keep, Past};
use lockgate::run::rollback::{Undoing, rollback};
use lockgate::run::{Given, Job, Record, Recording, Script as _, Summary, Voice, What, params, undo};

use super::harness::{Disk, Scene, Yes};

/// The journal of a rollback, which dies at a line: from then on it takes nothing, and no request leaves.
#[derive(Default)]
pub(super) struct Paper {
    pub(super) lines: RefCell<Vec<Entry>>,
    /// The line of this process that kills it, and whether that is on the disk.
    dies: Cell<Option<(usize, bool)>>,
    written: Cell<usize>,
    dead: Cell<bool>,
}

struct Pen(Rc<Paper>, Cancel);

impl Pen {
    fn die(&self) -> Error {
        self.0.dead.set(true);
        self.1.press();
        self.1.press();
        Error::new(Kind::Cancelled, Reason::Interrupted, "killed")
    }
}

impl Keep for Pen {
    fn append(&self, at: Timestamp, fact: &Fact) -> Result<u64> {
        let paper = &self.0;
        let number = paper.written.get() + 1;
        paper.written.set(number);
        if paper.dead.get() || paper.dies.get() == Some((number, false)) {
            return Err(self.die());
        }
        let seq = paper.lines.borrow().len() as u64 + 1;
        paper.lines.borrow_mut().push(Entry { seq, at, fact: fact.clone() });
        if paper.dies.get() == Some((number, true)) { Err(self.die()) } else { Ok(seq) }
    }
}

impl Paper {
    /// Loses what was written since the last line that is synced.
    pub(super) fn lose_unsynced(&self) {
        let mut lines = self.lines.borrow_mut();
        let kept = lines.iter().rposition(|entry| syncs(&entry.fact)).map_or(0, |place| place + 1);
        lines.truncate(kept);
    }
}

/// What came of a rollback: no summary when it was killed.
pub(super) struct Back {
    pub(super) summary: Option<Summary>,
    pub(super) cluster: Cluster,
}

/// One process that takes back the run which `of` tells of, or goes on with that: a run of its own, with its own journal.
pub(super) fn take_back(scene: &Scene, simulation: &Simulation, of: &Disk, paper: &Rc<Paper>, dies: Option<(usize, bool)>) -> Back {
    let cluster = Cluster::beside(simulation, Options::new(RunId::simulated(scene.sim.now(), 2)));
    paper.dies.set(dies);
    paper.written.set(0);
    paper.dead.set(false);
    let runtime = Rc::new(tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap());
    let mut script = LuaHost::new(scene.source.clone(), Some(runtime.clone())).unwrap();
    let runbook = Rc::new(script.load().unwrap());
    let given = Given::words(&scene.given).unwrap();
    let typed = params::resolve(&runbook, &given, &mut |pattern, text| script.matches(pattern, text)).unwrap();
    let past = Past::of(of.entries.borrow().iter().cloned());
    let steps = undo::of(&runbook, &past, None, &BTreeMap::new()).unwrap();
    let own = Past::of(paper.lines.borrow().iter().cloned());
    let pen = Pen(paper.clone(), cluster.cancel().clone());
    let book = Rc::new(Book::new(Box::new(pen), cluster.clock().clone(), own, OnDrift::Stop));
    let begun = Begun { pid: 1, host: "here".into(), user: "me".into(), epoch: 1 };
    if book.note(&Fact::Begun(begun)).is_err() {
        return Back { summary: None, cluster };
    }
    let job = Job {
        what: What::Run,
        cluster: cluster.clone(),
        runbook,
        params: Rc::new(typed),
        voice: Voice::Person { operator: Rc::new(Yes), consented: Vec::new() },
        sink: Rc::<RefCell<Vec<Record>>>::default(),
        record: Some(Recording { book, runtime: runtime.clone() }),
    };
    let run = RunId::simulated(scene.sim.now(), 1).to_string();
    let undoing = Undoing { of: run, past, steps, on_drift: OnDrift::Stop, runtime };
    let summary = Some(rollback(&mut script, job, &undoing)).filter(|_| !paper.dead.get());
    Back { summary, cluster }
}
