//! The script side of a command: the Lua host for a runbook, and the runtime that its calls run on.

use std::path::PathBuf;
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
    Ok(Box::new(LuaHost::new(source.clone(), Some(runtime.clone()))?.with_modules(modules.to_vec())))
}

/// What a runbook declares; no cluster and no runtime.
///
/// # Errors
/// What is wrong with the file.
pub(super) fn declared(source: &Source, modules: &[PathBuf]) -> Result<Runbook> {
    LuaHost::new(source.clone(), None)?.with_modules(modules.to_vec()).load()
}
