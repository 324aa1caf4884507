//! Runs in this process whose journal is kept in memory, and which can be killed at every line of it and at every request: from then on the journal takes nothing and no request leaves, whatever the host does on its way out.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures::future::LocalBoxFuture;
use lockgate::base::{Error, Kind, Reason, Result, Timestamp};
use lockgate::cluster::{Cancel, Cluster, Options, RunId, Simulation};
use lockgate::lua::LuaHost;
use lockgate::primitives::AskOptions;
use lockgate::run::event::TargetInfo;
use lockgate::run::journal::book::OnDrift;
use lockgate::run::journal::entry::{Begun, Header, VERSION};
use lockgate::run::journal::file::syncs;
use lockgate::run::journal::{Book, Entry, Fact, Keep, Past};
use lockgate::run::{Confirmation, Given, Job, Operator, Record, Recording, Script as _, Source, Summary, Voice, What, params, perform};
use lockgate_sim::faults::{Act, Action, Deed, FaultsDocument, Happening, Match, Rule, Side};
use lockgate_sim::fixture::Fixture;
use lockgate_sim::json::Value as Json;
use lockgate_sim::ledger::Effect;
use lockgate_sim::model::Span as SimSpan;
use lockgate_sim::request::Request as SimRequest;
use lockgate_sim::{Cluster as Sim, Options as SimOptions};

pub(super) use super::kill::normal::{effects, state};

/// Who else writes in these tests.
pub(super) const SOMEBODY: &str = "somebody-else";

/// Says yes to everything, and answers every question.
#[derive(Clone, Copy, Debug)]
pub(super) struct Yes;

impl Operator for Yes {
    fn confirm<'a>(&'a self, _: &'a Confirmation) -> LocalBoxFuture<'a, Result<Option<bool>>> {
        Box::pin(async { Ok(Some(true)) })
    }

    fn ask<'a>(&'a self, _: &'a Confirmation, options: &'a AskOptions) -> LocalBoxFuture<'a, Result<Option<String>>> {
        let answer = options.default.clone().or_else(|| options.choices.first().cloned()).unwrap_or_else(|| "an answer".to_owned());
        Box::pin(async { Ok(Some(answer)) })
    }
}

/// When a process is killed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kill {
    /// Never.
    No,
    /// Before the line of this number of its own is on the disk.
    Before(usize),
    /// After it is.
    After(usize),
    /// While its request of this number is on the way: it has not arrived, or its answer has not.
    Asking(u64, Side),
}

/// A journal in memory.
#[derive(Default)]
pub(super) struct Disk {
    pub(super) entries: RefCell<Vec<Entry>>,
    /// How many effects there were when each line was written.
    pub(super) marks: RefCell<Vec<usize>>,
    /// How many lines had been written when everything before was last synced.
    synced: Cell<usize>,
    kill: Cell<Option<Kill>>,
    written: Cell<usize>,
    death: Arc<Death>,
}

/// The end of a process before its time.
#[derive(Default)]
struct Death {
    came: AtomicBool,
    /// How many requests had been made when it came.
    asked: AtomicUsize,
}

/// The handle of one process on it.
struct Pen {
    disk: Rc<Disk>,
    cancel: Cancel,
    simulation: Simulation,
    /// Effects of worlds that this one was forked from.
    former: usize,
}

impl Death {
    /// The process is no more.
    fn come(&self, simulation: &Simulation, cancel: &Cancel) {
        if !self.came.swap(true, Ordering::Relaxed) {
            self.asked.store(asked(simulation), Ordering::Relaxed);
        }
        cancel.press();
        cancel.press();
    }
}

/// Whether the run did it: not what the lock needs, nor what somebody else did.
fn is_ours(effect: &Effect) -> bool {
    !effect.subject.starts_with("lease/") && effect.by != SOMEBODY
}

/// How many requests were made so far.
fn asked(simulation: &Simulation) -> usize {
    simulation.with(|sim| sim.faults().asked().len())
}

impl Pen {
    fn die(&self) -> Error {
        self.disk.death.come(&self.simulation, &self.cancel);
        Error::new(Kind::Cancelled, Reason::Interrupted, "killed")
    }
}

impl Keep for Pen {
    fn append(&self, at: Timestamp, fact: &Fact) -> Result<u64> {
        let disk = &self.disk;
        if disk.is_killed() {
            return Err(self.die());
        }
        disk.written.set(disk.written.get() + 1);
        let number = disk.written.get();
        if disk.kill.get() == Some(Kill::Before(number)) {
            return Err(self.die());
        }
        let seq =
            disk.note(at, fact, self.former + self.simulation.with(|sim| sim.ledger().iter().filter(|effect| is_ours(effect)).count()));
        if disk.kill.get() == Some(Kill::After(number)) {
            return Err(self.die());
        }
        Ok(seq)
    }
}

impl Disk {
    fn is_killed(&self) -> bool {
        self.death.came.load(Ordering::Relaxed)
    }

