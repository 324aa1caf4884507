//! `label`: labels of any object.

use super::cx::Cx;
use super::done::Done;
use super::settings::{Kind, Settings, run};
use crate::base::{ObjectRef, Result};
use crate::primitive;

primitive! {
    /// Sets labels of an object, and takes away those that are `false`.
    ///
    /// A label that has another value is overwritten; what it was is in the result, in the form that sets it back. When all are as asked
    /// nothing is sent. When somebody else changes the object at the same moment it is read and judged anew.
    pub write fn label as Label(
        /// The object, for example `node/w1`.
        object: ObjectRef,
        /// The value for each name; `false` takes it away.
        labels: Settings,
    ) options {
        /// The namespace, when the reference has none.
        namespace: Option<String>,
    } -> "{ changed: boolean, previous: { [string]: string | boolean } }", "what they were; `false` where there was none";
    since "0.1";
    example r#"label("node/w1", { ["upgrade-window"] = "1", ["old"] = false })"#;
    needs ["get {object}", "patch {object}"];
}

impl Label {
    async fn run(self, cx: Cx) -> Result<Done> {
        run(&cx, &self.object, self.namespace.as_deref(), Kind::Labels, &self.labels).await
    }
}
