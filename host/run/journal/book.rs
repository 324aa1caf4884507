//! The journal as a run uses it while it goes: it writes down what happens, and of an interrupted check or step it gives what happened
//! before, in order, until the record ends.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use futures::future::LocalBoxFuture;

use super::Keep;
use super::entry::{Fact, Finished};
use super::past::{Mark, Past, Pending, PlacePast, Written, can_be_met};
use super::redact::Redactor;
use crate::base::{Clock, Error, Kind, Reason, Result, Timestamp, Value};
use crate::cluster::keep::{Drift, Intent, Keeper, Key, Open, Outcome, Pin, Sign};
use crate::primitives::{self, AskOptions, Done, Effect, Wrote};
use crate::run::consent::Operator;
use crate::run::event::{Confirmation, Event, Record, StepEnd, Verdict};
use crate::run::runbook::{Phase, State};
use crate::run::script::{Call, Returned};

/// What is done about a cluster that is not as the record says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDrift {
    /// Whoever is there is asked ([`Book::ask`]); without anybody the run stops with the differences.
    Ask,
    /// The run stops with the differences.
    #[default]
    Stop,
    /// It goes on from what there is.
    Accept,
    /// What the record says was written is written again.
    Again,
}

/// Go on from what there is.
const ACCEPT: &str = "accept";
/// Do the step again.
const AGAIN: &str = "again";
/// Stop with the differences.
const STOP: &str = "stop";

