//! The entries of `managedFields`: who owns what, since when.

use std::cmp::Ordering;

use super::set::Set;
use crate::json::{Text, Value, json};
use crate::view;

/// More managers than this that do not apply are put together.
const MOST_UPDATERS: usize = 10;
/// The name of the entry of those.
const ANCIENT: &str = "ancient-changes";

/// One manager.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) manager: Text,
    /// Whether it applies; otherwise it updates.
    pub(super) applies: bool,
    pub(super) version: Text,
    pub(super) subresource: Text,
    /// Missing for an applier that changed nothing.
    pub(super) time: Option<Text>,
    pub(super) fields: Set,
}

impl Entry {
    /// Whether both are the same manager. The version of an applier does not matter.
    pub(super) fn is(&self, other: &Self) -> bool {
        let version = self.applies || self.version == other.version;
        self.manager == other.manager && self.applies == other.applies && self.subresource == other.subresource && version
    }

    /// The manager as a conflict names it.
    pub(super) fn named(&self) -> String {
        let mut text = Value::from(self.manager.as_str()).to_string();
        if !self.subresource.is_empty() {
            text.push_str(&format!(" with subresource {}", Value::from(self.subresource.as_str())));
        }
        if !self.applies {
            text.push_str(&format!(" using {}", self.version));
        }
        text
    }

    /// The order in which conflicts are told.
    pub(super) fn order(&self, other: &Self) -> Ordering {
        let parts = |entry: &Self| (entry.manager.clone(), !entry.applies, entry.version.clone(), entry.subresource.clone());
        parts(self).cmp(&parts(other))
    }
}

/// Reads `managedFields`; `None` when an entry is none.
pub(super) fn read(list: Option<&Value>) -> Option<Vec<Entry>> {
    let items: &[Value] = list.and_then(Value::as_array).map_or(&[], |items| items);
    items.iter().map(entry).collect()
}

fn entry(item: &Value) -> Option<Entry> {
    let text = |field: &str| -> Text { view::text(item, &[field]).into() };
    let applies = match view::text(item, &["operation"]) {
        "Apply" => true,
        "Update" => false,
        _ => return None,
    };
    let fields = item.get("fieldsV1").filter(|fields| fields.is_object())?;
    let manager = Some(text("manager")).filter(|name| !name.is_empty()).unwrap_or_else(|| "unknown".into());
    let time = Some(text("time")).filter(|time| !time.is_empty());
    Some(Entry { manager, applies, version: text("apiVersion"), subresource: text("subresource"), time, fields: Set::read(fields) })
}

/// Writes `managedFields`. Appliers come first, then the older ones.
pub(super) fn write(mut entries: Vec<Entry>) -> Value {
    entries.retain(|entry| !entry.fields.is_empty());
    collapse(&mut entries);
    // A missing time is the oldest.
    entries.sort_by(|a, b| {
        (!a.applies, &a.time, &a.manager, &a.version, &a.subresource).cmp(&(!b.applies, &b.time, &b.manager, &b.version, &b.subresource))
    });
    let item = |entry: Entry| {
        let mut item = json!({
            "manager": entry.manager.as_str(), "operation": if entry.applies { "Apply" } else { "Update" },
            "apiVersion": entry.version.as_str(), "fieldsType": "FieldsV1", "fieldsV1": entry.fields.into_value(),
        });
        if let Some(time) = entry.time {
            view::set(&mut item, &["time"], Value::from(time.as_str()));
        }
        if !entry.subresource.is_empty() {
            view::set(&mut item, &["subresource"], Value::from(entry.subresource.as_str()));
        }
        item
    };
    Value::Array(entries.into_iter().map(item).collect())
}

/// Puts the oldest managers that update together, one entry for each version.
fn collapse(entries: &mut Vec<Entry>) {
    let mut updaters: Vec<Entry> = entries.iter().filter(|entry| !entry.applies).cloned().collect();
    if updaters.len() <= MOST_UPDATERS {
        return;
    }
    updaters.sort_by(|a, b| (&a.time, &a.manager, &a.version, &a.subresource).cmp(&(&b.time, &b.manager, &b.version, &b.subresource)));
    let (mut left, mut ancient): (usize, Vec<Entry>) = (updaters.len(), Vec::new());
    let mut kept = Vec::new();
    for entry in updaters {
        if left <= MOST_UPDATERS {
            kept.push(entry);
            continue;
        }
        match ancient.iter_mut().find(|other| other.version == entry.version) {
            Some(other) => {
                other.fields = other.fields.union(&entry.fields);
                other.time = other.time.clone().max(entry.time);
                left -= 1;
            }
            None => ancient.push(Entry { manager: ANCIENT.into(), subresource: Text::new(), ..entry }),
        }
    }
    entries.retain(|entry| entry.applies);
    entries.extend(ancient);
    entries.extend(kept);
}
