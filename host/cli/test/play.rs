//! Plays a scenario: fixture, `given`, plan, `drift`, run with faults and timed changes, `kill`, `expect`. A run that succeeds undisturbed
//! is killed everywhere, too.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use super::cluster::{self, Change, Hand};
use super::elsewhere::Elsewhere;
use super::expect::{self, Alive, Outcome, Refused};
use super::fields::Scenario;
use super::hollow::entered;
use super::kill::{Kill, Lived, World, Wrote};
use super::kills::{self, Killed, Whole};
use super::life::{Life, Start, Timed};
use super::names::Act;
use crate::base::{Error, Kind, Reason, Result, Span, Value};
use crate::cli::{host, target};
use crate::cluster::{Cancel, Cluster, Simulation};
use crate::lua::{Engine, Given, TestFile, TestFunction};
use crate::primitives::registry::plural;
use crate::run::{self, End, Record, Source, Summary};

/// After so much virtual time a cluster counts as settled, even when something in it never comes to rest.
const LONGEST_SETTLE: Span = Span::from_secs(3600);

/// The runbook, and where its scenarios are played instead of in the clusters of their fixtures.
pub(super) type Of<'a> = (&'a Source, Option<&'a Elsewhere>);

/// Plays one scenario of a runbook, in a cluster from `elsewhere` or in that of its fixture, and kills its run at up to `kills` states;
/// gives how often. An error says what was not as expected, and where.
///
/// # Errors
/// What the scenario found, or what kept it from being played.
pub(super) fn play((source, elsewhere): Of<'_>, file: &TestFile, scenario: &Scenario, kills: usize) -> Result<Killed> {
    let runtime = host::runtime()?;
    let mut script = host::script(source, &[], &runtime)?;
    let runbook = Rc::new(script.load()?);
    let given = run::Given { beside: Some(source.beside.clone()), ..scenario.params.clone() };
    let params = run::params::resolve(&runbook, &given, &mut |pattern, text| script.matches(pattern, text));
    let cluster = elsewhere.map_or_else(|| fixture(source, scenario), Elsewhere::world)?;
    let simulation = cluster.simulation().ok_or_else(|| Error::internal("the cluster of a scenario is not simulated"))?;
    let namespace = runbook.header.namespace.clone().unwrap_or_else(|| cluster.namespace().to_owned());
    let change = |function: &Option<TestFunction>| -> Result<()> {
        if let Some(function) = function {
            let object = cluster::object(&Hand::now(&simulation), &namespace);
            file.call(function, &[Given::Object(object)])?;
            settle(&simulation);
        }
        Ok(())
    };

    let params = match params {
        Ok(params) => Rc::new(params),
        Err(error) => return refused(file, scenario, error, cluster, &simulation, namespace),
    };
    change(&scenario.given)?;
    let before = simulation.fork();
    let records: Rc<RefCell<Vec<Record>>> = Rc::default();
    let plan = run::plan(script.as_mut(), &cluster, &runbook, &params, records.clone());
    if !matches!(plan.end, End::Succeeded | End::Unknown) {
        // As on the command line: a plan that would fail, or finds nothing to do, is not run.
        let (summary, records, clusters) = (Some(plan), records.take(), vec![cluster]);
        let killed = Killed { entered: entered(&records).collect(), ..Killed::default() };
        let of = simulation.clone();
        let outcome = Outcome { refused: None, summary, records, clusters, simulation: of, alive: None, before, namespace, ran: false };
        judge(file, scenario, outcome)?;
        return nothing_in_vain(scenario, &BTreeSet::new(), &simulation, 0, &[]).map(|()| killed);
    }
    change(&scenario.drift)?;
    // Rules of the fixture, of `given` and of `drift` stand before those of the scenario.
    let first = simulation.with(|sim| sim.faults().fired().len());
    for rule in &scenario.faults {
        simulation.with(|sim| sim.add_fault(rule.clone()));
    }
    let life = Rc::new(Life {
        source: source.clone().kept(),
        runbook,
        params,
        engine: Engine::of_thread()?,
        answers: scenario.answers.clone(),
        agrees: false,
        asked: Rc::default(),
        entered: RefCell::new(entered(&records.borrow()).collect()),
        consented: plan.confirmations.clone(),
        grants: cluster.planned(),
        run: cluster.run(),
        timed: timed(file, scenario, &simulation, &namespace)?,
    });
    // What goes wrong by number or by the clock goes wrong elsewhere when a process has to begin again.
    let undisturbed = scenario.at.is_empty() && scenario.kill.is_none() && simulation.with(|sim| sim.faults().is_empty());
    let world = Rc::new(World::of(simulation.clone(), None));
    if kills > 0 && undisturbed {
        world.watch();
    }
    let start_of = simulation.fork();
    let start = Start { world: &world, kill: killed_at(scenario, &simulation, &namespace)?, answers: Vec::new() };
    let Lived { summary, records, cluster, .. } = life.process(start)?;
    let moments = world.moments();
    if scenario.kill.is_some() && summary.is_some() {
        return Err(scenario.wrong("kill", "the run was over before it could be killed").cause(describe(summary.as_ref(), true)));
    }
    let succeeded = summary.as_ref().is_some_and(|summary| summary.end == End::Succeeded);
    let whole = (kills > 0 && undisturbed && succeeded).then(|| (world.fork(), Whole::of(&life, start_of.fork(), &world)));
    let (clusters, of, alive) = (vec![cluster], simulation.clone(), Some(Alive { life: life.clone(), world: world.clone() }));
    judge(file, scenario, Outcome { refused: None, summary, records, clusters, simulation: of, alive, before, namespace, ran: true })?;
    nothing_in_vain(scenario, &life.asked.borrow(), &simulation, first, &life.timed)?;
    let entered = life.entered.take();
    let killed = match whole {
        Some((of, whole)) => kills::everywhere(&life, &of, &moments, &whole, kills).map_err(|error| scenario.at_place(error))?,
        None => Killed::default(),
    };
    Ok(Killed { entered, ..killed })
}

