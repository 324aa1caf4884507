//! Values against a schema, in the words of the server.

use super::format;
use super::schema::Schema;
use crate::json::{Map, Value, json};
use crate::selector::is_dns_label;
use crate::status::Cause;
use crate::view;

/// Where a value is: as causes name it, and as their words do. These differ when only a part of an object is checked.
#[derive(Clone)]
struct Place {
    field: String,
    name: String,
}

impl Place {
    fn below(&self, step: &str) -> Self {
        let join = |path: &str| if path.is_empty() || step.starts_with('[') { format!("{path}{step}") } else { format!("{path}.{step}") };
        Self { field: join(&self.field), name: join(&self.name) }
    }
}

/// What is wrong with an object. `status` checks the status alone. What was wrong `before` and is unchanged is nobody's fault: neither a
/// value that is what it was (kube-apiserver: CRDValidationRatcheting, for all from 1.33 on), nor, when some were there, items that come
/// twice.
pub(super) fn object(schema: &Schema, object: &Value, before: Option<&Value>, status: bool) -> Vec<Cause> {
    let mut causes = Vec::new();
    let mut root = Place { field: String::new(), name: String::new() };
    let twice = |schema: &Schema, value: &Value, root: &Place| {
        let mut causes = Vec::new();
        lists(schema, value, root, &mut causes);
        causes
    };
    if !status {
        check(schema, (object, before), &root, &mut causes, true);
        if before.is_none_or(|before| twice(schema, before, &root).is_empty()) {
            causes.extend(twice(schema, object, &root));
        }
    } else if let (Some(schema), Some(value)) = (schema.properties.get("status"), object.get("status")) {
        let before = before.and_then(|before| before.get("status").cloned());
        "status".clone_into(&mut root.field);
        check(schema, (value, before.as_ref()), &root, &mut causes, false);
        if before.as_ref().is_none_or(|before| twice(schema, before, &root).is_empty()) {
            causes.extend(twice(schema, value, &root));
        }
    }
    causes
}

