//! Reading and changing objects that are plain JSON values.
//!
//! Controllers look at few fields of large objects; these helpers borrow instead of decoding whole structs.

use std::cell::RefCell;
use std::sync::Arc;

use crate::json::{Array, Map, Text, Value};
use jiff::{SignedDuration, Timestamp};

/// The value at a path of object keys.
pub(crate) fn at<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, key| value.as_object()?.get(key))
}

/// The string at a path; empty when absent.
pub(crate) fn text<'a>(value: &'a Value, path: &[&str]) -> &'a str {
    at(value, path).and_then(Value::as_str).unwrap_or_default()
}

/// The string at a path, shared and not copied; empty when absent.
pub(crate) fn shared(value: &Value, path: &[&str]) -> Text {
    match at(value, path) {
        Some(Value::String(text)) => text.clone(),
        _ => Text::new(),
    }
}

/// The integer at a path.
pub(crate) fn int(value: &Value, path: &[&str]) -> Option<i64> {
    at(value, path).and_then(Value::as_i64)
}

/// The integer at a path; 0 when absent, as the API leaves out zeros.
pub(crate) fn count(value: &Value, path: &[&str]) -> i64 {
    int(value, path).unwrap_or(0)
}

/// The boolean at a path; false when absent.
pub(crate) fn flag(value: &Value, path: &[&str]) -> bool {
    at(value, path).and_then(Value::as_bool).unwrap_or(false)
}

/// The elements of the list at a path; empty when absent.
pub(crate) fn list<'a>(value: &'a Value, path: &[&str]) -> &'a [Value] {
    at(value, path).and_then(Value::as_array).map_or(&[], |items| items)
}

/// `metadata.name`.
pub(crate) fn name(object: &Value) -> &str {
    text(object, &["metadata", "name"])
}

/// `metadata.namespace`.
pub(crate) fn namespace(object: &Value) -> &str {
    text(object, &["metadata", "namespace"])
}

/// `metadata.uid`.
pub(crate) fn uid(object: &Value) -> &str {
    text(object, &["metadata", "uid"])
}

/// `metadata.generation`; 0 when absent.
pub(crate) fn generation(object: &Value) -> i64 {
    count(object, &["metadata", "generation"])
}

/// `metadata.labels`.
pub(crate) fn labels(object: &Value) -> Option<&Map> {
    at(object, &["metadata", "labels"]).and_then(Value::as_object)
}

/// One label; empty when absent.
pub(crate) fn label<'a>(object: &'a Value, key: &str) -> &'a str {
    text(object, &["metadata", "labels", key])
}

/// One annotation.
pub(crate) fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    at(object, &["metadata", "annotations", key]).and_then(Value::as_str)
}

/// Whether a graceful deletion is under way.
pub(crate) fn is_terminating(object: &Value) -> bool {
    at(object, &["metadata", "deletionTimestamp"]).is_some_and(|v| !v.is_null())
}

/// The owner reference with `controller: true`.
pub(crate) fn controller_of(object: &Value) -> Option<&Value> {
    list(object, &["metadata", "ownerReferences"]).iter().find(|owner| flag(owner, &["controller"]))
}

/// Whether an object was there and is there, and nobody touched its owners.
pub(crate) fn same_owners(before: Option<&Arc<Value>>, after: Option<&Arc<Value>>) -> bool {
    let (Some(before), Some(after)) = (before, after) else { return false };
    let [old, new] = [before, after].map(|object| list(object, &["metadata", "ownerReferences"]));
    old.len() == new.len() && (old.is_empty() || old.as_ptr() == new.as_ptr())
}

/// Uid of the controller, `None` for an orphan.
pub(crate) fn controller_uid(object: &Value) -> Option<&str> {
    controller_of(object).map(|owner| text(owner, &["uid"]))
}

/// The condition of this type.
pub(crate) fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    list(object, &["status", "conditions"]).iter().find(|c| text(c, &["type"]) == kind)
}

