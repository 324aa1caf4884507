//! What happens to a definition after it was written: its names are accepted or not, and its objects go before it goes.

use jiff::Timestamp;

use super::define::is_definition;
use crate::engine::{Ctx, Work};
use crate::gc;
use crate::json::{Map, Value, json};
use crate::kinds;
use crate::status::Status;
use crate::store::{Change, Key, Store};
use crate::view;

/// Holds a definition until its objects are gone.
const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

const ACCEPTED: &str = "the initial names have been accepted";

/// The names of a definition in the order in which the server looks at them, and the reason of a conflict. The last one is told.
const NAMES: [(&str, &str); 5] = [
    ("plural", "PluralConflict"),
    ("singular", "SingularConflict"),
    ("shortNames", "ShortNamesConflict"),
    ("kind", "KindConflict"),
    ("listKind", "ListKindConflict"),
];

/// Prepares a definition for its deletion: its objects are to go first.
pub(crate) fn begin_removal(definition: &mut Value, now: Timestamp) {
    if view::is_terminating(definition) {
        return;
    }
    if let Some(finalizers) = view::list_mut(definition, &["metadata", "finalizers"])
        && !finalizers.iter().any(|name| name.as_str() == Some(CLEANUP))
    {
        finalizers.push(CLEANUP.into());
    }
    let message = "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon";
    set_condition(definition, now, ("Terminating", "True"), "InstanceDeletionPending", message);
}

/// Sets a condition; its time stays while its status does.
fn set_condition(definition: &mut Value, now: Timestamp, (kind, status): (&str, &str), reason: &str, message: &str) {
    let since = view::condition(definition, kind).filter(|condition| view::text(condition, &["status"]) == status);
    let since = since.map_or_else(|| view::stamp(now), |condition| view::shared(condition, &["lastTransitionTime"]));
    let condition = json!({"type": kind, "status": status, "lastTransitionTime": since, "reason": reason, "message": message});
    let Some(conditions) = view::list_mut(definition, &["status", "conditions"]) else { return };
    match conditions.iter_mut().find(|condition| view::text(condition, &["type"]) == kind) {
        Some(place) => *place = condition,
        None => conditions.push(condition),
    }
}

/// Carries on what a change means for definitions; `slow` says which are not established at once.
pub(crate) fn changed(store: &mut Store, change: &Change, now: Timestamp, slow: &dyn Fn(&str) -> bool) {
    if is_definition(change.key.kind) {
        let group = [&change.after, &change.before].into_iter().flatten().map(|object| view::text(object, &["spec", "group"])).next();
        if let Some(group) = group.map(str::to_owned) {
            accept_names(store, &group, now, slow);
        }
        if change.after.as_ref().is_some_and(|object| view::is_terminating(object)) {
            remove_objects(store, &change.key, now);
        }
    } else if change.after.is_none() && change.key.kind.custom().is_some() {
        let kind = change.key.kind;
        let key = Key::new(kinds::CUSTOM_RESOURCE_DEFINITION, "", &kind.group_resource());
        if store.get(&key).is_some_and(|object| view::is_terminating(object)) {
            remove_objects(store, &key, now);
        }
    }
}

/// Decides on the names of all definitions of a group: who came first has them.
fn accept_names(store: &mut Store, group: &str, now: Timestamp, slow: &dyn Fn(&str) -> bool) {
    let of_group = |object: &Value| view::text(object, &["spec", "group"]) == group;
    let keys: Vec<Key> = store
        .list(kinds::CUSTOM_RESOURCE_DEFINITION, None)
        .filter(|(_, object)| of_group(object) && !view::is_terminating(object))
        .map(|(key, _)| key.clone())
        .collect();
    for key in &keys {
        let Some(object) = store.get(key) else { continue };
        let others: Vec<Value> =
            keys.iter().filter(|other| *other != key).filter_map(|other| store.get(other)).map(|other| accepted(other)).collect();
        let decided = decide(object, &others, now, slow(&key.name));
        if decided != **object {
            // The definition was there a line ago, and nothing about it is refused.
            let _updated = store.update_with(key, decided, |_, _, _| false, false);
        }
    }
}

fn accepted(definition: &Value) -> Value {
    view::at(definition, &["status", "acceptedNames"]).cloned().unwrap_or_default()
}