/// The cluster of its fixture.
fn fixture(source: &Source, scenario: &Scenario) -> Result<Cluster> {
    let fixture = source.beside.read(&scenario.fixture)?.ok_or_else(|| {
        Error::new(Kind::Runbook, Reason::NotFound, format!("there is no fixture `{}` beside the runbook", scenario.fixture))
    })?;
    target::sandbox("sandbox", &source.beside.label(&scenario.fixture), &fixture, &Cancel::new())
}

/// A scenario whose parameters are refused: nothing is changed, planned or contacted.
fn refused(
    file: &TestFile,
    scenario: &Scenario,
    error: Error,
    cluster: Cluster,
    simulation: &Simulation,
    namespace: String,
) -> Result<Killed> {
    let outcome = Outcome {
        refused: Some(Refused { error, expected: Cell::new(false) }),
        summary: None,
        records: Vec::new(),
        clusters: vec![cluster],
        simulation: simulation.clone(),
        alive: None,
        before: simulation.fork(),
        namespace,
        ran: false,
    };
    judge(file, scenario, outcome)?;
    nothing_in_vain(scenario, &BTreeSet::new(), simulation, 0, &[]).map(|()| Killed::default())
}

/// When its process is killed.
fn killed_at(scenario: &Scenario, simulation: &Simulation, namespace: &str) -> Result<Kill> {
    let Some(kill) = &scenario.kill else { return Ok(Kill::No) };
    let at = kill.at.as_deref().map(|act| simulation.with(|sim| Act::parse(act, namespace, sim.store()))).transpose();
    let at = at.map_err(|error| scenario.wrong("kill", format!("`kill`: {error}")))?;
    if let Some(Act::OfPods { verb, .. }) = &at {
        return Err(scenario.wrong("kill", format!("`kill`: which pod of the owner is not said: write `{verb} pod/NAME`, or `after`")));
    }
    Ok(match (at, kill.after) {
        (Some(act), after) => Kill::Wrote(Wrote(Rc::new(move |intent| act.is(intent))), after),
        (None, Some(after)) => Kill::Later(after),
        (None, None) => Kill::No,
    })
}

