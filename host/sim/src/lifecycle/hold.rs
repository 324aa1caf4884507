//! Whether the conditions of an entry hold.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::referred;
use super::words::{NO_TABLE, Words};
use crate::crd::path::Path;
use crate::engine::Index;
use crate::json::Value;
use crate::kinds;
use crate::model::{Condition, glob, has_labels};
use crate::store::Store;
use crate::view;

/// Where a condition is looked at.
#[derive(Clone, Copy)]
pub(crate) struct Seen<'a> {
    pub(crate) store: &'a Store,
    /// Which pods are where; without it nobody asks about agents.
    pub(crate) index: Option<&'a Index>,
    /// The object that it is seen from.
    pub(crate) object: &'a Value,
    /// What the `*` of a command's pattern stand for.
    pub(crate) found: &'a [String],
}

impl Seen<'_> {
    /// Whether a condition holds.
    pub(crate) fn holds(self, condition: &Condition) -> bool {
        holds(self, condition)
    }

    /// The object that a reference means.
    fn referred(self, reference: &str) -> Option<Arc<Value>> {
        let words = Words { store: self.store, subject: self.object, table: &NO_TABLE, found: self.found };
        let key = referred(self.store, &words.text(reference)?, self.object)?;
        self.store.get(&key).cloned()
    }
}

fn holds(seen: Seen<'_>, condition: &Condition) -> bool {
    let other = condition.of.as_deref().map(|reference| seen.referred(reference));
    let about = match &other {
        None => Some(seen.object),
        Some(other) => other.as_deref(),
    };
    if condition.exists.is_some_and(|wanted| wanted != about.is_some()) {
        return false;
    }
    let Some(about) = about else { return condition.may_be_absent() };
    field(condition, about)
        && images(&condition.images, about)
        && condition.rolled_out.is_none_or(|wanted| wanted == is_rolled_out(about))
        && condition
            .conditions
            .iter()
            .all(|(kind, status)| view::condition(about, kind).is_some_and(|condition| view::text(condition, &["status"]) == status))
        && (condition.agent.is_empty() || has_agent(seen, &condition.agent))
}

fn field(condition: &Condition, object: &Value) -> bool {
    let Some(path) = condition.path.as_deref().and_then(Path::read) else { return true };
    let found = path.find(object);
    let found = found.first().filter(|value| !value.is_null());
    match (&condition.like, condition.absent) {
        (Some(pattern), _) => found.is_some_and(|value| value.as_str().is_some_and(|text| glob(pattern, text))),
        (None, Some(absent)) => found.is_none() == absent,
        (None, None) => found.is_some_and(|value| **value == condition.is),
    }
}

/// The containers of a pod, or of the template of a workload.
pub(super) fn containers(object: &Value) -> impl Iterator<Item = &Value> {
    let spec = view::at(object, &["spec", "template", "spec"]).or_else(|| view::at(object, &["spec"]));
    let of = |field: &'static str| spec.into_iter().flat_map(move |spec| view::list(spec, &[field]));
    of("containers").chain(of("initContainers"))
}

fn images(wanted: &BTreeMap<String, String>, object: &Value) -> bool {
    wanted.iter().all(|(name, pattern)| {
        containers(object).any(|container| view::text(container, &["name"]) == name && glob(pattern, view::text(container, &["image"])))
    })
}

/// Whether a workload runs as it is written.
fn is_rolled_out(object: &Value) -> bool {
    let status = |field: &str| view::count(object, &["status", field]);
    let observed = status("observedGeneration") >= view::generation(object);
    let wanted = match view::text(object, &["kind"]) {
        "DaemonSet" => {
            let wanted = status("desiredNumberScheduled");
            return observed && [status("updatedNumberScheduled"), status("numberAvailable")] == [wanted; 2];
        }
        _ => view::int(object, &["spec", "replicas"]).unwrap_or(1),
    };
    observed && [status("replicas"), status("updatedReplicas"), status("availableReplicas")] == [wanted; 3]
}

/// Whether a pod with these labels is ready on the node of an object.
fn has_agent(seen: Seen<'_>, labels: &BTreeMap<String, String>) -> bool {
    let is_node = view::text(seen.object, &["kind"]) == kinds::NODE.kind;
    let node = if is_node { view::name(seen.object) } else { view::text(seen.object, &["spec", "nodeName"]) };
    let pods = seen.index.map(|index| index.pods_on(node)).unwrap_or_default();
    pods.iter().filter_map(|key| seen.store.get(key)).any(|pod| has_labels(pod, labels) && view::condition_is_true(pod, "Ready"))
}
