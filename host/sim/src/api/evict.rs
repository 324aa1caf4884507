//! Eviction: deleting a pod only when its disruption budget allows it.
//!
//! What is decided is in [`crate::eviction`]; here is what is done. A real server tries again when the budget was written by somebody
//! else in between; here nobody can be in between.

use std::sync::Arc;

use crate::json::{Value, json};
use jiff::Timestamp;

use super::{Call, Cx, body, check_dry_run, dry_run, write};
use crate::controllers::{disruption, pods};
use crate::eviction::{self, Decision};
use crate::gc;
use crate::kinds;
use crate::request::{Method, Request, Response};
use crate::rules::Rule;
use crate::status::{Cause, Status};
use crate::store::Key;
use crate::view;

const VIOLATES: &str = "Cannot evict pod as it would violate the pod's disruption budget.";

/// `POST …/pods/NAME/eviction`.
pub(super) fn evict(cx: &mut Cx<'_>, call: &Call, request: &Request) -> Result<Response, Status> {
    let from_query = dry_run(request)?;
    let eviction = read(call, request)?;
    write::namespace_takes(cx, call, &eviction)?;
    if view::name(&eviction) != call.name {
        return Err(Status::bad_request("name in URL does not match name in Eviction object"));
    }
    let asked = Asked::of(&eviction, from_query)?;
    let key = call.key();
    let pod = cx.store.get(&key).cloned().ok_or_else(|| Status::not_found(kinds::POD, &call.name))?;
    spend(cx, &key, &pod, asked.is_rehearsal())?;
    finish(cx, &key, asked)?;
    Ok(Response::json(201, Arc::new(success(201))))
}

/// `Status` of a request that has nothing else to tell.
pub(super) fn success(code: u16) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": code})
}

/// What `deleteOptions` and the query ask for.
struct Asked {
    /// Options that cannot be read are refused only when the pod is to be deleted.
    options: Result<gc::Options, Status>,
    dry_run: Vec<String>,
}

impl Asked {
    fn of(eviction: &Value, from_query: bool) -> Result<Self, Status> {
        let content = eviction.get("deleteOptions").cloned().unwrap_or_default();
        if !content.is_null() && !content.is_object() {
            return Err(undecodable("json: cannot unmarshal into Go struct field Eviction.deleteOptions of type v1.DeleteOptions"));
        }
        let options = match gc::options(&content, |_| None) {
            Err(status) if status.code() == 400 => {
                return Err(undecodable(&status.message().replace("field DeleteOptions.", "field DeleteOptions.deleteOptions.")));
            }
            other => other,
        };
        let given: Vec<String> = view::list(&content, &["dryRun"]).iter().map(|v| v.as_str().unwrap_or_default().to_owned()).collect();
        let all = || vec!["All".to_owned()];
        if from_query && !given.is_empty() && given != all() {
            let why = format!("Non-matching dry-run options in request and content: [All] and [{}]", given.join(" "));
            return Err(Status::new(500, "", why, Value::Null));
        }
        Ok(Self { options, dry_run: if from_query { all() } else { given } })
    }

    fn is_rehearsal(&self) -> bool {
        !self.dry_run.is_empty()
    }
}

fn read(call: &Call, request: &Request) -> Result<Value, Status> {
    let eviction = body::json(request)?;
    if !eviction.is_object() {
        return Err(undecodable("the body is not an object"));
    }
    let (kind, version) = (view::text(&eviction, &["kind"]), view::text(&eviction, &["apiVersion"]));
    if !matches!(kind, "" | "Eviction") || !matches!(version, "" | "policy/v1" | "policy/v1beta1") {
        let version = version.rsplit('/').next().unwrap_or_default();
        let why = "the path leads to an eviction";
        return Err(Status::bad_request(format!("{kind} in version {version:?} cannot be handled as a Eviction: {why}")));
    }
    body::check_namespace(call, &eviction)?;
    Ok(eviction)
}

fn undecodable(why: &str) -> Status {
    Status::bad_request(format!("Eviction in version \"v1\" cannot be handled as a Eviction: {why}"))
}

