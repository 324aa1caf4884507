//! The step machine: checks, then steps; each step is `run`, `verify`, and once `recover`. A plan is this machine on a copy of
//! the cluster.

use std::cell::RefCell;
use std::rc::Rc;

use crate::base::json::{Value as Json, json};

use super::consent::Voice;
use super::event::{End, Event, Item, Known, Sink, StepEnd, Summary, TargetInfo, Verdict, What};
use super::needs;
use super::runbook::{self, CallbackId, Owner, Params, Phase, Runbook, State, Title};
use super::script::{Returned, Scene, Script};
use super::session::Session;
use crate::base::{Error, Kind, Reason, Result, Span, Timestamp, Value};
use crate::cluster::{Access, Cluster};
use crate::primitives::Cx;

/// One plan or run to be made.
pub struct Job {
    /// Whether the cluster is a copy.
    pub what: What,
    /// The cluster to work on: for a plan, the twin.
    pub cluster: Cluster,
    /// What the file declares.
    pub runbook: Rc<Runbook>,
    /// The parameters, typed.
    pub params: Rc<Params>,
    /// Who answers questions.
    pub voice: Voice,
    /// Who is told of everything.
    pub sink: Rc<RefCell<dyn Sink>>,
}

/// Makes a plan of a run on this cluster: the run itself, on the cluster's planning twin. Nothing is written to the cluster.
pub fn plan(
    script: &mut dyn Script,
    cluster: &Cluster,
    runbook: &Rc<Runbook>,
    params: &Rc<Params>,
    sink: Rc<RefCell<dyn Sink>>,
) -> Summary {
    let (runbook, params) = (runbook.clone(), params.clone());
    perform(script, Job { what: What::Plan, cluster: cluster.planning(), runbook, params, voice: Voice::Plan, sink })
}

/// Makes a run on this cluster.
pub fn run(
    script: &mut dyn Script,
    cluster: &Cluster,
    runbook: &Rc<Runbook>,
    params: &Rc<Params>,
    voice: Voice,
    sink: Rc<RefCell<dyn Sink>>,
) -> Summary {
    let (runbook, params) = (runbook.clone(), params.clone());
    perform(script, Job { what: What::Run, cluster: cluster.clone(), runbook, params, voice, sink })
}

/// Does it, and says how it ended: an error is part of the summary.
pub fn perform(script: &mut dyn Script, job: Job) -> Summary {
    let cluster = match &job.runbook.header.namespace {
        Some(namespace) => job.cluster.with_namespace(namespace),
        None => job.cluster.clone(),
    };
    let session = Session::new(job.what, cluster.clone(), job.voice, job.sink);
    let started = session.now();
    let (runbook, params, what) = (job.runbook, job.params, job.what);
    let mut runner = Runner { script, cluster, session, runbook, params, what, state: State::new() };
    runner.announce();
    let outcome = runner.go();
    runner.cluster.set_access(Access::ReadOnly);
    let summary = runner.summary(started, outcome);
    runner.session.emit(Event::Finished { what, summary: summary.clone() });
    summary
}

/// How the machine stopped, when not at its end.
enum Stop {
    /// The checks say that there is nothing to do.
    NotNeeded,
    /// An error.
    Error(Error),
    /// In a plan: nobody can say how it goes on.
    Unknown(Error),
}

struct Runner<'a> {
    script: &'a mut dyn Script,
    cluster: Cluster,
    session: Rc<Session>,
    runbook: Rc<Runbook>,
    params: Rc<Params>,
    what: What,
    state: State,
}

/// What was the matter in a step, and in which function.
type Failure = (Phase, Error);

