//! What changed between two forms of an object, field by field, as people would name the fields.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::base::json::{Map, Text, Value as Json};
use serde::{Deserialize, Serialize};

use super::Image;

/// Fields that name an element of a list, in the order they are tried.
const ELEMENT_KEYS: [&str; 8] = ["name", "type", "containerPort", "mountPath", "ip", "port", "uid", "key"];
/// Fields of `metadata` that the server keeps for itself.
const KEPT_BY_SERVER: [&str; 5] = ["resourceVersion", "uid", "managedFields", "generation", "creationTimestamp"];
/// The annotation that says which call wrote last: bookkeeping, not a change.
pub const OPERATION: &str = "lockgate.dev/op";
/// The annotation of the pod template that `kubectl rollout restart` writes (kubectl: polymorphichelpers/objectrestarter.go); operators
/// know it. Nothing takes a restart back.
pub const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";
/// Annotations that nobody writes as a change: ours, and those in which the server and its controllers count the templates of a workload.
/// They follow a change of the template, the first of them (`staging/src/k8s.io/api/apps/v1/types.go`) only after the answer to it, so that
/// what a write answered and what is read later differ in them though nobody has changed anything.
pub const BOOKKEEPING: [&str; 3] = ["deprecated.daemonset.template.generation", "deployment.kubernetes.io/revision", OPERATION];

/// One field that changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// The field: `spec.template.spec.containers[name=agent].image`.
    pub path: String,
    /// What it was; absent when it was not there.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub before: Option<Json>,
    /// What it is; absent when it is gone.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub after: Option<Json>,
}

/// A field that is there and null is `Some(null)`, unlike one that is not there.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Json>, D::Error> {
    Json::deserialize(deserializer).map(Some)
}

impl Change {
    /// Both values as a person reads them: `v1.9.2 -> v1.9.3`, `2 -> 0`, `added 5`, `removed`.
    #[must_use]
    pub fn values(&self) -> String {
        match (&self.before, &self.after) {
            (Some(Json::String(before)), Some(Json::String(after))) if self.path.ends_with(".image") => {
                match (Image::parse(before), Image::parse(after)) {
                    (Ok(old), Ok(new)) if old.same_repository(&new) && old.short() != new.short() => {
                        format!("{} -> {}", old.short(), new.short())
                    }
                    _ => format!("{before} -> {after}"),
                }
            }
            (Some(before), Some(after)) => apart(before, after),
            (None, Some(after)) => format!("added {}", shown(after)),
            (Some(_), None) => "removed".to_owned(),
            (None, None) => "unchanged".to_owned(),
        }
    }
}

impl Change {
    /// The same without the values of a Secret: that they change is told, not what they are.
    #[must_use]
    pub fn hidden(mut self) -> Change {
        if ["data", "stringData"].iter().any(|field| self.path == *field || self.path.starts_with(&format!("{field}."))) {
            for value in [&mut self.before, &mut self.after].into_iter().flatten() {
                *value = Json::from("***");
            }
        }
        self
    }
}

/// `PATH VALUES`
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.path, self.values())
    }
}

/// The merge patch (RFC 7386) that makes `after` of `before`; `None` when they are equal. Nulls inside maps of `after` cannot be
/// said in a merge patch and read as absent.
#[must_use]
pub fn merge_patch(before: &Json, after: &Json) -> Option<Json> {
    let (Some(old), Some(new)) = (before.as_object(), after.as_object()) else {
        return (before != after).then(|| after.clone());
    };
    let mut patch = Map::new();
    for key in old.keys().filter(|key| new.get(key).is_none_or(Json::is_null) && !old[*key].is_null()) {
        patch.insert(key.clone(), Json::Null);
    }
    for (key, value) in new.iter().filter(|(_, value)| !value.is_null()) {
        match old.get(key) {
            Some(former) => drop(merge_patch(former, value).map(|change| patch.insert(key.clone(), change))),
            None => drop(patch.insert(key.clone(), value.clone())),
        }
    }
    if patch.is_empty() { None } else { Some(Json::Object(patch)) }
}

/// Values longer than this are cut.
const LONG: usize = 80;
/// So much of what two long values have in common is left before the place where they differ.
const AROUND: usize = 20;

/// A value in one line; what is large is cut.
fn shown(value: &Json) -> String {
    let text = text(value);
    if text.is_empty() {
        return "\"\"".to_owned();
    }
    cut(&text, 0)
}

fn text(value: &Json) -> String {
    match value {
        Json::String(text) => text.to_string(),
        other => other.to_string(),
    }
}

/// A long text from here on, cut at both ends.
fn cut(text: &str, from: usize) -> String {
    if from == 0 && text.chars().count() <= LONG {
        return text.to_owned();
    }
    let (lead, room) = if from == 0 { ("", LONG - 3) } else { ("...", LONG - 6) };
    let rest: Vec<char> = text.chars().skip(from).collect();
    let kept: String = rest.iter().take(room).collect();
    let end = if rest.len() > room { "..." } else { "" };
    format!("{lead}{kept}{end}")
}

