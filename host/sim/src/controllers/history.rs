//! ControllerRevisions: the former templates of DaemonSets and StatefulSets.

use std::sync::Arc;

use super::{owner_reference, template};
use crate::engine::Ctx;
use crate::json::{Value, json};
use crate::kinds;
use crate::status::Status;
use crate::store::Key;
use crate::view;

/// Makes the revision of a set's template. Its name ends in the hash of what it holds, which the label `hash` says too; a name that
/// is taken counts as a collision and gives another hash.
pub(super) fn make(
    ctx: &mut Ctx<'_>,
    set: &Arc<Value>,
    number: i64,
    hash: &str,
    collisions: &mut i64,
) -> Result<(Key, Arc<Value>), Status> {
    let mut template = view::at(set, &["spec", "template"]).cloned().unwrap_or_else(|| json!({}));
    view::set(&mut template, &["$patch"], "replace");
    let data = json!({"spec": {"template": template}});
    loop {
        let sum = template::hash(&data, *collisions);
        let name = format!("{}-{sum}", view::name(set));
        let key = Key { kind: kinds::CONTROLLER_REVISION, namespace: view::namespace(set).into(), name: name.into() };
        if ctx.get(&key).is_some() {
            *collisions += 1;
            continue;
        }
        let mut labels = view::at(set, &["spec", "template", "metadata", "labels"]).cloned().unwrap_or_else(|| json!({}));
        view::set(&mut labels, &[hash], sum);
        let mut revision = json!({
            "apiVersion": "apps/v1", "kind": "ControllerRevision",
            "metadata": {
                "name": key.name, "namespace": key.namespace, "labels": labels, "ownerReferences": [owner_reference(set)],
            },
            "data": data, "revision": number,
        });
        if let Some(annotations) = view::at(set, &["metadata", "annotations"]) {
            view::set(&mut revision, &["metadata", "annotations"], annotations.clone());
        }
        return ctx.create(kinds::CONTROLLER_REVISION, revision).map(|created| (key, created));
    }
}
