//! Plays a scenario: fixture, `given`, plan, `drift`, run with faults and timed changes, `expect`.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::LocalBoxFuture;

use super::cluster::{self, Change, Hand};
use super::expect::{self, Outcome};
use super::fields::Scenario;
use crate::base::{Error, Kind, Reason, Result, Span, Timestamp, Value};
use crate::cli::{host, target};
use crate::cluster::{Cancel, Cluster, Simulation};
use crate::lua::{Engine, Given, TestFile, TestFunction};
use crate::primitives::AskOptions;
use crate::primitives::registry::plural;
use crate::run::{self, Confirmation, End, Operator, Record, Source, Summary, Voice};

/// After so much virtual time a cluster counts as settled, even when something in it never comes to rest.
const LONGEST_SETTLE: Span = Span::from_secs(3600);

/// Plays one scenario of a runbook; an error says what was not as expected, and where.
///
/// # Errors
/// What the scenario found, or what kept it from being played.
pub(super) fn play(source: &Source, file: &TestFile, scenario: &Scenario) -> Result<()> {
    let runtime = host::runtime()?;
    let mut script = host::script(source, &[], &runtime)?;
    let runbook = Rc::new(script.load()?);
    let params = Rc::new(run::params::resolve(&runbook, &scenario.params, &mut |pattern, text| script.matches(pattern, text))?);
    let cancel = Cancel::new();
    let fixture = source.beside.read(&scenario.fixture)?.ok_or_else(|| {
        Error::new(Kind::Runbook, Reason::NotFound, format!("there is no fixture `{}` beside the runbook", scenario.fixture))
    })?;
    let cluster = target::sandbox("sandbox", &source.beside.label(&scenario.fixture), &fixture, &cancel)?;
    let simulation = cluster.simulation().ok_or_else(|| Error::internal("the cluster of a scenario is not simulated"))?;
    let namespace = runbook.header.namespace.clone().unwrap_or_else(|| cluster.namespace().to_owned());
    let change = |function: &Option<TestFunction>| -> Result<()> {
        if let Some(function) = function {
            let object = cluster::object(&Hand::Now(simulation.clone()), &namespace);
            file.call(function, &[Given::Object(object)])?;
            settle(&simulation);
        }
        Ok(())
    };

    change(&scenario.given)?;
    let before = simulation.fork();
    let records: Rc<RefCell<Vec<Record>>> = Rc::default();
    let plan = run::plan(script.as_mut(), &cluster, &runbook, &params, records.clone());
    let ran = matches!(plan.end, End::Succeeded | End::Unknown);
    let (asked, made): (Rc<RefCell<BTreeSet<usize>>>, Made) = Default::default();
    // Rules of the fixture, of `given` and of `drift` stand before those of the scenario.
    let mut first = 0;
    let summary = if ran {
        change(&scenario.drift)?;
        first = simulation.with(|sim| sim.faults().fired().len());
        for rule in &scenario.faults {
            simulation.with(|sim| sim.add_fault(rule.clone()));
        }
        records.borrow_mut().clear();
        let timed = timed(file, scenario, &namespace)?;
        let tasks = start(&runtime, &cluster, &simulation, timed, &made);
        let engine = Engine::of_thread()?;
        let consented = plan.confirmations.iter().filter(|asked| answer(&engine, &scenario.answers, &asked.question).is_none());
        let voice = Voice::Person {
            consented: consented.cloned().collect(),
            operator: Rc::new(Answers { engine: engine.clone(), answers: scenario.answers.clone(), asked: asked.clone() }),
        };
        let summary = run::run(script.as_mut(), &cluster, &runbook, &params, voice, records.clone());
        tasks.iter().for_each(tokio::task::JoinHandle::abort);
        summary
    } else {
        // As on the command line: a plan that would fail, or finds nothing to do, is not run.
        plan
    };
    let (fired, misfires) = simulation.with(|sim| (sim.faults().fired(), sim.faults().misfires().to_vec()));
    let fired = fired.get(first..).unwrap_or_default();
    if let Some(misfire) = misfires.first() {
        return Err(Error::new(Kind::Runbook, Reason::Usage, "somebody else's write in this scenario was refused").cause(misfire.clone()));
    }
    judge(file, scenario, Outcome { summary, records: records.take(), cluster, simulation, before, namespace, ran })?;
    nothing_in_vain(scenario, &asked.borrow(), fired, made)
}

/// What came of the changes of `at`, by their place: `None` until their time has come.
type Made = Arc<Mutex<Vec<Option<Result<()>>>>>;

