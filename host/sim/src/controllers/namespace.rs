//! What a namespace that is going says of its content.
//!
//! As `pkg/controller/namespace/deletion` of v1.36. The content itself is deleted, and the namespace removed with the last of it, in
//! [`gc`](crate::gc). What is left is counted a second after the deletion has begun, and then some seconds after something changed.

use std::collections::BTreeMap;

use crate::engine::Ctx;
use crate::json::{Value, json};
use crate::status::Status;
use crate::store::Key;
use crate::view;

/// So long after the deletion has begun what is left is counted, in seconds.
pub(crate) const FIRST: i64 = 1;
/// So long after a change what is left is counted again, in seconds.
pub(crate) const PAUSE: i64 = 8;

/// What each condition says when all is well.
const WELL: [(&str, &str, &str); 5] = [
    ("NamespaceDeletionDiscoveryFailure", "ResourcesDiscovered", "All resources successfully discovered"),
    ("NamespaceDeletionGroupVersionParsingFailure", "ParsedGroupVersions", "All legacy kube types successfully parsed"),
    ("NamespaceDeletionContentFailure", "ContentDeleted", "All content successfully deleted, may be waiting on finalization"),
    ("NamespaceContentRemaining", "ContentRemoved", "All content successfully removed"),
    ("NamespaceFinalizersRemaining", "ContentHasNoFinalizers", "All content-preserving finalizers finished"),
];

/// Writes the conditions of a namespace that is going.
pub(crate) fn sync(ctx: &mut Ctx<'_>, key: &Key) -> Result<(), Status> {
    let Some(namespace) = ctx.get(key).filter(|namespace| view::is_terminating(namespace)) else {
        return Ok(());
    };
    let (mut content, mut finalizers) = (BTreeMap::new(), BTreeMap::new());
    let kinds: Vec<_> = ctx.store.kinds().filter(|kind| kind.namespaced).collect();
    for kind in kinds {
        for (_, object) in ctx.store.list(kind, Some(key.name.as_str())) {
            *content.entry(format!("{}.{}", kind.plural, kind.group)).or_insert(0_u64) += 1;
            for finalizer in view::list(object, &["metadata", "finalizers"]).iter().filter_map(Value::as_str) {
                *finalizers.entry(finalizer.to_owned()).or_insert(0_u64) += 1;
            }
        }
    }
    let list = |of: &BTreeMap<String, u64>, word: &str| -> String {
        let texts: Vec<String> = of.iter().map(|(name, count)| format!("{name} {word} {count} resource instances")).collect();
        texts.join(", ")
    };
    let mut next = (*namespace).clone();
    for (kind, reason, message) in WELL {
        let left = match kind {
            "NamespaceContentRemaining" if !content.is_empty() => {
                Some(("SomeResourcesRemain", format!("Some resources are remaining: {}", list(&content, "has"))))
            }
            "NamespaceFinalizersRemaining" if !finalizers.is_empty() => {
                let text = format!("Some content in the namespace has finalizers remaining: {}", list(&finalizers, "in"));
                Some(("SomeFinalizersRemain", text))
            }
            _ => None,
        };
        let (status, reason, message) = left.map_or(("False", reason, message.to_owned()), |(reason, message)| ("True", reason, message));
        set_condition(&mut next, kind, status, reason, &message, &view::stamp(ctx.now()));
    }
    ctx.update(key, next).map(drop)
}

fn set_condition(namespace: &mut Value, kind: &str, status: &str, reason: &str, message: &str, now: &str) {
    let old = view::condition(namespace, kind).filter(|old| view::text(old, &["status"]) == status);
    let since = old.map_or(now, |old| view::text(old, &["lastTransitionTime"]));
    let condition = json!({"type": kind, "status": status, "lastTransitionTime": since, "reason": reason, "message": message});
    if let Some(conditions) = view::list_mut(namespace, &["status", "conditions"]) {
        match conditions.iter().position(|c| view::text(c, &["type"]) == kind) {
            Some(at) => conditions[at] = condition,
            None => conditions.push(condition),
        }
    }
}
