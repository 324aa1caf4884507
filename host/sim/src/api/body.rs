//! Bodies of requests.

use crate::json::Value;

use super::Call;
use crate::request::Request;
use crate::status::Status;
use crate::view;

/// The types of a body that is a whole object.
const ACCEPTED: [&str; 1] = ["application/json"];

/// Reads a body that is JSON. An empty one is null.
pub(super) fn json(request: &Request) -> Result<Value, Status> {
    let content_type = request.content_type.split(';').next().unwrap_or_default().trim();
    if !content_type.is_empty() && !ACCEPTED.iter().any(|accepted| content_type.eq_ignore_ascii_case(accepted)) {
        return Err(Status::unsupported_media_type(&ACCEPTED));
    }
    if request.body.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(&request.body)
        .map_err(|error| Status::bad_request(format!("the body of the request could not be read as JSON: {error}")))
}

/// Reads an object and checks that it is what the path says: kind, version, name and namespace.
pub(super) fn object(call: &Call, request: &Request) -> Result<Value, Status> {
    let unrecognized = |why: &str| {
        let kind = call.kind.kind;
        Err(Status::bad_request(format!("the object provided is unrecognized (must be of type {kind}): {why}")))
    };
    let mut object = match json(request) {
        Ok(Value::Null) if request.body.is_empty() => return unrecognized("the body is empty"),
        Ok(Value::Null) => crate::json::json!({}),
        Err(status) if status.code() == 400 => return unrecognized(status.message()),
        outcome => outcome?,
    };
    if !object.is_object() {
        return unrecognized("the body is not an object");
    }
    check_type(call, &object)?;
    if !call.name.is_empty() && object.get("metadata").is_none_or(Value::is_object) {
        check_named(call, &object)?;
    }
    place(call, &mut object)?;
    Ok(object)
}

/// Checks `apiVersion` and `kind`; both may be left out.
pub(super) fn check_type(call: &Call, object: &Value) -> Result<(), Status> {
    let (kind, version) = (view::text(object, &["kind"]), view::text(object, &["apiVersion"]));
    if !kind.is_empty() && kind != call.kind.kind {
        return Err(Status::bad_request(format!(
            "{kind} in version {version:?} cannot be handled as a {}: the path leads to {}",
            call.kind.kind,
            call.kind.group_resource()
        )));
    }
    let expected = call.kind.api_version();
    if !version.is_empty() && version != expected {
        return Err(Status::bad_request(format!(
            "the API version in the data ({version}) does not match the expected API version ({expected})"
        )));
    }
    Ok(())
}

/// Refuses the body of a PUT that does not say its name.
pub(super) fn check_named(call: &Call, object: &Value) -> Result<(), Status> {
    if !view::name(object).is_empty() {
        return Ok(());
    }
    let name = &call.name;
    Err(Status::bad_request(format!("the name of the object ({name} based on URL) was undeterminable: name must be provided")))
}

/// Fills in name and namespace from the path, and refuses others.
pub(super) fn place(call: &Call, object: &mut Value) -> Result<(), Status> {
    if view::at(object, &["metadata"]).is_some_and(|meta| !meta.is_object() && !meta.is_null()) {
        return Err(Status::bad_request("metadata is not an object"));
    }
    let given = view::namespace(object);
    let namespace = call.namespace.as_deref().unwrap_or_default();
    if !given.is_empty() && given != namespace && call.kind.namespaced {
        return Err(Status::bad_request("the namespace of the provided object does not match the namespace sent on the request"));
    }
    if call.kind.namespaced {
        view::set(object, &["metadata", "namespace"], namespace);
    }
    if call.name.is_empty() {
        return Ok(());
    }
    let given = view::name(object);
    if !given.is_empty() && given != call.name {
        return Err(Status::bad_request(format!("the name of the object ({given}) does not match the name on the URL ({})", call.name)));
    }
    view::set(object, &["metadata", "name"], call.name.as_str());
    Ok(())
}
