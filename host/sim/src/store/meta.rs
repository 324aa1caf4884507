//! The metadata of a stored object.

use crate::json::{Map, Text, Value};
use crate::rng::Rng;
use crate::view;

/// The object with another resource version, as `DELETED` events carry it.
pub(crate) fn with_rv(object: &Value, rv: u64) -> Value {
    let mut object = object.clone();
    set_rv(&mut object, rv);
    object
}

/// An empty list of owners is none.
pub(super) fn drop_no_owners(meta: &mut Map) {
    let owned = meta.get("managedFields").and_then(Value::as_array).is_some_and(|list| !list.is_empty());
    if !owned {
        meta.remove("managedFields");
    }
}

pub(super) fn set_rv(object: &mut Value, rv: u64) {
    if let Some(meta) = metadata(object) {
        meta.insert("resourceVersion", view::number(rv).into());
    }
}

/// The metadata of an object, created when it is missing.
pub(super) fn metadata(object: &mut Value) -> Option<&mut Map> {
    object.as_object_mut()?.entry("metadata").or_insert_with(|| Value::Object(Map::new())).as_object_mut()
}

/// Makes a name of `generateName` where none was given.
pub(super) fn name(meta: &mut Map, rng: &mut Rng) {
    if text(meta, "name").is_empty() {
        let base = text(meta, "generateName");
        // The server cuts the base so that base and suffix fit into 63 characters.
        let cut = base.char_indices().nth(58).map_or(base, |(at, _)| &base[..at]);
        let mut name = Text::from(cut);
        name.push_str(&rng.suffix(5));
        meta.insert("name", name.into());
    }
}

pub(super) fn text<'a>(meta: &'a Map, field: &str) -> &'a str {
    meta.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// Sets a field to what it is elsewhere, or takes it away; what is the same already is not touched, so that it stays shared.
pub(super) fn keep(meta: &mut Map, field: &str, value: Option<&Value>) {
    match value {
        Some(value) if meta.get(field) != Some(value) => drop(meta.insert(field, value.clone())),
        None => drop(meta.remove(field)),
        Some(_) => {}
    }
}
