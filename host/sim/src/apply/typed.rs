//! What a configuration may look like: the refusals of a server that reads it by the schema.

use super::compare::{Parts, element, parts};
use crate::json::{Map, Value};
use crate::schema::{List, Shape, Type};

/// Everything that is wrong with a configuration, in the server's words; empty when nothing is.
pub(super) fn errors(kind: &Type, config: &Value) -> Vec<String> {
    let mut found = Vec::new();
    value(kind, config, &mut String::new(), &mut found);
    found
}

fn value(kind: &Type, given: &Value, path: &mut String, found: &mut Vec<String>) {
    if given.is_null() {
        return;
    }
    let mut wrong = |what: String| found.push(format!("{path}: {what}"));
    match kind.shape() {
        Shape::Text | Shape::Bytes | Shape::Time if !given.is_string() => {
            wrong(format!("expected string, got &value.valueUnstructured{{Value:{}}}", in_go(given)));
        }
        Shape::Integer(_) | Shape::Number if !given.is_number() => {
            wrong(format!("expected numeric (int or float), got {}", type_in_go(given)));
        }
        Shape::Bool if !given.is_boolean() => wrong(format!("expected boolean, got &{{{}}}", plain_in_go(given))),
        Shape::List(_) if !given.is_array() => wrong(format!("expected list, got &{{{}}}", plain_in_go(given))),
        Shape::Map(_) | Shape::Struct(_) if !given.is_object() => wrong(format!("expected map, got &{{{}}}", plain_in_go(given))),
        Shape::List(list) => items(kind, list, given, path, found),
        Shape::Map(_) | Shape::Struct(_) => members(kind, given, path, found),
        _ => {}
    }
}

fn members(kind: &Type, given: &Value, path: &mut String, found: &mut Vec<String>) {
    let length = path.len();
    for (name, given) in given.as_object().into_iter().flat_map(Map::iter) {
        path.push('.');
        path.push_str(name);
        let unknown = kind.as_struct().is_some_and(|fields| !fields.open && fields.field(name).is_none());
        if unknown {
            found.push(format!("{path}: field not declared in schema"));
        } else {
            value(kind.below(name), given, path, found);
        }
        path.truncate(length);
    }
}

fn items(kind: &Type, list: &List, given: &Value, path: &mut String, found: &mut Vec<String>) {
    let (length, keyed) = (path.len(), matches!(parts(kind, Some(given)), Parts::Items(_)));
    let mut seen = Vec::new();
    for (at, item) in given.as_array().into_iter().flat_map(|items| items.iter()).enumerate() {
        if keyed {
            let by_keys = matches!(list.items.shape(), Shape::Struct(_) | Shape::Map(_));
            let refused = match (by_keys, item) {
                (true, Value::Null) => Some("associative list with keys may not have a null element"),
                (true, Value::Object(_)) => None,
                (true, _) => Some("associative list with keys may not have non-map elements"),
                (false, _) => None,
            };
            if let Some(why) = refused {
                found.push(format!("{path}: element {at}: {why}"));
                return;
            }
            let Some(step) = element(list, item) else {
                found.push(format!("{path}: element {at}: associative list with keys has an element that omits key field"));
                return;
            };
            let written = super::set::written(&step);
            if seen.contains(&step) {
                found.push(format!("{path}: duplicate entries for key {written}"));
                continue;
            }
            seen.push(step);
            path.push_str(&written);
        } else {
            path.push_str(&format!("[{at}]"));
        }
        value(&list.items, item, path, found);
        path.truncate(length);
    }
}

/// A value as Go prints it with its type.
fn in_go(value: &Value) -> String {
    match value {
        Value::Null => "interface {}(nil)".to_owned(),
        Value::Array(items) => format!("[]interface {{}}{{{}}}", items.iter().map(in_go).collect::<Vec<_>>().join(", ")),
        Value::Object(map) => {
            let members: Vec<String> = map.iter().map(|(name, value)| format!("{name:?}:{}", in_go(value))).collect();
            format!("map[string]interface {{}}{{{}}}", members.join(", "))
        }
        other => other.to_string(),
    }
}

/// A value as Go prints it.
pub(crate) fn plain_in_go(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.to_string(),
        Value::Array(items) => format!("[{}]", items.iter().map(plain_in_go).collect::<Vec<_>>().join(" ")),
        Value::Object(map) => {
            let members: Vec<String> = map.iter().map(|(name, value)| format!("{name}:{}", plain_in_go(value))).collect();
            format!("map[{}]", members.join(" "))
        }
        other => other.to_string(),
    }
}

fn type_in_go(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}
