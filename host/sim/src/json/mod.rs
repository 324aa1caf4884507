//! JSON documents that share what is equal.
//!
//! Text, arrays and maps are counted references: a clone costs the same for a number as for a pod, a change copies only the
//! maps and arrays on the way to what changed, and two documents that share a part are compared without looking into it. That
//! is what makes a store of many nearly equal objects small, its forks free and its history cheap. Maps keep their keys in
//! order, so equal documents have equal text.

mod array;
mod convert;
mod index;
mod macros;
mod map;
mod shape;
pub(crate) mod syntax;
mod text;

use std::borrow::Cow;
use std::fmt;

pub use ecow::EcoString as Text;
pub use serde_json::Number;

pub use self::array::Array;
pub use self::convert::{ToJson, from_value, to_value};
pub use self::index::Index;
pub use self::map::{Entry, Map};
#[doc(hidden)]
pub use self::shape::{Name, Site};
pub use crate::json;

/// A JSON document or a part of one.
#[derive(Clone, Default)]
pub enum Value {
    /// `null`.
    #[default]
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number; integers are kept exactly within 64 bits.
    Number(Number),
    /// A text.
    String(Text),
    /// An array.
    Array(Array),
    /// A map.
    Object(Map),
}

/// What stands for an absent part.
pub(crate) static NULL: Value = Value::Null;

impl Value {
    /// Whether this is `null`.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// Whether this is a text.
    #[must_use]
    pub fn is_string(&self) -> bool {
        matches!(self, Self::String(_))
    }

    /// Whether this is a number.
    #[must_use]
    pub fn is_number(&self) -> bool {
        matches!(self, Self::Number(_))
    }

    /// Whether this is `true` or `false`.
    #[must_use]
    pub fn is_boolean(&self) -> bool {
        matches!(self, Self::Bool(_))
    }

    /// Whether this is an array.
    #[must_use]
    pub fn is_array(&self) -> bool {
        matches!(self, Self::Array(_))
    }

    /// Whether this is a map.
    #[must_use]
    pub fn is_object(&self) -> bool {
        matches!(self, Self::Object(_))
    }