/// Two values, so that it is seen what differs: of long lists of plain values what is more and what is less, of other long values the part
/// where they part.
fn apart(before: &Json, after: &Json) -> String {
    let (old, new) = (text(before), text(after));
    let length = |text: &str| text.chars().count();
    if length(&old).max(length(&new)) <= LONG {
        return format!("{} -> {}", shown(before), shown(after));
    }
    let plain = |value: &Json| value.as_array().filter(|items| !items.iter().any(|item| item.is_object() || item.is_array())).cloned();
    if let (Some(old), Some(new)) = (plain(before), plain(after)) {
        let less = |from: &[Json], these: &[Json]| -> Vec<String> {
            from.iter().filter(|item| !these.contains(item)).map(ToString::to_string).collect()
        };
        let told = [("removed", less(&old, &new)), ("added", less(&new, &old))];
        let told: Vec<String> =
            told.iter().filter(|(_, items)| !items.is_empty()).map(|(word, items)| format!("{word} {}", items.join(","))).collect();
        return if told.is_empty() { "the same in another order".to_owned() } else { cut(&told.join(", "), 0) };
    }
    let same = old.chars().zip(new.chars()).take_while(|(old, new)| old == new).count();
    let from = same.saturating_sub(AROUND);
    format!("{} -> {}", cut(&old, from), cut(&new, from))
}

/// What changed from `before` to `after`, in the order of the fields' names. `status`, the annotations of [`BOOKKEEPING`] and what the
/// server keeps in `metadata` are left out.
#[must_use]
pub fn changes(before: &Json, after: &Json) -> Vec<Change> {
    let mut found = Vec::new();
    compare(&mut String::new(), &told(before), &told(after), &mut found);
    found
}

/// Whether a path of a change is this one or leads further into it.
#[must_use]
pub fn reaches(path: &str, into: &str) -> bool {
    path.strip_prefix(into).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// The object without what is not told.
fn told(object: &Json) -> Json {
    let mut object = object.clone();
    let Json::Object(fields) = &mut object else { return object };
    fields.remove("status");
    if let Some(Json::Object(metadata)) = fields.get_mut("metadata") {
        for field in KEPT_BY_SERVER {
            metadata.remove(field);
        }
        let emptied = match metadata.get_mut("annotations") {
            Some(Json::Object(annotations)) => {
                // Every one of them goes; `any` would stop at the first.
                let found = BOOKKEEPING.iter().filter(|name| annotations.remove(name).is_some()).count();
                found > 0 && annotations.is_empty()
            }
            _ => false,
        };
        if emptied {
            metadata.remove("annotations");
        }
    }
    object
}

fn compare(path: &mut String, before: &Json, after: &Json, found: &mut Vec<Change>) {
    match (before, after) {
        _ if before == after => {}
        (Json::Object(before), Json::Object(after)) => compare_maps(path, before, after, found),
        (Json::Array(before), Json::Array(after)) => compare_lists(path, before, after, found),
        _ => found.push(Change { path: path.clone(), before: Some(before.clone()), after: Some(after.clone()) }),
    }
}

/// Compares what may be missing on one side.
fn compare_at(path: &mut String, step: &str, before: Option<&Json>, after: Option<&Json>, found: &mut Vec<Change>) {
    let length = path.len();
    path.push_str(if length == 0 { step.trim_start_matches('.') } else { step });
    match (before, after) {
        (Some(before), Some(after)) => compare(path, before, after, found),
        (None, None) => {}
        // A new map is told field by field, so that one added annotation reads as such.
        (None, Some(Json::Object(after))) if !after.is_empty() => compare_maps(path, &Map::new(), after, found),
        (Some(Json::Object(before)), None) if !before.is_empty() => compare_maps(path, before, &Map::new(), found),
        _ => found.push(Change { path: path.clone(), before: before.cloned(), after: after.cloned() }),
    }
    path.truncate(length);
}

fn compare_maps(path: &mut String, before: &Map, after: &Map, found: &mut Vec<Change>) {
    let keys: BTreeSet<&Text> = before.keys().chain(after.keys()).collect();
    for key in keys {
        let plain = key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
        let step = if plain { format!(".{key}") } else { format!("[{key}]") };
        compare_at(path, &step, before.get(key), after.get(key), found);
    }
}

fn compare_lists(path: &mut String, before: &[Json], after: &[Json], found: &mut Vec<Change>) {
    let whole = |found: &mut Vec<Change>| {
        let (before, after) = (Json::from(before.to_vec()), Json::from(after.to_vec()));
        found.push(Change { path: path.clone(), before: Some(before), after: Some(after) });
    };
    let keyed = ELEMENT_KEYS.into_iter().find_map(|key| Some((key, by_key(before, key)?, by_key(after, key)?)));
    let Some((key, old, new)) = keyed else {
        if before.len() == after.len() && before.iter().chain(after).all(Json::is_object) {
            for (index, (before, after)) in before.iter().zip(after).enumerate() {
                compare_at(path, &format!("[{index}]"), Some(before), Some(after), found);
            }
            return;
        }
        return whole(found);
    };
    if old.len() == new.len() && old.iter().all(|(name, element)| new.get(name) == Some(element)) {
        // The same elements in another order, which is a change for init containers and environments.
        return whole(found);
    }
    let mut order: Vec<&String> = Vec::new();
    for element in before.iter().chain(after) {
        let name = old.iter().chain(&new).find(|(_, known)| **known == element).map(|(name, _)| name);
        order.extend(name.filter(|name| !order.contains(name)));
    }
    for name in order {
        let (old, new) = (old.get(name).copied(), new.get(name).copied());
        let step = format!("[{key}={name}]");
        if old.is_some() && new.is_some() {
            compare_at(path, &step, old, new, found);
        } else {
            // An element that comes or goes is one change, not one a field.
            found.push(Change { path: format!("{path}{step}"), before: old.cloned(), after: new.cloned() });
        }
    }
}

/// The elements by the value of that field; `None` when one lacks it or two share it.
fn by_key<'a>(list: &'a [Json], key: &str) -> Option<BTreeMap<String, &'a Json>> {
    let mut elements = BTreeMap::new();
    for element in list {
        let name = match element.get(key)? {
            Json::String(text) => text.to_string(),
            Json::Number(number) => number.to_string(),
            _ => return None,
        };
        if elements.insert(name, element).is_some() {
            return None;
        }
    }
    Some(elements)
}

