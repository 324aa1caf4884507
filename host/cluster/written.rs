//! What a write left behind, where that is seen only later: by then controllers have added their own (a taint, the number of a revision,
//! a status), and what is theirs must not count as what the run wrote.

use std::sync::Arc;

use lockgate_sim::kinds;
use lockgate_sim::patch::{self, PatchKind};

use super::keep::Prior;
use super::request::{Call, Verb};
use crate::base::json::{Map, Value as Json};

/// The object as it was right after this write: as it is now, but with all that the write does not touch as it was before. Where nobody
/// knows what it was, or what the write made of it, it is the object as it is now.
pub(super) fn as_written(prior: Option<&Prior>, call: &Call, now: &Arc<Json>) -> Arc<Json> {
    let Some(Prior::Was(prior)) = prior else { return now.clone() };
    let Some(wanted) = wanted(prior, call) else { return now.clone() };
    let Some(mut written) = written(Some(prior), Some(&wanted), Some(now)) else { return now.clone() };
    if let (Some(metadata), Some(is)) = (written.get_mut("metadata").and_then(Json::as_object_mut), now.get("metadata")) {
        for field in ["resourceVersion", "generation", "managedFields"] {
            if let Some(value) = is.get(field) {
                metadata.insert(field, value.clone());
            }
        }
    }
    Arc::new(written)
}

/// What the write asks for.
fn wanted(prior: &Json, call: &Call) -> Option<Json> {
    let (act, body) = (&call.act, call.body.as_ref()?);
    match act.verb {
        Verb::Update => Some(body.clone()),
        Verb::Patch => {
            let kind = kinds::by_resource(&act.group, &act.version, &act.resource)?;
            let patch = match PatchKind::of(call.content_type).ok()? {
                // Nearly the same, for what is asked here: lists merge by their keys.
                PatchKind::Apply => PatchKind::Strategic,
                other => other,
            };
            patch::apply(patch, kind, prior, body.to_string().as_bytes()).ok()
        }
        _ => None,
    }
}

/// Of the fields that `wanted` changes, what they are now; of all others, what they were.
fn written(prior: Option<&Json>, wanted: Option<&Json>, now: Option<&Json>) -> Option<Json> {
    if prior == wanted {
        return prior.cloned();
    }
    match (wanted, now) {
        (Some(Json::Object(asked)), Some(Json::Object(is))) => {
            let was = prior.and_then(Json::as_object);
            let mut fields = Map::new();
            let names = was.into_iter().flat_map(Map::keys).chain(asked.keys()).chain(is.keys());
            for name in names {
                let (had, asks) = (was.and_then(|was| was.get(name)), asked.get(name));
                // What is beneath a field that the write made is its own, but anybody adds to these maps.
                let is_new = had.is_none() && asks.is_some() && !matches!(name.as_ref(), "annotations" | "labels");
                let value = if is_new { is.get(name).cloned() } else { written(had, asks, is.get(name)) };
                if let (Some(value), false) = (value, fields.contains_key(name)) {
                    fields.insert(name.clone(), value);
                }
            }
            Some(Json::Object(fields))
        }
        (Some(Json::Array(asked)), Some(Json::Array(is))) => {
            let was = prior.and_then(Json::as_array).map(|was| &**was).unwrap_or_default();
            let all: Option<Vec<&str>> = asked.iter().chain(is.iter()).map(name).collect();
            if all.is_none() {
                return now.cloned();
            }
            let of = |list: &[Json], wanted: Option<&str>| list.iter().find(|one| name(one) == wanted).cloned();
            let merged = asked.iter().filter_map(|one| {
                let key = name(one);
                written(of(was, key).as_ref(), Some(one), of(is, key).as_ref())
            });
            Some(merged.collect())
        }
        _ => now.cloned(),
    }
}

/// What tells the elements of a list apart.
fn name(element: &Json) -> Option<&str> {
    element.get("name").and_then(Json::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::json::json;
    use crate::cluster::request::{Act, PatchType};

    fn call(verb: Verb, resource: &str, content_type: &'static str, body: Json) -> Call {
        let (group, version) = if resource == "nodes" { ("", "v1") } else { ("apps", "v1") };
        let act = Act {
            verb,
            group: group.to_owned(),
            version: version.to_owned(),
            resource: resource.to_owned(),
            namespace: None,
            name: Some("one".to_owned()),
            subresource: None,
        };
        let mut call = Call::new(act, "`one`").body(body);
        call.content_type = content_type;
        call
    }

    fn left(prior: Json, call: &Call, now: Json) -> Json {
        (*as_written(Some(&Prior::Was(Arc::new(prior))), call, &Arc::new(now))).clone()
    }

    #[test]
    fn what_a_controller_added_meanwhile_is_not_ours() {
        let prior = json!({ "metadata": { "name": "one", "resourceVersion": "1" }, "spec": { "podCIDR": "x" } });
        let now = json!({
            "metadata": { "name": "one", "resourceVersion": "3", "annotations": { "a": "b" } },
            "spec": { "podCIDR": "x", "unschedulable": true, "taints": [{ "key": "node.kubernetes.io/unschedulable" }] },
            "status": { "phase": "x" },
        });
        let body = json!({ "metadata": { "annotations": { "a": "b" } }, "spec": { "unschedulable": true } });
        let written = left(prior, &call(Verb::Patch, "nodes", PatchType::Strategic.content_type(), body), now);
        assert_eq!(
            written,
            json!({
                "metadata": { "name": "one", "resourceVersion": "3", "annotations": { "a": "b" } },
                "spec": { "podCIDR": "x", "unschedulable": true },
            })
        );
    }

    #[test]
    fn elements_of_lists_are_told_by_their_names() {
        let container = |name: &str, image: &str| json!({ "name": name, "image": image });
        let prior = json!({ "spec": { "containers": [container("a", "1"), container("b", "1")] } });
        let now = json!({ "spec": { "containers": [container("a", "2"), container("b", "9"), container("sidecar", "1")] } });
        let body = json!([{ "op": "replace", "path": "/spec/containers/0/image", "value": "2" }]);
        let written = left(prior, &call(Verb::Patch, "deployments", PatchType::Json.content_type(), body), now);
        assert_eq!(written, json!({ "spec": { "containers": [container("a", "2"), container("b", "1")] } }));
    }

    #[test]
    fn what_the_server_fills_in_beneath_our_fields_is_ours() {
        let prior = json!({ "spec": {} });
        let body = json!({ "spec": { "strategy": { "type": "RollingUpdate" } } });
        let now = json!({ "spec": { "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 1 } }, "paused": true } });
        let written = left(prior, &call(Verb::Patch, "deployments", PatchType::Merge.content_type(), body), now);
        assert_eq!(written, json!({ "spec": { "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 1 } } } }));
    }

    #[test]
    fn what_was_taken_away_is_gone() {
        let prior = json!({ "metadata": { "labels": { "a": "1", "b": "2" } } });
        let body = json!({ "metadata": { "labels": { "a": null } } });
        let now = json!({ "metadata": { "labels": { "b": "2", "c": "theirs" } } });
        let written = left(prior, &call(Verb::Patch, "nodes", PatchType::Merge.content_type(), body), now);
        assert_eq!(written, json!({ "metadata": { "labels": { "b": "2" } } }));
    }
}
