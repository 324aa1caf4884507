//! Where a run can be killed: what a watched run says, and nothing else.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use lockgate_sim::Cluster as Sim;
use lockgate_sim::request::Request as SimRequest;

use super::world::count;
use crate::base::Timestamp;
use crate::cluster::Simulation;

/// So many seconds after the death of its sender a request may still arrive: a proxy that holds it for seconds, and one that holds it nearly
/// until the end of its deadline.
pub const LATE: [i64; 2] = [3, 50];

/// What a process is about to do at a moment.
#[derive(Clone, Debug, PartialEq)]
pub enum At {
    /// Its line of this number, from 1, is about to be written.
    Line {
        /// The number.
        number: usize,
        /// What it says, in a few words.
        what: String,
    },
    /// A request is about to be carried out.
    Asking {
        /// Its number among those of the process that fault rules count, from 1; none when they do not count it.
        number: Option<u64>,
        /// The request.
        request: Box<SimRequest>,
        /// Whether it writes, or runs a command.
        writes: bool,
    },
    /// It waits.
    Waiting,
}

/// What is on the disk at a moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// What is about to happen.
    pub at: At,
    /// How many lines there are.
    pub lines: usize,
    /// How many of them are sure to survive.
    pub synced: usize,
}

/// A moment of a watched run.
#[derive(Debug)]
pub struct Moment {
    /// The disk.
    pub seen: Seen,
    /// The cluster.
    pub sim: Sim,
    /// How many effects there were in this world before.
    pub effects: usize,
    /// What tells the cluster from the same at other moments: the version of its store, its time, how much happened in it.
    pub(super) state: (u64, Timestamp, usize),
    asked: usize,
}

/// What the world does when the process is dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Does {
    /// Nothing: what was about to happen does not.
    Nothing,
    /// The request is carried out; nobody hears the answer.
    CarriesOut,
    /// The request arrives so many seconds later.
    Receives(i64),
}

/// A way to be killed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// The place of its moment among all.
    pub moment: usize,
    /// What the world does then.
    pub does: Does,
    /// How many lines the next process finds.
    pub kept: usize,
}

/// Every way to be killed at these moments, in their order.
///
/// Before and after each line is on the disk. While a request is on its way: it never arrives; one that writes may have been carried out, or
/// arrive when its sender is dead ([`LATE`]). In the middle of a wait. Each time with every part of what was not synced: whichever of those
/// bytes a disk keeps, and in whichever order, what is read of them is the lines up to the first that is not whole (`file_tests.rs`).
#[must_use]
pub fn points(seen: &[Seen]) -> Vec<Point> {
    let mut points = Vec::new();
    for (moment, Seen { at, lines, synced }) in seen.iter().enumerate() {
        let mut add = |does: Does, until: usize| points.extend((*synced..=until).map(|kept| Point { moment, does, kept }));
        match at {
            At::Line { .. } => add(Does::Nothing, lines + 1),
            At::Waiting | At::Asking { number: Some(_), writes: false, .. } => add(Does::Nothing, *lines),
            At::Asking { number: None, .. } => {}
            At::Asking { writes: true, .. } => {
                add(Does::Nothing, *lines);
                add(Does::CarriesOut, *lines);
                LATE.into_iter().for_each(|seconds| add(Does::Receives(seconds), *lines));
            }
        }
    }
    points
}

impl Moment {
    /// The point in words, for whoever looks for what went wrong there.
    #[must_use]
    pub fn told(&self, point: &Point) -> String {
        let lost = self.seen.lines.saturating_sub(point.kept);
        let lost = if lost == 0 { String::new() } else { format!(", with the loss of {lost} lines that were not synced") };
        match (&self.seen.at, point.does) {
            (At::Line { number, what }, _) => {
                let side = if point.kept > self.seen.lines { "after" } else { "before" };
                format!("{side} line {number} was kept ({what}{lost})")
            }
            (At::Waiting, _) => format!("in the middle of a wait, {:.0}{lost}", self.state.1),
            (At::Asking { request, .. }, does) => {
                let what = format!("{} {}", request.method.as_str(), request.path);
                match does {
                    Does::Nothing => format!("while `{what}` was on its way{lost}"),
                    Does::CarriesOut => format!("before the answer to `{what}` came{lost}"),
                    Does::Receives(seconds) => format!("while `{what}` was on its way, which arrived {seconds} s later{lost}"),
                }
            }
        }
    }
}

/// Keeps the cluster of a run as it is at each moment.
#[derive(Debug)]
pub(super) struct Watch {
    moments: Mutex<Vec<Moment>>,
    lines: AtomicUsize,
    synced: AtomicUsize,
    former: usize,
    /// How many requests there had been before the process.
    asked: usize,
}

