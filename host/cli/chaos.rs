//! `--chaos`: what goes wrong in a simulated cluster, from a file or drawn from a seed.

use lockgate_sim::faults::{FaultsDocument, chaos};

use super::target::broken;
use crate::base::Result;
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
    FaultsDocument::parse(word, &text).map_err(|error| broken(&format!("the faults `{word}` cannot be used"), &text, &error))
}