/// What is wrong with a default.
pub(super) fn default(schema: &Schema, value: &Value, field: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    check(schema, (value, None), &Place { field: field.to_owned(), name: String::new() }, &mut causes, false);
    causes
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_i64() || number.is_u64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn cause(reason: &'static str, place: &Place, value: &Value, detail: &str) -> Cause {
    Cause { reason, field: place.field.clone(), message: format!("Invalid value: {value}: {} in body {detail}", place.name) }
}

/// What the server says without naming the field.
fn nowhere(detail: String) -> Cause {
    Cause { reason: "FieldValueInvalid", field: "<nil>".to_owned(), message: format!("Invalid value: \"\": {detail}") }
}

/// A value, and what it was before.
type Now<'a> = (&'a Value, Option<&'a Value>);

fn check(schema: &Schema, (value, before): Now<'_>, place: &Place, causes: &mut Vec<Cause>, root: bool) {
    if (value.is_null() && schema.nullable) || before == Some(value) {
        return;
    }
    types(schema, value, place, causes);
    combined(schema, (value, before), place, causes);
    if !schema.among.is_empty() && !schema.among.contains(value) {
        let known: Vec<String> = schema.among.iter().map(Value::to_string).collect();
        let message = format!("Unsupported value: {value}: supported values: {}", known.join(", "));
        causes.push(Cause { reason: "FieldValueNotSupported", field: place.field.clone(), message });
    }
    match value {
        Value::Number(_) => number(schema, value, place, causes),
        Value::String(text) => words(schema, text, value, place, causes),
        Value::Array(items) => {
            counted(&schema.bounds.items, items.len(), place, causes, "items");
            if let Some(part) = &schema.items {
                for (at, item) in items.iter().enumerate() {
                    let before = before.and_then(|before| same_item(schema, item, before));
                    check(part, (item, before), &place.below(&format!("[{at}]")), causes, false);
                }
            }
        }
        Value::Object(map) => {
            counted(&schema.bounds.properties, map.len(), place, causes, "properties");
            members(schema, (map, before), place, causes, root);
        }
        Value::Null | Value::Bool(_) => {}
    }
}

fn types(schema: &Schema, value: &Value, place: &Place, causes: &mut Vec<Cause>) {
    let is = type_name(value);
    let whole = is == "integer" || (is == "number" && value.as_f64().is_some_and(|number| number.fract() == 0.0));
    let (wanted, fits) = match schema.kind.as_str() {
        _ if schema.int_or_text => ("integer,string", matches!(is, "integer" | "string")),
        "" => return,
        "integer" => ("integer", whole),
        "number" => ("number", matches!(is, "integer" | "number")),
        other => (other, other == is),
    };
    if !fits {
        let message = format!("Invalid value: {is:?}: {} in body must be of type {wanted}: {is:?}", place.name);
        causes.push(Cause { reason: "FieldValueTypeInvalid", field: place.field.clone(), message });
        if wanted == "integer" && is == "number" {
            causes.push(nowhere(format!("Checked value must be of type integer (default format) in {}", place.name)));
        }
    }
}

/// A schema of many: what the parts say, and whether enough of them hold.
fn combined(schema: &Schema, now: Now<'_>, place: &Place, causes: &mut Vec<Cause>) {
    let tried = |parts: &[Schema]| -> Vec<Vec<Cause>> {
        let wrong = |part: &Schema| {
            let mut causes = Vec::new();
            check(part, now, place, &mut causes, false);
            causes
        };
        parts.iter().map(wrong).collect()
    };
    let best = |tried: &[Vec<Cause>]| tried.iter().min_by_key(|causes| causes.len()).cloned().unwrap_or_default();
    let name = &place.name;
    if !schema.any.is_empty() {
        let tried = tried(&schema.any);
        if tried.iter().all(|causes| !causes.is_empty()) {
            causes.push(nowhere(format!("{name:?} must validate at least one schema (anyOf)")));
            causes.extend(best(&tried));
        }
    }
    if !schema.one.is_empty() {
        let tried = tried(&schema.one);
        let hold = tried.iter().filter(|causes| causes.is_empty()).count();
        if hold != 1 {
            let found = if hold == 0 { "Found none valid".to_owned() } else { format!("Found {hold} valid alternatives") };
            causes.push(nowhere(format!("{name:?} must validate one and only one schema (oneOf). {found}")));
        }
        if hold == 0 {
            causes.extend(best(&tried));
        }
    }
    let tried = tried(&schema.all);
    let hold = tried.iter().filter(|causes| causes.is_empty()).count();
    if hold < tried.len() {
        let none = if hold == 0 { ". None validated" } else { "" };
        causes.extend(tried.into_iter().flatten());
        causes.push(nowhere(format!("{name:?} must validate all the schemas (allOf){none}")));
    }
    if let Some(not) = &schema.not {
        let mut wrong = Vec::new();
        check(not, now, place, &mut wrong, false);
        if wrong.is_empty() {
            causes.push(nowhere(format!("{name:?} must not validate the schema (not)")));
        }
    }
}

fn number(schema: &Schema, value: &Value, place: &Place, causes: &mut Vec<Cause>) {
    let Some(given) = value.as_f64() else { return };
    let bounds = &schema.bounds;
    match bounds.multiple_of {
        Some(0.0) | None => {}
        // The server compares integers with integers.
        Some(factor) if value.as_i64().is_some() => match (value.as_i64().unwrap_or_default(), factor as i64) {
            (_, 0) => {
                let detail = format!("factor MultipleOf declared for {} must be positive: 0", place.name);
                causes.push(Cause::invalid(place.field.clone(), &json!(0), &detail));
            }
            (given, factor) if given % factor != 0 => {
                causes.push(cause("FieldValueInvalid", place, value, &format!("should be a multiple of {factor}")));
            }
            _ => {}
        },
        Some(factor) => {
            let quotient = given / factor;
            if (quotient - quotient.round()).abs() > 1e-9 {
                causes.push(cause("FieldValueInvalid", place, value, &format!("should be a multiple of {factor}")));
            }
        }
    }
    let mut wrong = |detail: String| causes.push(cause("FieldValueInvalid", place, value, &detail));
    match bounds.minimum {
        Some(least) if bounds.above && given <= least => wrong(format!("should be greater than {least}")),
        Some(least) if given < least => wrong(format!("should be greater than or equal to {least}")),
        _ => {}
    }
    match bounds.maximum {
        Some(most) if bounds.below && given >= most => wrong(format!("should be less than {most}")),
        Some(most) if given > most => wrong(format!("should be less than or equal to {most}")),
        _ => {}
    }
    if schema.format == "int32" && given.abs() > f64::from(i32::MAX) {
        causes.push(nowhere(format!("Checked value must be of type integer with format int32 in {}", place.name)));
    }
}

/// The first thing that is wrong with a text, and its format.
fn words(schema: &Schema, text: &str, value: &Value, place: &Place, causes: &mut Vec<Cause>) {
    let length = text.chars().count();
    let range = &schema.bounds.length;
    if let Some(most) = range.most.filter(|most| length > *most) {
        let message = format!("Too long: may not be more than {most} bytes");
        causes.push(Cause { reason: "FieldValueTooLong", field: place.field.clone(), message });
    } else if let Some(least) = range.least.filter(|least| length < *least) {
        causes.push(cause("FieldValueInvalid", place, value, &format!("should be at least {least} chars long")));
    } else if let Some(pattern) = schema.pattern.as_ref().filter(|pattern| !pattern.regex.is_match(text)) {
        causes.push(cause("FieldValueInvalid", place, value, &format!("should match '{}'", pattern.text)));
    }
    if schema.kind == "string" && !format::fits(&schema.format, text) {
        causes.push(cause("FieldValueTypeInvalid", place, value, &format!("must be of type {}: {value}", schema.format)));
    }
}

fn counted(range: &super::schema::Range, count: usize, place: &Place, causes: &mut Vec<Cause>, what: &str) {
    if let Some(most) = range.most.filter(|most| count > *most) {
        let message = format!("Too many: {count}: must have at most {most} items");
        causes.push(Cause { reason: "FieldValueTooMany", field: place.field.clone(), message });
    }
    if let Some(least) = range.least.filter(|least| count < *least) {
        causes.push(cause("FieldValueInvalid", place, &count.into(), &format!("should have at least {least} {what}")));
    }
}

fn members(schema: &Schema, (map, before): (&Map, Option<&Value>), place: &Place, causes: &mut Vec<Cause>, root: bool) {
    let missing = |name: &str| {
        let nullable = schema.properties.get(name).is_some_and(|part| part.nullable);
        map.get(name).is_none_or(|value| value.is_null() && !nullable)
    };
    for name in schema.required.iter().filter(|name| missing(name)) {
        causes.push(Cause::required(place.below(name).field, ""));
    }
    if schema.embedded && !root {
        embedded(map, place, causes);
    }
    for (name, value) in map {
        if root && matches!(name.as_str(), "apiVersion" | "kind" | "metadata") {
            continue;
        }
        let is_missing = value.is_null() && schema.required.contains(name);
        if let Some(part) = schema.properties.get(name).or(schema.additional.as_deref()).filter(|_| !is_missing) {
            check(part, (value, before.and_then(|before| before.get(name))), &place.below(name), causes, false);
        }
    }
}

/// An object in an object needs what every object needs.
fn embedded(map: &Map, place: &Place, causes: &mut Vec<Cause>) {
    let text = |name: &str| map.get(name).and_then(Value::as_str).unwrap_or_default();
    for name in ["apiVersion", "kind"] {
        if text(name).is_empty() {
            causes.push(Cause::required(place.below(name).field, ""));
        }
    }
    let kind = text("kind");
    if !kind.is_empty() && !is_dns_label(&kind.to_lowercase()) {
        let detail = format!("may have mixed case, but should otherwise match: {}", super::define::LABEL_1035);
        causes.push(Cause::invalid(place.below("kind").field, &kind.into(), &detail));
    }
}

/// The keys of an item, with their values.
fn keys(schema: &Schema, item: &Value) -> Value {
    let key = |key: &crate::json::Text| Some((key.clone(), view::at(item, &[key.as_str()])?.clone()));
    schema.keys.iter().filter_map(key).collect::<Map>().into()
}

/// The item of a former list that is the same one: only lists with keys tell.
fn same_item<'a>(schema: &Schema, item: &Value, before: &'a Value) -> Option<&'a Value> {
    let wanted = (schema.list == "map").then(|| keys(schema, item))?;
    before.as_array()?.iter().find(|former| keys(schema, former) == wanted)
}

