//! `helm.list`: the releases of a namespace.

use super::release::Stored;
use crate::base::{Error, Result, Value};
use crate::primitive;
use crate::primitives::cx::Cx;
use crate::primitives::done::Done;

primitive! {
    /// Reads the releases of a namespace, each as its last revision is: those that failed or are pending too.
    ///
    /// Fields as those of `helm list -o json`. No helm is needed.
    pub read fn helm.list as HelmList() options {
        /// The namespace; without it that of the runbook.
        namespace: Option<String>,
        /// The releases of all namespaces.
        all_namespaces: Option<bool>,
    } -> "{ { name: string, namespace: string, revision: number, updated: string, status: string, chart: string, app_version: Version | string } }",
        "the releases, sorted by namespace and name";
    since "0.1";
    example r#"for _, release in helm.list { all_namespaces = true } do print(release.name, release.chart) end"#;
    needs ["list secrets", "list configmaps"];
}

impl HelmList {
    async fn run(self, cx: Cx) -> Result<Done> {
        let everywhere = self.all_namespaces == Some(true);
        if everywhere && self.namespace.is_some() {
            return Err(Error::usage("`helm.list`: `namespace` and `all_namespaces` exclude each other"));
        }
        let namespace = self.namespace.as_deref().unwrap_or(cx.cluster.namespace());
        let stored = cx.stored((!everywhere).then_some(namespace), "owner=helm").await?;
        let is_last = |(at, this): &(usize, &Stored)| {
            stored.get(at + 1).is_none_or(|next| (next.namespace(), next.name()) != (this.namespace(), this.name()))
        };
        let rows = stored.iter().enumerate().filter(is_last).map(|(_, last)| Ok(Value::Map(last.release()?.list_row())));
        Ok(Done::read(Value::List(rows.collect::<Result<_>>()?)))
    }
}
