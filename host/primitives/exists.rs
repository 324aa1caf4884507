//! `exists`: whether an object is there.

use super::cx::Cx;
use super::done::Done;
use crate::base::{ObjectRef, Result};
use crate::primitive;

primitive! {
    /// Says whether an object is there. A kind that the server does not know is an error, so that a misspelt one is not taken for
    /// an absent object.
    pub read fn exists as Exists(
        /// The object, for example `configmap/cce-cni-node-agent`.
        object: ObjectRef,
    ) options {
        /// The namespace, when the reference has none.
        namespace: Option<String>,
    } -> "boolean", "whether it is there";
    since "0.1";
    example r#"ensure(exists("configmap/cce-cni-node-agent"), "this is no v1 container network")"#;
    needs ["get {object}"];
}

impl Exists {
    async fn run(self, cx: Cx) -> Result<Done> {
        let target = cx.target(&self.object, self.namespace.as_deref()).await?;
        Ok(Done::read(cx.cluster.find(&target).await?.is_some()))
    }
}
