//! Charts in rendered form: what a chart would put into the cluster, for runs without helm.

use serde::Deserialize;

use crate::json::{Map, Value};

/// An entry about a chart.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChartModel {
    /// Its name.
    pub name: String,
    /// Its version, exactly.
    pub version: String,
    /// The version of what it installs.
    #[serde(default, rename = "appVersion", alias = "app_version")]
    pub app_version: Option<String>,
    /// The versions of Kubernetes that it is for.
    #[serde(default, rename = "kubeVersion", alias = "kube_version")]
    pub kube_version: Option<String>,
    /// The values that this entry is for, over the chart's own: a chart that renders to other objects with other values has an entry for
    /// each. Of several that fit the last one counts; one without fits always.
    #[serde(default = "none")]
    pub when: Value,
    /// What the chart says when it refuses such values, in the place of objects.
    #[serde(default)]
    pub fails: Option<String>,
    /// The objects, as YAML documents, as `helm template` prints them.
    #[serde(default)]
    pub manifest: String,
    /// The definitions of custom resources that come with it, as YAML documents.
    #[serde(default)]
    pub crds: String,
    /// Its own values.
    #[serde(default = "none")]
    pub values: Value,
    /// Why this is believed.
    pub why: String,
}

impl ChartModel {
    /// Whether the entry says one thing.
    ///
    /// # Errors
    /// Neither objects nor a refusal, or both; `when` is no map.
    pub(super) fn check(&self) -> Result<(), String> {
        let told = format!("chart {} {}", self.name, self.version);
        match (&self.fails, self.manifest.trim().is_empty()) {
            (Some(_), false) => Err(format!("{told} has a `manifest` and `fails`: it renders or it refuses")),
            (None, true) => Err(format!("{told} has neither a `manifest` nor `fails`")),
            _ if !self.when.is_object() => Err(format!("`when` of {told} is no map of values")),
            _ => Ok(()),
        }
    }
}

fn none() -> Value {
    Value::Object(Map::new())
}