impl Watch {
    pub(super) fn new(former: usize, asked: usize) -> Watch {
        Watch { moments: Mutex::default(), lines: AtomicUsize::new(0), synced: AtomicUsize::new(0), former, asked }
    }

    /// What the disk has now.
    pub(super) fn has(&self, lines: usize, synced: usize) {
        self.lines.store(lines, Ordering::Relaxed);
        self.synced.store(synced, Ordering::Relaxed);
    }

    pub(super) fn look(&self, simulation: &Simulation, at: At) {
        let mut sim = simulation.fork();
        sim.clear_faults();
        let asked = sim.faults().asked().len();
        // Of what only asks there is one line a request.
        let state = (sim.store().rv(), sim.now(), sim.event_log().len().saturating_sub(asked));
        let (lines, synced) = (self.lines.load(Ordering::Relaxed), self.synced.load(Ordering::Relaxed));
        let moment = Moment { seen: Seen { at, lines, synced }, sim, effects: self.former + count(simulation), state, asked };
        self.moments.lock().unwrap_or_else(PoisonError::into_inner).push(moment);
    }

    pub(super) fn asks(&self, simulation: &Simulation, request: &SimRequest) {
        self.look(simulation, At::Asking { number: None, request: Box::new(request.clone()), writes: false });
    }

    /// All moments, when the run is over: which requests were counted, and which of them write, is what the log of requests says.
    pub(super) fn take(&self, simulation: &Simulation) -> Vec<Moment> {
        let mut moments = std::mem::take(&mut *self.moments.lock().unwrap_or_else(PoisonError::into_inner));
        let log: Vec<bool> = simulation.with(|sim| sim.faults().asked().map(|asked| writes(asked.verb, &asked.subresource)).collect());
        let mut after = log.len();
        for moment in moments.iter_mut().rev() {
            if let At::Asking { number, writes, .. } = &mut moment.seen.at
                && after > moment.asked
            {
                *number = Some((moment.asked - self.asked) as u64 + 1);
                *writes = log.get(moment.asked).copied().unwrap_or_default();
            }
            after = moment.asked;
        }
        moments
    }
}

/// Whether a request changes something. A command is begun by a GET.
pub(super) fn writes(verb: &str, subresource: &str) -> bool {
    !matches!(verb, "get" | "list" | "watch") || matches!(subresource, "exec" | "attach" | "portforward" | "proxy")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asking(number: Option<u64>, writes: bool) -> At {
        At::Asking { number, request: Box::new(SimRequest::get("/api/v1/nodes")), writes }
    }

    fn kept(at: At, lines: usize, synced: usize) -> Vec<(Does, usize)> {
        points(&[Seen { at, lines, synced }]).into_iter().map(|point| (point.does, point.kept)).collect()
    }

    #[test]
    fn a_line_is_lost_kept_or_lost_with_those_before_it() {
        let line = || At::Line { number: 7, what: String::new() };
        // Everything before it was synced; of the two before it nobody knows.
        assert_eq!(kept(line(), 6, 6), [(Does::Nothing, 6), (Does::Nothing, 7)]);
        assert_eq!(kept(line(), 6, 4), [4, 5, 6, 7].map(|kept| (Does::Nothing, kept)));
    }

    #[test]
    fn a_request_that_writes_is_lost_carried_out_or_late() {
        let ways = [Does::Nothing, Does::CarriesOut, Does::Receives(LATE[0]), Does::Receives(LATE[1])];
        assert_eq!(kept(asking(Some(1), true), 6, 6), ways.map(|does| (does, 6)));
        assert_eq!(kept(asking(Some(1), true), 6, 5), ways.map(|does| [(does, 5), (does, 6)]).concat());
    }

    #[test]
    fn one_that_reads_is_lost_and_what_no_rule_counts_is_no_point() {
        assert_eq!(kept(asking(Some(1), false), 6, 5), [(Does::Nothing, 5), (Does::Nothing, 6)]);
        assert_eq!(kept(asking(None, false), 6, 5), []);
    }

    #[test]
    fn a_wait_is_a_point_with_and_without_what_was_not_synced() {
        assert_eq!(kept(At::Waiting, 6, 5), [(Does::Nothing, 5), (Does::Nothing, 6)]);
        assert_eq!(kept(At::Waiting, 6, 6), [(Does::Nothing, 6)]);
    }

    #[test]
    fn a_command_writes_although_it_is_asked_for_by_a_get() {
        assert!(writes("patch", "") && writes("create", "eviction") && writes("get", "exec"));
        assert!(!writes("get", "") && !writes("list", "") && !writes("watch", "") && !writes("get", "log"));
    }
}
