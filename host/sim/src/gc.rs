//! Deletion: grace, finalizers, dependants, and the content of namespaces.

use crate::json::Value;
use jiff::Timestamp;

use crate::crd;
use crate::kinds;
use crate::rules::Rule;
use crate::status::{Cause, Status};
use crate::store::{Change, Key, Store};
use crate::view;

const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

/// What becomes of the objects that an object owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Propagation {
    /// They are deleted after it.
    #[default]
    Background,
    /// They are deleted before it.
    Foreground,
    /// They stay and lose the owner.
    Orphan,
}

/// How an object is to be deleted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Options {
    /// Seconds; `None` is the default of the object.
    pub(crate) grace: Option<i64>,
    /// `None` leaves it to the object's finalizers, then background.
    pub(crate) propagation: Option<Propagation>,
    /// The uid that the object must have.
    pub(crate) uid: Option<String>,
    /// The resource version that the object must have.
    pub(crate) resource_version: Option<String>,
}

/// What a deletion came to.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The object is gone; this was its last state.
    Gone(Value),
    /// The object is marked, and goes when its pod has stopped or its finalizers are removed.
    Pending(Value),
}

/// Deletes with default options, as a controller does.
pub(crate) fn delete(store: &mut Store, key: &Key, now: Timestamp) -> Result<(), Status> {
    delete_with(store, key, &Options::default(), now, false).map(|_| ())
}

/// What garbage collection and namespaces ask for.
pub(crate) fn background() -> Options {
    Options { propagation: Some(Propagation::Background), ..Options::default() }
}

/// Deletes an object as the API server does. With `dry_run` nothing changes.
pub(crate) fn delete_with(store: &mut Store, key: &Key, options: &Options, now: Timestamp, dry_run: bool) -> Result<Outcome, Status> {
    let Some(before) = store.get(key).cloned() else {
        return Err(Status::not_found(key.kind, &key.name));
    };
    if store.follows(Rule::Preconditions) {
        preconditions(key, &before, options)?;
    }
    if key.kind.is(kinds::NAMESPACE) {
        return delete_namespace(store, key, &before, now, dry_run);
    }
    let mut object = (*before).clone();
    if key.kind.is(kinds::CUSTOM_RESOURCE_DEFINITION) {
        crd::lifecycle::begin_removal(&mut object, now);
    }
    finalizers(&mut object, options.propagation.or_else(|| unasked(key, &before)));
    let held = !view::list(&object, &["metadata", "finalizers"]).is_empty() && store.follows(Rule::Finalizers);
    let terminating = view::is_terminating(&object);
    let grace = if key.kind.is(kinds::POD) && store.follows(Rule::Grace) { pod_grace(&object, options.grace) } else { 0 };
    let was = view::count(&object, &["metadata", "deletionGracePeriodSeconds"]);
    // Only a shorter grace than the one under way has an effect.
    let shortens = terminating && options.grace.is_some() && grace < was;
    let ends_now = if terminating { was == 0 || (shortens && grace == 0) } else { grace == 0 };
    if ends_now && !held {
        if key.kind.is(kinds::POD) {
            // What the server answers with: a pod that was given no time.
            if !terminating {
                mark(&mut object, now);
                let generation = view::generation(&object) + 1;
                view::set(&mut object, &["metadata", "generation"], generation);
            }
            view::set(&mut object, &["metadata", "deletionGracePeriodSeconds"], 0);
        }
        if !dry_run {
            store.remove(key);
        }
        return Ok(Outcome::Gone(object));
    }
    if !terminating {
        mark(&mut object, view::later_s(now, grace));
        // A definition is deleted by code of its own, which leaves that out.
        if !key.kind.is(kinds::CUSTOM_RESOURCE_DEFINITION) {
            view::set(&mut object, &["metadata", "deletionGracePeriodSeconds"], grace);
        }
    } else if shortens {
        shorten(&mut object, now, was, grace);
    }
    // Beginning a deletion raises the generation, carrying it on does not.
    // Only the deletion of a definition does not.
    let counts = !key.kind.is(kinds::CUSTOM_RESOURCE_DEFINITION);
    let stored = store.update_with(key, object, |_, _, _| !terminating && counts, dry_run)?;
    Ok(Outcome::Pending((*stored).clone()))
}

