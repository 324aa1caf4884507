//! The hand on one machine: what is read there, by a program or by the operator.

use crate::base::{Error, Kind, Reason, Result, Span};
use crate::cluster::keep::Elsewhere;
use crate::cluster::machines::{Command, Machines, Output, Reached, line};
use crate::primitives::cx::{AskOptions, Cx};
use crate::primitives::types::NodeRef;

/// How long a reading command may take when nobody says otherwise.
const READS: Span = Span::from_secs(30);
/// How long a machine that does not answer is asked again before a read gives up.
const PATIENCE: Span = Span::from_secs(30);
/// What the operator types before several lines, and after them.
const SEVERAL: &str = "<<";
const LAST: &str = ".";
/// How many lines may be typed at most.
const LINES: usize = 1000;
/// Between two tries.
const PAUSE: Span = Span::from_secs(2);

/// One machine and the way to it.
pub(super) struct Hand {
    pub(super) cx: Cx,
    /// The name of its node.
    pub(super) node: String,
    pub(super) machines: Machines,
}

impl Hand {
    /// The machine of a node. In a plan and a simulated cluster the node must be there; a real machine may be needed while no API server
    /// answers, and is found by its own address.
    pub(super) async fn on(cx: &Cx, node: &NodeRef) -> Result<Hand> {
        let machines = cx.cluster.machines()?;
        let label = cx.cluster.label();
        if label.plan || label.simulated {
            let target = cx.target(&node.0, None).await?;
            drop(cx.read(&target).await?);
        }
        Ok(Hand { cx: cx.clone(), node: node.0.name.clone(), machines })
    }

    /// Something that changes this machine is about to begin: its operation, which is the same when an interrupted call is made anew, and
    /// what was noted of it then.
    pub(super) fn operation(&self, what: &str) -> Elsewhere {
        self.cx.cluster.begin_elsewhere("machine", &format!("node/{}", self.node), Some(what))
    }

    /// The words of a reading command and its output, however it ended.
    pub(super) async fn output(&self, words: &[&str], sudo: bool) -> Result<Output> {
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        self.read(&Command { words, stdin: None, sudo }, None).await
    }

    /// The standard output of a reading command that must end well.
    pub(super) async fn text(&self, words: &[&str], sudo: bool) -> Result<String> {
        let output = self.output(words, sudo).await?;
        if output.code == 0 && !output.late {
            return Ok(output.stdout);
        }
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        Err(super::failed(self, &words, &output))
    }

    /// Runs a reading command. A machine that is not there is asked again for a while.
    pub(super) async fn read(&self, command: &Command, limit: Option<Span>) -> Result<Output> {
        let Machines::Reached(reached) = &self.machines else { return self.asked(command).await };
        let last = PATIENCE.after(self.cx.now());
        loop {
            match reached.read(&self.node, command, limit.unwrap_or(READS)).await {
                Err(error) if error.reason == Reason::Unreachable && self.cx.now() < last => self.pause(PAUSE).await?,
                other => return other,
            }
        }
    }

    /// Waits a little; Ctrl-C ends it.
    pub(super) async fn pause(&self, span: Span) -> Result<()> {
        let cancel = self.cx.cluster.cancel();
        tokio::select! {
            biased;
            () = cancel.reached(crate::cluster::Stage::Stopping) => Err(crate::cluster::Cancel::error()),
            slept = self.cx.clock().sleep(span) => slept,
        }
    }

    /// Ends the work on this machine: what was put on the cluster to reach it goes, whatever came of the work.
    pub(super) async fn leave<T>(&self, result: Result<T>) -> Result<T> {
        let Machines::Reached(reached) = &self.machines else { return result };
        match (reached.leave(&self.node).await, result) {
            (Err(error), Ok(_)) => Err(error),
            (Err(error), Err(first)) => Err(first.cause(error.to_string())),
            (Ok(()), result) => result,
        }
    }

    /// The way, where there is one.
    pub(super) fn reached(&self) -> Option<&Reached> {
        match &self.machines {
            Machines::Reached(reached) => Some(reached),
            Machines::Manual => None,
        }
    }

    /// The operator runs it and types what it said.
    async fn asked(&self, command: &Command) -> Result<Output> {
        self.cx.cluster.may_touch_machines(false, || format!("`{}` on `{}`", line(&command.words), self.node))?;
        let words = line(&command.words);
        let question = format!(
            "On `{}`{}: run `{words}` and type what it says (`exit N` when it fails, `{SEVERAL}` before several lines)",
            self.node,
            if command.sudo { ", as root" } else { "" },
        );
        let options = AskOptions { choices: Vec::new(), default: Some(String::new()) };
        let said = self.cx.talk.ask(&question, &options).await?;
        if said.trim() == SEVERAL {
            return self.lines(&words).await;
        }
        Ok(match said.trim().strip_prefix("exit ").and_then(|code| code.trim().parse().ok()) {
            Some(code) => Output { code, ..Output::default() },
            None if said.is_empty() => Output::default(),
            None => Output { stdout: format!("{said}\n"), ..Output::default() },
        })
    }

    /// Several lines that a command said, one after another: they may be pasted.
    async fn lines(&self, words: &str) -> Result<Output> {
        let options = AskOptions { choices: Vec::new(), default: Some(String::new()) };
        let mut stdout = String::new();
        // Each question is another one: a run that goes on gives each its own answer again.
        for number in 1..=LINES {
            let question = format!("`{words}` on `{}`, line {number} (`{LAST}` after the last)", self.node);
            let said = self.cx.talk.ask(&question, &options).await?;
            if said.trim() == LAST {
                return Ok(Output { stdout, ..Output::default() });
            }
            stdout.push_str(&said);
            stdout.push('\n');
        }
        Err(Error::usage(format!("`{words}` on `{}`: more than {LINES} lines were typed", self.node))
            .hint("reach the machines by `--machines ssh` for what says so much"))
    }

    /// The operator does something and says how it ended.
    pub(super) async fn done_by_hand(&self, what: &str) -> Result<i32> {
        self.cx.cluster.may_touch_machines(true, || format!("`{what}` on `{}`", self.node))?;
        let question = format!("On `{}`, as root: {what}; then type its exit code", self.node);
        let options = AskOptions { choices: Vec::new(), default: Some("0".to_owned()) };
        let said = self.cx.talk.ask(&question, &options).await?;
        said.trim().parse().map_err(|_| {
            Error::new(Kind::Input, Reason::Usage, format!("`{}` is no exit code", said.trim().escape_default()))
                .hint("type 0 when it went well")
        })
    }
}
