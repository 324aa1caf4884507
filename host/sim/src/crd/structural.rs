//! Whether a schema is structural: every value has a type, and what is said of a value stands in one place.

use regex::Regex;

use super::check;
use super::schema::{LISTS, ONE, Schema};
use crate::json::Value;
use crate::status::Cause;
use crate::view;

const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];

/// What is wrong with the schema of a whole object.
pub(super) fn root(schema: &Value, path: &str, causes: &mut Vec<Cause>) {
    let field = |name: &str| format!("{path}.{name}");
    match view::text(schema, &["type"]) {
        "" => causes.push(Cause::required(field("type"), "must not be empty at the root")),
        "object" => {}
        other => causes.push(Cause::invalid(field("type"), &other.into(), "must be object at the root")),
    }
    if schema.get("additionalProperties").is_some() {
        causes.push(Cause::forbidden(field("additionalProperties"), "must not be used at the root"));
    }
    if let Some(metadata) = view::at(schema, &["properties", "metadata"]) {
        let names = view::at(metadata, &["properties"]).and_then(Value::as_object);
        let more = names.into_iter().flatten().any(|(name, _)| !matches!(name.as_str(), "name" | "generateName"));
        if more {
            let detail = "must not specify anything other than name and generateName, but metadata is implicitly specified";
            causes.push(Cause::forbidden(format!("{path}.properties[metadata]"), detail));
        }
    }
    part(schema, path, true, causes);
}

fn part(schema: &Value, path: &str, root: bool, causes: &mut Vec<Cause>) {
    let field = |name: &str| format!("{path}.{name}");
    let has = |name: &str| schema.get(name).is_some();
    let flag = |name: &str| view::flag(schema, &[name]);
    if has("$ref") {
        causes.push(Cause::forbidden(field("$ref"), "$ref is not supported"));
        return;
    }
    if has("properties") && has("additionalProperties") {
        causes.push(Cause::forbidden(field("additionalProperties"), "additionalProperties and properties are mutual exclusive"));
    }
    if flag("uniqueItems") {
        let detail = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
        causes.push(Cause::forbidden(field("uniqueItems"), detail));
    }
    let kind = view::text(schema, &["type"]);
    if !root && !kind.is_empty() && !TYPES.contains(&kind) {
        causes.push(Cause::not_supported(field("type"), &kind.into(), &TYPES));
    }
    let untyped = kind.is_empty() && !flag("x-kubernetes-int-or-string") && !flag("x-kubernetes-preserve-unknown-fields");
    if !root && untyped && !flag("x-kubernetes-embedded-resource") {
        let what = if path.ends_with(".items") {
            "must not be empty for specified array items"
        } else {
            "must not be empty for specified object fields"
        };
        causes.push(Cause::required(field("type"), what));
    }
    if kind == "array" && !has("items") {
        causes.push(Cause::required(field("items"), "must be specified"));
    }
    if let Some(error) = schema.get("pattern").and_then(Value::as_str).and_then(|pattern| Regex::new(pattern).err()) {
        let pattern = view::text(schema, &["pattern"]);
        causes.push(Cause::invalid(
            field("pattern"),
            &pattern.into(),
            &format!("must be a valid regular expression, but isn't: {}", go(&error, pattern)),
        ));
    }
    embedded(schema, path, causes);
    lists(schema, path, causes);
    if let Some(default) = schema.get("default") {
        causes.extend(check::default(&Schema::read(schema), default, &field("default")));
    }
    for name in LISTS {
        for (at, inner) in view::list(schema, &[name]).iter().enumerate() {
            junctor(inner, &format!("{path}.{name}[{at}]"), flag("x-kubernetes-int-or-string"), causes);
        }
    }
    if let Some(not) = schema.get("not") {
        junctor(not, &field("not"), false, causes);
    }
    for (name, inner) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        if !(root && name == "metadata") {
            part(inner, &format!("{path}.properties[{name}]"), false, causes);
        }
    }
    for name in ONE.into_iter().filter(|name| *name != "not") {
        if let Some(inner) = schema.get(name).filter(|inner| inner.is_object()) {
            part(inner, &field(name), false, causes);
        }
    }
}

/// The words of the server for a pattern that is none, as far as both have the same.
fn go(error: &regex::Error, pattern: &str) -> String {
    let text = error.to_string();
    if text.contains("unclosed character class") { format!("error parsing regexp: missing closing ]: `{pattern}`") } else { text }
}

fn embedded(schema: &Value, path: &str, causes: &mut Vec<Cause>) {
    if !view::flag(schema, &["x-kubernetes-embedded-resource"]) {
        return;
    }
    if schema.get("properties").is_none() && !view::flag(schema, &["x-kubernetes-preserve-unknown-fields"]) {
        let detail = "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields";
        causes.push(Cause::required(format!("{path}.properties"), detail));
    }
    if view::text(schema, &["type"]) != "object" {
        causes.push(Cause::required(format!("{path}.type"), "must be object if x-kubernetes-embedded-resource is true"));
    }
}

fn lists(schema: &Value, path: &str, causes: &mut Vec<Cause>) {
    let kind = view::text(schema, &["x-kubernetes-list-type"]);
    if !matches!(kind, "" | "atomic" | "set" | "map") {
        causes.push(Cause::not_supported(format!("{path}.x-kubernetes-list-type"), &kind.into(), &["atomic", "set", "map"]));
    }
    if kind != "map" {
        return;
    }
    let keys = view::list(schema, &["x-kubernetes-list-map-keys"]);
    if keys.is_empty() {
        let detail = "must not be empty if x-kubernetes-list-type is map";
        causes.push(Cause::required(format!("{path}.x-kubernetes-list-map-keys"), detail));
    }
    let required = view::list(schema, &["items", "required"]);
    for key in keys.iter().filter(|key| !required.contains(key)).filter_map(Value::as_str) {
        let has_default = view::at(schema, &["items", "properties", key, "default"]).is_some();
        if view::at(schema, &["items", "properties", key]).is_some() && !has_default {
            let detail = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
            causes.push(Cause::required(format!("{path}.items.properties[{key}].default"), detail));
        }
    }
}

/// A part of `anyOf` and its kin says nothing about structure; only of what is a number or a text it may say which.
fn junctor(schema: &Value, path: &str, int_or_text: bool, causes: &mut Vec<Cause>) {
    for name in ["type", "default", "description", "title", "additionalProperties", "nullable", "x-kubernetes-list-type"] {
        if schema.get(name).is_some() && !(name == "type" && int_or_text) {
            causes.push(Cause::forbidden(format!("{path}.{name}"), "must be empty to be structural"));
        }
    }
    for name in LISTS {
        for (at, inner) in view::list(schema, &[name]).iter().enumerate() {
            junctor(inner, &format!("{path}.{name}[{at}]"), int_or_text, causes);
        }
    }
    for (name, inner) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        junctor(inner, &format!("{path}.properties[{name}]"), false, causes);
    }
}
