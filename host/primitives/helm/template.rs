//! `helm.template`: the objects that a chart gives.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::rc::Rc;

use super::binary::Helm;
use super::contents;
use super::release::{Place, ReleaseRef};
use super::source::{Chart, Named, Way};
use super::values_file;
use crate::base::json::Value as Json;
use crate::base::{Reason, Result, Value};
use crate::cluster::Resource;
use crate::primitive;
use crate::primitives::cx::Cx;
use crate::primitives::done::Done;

primitive! {
    /// Renders a chart with the values given, and gives its objects without hooks. Nothing is written.
    ///
    /// The templates see this cluster: its version, its kinds, and what they look up.
    pub read fn helm.template as HelmTemplate(
        /// The name that the release would have.
        release: ReleaseRef,
        /// The chart: a name with `repo`, `oci://…`, or a path.
        chart: String,
    ) options {
        /// The namespace, when the release names none.
        namespace: Option<String>,
        /// The address of the chart's repository.
        repo: Option<String>,
        /// The chart's version, exactly; needed unless the chart is a path.
        version: Option<String>,
        /// Values for the chart.
        values: Option<Json>,
    } -> "{ Object }", "the objects, in the order in which helm would make them";
    since "0.1";
    example r#"for _, object in helm.template("cilium", "./cilium", { values = { debug = { enabled = true } } }) do print(object.kind) end"#;
    needs [];
}

impl HelmTemplate {
    async fn run(self, cx: Cx) -> Result<Done> {
        let place = cx.release(&self.release, self.namespace.as_deref());
        let named = Named { chart: &self.chart, repo: self.repo.as_deref(), version: self.version.as_deref() };
        let doing = format!("rendering release `{place}`");
        let values = values_file::given("helm.template", self.values.as_ref())?;
        let manifest = match Way::find(&cx, "helm.template", &named, Some(&values), "secret").await? {
            Way::Rendered(chart) => chart.model.as_ref().map(|model| model.manifest.clone()).unwrap_or_default(),
            Way::Helm(chart, mut helm) => {
                let file = values_file::file(&cx, &values)?;
                rendered(&cx, &place, &doing, &chart, &values_file::words(&file), &mut helm).await?
            }
        };
        let objects = contents::documents(&doing, &manifest)?;
        Ok(Done::read(Value::List(objects.into_iter().map(Value::Json).collect())))
    }
}

/// What helm renders. helm 4 builds every object on the server when it may look things up there; where a kind is not defined yet it
/// renders by itself then, and is told what the server can do, as helm 3 is.
async fn rendered(cx: &Cx, place: &Place, doing: &str, chart: &Chart, values: &[OsString], helm: &mut Helm) -> Result<String> {
    let mut words = words(place, chart, values);
    let mut alone = alone(cx, place, chart, values).await?;
    words.push("--dry-run=server".into());
    if helm.version().await?.major < 4 {
        alone.push("--dry-run=server".into());
        return helm.ask(doing, &alone).await;
    }
    match helm.ask(doing, &words).await {
        Err(error) if [Reason::HelmRemovedApi, Reason::Invalid].contains(&error.reason) => {
            cx.talk.note(&format!(
                "{doing}: the server does not know every kind of the chart, so that templates that look things up find nothing"
            ));
            helm.ask(doing, &alone).await
        }
        other => other,
    }
}

/// The words of a helm that renders.
fn words(place: &Place, chart: &Chart, values: &[OsString]) -> Vec<OsString> {
    let mut words: Vec<OsString> = vec!["template".into(), place.name.clone().into(), chart.path.clone().into()];
    words.extend(["--namespace".into(), place.namespace.clone().into(), "--no-hooks".into()]);
    words.extend(values.iter().cloned());
    words
}

/// The same of one that asks the server nothing, and is told what that can do.
pub(super) async fn alone(cx: &Cx, place: &Place, chart: &Chart, values: &[OsString]) -> Result<Vec<OsString>> {
    let mut words = words(place, chart, values);
    words.extend(["--kube-version".into(), cx.cluster.server_version().await?.into()]);
    for version in versions(cx).await? {
        words.extend(["--api-versions".into(), version.into()]);
    }
    Ok(words)
}

/// What the server can do, as `.Capabilities.APIVersions` has it.
async fn versions(cx: &Cx) -> Result<BTreeSet<String>> {
    let kinds = cx.cluster.served_kinds().await?;
    let both = |kind: &Rc<Resource>| [kind.api_version(), format!("{}/{}", kind.api_version(), kind.kind)];
    Ok(kinds.iter().flat_map(both).collect())
}
