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
    /// The objects, as YAML documents, as `helm template` prints them.
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

fn none() -> Value {
    Value::Object(Map::new())
}
