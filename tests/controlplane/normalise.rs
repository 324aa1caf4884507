//! Makes what two clusters hold comparable, and compares it.
//!
//! What is left out of the comparison is a closed list. Everything else must be equal, field by field:
//!
//! | what | becomes | why |
//! |---|---|---|
//! | `metadata.uid`, `resourceVersion`, `managedFields`, an owner's `uid`, a reference's `uid` | nothing | identity within one cluster |
//! | a text that is a point in time | `<time>` | two clocks |
//! | the annotation `endpoints.kubernetes.io/last-change-trigger-time` | nothing | a time, which a restarted controller has forgotten |
//! | a text that is an IP address | `<ip>` | two address ranges |
//! | the hash of a pod template or of a DaemonSet's revision | `H1`, `H2`, … by owner and revision | two hash functions |
//! | `containerID`, `imageID` that are not empty | `<id>` | made up: neither cluster has containers |
//! | the generated end of a name | `1`, `2`, … by the object's content | random |
//! | the run in `lockgate.dev/op` | `<run>` | two runs |
//! | `metadata.generation` of an EndpointSlice | nothing | its controller joins as many changes in one write as time allows |
//! | the order of conditions and of endpoints | sorted | both are sets |

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::{Map, Value};

/// The objects of a cluster under names that do not depend on the cluster: `kind/namespace/name`, lower case.
pub(crate) type State = BTreeMap<String, Value>;

/// Metadata that means something only in the cluster it comes from.
const IDENTITY: [&str; 3] = ["uid", "resourceVersion", "managedFields"];

/// The annotation that names run, sequence number and epoch of the last write.
const OPERATION: &str = "lockgate.dev/op";

/// When the change came that an Endpoints or EndpointSlice shows.
const TRIGGERED: &str = "endpoints.kubernetes.io/last-change-trigger-time";

/// What a kubelet learns from its container runtime; neither cluster has one.
const MADE_UP: [&str; 2] = ["containerID", "imageID"];

/// Applies the list above.
pub(crate) fn normalise(objects: &[Value]) -> State {
    let mut objects: Vec<Value> = objects.to_vec();
    let hashes = hashes(&objects);
    for object in &mut objects {
        clean(object, &hashes);
        if text(object, "/kind") == "EndpointSlice"
            && let Some(Value::Object(metadata)) = object.get_mut("metadata")
        {
            metadata.remove("generation");
        }
    }
    number_generated(&mut objects);
    for object in &mut objects {
        sort_sets(object);
    }
    objects.into_iter().map(|object| (key(&object), object)).collect()
}

/// Every place at which two states differ, as `object path: left | right`.
pub(crate) fn differences(left: &State, right: &State) -> Vec<String> {
    let mut found = Vec::new();
    let names: std::collections::BTreeSet<&String> = left.keys().chain(right.keys()).collect();
    for name in names {
        compare(name, left.get(name), right.get(name), &mut found);
    }
    found
}

fn compare(path: &str, left: Option<&Value>, right: Option<&Value>, found: &mut Vec<String>) {
    match (left, right) {
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            let names: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for name in names {
                compare(&format!("{path} .{name}"), a.get(name), b.get(name), found);
            }
        }
        (Some(Value::Array(a)), Some(Value::Array(b))) => {
            for index in 0..a.len().max(b.len()) {
                compare(&format!("{path} [{index}]"), a.get(index), b.get(index), found);
            }
        }
        (left, right) if left == right => {}
        (left, right) => {
            let show = |side: Option<&Value>| side.map_or_else(|| "nothing".to_owned(), Value::to_string);
            found.push(format!("{path}: {} | {}", show(left), show(right)));
        }
    }
}

/// The hashes of all owners, in the order of owner and revision.
fn hashes(objects: &[Value]) -> BTreeMap<String, String> {
    let mut found: Vec<(String, String, u64, String)> = Vec::new();
    for object in objects {
        let (label, revision) = match text(object, "/kind") {
            "ReplicaSet" => {
                let revision = text(object, "/metadata/annotations/deployment.kubernetes.io~1revision");
                ("/metadata/labels/pod-template-hash", revision.parse().unwrap_or(0))
            }
            "ControllerRevision" => {
                let revision = object.get("revision").and_then(Value::as_u64).unwrap_or(0);
                ("/metadata/labels/controller-revision-hash", revision)
            }
            _ => continue,
        };
        let hash = text(object, label);
        if !hash.is_empty() {
            let owner = text(object, "/metadata/ownerReferences/0/name");
            found.push((text(object, "/kind").to_owned(), owner.to_owned(), revision, hash.to_owned()));
        }
    }
    found.sort();
    found.into_iter().enumerate().map(|(index, (_, _, _, hash))| (hash, format!("H{}", index + 1))).collect()
}

