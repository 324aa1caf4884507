//! JSON types of fields: what the server's decoder refuses before anything else is looked at.
//!
//! The types come from the schemas; the words are those of Go's decoder, which speaks of Go types.

mod names;
mod time;

use crate::crd;
use crate::json::Value;
use crate::kinds::Kind;
use crate::openapi;
use crate::quantity::Quantity;
use crate::schema::{Shape, Type};

/// What in the server puts a document into Go types. Each has words of its own.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reader {
    /// The reader of JSON texts.
    Decoder,
    /// The converter of documents that were merged in memory (`k8s.io/apimachinery/pkg/runtime/converter.go`).
    Converter,
}

/// Checks an object. What it shares with `known` was checked before. The error is worded like the server's reader.
pub(super) fn check(kind: &Kind, object: &Value, known: Option<&Value>, reader: Reader) -> Result<(), String> {
    // Of a custom resource the decoder knows the metadata only.
    let known_to_go = if kind.custom().is_some() { Some(crd::frame()) } else { openapi::type_of(kind) };
    let Some(wanted) = known_to_go else { return Ok(()) };
    if !object.is_object() {
        return Err(format!("json: cannot unmarshal {} into Go value of type v1.{}", json_type(object), kind.kind));
    }
    let checked = Place { reader, go: kind.kind, path: Vec::new() }.value(object, known, wanted);
    // Go decodes the metadata of a custom resource by itself.
    checked.map_err(|why| if kind.custom().is_some() { why.replace("ObjectMeta.metadata.", "ObjectMeta.") } else { why })
}

/// Where the decoder is.
struct Place<'a> {
    reader: Reader,
    /// The Go type that has the field.
    go: &'a str,
    /// The names of the fields on the way, and of the types that Go embeds.
    path: Vec<&'a str>,
}

impl<'a> Place<'a> {
    fn value(&mut self, value: &'a Value, known: Option<&Value>, wanted: &'a Type) -> Result<(), String> {
        if value.is_null() || known.is_some_and(|known| known.shares(value)) {
            return Ok(());
        }
        let fits = match wanted.shape() {
            Shape::Any | Shape::AnyMap => true,
            Shape::Text | Shape::Bytes | Shape::Time => value.is_string(),
            Shape::Integer(32) => value.as_i64().is_some_and(|n| i32::try_from(n).is_ok()),
            Shape::Integer(_) => value.as_i64().is_some(),
            Shape::Number => value.is_number(),
            Shape::Bool => value.is_boolean(),
            Shape::IntOrText => value.is_string() || value.as_i64().is_some_and(|n| i32::try_from(n).is_ok()),
            Shape::Amount => return amount(value),
            Shape::List(_) => value.is_array(),
            Shape::Map(_) | Shape::Struct(_) | Shape::Reference(_) => value.is_object(),
        };
        if !fits {
            return Err(self.wrong(value, wanted));
        }
        match (wanted.shape(), value) {
            (Shape::Bytes, Value::String(text)) => bytes(text).map_err(|why| match self.reader {
                Reader::Decoder => why,
                Reader::Converter => format!("error decoding from json: {why}"),
            }),
            (Shape::Time, Value::String(text)) => time::check(text, wanted.go_name().ends_with("MicroTime")),
            (Shape::List(list), Value::Array(items)) => {
                let known = known.and_then(Value::as_array);
                let mut items = items.iter().enumerate();
                items.try_for_each(|(at, item)| self.value(item, known.and_then(|known| known.get(at)), &list.items))
            }
            (Shape::Map(values), Value::Object(map)) => {
                map.iter().try_for_each(|(name, value)| self.value(value, known.and_then(|known| known.get(name.as_str())), values))
            }
            (Shape::Struct(_), Value::Object(_)) => self.members(value, known, wanted),
            _ => Ok(()),
        }
    }

    fn members(&mut self, value: &'a Value, known: Option<&Value>, wanted: &'a Type) -> Result<(), String> {
        let (Some(map), Some(fields)) = (value.as_object(), wanted.as_struct()) else { return Ok(()) };
        let (outer, depth) = (self.go, self.path.len());
        if let Some((_, name)) = wanted.go_name().rsplit_once('.') {
            self.go = name;
        }
        for (name, value) in map {
            let Some(field) = fields.field(name) else { continue };
            self.path.extend(names::embedded(self.go, name));
            self.path.push(name);
            self.value(value, known.and_then(|known| known.get(name.as_str())), &field.kind)?;
            self.path.truncate(depth);
        }
        self.go = outer;
        Ok(())
    }

