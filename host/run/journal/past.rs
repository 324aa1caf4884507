//! What a journal says of the past of a run, in the form in which going on needs it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::entry::{Entry, Fact, Finished, Header};
use crate::base::clock::{Duration, between};
use crate::base::diff::changes;
use crate::base::json::Value as Json;
use crate::base::{Error, Timestamp, Value};
use crate::cluster::keep::{Intent, Open, Outcome, Prior, Sign};
use crate::cluster::permit::{Line, Planned};
use crate::primitives::{self, Effect};
use crate::run::event::{Confirmation, Event, StepEnd, Summary, Verdict};
use crate::run::runbook::{Phase, State};
use crate::run::script::{Call, Returned};

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
    /// When the writes of its last minute were made.
    pub newest: Vec<Timestamp>,
    /// The source that it went on with, where that is not the one that it began with.
    pub script: Option<Pinning>,
    /// How many events the transcript was told.
    pub told: u64,
    /// The last moment that the journal knows.
    pub last: Option<Timestamp>,
    /// What the accepted plan granted.
    pub grants: Option<Planned>,
    /// What a person allowed beside that.
    pub granted: Vec<Line>,
    /// The gates that were answered with yes, by their steps, with their questions.
    pub passed: BTreeMap<String, String>,
    /// The digests of the charts that it used, by their ids.
    pub charts: BTreeMap<String, String>,
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
    /// `state` as each batch of several items found it, by the step or group and the number of its first item.
    pub batches: BTreeMap<(String, usize), State>,
    /// How it ended, when its last process came to an end.
    pub ended: Option<Summary>,
    /// What it wrote last to each object of the API, in the order of the last write.
    pub written: Vec<Written>,
}

/// How long a write counts for the limit of writes per minute.
const MINUTE: Duration = Duration::from_secs(60);

/// A source that a run goes on with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pinning {
    /// Its number among the sources of the run; the one that it began with is 1.
    pub number: usize,
    /// Where it was found.
    pub source: String,
    /// The word that finds it again; none in the journals of older versions.
    pub word: Option<String>,
    /// SHA-256 of every file by its name.
    pub files: BTreeMap<String, String>,
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
    /// What it changed of `state`.
    pub changed: Vec<(String, Option<Value>)>,
    /// What happened since its present attempt began, in order.
    pub marks: VecDeque<Mark>,
    /// The writes of the call that was not over, and those of calls that failed without anybody knowing what became of them.
    pub open: Vec<Pending>,
    /// Every write that it made, in order, with what became of it.
    pub writes: Vec<Open>,
    /// Every call that is over, in order: also those of former attempts.
    pub calls: Vec<Finished>,
}

/// A write of which the record does not say what became of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Pending {
    /// The write.
    pub open: Open,
    /// The call that failed over it; none for the call that was not over.
    pub call: Option<Call>,
    /// Whether the call will be made anew; otherwise its error is given again, and the write counts for a rollback only.
    pub again: bool,
}

impl Pending {
    /// Whether the record says what became of it.
    #[must_use]
    pub fn is_known(&self) -> bool {
        matches!(self.open.outcome, Some(Outcome::Made { .. } | Outcome::NotMade { .. }))
    }
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

