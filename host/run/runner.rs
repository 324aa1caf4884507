//! The run as a whole: checks, then steps in order. A plan is this on a copy of the cluster. A run that was stopped goes on by its
//! journal: what is over is skipped, what was interrupted is entered again, and its calls give their recorded results until the record ends.

use std::cell::RefCell;
use std::rc::Rc;

use futures::FutureExt as _;

use crate::base::json::{Value as Json, json};

use super::consent::Voice;
use super::event::{End, Event, Item, Known, Sink, Summary, TargetInfo, Verdict, What};
use super::journal::Book;
use super::journal::past::changed_state;
use super::runbook::{self, At, CallbackId, Owner, Params, Phase, Runbook, State};
use super::script::{Lane, Returned, Scene, Script};
use super::session::Session;
use super::{attempts, hiding, needs, permissions};
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
    /// The journal of a run; none of a plan.
    pub record: Option<Recording>,
}

/// The journal of a run, and what it takes to compare it with the cluster.
#[derive(Clone)]
pub struct Recording {
    /// The journal.
    pub book: Rc<Book>,
    /// The runtime of this thread.
    pub runtime: Rc<tokio::runtime::Runtime>,
}

/// Makes a plan of a run on this cluster: the run itself, on the cluster's planning twin. Nothing is written to the cluster.
pub fn plan(
    script: &mut dyn Script,
    cluster: &Cluster,
    runbook: &Rc<Runbook>,
    params: &Rc<Params>,
    sink: Rc<RefCell<dyn Sink>>,
) -> Summary {
    plan_on(script, cluster, &cluster.planning(), runbook, params, sink)
}

/// The same on this twin, which whoever made it looks at.
pub fn plan_on(
    script: &mut dyn Script,
    cluster: &Cluster,
    twin: &Cluster,
    runbook: &Rc<Runbook>,
    params: &Rc<Params>,
    sink: Rc<RefCell<dyn Sink>>,
) -> Summary {
    let (runbook, params) = (runbook.clone(), params.clone());
    let job = Job { what: What::Plan, cluster: twin.clone(), runbook, params, voice: Voice::Plan, sink, record: None };
    let summary = perform(script, job);
    cluster.remember_plan(twin, summary.end == End::Unknown);
    summary
}

/// Makes a run on this cluster that keeps no journal: it cannot be resumed. For tests and for scenarios.
pub fn run(
    script: &mut dyn Script,
    cluster: &Cluster,
    runbook: &Rc<Runbook>,
    params: &Rc<Params>,
    voice: Voice,
    sink: Rc<RefCell<dyn Sink>>,
) -> Summary {
    let (runbook, params) = (runbook.clone(), params.clone());
    perform(script, Job { what: What::Run, cluster: cluster.clone(), runbook, params, voice, sink, record: None })
}

/// Does it, and says how it ended: an error is part of the summary.
pub fn perform(script: &mut dyn Script, job: Job) -> Summary {
    let cluster = match &job.runbook.header.namespace {
        Some(namespace) => job.cluster.with_namespace(namespace),
        None => job.cluster.clone(),
    };
    let redactor = hiding::redactor(&job.runbook, &job.params);
    let job = Job { sink: hiding::before(job.sink, &redactor), ..job };
    let mut runner = Runner::new(script, cluster, job);
    runner.session.hide(redactor.clone());
    let (started, what) = (runner.session.now(), runner.what);
    permissions::begin(&runner.cluster, &runner.runbook, what, &runner.session);
    runner.announce();
    let outcome = runner.go();
    runner.cluster.set_access(Access::ReadOnly);
    runner.cluster.set_grantor(None);
    let summary = runner.summary(started, outcome);
    runner.session.emit(Event::Finished { what, summary: summary.clone() });
    hiding::ended(summary, &redactor)
}

/// How the machine stopped, when not at its end.
#[derive(Clone)]
pub(super) enum Stop {
    /// The checks say that there is nothing to do.
    NotNeeded,
    /// An error.
    Error(Error),
    /// In a plan: nobody can say how it goes on.
    Unknown(Error),
}

pub(super) struct Runner<'a> {
    pub(super) hand: Hand<'a>,
    pub(super) cluster: Cluster,
    pub(super) session: Rc<Session>,
    pub(super) runbook: Rc<Runbook>,
    pub(super) params: Rc<Params>,
    pub(super) what: What,
    pub(super) state: State,
    pub(super) record: Option<Recording>,
    /// Items that failed and whose batch allows that.
    pub(super) failures: Vec<Error>,
    /// `state` of the run, where this is one of several items that are done at the same time.
    pub(super) common: Option<Rc<RefCell<State>>>,
}

