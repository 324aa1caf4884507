//! Who owns which field of an object: `metadata.managedFields`, read, handed over, and put into words.

use crate::base::json::{Array, Map, Value as Json, json};

use super::view;
use crate::base::{Error, Kind, Reason, Result};
use crate::cluster::{Cluster, Target};

/// The managers under which kubectl's client-side apply owns fields (client-go: util/csaupgrade; kubectl: pkg/cmd/apply/apply.go).
const CLIENT_SIDE: [&str; 2] = ["kubectl-client-side-apply", "before-first-apply"];
/// The field by which other client-side appliers are told, kubectl under another name.
const REMEMBERS: &str = "/fieldsV1/f:metadata/f:annotations/f:kubectl.kubernetes.io~1last-applied-configuration";

/// Who owns what, without when.
pub(super) fn of(object: &Json) -> Vec<Json> {
    let timeless = |entry: &Json| {
        let mut entry = entry.clone();
        if let Some(fields) = entry.as_object_mut() {
            fields.remove("time");
        }
        entry
    };
    view::list(object, "/metadata/managedFields").iter().map(timeless).collect()
}

/// Whether an entry is of a client-side apply.
fn is_client_side(entry: &Json) -> bool {
    let manager = view::text(entry, "/manager");
    view::text(entry, "/operation") == "Update"
        && view::text(entry, "/subresource").is_empty()
        && (CLIENT_SIDE.contains(&manager) || (manager.starts_with("kubectl") && entry.pointer(REMEMBERS).is_some()))
}

/// The owners once lockgate owns what client-side appliers own, and their names; `None` when there are none.
pub(super) fn handed_over(object: &Json) -> Option<(Json, Vec<String>)> {
    let entries = view::list(object, "/metadata/managedFields");
    let theirs: Vec<&Json> = entries.iter().filter(|entry| is_client_side(entry)).collect();
    let first = (*theirs.first()?).clone();
    let is_ours = |entry: &Json| {
        (view::text(entry, "/manager"), view::text(entry, "/operation"), view::text(entry, "/subresource"))
            == (Cluster::MANAGER, "Apply", "")
    };
    let mut ours = entries.iter().find(|entry| is_ours(entry)).cloned().unwrap_or_else(|| {
        let mut ours = first;
        ours["manager"] = Cluster::MANAGER.into();
        ours["operation"] = "Apply".into();
        ours
    });
    for entry in &theirs {
        let fields = entry.get("fieldsV1").cloned().unwrap_or_else(|| json!({}));
        match ours.get_mut("fieldsV1") {
            Some(own) => unite(own, &fields),
            None => ours["fieldsV1"] = fields,
        }
    }
    let mut rest: Array = entries.iter().filter(|entry| !is_client_side(entry) && !is_ours(entry)).cloned().collect();
    rest.insert(0, ours);
    let managers = theirs.iter().map(|entry| view::text(entry, "/manager").to_owned()).collect();
    Some((Json::Array(rest), managers))
}

/// Adds the fields of one set to another: both are trees whose leaves are empty.
fn unite(own: &mut Json, other: &Json) {
    let (Some(own), Some(other)) = (own.as_object_mut(), other.as_object()) else { return };
    for (key, fields) in other {
        match own.get_mut(key) {
            Some(mine) => unite(mine, fields),
            None => drop(own.insert(key.clone(), fields.clone())),
        }
    }
}

/// Whether an error says that others own fields.
pub(super) fn is_conflict(error: &Error) -> bool {
    causes(error).next().is_some()
}

fn causes(error: &Error) -> impl Iterator<Item = &Json> {
    let all = error.details.get("causes").and_then(Json::as_array).into_iter().flatten();
    all.filter(|cause| view::text(cause, "/reason") == "FieldManagerConflict")
}

/// The error in words: which field, whose, what it is and what it was to be. Fields of `spared` managers do not count; `None` when none
/// is left.
pub(super) fn conflict(target: &Target, error: &Error, live: &Json, wanted: &Json, spared: &[String]) -> Option<Error> {
    let mut rows = Array::new();
    let mut told = Vec::new();
    for cause in causes(error) {
        let owner = owner(view::text(cause, "/message"));
        if spared.contains(&owner) {
            continue;
        }
        let path = view::text(cause, "/field");
        let shown = path.trim_start_matches('.').to_owned();
        let hidden = target.resource.kind == "Secret" && ["data", "stringData"].iter().any(|field| shown.starts_with(field));
        let value = |of: &Json| at(of, path).filter(|_| !hidden).cloned();
        let mut row = Map::from_iter([("field".to_owned(), Json::from(shown.as_str())), ("owner".to_owned(), owner.as_str().into())]);
        row.extend(value(live).map(|value| ("live".to_owned(), value)));
        row.extend(value(wanted).map(|value| ("wanted".to_owned(), value)));
        rows.push(Json::Object(row));
        let values = match (value(live), value(wanted)) {
            (Some(live), Some(wanted)) => format!(", which has it at {live} and not at {wanted}"),
            _ => String::new(),
        };
        told.push(format!("`{shown}` belongs to `{owner}`{values}"));
    }
    let first = told.first()?;
    let message = match told.len() {
        1 => format!("applying `{target}`: {first}"),
        many => format!("applying `{target}`: {many} fields belong to others"),
    };
    let mut conflict = Error::new(Kind::Cluster, Reason::Conflict, message)
        .about(target.full_name())
        .details(json!({ "code": 409, "fields": Json::Array(rows) }))
        .hint("leave these fields out, or take them over with `force_conflicts = true`");
    if told.len() > 1 {
        conflict.causes = told;
    }
    Some(conflict)
}

