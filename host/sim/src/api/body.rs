//! Bodies of requests.

use crate::json::Value;

use super::options::WriteOptions;
use super::{Call, Cx, Verb, strict};
use crate::kinds::Kind;
use crate::request::Request;
use crate::status::Status;
use crate::{apply, crd, validate, view};

/// The types of a body that is a whole object. The other two are made JSON before anybody looks.
const ACCEPTED: [&str; 3] = ["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];

/// The type of a body without its parameters.
fn media_type(request: &Request) -> &str {
    request.content_type.split(';').next().unwrap_or_default().trim()
}

/// Whether the body is YAML that is no patch.
pub(super) fn is_yaml(call: &Call, request: &Request) -> bool {
    call.verb != Verb::Patch && media_type(request).eq_ignore_ascii_case(ACCEPTED[1])
}

/// The same request with a JSON body.
pub(super) fn from_yaml(request: &Request) -> Result<Request, Status> {
    let mut readable = request.clone();
    ACCEPTED[0].clone_into(&mut readable.content_type);
    if !request.body.is_empty() {
        readable.body = apply::read(&request.body)?.0.to_string().into_bytes();
    }
    Ok(readable)
}

/// Reads a body that is JSON. An empty one is null.
pub(super) fn json(request: &Request) -> Result<Value, Status> {
    let content_type = media_type(request);
    if !content_type.is_empty() && !content_type.eq_ignore_ascii_case(ACCEPTED[0]) {
        return Err(Status::unsupported_media_type(&ACCEPTED));
    }
    if request.body.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(&request.body)
        .map_err(|error| Status::bad_request(format!("the body of the request could not be read as JSON: {error}")))
}

/// Reads an object and checks that it is what the path says: kind, version, name and namespace; and that its fields have the types
/// that they should. Fields that nobody knows are dropped.
pub(super) fn object(cx: &mut Cx<'_>, call: &Call, request: &Request, options: &WriteOptions) -> Result<Value, Status> {
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
    crd::check_kind(call.kind, &object, &request.body)?;
    check_type(call, &object)?;
    validate::shape(call.kind, &object).map_err(|why| undecodable(call.kind, &why))?;
    strict::body(cx, call, options.validation, &request.body, &mut object).map_err(|why| undecodable(call.kind, &why))?;
    if !call.name.is_empty() && object.get("metadata").is_none_or(Value::is_object) {
        check_named(call, &object)?;
    }
    place(call, &mut object)?;
    Ok(object)
}

fn undecodable(kind: &Kind, why: &str) -> Status {
    Status::bad_request(format!("{} in version {:?} cannot be handled as a {}: {why}", kind.kind, kind.version, kind.kind))
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

/// Refuses a body that names another namespace than the path.
pub(super) fn check_namespace(call: &Call, object: &Value) -> Result<(), Status> {
    let given = view::namespace(object);
    let namespace = call.namespace.as_deref().unwrap_or_default();
    if !given.is_empty() && given != namespace && call.kind.namespaced {
        return Err(Status::bad_request("the namespace of the provided object does not match the namespace sent on the request"));
    }
    Ok(())
}

/// Fills in name and namespace from the path, and refuses others.
pub(super) fn place(call: &Call, object: &mut Value) -> Result<(), Status> {
    if view::at(object, &["metadata"]).is_some_and(|meta| !meta.is_object() && !meta.is_null()) {
        return Err(Status::bad_request("metadata is not an object"));
    }
    check_namespace(call, object)?;
    let namespace = call.namespace.as_deref().unwrap_or_default();
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