/// Identity, times, addresses, hashes and the run, wherever they stand.
fn clean(value: &mut Value, hashes: &BTreeMap<String, String>) {
    match value {
        Value::Object(fields) => {
            for name in IDENTITY {
                fields.remove(name);
            }
            if let Some(Value::Object(annotations)) = fields.get_mut("annotations") {
                annotations.remove(TRIGGERED);
                if annotations.is_empty() {
                    fields.remove("annotations");
                }
            }
            for (name, value) in fields.iter_mut() {
                if name == OPERATION {
                    forget_run(value);
                } else if MADE_UP.contains(&name.as_str()) && value.as_str().is_some_and(|id| !id.is_empty()) {
                    *value = Value::from("<id>");
                }
                clean(value, hashes);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| clean(item, hashes)),
        Value::String(text) => {
            if text.parse::<jiff::Timestamp>().is_ok() {
                "<time>".clone_into(text);
            } else if text.parse::<IpAddr>().is_ok() {
                "<ip>".clone_into(text);
            } else {
                for (hash, name) in hashes {
                    if text.contains(hash.as_str()) {
                        *text = text.replace(hash.as_str(), name);
                    }
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn forget_run(value: &mut Value) {
    if let Value::String(text) = value
        && let Some((_, rest)) = text.split_once('/')
    {
        *text = format!("<run>/{rest}");
    }
}

/// Gives generated names a number by the content of their objects, everywhere the name stands.
fn number_generated(objects: &mut [Value]) {
    let mut generated: Vec<(String, String, String, String)> = objects
        .iter()
        .filter(|object| !text(object, "/metadata/generateName").is_empty())
        .map(|object| {
            let name = text(object, "/metadata/name").to_owned();
            let prefix = text(object, "/metadata/generateName").to_owned();
            let content = object.to_string().replace(&name, "");
            (text(object, "/kind").to_owned(), prefix, content, name)
        })
        .collect();
    generated.sort();
    let mut numbers: BTreeMap<(String, String), usize> = BTreeMap::new();
    let mut names = BTreeMap::new();
    for (kind, prefix, _, name) in generated {
        let number = numbers.entry((kind, prefix.clone())).or_insert(0);
        *number += 1;
        names.insert(name, format!("{prefix}{number}"));
    }
    for object in objects {
        rename(object, &names);
    }
}

fn rename(value: &mut Value, names: &BTreeMap<String, String>) {
    match value {
        Value::Object(fields) => fields.values_mut().for_each(|value| rename(value, names)),
        Value::Array(items) => items.iter_mut().for_each(|item| rename(item, names)),
        Value::String(text) => {
            if let Some(name) = names.get(text) {
                text.clone_from(name);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn sort_sets(object: &mut Value) {
    for set in ["/status/conditions", "/endpoints", "/subsets/0/addresses", "/subsets/0/notReadyAddresses"] {
        if let Some(Value::Array(items)) = object.pointer_mut(set) {
            items.sort_by_key(|item| (text(item, "/type").to_owned(), item.to_string()));
        }
    }
}

fn key(object: &Value) -> String {
    let namespace = text(object, "/metadata/namespace");
    let separator = if namespace.is_empty() { "" } else { "/" };
    format!("{}/{namespace}{separator}{}", text(object, "/kind").to_lowercase(), text(object, "/metadata/name"))
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// All the counters, reasons and messages of a state, each altered alone: `(where, altered state)`.
pub(crate) fn alterations(state: &State) -> Vec<(String, State)> {
    let mut found = Vec::new();
    for (name, object) in state {
        let mut places = Vec::new();
        if let Some(status) = object.get("status") {
            alterable("/status", status, &mut places);
        }
        for place in places {
            let mut altered = state.clone();
            if let Some(value) = altered.get_mut(name).and_then(|object| object.pointer_mut(&place)) {
                alter(value);
            }
            found.push((format!("{name} {place}"), altered));
        }
    }
    found
}

fn alterable(path: &str, value: &Value, places: &mut Vec<String>) {
    let into = |name: &str| format!("{path}/{}", name.replace('~', "~0").replace('/', "~1"));
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                if value.is_number() || (matches!(name.as_str(), "reason" | "message") && value.is_string()) {
                    places.push(into(name));
                }
                alterable(&into(name), value, places);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                alterable(&into(&index.to_string()), item, places);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn alter(value: &mut Value) {
    *value = match &*value {
        Value::Number(number) => Value::from(number.as_i64().unwrap_or(0) + 1),
        Value::String(text) => Value::from(format!("{text}.")),
        _ => Value::Object(Map::new()),
    };
}
