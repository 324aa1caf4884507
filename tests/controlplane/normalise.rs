//! Makes what two clusters hold comparable, and compares it.
//!
//! What is left out of the comparison is a closed list. Everything else must be equal, field by field:
//!
//! | what | becomes | why |
//! |---|---|---|
//! | `metadata.uid`, `resourceVersion`, `managedFields`, an owner's `uid`, a reference's `uid` | nothing | identity within one cluster |
//! | a text that is a point in time | `<time>` | two clocks |
//! | a text that is an IP address | `<ip>` | two address ranges |
//! | the hash of a pod template or of a ControllerRevision | `H1`, `H2`, … by owner and revision | two hash functions |
//! | the generated end of a name | `1`, `2`, … by the object's node and content | random |
//! | the 64 digits of the id of an image or a container | `D1`, `D2`, … by first appearance | two digests; a container's is one of its pod's uid |
//! | the run in `lockgate.dev/op` | `<run>` | two runs |
//! | `metadata.generation` of an EndpointSlice, if above 1 | `<changed>` | how many changes come with one write is a race, see below |
//! | the order of endpoints | sorted | the real controllers range over a Go map, or sort by address and uid |
//!
//! What is only renamed keeps what can be compared of it: that it is there, the text around it, and what it is equal to.
//!
//! The generation of an EndpointSlice counts the writes of its controller, which looks at all the pods whenever it comes to it:
//! two pods that go within a few milliseconds are one write or two. Three runs of one day ended with 11, 11 and 10 (clean) and
//! with 9, 8 and 8 (trap); with a batch period of 100 ms, five ended with 5 each, but at the moment of the trap with 2, 3, 2, 3
//! and 2. And KWOK's pods have an address no sooner than they are ready, where a kubelet's in the host's network are written
//! twice. What holds of all of them, and is compared, is that the slice has been written again after it was made; what it says
//! at the end is compared in full.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::Value;

/// The objects of a cluster under names that do not depend on the cluster: `kind/namespace/name`, lower case.
pub(crate) type State = BTreeMap<String, Value>;

/// Metadata that means something only in the cluster it comes from.
const IDENTITY: [&str; 3] = ["uid", "resourceVersion", "managedFields"];

/// The annotation that names run, sequence number and epoch of the last write.
const OPERATION: &str = "lockgate.dev/op";

/// Before the digits of an image's id (`NAME@sha256:…`) and of a container's (`RUNTIME://…`).
const BEFORE_DIGITS: [&str; 2] = ["@sha256:", "://"];

/// What the API server makes generated ends of names of: no vowels and nothing that looks like one.
const GENERATED: &str = "bcdfghjklmnpqrstvwxz2456789";

