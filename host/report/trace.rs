//! `-v` and `LOCKGATE_LOG`: spans of steps, calls and requests on standard error.

use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use super::escape::Safe;
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
        (Some(value), _) => EnvFilter::try_new(own(value)).map_err(|error| {
            Error::usage(format!("`{VARIABLE}` is no filter: `{value}`"))
                .cause(error.to_string())
                .hint("write a level such as `debug`, or `lockgate::request=debug`")
        })?,
        (None, 0) => return Ok(()),
        (None, 1) => EnvFilter::new("lockgate=info,lockgate::call=debug,lockgate::request=debug"),
        (None, 2) => EnvFilter::new("lockgate=trace"),
        (None, _) => EnvFilter::new("trace"),
    };
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| Log).without_time().with_ansi(false);
    // A second log in one process is refused; the first goes on.
    log.try_init().map_err(|error| Error::internal("beginning the log").cause(error.to_string()))
}

/// Texts that the log never shows.
static SECRETS: Mutex<Vec<String>> = Mutex::new(Vec::new());
/// What stands in their place.
const HIDDEN: &str = "(secret)";
/// Shorter ones are in every log.
const SHORT: usize = 4;

/// From now on the log does not show this text.
pub fn hide(secret: &str) {
    if secret.len() >= SHORT {
        SECRETS.lock().unwrap_or_else(PoisonError::into_inner).push(secret.to_owned());
    }
}

/// The log: what is secret, and what does something instead of being seen, does not get through.
struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut text = String::from_utf8_lossy(bytes).into_owned();
        for secret in SECRETS.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            text = text.replace(secret.as_str(), HIDDEN);
        }
        Safe(io::stderr()).write_all(text.as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A bare level is about lockgate, not about the libraries beneath it; those are named: `tower=debug`.
fn own(filter: &str) -> String {
    let part = |part: &str| match part.trim().parse::<LevelFilter>() {
        Ok(level) => format!("lockgate={level},lockgate_sim={level}"),
        Err(_) => part.to_owned(),
    };
    filter.split(',').map(part).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::own;

    #[test]
    fn a_bare_level_is_about_lockgate_only() {
        assert_eq!(own("debug"), "lockgate=debug,lockgate_sim=debug");
        assert_eq!(own("info, tower=trace"), "lockgate=info,lockgate_sim=info, tower=trace");
        assert_eq!(own("lockgate::request=debug"), "lockgate::request=debug");
        assert_eq!(own("off"), "lockgate=off,lockgate_sim=off");
        assert_eq!(own("=]"), "=]");
    }
}