/// A scenario that prepares what never comes to pass does not test what it says.
fn nothing_in_vain(scenario: &Scenario, asked: &BTreeSet<usize>, fired: &[u64], made: Made) -> Result<()> {
    let made = std::mem::take(&mut *made.lock().unwrap_or_else(PoisonError::into_inner));
    let mut made = made.into_iter();
    for (span, _) in &scenario.at {
        match made.next().flatten() {
            Some(Ok(())) => {}
            Some(Err(error)) => return Err(scenario.wrong("at", format!("the change at {span} failed")).cause(error.to_string())),
            None => return Err(scenario.wrong("at", format!("the change at {span} was never made: there was no run, or it was over"))),
        }
    }
    if let Some((_, (pattern, _))) = scenario.answers.iter().enumerate().find(|(place, _)| !asked.contains(place)) {
        return Err(scenario.wrong("answers", format!("no question with `{pattern}` was asked")));
    }
    let idle = (0..scenario.faults.len()).find(|place| fired.get(*place).is_none_or(|count| *count == 0));
    match idle {
        Some(place) => Err(scenario.wrong("faults", format!("rule {} of `faults` met no request", place + 1))),
        None => Ok(()),
    }
}

fn judge(file: &TestFile, scenario: &Scenario, outcome: Outcome) -> Result<()> {
    let told = describe(&outcome);
    let object = expect::object(Rc::new(outcome));
    file.call(&scenario.expect, &[Given::Object(object)]).map(|_| ()).map_err(|error| error.cause(told))
}

/// How a run ended, for the message of an expectation that was not met.
fn describe(outcome: &Outcome) -> String {
    let (what, summary) = (if outcome.ran { "run" } else { "plan" }, &outcome.summary);
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
fn timed(file: &TestFile, scenario: &Scenario, namespace: &str) -> Result<Vec<(Span, Vec<Change>)>> {
    scenario
        .at
        .iter()
        .map(|(span, function)| {
            let changes: Rc<RefCell<Vec<Change>>> = Rc::default();
            file.call(function, &[Given::Object(cluster::object(&Hand::Later(changes.clone()), namespace))])?;
            Ok((*span, changes.take()))
        })
        .collect()
}

/// Starts the timed changes: each is a participant of the clock, so that time stops for it.
fn start(
    runtime: &tokio::runtime::Runtime,
    cluster: &Cluster,
    simulation: &Simulation,
    timed: Vec<(Span, Vec<Change>)>,
    made: &Made,
) -> Vec<tokio::task::JoinHandle<()>> {
    let begin: Timestamp = cluster.clock().now();
    made.lock().unwrap_or_else(PoisonError::into_inner).resize_with(timed.len(), || None);
    timed
        .into_iter()
        .enumerate()
        .map(|(place, (span, changes))| {
            let (clock, simulation, made) = (cluster.clock().join(), simulation.clone(), made.clone());
            runtime.spawn(async move {
                if clock.park(Some(span.after(begin))).await.is_err() {
                    return;
                }
                let outcome = simulation.with(|sim| changes.iter().try_for_each(|change| change(sim)));
                if let Some(slot) = made.lock().unwrap_or_else(PoisonError::into_inner).get_mut(place) {
                    *slot = Some(outcome);
                }
            })
        })
        .collect()
}

/// The answer whose pattern is in the question, or matches it, with its place.
fn answer(engine: &Engine, answers: &[(String, String)], question: &str) -> Option<(usize, String)> {
    let matches = |pattern: &str| question.contains(pattern) || engine.matches(&format!(".*{pattern}.*"), question).unwrap_or(false);
    let place = answers.iter().position(|(pattern, _)| matches(pattern))?;
    Some((place, answers.get(place)?.1.clone()))
}

/// The operator of a scenario: answers what it was told to answer, and is nobody for the rest.
struct Answers {
    engine: Engine,
    answers: Vec<(String, String)>,
    /// The answers that were given, by place.
    asked: Rc<RefCell<BTreeSet<usize>>>,
}

impl Answers {
    fn to(&self, question: &str) -> Option<String> {
        let (place, answer) = answer(&self.engine, &self.answers, question)?;
        self.asked.borrow_mut().insert(place);
        Some(answer)
    }
}

impl Operator for Answers {
    fn confirm<'a>(&'a self, question: &'a Confirmation) -> LocalBoxFuture<'a, Result<Option<bool>>> {
        let answer = self.to(&question.question);
        Box::pin(async move { Ok(answer.map(|answer| matches!(answer.as_str(), "yes" | "y" | "true"))) })
    }

    fn ask<'a>(&'a self, question: &'a Confirmation, _: &'a AskOptions) -> LocalBoxFuture<'a, Result<Option<String>>> {
        let answer = self.to(&question.question);
        Box::pin(async move { Ok(answer) })
    }
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
