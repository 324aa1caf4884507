//! The `scale` subresource.

use crate::json::{Map, Value, json};

use crate::kinds::Kind;
use crate::selector::LabelSelector;
use crate::status::{Cause, Status};
use crate::view;

/// The scale of a workload or custom resource. A count of zero is left out, as the server does.
pub(super) fn of(kind: &Kind, object: &Value) -> Value {
    let (replicas, found, selector) = match kind.custom().and_then(|version| version.scale.as_ref()) {
        Some(scale) => scale.read(object),
        None => {
            let selector = view::at(object, &["spec", "selector"]).and_then(|s| LabelSelector::from_value(s).ok()).unwrap_or_default();
            let replicas = view::int(object, &["spec", "replicas"]).unwrap_or(1);
            (Some(replicas), view::count(object, &["status", "replicas"]), Some(selector.to_string()))
        }
    };
    let mut meta = Map::new();
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = view::at(object, &["metadata", field]) {
            meta.insert(field, value.clone());
        }
    }
    let mut spec = Map::new();
    if let Some(replicas) = replicas.filter(|replicas| *replicas != 0) {
        spec.insert("replicas", replicas.into());
    }
    let mut status = Map::new();
    status.insert("replicas", found.into());
    if let Some(selector) = selector {
        status.insert("selector", selector.into());
    }
    json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": meta, "spec": spec, "status": status,
    })
}

/// Checks that the replicas of a scale are a number. The error is worded like the server's decoder.
pub(super) fn check(scale: &Value) -> Result<(), String> {
    let go = "into Go struct field ScaleSpec.spec.replicas of type int32";
    match view::at(scale, &["spec", "replicas"]) {
        None | Some(Value::Null) => Ok(()),
        Some(value) if value.as_i64().is_some_and(|n| i32::try_from(n).is_ok()) => Ok(()),
        Some(Value::Number(number)) => Err(format!("json: cannot unmarshal number {number} {go}")),
        Some(Value::String(_)) => Err(format!("json: cannot unmarshal string {go}")),
        Some(Value::Bool(_)) => Err(format!("json: cannot unmarshal bool {go}")),
        Some(Value::Array(_)) => Err(format!("json: cannot unmarshal array {go}")),
        Some(Value::Object(_)) => Err(format!("json: cannot unmarshal object {go}")),
    }
}

/// The workload with the replicas of a scale. The scale's resource version, when it has one, must still be current.
pub(super) fn apply(kind: &Kind, object: &Value, scale: &Value) -> Result<Value, Status> {
    let name = view::name(object);
    let invalid = |cause: Cause| {
        let message = format!("Scale.autoscaling {name:?} is invalid: {}: {}", cause.field, cause.message);
        let details = json!({"name": name, "group": "autoscaling", "kind": "Scale",
            "causes": [{"reason": cause.reason, "message": cause.message, "field": cause.field}]});
        Err(Status::new(422, "Invalid", message, details))
    };
    check(scale).map_err(|why| Status::bad_request(format!("Scale in version \"v1\" cannot be handled as a Scale: {why}")))?;
    let replicas = view::count(scale, &["spec", "replicas"]);
    let custom = kind.custom().and_then(|version| version.scale.as_ref());
    if replicas < 0 && custom.is_none() {
        return invalid(Cause::invalid("spec.replicas", &replicas.into(), "must be greater than or equal to 0"));
    }
    let given = view::text(scale, &["metadata", "resourceVersion"]);
    if !given.is_empty() && given != view::text(object, &["metadata", "resourceVersion"]) {
        return Err(Status::modified(kind, name));
    }
    let uid = view::uid(scale);
    if !uid.is_empty() && uid != view::uid(object) {
        return Err(super::write::other_uid(kind, uid, object));
    }
    let mut object = object.clone();
    match custom {
        Some(scale) => scale.write(&mut object, replicas),
        None => view::set(&mut object, &["spec", "replicas"], replicas),
    }
    Ok(object)
}