/// A namespace goes when it is empty; until then it takes nothing new.
fn delete_namespace(store: &mut Store, key: &Key, before: &Value, now: Timestamp, dry_run: bool) -> Result<Outcome, Status> {
    if matches!(key.name.as_str(), "default" | "kube-public" | "kube-system") {
        return Err(Status::forbidden(key.kind, &key.name, "this namespace may not be deleted"));
    }
    if view::is_terminating(before) {
        return Ok(Outcome::Pending(before.clone()));
    }
    let mut object = before.clone();
    mark(&mut object, now);
    view::set(&mut object, &["status", "phase"], "Terminating");
    let stored = store.update_with(key, object, |_, _, _| false, dry_run)?;
    Ok(Outcome::Pending((*stored).clone()))
}

/// Refuses when the object is not the one that is meant.
pub(crate) fn preconditions(key: &Key, object: &Value, options: &Options) -> Result<(), Status> {
    let fail = |why: String| Err(Status::precondition(key.kind, &key.name, &why));
    if let Some(uid) = options.uid.as_deref().filter(|uid| *uid != view::uid(object)) {
        return fail(format!(
            "the UID in the precondition ({uid}) does not match the UID in record ({}). The object might have been deleted and \
             then recreated",
            view::uid(object)
        ));
    }
    let rv = view::text(object, &["metadata", "resourceVersion"]);
    if let Some(given) = options.resource_version.as_deref().filter(|given| *given != rv) {
        return fail(format!(
            "the ResourceVersion in the precondition ({given}) does not match the ResourceVersion in record ({rv}). The object \
             might have been modified"
        ));
    }
    Ok(())
}

/// What happens to dependants when nobody said: of a Job, for the sake of old clients, they stay.
fn unasked(key: &Key, object: &Value) -> Option<Propagation> {
    let decided = view::list(object, &["metadata", "finalizers"]).iter().any(|f| matches!(f.as_str(), Some(FOREGROUND | ORPHAN)));
    (key.kind.is(kinds::JOB) && !decided).then_some(Propagation::Orphan)
}

/// Puts the finalizer of the wanted propagation on the object and takes the other one off.
fn finalizers(object: &mut Value, propagation: Option<Propagation>) {
    let Some(propagation) = propagation else { return };
    let wanted = match propagation {
        Propagation::Background => None,
        Propagation::Foreground => Some(FOREGROUND),
        Propagation::Orphan => Some(ORPHAN),
    };
    let mut list: Vec<Value> = view::list(object, &["metadata", "finalizers"])
        .iter()
        .filter(|f| !matches!(f.as_str(), Some(FOREGROUND | ORPHAN)))
        .cloned()
        .collect();
    list.extend(wanted.map(Value::from));
    if list.is_empty() {
        view::remove(object, &["metadata", "finalizers"]);
    } else {
        view::set(object, &["metadata", "finalizers"], list);
    }
}

/// A pod that is on no node, or has ended, needs no time to stop.
fn pod_grace(pod: &Value, asked: Option<i64>) -> i64 {
    let ended = matches!(view::text(pod, &["status", "phase"]), "Succeeded" | "Failed");
    if ended || view::text(pod, &["spec", "nodeName"]).is_empty() {
        return 0;
    }
    let seconds = asked.or_else(|| view::int(pod, &["spec", "terminationGracePeriodSeconds"])).unwrap_or(30);
    // The server reads a negative grace as one second.
    if seconds < 0 { 1 } else { seconds }
}

fn mark(object: &mut Value, at: Timestamp) {
    view::set(object, &["metadata", "deletionTimestamp"], view::stamp(at));
}

fn shorten(object: &mut Value, now: Timestamp, was: i64, grace: i64) {
    let planned = view::time(object, &["metadata", "deletionTimestamp"]).unwrap_or(now);
    let at = view::later_s(planned, grace.saturating_sub(was)).max(now);
    view::set(object, &["metadata", "deletionTimestamp"], view::stamp(at));
    view::set(object, &["metadata", "deletionGracePeriodSeconds"], grace);
}