/// Items of sets and of lists with keys that come twice.
fn lists(schema: &Schema, value: &Value, place: &Place, causes: &mut Vec<Cause>) {
    match value {
        Value::Array(items) => {
            let identity = |item: &Value| match schema.list.as_str() {
                "set" => Some(item.clone()),
                "map" => Some(keys(schema, item)),
                _ => None,
            };
            let known: Vec<Option<Value>> = items.iter().map(identity).collect();
            for (at, identity) in known.iter().enumerate() {
                if let Some(identity) = identity.as_ref().filter(|_| known[..at].contains(identity)) {
                    causes.push(Cause::duplicate(place.below(&format!("[{at}]")).field, identity));
                }
            }
            if let Some(part) = &schema.items {
                items.iter().enumerate().for_each(|(at, item)| lists(part, item, &place.below(&format!("[{at}]")), causes));
            }
        }
        Value::Object(map) => {
            for (name, value) in map {
                if let Some(part) = schema.properties.get(name).or(schema.additional.as_deref()) {
                    lists(part, value, &place.below(name), causes);
                }
            }
        }
        _ => {}
    }
}

/// What is wrong with the counts that a scale reads. Paths are written as the definition writes them.
pub(super) fn replicas(object: &Value, path: &str) -> Option<Cause> {
    let invalid = |value: Value, detail: String| Some(Cause::invalid(path, &value, &detail));
    let accessor = |value: &Value, wanted: &str| {
        let (shown, go) = match value {
            Value::Null => ("<nil>".to_owned(), "nil"),
            Value::Bool(value) => (value.to_string(), "bool"),
            Value::String(text) => (text.to_string(), "string"),
            Value::Number(number) => (number.to_string(), "float64"),
            Value::Array(_) => (value.to_string(), "[]interface {}"),
            Value::Object(_) => (value.to_string(), "map[string]interface {}"),
        };
        invalid(json!(0), format!("{path} accessor error: {shown} is of the type {go}, expected {wanted}"))
    };
    let mut value = object;
    for step in path.split('.').filter(|step| !step.is_empty()) {
        if !value.is_object() {
            return accessor(value, "map[string]interface{}");
        }
        value = value.get(step)?;
    }
    match value.as_i64() {
        Some(count) if count < 0 => invalid(count.into(), "should be a non-negative integer".to_owned()),
        Some(count) if count > i64::from(i32::MAX) => invalid(count.into(), format!("should be less than or equal to {}", i32::MAX)),
        Some(_) => None,
        None => accessor(value, "int64"),
    }
}
