//! `update`: an object that the script changed.

use crate::base::json::Value as Json;

use super::cx::Cx;
use super::done::Done;
use super::edit::{edited, merge_patch, plain, told};
use super::view;
use crate::base::{Error, Object, ObjectRef, Reason, Result};
use crate::cluster::PatchType;
use crate::primitive;

primitive! {
    /// Writes back an object that `get` or `list` gave in this step and that the script has changed since.
    ///
    /// Only the difference is sent, so that what the script did not touch is not touched. When somebody else has changed the object
    /// meanwhile the answer is `conflict`, and nothing is written. Another table has no original to compare with: use `patch`.
    pub write fn update as Update(
        /// The table that `get` or `list` gave, with the changes in it.
        object: Object,
    ) -> "{ changed: boolean, changes: { { path: string, before: any, after: any } } }", "what changed, field by field";
    since "0.1";
    example r#"local node = get("node/w1"); node.metadata.labels["window"] = "1"; update(node)"#;
    needs ["patch {object}"];
}

impl Update {
    async fn run(self, cx: Cx) -> Result<Done> {
        let Some(original) = &self.object.original else {
            return Err(Error::usage("`update`: this table is not what `get` or `list` gave in this step")
                .hint("read the object in this step, change that table and give it to `update`; or use `patch`"));
        };
        let current = &self.object.current;
        let target = cx.target(&ObjectRef::of(original)?, None).await?;
        for field in ["/apiVersion", "/kind", "/metadata/name", "/metadata/namespace"] {
            if view::text(original, field) != view::text(current, field) {
                let name = field.trim_start_matches('/').replace('/', ".");
                return Err(Error::usage(format!("updating `{target}`: `{name}` says which object it is and cannot be changed")));
            }
        }
        if merge_patch(&absent(original, "status"), &absent(current, "status")).is_none() && original.get("status") != current.get("status")
        {
            return Err(Error::usage(format!("updating `{target}`: `status` belongs to its controller and cannot be changed")));
        }
        let (before, after) = (plain(original), plain(current));
        let Some(mut body) = merge_patch(&before, &after) else { return Ok(Done::unchanged(told(false, &[]))) };
        body["metadata"]["resourceVersion"] = view::text(original, "/metadata/resourceVersion").into();
        cx.cluster.patch(&target, PatchType::Merge, body, None).await.map_err(|error| {
            if error.reason == Reason::Conflict {
                error.hint("read it again with `get`, and make the change on what that gives")
            } else {
                error
            }
        })?;
        Ok(edited(&target, &before, &after))
    }
}

/// The object without that field.
fn absent(object: &Json, field: &str) -> Json {
    let mut object = object.clone();
    if let Some(fields) = object.as_object_mut() {
        fields.remove(field);
    }
    object
}
