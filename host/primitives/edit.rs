//! Changes of objects as patches: computed, applied and taken back without asking the server.

use crate::base::json::{Map, Value as Json};

use super::done::{Done, Inverse, Wrote};
pub(super) use crate::base::diff::merge_patch;
use crate::base::diff::{Change, changes, reaches};
use crate::base::{self, Value};
use crate::cluster::Target;

/// The merge patch that takes an object back to what it was, without what the server keeps for itself.
#[must_use]
pub fn restoring(now: &Json, then: &Json) -> Json {
    merge_patch(&plain(now), &plain(then)).unwrap_or_else(|| Json::Object(Map::new()))
}

/// The result of a verb that edits an object, with what it wrote: of what was asked for, that which the server `stored`, because a
/// field that it does not know it drops. The way back is a merge patch.
pub(super) fn edited(target: &Target, before: &Json, after: &Json, stored: &Json) -> Done {
    let mut changes = changes(before, after);
    let done = base::diff::changes(before, stored);
    changes.retain(|asked| done.iter().any(|done| reaches(&done.path, &asked.path) || reaches(&asked.path, &done.path)));
    let value = told(true, &changes);
    let back = restoring(after, before);
    let wrote = Wrote {
        verb: "patch".to_owned(),
        target: target.to_string(),
        changes,
        inverse: Inverse::Call { verb: "patch".to_owned(), arguments: vec![target.full_name().into(), back], options: Json::Null },
    };
    Done::changed(value, wrote)
}

/// `{ changed, changes }`
pub(super) fn told(changed: bool, changes: &[Change]) -> Value {
    Value::Json(crate::base::json::json!({ "changed": changed, "changes": rows(changes) }))
}

/// Changes as a script gets them: `{ path, before, after }`.
pub(super) fn rows(changes: &[Change]) -> Json {
    let rows: Vec<Json> = changes
        .iter()
        .map(|change| {
            let mut row = Map::from_iter([("path".to_owned(), Json::from(change.path.clone()))]);
            row.extend(change.before.clone().map(|value| ("before".to_owned(), value)));
            row.extend(change.after.clone().map(|value| ("after".to_owned(), value)));
            Json::Object(row)
        })
        .collect();
    rows.into()
}

/// The object without what a patch must not say: the server's own bookkeeping.
#[must_use]
pub fn plain(object: &Json) -> Json {
    let mut object = object.clone();
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
        if let Some(metadata) = fields.get_mut("metadata").and_then(Json::as_object_mut) {
            for field in ["resourceVersion", "uid", "managedFields", "generation", "creationTimestamp"] {
                metadata.remove(field);
            }
        }
    }
    object
}

#[cfg(test)]
mod tests {
    use crate::base::json::json;

    use super::*;

    fn applied(before: &Json, patch: &Json) -> Json {
        let mut object = before.clone();
        object.merge(patch);
        object
    }

    #[test]
    fn the_patch_leads_from_one_to_the_other_and_says_no_more() {
        let before = json!({ "a": 1, "b": { "c": [1, 2], "d": null, "e": 9007199254740993_i64 }, "gone": {} });
        let after = json!({ "a": 1, "b": { "c": [2], "d": null, "e": 9007199254740993_i64, "new": {} } });
        let patch = merge_patch(&before, &after).unwrap();
        assert_eq!(patch, json!({ "b": { "c": [2], "new": {} }, "gone": null }));
        assert_eq!(applied(&before, &patch), after);
        assert_eq!(merge_patch(&before, &before), None);
    }

    #[test]
    fn a_map_that_takes_the_place_of_something_else_is_said_whole() {
        assert_eq!(merge_patch(&json!({ "a": 1 }), &json!({ "a": { "b": 2 } })), Some(json!({ "a": { "b": 2 } })));
        assert_eq!(merge_patch(&json!({ "a": [] }), &json!({ "a": {} })), Some(json!({ "a": {} })));
    }
}
