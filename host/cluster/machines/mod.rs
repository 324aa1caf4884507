//! Commands on the machines behind nodes: by SSH, by a privileged pod, by the operator's hand, or on the models of a simulated
//! cluster.
//!
//! What changes a machine runs there *detached*: it is begun under the name of its operation, goes on when the connection is gone,
//! and is asked for its end as often as needed. Beginning the same operation again does nothing, so that a lost answer is settled by
//! asking. In a plan and in a simulated cluster only models answer; nothing is run anywhere.

mod inventory;
mod pod;
mod quote;
mod script;
mod shell;
mod simulated;
mod ssh;
mod ssh_said;

use std::fmt;
use std::rc::Rc;

use futures::future::LocalBoxFuture;

pub use self::inventory::{HostKeys, Inventory, Machine, PodImage};
pub use self::quote::{line, quoted};

use lockgate_sim::model::Program;

use super::client::Cluster;
use super::layers::Access;
use crate::base::{Error, Kind, Reason, Result, Span, Timestamp};

/// The way to the machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The `ssh` of this machine.
    Ssh,
    /// A privileged pod on the node.
    Pod,
    /// The operator does it by hand.
    Manual,
}

/// How the machines of a live cluster are reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ways {
    /// The way.
    pub kind: Way,
    /// What is said about it beside.
    pub inventory: Inventory,
}

/// A command for a machine. No shell reads its words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Command {
    /// Its words; the first is the program.
    pub words: Vec<String>,
    /// Standard input; none when left out.
    pub stdin: Option<String>,
    /// Whether it runs as root.
    pub sudo: bool,
}

/// A command that runs detached, under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Its name: run and number, and how often it was begun anew.
    pub id: OperationId,
    /// The command.
    pub command: Command,
    /// How long it may take; then it is ended on the machine.
    pub limit: Span,
    /// A command that is run after it on the machine, however it ended, unless the machine itself goes down. Its exit code counts when
    /// the first one is 0.
    pub finally: Option<Vec<String>>,
}

/// The name of an operation on a machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OperationId {
    run: String,
    part: String,
}

impl OperationId {
    /// The name of the operation with this stamp, `RUN/NUMBER/EPOCH`: the same in every process of the run.
    #[must_use]
    pub fn of(stamp: &str) -> OperationId {
        let mut parts = stamp.split('/').map(str::to_owned);
        OperationId { run: parts.next().unwrap_or_default(), part: parts.next().unwrap_or_default() }
    }

    /// The same begun anew, because nobody knows how the one before ended and it may be repeated.
    #[must_use]
    pub fn again(&self, attempt: u32) -> OperationId {
        let part = self.part.split('-').next().unwrap_or_default();
        OperationId { run: self.run.clone(), part: format!("{part}-{attempt}") }
    }
}

impl fmt::Display for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.run, self.part)
    }
}

/// A file that is to be on a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// The operation that writes it.
    pub id: OperationId,
    /// Its whole path.
    pub path: String,
    /// Its text.
    pub text: String,
    /// Its mode; that of the file that it replaces, or 0644, when left out.
    pub mode: Option<u32>,
    /// Whether it is written as root.
    pub sudo: bool,
}

/// What a command gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// Its exit code.
    pub code: i32,
    /// Its standard output; bytes that are no text become replacement characters.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
    /// Whether an output was longer than 1 MiB: of a reading command the beginning is kept, of another one the end.
    pub truncated: bool,
    /// Whether its time was over and it was ended.
    pub late: bool,
}

/// Something that was begun on a machine, for the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnMachine {
    /// How many requests had been sent before it.
    pub after: usize,
    /// The node.
    pub node: String,
    /// The words of a command, or `None` for a file.
    pub words: Option<Vec<String>>,
    /// The path of a file, or `None` for a command.
    pub path: Option<String>,
    /// The operation.
    id: OperationId,
}

