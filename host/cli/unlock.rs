//! `lockgate unlock`: a person frees the lock of a cluster by the name of the run that holds it.

use std::rc::Rc;

use super::args::UnlockArgs;
use super::prompt::Prompter;
use super::{Done, host};
use crate::base::{Error, Kind, Reason, Result};
use crate::cluster::lease::LASTS;
use crate::cluster::{Cancel, Cluster, LiveOptions, Options, RunId};
use crate::report::Screen;
use crate::run::journal::Runs;
use crate::run::lock;

/// Asks, then frees it.
///
/// # Errors
/// When nobody holds the lock, or another run does; when there is nobody to ask; those of the API.
pub(super) fn unlock(args: &UnlockArgs, screen: &Rc<Screen>) -> Done {
    let run = named(args)?;
    let runtime = host::runtime()?;
    let live = LiveOptions { kubeconfig: args.kubeconfig.clone(), context: args.context.clone() };
    let cluster = runtime.block_on(Cluster::live(live, Options { cancel: Cancel::new(), ..Options::new(RunId::generate()) }))?;
    let name = cluster.label().name;
    let now = cluster.clock().now();
    if let Some(lease) = runtime.block_on(cluster.lease())?.filter(|lease| lease.run.as_deref() == Some(&*run)) {
        screen.talk(&lock::described(&name, &lease, now));
        let alive = lease.renewed.is_some_and(|renewed| crate::base::Span::between(renewed, now) < LASTS);
        if alive {
            screen.talk("it is alive: it stops at its next write, and does not finish what it is in the middle of");
        }
        if !args.yes && !accepted(&runtime, screen, &run)? {
            screen.talk("not freed: nothing was written");
            return Ok(4);
        }
    }
    let lease = runtime.block_on(lock::unlock(&cluster, &run))?;
    screen.data(&lock::unlocked(&name, &lease));
    Ok(0)
}

/// The run that is meant: one of this machine, by what its other commands accept too, or the whole id of one that is not.
fn named(args: &UnlockArgs) -> Result<String> {
    let word = args.run.to_ascii_uppercase();
    if word.parse::<RunId>().is_ok() {
        return Ok(word);
    }
    let found = Runs::find(args.state.runs.as_deref()).and_then(|runs| runs.open(&args.run));
    found.map(|folder| folder.id().to_owned()).map_err(|error| error.hint("give the whole id of a run that was begun on another machine"))
}

fn accepted(runtime: &tokio::runtime::Runtime, screen: &Rc<Screen>, run: &str) -> Result<bool> {
    let prompter = Prompter::new(screen.clone(), Cancel::new());
    match runtime.block_on(prompter.yes_or_no(&format!("Take the lock from the run {run}?")))? {
        Some(answer) => Ok(answer),
        None => Err(Error::new(Kind::Input, Reason::Usage, "there is no terminal to ask on: nothing was written")
            .hint("`--yes` frees the lock without a question")),
    }
}
