//! Strategic merge patch: which lists merge by which key, and the directives that a patch may carry.
//!
//! The keys are those of the schemas of v1.36. A list that has none there is replaced as a whole.

use crate::apply::plain_in_go;
use crate::json::{Array, Map, Text, Value};

use crate::kinds::Kind;
use crate::openapi;
use crate::schema::{ANY, Type};

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const ELEMENT_ORDER: &str = "$setElementOrder/";
const DELETE_PRIMITIVES: &str = "$deleteFromPrimitiveList/";

type Fields = Map;

/// How a list is merged.
#[derive(Clone, Copy)]
enum Merge<'a> {
    /// A list of objects of this type with this key.
    Keyed(&'a str, &'a Type),
    /// A list of scalars as a set.
    Set,
}

/// How the list in a field is merged; `None` for one that is replaced as a whole.
fn rule<'a>(kind: &'a Type, name: &str) -> Option<Merge<'a>> {
    let field = kind.as_struct()?.field(name).filter(|field| field.merges)?;
    Some(field.merge_key.as_deref().map_or(Merge::Set, |key| Merge::Keyed(key, field.kind.items())))
}

/// Whether a map in a field is replaced as a whole.
fn is_replaced(kind: &Type, name: &str) -> bool {
    kind.as_struct().and_then(|fields| fields.field(name)).is_some_and(|field| field.replaces)
}

/// Merges a patch into an object. The error is the server's text.
pub(super) fn merge(kind: &Kind, object: &mut Value, patch: Value) -> Result<(), String> {
    let Value::Object(patch) = patch else { return Err("invalid JSON document".to_owned()) };
    let Some(fields) = object.as_object_mut() else { return Err("invalid JSON document".to_owned()) };
    merge_map(fields, patch, openapi::type_of(kind).unwrap_or(&ANY))
}

fn merge_map(original: &mut Fields, mut patch: Fields, kind: &Type) -> Result<(), String> {
    if let Some(directive) = patch.remove(DIRECTIVE) {
        *original = match directive.as_str() {
            Some("replace") => patch,
            Some("delete") => Fields::new(),
            _ => return Err(unknown_directive(&directive, &patch)),
        };
        return Ok(());
    }
    retain_keys(original, &mut patch)?;
    ordered_lists(original, &mut patch, kind)?;
    for (key, value) in patch {
        if let Some(name) = key.strip_prefix(DELETE_PRIMITIVES) {
            delete_primitives(original, name, &value)?;
            continue;
        }
        if value.is_null() {
            original.remove(&key);
            continue;
        }
        match (original.get_mut(&key), value) {
            (Some(Value::Object(target)), Value::Object(patch)) if !is_replaced(kind, &key) => merge_map(target, patch, kind.below(&key))?,
            (Some(Value::Array(target)), Value::Array(patch)) => merge_list(target, patch, rule(kind, &key))?,
            (_, value) => match without_directives(value) {
                Some(value) => {
                    original.insert(key, value);
                }
                None => {
                    original.remove(&key);
                }
            },
        }
    }
    Ok(())
}

fn unknown_directive(directive: &Value, patch: &Fields) -> String {
    let mut all = patch.clone();
    all.insert(DIRECTIVE, directive.clone());
    let said = directive.as_str().map_or_else(|| format!("%!s({})", plain_in_go(directive)), str::to_owned);
    format!("unknown patch type: {said} in map: {}", plain_in_go(&Value::Object(all)))
}

/// `$retainKeys`: every other key of the object goes.
fn retain_keys(original: &mut Fields, patch: &mut Fields) -> Result<(), String> {
    let Some(keys) = patch.remove(RETAIN_KEYS) else { return Ok(()) };
    let wrong = || "invalid patch format of retainKeys".to_owned();
    let keys = keys.as_array().ok_or_else(wrong)?;
    let kept = |key: &str| keys.iter().any(|k| k.as_str() == Some(key));
    let directive = |key: &str| key.starts_with(ELEMENT_ORDER) || key.starts_with(DELETE_PRIMITIVES);
    if patch.iter().any(|(key, value)| !value.is_null() && !directive(key) && !kept(key)) {
        return Err(wrong());
    }
    original.retain(|key, _| kept(key));
    Ok(())
}

/// `$deleteFromPrimitiveList`: these scalars go.
fn delete_primitives(original: &mut Fields, name: &str, values: &Value) -> Result<(), String> {
    let values = values.as_array().ok_or("invalid patch format of primitive list")?;
    if let Some(list) = original.get_mut(name).and_then(Value::as_array_mut) {
        list.retain(|item| !values.contains(item));
    }
    Ok(())
}

/// `$setElementOrder`: merges the list that it speaks about and brings it into this order.
fn ordered_lists(original: &mut Fields, patch: &mut Fields, kind: &Type) -> Result<(), String> {
    let directives: Vec<Text> = patch.keys().filter(|key| key.starts_with(ELEMENT_ORDER)).cloned().collect();
    for directive in directives {
        let order = patch.remove(&directive).unwrap_or_default();
        let Some(order) = order.as_array() else { return Err("invalid patch format of setElementOrder list".to_owned()) };
        let name = directive.trim_start_matches(ELEMENT_ORDER);
        let rule = rule(kind, name);
        if let Some(deletions) = patch.remove(&format!("{DELETE_PRIMITIVES}{name}")) {
            delete_primitives(original, name, &deletions)?;
        }
        let given = patch.remove(name);
        let before = match original.get(name) {
            Some(Value::Array(list)) => Some(list.clone()),
            None => None,
            Some(_) => return Err(format!("expected a list in field {name}")),
        };
        let mut list = before.clone().unwrap_or_default();
        match given {
            Some(Value::Array(items)) => {
                check_order(&items, order, rule)?;
                merge_list(&mut list, items, rule)?;
            }
            // A null together with an order takes the list away.
            Some(Value::Null) => {
                original.remove(name);
                continue;
            }
            Some(_) => return Err(format!("expected a list in field {name}")),
            None if before.is_none() => continue,
            None => {}
        }
        let list = arrange(list, order, &before.unwrap_or_default(), rule);
        original.insert(name, Value::Array(list));
    }
    Ok(())
}

