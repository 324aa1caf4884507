//! Pod templates: equality, hash and the pods made of them.

use serde_json::{Map, Value};

use super::owner_reference;
use crate::view;

/// Label with the hash of a Deployment's template.
pub(crate) const POD_TEMPLATE_HASH: &str = "pod-template-hash";

/// Whether two pod templates are equal, but for the label with the hash. Never compare hashes: those of a real server
/// cannot be computed outside of it.
pub(crate) fn equal(a: &Value, b: &Value) -> bool {
    let (Some(a), Some(b)) = (a.as_object(), b.as_object()) else { return a == b };
    let rest = |m: &Map<String, Value>| m.keys().filter(|k| *k != "metadata").count();
    a.get("spec") == b.get("spec")
        && rest(a) == rest(b)
        && a.iter().filter(|(k, _)| *k != "metadata").all(|(k, v)| b.get(k) == Some(v))
        && metadata_equal(a.get("metadata"), b.get("metadata"))
}

fn metadata_equal(a: Option<&Value>, b: Option<&Value>) -> bool {
    let fields = |m: Option<&Value>| -> Vec<(String, Value)> {
        let Some(map) = m.and_then(Value::as_object) else { return Vec::new() };
        let mut fields: Vec<(String, Value)> = map
            .iter()
            .map(|(key, value)| {
                let mut value = value.clone();
                if key == "labels"
                    && let Some(labels) = value.as_object_mut()
                {
                    labels.remove(POD_TEMPLATE_HASH);
                }
                (key.clone(), value)
            })
            // `creationTimestamp: null` and empty maps are ways to say nothing.
            .filter(|(_, value)| !value.is_null() && value.as_object().is_none_or(|m| !m.is_empty()))
            .collect();
        fields.sort_by(|a, b| a.0.cmp(&b.0));
        fields
    };
    a == b || fields(a) == fields(b)
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
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort_unstable();
            out.write(b"{");
            for key in keys {
                out.write(key.as_bytes());
                out.write(b":");
                canonical(&map[key], out);
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
            metadata.insert(field.to_owned(), value.clone());
        }
    }
    metadata.insert("generateName".to_owned(), format!("{}-", view::name(owner)).into());
    metadata.insert("namespace".to_owned(), view::namespace(owner).into());
    metadata.insert("ownerReferences".to_owned(), vec![owner_reference(owner)].into());
    let spec = view::at(owner, &["spec", "template", "spec"]).cloned().unwrap_or_default();
    let mut pod = Map::new();
    pod.insert("apiVersion".to_owned(), "v1".into());
    pod.insert("kind".to_owned(), "Pod".into());
    pod.insert("metadata".to_owned(), metadata.into());
    pod.insert("spec".to_owned(), spec);
    pod.insert("status".to_owned(), serde_json::json!({"phase": "Pending"}));
    pod.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

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
