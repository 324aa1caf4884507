//! Sets of fields, in the form in which `managedFields` keeps them.
//!
//! A set is a tree of maps: `f:name` is a field, `k:{…}` an item of a list by its keys, `v:…` an item by its value. An empty map is a
//! member of the set, a map with `.` is one whose children are looked at too. All operations work on this form, so that what two
//! sets have in common is shared.

use std::cmp::Ordering;

use crate::json::{Map, Text, Value};
use crate::schema::{Shape, Type};

const ITSELF: &str = ".";

/// A set of fields.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Set(Map);

impl Set {
    /// A set from `fieldsV1`.
    pub(crate) fn read(fields: &Value) -> Self {
        Self(fields.as_object().cloned().unwrap_or_default())
    }

    /// As `fieldsV1`.
    pub(crate) fn into_value(self) -> Value {
        Value::Object(self.0)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds the field at the end of a path.
    pub(super) fn insert(&mut self, path: &[Text]) {
        let Some((last, way)) = path.split_last() else { return };
        let mut map = &mut self.0;
        for step in way {
            let fresh = !map.contains_key(step);
            let node = map.entry(step.clone()).or_insert(Value::Object(Map::new()));
            let Some(below) = node.as_object_mut() else { return };
            if !fresh && below.is_empty() {
                below.insert(ITSELF, Value::Object(Map::new()));
            }
            map = below;
        }
        match map.get_mut(last).and_then(Value::as_object_mut) {
            Some(node) if !node.is_empty() => {
                node.insert(ITSELF, Value::Object(Map::new()));
            }
            Some(_) => {}
            None => {
                map.insert(last.clone(), Value::Object(Map::new()));
            }
        }
    }

    /// What is in one of them.
    pub(super) fn union(&self, other: &Self) -> Self {
        if other.is_empty() {
            return self.clone();
        }
        Self(union(&self.0, &other.0))
    }

    /// What is in this one and not in the other.
    pub(super) fn difference(&self, other: &Self) -> Self {
        if other.is_empty() {
            return self.clone();
        }
        Self(children(&self.0, &other.0, Keep::Difference))
    }

    /// What is in both.
    pub(super) fn intersection(&self, other: &Self) -> Self {
        Self(children(&self.0, &other.0, Keep::Intersection))
    }

    /// Takes away the fields at these paths with everything below them.
    pub(super) fn without(&self, paths: &[&[&str]]) -> Self {
        let mut map = self.0.clone();
        for path in paths {
            take(&mut map, path);
        }
        // Nobody owns the metadata as such.
        if let Some(metadata) = map.get("f:metadata").and_then(Value::as_object).filter(|node| is_member(node)) {
            let mut below = metadata.clone();
            below.remove(ITSELF);
            if below.is_empty() {
                map.remove("f:metadata");
            } else {
                map.insert("f:metadata", Value::Object(below));
            }
        }
        Self(map)
    }

    /// Whether the item or field with this name is a member.
    pub(super) fn has(&self, step: &str) -> bool {
        self.0.get(step).and_then(Value::as_object).is_some_and(is_member)
    }

    /// The part below a step; `None` when there is none.
    pub(super) fn below(&self, step: &str) -> Option<Self> {
        let node = self.0.get(step).and_then(Value::as_object)?;
        let below: Map =
            node.iter().filter(|(name, _)| name.as_str() != ITSELF).map(|(name, value)| (name.clone(), value.clone())).collect();
        if below.is_empty() { None } else { Some(Self(below)) }
    }

    /// The set with every named field that has something below it: they go when all below them goes.
    pub(super) fn with_named_fields(&self, kind: &Type) -> Self {
        Self(with_named_fields(&self.0, kind))
    }

    /// The members as the server writes their paths: members before what is below others.
    pub(super) fn paths(&self) -> Vec<String> {
        let (mut found, mut path) = (Vec::new(), String::new());
        paths(&self.0, &mut path, &mut found);
        found
    }
}

/// Whether a node of the tree is in the set itself.
fn is_member(node: &Map) -> bool {
    node.is_empty() || node.contains_key(ITSELF)
}

fn union(a: &Map, b: &Map) -> Map {
    if a.shares(b) {
        return a.clone();
    }
    let mut all = a.clone();
    for (name, value) in b {
        let merged = match (a.get(name).and_then(Value::as_object), value.as_object()) {
            (Some(mine), Some(theirs)) => {
                let mut both = union(mine, theirs);
                if !both.is_empty() && (is_member(mine) || is_member(theirs)) {
                    both.insert(ITSELF, Value::Object(Map::new()));
                }
                Value::Object(both)
            }
            _ => value.clone(),
        };
        all.insert(name.clone(), merged);
    }
    all
}

#[derive(Clone, Copy, PartialEq)]
enum Keep {
    Difference,
    Intersection,
}

/// Difference or intersection of the children of two nodes.
fn children(a: &Map, b: &Map, keep: Keep) -> Map {
    let mut left = Map::new();
    for (name, value) in a.iter().filter(|(name, _)| name.as_str() != ITSELF) {
        let (Some(mine), theirs) = (value.as_object(), b.get(name).and_then(Value::as_object)) else { continue };
        let Some(theirs) = theirs else {
            if keep == Keep::Difference {
                left.insert(name.clone(), value.clone());
            }
            continue;
        };
        let mut node = children(mine, theirs, keep);
        let member = is_member(mine) && (is_member(theirs) == (keep == Keep::Intersection));
        if member && !node.is_empty() {
            node.insert(ITSELF, Value::Object(Map::new()));
        }
        if member || !node.is_empty() {
            left.insert(name.clone(), Value::Object(node));
        }
    }
    left
}

fn take(map: &mut Map, path: &[&str]) {
    let Some((first, rest)) = path.split_first() else { return };
    let step = format!("f:{first}");
    if rest.is_empty() {
        map.remove(&step);
        return;
    }
    let Some(node) = map.get(&step).and_then(Value::as_object).filter(|node| !node.is_empty()) else { return };
    let mut node = node.clone();
    take(&mut node, rest);
    if node.is_empty() {
        map.remove(&step);
    } else {
        map.insert(step, Value::Object(node));
    }
}

fn with_named_fields(map: &Map, kind: &Type) -> Map {
    let mut all = Map::new();
    for (name, value) in map {
        let Some(node) = value.as_object() else { continue };
        let (below, named) = match name.strip_prefix("f:") {
            Some(field) => (kind.below(field), matches!(kind.shape(), Shape::Struct(fields) if fields.field(field).is_some())),
            None => (kind.items(), false),
        };
        let mut node = with_named_fields(node, below);
        if named && !node.is_empty() {
            node.insert(ITSELF, Value::Object(Map::new()));
        }
        all.insert(name.clone(), Value::Object(node));
    }
    all
}

fn paths(map: &Map, path: &mut String, found: &mut Vec<String>) {
    let mut steps: Vec<(&Text, &Map)> =
        map.iter().filter(|(name, _)| name.as_str() != ITSELF).filter_map(|(name, value)| Some((name, value.as_object()?))).collect();
    steps.sort_by(|(a, _), (b, _)| order(a, b));
    let length = path.len();
    for (name, _) in steps.iter().filter(|(_, node)| is_member(node)) {
        found.push(format!("{path}{}", written(name)));
    }
    for (name, node) in steps.iter().filter(|(_, node)| !node.is_empty()) {
        path.push_str(&written(name));
        paths(node, path, found);
        path.truncate(length);
    }
}

/// Numbers in keys of items are ordered as numbers.
fn order(a: &Text, b: &Text) -> Ordering {
    let keys = |step: &Text| step.strip_prefix("k:").and_then(|text| serde_json::from_str::<Map>(text).ok());
    let (Some(x), Some(y)) = (keys(a), keys(b)) else { return a.cmp(b) };
    let pairs = x.iter().zip(y.iter()).map(|((m, v), (n, w))| {
        m.cmp(n).then_with(|| match (v.as_i64(), w.as_i64()) {
            (Some(v), Some(w)) => v.cmp(&w),
            _ => v.to_string().cmp(&w.to_string()),
        })
    });
    pairs.fold(Ordering::Equal, Ordering::then).then(x.len().cmp(&y.len()))
}

/// A step as the server writes it in a path.
pub(super) fn written(step: &str) -> String {
    if let Some(name) = step.strip_prefix("f:") {
        return format!(".{name}");
    }
    if let Some(keys) = step.strip_prefix("k:").and_then(|text| serde_json::from_str::<Map>(text).ok()) {
        let keys: Vec<String> = keys.iter().map(|(name, value)| format!("{name}={value}")).collect();
        return format!("[{}]", keys.join(","));
    }
    step.split_once(':').map_or_else(|| step.to_owned(), |(_, value)| format!("[={value}]"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::json;

    fn set(value: Value) -> Set {
        Set::read(&value)
    }

    #[test]
    fn members_and_what_is_below_them_are_told_apart() {
        let mut made = Set::default();
        for path in [vec!["f:data", "f:a"], vec!["f:data"], vec!["f:data", "f:b"], vec!["f:immutable"]] {
            made.insert(&path.into_iter().map(Text::from).collect::<Vec<_>>());
        }
        assert_eq!(made, set(json!({"f:data": {".": {}, "f:a": {}, "f:b": {}}, "f:immutable": {}})));
        let mut other = Set::default();
        other.insert(&["f:data".into()]);
        other.insert(&["f:data".into(), "f:a".into()]);
        assert_eq!(other, set(json!({"f:data": {".": {}, "f:a": {}}})));
    }

    #[test]
    fn sets_are_combined_as_sets() {
        let a = set(json!({"f:data": {".": {}, "f:a": {}, "f:b": {}}, "f:x": {}}));
        let b = set(json!({"f:data": {"f:b": {}, "f:c": {}}, "f:x": {"f:y": {}}}));
        assert_eq!(a.union(&b), set(json!({"f:data": {".": {}, "f:a": {}, "f:b": {}, "f:c": {}}, "f:x": {".": {}, "f:y": {}}})));
        assert_eq!(a.difference(&b), set(json!({"f:data": {".": {}, "f:a": {}}, "f:x": {}})));
        assert_eq!(a.intersection(&b), set(json!({"f:data": {"f:b": {}}})));
        assert_eq!(a.difference(&a), Set::default());
        assert_eq!(a.intersection(&a), a);
        assert_eq!(a.without(&[&["data", "a"], &["x"]]), set(json!({"f:data": {".": {}, "f:b": {}}})));
    }

    #[test]
    fn paths_are_written_as_the_server_does() {
        let ports = json!({".": {}, "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {"f:name": {}}, "k:{\"containerPort\":9,\"protocol\":\"TCP\"}": {}});
        let all = set(json!({"f:spec": {"f:ports": ports, "f:z": {}}, "f:metadata": {"f:finalizers": {"v:\"a/b\"": {}}}}));
        assert_eq!(
            all.paths(),
            [
                ".metadata.finalizers[=\"a/b\"]",
                ".spec.ports",
                ".spec.z",
                ".spec.ports[containerPort=9,protocol=\"TCP\"]",
                ".spec.ports[containerPort=80,protocol=\"TCP\"].name",
            ]
        );
    }
}
