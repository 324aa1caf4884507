//! What a journal says of the past of a run, in the form in which going on needs it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::entry::{Entry, Fact, Finished, Header};
use crate::base::diff::changes;
use crate::base::json::Value as Json;
use crate::base::{Error, Timestamp, Value};
use crate::cluster::keep::{Intent, Open, Outcome, Prior, Sign};
use crate::cluster::permit::Planned;
use crate::primitives::{self, Effect};
use crate::run::event::{Confirmation, Event, StepEnd, Summary, Verdict};
use crate::run::runbook::{Phase, State};
use crate::run::script::Returned;

/// What is known of a run.
#[derive(Clone, Debug, Default)]
pub struct Past {
    /// What it is; none when not even its first line is there.
    pub header: Option<Header>,
    /// How many processes worked on it.
    pub attempts: u64,
    /// The greatest epoch.
    pub epoch: u64,
    /// The greatest number of an operation.
    pub operations: u64,
    /// How many events the transcript was told.
    pub told: u64,
    /// The last moment that the journal knows.
    pub last: Option<Timestamp>,
    /// What the accepted plan granted.
    pub grants: Option<Planned>,
    /// The confirmations of the accepted plan.
    pub consented: Vec<Confirmation>,
    /// The places of checks and steps in the order in which they were entered first.
    pub order: Vec<String>,
    /// Checks and steps by their place.
    pub places: BTreeMap<String, PlacePast>,
    /// The items of steps and groups.
    pub items: BTreeMap<String, Vec<Value>>,
    /// `state` as the last step that ended well left it.
    pub state: State,
    /// How it ended, when its last process came to an end.
    pub ended: Option<Summary>,
    /// What it wrote last to each object of the API, in the order of the last write.
    pub written: Vec<Written>,
}

/// What a run wrote to an object of the API.
#[derive(Clone, Debug, PartialEq)]
pub struct Written {
    /// The object's full name.
    pub target: String,
    /// The part of it that was written.
    pub part: Option<String>,
    /// The place of the last write.
    pub place: String,
    /// The fields that were written; of an object that was created, all.
    pub paths: BTreeSet<String>,
    /// The object after the last write; none when it was deleted.
    pub after: Option<Arc<Json>>,
}

/// What is known of a check or step.
#[derive(Clone, Debug, Default)]
pub struct PlacePast {
    /// The verdict of a check.
    pub verdict: Option<Verdict>,
    /// How a step ended.
    pub end: Option<StepEnd>,
    /// What happened since its present attempt began, in order.
    pub marks: VecDeque<Mark>,
    /// The writes of the call that was not over.
    pub open: Vec<Open>,
    /// Every write that it made, in order, with what became of it.
    pub writes: Vec<Open>,
    /// Every call that is over, in order: also those of former attempts.
    pub calls: Vec<Finished>,
}

/// What happened in a check or step.
#[derive(Clone, Debug)]
pub enum Mark {
    /// A function was entered.
    Enter(Phase),
    /// A call was over.
    Call(Box<Finished>),
    /// A function was left.
    Left(Phase, Option<Returned>, Option<Error>),
}

impl PlacePast {
    /// Whether the step needs nothing more.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.end, Some(StepEnd::Done { .. } | StepEnd::Skipped { .. }))
    }

    /// After an attempt that failed: what of it counts for the next one. The calls of `run` that are over give their results again, up to
    /// the last that wrote or asked; what was only read after that is read anew, because it led to the error.
    fn failed(&mut self) {
        let mut calls: Vec<Box<Finished>> = Vec::new();
        let mut inside = false;
        for mark in std::mem::take(&mut self.marks) {
            match mark {
                Mark::Enter(Phase::Run) => {
                    // Entered again: what is recorded goes on where the first attempt stopped.
                    if calls.last().is_some_and(|call| call.error.is_some()) {
                        calls.pop();
                    }
                    inside = true;
                }
                Mark::Enter(_) => inside = false,
                Mark::Call(call) if inside => calls.push(call),
                Mark::Call(_) => {}
                // What `when` said stands.
                Mark::Left(Phase::When, returned, error) => {
                    self.marks.extend([Mark::Enter(Phase::When), Mark::Left(Phase::When, returned, error)])
                }
                Mark::Left(..) => {}
            }
        }
        while calls.last().is_some_and(|call| call.error.is_some() || effect(call) == Effect::Read) {
            calls.pop();
        }
        self.marks.push_back(Mark::Enter(Phase::Run));
        self.marks.extend(calls.into_iter().map(Mark::Call));
    }
}

