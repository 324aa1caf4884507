//! A journal in memory: a process that is killed leaves it as a disk would be left.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use lockgate_sim::faults::Side;
use tokio::runtime::Runtime;

use super::point::{At, Watch};
use super::world::count;
use crate::base::{Clock, Error, Kind, Reason, Result, Span, Timestamp};
use crate::cluster::keep::{Intent, Outcome};
use crate::cluster::{Cancel, Simulation};
use crate::run::journal::file::syncs;
use crate::run::journal::{Entry, Fact, Keep};

/// A write that a process is killed after: whether this intent announces it.
#[derive(Clone)]
pub struct Wrote(pub Rc<dyn Fn(&Intent) -> bool>);

impl std::fmt::Debug for Wrote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a write")
    }
}

/// When a process is killed.
#[derive(Clone, Debug, Default)]
pub enum Kill {
    /// Never.
    #[default]
    No,
    /// Before the line of this number of its own, from 1, is on the disk.
    Before(usize),
    /// After it is.
    After(usize),
    /// While its request of this number, from 1, is on the way: it has not arrived, or its answer has not.
    Asking(u64, Side),
    /// So long after it began.
    Later(Span),
    /// After the write that this announces, before the journal has what became of it; or so long after that line.
    Wrote(Wrote, Option<Span>),
}

/// The end of a process before its time.
#[derive(Debug, Default)]
pub(super) struct Death {
    came: AtomicBool,
    /// How many requests had been made when it came.
    asked: AtomicUsize,
}

impl Death {
    /// The process is no more: from here on its journal takes nothing, so that no write leaves, and it waits for nothing.
    pub(super) fn come(&self, simulation: &Simulation, cancel: &Cancel) {
        if !self.came.swap(true, Ordering::Relaxed) {
            self.asked.store(simulation.with(|sim| sim.faults().asked().len()), Ordering::Relaxed);
        }
        cancel.press();
        cancel.press();
    }

    /// A new process begins.
    pub(super) fn rise(&self) {
        self.came.store(false, Ordering::Relaxed);
    }

    pub(super) fn is_here(&self) -> bool {
        self.came.load(Ordering::Relaxed)
    }

    /// How many requests had been made when it came.
    pub(super) fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

/// A journal in memory.
#[derive(Debug, Default)]
pub struct Disk {
    /// Its lines.
    pub entries: RefCell<Vec<Entry>>,
    /// How many effects the run had had on the cluster when each line was written.
    pub marks: RefCell<Vec<usize>>,
    /// How many lines had been written when everything before was last synced.
    synced: Cell<usize>,
    /// How many lines the present process has written.
    written: Cell<usize>,
    /// Whether a process has worked on it.
    begun: Cell<bool>,
    pub(super) death: Arc<Death>,
    /// Who keeps the cluster at each line; none when nobody wants that.
    pub(super) watch: RefCell<Option<Arc<Watch>>>,
}

impl Disk {
    /// One with these lines, all of them synced, on which a process has worked.
    #[must_use]
    pub fn with(entries: Vec<Entry>, marks: Vec<usize>) -> Disk {
        let synced = Cell::new(entries.len());
        Disk { entries: RefCell::new(entries), marks: RefCell::new(marks), synced, begun: Cell::new(true), ..Disk::default() }
    }

    /// A disk with the same on it.
    #[must_use]
    pub fn copy(&self) -> Disk {
        Disk {
            entries: self.entries.clone(),
            marks: self.marks.clone(),
            synced: self.synced.clone(),
            begun: self.begun.clone(),
            ..Disk::default()
        }
    }

    /// Whether the last process on it was killed.
    #[must_use]
    pub fn is_killed(&self) -> bool {
        self.death.is_here()
    }

    /// How many lines the last process on it has written.
    #[must_use]
    pub fn written(&self) -> usize {
        self.written.get()
    }

    /// Loses what was written since the last sync, as a machine that goes down may; gives how many lines that were.
    pub fn lose_unsynced(&self) -> usize {
        let before = self.entries.borrow().len();
        self.keep(self.synced.get());
        before - self.entries.borrow().len()
    }

