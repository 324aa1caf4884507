//! Ways to spoil a request.

use lockgate_sim::json::{Value, json};
use lockgate_sim::rng::Rng;
use lockgate_sim::{Method, Request, User};
use proptest::prelude::*;

/// What is done to one request; the seed says where.
#[derive(Debug, Clone)]
pub(super) struct Spoil(Vec<(Way, u64)>);

#[derive(Debug, Clone, Copy)]
enum Way {
    Value,
    Remove,
    Add,
    Grow,
    Truncate,
    Flip,
    Type,
    Accept,
    Method,
    Query,
    Path,
    Body,
    Twice,
    User,
    Upgrade,
}

const WAYS: [Way; 15] = [
    Way::Value,
    Way::Remove,
    Way::Add,
    Way::Grow,
    Way::Truncate,
    Way::Flip,
    Way::Type,
    Way::Accept,
    Way::Method,
    Way::Query,
    Way::Path,
    Way::Body,
    Way::Twice,
    Way::User,
    Way::Upgrade,
];

pub(super) fn spoil() -> impl Strategy<Value = Spoil> {
    // Most requests stay what they were but for a value: what is let in does the most harm.
    let way = prop_oneof![6 => Just(Way::Value), 2 => Just(Way::Remove), 2 => Just(Way::Add), 4 => prop::sample::select(&WAYS[..])];
    prop::collection::vec((way, any::<u64>()), 0..3).prop_map(Spoil)
}

impl Spoil {
    pub(super) fn apply(&self, request: &Request) -> Vec<Request> {
        let mut request = request.clone();
        let mut times = 1;
        for (way, seed) in &self.0 {
            let mut rng = Rng::new(*seed);
            match way {
                Way::Twice => times = 2,
                way => one(*way, &mut rng, &mut request),
            }
        }
        vec![request; times]
    }
}

fn any_of<'a>(rng: &mut Rng, words: &[&'a str]) -> &'a str {
    words[at(rng, words.len())]
}

/// A place in something of this length.
fn at(rng: &mut Rng, length: usize) -> usize {
    usize::try_from(rng.below(length.max(1) as u64)).unwrap()
}

fn one(way: Way, rng: &mut Rng, request: &mut Request) {
    match way {
        Way::Value | Way::Remove | Way::Add | Way::Grow => {
            if let Ok(mut body) = serde_json::from_slice::<Value>(&request.body) {
                document(way, rng, &mut body);
                request.body = body.to_string().into_bytes();
            }
        }
        Way::Truncate => request.body.truncate(at(rng, request.body.len())),
        Way::Flip => {
            let place = at(rng, request.body.len());
            if let Some(byte) = request.body.get_mut(place) {
                *byte ^= 1 << rng.below(8);
            }
        }
        Way::Type => any_of(rng, &TYPES).clone_into(&mut request.content_type),
        Way::Accept => any_of(rng, &ACCEPTS).clone_into(&mut request.accept),
        Way::Method => {
            request.method = [Method::Get, Method::Post, Method::Put, Method::Patch, Method::Delete][at(rng, 5)];
        }
        Way::Query => {
            let name = any_of(rng, &PARAMETERS);
            let value = any_of(rng, &ARGUMENTS);
            request.query.push((name.to_owned(), value.to_owned()));
        }
        Way::Path => {
            let mut parts: Vec<&str> = request.path.split('/').collect();
            let place = at(rng, parts.len());
            match rng.below(3) {
                0 => drop(parts.remove(place)),
                1 => parts[place] = any_of(rng, &SEGMENTS),
                _ => parts.push(any_of(rng, &SEGMENTS)),
            }
            request.path = parts.join("/");
        }
        Way::Body => request.body = any_of(rng, &BODIES).as_bytes().to_vec(),
        Way::User => request.user = Some(User::new(any_of(rng, &["a", "", "system:serviceaccount:x:default", "system:anonymous"]), &[])),
        Way::Upgrade => request.upgrade = any_of(rng, &["websocket", "SPDY/3.1", "h2c"]).to_owned(),
        Way::Twice => {}
    }
}

