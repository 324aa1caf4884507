//! The controllers. Each reconciles one key from what the store holds now; none keeps state of its own.

mod claim;
pub(crate) mod daemonset;
pub(crate) mod deployment;
mod deployment_scale;
mod deployment_status;
pub(crate) mod disruption;
pub(crate) mod endpoints;
mod fenceposts;
mod history;
pub(crate) mod job;
pub(crate) mod namespace;
pub(crate) mod node;
pub(crate) mod pod_gc;
pub(crate) mod pods;
pub(crate) mod replicaset;
mod revisions;
mod rollout;
pub(crate) mod statefulset;
pub(crate) mod taint_eviction;
pub(crate) mod template;

use crate::json::{Value, json};

use crate::engine::Work;
use crate::kinds;
use crate::store::Key;
use crate::view;

/// The work that stands for an object of a kind with a controller.
pub(crate) fn work_of(key: Key) -> Option<Work> {
    match key.kind.built_in() {
        "Deployment" => Some(Work::Deployment(key)),
        "ReplicaSet" => Some(Work::ReplicaSet(key)),
        "DaemonSet" => Some(Work::DaemonSet(key)),
        "StatefulSet" => Some(Work::StatefulSet(key)),
        "Job" => Some(Work::Job(key)),
        _ => None,
    }
}

/// The work that stands for the controller of an object.
pub(crate) fn owner_work(object: &Value) -> Option<Work> {
    let owner = view::controller_of(object)?;
    let kind = kinds::by_kind(view::text(owner, &["apiVersion"]), view::text(owner, &["kind"]))?;
    let key = Key::new(kind, view::namespace(object), view::text(owner, &["name"]));
    work_of(key)
}

/// The owner reference of a controller to what it makes.
fn owner_reference(owner: &Value) -> Value {
    json!({
        "apiVersion": view::text(owner, &["apiVersion"]), "kind": view::text(owner, &["kind"]),
        "name": view::shared(owner, &["metadata", "name"]), "uid": view::shared(owner, &["metadata", "uid"]), "controller": true, "blockOwnerDeletion": true,
    })
}
