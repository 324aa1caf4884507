//! Objects of which nobody can say what their operator would write: their content was changed here, and neither a controller nor an entry of
//! a model acts on their kind. Their status is that of before, or none at all.

use imbl::OrdSet;

use crate::json::Value;
use crate::kinds::{self, Kind, Modelling};
use crate::model::Models;
use crate::store::{Change, Key};

/// The keys of all such objects.
#[derive(Debug, Clone, Default)]
pub(crate) struct Unmodelled(OrdSet<Key>);

impl Unmodelled {
    /// Takes notice of a change.
    pub(crate) fn note(&mut self, models: &Models, change: &Change) {
        let key = &change.key;
        if !has_an_operator(key.kind) || models.objects().any(|entry| entry.is_about_kind(key.kind)) {
            return;
        }
        match (&change.before, &change.after) {
            (_, None) => drop(self.0.remove(key)),
            (None, Some(_)) => drop(self.0.insert(key.clone())),
            // Who writes the status knows it.
            (Some(before), Some(after)) if before.get("status") != after.get("status") => drop(self.0.remove(key)),
            (Some(before), Some(after)) if content_differs(before, after) => drop(self.0.insert(key.clone())),
            (Some(_), Some(_)) => {}
        }
    }

    /// Whether it is one.
    pub(crate) fn has(&self, key: &Key) -> bool {
        self.0.contains(key)
    }
}

/// Whether somebody outside of this crate would act on objects of this kind and write their status.
fn has_an_operator(kind: &Kind) -> bool {
    kind.definition.is_some() || (kind.status == Modelling::Data && kind.has_status())
}

/// Warns who makes an object that is there to start others, and here does not: all that a CronJob is for.
pub(crate) fn warning(kind: &Kind) -> Option<String> {
    kind.is(kinds::CRON_JOB).then(|| "simulator: not modelled: a CronJob starts no Job here".to_owned())
}

/// Whether anything but metadata and status differs.
fn content_differs(before: &Value, after: &Value) -> bool {
    let content = |object: &Value| -> Vec<(String, Value)> {
        let fields = object.as_object().into_iter().flatten();
        fields.filter(|(name, _)| *name != "metadata" && *name != "status").map(|(name, value)| (name.to_string(), value.clone())).collect()
    };
    content(before) != content(after)
}
