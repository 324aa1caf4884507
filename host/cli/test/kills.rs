//! The run of a scenario is killed everywhere: at every line of its journal, before the line is on the disk and after it, at every request,
//! with and without its being carried out, in the middle of its waits, and with the loss of what was not synced. Each time another process
//! goes on, and the cluster must end as if nothing had happened, with nothing done twice: O1 to O7 of the design's reference.

use std::collections::BTreeSet;

use super::ended::held;
use super::kill::{Broken, Deeds, Kill, Moment, Of, Point, Trace, World, broken, lies, pardoned};
use super::life::{Life, Start};
use crate::base::{Error, Kind, Reason, Result};
use crate::primitives::registry::plural;
use crate::run::End;
use crate::run::journal::{Entry, Fact};
use jiff::SignedDuration;
use lockgate_sim::Cluster as Sim;

/// How what was done too often is told.
pub(super) const MORE: &str = "too much: ";
/// How what was not done is told.
pub(super) const MISSING: &str = "not there: ";

/// How many causes are told of one difference.
const TOLD: usize = 6;

/// One world in so many is gone on from once more, when it is over.
const EACH: usize = 8;

/// What comes of a run that nobody kills.
pub(super) struct Whole {
    /// The cluster before it.
    before: Sim,
    held: Vec<String>,
    effects: Vec<String>,
    acts: Vec<String>,
    took: SignedDuration,
    /// How many nodes of workers were out of service at a time: no more may be in a run that is killed.
    budget: usize,
    /// The invariants that it breaks as it is: it was written so, and its kills say nothing about them.
    broken: Vec<Broken>,
}

impl Whole {
    /// Of a world in which it is over.
    pub(super) fn of(life: &Life, before: Sim, world: &World) -> Whole {
        let deeds = Deeds::of(world);
        let took = world.simulation.now().duration_since(before.now());
        let (effects, acts, held) = (deeds.effective(), deeds.acts(), held(&mut world.simulation.fork()));
        let mut whole = Whole { before, held, effects, acts, took, budget: 0, broken: Vec::new() };
        whole.budget = whole.trace(life, world).out_of_service();
        whole.broken = broken(&whole.trace(life, world)).0;
        whole
    }

    fn trace<'a>(&'a self, life: &Life, world: &'a World) -> Trace<'a> {
        // Requests arrive late in worlds that say so themselves, and a scenario takes no lock.
        Trace::of(Of { before: &self.before, run: life.run.to_string(), budget: self.budget, delays: false, locked: false }, world)
    }

    /// What does not hold of a run that was killed and is over, though it holds of one that was not: the invariants (O4), what the journal
    /// tells (O5), and how long it took (O6).
    fn amiss(&self, life: &Life, world: &World) -> Vec<String> {
        let trace = self.trace(life, world);
        let (found, _) = broken(&trace);
        let new = found.iter().filter(|one| !self.broken.iter().any(|known| known.id == one.id));
        let mut wrong: Vec<String> = new.map(ToString::to_string).collect();
        if let Some(story) = trace.story() {
            wrong.extend(story.half_done().map(|write| format!("{} {} is half-done", write.verb, write.target)));
        }
        wrong.extend(lies(&trace));
        let (took, most) = (world.simulation.now().duration_since(self.before.now()), self.took * 3 + SignedDuration::from_mins(10));
        if took > most {
            wrong.push(format!("it took {took:#} instead of {:#}", self.took));
        }
        wrong
    }
}

/// What came of killing a run everywhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Killed {
    /// How often it was killed, and went on to the same end.
    pub points: usize,
    /// How often of these the next process stopped to ask a person, because nobody can know what became of a command.
    pub asked: usize,
    /// After how many of its steps it was taken back, to how the cluster was.
    pub back: usize,
    /// An invariant that the run breaks though nobody kills it: of that one its kills say nothing.
    pub breaks: Option<Broken>,
    /// The steps that the scenario came to, in its plan or in its runs.
    pub entered: BTreeSet<String>,
}

impl std::ops::AddAssign for Killed {
    fn add_assign(&mut self, other: Killed) {
        self.points += other.points;
        self.asked += other.asked;
        self.back += other.back;
        self.breaks = self.breaks.take().or(other.breaks);
        self.entered.extend(other.entered);
    }
}

impl Killed {
    /// What there is to say of it, a line each.
    #[must_use]
    pub fn told(&self) -> Vec<String> {
        let killed = (self.points > 0).then(|| self.to_string());
        let back = (self.back > 0).then(|| format!("taken back from {}, 0 differences", plural(self.back, "step")));
        killed.into_iter().chain(back).collect()
    }
}

/// `killed at 148 points, resumed 148 times, 0 differences`: the first difference is a failed test.
impl std::fmt::Display for Killed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Killed { points, asked, .. } = *self;
        write!(f, "killed at {}, resumed {}, 0 differences", plural(points, "point"), plural(points, "time"))?;
        if asked > 0 { write!(f, "; {} stopped to ask what nobody can know", plural(asked, "time")) } else { Ok(()) }
    }
}

