//! The protocol over any way that can hand a short script to `/bin/sh` on a machine.

use std::cell::Cell;

use futures::future::LocalBoxFuture;

use super::script::{Answer, Missing, Script};
use super::{Command, File, Operation, Output, Progress, Transport, line};
use crate::base::json::json;
use crate::base::{Error, Kind, Reason, Result, Span};

/// How long a script may take that only begins, asks or writes.
const SHORT: Span = Span::from_secs(60);

/// What came of a script.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    /// The exit code of the way, when it tells one.
    pub(super) code: Option<i32>,
    /// What the machine said.
    pub(super) stdout: String,
    /// What the machine or the way said beside.
    pub(super) stderr: String,
    /// Whether the time was over.
    pub(super) late: bool,
}

/// A way to hand a script to the shell of a machine.
pub(super) trait Shell {
    /// Hands it over; gives what was said, however it ended.
    fn say<'a>(&'a self, node: &'a str, script: &'a Script, limit: Span) -> LocalBoxFuture<'a, Result<Said>>;
    /// Why there is no answer in what was said.
    fn explain(&self, node: &str, said: &Said, missing: Missing) -> Error;
    /// Takes away what was put on the cluster.
    fn leave<'a>(&'a self, node: &'a str) -> LocalBoxFuture<'a, Result<()>>;
}

/// Machines behind such a way.
pub(super) struct Remote<S> {
    pub(super) shell: S,
    /// The run, in the names of reads.
    run: String,
    reads: Cell<u64>,
}

impl<S: Shell> Remote<S> {
    pub(super) fn new(shell: S, run: String) -> Remote<S> {
        Remote { shell, run, reads: Cell::new(0) }
    }

    async fn ask(&self, node: &str, script: &Script, limit: Span) -> Result<Answer> {
        let said = self.shell.say(node, script, limit).await?;
        match script.answer(&said.stdout) {
            Ok(Answer::Fault(why)) => {
                let message = format!("machine of node `{node}`: {}", why.trim());
                Err(Error::new(Kind::Cluster, Reason::Invalid, message).about(format!("node/{node}")))
            }
            Ok(answer) => Ok(answer),
            Err(missing) => Err(self.shell.explain(node, &said, missing)),
        }
    }

    fn strange(&self, node: &str, answer: &Answer) -> Error {
        Error::internal(format!("machine of node `{node}` answered something else than it was asked")).cause(format!("{answer:?}"))
    }
}

/// No answer, and a machine that may be there a moment later.
pub(super) fn unreachable(node: &str, what: &str, missing: Missing) -> Error {
    let error = Error::new(Kind::Cluster, Reason::Unreachable, format!("machine of node `{node}`: {what}")).about(format!("node/{node}"));
    match missing {
        Missing::NotBegun => error,
        Missing::Cut => error.details(json!({ "outcome": "unknown" })),
    }
}

/// Words that cannot be handed to a program.
fn possible(node: &str, command: &Command) -> Result<()> {
    let bad = command.words.iter().chain(&command.stdin).find(|text| text.contains('\0'));
    match bad {
        Some(_) => {
            Err(Error::usage(format!("`{}` on `{node}`: a NUL cannot be given to a program", line(&command.words).replace('\0', "\\0"))))
        }
        None => Ok(()),
    }
}

impl<S: Shell> Transport for Remote<S> {
    fn read<'a>(&'a self, node: &'a str, command: &'a Command, limit: Span) -> LocalBoxFuture<'a, Result<Output>> {
        Box::pin(async move {
            possible(node, command)?;
            self.reads.set(self.reads.get() + 1);
            let script = Script::reading(format!("{}/read/{}", self.run, self.reads.get()), command, limit);
            match self.ask(node, &script, limit.plus(SHORT)).await? {
                Answer::Ended(output) => Ok(output),
                other => Err(self.strange(node, &other)),
            }
        })
    }

    fn begin<'a>(&'a self, node: &'a str, operation: &'a Operation) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async move {
            possible(node, &operation.command)?;
            let script = Script::starting(operation);
            match self.ask(node, &script, SHORT).await? {
                Answer::Begun => Ok(()),
                other => Err(self.strange(node, &other)),
            }
        })
    }

    fn look<'a>(&'a self, node: &'a str, operation: &'a Operation) -> LocalBoxFuture<'a, Result<Progress>> {
        Box::pin(async move {
            let script = Script::looking(&operation.id, operation.command.sudo, operation.limit);
            match self.ask(node, &script, SHORT).await? {
                Answer::Ended(output) => Ok(Progress::Ended(output)),
                Answer::At(progress) => Ok(progress),
                other => Err(self.strange(node, &other)),
            }
        })
    }

    fn write<'a>(&'a self, node: &'a str, file: &'a File) -> LocalBoxFuture<'a, Result<Option<String>>> {
        Box::pin(async move {
            if file.path.contains('\0') || file.text.contains('\0') {
                return Err(Error::usage(format!("`{}` on `{node}`: a NUL cannot be written", file.path.replace('\0', "\\0"))));
            }
            let script = Script::writing(file);
            match self.ask(node, &script, SHORT).await? {
                Answer::Written(former) => Ok(former),
                other => Err(self.strange(node, &other)),
            }
        })
    }

    fn leave<'a>(&'a self, node: &'a str) -> LocalBoxFuture<'a, Result<()>> {
        self.shell.leave(node)
    }
}
