//! Where a run in virtual time ends that would go on for ever. Outside, a loop that asks and asks is ended by the world, or by
//! the operator who sees it; in a plan nothing moves while a script only reads, and time costs nothing while it waits.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};

use super::script::Call;
use crate::base::clock::{Duration, between};
use crate::base::number::grouped;
use crate::base::{Clock, Error, Kind, Reason, Result, Timestamp};

/// The most that a run in virtual time may do.
#[derive(Clone, Copy, Debug)]
struct Most {
    /// How often it may ask the same while nothing changes and no time passes.
    same: u32,
    /// How long it may take.
    time: Duration,
    /// How many calls it may make that write.
    writes: u32,
}

const MOST: Most = Most { same: 10_000, time: Duration::from_secs(7 * 24 * 3600), writes: 100_000 };

/// What a run in virtual time has used up; without effect where time is real.
pub(super) struct Bounds {
    clock: Clock,
    most: Most,
    started: Timestamp,
    /// The moment of `asked`.
    at: Cell<Timestamp>,
    /// How often each call was made at this moment, by hash.
    asked: RefCell<HashMap<u64, u32>>,
    hasher: RandomState,
    writes: Cell<u32>,
}

impl Bounds {
    pub(super) fn new(clock: Clock) -> Bounds {
        Bounds::of(clock, MOST)
    }

    fn of(clock: Clock, most: Most) -> Bounds {
        let now = clock.now();
        Bounds {
            clock,
            most,
            started: now,
            at: Cell::new(now),
            asked: RefCell::default(),
            hasher: RandomState::new(),
            writes: Cell::new(0),
        }
    }

    /// Before a call is made.
    ///
    /// # Errors
    /// When it is one too many; the script is stopped, and no `pcall` holds that.
    pub(super) fn admit(&self, call: &Call, writes: bool) -> Result<()> {
        if !self.clock.is_virtual() {
            return Ok(());
        }
        let now = self.clock.now();
        if between(self.started, now) > self.most.time {
            return Err(stop(format!("the run has taken {} days of virtual time, and goes on", self.most.time.as_secs() / (24 * 3600)))
                .hint("a loop that waits again and again needs an end; the waits of verbs have a `timeout`"));
        }
        if writes {
            self.writes.set(self.writes.get() + 1);
            self.asked.borrow_mut().clear();
            if self.writes.get() > self.most.writes {
                return Err(stop(format!("the run has called verbs that write {} times, and goes on", grouped(self.most.writes.into())))
                    .hint("a loop that writes needs an end"));
            }
            return Ok(());
        }
        let mut asked = self.asked.borrow_mut();
        if self.at.replace(now) != now {
            asked.clear();
        }
        let key =
            self.hasher.hash_one((&call.verb, call.arguments.iter().chain([&call.options]).map(ToString::to_string).collect::<Vec<_>>()));
        let times = asked.entry(key).or_default();
        *times += 1;
        if *times > self.most.same {
            let mut error =
                stop(format!("`{call}` was called {} times while nothing changed and no time passed", grouped(self.most.same.into())));
            error.places.clone_from(&call.places);
            return Err(error.hint("time only passes in a verb that waits: `wait_for`, `wait_rollout`, `wait_gone`"));
        }
        Ok(())
    }
}

fn stop(message: String) -> Error {
    Error::new(Kind::Runbook, Reason::Interrupted, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::json::{Value as Json, json};
    use crate::cluster::Simulation;

    const FEW: Most = Most { same: 2, time: Duration::from_secs(60), writes: 2 };

    fn call(verb: &str, name: &str) -> Call {
        Call { verb: verb.to_owned(), arguments: vec![json!(name)], options: Json::Null, places: Vec::new() }
    }

    fn virtual_time() -> (Clock, Simulation) {
        let simulation = Simulation::new(lockgate_sim::Cluster::new(lockgate_sim::Options::default()));
        (Clock::virtual_time(std::sync::Arc::new(simulation.clone())), simulation)
    }

    #[test]
    fn asking_the_same_ends_unless_something_changes_or_time_passes() {
        let (clock, simulation) = virtual_time();
        let bounds = Bounds::of(clock, FEW);
        let same = || bounds.admit(&call("get", "configmap/a"), false);
        assert!(same().is_ok() && same().is_ok());
        assert!(bounds.admit(&call("get", "configmap/b"), false).is_ok(), "another question is another");
        let error = same().unwrap_err();
        assert!(error.is_stop(), "no `pcall` holds it");
        assert_eq!(error.message, "`get(\"configmap/a\")` was called 2 times while nothing changed and no time passed");
        bounds.admit(&call("patch", "configmap/a"), true).unwrap();
        assert!(same().is_ok() && same().is_ok() && same().is_err());
        simulation.with(|sim| sim.advance_to(sim.now() + Duration::from_secs(1)));
        assert!(same().is_ok());
    }

    #[test]
    fn writing_and_waiting_for_ever_end() {
        let (clock, simulation) = virtual_time();
        let bounds = Bounds::of(clock, FEW);
        let write = || bounds.admit(&call("patch", "configmap/a"), true);
        assert!(write().is_ok() && write().is_ok());
        assert!(write().unwrap_err().message.contains("write 2 times"));
        simulation.with(|sim| sim.advance_to(sim.now() + Duration::from_secs(61)));
        assert!(bounds.admit(&call("get", "configmap/c"), false).unwrap_err().message.contains("virtual time"));
    }

    #[test]
    fn where_time_is_real_the_operator_decides() {
        let bounds = Bounds::of(Clock::real(), FEW);
        assert!((0..10).all(|_| bounds.admit(&call("get", "configmap/a"), false).is_ok()));
    }
}
