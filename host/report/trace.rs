//! `-v` and `LOCKGATE_LOG`: spans of steps, calls and requests on standard error.

use tracing_subscriber::EnvFilter;

use crate::base::{Error, Result};

/// The variable that sets the filter, in the form of `tracing_subscriber`: `debug`, `lockgate::request=debug`.
pub const VARIABLE: &str = "LOCKGATE_LOG";

/// Begins to write the log: one `-v` shows steps and calls, two everything that lockgate does, three libraries too. The variable
/// wins.
///
/// # Errors
/// When the variable is no filter.
pub fn begin(verbosity: u8) -> Result<()> {
    let variable = std::env::var(VARIABLE).ok().filter(|value| !value.is_empty());
    let filter = match (&variable, verbosity) {
        (Some(value), _) => EnvFilter::try_new(value).map_err(|error| {
            Error::usage(format!("`{VARIABLE}` is no filter: `{value}`"))
                .cause(error.to_string())
                .hint("write a level such as `debug`, or `lockgate::request=debug`")
        })?,
        (None, 0) => return Ok(()),
        (None, 1) => EnvFilter::new("lockgate=info,lockgate::call=debug,lockgate::request=debug"),
        (None, 2) => EnvFilter::new("lockgate=trace"),
        (None, _) => EnvFilter::new("trace"),
    };
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).without_time().with_ansi(false);
    // A second log in one process is refused; the first goes on.
    log.try_init().map_err(|error| Error::internal("beginning the log").cause(error.to_string()))
}
