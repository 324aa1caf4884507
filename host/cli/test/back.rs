//! The run of a runbook on its own fixture, taken back after each of its steps: the cluster is as it was before the first, or after the last
//! that says it cannot be taken back. What the rollback itself says stays may differ, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use lockgate_sim::Cluster as Sim;
use lockgate_sim::request::Request;

use super::ended::held;
use super::free::{FIXTURE, failed, planned};
use super::kill::{At, Does, Kill, Moment, Point, World};
use super::kills::{MISSING, MORE};
use super::life::{Life, Start};
use super::{Killed, difference};
use crate::base::diff::{RESTARTED_AT, changes};
use crate::base::json::Value as Json;
use crate::base::{Error, Result};
use crate::lua::Engine;
use crate::primitives::cordon::CORDONED_BY;
use crate::run::event::{Stays, StepEnd};
use crate::run::journal::{Fact, Past};
use crate::run::{End, Source, Summary, undo};

/// How many differences are told.
const TOLD: usize = 6;
/// What says when something was done, and by which run.
const WHEN_AND_WHO: [&str; 2] = [RESTARTED_AT, CORDONED_BY];
/// Where the definitions of custom resources are.
const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// The place of a step among the moments of its run.
struct Stop {
    key: String,
    point: Point,
}

/// Takes it back from everywhere; gives from how many steps.
///
/// # Errors
/// The first step after which the run cannot be taken back, or leaves the cluster otherwise, and what differs.
pub(super) fn from_every_step(source: &Source) -> Result<Killed> {
    let plan = planned(source, FIXTURE)?;
    let simulation = plan.cluster.simulation().ok_or_else(|| Error::internal("a sandbox without a cluster"))?;
    let life = Life {
        source: source.clone().kept(),
        runbook: plan.runbook,
        params: plan.params,
        engine: Engine::of_thread()?,
        answers: Vec::new(),
        agrees: true,
        asked: Rc::default(),
        entered: std::cell::RefCell::default(),
        consented: plan.summary.confirmations,
        grants: plan.cluster.planned(),
        run: plan.cluster.run(),
        timed: Vec::new(),
    };
    let world = World::of(simulation.clone(), None);
    world.watch();
    let mut known = BTreeMap::from([(None, simulation.fork())]);
    let lived = life.process(Start { world: &world, kill: Kill::No, answers: Vec::new() })?;
    succeeded(lived.summary).map_err(|error| error.context("the run on its own fixture"))?;
    let moments = world.moments();
    let mut from = 0;
    for stop in stops(&world, &moments) {
        let Some(there) = world.at(&moments, &stop.point) else { continue };
        known.insert(Some(stop.key.clone()), there.simulation.fork());
        back(&life, &there, &known).map_err(|error| error.context(format!("taken back after step `{}`", stop.key)))?;
        from += 1;
    }
    Ok(Killed { back: from, ..Killed::default() })
}

/// The ends of the steps that did something.
fn stops(world: &World, moments: &[Moment]) -> Vec<Stop> {
    let entries = world.disk.entries.borrow();
    let mut stops = Vec::new();
    for (number, moment) in moments.iter().enumerate() {
        let At::Line { .. } = moment.seen.at else { continue };
        let Some(Fact::Ended { place, end: Some(StepEnd::Done { .. }), .. }) = entries.get(moment.seen.lines).map(|entry| &entry.fact)
        else {
            continue;
        };
        let Some(key) = place.strip_prefix("step ") else { continue };
        let point = Point { moment: number, does: Does::Nothing, kept: moment.seen.lines + 1 };
        stops.push(Stop { key: key.to_owned(), point });
    }
    stops
}

/// Takes the run back as far as it can be in a world where it stopped; the cluster must be as it was there.
fn back(life: &Life, world: &World, known: &BTreeMap<Option<String>, Sim>) -> Result<()> {
    let past = Past::of(world.disk.entries.borrow().iter().cloned());
    let to = undo::no_return(&life.runbook, &past).map(str::to_owned);
    let wanted = known.get(&to).ok_or_else(|| Error::internal("a step that wrote has no end"))?;
    let lived = life.back(Start { world, kill: Kill::No, answers: Vec::new() }, to.as_deref())?;
    let stays = match lived {
        None => Vec::new(),
        Some((lived, stays)) => {
            if let Some(error) = lived.refused {
                return Err(error);
            }
            succeeded(lived.summary)?;
            stays
        }
    };
    let found = &world.simulation;
    let mut wanted = wanted.fork();
    found.with(|found| stays.iter().try_for_each(|stays| defines(stays, found, &mut wanted)))?;
    let created = world.ledger().into_iter().filter(|effect| matches!(effect.verb, "create" | "patch")).map(|effect| effect.subject);
    let compared = Compared { stays, created: created.collect() };
    let told = compared.differences(&lines(&mut wanted), &lines(&mut found.fork()));
    if told.is_empty() {
        return Ok(());
    }
    let error = failed("the cluster is not as it was before".to_owned())
        .hint("a step that cannot restore it says `irreversible`, or has a `rollback` that does");
    Err(told.into_iter().take(TOLD).fold(error, Error::cause))
}

