//! What a `Model` document says about the machines behind nodes.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde::Deserialize;
use serde::de::{self, Deserializer};

use crate::json::Value;
use crate::model::{Span, glob};

/// How long a machine is away when it reboots and no entry says otherwise.
const BOOT: SignedDuration = SignedDuration::from_secs(60);

/// What is known about the machines of nodes whose name matches a pattern.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MachineModel {
    /// Pattern over the name of the node; `*` stands for any text, `?` for one character.
    pub node: String,
    /// The distribution and its version: `debian 12`, `centos 7`. It decides which package tool is there.
    pub os: Option<String>,
    /// Installed packages with their versions.
    #[serde(default)]
    pub packages: BTreeMap<String, String>,
    /// Packages that are held at their version.
    #[serde(default)]
    pub held: Vec<String>,
    /// The versions of packages that the repositories have.
    #[serde(default)]
    pub available: BTreeMap<String, Vec<String>>,
    /// Files with their text.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
    /// Units of systemd. `kubelet` is active unless it says otherwise.
    #[serde(default)]
    pub units: BTreeMap<String, Activity>,
    /// Commands, beside those that every machine knows; they win over these, and later ones over earlier ones.
    #[serde(default)]
    pub commands: Vec<CommandModel>,
    /// How long a reboot takes until the kubelet starts again; 60 s when left out.
    pub boot: Option<Span>,
    /// Why this is believed.
    pub why: String,
}

/// Whether a unit runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Activity {
    /// It runs.
    Active,
    /// It does not run.
    Inactive,
    /// It does not run because it failed.
    Failed,
}

impl Activity {
    /// As `systemctl is-active` says it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Activity::Active => "active",
            Activity::Inactive => "inactive",
            Activity::Failed => "failed",
        }
    }
}

/// What a command does on a machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandModel {
    /// Pattern over the words of the command, joined by one space each; or the words themselves, as a list.
    #[serde(deserialize_with = "argv")]
    pub argv: String,
    /// Only while a file holds a text.
    pub when: Option<FileHolds>,
    /// How long it takes; no time when left out.
    pub takes: Option<Span>,
    /// Its exit code, 0 to 255.
    #[serde(default)]
    pub code: u8,
    /// What it writes to standard output.
    #[serde(default)]
    pub stdout: String,
    /// What it writes to standard error.
    #[serde(default)]
    pub stderr: String,
    /// What it changes when it ends.
    pub effect: Option<EffectModel>,
}

/// A file that holds a text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileHolds {
    /// Its path.
    pub file: String,
    /// The text.
    pub contains: String,
}

/// What a command changes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EffectModel {
    /// Packages with their new versions; `null` removes one.
    #[serde(default)]
    pub packages: BTreeMap<String, Option<String>>,
    /// What repositories have from now on, by package.
    #[serde(default)]
    pub available: BTreeMap<String, Vec<String>>,
    /// Files with their new text; `null` removes one.
    #[serde(default)]
    pub files: BTreeMap<String, Option<String>>,
    /// Units.
    #[serde(default)]
    pub units: BTreeMap<String, Activity>,
    /// Objects of the cluster and how they change.
    #[serde(default)]
    pub objects: Vec<ObjectChange>,
    /// Whether the machine reboots.
    #[serde(default)]
    pub reboot: bool,
}

/// A change of an object, as if its controller had written it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectChange {
    /// `kind/name`, or `kind/namespace/name`.
    pub object: String,
    /// A JSON merge patch.
    pub merge: Value,
}

/// Words as a list, or a pattern as one text.
fn argv<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = match Value::deserialize(deserializer)? {
        Value::String(text) => text.to_string(),
        Value::Array(words) => {
            let words: Option<Vec<&str>> = words.iter().map(Value::as_str).collect();
            words.ok_or_else(|| de::Error::custom("`argv` must be a text or a list of texts"))?.join(" ")
        }
        _ => return Err(de::Error::custom("`argv` must be a text or a list of texts")),
    };
    if text.trim().is_empty() { Err(de::Error::custom("`argv` is empty")) } else { Ok(text) }
}

impl MachineModel {
    /// An entry that says nothing yet about the machines of nodes that match `node`.
    #[must_use]
    pub fn new(node: &str, why: &str) -> Self {
        Self { node: node.to_owned(), why: why.to_owned(), ..Self::default() }
    }

    pub(crate) fn matches(&self, node: &str) -> bool {
        glob(&self.node, node)
    }

    pub(super) fn boot_time(&self) -> Option<SignedDuration> {
        self.boot.map(|span| span.0)
    }
}

/// The time of a reboot that these entries say, the last one that does.
pub(super) fn boot_time<'a>(entries: impl DoubleEndedIterator<Item = &'a MachineModel>) -> SignedDuration {
    entries.rev().find_map(MachineModel::boot_time).unwrap_or(BOOT)
}

impl CommandModel {
    pub(super) fn matches(&self, command: &str) -> bool {
        glob(&self.argv, command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::{from_value, json};

    #[test]
    fn commands_are_patterns_or_words() {
        let command = |argv: Value| from_value::<CommandModel>(json!({ "argv": argv })).map_err(|error| error.to_string());
        assert!(command(json!("kubeadm upgrade *")).unwrap().matches("kubeadm upgrade node"));
        assert!(command(json!(["swapon", "--show"])).unwrap().matches("swapon --show"));
        assert!(!command(json!("swapon")).unwrap().matches("swapon --show"));
        for wrong in [json!(7), json!([1]), json!(""), json!([])] {
            assert!(command(wrong.clone()).unwrap_err().contains("`argv`"), "{wrong}");
        }
    }

    #[test]
    fn the_last_entry_that_says_how_long_a_reboot_takes_wins() {
        let entry = |boot: Option<i64>| MachineModel { boot: boot.map(|s| Span(SignedDuration::from_secs(s))), ..MachineModel::default() };
        assert_eq!(boot_time([entry(None)].iter()), BOOT);
        assert_eq!(boot_time([entry(Some(5)), entry(Some(9)), entry(None)].iter()), SignedDuration::from_secs(9));
    }
}
