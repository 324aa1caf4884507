//! Takes a run back: a run of its own, with its own journal, whose steps are those of the other one, newest first. What each does is in
//! `undo.rs`; here it is done, waited for, and an error goes to the `recover` of the step.

use std::rc::Rc;

use super::attempts::Hands as _;
use super::event::{Event, Item, Part, StepEnd, Summary, TargetInfo};
use super::journal::Book;
use super::journal::book::{OnDrift, drifted};
use super::journal::past::Past;
use super::permissions;
use super::runbook::{Owner, Phase};
use super::runner::{Job, Runner, Stop, error_value, within};
use super::script::{Call, Calls as _, Script};
use super::undo::{Back, How, Undo};
use super::{drift, hiding};
use crate::base::json::Value as Json;
use crate::base::{Error, ObjectRef, Result, Span, Value};
use crate::cluster::Access;
use crate::cluster::keep::Keeper as _;
use crate::primitives::{self, Arg, Arguments, Cx, Done};

/// What is taken back.
pub struct Undoing {
    /// The id of the run.
    pub of: String,
    /// Its past.
    pub past: Past,
    /// The steps, newest first.
    pub steps: Vec<Undo>,
    /// What is done about an object that is no longer as the run left it.
    pub on_drift: OnDrift,
    /// The runtime of this thread.
    pub runtime: Rc<tokio::runtime::Runtime>,
}

/// Does it, and says how it ended: an error is part of the summary.
pub fn rollback(script: &mut dyn Script, job: Job, undoing: &Undoing) -> Summary {
    let cluster = match &job.runbook.header.namespace {
        Some(namespace) => job.cluster.with_namespace(namespace),
        None => job.cluster.clone(),
    };
    cluster.set_takes_back(&undoing.of);
    let redactor = hiding::redactor(&job.runbook, &job.params);
    let job = Job { sink: hiding::before(job.sink, &redactor), ..job };
    let mut runner = Runner::new(script, cluster, job);
    runner.session.hide(redactor.clone());
    let started = runner.session.now();
    runner.state = undoing.past.state.clone();
    permissions::begin_rollback(&runner.cluster, &runner.runbook, runner.what, &runner.session);
    runner.announce_rollback(undoing);
    let outcome = runner
        .as_left()
        .and_then(|()| runner.still_its_own(undoing))
        .and_then(|()| (0..undoing.steps.len()).try_for_each(|place| runner.take_back(undoing, place)));
    runner.cluster.set_access(Access::ReadOnly);
    runner.cluster.set_grantor(None);
    let summary = runner.summary(started, outcome);
    let what = runner.what;
    runner.session.emit(Event::Finished { what, summary: summary.clone() });
    hiding::ended(summary, &redactor)
}

