//! Whether scenarios look at what steps do: a runbook with one step that does nothing must fail one of them.

use super::{Test, one, tests};
use crate::base::{Error, Kind, Reason, Result};
use crate::check;
use crate::run::Source;

/// The runbook once for each of its steps, which does nothing there; with the step's name. Steps that are declared by one piece of text
/// do nothing together.
///
/// # Errors
/// When the interpreter cannot be set up.
pub fn hollow(source: &Source) -> Result<Vec<(String, Source)>> {
    Ok(check::works(source)?
        .into_iter()
        .filter_map(|work| {
            let (before, after) = (source.text.get(..work.text.start)?, source.text.get(work.text.end..)?);
            // The lines after it stay where they are.
            let lines = source.text.get(work.text)?.matches('\n').count();
            let text = format!("{before}function(){} end{after}", "\n".repeat(lines));
            Some((work.step, Source { text: text.into(), ..source.clone() }))
        })
        .collect())
}

/// Plays the scenarios until one fails.
///
/// # Errors
/// When all of them hold although the step does nothing, or there are none.
pub fn noticed(step: &str, source: &Source) -> Result<()> {
    for test in tests(source)?.iter().filter(|test| matches!(test, Test::Scenario(_))) {
        if one(source, test, false, 0).is_err() {
            return Ok(());
        }
    }
    let error = Error::new(Kind::Runbook, Reason::CheckFailed, format!("no scenario notices that the step `{step}` does nothing"));
    Err(error.hint("let a scenario look at what the step leaves: `run:leaves(…)`, `run:did(…)`, `run:shows(…)`"))
}