/// The manager that the server's message names: `conflict with "kubectl-edit" using apps/v1 at …`, or with a subresource.
fn owner(message: &str) -> String {
    message.split('"').nth(1).unwrap_or(message).to_owned()
}

/// The value at a path as the server writes it: `.spec.containers[name="web"].image`. A key may hold dots; the longest that fits is
/// meant.
fn at<'a>(value: &'a Json, path: &str) -> Option<&'a Json> {
    if path.is_empty() {
        return Some(value);
    }
    if let Some(rest) = path.strip_prefix('[') {
        let (key, rest) = rest.split_once(']')?;
        let wanted: Vec<(&str, Json)> = key.split(',').map(element_key).collect::<Result<_, ()>>().ok()?;
        let item = value.as_array()?.iter().find(|item| wanted.iter().all(|(name, value)| item.get(*name) == Some(value)))?;
        return at(item, rest);
    }
    let rest = path.strip_prefix('.')?;
    let map = value.as_object()?;
    let mut keys: Vec<&str> = map.keys().map(|key| &**key).filter(|key| rest.starts_with(*key)).collect();
    keys.sort_by_key(|key| std::cmp::Reverse(key.len()));
    keys.into_iter().filter(|key| matches!(rest.as_bytes().get(key.len()), None | Some(b'.' | b'['))).find_map(|key| {
        let (value, rest) = (map.get(key)?, rest.get(key.len()..)?);
        at(value, rest)
    })
}

/// `name="web"` or `containerPort=80`.
fn element_key(text: &str) -> Result<(&str, Json), ()> {
    let (name, value) = text.split_once('=').ok_or(())?;
    let value: serde_json::Value = serde_json::from_str(value).map_err(drop)?;
    crate::base::json::to_value(&value).map(|value| (name, value)).map_err(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(manager: &str, operation: &str, fields: Json) -> Json {
        json!({ "manager": manager, "operation": operation, "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": fields })
    }

    fn object(entries: &[Json]) -> Json {
        json!({ "metadata": { "managedFields": Json::Array(entries.iter().cloned().collect()) } })
    }

    #[test]
    fn what_kubectl_applied_becomes_ours() {
        let theirs = json!({ "f:data": { "f:a": {}, "f:b": {} }, "f:metadata": { "f:annotations": { "." : {} } } });
        let edited = entry("kubectl-edit", "Update", json!({ "f:data": { "f:c": {} } }));
        let (managed, managers) =
            handed_over(&object(&[entry("kubectl-client-side-apply", "Update", theirs.clone()), edited.clone()])).unwrap();
        assert_eq!(managed, json!([entry("lockgate", "Apply", theirs.clone()), edited.clone()]));
        assert_eq!(managers, ["kubectl-client-side-apply"]);

        let ours = entry("lockgate", "Apply", json!({ "f:data": { "f:d": {} } }));
        let both = [ours, entry("before-first-apply", "Update", theirs), edited.clone()];
        let (managed, _) = handed_over(&object(&both)).unwrap();
        assert_eq!(managed[0]["fieldsV1"]["f:data"], json!({ "f:a": {}, "f:b": {}, "f:d": {} }));
        assert_eq!(managed.as_array().unwrap().len(), 2);
    }

    #[test]
    fn others_keep_theirs() {
        let fields = json!({ "f:data": { "f:a": {} } });
        for manager in ["kubectl-edit", "helm", "lockgate"] {
            assert_eq!(handed_over(&object(&[entry(manager, "Update", fields.clone())])), None, "{manager}");
        }
        assert_eq!(handed_over(&object(&[entry("kubectl-client-side-apply", "Apply", fields.clone())])), None);
        let mut status = entry("kubectl-client-side-apply", "Update", fields);
        status["subresource"] = "status".into();
        assert_eq!(handed_over(&object(&[status])), None);
        // kubectl under another name is known by what it remembers.
        let remembers = json!({ "f:metadata": { "f:annotations": { "f:kubectl.kubernetes.io/last-applied-configuration": {} } } });
        assert!(handed_over(&object(&[entry("kubectl-replace", "Update", remembers)])).is_some());
    }

    #[test]
    fn paths_of_the_server_are_followed() {
        let object = json!({
            "metadata": { "annotations": { "example.com/a.b": "1" } },
            "spec": { "containers": [{ "name": "web", "ports": [{ "containerPort": 80, "protocol": "TCP", "name": "http" }] }] },
        });
        assert_eq!(at(&object, ".metadata.annotations.example.com/a.b"), Some(&json!("1")));
        assert_eq!(at(&object, r#".spec.containers[name="web"].ports[containerPort=80,protocol="TCP"].name"#), Some(&json!("http")));
        assert_eq!(at(&object, r#".spec.containers[name="none"].image"#), None);
        assert_eq!(at(&object, ".spec.replicas"), None);
    }
}
