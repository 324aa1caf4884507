//! Patches of an object: JSON patch, merge patch, strategic merge patch.

mod operations;
mod strategic;

use self::operations::Operation;
use crate::json::Value;

use crate::kinds::Kind;
use crate::status::Status;
use crate::validate::json_type;

/// More operations than this are refused, as the server does.
const MOST_OPERATIONS: usize = 10_000;

/// What the copies of a JSON patch may add, in bytes, as the server limits it.
const MOST_COPIED: usize = 3 << 20;
/// Documents may not become deeper than a body may be: what follows them steps into them.
const DEEPEST: usize = 128;

/// How a patch is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatchKind {
    /// `application/json-patch+json`, RFC 6902.
    Json,
    /// `application/merge-patch+json`, RFC 7386.
    Merge,
    /// `application/strategic-merge-patch+json`: lists merge by key.
    Strategic,
    /// `application/apply-patch+yaml`: server-side apply.
    Apply,
}

impl PatchKind {
    /// The kind of a content type; parameters such as the charset are ignored.
    ///
    /// # Errors
    /// 415 for anything else; as a real server, for the JSON and CBOR forms of server-side apply too.
    pub fn of(content_type: &str) -> Result<Self, Status> {
        match content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
            "application/json-patch+json" => Ok(Self::Json),
            "application/merge-patch+json" => Ok(Self::Merge),
            "application/strategic-merge-patch+json" => Ok(Self::Strategic),
            "application/apply-patch+yaml" => Ok(Self::Apply),
            _ => Err(Status::new(415, "UnsupportedMediaType", "415: Unsupported Media Type", crate::json::json!({}))),
        }
    }
}

/// Applies a patch to an object of a kind.
///
/// # Errors
/// 400 for what is no patch of this form, 422 for a JSON patch that does not fit the object, 500 for a strategic merge patch that
/// does not (as the server does).
pub fn apply(patch: PatchKind, kind: &'static Kind, object: &Value, body: &[u8]) -> Result<Value, Status> {
    let unreadable = |error: serde_json::Error| Status::bad_request(format!("error decoding patch: {error}"));
    if patch == PatchKind::Json {
        // A list of objects is a patch; one with operations that do not exist fits no object.
        let document: Value = serde_json::from_slice(body).map_err(unreadable)?;
        if !document.as_array().is_some_and(|list| list.iter().all(Value::is_object)) {
            return Err(undecodable(&document, "[]handlers.jsonPatchOp"));
        }
        let given: &[Value] = document.as_array().map_or(&[], |list| list);
        if given.len() > MOST_OPERATIONS {
            let message = format!(
                "Request entity too large: The allowed maximum operations in a JSON patch is {MOST_OPERATIONS}, got {}",
                given.len()
            );
            return Err(Status::new(413, "RequestEntityTooLarge", message, Value::Null));
        }
        let mut patched = object.clone();
        let mut left = MOST_COPIED;
        for operation in given {
            let done = Operation::read(operation).and_then(|operation| operation.apply(&mut patched, &mut left));
            done.ok_or_else(Status::unprocessable)?;
        }
        return if is_deeper(&patched, DEEPEST) { Err(Status::unprocessable()) } else { Ok(patched) };
    }
    let body: Value = serde_json::from_slice(body).map_err(unreadable)?;
    if !body.is_object() {
        return Err(undecodable(&body, "map[string]interface {}"));
    }
    let mut patched = object.clone();
    match patch {
        PatchKind::Strategic => strategic::merge(kind, &mut patched, body).map_err(|why| refused(&why))?,
        // An apply knows who owns what and is done elsewhere.
        PatchKind::Json | PatchKind::Merge | PatchKind::Apply => patched.merge(&body),
    }
    Ok(patched)
}

/// Whether a document has more than so many levels.
fn is_deeper(document: &Value, levels: usize) -> bool {
    let Some(left) = levels.checked_sub(1) else { return true };
    match document {
        Value::Object(map) => map.iter().any(|(_, value)| is_deeper(value, left)),
        Value::Array(items) => items.iter().any(|item| is_deeper(item, left)),
        _ => false,
    }
}