/// Takes one disruption off the budget of the pod, if it has one and needs one.
fn spend(cx: &mut Cx<'_>, key: &Key, pod: &Value, dry_run: bool) -> Result<(), Status> {
    let budgets: Vec<(Key, Arc<Value>)> = cx
        .store
        .list(kinds::POD_DISRUPTION_BUDGET, Some(&key.namespace))
        .filter(|(_, budget)| eviction::covers(budget, pod))
        .map(|(key, budget)| (key.clone(), Arc::clone(budget)))
        .collect();
    let covering: Vec<&Value> = budgets.iter().map(|(_, budget)| &**budget).collect();
    if !cx.store.follows(Rule::EvictionBudget) {
        return Ok(());
    }
    match eviction::decide(pod, &covering) {
        Decision::Free | Decision::Uncounted(_) => Ok(()),
        Decision::Counted(_) if dry_run => Ok(()),
        Decision::Counted(budget) => {
            let spent = spent(budget, &key.name, cx.now);
            let budget_key = Key::of(kinds::POD_DISRUPTION_BUDGET, budget);
            cx.store.update_with(&budget_key, spent, |_, _, _| false, false).map(drop)
        }
        Decision::Refused { retry_after, why, .. } => Err(refused(retry_after, &why)),
        Decision::Forbidden { budget, why } => Err(forbidden(view::name(budget), why)),
        Decision::Several => {
            let text = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
            Err(Status::new(500, "", text, Value::Null))
        }
    }
}

fn refused(retry_after: u32, why: &str) -> Status {
    let mut details = json!({"causes": [{"reason": "DisruptionBudget", "message": why}]});
    // A wait of no time is left out, and so is its header.
    if retry_after > 0 {
        view::set(&mut details, &["retryAfterSeconds"], retry_after);
    }
    Status::new(429, "TooManyRequests", VIOLATES, details)
}

fn forbidden(name: &str, why: &str) -> Status {
    // The server names the resource in the singular here.
    let details = json!({"name": name, "group": "policy", "kind": "poddisruptionbudget"});
    Status::new(403, "Forbidden", format!("poddisruptionbudget.policy {name:?} is forbidden: {why}"), details)
}

/// The budget with one disruption less, and the pod noted as about to go.
fn spent(budget: &Value, pod: &str, now: Timestamp) -> Value {
    let mut budget = budget.clone();
    let left = view::count(&budget, &["status", "disruptionsAllowed"]) - 1;
    view::set(&mut budget, &["status", "disruptionsAllowed"], left);
    if left == 0 {
        disruption::set_allowed(&mut budget, now);
    }
    view::set(&mut budget, &["status", "disruptedPods", pod], view::stamp(now));
    budget
}

/// Marks the pod as disrupted and deletes it.
fn finish(cx: &mut Cx<'_>, key: &Key, asked: Asked) -> Result<(), Status> {
    if !asked.is_rehearsal() {
        let Some(pod) = cx.store.get(key).cloned() else { return Err(Status::not_found(key.kind, &key.name)) };
        if let Ok(options) = &asked.options {
            gc::preconditions(key, &pod, options)?;
        }
        let marked = pods::with_condition(&pod, "DisruptionTarget", "True", "EvictionByEvictionAPI", "Eviction API: evicting", cx.now);
        let marked = cx.store.update_with(key, marked, |_, _, _| false, false)?;
        let mut options = asked.options?;
        if options.resource_version.is_some() {
            options.resource_version = Some(view::text(&marked, &["metadata", "resourceVersion"]).to_owned());
        }
        return gc::delete_with(cx.store, key, &options, cx.now, false).map(drop);
    }
    let options = asked.options?;
    let given: Vec<&str> = asked.dry_run.iter().map(String::as_str).collect();
    check_dry_run(&given, Method::Delete)?;
    gc::delete_with(cx.store, key, &options, cx.now, true).map(drop)
}

