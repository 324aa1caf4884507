//! Names that a server makes up, found by what they are made of: the ends of names, and the hashes of templates.

use std::collections::BTreeMap;

use serde_json::Value;

/// What the API server makes ends of names of: no vowels and nothing that looks like one.
const GENERATED: &str = "bcdfghjklmnpqrstvwxz2456789";

/// Made-up names of one cluster, and what stands for them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    /// Names with their end made up: the name, and what comes before its end followed by a star.
    made: BTreeMap<String, String>,
    /// Hashes in the order of their appearance: the first is `H1`.
    hashes: Vec<String>,
}

impl Names {
    /// Learns the hashes of a list of ReplicaSets or ControllerRevisions. New ones are numbered by owner and revision.
    pub(crate) fn learn_hashes(&mut self, list: &Value) {
        let mut found = Vec::new();
        for object in items(list) {
            let (name, owner) = (text(object, "/metadata/name"), text(object, "/metadata/ownerReferences/0/name"));
            let Some(hash) = name.strip_prefix(owner).and_then(|rest| rest.strip_prefix('-')).filter(|_| !owner.is_empty()) else {
                continue;
            };
            let of_set = text(object, "/metadata/annotations/deployment.kubernetes.io~1revision").parse().unwrap_or(0);
            let revision = object.get("revision").and_then(Value::as_u64).unwrap_or(of_set);
            found.push((owner, revision, hash));
        }
        found.sort_unstable();
        for (_, _, hash) in found {
            if !self.hashes.iter().any(|known| known == hash) {
                self.hashes.push(hash.to_owned());
            }
        }
    }

    /// Learns the names of all objects in this value whose end was made up.
    pub(crate) fn learn_made(&mut self, value: &Value) {
        match value {
            Value::Object(fields) => {
                let (prefix, name) = (text(value, "/metadata/generateName"), text(value, "/metadata/name"));
                if is_made(prefix, name) {
                    self.made.insert(name.to_owned(), format!("{prefix}*"));
                }
                fields.values().for_each(|value| self.learn_made(value));
            }
            Value::Array(items) => items.iter().for_each(|item| self.learn_made(item)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    /// A text without made-up names.
    pub(crate) fn plain(&self, text: &str) -> String {
        let mut text = text.to_owned();
        // The longest first: one name can be the beginning of another.
        for (name, shown) in self.made.iter().rev() {
            if text.contains(name.as_str()) {
                text = text.replace(name.as_str(), shown);
            }
        }
        for (index, hash) in self.hashes.iter().enumerate() {
            if text.contains(hash.as_str()) {
                text = text.replace(hash.as_str(), &format!("H{}", index + 1));
            }
        }
        text
    }

    /// The hashes with their numbers.
    pub(crate) fn hashes(&self) -> impl Iterator<Item = (usize, &str)> {
        self.hashes.iter().enumerate().map(|(index, hash)| (index + 1, hash.as_str()))
    }

    /// The hash of a number.
    pub(crate) fn hash(&self, number: usize) -> Option<&str> {
        self.hashes.get(number.checked_sub(1)?).map(String::as_str)
    }
}

/// Whether a name is this prefix with a made-up end.
pub(crate) fn is_made(prefix: &str, name: &str) -> bool {
    let made = |end: &str| end.len() == 5 && end.chars().all(|letter| GENERATED.contains(letter));
    !prefix.is_empty() && name.strip_prefix(prefix).is_some_and(made)
}

/// The items of a list; none when it is no list.
pub(crate) fn items(list: &Value) -> &[Value] {
    list.get("items").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The text at a pointer; empty when there is none.
pub(crate) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}