fn effect(call: &Finished) -> Effect {
    let reads = call.call.options.get("read") == Some(&true.into());
    primitives::find(&call.call.verb).map_or(Effect::Read, |definition| definition.effect_in(reads))
}

impl Past {
    /// What these lines say.
    #[must_use]
    pub fn of(entries: impl IntoIterator<Item = Entry>) -> Past {
        let mut past = Past::default();
        for entry in entries {
            past.last = Some(entry.at);
            past.take(entry.fact);
        }
        past
    }

    fn place(&mut self, place: &str) -> &mut PlacePast {
        if !self.places.contains_key(place) {
            self.order.push(place.to_owned());
        }
        self.places.entry(place.to_owned()).or_default()
    }

    fn take(&mut self, fact: Fact) {
        match fact {
            Fact::Header(header) => self.header = Some(*header),
            Fact::Begun(begun) => {
                self.attempts += 1;
                self.epoch = self.epoch.max(begun.epoch);
                self.ended = None;
            }
            Fact::Lock { epoch, .. } => self.epoch = self.epoch.max(epoch),
            Fact::Consent(consent) => (self.consented, self.grants) = (consent.confirmations, consent.grants),
            Fact::Told { n, event } => {
                self.told = self.told.max(n);
                if let Event::Finished { summary, .. } = *event {
                    self.ended = Some(summary);
                }
            }
            Fact::Enter { place, phase } => self.place(&place).marks.push_back(Mark::Enter(phase)),
            Fact::Left { place, phase, returned, error } => self.place(&place).marks.push_back(Mark::Left(phase, returned, error)),
            Fact::Call(call) => {
                let past = self.place(&call.place);
                past.open.clear();
                past.calls.push((*call).clone());
                past.marks.push_back(Mark::Call(call));
            }
            Fact::Intent { place, intent } => self.intended(&place, *intent),
            Fact::Outcome { op, outcome } => self.became(&op, &outcome),
            Fact::Items { place, items } => drop(self.items.insert(place, items)),
            Fact::Ended { place, verdict, end, state } => {
                if let Some(state) = state {
                    self.state = state;
                }
                let past = self.place(&place);
                past.verdict = verdict;
                let failed = matches!(end, Some(StepEnd::Failed { .. } | StepEnd::Unknown { .. }));
                past.end = end;
                if failed {
                    past.failed();
                }
            }
            Fact::Drift { .. } | Fact::Signal { .. } | Fact::Script { .. } => {}
        }
    }

    fn intended(&mut self, place: &str, intent: Intent) {
        let number = intent.op.split('/').nth(1).and_then(|number| number.parse().ok()).unwrap_or(0);
        self.operations = self.operations.max(number);
        let past = self.place(place);
        past.open.retain(|open| open.intent.op != intent.op);
        past.writes.retain(|open| open.intent.op != intent.op);
        let open = Open { intent, outcome: None };
        past.open.push(open.clone());
        past.writes.push(open);
    }

    fn became(&mut self, op: &str, outcome: &Outcome) {
        let mut written = None;
        for (place, past) in &mut self.places {
            for open in past.open.iter_mut().chain(past.writes.iter_mut()).filter(|open| open.intent.op == op) {
                open.outcome = Some(outcome.clone());
                written = Some((place.clone(), open.intent.clone()));
            }
        }
        if let (Some((place, intent)), Outcome::Made { after }) = (written, outcome) {
            self.wrote(place, intent, after.clone());
        }
    }

    fn wrote(&mut self, place: String, intent: Intent, after: Option<Arc<Json>>) {
        if matches!(intent.sign, Sign::Elsewhere) || intent.key.verb == "evict" {
            return;
        }
        let (target, part) = (intent.object().to_owned(), intent.key.part.filter(|_| matches!(intent.sign, Sign::Fields(_))));
        let same = |written: &Written| written.target == target && written.part == part;
        let former = self.written.iter().position(same).map(|at| self.written.remove(at));
        let mut paths = former.map(|former| former.paths).unwrap_or_default();
        if let (Some(Prior::Was(prior)), Some(after)) = (&intent.prior, &after) {
            paths.extend(changes(prior, after).into_iter().map(|change| change.path));
        }
        self.written.push(Written { target, part, place, paths, after });
    }
}
