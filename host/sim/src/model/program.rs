//! Programs of the operator's machine.

use serde::Deserialize;

/// A program that runs beside the cluster, on the machine of whoever changes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Program {
    /// Renders and changes releases.
    Helm,
    /// Reaches the machines behind nodes.
    Ssh,
}

/// What is said of a program of the operator's machine. Without an entry it is there.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProgramModel {
    /// The program, which is not there.
    pub missing: Program,
    /// Why this is believed.
    pub why: String,
}
