//! `update`: an object that the script changed.

use std::sync::Arc;

use crate::base::json::Value as Json;

use super::cx::Cx;
use super::done::Done;
use super::edit::{edited, merge_patch, plain, told};
use super::tries::{Tries, version};
use super::view;
use crate::base::{Error, Kind, Object, ObjectRef, Reason, Result};
use crate::cluster::{PatchType, Target};
use crate::primitive;

primitive! {
    /// Writes back an object that `get` or `list` gave in this step and that the script has changed since.
    ///
    /// Only the difference is sent, and only for the object that was read: what the script did not touch is not touched. When somebody
    /// else has changed the object meanwhile it is read anew. Where the fields of the difference are still as they were read, the same
    /// difference is sent for the new object; else the answer is `conflict`, and nothing is written. A list counts as one field. Another
    /// table has no original to compare with: use `patch`.
    pub write fn update as Update(
        /// The table that `get` or `list` gave, with the changes in it.
        object: Object,
    ) -> "{ changed: boolean, changes: { { path: string, before: any, after: any } } }", "what changed, field by field";
    since "0.1";
    example r#"local node = get("node/w1"); node.metadata.labels["window"] = "1"; update(node)"#;
    needs ["get,patch {object}"];
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
        let Some(change) = merge_patch(&plain(original), &plain(current)) else { return Ok(Done::unchanged(told(false, &[]))) };
        send(&cx, &target, original, &change).await
    }
}

/// Sends the difference for the object as it was read; when that is not the latest, for the latest, as long as nobody else changed
/// what the difference changes.
async fn send(cx: &Cx, target: &Target, original: &Arc<Json>, change: &Json) -> Result<Done> {
    let mut tries = Tries::of(cx, target, "updating").since(original);
    let mut before = original.clone();
    loop {
        let mut body = change.clone();
        body["metadata"]["resourceVersion"] = version(&before).into();
        match cx.cluster.patch(target, PatchType::Merge, body, None).await {
            Err(error) => tries.again(PatchType::Merge, &before, error).await?,
            Ok(stored) => {
                let before = plain(&before);
                let mut after = before.clone();
                after.merge(change);
                return Ok(edited(target, &before, &after, &plain(&stored)));
            }
        }
        before = tries.read().await?;
        if let Some(field) = contested(change, original, &before) {
            let message = format!("updating `{target}`: somebody else changed `{field}` meanwhile; nothing was sent");
            return Err(Error::new(Kind::Cluster, Reason::Conflict, message)
                .about(target.full_name())
                .hint("read it again with `get`, and make the change on what that gives"));
        }
    }
}

/// The first field of a merge patch that is not now what it was.
fn contested(change: &Json, was: &Json, now: &Json) -> Option<String> {
    let is_map = |value: Option<&Json>| value.is_none_or(|value| value.is_object() || value.is_null());
    change.as_object()?.iter().find_map(|(key, value)| {
        let (was, now) = (was.get(key), now.get(key));
        let inner = value.as_object().is_some_and(|fields| !fields.is_empty());
        if inner && is_map(was) && is_map(now) {
            let field = contested(value, was.unwrap_or(&Json::Null), now.unwrap_or(&Json::Null))?;
            return Some(format!("{key}.{field}"));
        }
        let is_there = |value: &&Json| !value.is_null();
        (was.filter(is_there) != now.filter(is_there)).then(|| key.to_string())
    })
}

/// The object without that field.
fn absent(object: &Json, field: &str) -> Json {
    let mut object = object.clone();
    if let Some(fields) = object.as_object_mut() {
        fields.remove(field);
    }
    object
}

#[cfg(test)]
mod tests {
    use crate::base::json::json;

    use super::*;

    #[test]
    fn a_field_is_contested_when_it_is_not_what_it_was() {
        let was = json!({ "data": { "mode": "fast", "list": [1] }, "spec": { "n": 1 } });
        for (change, now, field) in [
            (json!({ "data": { "mode": "slow" } }), json!({ "data": { "mode": "fast", "list": [2], "x": 1 }, "spec": { "n": 2 } }), None),
            (json!({ "data": { "mode": "slow" } }), json!({ "data": { "mode": "slow" } }), Some("data.mode")),
            (json!({ "data": { "mode": null } }), json!({ "data": {} }), Some("data.mode")),
            (json!({ "data": { "list": [3] } }), json!({ "data": { "list": [1, 2] } }), Some("data.list")),
            (json!({ "data": { "new": "x" } }), json!({ "data": { "new": "y" } }), Some("data.new")),
            (json!({ "data": { "new": { "a": 1 } } }), json!({ "data": { "new": { "b": 1 } } }), None),
            (json!({ "data": { "new": { "a": 1 } } }), json!({ "data": { "new": "text" } }), Some("data.new")),
            (json!({ "data": { "new": {} } }), json!({ "data": { "new": { "b": 1 } } }), Some("data.new")),
            (json!({ "spec": { "n": 2 } }), json!({ "spec": null }), Some("spec.n")),
        ] {
            assert_eq!(contested(&change, &was, &now).as_deref(), field, "{change} on {now}");
        }
    }
}