/// Every place of a document, as pointers.
fn places(value: &Value, here: &str, out: &mut Vec<String>) {
    out.push(here.to_owned());
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| {
            places(value, &format!("{here}/{}", key.as_str().replace('~', "~0").replace('/', "~1")), out);
        }),
        Value::Array(items) => items.iter().enumerate().for_each(|(place, value)| places(value, &format!("{here}/{place}"), out)),
        _ => {}
    }
}

/// The value at a place of a document.
fn find<'a>(mut value: &'a mut Value, place: &str) -> Option<&'a mut Value> {
    for step in place.split('/').skip(1) {
        let step = step.replace("~1", "/").replace("~0", "~");
        value = match value {
            Value::Object(map) => map.get_mut(&step)?,
            Value::Array(items) => items.get_mut(step.parse::<usize>().ok()?)?,
            _ => return None,
        };
    }
    Some(value)
}

fn document(way: Way, rng: &mut Rng, body: &mut Value) {
    let mut all = Vec::new();
    places(body, "", &mut all);
    let place = all.swap_remove(at(rng, all.len()));
    let strange = strange(rng);
    match way {
        Way::Remove => {
            let Some((parent, key)) = place.rsplit_once('/') else { return };
            match find(body, parent) {
                Some(Value::Object(map)) => drop(map.remove(&key.replace("~1", "/").replace("~0", "~"))),
                Some(Value::Array(items)) => {
                    let kept = items.iter().enumerate().filter(|(at, _)| at.to_string() != key).map(|(_, item)| item.clone());
                    let kept: Value = kept.collect();
                    *find(body, parent).unwrap() = kept;
                }
                _ => {}
            }
        }
        Way::Add => {
            let name = any_of(rng, &NAMES).to_owned();
            match find(body, &place) {
                Some(Value::Object(map)) => drop(map.insert(name, strange)),
                Some(Value::Array(items)) => items.push(strange),
                _ => {}
            }
        }
        Way::Grow => {
            let Some(value) = find(body, &place) else { return };
            let copy = value.clone();
            *value = match value {
                Value::Array(items) => items.iter().chain(items.iter()).cloned().collect(),
                Value::String(text) => text.as_str().repeat(40).into(),
                Value::Object(_) => json!({"a": copy.clone(), "metadata": copy.clone(), "spec": copy}),
                _ => json!([copy.clone(), copy]),
            };
        }
        _ => {
            if let Some(value) = find(body, &place) {
                *value = strange;
            }
        }
    }
}

/// A value that nobody expects.
fn strange(rng: &mut Rng) -> Value {
    match rng.below(5) {
        0 => [json!(null), json!(true), json!([]), json!({}), json!([null]), json!([[]]), json!({"": ""}), json!([{}, 1])][at(rng, 8)]
            .clone(),
        1 => {
            let numbers = [0, -1, 1, 101, i64::MAX, i64::MIN, i64::from(i32::MAX), i64::from(i32::MIN), 1 << 40];
            numbers[at(rng, numbers.len())].into()
        }
        2 => [json!(u64::MAX), json!(1e308), json!(-1e308), json!(0.5), json!(1e18), json!(-0.0)][at(rng, 6)].clone(),
        3 => any_of(rng, &TEXTS).into(),
        _ => (0..rng.below(90)).fold(json!("deep"), |inner, _| json!({ "a": inner })),
    }
}

const TEXTS: [&str; 30] = [
    "",
    " ",
    "a",
    "\0",
    "é\u{202e}\u{1f600}",
    "%",
    "100%",
    "-1%",
    "99999999999%",
    "50.5%",
    "-1",
    "2147483648",
    "99999999999999999999999999",
    "18446744073709551616Ei",
    "1e999999",
    "-9223372036854775808n",
    ".5",
    "0x10",
    "9999-12-31T23:59:59Z",
    "0000-01-01T00:00:00Z",
    "2001-02-03T04:05:06.123456789+14:00",
    "-009999-01-01T00:00:00Z",
    "Infinity",
    "1h",
    "*",
    "a=b,c in (d",
    "..",
    "a/b/c",
    "kubernetes.io/metadata.name",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
];

