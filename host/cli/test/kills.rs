//! A run is killed at every line of its journal: before the line is on the disk, after it is, and with the loss of what was not synced.
//! Each time another process goes on, and the cluster must end as if nothing had happened, with nothing done twice.

use std::rc::Rc;

use super::disk::{Disk, Moment};
use super::ended::{effects, held};
use super::life::{Life, Start};
use crate::base::{Error, Kind, Reason, Result};
use crate::cluster::Simulation;
use crate::primitives::registry::plural;
use crate::run::End;

/// How many causes are told of one difference.
const TOLD: usize = 6;

/// What comes of a run that nobody kills.
pub(super) struct Whole {
    held: Vec<String>,
    effects: Vec<String>,
}

impl Whole {
    /// Of a cluster on which it is over.
    pub(super) fn of(simulation: &Simulation) -> Whole {
        Whole { held: held(&mut simulation.fork()), effects: simulation.with(|sim| effects(sim)) }
    }
}

/// What came of killing a run everywhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Killed {
    /// How often it was killed, and went on to the same end.
    pub points: usize,
    /// How often of these the next process stopped to ask a person, because nobody can know what became of a command.
    pub asked: usize,
}

impl std::ops::AddAssign for Killed {
    fn add_assign(&mut self, other: Killed) {
        self.points += other.points;
        self.asked += other.asked;
    }
}

/// `killed at 148 points, resumed 148 times, 0 differences`: the first difference is a failed test.
impl std::fmt::Display for Killed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Killed { points, asked } = *self;
        write!(f, "killed at {}, resumed {}, 0 differences", plural(points, "point"), plural(points, "time"))?;
        if asked > 0 { write!(f, "; {} stopped to ask what nobody can know", plural(asked, "time")) } else { Ok(()) }
    }
}

/// Kills it everywhere.
///
/// # Errors
/// The first point after which the cluster ends in another way, and what differs.
pub(super) fn everywhere(life: &Life, disk: &Disk, whole: &Whole) -> Result<Killed> {
    let entries = disk.entries.borrow().clone();
    let moments = disk.moments.borrow_mut().take().unwrap_or_default();
    let mut killed = Killed::default();
    for moment in &moments {
        for kept in points(moment) {
            let at = || {
                let lost = moment.line - 1 - kept.min(moment.line - 1);
                let lost = if lost == 0 { String::new() } else { format!(", with the loss of {lost} lines that were not synced") };
                let side = if kept >= moment.line { "after" } else { "before" };
                format!("killed {side} line {} of {} was kept ({}{lost})", moment.line, moments.len(), moment.what)
            };
            let simulation = Simulation::new(moment.sim.fork());
            let disk = Rc::new(Disk::with(entries.get(..kept).unwrap_or_default().to_vec()));
            let lived = life.process(Start { simulation: &simulation, disk: &disk, kill: None, answers: Vec::new() })?;
            let mut all = moment.effects.clone();
            all.extend(simulation.with(|sim| effects(sim)));
            all.sort();
            match lived.summary {
                Some(summary) if summary.end == End::Succeeded => {}
                Some(summary) if summary.end == End::Parked => {
                    let twice: Vec<String> = less(&all, &whole.effects).into_iter().map(|one| format!("too much: {one}")).collect();
                    if !twice.is_empty() {
                        return Err(differs(&at(), "it stopped to ask, and had done too much", twice));
                    }
                    killed += Killed { points: 1, asked: 1 };
                    continue;
                }
                summary => {
                    let error = summary.and_then(|summary| summary.error);
                    return Err(differs(&at(), "the run did not come to its end", error.iter().map(ToString::to_string)));
                }
            }
            if all != whole.effects {
                return Err(differs(&at(), "other things were done", difference(&whole.effects, &all)));
            }
            let found = simulation.with(held);
            if found != whole.held {
                return Err(differs(&at(), "the cluster ends in another way", difference(&whole.held, &found)));
            }
            killed += Killed { points: 1, asked: 0 };
        }
    }
    Ok(killed)
}

/// How many lines the next process finds, once each.
fn points(moment: &Moment) -> Vec<usize> {
    let mut points = vec![moment.line - 1, moment.line, moment.synced.0, moment.synced.1];
    points.sort_unstable();
    points.dedup();
    points
}

/// What is left of one list without what is in the other.
fn less(from: &[String], these: &[String]) -> Vec<String> {
    let mut rest = from.to_vec();
    for one in these {
        if let Some(at) = rest.iter().position(|other| other == one) {
            rest.remove(at);
        }
    }
    rest
}

/// What is in one list and not in the other.
fn difference(wanted: &[String], found: &[String]) -> Vec<String> {
    let missing = less(wanted, found).into_iter().map(|one| format!("not there: {one}"));
    missing.chain(less(found, wanted).into_iter().map(|one| format!("too much: {one}"))).collect()
}

fn differs(at: &str, what: &str, causes: impl IntoIterator<Item = String>) -> Error {
    let error = Error::new(Kind::Runbook, Reason::CheckFailed, format!("{at}, and resumed: {what}"));
    causes.into_iter().take(TOLD).fold(error, Error::cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn what_differs_is_told_once_for_each_time() {
        assert_eq!(
            difference(&lines(&["a", "b", "b"]), &lines(&["b", "c", "c"])),
            ["not there: a", "not there: b", "too much: c", "too much: c"]
        );
        assert!(difference(&lines(&["a", "b"]), &lines(&["b", "a"])).is_empty());
    }

    #[test]
    fn a_point_is_counted_once() {
        let moment = |synced| Moment {
            sim: lockgate_sim::Cluster::new(lockgate_sim::Options::default()),
            line: 7,
            what: String::new(),
            synced,
            effects: Vec::new(),
        };
        // Everything was synced; the line itself is not; neither it nor the two before are.
        assert_eq!(points(&moment((6, 7))), [6, 7]);
        assert_eq!(points(&moment((6, 6))), [6, 7]);
        assert_eq!(points(&moment((4, 4))), [4, 6, 7]);
        assert_eq!(points(&moment((4, 7))), [4, 6, 7]);
    }
}