    /// Whether it was done; what its `when` left out is over, too, and nothing was done there.
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(self.end, Some(StepEnd::Done { .. }))
    }

    /// The writes that a call made anew comes to, and those of which nobody knows.
    pub(crate) fn unmet(&self) -> impl Iterator<Item = &Pending> {
        self.open.iter().filter(|pending| pending.again || !pending.is_known())
    }

    /// It is done again from its beginning: what it did before counts for a rollback only.
    fn again(&mut self) {
        (self.verdict, self.end) = (None, None);
        self.changed.clear();
        self.marks.clear();
        self.open.iter_mut().for_each(|pending| pending.again = false);
    }

    /// A call is over. What became of its writes is known; not so when it failed because nobody knows: then they stay open, and are looked at
    /// when it is made anew, or when the run is taken back.
    fn over(&mut self, call: &mut Finished) {
        let failed = call.error.is_some();
        let Finished { call: its, reread, writes, .. } = call;
        self.open.retain_mut(|pending| {
            let is_its = pending.again && pending.call.as_ref().is_none_or(|of| of.same(its));
            if !is_its {
                return true;
            }
            let known = pending.is_known();
            if reread.is_some() && matches!(pending.open.outcome, Some(Outcome::Made { .. })) {
                writes.push(pending.open.clone());
            }
            (pending.call, pending.again) = (Some(its.clone()), false);
            failed && !known
        });
    }

    /// After an attempt that failed: what of it counts for the next one. The calls of its body (`run`, of a rollback `rollback`) that are over give their results again, up to
    /// the last that wrote or asked; what was only read after that is read anew, because it led to the error.
    fn failed(&mut self, body: Phase) {
        let mut calls: Vec<Box<Finished>> = Vec::new();
        let mut anew: Vec<Box<Finished>> = Vec::new();
        let (mut inside, mut entered) = (false, false);
        for mark in std::mem::take(&mut self.marks) {
            match mark {
                Mark::Enter(phase) if phase == body => {
                    // Entered again: what is recorded goes on where the first attempt stopped.
                    anew.extend(calls.pop_if(|call| call.error.is_some()));
                    (inside, entered) = (true, true);
                }
                Mark::Enter(_) => inside = false,
                Mark::Call(call) if inside => calls.push(call),
                Mark::Call(call) => anew.push(call),
                // What `when` said stands.
                Mark::Left(Phase::When, returned, error) => {
                    self.marks.extend([Mark::Enter(Phase::When), Mark::Left(Phase::When, returned, error)])
                }
                Mark::Left(..) => {}
            }
        }
        while let Some(call) = calls.pop_if(|call| call.error.is_some() || effect(call) == Effect::Read) {
            anew.push(call);
        }
        for pending in &mut self.open {
            pending.again |= pending.call.as_ref().is_some_and(|call| anew.iter().any(|anew| anew.call.same(call)));
        }
        // One that failed before its body, at its gate, comes to that again.
        if entered {
            self.marks.push_back(Mark::Enter(body));
        }
        self.marks.extend(calls.into_iter().map(Mark::Call));
    }
}