/// Who is asked, and the answers that there are.
type Asked = (Rc<dyn Operator>, Vec<&'static str>);

/// The journal of a run that goes.
pub struct Book {
    keep: Rc<dyn Keep>,
    clock: Clock,
    past: Rc<RefCell<Past>>,
    epoch: Rc<Cell<u64>>,
    on_drift: OnDrift,
    place: RefCell<String>,
    /// What happened in the present place before, and was not met yet.
    marks: RefCell<VecDeque<Mark>>,
    /// The writes of the interrupted call that were not met yet, and those of calls that failed without anybody knowing what became of them.
    open: RefCell<Vec<Pending>>,
    /// The call that is made now.
    now: RefCell<Option<Call>>,
    /// Answers that people gave in an interrupted check.
    answers: RefCell<Vec<Finished>>,
    /// Knows what may not be kept.
    redactor: Option<Rc<Redactor>>,
    /// The answer of the record that the call which is made now has to give again: its HMAC.
    expected: RefCell<Option<String>>,
    /// Why nothing can be kept any more.
    fault: Rc<RefCell<Option<Error>>>,
    /// Who is asked about a cluster that is not as the record says, and the answers that there are.
    asked: RefCell<Option<Asked>>,
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
        let epoch = Rc::new(Cell::new(past.epoch.max(1)));
        Book {
            keep: keep.into(),
            clock,
            past: Rc::new(RefCell::new(past)),
            epoch,
            on_drift,
            place: RefCell::default(),
            marks: RefCell::default(),
            open: RefCell::default(),
            now: RefCell::default(),
            answers: RefCell::default(),
            redactor: None,
            expected: RefCell::default(),
            fault: Rc::default(),
            asked: RefCell::default(),
        }
    }

    /// The same journal for an item that is done at the same time as others: where it is, and what it gives again there, are its own.
    pub(crate) fn branch(&self) -> Book {
        Book {
            keep: self.keep.clone(),
            clock: self.clock.clone(),
            past: self.past.clone(),
            epoch: self.epoch.clone(),
            on_drift: self.on_drift,
            place: RefCell::default(),
            marks: RefCell::default(),
            open: RefCell::default(),
            now: RefCell::default(),
            answers: RefCell::default(),
            redactor: self.redactor.clone(),
            expected: RefCell::default(),
            fault: self.fault.clone(),
            asked: self.asked.clone(),
        }
    }

    /// The same, which keeps no secret that this knows.
    #[must_use]
    pub fn with_redactor(self, redactor: Rc<Redactor>) -> Book {
        Book { redactor: Some(redactor), ..self }
    }

    /// With [`OnDrift::Ask`] this person is asked what to do about a cluster that is not as the record says. `again`: whether a step can be
    /// run again; nothing of a rollback can.
    pub fn ask(&self, operator: Rc<dyn Operator>, again: bool) {
        let choices = if again { vec![ACCEPT, AGAIN, STOP] } else { vec![ACCEPT, STOP] };
        *self.asked.borrow_mut() = Some((operator, choices));
    }

    /// What is to be done about a difference.
    async fn choose(&self, object: &str, differences: &[String]) -> Result<&'static str> {
        let asked = match self.on_drift {
            OnDrift::Stop => return Ok(STOP),
            OnDrift::Accept => return Ok(ACCEPT),
            OnDrift::Again => return Ok(AGAIN),
            OnDrift::Ask => self.asked.borrow().clone(),
        };
        let Some((operator, choices)) = asked else { return Ok(STOP) };
        let mut text = format!("{}:\n", not_as_left(object));
        differences.iter().for_each(|difference| text.push_str(&format!("  {difference}\n")));
        text.push_str("accept: go on from what is there now\n");
        if choices.contains(&AGAIN) {
            text.push_str("again: run the step that wrote it once more\n");
        }
        text.push_str("stop: change nothing, and end here\nWhat now?");
        let question = Confirmation { at: self.place.borrow().clone(), question: text, occurrence: 1 };
        let options = AskOptions { choices: choices.iter().map(|choice| (*choice).to_owned()).collect(), default: Some(STOP.to_owned()) };
        let answer = operator.ask(&question, &options).await?;
        Ok(choices.into_iter().find(|choice| answer.as_deref() == Some(choice)).unwrap_or(STOP))
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

    /// The first open write like this that the call which is made now had begun.
    fn pending(&self, is_it: impl Fn(&Open) -> bool) -> Option<Open> {
        let open = self.open.borrow();
        let mut offered = open.iter().filter(|pending| self.is_of_now(pending)).map(|pending| &pending.open);
        offered.find(|open| is_it(open)).cloned()
    }

    /// Whether a write is one that the call which is made now comes to. Those of the interrupted call are not those of one that was over and
    /// is made again for what it gives.
    fn is_of_now(&self, pending: &Pending) -> bool {
        let now = self.now.borrow();
        let its = match &pending.call {
            Some(of) => now.as_ref().is_some_and(|now| of.same(now)),
            None => !self.is_given_again(),
        };
        pending.again && its
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
            self.note_or_remember(&Fact::Told { n: record.seq, item: record.item.clone(), event: Box::new(record.event.clone()) });
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
        *self.now.borrow_mut() = Some(call.clone());
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
        let Finished { done, error, reread, writes, .. } = *finished;
        match (done, error, reread) {
            // Read again, it has to be the same; so has what a call gives that wrote, and meets what it had written.
            (_, _, Some(mark)) if effect == Effect::Read || can_be_met(&writes) => {
                let anew = writes.into_iter().map(|open| Pending { open, call: Some(call.clone()), again: true });
                self.open.borrow_mut().extend(anew);
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

    /// Whether the call that is made now was over before, and is made again for what it gives.
    pub(crate) fn is_given_again(&self) -> bool {
        self.expected.borrow().is_some()
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
        let is_reread = self.expected.borrow().is_some();
        let hidden = self.hidden(call);
        self.open.borrow_mut().retain(|pending| match &pending.call {
            Some(of) => !of.same(&hidden),
            None => is_reread,
        });
        if result.as_ref().is_err_and(Error::is_stop) {
            return;
        }
        let reread = result.as_ref().ok().and_then(|done| self.mark(done));
        if let Some(expected) = self.expected.borrow_mut().take() {
            // The record has it already.
            if reread.as_ref() != Some(&expected) {
                let error = Error::new(
                    Kind::Refused,
                    Reason::Replaced,
                    format!("what `{}` gives is not what it was before the run was stopped", call.verb),
                );
                *self.fault.borrow_mut() =
                    Some(error.hint("it holds a secret, which no journal keeps, and which was changed since: by this run, or by somebody"));
            }
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
        self.note_or_remember(&Fact::Call(Box::new(Finished {
            place,
            phase,
            call: hidden,
            done,
            error,
            wrote,
            reread,
            writes: Vec::new(),
        })));
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

    /// `state` as it was when the batch that begins with this item began: for all of its items, also when the run goes on in the middle.
    ///
    /// # Errors
    /// When it cannot be kept.
    pub(crate) fn batch(&self, place: &str, first: usize, state: &State) -> Result<State> {
        if let Some(before) = self.past.borrow().batches.get(&(place.to_owned(), first)) {
            return Ok(before.clone());
        }
        self.note(&Fact::Batch { place: place.to_owned(), first, state: state.clone() })?;
        Ok(state.clone())
    }

    /// What a step that is over changed of `state`.
    pub(crate) fn changed_state(&self, place: &str) -> Vec<(String, Option<Value>)> {
        self.past.borrow().places.get(place).map(|past| past.changed.clone()).unwrap_or_default()
    }

    /// Whether the interrupted step had entered this function.
    pub(crate) fn is_inside(&self, phase: Phase) -> bool {
        self.marks.borrow().iter().any(|mark| matches!(mark, Mark::Enter(entered) if *entered == phase))
    }

    /// What the run wrote before, where nothing of it is open.
    #[must_use]
    pub(crate) fn written(&self) -> Vec<Written> {
        let past = self.past.borrow();
        let open: Vec<&str> = past.places.values().flat_map(PlacePast::unmet).map(|pending| pending.open.intent.object()).collect();
        past.written.iter().filter(|written| !open.contains(&written.target.as_str())).cloned().collect()
    }

    /// The objects that the run wrote before, or may have: a write that it was killed in counts.
    pub(crate) fn targets(&self) -> Vec<String> {
        let past = self.past.borrow();
        let open = past.places.values().flat_map(|place| &place.open).map(|pending| pending.open.intent.object().to_owned());
        past.written.iter().map(|written| written.target.clone()).chain(open).collect()
    }

    /// A step is to be done again from its beginning.
    ///
    /// # Errors
    /// When that cannot be kept.
    pub(crate) fn again(&self, place: &str) -> Result<()> {
        self.note(&Fact::Again { place: place.to_owned() })?;
        self.past.borrow_mut().again(place);
        Ok(())
    }
}

impl Keeper for Book {
    fn pinned(&self, id: &str) -> Option<String> {
        self.past.borrow().charts.get(id).cloned()
    }

    fn pin(&self, pin: &Pin) -> Result<()> {
        self.note(&Fact::Chart(pin.clone()))?;
        self.past.borrow_mut().charts.insert(pin.id.clone(), pin.digest.clone());
        Ok(())
    }

    fn open(&self, key: &Key) -> Option<Open> {
        self.pending(|open| open.intent.key == *key)
    }

    fn open_on(&self, target: &str, part: Option<&str>) -> Option<Open> {
        self.pending(|open| {
            let key = &open.intent.key;
            key.target == target && if matches!(open.intent.sign, Sign::Fields(_)) { key.part.as_deref() == part } else { part.is_none() }
        })
    }

    fn unmet(&self) -> Vec<Open> {
        self.open.borrow().iter().filter(|pending| self.is_of_now(pending)).map(|pending| pending.open.clone()).collect()
    }

    fn ended(&self) -> Option<Timestamp> {
        self.past.borrow().last
    }

    fn met(&self, op: &str, outcome: &Outcome) -> Result<()> {
        let mut open = self.open.borrow_mut();
        let Some(at) = open.iter().position(|pending| pending.open.intent.op == op) else { return Ok(()) };
        match open.remove(at).open.outcome {
            Some(Outcome::Made { .. }) => Ok(()),
            _ => self.note(&Fact::Outcome { op: op.to_owned(), outcome: outcome.clone() }),
        }
    }

    fn drift<'a>(&'a self, object: &'a str, differences: Vec<String>) -> LocalBoxFuture<'a, Result<Drift>> {
        Box::pin(async move {
            let choice = self.choose(object, &differences).await?;
            self.note(&Fact::Drift { object: object.to_owned(), differences: differences.clone(), choice: choice.to_owned() })?;
            match choice {
                ACCEPT => Ok(Drift::Accept),
                AGAIN => Ok(Drift::Again),
                _ => {
                    let again = self.asked.borrow().as_ref().is_none_or(|(_, choices)| choices.contains(&AGAIN));
                    Err(drifted(object, differences, again))
                }
            }
        })
    }

    fn epoch(&self) -> u64 {
        self.epoch.get()
    }

    fn intend(&self, intent: &Intent) -> Result<()> {
        self.open.borrow_mut().retain(|pending| pending.open.intent.op != intent.op);
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

fn not_as_left(object: &str) -> String {
    format!("`{object}` is not as this run left it")
}

/// The error of a cluster that is not as the record says. `again`: whether it can be written once more.
pub(crate) fn drifted(object: &str, differences: Vec<String>, again: bool) -> Error {
    let error = Error::new(Kind::Refused, Reason::Replaced, not_as_left(object)).about(object);
    let again = if again { ", `--drift again` writes it as this run had written it" } else { "" };
    let hint = format!("somebody changed it meanwhile: `--drift accept` goes on from what is there{again}");
    differences.into_iter().fold(error, Error::cause).hint(hint)
}

/// The error of a script that asks otherwise than the record says.
fn changed(now: &str, then: &str) -> Error {
    Error::new(Kind::Refused, Reason::Precondition, format!("the runbook changed under the journal: {now}, but {then}")).hint(
        "what a step does must depend only on parameters, `state` and what it reads; `--script pinned` goes on with the pinned script",
    )
}