#[cfg(test)]
mod tests {
    use crate::base::json::json;

    use super::*;

    fn told_of(before: &Json, after: &Json) -> Vec<String> {
        changes(before, after).iter().map(Change::to_string).collect()
    }

    #[test]
    fn containers_are_matched_by_name_and_images_are_short() {
        let pod = |agent: &str, setup: &str| {
            json!({ "spec": { "containers": [{ "name": "agent", "image": agent }, { "name": "x", "image": "x:1" }],
                              "initContainers": [{ "name": "setup", "image": setup }] } })
        };
        let told = told_of(&pod("r.example/cni:v1.9.2", "a:1"), &pod("r.example/cni:v1.9.3", "b:1"));
        assert_eq!(told, ["spec.containers[name=agent].image v1.9.2 -> v1.9.3", "spec.initContainers[name=setup].image a:1 -> b:1"]);
    }

    #[test]
    fn what_the_server_keeps_is_no_change() {
        let before = json!({ "metadata": { "generation": 1, "resourceVersion": "5" }, "status": { "replicas": 1 } });
        let after = json!({ "metadata": { "generation": 2, "resourceVersion": "9", "annotations": { OPERATION: "run/1/1" } },
                            "status": { "replicas": 2 } });
        assert_eq!(changes(&before, &after), []);
        for name in BOOKKEEPING {
            let counted = |count: &str| json!({ "metadata": { "annotations": { name: count, "mine": "1" } } });
            assert_eq!(changes(&counted("1"), &counted("2")), [], "{name}");
        }
    }

    #[test]
    fn nested_status_is_a_change() {
        assert_eq!(told_of(&json!({ "spec": { "status": 1 } }), &json!({ "spec": { "status": 2 } })), ["spec.status 1 -> 2"]);
    }

    #[test]
    fn additions_removals_and_odd_keys() {
        let before = json!({ "metadata": { "labels": { "a": "1" } }, "spec": { "x": null } });
        let after = json!({ "metadata": { "annotations": { "kubernetes.io/change-cause": "why" } }, "spec": {} });
        assert_eq!(
            told_of(&before, &after),
            ["metadata.annotations[kubernetes.io/change-cause] added why", "metadata.labels.a removed", "spec.x removed"]
        );
        assert_eq!(told_of(&json!({ "a": null }), &json!({ "a": 1 })), ["a null -> 1"]);
    }

    #[test]
    fn elements_come_go_and_move() {
        let list = |elements: Json| json!({ "c": elements });
        let (a, b) = (json!({ "name": "a", "v": 1 }), json!({ "name": "b", "v": 2 }));
        let told = changes(&list(json!([a])), &list(json!([a, b])));
        assert_eq!(told, [Change { path: "c[name=b]".into(), before: None, after: Some(b.clone()) }]);
        assert_eq!(changes(&list(json!([a, b])), &list(json!([b, a])))[0].path, "c");
        assert_eq!(told_of(&list(json!(["x"])), &list(json!(["x", "y"]))), [r#"c ["x"] -> ["x","y"]"#]);
    }

    #[test]
    fn elements_without_a_name_go_by_place() {
        let list = |operator: &str| json!({ "t": [{ "key": "k", "operator": "Exists" }, { "key": "k", "operator": operator }] });
        assert_eq!(told_of(&list("Equal"), &list("Exists")), ["t[1].operator Equal -> Exists"]);
    }

    #[test]
    fn a_change_to_null_survives_json() {
        let change = Change { path: "a".into(), before: Some(Json::Null), after: None };
        let text = serde_json::to_string(&change).unwrap();
        assert_eq!(text, r#"{"path":"a","before":null}"#);
        assert_eq!(serde_json::from_str::<Change>(&text).unwrap(), change);
    }
}