/// Carries a change on: dependants of what is gone or going, and what is left in a namespace that is going.
///
/// With `whole`, an object that is written with owners of which none is there goes at once. What is loaded is left alone: a fixture may
/// know only a part, and so may the store of an overlay.
pub(crate) fn changed(store: &mut Store, change: &Change, now: Timestamp, whole: bool) {
    if whole {
        collect(store, change, now);
    }
    match (&change.before, &change.after) {
        (Some(before), None) => {
            if store.follows(Rule::OwnersGone) {
                owner_gone(store, view::uid(before), now);
            }
            namespace_content_gone(store, &change.key);
            blocked_owners(store, before);
        }
        (_, Some(after)) if view::is_terminating(after) => {
            if change.key.kind.is(kinds::NAMESPACE) {
                empty_namespace(store, &change.key, now);
            }
            let has = |name: &str| view::list(after, &["metadata", "finalizers"]).iter().any(|f| f.as_str() == Some(name));
            if has(ORPHAN) && store.follows(Rule::Orphans) {
                orphan_dependents(store, &change.key, view::uid(after));
            } else if has(FOREGROUND) && store.follows(Rule::Foreground) {
                delete_dependents_first(store, &change.key, view::uid(after), now);
            }
        }
        (None, Some(_)) => refuse_newcomer(store, &change.key),
        _ => {}
    }
}

/// Deletes an object that was written with new owners of which none is there.
fn collect(store: &mut Store, change: &Change, now: Timestamp) {
    let Some(after) = change.after.as_deref().filter(|after| !view::is_terminating(after)) else { return };
    let owners = view::list(after, &["metadata", "ownerReferences"]);
    let as_before = || change.before.as_ref().is_some_and(|before| view::list(before, &["metadata", "ownerReferences"]) == owners);
    if owners.is_empty() || as_before() || owners.iter().any(|owner| owner_lives(store, &change.key, owner)) {
        return;
    }
    // It was there a line ago: the only error left is that it is not.
    let _deleted = delete_with(store, &change.key, &background(), now, false);
}

/// A namespace that is going takes nothing new: what a controller still creates in it, such as an event, goes at once.
fn refuse_newcomer(store: &mut Store, key: &Key) {
    let namespace = Key::new(kinds::NAMESPACE, "", &key.namespace);
    if key.kind.namespaced && store.get(&namespace).is_some_and(|object| view::is_terminating(object)) {
        store.remove(key);
    }
}

/// Deletes what only the gone object owned; what has another living owner merely loses the reference.
fn owner_gone(store: &mut Store, uid: &str, now: Timestamp) {
    let dependents: Vec<Key> = store.dependents(uid).cloned().collect();
    for key in dependents {
        let Some(object) = store.get(&key).cloned() else { continue };
        let others = view::list(&object, &["metadata", "ownerReferences"])
            .iter()
            .any(|owner| view::text(owner, &["uid"]) != uid && owner_lives(store, &key, owner));
        if others {
            drop_owner(store, &key, &object, uid);
        } else if !view::is_terminating(&object) {
            // The object was there a line ago: the only error left is that it is not.
            let _deleted = delete_with(store, &key, &background(), now, false);
        }
    }
}

fn owner_lives(store: &Store, dependent: &Key, owner: &Value) -> bool {
    // An owner of a kind that is not modelled cannot be seen to be gone.
    store.kind_named(view::text(owner, &["apiVersion"]), view::text(owner, &["kind"])).is_none_or(|kind| {
        let key = Key::new(kind, &dependent.namespace, view::text(owner, &["name"]));
        store.get(&key).is_some_and(|found| view::uid(found) == view::text(owner, &["uid"]))
    })
}

/// Whether an owner is there and does not itself wait for its dependants to go.
fn keeps(store: &Store, dependent: &Key, owner: &Value) -> bool {
    let going = |object: &Value| {
        view::is_terminating(object) && view::list(object, &["metadata", "finalizers"]).iter().any(|f| f.as_str() == Some(FOREGROUND))
    };
    let kind = store.kind_named(view::text(owner, &["apiVersion"]), view::text(owner, &["kind"]));
    kind.is_none_or(|kind| {
        let found = store.get(&Key::new(kind, &dependent.namespace, view::text(owner, &["name"])));
        found.is_some_and(|found| view::uid(found) == view::text(owner, &["uid"]) && !going(found))
    })
}

