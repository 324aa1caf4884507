//! What a manifest puts into the cluster, how it stands there, and what became of it.

use std::sync::Arc;

use super::release::Place;
use crate::base::diff::{Change, changes};
use crate::base::json::{Value as Json, json};
use crate::base::{Error, Kind, Quantity, Reason, Result};
use crate::cluster::Target;
use crate::primitives::cx::Cx;
use crate::primitives::view;

/// What is shown in the place of a secret.
const HIDDEN: &str = "(hidden)";
/// Parts of names of values that are not for everybody's eyes.
const SECRET_NAMES: [&str; 9] = ["password", "passwd", "secret", "token", "credential", "apikey", "privatekey", "cert", "auth"];

/// The documents of a manifest.
///
/// # Errors
/// `helm_render` when it is no YAML.
pub(super) fn documents(doing: &str, manifest: &str) -> Result<Vec<Json>> {
    let documents: Vec<Json> =
        serde_saphyr::from_multiple_with_options(manifest, lockgate_sim::fixture::yaml_options()).map_err(|error| {
            Error::new(Kind::Input, Reason::HelmRender, format!("{doing}: the manifest cannot be read")).cause(error.to_string())
        })?;
    let mut objects = Vec::new();
    for document in documents {
        match document.get("items").and_then(Json::as_array) {
            Some(items) if view::text(&document, "/kind").ends_with("List") => objects.extend(items.iter().cloned()),
            _ if view::text(&document, "/kind").is_empty() => {}
            _ => objects.push(document),
        }
    }
    Ok(objects)
}

/// An object of a manifest and how it stands in the cluster.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) target: Target,
    /// As the manifest has it; `None` for one that only another manifest has.
    pub(super) wanted: Option<Json>,
    /// As the cluster has it.
    pub(super) live: Option<Arc<Json>>,
}

/// The objects of several manifests as they stand now, each once; the last manifest says what is wanted. Objects of kinds that the
/// server does not know (yet) are not there.
pub(super) async fn look(cx: &Cx, place: &Place, doing: &str, manifests: &[&str]) -> Result<Vec<Item>> {
    let mut items: Vec<Item> = Vec::new();
    for (at, manifest) in manifests.iter().enumerate() {
        let is_last = at + 1 == manifests.len();
        for object in documents(doing, manifest)? {
            let Some(target) = target(cx, place, &object).await? else { continue };
            let wanted = is_last.then(|| object.clone());
            match items.iter_mut().find(|item| item.target == target) {
                Some(item) => item.wanted = wanted,
                None => items.push(Item { live: cx.cluster.find(&target).await?, target, wanted }),
            }
        }
    }
    Ok(items)
}

/// The same items and those that only this manifest has, as ones that were not there.
pub(super) async fn with(cx: &Cx, place: &Place, doing: &str, mut items: Vec<Item>, manifest: &str) -> Result<Vec<Item>> {
    for object in documents(doing, manifest)? {
        let Some(target) = target(cx, place, &object).await? else { continue };
        if !items.iter().any(|item| item.target == target) {
            items.push(Item { target, wanted: Some(object), live: None });
        }
    }
    Ok(items)
}

/// Reads the same objects again.
pub(super) async fn again(cx: &Cx, items: &[Item]) -> Result<Vec<Item>> {
    let mut now = Vec::new();
    for item in items {
        now.push(Item { live: cx.cluster.find(&item.target).await?, ..item.clone() });
    }
    Ok(now)
}

/// What an object of a manifest is on the server; `None` for a kind that it does not know.
pub(super) async fn target(cx: &Cx, place: &Place, object: &Json) -> Result<Option<Target>> {
    let (group, version) = view::text(object, "/apiVersion").split_once('/').unwrap_or(("", view::text(object, "/apiVersion")));
    let kind = view::text(object, "/kind").to_lowercase();
    let word = if group.is_empty() { format!("{kind}.{version}") } else { format!("{kind}.{version}.{group}") };
    let resource = match cx.cluster.resolve(&word, None).await {
        Ok(resource) => resource,
        Err(error) if error.kind == Kind::Input => return Ok(None),
        Err(error) => return Err(error),
    };
    let namespace = match view::text(object, "/metadata/namespace") {
        "" => place.namespace.clone(),
        own => own.to_owned(),
    };
    Ok(Some(cx.cluster.object(resource, Some(namespace), view::name(object))))
}

/// What became of objects between two looks, each field under the name of its object; what Secrets hold is hidden.
pub(super) fn became(before: &[Item], after: &[Item]) -> Vec<Change> {
    let mut all = Vec::new();
    for (then, now) in before.iter().zip(after) {
        let name = then.target.to_string();
        let kind = || json!(format!("{} {}", then.target.resource.api_version(), then.target.resource.kind));
        match (&then.live, &now.live) {
            (None, None) => {}
            (None, Some(_)) => all.push(Change { path: name, before: None, after: Some(kind()) }),
            (Some(_), None) => all.push(Change { path: name, before: Some(kind()), after: None }),
            (Some(then), Some(now)) => {
                let is_secret = view::text(now, "/kind") == "Secret";
                let told = changes(then, now).into_iter().map(|change| if is_secret { hidden(change) } else { change });
                all.extend(told.map(|change| Change { path: format!("{name} {}", change.path), ..change }));
            }
        }
    }
    all
}

/// The change of a Secret, without what is in it.
fn hidden(change: Change) -> Change {
    let is_open = !["data", "stringData"]
        .iter()
        .any(|field| change.path.strip_prefix(field).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '['])));
    // What kubectl keeps of the last manifest holds it too.
    if is_open && !change.path.contains("last-applied-configuration") {
        return change;
    }
    let hide = |value: Option<Json>, text: &str| value.map(|_| json!(text));
    Change { path: change.path, before: hide(change.before, HIDDEN), after: hide(change.after, "(hidden, another)") }
}