/// What of `state` is no longer as it was; none is gone.
pub(crate) fn changed_state(before: &State, after: &State) -> Vec<(String, Option<Value>)> {
    let gone = before.keys().filter(|name| !after.contains_key(*name)).map(|name| (name.clone(), None));
    let set =
        after.iter().filter(|(name, value)| before.get(*name) != Some(value)).map(|(name, value)| (name.clone(), Some(value.clone())));
    gone.chain(set).collect()
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
            if matches!(entry.fact, Fact::Intent { .. }) {
                past.newest.push(entry.at);
                past.newest.retain(|at| between(*at, entry.at) < MINUTE);
            }
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
            Fact::Told { n, event, .. } => {
                self.told = self.told.max(n);
                if let Event::Finished { summary, .. } = *event {
                    self.ended = Some(summary);
                }
            }
            Fact::Enter { place, phase } => self.place(&place).marks.push_back(Mark::Enter(phase)),
            Fact::Left { place, phase, returned, error } => self.place(&place).marks.push_back(Mark::Left(phase, returned, error)),
            Fact::Granted { grant } => self.granted.push(grant),
            Fact::Passed { place, question } => drop(self.passed.insert(place, question)),
            Fact::Chart(pin) => drop(self.charts.insert(pin.id, pin.digest)),
            Fact::Call(mut call) => {
                let past = self.place(&call.place);
                past.over(&mut call);
                past.calls.push((*call).clone());
                past.marks.push_back(Mark::Call(call));
            }
            Fact::Intent { place, intent } => self.intended(&place, *intent),
            Fact::Outcome { op, outcome } => self.became(&op, &outcome),
            Fact::Batch { place, first, state } => drop(self.batches.insert((place, first), state)),
            Fact::Items { place, items } => drop(self.items.insert(place, items)),
            Fact::Ended { place, verdict, end, state } => {
                let is_rollback = self.header.as_ref().is_some_and(|header| header.what == "rollback");
                let mut changed = Vec::new();
                if let Some(state) = state {
                    changed = changed_state(&self.state, &state);
                    self.state = state;
                }
                let past = self.place(&place);
                past.changed = changed;
                past.verdict = verdict;
                let failed = matches!(end, Some(StepEnd::Failed { .. } | StepEnd::Unknown { .. }));
                past.end = end;
                if failed {
                    past.failed(if is_rollback { Phase::Rollback } else { Phase::Run });
                }
            }
            Fact::Again { place } => {
                // Done again as a whole, it asks again.
                self.passed.remove(&place);
                self.again(&place);
            }
            Fact::Script { source, word, files } => {
                let number = self.script.as_ref().map_or(1, |script| script.number) + 1;
                self.script = Some(Pinning { number, source, word, files });
            }
            Fact::Drift { .. } | Fact::Signal { .. } | Fact::TakenBack { .. } => {}
        }
    }

    /// The writes of a step of which nobody knows what became of them.
    pub(crate) fn unsettled(&self, place: &str) -> Vec<Open> {
        let open = self.places.get(place).into_iter().flat_map(|place| &place.open);
        open.filter(|pending| !pending.is_known()).map(|pending| pending.open.clone()).collect()
    }

    /// A step is done again from its beginning.
    pub(crate) fn again(&mut self, place: &str) {
        self.places.get_mut(place).into_iter().for_each(PlacePast::again);
    }

    fn intended(&mut self, place: &str, intent: Intent) {
        let number = intent.op.split('/').nth(1).and_then(|number| number.parse().ok()).unwrap_or(0);
        self.operations = self.operations.max(number);
        let past = self.place(place);
        past.open.retain(|pending| pending.open.intent.op != intent.op);
        past.writes.retain(|open| open.intent.op != intent.op);
        // Tried again: the try that was refused is none that a call made anew comes to.
        let refused = |open: &Open| open.intent.key == intent.key && matches!(open.outcome, Some(Outcome::NotMade { .. }));
        past.open.retain(|pending| !refused(&pending.open));
        let open = Open { intent, outcome: None };
        past.open.push(Pending { open: open.clone(), call: None, again: true });
        past.writes.push(open);
    }

    fn became(&mut self, op: &str, outcome: &Outcome) {
        let mut written = None;
        for (place, past) in &mut self.places {
            let pending = past.open.iter_mut().map(|pending| &mut pending.open);
            for open in pending.chain(past.writes.iter_mut()).filter(|open| open.intent.op == op) {
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
        // What is deleted may be on its way out for a while: it is gone all the same.
        let after = after.filter(|_| intent.key.verb != "delete");
        let former = self.written.iter().position(same).map(|at| self.written.remove(at));
        let mut paths = former.map(|former| former.paths).unwrap_or_default();
        if let (Some(Prior::Was(prior)), Some(after)) = (&intent.prior, &after) {
            paths.extend(changes(prior, after).into_iter().map(|change| change.path));
        }
        self.written.push(Written { target, part, place, paths, after });
    }
}

/// Whether a call that wrote this can be made anew for what it gives: each write is met where it was made, and the object is still there.
pub(super) fn can_be_met(writes: &[Open]) -> bool {
    let is_object = |open: &Open| matches!(open.intent.key.verb.as_str(), "create" | "patch" | "update");
    !writes.is_empty() && writes.iter().all(|open| is_object(open) && !matches!(open.intent.sign, Sign::Elsewhere))
}
