//! Asking the operator on the terminal. The line is read on a thread of its own, so that Ctrl-C at a question ends the run.

use std::io::{IsTerminal as _, stdin};
use std::rc::Rc;

use futures::future::LocalBoxFuture;
use tokio::sync::oneshot;

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
}

impl Prompter {
    /// Somebody is there when standard input is a terminal.
    #[must_use]
    pub(super) fn new(screen: Rc<Screen>, cancel: Cancel) -> Prompter {
        Prompter { screen, cancel, there: stdin().is_terminal() }
    }

    /// Whether somebody can be asked.
    #[must_use]
    pub(super) fn is_there(&self) -> bool {
        self.there
    }

    /// Reads one line; `None` at the end of the input.
    async fn line(&self, prompt: &str) -> Result<Option<String>> {
        self.screen.prompt(prompt);
        let (sender, receiver) = oneshot::channel();
        let reader = std::thread::Builder::new().name("prompt".to_owned()).spawn(move || {
            let mut line = String::new();
            let read = stdin().read_line(&mut line).map(|length| (length > 0).then_some(line));
            // Nobody listens any more when the question was interrupted.
            sender.send(read).ok();
        });
        reader.map_err(|error| Error::internal("asking the operator").cause(error.to_string()))?;
        tokio::select! {
            biased;
            () = self.cancel.reached(Stage::Stopping) => {
                self.screen.talk("");
                Err(Cancel::error())
            }
            read = receiver => match read {
                Ok(Ok(line)) => {
                    if line.is_none() {
                        // Ctrl-D leaves the cursor behind the question.
                        self.screen.talk("");
                    }
                    Ok(line)
                }
                Ok(Err(error)) => Err(Error::internal("reading the answer").cause(error.to_string())),
                Err(_) => Ok(None),
            }
        }
    }

    /// Asks for yes or no; just Enter and Ctrl-D are no.
    ///
    /// # Errors
    /// When the terminal fails, or on Ctrl-C.
    pub(super) async fn yes_or_no(&self, question: &str) -> Result<Option<bool>> {
        if !self.there {
            return Ok(None);
        }
        loop {
            let Some(line) = self.line(&format!("{} [y/N] ", escape::lines(question))).await? else { return Ok(Some(false)) };
            match line.trim().to_lowercase().as_str() {
                "y" | "yes" => return Ok(Some(true)),
                "" | "n" | "no" => return Ok(Some(false)),
                other => self.screen.talk(&format!("`{}` is neither yes nor no", escape::line(other))),
            }
        }
    }

    async fn text(&self, question: &str, options: &AskOptions) -> Result<Option<String>> {
        if !self.there {
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
