//! The API server: from a request to an answer. Nothing in here knows of time passing, faults or overlays.

pub(crate) mod accept;
pub(crate) mod accounts;
mod body;
pub(crate) mod discovery;
mod evict;
pub(crate) mod exec;
pub(crate) mod log;
mod options;
pub(crate) mod path;
pub(crate) mod plugins;
mod read;
mod remove;
mod scale;
mod service;
mod strict;
pub(crate) mod table;
mod token;
mod write;

use std::sync::Arc;

use jiff::Timestamp;

use crate::commands::Will;
use crate::json::Value;

pub(crate) use self::path::{Call, Target, Verb};
pub(crate) use self::read::{ListOptions, Listing, too_new};
pub(crate) use self::strict::warning_headers;
use crate::kinds;
use crate::model::Models;
use crate::request::{Method, Request, Response, User};
use crate::status::{Cause, Status};
use crate::store::Store;
use crate::{access, view, wire};

/// What the API server works with while it answers one request.
pub(crate) struct Cx<'a> {
    pub(crate) store: &'a mut Store,
    pub(crate) now: Timestamp,
    /// Whether namespaces may be unknown: in an overlay that may not list them, any namespace is taken to exist.
    pub(crate) any_namespace: bool,
    /// What the world behind the API is like.
    pub(crate) models: &'a Models,
    /// What the client is told in `Warning` headers, whether the request succeeds or not.
    pub(crate) warnings: Vec<String>,
    /// What an admission webhook makes of what is about to be stored: a merge patch.
    pub(crate) admit: Option<&'a Value>,
    /// Who asks; `None` may do everything.
    pub(crate) user: Option<&'a User>,
    /// What a command that was begun will change, and in which pod.
    pub(crate) will: Option<(Arc<Value>, Will)>,
}

impl Cx<'_> {
    /// Lets an admission webhook change what is about to be stored.
    fn admit(&self, object: &mut Value) {
        if let Some(patch) = self.admit {
            object.merge(patch);
        }
    }
}

/// Answers a request for a resource; watches are opened elsewhere.
pub(crate) fn answer(cx: &mut Cx<'_>, call: &Call, request: &Request) -> Result<Response, Status> {
    if wire::is_protobuf(call, request) {
        return answer(cx, call, &wire::readable(call, request)?);
    }
    if body::is_yaml(call, request) {
        return answer(cx, call, &body::from_yaml(request)?);
    }
    match call.verb {
        Verb::Get | Verb::Create if call.subresource == "exec" => exec::answer(cx, call, request),
        Verb::Get if call.subresource == "log" => log::answer(cx, call, request),
        Verb::Get => read::get(cx, call),
        Verb::List | Verb::Watch => read::list(cx, call, request),
        Verb::Create if call.subresource == "eviction" => evict::evict(cx, call, request),
        Verb::Create if call.subresource == "binding" => evict::bind(cx, call, request),
        Verb::Create if call.subresource == "token" => token::request(cx, call, request),
        Verb::Create if kinds::REVIEWS.contains(&call.kind) => review(cx, call, request),
        Verb::Create => write::create(cx, call, request),
        Verb::Update => write::update(cx, call, request),
        Verb::Patch => write::patch(cx, call, request),
        Verb::Delete => remove::one(cx, call, request),
        Verb::DeleteCollection => remove::collection(cx, call, request),
    }
}

/// Answers a question about access.
fn review(cx: &Cx<'_>, call: &Call, request: &Request) -> Result<Response, Status> {
    let body = body::json(request)?;
    if !body.is_object() {
        return Err(Status::bad_request("the body of the request is not an object"));
    }
    body::check_type(call, &body)?;
    dry_run(request)?;
    let user = cx.user.cloned().unwrap_or_else(User::administrator);
    access::review::answer(cx.store, call.kind, &user, call.namespace.as_deref(), &view::stamp(cx.now), &body)
}

/// Gives a service of a fixture its addresses.
pub(crate) fn allocate(store: &mut Store, service: &mut crate::json::Value) -> Result<(), Status> {
    service::allocate(store, service, service::Given::ByFixture, false)
}

/// Whether the request is a rehearsal; what is neither empty nor `All` is refused.
fn dry_run(request: &Request) -> Result<bool, Status> {
    let given: Vec<&str> = request.query.iter().filter(|(name, _)| name == "dryRun").map(|(_, value)| value.as_str()).collect();
    let given: Vec<&str> = given.into_iter().filter(|value| !value.is_empty()).collect();
    check_dry_run(&given, request.method)?;
    Ok(!given.is_empty())
}

/// Refuses what is not `All`.
fn check_dry_run(given: &[&str], method: Method) -> Result<(), Status> {
    let Some(cause) = dry_run_cause(given) else { return Ok(()) };
    let kind = match method {
        Method::Post | Method::Get => "CreateOptions",
        Method::Put => "UpdateOptions",
        Method::Patch => "PatchOptions",
        Method::Delete => "DeleteOptions",
    };
    Err(Status::invalid_options(kind, &cause))
}

fn dry_run_cause(given: &[&str]) -> Option<Cause> {
    let known = given.iter().all(|value| *value == "All");
    if known { None } else { Some(Cause::not_supported("dryRun", &given.into(), &["All"])) }
}
