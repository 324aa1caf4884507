//! Errors as the API server writes them: `kind: Status` with reason, code, message and details.

use std::fmt;

use crate::json::{Value, json};

use crate::kinds::Kind;
use crate::view;

/// A failure of the API server.
#[derive(Debug, Clone, PartialEq)]
pub struct Status(Box<Value>);

/// One cause of an invalid object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// Machine-readable reason, for example `FieldValueRequired`.
    pub reason: &'static str,
    /// The field, for example `spec.selector`.
    pub field: String,
    /// What is wrong, without the field.
    pub message: String,
}

impl Cause {
    /// A required field is missing. The detail may be empty.
    #[must_use]
    pub fn required(field: impl Into<String>, detail: &str) -> Self {
        let message = if detail.is_empty() { "Required value".to_owned() } else { format!("Required value: {detail}") };
        Self { reason: "FieldValueRequired", field: field.into(), message }
    }

    /// A value is malformed.
    #[must_use]
    pub fn invalid(field: impl Into<String>, value: &Value, detail: &str) -> Self {
        Self::invalid_text(field, &value.to_string(), detail)
    }

    /// The same with the value as the server writes it, where that is not our JSON: a struct in the order of its type.
    pub(crate) fn invalid_text(field: impl Into<String>, value: &str, detail: &str) -> Self {
        Self { reason: "FieldValueInvalid", field: field.into(), message: format!("Invalid value: {value}: {detail}") }
    }

    /// A value is not one of the supported ones.
    #[must_use]
    pub fn not_supported(field: impl Into<String>, value: &Value, supported: &[&str]) -> Self {
        let list: Vec<String> = supported.iter().map(|s| format!("{s:?}")).collect();
        let message = format!("Unsupported value: {value}: supported values: {}", list.join(", "));
        Self { reason: "FieldValueNotSupported", field: field.into(), message }
    }

    /// A list has two entries with the same key.
    #[must_use]
    pub fn duplicate(field: impl Into<String>, value: &Value) -> Self {
        Self { reason: "FieldValueDuplicate", field: field.into(), message: format!("Duplicate value: {value}") }
    }

    /// A value names something that is not there.
    #[must_use]
    pub fn not_found(field: impl Into<String>, value: &Value) -> Self {
        Self { reason: "FieldValueNotFound", field: field.into(), message: format!("Not found: {value}") }
    }

    /// A field may not be set.
    #[must_use]
    pub fn forbidden(field: impl Into<String>, detail: &str) -> Self {
        Self { reason: "FieldValueForbidden", field: field.into(), message: format!("Forbidden: {detail}") }
    }
}