impl Runner<'_> {
    fn announce_rollback(&self, undoing: &Undoing) {
        let label = self.cluster.label();
        self.session.emit(Event::Started {
            what: self.what,
            run: self.cluster.run().to_string(),
            runbook: self.runbook.name.clone(),
            title: format!("takes back run {}", undoing.of),
            target: TargetInfo { name: label.name, simulated: label.simulated },
            namespace: self.cluster.namespace().to_owned(),
            params: super::runbook::shown(&self.runbook, &self.params),
            checks: Vec::new(),
            steps: undoing.steps.len(),
            resumes: self.book().is_some_and(Book::resumes),
        });
    }

    /// Nothing is taken back that somebody has changed since: what the run wrote last has to be there. What this rollback has written
    /// already, before it was stopped, is its own matter.
    fn still_its_own(&mut self, undoing: &Undoing) -> Result<(), Stop> {
        let done: Vec<String> = self.book().map_or_else(Vec::new, Book::targets);
        let concerned = |place: &str| place.strip_prefix("step ").is_some_and(|key| undoing.steps.iter().any(|undo| undo.key == key));
        let written = undoing.past.written.iter().filter(|written| concerned(&written.place) && !done.contains(&written.target));
        let found = undoing.runtime.block_on(drift::changed(&self.cluster, written.cloned().collect())).map_err(Stop::Error)?;
        for (written, differences) in found {
            match self.book() {
                Some(book) => undoing.runtime.block_on(book.drift(&written.target, differences)).map(drop).map_err(Stop::Error)?,
                None if undoing.on_drift == OnDrift::Stop => return Err(Stop::Error(drifted(&written.target, differences, false))),
                None => {
                    let text = format!("{} is not as the run left it: {}", written.target, differences.join("; "));
                    self.session.emit(Event::Note { text });
                }
            }
        }
        Ok(())
    }

    /// Takes one step back.
    fn take_back(&mut self, undoing: &Undoing, number: usize) -> Result<(), Stop> {
        let undo = &undoing.steps[number];
        let runbook = self.runbook.clone();
        let decl = &runbook.steps[undo.place];
        let part = undo.item.as_ref().map(|name| Part { name: name.clone(), number: 1, of: 1 });
        let title = format!("take back: {}", decl.title_or_id());
        let step = Item { id: undo.key.clone(), title, number: number + 1, of: undoing.steps.len(), part };
        let place = format!("step {}", undo.key);
        if self.book().is_some_and(|book| book.over(&place).is_some()) {
            self.session.emit(Event::Earlier { of: "step".to_owned(), item: step });
            return Ok(());
        }
        let started = self.session.now();
        self.session.begin_item(place);
        self.session.emit(Event::StepStarted { step: step.clone() });
        for stays in &undo.stays {
            self.session.emit(Event::Note { text: format!("stays as it is: {stays}") });
        }
        let done = self.enter().and_then(|()| match &undo.how {
            How::Function => self.by_function(undoing, number),
            How::Calls(backs) => self.by_calls(undoing, undo, backs),
        });
        let (end, stop) = match self.leave(done) {
            Ok(end) => (end, None),
            Err(error) if self.is_unknown(&error) => (StepEnd::Unknown { why: error.to_string() }, Some(Stop::Unknown(error))),
            Err(error) => (StepEnd::Failed { error: error.clone() }, Some(Stop::Error(within(error, "step", &undo.key)))),
        };
        if !matches!(&stop, Some(Stop::Error(error)) if error.is_stop()) {
            let state = if stop.is_none() { Some(&self.state) } else { None };
            self.session.ended(&end, state).map_err(Stop::Error)?;
        }
        let took = Span::between(started, self.session.now());
        self.session.emit(Event::StepFinished { step, end, took });
        stop.map_or(Ok(()), Err)
    }

    /// By the step's own `rollback`; then what the step before it verified has to hold.
    fn by_function(&mut self, undoing: &Undoing, number: usize) -> Result<StepEnd> {
        let undo = &undoing.steps[number];
        let item = item_of(&undoing.past, undo);
        self.call(Owner::Step(undo.place), Phase::Rollback, item.into_iter().collect())?;
        if let Some(before) = undoing.steps.get(number + 1)
            && self.runbook.steps[before.place].has_verify
        {
            let owner = Owner::Step(before.place);
            let item = item_of(&undoing.past, before);
            self.call(owner, Phase::Verify, item.into_iter().collect())?.holds(owner)?;
        }
        Ok(StepEnd::Done { recovered: false })
    }

    /// By the recorded inverses, and a wait for each workload that they changed; an error goes to `recover` once.
    fn by_calls(&mut self, undoing: &Undoing, undo: &Undo, backs: &[Back]) -> Result<StepEnd> {
        let Err(error) = self.backs(undoing, backs) else { return Ok(StepEnd::Done { recovered: false }) };
        if !self.runbook.steps[undo.place].has_recover || !self.recoverable(&error) {
            return Err(error);
        }
        self.session.emit(Event::Recovering { step: undo.key.clone(), phase: Phase::Rollback, error: error.clone() });
        let mut arguments = vec![error_value(&error)];
        arguments.extend(item_of(&undoing.past, undo));
        let answer = self.call(Owner::Step(undo.place), Phase::Recover, arguments)?;
        answer.answers()?;
        if *answer.value(0) == Value::Json(Json::Bool(false)) {
            return Err(error);
        }
        // What is taken back already says so, and what it waits for is waited for again.
        self.backs(undoing, backs)?;
        Ok(StepEnd::Done { recovered: true })
    }

    fn backs(&mut self, undoing: &Undoing, backs: &[Back]) -> Result<()> {
        if let Some(recorded) = self.session.begin_phase(Phase::Rollback)? {
            return recorded.map(drop);
        }
        let done = backs.iter().try_for_each(|back| {
            let arguments = back.arguments.clone();
            self.act(undoing, &back.verb, arguments, back.options.clone()).map(drop)
        });
        let done = done.and_then(|()| self.wait_for_workloads(undoing, backs));
        let returned = done.as_ref().map(|()| super::script::Returned::default()).map_err(Clone::clone);
        self.session.end_phase(Phase::Rollback, &returned)?;
        done
    }

    fn wait_for_workloads(&mut self, undoing: &Undoing, backs: &[Back]) -> Result<()> {
        let mut waited: Vec<&str> = Vec::new();
        for back in backs {
            let is_workload = ObjectRef::parse(&back.target).is_ok_and(|target| {
                crate::cluster::singular(&target.kind)
                    .is_some_and(|kind| ["deployment", "daemonset", "statefulset"].contains(&kind.as_str()))
            });
            if is_workload && !waited.contains(&back.target.as_str()) {
                waited.push(&back.target);
                let exists = self.act(undoing, "exists", vec![back.target.as_str().into()], Json::Null)?;
                if exists.value == Value::Json(Json::Bool(true)) {
                    self.act(undoing, "wait_rollout", vec![back.target.as_str().into()], Json::Null)?;
                }
            }
        }
        Ok(())
    }

    /// Calls a verb as a script does.
    fn act(&mut self, undoing: &Undoing, verb: &str, arguments: Vec<Json>, options: Json) -> Result<Done> {
        self.cluster.cancel().check()?;
        let definition = primitives::find(verb).and_then(|definition| definition.call);
        let definition =
            definition.ok_or_else(|| Error::internal(format!("the record takes something back by `{verb}`, which is no verb")))?;
        let call = Call { verb: verb.to_owned(), arguments: arguments.clone(), options: options.clone(), places: Vec::new() };
        if let Some(recorded) = self.session.begin(&call)? {
            return recorded;
        }
        let mut given =
            Arguments { positional: arguments.into_iter().map(|value| Arg::Value(Value::Json(value))).collect(), ..Arguments::default() };
        if let Json::Object(options) = options {
            given.options = options.into_iter().map(|(name, value)| (name.to_string(), Arg::Value(Value::Json(value)))).collect();
        }
        self.cluster.set_access(Access::ReadWrite);
        let cx = Cx { cluster: self.cluster.clone(), talk: self.session.clone() };
        let lifts = permissions::lets_inverses_through(&self.cluster, self.what);
        self.cluster.lift_permissions(lifts);
        let result = undoing.runtime.block_on(definition(cx, given));
        self.cluster.lift_permissions(false);
        self.cluster.set_access(Access::ReadOnly);
        self.session.end(&call, &result);
        result
    }
}

/// The item of a step as its functions got it.
fn item_of(past: &Past, undo: &Undo) -> Option<Value> {
    let name = undo.item.as_ref()?;
    let owner = undo.key.split('/').next()?;
    let items = past.items.get(&format!("step {owner}")).or_else(|| past.items.get(&format!("group {owner}")))?;
    items.iter().find(|item| super::step::name(item).as_ref() == Some(name)).cloned()
}