/// `POST …/pods/NAME/binding` and `POST …/bindings`: puts a pod on a node. Whether the node exists is not looked at.
pub(super) fn bind(cx: &mut Cx<'_>, call: &Call, request: &Request) -> Result<Response, Status> {
    let dry_run = dry_run(request)?;
    let binding = body::json(request)?;
    if !binding.is_object() {
        return Err(Status::bad_request("Binding in version \"v1\" cannot be handled as a Binding: the body is not an object"));
    }
    body::check_namespace(call, &binding)?;
    write::namespace_takes(cx, call, &binding)?;
    let name = view::name(&binding);
    if name.is_empty() && call.name.is_empty() {
        return Err(Status::bad_request("Name parameter required."));
    }
    if !call.name.is_empty() && name != call.name {
        return Err(Status::bad_request("name in URL does not match name in Binding object"));
    }
    target(&binding)?;
    let key = Key::new(kinds::POD, call.namespace.as_deref().unwrap_or_default(), name);
    let pod = cx.store.get(&key).cloned().ok_or_else(|| Status::not_found(kinds::POD, name))?;
    let bound = bound(&pod, &binding, cx.now)?;
    cx.store.update_with(&key, bound, |_, _, _| false, dry_run)?;
    Ok(Response::json(201, Arc::new(success(201))))
}

/// A binding leads to a node. The server answers with a bare 500 for another one.
fn target(binding: &Value) -> Result<(), Status> {
    let (kind, name) = (view::text(binding, &["target", "kind"]), view::text(binding, &["target", "name"]));
    let mut causes = Vec::new();
    if !matches!(kind, "" | "Node") {
        causes.push(Cause::not_supported("target.kind", &kind.into(), &["Node", "<empty>"]));
    }
    if name.is_empty() {
        causes.push(Cause::required("target.name", ""));
    }
    let texts: Vec<String> = causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect();
    match texts.as_slice() {
        [] => Ok(()),
        [one] => Err(Status::new(500, "", one.as_str(), Value::Null)),
        many => Err(Status::new(500, "", format!("[{}]", many.join(", ")), Value::Null)),
    }
}

fn bound(pod: &Value, binding: &Value, now: Timestamp) -> Result<Value, Status> {
    let name = view::name(pod);
    let uid = view::uid(binding);
    if !uid.is_empty() && uid != view::uid(pod) {
        return Err(write::other_uid(kinds::POD, uid, pod));
    }
    let (given, version) = (view::text(binding, &["metadata", "resourceVersion"]), view::text(pod, &["metadata", "resourceVersion"]));
    if !given.is_empty() && given != version {
        let why = format!(
            "StorageError: invalid object, Code: 4, Key: /registry/pods/{}/{name}, ResourceVersion: 0, AdditionalErrorMsg: \
             Precondition failed: ResourceVersion in precondition: {given}, ResourceVersion in object meta: {version}",
            view::namespace(pod)
        );
        return Err(Status::conflict(kinds::POD, name, &why));
    }
    let node = view::text(pod, &["spec", "nodeName"]);
    let why = if view::is_terminating(pod) {
        Some(format!("pod {name} is being deleted, cannot be assigned to a host"))
    } else if !node.is_empty() {
        Some(format!("pod {name} is already assigned to node {node:?}"))
    } else if !view::list(pod, &["spec", "schedulingGates"]).is_empty() {
        Some(format!("pod {name} has non-empty .spec.schedulingGates"))
    } else {
        None
    };
    if let Some(why) = why {
        let message = format!("Operation cannot be fulfilled on pods/binding {name:?}: {why}");
        return Err(Status::new(409, "Conflict", message, json!({"name": name, "kind": "pods/binding"})));
    }
    let mut bound = pods::with_condition(pod, "PodScheduled", "True", "", "", now);
    view::set(&mut bound, &["spec", "nodeName"], view::text(binding, &["target", "name"]));
    view::remove(&mut bound, &["status", "nominatedNodeName"]);
    for field in ["annotations", "labels"] {
        for (key, value) in view::at(binding, &["metadata", field]).and_then(Value::as_object).into_iter().flatten() {
            view::set(&mut bound, &["metadata", field, key], value.clone());
        }
    }
    Ok(bound)
}