/// Whether the condition of this type is `True`.
pub(crate) fn condition_is_true(object: &Value, kind: &str) -> bool {
    condition(object, kind).is_some_and(|c| text(c, &["status"]) == "True")
}

/// A whole number in decimal.
pub(crate) fn number(mut number: u64) -> Text {
    let mut digits = [b'0'; 20];
    let mut first = digits.len();
    for (at, digit) in digits.iter_mut().enumerate().rev() {
        // Below ten: it fits.
        *digit = b'0' + (number % 10) as u8;
        (number, first) = (number / 10, at);
        if number == 0 {
            break;
        }
    }
    std::str::from_utf8(&digits[first..]).unwrap_or_default().into()
}

/// The time at a path.
pub(crate) fn time(value: &Value, path: &[&str]) -> Option<Timestamp> {
    at(value, path).and_then(Value::as_str).and_then(|s| s.parse().ok())
}

/// A time as the API prints it: whole seconds, UTC.
pub(crate) fn stamp(at: Timestamp) -> Text {
    thread_local! {
        /// The times that were printed last: few instants are written into very many objects, which share their text.
        static PRINTED: RefCell<[(i64, Text); 4]> = const { RefCell::new([const { (i64::MIN, Text::new()) }; 4]) };
    }
    let second = at.as_second();
    PRINTED.with_borrow_mut(|printed| {
        let place = match printed.iter().position(|(known, _)| *known == second) {
            Some(place) => place,
            None => {
                let text = Timestamp::from_second(second).unwrap_or(at).to_string();
                printed[3] = (second, text.into());
                3
            }
        };
        printed[..=place].rotate_right(1);
        printed[0].1.clone()
    })
}

/// A time later by some span; the end of time when that is beyond it.
pub(crate) fn later(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}

/// A time later by whole seconds.
pub(crate) fn later_s(at: Timestamp, seconds: i64) -> Timestamp {
    later(at, SignedDuration::from_secs(seconds))
}

/// How long ago `then` was.
pub(crate) fn since(now: Timestamp, then: Timestamp) -> SignedDuration {
    now.duration_since(then)
}

/// Puts a value at a path and creates the objects on the way.
pub(crate) fn set(value: &mut Value, path: &[&str], new: impl Into<Value>) {
    let Some((last, way)) = path.split_last() else { return };
    let mut place = value;
    for key in way {
        let Some(members) = made_map(place) else { return };
        place = members.place(key);
    }
    if let Some(members) = made_map(place) {
        members.insert(*last, new.into());
    }
}

/// The members of a map; what is none becomes an empty one first.
fn made_map(value: &mut Value) -> Option<&mut Map> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    value.as_object_mut()
}

/// Takes the value at a path away; absent parents are fine.
pub(crate) fn remove(value: &mut Value, path: &[&str]) -> Option<Value> {
    let (last, way) = path.split_last()?;
    way.iter().try_fold(value, |value, key| value.get_mut(key))?.as_object_mut()?.remove(last)
}

/// The list at a path, created when it is not there.
pub(crate) fn list_mut<'a>(value: &'a mut Value, path: &[&str]) -> Option<&'a mut Array> {
    if at(value, path).is_none_or(|v| !v.is_array()) {
        set(value, path, Value::Array(Array::new()));
    }
    path.iter().try_fold(value, |value, key| value.get_mut(*key))?.as_array_mut()
}

/// Resolves an integer or a percentage of `total`; 0 when absent or unreadable.
pub(crate) fn int_or_percent(value: Option<&Value>, total: i64, round_up: bool) -> i64 {
    match value {
        Some(Value::Number(n)) => n.as_i64().unwrap_or(0),
        Some(Value::String(s)) => match s.strip_suffix('%').and_then(|p| p.parse::<i64>().ok()) {
            Some(percent) if round_up => (total * percent + 99).div_euclid(100),
            Some(percent) => (total * percent).div_euclid(100),
            None => 0,
        },
        _ => 0,
    }
}