    fn wrong(&self, value: &Value, wanted: &Type) -> String {
        if self.reader == Reader::Converter {
            return self.unconvertible(value, wanted);
        }
        let wanted = self.go_type(wanted);
        let number = match value {
            // A number that does not fit is named, one in a wrong place is not.
            Value::Number(number) if wanted.starts_with("int") => format!(" {number}"),
            _ => String::new(),
        };
        format!(
            "json: cannot unmarshal {}{number} into Go struct field {}.{} of type {wanted}",
            json_type(value),
            self.go,
            self.path.join(".")
        )
    }

    /// The words of the converter: it names types of memory, and no place.
    fn unconvertible(&self, value: &Value, wanted: &Type) -> String {
        let (found, simple) = match value {
            Value::Null => ("nil", false),
            Value::Bool(_) => ("bool", false),
            Value::Number(number) if number.is_f64() => ("float64", false),
            Value::Number(_) => ("int64", true),
            Value::String(_) => ("string", false),
            Value::Array(_) => ("slice", false),
            Value::Object(_) => ("map", false),
        };
        let (json, number) = (json_type(value), value.is_number());
        match wanted.shape() {
            Shape::List(_) | Shape::Bytes => format!("cannot restore slice from {found}"),
            Shape::Map(_) => format!("cannot restore map from {found}"),
            Shape::Struct(_) | Shape::Reference(_) => format!("cannot restore struct from: {found}"),
            // These read themselves from a text.
            Shape::IntOrText if number => format!("json: cannot unmarshal number {value} into Go value of type int32"),
            Shape::IntOrText => format!("json: cannot unmarshal {json} into Go value of type int32"),
            Shape::Time => format!("json: cannot unmarshal {json} into Go value of type string"),
            // Go makes a text of a whole number, and a whole number of any other; the converter does not want that.
            Shape::Text if simple => format!("cannot convert {found} to {}", self.go_type(wanted)),
            Shape::Integer(_) if number => format!("cannot convert {found} to {}", self.go_type(wanted)),
            Shape::Text => "unrecognized type: string".to_owned(),
            _ => format!("unrecognized type: {}", self.go_type(wanted)),
        }
    }

    /// What Go calls a type.
    fn go_type(&self, wanted: &Type) -> String {
        match wanted.shape() {
            Shape::Any | Shape::AnyMap => "interface {}".to_owned(),
            Shape::Text => {
                let named = self.path.last().and_then(|field| names::text(self.go, field));
                named.unwrap_or("string").to_owned()
            }
            Shape::Time | Shape::Amount => "string".to_owned(),
            Shape::Bytes => "[]uint8".to_owned(),
            Shape::Integer(32) | Shape::IntOrText => "int32".to_owned(),
            Shape::Integer(_) => "int64".to_owned(),
            Shape::Number => "float64".to_owned(),
            Shape::Bool => "bool".to_owned(),
            Shape::List(list) => format!("[]{}", self.go_type(&list.items)),
            Shape::Map(values) if matches!(values.shape(), Shape::Amount) => "v1.ResourceList".to_owned(),
            Shape::Map(values) => format!("map[string]{}", self.go_type(values)),
            Shape::Struct(_) | Shape::Reference(_) => wanted.go_name().to_owned(),
        }
    }
}

/// Checks standard base64 with padding; line breaks are allowed.
fn bytes(text: &str) -> Result<(), String> {
    let digits = text.trim_end_matches(['\n', '\r']).trim_end_matches('=');
    let alphabet = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'\n' | b'\r');
    let padded = text.bytes().filter(|b| !matches!(b, b'\n' | b'\r')).count();
    match digits.bytes().position(|b| !alphabet(b)) {
        Some(at) => Err(format!("illegal base64 data at input byte {at}")),
        None if padded % 4 != 0 => Err(format!("illegal base64 data at input byte {}", padded / 4 * 4)),
        None => Ok(()),
    }
}

/// A quantity is a text or a number; anything else is no quantity in other words.
fn amount(value: &Value) -> Result<(), String> {
    let text = match value {
        Value::String(text) => text.to_string(),
        other => other.to_string(),
    };
    text.parse::<Quantity>().map(|_| ()).map_err(|error| error.to_string())
}

/// The name of a JSON type as the decoder writes it.
pub(crate) fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