/// Elements of the patch must come in the order that the directive gives.
fn check_order(items: &[Value], order: &[Value], rule: Option<Merge<'_>>) -> Result<(), String> {
    let mut at = 0;
    for item in items.iter().filter(|item| item.get(DIRECTIVE).is_none()) {
        match order[at..].iter().position(|wanted| same(wanted, item, rule)) {
            Some(found) => at += found + 1,
            None => {
                return Err(format!(
                    "The order in patch list:\n{}\n doesn't match $setElementOrder list:\n{}\n",
                    plain_in_go(&Value::from(items.to_vec())),
                    plain_in_go(&Value::from(order.to_vec()))
                ));
            }
        }
    }
    Ok(())
}

fn same(a: &Value, b: &Value, rule: Option<Merge<'_>>) -> bool {
    match rule {
        Some(Merge::Keyed(key, _)) => a.get(key).is_some() && a.get(key) == b.get(key),
        _ => a == b,
    }
}

fn merge_list(original: &mut Array, patch: Array, rule: Option<Merge<'_>>) -> Result<(), String> {
    match rule {
        Some(Merge::Set) => {
            let before = original.clone();
            for item in &patch {
                if !original.contains(item) {
                    original.push(item.clone());
                }
            }
            *original = arrange(std::mem::take(original), &patch, &before, rule);
            Ok(())
        }
        Some(Merge::Keyed(key, kind)) => merge_keyed(original, patch, key, kind, rule),
        _ => {
            *original = patch.into_iter().filter_map(without_directives).collect();
            Ok(())
        }
    }
}

fn merge_keyed(original: &mut Array, patch: Array, key: &str, kind: &Type, rule: Option<Merge<'_>>) -> Result<(), String> {
    let (mut items, mut replace) = (Vec::new(), false);
    for item in patch {
        let Value::Object(fields) = item else { return Err("lists of different types cannot be merged".to_owned()) };
        match fields.get(DIRECTIVE).map(Value::as_str) {
            None => items.push(fields),
            Some(Some("delete")) => {
                let value = fields.get(key).ok_or_else(|| no_key(key, &fields))?;
                original.retain(|o| o.get(key) != Some(value));
            }
            Some(Some("replace")) => replace = true,
            Some(Some("merge")) => return Err("merging lists cannot yet be specified in the patch".to_owned()),
            Some(_) => return Err(unknown_directive(&fields[DIRECTIVE], &fields)),
        }
    }
    if replace {
        *original = items.into_iter().map(Value::Object).collect();
        return Ok(());
    }
    let before = original.clone();
    let mut order = Vec::new();
    for fields in items {
        let Some(value) = fields.get(key).cloned() else {
            return Err(no_key(key, &fields));
        };
        order.push(Value::Object([(key.to_owned(), value.clone())].into_iter().collect()));
        match original.iter_mut().find(|o| o.get(key) == Some(&value)).and_then(Value::as_object_mut) {
            Some(target) => merge_map(target, fields, kind)?,
            // The server looks for no directives in a new element: they are fields that nobody knows.
            None => original.push(Value::Object(fields)),
        }
    }
    *original = arrange(std::mem::take(original), &order, &before, rule);
    Ok(())
}

/// Elements of the patch in its order; those only the server has keep their places relative to the ones both have, and come
/// after the others.
fn arrange(merged: Array, order: &[Value], before: &[Value], rule: Option<Merge<'_>>) -> Array {
    let place = |list: &[Value], item: &Value| list.iter().position(|other| same(other, item, rule));
    let (mut ours, mut servers): (Vec<Value>, Vec<Value>) = merged.into_iter().partition(|item| place(order, item).is_some());
    ours.sort_by_key(|item| place(order, item));
    servers.sort_by_key(|item| place(before, item));
    let (mut ours, mut servers) = (ours.into_iter().peekable(), servers.into_iter().peekable());
    let mut result = Vec::new();
    while let (Some(server), Some(our)) = (servers.peek(), ours.peek()) {
        let server_first = match (place(before, server), place(before, our)) {
            (Some(server), Some(our)) => server < our,
            _ => false,
        };
        result.extend(if server_first { servers.next() } else { ours.next() });
    }
    result.extend(ours);
    result.extend(servers);
    result.into()
}

fn no_key(key: &str, fields: &Fields) -> String {
    format!("map: {} does not contain declared merge key: {key}", plain_in_go(&Value::Object(fields.clone())))
}

/// The value without nulls and directives, and without elements that are a directive. The server does not look into the others.
fn without_directives(value: Value) -> Option<Value> {
    match value {
        Value::Object(fields) => {
            if fields.contains_key(DIRECTIVE) {
                return None;
            }
            let kept = fields
                .into_iter()
                .filter(|(key, value)| {
                    !value.is_null() && key != RETAIN_KEYS && !key.starts_with(ELEMENT_ORDER) && !key.starts_with(DELETE_PRIMITIVES)
                })
                .filter_map(|(key, value)| without_directives(value).map(|value| (key, value)));
            Some(Value::Object(kept.collect()))
        }
        Value::Array(items) => Some(Value::Array(items.into_iter().filter(|item| item.get(DIRECTIVE).is_none()).collect())),
        other => Some(other),
    }
}

#[cfg(test)]
mod tests;
