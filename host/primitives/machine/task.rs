//! One command that changes a machine: begun detached, followed to its end however often the connection goes, and told.

use super::down::takes_down;
use super::hand::Hand;
use super::{end, failed};
use crate::base::json::json;
use crate::base::{Error, Kind, Reason, Result, Span, Timestamp};
use crate::cluster::machines::{Command, Operation, OperationId, Output, Progress, Reached, line};
use crate::primitives::done::{Inverse, Wrote};
use crate::primitives::pace::Pace;

/// The default of `limit`.
pub(super) const LIMIT: Span = Span::from_secs(30 * 60);
/// How long a machine that never answered is asked before the command counts as not begun.
const TO_BEGIN: Span = Span::from_secs(60);
/// How much longer than its limit a command is waited for, so that a machine that is away for a while can tell how it ended.
const BEYOND: Span = Span::from_secs(10 * 60);
/// The first and the longest pause between two looks.
const PAUSES: (Span, Span) = (Span::from_millis(250), Span::from_secs(5));
/// How often a command that may be repeated is begun anew after it was killed.
const ATTEMPTS: u32 = 3;

/// One command.
pub(super) struct Task<'a> {
    pub(super) hand: &'a Hand,
    pub(super) command: Command,
    pub(super) limit: Span,
    /// Whether it may be run anew when nobody knows how it ended.
    pub(super) idempotent: bool,
    /// What is run on the machine after it in any case.
    pub(super) finally: Option<Vec<String>>,
}