fn succeeded(summary: Option<Summary>) -> Result<()> {
    let summary = summary.ok_or_else(|| Error::internal("a run that nobody killed has no end"))?;
    match summary.error {
        Some(error) => Err(error),
        None if summary.end == End::Succeeded => Ok(()),
        None => Err(failed(format!("it ends as {:?}", summary.end).to_lowercase())),
    }
}

/// A definition that stays is that of the cluster before, too: what it adds to objects of its kind is its own.
fn defines(stays: &Stays, found: &mut Sim, wanted: &mut Sim) -> Result<()> {
    let Some(name) = stays.target.strip_prefix("customresourcedefinition/") else { return Ok(()) };
    let path = format!("{DEFINITIONS}/{name}");
    let object = |sim: &mut Sim| {
        let answer = sim.handle(&Request::get(&path));
        answer.value().filter(|_| answer.status == 200).map(|value| (*value).clone())
    };
    let Some(staying) = object(found) else { return Ok(()) };
    let put = match object(wanted) {
        Some(mut before) => {
            before["spec"] = staying["spec"].clone();
            wanted.handle(&Request::put(&path, &before))
        }
        None => wanted.handle(&Request::post(DEFINITIONS, &crate::primitives::plain(&staying))),
    };
    if put.status >= 300 { Err(Error::internal(format!("the definition `{name}` cannot be compared: {}", put.status))) } else { Ok(()) }
}

/// What a cluster holds when it has come to rest. A release of Helm is what it has deployed: the way back is a revision of its own.
fn lines(sim: &mut Sim) -> Vec<String> {
    let tidy = |line: String| match serde_json::from_str::<Json>(&line) {
        Ok(object) if object["kind"] == "Release" => {
            let is_deployed = object.pointer("/labels/status").is_some_and(|status| *status == "deployed");
            is_deployed.then(|| format!("release {}", object.pointer("/labels/name").unwrap_or(&Json::Null)))
        }
        _ => Some(line),
    };
    held(sim).into_iter().filter_map(tidy).collect()
}

/// What may differ.
struct Compared {
    stays: Vec<Stays>,
    /// What the run and the rollback may have created.
    created: BTreeSet<String>,
}

impl Compared {
    /// What differs, object by object, without what is said to stay, what others made of their own accord, and when and by which run
    /// something was done.
    fn differences(&self, wanted: &[String], found: &[String]) -> Vec<String> {
        let mut objects: BTreeMap<String, [Option<Json>; 2]> = BTreeMap::new();
        let mut told = Vec::new();
        for line in difference(wanted, found) {
            let (side, text) = match line.strip_prefix(MISSING) {
                Some(text) => (0, text),
                None => (1, line.strip_prefix(MORE).unwrap_or(&line)),
            };
            let object: Option<Json> = serde_json::from_str(text).ok();
            match object.as_ref().and_then(name) {
                Some(name) => objects.entry(name).or_default()[side] = object,
                None => told.push(line),
            }
        }
        told.extend(objects.iter().filter_map(|(name, sides)| self.told(name, sides)));
        told
    }

    fn told(&self, name: &str, sides: &[Option<Json>; 2]) -> Option<String> {
        if self.stays.iter().any(|stays| is_of(&stays.target, name)) {
            return None;
        }
        match sides {
            [Some(before), Some(after)] => {
                let changes =
                    changes(before, after).into_iter().filter(|change| !WHEN_AND_WHO.iter().any(|name| change.path.contains(name)));
                let fields: Vec<String> = changes.map(|change| format!("{}: {}", change.path, change.values())).collect();
                (!fields.is_empty()).then(|| format!("{name}: {}", fields.join("; ")))
            }
            [Some(_), None] => Some(format!("{name} is gone")),
            [None, _] => self.created.iter().any(|created| is_of(created, name)).then(|| format!("{name} is new")),
        }
    }
}

/// The name of an object as a reference has it; none for what has none, as the pods of a workload.
fn name(object: &Json) -> Option<String> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Json::as_str);
    let (kind, name) = (text("/kind")?.to_lowercase(), text("/metadata/name")?);
    Some(match text("/metadata/namespace") {
        Some(namespace) => format!("{kind}/{namespace}/{name}"),
        None => format!("{kind}/{name}"),
    })
}

/// Whether a reference, which may have the group of its kind, means this object.
fn is_of(reference: &str, name: &str) -> bool {
    let plain = |word: &str| match word.split_once('/') {
        Some((kind, rest)) => format!("{}/{rest}", kind.split('.').next().unwrap_or(kind)),
        None => word.to_owned(),
    };
    plain(reference) == plain(name)
}