/// The texts of a name or of a list of names.
fn texts(names: &Value, field: &str) -> Vec<String> {
    match names.get(field) {
        Some(Value::String(name)) => vec![name.to_string()].into_iter().filter(|name| !name.is_empty()).collect(),
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

/// Resources share one space of names, kinds another.
fn space(field: &str) -> &'static [&'static str] {
    if matches!(field, "kind" | "listKind") { &["kind", "listKind"] } else { &["plural", "singular", "shortNames"] }
}

fn decide(definition: &Value, others: &[Value], now: Timestamp, slow: bool) -> Value {
    let wanted = view::at(definition, &["spec", "names"]).cloned().unwrap_or_default();
    let mut names: Map = wanted.as_object().cloned().unwrap_or_default();
    let before = accepted(definition);
    let mut conflict = None;
    for (field, reason) in NAMES {
        let taken = |name: &String| others.iter().any(|other| space(field).iter().any(|of| texts(other, of).contains(name)));
        let in_conflict: Vec<String> = texts(&wanted, field).into_iter().filter(taken).collect();
        if in_conflict.is_empty() {
            continue;
        }
        let shown: Vec<String> = in_conflict.iter().map(|name| format!("{name:?}")).collect();
        conflict = Some((reason, format!("{} is already in use", shown.join(", "))));
        // What was accepted before stays.
        match before.get(field).filter(|value| !value.is_null()) {
            Some(value) => names.insert(field, value.clone()),
            None => names.remove(field),
        };
    }
    for field in ["plural", "kind"] {
        if !names.contains_key(field) {
            names.insert(field, "".into());
        }
    }
    let mut decided = definition.clone();
    view::set(&mut decided, &["status", "acceptedNames"], names);
    match conflict {
        Some((reason, message)) => {
            set_condition(&mut decided, now, ("NamesAccepted", "False"), reason, &message);
            if !view::condition_is_true(definition, "Established") {
                set_condition(&mut decided, now, ("Established", "False"), "NotAccepted", "not all names are accepted");
            }
        }
        None => {
            set_condition(&mut decided, now, ("NamesAccepted", "True"), "NoConflicts", "no conflicts found");
            if slow && !view::condition_is_true(definition, "Established") {
                set_condition(&mut decided, now, ("Established", "False"), "Installing", ACCEPTED);
            } else {
                set_condition(&mut decided, now, ("Established", "True"), "InitialNamesAccepted", ACCEPTED);
            }
        }
    }
    decided
}

/// Serves a definition that takes its time, when that is over.
///
/// # Errors
/// Never, but for a definition that the store does not take.
pub(crate) fn establish(ctx: &mut Ctx<'_>, key: &Key) -> Result<(), Status> {
    let Some(definition) = ctx.get(key) else { return Ok(()) };
    let waits = |condition: &&Value| view::text(condition, &["status"]) == "False" && view::text(condition, &["reason"]) == "Installing";
    let Some(condition) = view::condition(&definition, "Established").filter(waits) else { return Ok(()) };
    let since = view::time(condition, &["lastTransitionTime"]).unwrap_or_else(|| ctx.now());
    let due = ctx.engine.models.establishes(&key.name).map_or(since, |span| view::later(since, span));
    if due > ctx.now() {
        ctx.engine.wake_at(Work::Establish(key.clone()), due);
        return Ok(());
    }
    let mut object = (*definition).clone();
    set_condition(&mut object, ctx.now(), ("Established", "True"), "InitialNamesAccepted", ACCEPTED);
    ctx.update_in_generation(key, object).map(drop)
}

/// Deletes the objects of a definition that is going; when none is left it goes.
fn remove_objects(store: &mut Store, key: &Key, now: Timestamp) {
    let Some(definition) = store.get(key).cloned() else { return };
    if !view::list(&definition, &["metadata", "finalizers"]).iter().any(|name| name.as_str() == Some(CLEANUP)) {
        return;
    }
    let kind = store.customs().defined(&key.name);
    let keys: Vec<Key> = kind.map(|kind| store.list(kind, None).map(|(key, _)| key.clone()).collect()).unwrap_or_default();
    let mut object = (*definition).clone();
    if keys.is_empty() {
        if let Some(finalizers) = view::list_mut(&mut object, &["metadata", "finalizers"]) {
            finalizers.retain(|name| name.as_str() != Some(CLEANUP));
        }
        if view::list(&object, &["metadata", "finalizers"]).is_empty() {
            view::remove(&mut object, &["metadata", "finalizers"]);
        }
        set_condition(&mut object, now, ("Terminating", "False"), "InstanceDeletionCompleted", "removed all instances");
    } else {
        let message = "CustomResource deletion is in progress";
        set_condition(&mut object, now, ("Terminating", "True"), "InstanceDeletionInProgress", message);
    }
    if object != *definition {
        // Nobody else writes at this instant, and nothing about it is refused.
        let _updated = store.update_with(key, object, |_, _, _| false, false);
    }
    for key in keys {
        if store.get(&key).is_some_and(|object| !view::is_terminating(object)) {
            let _deleted = gc::delete_with(store, &key, &gc::background(), now, false);
        }
    }
}

/// 403 for a new object of a definition that is going.
pub(crate) fn refuse_new(store: &Store, kind: &kinds::Kind, name: &str) -> Result<(), Status> {
    let key = Key::new(kinds::CUSTOM_RESOURCE_DEFINITION, "", &kind.group_resource());
    if kind.custom().is_some() && store.get(&key).is_some_and(|definition| view::is_terminating(definition)) {
        return Err(Status::forbidden(kind, name, "create not allowed while custom resource definition is terminating"));
    }
    Ok(())
}
