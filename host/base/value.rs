//! The values that cross between scripts, primitives, journal and report.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::base::json::Value as Json;
use serde::{Deserialize, Serialize};

use super::{Image, Quantity, Span, Version};

/// A value with a meaning of its own: prints as text, compares with its own type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Typed {
    /// A version such as `v1.9.3`.
    Version(Version),
    /// An image reference such as `registry.example/cni:v1.9.3`.
    Image(Image),
    /// A length of time such as `1h30m`.
    Duration(Span),
    /// A Kubernetes quantity such as `500m` or `2Gi`.
    Quantity(Quantity),
}

impl fmt::Display for Typed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Typed::Version(value) => value.fmt(f),
            Typed::Image(value) => value.fmt(f),
            Typed::Duration(value) => value.fmt(f),
            Typed::Quantity(value) => value.fmt(f),
        }
    }
}

/// An API object as a script holds it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Object {
    /// As it is in the script now.
    pub current: Arc<Json>,
    /// As the cluster gave it in this step; `None` when the script built it, copied it or carried it over.
    pub original: Option<Arc<Json>>,
    /// In a plan: its content was changed by the plan, and nobody plays who would write its `status`. What stands there is of before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unmodelled: bool,
}

/// The objects of a `List`, as `kubectl get -o yaml` prints several; none when it is an object itself.
#[must_use]
pub fn items_of_list(object: &Json) -> Option<&crate::base::json::Array> {
    let is_list = object.get("kind").and_then(Json::as_str).is_some_and(|kind| kind.ends_with("List"));
    object.get("items").filter(|_| is_list).and_then(Json::as_array)
}

impl Object {
    /// An object just read from the cluster.
    #[must_use]
    pub fn read(object: Arc<Json>) -> Self {
        Object { current: object.clone(), original: Some(object), unmodelled: false }
    }
}

/// A value as scripts, primitives, journal and report exchange it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    /// Lua's `nil`.
    Nil,
    /// Plain JSON: `null`, scalars, arrays, maps.
    Json(Json),
    /// An API object.
    Object(Object),
    /// A typed value.
    Typed(Typed),
    /// A list that holds something else than plain JSON.
    List(Vec<Value>),
    /// A map that holds something else than plain JSON.
    Map(BTreeMap<String, Value>),
}

impl Value {
    /// The value as plain JSON: typed values as their text, objects as they are now, `Nil` as null.
    #[must_use]
    pub fn into_json(self) -> Json {
        match self {
            Value::Nil => Json::Null,
            Value::Json(json) => json,
            Value::Object(object) => Arc::unwrap_or_clone(object.current),
            Value::Typed(typed) => typed.to_string().into(),
            Value::List(items) => Json::Array(items.into_iter().map(Value::into_json).collect()),
            Value::Map(entries) => Json::Object(entries.into_iter().map(|(key, value)| (key, value.into_json())).collect()),
        }
    }

    /// What people call this kind of value, with its article.
    #[must_use]
    pub fn kind_name(&self) -> &'static str {
        match self {
            Value::Nil => "nothing",
            Value::Json(Json::Null) => "null",
            Value::Json(Json::Bool(_)) => "a boolean",
            Value::Json(Json::Number(_)) => "a number",
            Value::Json(Json::String(_)) => "a string",
            Value::Json(Json::Array(_)) | Value::List(_) => "a list",
            Value::Json(Json::Object(_)) | Value::Map(_) => "a table",
            Value::Object(_) => "an object",
            Value::Typed(Typed::Version(_)) => "a version",
            Value::Typed(Typed::Image(_)) => "an image",
            Value::Typed(Typed::Duration(_)) => "a duration",
            Value::Typed(Typed::Quantity(_)) => "a quantity",
        }
    }

    /// The text of a string or typed value.
    #[must_use]
    pub fn as_text(&self) -> Option<String> {
        match self {
            Value::Json(Json::String(text)) => Some(text.to_string()),
            Value::Typed(typed) => Some(typed.to_string()),
            _ => None,
        }
    }
}

impl From<Json> for Value {
    fn from(json: Json) -> Self {
        Value::Json(json)
    }
}

impl From<Typed> for Value {
    fn from(typed: Typed) -> Self {
        Value::Typed(typed)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Value::Json(Json::Bool(value))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Value::Json(text.into())
    }
}
