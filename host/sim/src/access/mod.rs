//! Who may do what: RBAC as the API server evaluates it.
//!
//! A request without a user is the administrator's, who may do everything. For another one roles and bindings decide, as they are in
//! the store. A cluster that was never furnished ([`Cluster::furnish`](crate::Cluster::furnish)) is taken to have the roles that
//! every server begins with.

pub(crate) mod bootstrap;
pub(crate) mod escalation;
pub(crate) mod review;
mod rules;

pub(crate) use self::rules::aggregated;

use crate::json::{Value, json};

use self::rules::{Granted, granted};
use crate::api::Call;
use crate::request::{Method, Request, User};
use crate::status::Status;
use crate::store::Store;
use crate::view;

/// The group whose members may do everything, whatever the roles say.
const MASTERS: &str = "system:masters";

/// What somebody wants to do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Attributes {
    pub(crate) verb: String,
    pub(crate) group: String,
    pub(crate) resource: String,
    pub(crate) subresource: String,
    /// Empty for what is in no namespace, and for all namespaces.
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// The path, when it is no resource that is asked for.
    pub(crate) path: Option<String>,
}

/// The answer of the authorizer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) allowed: bool,
    /// Why it is allowed, or what could not be found out.
    pub(crate) reason: String,
}

/// What a request wants, by its path alone: whether the resource exists does not matter.
pub(crate) fn attributes(request: &Request) -> Attributes {
    let mut parts: Vec<&str> = request.path.split('/').filter(|part| !part.is_empty()).collect();
    let method = request.method.as_str().to_lowercase();
    let grouped = parts.first() == Some(&"apis");
    let is_resource = (parts.first() == Some(&"api") && parts.len() >= 3) || (grouped && parts.len() >= 4);
    if !is_resource {
        return Attributes { verb: method, path: Some(request.path.clone()), ..Attributes::default() };
    }
    let group = if grouped { parts[1].to_owned() } else { String::new() };
    parts.drain(..if grouped { 3 } else { 2 });
    let mut verb = match request.method {
        Method::Post => "create",
        Method::Get => "get",
        Method::Put => "update",
        Method::Patch => "patch",
        Method::Delete => "delete",
    };
    // The old form of a watch has it in its path.
    let old_watch = parts.len() > 1 && parts[0] == "watch";
    if old_watch {
        verb = "watch";
        parts.remove(0);
    }
    let mut namespace = "";
    if parts[0] == "namespaces" && parts.len() > 1 {
        namespace = parts[1];
        if parts.len() > 2 && !matches!(parts[2], "status" | "finalize") {
            parts.drain(..2);
        }
    }
    let part = |at: usize| parts.get(at).copied().unwrap_or_default();
    let mut name = part(1).to_owned();
    if name.is_empty() && verb == "get" {
        let watches = request.query("watch").is_some_and(|value| matches!(value, "" | "true" | "1"));
        verb = if watches { "watch" } else { "list" };
        name = named_by_selector(request.query("fieldSelector").unwrap_or_default());
    } else if name.is_empty() && verb == "delete" {
        verb = "deletecollection";
    }
    Attributes {
        verb: verb.to_owned(),
        group,
        resource: part(0).to_owned(),
        subresource: part(2).to_owned(),
        namespace: namespace.to_owned(),
        name,
        path: None,
    }
}

/// A list of one object by its name counts as a request for that object.
fn named_by_selector(selector: &str) -> String {
    let terms = selector.split(',').filter_map(|term| term.split_once('='));
    let mut named = terms.filter(|(field, _)| field.trim_end_matches('=') == "metadata.name" && !field.ends_with('!'));
    named.next().map(|(_, name)| name.trim_start_matches('=').to_owned()).unwrap_or_default()
}

/// Decides. The reasons are those that a real server gives in reviews and refusals.
pub(crate) fn decide(store: &Store, user: &User, wanted: &Attributes) -> Decision {
    if user.groups.iter().any(|group| group == MASTERS) {
        return Decision { allowed: true, reason: String::new() };
    }
    let mut errors = Vec::new();
    for granted in granted(store, user, &wanted.namespace) {
        match granted {
            Granted::Rule { rule, by } if rules::allows(&rule, wanted) => {
                return Decision { allowed: true, reason: format!("RBAC: allowed by {by}") };
            }
            Granted::Rule { .. } => {}
            Granted::Missing(error) => errors.push(error),
        }
    }
    let reason = match errors.as_slice() {
        [] => String::new(),
        [one] => format!("RBAC: {one}"),
        many => format!("RBAC: [{}]", many.join(", ")),
    };
    Decision { allowed: false, reason }
}

