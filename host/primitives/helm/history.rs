//! `helm.history`: the revisions of a release.

use super::release::ReleaseRef;
use crate::base::{Result, Value};
use crate::primitive;
use crate::primitives::cx::Cx;
use crate::primitives::done::Done;

primitive! {
    /// Reads the revisions of a release, oldest first.
    ///
    /// Fields as those of `helm history -o json`. No helm is needed.
    pub read fn helm.history as HelmHistory(
        /// The release, for example `cilium`, or `kube-system/cilium`.
        release: ReleaseRef,
    ) options {
        /// The namespace, when the release names none.
        namespace: Option<String>,
    } -> "{ { revision: number, updated: string, status: string, chart: string, app_version: Version | string, description: string } }",
        "the revisions";
    since "0.1";
    example r#"for _, revision in helm.history("cilium") do print(revision.revision, revision.status, revision.description) end"#;
    needs ["list secrets", "list configmaps"];
}

impl HelmHistory {
    async fn run(self, cx: Cx) -> Result<Done> {
        let place = cx.release(&self.release, self.namespace.as_deref());
        let revisions = cx.revisions_there(&place, "reading the history of").await?;
        let rows = revisions.iter().map(|stored| Ok(Value::Map(stored.release()?.history_row())));
        Ok(Done::read(Value::List(rows.collect::<Result<_>>()?)))
    }
}
