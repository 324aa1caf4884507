//! The journal as a run uses it while it goes: it writes down what happens, and of an interrupted check or step it gives what happened
//! before, in order, until the record ends.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use super::Keep;
use super::entry::{Fact, Finished};
use super::past::{Mark, Past, PlacePast, Written};
use super::redact::Redactor;
use crate::base::{Clock, Error, Kind, Reason, Result, Value};
use crate::cluster::keep::{Drift, Intent, Keeper, Key, Open, Outcome, Sign};
use crate::primitives::{self, Done, Effect, Wrote};
use crate::run::event::{Event, Record, StepEnd, Verdict};
use crate::run::runbook::{Phase, State};
use crate::run::script::{Call, Returned};

/// What is done about a cluster that is not as the record says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDrift {
    /// The run stops with the differences.
    #[default]
    Stop,
    /// It goes on from what there is.
    Accept,
    /// What the record says was written is written again.
    Again,
}

/// The journal of a run that goes.
pub struct Book {
    keep: Box<dyn Keep>,
    clock: Clock,
    past: RefCell<Past>,
    epoch: Cell<u64>,
    on_drift: OnDrift,
    place: RefCell<String>,
    /// What happened in the present place before, and was not met yet.
    marks: RefCell<VecDeque<Mark>>,
    /// The writes of the interrupted call that were not met yet.
    open: RefCell<Vec<Open>>,
    /// Answers that people gave in an interrupted check.
    answers: RefCell<Vec<Finished>>,
    /// Knows what may not be kept.
    redactor: Option<Rc<Redactor>>,
    /// The answer of the record that the call which is made now has to give again: its HMAC.
    expected: RefCell<Option<String>>,
    /// Why nothing can be kept any more.
    fault: RefCell<Option<Error>>,
}

impl std::fmt::Debug for Book {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Book").field("place", &self.place.borrow()).finish_non_exhaustive()
    }
}

impl Book {
    /// A run with this past, which goes on in this journal.
    #[must_use]
    pub fn new(keep: Box<dyn Keep>, clock: Clock, past: Past, on_drift: OnDrift) -> Book {
        let epoch = Cell::new(past.epoch.max(1));
        Book {
            keep,
            clock,
            past: RefCell::new(past),
            epoch,
            on_drift,
            place: RefCell::default(),
            marks: RefCell::default(),
            open: RefCell::default(),
            answers: RefCell::default(),
            redactor: None,
            expected: RefCell::default(),
            fault: RefCell::default(),
        }
    }

    /// The same, which keeps no secret that this knows.
    #[must_use]
    pub fn with_redactor(self, redactor: Rc<Redactor>) -> Book {
        Book { redactor: Some(redactor), ..self }
    }

    /// Writes a fact down.
    ///
    /// # Errors
    /// When it cannot be kept; from then on nothing can.
    pub fn note(&self, fact: &Fact) -> Result<()> {
        if let Some(fault) = &*self.fault.borrow() {
            return Err(fault.clone());
        }
        self.keep.append(self.clock.now(), fact).map(drop).inspect_err(|error| *self.fault.borrow_mut() = Some(error.clone()))
    }

    /// The same where nobody can be told: the next that can is.
    fn note_or_remember(&self, fact: &Fact) {
        if let Err(error) = self.note(fact) {
            tracing::error!(target: "lockgate::journal", %error, "a fact was not kept");
        }
    }

    /// The hash of the last line, where lines are chained.
    #[must_use]
    pub fn head(&self) -> Option<String> {
        self.keep.head()
    }

    /// The epoch that writes carry from now on.
    pub fn set_epoch(&self, epoch: u64) {
        self.epoch.set(epoch);
    }

    /// What is known of the run's past.
    pub fn past<T>(&self, look: impl FnOnce(&Past) -> T) -> T {
        look(&self.past.borrow())
    }

    /// Whether there is a past to go on from.
    #[must_use]
    pub fn resumes(&self) -> bool {
        self.past.borrow().attempts > 0
    }

    /// Notes what the transcript is told.
    pub(crate) fn told(&self, record: &Record) {
        // What only moves on a screen is not kept.
        if !matches!(record.event, Event::Waiting { .. } | Event::Delayed { .. }) {
            self.note_or_remember(&Fact::Told { n: record.seq, event: Box::new(record.event.clone()) });
        }
    }

