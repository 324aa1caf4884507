//! Reading objects that are plain JSON: absent fields read as empty, as the API leaves out what is empty.

use crate::base::json::Value as Json;

use crate::base::{Image, Timestamp, Typed, Value};

/// The text there; empty when absent.
pub(super) fn text<'a>(object: &'a Json, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Json::as_str).unwrap_or_default()
}

/// The integer there.
pub(super) fn int(object: &Json, pointer: &str) -> Option<i64> {
    object.pointer(pointer).and_then(Json::as_i64)
}

/// The integer there; 0 when absent.
pub(super) fn count(object: &Json, pointer: &str) -> i64 {
    int(object, pointer).unwrap_or(0)
}

/// Whether `true` is there.
pub(super) fn flag(object: &Json, pointer: &str) -> bool {
    object.pointer(pointer).and_then(Json::as_bool).unwrap_or(false)
}

/// The list there; empty when absent.
pub(super) fn list<'a>(object: &'a Json, pointer: &str) -> &'a [Json] {
    object.pointer(pointer).and_then(Json::as_array).map_or(&[], |items| items)
}

/// The time there.
pub(super) fn time(object: &Json, pointer: &str) -> Option<Timestamp> {
    object.pointer(pointer).and_then(Json::as_str).and_then(|text| text.parse().ok())
}

/// `metadata.name`.
pub(super) fn name(object: &Json) -> &str {
    text(object, "/metadata/name")
}

/// `metadata.uid`.
pub(super) fn uid(object: &Json) -> &str {
    text(object, "/metadata/uid")
}

/// A label; empty when absent.
pub(super) fn label<'a>(object: &'a Json, key: &str) -> &'a str {
    object.pointer("/metadata/labels").and_then(|labels| labels.get(key)).and_then(Json::as_str).unwrap_or_default()
}

/// An annotation.
pub(super) fn annotation<'a>(object: &'a Json, key: &str) -> Option<&'a str> {
    object.pointer("/metadata/annotations").and_then(|annotations| annotations.get(key)).and_then(Json::as_str)
}

/// The owner reference with `controller: true`.
pub(super) fn controller(object: &Json) -> Option<&Json> {
    list(object, "/metadata/ownerReferences").iter().find(|owner| flag(owner, "/controller"))
}

/// The uid of the controller; empty for an orphan.
pub(super) fn controller_uid(object: &Json) -> &str {
    controller(object).map_or("", |owner| text(owner, "/uid"))
}

/// Whether its deletion has begun.
pub(super) fn is_terminating(object: &Json) -> bool {
    object.pointer("/metadata/deletionTimestamp").is_some_and(|at| !at.is_null())
}

/// The condition of this type.
pub(super) fn condition<'a>(object: &'a Json, kind: &str) -> Option<&'a Json> {
    list(object, "/status/conditions").iter().find(|condition| text(condition, "/type") == kind)
}

/// Whether the condition of this type is `True`.
pub(super) fn holds(object: &Json, kind: &str) -> bool {
    condition(object, kind).is_some_and(|condition| text(condition, "/status") == "True")
}

/// Whether the controller has seen the object as it is.
pub(super) fn is_observed(object: &Json) -> bool {
    count(object, "/status/observedGeneration") >= count(object, "/metadata/generation")
}

/// Whether a pod has ended for good: it holds no port and no address.
pub(super) fn is_finished(pod: &Json) -> bool {
    matches!(text(pod, "/status/phase"), "Succeeded" | "Failed")
}

/// Whether a pod serves.
pub(super) fn is_ready(pod: &Json) -> bool {
    !is_terminating(pod) && !is_finished(pod) && holds(pod, "Ready")
}

/// An image for a script: typed where it can be read, else its text.
pub(super) fn image(text: &str) -> Value {
    match Image::parse(text) {
        Ok(image) => Value::Typed(Typed::Image(image)),
        Err(_) => Value::from(text.to_owned()),
    }
}

/// `1 pod waits`, `2 pods wait`: the verb that fits.
pub(super) fn verb<'a>(count: usize, one: &'a str, many: &'a str) -> &'a str {
    if count == 1 { one } else { many }
}

/// `a`, `a and b`, `a, b and c`.
pub(super) fn and(words: &[String]) -> String {
    match words.split_last() {
        None => String::new(),
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use crate::base::json::json;

    use super::*;

    #[test]
    fn what_is_absent_reads_as_empty() {
        let object = json!({ "metadata": { "name": "a", "deletionTimestamp": null } });
        assert_eq!((text(&object, "/spec/x"), count(&object, "/spec/y"), list(&object, "/spec/z").len()), ("", 0, 0));
        assert_eq!((label(&object, "a"), annotation(&object, "a"), controller_uid(&object)), ("", None, ""));
        assert!(!is_terminating(&object));
        assert!(is_observed(&object));
    }

    #[test]
    fn a_pod_that_goes_or_ended_is_not_ready() {
        let ready = json!([{ "type": "Ready", "status": "True" }]);
        assert!(is_ready(&json!({ "status": { "phase": "Running", "conditions": ready } })));
        assert!(!is_ready(&json!({ "status": { "phase": "Failed", "conditions": ready } })));
        let going = json!({ "metadata": { "deletionTimestamp": "2001-02-03T04:05:06Z" }, "status": { "conditions": ready } });
        assert!(!is_ready(&going));
    }
}