/// Whether one requirement of a label or node selector holds for an actual value.
pub(crate) fn requirement_holds(operator: &str, values: &[Value], actual: Option<&str>) -> bool {
    let among = |actual: &str| values.iter().any(|v| v.as_str() == Some(actual));
    let number = |v: Option<&str>| v.and_then(|v| v.parse::<i64>().ok());
    match operator {
        "In" => actual.is_some_and(among),
        "NotIn" => !actual.is_some_and(among),
        "Exists" => actual.is_some(),
        "DoesNotExist" => actual.is_none(),
        "Gt" | "Lt" => match (number(actual), number(values.first().and_then(Value::as_str))) {
            (Some(actual), Some(bound)) if operator == "Gt" => actual > bound,
            (Some(actual), Some(bound)) => actual < bound,
            _ => false,
        },
        _ => false,
    }
}

/// Whether a `LabelSelector` value selects these labels. An empty selector selects everything, an absent one nothing.
pub(crate) fn selects(selector: Option<&Value>, labels: Option<&Map>) -> bool {
    let Some(selector) = selector.filter(|s| s.is_object()) else { return false };
    let actual = |key: &str| labels.and_then(|l| l.get(key)).and_then(Value::as_str);
    let equal = at(selector, &["matchLabels"])
        .and_then(Value::as_object)
        .is_none_or(|want| want.iter().all(|(key, value)| actual(key) == value.as_str()));
    equal
        && list(selector, &["matchExpressions"])
            .iter()
            .all(|e| requirement_holds(text(e, &["operator"]), list(e, &["values"]), actual(text(e, &["key"]))))
}

/// Whether a `LabelSelector` is absent or empty.
pub(crate) fn selector_is_empty(selector: Option<&Value>) -> bool {
    selector.is_none_or(|s| {
        at(s, &["matchLabels"]).and_then(Value::as_object).is_none_or(Map::is_empty) && list(s, &["matchExpressions"]).is_empty()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::json;

    #[test]
    fn percentages_round_as_asked() {
        for (total, up, down) in [(1, 1, 0), (2, 1, 0), (3, 1, 0), (4, 1, 1), (10, 3, 2), (0, 0, 0)] {
            assert_eq!(int_or_percent(Some(&json!("25%")), total, true), up, "{total}");
            assert_eq!(int_or_percent(Some(&json!("25%")), total, false), down, "{total}");
        }
        assert_eq!(int_or_percent(Some(&json!(7)), 3, true), 7);
        assert_eq!(int_or_percent(None, 3, true), 0);
    }

    #[test]
    fn selectors_follow_the_api() {
        let labels = json!({"app": "web", "tier": "front"});
        let labels = labels.as_object();
        let select = |s: Value| selects(Some(&s), labels);
        assert!(select(json!({})));
        assert!(!selects(None, labels));
        assert!(select(json!({"matchLabels": {"app": "web"}})));
        assert!(!select(json!({"matchLabels": {"app": "db"}})));
        assert!(select(json!({"matchExpressions": [{"key": "zone", "operator": "NotIn", "values": ["a"]}]})));
        assert!(select(json!({"matchExpressions": [{"key": "app", "operator": "In", "values": ["a", "web"]}]})));
        assert!(!select(json!({"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]})));
    }

    #[test]
    fn paths_are_created_and_removed() {
        let mut v = json!({"a": null});
        set(&mut v, &["a", "b", "c"], 1);
        assert_eq!(v, json!({"a": {"b": {"c": 1}}}));
        assert_eq!(remove(&mut v, &["a", "b", "c"]), Some(json!(1)));
        assert_eq!(remove(&mut v, &["x", "y"]), None);
        assert_eq!([0, 7, 10, 4096, u64::MAX].map(number), ["0", "7", "10", "4096", "18446744073709551615"]);
        assert_eq!(stamp("2001-02-03T04:05:06.7Z".parse().unwrap()), "2001-02-03T04:05:06Z");
    }
}