    /// A check or step begins.
    pub(crate) fn begin_place(&self, place: &str) {
        *self.place.borrow_mut() = place.to_owned();
        let mut past = self.past.borrow_mut();
        let PlacePast { marks, open, calls, .. } = past.places.remove(place).unwrap_or_default();
        let is_check = place.starts_with("check ");
        *self.marks.borrow_mut() = if is_check { VecDeque::new() } else { marks };
        *self.open.borrow_mut() = open;
        *self.answers.borrow_mut() = if is_check { calls } else { Vec::new() };
    }

    /// A function is entered. `Some` is what it gave before, when it is not called again.
    ///
    /// # Errors
    /// When the record says that something else came here.
    pub(crate) fn enter(&self, phase: Phase) -> Result<Option<Result<Returned>>> {
        let mut marks = self.marks.borrow_mut();
        let next_is_this = matches!(marks.front(), Some(Mark::Enter(entered)) if *entered == phase);
        if !next_is_this {
            if matches!(phase, Phase::Run | Phase::Recover | Phase::Rollback) && !marks.is_empty() {
                return Err(changed(&format!("`{}` is entered", phase.as_str()), "what was recorded there is something else"));
            }
            drop(marks);
            self.note(&Fact::Enter { place: self.place.borrow().clone(), phase })?;
            return Ok(None);
        }
        marks.pop_front();
        let left = marks.iter().position(|mark| matches!(mark, Mark::Left(left, ..) if *left == phase));
        match phase {
            Phase::Run | Phase::Recover | Phase::Rollback => Ok(None),
            // What was decided stands; what was verified is verified anew, unless it led further.
            Phase::Title | Phase::When | Phase::Check | Phase::Verify | Phase::Each | Phase::Batch | Phase::Gate => {
                let Some(left) = left else {
                    marks.clear();
                    return Ok(None);
                };
                let Some(Mark::Left(_, returned, error)) = marks.drain(..=left).next_back() else { return Ok(None) };
                match (error, returned) {
                    (Some(error), _) if phase == Phase::Verify && marks.is_empty() => {
                        tracing::debug!(target: "lockgate::journal", %error, "verified anew");
                        Ok(None)
                    }
                    (Some(error), _) => Ok(Some(Err(error))),
                    (None, Some(returned)) if phase != Phase::Verify => Ok(Some(Ok(returned))),
                    (None, _) => Ok(None),
                }
            }
        }
    }

    /// A function is left.
    ///
    /// # Errors
    /// When that cannot be kept.
    pub(crate) fn left(&self, phase: Phase, result: &Result<Returned>) -> Result<()> {
        {
            let mut marks = self.marks.borrow_mut();
            if matches!(marks.front(), Some(Mark::Left(left, ..)) if *left == phase) {
                marks.pop_front();
                return Ok(());
            }
        }
        // Who stopped it wants it to go on from here.
        if result.as_ref().is_err_and(Error::is_stop) {
            return Ok(());
        }
        let (returned, error) = match result {
            Ok(returned) => (Some(returned.clone()), None),
            Err(error) => (None, Some(error.clone())),
        };
        self.note(&Fact::Left { place: self.place.borrow().clone(), phase, returned, error })
    }

    /// The recorded result of this call.
    ///
    /// # Errors
    /// When the record has another call here, or held what is not kept.
    pub(crate) fn recorded(&self, call: &Call) -> Result<Option<Result<Done>>> {
        if let Some(fault) = &*self.fault.borrow() {
            return Err(fault.clone());
        }
        let (call, effect) = (self.hidden(call), effect(call));
        {
            let mut answers = self.answers.borrow_mut();
            if effect == Effect::Ask
                && let Some(at) = answers.iter().position(|answer| answer.call.same(&call) && answer.done.is_some())
            {
                return Ok(answers.remove(at).done.map(Ok));
            }
        }
        let mut marks = self.marks.borrow_mut();
        match marks.front() {
            None => return Ok(None),
            Some(Mark::Call(before)) if before.call.same(&call) => {}
            Some(Mark::Call(before)) => {
                return Err(changed(&format!("`{}` is called", call.verb), &format!("`{}` was called here", before.call)));
            }
            Some(Mark::Enter(_) | Mark::Left(..)) => {
                return Err(changed(&format!("`{}` is called", call.verb), "no call was made here"));
            }
        }
        let Some(Mark::Call(finished)) = marks.pop_front() else { return Ok(None) };
        let Finished { done, error, reread, .. } = *finished;
        match (done, error, reread) {
            // Read again, it has to be the same.
            (_, _, Some(mark)) if effect == Effect::Read => {
                *self.expected.borrow_mut() = Some(mark);
                Ok(None)
            }
            (_, _, Some(_)) => Err(Error::new(
                Kind::Refused,
                Reason::Precondition,
                format!("what `{}` gave before the run was stopped held a secret, which no journal keeps", call.verb),
            )
            .hint("the run cannot go on inside this step: `lockgate rollback` takes it back, or do the rest by hand")),
            (_, Some(error), None) => Ok(Some(Err(error))),
            (Some(done), None, None) => Ok(Some(Ok(done))),
            (None, None, None) => Ok(None),
        }
    }

