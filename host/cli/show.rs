//! `lockgate show`: what a file declares; never touches a cluster.

use super::args::{Format, ShowArgs};
use super::{Done, find, host};
use crate::base::Result;
use crate::check;
use crate::report::catalogue::Known;
use crate::report::{Screen, catalogue, json};
use crate::run::Source;

/// Prints it.
///
/// # Errors
/// When there is no such runbook, or it does not load.
pub(super) fn show(args: &ShowArgs, screen: &Screen) -> Done {
    let source = Source { modules: args.runbook.modules.clone(), ..find::runbook(&args.runbook.runbook)? };
    host::folders(&source.modules)?;
    let runbook = host::declared(&source, &[])?;
    match args.output.output {
        Format::Text => screen.data(&catalogue::show(&runbook, &source.file, &known(&source)?, screen.paint)),
        Format::Json => screen.data(&json::show(&runbook, &source.file)?),
    }
    Ok(0)
}

/// What is known of a runbook beside its declarations: what it leaves to people, and how long its committed plan takes.
///
/// # Errors
/// When the interpreter cannot be set up, or the committed plan cannot be read.
pub fn known(source: &Source) -> Result<Known> {
    let plan = source.beside.read("plan.txt")?;
    Ok(Known { by_hand: check::by_hand(source)?, takes: None }.with_plan(plan.as_deref()))
}
