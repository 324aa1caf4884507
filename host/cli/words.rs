//! `lockgate types` and `lockgate completions`: text made from the tables of the code.

use clap::CommandFactory as _;

use super::Done;
use super::args::{Cli, CompletionsArgs};
use crate::base::Error;
use crate::lua::types;
use crate::report::Screen;

/// Prints the type definitions.
///
/// # Errors
/// None.
pub(super) fn types(screen: &Screen) -> Done {
    screen.data(&types::file());
    Ok(0)
}

/// Prints the completions.
///
/// # Errors
/// When they are no text.
pub(super) fn completions(args: CompletionsArgs, screen: &Screen) -> Done {
    let mut out = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "lockgate", &mut out);
    let text = String::from_utf8(out).map_err(|error| Error::internal("making completions").cause(error.to_string()))?;
    screen.data(&text);
    Ok(0)
}