    /// The call as it is kept.
    fn hidden(&self, call: &Call) -> Call {
        let mut call = call.clone();
        if let Some(redactor) = &self.redactor {
            redactor.call(&mut call.arguments);
            redactor.json(&mut call.options);
        }
        call
    }

    /// The HMAC of what a call gave, when it holds what is not kept.
    fn mark(&self, done: &Done) -> Option<String> {
        let redactor = self.redactor.as_ref()?;
        let value = done.value.clone().into_json();
        redactor.learn_object(&value);
        let mut hidden = value.clone();
        redactor.json(&mut hidden).then(|| redactor.mark(&value))
    }

    /// A call is over; one that was stopped is not.
    pub(crate) fn finished(&self, phase: Phase, call: &Call, result: &Result<Done>, wrote: Vec<Wrote>) {
        self.open.borrow_mut().clear();
        if result.as_ref().is_err_and(Error::is_stop) {
            return;
        }
        let reread = result.as_ref().ok().and_then(|done| self.mark(done));
        if let Some(expected) = self.expected.borrow_mut().take()
            && reread.as_ref() != Some(&expected)
        {
            let error = Error::new(
                Kind::Refused,
                Reason::Replaced,
                format!("what `{}` reads is not what it was before the run was stopped", call.verb),
            );
            *self.fault.borrow_mut() = Some(error.hint("it holds a secret, which no journal keeps and which somebody changed meanwhile"));
            return;
        }
        let (done, error) = match result {
            // A secret is not kept, however deep it stands.
            Ok(done) if reread.is_some() => (Some(Done { value: Value::Nil, wrote: done.wrote.clone() }), None),
            Ok(done) => (Some(done.clone()), None),
            Err(error) => (None, Some(error.clone())),
        };
        let without = |wrote: Vec<Wrote>| wrote.into_iter().map(Wrote::without_secrets).collect();
        let done = done.map(|done| Done { wrote: without(done.wrote), ..done });
        let wrote = if error.is_some() { without(wrote) } else { Vec::new() };
        let place = self.place.borrow().clone();
        self.note_or_remember(&Fact::Call(Box::new(Finished { place, phase, call: self.hidden(call), done, error, wrote, reread })));
    }

    /// A check has its verdict.
    ///
    /// # Errors
    /// When that cannot be kept.
    pub(crate) fn judged(&self, verdict: &Verdict, state: &State) -> Result<()> {
        let place = self.place.borrow().clone();
        self.note(&Fact::Ended { place, verdict: Some(verdict.clone()), end: None, state: Some(state.clone()) })
    }

    /// A step has ended; `state` when it ended well.
    ///
    /// # Errors
    /// When that cannot be kept.
    pub(crate) fn ended(&self, end: &StepEnd, state: Option<&State>) -> Result<()> {
        let place = self.place.borrow().clone();
        self.note(&Fact::Ended { place, verdict: None, end: Some(end.clone()), state: state.cloned() })
    }

    /// The verdict that a check had, when it stands.
    #[must_use]
    pub(crate) fn verdict(&self, place: &str) -> Option<Verdict> {
        let past = self.past.borrow();
        past.places
            .get(place)?
            .verdict
            .clone()
            .filter(|verdict| matches!(verdict, Verdict::Ok { .. } | Verdict::Skipped { .. } | Verdict::NotNeeded { .. }))
    }

    /// How a step ended, when it needs nothing more.
    #[must_use]
    pub(crate) fn over(&self, place: &str) -> Option<StepEnd> {
        let past = self.past.borrow();
        let known = past.places.get(place)?;
        if known.is_over() { known.end.clone() } else { None }
    }

