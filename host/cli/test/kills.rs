//! A run is killed at every line of its journal: before the line is on the disk, after it is, and with the loss of what was not synced.
//! Each time another process goes on, and the cluster must end as if nothing had happened, with nothing done twice.

use std::rc::Rc;

use super::disk::{Disk, Moment};
use super::ended::{effects, held};
use super::life::{Life, Start};
use crate::base::{Error, Kind, Reason, Result};
use crate::cluster::Simulation;
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

/// Kills it everywhere; gives how often.
///
/// # Errors
/// The first point after which the cluster ends in another way, and what differs.
pub(super) fn everywhere(life: &Life, disk: &Disk, whole: &Whole) -> Result<usize> {
    let entries = disk.entries.borrow().clone();
    let moments = disk.moments.borrow_mut().take().unwrap_or_default();
    let mut killed = 0;
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
            match lived.summary {
                Some(summary) if summary.end == End::Succeeded => {}
                summary => {
                    let error = summary.and_then(|summary| summary.error);
                    return Err(differs(&at(), "the run did not come to its end", error.iter().map(ToString::to_string)));
                }
            }
            let mut all = moment.effects.clone();
            all.extend(simulation.with(|sim| effects(sim)));
            all.sort();
            if all != whole.effects {
                return Err(differs(&at(), "other things were done", difference(&whole.effects, &all)));
            }
            let found = simulation.with(held);
            if found != whole.held {
                return Err(differs(&at(), "the cluster ends in another way", difference(&whole.held, &found)));
            }
            killed += 1;
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

/// What is in one list and not in the other.
fn difference(wanted: &[String], found: &[String]) -> Vec<String> {
    let less = |from: &[String], these: &[String]| {
        let mut rest = from.to_vec();
        for one in these {
            if let Some(at) = rest.iter().position(|other| other == one) {
                rest.remove(at);
            }
        }
        rest
    };
    let missing = less(wanted, found).into_iter().map(|one| format!("not there: {one}"));
    missing.chain(less(found, wanted).into_iter().map(|one| format!("too much: {one}"))).collect()
}

fn differs(at: &str, what: &str, causes: impl IntoIterator<Item = String>) -> Error {
    let error = Error::new(Kind::Runbook, Reason::CheckFailed, format!("{at}, and resumed: {what}"));
    causes.into_iter().take(TOLD).fold(error, Error::cause)
}
