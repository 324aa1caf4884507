//! Machines of a simulated cluster: its models answer, in virtual time. Nothing is run.

use futures::future::LocalBoxFuture;
use lockgate_sim::machines::{self, Deed, Order, Refusal};

use super::{Command, File, Operation, Output, Progress, Transport, line};
use crate::base::{Clock, Error, Kind, Reason, Result, Span, Timestamp};
use crate::cluster::Cluster;
use crate::cluster::sim::Simulation;

/// The models.
pub(super) struct Simulated {
    cluster: Cluster,
    simulation: Simulation,
    clock: Clock,
}

impl Simulated {
    pub(super) fn new(cluster: Cluster, simulation: Simulation) -> Simulated {
        let clock = cluster.clock().clone();
        Simulated { cluster, simulation, clock }
    }

    fn order(&self, node: &str, id: String, reads: bool, deed: Deed) -> Result<Timestamp> {
        let what = match &deed {
            Deed::Run { argv } => line(argv),
            Deed::Write { path, .. } => path.clone(),
        };
        let order = Order { node: node.to_owned(), id, reads, deed };
        self.simulation.order(&order)?.map_err(|refusal| self.refused(node, &what, refusal))
    }

    /// With the command that follows an operation, when that has ended.
    fn looked(&self, node: &str, operation: &Operation) -> Result<Progress> {
        let first = self.progress(node, &id(operation))?;
        let (Progress::Ended(mut output), Some(words)) = (first.clone(), &operation.finally) else { return Ok(first) };
        let last = format!("{}/finally", id(operation));
        self.order(node, last.clone(), false, Deed::Run { argv: words.clone() })?;
        let Progress::Ended(then) = self.progress(node, &last)? else { return self.progress(node, &last) };
        output.code = if output.code == 0 { then.code } else { output.code };
        output.stdout.push_str(&then.stdout);
        output.stderr.push_str(&then.stderr);
        Ok(Progress::Ended(output))
    }

    fn progress(&self, node: &str, id: &str) -> Result<Progress> {
        let progress = self.simulation.with(|sim| sim.ordered(node, id)).map_err(|refusal| self.refused(node, "it", refusal))?;
        Ok(match progress {
            machines::Progress::Unknown => Progress::Absent,
            machines::Progress::Running(until) => Progress::Running(Some(until)),
            machines::Progress::Killed => Progress::Gone { booted: true },
            machines::Progress::Ended { code, stdout, stderr } => {
                Progress::Ended(Output { code: i32::from(code), stdout, stderr, truncated: false, late: false })
            }
        })
    }

    /// In the plan of a real cluster nobody plays its machines, and no fixture is to blame.
    fn refused(&self, node: &str, what: &str, refusal: Refusal) -> Error {
        match refusal {
            Refusal::Unmodelled(_) if !self.cluster.label().simulated => {
                let text = format!("a plan runs no commands on machines: what `{what}` on `{node}` would do is not known");
                Error::new(Kind::Cluster, Reason::Unmodelled, text).about(format!("node/{node}"))
            }
            refusal => refused(node, what, refusal),
        }
    }
}

fn refused(node: &str, what: &str, refusal: Refusal) -> Error {
    let error = match refusal {
        Refusal::NoNode => Error::not_found(format!("machine of node `{node}`: there is no such node")),
        Refusal::Unmodelled(what) => {
            Error::new(Kind::Cluster, Reason::Unmodelled, format!("machine of node `{node}`: not modelled: {what}"))
                .hint("say in a `Model` document of the fixture, under `machines`, what it does")
        }
        Refusal::Changes => Error::new(Kind::Refused, Reason::Refused, format!("`{what}` on `{node}` changes the machine"))
            .hint("`machine.read` is for what changes nothing; use `machine.run` in a step"),
        Refusal::Away(_) => Error::new(Kind::Cluster, Reason::Unreachable, format!("machine of node `{node}`: it is rebooting")),
    };
    error.about(format!("node/{node}"))
}

/// The name of an operation.
fn id(operation: &Operation) -> String {
    operation.id.to_string()
}

impl Transport for Simulated {
    fn read<'a>(&'a self, node: &'a str, command: &'a Command, limit: Span) -> LocalBoxFuture<'a, Result<Output>> {
        Box::pin(async move {
            self.cluster.knows_machines().await?;
            // The log grows with each order, so that no two reads have one name.
            let id = format!("read {}", self.simulation.with(|sim| sim.event_log().len()));
            let ends = self.order(node, id.clone(), true, Deed::Run { argv: command.words.clone() })?;
            let last = limit.after(self.clock.now());
            self.clock.sleep_until(ends.min(last)).await?;
            match self.progress(node, &id)? {
                Progress::Ended(output) => Ok(output),
                _ => Ok(Output { code: 124, late: true, ..Output::default() }),
            }
        })
    }

    fn begin<'a>(&'a self, node: &'a str, operation: &'a Operation) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async move {
            self.cluster.knows_machines().await?;
            self.order(node, id(operation), false, Deed::Run { argv: operation.command.words.clone() }).map(|_| ())
        })
    }

    fn look<'a>(&'a self, node: &'a str, operation: &'a Operation) -> LocalBoxFuture<'a, Result<Progress>> {
        Box::pin(std::future::ready(self.looked(node, operation)))
    }

    fn write<'a>(&'a self, node: &'a str, file: &'a File) -> LocalBoxFuture<'a, Result<Option<String>>> {
        Box::pin(async move {
            let former = self
                .read(node, &Command { words: vec!["cat".to_owned(), file.path.clone()], ..Command::default() }, Span::from_secs(60))
                .await?;
            let kept = format!("/var/lib/lockgate/{}/former", file.id);
            let write = |id: String, path: &str, text: &str, mode: Option<u32>| {
                self.order(node, id, false, Deed::Write { path: path.to_owned(), text: text.to_owned(), mode })
            };
            if former.code == 0 {
                write(format!("{}/former", file.id), &kept, &former.stdout, None)?;
            }
            write(file.id.to_string(), &file.path, &file.text, file.mode)?;
            Ok((former.code == 0).then_some(kept))
        })
    }
}
