//! Writing: create, replace, patch; the object itself, its status, its scale.

use std::sync::Arc;

use crate::json::{Value, json};

use super::options::{self, WriteOptions};
use super::{Call, Cx, Verb, accounts, body, plugins, scale, service, strict};
use crate::kinds::{self, Kind};
use crate::patch::{self, PatchKind};
use crate::request::{Request, Response};
use crate::rules::Rule;
use crate::status::{Cause, Status};
use crate::store::{Key, spec_differs};
use crate::{access, apply, crd, defaults, unmodelled, validate, view};

/// Creates an object.
pub(super) fn create(cx: &mut Cx<'_>, call: &Call, request: &Request) -> Result<Response, Status> {
    let options = options::of(request, false)?;
    let object = body::object(cx, call, request, &options)?;
    let created = insert(cx, call, object, &options, Owners::ToBeSet)?;
    Ok(Response::json(201, created))
}

/// Whether an object says already who owns its fields after the write.
#[derive(Clone, Copy, PartialEq)]
enum Owners {
    /// It was applied, or scaled.
    Set,
    ToBeSet,
}

/// Writes who owns what after a write that is no apply.
fn set_owners(cx: &Cx<'_>, call: &Call, options: &WriteOptions, before: Option<&Value>, after: &mut Value) {
    let time = view::stamp(cx.now);
    let writer = writer(call, options, &time);
    let owners = apply::updated(&writer, before, after);
    view::set(after, &["metadata", "managedFields"], owners);
}

fn writer<'a>(call: &'a Call, options: &'a WriteOptions, time: &'a str) -> apply::Writer<'a> {
    apply::Writer { kind: call.kind, manager: &options.manager, subresource: &call.subresource, time }
}

fn insert(cx: &mut Cx<'_>, call: &Call, mut object: Value, options: &WriteOptions, owners: Owners) -> Result<Arc<Value>, Status> {
    let dry_run = options.dry_run;
    if call.verb != Verb::Create {
        access::may_create(cx.store, cx.user, call)?;
    }
    namespace_takes(cx, call, &object)?;
    crd::lifecycle::refuse_new(cx.store, call.kind, view::name(&object))?;
    crd::prepare(call.kind, &mut object);
    defaults::workload::count_template(call.kind, None, &mut object);
    if owners == Owners::ToBeSet {
        // The server notes who owns the fields after the defaults and before admission.
        let mut wanted = object.clone();
        defaults::apply(call.kind, &mut wanted);
        for path in given_later(call.kind).iter().filter(|path| view::at(&object, path).is_none()) {
            view::remove(&mut wanted, path);
        }
        set_owners(cx, call, options, None, &mut wanted);
        let noted = view::at(&wanted, &["metadata", "managedFields"]).cloned().unwrap_or_default();
        view::set(&mut object, &["metadata", "managedFields"], noted);
    }
    cx.admit(&mut object);
    if call.kind.is(kinds::POD) {
        accounts::admit(cx.store, &mut object)?;
    }
    plugins::create(cx.store, call, &mut object)?;
    access::escalation::check(cx.store, cx.user, call, None, &object)?;
    defaults::apply(call.kind, &mut object);
    let before = cx.store.rng().clone();
    let is_job = call.kind.is(kinds::JOB);
    if is_job {
        view::remove(&mut object, &["metadata", "uid"]);
        defaults::workload::identify(cx.store, &mut object);
    }
    let outcome = insert_checked(cx, call, object, dry_run);
    if is_job && (dry_run || outcome.is_err()) {
        // What was not done draws no numbers.
        *cx.store.rng() = before;
    }
    outcome
}

/// What a real server fills in only after it has noted who owns the fields.
fn given_later(kind: &Kind) -> &'static [&'static [&'static str]] {
    match kind.kind {
        "Pod" => &[&["spec", "priority"], &["spec", "preemptionPolicy"], &["spec", "tolerations"]],
        "Service" => &[&["spec", "ipFamilies"], &["spec", "ipFamilyPolicy"]],
        _ => &[],
    }
}

