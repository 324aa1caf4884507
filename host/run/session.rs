//! What a run keeps while it goes: it answers the primitives' questions, hears of every call, and tells the sink.

use std::borrow::Cow;
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use futures::future::LocalBoxFuture;
use futures::lock::Mutex;

use super::bounds::Bounds;
use super::consent::{self, Voice};
use super::event::{Confirmation, Event, Known, Record, Sink, StepEnd, Verdict, What};
use super::journal::{Book, Past, Redactor};
use super::replay::Replay;
use super::runbook::{Phase, State};
use super::script::{Call, Calls, Returned};
use super::undo::Written;
use crate::base::{Error, Reason, Result, Timestamp};
use crate::cluster::{Cluster, Delay};
use crate::primitives::{self, AskOptions, Done, Effect, Inverse, Progress, Talk, Wrote};

mod questions;

/// A call that is being made.
#[derive(Clone, Copy)]
struct Open {
    /// How many requests had been sent when it began.
    sent: usize,
    /// Whether it writes.
    writes: bool,
}

/// The record of one plan or run.
pub(super) struct Session {
    what: What,
    cluster: Cluster,
    voice: Voice,
    sink: Rc<RefCell<dyn Sink>>,
    seq: Rc<Cell<u64>>,
    /// Whether it is that of an item which is done at the same time as others.
    branch: bool,
    /// Held while somebody is asked: one question at a time.
    asking: Rc<Mutex<()>>,
    place: RefCell<String>,
    phase: Cell<Phase>,
    /// How often each text was asked at the present place.
    occurrences: RefCell<BTreeMap<String, usize>>,
    tally: Rc<RefCell<Tally>>,
    /// The calls that are being made, outermost first: a function that a verb calls may make calls inside one.
    open: RefCell<Vec<Open>>,
    /// Waits that ended inside a call that writes: they are told after the write.
    held: RefCell<Vec<Event>>,
    /// Writes of the innermost call that it told when it made them.
    told: RefCell<Vec<Wrote>>,
    bounds: Rc<Bounds>,
    /// The calls of `run` of the present step that are over.
    replay: Replay,
    /// The journal; a plan has none.
    book: Option<Rc<Book>>,
    /// What the outermost call wrote so far.
    wrote_now: RefCell<Vec<Wrote>>,
    /// Who learns of the secrets that are met.
    secrets: OnceCell<Rc<Redactor>>,
}

/// What has added up so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub(super) writes: usize,
    pub(super) objects: Vec<String>,
    /// Objects with a write whose outcome is unknown.
    pub(super) unsure: Vec<String>,
    /// By check or step, in the order of their first writes.
    pub(super) by_place: Vec<(String, Written)>,
    /// What a plan could not know, also when the script went on.
    pub(super) unknowns: Vec<String>,
    pub(super) assumptions: Vec<String>,
    pub(super) confirmations: Vec<Confirmation>,
    /// What is asked in any case.
    pub(super) gates: Vec<Confirmation>,
}

impl Tally {
    /// What an interrupted run had added up.
    fn of(past: &Past) -> Tally {
        let mut tally = Tally::default();
        for call in past.places.values().flat_map(|place| &place.calls) {
            for wrote in call.done.iter().flat_map(|done| &done.wrote).chain(&call.wrote) {
                tally.add(wrote, &call.place);
            }
        }
        tally
    }

    fn add(&mut self, wrote: &Wrote, place: &str) {
        self.writes += 1;
        if !self.objects.contains(&wrote.target) {
            self.objects.push(wrote.target.clone());
        }
        match self.by_place.iter_mut().find(|(known, _)| known == place) {
            Some((_, written)) => written.add(wrote),
            None => {
                let mut written = Written::default();
                written.add(wrote);
                self.by_place.push((place.to_owned(), written));
            }
        }
    }
}

