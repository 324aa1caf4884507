//! What calls at the prompt say while they go: writes, waits, notes, and questions, which count as yes on a copy.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use futures::future::LocalBoxFuture;

use crate::base::{Error, Kind, Reason, Result, Span};
use crate::cluster::Cluster;
use crate::primitives::{self, AskOptions, Done, Effect, Progress, Talk, Wrote};
use crate::report::{Screen, Transcript, escape};
use crate::run::{Call, Calls, Event, Known, Record};

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
}

impl Reporter {
    pub(super) fn new(screen: Rc<Screen>, cluster: Cluster) -> Reporter {
        let transcript = RefCell::new(Transcript::new(screen.talk_paint));
        Reporter {
            screen,
            cluster,
            transcript,
            seq: Cell::new(0),
            writing: Cell::new(false),
            held: RefCell::default(),
            told: RefCell::default(),
        }
    }

    fn tell(&self, event: Event) {
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
        let reads = call.options.get("read") == Some(&true.into());
        self.writing.set(primitives::find(&call.verb).is_some_and(|verb| verb.effect_in(reads) == Effect::Write));
        Ok(None)
    }

    fn end(&self, _: &Call, result: &Result<Done>) {
        self.screen.rest();
        let told = std::mem::take(&mut *self.told.borrow_mut());
        for wrote in result.iter().flat_map(|done| &done.wrote).filter(|wrote| !told.contains(wrote)) {
            self.tell(Event::wrote(wrote, Known::Modelled));
        }
        self.writing.set(false);
        std::mem::take(&mut *self.held.borrow_mut()).into_iter().for_each(|waited| self.tell(waited));
    }
}

impl Talk for Reporter {
    fn confirm<'a>(&'a self, question: &'a str) -> LocalBoxFuture<'a, Result<()>> {
        self.screen.talk(&format!("asks: {} (counts as yes: this is a copy)", escape::line(question)));
        Box::pin(async { Ok(()) })
    }

    fn ask<'a>(&'a self, question: &'a str, options: &'a AskOptions) -> LocalBoxFuture<'a, Result<String>> {
        Box::pin(async move {
            options.default.clone().ok_or_else(|| {
                Error::new(Kind::Cluster, Reason::Unmodelled, format!("`{question}` has no default to take on a copy"))
                    .hint("give it one: `ask(question, { default = \"…\" })`")
            })
        })
    }

    fn manual<'a>(&'a self, text: &'a str) -> LocalBoxFuture<'a, Result<()>> {
        self.screen.talk(&format!("to be done by hand: {} (counts as done: this is a copy)", escape::line(text)));
        Box::pin(async { Ok(()) })
    }

    fn assume(&self, text: &str, _: Option<&Error>) {
        self.screen.talk(&format!("assumed: {}", escape::line(text)));
    }

    fn note(&self, text: &str) {
        self.screen.data(&escape::lines(text));
    }

    fn wrote(&self, wrote: &Wrote) {
        self.tell(Event::wrote(wrote, Known::Modelled));
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