impl Runner<'_> {
    fn announce(&self) {
        let label = self.cluster.label();
        self.session.emit(Event::Started {
            what: self.what,
            run: self.cluster.run().to_string(),
            runbook: self.runbook.name.clone(),
            title: self.runbook.header.title.clone(),
            target: TargetInfo { name: label.name, simulated: label.simulated },
            namespace: self.cluster.namespace().to_owned(),
            params: runbook::shown(&self.runbook, &self.params),
            checks: self.runbook.checks.iter().map(|check| check.title.clone()).collect(),
            steps: self.runbook.steps.len(),
        });
    }

    fn go(&mut self) -> Result<(), Stop> {
        self.checks()?;
        for place in 0..self.runbook.steps.len() {
            if let Err(stop) = self.step(place) {
                if let Stop::Unknown(error) = &stop {
                    self.unknown_from(place + 1, error);
                }
                return Err(stop);
            }
        }
        Ok(())
    }

    /// Calls a function of a declaration, with the access that its phase allows.
    fn call(&mut self, owner: Owner, phase: Phase, arguments: Vec<Value>) -> Result<Returned> {
        self.cluster.cancel().check()?;
        self.cluster.set_access(if phase.writes() { Access::ReadWrite } else { Access::ReadOnly });
        self.session.begin_phase(phase);
        let result = self.script.call(CallbackId { owner, phase }, arguments);
        self.cluster.set_access(Access::ReadOnly);
        // A script may have caught the interruption of a call; it is one all the same.
        if result.is_ok() {
            self.cluster.cancel().check()?
        }
        result
    }

    fn enter(&mut self) -> Result<()> {
        self.cluster.set_access(Access::Load);
        let cx = Cx { cluster: self.cluster.clone(), talk: self.session.clone() };
        let scene = Scene { params: self.params.clone(), state: self.state.clone(), cx, calls: self.session.clone() };
        self.script.enter(scene)
    }

    /// Ends a scene; `state` counts only when all went well.
    fn leave<T>(&mut self, result: Result<T>) -> Result<T> {
        match (result, self.script.leave()) {
            (Ok(value), Ok(state)) => {
                self.state = state;
                Ok(value)
            }
            (Err(error), _) | (Ok(_), Err(error)) => Err(error),
        }
    }

    fn is_unknown(&self, error: &Error) -> bool {
        self.what == What::Plan && error.reason == Reason::Unmodelled
    }

    /// Asks every check, also after one that does not hold, so that everything that is wrong is said at once.
    fn checks(&mut self) -> Result<(), Stop> {
        let mut failed: Option<Error> = None;
        let mut unknown: Option<Error> = None;
        let mut not_needed = false;
        let runbook = self.runbook.clone();
        let of = runbook.checks.len();
        for (place, decl) in runbook.checks.iter().enumerate() {
            let check = Item { id: decl.id.clone(), title: decl.title.clone(), number: place + 1, of };
            let started = self.session.now();
            self.session.emit(Event::CheckStarted { check: check.clone() });
            let span = tracing::info_span!(target: "lockgate::step", "check", id = %decl.id);
            let verdict = span.in_scope(|| self.check(place));
            let known = if matches!(verdict, Verdict::Unknown { .. }) { Known::Unknown } else { self.session.known() };
            let took = Span::between(started, self.session.now());
            self.session.emit(Event::CheckFinished { check, verdict: verdict.clone(), known, took });
            match verdict {
                Verdict::Ok { .. } | Verdict::Skipped { .. } => {}
                Verdict::NotNeeded { .. } => not_needed = true,
                Verdict::Unknown { error } => unknown = unknown.or(Some(error)),
                Verdict::Failed { error } => {
                    // Where nobody answers, the other checks would only say so again.
                    let stopped = error.kind == Kind::Cancelled || error.reason == Reason::Unreachable;
                    let error = within(error, "check", &decl.id);
                    if stopped {
                        return Err(Stop::Error(error));
                    }
                    failed = failed.or(Some(error));
                }
            }
        }
        match (failed, unknown) {
            (Some(error), _) => Err(Stop::Error(error)),
            (None, Some(error)) => {
                self.unknown_from(0, &error);
                Err(Stop::Unknown(error))
            }
            (None, None) if not_needed => Err(Stop::NotNeeded),
            (None, None) => Ok(()),
        }
    }

    fn check(&mut self, place: usize) -> Verdict {
        let runbook = self.runbook.clone();
        let decl = &runbook.checks[place];
        self.session.begin_item(format!("check {}", decl.id));
        let owner = Owner::Check(place);
        let asked = self.enter().and_then(|()| {
            if decl.has_when
                && let Some(why) = skipped(&self.call(owner, Phase::When, Vec::new())?)
            {
                return Ok(Verdict::Skipped { why });
            }
            let returned = self.call(owner, Phase::Check, Vec::new())?;
            if let Some(why) = returned.not_needed {
                return Ok(Verdict::NotNeeded { why });
            }
            returned.holds(owner)?;
            Ok(Verdict::Ok { detail: returned.value(0).as_text() })
        });
        match self.leave(asked) {
            Ok(verdict) => verdict,
            Err(error) if self.is_unknown(&error) => Verdict::Unknown { error },
            Err(error) => Verdict::Failed { error },
        }
    }

    fn item(&self, place: usize, title: String) -> Item {
        Item { id: self.runbook.steps[place].id.clone(), title, number: place + 1, of: self.runbook.steps.len() }
    }

    fn step(&mut self, place: usize) -> Result<(), Stop> {
        let runbook = self.runbook.clone();
        let decl = &runbook.steps[place];
        let started = self.session.now();
        self.session.begin_item(format!("step {}", decl.id));
        let span = tracing::info_span!(target: "lockgate::step", "step", id = %decl.id);
        let _inside = span.enter();
        let mut item = self.item(place, decl.title_or_id().to_owned());
        let mut begun = false;
        let done = self.enter().and_then(|()| {
            item = self.begun(place)?;
            begun = true;
            let why = if decl.has_when { skipped(&self.call(Owner::Step(place), Phase::When, Vec::new())?) } else { None };
            match why {
                Some(why) => Ok(StepEnd::Skipped { why }),
                None => self.attempts(place),
            }
        });
        if !begun {
            self.session.emit(Event::StepStarted { step: item.clone() });
        }
        let (end, stop) = match self.leave(done) {
            Ok(end) => (end, None),
            Err(error) if self.is_unknown(&error) => (StepEnd::Unknown { why: error.to_string() }, Some(Stop::Unknown(error))),
            Err(error) => (StepEnd::Failed { error: error.clone() }, Some(Stop::Error(within(error, "step", &decl.id)))),
        };
        let took = Span::between(started, self.session.now());
        self.session.emit(Event::StepFinished { step: item, end, took });
        stop.map_or(Ok(()), Err)
    }

    /// Finds the title and says that the step begins.
    fn begun(&mut self, place: usize) -> Result<Item> {
        let title = match &self.runbook.steps[place].title {
            Title::Text(text) => text.clone(),
            Title::Function => {
                let returned = self.call(Owner::Step(place), Phase::Title, Vec::new())?;
                returned.value(0).as_text().ok_or_else(|| {
                    let given = returned.value(0).kind_name();
                    Error::new(
                        Kind::Runbook,
                        Reason::Usage,
                        format!("the title of step `{}` must be a text, got {given}", self.runbook.steps[place].id),
                    )
                })?
            }
        };
        let item = self.item(place, title);
        self.session.emit(Event::StepStarted { step: item.clone() });
        Ok(item)
    }

    /// `run`, `verify`, and once `recover`.
    fn attempts(&mut self, place: usize) -> Result<StepEnd> {
        let Err(failure) = self.attempt(place, Phase::Run) else { return Ok(StepEnd::Done { recovered: false }) };
        let (phase, error) = failure;
        if !self.runbook.steps[place].has_recover || !self.recoverable(&error) {
            return Err(error);
        }
        let step = self.runbook.steps[place].id.clone();
        self.session.emit(Event::Recovering { step: step.clone(), phase, error: error.clone() });
        let answer = self.call(Owner::Step(place), Phase::Recover, vec![error_value(&error)]);
        let answer = answer.map_err(|raised| {
            // The error itself, raised again, needs no second telling.
            if raised.message == error.message { raised } else { raised.cause(format!("while recovering from: {}", error.message)) }
        })?;
        answer.answers()?;
        match answer.value(0) {
            Value::Json(Json::Bool(false)) => Err(error),
            Value::Json(Json::String(_)) => {
                self.session.emit(Event::Again { step });
                self.script.leave()?;
                self.session.begin_again();
                self.enter()?;
                self.attempt(place, Phase::Run).map_err(|(_, error)| error)?;
                Ok(StepEnd::Done { recovered: true })
            }
            _ => {
                self.attempt(place, Phase::Verify).map_err(|(_, error)| error)?;
                Ok(StepEnd::Done { recovered: true })
            }
        }
    }

    /// `run` and `verify`, or only `verify`.
    fn attempt(&mut self, place: usize, from: Phase) -> Result<(), Failure> {
        let owner = Owner::Step(place);
        if from == Phase::Run {
            self.call(owner, Phase::Run, Vec::new()).map_err(|error| (Phase::Run, error))?;
        }
        let decl = &self.runbook.steps[place];
        if decl.has_verify {
            let verified = self.call(owner, Phase::Verify, Vec::new());
            verified.and_then(|returned| returned.holds(owner)).map_err(|error| (Phase::Verify, error))?;
        }
        Ok(())
    }

    /// Whether `recover` is asked about an error: not where the operator or a limit stopped the run, nor where the plan ends.
    fn recoverable(&self, error: &Error) -> bool {
        error.kind != Kind::Cancelled && error.kind != Kind::Internal && !error.is_stop() && !self.is_unknown(error)
    }

    /// In a plan: the steps from this one on cannot be known.
    fn unknown_from(&self, place: usize, error: &Error) {
        for place in place..self.runbook.steps.len() {
            let step = self.item(place, self.runbook.steps[place].title_or_id().to_owned());
            self.session.emit(Event::StepStarted { step: step.clone() });
            let why = format!("it comes after what is unknown: {}", error.message);
            self.session.emit(Event::StepFinished { step, end: StepEnd::Unknown { why }, took: Span::ZERO });
        }
    }

    fn summary(&self, started: Timestamp, outcome: Result<(), Stop>) -> Summary {
        let tally = self.session.tally();
        let mut unknowns = self.cluster.unknowns();
        for unknown in &tally.unknowns {
            if !unknowns.contains(unknown) {
                unknowns.push(unknown.clone());
            }
        }
        let (end, error) = match outcome {
            Ok(()) => (End::Succeeded, None),
            Err(Stop::NotNeeded) => (End::NotNeeded, None),
            Err(Stop::Unknown(error)) => {
                let text = error.to_string();
                if !unknowns.contains(&text) {
                    unknowns.push(text);
                }
                (End::Unknown, Some(error))
            }
            Err(Stop::Error(error)) => (end_of(&error), Some(error)),
        };
        let exit_code = match (end, &error) {
            (End::Unknown, _) => 3,
            (_, Some(error)) if error.kind == Kind::Input && tally.writes > 0 => 1,
            (_, Some(error)) => error.kind.exit_code(),
            (_, None) if self.what == What::Plan && !(unknowns.is_empty() && tally.assumptions.is_empty()) => 3,
            (_, None) => 0,
        };
        Summary {
            end,
            exit_code,
            writes: tally.writes,
            objects: tally.objects,
            unsure: tally.unsure,
            invertible: tally.invertible,
            took: Span::between(started, self.session.now()),
            unknowns,
            assumptions: tally.assumptions,
            confirmations: tally.confirmations,
            requests: needs::of(&self.cluster),
            error,
        }
    }
}

fn end_of(error: &Error) -> End {
    match (error.kind, error.reason) {
        (Kind::Cancelled, Reason::Interrupted) => End::Interrupted,
        (Kind::Cancelled, _) => End::Parked,
        _ => End::Failed,
    }
}

/// The error as the whole run tells it: it says where it happened.
fn within(mut error: Error, noun: &str, id: &str) -> Error {
    error.message = format!("{noun} `{id}`: {}", error.message);
    error
}

/// The reason why `when` says no; `None` when it says yes.
fn skipped(returned: &Returned) -> Option<String> {
    match returned.value(0) {
        Value::Nil | Value::Json(Json::Bool(false)) => Some(returned.value(1).as_text().unwrap_or_else(|| "its `when` says no".to_owned())),
        _ => None,
    }
}

/// An error as `recover` sees it.
#[must_use]
pub fn error_value(error: &Error) -> Value {
    Value::Json(json!({
        "kind": error.kind.as_str(),
        "reason": error.reason.as_str(),
        "message": error.message,
        "object": error.object,
        "hint": error.hint,
        "causes": error.causes,
        "details": error.details,
    }))
}