impl Status {
    /// A failure with these parts; `details` may be null.
    #[must_use]
    pub fn new(code: u16, reason: &str, message: impl Into<String>, details: Value) -> Self {
        let mut value = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": message.into(), "code": code,
        });
        if !reason.is_empty() {
            view::set(&mut value, &["reason"], reason);
        }
        if !details.is_null() {
            view::set(&mut value, &["details"], details);
        }
        Self(Box::new(value))
    }

    /// A failure read from a document, as a live server sent it. What is no `Status` becomes a 500 that says so.
    #[must_use]
    pub fn from_value(value: Value) -> Self {
        let is_status = value.get("kind").and_then(Value::as_str) == Some("Status");
        let code = value.get("code").and_then(Value::as_u64).filter(|code| (400..600).contains(code));
        if is_status && code.is_some() { Self(Box::new(value)) } else { Self::internal(format!("not a Status: {value}")) }
    }

    /// 404: the object does not exist.
    #[must_use]
    pub fn not_found(kind: &Kind, name: &str) -> Self {
        let message = format!("{} {name:?} not found", kind.group_resource());
        Self::new(404, "NotFound", message, details(kind, name))
    }

    /// 404: the path does not exist.
    #[must_use]
    pub fn unknown_path() -> Self {
        Self::new(404, "NotFound", "the server could not find the requested resource", json!({}))
    }

    /// 409: an object of this name exists, or goes just now.
    #[must_use]
    pub fn already_exists(kind: &Kind, name: &str, is_terminating: bool) -> Self {
        let going = if is_terminating { "object is being deleted: " } else { "" };
        let message = format!("{going}{} {name:?} already exists", kind.group_resource());
        Self::new(409, "AlreadyExists", message, details(kind, name))
    }

    /// 409: the object changed since it was read, or a precondition does not hold.
    #[must_use]
    pub fn conflict(kind: &Kind, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} {name:?}: {why}", kind.group_resource());
        Self::new(409, "Conflict", message, details(kind, name))
    }

    /// 409 with the server's text for a stale `resourceVersion`.
    #[must_use]
    pub fn modified(kind: &Kind, name: &str) -> Self {
        Self::conflict(kind, name, "the object has been modified; please apply your changes to the latest version and try again")
    }

    /// 422: the object is invalid for these causes.
    #[must_use]
    pub fn invalid(kind: &Kind, name: &str, causes: &[Cause]) -> Self {
        let mut texts: Vec<String> = Vec::new();
        for text in causes.iter().map(|c| format!("{}: {}", c.field, c.message)) {
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
        let text = match texts.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let list: Vec<Value> = causes.iter().map(|c| json!({"reason": c.reason, "message": c.message, "field": c.field})).collect();
        let details = json!({"name": name, "group": kind.group, "kind": kind.kind, "causes": list});
        Self::new(422, "Invalid", format!("{} {name:?} is invalid: {text}", kind.group_kind()), without_empty(details))
    }

    /// 422: the request as a whole cannot be processed, for example a JSON patch whose `test` fails. The server does not say why.
    #[must_use]
    pub fn unprocessable() -> Self {
        Self::new(422, "Invalid", "the server rejected our request due to an error in our request", json!({}))
    }

    /// 422: the options of a request are invalid. The kind is one of `metav1`, for example `ListOptions`.
    #[must_use]
    pub fn invalid_options(kind: &str, cause: &Cause) -> Self {
        Self::invalid_options_all(kind, std::slice::from_ref(cause))
    }

    /// As [`Self::invalid_options`], for several causes.
    #[must_use]
    pub fn invalid_options_all(kind: &str, causes: &[Cause]) -> Self {
        let texts: Vec<String> = causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect();
        let text = match texts.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let message = format!("{kind}.meta.k8s.io \"\" is invalid: {text}");
        let causes: Vec<Value> = causes.iter().map(|c| json!({"reason": c.reason, "message": c.message, "field": c.field})).collect();
        Self::new(422, "Invalid", message, json!({"group": "meta.k8s.io", "kind": kind, "causes": causes}))
    }

    /// 422: what a patch makes of an object cannot be decoded.
    #[must_use]
    pub fn invalid_patch(patched: &Value, why: &str) -> Self {
        Self::invalid_patch_text(&patched.to_string(), why)
    }

    /// As [`Self::invalid_patch`], where the server shows something else than the patched object.
    #[must_use]
    pub(crate) fn invalid_patch_text(shown: &str, why: &str) -> Self {
        let cause = Cause::invalid("patch", &shown.into(), why);
        let message = format!(" \"\" is invalid: patch: {}", cause.message);
        let causes = json!([{"reason": cause.reason, "message": cause.message, "field": cause.field}]);
        Self::new(422, "Invalid", message, json!({"causes": causes}))
    }

    /// 403: not allowed.
    #[must_use]
    pub fn forbidden(kind: &Kind, name: &str, why: &str) -> Self {
        let resource = kind.group_resource();
        let message =
            if name.is_empty() { format!("{resource} is forbidden: {why}") } else { format!("{resource} {name:?} is forbidden: {why}") };
        Self::new(403, "Forbidden", message, details(kind, name))
    }

    /// 429: come back after some seconds.
    #[must_use]
    pub fn too_many_requests(message: &str, retry_after_seconds: u32) -> Self {
        Self::new(429, "TooManyRequests", message, json!({"retryAfterSeconds": retry_after_seconds}))
    }

    /// 409: a precondition of a deletion does not hold. The server names the kind here, not the resource.
    #[must_use]
    pub fn precondition(kind: &Kind, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} {name:?}: {why}", kind.group_kind());
        let details = json!({"name": name, "group": kind.group, "kind": kind.kind});
        Self::new(409, "Conflict", message, without_empty(details))
    }

    /// 400: the request makes no sense.
    #[must_use]
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message, Value::Null)
    }

    /// 415: a body of a type that is not accepted.
    #[must_use]
    pub fn unsupported_media_type(accepted: &[&str]) -> Self {
        let message = format!("the body of the request was in an unknown format - accepted media types include: {}", accepted.join(", "));
        Self::new(415, "UnsupportedMediaType", message, Value::Null)
    }

    /// 405: the resource has no such verb.
    #[must_use]
    pub fn method_not_allowed() -> Self {
        Self::new(405, "MethodNotAllowed", "the server does not allow this method on the requested resource", json!({}))
    }

    /// 410: the resource version is too old.
    #[must_use]
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message, Value::Null)
    }

    /// 500: something that must not happen.
    #[must_use]
    pub fn internal(why: impl fmt::Display) -> Self {
        let details = json!({"causes": [{"message": why.to_string()}]});
        Self::new(500, "InternalError", format!("Internal error occurred: {why}"), details)
    }

    /// 501: a real server would do it, this simulator does not.
    #[must_use]
    pub fn not_modelled(what: &str) -> Self {
        Self::new(501, "NotImplemented", format!("simulator: not modelled: {what}"), Value::Null)
    }

    /// The HTTP status code.
    #[must_use]
    pub fn code(&self) -> u16 {
        self.0.get("code").and_then(Value::as_u64).and_then(|code| u16::try_from(code).ok()).unwrap_or(500)
    }

    /// The reason, for example `NotFound`; empty when the server gave none.
    #[must_use]
    pub fn reason(&self) -> &str {
        self.0.get("reason").and_then(Value::as_str).unwrap_or_default()
    }

    /// The message.
    #[must_use]
    pub fn message(&self) -> &str {
        self.0.get("message").and_then(Value::as_str).unwrap_or_default()
    }

    /// Seconds after which to try again.
    #[must_use]
    pub fn retry_after_seconds(&self) -> Option<u64> {
        self.0.get("details")?.get("retryAfterSeconds")?.as_u64()
    }

    /// The document.
    #[must_use]
    pub fn as_value(&self) -> &Value {
        &self.0
    }

    /// The document.
    #[must_use]
    pub fn into_value(self) -> Value {
        *self.0
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl std::error::Error for Status {}

/// `details` of an error about one object. The server puts the plural resource name into `kind` here.
fn details(kind: &Kind, name: &str) -> Value {
    without_empty(json!({"name": name, "group": kind.group, "kind": kind.plural}))
}

fn without_empty(mut details: Value) -> Value {
    if let Some(map) = details.as_object_mut() {
        map.retain(|_, value| value.as_str() != Some(""));
    }
    details
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds;

    #[test]
    fn messages_are_the_servers() {
        let s = Status::not_found(kinds::DEPLOYMENT, "web");
        assert_eq!((s.code(), s.reason()), (404, "NotFound"));
        assert_eq!(s.message(), r#"deployments.apps "web" not found"#);
        assert_eq!(s.as_value()["details"], json!({"name": "web", "group": "apps", "kind": "deployments"}));
        assert_eq!(
            Status::modified(kinds::DEPLOYMENT, "x").message(),
            "Operation cannot be fulfilled on deployments.apps \"x\": the object has been modified; please apply your changes \
             to the latest version and try again"
        );
        assert_eq!(Status::already_exists(kinds::POD, "p", true).message(), r#"object is being deleted: pods "p" already exists"#);
    }

    #[test]
    fn invalid_lists_its_causes() {
        let one = Status::invalid(kinds::DEPLOYMENT, "x", &[Cause::required("spec.selector", "")]);
        assert_eq!(one.message(), r#"Deployment.apps "x" is invalid: spec.selector: Required value"#);
        let two = [Cause::required("a", ""), Cause::invalid("b", &json!(-1), "must be greater than or equal to 0")];
        let two = Status::invalid(kinds::POD, "x", &two);
        assert_eq!(two.message(), r#"Pod "x" is invalid: [a: Required value, b: Invalid value: -1: must be greater than or equal to 0]"#);
        assert_eq!(two.as_value()["details"]["causes"][1]["field"], "b");
        assert_eq!(two.as_value()["details"]["kind"], "Pod");
    }

    #[test]
    fn documents_that_are_no_status_become_one() {
        assert_eq!(Status::from_value(json!({"kind": "Pod"})).code(), 500);
        let forbidden = Status::forbidden(kinds::SECRET, "", "no").into_value();
        assert_eq!(Status::from_value(forbidden).reason(), "Forbidden");
    }
}