    /// Loses all lines but so many.
    pub fn keep(&self, lines: usize) {
        self.entries.borrow_mut().truncate(lines);
        self.marks.borrow_mut().truncate(lines);
    }

    /// How many writes are announced of which nothing more is said.
    #[must_use]
    pub fn open_intents(&self) -> usize {
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

    /// Writes a line.
    pub fn note(&self, at: Timestamp, fact: &Fact, effects: usize) -> u64 {
        let mut entries = self.entries.borrow_mut();
        let seq = entries.len() as u64 + 1;
        entries.push(Entry { seq, at, fact: fact.clone() });
        self.marks.borrow_mut().push(effects);
        if syncs(fact) {
            self.synced.set(entries.len());
        }
        if let Some(watch) = &*self.watch.borrow() {
            watch.has(entries.len(), self.synced.get());
        }
        seq
    }

    /// A process begins to work on it; gives whether it is the first.
    pub(super) fn begin(&self) -> bool {
        self.written.set(0);
        if let Some(watch) = &*self.watch.borrow() {
            watch.has(self.entries.borrow().len(), self.synced.get());
        }
        !self.begun.replace(true)
    }
}

/// The handle of one process on its journal.
pub(super) struct Pen {
    pub(super) disk: Rc<Disk>,
    pub(super) kill: RefCell<Kill>,
    pub(super) cancel: Cancel,
    pub(super) clock: Clock,
    pub(super) runtime: Rc<Runtime>,
    pub(super) simulation: Simulation,
    /// How many effects there had been in the worlds that this one was forked from.
    pub(super) former: usize,
    /// The operation of the write that it is killed after.
    pub(super) op: RefCell<Option<String>>,
}

impl Pen {
    fn die(&self) -> Error {
        self.disk.death.come(&self.simulation, &self.cancel);
        Error::new(Kind::Cancelled, Reason::Interrupted, "killed")
    }

    /// Kills it so much later.
    pub(super) fn kill_after(&self, after: Span) {
        let (death, cancel, clock) = (self.disk.death.clone(), self.cancel.clone(), self.clock.join());
        let simulation = self.simulation.clone();
        drop(self.runtime.spawn(async move {
            if clock.sleep(after).await.is_ok() {
                death.come(&simulation, &cancel);
            }
        }));
    }

    /// Whether it is killed before this line, because of a write that the line tells of.
    fn dies(&self, fact: &Fact) -> bool {
        let Kill::Wrote(wrote, after) = self.kill.borrow().clone() else { return false };
        match fact {
            Fact::Intent { intent, .. } if (wrote.0)(intent) => *self.op.borrow_mut() = Some(intent.op.clone()),
            Fact::Outcome { op, outcome: Outcome::Made { .. } } if self.op.borrow().as_ref() == Some(op) => {
                *self.kill.borrow_mut() = Kill::No;
                match after {
                    Some(after) => self.kill_after(after),
                    None => return true,
                }
            }
            _ => {}
        }
        false
    }
}

impl Keep for Pen {
    fn append(&self, at: Timestamp, fact: &Fact) -> Result<u64> {
        let disk = &self.disk;
        if disk.is_killed() || self.dies(fact) {
            return Err(self.die());
        }
        let number = disk.written.get() + 1;
        disk.written.set(number);
        if matches!(*self.kill.borrow(), Kill::Before(line) if line == number) {
            return Err(self.die());
        }
        if let Some(watch) = &*disk.watch.borrow() {
            watch.look(&self.simulation, At::Line { number, what: brief(fact) });
        }
        let seq = disk.note(at, fact, self.former + count(&self.simulation));
        if matches!(*self.kill.borrow(), Kill::After(line) if line == number) { Err(self.die()) } else { Ok(seq) }
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
        Fact::Lock { what, .. } => format!("the lock is {what}"),
        _ => "something else".to_owned(),
    }
}
