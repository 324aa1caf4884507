//! What of an object its users want.

use crate::crd;
use crate::json::{Map, Value};
use crate::kinds::{self, Kind};

/// Whether what the user wants differs: everything but metadata and status.
pub(crate) fn spec_differs(kind: &Kind, before: &Value, after: &Value) -> bool {
    if kind.is(kinds::ENDPOINT_SLICE) {
        return ["endpoints", "ports", "addressType"].iter().any(|field| before.get(field) != after.get(field));
    }
    if kind.custom().is_some() {
        let stored = |object: &Value| custom_content(kind, &crd::stored(kind, object));
        return stored(before) != stored(after);
    }
    let content = if kind.group == "admissionregistration.k8s.io" { "webhooks" } else { "spec" };
    before.get(content) != after.get(content)
}

/// What counts of a custom resource: all but its metadata, and its status where that is written apart.
fn custom_content(kind: &Kind, object: &Value) -> Map {
    let apart: &[&str] =
        if kind.has_status() { &["apiVersion", "kind", "metadata", "status"] } else { &["apiVersion", "kind", "metadata"] };
    let counts = |name: &str| !apart.contains(&name);
    object.as_object().into_iter().flatten().filter(|(name, _)| counts(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}
