//! `annotate`: annotations of any object.

use super::cx::Cx;
use super::done::Done;
use super::settings::{Kind, Settings, run};
use crate::base::{ObjectRef, Result};
use crate::primitive;

primitive! {
    /// Sets annotations of an object, and takes away those that are `false`.
    ///
    /// An annotation that has another value is overwritten; what it was is in the result, in the form that sets it back. When all are as
    /// asked nothing is sent. When somebody else changes the object at the same moment it is read and judged anew.
    pub write fn annotate as Annotate(
        /// The object, for example `deployment/web`.
        object: ObjectRef,
        /// The text for each name; `false` takes it away.
        annotations: Settings,
    ) options {
        /// The namespace, when the reference has none.
        namespace: Option<String>,
    } -> "{ changed: boolean, previous: { [string]: string | boolean } }", "what they were; `false` where there was none";
    since "0.1";
    example r#"annotate("deployment/web", { ["example.com/window"] = "tonight", ["example.com/old"] = false })"#;
    needs ["get {object}", "patch {object}"];
}

impl Annotate {
    async fn run(self, cx: Cx) -> Result<Done> {
        run(&cx, &self.object, self.namespace.as_deref(), Kind::Annotations, &self.annotations).await
    }
}