fn drop_owner(store: &mut Store, key: &Key, object: &Value, uid: &str) {
    let mut object = object.clone();
    if let Some(owners) = view::list_mut(&mut object, &["metadata", "ownerReferences"]) {
        owners.retain(|owner| view::text(owner, &["uid"]) != uid);
        if owners.is_empty() {
            view::remove(&mut object, &["metadata", "ownerReferences"]);
        }
    }
    let _updated = store.update(key, object);
}

fn drop_finalizer(store: &mut Store, key: &Key, name: &str) {
    let Some(object) = store.get(key) else { return };
    let mut object = (**object).clone();
    if let Some(finalizers) = view::list_mut(&mut object, &["metadata", "finalizers"]) {
        finalizers.retain(|f| f.as_str() != Some(name));
        if finalizers.is_empty() {
            view::remove(&mut object, &["metadata", "finalizers"]);
        }
    }
    let _updated = store.update(key, object);
}

fn orphan_dependents(store: &mut Store, key: &Key, uid: &str) {
    let dependents: Vec<Key> = store.dependents(uid).cloned().collect();
    for dependent in dependents {
        if let Some(object) = store.get(&dependent).cloned() {
            drop_owner(store, &dependent, &object, uid);
        }
    }
    drop_finalizer(store, key, ORPHAN);
}

fn delete_dependents_first(store: &mut Store, key: &Key, uid: &str, now: Timestamp) {
    let dependents: Vec<Key> = store.dependents(uid).cloned().collect();
    let foreground = Options { propagation: Some(Propagation::Foreground), ..Options::default() };
    for dependent in &dependents {
        let Some(object) = store.get(dependent).cloned() else { continue };
        if view::is_terminating(&object) {
            continue;
        }
        // Somebody else keeps it: it only loses this owner.
        if view::list(&object, &["metadata", "ownerReferences"]).iter().any(|owner| keeps(store, dependent, owner)) {
            drop_owner(store, dependent, &object, uid);
            continue;
        }
        // What owns something itself is deleted the same way; a leaf needs no finalizer.
        let owns = store.dependents(view::uid(&object)).next().is_some();
        let options = if owns { foreground.clone() } else { Options::default() };
        let _deleted = delete_with(store, dependent, &options, now, false);
    }
    if blocking(store, uid) == 0 {
        drop_finalizer(store, key, FOREGROUND);
    }
}

/// Dependants that hold up a foreground deletion.
fn blocking(store: &Store, uid: &str) -> usize {
    let blocks = |key: &Key| {
        store.get(key).is_some_and(|object| {
            let owners = view::list(object, &["metadata", "ownerReferences"]);
            owners.iter().any(|o| view::text(o, &["uid"]) == uid && view::flag(o, &["blockOwnerDeletion"]))
        })
    };
    store.dependents(uid).filter(|key| blocks(key)).count()
}

/// Lets the owners of a gone object go when they were only waiting for it.
fn blocked_owners(store: &mut Store, gone: &Value) {
    for owner in view::list(gone, &["metadata", "ownerReferences"]) {
        let Some(kind) = store.kind_named(view::text(owner, &["apiVersion"]), view::text(owner, &["kind"])) else { continue };
        let key = Key::new(kind, view::namespace(gone), view::text(owner, &["name"]));
        let uid = view::text(owner, &["uid"]);
        let waiting = store.get(&key).is_some_and(|object| {
            view::uid(object) == uid
                && view::is_terminating(object)
                && view::list(object, &["metadata", "finalizers"]).iter().any(|f| f.as_str() == Some(FOREGROUND))
        });
        if waiting && blocking(store, uid) == 0 {
            drop_finalizer(store, &key, FOREGROUND);
        }
    }
}

fn namespaced_keys(store: &Store, namespace: &str) -> Vec<Key> {
    let kinds = store.kinds().filter(|kind| kind.namespaced);
    kinds.flat_map(|kind| store.list(kind, Some(namespace)).map(|(key, _)| key.clone())).collect()
}