fn insert_checked(cx: &mut Cx<'_>, call: &Call, mut object: Value, dry_run: bool) -> Result<Arc<Value>, Status> {
    if cx.store.follows(Rule::Validation) {
        validate::create(call.kind, &object)?;
    }
    crd::validate(call.kind, &object, None, false)?;
    crd::refuse(call.kind, &object)?;
    crd::into_storage(call.kind, &mut object);
    cx.warnings.extend(crd::warning(call.kind, &object));
    cx.warnings.extend(unmodelled::warning(cx.models, call.kind));
    if call.kind.is(kinds::SERVICE) {
        service::allocate(cx.store, &mut object, service::Given::New, dry_run)?;
    }
    if dry_run {
        return cx.store.preview(call.kind, object, cx.now).map(Arc::new);
    }
    cx.store.create(call.kind, object, cx.now)
}

/// The namespace must exist and not be going away.
pub(super) fn namespace_takes(cx: &Cx<'_>, call: &Call, object: &Value) -> Result<(), Status> {
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
    let options = options::of(request, false)?;
    if call.subresource == "scale" {
        let mut scale = body::json(request)?;
        let undecodable = |why: String| Status::bad_request(format!("Scale in version \"v1\" cannot be handled as a Scale: {why}"));
        scale::check(&scale).map_err(undecodable)?;
        strict::body(cx, call, options.validation, &request.body, &mut scale).map_err(undecodable)?;
        body::check_named(call, &scale)?;
        return rescale(cx, call, &scale, &options);
    }
    let object = body::object(cx, call, request, &options)?;
    let Some(before) = cx.store.get(&call.key()).cloned() else {
        // These few kinds can be created by a PUT.
        if matches!(call.kind.built_in(), "Endpoints" | "Event" | "Lease" | "Service") && call.subresource.is_empty() {
            // Who names the uid means that one object, which is gone.
            let uid = view::uid(&object).to_owned();
            if !uid.is_empty() {
                let mut gone = object;
                view::set(&mut gone, &["metadata", "uid"], Value::Null);
                return Err(other_uid(call.kind, &uid, &gone));
            }
            return Ok(Response::json(201, insert(cx, call, object, &options, Owners::ToBeSet)?));
        }
        return Err(Status::not_found(call.kind, &call.name));
    };
    let named =
        matches!(call.kind.built_in(), "CustomResourceDefinition" | "Lease" | "PodDisruptionBudget") || call.kind.custom().is_some();
    if named && view::text(&object, &["metadata", "resourceVersion"]).is_empty() {
        let cause = Cause::invalid("metadata.resourceVersion", &json!(0), "must be specified for an update");
        // The server names the resource here, not the kind.
        let resource = Kind { kind: call.kind.plural, ..*call.kind };
        return Err(Status::invalid(&resource, &call.name, &[cause]));
    }
    Ok(Response::json(200, store(cx, call, &before, object, &options, Owners::ToBeSet)?))
}

/// Stores a workload with the replicas of a scale.
fn rescale(cx: &mut Cx<'_>, call: &Call, scale: &Value, options: &WriteOptions) -> Result<Response, Status> {
    let before = current(cx, call)?;
    let mut after = scale::apply(call.kind, &before, scale)?;
    let time = view::stamp(cx.now);
    let owners = apply::scaled(&writer(call, options, &time), &before, &after);
    view::set(&mut after, &["metadata", "managedFields"], owners);
    Ok(Response::json(200, Arc::new(scale::of(call.kind, &*store(cx, call, &before, after, options, Owners::Set)?))))
}

