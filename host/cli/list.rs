//! `lockgate list`: no cluster, no runtime.

use std::path::Path;

use super::args::{Format, ListArgs};
use super::{Done, find, host};
use crate::base::Result;
use crate::report::{Screen, catalogue, json};
use crate::run::{Runbook, Source};

/// Prints the table. A local file that does not load is told and left out.
///
/// # Errors
/// When a bundled runbook does not load.
pub(super) fn list(args: &ListArgs, screen: &Screen) -> Done {
    let mut runbooks: Vec<Runbook> = bundled()?;
    for source in find::local(Path::new(".")) {
        match host::declared(&source, &[]) {
            // It is called by its path, which is what a person has to type.
            Ok(runbook) => {
                let folder = Path::new(&source.file).parent().unwrap_or(Path::new(&source.file));
                runbooks.push(Runbook { name: format!("./{}", folder.display()), ..runbook });
            }
            Err(error) => screen.error(&error.context(format!("`{}` is left out", source.file))),
        }
    }
    match args.output.output {
        Format::Text => screen.data(&catalogue::list(&runbooks, screen.paint)),
        Format::Json => screen.data(&json::list(&runbooks)?),
    }
    Ok(0)
}

/// The declarations of every bundled runbook, sorted by name.
///
/// # Errors
/// When one does not load.
pub fn bundled() -> Result<Vec<Runbook>> {
    let names = Source::bundled_names();
    names.iter().filter_map(|name| Source::bundled(name)).map(|source| host::declared(&source, &[])).collect()
}
