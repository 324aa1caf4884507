//! Deleting: one object, and a collection.

use std::sync::Arc;

use crate::json::json;

use super::read::Listing;
use super::{Call, Cx, ListOptions, body, check_dry_run, dry_run, plugins};
use crate::gc::{self, Outcome};
use crate::request::{Method, Request, Response};
use crate::status::Status;
use crate::store::Key;
use crate::view;

/// Deletes one object.
pub(super) fn one(cx: &mut Cx<'_>, call: &Call, request: &Request) -> Result<Response, Status> {
    let (options, dry_run) = options(request)?;
    plugins::delete(call)?;
    let outcome = gc::delete_with(cx.store, &call.key(), &options, cx.now, dry_run)?;
    let document = match outcome {
        Outcome::Pending(object) => object,
        // For these kinds the server answers with the object itself.
        Outcome::Gone(object) if matches!(call.kind.kind, "Namespace" | "Pod" | "Service" | "ServiceAccount") => object,
        Outcome::Gone(object) => {
            let mut details = json!({"name": call.name, "kind": call.kind.plural, "uid": view::uid(&object)});
            if !call.kind.group.is_empty() {
                view::set(&mut details, &["group"], call.kind.group);
            }
            json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
        }
    };
    Ok(Response::json(200, Arc::new(document)))
}

/// Deletes all selected objects of a collection.
pub(super) fn collection(cx: &mut Cx<'_>, call: &Call, request: &Request) -> Result<Response, Status> {
    let (options, dry_run) = options(request)?;
    let listing = Listing::of(cx.store, call, &ListOptions::parse(call, request)?)?;
    for object in &listing.objects {
        let key = Key::of(call.kind, object);
        match gc::delete_with(cx.store, &key, &options, cx.now, dry_run) {
            Ok(_) => {}
            // What another deletion of this loop has taken with it is gone as wanted.
            Err(status) if status.code() == 404 => {}
            Err(status) => return Err(status),
        }
    }
    Ok(Response::json(200, Arc::new(listing.document(call))))
}

fn options(request: &Request) -> Result<(gc::Options, bool), Status> {
    let content = body::json(request)?;
    if !content.is_null() && !content.is_object() {
        return Err(Status::bad_request("DeleteOptions is not an object"));
    }
    let listed = view::list(&content, &["dryRun"]);
    check_dry_run(&listed.iter().map(|v| v.as_str().unwrap_or_default()).collect::<Vec<_>>(), Method::Delete)?;
    let options = gc::options(&content, |name| request.query(name).map(str::to_owned))?;
    Ok((options, !listed.is_empty() || dry_run(request)?))
}
