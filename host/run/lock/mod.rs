//! The lock of a run: who may begin, go on or take back, and what is said to whom it is refused.
//!
//! The protocol is in [`crate::cluster::lease`]. Here is the policy: a run that has ended gives the lock back; one that was stopped, to be
//! resumed, keeps it (nothing is written on the way out), and so does one that was killed. Nobody but the run itself takes it over. One
//! that failed half-way gives it back and says so: no other one begins over it. What a person has decided otherwise goes through `unlock`.

mod head;
mod words;

pub use crate::cluster::Lock;

pub use self::head::{Told, compared, told};
pub use self::words::{ago, described, held, in_the_way, left_behind, unfinished, unlocked, waits};

use crate::base::{Error, Kind, Result};
use crate::cluster::lease::FAILED;
use crate::cluster::{Claim, Cluster, Lease, Over, Taken};
use crate::primitives::foreign::{self, Touch};
use crate::run::event::{End, Summary};

/// Why somebody wants the lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Errand {
    /// A new run.
    Begin,
    /// The run goes on. `known_epoch` is the last epoch of its journal; `gone` says that no process on this machine works on it (the
    /// lock of its folder is ours).
    Resume {
        /// The last epoch of its journal.
        known_epoch: u64,
        /// Whether no process on this machine works on it.
        gone: bool,
    },
    /// A new run takes another one back, whose lock it may take over.
    TakeBack {
        /// The run that is taken back.
        of: String,
        /// Whether no process on this machine works on that one.
        gone: bool,
    },
}

/// Who works on a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Worker {
    /// The run.
    pub run: String,
    /// The name of the machine.
    pub host: String,
    /// The user.
    pub user: String,
    /// The runbook.
    pub runbook: String,
    /// The words behind `lockgate unlock RUN` that find the same cluster, as one would type them: `--context prod`.
    pub way: String,
}

/// A run that may begin.
#[derive(Debug)]
pub struct Begun {
    /// The lock.
    pub lock: Lock,
    /// What is to be told: what the run that had the lock before left behind, other programs that may get in the way, what could not be
    /// looked at.
    pub warnings: Vec<String>,
}

impl Begun {
    /// Ends the work of this process. A run that is over gives the lock back; one that was stopped keeps it, for whoever resumes it,
    /// because nothing is written on the way out. Gives whether it was given back.
    ///
    /// # Errors
    /// Those of a write: then the lock is still the run's.
    pub async fn end(self, summary: &Summary) -> Result<bool> {
        let left = match summary.end {
            End::Parked | End::Interrupted => return Ok(false),
            End::Failed | End::Unknown if summary.writes > 0 || !summary.unsure.is_empty() => Some(FAILED),
            End::Failed | End::Unknown | End::Succeeded | End::NotNeeded => None,
        };
        self.lock.release(left).await.map(|()| true)
    }
}

/// Takes the lock, then looks for other programs that work on the same cluster: what the last plan on it would touch is what they must
/// not. Nothing but the lock is written; where the run is refused, it is given back.
///
/// # Errors
/// As [`take`]; refused (exit 5) by a program that changes the same nodes.
pub async fn begin(cluster: &Cluster, worker: &Worker, errand: &Errand) -> Result<Begun> {
    let mut begun = take(cluster, worker, errand).await?;
    let touch = cluster.planned().map_or_else(Touch::unknown, |planned| Touch::of_plan(&planned));
    let found = match foreign::look(cluster, &touch).await {
        Ok(found) => found.admits(&cluster.label().name).map(|()| found),
        Err(error) => Err(error),
    };
    match found {
        Ok(found) => {
            begun.warnings.extend(found.warnings());
            begun.warnings.extend(found.skipped.iter().map(|skipped| format!("other programs were not looked for in {skipped}")));
            Ok(begun)
        }
        Err(error) => match begun.lock.release(None).await {
            Ok(()) => Err(error),
            Err(kept) => Err(error.cause(format!("and the lock could not be given back: {kept}"))),
        },
    }
}

/// Takes the lock of this cluster. In virtual time a lock costs no time unless it is waited for.
///
/// # Errors
/// Refused (exit 5), with who has it, where, since when, and how it is freed; those of the API, with what to grant; `interrupted`.
pub async fn take(cluster: &Cluster, worker: &Worker, errand: &Errand) -> Result<Begun> {
    let (known_epoch, over) = match errand {
        Errand::Begin => (0, None),
        Errand::Resume { known_epoch, gone } => (*known_epoch, Some(Over { run: worker.run.clone(), gone: *gone })),
        Errand::TakeBack { of, gone } => (0, Some(Over { run: of.clone(), gone: *gone })),
    };
    let Worker { run, host, user, runbook, .. } = worker.clone();
    let claim = Claim { run, host, user, runbook, known_epoch, over };
    let (name, now) = (cluster.label().name, cluster.clock().now());
    match cluster.take_lock(&claim).await.map_err(|error| taking(error, &name))? {
        Taken::Held(lease) => Err(held(&name, &lease, worker, now)),
        Taken::Left(lease) => Err(unfinished(&name, &lease, worker)),
        Taken::Ours(lock, before) => {
            let warnings = before.and_then(|before| left_behind(&name, &before, worker, errand)).into_iter().collect();
            Ok(Begun { lock, warnings })
        }
    }
}

/// Frees the lock of a run that a person has named, or gives up one that failed. Gives the lease as it was. `gone` says that no process
/// works on the run for sure; else the next one waits until none can.
///
/// # Errors
/// Input when nobody holds the lock; refused when another run does, with its name; those of the API.
pub async fn unlock(cluster: &Cluster, run: &str, gone: bool) -> Result<Lease> {
    cluster.unlock(run, gone).await.map_err(|mut error| {
        if error.reason == crate::base::Reason::NotFound {
            error.kind = Kind::Input;
        }
        error
    })
}

fn taking(error: Error, name: &str) -> Error {
    if error.is_stop() { error } else { error.context(format!("taking the lock of `{name}`: nothing was written")) }
}

#[cfg(test)]
mod tests;