/// A scenario that prepares what never comes to pass does not test what it says.
fn nothing_in_vain(
    scenario: &Scenario,
    asked: &BTreeSet<usize>,
    simulation: &Simulation,
    first: usize,
    timed: &[Arc<Timed>],
) -> Result<()> {
    let (fired, misfires) = simulation.with(|sim| (sim.faults().fired(), sim.faults().misfires().to_vec()));
    if let Some(misfire) = misfires.first() {
        return Err(Error::new(Kind::Runbook, Reason::Usage, "somebody else's write in this scenario was refused").cause(misfire.clone()));
    }
    let mut timed = timed.iter();
    for (span, _) in &scenario.at {
        match timed.next().and_then(|timed| timed.made.lock().unwrap_or_else(PoisonError::into_inner).take()) {
            Some(Ok(())) => {}
            Some(Err(error)) => return Err(scenario.wrong("at", format!("the change at {span} failed")).cause(error.to_string())),
            None => return Err(scenario.wrong("at", format!("the change at {span} was never made: there was no run, or it was over"))),
        }
    }
    if let Some((_, (pattern, _))) = scenario.answers.iter().enumerate().find(|(place, _)| !asked.contains(place)) {
        return Err(scenario.wrong("answers", format!("no question with `{pattern}` was asked")));
    }
    let fired = fired.get(first..).unwrap_or_default();
    let idle = (0..scenario.faults.len()).find(|place| fired.get(*place).is_none_or(|count| *count == 0));
    match idle {
        Some(place) => Err(scenario.wrong("faults", format!("rule {} of `faults` met no request", place + 1))),
        None => Ok(()),
    }
}

fn judge(file: &TestFile, scenario: &Scenario, outcome: Outcome) -> Result<()> {
    let outcome = Rc::new(RefCell::new(outcome));
    let judged = file.call(&scenario.expect, &[Given::Object(expect::object(&outcome))]);
    let outcome = outcome.borrow();
    match (judged, &outcome.refused) {
        (Ok(_), None) => Ok(()),
        (Ok(_), Some(refused)) if refused.expected.get() => Ok(()),
        // A mistake in a scenario is no behaviour of its runbook.
        (Ok(_), Some(refused)) => {
            Err(scenario.at_place(refused.error.clone()).hint("`run:refuses(…)` is for parameters that are to be refused"))
        }
        (Err(error), Some(refused)) => Err(error.cause(format!("the parameters were refused: {}", refused.error))),
        (Err(error), None) => Err(error.cause(describe(outcome.summary.as_ref(), outcome.ran))),
    }
}

/// How a run ended, for the message of an expectation that was not met.
fn describe(summary: Option<&Summary>, ran: bool) -> String {
    let what = if ran { "run" } else { "plan" };
    let Some(summary) = summary else { return "the run was killed".to_owned() };
    let end = format!("the {what} ended as {:?} after {} with {}", summary.end, summary.took, writes(summary)).to_lowercase();
    match &summary.error {
        Some(error) => format!("{end}: {error}"),
        None => end,
    }
}

/// Lets time pass until nothing is about to happen.
fn settle(simulation: &Simulation) {
    simulation.with(|sim| {
        let end = LONGEST_SETTLE.after(sim.now());
        while let Some(at) = sim.next_event_at().filter(|at| *at <= end) {
            if !sim.advance_to(at) {
                return;
            }
        }
    });
}

/// What the functions of `at` want changed, by time.
fn timed(file: &TestFile, scenario: &Scenario, simulation: &Simulation, namespace: &str) -> Result<Vec<Arc<Timed>>> {
    let begin = simulation.with(|sim| sim.now());
    scenario
        .at
        .iter()
        .map(|(span, function)| {
            let changes: Rc<RefCell<Vec<Change>>> = Rc::default();
            file.call(function, &[Given::Object(cluster::object(&Hand::later(simulation, &changes), namespace))])?;
            Ok(Arc::new(Timed { at: span.after(begin), changes: Arc::new(changes.take()), made: Mutex::default() }))
        })
        .collect()
}

/// Whether a value was given at all.
pub(super) fn is_given(value: Option<&Value>) -> bool {
    value.is_some_and(|value| *value != Value::Nil)
}

/// How many writes there were, those of unknown outcome apart.
fn writes(summary: &Summary) -> String {
    let made = plural(summary.writes, "write");
    match summary.unsure.len() {
        0 => made,
        unsure => format!("{made} and {unsure} of unknown outcome"),
    }
}