    fn note(&self, at: Timestamp, fact: &Fact, effects: usize) -> u64 {
        let seq = self.entries.borrow().len() as u64 + 1;
        self.entries.borrow_mut().push(Entry { seq, at, fact: fact.clone() });
        self.marks.borrow_mut().push(effects);
        if syncs(fact) {
            self.synced.set(self.entries.borrow().len());
        }
        seq
    }

    /// How many writes are announced of which nothing more is said.
    pub(super) fn open_intents(&self) -> usize {
        let entries = self.entries.borrow();
        let outcomes: Vec<&str> = entries
            .iter()
            .filter_map(|entry| match &entry.fact {
                Fact::Outcome { op, .. } => Some(op.as_str()),
                _ => None,
            })
            .collect();
        let open = |entry: &&Entry| matches!(&entry.fact, Fact::Intent { intent, .. } if !outcomes.contains(&intent.op.as_str()));
        entries.iter().filter(open).count()
    }

    /// How many lines the present process has written.
    pub(super) fn written(&self) -> usize {
        self.written.get()
    }

    /// Loses what was written since the last sync, as a machine that goes down may; gives how many lines that were.
    pub(super) fn lose_unsynced(&self) -> usize {
        let before = self.entries.borrow().len();
        self.entries.borrow_mut().truncate(self.synced.get());
        self.marks.borrow_mut().truncate(self.synced.get());
        before - self.synced.get()
    }

    /// A disk with the same on it.
    pub(super) fn copy(&self) -> Rc<Disk> {
        Rc::new(Disk { entries: self.entries.clone(), marks: self.marks.clone(), synced: self.synced.clone(), ..Disk::default() })
    }
}

/// A runbook on a cluster.
pub(super) struct Scene {
    pub(super) source: Source,
    pub(super) given: Vec<String>,
    pub(super) sim: Sim,
    /// How many nodes of workers may be out of service at a time.
    pub(super) budget: usize,
}

/// What came of a run.
pub(super) struct Ended {
    /// None when it was killed.
    pub(super) summary: Option<Summary>,
    pub(super) cluster: Cluster,
}

impl Scene {
    pub(super) fn new(text: &str, fixture: &str) -> Scene {
        let fixture = Fixture::parse("cluster.yaml", fixture).unwrap();
        Scene::of(Source::of_text("tried", text), fixture.cluster(SimOptions::default()).unwrap())
    }

    /// The same of a source on a cluster that is there.
    pub(super) fn of(source: Source, mut sim: Sim) -> Scene {
        sim.set_history_limit(1 << 20);
        Scene { source, given: Vec::new(), sim, budget: 1 }
    }

    /// The cluster as it is before the run.
    pub(super) fn cluster(&self) -> Simulation {
        Simulation::new(self.sim.fork())
    }

    /// The cluster before the run, with an empty disk beside it.
    pub(super) fn world(&self) -> World {
        let disk = Rc::<Disk>::default();
        disk.note(self.sim.now(), &Fact::Header(Box::new(self.header())), 0);
        World { simulation: self.cluster(), disk, former: Vec::new(), late: Arc::default() }
    }

    fn header(&self) -> Header {
        Header {
            v: VERSION,
            run: self.id().to_string(),
            what: "run".to_owned(),
            of: None,
            runbook: "tried".to_owned(),
            title: "t".to_owned(),
            source: "tried.luau".to_owned(),
            files: [].into(),
            params: [].into(),
            typed: [].into(),
            target: TargetInfo { name: "simulated".to_owned(), simulated: true },
            way: Json::Null,
            cluster: None,
            namespace: "default".to_owned(),
            version: "0".to_owned(),
            command: "lockgate run tried".to_owned(),
        }
    }

    fn id(&self) -> RunId {
        RunId::simulated(self.sim.now(), 1)
    }

    /// One process: it begins the run or goes on with it, on this cluster.
    pub(super) fn process(&self, simulation: &Simulation, disk: &Rc<Disk>, kill: Kill, on_drift: OnDrift) -> Ended {
        let world = World { simulation: simulation.clone(), disk: disk.clone(), former: Vec::new(), late: Arc::default() };
        self.process_in(&world, kill, on_drift)
    }

    /// The same in a world.
    pub(super) fn process_in(&self, world: &World, kill: Kill, on_drift: OnDrift) -> Ended {
        let cluster = Cluster::beside(&world.simulation, Options::new(self.id()));
        let disk = &world.disk;
        disk.kill.set(Some(kill));
        disk.written.set(0);
        disk.death.came.store(false, Ordering::Relaxed);
        world.arm(kill, cluster.cancel());
        let summary = self.perform(&cluster, world, on_drift).filter(|_| !disk.is_killed());
        Ended { summary, cluster }
    }

