//! `helm.get`: one release as it is.

use super::release::{ReleaseRef, deployed};
use crate::base::{Result, Value};
use crate::primitive;
use crate::primitives::cx::Cx;
use crate::primitives::done::Done;

primitive! {
    /// Reads a release as its last revision is; `nil` when there is none of that name.
    ///
    /// `pending` says whether an operation has begun and not ended: while it does, Helm refuses every other. No helm is needed.
    pub read fn helm.get as HelmGet(
        /// The release, for example `cilium`, or `kube-system/cilium`.
        release: ReleaseRef,
    ) options {
        /// The namespace, when the release names none.
        namespace: Option<String>,
    } -> "{ name: string, namespace: string, revision: number, status: string, pending: boolean, deployed_revision: number?, chart: string, chart_name: string, chart_version: Version | string, app_version: Version | string, description: string, updated: string, first_deployed: string, notes: string }?",
        "the release; `deployed_revision` is the revision that Helm calls deployed";
    since "0.1";
    example r#"print(helm.get("cilium").chart_version)"#;
    needs ["list secrets", "list configmaps"];
}

impl HelmGet {
    async fn run(self, cx: Cx) -> Result<Done> {
        let place = cx.release(&self.release, self.namespace.as_deref());
        let revisions = cx.revisions_of(&place).await?;
        let Some(last) = revisions.last() else { return Ok(Done::read(Value::Nil)) };
        let release = last.release()?;
        let mut row = release.whole_row();
        row.insert("pending".to_owned(), Value::from(release.is_pending()));
        if let Some(deployed) = deployed(&revisions) {
            row.insert("deployed_revision".to_owned(), Value::Json(deployed.revision().into()));
        }
        Ok(Done::read(Value::Map(row)))
    }
}