/// Refuses a request that its user may not make.
///
/// # Errors
/// 403 with the server's text.
pub(crate) fn authorize(store: &Store, request: &Request) -> Result<(), Status> {
    let Some(user) = &request.user else { return Ok(()) };
    check(store, user, &attributes(request))
}

fn check(store: &Store, user: &User, wanted: &Attributes) -> Result<(), Status> {
    let decision = decide(store, user, wanted);
    if decision.allowed { Ok(()) } else { Err(forbidden(user, wanted, &decision.reason)) }
}

/// Refuses a PUT or an apply that creates when its user may not create.
///
/// # Errors
/// 403 with the server's text.
pub(crate) fn may_create(store: &Store, user: Option<&User>, call: &Call) -> Result<(), Status> {
    let Some(user) = user else { return Ok(()) };
    let wanted = Attributes {
        verb: "create".to_owned(),
        group: call.kind.group.to_owned(),
        resource: call.kind.plural.to_owned(),
        subresource: String::new(),
        namespace: call.namespace.clone().unwrap_or_default(),
        name: call.name.clone(),
        path: None,
    };
    check(store, user, &wanted)
}

fn forbidden(user: &User, wanted: &Attributes, reason: &str) -> Status {
    let who = format!("User {:?} cannot {}", user.name, wanted.verb);
    let mut message = match &wanted.path {
        Some(path) => format!("{who} path {path:?}"),
        None => {
            let slash = if wanted.subresource.is_empty() { "" } else { "/" };
            let resource = format!("{}{slash}{}", wanted.resource, wanted.subresource);
            let place = if wanted.namespace.is_empty() {
                "at the cluster scope".into()
            } else {
                format!("in the namespace {:?}", wanted.namespace)
            };
            format!("{who} resource {resource:?} in API group {:?} {place}", wanted.group)
        }
    };
    if !reason.is_empty() {
        message = format!("{message}: {reason}");
    }
    if wanted.path.is_some() {
        return Status::new(403, "Forbidden", format!("forbidden: {message}"), json!({}));
    }
    let dot = if wanted.group.is_empty() { "" } else { "." };
    let resource = format!("{}{dot}{}", wanted.resource, wanted.group);
    let subject = if wanted.name.is_empty() { resource } else { format!("{resource} {:?}", wanted.name) };
    let mut details = json!({"kind": wanted.resource.as_str()});
    for (field, value) in [("name", &wanted.name), ("group", &wanted.group)] {
        if !value.is_empty() {
            view::set(&mut details, &[field], value.as_str());
        }
    }
    Status::new(403, "Forbidden", format!("{subject} is forbidden: {message}"), details)
}

/// The texts of a list.
fn texts<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = &'a str> {
    view::list(value, &[field]).iter().filter_map(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(path: &str) -> (String, String, String, String, String) {
        let a = attributes(&Request::get(path));
        (a.verb, a.resource, a.subresource, a.namespace, a.name)
    }

    #[test]
    fn a_path_says_what_is_wanted() {
        let is = |verb: &str, resource: &str, sub: &str, namespace: &str, name: &str| {
            (verb.to_owned(), resource.to_owned(), sub.to_owned(), namespace.to_owned(), name.to_owned())
        };
        assert_eq!(of("/api/v1/namespaces/a/pods/p/log"), is("get", "pods", "log", "a", "p"));
        assert_eq!(of("/api/v1/namespaces/a"), is("get", "namespaces", "", "a", "a"));
        assert_eq!(of("/api/v1/namespaces/a/status"), is("get", "namespaces", "status", "a", "a"));
        assert_eq!(of("/api/v1/watch/pods"), is("watch", "pods", "", "", ""));
        assert_eq!(of("/apis/x.y/v1/things?watch=1"), is("watch", "things", "", "", ""));
        assert_eq!(of("/api/v1/namespaces/a/pods?fieldSelector=metadata.name%3Dp").4, "");
        assert_eq!(attributes(&Request::get("/api/v1/pods").with_query("fieldSelector", "a=b,metadata.name=p")).name, "p");
        assert_eq!(attributes(&Request::get("/api/v1/pods").with_query("fieldSelector", "metadata.name!=p")).name, "");
        for path in ["/", "/api", "/api/v1", "/apis/apps/v1", "/metrics", "/x/v1/pods"] {
            assert_eq!(attributes(&Request::get(path)).path.as_deref(), Some(path));
        }
        assert_eq!(attributes(&Request::delete("/api/v1/namespaces/a/pods")).verb, "deletecollection");
    }
}
