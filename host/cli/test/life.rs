//! The processes of a scenario's run. Each works on the same cluster and the same journal until it ends or is killed; another one goes on
//! with the run, or takes it back.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::LocalBoxFuture;

use super::cluster::Change;
use super::hollow::entered;
use super::kill::{Kill, Lived, Process, World, process};
use crate::base::{Result, Timestamp};
use crate::cli::rollback::undoing;
use crate::cli::{host, rollback};
use crate::cluster::permit::Planned;
use crate::cluster::{Cluster, Options, RunId, Simulation};
use crate::lua::Engine;
use crate::primitives::AskOptions;
use crate::run::event::Stays;
use crate::run::journal::Past;
use crate::run::journal::book::OnDrift;
use crate::run::{self, Confirmation, End, Job, Operator, Params, Record, Runbook, Script, Source, Voice, What};

/// Answers by a pattern over their questions.
pub(super) type Words = Vec<(String, String)>;

/// A change of the cluster whose time comes while the run goes.
pub(super) struct Timed {
    pub(super) at: Timestamp,
    pub(super) changes: Arc<Vec<Change>>,
    /// What came of it: none until its time has come.
    pub(super) made: Mutex<Option<Result<()>>>,
}

/// What all processes of a run have in common.
pub(super) struct Life {
    pub(super) source: Source,
    pub(super) runbook: Rc<Runbook>,
    pub(super) params: Rc<Params>,
    pub(super) engine: Engine,
    pub(super) answers: Words,
    /// Whether every other question is answered as well: yes, and what is proposed.
    pub(super) agrees: bool,
    /// The answers that were asked for, by place.
    pub(super) asked: Rc<RefCell<BTreeSet<usize>>>,
    /// The steps that were come to, in the plan or in a run.
    pub(super) entered: RefCell<BTreeSet<String>>,
    /// What the accepted plan showed, and what it grants.
    pub(super) consented: Vec<Confirmation>,
    pub(super) grants: Option<Planned>,
    pub(super) run: RunId,
    pub(super) timed: Vec<Arc<Timed>>,
}

/// What a process is started with. It takes no lock: its cluster is the scenario's own, in memory, where nobody else begins; `lockgate test`
/// has no way to a live one. What becomes of a run whose lock goes is asked of all runs alike, in lockgate's own tests.
pub(super) struct Start<'a> {
    pub(super) world: &'a World,
    pub(super) kill: Kill,
    /// Answers of its own, which count before those of the scenario.
    pub(super) answers: Words,
}

impl Life {
    /// One process: it begins the run, or goes on with it.
    ///
    /// # Errors
    /// What kept it from being started.
    pub(super) fn process(&self, start: Start<'_>) -> Result<Lived> {
        let runtime = host::runtime()?;
        let mut script = self.script(&runtime)?;
        let cluster = self.cluster(&start.world.simulation, self.run);
        if let Some(grants) = &self.grants {
            cluster.set_planned(grants.clone());
        }
        let beside = || self.happen(&runtime, &cluster, &start.world.simulation);
        let made = Process {
            runtime: runtime.clone(),
            cluster: cluster.clone(),
            script: script.as_mut(),
            runbook: self.runbook.clone(),
            params: self.params.clone(),
            voice: self.voice(start.answers, &self.consented),
            kill: start.kill,
            on_drift: OnDrift::Stop,
            lock: None,
            work: &|script, job| run::perform(script, job),
            beside: &beside,
        };
        let lived = process(start.world, made);
        self.entered.borrow_mut().extend(entered(&lived.records));
        Ok(lived)
    }

    /// Takes the run back, as a run of its own whose plan is accepted; none when there is nothing to take back. With what stays.
    ///
    /// # Errors
    /// What kept it from being started.
    pub(super) fn back(&self, start: Start<'_>, to: Option<&str>) -> Result<Option<(Lived, Vec<Stays>)>> {
        let runtime = host::runtime()?;
        let mut script = self.script(&runtime)?;
        let simulation = &start.world.simulation;
        let cluster = self.cluster(simulation, RunId::simulated(simulation.now(), 2));
        let past = Past::of(start.world.disk.entries.borrow().iter().cloned());
        let on = rollback::On { runtime: &runtime, cluster: &cluster, runbook: &self.runbook, tell: &|_: String| () };
        let undoing = undoing(&on, &self.run.to_string(), past, rollback::Reach { from: None, to }, OnDrift::Stop)?;
        if undoing.steps.is_empty() {
            return Ok(None);
        }
        let stays: Vec<Stays> = undoing.steps.iter().flat_map(|undo| undo.stays.iter().cloned()).collect();
        let records: Rc<RefCell<Vec<Record>>> = Rc::default();
        let job = Job {
            what: What::Plan,
            cluster: cluster.planning(),
            runbook: self.runbook.clone(),
            params: self.params.clone(),
            voice: Voice::Plan,
            sink: records.clone(),
            record: None,
        };
        let plan = run::rollback::rollback(script.as_mut(), job, &undoing);
        if !matches!(plan.end, End::Succeeded | End::Unknown) {
            return Ok(Some((Lived { summary: Some(plan), refused: None, records: records.take(), cluster }, stays)));
        }
        // A journal of its own, in the same cluster.
        let world = World::of(simulation.clone(), None);
        let beside = || self.happen(&runtime, &cluster, simulation);
        let made = Process {
            runtime: runtime.clone(),
            cluster: cluster.clone(),
            script: script.as_mut(),
            runbook: self.runbook.clone(),
            params: self.params.clone(),
            voice: self.voice(start.answers, &plan.confirmations),
            kill: start.kill,
            on_drift: OnDrift::Stop,
            lock: None,
            work: &|script, job| run::rollback::rollback(script, job, &undoing),
            beside: &beside,
        };
        Ok(Some((process(&world, made), stays)))
    }