    fn perform(&self, cluster: &Cluster, world: &World, on_drift: OnDrift) -> Option<Summary> {
        let disk = &world.disk;
        let records: Rc<RefCell<Vec<Record>>> = Rc::default();
        let runtime = Rc::new(tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap());
        let mut script = LuaHost::new(self.source.clone(), Some(runtime.clone())).unwrap();
        let runbook = Rc::new(script.load().unwrap());
        let given = Given::words(&self.given).unwrap();
        let typed = params::resolve(&runbook, &given, &mut |pattern, text| script.matches(pattern, text)).unwrap();
        let past = Past::of(disk.entries.borrow().iter().cloned());
        let epoch = past.attempts + 1;
        let (cancel, simulation) = (cluster.cancel().clone(), world.simulation.clone());
        let pen = Pen { disk: disk.clone(), cancel, simulation, former: world.former.len() };
        let book = Rc::new(Book::new(Box::new(pen), cluster.clock().clone(), past, on_drift));
        let begun = Begun { pid: 1, host: "here".into(), user: "me".into(), epoch };
        // Killed before anything.
        book.note(&Fact::Begun(begun)).ok()?;
        book.set_epoch(epoch);
        let voice = Voice::Person { operator: Rc::new(Yes), consented: Vec::new() };
        let job = Job {
            what: What::Run,
            cluster: cluster.clone(),
            runbook,
            params: Rc::new(typed),
            voice,
            sink: records.clone(),
            record: Some(Recording { book, runtime }),
        };
        Some(perform(&mut script, job))
    }

    /// How many lines a run of this writes that nobody stops.
    pub(super) fn whole(&self) -> (Ended, Rc<Disk>) {
        let disk = Rc::<Disk>::default();
        let ended = self.process(&self.cluster(), &disk, Kill::No, OnDrift::Stop);
        (ended, disk)
    }
}

/// A cluster and the disk of a run on it. What processes did is kept across forks.
pub(super) struct World {
    pub(super) simulation: Simulation,
    pub(super) disk: Rc<Disk>,
    /// What was done before this was forked.
    former: Vec<Effect>,
    /// The request that was on the way to the server when its sender died.
    late: Arc<Mutex<Option<SimRequest>>>,
}

impl World {
    /// Another world with the same past.
    pub(super) fn fork(&self) -> World {
        let mut sim = self.simulation.fork();
        sim.clear_faults();
        let late = Arc::new(Mutex::new(self.late.lock().unwrap().clone()));
        World { simulation: Simulation::new(sim), disk: self.disk.copy(), former: self.ledger(), late }
    }

    /// Every effect that the run had so far, the lock's apart.
    pub(super) fn ledger(&self) -> Vec<Effect> {
        let own = self.simulation.with(|sim| sim.ledger().to_vec());
        self.former.iter().cloned().chain(own).filter(is_ours).collect()
    }

    /// How many requests were made so far.
    pub(super) fn asked(&self) -> usize {
        asked(&self.simulation)
    }

    /// The requests after the first so many; whether each writes.
    pub(super) fn asked_since(&self, first: usize) -> Vec<bool> {
        let writes = |verb: &str| !matches!(verb, "get" | "list" | "watch");
        self.simulation.with(|sim| sim.faults().asked().skip(first).map(|asked| writes(asked.verb)).collect())
    }

    /// How many requests that write a killed process made after its death. What another item of its batch was reading at that moment is
    /// no harm.
    pub(super) fn written_since_death(&self) -> usize {
        self.asked_since(self.disk.death.asked.load(Ordering::Relaxed)).into_iter().filter(|writes| *writes).count()
    }

    /// What was on its way to the server when its sender died arrives so much later; false when nothing was.
    pub(super) fn arrives(&self, later: SimSpan) -> bool {
        let Some(request) = self.late.lock().unwrap().take() else { return false };
        let deed = Deed { delay: SimSpan::ZERO, act: Act::Late(Box::new(request)) };
        self.happens(Vec::new(), vec![Happening { at: later, deed }]);
        true
    }

    /// Adds faults.
    pub(super) fn happens(&self, rules: Vec<Rule>, happenings: Vec<Happening>) {
        let document =
            FaultsDocument { api_version: "lockgate.dev/v1".to_owned(), kind: "Faults".to_owned(), rules, happenings, clock: None };
        self.simulation.with(|sim| sim.disturb(document));
    }

    /// Lets so much time pass in which nobody is there.
    pub(super) fn passes(&self, span: SimSpan) {
        self.simulation.with(|sim| {
            let until = sim.now() + span.0;
            sim.advance_to(until);
        });
    }

    /// Sees to it that a process dies when it is told to, and only then.
    fn arm(&self, kill: Kill, cancel: &Cancel) {
        if let Kill::Asking(number, side) = kill {
            let when = Match { nth: Some(number), ..Match::default() };
            self.simulation.with(|sim| sim.add_fault(Rule { when, action: Action::Hold(side) }));
        }
        let (death, cancel, late) = (self.disk.death.clone(), cancel.clone(), self.late.clone());
        self.simulation.on_hold(move |simulation, request, hold| {
            if matches!(kill, Kill::Asking(..)) && !death.came.load(Ordering::Relaxed) {
                if let Kill::Asking(_, Side::Before) = kill {
                    *late.lock().unwrap() = Some(request.clone());
                }
                death.come(simulation, &cancel);
            } else {
                simulation.release(hold);
            }
        });
    }
}
