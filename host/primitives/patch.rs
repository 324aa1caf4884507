//! `patch`: a change of any object.

use crate::base::json::{Value as Json, from_value, json};
use lockgate_sim::{kinds, patch as sim};

use super::cx::Cx;
use super::done::Done;
use super::edit::{edited, plain, told};
use super::tries::{Tries, version};
use super::view;
use crate::base::diff::{Change, changes};
use crate::base::{Error, Kind, ObjectRef, Reason, Result};
use crate::choice;
use crate::cluster::{PatchType, Target};
use crate::primitive;

choice! {
    /// How a change is to be read.
    pub enum ChangeType {
        /// JSON merge patch (RFC 7386): maps are merged, `null` removes, lists are replaced.
        Merge = "merge",
        /// Kubernetes' strategic merge patch: lists of named things are merged by name. Built-in kinds only.
        Strategic = "strategic",
        /// JSON patch (RFC 6902): a list of operations.
        Json = "json",
    } is "\"merge\" | \"strategic\" | \"json\"", "the type of the change"
}

primitive! {
    /// Changes an object in part.
    ///
    /// A change that would change nothing is not sent. `null` removes a field; `array{}` and `object{}` say which empty is meant.
    /// A JSON patch whose `test` does not hold is `precondition`, and nothing is sent. When somebody else changes the object at the same
    /// moment it is read and judged anew; `conflict` is for a change that names another `resourceVersion`, and for a JSON patch by
    /// place in a list that would then change something else.
    pub write fn patch as Patch(
        /// The object, for example `service/cce-eni-ipam`.
        object: ObjectRef,
        /// The change.
        change: Json,
    ) options {
        /// The namespace, when the reference has none.
        namespace: Option<String>,
        /// `merge` (default), `strategic` or `json`.
        r#type: Option<ChangeType>,
    } -> "{ changed: boolean, changes: { { path: string, before: any, after: any } } }", "what changed, field by field";
    since "0.1";
    example r#"patch("node/w1", { metadata = { labels = { window = "1", old = null } } })"#;
    needs ["get {object}", "patch {object}"];
}

impl Patch {
    async fn run(self, cx: Cx) -> Result<Done> {
        let target = cx.target(&self.object, self.namespace.as_deref()).await?;
        let kind = match self.r#type {
            None | Some(ChangeType::Merge) => PatchType::Merge,
            Some(ChangeType::Strategic) => PatchType::Strategic,
            Some(ChangeType::Json) => PatchType::Json,
        };
        check(&target, kind, &self.change)?;
        let mut tries = Tries::of(&cx, &target, "patching");
        let mut meant = None;
        loop {
            let before = tries.read().await?;
            let after = applied(&target, kind, &before, &self.change)?;
            if let Some(after) = &after {
                if plain(after) == plain(&before) && after.get("status") == before.get("status") {
                    return Ok(Done::unchanged(told(false, &[])));
                }
                if kind == PatchType::Json && counts(&self.change) {
                    still_means(&target, &mut meant, changes(&before, after))?;
                }
            }
            match cx.cluster.patch(&target, kind, bound(kind, &self.change, &before), None).await {
                // What was asked for where that is known here; else what the server made of it.
                Ok(stored) => return Ok(edited(&target, &before, after.as_ref().unwrap_or(&stored), &stored)),
                Err(error) if error.reason == Reason::Conflict && !view::text(&self.change, "/metadata/resourceVersion").is_empty() => {
                    return Err(error.hint("the change names the `metadata.resourceVersion` that it is for, and there is a later one"));
                }
                Err(error) => tries.again(kind, &before, explained(error, kind)).await?,
            }
        }
    }
}

/// The request's body, bound to the object as it was read: a request that was given up for lost and arrives late changes nothing that was
/// written since, and the places of a JSON patch mean nothing elsewhere. A change that names a version itself keeps that.
fn bound(kind: PatchType, change: &Json, before: &Json) -> Json {
    let mut body = change.clone();
    match (kind, &mut body) {
        (PatchType::Json, Json::Array(operations)) => {
            operations.insert(0, json!({ "op": "test", "path": "/metadata/resourceVersion", "value": version(before) }));
        }
        (_, Json::Object(fields)) => {
            if !fields.get("metadata").is_some_and(Json::is_object) {
                fields.insert("metadata".to_owned(), json!({}));
            }
            if let Some(metadata) = fields.get_mut("metadata").and_then(Json::as_object_mut)
                && !metadata.contains_key("resourceVersion")
            {
                metadata.insert("resourceVersion".to_owned(), version(before).into());
            }
        }
        _ => {}
    }
    body
}