    fn script(&self, runtime: &Rc<tokio::runtime::Runtime>) -> Result<Box<dyn Script>> {
        let mut script = host::script(&self.source, &[], runtime)?;
        script.load()?;
        Ok(script)
    }

    fn cluster(&self, simulation: &Simulation, run: RunId) -> Cluster {
        Cluster::beside(simulation, Options { name: Some("sandbox".to_owned()), ..Options::new(run) })
    }

    fn voice(&self, own: Words, planned: &[Confirmation]) -> Voice {
        let (engine, answers, asked, agrees) = (self.engine.clone(), self.answers.clone(), self.asked.clone(), self.agrees);
        let operator = Answers { engine, own, answers, agrees, asked };
        let consented = planned.iter().filter(|asked| operator.find(&asked.question).is_none()).cloned().collect();
        Voice::Person { consented, operator: Rc::new(operator) }
    }

    /// Starts the timed changes that were not made yet: each is a participant of the clock, so that time stops for it.
    fn happen(&self, runtime: &tokio::runtime::Runtime, cluster: &Cluster, simulation: &Simulation) -> Vec<tokio::task::JoinHandle<()>> {
        let waiting = self.timed.iter().filter(|timed| timed.made.lock().unwrap_or_else(PoisonError::into_inner).is_none());
        waiting
            .map(|timed| {
                let (clock, simulation, timed) = (cluster.clock().join(), simulation.clone(), timed.clone());
                runtime.spawn(async move {
                    if clock.park(Some(timed.at)).await.is_err() {
                        return;
                    }
                    let outcome = simulation.with(|sim| timed.changes.iter().try_for_each(|change| change(sim)));
                    *timed.made.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
                })
            })
            .collect()
    }
}

/// The operator of a scenario: answers what it was told to answer, and is nobody for the rest.
struct Answers {
    engine: Engine,
    own: Words,
    answers: Words,
    agrees: bool,
    asked: Rc<RefCell<BTreeSet<usize>>>,
}

impl Answers {
    /// The answer, and its place in the scenario when it stands there.
    fn find(&self, question: &str) -> Option<(Option<usize>, String)> {
        let own = among(&self.engine, &self.own, question).map(|(_, answer)| (None, answer));
        own.or_else(|| among(&self.engine, &self.answers, question).map(|(place, answer)| (Some(place), answer)))
    }

    fn to(&self, question: &str) -> Option<String> {
        let (place, answer) = self.find(question)?;
        self.asked.borrow_mut().extend(place);
        Some(answer)
    }
}

/// The answer whose pattern is in the question, or matches it, with its place.
fn among(engine: &Engine, answers: &[(String, String)], question: &str) -> Option<(usize, String)> {
    let matches = |pattern: &str| question.contains(pattern) || engine.matches(&format!(".*{pattern}.*"), question).unwrap_or(false);
    let place = answers.iter().position(|(pattern, _)| matches(pattern))?;
    Some((place, answers.get(place)?.1.clone()))
}

/// Says yes, and answers what is proposed.
pub(super) struct Agrees;

impl Operator for Agrees {
    fn confirm<'a>(&'a self, _: &'a Confirmation) -> LocalBoxFuture<'a, Result<Option<bool>>> {
        Box::pin(async { Ok(Some(true)) })
    }

    fn ask<'a>(&'a self, _: &'a Confirmation, options: &'a AskOptions) -> LocalBoxFuture<'a, Result<Option<String>>> {
        let answer = options.default.clone().or_else(|| options.choices.first().cloned());
        Box::pin(async move { Ok(answer) })
    }
}

impl Operator for Answers {
    fn confirm<'a>(&'a self, question: &'a Confirmation) -> LocalBoxFuture<'a, Result<Option<bool>>> {
        match self.to(&question.question) {
            Some(answer) => Box::pin(async move { Ok(Some(matches!(answer.as_str(), "yes" | "y" | "true"))) }),
            None if self.agrees => Agrees.confirm(question),
            None => Box::pin(async { Ok(None) }),
        }
    }

    fn ask<'a>(&'a self, question: &'a Confirmation, options: &'a AskOptions) -> LocalBoxFuture<'a, Result<Option<String>>> {
        match self.to(&question.question) {
            None if self.agrees => Agrees.ask(question, options),
            answer => Box::pin(async move { Ok(answer) }),
        }
    }
}