impl Session {
    pub(super) fn new(what: What, cluster: Cluster, voice: Voice, sink: Rc<RefCell<dyn Sink>>, book: Option<Rc<Book>>) -> Rc<Session> {
        let bounds = Rc::new(Bounds::new(cluster.clock().clone()));
        let told = book.as_ref().map_or(0, |book| book.past(|past| past.told));
        let tally = book.as_ref().map_or_else(Tally::default, |book| book.past(Tally::of));
        Rc::new(Session {
            what,
            bounds,
            cluster,
            voice,
            sink,
            seq: Rc::new(Cell::new(told)),
            branch: false,
            asking: Rc::default(),
            place: RefCell::default(),
            phase: Cell::new(Phase::Title),
            occurrences: RefCell::default(),
            tally: Rc::new(RefCell::new(tally)),
            open: RefCell::default(),
            held: RefCell::default(),
            told: RefCell::default(),
            replay: Replay::default(),
            book,
            wrote_now: RefCell::default(),
            secrets: OnceCell::new(),
        })
    }

    /// The session of an item that is done at the same time as others, on branches of its cluster and journal. What adds up, adds up here.
    pub(super) fn branch(&self, cluster: Cluster, book: Option<Rc<Book>>) -> Rc<Session> {
        Rc::new(Session {
            what: self.what,
            bounds: self.bounds.clone(),
            cluster,
            voice: self.voice.clone(),
            sink: self.sink.clone(),
            seq: self.seq.clone(),
            branch: true,
            asking: self.asking.clone(),
            place: RefCell::default(),
            phase: Cell::new(Phase::Title),
            occurrences: RefCell::default(),
            tally: self.tally.clone(),
            open: RefCell::default(),
            held: RefCell::default(),
            told: RefCell::default(),
            replay: Replay::default(),
            book,
            wrote_now: RefCell::default(),
            secrets: self.secrets.clone(),
        })
    }

    pub(super) fn now(&self) -> Timestamp {
        self.cluster.clock().now()
    }

    pub(super) fn tally(&self) -> Tally {
        self.tally.borrow().clone()
    }

    /// Tells the sink.
    pub(super) fn emit(&self, event: Event) {
        self.seq.set(self.seq.get() + 1);
        let item = if self.branch { self.place.borrow().strip_prefix("step ").map(str::to_owned) } else { None };
        let record = Record { seq: self.seq.get(), at: self.now(), item, event };
        if let Some(book) = &self.book {
            book.told(&record);
        }
        self.sink.borrow_mut().record(&record);
    }

    /// A check or step begins: `check ID`, `step ID`.
    pub(super) fn begin_item(&self, place: String) {
        if let Some(simulation) = self.cluster.simulation() {
            // A tape that takes nothing more refuses what the step asks for, too.
            simulation.enter_step(place.strip_prefix("step ")).ok();
        }
        if let Some(book) = &self.book {
            book.begin_place(&place);
        }
        if let Some(step) = place.strip_prefix("step ") {
            self.cluster.now_in(step);
        }
        *self.place.borrow_mut() = place;
        self.occurrences.borrow_mut().clear();
        self.replay.clear();
    }

    /// A function of the declaration begins. `Some` is what it gave before the run was interrupted.
    ///
    /// # Errors
    /// When the record has something else here, or cannot be kept.
    pub(super) fn begin_phase(&self, phase: Phase) -> Result<Option<Result<Returned>>> {
        self.phase.set(phase);
        self.open.borrow_mut().clear();
        self.book.as_ref().map_or(Ok(None), |book| book.enter(phase))
    }

    /// It has ended.
    ///
    /// # Errors
    /// When that cannot be kept.
    pub(super) fn end_phase(&self, phase: Phase, result: &Result<Returned>) -> Result<()> {
        self.book.as_ref().map_or(Ok(()), |book| book.left(phase, result))
    }

    /// A check has its verdict.
    ///
    /// # Errors
    /// When that cannot be kept.
    pub(super) fn judged(&self, verdict: &Verdict, state: &State) -> Result<()> {
        self.book.as_ref().map_or(Ok(()), |book| book.judged(verdict, state))
    }

