//! From a schema document to a [`Type`].

use super::{ANY, Field, Identity, List, Reference, Shape, Struct, Type};
use crate::json::{Text, Value};
use crate::openapi::REFERENCE;
use crate::view;

impl Type {
    /// Reads a schema. What is in no form that the server uses becomes a type of which nothing is known.
    pub(crate) fn read(schema: &Value) -> Self {
        let reference = schema.get("$ref").or_else(|| view::list(schema, &["allOf"]).first()?.get("$ref")).and_then(Value::as_str);
        let atomic = match (view::text(schema, &["x-kubernetes-map-type"]), view::text(schema, &["x-kubernetes-list-type"])) {
            ("atomic", _) | (_, "atomic") => Some(true),
            ("granular", _) | (_, "set" | "map") => Some(false),
            _ => None,
        };
        if let Some(name) = reference.and_then(|path| path.strip_prefix(REFERENCE)) {
            return Self { shape: Shape::Reference(Reference::new(name.into())), atomic };
        }
        Self { shape: shape(schema), atomic }
    }
}

fn shape(schema: &Value) -> Shape {
    let format = view::text(schema, &["format"]);
    if format == "int-or-string" || view::flag(schema, &["x-kubernetes-int-or-string"]) {
        return Shape::IntOrText;
    }
    match view::text(schema, &["type"]) {
        "string" => match format {
            "byte" => Shape::Bytes,
            "date-time" => Shape::Time,
            _ => Shape::Text,
        },
        "integer" => Shape::Integer(if format == "int32" { 32 } else { 64 }),
        "number" => Shape::Number,
        "boolean" => Shape::Bool,
        "array" => Shape::List(list(schema)),
        "object" => map(schema),
        _ if schema.get("properties").is_some() => map(schema),
        _ if view::list(schema, &["oneOf"]).len() == 2 => Shape::Amount,
        _ => Shape::Any,
    }
}

fn list(schema: &Value) -> List {
    let texts = |field: &str| -> Vec<Text> { view::list(schema, &[field]).iter().filter_map(Value::as_str).map(Text::from).collect() };
    let identity = match view::text(schema, &["x-kubernetes-list-type"]) {
        "set" => Identity::Value,
        "map" => Identity::Keys(texts("x-kubernetes-list-map-keys")),
        _ => Identity::Place,
    };
    List { items: Box::new(schema.get("items").map_or(ANY.clone(), Type::read)), identity }
}

fn map(schema: &Value) -> Shape {
    if let Some(values) = schema.get("additionalProperties").filter(|values| values.is_object()) {
        return Shape::Map(Box::new(Type::read(values)));
    }
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
        // What a custom resource keeps as it comes has owners all the way down; raw data of Kubernetes itself is one value.
        return if view::flag(schema, &["x-kubernetes-preserve-unknown-fields"]) { Shape::Any } else { Shape::AnyMap };
    };
    let required = view::list(schema, &["required"]);
    let is_required = |name: &Text| required.iter().any(|other| other.as_str() == Some(name));
    let fields = properties.iter().map(|(name, schema)| (name.clone(), field(schema, is_required(name)))).collect();
    let open = view::flag(schema, &["x-kubernetes-preserve-unknown-fields"]);
    Shape::Struct(Struct { fields, open })
}

fn field(schema: &Value, required: bool) -> Field {
    let strategy = view::text(schema, &["x-kubernetes-patch-strategy"]);
    let merge_key = view::text(schema, &["x-kubernetes-patch-merge-key"]);
    Field {
        kind: Type::read(schema),
        default: schema.get("default").cloned(),
        required,
        merges: strategy.split(',').any(|word| word == "merge"),
        replaces: strategy.split(',').any(|word| word == "replace"),
        merge_key: Some(merge_key).filter(|key| !key.is_empty()).map(Text::from),
    }
}
