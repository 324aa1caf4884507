//! Cases that do not agree: known gaps with their reasons, and cases about what is not built yet.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Outcome;
use super::case;

/// A difference that is known.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Gap {
    /// The case.
    pub(crate) case: String,
    /// The number of the step.
    pub(crate) step: usize,
    /// The beginning of the path.
    pub(crate) path: String,
    /// Why the simulated cluster differs.
    pub(crate) reason: String,
}

/// The rows of `known-gaps.yaml`.
///
/// # Errors
/// It cannot be read.
pub(crate) fn known() -> Outcome<Vec<Gap>> {
    let path = case::home().join("known-gaps.yaml");
    serde_saphyr::from_str(&case::read(&path)?).map_err(|error| format!("{}: {error}", path.display()))
}

/// The rows of `pending.txt`: case and reason.
///
/// # Errors
/// It cannot be read, or a row has no reason.
pub(crate) fn pending() -> Outcome<BTreeMap<String, String>> {
    let path = case::home().join("pending.txt");
    let text = case::read(&path)?;
    let rows = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    rows.map(|line| {
        let (name, reason) = line.split_once(": ").ok_or_else(|| format!("{}: `{line}` is not `CASE: REASON`", path.display()))?;
        Ok((name.to_owned(), reason.to_owned()))
    })
    .collect()
}
