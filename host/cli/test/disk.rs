//! The journal of a scenario's run, in memory: a process that is killed leaves it as a disk would be left, and what the cluster was like
//! at each of its lines can be looked at afterwards.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lockgate_sim::Cluster as Sim;
use tokio::runtime::Runtime;

use super::ended::effects;
use super::names::Act;
use crate::base::{Clock, Error, Kind, Reason, Result, Span, Timestamp};
use crate::cluster::keep::{Intent, Outcome};
use crate::cluster::{Cancel, Simulation};
use crate::run::journal::file::syncs;
use crate::run::journal::{Entry, Fact, Keep};

/// When a process is killed.
#[derive(Clone, Debug, Default)]
pub(super) struct Kill {
    /// The write that it is killed after, before the journal has what became of it; without one it counts from the beginning.
    pub(super) at: Option<Act>,
    /// How much later.
    pub(super) after: Option<Span>,
}

/// A moment at which a process may be killed: the cluster as it is when a line is about to be written.
pub(super) struct Moment {
    pub(super) sim: Sim,
    /// The number of the line, from 1.
    pub(super) line: usize,
    /// What it says, in a few words.
    pub(super) what: String,
    /// How many lines were synced before it, and with it.
    pub(super) synced: (usize, usize),
    /// What clients had done by then.
    pub(super) effects: Vec<String>,
}

/// The journal.
#[derive(Default)]
pub(super) struct Disk {
    pub(super) entries: RefCell<Vec<Entry>>,
    synced: Cell<usize>,
    killed: Arc<AtomicBool>,
    /// Where it is to be looked at; none when nobody wants that.
    pub(super) moments: RefCell<Option<Vec<Moment>>>,
}

impl Disk {
    /// One with these lines, all of them synced.
    pub(super) fn with(entries: Vec<Entry>) -> Disk {
        let synced = Cell::new(entries.len());
        Disk { entries: RefCell::new(entries), synced, ..Disk::default() }
    }

    /// One whose moments are kept.
    pub(super) fn watched() -> Disk {
        Disk { moments: RefCell::new(Some(Vec::new())), ..Disk::default() }
    }

    pub(super) fn is_killed(&self) -> bool {
        self.killed.load(Ordering::Relaxed)
    }

    /// The handle of a process that begins to work on it.
    pub(super) fn pen(self: &Rc<Self>, kill: Option<Kill>, process: Process) -> Pen {
        self.killed.store(false, Ordering::Relaxed);
        let pen = Pen { disk: self.clone(), process, kill: RefCell::new(kill), op: RefCell::default() };
        if let Some(after) = pen.kill.borrow().as_ref().filter(|kill| kill.at.is_none()).and_then(|kill| kill.after) {
            pen.kill_after(after);
        }
        pen
    }
}

/// What there is of a process beside its journal.
pub(super) struct Process {
    pub(super) cancel: Cancel,
    pub(super) clock: Clock,
    pub(super) runtime: Rc<Runtime>,
    pub(super) simulation: Simulation,
}

/// The handle of one process.
pub(super) struct Pen {
    disk: Rc<Disk>,
    process: Process,
    kill: RefCell<Option<Kill>>,
    /// The operation of the write that it is killed after.
    op: RefCell<Option<String>>,
}

/// The process is no more: from here on its journal takes nothing, so that no write leaves, and it waits for nothing.
fn die(killed: &AtomicBool, cancel: &Cancel) {
    killed.store(true, Ordering::Relaxed);
    cancel.press();
    cancel.press();
}

impl Pen {
    fn dead(&self) -> Error {
        die(&self.disk.killed, &self.process.cancel);
        Error::new(Kind::Cancelled, Reason::Interrupted, "killed")
    }

    fn kill_after(&self, after: Span) {
        let (killed, cancel, clock) = (self.disk.killed.clone(), self.process.cancel.clone(), self.process.clock.join());
        drop(self.process.runtime.spawn(async move {
            if clock.sleep(after).await.is_ok() {
                die(&killed, &cancel);
            }
        }));
    }

    /// Whether the process is killed before this line.
    fn dies(&self, fact: &Fact) -> bool {
        let kill = self.kill.borrow().clone();
        let Some(Kill { at: Some(act), after }) = kill else { return false };
        match fact {
            Fact::Intent { intent, .. } if is(&act, intent) => *self.op.borrow_mut() = Some(intent.op.clone()),
            Fact::Outcome { op, outcome: Outcome::Made { .. } } if self.op.borrow().as_ref() == Some(op) => {
                *self.kill.borrow_mut() = None;
                match after {
                    Some(after) => self.kill_after(after),
                    None => return true,
                }
            }
            _ => {}
        }
        false
    }

    fn look(&self, fact: &Fact) {
        if let Some(moments) = &mut *self.disk.moments.borrow_mut() {
            let line = self.disk.entries.borrow().len() + 1;
            let synced = (self.disk.synced.get(), if syncs(fact) { line } else { self.disk.synced.get() });
            let (sim, effects) = (self.process.simulation.fork(), self.process.simulation.with(|sim| effects(sim)));
            moments.push(Moment { sim, line, what: brief(fact), synced, effects });
        }
    }
}

impl Keep for Pen {
    fn append(&self, at: Timestamp, fact: &Fact) -> Result<u64> {
        if self.disk.is_killed() || self.dies(fact) {
            return Err(self.dead());
        }
        self.look(fact);
        let mut entries = self.disk.entries.borrow_mut();
        let seq = entries.len() as u64 + 1;
        entries.push(Entry { seq, at, fact: fact.clone() });
        if syncs(fact) {
            self.disk.synced.set(entries.len());
        }
        Ok(seq)
    }
}

/// Whether a write is the act that a scenario names.
fn is(act: &Act, intent: &Intent) -> bool {
    let key = &intent.key;
    match act {
        Act::Write { verb, key: object } => {
            let full =
                [&object.kind.singular.to_owned(), &object.namespace.to_string(), &object.name.to_string()].map(String::as_str).join("/");
            *verb == key.verb && intent.object() == full.replace("//", "/")
        }
        Act::Machine { what, node, .. } => {
            let part = key.part.as_deref().unwrap_or_default();
            key.verb == "machine" && key.target == format!("node/{node}") && super::names::glob(what, part)
        }
    }
}

/// A line in a few words.
fn brief(fact: &Fact) -> String {
    match fact {
        Fact::Intent { intent, .. } => format!("it means to {} {}", intent.key.verb, intent.object()),
        Fact::Outcome { op, .. } => format!("what became of write {}", op.split('/').nth(1).unwrap_or_default()),
        Fact::Call(call) => format!("`{}` is over", call.call.verb),
        Fact::Enter { place, phase } => format!("{place} begins with `{}`", phase.as_str()),
        Fact::Left { place, phase, .. } => format!("{place} has ended `{}`", phase.as_str()),
        Fact::Ended { place, .. } => format!("{place} has ended"),
        Fact::Told { .. } => "a line of the transcript".to_owned(),
        Fact::Begun(_) => "a process begins".to_owned(),
        _ => "something else".to_owned(),
    }
}
