//! What calls at the prompt say while they go: writes, waits, notes, and questions, which count as yes on a copy.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use futures::future::LocalBoxFuture;

use super::pending::Pending;
use crate::base::{Error, Kind, Reason, Result, Span};
use crate::cluster::Cluster;
use crate::primitives::{self, AskOptions, Done, Effect, Progress, Talk, Wrote};
use crate::report::{Screen, Transcript, escape};
use crate::run::event::AnsweredBy;
use crate::run::journal::Redactor;
use crate::run::{Again, Call, Calls, Confirmation, Event, Known, Record};

/// Shows what happens as the transcript of a plan would.
pub(super) struct Reporter {
    screen: Rc<Screen>,
    cluster: Cluster,
    transcript: RefCell<Transcript>,
    seq: Cell<u64>,
    /// Whether the running call writes.
    writing: Cell<bool>,
    /// Waits that ended inside a call that writes: they are told after the write.
    held: RefCell<Vec<Event>>,
    /// Writes of the running call that it told when it made them.
    told: RefCell<Vec<Wrote>>,
    /// Takes down what is not done on the cluster itself.
    pending: Rc<Pending>,
    /// How often each question was asked.
    asked: RefCell<BTreeMap<String, usize>>,
    /// Learns of the secrets that are met; the screen shows nothing of them.
    secrets: Rc<Redactor>,
}

impl Reporter {
    pub(super) fn new(screen: Rc<Screen>, cluster: Cluster, pending: Rc<Pending>, secrets: Rc<Redactor>) -> Reporter {
        let transcript = RefCell::new(Transcript::new(screen.talk_paint));
        Reporter {
            screen,
            cluster,
            transcript,
            seq: Cell::new(0),
            writing: Cell::new(false),
            held: RefCell::default(),
            told: RefCell::default(),
            pending,
            asked: RefCell::default(),
            secrets,
        }
    }

    /// How a write is known that was just made.
    fn known(&self) -> Known {
        if self.cluster.admitted() { Known::Admitted } else { Known::Modelled }
    }

    /// Takes down a question, and the answer that it has on a copy.
    fn keep_question(&self, question: &str, answer: &str, known: Known) {
        let mut asked = self.asked.borrow_mut();
        let occurrence = asked.entry(question.to_owned()).or_default();
        *occurrence += 1;
        let confirmation = Confirmation { at: "prompt".to_owned(), question: question.to_owned(), occurrence: *occurrence };
        let answer = Some(answer.to_owned());
        self.pending.keep(&Event::Asked { confirmation, answer, by: AnsweredBy::Assumption, who: None, known });
    }

    fn tell(&self, event: Event) {
        self.pending.keep(&event);
        self.seq.set(self.seq.get() + 1);
        let record = Record { seq: self.seq.get(), at: self.cluster.clock().now(), item: None, event };
        let lines = self.transcript.borrow_mut().lines(&record);
        if !lines.is_empty() {
            self.screen.talk(&lines);
        }
    }
}

impl Calls for Reporter {
    fn begin(&self, call: &Call) -> Result<Option<Result<Done>>> {
        self.cluster.cancel().check()?;
        self.secrets.learn_call(&call.arguments);
        self.pending.begin(&self.cluster);
        let reads = call.options.get("read") == Some(&true.into());
        self.writing.set(primitives::find(&call.verb).is_some_and(|verb| verb.effect_in(reads) == Effect::Write));
        Ok(None)
    }

    fn end(&self, _: &Call, result: &Result<Done>) {
        if let Ok(done) = result {
            self.secrets.learn_read(&done.value.clone().into_json());
        }
        self.screen.rest();
        let told = std::mem::take(&mut *self.told.borrow_mut());
        for wrote in result.iter().flat_map(|done| &done.wrote).filter(|wrote| !told.contains(wrote)) {
            self.tell(Event::wrote(wrote, self.known()));
        }
        self.writing.set(false);
        std::mem::take(&mut *self.held.borrow_mut()).into_iter().for_each(|waited| self.tell(waited));
    }

    fn made(&self, call: &Call, result: &Result<Done>, again: Again) {
        self.pending.made(&self.cluster, call, result.as_ref().err(), again);
    }
}

impl Talk for Reporter {
    fn confirm<'a>(&'a self, question: &'a str) -> LocalBoxFuture<'a, Result<()>> {
        self.screen.talk(&format!("asks: {} (counts as yes: this is a copy)", escape::line(question)));
        self.keep_question(question, "yes", Known::Modelled);
        Box::pin(async { Ok(()) })
    }

    fn ask<'a>(&'a self, question: &'a str, options: &'a AskOptions) -> LocalBoxFuture<'a, Result<String>> {
        Box::pin(async move {
            let answer = options.default.clone().ok_or_else(|| {
                Error::new(Kind::Cluster, Reason::Unmodelled, format!("`{question}` has no default to take on a copy"))
                    .hint("give it one: `ask(question, { default = \"…\" })`")
            })?;
            self.keep_question(question, &answer, Known::Assumed);
            Ok(answer)
        })
    }

    fn manual<'a>(&'a self, text: &'a str) -> LocalBoxFuture<'a, Result<()>> {
        self.screen.talk(&format!("to be done by hand: {} (counts as done: this is a copy)", escape::line(text)));
        self.keep_question(text, "done", Known::Assumed);
        Box::pin(async { Ok(()) })
    }

    fn assume(&self, text: &str, _: Option<&Error>) {
        self.screen.talk(&format!("assumed: {}", escape::line(text)));
        self.pending.assume(text);
    }

    fn note(&self, text: &str) {
        self.screen.data(&escape::lines(text));
    }

    fn wrote(&self, wrote: &Wrote) {
        self.tell(Event::wrote(wrote, self.known()));
        self.told.borrow_mut().push(wrote.clone());
    }

    fn progress(&self, progress: Progress) {
        match progress {
            Progress::Waiting { what, state, since } if self.screen.is_live() => {
                let since = Span::between(since, self.cluster.clock().now());
                self.screen.wait(&format!("waiting  {}: {}", escape::line(&what), escape::line(&state)), since);
            }
            Progress::Delayed(delay) => {
                let text = format!("waiting  {}: {}", escape::line(&delay.what), escape::line(&delay.state));
                if self.screen.is_live() { self.screen.wait(&text, delay.waited) } else { self.screen.talk(&text) }
            }
            Progress::Waiting { .. } => {}
            Progress::Warned(text) if self.writing.get() => self.held.borrow_mut().push(Event::Warned { text }),
            Progress::Warned(text) => self.tell(Event::Warned { text }),
            Progress::Done { what, state, took } if self.writing.get() => {
                self.held.borrow_mut().push(Event::Waited { what, state, took, known: Known::Modelled });
            }
            Progress::Done { what, state, took } => self.tell(Event::Waited { what, state, took, known: Known::Modelled }),
        }
    }
}