/// Kills it at no more than `most` of its different states, spread over the run, after it was watched in this world.
///
/// # Errors
/// The first point after which the cluster ends in another way, and what differs.
pub(super) fn everywhere(life: &Life, of: &World, moments: &[Moment], whole: &Whole, most: usize) -> Result<Killed> {
    let mut killed = Killed { breaks: whole.broken.first().cloned(), ..Killed::default() };
    let worlds = of.worlds(moments);
    let stride = worlds.len().div_ceil(most.max(1)).max(1);
    for (number, (points, world)) in worlds.into_iter().step_by(stride).enumerate() {
        let asked = outcome(life, &world, whole, number.is_multiple_of(EACH)).map_err(|error| told(moments, &points, error))?;
        killed += Killed { points: points.len(), asked: if asked { points.len() } else { 0 }, ..Killed::default() };
    }
    Ok(killed)
}

/// Goes on in a world that a killed process left; gives whether it stopped to ask what nobody can know. With `again`, once more when it is
/// over.
fn outcome(life: &Life, world: &World, whole: &Whole, again: bool) -> Result<bool> {
    let lived = life.process(Start { world, kill: Kill::No, answers: Vec::new() })?;
    let deeds = Deeds::of(world);
    let (effects, acts) = (deeds.effective(), deeds.acts());
    match lived.summary {
        Some(summary) if summary.end == End::Succeeded => {}
        Some(summary) if summary.end == End::Parked => {
            let twice = less(&effects, &whole.effects).into_iter().chain(less(&acts, &whole.acts));
            let twice: Vec<String> = twice.map(|one| format!("{MORE}{one}")).collect();
            return if twice.is_empty() { Ok(true) } else { Err(differs("it stopped to ask, and had done too much", twice)) };
        }
        summary => {
            let error = lived.refused.or(summary.and_then(|summary| summary.error));
            return Err(differs("the run did not come to its end", error.iter().map(ToString::to_string)));
        }
    }
    let other = pardoned(difference(&whole.effects, &effects), &world.disk.entries.borrow());
    if !other.is_empty() {
        return Err(differs("other things were done", other));
    }
    let other = difference(&whole.acts, &acts);
    let other: Vec<String> = other.into_iter().filter(|one| !is_asked_again(one, &world.disk.entries.borrow())).collect();
    if !other.is_empty() {
        return Err(differs("other things were done on machines", other));
    }
    let amiss = whole.amiss(life, world);
    if !amiss.is_empty() {
        return Err(differs("what holds of every run does not hold", amiss));
    }
    if again {
        is_over(life, world)?;
    }
    let found = world.simulation.with(held);
    if found != whole.held {
        return Err(differs("the cluster ends in another way", difference(&whole.held, &found)));
    }
    Ok(false)
}

/// Going on with a run that is over writes nothing (O7).
fn is_over(life: &Life, world: &World) -> Result<()> {
    let world = world.fork();
    let before = world.ledger().len();
    let lived = life.process(Start { world: &world, kill: Kill::No, answers: Vec::new() })?;
    let more = world.ledger().len().saturating_sub(before);
    match lived.summary {
        Some(summary) if summary.end == End::Succeeded && more == 0 => Ok(()),
        summary => {
            let error = lived.refused.or(summary.and_then(|summary| summary.error)).map(|error| error.to_string());
            Err(differs("gone on with once more, it was not over", error.into_iter().chain([plural(more, "write")])))
        }
    }
}

/// Whether a difference is a command that a machine got once more and that nothing announced: one that only reads.
fn is_asked_again(difference: &str, entries: &[Entry]) -> bool {
    let Some((node, what)) = difference.strip_prefix(MORE).and_then(|line| line.split_once(' ')) else { return false };
    let is_it = |entry: &Entry| match &entry.fact {
        Fact::Intent { intent, .. } => intent.key.target == format!("node/{node}") && intent.key.part.as_deref() == Some(what),
        _ => false,
    };
    !entries.iter().any(is_it)
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
#[must_use]
pub fn difference(wanted: &[String], found: &[String]) -> Vec<String> {
    let missing = less(wanted, found).into_iter().map(|one| format!("{MISSING}{one}"));
    missing.chain(less(found, wanted).into_iter().map(|one| format!("{MORE}{one}"))).collect()
}

fn differs(what: &str, causes: impl IntoIterator<Item = String>) -> Error {
    let error = Error::new(Kind::Runbook, Reason::CheckFailed, format!("resumed: {what}"));
    causes.into_iter().take(TOLD).fold(error, Error::cause)
}

/// What differs, with where the process was killed.
fn told(moments: &[Moment], points: &[Point], error: Error) -> Error {
    let first = points.first().and_then(|point| Some(moments.get(point.moment)?.told(point)));
    error.context(format!("killed {}", first.unwrap_or_default()))
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
}
