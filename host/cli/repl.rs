//! `lockgate repl`: the same verbs, one line after the other, on a copy of the cluster.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::rc::Rc;

use super::args::ReplArgs;
use super::{Done, host, interrupt, target};
use crate::base::{Error, Result};
use crate::cluster::Cancel;
use crate::repl;
use crate::report::Screen;

/// Runs a session.
///
/// # Errors
/// What was wrong with the target, or with the terminal. What a line raises is told, and the session goes on.
pub(super) fn repl(args: &ReplArgs, screen: &Rc<Screen>) -> Done {
    host::folders(&args.modules)?;
    let runtime = host::runtime()?;
    let cancel = Cancel::new();
    let (cluster, told) = target::cluster(&runtime, &args.target, &target::example()?, &cancel)?;
    told.iter().for_each(|line| screen.talk(line));
    interrupt::listen(&cancel)?;
    let watched = std::io::stdin().is_terminal();
    let history = if watched { history()? } else { None };
    repl::run(repl::Setting { cluster, cancel, runtime, screen: screen.clone(), modules: args.modules.clone(), history, watched })
}

/// The history file, in the user's state folder; none where there is no such folder.
fn history() -> Result<Option<PathBuf>> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let Some(state) = variable("XDG_STATE_HOME").or_else(|| Some(variable("HOME")?.join(".local/state"))) else { return Ok(None) };
    let folder = state.join("lockgate");
    std::fs::create_dir_all(&folder)
        .map_err(|error| Error::usage(format!("cannot make `{}` for the history", folder.display())).cause(error.to_string()))?;
    Ok(Some(folder.join("history")))
}