const NAMES: [&str; 24] = [
    "",
    "a",
    "metadata",
    "spec",
    "status",
    "kind",
    "apiVersion",
    "name",
    "namespace",
    "generateName",
    "finalizers",
    "ownerReferences",
    "deletionTimestamp",
    "managedFields",
    "resourceVersion",
    "uid",
    "labels",
    "annotations",
    "replicas",
    "template",
    "selector",
    "$patch",
    "$setElementOrder/containers",
    "$deleteFromPrimitiveList/finalizers",
];

const TYPES: [&str; 10] = [
    "",
    "application/json",
    "application/json; charset=\u{ff}",
    "application/yaml",
    "application/merge-patch+json",
    "application/json-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
    "application/vnd.kubernetes.protobuf",
    "text/plain;;;=",
];

const ACCEPTS: [&str; 8] = [
    "",
    "*/*",
    "application/json;as=Table;v=v1;g=meta.k8s.io",
    "application/json;as=Table;v=v9;g=meta.k8s.io, */*;q=0",
    "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
    "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
    "application/vnd.kubernetes.protobuf",
    ",;=,;q=x",
];

const PARAMETERS: [&str; 26] = [
    "watch",
    "limit",
    "continue",
    "resourceVersion",
    "resourceVersionMatch",
    "labelSelector",
    "fieldSelector",
    "timeoutSeconds",
    "allowWatchBookmarks",
    "sendInitialEvents",
    "fieldManager",
    "fieldValidation",
    "force",
    "dryRun",
    "propagationPolicy",
    "orphanDependents",
    "gracePeriodSeconds",
    "follow",
    "tailLines",
    "sinceSeconds",
    "sinceTime",
    "limitBytes",
    "container",
    "command",
    "includeObject",
    "",
];

const ARGUMENTS: [&str; 24] = [
    "",
    "true",
    "false",
    "All",
    "0",
    "1",
    "-1",
    "18446744073709551615",
    "9223372036854775807",
    "99999999999999999999999",
    "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MSwic3RhcnQiOiJhXHUwMDAwIn0",
    "a",
    "a=b",
    "a in (b,c),!d,e notin ()",
    "a in (b",
    "metadata.name=web",
    "spec.nodeName!=",
    "NotOlderThan",
    "Exact",
    "Strict",
    "Foreground",
    "\u{0}\u{ffff}",
    "9999-12-31T23:59:59Z",
    "é",
];

const SEGMENTS: [&str; 28] = [
    "",
    "api",
    "apis",
    "v1",
    "v1beta1",
    "apps",
    "batch",
    "policy",
    "namespaces",
    "x",
    "default",
    "pods",
    "nodes",
    "deployments",
    "daemonsets",
    "statefulsets",
    "customresourcedefinitions",
    "web",
    "lone",
    "scale",
    "status",
    "log",
    "exec",
    "eviction",
    "binding",
    "finalize",
    "watch",
    "é\0%",
];

const BODIES: [&str; 16] = [
    "",
    "null",
    "{}",
    "[]",
    "\"a\"",
    "1e400",
    "{\"a\":1",
    "{\"metadata\":{\"name\":\"a\",\"name\":\"b\"}}",
    "{\"metadata\":null}",
    "{\"metadata\":[]}",
    "{\"apiVersion\":1,\"kind\":[]}",
    "a: &a [*a, *a]",
    "- !!binary |\n  x",
    "k8s\0",
    "k8s\0\n\u{1}\u{7f}\u{7f}",
    "[{\"op\":\"move\",\"from\":\"\",\"path\":\"/a/b\"},{\"op\":\"remove\",\"path\":\"\"}]",
];
