//! Strategic merge patch: which lists merge by which key, and the directives that a patch may carry.
//!
//! The keys are the `patchMergeKey` tags of the API types of v1.36. A list that is not in the table is replaced as a whole.

use crate::json::{Array, Map, Text, Value};

use crate::kinds::Kind;

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const ELEMENT_ORDER: &str = "$setElementOrder/";
const DELETE_PRIMITIVES: &str = "$deleteFromPrimitiveList/";

type Fields = Map;

/// How a field is merged.
#[derive(Clone, Copy)]
enum Merge {
    /// An object with a schema.
    Object(&'static Schema),
    /// A list of objects with this key.
    Keyed(&'static str, &'static Schema),
    /// A list of scalars as a set.
    Set,
}

/// The fields of a type that do not merge by default rules.
struct Schema(&'static [(&'static str, Merge)]);

static PLAIN: Schema = Schema(&[]);
static OWNERS: Merge = Merge::Keyed("uid", &PLAIN);
static METADATA: Schema = Schema(&[("ownerReferences", OWNERS), ("finalizers", Merge::Set)]);
static CONTAINER: Schema = Schema(&[
    ("ports", Merge::Keyed("containerPort", &PLAIN)),
    ("env", Merge::Keyed("name", &PLAIN)),
    ("volumeMounts", Merge::Keyed("mountPath", &PLAIN)),
    ("volumeDevices", Merge::Keyed("devicePath", &PLAIN)),
]);
static POD_SPEC: Schema = Schema(&[
    ("containers", Merge::Keyed("name", &CONTAINER)),
    ("initContainers", Merge::Keyed("name", &CONTAINER)),
    ("ephemeralContainers", Merge::Keyed("name", &CONTAINER)),
    ("volumes", Merge::Keyed("name", &PLAIN)),
    ("imagePullSecrets", Merge::Keyed("name", &PLAIN)),
    ("hostAliases", Merge::Keyed("ip", &PLAIN)),
    ("topologySpreadConstraints", Merge::Keyed("topologyKey", &PLAIN)),
    ("resourceClaims", Merge::Keyed("name", &PLAIN)),
    ("schedulingGates", Merge::Keyed("name", &PLAIN)),
]);
static TEMPLATE: Schema = Schema(&[("metadata", Merge::Object(&METADATA)), ("spec", Merge::Object(&POD_SPEC))]);
static WORKLOAD_SPEC: Schema = Schema(&[("template", Merge::Object(&TEMPLATE))]);
static CONDITIONS: Schema = Schema(&[("conditions", Merge::Keyed("type", &PLAIN))]);
static POD_STATUS: Schema = Schema(&[
    ("conditions", Merge::Keyed("type", &PLAIN)),
    ("podIPs", Merge::Keyed("ip", &PLAIN)),
    ("hostIPs", Merge::Keyed("ip", &PLAIN)),
    ("resourceClaimStatuses", Merge::Keyed("name", &PLAIN)),
]);
static NODE_STATUS: Schema = Schema(&[("conditions", Merge::Keyed("type", &PLAIN)), ("addresses", Merge::Keyed("type", &PLAIN))]);
static NODE_SPEC: Schema = Schema(&[("podCIDRs", Merge::Set)]);
static SERVICE_SPEC: Schema = Schema(&[("ports", Merge::Keyed("port", &PLAIN))]);

static POD: Schema =
    Schema(&[("metadata", Merge::Object(&METADATA)), ("spec", Merge::Object(&POD_SPEC)), ("status", Merge::Object(&POD_STATUS))]);
static NODE: Schema =
    Schema(&[("metadata", Merge::Object(&METADATA)), ("spec", Merge::Object(&NODE_SPEC)), ("status", Merge::Object(&NODE_STATUS))]);
static SERVICE: Schema =
    Schema(&[("metadata", Merge::Object(&METADATA)), ("spec", Merge::Object(&SERVICE_SPEC)), ("status", Merge::Object(&CONDITIONS))]);
static WORKLOAD: Schema =
    Schema(&[("metadata", Merge::Object(&METADATA)), ("spec", Merge::Object(&WORKLOAD_SPEC)), ("status", Merge::Object(&CONDITIONS))]);
static OTHER: Schema = Schema(&[("metadata", Merge::Object(&METADATA)), ("status", Merge::Object(&CONDITIONS))]);

impl Schema {
    fn of(kind: &Kind) -> &'static Self {
        match kind.kind {
            "Pod" => &POD,
            "Node" => &NODE,
            "Service" => &SERVICE,
            "Deployment" | "ReplicaSet" | "DaemonSet" => &WORKLOAD,
            _ => &OTHER,
        }
    }

    fn field(&self, name: &str) -> Option<Merge> {
        self.0.iter().find(|(field, _)| *field == name).map(|(_, merge)| *merge)
    }
}

/// Merges a patch into an object. The error is the server's text.
pub(super) fn merge(kind: &Kind, object: &mut Value, patch: Value) -> Result<(), String> {
    let Value::Object(patch) = patch else { return Err("invalid JSON document".to_owned()) };
    let Some(fields) = object.as_object_mut() else { return Err("invalid JSON document".to_owned()) };
    merge_map(fields, patch, Schema::of(kind))
}

