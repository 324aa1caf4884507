//! Whether scenarios look at what steps do: a runbook with one step that does nothing must fail one of them.

use std::collections::{BTreeMap, BTreeSet};

use super::{Killed, Test, one, tests};
use crate::base::{Error, Kind, Reason, Result};
use crate::check;
use crate::run::event::StepEnd;
use crate::run::{Event, Record, Source};

/// The steps whose work these records come to: not those that their `when`, or that of their group, left out. Their groups and items are
/// among them: `GROUP/ITEM/ID`.
pub(super) fn entered(records: &[Record]) -> impl Iterator<Item = String> {
    let mut keys: Vec<&str> = Vec::new();
    for record in records {
        match &record.event {
            Event::StepStarted { step } => keys.push(&step.id),
            Event::StepFinished { step, end: StepEnd::Skipped { .. }, .. } => {
                if let Some(at) = keys.iter().rposition(|key| *key == step.id) {
                    keys.remove(at);
                }
            }
            _ => {}
        }
    }
    keys.into_iter().flat_map(|key| key.split('/').map(str::to_owned))
}

/// Which steps the scenarios of a runbook come to, as far as they were played.
#[derive(Clone, Debug, Default)]
pub struct Reached(BTreeMap<String, BTreeSet<String>>);

impl Reached {
    /// A scenario was played, of the runbook as it is.
    pub fn note(&mut self, test: &Test, played: &Killed) {
        if let Test::Scenario(name) = test {
            self.0.insert(name.clone(), played.entered.clone());
        }
    }

    /// The scenarios that can notice that this step does nothing, the longest first: those of which nothing is known, and those that come
    /// to it. A step whose name is made by the runbook is not known by it.
    fn can_notice<'a>(&self, tests: &'a [Test], step: &str) -> Vec<&'a Test> {
        let named = !step.starts_with(check::UNNAMED);
        let length = |test: &Test| match test {
            Test::Scenario(name) => match self.0.get(name) {
                Some(entered) => (!named || entered.contains(step)).then_some(entered.len()),
                None => Some(0),
            },
            _ => None,
        };
        let mut able: Vec<_> = tests.iter().filter_map(|test| Some((length(test)?, test))).collect();
        able.sort_by_key(|(length, _)| std::cmp::Reverse(*length));
        able.into_iter().map(|(_, test)| test).collect()
    }
}

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

/// Plays the scenarios until one fails: those that come to the step, the longest first, and those of which nothing is known.
///
/// # Errors
/// When all of them hold although the step does nothing, or there are none.
pub fn noticed(step: &str, source: &Source, reached: &Reached) -> Result<()> {
    for test in reached.can_notice(&tests(source)?, step) {
        if one(source, test, false, 0).is_err() {
            return Ok(());
        }
    }
    let error = Error::new(Kind::Runbook, Reason::CheckFailed, format!("no scenario notices that the step `{step}` does nothing"));
    Err(error.hint("let a scenario look at what the step leaves: `run:leaves(…)`, `run:did(…)`, `run:shows(…)`"))
}
