//! What the status of an object says that somebody would decide by, without what moves by itself: moments, messages, counters of events,
//! addresses, lists of images.

use crate::base::Timestamp;
use crate::base::json::{Map, Value as Json, json};

/// Fields that change although nothing has: where something runs, what was looked at last, what was counted.
const PASSING: [&str; 9] =
    ["addresses", "bootID", "collisionCount", "currentMetrics", "hostIP", "lastScaleTime", "message", "observedGeneration", "podIP"];
/// Lists of things with a name, with the fields of each that count.
const NAMED: [(&str, &str, &[&str]); 5] = [
    ("conditions", "type", &["status"]),
    ("containerStatuses", "name", &["ready", "image"]),
    ("initContainerStatuses", "name", &["ready", "image"]),
    ("history", "version", &["state"]),
    ("components", "name", &["status", "version"]),
];
/// Members that are objects and whose plain fields count.
const INNER: [&str; 2] = ["nodeInfo", "acceptedNames"];

/// What counts of an object's status; nothing when it has none.
pub(super) fn said(object: &Json) -> Option<Json> {
    let status = object.get("status")?.as_object()?;
    // How often their operators count what, only these know.
    let is_custom = object
        .get("apiVersion")
        .and_then(Json::as_str)
        .is_some_and(|version| version.split_once('/').is_some_and(|(group, _)| group.contains('.') && !group.ends_with(".k8s.io")));
    let mut kept = Map::new();
    for (name, value) in status.iter() {
        let value = match value {
            Json::Number(_) if is_custom => None,
            Json::Bool(_) | Json::Number(_) | Json::String(_) => plain(name, value),
            Json::Array(items) => named(name, items),
            Json::Object(fields) if INNER.contains(&name.as_str()) => {
                let fields = fields.iter().filter_map(|(name, value)| Some((name.clone(), plain(name, value)?)));
                Some(Json::Object(fields.collect()))
            }
            _ => None,
        };
        if let Some(value) = value {
            kept.insert(name.clone(), value);
        }
    }
    Some(Json::Object(kept))
}

fn plain(name: &str, value: &Json) -> Option<Json> {
    let is_moment = value.as_str().is_some_and(|text| text.parse::<Timestamp>().is_ok());
    let counts = matches!(value, Json::Bool(_) | Json::Number(_) | Json::String(_)) && !is_moment && !PASSING.contains(&name);
    counts.then(|| value.clone())
}

/// `{ Ready = { status = "True" } }`
fn named(name: &str, items: &[Json]) -> Option<Json> {
    let (_, key, fields) = NAMED.iter().find(|(list, _, _)| *list == name)?;
    let of = |item: &Json| -> Option<(String, Json)> {
        let own = item.get(*key)?.as_str()?.to_owned();
        let kept: Map = fields.iter().filter_map(|field| Some((*field, item.get(*field)?.clone()))).collect();
        Some((own, Json::Object(kept)))
    };
    let all: Map = items.iter().filter_map(of).collect();
    Some(json!(all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_decides_by_counts_and_what_moves_by_itself_does_not() {
        let deployment = |ready: u32, seen: &str| {
            json!({ "apiVersion": "apps/v1", "kind": "Deployment", "status": {
                "observedGeneration": ready, "readyReplicas": 2, "conditions": [
                    { "type": "Available", "status": "True", "message": seen, "lastUpdateTime": seen }] } })
        };
        assert_eq!(said(&deployment(1, "2026-01-01T00:00:00Z")), said(&deployment(2, "2026-01-02T00:00:00Z")));
        let told = said(&deployment(1, "x")).unwrap();
        assert_eq!(told, json!({ "readyReplicas": 2, "conditions": { "Available": { "status": "True" } } }));
        let node = json!({ "apiVersion": "v1", "kind": "Node", "status": { "images": [{ "names": ["a"] }], "addresses": [{ "type": "x" }],
            "nodeInfo": { "kubeletVersion": "v1.30.1", "bootID": "b" }, "conditions": [
                { "type": "Ready", "status": "True", "lastHeartbeatTime": "2026-01-01T00:00:00Z" }] } });
        let told = said(&node).unwrap();
        assert_eq!(told, json!({ "nodeInfo": { "kubeletVersion": "v1.30.1" }, "conditions": { "Ready": { "status": "True" } } }));
        let custom = json!({ "apiVersion": "operator.example.org/v1", "kind": "Installation", "status": {
            "variant": "Plain", "count": 4, "at": "2026-01-01T00:00:00Z", "pool": { "used": ["a"] } } });
        assert_eq!(said(&custom).unwrap(), json!({ "variant": "Plain" }));
        assert_eq!(said(&json!({ "kind": "ConfigMap" })), None);
    }
}
