//! The processes of a scenario's run. Each works on the same cluster and the same journal until it ends or is killed; another one goes on
//! with the run, or takes it back.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::LocalBoxFuture;

use super::cluster::Change;
use super::disk::{Disk, Kill, Process};
use crate::base::{Result, Timestamp};
use crate::cli::rollback::undoing;
use crate::cli::{host, rollback};
use crate::cluster::permit::Planned;
use crate::cluster::{Cluster, Options, RunId, Simulation};
use crate::lua::Engine;
use crate::primitives::AskOptions;
use crate::run::journal::book::OnDrift;
use crate::run::journal::entry::Begun;
use crate::run::journal::{Book, Fact, Past};
use crate::run::{self, Confirmation, End, Job, Operator, Params, Record, Recording, Runbook, Script, Source, Summary, Voice, What};

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
    /// The answers that were asked for, by place.
    pub(super) asked: Rc<RefCell<BTreeSet<usize>>>,
    /// What the accepted plan showed, and what it grants.
    pub(super) consented: Vec<Confirmation>,
    pub(super) grants: Option<Planned>,
    pub(super) run: RunId,
    pub(super) timed: Vec<Arc<Timed>>,
}

/// What came of one process.
pub(super) struct Lived {
    /// None when it was killed.
    pub(super) summary: Option<Summary>,
    pub(super) records: Vec<Record>,
    pub(super) cluster: Cluster,
}

/// What a process is started with.
pub(super) struct Start<'a> {
    pub(super) simulation: &'a Simulation,
    pub(super) disk: &'a Rc<Disk>,
    pub(super) kill: Option<Kill>,
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
        let cluster = self.cluster(start.simulation, self.run);
        if let Some(grants) = &self.grants {
            cluster.set_planned(grants.clone());
        }
        let past = Past::of(start.disk.entries.borrow().iter().cloned());
        let epoch = past.attempts + 1;
        let process = Process {
            cancel: cluster.cancel().clone(),
            clock: cluster.clock().clone(),
            runtime: runtime.clone(),
            simulation: start.simulation.clone(),
        };
        let pen = start.disk.pen(start.kill, process);
        let book = Rc::new(Book::new(Box::new(pen), cluster.clock().clone(), past, OnDrift::Stop));
        let records: Rc<RefCell<Vec<Record>>> = Rc::default();
        if book.note(&Fact::Begun(begun(epoch))).is_err() {
            return Ok(Lived { summary: None, records: Vec::new(), cluster });
        }
        book.set_epoch(epoch);
        let tasks = self.happen(&runtime, &cluster, start.simulation);
        let job = Job {
            what: What::Run,
            cluster: cluster.clone(),
            runbook: self.runbook.clone(),
            params: self.params.clone(),
            voice: self.voice(start.answers, &self.consented),
            sink: records.clone(),
            record: Some(Recording { book, runtime: runtime.clone() }),
        };
        let summary = run::perform(script.as_mut(), job);
        tasks.iter().for_each(tokio::task::JoinHandle::abort);
        let summary = Some(summary).filter(|_| !start.disk.is_killed());
        Ok(Lived { summary, records: records.take(), cluster })
    }

    /// Takes the run back, as a run of its own whose plan is accepted; none when there is nothing to take back.
    ///
    /// # Errors
    /// What kept it from being started.
    pub(super) fn back(&self, start: Start<'_>, to: Option<&str>) -> Result<Option<Lived>> {
        let runtime = host::runtime()?;
        let mut script = self.script(&runtime)?;
        let cluster = self.cluster(start.simulation, RunId::simulated(start.simulation.now(), 2));
        let past = Past::of(start.disk.entries.borrow().iter().cloned());
        let on = rollback::On { runtime: &runtime, cluster: &cluster, runbook: &self.runbook };
        let undoing = undoing(&on, &self.run.to_string(), past, to, OnDrift::Stop)?;
        if undoing.steps.is_empty() {
            return Ok(None);
        }
        let records: Rc<RefCell<Vec<Record>>> = Rc::default();
        let job = |what, cluster: Cluster, voice, record| Job {
            what,
            cluster,
            runbook: self.runbook.clone(),
            params: self.params.clone(),
            voice,
            sink: records.clone(),
            record,
        };
        let plan = run::rollback::rollback(script.as_mut(), job(What::Plan, cluster.planning(), Voice::Plan, None), &undoing);
        if !matches!(plan.end, End::Succeeded | End::Unknown) {
            return Ok(Some(Lived { summary: Some(plan), records: records.take(), cluster }));
        }
        records.borrow_mut().clear();
        let voice = self.voice(start.answers, &plan.confirmations);
        let disk = Rc::new(Disk::default());
        let process = Process {
            cancel: cluster.cancel().clone(),
            clock: cluster.clock().clone(),
            runtime: runtime.clone(),
            simulation: start.simulation.clone(),
        };
        let pen = disk.pen(start.kill, process);
        let book = Rc::new(Book::new(Box::new(pen), cluster.clock().clone(), Past::default(), OnDrift::Stop));
        book.note(&Fact::Begun(begun(1)))?;
        let recording = Recording { book, runtime: runtime.clone() };
        let tasks = self.happen(&runtime, &cluster, start.simulation);
        let summary = run::rollback::rollback(script.as_mut(), job(What::Run, cluster.clone(), voice, Some(recording)), &undoing);
        tasks.iter().for_each(tokio::task::JoinHandle::abort);
        Ok(Some(Lived { summary: Some(summary), records: records.take(), cluster }))
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
        let operator = Answers { engine: self.engine.clone(), own, answers: self.answers.clone(), asked: self.asked.clone() };
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

fn begun(epoch: u64) -> Begun {
    Begun { pid: 1, host: "scenario".to_owned(), user: "scenario".to_owned(), epoch }
}

/// The operator of a scenario: answers what it was told to answer, and is nobody for the rest.
struct Answers {
    engine: Engine,
    own: Words,
    answers: Words,
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