fn namespace_is_empty(store: &Store, namespace: &str) -> bool {
    store.kinds().filter(|kind| kind.namespaced).all(|kind| store.list(kind, Some(namespace)).next().is_none())
}

fn empty_namespace(store: &mut Store, key: &Key, now: Timestamp) {
    let contents = if store.follows(Rule::NamespaceContent) { namespaced_keys(store, &key.name) } else { Vec::new() };
    for content in contents {
        if store.get(&content).is_some_and(|object| !view::is_terminating(object)) {
            let _deleted = delete_with(store, &content, &background(), now, false);
        }
    }
    remove_empty_namespace(store, key);
}

fn namespace_content_gone(store: &mut Store, gone: &Key) {
    if gone.kind.namespaced {
        remove_empty_namespace(store, &Key::new(kinds::NAMESPACE, "", &gone.namespace));
    }
}

fn remove_empty_namespace(store: &mut Store, key: &Key) {
    let going =
        store.get(key).is_some_and(|object| view::is_terminating(object) && view::list(object, &["metadata", "finalizers"]).is_empty());
    if going && namespace_is_empty(store, &key.name) {
        store.remove(key);
    }
}

/// Reads `DeleteOptions` from a body and the query.
pub(crate) fn options(body: &Value, query: impl Fn(&str) -> Option<String>) -> Result<Options, Status> {
    let wrong = |field: &str| {
        let (found, go) = match view::at(body, &field.split('.').collect::<Vec<_>>()) {
            Some(Value::String(_)) => ("string", if field.starts_with("grace") { "int64" } else { "bool" }),
            Some(Value::Number(_)) => ("number", if field.starts_with("orphan") { "bool" } else { "string" }),
            Some(Value::Bool(_)) => ("bool", "string"),
            Some(Value::Array(_)) => ("array", "string"),
            _ => ("object", "string"),
        };
        Status::bad_request(format!("json: cannot unmarshal {found} into Go struct field DeleteOptions.{field} of type {go}"))
    };
    let grace = match (body.get("gracePeriodSeconds"), query("gracePeriodSeconds")) {
        (Some(Value::Null) | None, None) => None,
        (Some(Value::Null) | None, Some(text)) => Some(text.parse().map_err(|_| wrong("gracePeriodSeconds"))?),
        (Some(value), _) => Some(value.as_i64().ok_or_else(|| wrong("gracePeriodSeconds"))?),
    };
    let text = |path: &[&str]| match view::at(body, path) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.to_string())),
        Some(_) => Err(wrong(&path.join("."))),
    };
    let policy = text(&["propagationPolicy"])?.or_else(|| query("propagationPolicy"));
    let orphan = match (body.get("orphanDependents"), query("orphanDependents")) {
        (Some(Value::Bool(orphan)), _) => Some(*orphan),
        (Some(Value::Null) | None, text) => text.map(|text| text == "true" || text == "1"),
        (Some(_), _) => return Err(wrong("orphanDependents")),
    };
    if policy.is_some() && orphan.is_some() {
        let why = "orphanDependents and deletionPropagation cannot be both set";
        let given = policy.as_deref().unwrap_or_default();
        return Err(Status::invalid_options("DeleteOptions", &Cause::invalid("propagationPolicy", &given.into(), why)));
    }
    let propagation = match (policy.as_deref(), orphan) {
        (Some("Background"), _) | (None, Some(false)) => Some(Propagation::Background),
        (Some("Foreground"), _) => Some(Propagation::Foreground),
        (Some("Orphan"), _) | (None, Some(true)) => Some(Propagation::Orphan),
        (None, None) => None,
        (Some(other), _) => return Err(bad_policy(other)),
    };
    Ok(Options {
        grace,
        propagation,
        uid: text(&["preconditions", "uid"])?,
        resource_version: text(&["preconditions", "resourceVersion"])?,
    })
}

fn bad_policy(given: &str) -> Status {
    let cause = Cause::not_supported("propagationPolicy", &given.into(), &["Foreground", "Background", "Orphan", "nil"]);
    Status::invalid_options("DeleteOptions", &cause)
}
