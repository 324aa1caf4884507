//! What a script may use up, and how it is stopped so that no `pcall` can hold it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use mlua::VmState;

use crate::base::clock::{Duration, tick, worked};
use crate::base::number::grouped;
use crate::base::{Error, Kind, Reason, Span};
use crate::cluster::Cancel;

/// What a script may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of memory for tables and strings. Default 256 MiB: a list of 5,000 large objects needs more than the 64 of
    /// `reference/safety.md` G12 (`reference/stack.md` §2).
    pub memory: usize,
    /// Loop turns and calls between two calls of verbs. A count, not a time, so that a script that passes once always passes.
    /// Default 100 million.
    pub turns: u64,
    /// Time of the processor between two calls of verbs, for scripts whose turns are long: a loop that makes large texts. Far above what
    /// `turns` take otherwise, so that a script which passes once passes on a slower machine too. Default one minute.
    pub work: Duration,
    /// Bytes of one source file; the compiler's memory is not under `memory`. Default 1 MiB.
    pub source: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { memory: 256 << 20, turns: 100_000_000, work: Duration::from_secs(60), source: 1 << 20 }
    }
}

/// How often the time and the stop switch are looked at at least, in turns. They are also looked at whenever some milliseconds have passed, so
/// that a script ends with the turn in which its time is over, however long its turns are.
const LOOK_EVERY: u64 = 1024;

/// The brake of one Lua state. Once [`Brake::halt`] was called, every loop turn and every call raises again, until the host
/// starts the next piece of work with [`Brake::release`].
pub(crate) struct Brake {
    limits: Limits,
    left: Cell<u64>,
    /// The time of the processor when the allowance was full.
    since: Cell<Duration>,
    /// The tick at which it was looked at last.
    looked: Cell<Duration>,
    halted: Cell<bool>,
    why: RefCell<Option<Error>>,
    cancel: RefCell<Option<Cancel>>,
}

impl Brake {
    pub(crate) fn new(limits: Limits) -> Rc<Brake> {
        Rc::new(Brake {
            left: Cell::new(limits.turns),
            limits,
            since: Cell::new(worked()),
            looked: Cell::default(),
            halted: Cell::new(false),
            why: RefCell::new(None),
            cancel: RefCell::new(None),
        })
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Called by the interpreter at every loop turn and call.
    pub(crate) fn turn(&self) -> mlua::Result<VmState> {
        if self.halted.get() {
            return Err(mlua::Error::external(Halt));
        }
        let left = self.left.get();
        if left == 0 {
            self.halt(self.too_long());
            return Err(mlua::Error::external(Halt));
        }
        self.left.set(left - 1);
        let now = tick();
        if self.looked.replace(now) == now && !left.is_multiple_of(LOOK_EVERY) {
            return Ok(VmState::Continue);
        }
        if worked().saturating_sub(self.since.get()) > self.limits.work {
            self.halt(self.too_slow());
            return Err(mlua::Error::external(Halt));
        }
        if self.cancel.borrow().as_ref().is_some_and(Cancel::is_pressed) {
            self.halt(Cancel::error());
            return Err(mlua::Error::external(Halt));
        }
        Ok(VmState::Continue)
    }

    /// Stops the script for this reason; the first reason stands.
    pub(crate) fn halt(&self, why: Error) {
        self.halted.set(true);
        self.why.borrow_mut().get_or_insert(why);
    }

    /// Whether the script was stopped.
    pub(crate) fn halted(&self) -> bool {
        self.halted.get()
    }

    /// Why the script was stopped.
    pub(crate) fn why(&self) -> Option<Error> {
        self.why.borrow().clone()
    }

    /// The full allowance again: a verb was called.
    pub(crate) fn refill(&self) {
        self.left.set(self.limits.turns);
        self.since.set(worked());
    }

    /// Uses up some of the allowance at once.
    pub(crate) fn spend(&self, turns: u64) {
        self.left.set(self.left.get().saturating_sub(turns));
    }

    /// Ready for the next piece of work, which this switch stops.
    pub(crate) fn release(&self, cancel: Option<Cancel>) {
        self.halted.set(false);
        *self.why.borrow_mut() = None;
        *self.cancel.borrow_mut() = cancel;
        self.refill();
    }

    fn too_long(&self) -> Error {
        let turns = grouped(self.limits.turns);
        stop(format!("the script used up its {turns} loop turns and calls without a verb that reads, writes, waits or asks"))
            .hint("a loop that waits is a verb: `wait_for`, `wait_rollout`; a loop that only notes or does not end is a mistake")
    }

    fn too_slow(&self) -> Error {
        let work = Span::from_secs_f64(self.limits.work.as_secs_f64());
        stop(format!("the script has computed for {work} without a verb that reads, writes, waits or asks"))
            .hint("a loop that does not end, or that makes large texts again and again, is a mistake")
    }

    /// Out of memory.
    pub(crate) fn out_of_memory(&self) -> Error {
        stop(format!("the script needs more than {} MiB of memory", self.limits.memory >> 20))
            .hint("read less at once: `list` takes `labels` and `fields`")
    }

    /// Calls nested too deeply.
    pub(crate) fn too_deep() -> Error {
        stop("the script's functions call each other too deeply".to_owned()).hint("a function that calls itself needs an end")
    }
}

fn stop(message: String) -> Error {
    Error::new(Kind::Runbook, Reason::Interrupted, message)
}

/// What travels through the interpreter while a script is stopped; the reason stays with the [`Brake`].
#[derive(Debug)]
pub(crate) struct Halt;

impl std::fmt::Display for Halt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("stopped")
    }
}

impl std::error::Error for Halt {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_halt_stands_until_the_release_and_keeps_its_first_reason() {
        let brake = Brake::new(Limits { turns: 2, ..Limits::default() });
        assert!(brake.turn().is_ok() && brake.turn().is_ok());
        assert!(brake.turn().is_err());
        brake.halt(Cancel::error());
        brake.refill();
        assert!(brake.turn().is_err());
        assert!(brake.why().unwrap().message.contains("used up its 2 loop turns"), "{:?}", brake.why());
        brake.release(None);
        assert!(brake.turn().is_ok() && brake.why().is_none());
    }

    #[test]
    fn the_switch_is_seen_without_a_call_of_a_verb() {
        let brake = Brake::new(Limits::default());
        let cancel = Cancel::new();
        brake.release(Some(cancel.clone()));
        cancel.press();
        let stopped = (0..=LOOK_EVERY).find(|_| brake.turn().is_err());
        assert!(stopped.is_some());
        assert!(brake.why().unwrap().is_stop());
    }
}