/// How far an operation is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It has not begun: nothing was done.
    Absent,
    /// It runs; a model knows until when.
    Running(Option<Timestamp>),
    /// It ended.
    Ended(Output),
    /// It runs no more and left no exit code: it was killed, or the machine went down.
    Gone {
        /// Whether the machine booted since it began.
        booted: bool,
    },
}

/// A way to machines. Errors are `unreachable` where the machine may be there a moment later; with `details.outcome` `unknown` when
/// what was sent may have been done.
pub(super) trait Transport {
    /// Runs a short command that changes nothing and gives its outputs.
    fn read<'a>(&'a self, node: &'a str, command: &'a Command, limit: Span) -> LocalBoxFuture<'a, Result<Output>>;
    /// Begins an operation, unless it was begun before.
    fn begin<'a>(&'a self, node: &'a str, operation: &'a Operation) -> LocalBoxFuture<'a, Result<()>>;
    /// How far an operation is.
    fn look<'a>(&'a self, node: &'a str, operation: &'a Operation) -> LocalBoxFuture<'a, Result<Progress>>;
    /// Writes a file at once and whole. What was there before is kept beside the operation; gives where, `None` when nothing was.
    fn write<'a>(&'a self, node: &'a str, file: &'a File) -> LocalBoxFuture<'a, Result<Option<String>>>;
    /// Takes away what was put on the cluster to reach this machine.
    fn leave<'a>(&'a self, node: &'a str) -> LocalBoxFuture<'a, Result<()>> {
        let _ = node;
        Box::pin(std::future::ready(Ok(())))
    }
}

/// The machines of a cluster.
#[derive(Clone)]
pub enum Machines {
    /// A program does what is asked.
    Reached(Reached),
    /// The operator does it.
    Manual,
}

/// Machines that can be reached.
#[derive(Clone)]
pub struct Reached {
    cluster: Cluster,
    transport: Rc<dyn Transport>,
}

impl Reached {
    /// Runs a short command that changes nothing.
    ///
    /// # Errors
    /// `unreachable`, `timeout`, `command_missing`, `refused`, `forbidden`; `unmodelled` in a simulated cluster. A command that fails is
    /// none.
    pub async fn read(&self, node: &str, command: &Command, limit: Span) -> Result<Output> {
        self.cluster.cancel().check()?;
        self.allowed(false, || format!("`{}` on `{node}`", line(&command.words)))?;
        self.transport.read(node, command, limit).await
    }

    /// Begins an operation, unless it was begun before.
    ///
    /// # Errors
    /// As [`Reached::read`].
    pub async fn begin(&self, node: &str, operation: &Operation) -> Result<()> {
        self.cluster.cancel().check()?;
        self.allowed(true, || format!("`{}` on `{node}`", line(&operation.command.words)))?;
        self.cluster.permits_command(node, &operation.command.words).await?;
        self.cluster.pass_fence().await?;
        self.cluster.counts_command(node, &operation.command.words)?;
        let after = self.cluster.sent();
        self.transport.begin(node, operation).await?;
        let words = Some(operation.command.words.clone());
        self.note(OnMachine { after, node: node.to_owned(), words, path: None, id: operation.id.clone() });
        Ok(())
    }

    /// How far an operation is.
    ///
    /// # Errors
    /// As [`Reached::read`].
    pub async fn look(&self, node: &str, operation: &Operation) -> Result<Progress> {
        self.transport.look(node, operation).await
    }

    /// Writes a file at once and whole, and keeps what was there; gives where.
    ///
    /// # Errors
    /// As [`Reached::read`]; `invalid` when the machine cannot write it.
    pub async fn write(&self, node: &str, file: &File) -> Result<Option<String>> {
        self.cluster.cancel().check()?;
        self.allowed(true, || format!("`{}` on `{node}`", file.path))?;
        let words = ["write".to_owned(), file.path.clone()];
        self.cluster.permits_command(node, &words).await?;
        self.cluster.pass_fence().await?;
        self.cluster.counts_command(node, &words)?;
        let after = self.cluster.sent();
        let kept = self.transport.write(node, file).await?;
        self.note(OnMachine { after, node: node.to_owned(), words: None, path: Some(file.path.clone()), id: file.id.clone() });
        Ok(kept)
    }

