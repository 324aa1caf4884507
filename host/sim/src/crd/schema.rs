//! Structural schemas of custom resources.

use std::collections::BTreeMap;

use regex::Regex;

use crate::json::{Map, Text, Value, json};
use crate::schema::Type;
use crate::view;

/// What a schema says of a value.
#[derive(Debug, Clone, Default)]
pub(crate) struct Schema {
    pub(super) kind: Text,
    pub(super) format: Text,
    pub(super) nullable: bool,
    pub(super) int_or_text: bool,
    pub(super) embedded: bool,
    pub(super) properties: BTreeMap<Text, Schema>,
    pub(super) additional: Option<Box<Schema>>,
    pub(super) items: Option<Box<Schema>>,
    pub(super) default: Option<Value>,
    pub(super) required: Vec<Text>,
    pub(super) among: Vec<Value>,
    pub(super) pattern: Option<Pattern>,
    pub(super) bounds: Bounds,
    pub(super) list: Text,
    pub(super) keys: Vec<Text>,
    pub(super) all: Vec<Schema>,
    pub(super) any: Vec<Schema>,
    pub(super) one: Vec<Schema>,
    pub(super) not: Option<Box<Schema>>,
    /// Whether it has rules in CEL somewhere; these are not evaluated.
    pub(super) rules: bool,
}

/// A pattern with its text.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    pub(super) text: Text,
    pub(super) regex: Regex,
}

/// Limits of numbers, lengths and counts.
#[derive(Debug, Clone, Default)]
pub(super) struct Bounds {
    pub(super) minimum: Option<f64>,
    pub(super) maximum: Option<f64>,
    pub(super) above: bool,
    pub(super) below: bool,
    pub(super) multiple_of: Option<f64>,
    pub(super) length: Range,
    pub(super) items: Range,
    pub(super) properties: Range,
}

/// From and to, both included.
#[derive(Debug, Clone, Default)]
pub(super) struct Range {
    pub(super) least: Option<usize>,
    pub(super) most: Option<usize>,
}

/// Parts of a schema that hold one schema, many by name, or a list of them.
pub(super) const ONE: [&str; 3] = ["additionalProperties", "items", "not"];
pub(super) const LISTS: [&str; 3] = ["allOf", "anyOf", "oneOf"];

fn range(schema: &Value, least: &str, most: &str) -> Range {
    let count = |field: &str| view::int(schema, &[field]).and_then(|count| usize::try_from(count).ok());
    Range { least: count(least), most: count(most) }
}

impl Schema {
    /// Reads a schema that was checked before.
    pub(crate) fn read(schema: &Value) -> Self {
        let text = |field: &str| Text::from(view::text(schema, &[field]));
        let texts = |field: &str| view::list(schema, &[field]).iter().filter_map(Value::as_str).map(Text::from).collect();
        let number = |field: &str| schema.get(field).and_then(Value::as_f64);
        let one = |field: &str| schema.get(field).filter(|part| part.is_object()).map(|part| Box::new(Self::read(part)));
        let list = |field: &str| -> Vec<Self> { view::list(schema, &[field]).iter().map(Self::read).collect() };
        let properties = schema.get("properties").and_then(Value::as_object);
        let mut read = Self {
            kind: text("type"),
            format: text("format"),
            nullable: view::flag(schema, &["nullable"]),
            int_or_text: view::flag(schema, &["x-kubernetes-int-or-string"]),
            embedded: view::flag(schema, &["x-kubernetes-embedded-resource"]),
            properties: properties.into_iter().flatten().map(|(name, part)| (name.clone(), Self::read(part))).collect(),
            additional: one("additionalProperties"),
            items: one("items"),
            default: schema.get("default").cloned(),
            required: texts("required"),
            among: view::list(schema, &["enum"]).to_vec(),
            pattern: Regex::new(view::text(schema, &["pattern"]))
                .ok()
                .filter(|_| schema.get("pattern").is_some())
                .map(|regex| Pattern { text: text("pattern"), regex }),
            bounds: Bounds {
                minimum: number("minimum"),
                maximum: number("maximum"),
                above: view::flag(schema, &["exclusiveMinimum"]),
                below: view::flag(schema, &["exclusiveMaximum"]),
                multiple_of: number("multipleOf"),
                length: range(schema, "minLength", "maxLength"),
                items: range(schema, "minItems", "maxItems"),
                properties: range(schema, "minProperties", "maxProperties"),
            },
            list: text("x-kubernetes-list-type"),
            keys: texts("x-kubernetes-list-map-keys"),
            all: list("allOf"),
            any: list("anyOf"),
            one: list("oneOf"),
            not: one("not"),
            rules: false,
        };
        read.rules = !view::list(schema, &["x-kubernetes-validations"]).is_empty() || read.parts().any(|part| part.rules);
        read
    }

