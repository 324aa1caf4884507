//! The prompt on the cluster itself: the person who is asked, and what is shown of what happens.

use std::cell::RefCell;
use std::rc::Rc;

use futures::future::LocalBoxFuture;

use super::complete::Completion;
use super::editor::{Message, Terminal};
use crate::base::{Result, Span};
use crate::cluster::Cancel;
use crate::primitives::AskOptions;
use crate::report::{Screen, Transcript, escape};
use crate::run::{Confirmation, Event, Job, Operator, Record, Sink, Summary};

/// Who keeps the record of what is typed on the cluster itself.
pub trait Recorder {
    /// Takes the lock of the cluster and begins a run folder.
    ///
    /// # Errors
    /// What keeps it from that; nothing was written to the cluster then.
    fn begin(&mut self, operator: Rc<dyn Operator>, sink: Rc<RefCell<dyn Sink>>) -> Result<Job>;

    /// Ends the record, and gives the lock back.
    fn end(&mut self, summary: &Summary);
}

/// The person at the prompt; nobody, where lines come from elsewhere.
pub(super) struct Person {
    pub(super) terminal: Rc<Terminal>,
    pub(super) screen: Rc<Screen>,
    pub(super) cancel: Cancel,
    pub(super) there: bool,
}

impl Person {
    /// Reads an answer with the editor; `None` at the end of the input.
    ///
    /// # Errors
    /// On Ctrl-C.
    fn line(&self, question: &str) -> Result<Option<String>> {
        self.screen.rest();
        // The editor has one line for its prompt.
        let (above, last) = question.rsplit_once('\n').map_or((None, question), |(above, last)| (Some(above), last));
        above.iter().for_each(|above| self.screen.talk(above));
        if !self.terminal.ask(last) {
            return Ok(None);
        }
        loop {
            match self.terminal.next() {
                Message::Line(line) => return Ok(Some(line)),
                Message::Interrupted => {
                    self.cancel.press();
                    return Err(Cancel::error());
                }
                Message::End | Message::Failed(_) => return Ok(None),
                Message::Incomplete(_, reply) => drop(reply.send(false)),
                Message::Complete(_, start, reply) => drop(reply.send(Completion { start, candidates: Vec::new() })),
                Message::Signature(_, reply) => drop(reply.send(None)),
            }
        }
    }

    /// Asks for yes or no; just Enter is no, and nobody says nothing.
    ///
    /// # Errors
    /// On Ctrl-C.
    pub(super) fn yes_or_no(&self, question: &str) -> Result<Option<bool>> {
        if !self.there {
            return Ok(None);
        }
        loop {
            let Some(line) = self.line(&format!("{} [y/N] ", escape::lines(question)))? else { return Ok(Some(false)) };
            match line.trim().to_lowercase().as_str() {
                "y" | "yes" => return Ok(Some(true)),
                "" | "n" | "no" => return Ok(Some(false)),
                other => self.screen.talk(&format!("`{}` is neither yes nor no", escape::line(other))),
            }
        }
    }

    fn text(&self, question: &str, options: &AskOptions) -> Result<Option<String>> {
        if !self.there {
            return Ok(None);
        }
        let choices = if options.choices.is_empty() { String::new() } else { format!(" ({})", options.choices.join(", ")) };
        let default = options.default.as_ref().map(|default| format!(" [{default}]")).unwrap_or_default();
        let question = format!("{}{}{} ", escape::lines(question), escape::line(&choices), escape::line(&default));
        loop {
            let Some(line) = self.line(&question)? else { return Ok(None) };
            let answer = match (line.trim(), &options.default) {
                ("", Some(default)) => default.clone(),
                ("", None) => continue,
                (text, _) => text.to_owned(),
            };
            if options.choices.is_empty() || options.choices.contains(&answer) {
                return Ok(Some(answer));
            }
            self.screen.talk(&format!("`{}` is none of the choices", escape::line(&answer)));
        }
    }
}

impl Operator for Person {
    fn confirm<'a>(&'a self, question: &'a Confirmation) -> LocalBoxFuture<'a, Result<Option<bool>>> {
        Box::pin(async { self.yes_or_no(&question.question) })
    }

    fn ask<'a>(&'a self, question: &'a Confirmation, options: &'a AskOptions) -> LocalBoxFuture<'a, Result<Option<String>>> {
        Box::pin(async { self.text(&question.question, options) })
    }
}

/// Shows what lines do, as the transcript of a run would; the lines themselves stand above already.
pub(super) struct Shown {
    pub(super) screen: Rc<Screen>,
    pub(super) transcript: Transcript,
}

impl Sink for Shown {
    fn record(&mut self, record: &Record) {
        match &record.event {
            Event::Started { .. } => drop(self.transcript.lines(record)),
            Event::StepStarted { .. } | Event::StepFinished { .. } | Event::Finished { .. } => {}
            Event::Note { text } => self.screen.data(&escape::lines(text)),
            Event::Waiting { what, state, since } if self.screen.is_live() => {
                let text = format!("waiting  {}: {}", escape::line(what), escape::line(state));
                self.screen.wait(&text, Span::between(*since, record.at));
            }
            Event::Delayed { what, state, waited } => {
                let text = format!("waiting  {}: {}", escape::line(what), escape::line(state));
                if self.screen.is_live() { self.screen.wait(&text, *waited) } else { self.screen.talk(&text) }
            }
            _ => {
                self.screen.rest();
                let lines = self.transcript.lines(record);
                if !lines.is_empty() {
                    self.screen.talk(&lines);
                }
            }
        }
    }
}
