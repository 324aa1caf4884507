//! Releases of helm that a cluster begins with.

use serde::Deserialize;

use crate::json::{Map, Value};

/// What a release of helm is in a cluster: its record, one Secret for each revision as helm keeps them, and the objects of its chart,
/// which is one of the `charts` of the fixture. Objects that the fixture has itself stay as they are there.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseModel {
    /// Its name.
    pub name: String,
    /// Its namespace; `default` when left out.
    #[serde(default = "default_namespace")]
    pub namespace: String,
    /// The name of its chart.
    pub chart: String,
    /// The version of its chart.
    pub version: String,
    /// The number of the newest revision; one more than the last of `history` when left out.
    pub revision: Option<u32>,
    /// Its status; `deployed` when left out.
    #[serde(default = "deployed")]
    pub status: String,
    /// The values that somebody gave.
    #[serde(default = "none")]
    pub values: Value,
    /// Earlier revisions that helm still keeps, oldest first; `superseded` when they do not say otherwise.
    #[serde(default)]
    pub history: Vec<PastRevision>,
    /// Why this is believed.
    pub why: String,
}

/// An earlier revision of a release.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PastRevision {
    /// Its number.
    pub revision: u32,
    /// The version of its chart.
    pub version: String,
    /// Its status.
    #[serde(default = "superseded")]
    pub status: String,
    /// The values that somebody gave.
    #[serde(default = "none")]
    pub values: Value,
}

fn default_namespace() -> String {
    "default".to_owned()
}

fn deployed() -> String {
    "deployed".to_owned()
}

fn superseded() -> String {
    "superseded".to_owned()
}

fn none() -> Value {
    Value::Object(Map::new())
}

impl ReleaseModel {
    /// All revisions, oldest first.
    pub(crate) fn revisions(&self) -> Vec<PastRevision> {
        let last = self.history.iter().map(|past| past.revision).max().unwrap_or(0);
        let Self { version, status, values, .. } = self.clone();
        let newest = PastRevision { revision: self.revision.unwrap_or(last + 1), version, status, values };
        self.history.iter().cloned().chain([newest]).collect()
    }

    /// What is wrong with the entry, if anything.
    ///
    /// # Errors
    /// One sentence.
    pub(super) fn check(&self) -> Result<(), String> {
        const STATUSES: [&str; 8] =
            ["deployed", "failed", "superseded", "uninstalled", "uninstalling", "pending-install", "pending-upgrade", "pending-rollback"];
        let told = format!("release {}/{}", self.namespace, self.name);
        let all = self.revisions();
        if !all.is_sorted_by(|one, next| one.revision < next.revision) {
            return Err(format!("the revisions of {told} do not go up"));
        }
        match all.iter().find(|revision| !STATUSES.contains(&revision.status.as_str()) || !revision.values.is_object()) {
            Some(wrong) if wrong.values.is_object() => Err(format!("`{}` is no status of {told}: {}", wrong.status, STATUSES.join(", "))),
            Some(_) => Err(format!("`values` of {told} is no map")),
            None => Ok(()),
        }
    }
}
