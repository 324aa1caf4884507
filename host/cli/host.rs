//! The script side of a command: the Lua host for a runbook, and the runtime that its calls run on.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use tokio::runtime::Runtime;

use crate::base::{Error, Result};
use crate::lua::LuaHost;
use crate::run::{Runbook, Script, Source};

/// The runtime of this thread: everything of a run happens on one thread.
///
/// # Errors
/// When the system gives none.
pub(super) fn runtime() -> Result<Rc<Runtime>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map(Rc::new).map_err(|error| Error::internal("beginning the runtime").cause(error.to_string()))
}

/// A runbook that can be run.
///
/// # Errors
/// When the interpreter cannot be set up.
pub(super) fn script(source: &Source, modules: &[PathBuf], runtime: &Rc<Runtime>) -> Result<Box<dyn Script>> {
    folders(modules)?;
    Ok(Box::new(LuaHost::new(source.clone(), Some(runtime.clone()))?.with_modules(modules.to_vec())))
}

/// What a runbook declares; no cluster and no runtime.
///
/// # Errors
/// What is wrong with the file.
pub(super) fn declared(source: &Source, modules: &[PathBuf]) -> Result<Runbook> {
    folders(modules)?;
    LuaHost::new(source.clone(), None)?.with_modules(modules.to_vec()).load()
}

/// Refuses a folder of `--modules` that cannot be looked into: its modules would silently be those of the next folder.
///
/// # Errors
/// Names the folder, and why.
pub(super) fn folders(modules: &[PathBuf]) -> Result<()> {
    let look = |folder: &Path| std::fs::read_dir(folder).map(drop);
    modules.iter().try_for_each(|folder| {
        look(folder).map_err(|error| {
            let said = match error.kind() {
                std::io::ErrorKind::NotFound => "there is no such folder".to_owned(),
                std::io::ErrorKind::NotADirectory => "it is no folder".to_owned(),
                _ => error.to_string(),
            };
            Error::usage(format!("`--modules {}` cannot be used", folder.display())).cause(said)
        })
    })
}
