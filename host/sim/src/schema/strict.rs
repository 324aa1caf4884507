//! What a strict reader finds in the text of a document: fields that the type does not have, and fields that come twice.

use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::walk::{keeps, step};
use super::{Shape, Type};
use crate::json::Value;

/// The server tells no more than this of one document.
const MOST: usize = 100;

/// Something that a strict reader refuses. The text is the server's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Finding {
    /// A field that the type does not have.
    Unknown(String),
    /// A field that comes twice; the last one counts.
    Duplicate(String),
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(path) => write!(f, "unknown field {path:?}"),
            Self::Duplicate(path) => write!(f, "duplicate field {path:?}"),
        }
    }
}

/// Everything that is to be said about a JSON text, in its order. Nothing about a text that is no JSON: its reader says that.
/// Fields that `stored` has are known: it may come from a newer server.
pub(crate) fn findings(kind: &Type, text: &[u8], stored: Option<&Value>) -> Vec<Finding> {
    let mut reader = Reader { path: String::new(), found: Vec::new() };
    let mut json = serde_json::Deserializer::from_slice(text);
    let whole = Part { kind, stored, reader: &mut reader }.deserialize(&mut json).is_ok() && json.end().is_ok();
    if whole { reader.found } else { Vec::new() }
}

struct Reader {
    path: String,
    found: Vec<Finding>,
}

impl Reader {
    fn tell(&mut self, finding: Finding) {
        if self.found.len() < MOST {
            self.found.push(finding);
        }
    }
}

/// One value of the document and its type.
struct Part<'a> {
    kind: &'a Type,
    stored: Option<&'a Value>,
    reader: &'a mut Reader,
}

impl<'de> DeserializeSeed<'de> for Part<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Part<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let (kind, length) = (self.kind.items(), self.reader.path.len());
        let mut at = 0usize;
        loop {
            self.reader.path.push_str(&format!("[{at}]"));
            let stored = self.stored.and_then(|stored| stored.get(at));
            let item = items.next_element_seed(Part { kind, stored, reader: &mut *self.reader })?;
            self.reader.path.truncate(length);
            if item.is_none() {
                return Ok(());
            }
            at += 1;
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let (kind, length) = (self.kind, self.reader.path.len());
        if matches!(kind.shape(), Shape::AnyMap) {
            // The server keeps such a map as it came.
            while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(());
        }
        let mut seen = HashSet::new();
        while let Some(name) = members.next_key::<String>()? {
            step(&mut self.reader.path, &name);
            let path = |reader: &Reader| reader.path.clone();
            let stored = self.stored.and_then(|stored| stored.get(name.as_str()));
            if keeps(kind, &name) || stored.is_some() {
                if seen.contains(&name) {
                    let path = path(self.reader);
                    self.reader.tell(Finding::Duplicate(path));
                }
                members.next_value_seed(Part { kind: kind.below(&name), stored, reader: &mut *self.reader })?;
            } else {
                let path = path(self.reader);
                self.reader.tell(Finding::Unknown(path));
                members.next_value::<IgnoredAny>()?;
            }
            self.reader.path.truncate(length);
            seen.insert(name);
        }
        Ok(())
    }
}
