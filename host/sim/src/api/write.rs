//! Writing: create, replace, patch; the object itself, its status, its scale.

use std::sync::Arc;

use crate::json::{Value, json};

use super::{Call, Cx, body, dry_run, scale, service};
use crate::kinds::{self, Kind};
use crate::patch::{self, PatchKind};
use crate::request::{Request, Response};
use crate::status::{Cause, Status};
use crate::store::{Key, spec_differs};
use crate::{defaults, validate, view};

/// Creates an object.
pub(super) fn create(cx: &mut Cx<'_>, call: &Call, request: &Request) -> Result<Response, Status> {
    let dry_run = dry_run(request)?;
    let object = body::object(call, request)?;
    let created = insert(cx, call, object, dry_run)?;
    Ok(Response::json(201, created))
}

fn insert(cx: &mut Cx<'_>, call: &Call, mut object: Value, dry_run: bool) -> Result<Arc<Value>, Status> {
    validate::shape(call.kind, &object).map_err(|why| undecodable(call.kind, &why))?;
    namespace_takes(cx, call, &object)?;
    defaults::apply(call.kind, &mut object);
    validate::create(call.kind, &object)?;
    if call.kind.is(kinds::SERVICE) {
        service::allocate(cx.store, &mut object, dry_run)?;
    }
    if dry_run {
        return cx.store.preview(call.kind, object, cx.now).map(Arc::new);
    }
    cx.store.create(call.kind, object, cx.now)
}

fn undecodable(kind: &Kind, why: &str) -> Status {
    Status::bad_request(format!("{} in version {:?} cannot be handled as a {}: {why}", kind.kind, kind.version, kind.kind))
}

/// The namespace must exist and not be going away.
fn namespace_takes(cx: &Cx<'_>, call: &Call, object: &Value) -> Result<(), Status> {
    let Some(name) = call.namespace.as_deref().filter(|_| call.kind.namespaced) else { return Ok(()) };
    match cx.store.get(&Key::new(kinds::NAMESPACE, "", name)) {
        None if cx.any_namespace => Ok(()),
        None => Err(Status::not_found(kinds::NAMESPACE, name)),
        Some(namespace) if view::is_terminating(namespace) => {
            let why = format!("unable to create new content in namespace {name} because it is being terminated");
            let mut status = Status::forbidden(call.kind, view::name(object), &why).into_value();
            let cause = json!([{"reason": "NamespaceTerminating", "message": format!("namespace {name} is being terminated"),
                "field": "metadata.namespace"}]);
            view::set(&mut status, &["details", "causes"], cause);
            Err(Status::from_value(status))
        }
        Some(_) => Ok(()),
    }
}

/// Replaces an object, its status or its scale.
pub(super) fn update(cx: &mut Cx<'_>, call: &Call, request: &Request) -> Result<Response, Status> {
    let dry_run = dry_run(request)?;
    if call.subresource == "scale" {
        let scale = body::json(request)?;
        body::check_named(call, &scale)?;
        let before = current(cx, call)?;
        let after = scale::apply(call.kind, &before, &scale)?;
        return Ok(Response::json(200, Arc::new(scale::of(&*store(cx, call, &before, after, dry_run)?))));
    }
    let object = body::object(call, request)?;
    validate::shape(call.kind, &object).map_err(|why| undecodable(call.kind, &why))?;
    let Some(before) = cx.store.get(&call.key()).cloned() else {
        // These few kinds can be created by a PUT.
        if matches!(call.kind.kind, "Endpoints" | "Event" | "Lease" | "Service") && call.subresource.is_empty() {
            return Ok(Response::json(201, insert(cx, call, object, dry_run)?));
        }
        return Err(Status::not_found(call.kind, &call.name));
    };
    if matches!(call.kind.kind, "Lease" | "PodDisruptionBudget") && view::text(&object, &["metadata", "resourceVersion"]).is_empty() {
        let cause = Cause::invalid("metadata.resourceVersion", &json!(0), "must be specified for an update");
        // The server names the resource here, not the kind.
        let resource = Kind { kind: call.kind.plural, ..*call.kind };
        return Err(Status::invalid(&resource, &call.name, &[cause]));
    }
    Ok(Response::json(200, store(cx, call, &before, object, dry_run)?))
}

