//! Fields that a type does not have.

use super::{Shape, Type};
use crate::json::Value;

/// The paths of the fields that the type does not have, as the server writes them, in the order of the document. What is shared
/// with `known` is not looked at: it was looked at when it was stored. What `known` has besides may come from a newer server.
pub(crate) fn unknown(kind: &Type, value: &Value, known: Option<&Value>) -> Vec<String> {
    let (mut found, mut path) = (Vec::new(), String::new());
    walk(kind, value, known, &mut path, &mut found);
    found
}

fn walk(kind: &Type, value: &Value, known: Option<&Value>, path: &mut String, found: &mut Vec<String>) {
    if known.is_some_and(|known| known.shares(value)) {
        return;
    }
    let length = path.len();
    match (kind.shape(), value) {
        (Shape::List(list), Value::Array(items)) => {
            let known = known.and_then(Value::as_array);
            for (at, item) in items.iter().enumerate() {
                path.push_str(&format!("[{at}]"));
                walk(&list.items, item, known.and_then(|known| known.get(at)), path, found);
                path.truncate(length);
            }
        }
        (Shape::Map(_) | Shape::Struct(_), Value::Object(map)) => {
            let known = known.and_then(Value::as_object);
            for (name, value) in map {
                step(path, name);
                let known = known.and_then(|known| known.get(name));
                if keeps(kind, name) || known.is_some() {
                    walk(kind.below(name), value, known, path, found);
                } else {
                    found.push(path.clone());
                }
                path.truncate(length);
            }
        }
        _ => {}
    }
}

/// Appends a field to a path.
pub(super) fn step(path: &mut String, name: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(name);
}

/// Whether a value of this type may have a field of this name.
pub(super) fn keeps(kind: &Type, name: &str) -> bool {
    match kind.shape() {
        Shape::Struct(fields) => fields.open || fields.field(name).is_some(),
        _ => true,
    }
}

/// Takes away the fields that the type does not have; those that `known` has stay.
pub(crate) fn prune(kind: &Type, value: &mut Value, known: Option<&Value>) {
    if known.is_some_and(|known| known.shares(value)) {
        return;
    }
    match (kind.shape(), value) {
        (Shape::List(list), Value::Array(items)) => {
            for (at, item) in items.iter_mut().enumerate() {
                prune(&list.items, item, known.and_then(|known| known.get(at)));
            }
        }
        (Shape::Map(_) | Shape::Struct(_), Value::Object(map)) => {
            let known = known.and_then(Value::as_object);
            map.retain(|name, _| keeps(kind, name) || known.is_some_and(|known| known.contains_key(name)));
            for (name, value) in map.iter_mut() {
                prune(kind.below(name), value, known.and_then(|known| known.get(name)));
            }
        }
        _ => {}
    }
}
