//! Reading messages: the wire format of protobuf, and the JSON that a message stands for.

use jiff::Timestamp;

use super::table;
use crate::base64;
use crate::json::{Map, Value};
use crate::view;

/// Deeper messages are refused; none of the table is half as deep.
const DEEPEST: u32 = 64;
const SHORT: &str = "unexpected EOF";

/// One field as it is on the wire.
#[derive(Debug, Clone, Copy)]
pub(super) enum Part<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// Goes through the fields of a message.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(super) fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    /// The next field: its number and what it holds; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<(u64, Part<'a>)>, String> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let key = self.number()?;
        let part = match key & 7 {
            0 => Part::Number(self.number()?),
            1 => Part::Bytes(self.take(8)?),
            2 => {
                let length = usize::try_from(self.number()?).map_err(|_| SHORT.to_owned())?;
                Part::Bytes(self.take(length)?)
            }
            5 => Part::Bytes(self.take(4)?),
            other => return Err(format!("proto: illegal wireType {other}")),
        };
        Ok(Some((key >> 3, part)))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or_else(|| SHORT.to_owned())?;
        self.rest = rest;
        Ok(taken)
    }

    /// Seven bits to a byte, the lowest first.
    fn number(&mut self) -> Result<u64, String> {
        let mut number = 0_u64;
        for place in 0..10 {
            let (first, rest) = self.rest.split_first().ok_or_else(|| SHORT.to_owned())?;
            self.rest = rest;
            number |= u64::from(first & 0x7f) << (7 * place);
            if first & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err("proto: integer overflow".to_owned())
    }
}

/// The document of a message.
///
/// # Errors
/// What is wrong with the bytes, as the server says it.
pub(super) fn message(name: &str, bytes: &[u8]) -> Result<Value, String> {
    let mut fields = Map::new();
    fill(&mut fields, name, bytes, 0)?;
    Ok(Value::Object(fields))
}

fn fill(fields: &mut Map, name: &str, bytes: &[u8], depth: u32) -> Result<(), String> {
    if depth > DEEPEST {
        return Err("proto: message is too deep".to_owned());
    }
    let mut parts = Cursor::new(bytes);
    while let Some((number, part)) = parts.next()? {
        let Some(field) = table::field(name, number) else { continue };
        if field.inline {
            let (Some(inner), Part::Bytes(bytes)) = (field.kind.strip_prefix('m'), part) else { return Err(wrong(field.name)) };
            fill(fields, inner, bytes, depth + 1)?;
        } else if let Some(kind) = field.kind.strip_prefix('+') {
            let item = value(kind, part, field.name, depth)?;
            match fields.get_mut(field.name).and_then(Value::as_array_mut) {
                Some(items) => items.push(item),
                None => drop(fields.insert(field.name, vec![item].into())),
            }
        } else if let Some(kind) = field.kind.strip_prefix('%') {
            let (key, item) = entry(kind, part, field.name, depth)?;
            if fields.get(field.name).is_none() {
                fields.insert(field.name, Value::Object(Map::new()));
            }
            if let Some(map) = fields.get_mut(field.name).and_then(Value::as_object_mut) {
                map.insert(key, item);
            }
        } else {
            let value = value(field.kind, part, field.name, depth)?;
            let zero = value.is_null() || (!field.optional && field.omitted && is_zero(&value));
            if !zero {
                fields.insert(field.name, value);
            }
        }
    }
    Ok(())
}

fn wrong(field: &str) -> String {
    format!("proto: wrong wireType for field {field}")
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}

/// One entry of a map: a message with the key and the value.
fn entry(kind: &str, part: Part<'_>, field: &str, depth: u32) -> Result<(String, Value), String> {
    let Part::Bytes(bytes) = part else { return Err(wrong(field)) };
    let (mut key, mut found) = (String::new(), None);
    let mut parts = Cursor::new(bytes);
    while let Some((number, part)) = parts.next()? {
        match number {
            1 => key = text(part, field)?,
            2 => found = Some(value(kind, part, field, depth)?),
            _ => {}
        }
    }
    // A value that is zero may be left out.
    let found = match found {
        Some(found) => found,
        None => value(kind, Part::Bytes(&[]), field, depth)?,
    };
    Ok((key, found))
}