    /// A step has ended.
    ///
    /// # Errors
    /// When that cannot be kept.
    pub(super) fn ended(&self, end: &StepEnd, state: Option<&State>) -> Result<()> {
        let Some(book) = &self.book else { return Ok(()) };
        book.ended(end, state)?;
        if let Some(head) = book.head() {
            self.cluster.journal_is_at(&head);
        }
        Ok(())
    }

    /// `run` is entered again: calls that are over give their recorded results, the one that failed is made anew.
    pub(super) fn begin_again(&self) {
        self.replay.begin_again();
    }

    /// How what is read now is known: after the first write of a plan, everything is what the model made of it, and after the first
    /// assumption everything may rest on that.
    pub(super) fn known(&self) -> Known {
        match self.known_at_best(Known::Observed) {
            // Controllers took what could not be read for empty.
            Known::Modelled if self.what == What::Plan && !self.cluster.unknowns().is_empty() => Known::Assumed,
            known => known,
        }
    }

    /// The weaker of this and what a plan can know by now.
    fn known_at_best(&self, known: Known) -> Known {
        let tally = self.tally.borrow();
        match self.what {
            What::Run => known,
            What::Plan if !tally.assumptions.is_empty() => known.max(Known::Assumed),
            What::Plan if tally.writes > 0 && known == Known::Observed => Known::Modelled,
            What::Plan => known,
        }
    }

    /// Names the writes that were answered with success inside a call that failed after them, and those that were not answered.
    /// Only with `unsure` may one without an answer have been made: the others never left, or were looked at.
    /// `about` is what the call says it is about: the request that makes an object does not name it.
    fn half_written(&self, sent: usize, told: &[Wrote], about: &str, unsure: bool) {
        // What helm did to its objects is in what was told of the release, with the way back.
        if told.iter().any(|told| told.target.starts_with("release/")) {
            return;
        }
        let requests = self.cluster.requests_after(sent);
        for request in requests.iter().filter(|request| request.verb.is_write() && !request.dry_run) {
            let kinds = self.cluster.known_kinds();
            let (plural, group) = request.resource.split_once('.').unwrap_or((&request.resource, ""));
            let known = kinds.iter().find(|kind| kind.plural == plural && kind.group == group);
            let kind = known.map_or(plural, |kind| &kind.singular);
            let target = match &request.name {
                Some(name) => format!("{kind}/{name}"),
                None if about.split_once('/').is_some_and(|(of, name)| of == kind && !name.is_empty()) => about.to_owned(),
                None => format!("a new {kind}"),
            };
            if told.iter().any(|told| same_object(&told.target, &target)) {
                continue;
            }
            let Some(status) = request.status else {
                if !unsure {
                    continue;
                }
                let unsure = &mut self.tally.borrow_mut().unsure;
                if !unsure.contains(&target) {
                    unsure.push(target);
                }
                continue;
            };
            if (200..300).contains(&status) {
                self.wrote(&Wrote {
                    verb: request.verb.as_str().to_owned(),
                    target,
                    changes: Vec::new(),
                    inverse: Inverse::Irreversible("the call that made it failed after it".to_owned()),
                });
            }
        }
    }

    /// Lets this learn of every secret that is met, before anything is told of it.
    pub(super) fn hide(&self, secrets: Rc<Redactor>) {
        // Only the first counts: there is one for a plan or run.
        self.secrets.get_or_init(|| secrets);
    }

    /// The call as a log may show it.
    fn shown(&self, call: &Call) -> Call {
        let mut call = call.clone();
        if let Some(secrets) = self.secrets.get() {
            secrets.call(&mut call.arguments);
            secrets.json(&mut call.options);
        }
        call
    }

    fn is_writing(&self) -> bool {
        self.open.borrow().iter().any(|open| open.writes)
    }

    fn tell_held(&self) {
        let held = std::mem::take(&mut *self.held.borrow_mut());
        held.into_iter().for_each(|event| self.emit(event));
    }

