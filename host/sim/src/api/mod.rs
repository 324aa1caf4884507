//! The API server: from a request to an answer. Nothing in here knows of time passing, faults or overlays.

mod body;
pub(crate) mod discovery;
pub(crate) mod path;
mod read;
mod remove;
mod scale;
mod service;
mod write;

use jiff::Timestamp;

pub(crate) use self::path::{Call, Target, Verb};
pub(crate) use self::read::{ListOptions, Listing, too_new};
use crate::request::{Method, Request, Response};
use crate::status::{Cause, Status};
use crate::store::Store;

/// What the API server works with while it answers one request.
pub(crate) struct Cx<'a> {
    pub(crate) store: &'a mut Store,
    pub(crate) now: Timestamp,
    /// Whether namespaces may be unknown: in an overlay that may not list them, any namespace is taken to exist.
    pub(crate) any_namespace: bool,
}

/// Answers a request for a resource; watches are opened elsewhere.
pub(crate) fn answer(cx: &mut Cx<'_>, call: &Call, request: &Request) -> Result<Response, Status> {
    match call.verb {
        Verb::Get => read::get(cx, call),
        Verb::List | Verb::Watch => read::list(cx, call, request),
        Verb::Create => write::create(cx, call, request),
        Verb::Update => write::update(cx, call, request),
        Verb::Patch => write::patch(cx, call, request),
        Verb::Delete => remove::one(cx, call, request),
        Verb::DeleteCollection => remove::collection(cx, call, request),
    }
}

/// Gives a service of a fixture its addresses.
pub(crate) fn allocate(store: &mut Store, service: &mut crate::json::Value) -> Result<(), Status> {
    service::allocate(store, service, false)
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
    if given.iter().all(|value| *value == "All") {
        return Ok(());
    }
    let kind = match method {
        Method::Post | Method::Get => "CreateOptions",
        Method::Put => "UpdateOptions",
        Method::Patch => "PatchOptions",
        Method::Delete => "DeleteOptions",
    };
    Err(Status::invalid_options(kind, &Cause::not_supported("dryRun", &given.into(), &["All"])))
}