/// A patch of another form than its type has, in the words of Go's decoder.
fn undecodable(patch: &Value, wanted: &str) -> Status {
    let (found, wanted) = match patch {
        Value::Array(items) => match items.iter().find(|item| !item.is_object()) {
            Some(item) if wanted.starts_with("[]") => (json_type(item), wanted.trim_start_matches("[]")),
            _ => ("array", wanted),
        },
        other => (json_type(other), wanted),
    };
    Status::bad_request(format!("error decoding patch: json: cannot unmarshal {found} into Go value of type {wanted}"))
}

/// What the server makes of a strategic merge patch that cannot be: most of it is its own fault (500).
fn refused(why: &str) -> Status {
    let malformed = why == "invalid JSON document" || why.starts_with("invalid patch format of ");
    if malformed { Status::bad_request(why) } else { Status::new(500, "", why, Value::Null) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::json;
    use crate::kinds;
    use proptest::prelude::*;

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "[a-c]{0,2}".prop_map(Value::from)
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-d]", inner, 0..4).prop_map(|m| Value::Object(m.into_iter().collect())),
            ]
        })
    }

    fn object() -> impl Strategy<Value = Value> {
        prop::collection::btree_map("[a-d]", value(), 0..4).prop_map(|m| Value::Object(m.into_iter().collect()))
    }

    fn merged(object: &Value, patch: &Value) -> Value {
        apply(PatchKind::Merge, kinds::CONFIG_MAP, object, patch.to_string().as_bytes()).unwrap()
    }

    proptest! {
        #[test]
        fn a_merge_patch_is_idempotent_and_empty_ones_do_nothing(object in object(), patch in object()) {
            let once = merged(&object, &patch);
            prop_assert_eq!(&merged(&once, &patch), &once);
            prop_assert_eq!(&merged(&object, &json!({})), &object);
        }

        #[test]
        fn a_merge_patch_sets_leaves_and_removes_nulls(object in object(), patch in object()) {
            let result = merged(&object, &patch);
            for (key, wanted) in patch.as_object().unwrap() {
                match wanted {
                    Value::Null => prop_assert!(result.get(key).is_none()),
                    Value::Object(_) => prop_assert!(result[key].is_object()),
                    other => prop_assert_eq!(&result[key], other),
                }
            }
            for (key, kept) in object.as_object().unwrap() {
                if patch.get(key).is_none() {
                    prop_assert_eq!(&result[key], kept);
                }
            }
        }

        #[test]
        fn bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..60), text in "[\\[\\]{}\":,$/a-z0-9 ]{0,60}") {
            for kind in [PatchKind::Json, PatchKind::Merge, PatchKind::Strategic] {
                let object = json!({"spec": {"containers": [{"name": "a"}]}});
                let _outcome = apply(kind, kinds::POD, &object, &bytes);
                let _outcome = apply(kind, kinds::POD, &object, text.as_bytes());
            }
        }

        #[test]
        fn strategic_patches_never_panic(patch in object(), list in value(), order in value()) {
            let object = json!({"spec": {"containers": [{"name": "a", "ports": [{"containerPort": 1}]}]}, "metadata": {"finalizers": ["x"]}});
            for patch in [
                patch,
                json!({"spec": {"containers": list.clone(), "$setElementOrder/containers": order.clone()}}),
                json!({"metadata": {"$deleteFromPrimitiveList/finalizers": list, "$retainKeys": order}}),
            ] {
                let _outcome = apply(PatchKind::Strategic, kinds::POD, &object, patch.to_string().as_bytes());
            }
        }
    }

    #[test]
    fn a_failed_test_is_unprocessable() {
        let patch = json!([{"op": "test", "path": "/data/a", "value": "x"}]).to_string();
        let status = apply(PatchKind::Json, kinds::CONFIG_MAP, &json!({"data": {"a": "b"}}), patch.as_bytes()).unwrap_err();
        assert_eq!((status.code(), status.reason()), (422, "Invalid"));
        assert_eq!(status.message(), "the server rejected our request due to an error in our request");
    }

    #[test]
    fn content_types_decide() {
        assert_eq!(PatchKind::of("application/merge-patch+json; charset=utf-8"), Ok(PatchKind::Merge));
        assert_eq!(PatchKind::of("application/json").unwrap_err().code(), 415);
        assert_eq!(PatchKind::of("application/apply-patch+yaml"), Ok(PatchKind::Apply));
        assert_eq!(PatchKind::of("application/apply-patch+json").unwrap_err().code(), 415);
    }
}