/// Who calls the functions of the file.
pub(super) enum Hand<'a> {
    /// This thread.
    Here(&'a mut dyn Script),
    /// The lane of an item that is done at the same time as others.
    Lane(Box<dyn Lane>),
}

/// The end of what does not wait: everything but a question that is asked beside others, outside of a batch.
pub(super) fn at_once<T>(work: impl Future<Output = T>) -> Result<T> {
    work.now_or_never().ok_or_else(|| Error::internal("a step waits where nobody can wait"))
}

impl<'a> Runner<'a> {
    pub(super) fn new(script: &'a mut dyn Script, cluster: Cluster, job: Job) -> Runner<'a> {
        let book = job.record.as_ref().map(|record| record.book.clone());
        if let Some(book) = &book {
            cluster.keep(book.clone());
            cluster.continue_after(book.past(|past| past.operations));
            if book.resumes() {
                cluster.set_spent(book.past(permissions::spent));
            }
        }
        let state = book.as_ref().map_or_else(State::new, |book| book.past(|past| past.state.clone()));
        let session = Session::new(job.what, cluster.clone(), job.voice, job.sink, book);
        let (runbook, params, what) = (job.runbook, job.params, job.what);
        let hand = Hand::Here(script);
        Runner { hand, cluster, session, runbook, params, what, state, record: job.record, failures: Vec::new(), common: None }
    }
}

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
            resumes: self.book().is_some_and(Book::resumes),
        });
    }

    /// The journal, when there is one.
    pub(super) fn book(&self) -> Option<&Book> {
        self.record.as_ref().map(|record| &*record.book)
    }

    fn go(&mut self) -> Result<(), Stop> {
        self.checks()?;
        self.as_left()?;
        self.steps()?;
        match std::mem::take(&mut self.failures) {
            failures if failures.is_empty() => Ok(()),
            failures => Err(Stop::Error(tolerated(&failures))),
        }
    }

    /// [`Runner::called`] where nothing else goes on.
    pub(super) fn call(&mut self, owner: Owner, phase: Phase, arguments: Vec<Value>) -> Result<Returned> {
        at_once(self.called(owner, phase, arguments))?
    }

    /// Calls a function of a declaration, with the access that its phase allows. What it gave before the run was stopped may stand.
    pub(super) async fn called(&mut self, owner: Owner, phase: Phase, arguments: Vec<Value>) -> Result<Returned> {
        self.cluster.cancel().check()?;
        self.cluster.set_access(if phase.writes() { Access::ReadWrite } else { Access::ReadOnly });
        if let Some(recorded) = self.session.begin_phase(phase)? {
            self.cluster.set_access(Access::ReadOnly);
            return recorded;
        }
        let callback = CallbackId { owner, phase };
        let result = match &mut self.hand {
            Hand::Here(script) => script.call(callback, arguments),
            Hand::Lane(lane) => lane.call(callback, arguments).await,
        };
        self.cluster.set_access(Access::ReadOnly);
        // A script may have caught the interruption of a call; it is one all the same.
        let result = if result.is_ok() { self.cluster.cancel().check().and(result) } else { result };
        self.session.end_phase(phase, &result)?;
        result
    }

    pub(super) fn enter(&mut self) -> Result<()> {
        self.cluster.set_access(Access::Load);
        let cx = Cx { cluster: self.cluster.clone(), talk: self.session.clone() };
        let scene = Scene { params: self.params.clone(), state: self.state.clone(), cx, calls: self.session.clone() };
        match &mut self.hand {
            Hand::Here(script) => script.enter(scene),
            Hand::Lane(lane) => lane.enter(scene),
        }
    }

    /// Ends a scene, whatever it has made of `state`.
    pub(super) fn left(&mut self) -> Result<State> {
        match &mut self.hand {
            Hand::Here(script) => script.leave(),
            Hand::Lane(lane) => lane.leave(),
        }
    }

    /// Ends a scene; `state` counts only when all went well.
    pub(super) fn leave<T>(&mut self, result: Result<T>) -> Result<T> {
        match (result, self.left()) {
            (Ok(value), Ok(state)) => {
                let mut kept = state.iter().filter(|(name, value)| self.state.get(*name) != Some(value));
                kept.try_for_each(|(name, value)| self.session.may_be_kept(&format!("state.{name}"), value))?;
                if let Some(common) = &self.common {
                    set(&mut common.borrow_mut(), changed_state(&self.state, &state));
                }
                self.state = state;
                Ok(value)
            }
            (Err(error), _) | (Ok(_), Err(error)) => Err(error),
        }
    }

    pub(super) fn is_unknown(&self, error: &Error) -> bool {
        // What was waited for may only have failed to come because controllers took what could not be read for empty.
        let in_vain = || error.kind == Kind::Stuck && !self.cluster.unknowns().is_empty();
        self.what == What::Plan && (error.reason == Reason::Unmodelled || in_vain())
    }

    /// Asks every check, also after one that does not hold, so that everything that is wrong is said at once.
    fn checks(&mut self) -> Result<(), Stop> {
        let mut failed: Option<Error> = None;
        let mut unknown: Option<Error> = None;
        let mut not_needed = false;
        let runbook = self.runbook.clone();
        let of = runbook.checks.len();
        for (place, decl) in runbook.checks.iter().enumerate() {
            let check = Item { id: decl.id.clone(), title: decl.title.clone(), number: place + 1, of, part: None };
            if decl.at == At::Start
                && let Some(verdict) = self.book().and_then(|book| book.verdict(&format!("check {}", decl.id)))
            {
                not_needed |= matches!(verdict, Verdict::NotNeeded { .. });
                self.session.emit(Event::Earlier { of: "check".to_owned(), item: check });
                continue;
            }
            let started = self.session.now();
            self.session.emit(Event::CheckStarted { check: check.clone() });
            let span = tracing::info_span!(target: "lockgate::step", "check", id = %decl.id);
            let verdict = span.in_scope(|| self.check(place));
            let known = if matches!(verdict, Verdict::Unknown { .. }) { Known::Unknown } else { self.session.known() };
            let took = Span::between(started, self.session.now());
            self.session.judged(&verdict, &self.state).map_err(Stop::Error)?;
            self.session.emit(Event::CheckFinished { check, verdict: verdict.clone(), known, took });
            match verdict {
                Verdict::Ok { .. } | Verdict::Skipped { .. } => {}
                Verdict::NotNeeded { .. } => not_needed = true,
                Verdict::Unknown { error } => unknown = unknown.or(Some(error)),
                Verdict::Failed { error } => {
                    // Where nobody answers, or nobody knows this user, the other checks would only say so again.
                    let is_unknown_user = error.details.get("code").is_some_and(|code| *code == 401);
                    let stopped = error.kind == Kind::Cancelled || error.reason == Reason::Unreachable || is_unknown_user;
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
        let asked = self.enter().and_then(|()| attempts::asked(decl, owner, |phase| self.call(owner, phase, Vec::new())));
        match self.leave(asked) {
            Ok(verdict) => verdict,
            Err(error) if self.is_unknown(&error) => Verdict::Unknown { error },
            Err(error) => Verdict::Failed { error },
        }
    }

    pub(super) fn summary(&self, started: Timestamp, outcome: Result<(), Stop>) -> Summary {
        let mut summary = summary(&self.session, &self.cluster, self.what, started, outcome);
        let tally = self.session.tally();
        (summary.invertible, summary.no_return, summary.stays) = super::undo::invertible(&self.runbook, &tally.by_place);
        summary
    }
}

/// How it ended, with all that has added up.
pub(super) fn summary(session: &Session, cluster: &Cluster, what: What, started: Timestamp, outcome: Result<(), Stop>) -> Summary {
    let tally = session.tally();
    let mut unknowns = cluster.unknowns();
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
        (_, None) if what == What::Plan && !(unknowns.is_empty() && tally.assumptions.is_empty()) => 3,
        (_, None) => 0,
    };
    Summary {
        end,
        exit_code,
        writes: tally.writes,
        objects: tally.objects,
        unsure: tally.unsure,
        invertible: tally.by_place.iter().map(|(_, written)| written.invertible).sum(),
        no_return: Vec::new(),
        stays: tally.by_place.iter().flat_map(|(_, written)| written.stays.clone()).collect(),
        took: Span::between(started, session.now()),
        unknowns,
        assumptions: tally.assumptions,
        drift: if what == What::Plan { cluster.moved_since() } else { None },
        confirmations: tally.confirmations,
        requests: needs::of(cluster),
        error,
    }
}

/// Takes changes over into `state`.
pub(super) fn set(state: &mut State, changes: Vec<(String, Option<Value>)>) {
    for (name, value) in changes {
        match value {
            Some(value) => drop(state.insert(name, value)),
            None => drop(state.remove(&name)),
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
pub(super) fn within(mut error: Error, noun: &str, id: &str) -> Error {
    error.message = format!("{noun} `{id}`: {}", error.message);
    error
}

/// The reason why `when` says no; `None` when it says yes.
pub(super) fn skipped(returned: &Returned) -> Option<String> {
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

/// The error of a run in which items failed and whose batches allow that.
fn tolerated(failures: &[Error]) -> Error {
    let message = format!("{} failed within its `max_failures`", crate::primitives::registry::plural(failures.len(), "item"));
    let error = Error::new(Kind::Runbook, Reason::CheckFailed, message);
    failures
        .iter()
        .fold(error, |error, failure| error.cause(failure.to_string()))
        .hint("when the cause is gone, resume the run: it does these again")
}