/// Changes an object, its status or its scale in part.
pub(super) fn patch(cx: &mut Cx<'_>, call: &Call, request: &Request) -> Result<Response, Status> {
    let dry_run = dry_run(request)?;
    let kind = PatchKind::of(&request.content_type)?;
    let before = current(cx, call)?;
    if call.subresource == "scale" {
        let patched = patch::apply(kind, call.kind, &scale::of(&before), &request.body)?;
        scale::check(&patched).map_err(|why| Status::invalid_patch(&patched, &why))?;
        let after = scale::apply(call.kind, &before, &patched)?;
        return Ok(Response::json(200, Arc::new(scale::of(&*store(cx, call, &before, after, dry_run)?))));
    }
    let mut after = patch::apply(kind, call.kind, &before, &request.body)?;
    if !after.is_object() {
        return Err(Status::unprocessable());
    }
    body::check_type(call, &after).map_err(|status| Status::invalid_patch(&after, status.message()))?;
    body::place(call, &mut after)?;
    validate::shape(call.kind, &after).map_err(|why| Status::invalid_patch(&after, &why))?;
    let uid = view::uid(&after);
    if !uid.is_empty() && uid != view::uid(&before) {
        let cause = Cause::invalid("metadata.uid", &uid.into(), "field is immutable");
        return Err(Status::invalid(call.kind, &call.name, &[cause]));
    }
    Ok(Response::json(200, store(cx, call, &before, after, dry_run)?))
}

fn current(cx: &Cx<'_>, call: &Call) -> Result<Arc<Value>, Status> {
    cx.store.get(&call.key()).cloned().ok_or_else(|| Status::not_found(call.kind, &call.name))
}

/// 409 for a write that names another uid than the object has.
pub(super) fn other_uid(kind: &Kind, given: &str, object: &Value) -> Status {
    let why = format!(
        "StorageError: invalid object, Code: 4, Key: /registry/{}/{}/{}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: \
         UID in precondition: {given}, UID in object meta: {}",
        kind.plural,
        view::namespace(object),
        view::name(object),
        view::uid(object)
    );
    Status::conflict(kind, view::name(object), &why)
}

/// Stores the wanted state over the current one, as far as the path may change it.
fn store(cx: &mut Cx<'_>, call: &Call, before: &Arc<Value>, wanted: Value, dry_run: bool) -> Result<Arc<Value>, Status> {
    let uid = view::uid(&wanted);
    if !uid.is_empty() && uid != view::uid(before) {
        return Err(other_uid(call.kind, uid, before));
    }
    let status_only = call.subresource == "status";
    let mut after = if status_only { with_status(call.kind, before, &wanted) } else { wanted };
    defaults::apply(call.kind, &mut after);
    if !status_only {
        if !view::is_terminating(before) && view::is_terminating(&after) {
            let given = view::at(&after, &["metadata", "deletionTimestamp"]).cloned().unwrap_or_default();
            let cause = Cause::invalid("metadata.deletionTimestamp", &given, "field is immutable");
            return Err(Status::invalid(call.kind, &call.name, &[cause]));
        }
        keep_system_fields(call.kind, before, &mut after);
        validate::update(call.kind, before, &after)?;
    }
    let bumps = |kind: &Kind, before: &Value, after: &Value| !status_only && bumps(kind, before, after);
    cx.store.update_with(&call.key(), after, bumps, dry_run)
}

/// The object with another status. Annotations come along, and labels too except for a Deployment; the resource version is kept
/// for the check.
fn with_status(kind: &Kind, before: &Value, wanted: &Value) -> Value {
    let mut after = before.clone();
    match wanted.get("status") {
        Some(status) => view::set(&mut after, &["status"], status.clone()),
        None => {
            view::remove(&mut after, &["status"]);
        }
    }
    for field in ["annotations", "labels", "resourceVersion"] {
        let value = view::at(wanted, &["metadata", field]).filter(|_| field != "labels" || kind.kind != "Deployment");
        if let Some(value) = value {
            view::set(&mut after, &["metadata", field], value.clone());
        }
    }
    after
}

/// What a write to the object itself leaves as it is: a deletion under way, the status, and the address of a service.
fn keep_system_fields(kind: &'static Kind, before: &Value, after: &mut Value) {
    let mut paths: Vec<&[&str]> = vec![&["metadata", "deletionTimestamp"], &["metadata", "deletionGracePeriodSeconds"]];
    if kind.has_status() {
        paths.push(&["status"]);
    }
    for path in paths {
        match view::at(before, path) {
            Some(value) => view::set(after, path, value.clone()),
            None => {
                view::remove(after, path);
            }
        }
    }
    if kind.is(kinds::SERVICE) {
        for path in [["spec", "clusterIP"], ["spec", "clusterIPs"]] {
            let missing = view::at(after, &path).is_none_or(Value::is_null);
            if let Some(value) = view::at(before, &path).filter(|_| missing) {
                view::set(after, &path, value.clone());
            }
        }
    }
}

/// Whether a write to the object itself raises its generation: the spec, and for a Deployment also the annotations, which go
/// on to its ReplicaSets.
fn bumps(kind: &Kind, before: &Value, after: &Value) -> bool {
    let annotations = |object| view::at(object, &["metadata", "annotations"]).cloned();
    spec_differs(kind, before, after) || (kind.kind == "Deployment" && annotations(before) != annotations(after))
}
