//! `list`: objects of a kind.

use super::cx::Cx;
use super::done::Done;
use super::types::KindName;
use crate::base::{Error, Kind, Reason, Result, Value};
use crate::cluster::Select;
use crate::primitive;

primitive! {
    /// Reads the objects of a kind, sorted by namespace and name.
    ///
    /// Selectors are text as `kubectl` takes it. Large lists are read in pages; they show one moment.
    pub read fn list as List(
        /// The kind: singular, plural, short name or `kind.group`.
        kind: KindName,
    ) options {
        /// The namespace; without it that of the runbook.
        namespace: Option<String>,
        /// The objects of all namespaces.
        all_namespaces: Option<bool>,
        /// A label selector, for example `app=web,tier!=x`.
        labels: Option<String>,
        /// A field selector, for example `spec.nodeName=w1`.
        fields: Option<String>,
        /// Gives an empty list when the server does not know the kind.
        missing_ok: Option<bool>,
    } -> "{ Object }", "the objects";
    since "0.1";
    example r#"for _, pod in list("pods", { labels = "app=cce-eni-ipam" }) do print(pod.metadata.name) end"#;
    needs ["list {kind}"];
}

impl List {
    async fn run(self, cx: Cx) -> Result<Done> {
        let everywhere = self.all_namespaces == Some(true);
        if everywhere && self.namespace.is_some() {
            return Err(Error::usage("`list`: `namespace` and `all_namespaces` exclude each other"));
        }
        let absent = |error: &Error| self.missing_ok == Some(true) && (error.kind == Kind::Input || error.reason == Reason::Unsupported);
        let resource = match cx.cluster.resolve(&self.kind.0, None).await {
            Err(error) if absent(&error) => return Ok(Done::read(Value::List(Vec::new()))),
            other => other?,
        };
        let own = self.namespace.as_deref().unwrap_or(cx.cluster.namespace());
        let namespace = (resource.namespaced && !everywhere).then_some(own);
        let select = Select { labels: self.labels.clone(), fields: self.fields.clone() };
        let listed = match cx.cluster.list(&resource, namespace, &select).await {
            Err(error) if absent(&error) => return Ok(Done::read(Value::List(Vec::new()))),
            other => other?,
        };
        let objects = listed.items.into_iter().map(|object| cx.object(object));
        Ok(Done::read(Value::List(objects.collect())))
    }
}