/// Changes an object, its status or its scale in part.
pub(super) fn patch(cx: &mut Cx<'_>, call: &Call, request: &Request) -> Result<Response, Status> {
    let kind = PatchKind::of(&request.content_type)?;
    if kind == PatchKind::Strategic && call.kind.custom().is_some() && call.subresource != "scale" {
        let forms = ["application/json-patch+json", "application/merge-patch+json", "application/apply-patch+yaml"];
        return Err(Status::unsupported_media_type(&forms));
    }
    let options = options::of(request, kind == PatchKind::Apply)?;
    if kind == PatchKind::Apply {
        return apply(cx, call, request, &options);
    }
    let before = current(cx, call)?;
    if call.subresource == "scale" {
        let scale = scale::of(call.kind, &before);
        let mut patched = patch::apply(kind, call.kind, &scale, &request.body)?;
        scale::check(&patched).map_err(|why| Status::invalid_patch(&patched, &why))?;
        strict::patched(cx, call, (options.validation, kind), &request.body, &scale, &mut patched)?;
        return rescale(cx, call, &patched, &options);
    }
    let mut after = patch::apply(kind, call.kind, &before, &request.body)?;
    if !after.is_object() {
        return Err(Status::unprocessable());
    }
    if kind == PatchKind::Strategic {
        let shown = || apply::plain_in_go(&serde_json::from_slice(&request.body).unwrap_or_default());
        let shape = validate::converted_shape(call.kind, &before, &after);
        shape.map_err(|why| Status::invalid_patch_text(&shown(), &why))?;
        // Such a patch is merged into an object of the type of the path, whatever it says.
        for field in ["apiVersion", "kind"] {
            view::set(&mut after, &[field], view::text(&before, &[field]));
        }
    } else {
        body::misfit(call.kind, &after).map_or(Ok(()), |why| Err(Status::invalid_patch(&after, &why)))?;
        validate::changed_shape(call.kind, &before, &after).map_err(|why| Status::invalid_patch(&after, &why))?;
    }
    strict::patched(cx, call, (options.validation, kind), &request.body, &before, &mut after)?;
    body::place(call, &mut after)?;
    same_uid(call, &after, &before, 1)?;
    Ok(Response::json(200, store(cx, call, &before, after, &options, Owners::ToBeSet)?))
}

/// Server-side apply: creates the object when it is not there.
fn apply(cx: &mut Cx<'_>, call: &Call, request: &Request, options: &WriteOptions) -> Result<Response, Status> {
    if call.subresource == "scale" {
        return Err(Status::not_modelled("server-side apply to a scale"));
    }
    let before = cx.store.get(&call.key()).cloned();
    if before.is_none() && !call.subresource.is_empty() {
        return Err(Status::not_found(call.kind, &call.name));
    }
    let (config, twice) = apply::read(&request.body)?;
    let time = view::stamp(cx.now);
    let mut object = apply::applied(&writer(call, options, &time), before.as_deref(), &config, options.force)?;
    validate::converted_shape(call.kind, before.as_deref().unwrap_or(&Value::Null), &object).map_err(|why| {
        let kind = format!("{}, Kind={}", call.kind.api_version(), call.kind.kind);
        let about = apply::about(&config);
        let why =
            format!("failed to convert new object ({about}) to proper version: unable to convert unstructured object to {kind}: {why}");
        Status::new(500, "", why, Value::Null)
    })?;
    strict::applied(cx, call, (options.validation, twice), before.as_deref(), &mut object)?;
    let Some(before) = before else {
        body::check_named(call, &object)?;
        body::place(call, &mut object)?;
        let uid = view::uid(&object);
        if !uid.is_empty() {
            let why = format!("uid mismatch: the provided object specified uid {uid}, and no existing object was found");
            return Err(Status::conflict(call.kind, &call.name, &why));
        }
        return Ok(Response::json(201, insert(cx, call, object, options, Owners::Set)?));
    };
    body::place(call, &mut object)?;
    same_uid(call, &object, &before, 2)?;
    Ok(Response::json(200, store(cx, call, &before, object, options, Owners::Set)?))
}

/// Refuses a patch that changes the uid; the server says so once or, of an apply, twice.
fn same_uid(call: &Call, object: &Value, before: &Value, times: usize) -> Result<(), Status> {
    let uid = view::uid(object);
    if uid.is_empty() || view::uid(before) == uid {
        return Ok(());
    }
    let cause = Cause::invalid("metadata.uid", &uid.into(), "field is immutable");
    Err(Status::invalid(call.kind, &call.name, &vec![cause; times]))
}

