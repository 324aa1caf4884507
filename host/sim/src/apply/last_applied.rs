//! Apply by kubectl on objects that an older kubectl, or one that applies by itself, wrote: its annotation says what it owned.

use super::compare::{compare, fields_of};
use super::set::Set;
use super::{Conflicts, Writer, merged};
use crate::json::Value;
use crate::status::Status;
use crate::view;

/// The annotation of `kubectl apply`.
const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// The manager of `kubectl apply --server-side`; only this one takes over.
const KUBECTL: &str = "kubectl";
/// A longer annotation is not written, bytes.
const LONGEST: usize = 256 * 1024;

/// Applies. Conflicts about what kubectl's annotation says and nobody changed since are none for kubectl.
pub(super) fn outcome(writer: &Writer<'_>, before: Option<&Value>, config: &Value, force: bool) -> Result<Value, Status> {
    let conflicts = match merged(writer, before, config, force) {
        Ok(object) => return Ok(object),
        Err(conflicts) => conflicts,
    };
    let Some(allowed) = before.filter(|_| writer.manager == KUBECTL).and_then(|live| unchanged(writer, live)) else {
        return Err(conflicts.status());
    };
    let left = conflicts.0.into_iter().map(|(entry, fields)| (entry, fields.difference(&allowed)));
    let left: Vec<_> = left.filter(|(_, fields)| !fields.is_empty()).collect();
    if !left.is_empty() {
        return Err(Conflicts(left).status());
    }
    merged(writer, before, config, true).map_err(|conflicts| conflicts.status())
}

/// The fields that the annotation names and that are still as it says.
fn unchanged(writer: &Writer<'_>, live: &Value) -> Option<Set> {
    let last: Value = serde_json::from_str(view::annotation(live, ANNOTATION)?).ok()?;
    let schema = writer.schema();
    let changes = compare(schema, &last, live);
    let fields = fields_of(schema, &last);
    Some(fields.difference(&changes.modified).difference(&changes.added).difference(&changes.removed))
}

/// Keeps the annotation up to date for a kubectl that applies by itself later.
pub(super) fn synced(writer: &Writer<'_>, mut object: Value, config: &Value) -> Value {
    if writer.manager == KUBECTL && view::annotation(&object, ANNOTATION).is_some() {
        let text = format!("{config}\n");
        if text.len() <= LONGEST {
            view::set(&mut object, &["metadata", "annotations", ANNOTATION], text);
        } else {
            view::remove(&mut object, &["metadata", "annotations", ANNOTATION]);
        }
    }
    object
}