/// Whether a JSON patch has a path that may count the items of a list.
fn counts(change: &Json) -> bool {
    let counted = |path: &str| path.split('/').any(|part| part == "-" || part.parse::<usize>().is_ok());
    let mut operations = change.as_array().into_iter().flatten();
    operations.any(|operation| counted(view::text(operation, "/path")) || counted(view::text(operation, "/from")))
}

/// Refuses a JSON patch that would change something else than at the first look: the item of that number is another one now.
fn still_means(target: &Target, meant: &mut Option<Vec<Change>>, now: Vec<Change>) -> Result<()> {
    if *meant.get_or_insert_with(|| now.clone()) == now {
        return Ok(());
    }
    let message = format!("patching `{target}`: somebody else changed it meanwhile, and this JSON patch would now change something else");
    Err(Error::new(Kind::Cluster, Reason::Conflict, message)
        .about(target.full_name())
        .hint("look at it again; a strategic patch names the items of a list, where a JSON patch counts them"))
}

/// Refuses a change of the wrong form before anything is read.
fn check(target: &Target, kind: PatchType, change: &Json) -> Result<()> {
    let is_empty_list = change.as_array().is_some_and(|list| list.is_empty());
    match kind {
        PatchType::Json if change.is_array() => Ok(()),
        PatchType::Json => Err(Error::usage(format!("patching `{target}`: a JSON patch is a list of operations"))
            .hint("write `{ { op = \"replace\", path = \"/spec/x\", value = 1 } }`, or leave out `type`")),
        PatchType::Merge | PatchType::Strategic if change.is_object() || is_empty_list => Ok(()),
        PatchType::Merge | PatchType::Strategic => Err(Error::usage(format!("patching `{target}`: the change is no table of fields"))
            .hint("a list of operations needs `type = \"json\"`")),
    }
}

/// The object after the change; `None` where only the server can tell.
fn applied(target: &Target, kind: PatchType, before: &Json, change: &Json) -> Result<Option<Json>> {
    let mut after = before.clone();
    match kind {
        PatchType::Merge => {
            // An empty list is an empty table in Lua, and changes nothing.
            if change.is_object() {
                after.merge(change);
            }
        }
        PatchType::Json => {
            let wrong = |cause: String| Error::usage(format!("patching `{target}`: the change is no JSON patch")).cause(cause);
            let operations: json_patch::Patch = from_value(change).map_err(|error| wrong(error.to_string()))?;
            after = before.patched(&operations).map_err(|error| {
                let what = match operations.0.get(error.operation) {
                    Some(json_patch::PatchOperation::Test(_)) => "its `test` does not hold",
                    _ => "it cannot be applied",
                };
                Error::new(Kind::Cluster, Reason::Precondition, format!("patching `{target}`: {what}; nothing was sent"))
                    .about(target.full_name())
                    .cause(error.to_string())
            })?;
        }
        PatchType::Strategic => return Ok(strategic(target, before, change)),
    }
    Ok(Some(after))
}

/// Merges as the server would; `None` for kinds whose merge keys are not known here, and for what the server will refuse.
fn strategic(target: &Target, before: &Json, change: &Json) -> Option<Json> {
    let resource = &target.resource;
    let kind = kinds::by_resource(&resource.group, &resource.version, &resource.plural)?;
    if !change.is_object() {
        return Some(before.clone());
    }
    sim::apply(sim::PatchKind::Strategic, kind, before, change.to_string().as_bytes()).ok()
}

/// The server's refusal in the words of this verb.
fn explained(error: Error, kind: PatchType) -> Error {
    let code = error.details.get("code").and_then(Json::as_u64);
    match (kind, code) {
        (PatchType::Strategic, Some(415)) => {
            let mut error = error.hint("custom resources take no strategic patch: leave out `type`");
            error.reason = Reason::Unsupported;
            error
        }
        (PatchType::Json, Some(422)) if error.causes.iter().any(|cause| cause.contains("test") || cause.contains("did not match")) => {
            let mut error = error;
            error.reason = Reason::Precondition;
            error
        }
        _ => error,
    }
}
