//! `lockgate unlock`: a person frees the lock of a cluster by the name of the run that holds it.

use std::rc::Rc;

use super::args::UnlockArgs;
use super::prompt::Prompter;
use super::{Done, host, resume, told};
use crate::base::{Error, Kind, Reason, Result};
use crate::cluster::fence::OPEN_FOR;
use crate::cluster::lease::LASTS;
use crate::cluster::{Cancel, Cluster, LiveOptions, Options, RunId};
use crate::report::{Screen, escape};
use crate::run::journal::entry::Header;
use crate::run::journal::folder::Holder;
use crate::run::journal::{self, Runs, taken};
use crate::run::lock;

/// Asks, then frees it.
///
/// # Errors
/// When nobody holds the lock, or another run does; when there is nobody to ask; those of the API.
pub(super) fn unlock(args: &UnlockArgs, screen: &Rc<Screen>) -> Done {
    let Named { run, header: known, left } = named(args)?;
    let runtime = host::runtime()?;
    let cluster = match known {
        // The folder of the run knows its cluster.
        Some(header) if args.context.is_none() && args.kubeconfig.is_none() => told::cluster(&runtime, &header)?,
        known => {
            let live = LiveOptions { kubeconfig: args.kubeconfig.clone(), context: args.context.clone() };
            let cluster = runtime.block_on(Cluster::live(live, Options { cancel: Cancel::new(), ..Options::new(RunId::generate()) }))?;
            known.map_or(Ok(()), |header| resume::is_cluster_of(&runtime, &cluster, &header))?;
            cluster
        }
    };
    let name = cluster.label().name;
    let now = cluster.clock().now();
    let mut gone = false;
    if let Some(lease) = runtime.block_on(cluster.lease())? {
        let question = if lease.run.as_deref() == Some(&*run) {
            gone = left && lease.host == Holder::this().host;
            screen.talk(&escape::line(&lock::described(&name, &lease, now)));
            let alive = lease.renewed.is_some_and(|renewed| crate::base::Span::between(renewed, now) < LASTS);
            if alive && !gone {
                screen.talk(&format!(
                    "it may be at work: it stops within {OPEN_FOR}, and does not finish what it is in the middle of; the next run waits for that"
                ));
            }
            Some(format!("Take the lock from the run {run}?"))
        } else {
            lease.unfinished().filter(|last| *last == run).map(|last| format!("Give the run {last} up, as it is? What it wrote stays."))
        };
        if let Some(question) = question.filter(|_| !args.yes)
            && !accepted(&runtime, screen, &question)?
        {
            screen.talk("not freed: nothing was written");
            return Ok(4);
        }
    }
    let lease = runtime.block_on(lock::unlock(&cluster, &run, gone))?;
    screen.data(&escape::line(&lock::unlocked(&name, &lease, gone)));
    Ok(0)
}

/// A run that was named.
struct Named {
    run: String,
    /// What its journal says, when it is one of this machine.
    header: Option<Header>,
    /// Whether no process of this machine works on it.
    left: bool,
}

/// The run that is meant, with what its journal says when it is one of this machine: by what its other commands accept too, or by its
/// whole id, which one of another machine has too.
fn named(args: &UnlockArgs) -> Result<Named> {
    let word = args.run.to_ascii_uppercase();
    let is_whole = word.parse::<RunId>().is_ok();
    let found = Runs::find(args.state.runs.as_deref()).and_then(|runs| runs.open(&args.run));
    match found {
        // A journal that cannot be read keeps nobody from freeing its lock where the flags say it is.
        Ok(folder) => match journal::read(&mut folder.disk(), folder.id(), true) {
            Ok(read) => {
                let left = folder.holder().is_none() && taken::is_left(&read);
                Ok(Named { run: folder.id().to_owned(), header: read.header().cloned(), left })
            }
            Err(_) if is_whole => Ok(Named { run: word, header: None, left: false }),
            Err(error) => Err(error),
        },
        Err(_) if is_whole => Ok(Named { run: word, header: None, left: false }),
        Err(error) => Err(error.hint("give the whole id of a run that was begun on another machine")),
    }
}

fn accepted(runtime: &tokio::runtime::Runtime, screen: &Rc<Screen>, question: &str) -> Result<bool> {
    let prompter = Prompter::new(screen.clone(), Cancel::new());
    match runtime.block_on(prompter.yes_or_no(question))? {
        Some(answer) => Ok(answer),
        None => Err(Error::new(Kind::Input, Reason::Usage, "there is no terminal to ask on: nothing was written")
            .hint("`--yes` frees the lock without a question")),
    }
}