fn merge_map(original: &mut Fields, mut patch: Fields, schema: &Schema) -> Result<(), String> {
    if let Some(directive) = patch.remove(DIRECTIVE) {
        *original = match directive.as_str() {
            Some("replace") => patch,
            Some("delete") => Fields::new(),
            _ => return Err(unknown_directive(&directive, &patch)),
        };
        return Ok(());
    }
    retain_keys(original, &mut patch)?;
    ordered_lists(original, &mut patch, schema)?;
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
            (Some(Value::Object(target)), Value::Object(patch)) => {
                let below = match schema.field(&key) {
                    Some(Merge::Object(schema)) => schema,
                    _ => &PLAIN,
                };
                merge_map(target, patch, below)?;
            }
            (Some(Value::Array(target)), Value::Array(patch)) => merge_list(target, patch, schema.field(&key))?,
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
    let directive = directive.as_str().map_or_else(|| directive.to_string(), str::to_owned);
    format!("unknown patch type: {directive} in map: {}", Value::Object(patch.clone()))
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
fn ordered_lists(original: &mut Fields, patch: &mut Fields, schema: &Schema) -> Result<(), String> {
    let directives: Vec<Text> = patch.keys().filter(|key| key.starts_with(ELEMENT_ORDER)).cloned().collect();
    for directive in directives {
        let order = patch.remove(&directive).unwrap_or_default();
        let Some(order) = order.as_array() else { return Err("invalid patch format of setElementOrder list".to_owned()) };
        let name = directive.trim_start_matches(ELEMENT_ORDER);
        let rule = schema.field(name);
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
fn check_order(items: &[Value], order: &[Value], rule: Option<Merge>) -> Result<(), String> {
    let mut at = 0;
    for item in items.iter().filter(|item| item.get(DIRECTIVE).is_none()) {
        match order[at..].iter().position(|wanted| same(wanted, item, rule)) {
            Some(found) => at += found + 1,
            None => {
                return Err(format!(
                    "The order in patch list:\n{}\n doesn't match $setElementOrder list:\n{}\n",
                    Value::from(items.to_vec()),
                    Value::from(order.to_vec())
                ));
            }
        }
    }
    Ok(())
}

fn same(a: &Value, b: &Value, rule: Option<Merge>) -> bool {
    match rule {
        Some(Merge::Keyed(key, _)) => a.get(key).is_some() && a.get(key) == b.get(key),
        _ => a == b,
    }
}

fn merge_list(original: &mut Array, patch: Array, rule: Option<Merge>) -> Result<(), String> {
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
        Some(Merge::Keyed(key, schema)) => merge_keyed(original, patch, key, schema, rule),
        _ => {
            *original = patch.into_iter().filter_map(without_directives).collect();
            Ok(())
        }
    }
}

fn merge_keyed(original: &mut Array, patch: Array, key: &str, schema: &Schema, rule: Option<Merge>) -> Result<(), String> {
    let (mut items, mut replace) = (Vec::new(), false);
    for item in patch {
        let Value::Object(fields) = item else { return Err("lists of different types cannot be merged".to_owned()) };
        let no_key = |fields: &Fields| format!("map: {} does not contain declared merge key: {key}", Value::Object(fields.clone()));
        match fields.get(DIRECTIVE).map(Value::as_str) {
            None => items.push(fields),
            Some(Some("delete")) => {
                let value = fields.get(key).ok_or_else(|| no_key(&fields))?;
                original.retain(|o| o.get(key) != Some(value));
            }
            Some(Some("replace")) => replace = true,
            Some(Some("merge")) => return Err("merging lists cannot yet be specified in the patch".to_owned()),
            Some(_) => return Err(unknown_directive(&fields[DIRECTIVE], &fields)),
        }
    }
    if replace {
        *original = items.into_iter().filter_map(|fields| without_directives(Value::Object(fields))).collect();
        return Ok(());
    }
    let before = original.clone();
    let mut order = Vec::new();
    for fields in items {
        let Some(value) = fields.get(key).cloned() else {
            return Err(format!("map: {} does not contain declared merge key: {key}", Value::Object(fields)));
        };
        order.push(Value::Object([(key.to_owned(), value.clone())].into_iter().collect()));
        match original.iter_mut().find(|o| o.get(key) == Some(&value)).and_then(Value::as_object_mut) {
            Some(target) => merge_map(target, fields, schema)?,
            None => original.extend(without_directives(Value::Object(fields))),
        }
    }
    *original = arrange(std::mem::take(original), &order, &before, rule);
    Ok(())
}

/// Elements of the patch in its order; those only the server has keep their places relative to the ones both have, and come
/// after the others.
fn arrange(merged: Array, order: &[Value], before: &[Value], rule: Option<Merge>) -> Array {
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

/// The value without nulls, without directives, and without elements that are nothing but a directive.
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
        Value::Array(items) => Some(Value::Array(items.into_iter().filter_map(without_directives).collect())),
        other => Some(other),
    }
}

#[cfg(test)]
mod tests;