fn text(part: Part<'_>, field: &str) -> Result<String, String> {
    let Part::Bytes(bytes) = part else { return Err(wrong(field)) };
    String::from_utf8(bytes.to_vec()).map_err(|_| format!("proto: field {field} contains invalid UTF-8"))
}

fn value(kind: &str, part: Part<'_>, field: &str, depth: u32) -> Result<Value, String> {
    match (kind, part) {
        ("i", Part::Number(number)) => Ok(signed(number).into()),
        ("b", Part::Number(number)) => Ok((number != 0).into()),
        ("s", part) => Ok(text(part, field)?.into()),
        ("y", Part::Bytes(bytes)) => Ok(base64::encode(bytes).into()),
        ("T" | "U", Part::Bytes(bytes)) => time(kind, bytes),
        ("Q", Part::Bytes(bytes)) => wrapped(bytes, 1, field),
        ("X", Part::Bytes(bytes)) => int_or_text(bytes, field),
        ("R", Part::Bytes(bytes)) => document(bytes),
        ("E", Part::Bytes(bytes)) => {
            let mut items = Vec::new();
            let mut parts = Cursor::new(bytes);
            while let Some((_, part)) = parts.next()? {
                items.push(Value::from(text(part, field)?));
            }
            Ok(items.into())
        }
        (kind, Part::Bytes(bytes)) => {
            let name = kind.strip_prefix('m').ok_or_else(|| wrong(field))?;
            let mut fields = Map::new();
            fill(&mut fields, name, bytes, depth + 1)?;
            Ok(Value::Object(fields))
        }
        (_, Part::Number(_)) => Err(wrong(field)),
    }
}

/// Negative numbers are written in two's complement.
fn signed(number: u64) -> i64 {
    i64::from_ne_bytes(number.to_ne_bytes())
}

/// The text in a message of one field.
fn wrapped(bytes: &[u8], wanted: u64, field: &str) -> Result<Value, String> {
    let mut found = String::new();
    let mut parts = Cursor::new(bytes);
    while let Some((number, part)) = parts.next()? {
        if number == wanted {
            found = text(part, field)?;
        }
    }
    Ok(found.into())
}

/// `type`, the number, the text.
fn int_or_text(bytes: &[u8], field: &str) -> Result<Value, String> {
    let (mut is_text, mut number, mut words) = (false, 0, String::new());
    let mut parts = Cursor::new(bytes);
    while let Some((place, part)) = parts.next()? {
        match (place, part) {
            (1, Part::Number(kind)) => is_text = kind == 1,
            (2, Part::Number(given)) => number = signed(given),
            (3, part) => words = text(part, field)?,
            _ => {}
        }
    }
    Ok(if is_text { words.into() } else { number.into() })
}

/// Seconds and nanoseconds since 1970. No time at all is null.
fn time(kind: &str, bytes: &[u8]) -> Result<Value, String> {
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    let (mut seconds, mut nanos) = (0, 0);
    let mut parts = Cursor::new(bytes);
    while let Some((place, part)) = parts.next()? {
        match (place, part) {
            (1, Part::Number(number)) => seconds = signed(number),
            (2, Part::Number(number)) => nanos = signed(number),
            _ => {}
        }
    }
    let out_of_range = || "proto: time is out of range".to_owned();
    let at = Timestamp::new(seconds, i32::try_from(nanos).map_err(|_| out_of_range())?).map_err(|_| out_of_range())?;
    let whole = view::stamp(at);
    if kind == "T" {
        return Ok(whole.into());
    }
    let micros = at.subsec_microsecond();
    Ok(format!("{}.{micros:06}Z", whole.trim_end_matches('Z')).into())
}

/// A JSON document as bytes, in a message of one field.
fn document(bytes: &[u8]) -> Result<Value, String> {
    let mut parts = Cursor::new(bytes);
    while let Some((number, part)) = parts.next()? {
        if let (1, Part::Bytes(raw)) = (number, part) {
            return serde_json::from_slice(raw).map_err(|error| error.to_string());
        }
    }
    Ok(Value::Null)
}