impl<'a> Task<'a> {
    /// A command as root that may be repeated.
    pub(super) fn of(hand: &'a Hand, words: &[&str]) -> Task<'a> {
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        Task { hand, command: Command { words, stdin: None, sudo: true }, limit: LIMIT, idempotent: true, finally: None }
    }

    /// What the record says it did: `run kubeadm upgrade node on w1`.
    pub(super) fn wrote(&self, inverse: Inverse) -> Wrote {
        let target = format!("{} on {}", line(&self.command.words), self.hand.node);
        Wrote { verb: "run".to_owned(), target, changes: Vec::new(), inverse }
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// Of the way to the machine; with `details.outcome` `unknown` when it was begun and nobody knows how it ended, which is told to the
    /// record before. A command that fails is none.
    pub(super) async fn run(&self) -> Result<Output> {
        let Some(reached) = self.hand.reached() else {
            self.spare_home().await?;
            return self.by_hand().await;
        };
        let mut pace = Pace::begin(&self.hand.cx, format!("{} on {}", line(&self.command.words), self.hand.node), self.whole(), None);
        let record = self.hand.operation(&line(&self.command.words));
        // One that had begun before an interruption is followed to its end.
        if record.before().is_none() {
            self.spare_home().await?;
        }
        record.intend(json!({}))?;
        let ran = self.tried(reached, &OperationId::of(record.op()), &mut pace).await;
        record.became(&ran)?;
        ran
    }

    /// A command that takes the machine down is not for the one that lockgate itself runs on.
    async fn spare_home(&self) -> Result<()> {
        if !takes_down(&self.command.words) {
            return Ok(());
        }
        let doing = format!("`{}` on `node/{}`", line(&self.command.words), self.hand.node);
        self.hand.cx.cluster.spares_home(&self.hand.node, &doing).await
    }

    /// Runs it under the name of its operation, which it may have had before an interruption: then its end is waited for, and it is not begun
    /// anew.
    async fn tried(&self, reached: &Reached, first: &OperationId, pace: &mut Pace) -> Result<Output> {
        let mut attempt = 1;
        loop {
            let id = if attempt == 1 { first.clone() } else { first.again(attempt) };
            let operation = Operation { id, command: self.command.clone(), limit: self.limit, finally: self.finally.clone() };
            self.begin(reached, &operation).await?;
            match self.follow(reached, &operation, pace).await {
                Ok(Some(output)) => {
                    pace.done(&self.hand.cx, &format!("exit code {}", output.code));
                    return Ok(output);
                }
                Ok(None) if self.idempotent && attempt < ATTEMPTS => attempt += 1,
                Ok(None) => return Err(self.unknown(self.killed(&operation.id))),
                Err(error) => return Err(self.unknown(error)),
            }
        }
    }

    /// Runs it, and a command that fails is an error.
    pub(super) async fn well(&self) -> Result<Output> {
        let output = self.run().await?;
        if output.code == 0 && !output.late { Ok(output) } else { Err(failed(self.hand, &self.command.words, &output)) }
    }

    /// The time after which it is given up: what it may take, and what a machine may be away.
    fn whole(&self) -> Span {
        self.limit.plus(BEYOND)
    }

    /// Begins it. As long as nobody knows whether it has begun it is begun again, which does nothing when it has.
    async fn begin(&self, reached: &Reached, operation: &Operation) -> Result<()> {
        let last = TO_BEGIN.after(self.hand.cx.now());
        let mut may_have_begun = false;
        loop {
            let error = match reached.begin(&self.hand.node, operation).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            let unknown = error.details.get("outcome").is_some_and(|outcome| outcome == "unknown");
            may_have_begun |= unknown;
            if error.reason != Reason::Unreachable || self.hand.cx.now() >= last {
                return Err(if may_have_begun { self.unknown(error) } else { error });
            }
            self.hand.pause(PAUSES.1).await?;
        }
    }

    /// Follows it to its end; `None` when it was killed.
    async fn follow(&self, reached: &Reached, operation: &Operation, pace: &mut Pace) -> Result<Option<Output>> {
        let cx = &self.hand.cx;
        let last = self.whole().after(pace.since());
        let mut pause = PAUSES.0;
        loop {
            let until = match reached.look(&self.hand.node, operation).await {
                Ok(Progress::Ended(output)) => return Ok(Some(output)),
                Ok(Progress::Gone { .. }) => return Ok(None),
                Ok(Progress::Running(until)) => {
                    pace.show(cx, "it runs");
                    until
                }
                // What began it was cut before it did.
                Ok(Progress::Absent) => {
                    self.begin(reached, operation).await?;
                    None
                }
                Err(error) if error.reason == Reason::Unreachable && cx.now() < last => {
                    pace.show(cx, "the machine does not answer; it goes on there");
                    None
                }
                Err(error) => return Err(error),
            };
            if cx.now() >= last {
                let message = format!("`{}` on `{}` did not end within {}", line(&self.command.words), self.hand.node, self.whole());
                return Err(Error::new(Kind::Stuck, Reason::Timeout, message));
            }
            self.pause(&mut pause, until).await?;
        }
    }

    /// Until the next look: a model knows when something happens, a machine does not.
    async fn pause(&self, pause: &mut Span, until: Option<Timestamp>) -> Result<()> {
        let now = self.hand.cx.now();
        match until {
            Some(until) => self.hand.pause(Span::between(now, until)).await,
            None => {
                self.hand.pause(*pause).await?;
                *pause = pause.plus(*pause).min(PAUSES.1);
                Ok(())
            }
        }
    }

    fn killed(&self, id: &OperationId) -> Error {
        let message = format!("`{}` on `{}` was killed on the way, or the machine went down", line(&self.command.words), self.hand.node);
        Error::new(Kind::Cluster, Reason::CommandFailed, message)
            .hint(format!("look at the machine, then run it anew; its output so far is in /var/lib/lockgate/{id} there"))
    }

    /// Nobody knows how it ended: the record has to say so.
    fn unknown(&self, mut error: Error) -> Error {
        self.hand.cx.talk.wrote(&self.wrote(Inverse::Irreversible("nobody knows how it ended".to_owned())));
        error.object = Some(format!("node/{}", self.hand.node));
        let mut details = if error.details.is_object() { error.details.clone() } else { json!({}) };
        details["outcome"] = "unknown".into();
        error.details = details;
        error
    }

    async fn by_hand(&self) -> Result<Output> {
        if let Some(stdin) = &self.command.stdin {
            self.hand.cx.talk.note(&format!("on `{}` the command reads:\n{}", self.hand.node, end(stdin)));
        }
        let code = self.hand.done_by_hand(&format!("run `{}`", line(&self.command.words))).await?;
        match &self.finally {
            Some(words) => {
                let then = self.hand.done_by_hand(&format!("run `{}`", line(words))).await?;
                Ok(Output { code: if code == 0 { then } else { code }, ..Output::default() })
            }
            None => Ok(Output { code, ..Output::default() }),
        }
    }
}
