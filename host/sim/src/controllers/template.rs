//! Pod templates: equality, hash and the pods made of them.

use crate::json::{Map, Value, json};

use super::owner_reference;
use crate::view;

/// Label with the hash of a Deployment's template.
pub(crate) const POD_TEMPLATE_HASH: &str = "pod-template-hash";

/// Whether two pod templates are equal, but for the label with the hash and the directive of a patch. Never compare hashes:
/// those of a real server cannot be computed outside of it.
pub(crate) fn equal(a: &Value, b: &Value) -> bool {
    let same = |a: Option<&Value>, b: Option<&Value>, field: &str| match field {
        "metadata" => members_equal(a, b, &|a, b, field| match field {
            "labels" => members_equal(a, b, &|a, b, label| label == POD_TEMPLATE_HASH || a == b),
            _ => a == b || (says_nothing(a) && says_nothing(b)),
        }),
        "$patch" => true,
        _ => a == b || (says_nothing(a) && says_nothing(b)),
    };
    members_equal(Some(a), Some(b), &same)
}

/// `creationTimestamp: null`, empty maps and absent fields are ways to say nothing.
fn says_nothing(value: Option<&Value>) -> bool {
    value.is_none_or(|v| v.is_null() || v.as_object().is_some_and(Map::is_empty))
}

/// Whether two values of a field are the same.
type Same<'a> = dyn Fn(Option<&Value>, Option<&Value>, &str) -> bool + 'a;

/// Compares two objects member by member.
fn members_equal(a: Option<&Value>, b: Option<&Value>, same: &Same<'_>) -> bool {
    let empty = Map::new();
    let a = a.and_then(Value::as_object).unwrap_or(&empty);
    let b = b.and_then(Value::as_object).unwrap_or(&empty);
    a.iter().all(|(key, value)| same(Some(value), b.get(key), key))
        && b.iter().filter(|(key, _)| !a.contains_key(key)).all(|(key, value)| same(None, Some(value), key))
}

/// A short hash of a value in the alphabet of generated names. It does not depend on the order of keys.
pub(crate) fn hash(value: &Value, collisions: i64) -> String {
    let mut state = Fnv(0x811c_9dc5);
    canonical(value, &mut state);
    if collisions > 0 {
        state.write(&collisions.to_le_bytes());
    }
    const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
    state.0.to_string().bytes().map(|digit| char::from(ALPHABET[usize::from(digit) % ALPHABET.len()])).collect()
}

/// FNV-1a, 32 bits.
struct Fnv(u32);

impl Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        }
    }
}

fn canonical(value: &Value, out: &mut Fnv) {
    match value {
        Value::Object(map) => {
            out.write(b"{");
            for (key, value) in map {
                out.write(key.as_bytes());
                out.write(b":");
                canonical(value, out);
                out.write(b",");
            }
            out.write(b"}");
        }
        Value::Array(items) => {
            out.write(b"[");
            for item in items {
                canonical(item, out);
                out.write(b",");
            }
            out.write(b"]");
        }
        Value::String(text) => {
            out.write(b"\"");
            out.write(text.as_bytes());
            out.write(b"\"");
        }
        other => out.write(other.to_string().as_bytes()),
    }
}

/// The selector or label map with one more label; for a `LabelSelector` its `matchLabels`.
pub(crate) fn with_label(mut object: Value, path: &[&str], value: &str) -> Value {
    view::set(&mut object, path, value);
    object
}

/// A pod of a ReplicaSet or DaemonSet: the template's metadata and spec under a generated name.
pub(crate) fn pod(owner: &Value) -> Value {
    let mut metadata = Map::new();
    for field in ["labels", "annotations", "finalizers"] {
        if let Some(value) = view::at(owner, &["spec", "template", "metadata", field]) {
            metadata.insert(field, value.clone());
        }
    }
    metadata.insert("generateName", format!("{}-", view::name(owner)).into());
    metadata.insert("namespace", view::namespace(owner).into());
    metadata.insert("ownerReferences", vec![owner_reference(owner)].into());
    let spec = view::at(owner, &["spec", "template", "spec"]).cloned().unwrap_or_default();
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": {"phase": "Pending"}})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_label_does_not_count() {
        let a = json!({"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "a", "image": "i:1"}]}});
        let mut b = with_label(a.clone(), &["metadata", "labels", POD_TEMPLATE_HASH], "abc");
        assert!(equal(&a, &b) && equal(&b, &a));
        b["metadata"]["creationTimestamp"] = Value::Null;
        assert!(equal(&a, &b));
        b["metadata"]["annotations"] = json!({"restartedAt": "now"});
        assert!(!equal(&a, &b));
        let mut c = a.clone();
        c["spec"]["containers"][0]["image"] = json!("i:2");
        assert!(!equal(&a, &c));
    }

    #[test]
    fn hashes_are_stable_and_ignore_the_order_of_keys() {
        let a: Value = serde_json::from_str(r#"{"x":1,"y":{"b":"c","a":[1,2]}}"#).unwrap();
        let b: Value = serde_json::from_str(r#"{"y":{"a":[1,2],"b":"c"},"x":1}"#).unwrap();
        assert_eq!(hash(&a, 0), hash(&b, 0));
        assert_ne!(hash(&a, 0), hash(&a, 1));
        assert_ne!(hash(&a, 0), hash(&json!({"x": 2}), 0));
        assert!(hash(&a, 0).len() <= 10);
    }
}
