//! Reviews: questions about access that are created and answered at once, and never stored.

use std::sync::Arc;

use crate::json::{Value, json};

use super::rules::{Granted, granted};
use super::{Attributes, Decision, decide, texts};
use crate::kinds::Kind;
use crate::request::{Response, User};
use crate::status::{Cause, Status};
use crate::store::Store;
use crate::view;

/// What one attribute of a resource is called, and in which order the server shows them.
const RESOURCE: [&str; 7] = ["namespace", "verb", "group", "version", "resource", "subresource", "name"];

/// Answers a review. `namespace` is that of the path, `now` the instant of the request.
///
/// # Errors
/// 422 for a question that is none, 400 for a rules review without a namespace.
pub(crate) fn answer(
    store: &Store,
    kind: &Kind,
    user: &User,
    namespace: Option<&str>,
    now: &str,
    body: &Value,
) -> Result<Response, Status> {
    let spec = body.get("spec").filter(|spec| spec.is_object()).cloned().unwrap_or_else(|| json!({}));
    let mut metadata = json!({});
    let (spec, status) = match kind.kind {
        "SelfSubjectReview" => {
            view::set(&mut metadata, &["creationTimestamp"], now);
            let groups: Vec<Value> = user.groups.iter().map(|group| group.as_str().into()).collect();
            (None, json!({"userInfo": {"username": user.name.as_str(), "groups": groups}}))
        }
        "SelfSubjectRulesReview" => {
            let namespace = view::text(&spec, &["namespace"]);
            if namespace.is_empty() {
                return Err(Status::bad_request("no namespace on request"));
            }
            (Some(json!({})), rules(store, user, namespace))
        }
        own if own.starts_with("Self") => {
            check(kind, body, &spec, false, None)?;
            (Some(shown(&spec)), status(&decide(store, user, &wanted(&spec))))
        }
        _ => {
            check(kind, body, &spec, true, namespace)?;
            if let Some(namespace) = namespace {
                view::set(&mut metadata, &["namespace"], namespace);
            }
            let groups = texts(&spec, "groups").map(str::to_owned).collect();
            let user = User { name: view::text(&spec, &["user"]).to_owned(), groups };
            (Some(shown(&spec)), status(&decide(store, &user, &wanted(&spec))))
        }
    };
    let mut review = json!({"kind": kind.kind, "apiVersion": kind.api_version(), "metadata": metadata});
    if let Some(spec) = spec {
        view::set(&mut review, &["spec"], spec);
    }
    view::set(&mut review, &["status"], status);
    Ok(Response::json(201, Arc::new(review)))
}

fn status(decision: &Decision) -> Value {
    let mut status = json!({"allowed": decision.allowed});
    if !decision.reason.is_empty() {
        view::set(&mut status, &["reason"], decision.reason.as_str());
    }
    status
}

/// What a question must have and must not have.
fn check(kind: &Kind, body: &Value, spec: &Value, about_others: bool, namespace: Option<&str>) -> Result<(), Status> {
    let mut causes = Vec::new();
    match (spec.get("resourceAttributes").is_some_and(Value::is_object), spec.get("nonResourceAttributes")) {
        (true, Some(path)) => {
            let message = format!(
                r#"Invalid value: {{"Path":{},"Verb":{}}}: cannot be specified in combination with resourceAttributes"#,
                path.get("path").cloned().unwrap_or_default(),
                path.get("verb").cloned().unwrap_or_default()
            );
            causes.push(Cause { reason: "FieldValueInvalid", field: "spec.nonResourceAttributes".to_owned(), message });
        }
        (false, None) => {
            let why = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
            causes.push(Cause::invalid("spec.resourceAttributes", &Value::Null, why));
        }
        _ => {}
    }
    if about_others && view::text(spec, &["user"]).is_empty() && view::list(spec, &["groups"]).is_empty() {
        causes.push(Cause::invalid("spec.user", &"".into(), "at least one of user or group must be specified"));
    }
    let asked = view::text(spec, &["resourceAttributes", "namespace"]);
    if namespace.is_some_and(|namespace| namespace != asked) {
        causes.push(Cause::invalid("spec.resourceAttributes.namespace", &asked.into(), "must match metadata.namespace"));
    }
    let name = view::name(body);
    if !name.is_empty() {
        causes.push(Cause::invalid("metadata", &json!({"name": name}), "must be empty"));
    }
    // The server leaves out the kind here.
    if causes.is_empty() { Ok(()) } else { Err(Status::invalid(&Kind { kind: "", ..*kind }, "", &causes)) }
}

fn wanted(spec: &Value) -> Attributes {
    let of = |field: &str| view::text(spec, &["resourceAttributes", field]).to_owned();
    if let Some(question) = spec.get("nonResourceAttributes") {
        let path = Some(view::text(question, &["path"]).to_owned());
        return Attributes { verb: view::text(question, &["verb"]).to_owned(), path, ..Attributes::default() };
    }
    Attributes {
        verb: of("verb"),
        group: of("group"),
        resource: of("resource"),
        subresource: of("subresource"),
        namespace: of("namespace"),
        name: of("name"),
        path: None,
    }
}

/// The question as the server repeats it: without what is empty or unknown.
fn shown(spec: &Value) -> Value {
    let mut out = json!({});
    for (section, fields) in [("resourceAttributes", &RESOURCE[..]), ("nonResourceAttributes", &["path", "verb"])] {
        let Some(given) = spec.get(section) else { continue };
        let mut kept = json!({});
        for field in fields {
            let text = view::text(given, &[field]);
            if !text.is_empty() {
                view::set(&mut kept, &[field], text);
            }
        }
        view::set(&mut out, &[section], kept);
    }
    for field in ["user", "groups", "uid", "extra"] {
        if let Some(value) = spec.get(field).filter(|value| !value.is_null() && value.as_str() != Some("")) {
            view::set(&mut out, &[field], value.clone());
        }
    }
    out
}

/// All rules of a user in a namespace.
fn rules(store: &Store, user: &User, namespace: &str) -> Value {
    let (mut resources, mut paths, mut errors) = (Vec::new(), Vec::new(), Vec::new());
    for granted in granted(store, user, namespace) {
        match granted {
            Granted::Rule { rule, .. } if rule.get("nonResourceURLs").is_some() => paths.push(rule),
            Granted::Rule { rule, .. } => resources.push(rule),
            Granted::Missing(error) => errors.push(error),
        }
    }
    let mut status = json!({"resourceRules": resources, "nonResourceRules": paths, "incomplete": !errors.is_empty()});
    if !errors.is_empty() {
        view::set(&mut status, &["evaluationError"], errors.join(", "));
    }
    status
}
