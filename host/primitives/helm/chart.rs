//! `helm.chart`: what a chart says about itself.

use super::source::{Named, Way};
use crate::base::Result;
use crate::primitive;
use crate::primitives::cx::Cx;
use crate::primitives::done::Done;

primitive! {
    /// Reads what a chart says about itself. It is pulled once in a run; from then on every use of it is this very content.
    pub read fn helm.chart as HelmChart(
        /// The chart: a name with `repo`, `oci://…`, or a path.
        chart: String,
    ) options {
        /// The address of the chart's repository.
        repo: Option<String>,
        /// The chart's version, exactly; needed unless the chart is a path.
        version: Option<String>,
    } -> "{ name: string, version: Version | string, app_version: Version | string, kube_version: string?, values: { [string]: any }, digest: string }",
        "its version, that of what it installs, the versions of Kubernetes that it is for, its values, and the digest of its content";
    since "0.1";
    example r#"print(helm.chart("cilium", { repo = "https://helm.cilium.io", version = "1.16.5" }).kube_version)"#;
    needs [];
}

impl HelmChart {
    async fn run(self, cx: Cx) -> Result<Done> {
        let named = Named { chart: &self.chart, repo: self.repo.as_deref(), version: self.version.as_deref() };
        let way = Way::find(&cx, "helm.chart", &named, None, "secret").await?;
        Ok(Done::read(way.chart().facts()))
    }
}