    /// Freezes the items of an `each`.
    ///
    /// # Errors
    /// When they cannot be kept.
    pub(crate) fn items(&self, place: &str, items: &[Value]) -> Result<()> {
        self.note(&Fact::Items { place: place.to_owned(), items: items.to_vec() })
    }

    /// Whether the interrupted step had entered this function.
    pub(crate) fn is_inside(&self, phase: Phase) -> bool {
        self.marks.borrow().iter().any(|mark| matches!(mark, Mark::Enter(entered) if *entered == phase))
    }

    /// What the run wrote before, where nothing of it is open.
    #[must_use]
    pub(crate) fn written(&self) -> Vec<Written> {
        let past = self.past.borrow();
        let open: Vec<&str> = past.places.values().flat_map(|place| &place.open).map(|open| open.intent.object()).collect();
        past.written.iter().filter(|written| !open.contains(&written.target.as_str())).cloned().collect()
    }

    /// The objects that the run wrote before.
    pub(crate) fn targets(&self) -> Vec<String> {
        self.past.borrow().written.iter().map(|written| written.target.clone()).collect()
    }

    /// A step is to be done again from its beginning.
    pub(crate) fn forget(&self, place: &str) {
        self.past.borrow_mut().places.remove(place);
    }
}

impl Keeper for Book {
    fn open(&self, key: &Key) -> Option<Open> {
        self.open.borrow().iter().find(|open| open.intent.key == *key).cloned()
    }

    fn open_on(&self, target: &str, part: Option<&str>) -> Option<Open> {
        let is_it = |open: &&Open| {
            let key = &open.intent.key;
            key.target == target && if matches!(open.intent.sign, Sign::Fields(_)) { key.part.as_deref() == part } else { part.is_none() }
        };
        self.open.borrow().iter().find(is_it).cloned()
    }

    fn met(&self, op: &str, outcome: &Outcome) -> Result<()> {
        let mut open = self.open.borrow_mut();
        let Some(at) = open.iter().position(|open| open.intent.op == op) else { return Ok(()) };
        match open.remove(at).outcome {
            Some(Outcome::Made { .. }) => Ok(()),
            _ => self.note(&Fact::Outcome { op: op.to_owned(), outcome: outcome.clone() }),
        }
    }

    fn drift(&self, object: &str, differences: Vec<String>) -> Result<Drift> {
        let (choice, drift) = match self.on_drift {
            OnDrift::Stop => ("stop", None),
            OnDrift::Accept => ("accept", Some(Drift::Accept)),
            OnDrift::Again => ("again", Some(Drift::Again)),
        };
        self.note(&Fact::Drift { object: object.to_owned(), differences: differences.clone(), choice: choice.to_owned() })?;
        drift.ok_or_else(|| drifted(object, differences))
    }

    fn epoch(&self) -> u64 {
        self.epoch.get()
    }

    fn intend(&self, intent: &Intent) -> Result<()> {
        self.open.borrow_mut().retain(|open| open.intent.op != intent.op);
        self.note(&Fact::Intent { place: self.place.borrow().clone(), intent: Box::new(intent.clone()) })
    }

    fn outcome(&self, op: &str, outcome: &Outcome) -> Result<()> {
        self.note(&Fact::Outcome { op: op.to_owned(), outcome: outcome.clone() })
    }
}

fn effect(call: &Call) -> Effect {
    let reads = call.options.get("read") == Some(&true.into());
    primitives::find(&call.verb).map_or(Effect::Read, |definition| definition.effect_in(reads))
}

/// The error of a cluster that is not as the record says.
pub(crate) fn drifted(object: &str, differences: Vec<String>) -> Error {
    let error = Error::new(Kind::Refused, Reason::Replaced, format!("`{object}` is not as this run left it")).about(object);
    differences.into_iter().fold(error, Error::cause).hint(
        "somebody changed it meanwhile: `--drift accept` goes on from what is there, `--drift again` writes it as this run had written it",
    )
}

/// The error of a script that asks otherwise than the record says.
fn changed(now: &str, then: &str) -> Error {
    Error::new(Kind::Refused, Reason::Precondition, format!("the runbook changed under the journal: {now}, but {then}")).hint(
        "what a step does must depend only on parameters, `state` and what it reads; `--script pinned` goes on with the pinned script",
    )
}
