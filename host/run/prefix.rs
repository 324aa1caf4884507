//! Whether a run can go on with another source than the one that it began with: what was begun has to stand there in the same way.

use super::journal::Past;
use super::runbook::Runbook;
use crate::base::{Error, Kind, Reason, Result};

/// Refuses a runbook that does not begin as this run did: the steps that were begun are its first ones, in that order and under their names.
///
/// # Errors
/// `refused`, with the first step that is another one.
pub fn begins_as(runbook: &Runbook, past: &Past, run: &str) -> Result<()> {
    let begun = begun(past);
    let declared: Vec<(Option<&str>, &str)> = runbook
        .steps
        .iter()
        .map(|step| (step.group.and_then(|group| runbook.groups.get(group)).map(|group| group.id.as_str()), step.id.as_str()))
        .collect();
    let differs = begun.iter().enumerate().find(|(at, step)| declared.get(*at) != Some(*step));
    let Some((at, step)) = differs else { return Ok(()) };
    let there = declared.get(at).map_or_else(|| "has no more steps".to_owned(), |there| format!("has step `{}` there", shown(there)));
    let message = format!("the other source does not begin as run `{run}` did");
    Err(Error::new(Kind::Refused, Reason::Replaced, message)
        .cause(format!("step {} of the run was `{}`, and the other source {there}", at + 1, shown(step)))
        .hint("steps that were begun keep their names and their order; `--script pinned` goes on with the source that the run has"))
}

/// The steps that were begun, in order: the group of each, and its id.
fn begun(past: &Past) -> Vec<(Option<&str>, &str)> {
    let mut begun = Vec::new();
    for key in past.order.iter().filter_map(|place| place.strip_prefix("step ")) {
        let parts: Vec<&str> = key.split('/').collect();
        let step = match parts.as_slice() {
            [group, _, id] => (Some(*group), *id),
            [id, ..] => (None, *id),
            [] => continue,
        };
        if !begun.contains(&step) {
            begun.push(step);
        }
    }
    begun
}

fn shown((group, id): &(Option<&str>, &str)) -> String {
    group.map_or_else(|| (*id).to_owned(), |group| format!("{group}/{id}"))
}
