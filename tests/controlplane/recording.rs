//! What the real control plane did, kept beside the tests, so that every test run compares the simulated cluster with it.

use std::path::{Path, PathBuf};

use super::Outcome;
use super::normalise::{self, State};

/// How many differences are worth reading.
const SHOWN: usize = 60;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/controlplane/recorded").join(format!("{name}.json"))
}

/// Reads a recording.
///
/// # Errors
/// It is not there or not readable.
pub(crate) fn read(name: &str) -> Outcome<State> {
    let path = path(name);
    let text = std::fs::read_to_string(&path).map_err(|error| format!("reading {}: {error}", path.display()))?;
    serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
}

/// Compares what a real cluster holds with its recording; with `BLESS` in the environment it writes the recording first.
///
/// # Errors
/// Where they differ.
pub(crate) fn compare_real(name: &str, state: &State) -> Outcome {
    if std::env::var_os("BLESS").is_some() {
        let path = path(name);
        let text = serde_json::to_string_pretty(state).map_err(|error| format!("{name}: {error}"))?;
        path.parent().map_or(Ok(()), std::fs::create_dir_all).map_err(|error| format!("{}: {error}", path.display()))?;
        std::fs::write(&path, text + "\n").map_err(|error| format!("writing {}: {error}", path.display()))?;
    }
    compare(name, &read(name)?, state, "recorded | real")
}

/// Compares what the simulated cluster holds with what the real one held.
///
/// # Errors
/// Where they differ.
pub(crate) fn compare_simulated(name: &str, state: &State) -> Outcome {
    compare(name, &read(name)?, state, "real | simulated")
}

fn compare(name: &str, left: &State, right: &State, sides: &str) -> Outcome {
    same(left, right, sides).map_err(|differences| format!("{name}: {differences}"))
}

/// Compares two states.
///
/// # Errors
/// Where they differ, as `object path: left | right`.
pub(crate) fn same(left: &State, right: &State, sides: &str) -> Outcome {
    let differences = normalise::differences(left, right);
    if differences.is_empty() {
        return Ok(());
    }
    let more = differences.len().saturating_sub(SHOWN);
    let shown: Vec<&str> = differences.iter().take(SHOWN).map(String::as_str).collect();
    let rest = if more == 0 { String::new() } else { format!("\nand {more} more") };
    Err(format!("{} differences ({sides})\n{}{rest}", differences.len(), shown.join("\n")))
}

/// Every single value of the recording, altered alone or taken away, must be noticed.
///
/// # Errors
/// An alteration that the comparison does not see, or a recording without anything to alter.
pub(crate) fn alterations_are_noticed(name: &str) -> Outcome {
    let recorded = read(name)?;
    // The recording has been through the normaliser; it goes through it again so that nothing in it can hide an alteration.
    let again = |state: State| normalise::normalise(state.into_values().collect());
    compare(name, &recorded, &again(recorded.clone()), "recorded | normalised again")?;
    let mut missing = vec!["replicas", "reason", "message", "containerID", "imageID", "generation", "last-change-trigger-time"];
    for (place, state) in normalise::alterations(&recorded) {
        missing.retain(|field| !place.contains(field));
        if again(state) == recorded {
            return Err(format!("{name}: {place}: not noticed"));
        }
    }
    if missing.is_empty() { Ok(()) } else { Err(format!("{name}: the recording has no {missing:?}: it records nothing worth comparing")) }
}
