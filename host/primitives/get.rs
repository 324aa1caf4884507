//! `get`: one object.

use super::cx::Cx;
use super::done::Done;
use crate::base::{ObjectRef, Result, Value};
use crate::primitive;

primitive! {
    /// Reads one object.
    ///
    /// The table has the object's fields as the API gives them. What a step reads it may change and give to `update`.
    /// An object that is not there is an error, `not_found`, that names objects with similar names.
    pub read fn get as Get(
        /// The object, for example `deployment/web`.
        object: ObjectRef,
    ) options {
        /// The namespace, when the reference has none.
        namespace: Option<String>,
        /// Gives `nil` when the object is not there, instead of an error.
        missing_ok: Option<bool>,
    } -> "Object", "the object";
    since "0.1";
    example r#"print(get("deployment/cce-eni-ipam").spec.replicas)"#;
    needs ["get {object}"];
}

impl Get {
    async fn run(self, cx: Cx) -> Result<Done> {
        let target = cx.target(&self.object, self.namespace.as_deref()).await?;
        let object = if self.missing_ok == Some(true) { cx.cluster.find(&target).await? } else { Some(cx.read(&target).await?) };
        Ok(Done::read(object.map_or(Value::Nil, |object| cx.object(object))))
    }
}
