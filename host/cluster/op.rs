//! The stamp of a write: an annotation in the same request, so that one read tells whether a write whose answer was lost was
//! done, and by whom.

use crate::base::json::{Map, Value as Json, from_value, json};

/// The annotation. Its value is `RUN/SEQ/EPOCH`.
pub const OP_ANNOTATION: &str = "lockgate.dev/op";

/// Puts the stamp into an object, merge patch or strategic merge patch. What is no object, or takes all annotations away with
/// `null`, is left as it is.
pub(super) fn annotate(body: &mut Json, stamp: &str) {
    let Some(body) = body.as_object_mut() else { return };
    let Some(meta) = body.entry("metadata").or_insert_with(|| Json::Object(Map::new())).as_object_mut() else { return };
    let annotations = meta.entry("annotations").or_insert_with(|| Json::Object(Map::new()));
    if let Some(annotations) = annotations.as_object_mut() {
        annotations.insert(OP_ANNOTATION.to_owned(), stamp.into());
    }
}

/// Appends the stamp to a JSON patch of this object, under the condition that the object is still the one that was read. Where there
/// will be no annotations the whole map is added.
pub(super) fn annotate_json_patch(patch: &mut Json, object: &Json, stamp: &str) {
    let Some(operations) = patch.as_array_mut() else { return };
    let has_map = |object: &Json| object.pointer("/metadata/annotations").is_some_and(Json::is_object);
    let after = from_value(Json::Array(operations.clone())).ok().and_then(|patch| object.patched(&patch).ok());
    // What does not fit, the server will say.
    let Some(after) = after else { return };
    let version = &object["metadata"]["resourceVersion"];
    operations.insert(0, json!({"op": "test", "path": "/metadata/resourceVersion", "value": version}));
    operations.push(if has_map(&after) {
        json!({"op": "add", "path": "/metadata/annotations/lockgate.dev~1op", "value": stamp})
    } else {
        json!({"op": "add", "path": "/metadata/annotations", "value": { OP_ANNOTATION: stamp }})
    });
}

/// Five characters for a name that is to be made up, as API servers choose them (`k8s.io/apimachinery/pkg/util/rand`); equal stamps
/// give equal ones.
pub(super) fn suffix(stamp: &str) -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    // FNV-1a.
    let mut sum = stamp.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let mut out = String::new();
    for _ in 0..5 {
        let at = usize::try_from(sum % LETTERS.len() as u64).unwrap_or(0);
        out.push(char::from(LETTERS[at]));
        sum /= LETTERS.len() as u64;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_and_merge_patches_carry_it_beside_what_they_have() {
        let mut body = json!({"metadata": {"annotations": {"a": "b"}}, "spec": {}});
        annotate(&mut body, "r/1/1");
        assert_eq!(body, json!({"metadata": {"annotations": {"a": "b", "lockgate.dev/op": "r/1/1"}}, "spec": {}}));
        let mut body = json!({"spec": {"replicas": 0}});
        annotate(&mut body, "r/2/1");
        assert_eq!(body["metadata"]["annotations"]["lockgate.dev/op"], "r/2/1");
        let mut body = json!({"metadata": {"annotations": null}});
        annotate(&mut body, "r/3/1");
        assert_eq!(body, json!({"metadata": {"annotations": null}}));
    }

    fn stamped(patch: Json, object: &Json) -> Json {
        let mut patch = patch;
        annotate_json_patch(&mut patch, object, "r/1/1");
        object.patched(&from_value(patch).unwrap()).unwrap()
    }

    #[test]
    fn json_patches_keep_annotations_that_are_there() {
        let change = json!([{"op": "replace", "path": "/spec/replicas", "value": 3}]);
        let object = json!({"metadata": {"resourceVersion": "7", "annotations": {"a": "b"}}, "spec": {"replicas": 1}});
        let after = stamped(change.clone(), &object);
        assert_eq!(after["metadata"]["annotations"], json!({"a": "b", "lockgate.dev/op": "r/1/1"}));
        let bare = json!({"metadata": {"resourceVersion": "7"}, "spec": {"replicas": 1}});
        let after = stamped(change, &bare);
        assert_eq!(after["metadata"]["annotations"], json!({"lockgate.dev/op": "r/1/1"}));
        assert_eq!(after["spec"]["replicas"], 3);
        let own = json!([{"op": "add", "path": "/metadata/annotations", "value": {"x": "y"}}]);
        assert_eq!(stamped(own, &bare)["metadata"]["annotations"], json!({"x": "y", "lockgate.dev/op": "r/1/1"}));
    }

    #[test]
    fn the_patch_is_bound_to_what_was_read() {
        let mut patch = json!([{"op": "replace", "path": "/spec/replicas", "value": 3}]);
        annotate_json_patch(&mut patch, &json!({"metadata": {"resourceVersion": "7"}, "spec": {"replicas": 1}}), "s");
        assert_eq!(patch[0], json!({"op": "test", "path": "/metadata/resourceVersion", "value": "7"}));
    }
}