    /// Whether the call that is made now was told of before: it is made again for what it gives, and writes nothing.
    fn is_given_again(&self) -> bool {
        self.book.as_ref().is_some_and(|book| book.is_given_again())
    }

    fn wrote(&self, wrote: &Wrote) {
        if self.is_given_again() {
            return;
        }
        self.tally.borrow_mut().add(wrote, &self.place.borrow());
        self.wrote_now.borrow_mut().push(wrote.clone());
        // What the server admits is better known than what is read after a write.
        let known = if self.what == What::Plan && self.cluster.admitted() { Known::Admitted } else { Known::Observed };
        self.emit(Event::wrote(wrote, self.known_at_best(known)));
    }
}

impl Calls for Session {
    fn begin(&self, call: &Call) -> Result<Option<Result<Done>>> {
        self.cluster.cancel().check()?;
        self.cluster.still_ours()?;
        self.bounds.admit(call, writes(call))?;
        if self.open.borrow().is_empty() {
            if self.phase.get() == Phase::Run
                && let Some(result) = self.replay.recorded(call)?
            {
                tracing::debug!(target: "lockgate::call", call = %self.shown(call), "given from the first attempt");
                return Ok(Some(result));
            }
            if let Some(book) = &self.book
                && let Some(result) = book.recorded(call)?
            {
                tracing::debug!(target: "lockgate::call", call = %self.shown(call), "given from the journal");
                self.asked_before(call);
                if self.phase.get() == Phase::Run {
                    self.replay.keep(call, &result);
                }
                return Ok(Some(result));
            }
            self.cluster.begin_call();
            self.wrote_now.borrow_mut().clear();
        }
        if let Some(secrets) = self.secrets.get() {
            secrets.learn_call(&call.arguments);
        }
        tracing::debug!(target: "lockgate::call", call = %self.shown(call), "called");
        self.open.borrow_mut().push(Open { sent: self.cluster.sent(), writes: writes(call) });
        Ok(None)
    }

    fn end(&self, call: &Call, result: &Result<Done>) {
        let open = self.open.borrow_mut().pop();
        if let (Some(secrets), Ok(done)) = (self.secrets.get(), result) {
            secrets.learn_read(&done.value.clone().into_json());
        }
        match result {
            Ok(done) => {
                let told = self.told.take();
                for wrote in done.wrote.iter().filter(|wrote| !told.contains(wrote)) {
                    self.wrote(wrote);
                }
                if done.wrote.is_empty() && told.is_empty() && writes(call) && !self.is_given_again() {
                    self.emit(Event::Unchanged {
                        verb: call.verb.clone(),
                        target: call.target(self.cluster.namespace()),
                        known: self.known(),
                    });
                }
            }
            Err(error) => {
                let said = error.to_string();
                let said = self.secrets.get().map_or(Cow::Borrowed(said.as_str()), |secrets| secrets.text(&said));
                tracing::debug!(target: "lockgate::call", call = %self.shown(call), error = %said, "failed");
                if self.what == What::Plan && error.reason == Reason::Unmodelled {
                    let (text, unknowns) = (error.to_string(), &mut self.tally.borrow_mut().unknowns);
                    // The script may catch it and go on: the plan is as unknown as before.
                    if !unknowns.contains(&text) {
                        unknowns.push(text);
                    }
                }
                if let Some(Open { sent, writes: true }) = open {
                    let about = call.target(self.cluster.namespace());
                    let unsure = error.details.get("outcome").is_some_and(|outcome| outcome == "unknown");
                    self.half_written(sent, &self.told.take(), &about, unsure);
                }
            }
        }
        self.tell_held();
        if self.open.borrow().is_empty() {
            if let Some(book) = &self.book {
                book.finished(self.phase.get(), call, result, self.wrote_now.take());
            }
            if self.phase.get() == Phase::Run {
                self.replay.keep(call, result);
            }
        }
    }
}

/// Whether two names are of one object, whether they say its namespace or not.
fn same_object(one: &str, other: &str) -> bool {
    let ends = |name: &str| name.split_once('/').map(|(kind, rest)| (kind.to_owned(), rest.rsplit('/').next().unwrap_or(rest).to_owned()));
    one == other || ends(one).is_some_and(|one| Some(one) == ends(other))
}