    fn parts(&self) -> impl Iterator<Item = &Self> {
        self.properties.values().chain(self.additional.as_deref()).chain(self.items.as_deref())
    }

    /// Whether the schema, or a part of it, has rules.
    pub(crate) fn has_rules(&self) -> bool {
        self.rules
    }

    /// Takes the nulls away that may not be null, unless there is a default for them.
    pub(crate) fn drop_nulls(&self, value: &mut Value) {
        match value {
            Value::Object(map) => {
                let part = |name: &str| self.properties.get(name).or(self.additional.as_deref());
                let unwanted =
                    |name: &str, value: &Value| value.is_null() && part(name).is_some_and(|part| !part.nullable && part.default.is_none());
                if map.iter().any(|(name, value)| unwanted(name, value)) {
                    map.retain(|name, value| !unwanted(name, value));
                }
                for (name, value) in map.iter_mut() {
                    if let Some(part) = part(name) {
                        part.drop_nulls(value);
                    }
                }
            }
            Value::Array(items) => {
                if let Some(part) = &self.items {
                    items.iter_mut().for_each(|item| part.drop_nulls(item));
                }
            }
            _ => {}
        }
    }

    /// Fills in the defaults of what is missing, and of nulls that may not be null.
    pub(crate) fn fill(&self, value: &mut Value) {
        match value {
            Value::Object(map) => {
                for (name, part) in &self.properties {
                    let missing = map.get(name).is_none_or(|value| value.is_null() && !part.nullable);
                    if let Some(default) = part.default.as_ref().filter(|_| missing) {
                        map.insert(name.clone(), default.clone());
                    }
                }
                for (name, value) in map.iter_mut() {
                    if let Some(part) = self.properties.get(name).or(self.additional.as_deref()) {
                        part.fill(value);
                    }
                }
            }
            Value::Array(items) => {
                if let Some(part) = &self.items {
                    items.iter_mut().for_each(|item| part.fill(item));
                }
            }
            _ => {}
        }
    }
}

/// The types of a schema, for those who own fields. That a field is required says nothing of what Go has there: it has nothing.
pub(super) fn types(schema: &Value) -> Type {
    let mut described = described(schema, true);
    ask_for_nothing(&mut described);
    Type::read(&described)
}

fn ask_for_nothing(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            // A field of this name has a schema, not names.
            if map.get("required").is_some_and(Value::is_array) {
                map.remove("required");
            }
            map.iter_mut().for_each(|(_, part)| ask_for_nothing(part));
        }
        Value::Array(parts) => parts.iter_mut().for_each(ask_for_nothing),
        _ => {}
    }
}

/// The schema as the types of Kubernetes are described: an object of which nothing is said has no fields, and an object that is a
/// resource has the fields of every resource.
pub(super) fn described(schema: &Value, resource: bool) -> Value {
    let Some(fields) = schema.as_object() else { return schema.clone() };
    let mut made: Map = fields.clone();
    let within = |part: &Value| described(part, false);
    for name in ["additionalProperties", "items"] {
        if let Some(part) = fields.get(name).filter(|part| part.is_object()) {
            made.insert(name, within(part));
        }
    }
    let resource = resource || view::flag(schema, &["x-kubernetes-embedded-resource"]);
    let knows = ["additionalProperties", "x-kubernetes-preserve-unknown-fields"].iter().any(|name| fields.contains_key(name));
    if let Some(properties) = fields.get("properties").and_then(Value::as_object) {
        made.insert("properties", properties.iter().map(|(name, part)| (name.clone(), within(part))).collect::<Map>().into());
    } else if (view::text(schema, &["type"]) == "object" && !knows) || resource {
        made.insert("properties", Map::new().into());
    }
    if resource && let Some(properties) = made.get_mut("properties").and_then(Value::as_object_mut) {
        for name in ["apiVersion", "kind"] {
            properties.insert(name, json!({"type": "string"}));
        }
        properties.insert("metadata", json!({"$ref": "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"}));
    }
    made.into()
}
