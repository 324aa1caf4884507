//! The metadata of a stored object.

use crate::json::{Map, Value};
use crate::rng::Rng;

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
        meta.insert("resourceVersion", rv.to_string().into());
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
        let cut = base.char_indices().nth(58).map_or(base.as_str(), |(at, _)| &base[..at]);
        let name = format!("{cut}{}", rng.suffix(5));
        meta.insert("name", name.into());
    }
}

pub(super) fn text(meta: &Map, field: &str) -> String {
    meta.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
}