fn current(cx: &Cx<'_>, call: &Call) -> Result<Arc<Value>, Status> {
    let stored = cx.store.get(&call.key()).cloned().ok_or_else(|| Status::not_found(call.kind, &call.name))?;
    Ok(crd::presented(call.kind, &stored).map_or(stored, Arc::new))
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
fn store(
    cx: &mut Cx<'_>,
    call: &Call,
    before: &Arc<Value>,
    wanted: Value,
    options: &WriteOptions,
    owners: Owners,
) -> Result<Arc<Value>, Status> {
    let uid = view::uid(&wanted);
    if !uid.is_empty() && uid != view::uid(before) {
        return Err(other_uid(call.kind, uid, before));
    }
    let status_only = call.subresource == "status";
    let mut after = if status_only { with_status(call.kind, before, &wanted) } else { wanted };
    crd::prepare(call.kind, &mut after);
    if !status_only {
        cx.admit(&mut after);
    }
    defaults::apply(call.kind, &mut after);
    if !status_only {
        defaults::workload::count_template(call.kind, Some(before), &mut after);
    }
    match owners {
        Owners::ToBeSet => set_owners(cx, call, options, Some(before), &mut after),
        Owners::Set => keep_times(before, &mut after),
    }
    if !status_only {
        if !view::is_terminating(before) && view::is_terminating(&after) {
            let given = view::at(&after, &["metadata", "deletionTimestamp"]).cloned().unwrap_or_default();
            let cause = Cause::invalid("metadata.deletionTimestamp", &given, "field is immutable");
            return Err(Status::invalid(call.kind, &call.name, &[cause]));
        }
        keep_system_fields(call.kind, before, &mut after);
        crd::keep_stored(call.kind, &mut after);
        plugins::update(cx.store, call.kind, &after)?;
        access::escalation::check(cx.store, cx.user, call, Some(before), &after)?;
        if cx.store.follows(Rule::Validation) {
            validate::update(call.kind, before, &after)?;
        }
        if call.kind.is(kinds::SERVICE) {
            service::allocate(cx.store, &mut after, service::Given::Changed(before), options.dry_run)?;
        }
    } else {
        validate::status(call.kind, &after)?;
    }
    crd::validate(call.kind, &after, Some(before), status_only)?;
    crd::refuse(call.kind, &after)?;
    crd::into_storage(call.kind, &mut after);
    let counts = !status_only && cx.store.follows(Rule::Generation);
    let bumps = |kind: &Kind, before: &Value, after: &Value| counts && bumps(kind, before, after);
    cx.store.update_with(&call.key(), after, bumps, options.dry_run)
}

/// A write that changes nothing but the times of the owners is none.
fn keep_times(before: &Value, after: &mut Value) {
    let path = ["metadata", "managedFields"];
    let old = view::at(before, &path);
    if !apply::same_owners(old, view::at(after, &path)) {
        return;
    }
    let mut timeless = after.clone();
    view::set(&mut timeless, &path, old.cloned().unwrap_or_default());
    view::set(&mut timeless, &["metadata", "resourceVersion"], view::text(before, &["metadata", "resourceVersion"]));
    if timeless == *before {
        view::set(after, &path, old.cloned().unwrap_or_default());
    }
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
    for field in ["annotations", "labels", "managedFields", "resourceVersion"] {
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
        service::carry_over(before, after);
    }
}

/// Whether a write to the object itself raises its generation: the spec, and for a Deployment also the annotations, which go
/// on to its ReplicaSets.
fn bumps(kind: &Kind, before: &Value, after: &Value) -> bool {
    let annotations = |object| view::at(object, &["metadata", "annotations"]).cloned();
    spec_differs(kind, before, after) || (kind.kind == "Deployment" && annotations(before) != annotations(after))
}
