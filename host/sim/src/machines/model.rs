//! What a `Model` document says about the machines behind nodes.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde::Deserialize;
use serde::de::{self, Deserializer};

use crate::json::{Value, from_value};
use crate::model::{Condition, ObjectChange, Span, glob, parts};

/// How long a machine is away when it reboots and no entry says otherwise.
const BOOT: SignedDuration = SignedDuration::from_secs(60);
/// From the start of a kubelet to a ready node when no entry says otherwise.
const READY: SignedDuration = SignedDuration::from_secs(10);

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
    /// From each start of the kubelet to a ready node; 10 s when left out.
    pub ready: Option<Span>,
    /// How long somebody else holds the lock of the package tool, from the first command on that needs it; not at all when left out.
    pub locked: Option<Span>,
    /// How long nobody reaches the cluster when the static pod of the API server is replaced here and no other node has one; not at all
    /// when left out.
    pub api_away: Option<Span>,
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
    /// Only while all of these hold: one condition or a list of them.
    #[serde(default, deserialize_with = "one_or_more")]
    pub when: Vec<Holds>,
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

/// What must hold when a command begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holds {
    /// On the machine.
    File(FileHolds),
    /// In the cluster, seen from the node. `${1}` in a reference stands for what the first `*` of `argv` does.
    Object(Box<Condition>),
}

impl<'de> Deserialize<'de> for Holds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let about_a_file = value.get("file").is_some();
        let read =
            if about_a_file { from_value(value).map(Holds::File) } else { from_value(value).map(|read| Holds::Object(Box::new(read))) };
        read.map_err(de::Error::custom)
    }
}

/// A file that holds a text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileHolds {
    /// Its path; `${1}` stands for what the first `*` of `argv` does.
    pub file: String,
    /// The text; any file when left out.
    #[serde(default)]
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

/// One condition, or a list of them.
fn one_or_more<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Holds>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    let read = if value.is_array() { from_value(value) } else { from_value(value).map(|one| vec![one]) };
    read.map_err(de::Error::custom)
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

    /// What is wrong with the entry, if anything.
    ///
    /// # Errors
    /// One sentence.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.commands.iter().try_for_each(|command| {
            let changes = command.effect.iter().flat_map(|effect| &effect.objects);
            changes.clone().try_for_each(ObjectChange::check)?;
            if changes.into_iter().any(|change| change.input.is_some()) {
                return Err("a command on a machine has no standard input: `input` is for `exec` entries".to_owned());
            }
            command.when.iter().try_for_each(|holds| match holds {
                Holds::File(_) => Ok(()),
                Holds::Object(condition) => condition.check_for_commands(),
            })
        })
    }
}

/// Times of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Times {
    /// Of a reboot, until the kubelet starts.
    pub(super) boot: SignedDuration,
    /// From the start of the kubelet to a ready node.
    pub(super) ready: SignedDuration,
    /// Of the lock of the package tool.
    pub(super) locked: SignedDuration,
    /// Without any API server.
    pub(super) api_away: SignedDuration,
}

impl Times {
    /// What these entries say: each time the last of them that says it.
    pub(super) fn of(entries: &[&MachineModel]) -> Times {
        let last = |of: fn(&MachineModel) -> Option<Span>| entries.iter().rev().find_map(|entry| of(entry)).map(|span| span.0);
        Times {
            boot: last(|entry| entry.boot).unwrap_or(BOOT),
            ready: last(|entry| entry.ready).unwrap_or(READY),
            locked: last(|entry| entry.locked).unwrap_or_default(),
            api_away: last(|entry| entry.api_away).unwrap_or_default(),
        }
    }
}

impl CommandModel {
    /// What the `*` of the pattern stand for, when it is about this command.
    pub(super) fn matches(&self, command: &str) -> Option<Vec<String>> {
        parts(&self.argv, command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::{from_value, json};

    #[test]
    fn commands_are_patterns_or_words() {
        let command = |argv: Value| from_value::<CommandModel>(json!({ "argv": argv })).map_err(|error| error.to_string());
        assert!(command(json!("kubeadm upgrade *")).unwrap().matches("kubeadm upgrade node").is_some());
        assert!(command(json!(["swapon", "--show"])).unwrap().matches("swapon --show").is_some());
        assert!(command(json!("swapon")).unwrap().matches("swapon --show").is_none());
        for wrong in [json!(7), json!([1]), json!(""), json!([])] {
            assert!(command(wrong.clone()).unwrap_err().contains("`argv`"), "{wrong}");
        }
    }

    #[test]
    fn the_last_entry_that_says_how_long_something_takes_wins() {
        let seconds = |s: Option<i64>| s.map(|s| Span(SignedDuration::from_secs(s)));
        let entry = |boot, ready| MachineModel { boot: seconds(boot), ready: seconds(ready), ..MachineModel::default() };
        let times = |entries: &[MachineModel]| {
            let Times { boot, ready, locked, api_away } = Times::of(&entries.iter().collect::<Vec<_>>());
            [boot, ready, locked, api_away].map(|time| time.as_secs())
        };
        assert_eq!(times(&[entry(None, None)]), [60, 10, 0, 0]);
        assert_eq!(times(&[entry(Some(5), Some(60)), entry(Some(9), None), entry(None, None)]), [9, 60, 0, 0]);
    }
}
