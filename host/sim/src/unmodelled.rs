//! Objects of which nobody can say what their operator would write: their content was changed here, and neither a controller nor an entry of
//! a model acts on their kind. Their status is that of before, or none at all.

use imbl::OrdSet;

use crate::json::Value;
use crate::kinds::{Kind, Modelling};
use crate::model::Models;
use crate::store::{Change, Key};

/// The keys of all such objects.
#[derive(Debug, Clone, Default)]
pub(crate) struct Unmodelled(OrdSet<Key>);

impl Unmodelled {
    /// Takes notice of a change.
    pub(crate) fn note(&mut self, models: &Models, change: &Change) {
        let key = &change.key;
        if !has_an_operator(key.kind) || is_played(models, key.kind) {
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

/// Whether an entry of a model acts on objects of this kind.
fn is_played(models: &Models, kind: &Kind) -> bool {
    models.objects().any(|entry| entry.is_about_kind(kind))
}

/// Whether somebody outside of this crate would act on objects of this kind and write their status.
fn has_an_operator(kind: &Kind) -> bool {
    kind.definition.is_some() || (kind.status == Modelling::Data && kind.has_status())
}

/// Warns who makes an object on which somebody would act, and here nobody does.
pub(crate) fn warning(models: &Models, kind: &Kind) -> Option<String> {
    let does = match kind.kind {
        "CronJob" => "a CronJob starts no Job",
        "HorizontalPodAutoscaler" => "a HorizontalPodAutoscaler scales nothing",
        "Ingress" => "an Ingress gets no address",
        "APIService" => "an APIService is never Available",
        _ => return None,
    };
    let acts = kind.definition.is_some() || is_played(models, kind);
    (!acts).then(|| format!("simulator: not modelled: {does} here"))
}

/// Whether anything but metadata and status differs.
fn content_differs(before: &Value, after: &Value) -> bool {
    let content = |object: &Value| -> Vec<(String, Value)> {
        let fields = object.as_object().into_iter().flatten();
        fields.filter(|(name, _)| *name != "metadata" && *name != "status").map(|(name, value)| (name.to_string(), value.clone())).collect()
    };
    content(before) != content(after)
}