/// Whether the verb of this call is one that writes.
fn writes(call: &Call) -> bool {
    let reads = call.options.get("read") == Some(&true.into());
    primitives::find(&call.verb).is_some_and(|definition| definition.effect_in(reads) == Effect::Write)
}

impl Talk for Session {
    fn confirm<'a>(&'a self, question: &'a str) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let confirmation = self.question(question);
            self.tally.borrow_mut().confirmations.push(confirmation.clone());
            let one_at_a_time = self.asking.lock().await;
            let answer = self.voice.confirm(&confirmation).await?;
            drop(one_at_a_time);
            let word = answer.value.map(|yes| if yes { "yes" } else { "no" }.to_owned());
            self.asked(&confirmation, word, &answer);
            match answer.value {
                Some(true) => Ok(()),
                Some(false) => Err(consent::declined(question)),
                None => Err(consent::unanswered(question)),
            }
        })
    }

    fn ask<'a>(&'a self, question: &'a str, options: &'a AskOptions) -> LocalBoxFuture<'a, Result<String>> {
        Box::pin(async move {
            self.may_be_shown(options)?;
            let confirmation = self.question(question);
            let one_at_a_time = self.asking.lock().await;
            let answer = self.voice.ask(&confirmation, options).await?;
            drop(one_at_a_time);
            self.asked(&confirmation, answer.value.clone(), &answer);
            answer.value.ok_or_else(|| match self.what {
                What::Plan => consent::unforeseeable(question),
                What::Run => consent::unanswered(question),
            })
        })
    }

    fn wrote(&self, wrote: &Wrote) {
        Session::wrote(self, wrote);
        self.told.borrow_mut().push(wrote.clone());
    }

    fn manual<'a>(&'a self, text: &'a str) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let confirmation = self.question(text);
            let one_at_a_time = self.asking.lock().await;
            let answer = self.voice.word(&confirmation).await?;
            drop(one_at_a_time);
            if answer.value == Some(true) {
                self.tally.borrow_mut().assumptions.push(format!("done by hand: {text}"));
            }
            let word = answer.value.map(|done| if done { "done" } else { "no" }.to_owned());
            self.emit(Event::Asked { confirmation, answer: word, by: answer.by, who: answer.who, known: answer.known });
            match answer.value {
                Some(true) => Ok(()),
                Some(false) => Err(consent::declined(text)),
                None => Err(consent::unanswered(text)),
            }
        })
    }

    fn assume(&self, text: &str, in_place_of: Option<&Error>) {
        let mut tally = self.tally.borrow_mut();
        if let Some(unknown) = in_place_of {
            let unknown = unknown.to_string();
            tally.unknowns.retain(|known| *known != unknown);
        }
        tally.assumptions.push(text.to_owned());
        drop(tally);
        self.emit(Event::Note { text: format!("assumed: {text}") });
    }

    fn note(&self, text: &str) {
        self.emit(Event::Note { text: text.to_owned() });
    }

    fn progress(&self, progress: Progress) {
        match progress {
            Progress::Waiting { what, state, since } => self.emit(Event::Waiting { what, state, since }),
            Progress::Delayed(Delay { what, state, waited }) => self.emit(Event::Delayed { what, state, waited }),
            Progress::Warned(text) if self.is_writing() => self.held.borrow_mut().push(Event::Warned { text }),
            Progress::Warned(text) => self.emit(Event::Warned { text }),
            Progress::Done { what, state, took } if self.is_writing() => {
                // Its write comes before it; in a plan it is the model's.
                let known = if self.what == What::Plan { Known::Modelled } else { Known::Observed };
                let known = self.known_at_best(known);
                self.held.borrow_mut().push(Event::Waited { what, state, took, known });
            }
            Progress::Done { what, state, took } => self.emit(Event::Waited { what, state, took, known: self.known() }),
        }
    }
}