    /// Takes away what was put on the cluster to reach this machine.
    ///
    /// # Errors
    /// Of the API, when it cannot be taken away.
    pub async fn leave(&self, node: &str) -> Result<()> {
        self.transport.leave(node).await
    }

    /// What is begun again under the same name was begun once.
    fn note(&self, begun: OnMachine) {
        if self.cluster.gate().is_by_hand() {
            return;
        }
        let mut all = self.cluster.shared.on_machines.borrow_mut();
        if !all.iter().any(|known| known.id == begun.id) {
            all.push(begun);
        }
    }

    fn allowed(&self, writes: bool, what: impl Fn() -> String) -> Result<()> {
        self.cluster.may_touch_machines(writes, what)
    }
}

impl Cluster {
    /// The machines behind the nodes: models in a plan and in a simulated cluster.
    ///
    /// # Errors
    /// Input when nobody said how the machines of a live cluster are reached; `command_missing` without `ssh`, which a fixture can say.
    pub fn machines(&self) -> Result<Machines> {
        let reached = |transport: Rc<dyn Transport>| Machines::Reached(Reached { cluster: self.clone(), transport });
        let label = self.label();
        let ways = self.shared.ways.as_ref().filter(|_| !label.plan && !label.simulated);
        let Some(ways) = ways else {
            return match self.simulation() {
                // As on a live cluster, before any machine is asked.
                Some(simulation) if simulation.with(|sim| sim.models().lacks(Program::Ssh)) => Err(ssh::missing()),
                Some(simulation) => Ok(reached(Rc::new(simulated::Simulated::new(self.clone(), simulation)))),
                None => Err(Error::usage("nobody said how the machines behind the nodes are reached")
                    .hint("say `--machines ssh`, `--machines pod` or `--machines manual`")),
            };
        };
        Ok(match ways.kind {
            Way::Manual => Machines::Manual,
            Way::Ssh => reached(Rc::new(ssh::Ssh::remote(self.clone(), ways.inventory.clone())?)),
            Way::Pod => reached(Rc::new(pod::Pods::remote(self.clone(), &ways.inventory)?)),
        })
    }

    /// The machines, where reading there asks nobody and leaves nothing behind: by `ssh`, and the models of a plan or a simulated cluster.
    ///
    /// # Errors
    /// As [`Cluster::machines`].
    pub fn machines_to_read(&self) -> Result<Option<Reached>> {
        let label = self.label();
        let answers = match self.shared.ways.as_ref().filter(|_| !label.plan && !label.simulated) {
            Some(ways) => ways.kind == Way::Ssh,
            None => self.simulation().is_some(),
        };
        match answers.then(|| self.machines()).transpose()? {
            Some(Machines::Reached(reached)) => Ok(Some(reached)),
            Some(Machines::Manual) | None => Ok(None),
        }
    }

    /// Everything that was begun on machines so far, in its order.
    #[must_use]
    pub fn on_machines(&self) -> Vec<OnMachine> {
        self.shared.on_machines.borrow().clone()
    }

    /// Whether machines may be touched at present.
    ///
    /// # Errors
    /// A refusal that says what was tried.
    pub fn may_touch_machines(&self, writes: bool, what: impl Fn() -> String) -> Result<()> {
        let refuse = |why: &str| Err(Error::new(Kind::Refused, Reason::Refused, format!("{} {why}", what())));
        match self.access() {
            Access::ReadWrite => Ok(()),
            Access::ReadOnly if !writes => Ok(()),
            Access::ReadOnly => refuse("changes a machine, and only reads are allowed here"),
            Access::Load => refuse("is run while a file is loaded"),
        }
    }
}
