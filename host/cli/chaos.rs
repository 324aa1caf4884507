//! `--chaos`: what goes wrong in a simulated cluster, from a file or drawn from a seed.

use lockgate_sim::faults::{FaultsDocument, chaos};

use super::target::broken;
use crate::base::Result;
use crate::report::sandbox as page;
use crate::run::source::unreadable;

/// What `--chaos` means: a number is a seed, everything else a file.
///
/// # Errors
/// A file that is missing or cannot be read; a mistake in it with its line.
pub(super) fn faults(word: &str) -> Result<FaultsDocument> {
    if let Ok(seed) = word.parse() {
        return Ok(FaultsDocument { rules: chaos(seed), ..FaultsDocument::default() });
    }
    let path = std::path::Path::new(word);
    let text = std::fs::read_to_string(path).map_err(|error| {
        unreadable(path, &error)
            .context(format!("no faults `{word}` for `--chaos`"))
            .hint("name a file of `kind: Faults`, or a number to have faults drawn from it")
    })?;
    parsed(word, &text)
}

/// The faults that a text describes.
///
/// # Errors
/// A mistake in it with its line.
pub(super) fn parsed(label: &str, text: &str) -> Result<FaultsDocument> {
    FaultsDocument::parse(label, text).map_err(|error| broken(&format!("the faults `{label}` cannot be used"), text, &error))
}

/// The text of a file of faults; none for a seed.
///
/// # Errors
/// When it cannot be read any more.
pub(super) fn text(word: &str) -> Result<Option<String>> {
    if word.parse::<u64>().is_ok() {
        return Ok(None);
    }
    let path = std::path::Path::new(word);
    std::fs::read_to_string(path).map(Some).map_err(|error| unreadable(path, &error))
}

/// The rules and happenings, a line each: what a seed drew can be put into a file.
pub(super) fn told(faults: &FaultsDocument) -> Vec<String> {
    let rules = faults.rules.iter().map(ToString::to_string);
    let clock = faults.clock.map(|skew| format!("the clock of the cluster is {:#} ahead", skew.0));
    let rules = rules.chain(clock);
    rules.chain(faults.happenings.iter().map(ToString::to_string)).map(|line| page::fault(&line)).collect()
}
