//! Bodies of requests.

use crate::json::Value;

use super::options::WriteOptions;
use super::{Call, Cx, Verb, strict};
use crate::kinds::{self, Kind};
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
    let mut object = whole(call.kind, request)?;
    crd::check_kind(call.kind, &object, &request.body)?;
    if let Some(why) = unfit(call.kind, &object) {
        return Err(undecodable(call.kind, &object, &why));
    }
    if other_version(call.kind, &object) && call.kind.custom().is_some() {
        // Nothing is known of the fields of a version that is not served.
        strict::foreign(cx, call.kind, options.validation, &object).map_err(|why| undecodable(call.kind, &object, &why))?;
    }
    check_version(call.kind, &object)?;
    validate::shape(call.kind, &object).map_err(|why| undecodable(call.kind, &object, &why))?;
    let known = strict::body(cx, call, options.validation, &request.body, &mut object);
    known.map_err(|why| undecodable(call.kind, &object, &why))?;
    if !call.name.is_empty() && object.get("metadata").is_none_or(Value::is_object) {
        check_named(call, &object)?;
    }
    place(call, &mut object)?;
    Ok(object)
}

/// Reads the body as an object of which kind and version can be told.
fn whole(kind: &Kind, request: &Request) -> Result<Value, Status> {
    let unrecognized = |why: String| {
        let (body, must) = (summary(&request.body), kind.kind);
        Err(Status::bad_request(format!("the object provided is unrecognized (must be of type {must}): {why} ({body})")))
    };
    let unparsed = |why: &str| unrecognized(format!("couldn't get version/kind; json parse error: {why}"));
    let object = match json(request) {
        Ok(Value::Null) if request.body.is_empty() => return unparsed("unexpected end of JSON input"),
        Ok(Value::Null) if kind.custom().is_none() => crate::json::json!({}),
        Ok(object) => object,
        Err(status) if status.code() == 400 => {
            // What Go can read and this parser cannot (a number beyond all bounds) is told in the words of the parser.
            let fault = crate::json::syntax::fault(&request.body);
            return unparsed(fault.as_deref().unwrap_or(status.message()));
        }
        Err(status) => return Err(status),
    };
    if !object.is_object() && !object.is_null() {
        let found = validate::json_type(&object);
        return unparsed(&format!("json: cannot unmarshal {found} into Go value of type {TYPE_META}"));
    }
    for name in ["apiVersion", "kind"] {
        if let Some(wrong) = object.get(name).filter(|value| !value.is_string() && !value.is_null()) {
            let found = validate::json_type(wrong);
            return unparsed(&format!("json: cannot unmarshal {found} into Go struct field .{name} of type string"));
        }
    }
    let version = view::text(&object, &["apiVersion"]);
    if version.matches('/').count() > 1 {
        return unrecognized(format!("unexpected GroupVersion string: {version}"));
    }
    Ok(object)
}

/// What Go calls the struct into which it reads version and kind.
const TYPE_META: &str = r#"struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }"#;

/// How much of a body is shown.
const SHOWN: usize = 30;

/// The beginning of a body: as it came when it begins like an object, in hexadecimal digits otherwise.
fn summary(body: &[u8]) -> String {
    let (start, more) = body.split_at_checked(SHOWN).map_or((body, ""), |(start, rest)| (start, if rest.is_empty() { "" } else { " ..." }));
    let shown = match body.first() {
        None => "<empty>".to_owned(),
        Some(b'{') => String::from_utf8_lossy(start).into_owned(),
        Some(_) => start.iter().map(|byte| format!("{byte:02x}")).collect(),
    };
    shown + more
}

fn undecodable(kind: &Kind, object: &Value, why: &str) -> Status {
    let given = |field: &str| Some(view::text(object, &[field])).filter(|text| !text.is_empty());
    let version = given("apiVersion").map_or(kind.version, |given| given.rsplit('/').next().unwrap_or(given));
    Status::bad_request(format!(
        "{} in version {version:?} cannot be handled as a {}: {why}",
        given("kind").unwrap_or(kind.kind),
        kind.kind
    ))
}

/// Why an object that is of another kind than it should be cannot be read as one, in the words of the server.
fn unfit(kind: &Kind, object: &Value) -> Option<String> {
    if kind.custom().is_some() {
        return None;
    }
    let given = |field: &str| Some(view::text(object, &[field])).filter(|text| !text.is_empty());
    let (own, of) = (kind.api_version(), given("kind").unwrap_or(kind.kind));
    let version = given("apiVersion").unwrap_or(&own);
    if of == kind.kind && (version == own || served_once(kind, version)) {
        return None;
    }
    let scheme = if AGGREGATED.contains(&kind.group) { kind.group } else { "" };
    let known = kinds::ALL.iter().chain(kinds::REVIEWS).any(|known| {
        let here = if AGGREGATED.contains(&known.group) { known.group } else { "" };
        known.kind == of && known.api_version() == version && here == scheme
    });
    Some(if known {
        let group = if kind.group.is_empty() { "core" } else { kind.group.split('.').next().unwrap_or_default() };
        let from = version.rsplit('/').next().unwrap_or(version);
        format!("converting ({from}.{of}) to ({group}.{}): unknown conversion", kind.kind)
    } else {
        format!("no kind {of:?} is registered for version {version:?} in scheme \"pkg/runtime/scheme.go:111\"")
    })
}

/// The groups whose server is another one, which knows nothing of the other groups.
const AGGREGATED: [&str; 2] = ["apiextensions.k8s.io", "apiregistration.k8s.io"];

/// Versions that the server can still read and does not serve any more.
const ONCE_SERVED: [(&str, &[&str]); 3] = [("apps", &["v1beta1", "v1beta2"]), ("batch", &["v1beta1"]), ("policy", &["v1beta1"])];

fn served_once(kind: &Kind, version: &str) -> bool {
    let Some((group, version)) = version.split_once('/') else { return false };
    group == kind.group && ONCE_SERVED.iter().any(|(of, versions)| *of == group && versions.contains(&version))
}

fn other_version(kind: &Kind, object: &Value) -> bool {
    let given = view::text(object, &["apiVersion"]);
    given != kind.api_version() && given.split_once('/').is_some_and(|(group, _)| group == kind.group)
}

/// Refuses another version than that of the path. Only a custom resource has to say it.
fn check_version(kind: &Kind, object: &Value) -> Result<(), Status> {
    let (given, expected) = (view::text(object, &["apiVersion"]), kind.api_version());
    if given == expected || (given.is_empty() && kind.custom().is_none()) {
        return Ok(());
    }
    Err(Status::bad_request(format!("the API version in the data ({given}) does not match the expected API version ({expected})")))
}

/// Why what a patch made cannot be read as this kind any more.
pub(super) fn misfit(kind: &Kind, object: &Value) -> Option<String> {
    unfit(kind, object).or_else(|| check_version(kind, object).err().map(|status| status.message().to_owned()))
}

/// Checks `apiVersion` and `kind` of what is to be read as this kind; both may be left out.
pub(super) fn check_type(call: &Call, object: &Value) -> Result<(), Status> {
    unfit(call.kind, object).map_or(Ok(()), |why| Err(undecodable(call.kind, object, &why)))?;
    check_version(call.kind, object)
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
