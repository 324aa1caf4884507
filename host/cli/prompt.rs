//! Asking the operator on the terminal. The line is read on a thread of its own, so that Ctrl-C at a question ends the run.

use std::cell::RefCell;
use std::io::{self, IsTerminal as _, stdin};
use std::rc::Rc;

use futures::future::LocalBoxFuture;
use tokio::sync::oneshot;

use super::interrupt;
use crate::base::{Error, Result};
use crate::cluster::{Cancel, Stage};
use crate::primitives::AskOptions;
use crate::report::{Screen, escape};
use crate::run::{Confirmation, Operator};

/// The person at the terminal, or nobody.
pub(super) struct Prompter {
    screen: Rc<Screen>,
    cancel: Cancel,
    there: bool,
    /// A line that was being read when the question was answered elsewhere: it is the answer to the next one.
    reading: RefCell<Option<Reading>>,
}

type Reading = oneshot::Receiver<io::Result<Option<String>>>;

/// Keeps a line that nobody waits for any more.
struct Kept<'a> {
    at: &'a RefCell<Option<Reading>>,
    reading: Option<Reading>,
}

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        *self.at.borrow_mut() = self.reading.take();
    }
}

impl Prompter {
    /// Somebody is there when standard input is a terminal.
    #[must_use]
    pub(super) fn new(screen: Rc<Screen>, cancel: Cancel) -> Prompter {
        Prompter { screen, cancel, there: stdin().is_terminal(), reading: RefCell::default() }
    }

    /// Whether somebody can be asked, and hears the question.
    #[must_use]
    pub(super) fn is_there(&self) -> bool {
        self.there && !interrupt::is_hung_up() && self.screen.is_heard() && stdin().is_terminal()
    }

    fn begin_line(&self) -> Result<Reading> {
        let (sender, receiver) = oneshot::channel();
        let reader = std::thread::Builder::new().name("prompt".to_owned()).spawn(move || {
            let mut line = String::new();
            let read = stdin().read_line(&mut line).map(|length| (length > 0).then_some(line));
            // Nobody listens any more when the question was interrupted.
            sender.send(read).ok();
        });
        reader.map_err(|error| Error::internal("asking the operator").cause(error.to_string()))?;
        Ok(receiver)
    }

    /// Reads one line; `None` at the end of the input, and when the terminal goes away.
    async fn line(&self, prompt: &str) -> Result<Option<String>> {
        self.screen.prompt(prompt);
        let begun = self.reading.borrow_mut().take();
        let reading = Some(begun.map_or_else(|| self.begin_line(), Ok)?);
        let mut kept = Kept { at: &self.reading, reading };
        let Some(reading) = &mut kept.reading else { return Ok(None) };
        let read = tokio::select! {
            biased;
            () = self.cancel.reached(Stage::Stopping) => {
                self.screen.talk("");
                return Err(Cancel::error());
            }
            () = interrupt::hung_up() => return Ok(None),
            read = reading => read,
        };
        kept.reading = None;
        match read {
            Ok(Ok(line)) => {
                if line.is_none() {
                    // Ctrl-D leaves the cursor behind the question.
                    self.screen.talk("");
                }
                Ok(line)
            }
            Ok(Err(_)) if !self.is_there() => Ok(None),
            Ok(Err(error)) => Err(Error::internal("reading the answer").cause(error.to_string())),
            Err(_) => Ok(None),
        }
    }

    /// Asks for yes or no; just Enter and Ctrl-D are no.
    ///
    /// # Errors
    /// When the terminal fails, or on Ctrl-C.
    pub(super) async fn yes_or_no(&self, question: &str) -> Result<Option<bool>> {
        if !self.is_there() {
            return Ok(None);
        }
        loop {
            let Some(line) = self.line(&format!("{} [y/N] ", escape::lines(question))).await? else {
                // Who has no terminal any more has not said no.
                return Ok(self.is_there().then_some(false));
            };
            match line.trim().to_lowercase().as_str() {
                "y" | "yes" => return Ok(Some(true)),
                "" | "n" | "no" => return Ok(Some(false)),
                other => self.screen.talk(&format!("`{}` is neither yes nor no", escape::line(other))),
            }
        }
    }

    async fn text(&self, question: &str, options: &AskOptions) -> Result<Option<String>> {
        if !self.is_there() {
            return Ok(None);
        }
        let choices = if options.choices.is_empty() { String::new() } else { format!(" ({})", options.choices.join(", ")) };
        let default = options.default.as_ref().map(|default| format!(" [{default}]")).unwrap_or_default();
        let prompt = format!("{}{}{} ", escape::lines(question), escape::line(&choices), escape::line(&default));
        loop {
            let Some(line) = self.line(&prompt).await? else { return Ok(None) };
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

impl Operator for Prompter {
    fn confirm<'a>(&'a self, question: &'a Confirmation) -> LocalBoxFuture<'a, Result<Option<bool>>> {
        Box::pin(self.yes_or_no(&question.question))
    }

    fn ask<'a>(&'a self, question: &'a Confirmation, options: &'a AskOptions) -> LocalBoxFuture<'a, Result<Option<String>>> {
        Box::pin(self.text(&question.question, options))
    }
}