/// Applies the list above.
pub(crate) fn normalise(mut objects: Vec<Value>) -> State {
    let hashes = hashes(&objects);
    for object in &mut objects {
        clean(object, &hashes);
        forget_writes(object);
    }
    number_generated(&mut objects);
    objects.iter_mut().for_each(sort_endpoints);
    let mut state: State = objects.into_iter().map(|object| (key(&object), object)).collect();
    let mut digits = BTreeMap::new();
    state.values_mut().for_each(|object| in_order(object, &mut |text| name_digits(text, &mut digits)));
    state
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
        let (label, revision) = match (text(object, "/kind"), text(object, "/metadata/ownerReferences/0/kind")) {
            ("ReplicaSet", _) => {
                let revision = text(object, "/metadata/annotations/deployment.kubernetes.io~1revision");
                ("/metadata/labels/pod-template-hash", revision.parse().unwrap_or(0))
            }
            ("ControllerRevision", owner) => {
                let revision = object.get("revision").and_then(Value::as_u64).unwrap_or(0);
                let of_set = owner == "StatefulSet";
                (
                    if of_set { "/metadata/labels/controller.kubernetes.io~1hash" } else { "/metadata/labels/controller-revision-hash" },
                    revision,
                )
            }
            _ => continue,
        };
        let hash = text(object, label);
        let owner = text(object, "/metadata/ownerReferences/0/name");
        if !hash.is_empty() && text(object, "/metadata/name") == format!("{owner}-{hash}") {
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
            for (name, value) in fields.iter_mut() {
                if name == OPERATION {
                    forget_run(value);
                }
                clean(value, hashes);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| clean(item, hashes)),
        Value::String(text) => {
            // Nearly all texts are neither; to find out by parsing takes long.
            if text.starts_with(|first: char| first.is_ascii_digit()) && text.parse::<jiff::Timestamp>().is_ok() {
                "<time>".clone_into(text);
            } else if text.contains(['.', ':']) && text.parse::<IpAddr>().is_ok() {
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

/// Gives the writes of the run other numbers: `number` maps the one that stands in `lockgate.dev/op` to the one to compare.
pub(crate) fn renumber(state: &mut State, number: impl Fn(usize) -> usize) {
    for object in state.values_mut() {
        in_order(object, &mut |text| {
            let renumbered = text.strip_prefix("<run>/").and_then(|rest| {
                let (sequence, epoch) = rest.split_once('/')?;
                Some(format!("<run>/{}/{epoch}", number(sequence.parse().ok()?)))
            });
            if let Some(renumbered) = renumbered {
                *text = renumbered;
            }
        });
    }
}

fn forget_writes(object: &mut Value) {
    if text(object, "/kind") == "EndpointSlice"
        && let Some(generation) = object.pointer_mut("/metadata/generation")
        && generation.as_u64().is_some_and(|generation| generation > 1)
    {
        *generation = "<changed>".into();
    }
}

/// Every text below, in an order that does not depend on how the fields came.
fn in_order(value: &mut Value, visit: &mut impl FnMut(&mut String)) {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<(&String, &mut Value)> = fields.iter_mut().collect();
            fields.sort_by_key(|(name, _)| *name);
            fields.into_iter().for_each(|(_, value)| in_order(value, visit));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| in_order(item, visit)),
        Value::String(text) => visit(text),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Replaces the digits of an id by a name: `names` has those that were seen.
fn name_digits(text: &mut String, names: &mut BTreeMap<String, String>) {
    let Some((before, digits)) = split_digits(text) else { return };
    let next = format!("D{}", names.len() + 1);
    let name = names.entry(digits.to_owned()).or_insert(next);
    *text = format!("{before}{name}");
}

/// The id of an image or a container, without and with only its digits.
fn split_digits(id: &str) -> Option<(&str, &str)> {
    let (before, digits) = id.split_at_checked(id.len().checked_sub(64)?)?;
    let hexadecimal = digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    (hexadecimal && BEFORE_DIGITS.iter().any(|end| before.ends_with(end))).then_some((before, digits))
}

/// Whether a name ends as the API server makes it, or with the number that it has here already.
fn is_generated(prefix: &str, name: &str) -> bool {
    let made = |end: &str| end.len() == 5 && end.chars().all(|letter| GENERATED.contains(letter));
    let numbered = |end: &str| end.parse::<usize>().is_ok();
    !prefix.is_empty() && name.strip_prefix(prefix).is_some_and(|end| made(end) || numbered(end))
}

/// Gives generated names a number by the node and the content of their objects, everywhere the name stands.
fn number_generated(objects: &mut [Value]) {
    let of = |object: &Value, pointer: &str| text(object, pointer).to_owned();
    let sort_key = |object: &Value| (of(object, "/kind"), of(object, "/metadata/generateName"), of(object, "/spec/nodeName"));
    let mut generated: Vec<_> = objects
        .iter()
        .filter(|object| is_generated(text(object, "/metadata/generateName"), text(object, "/metadata/name")))
        .map(|object| (sort_key(object), object))
        .collect();
    // A node mostly has but one, so that the content is seldom needed.
    generated.sort_by(|(key, a), (other, b)| key.cmp(other).then_with(|| content(a).cmp(&content(b))));
    let mut numbers: BTreeMap<(String, String), usize> = BTreeMap::new();
    let mut names = BTreeMap::new();
    for ((kind, prefix, _), object) in generated {
        let number = numbers.entry((kind, prefix.clone())).or_insert(0);
        *number += 1;
        names.insert(of(object, "/metadata/name"), format!("{prefix}{number}"));
    }
    for object in objects {
        rename(object, &names);
    }
}

/// An object without what is as random as its name: the name itself and the digits of its containers.
fn content(object: &Value) -> String {
    let mut content = object.clone();
    in_order(&mut content, &mut |text| {
        if let Some((before, _)) = split_digits(text) {
            *text = before.to_owned();
        }
    });
    content.to_string().replace(text(object, "/metadata/name"), "")
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

fn sort_endpoints(object: &mut Value) {
    for set in ["/endpoints", "/subsets/0/addresses", "/subsets/0/notReadyAddresses"] {
        if let Some(Value::Array(items)) = object.pointer_mut(set) {
            items.sort_by_key(Value::to_string);
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

/// Every value of a state altered alone, and every field and item taken away alone: `(where, altered state)`.
pub(crate) fn alterations(state: &State) -> impl Iterator<Item = (String, State)> {
    state.iter().flat_map(move |(name, object)| {
        let mut places = Vec::new();
        places_of("", object, &mut places);
        places.into_iter().flat_map(move |(parent, field)| {
            [("altered", alter as fn(&mut Value, &str)), ("taken away", take_away)].into_iter().filter_map(move |(how, change)| {
                let mut altered = state.clone();
                let object = altered.get_mut(name)?;
                change(object.pointer_mut(&parent)?, &field);
                Some((format!("{name} {parent}/{field} {how}"), altered))
            })
        })
    })
}

/// Every field and item, as the pointer of what it is in and its own name or index.
fn places_of(path: &str, value: &Value, places: &mut Vec<(String, String)>) {
    let mut inside = |name: &str, value: &Value| {
        places.push((path.to_owned(), name.to_owned()));
        places_of(&format!("{path}/{}", name.replace('~', "~0").replace('/', "~1")), value, places);
    };
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| inside(name, value)),
        Value::Array(items) => items.iter().enumerate().for_each(|(index, item)| inside(&index.to_string(), item)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn child<'a>(parent: &'a mut Value, field: &str) -> Option<&'a mut Value> {
    match parent {
        Value::Object(fields) => fields.get_mut(field),
        Value::Array(items) => items.get_mut(field.parse::<usize>().ok()?),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

fn alter(parent: &mut Value, field: &str) {
    let Some(value) = child(parent, field) else { return };
    *value = match &*value {
        Value::Number(number) => Value::from(number.as_i64().unwrap_or(0) + 1),
        Value::String(text) => Value::from(format!("{text}.")),
        Value::Bool(truth) => Value::from(!truth),
        Value::Null | Value::Array(_) | Value::Object(_) => Value::from("something else"),
    };
}

fn take_away(parent: &mut Value, field: &str) {
    match (parent, field.parse::<usize>()) {
        (Value::Object(fields), _) => drop(fields.remove(field)),
        (Value::Array(items), Ok(index)) if index < items.len() => drop(items.remove(index)),
        _ => {}
    }
}