/// What changed between two sets of values; those whose names sound secret are hidden.
pub(super) fn values_changes(before: &Json, after: &Json) -> Vec<Change> {
    let all = changes(&json!({ "values": before }), &json!({ "values": after }));
    all.into_iter()
        .map(|change| {
            let name = change.path.to_lowercase();
            let holds = |value: &Option<Json>| value.as_ref().is_some_and(Json::is_object);
            if SECRET_NAMES.iter().any(|secret| name.contains(secret)) || holds(&change.before) || holds(&change.after) {
                let hide = |value: Option<Json>, text: &str| value.map(|_| json!(text));
                Change { path: change.path, before: hide(change.before, HIDDEN), after: hide(change.after, "(hidden, another)") }
            } else {
                change
            }
        })
        .collect()
}

/// Whether the cluster has everything as a manifest wants it; fields that it does not name do not count.
pub(super) fn stands(items: &[Item]) -> bool {
    items.iter().all(|item| match (&item.wanted, &item.live) {
        (Some(wanted), Some(live)) => holds(live, wanted, &mut Vec::new()),
        (Some(_), None) => false,
        (None, _) => true,
    })
}

/// Whether what is wanted is in what is there.
fn holds(there: &Json, wanted: &Json, path: &mut Vec<String>) -> bool {
    match (there, wanted) {
        (_, Json::Null) => true,
        (Json::Object(there), Json::Object(wanted)) => wanted.iter().all(|(key, wanted)| {
            // The server folds this one into `data`.
            if path.is_empty() && (key.as_str() == "stringData" || key.as_str() == "status") {
                return key.as_str() == "status";
            }
            path.push(key.to_string());
            let empty = |value: &Json| {
                value.as_object().is_some_and(crate::base::json::Map::is_empty) || value.as_array().is_some_and(|items| items.is_empty())
            };
            let good = match there.get(key) {
                Some(there) => holds(there, wanted, path),
                None => wanted.is_null() || empty(wanted),
            };
            path.pop();
            good
        }),
        (Json::Array(there), Json::Array(wanted)) => {
            there.len() == wanted.len() && there.iter().zip(wanted.iter()).all(|(there, wanted)| holds(there, wanted, path))
        }
        _ => there == wanted || same_amount(there, wanted),
    }
}

/// Whether both are the same quantity in other words: `1000m` and `1`.
fn same_amount(there: &Json, wanted: &Json) -> bool {
    let read = |value: &Json| match value {
        Json::String(text) => text.parse::<Quantity>().ok(),
        Json::Number(number) => number.to_string().parse::<Quantity>().ok(),
        _ => None,
    };
    matches!((read(there), read(wanted)), (Some(a), Some(b)) if a == b)
}

/// The workloads among the objects whose rollout can be waited for.
pub(super) fn workloads(items: &[Item]) -> impl Iterator<Item = &Target> {
    items.iter().filter_map(|item| {
        let live = item.live.as_ref().filter(|_| item.wanted.is_some())?;
        let is_workload = item.target.resource.group == "apps"
            && ["Deployment", "DaemonSet", "StatefulSet"].contains(&item.target.resource.kind.as_str());
        // Their pods are replaced by somebody else, or not at all at present.
        let is_left = view::text(live, "/spec/updateStrategy/type") == "OnDelete" || view::flag(live, "/spec/paused");
        (is_workload && !is_left).then_some(&item.target)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_is_its_objects_lists_opened() {
        let text = "---\n# Source: a\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\n---\napiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Secret, metadata: {name: b}}\n";
        let names: Vec<String> = documents("x", text).unwrap().iter().map(|object| view::name(object).to_owned()).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(documents("x", "").unwrap().len(), 0);
        assert_eq!(documents("x", "a: [").unwrap_err().reason, Reason::HelmRender);
    }

    #[test]
    fn what_the_server_adds_or_says_otherwise_is_no_drift() {
        let live = json!({ "spec": { "replicas": 2, "cpu": "1", "list": [{ "a": 1, "b": 2 }], "e": {} }, "status": {} });
        for (wanted, same) in [
            (json!({ "spec": { "replicas": 2, "cpu": "1000m", "list": [{ "a": 1 }], "none": {}, "null": null } }), true),
            (json!({ "spec": { "replicas": 3 } }), false),
            (json!({ "spec": { "list": [] } }), false),
            (json!({ "spec": { "list": [{ "a": 1 }, { "c": 1 }] } }), false),
            (json!({ "spec": { "new": "x" } }), false),
            (json!({ "stringData": { "a": "b" } }), false),
        ] {
            assert_eq!(holds(&live, &wanted, &mut Vec::new()), same, "{wanted}");
        }
    }

    #[test]
    fn secrets_are_told_without_what_is_in_them() {
        let change = |path: &str| hidden(Change { path: path.to_owned(), before: Some(json!("b2xk")), after: Some(json!("bmV3")) });
        assert_eq!(change("data.password").to_string(), "data.password (hidden) -> (hidden, another)");
        assert_eq!(change("data[tls.crt]").to_string(), "data[tls.crt] (hidden) -> (hidden, another)");
        assert_eq!(change("metadata.labels.a").to_string(), "metadata.labels.a b2xk -> bmV3");
        let values =
            values_changes(&json!({ "a": 1, "db": { "password": "x" } }), &json!({ "a": 2, "db": { "password": "y" }, "adminToken": "z" }));
        let told: Vec<String> = values.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            ["values.a 1 -> 2", "values.adminToken added (hidden, another)", "values.db.password (hidden) -> (hidden, another)"]
        );
    }
}