    /// The text, if it is one.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The truth value, if it is one.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// The number as a signed integer, if it is one.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Number(number) => number.as_i64(),
            _ => None,
        }
    }

    /// The number as an unsigned integer, if it is one.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Number(number) => number.as_u64(),
            _ => None,
        }
    }

    /// The number, rounded where it must be.
    #[must_use]
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Number(number) => number.as_f64(),
            _ => None,
        }
    }

    /// The array, if it is one.
    #[must_use]
    pub fn as_array(&self) -> Option<&Array> {
        match self {
            Self::Array(items) => Some(items),
            _ => None,
        }
    }

    /// The array to be changed, if it is one.
    #[must_use]
    pub fn as_array_mut(&mut self) -> Option<&mut Array> {
        match self {
            Self::Array(items) => Some(items),
            _ => None,
        }
    }

    /// The map, if it is one.
    #[must_use]
    pub fn as_object(&self) -> Option<&Map> {
        match self {
            Self::Object(map) => Some(map),
            _ => None,
        }
    }

    /// The map to be changed, if it is one.
    #[must_use]
    pub fn as_object_mut(&mut self) -> Option<&mut Map> {
        match self {
            Self::Object(map) => Some(map),
            _ => None,
        }
    }

    /// A member of a map by its key, or of an array by its place.
    pub fn get(&self, index: impl Index) -> Option<&Value> {
        index.of(self)
    }

    /// As [`Self::get`], to be changed.
    pub fn get_mut(&mut self, index: impl Index) -> Option<&mut Value> {
        index.of_mut(self)
    }

    /// What stands below these keys, one below the other; `None` when there is nothing. A key of digits names a place in an
    /// array.
    #[must_use]
    pub fn at(&self, path: &[&str]) -> Option<&Value> {
        path.iter().try_fold(self, |value, key| match value {
            Self::Object(map) => map.get(key),
            Self::Array(items) => items.get(place(key)?),
            _ => None,
        })
    }

    /// What a JSON pointer (RFC 6901) names; `None` when there is nothing.
    #[must_use]
    pub fn pointer(&self, pointer: &str) -> Option<&Value> {
        steps(pointer)?.try_fold(self, |value, step| match value {
            Self::Object(map) => map.get(&step),
            Self::Array(items) => items.get(place(&step)?),
            _ => None,
        })
    }

    /// As [`Self::pointer`], to be changed.
    #[must_use]
    pub fn pointer_mut(&mut self, pointer: &str) -> Option<&mut Value> {
        steps(pointer)?.try_fold(self, |value, step| match value {
            Self::Object(map) => map.get_mut(&step),
            Self::Array(items) => items.get_mut(place(&step)?),
            _ => None,
        })
    }

    /// Changes the document as a merge patch says (RFC 7386): maps are merged, `null` removes, everything else replaces.
    pub fn merge(&mut self, patch: &Value) {
        let Self::Object(changes) = patch else {
            *self = patch.clone();
            return;
        };
        if !self.is_object() {
            *self = Self::Object(Map::new());
        }
        let Self::Object(map) = self else { return };
        for (key, change) in changes {
            match change {
                Self::Null => {
                    map.remove(key);
                }
                Self::Object(_) => map.entry(key.clone()).or_insert(Self::Null).merge(change),
                other if map.get(key) == Some(other) => {}
                other => {
                    map.insert(key.clone(), other.clone());
                }
            }
        }
    }

    /// Shares with `other` what is equal in both, so that it is held once: for a document that was read anew.
    pub fn share_with(&mut self, other: &Value) {
        match (&mut *self, other) {
            (Self::Object(mine), Self::Object(theirs)) if !mine.shares(theirs) => {
                for (key, value) in mine.iter_mut() {
                    if let Some(other) = theirs.get(key) {
                        value.share_with(other);
                    }
                }
                // Cheap: what is equal below is one and the same by now.
                if mine == theirs {
                    *self = other.clone();
                }
            }
            (Self::Array(mine), Self::Array(theirs)) if !mine.shares(theirs) => {
                for (value, other) in mine.iter_mut().zip(theirs) {
                    value.share_with(other);
                }
                if mine == theirs {
                    *self = other.clone();
                }
            }
            (Self::String(mine), Self::String(theirs)) if mine == theirs => *self = other.clone(),
            _ => {}
        }
    }

    /// Takes the value away and leaves `null`.
    #[must_use]
    pub fn take(&mut self) -> Value {
        std::mem::take(self)
    }

    /// Whether both are one and the same in memory, and so surely equal. False says nothing.
    #[must_use]
    pub fn shares(&self, other: &Value) -> bool {
        match (self, other) {
            (Self::Array(a), Self::Array(b)) => a.shares(b),
            (Self::Object(a), Self::Object(b)) => a.shares(b),
            _ => false,
        }
    }
}

/// The steps of a JSON pointer; `None` when it is none.
fn steps(pointer: &str) -> Option<impl Iterator<Item = Cow<'_, str>>> {
    let way = if pointer.is_empty() { None } else { Some(pointer.strip_prefix('/')?) };
    Some(
        way.into_iter()
            .flat_map(|way| way.split('/'))
            .map(|step| if step.contains('~') { Cow::Owned(step.replace("~1", "/").replace("~0", "~")) } else { Cow::Borrowed(step) }),
    )
}

/// A place in an array; a number with a sign or a leading zero is none.
fn place(step: &str) -> Option<usize> {
    let plain = !step.starts_with('+') && (step == "0" || !step.starts_with('0'));
    if plain { step.parse().ok() } else { None }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Number(a), Self::Number(b)) => a == b,
            (Self::String(a), Self::String(b)) => a == b,
            (Self::Array(a), Self::Array(b)) => a == b,
            (Self::Object(a), Self::Object(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for Value {}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("Null"),
            Self::Bool(value) => value.fmt(f),
            Self::Number(number) => fmt::Display::fmt(number, f),
            Self::String(text) => fmt::Debug::fmt(text, f),
            Self::Array(items) => fmt::Debug::fmt(items, f),
            Self::Object(map) => fmt::Debug::fmt(map, f),
        }
    }
}

/// The text without blanks; with `{:#}`, two blanks a level.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = if f.alternate() { serde_json::to_string_pretty(self) } else { serde_json::to_string(self) };
        f.write_str(&text.map_err(|_| fmt::Error)?)
    }
}

#[cfg(test)]
mod tests;
