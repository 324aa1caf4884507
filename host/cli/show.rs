//! `lockgate show`: what a file declares; never touches a cluster.

use super::args::{Format, ShowArgs};
use super::{Done, find, host};
use crate::report::{Screen, catalogue, json};

/// Prints it.
///
/// # Errors
/// When there is no such runbook, or it does not load.
pub(super) fn show(args: &ShowArgs, screen: &Screen) -> Done {
    let source = find::runbook(&args.runbook.runbook)?;
    let runbook = host::declared(&source, &args.runbook.modules)?;
    match args.output.output {
        Format::Text => screen.data(&catalogue::show(&runbook, &source.file, screen.paint)),
        Format::Json => screen.data(&json::show(&runbook, &source.file)?),
    }
    Ok(0)
}
