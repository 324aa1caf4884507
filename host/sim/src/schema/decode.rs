//! What reading and writing a document makes of it on a server, where every field has a Go type.

use super::{Shape, Type};
use crate::json::{Map, Value};
use crate::quantity::Quantity;

/// Brings a document into the form in which the server keeps it: quantities are canonical, a null in a list or map of texts is an
/// empty text and one of structs an empty struct, and lists and maps that are empty are left out where Go leaves them out. What is shared with `known` is in that form.
pub(crate) fn decode(kind: &Type, value: &mut Value, known: Option<&Value>) {
    if differs(kind, value, known) {
        rewrite(kind, value, known);
    }
}

/// Whether anything has to be rewritten: writing to a document copies what it shares.
fn differs(kind: &Type, value: &Value, known: Option<&Value>) -> bool {
    if known.is_some_and(|known| known.shares(value)) {
        return false;
    }
    match (kind.shape(), value) {
        (Shape::Amount, value) => canonical(value).is_some(),
        (Shape::List(list), Value::Array(items)) => {
            let known = known.and_then(Value::as_array);
            let mut items = items.iter().enumerate();
            items.any(|(at, item)| is_empty_value(&list.items, item) || differs(&list.items, item, known.and_then(|known| known.get(at))))
        }
        (Shape::Map(values), Value::Object(map)) => {
            map.iter().any(|(name, value)| is_empty_value(values, value) || differs(values, value, below(known, name)))
        }
        (Shape::Struct(_), Value::Object(map)) => {
            map.iter().any(|(name, value)| is_left_out(kind, name, value) || differs(kind.below(name), value, below(known, name)))
        }
        _ => false,
    }
}

fn rewrite(kind: &Type, value: &mut Value, known: Option<&Value>) {
    if known.is_some_and(|known| known.shares(value)) {
        return;
    }
    match (kind.shape(), value) {
        (Shape::Amount, value) => {
            if let Some(text) = canonical(value) {
                *value = text.into();
            }
        }
        (Shape::List(list), Value::Array(items)) => {
            let known = known.and_then(Value::as_array);
            for (at, item) in items.iter_mut().enumerate() {
                member(&list.items, item, known.and_then(|known| known.get(at)));
            }
        }
        (Shape::Map(values), Value::Object(map)) => {
            for (name, value) in map.iter_mut() {
                member(values, value, below(known, name));
            }
        }
        (Shape::Struct(_), Value::Object(map)) => {
            map.retain(|name, value| !is_left_out(kind, name, value));
            for (name, value) in map.iter_mut() {
                rewrite(kind.below(name), value, below(known, name));
            }
        }
        _ => {}
    }
}

fn member(kind: &Type, value: &mut Value, known: Option<&Value>) {
    if is_empty_value(kind, value) {
        *value = match kind.shape() {
            Shape::Text => "".into(),
            _ => Value::Object(Map::new()),
        };
    } else {
        rewrite(kind, value, known);
    }
}

fn below<'a>(known: Option<&'a Value>, name: &str) -> Option<&'a Value> {
    known.and_then(|known| known.get(name))
}

fn is_empty_value(kind: &Type, value: &Value) -> bool {
    value.is_null() && matches!(kind.shape(), Shape::Text | Shape::Struct(_))
}

/// Texts that are a pointer in Go, and so written even when they are empty: no schema tells.
const POINTERS: [&str; 8] = [
    "holderIdentity",
    "ingressClassName",
    "loadBalancerClass",
    "localhostProfile",
    "runtimeClassName",
    "storageClassName",
    "volumeAttributesClassName",
    "volumeName",
];

/// Numbers and flags that are no pointer in Go, and so written only when they are not zero: no schema tells.
const PLAIN: [&str; 17] = [
    "failureThreshold",
    "globalDefault",
    "hostIPC",
    "hostNetwork",
    "hostPID",
    "hostPort",
    "initialDelaySeconds",
    "minReadySeconds",
    "nodePort",
    "paused",
    "publishNotReadyAddresses",
    "readOnly",
    "stdin",
    "stdinOnce",
    "successThreshold",
    "tty",
    "unschedulable",
];
/// The same, for probes only.
const PLAIN_IN_PROBES: [&str; 2] = ["periodSeconds", "timeoutSeconds"];

/// What Go does not write because it is empty. An empty list of owners has a meaning of its own.
fn is_left_out(kind: &Type, name: &str, value: &Value) -> bool {
    let plain = || PLAIN.contains(&name) || (PLAIN_IN_PROBES.contains(&name) && kind.go_name() == "v1.Probe");
    let empty = match value {
        Value::Array(items) => items.is_empty() && name != "managedFields",
        Value::Object(map) => Map::is_empty(map),
        Value::String(text) => text.is_empty() && !POINTERS.contains(&name),
        Value::Number(number) => number.as_i64() == Some(0) && plain(),
        Value::Bool(flag) => !flag && plain(),
        Value::Null => false,
    };
    if !empty {
        return false;
    }
    let Some(field) = kind.as_struct().and_then(|fields| fields.field(name)).filter(|field| !field.required) else { return false };
    match value {
        Value::Array(_) | Value::Object(_) => matches!(field.kind.shape(), Shape::List(_) | Shape::Map(_)),
        Value::String(_) => matches!(field.kind.shape(), Shape::Text),
        _ => true,
    }
}

/// A quantity in the form that the server writes; `None` when it is in that form, or no quantity.
fn canonical(value: &Value) -> Option<String> {
    let given = match value {
        Value::String(text) => text.to_string(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    let text = given.parse::<Quantity>().ok()?.to_string();
    if value.is_string() && text == given { None } else { Some(text) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::json;
    use crate::kinds;
    use crate::openapi;

    #[test]
    fn a_document_becomes_what_go_writes() {
        let kind = openapi::type_of(kinds::POD).unwrap();
        let container = |more: Value| {
            let mut container = json!({"name": "a", "resources": {}});
            container.merge(&more);
            json!({"metadata": {"name": "p"}, "spec": {"containers": [container]}})
        };
        for (given, kept) in [
            (
                json!({"resources": {"limits": {"cpu": 1, "memory": "1024Mi"}}}),
                json!({"resources": {"limits": {"cpu": "1", "memory": "1Gi"}}}),
            ),
            (json!({"env": [], "stdin": false, "workingDir": ""}), json!({})),
            (json!({"args": [null], "securityContext": {}}), json!({"args": [""], "securityContext": {}})),
            (json!({"livenessProbe": {"periodSeconds": 0}}), json!({"livenessProbe": {}})),
            (json!({"securityContext": {"privileged": false}}), json!({"securityContext": {"privileged": false}})),
        ] {
            let mut given = container(given);
            decode(kind, &mut given, None);
            assert_eq!(given, container(kept));
        }
    }

    #[test]
    fn what_needs_no_change_is_shared_still() {
        let kind = openapi::type_of(kinds::CONFIG_MAP).unwrap();
        let known = json!({"metadata": {"name": "a"}, "data": {"a": "1"}});
        let mut value = known.clone();
        decode(kind, &mut value, None);
        assert!(value.shares(&known));
        let mut odd = json!({"metadata": {"labels": {}}, "data": {"a": "1"}});
        let same = odd.clone();
        decode(kind, &mut odd, Some(&same));
        assert_eq!(odd, same, "what is stored is left as it is");
    }
}
