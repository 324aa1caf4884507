//! `helm.manifest`: what a release put into the cluster.

use super::release::ReleaseRef;
use crate::base::{Result, Value};
use crate::primitive;
use crate::primitives::cx::Cx;
use crate::primitives::done::Done;

primitive! {
    /// Reads the manifest of a release's last revision: the objects that it was to put into the cluster, as YAML, without hooks.
    ///
    /// It may hold Secrets in plain text. No helm is needed.
    pub read fn helm.manifest as HelmManifest(
        /// The release, for example `cilium`, or `kube-system/cilium`.
        release: ReleaseRef,
    ) options {
        /// The namespace, when the release names none.
        namespace: Option<String>,
    } -> "string", "the manifest";
    since "0.1";
    example r#"ensure(not string.find(helm.manifest("cilium"), "policy/v1beta1"), "the release uses an API that is gone")"#;
    needs ["list secrets", "list configmaps"];
}

impl HelmManifest {
    async fn run(self, cx: Cx) -> Result<Done> {
        let place = cx.release(&self.release, self.namespace.as_deref());
        let revisions = cx.revisions_there(&place, "reading the manifest of").await?;
        let Some(last) = revisions.last() else { return Ok(Done::read(Value::Nil)) };
        Ok(Done::read(Value::from(last.release()?.manifest().to_owned())))
    }
}
