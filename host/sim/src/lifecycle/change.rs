//! What an entry changes.

use std::collections::BTreeMap;

use super::referred;
use super::words::{Words, split};
use crate::engine::Ctx;
use crate::json::{Value, json};
use crate::kinds::Kind;
use crate::model::{ConditionModel, ObjectModel};
use crate::patch::{self, PatchKind};
use crate::status::Status;
use crate::store::{Key, Store};
use crate::{crd, defaults, kinds, validate, view};

/// What there is to do.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It is so already, or there is nothing that could be changed.
    Nothing,
    Update(Key, Value),
    Make(&'static Kind, Value),
    Delete(Key),
}

/// What an entry makes of an object now.
///
/// # Errors
/// A patch that does not fit, or an object that the API would refuse: the entry is wrong.
pub(super) fn outcome(ctx: &Ctx<'_>, entry: &ObjectModel, key: &Key, object: &Value) -> Result<Outcome, Status> {
    if entry.delete {
        return Ok(if view::is_terminating(object) { Outcome::Nothing } else { Outcome::Delete(key.clone()) });
    }
    if !entry.make.is_null() {
        return to_make(ctx.store, entry, object);
    }
    let words = Words { store: ctx.store, subject: object, table: &entry.table, found: &[] };
    let target = match &entry.to {
        None => Some(key.clone()),
        Some(reference) => words.text(reference).and_then(|reference| referred(ctx.store, &reference, object)),
    };
    let Some((key, before)) = target.and_then(|key| ctx.get(&key).map(|before| (key, before))) else { return Ok(Outcome::Nothing) };
    let (Some(set), Some(status), Some(tags)) = (words.filled(&entry.set), words.filled(&entry.status), words.tags(&entry.tags)) else {
        return Ok(Outcome::Nothing);
    };
    let mut after = (*before).clone();
    if !set.is_null() {
        let form = if key.kind.custom().is_some() { PatchKind::Merge } else { PatchKind::Strategic };
        after = patch::apply(form, key.kind, &after, set.to_string().as_bytes())?;
    }
    if !status.is_null() {
        after.merge(&json!({ "status": status }));
    }
    retag(&mut after, &tags);
    for (kind, model) in &entry.conditions {
        let text = |text: &str| words.text(text).unwrap_or_default();
        condition(&mut after, kind, model, (text(&model.reason), text(&model.message)), &view::stamp(ctx.now()));
    }
    changed(key, &before, after)
}

/// What writing an object anew comes to, by a program that has the rights to.
///
/// # Errors
/// An object that the API would refuse.
pub(crate) fn changed(key: Key, before: &Value, mut after: Value) -> Result<Outcome, Status> {
    crd::prepare(key.kind, &mut after);
    defaults::apply(key.kind, &mut after);
    defaults::workload::count_template(key.kind, Some(before), &mut after);
    if after == *before {
        return Ok(Outcome::Nothing);
    }
    check(key.kind, &after)?;
    validate::update(key.kind, before, &after)?;
    crd::into_storage(key.kind, &mut after);
    Ok(Outcome::Update(key, after))
}

/// What making an object comes to.
///
/// # Errors
/// An object that the API would refuse.
pub(crate) fn made(kind: &'static Kind, mut object: Value) -> Result<Outcome, Status> {
    crd::prepare(kind, &mut object);
    defaults::apply(kind, &mut object);
    check(kind, &object)?;
    Ok(Outcome::Make(kind, object))
}

fn check(kind: &Kind, object: &Value) -> Result<(), Status> {
    validate::shape(kind, object).map_err(Status::bad_request)?;
    crd::validate(kind, object, None, false)?;
    crd::validate(kind, object, None, true)
}

/// The kind of this name in this version.
pub(crate) fn known(store: &Store, version: &str, name: &str) -> Option<&'static Kind> {
    kinds::by_kind(version, name).or_else(|| store.customs().by_kind(version, name))
}

fn to_make(store: &Store, entry: &ObjectModel, subject: &Value) -> Result<Outcome, Status> {
    let Some(mut object) = (Words { store, subject, table: &entry.table, found: &[] }).filled(&entry.make) else {
        return Ok(Outcome::Nothing);
    };
    if let Some(number) = view::int(&object, &["metadata", "name"]) {
        view::set(&mut object, &["metadata", "name"], number.to_string());
    }
    let (version, name) = (view::text(&object, &["apiVersion"]).to_owned(), view::text(&object, &["kind"]).to_owned());
    let Some(kind) = known(store, &version, &name) else {
        // Its definition is not there yet; an operator would wait for it.
        return Ok(Outcome::Nothing);
    };
    if kind.namespaced && view::namespace(&object).is_empty() {
        let namespace = Some(view::namespace(subject)).filter(|namespace| !namespace.is_empty()).unwrap_or("default").to_owned();
        view::set(&mut object, &["metadata", "namespace"], namespace);
    }
    if view::is_terminating(subject) || store.get(&Key::of(kind, &object)).is_some() {
        return Ok(Outcome::Nothing);
    }
    if entry.owned {
        let owner = json!({"apiVersion": view::text(subject, &["apiVersion"]), "kind": view::text(subject, &["kind"]),
            "name": view::name(subject), "uid": view::uid(subject)});
        view::set(&mut object, &["metadata", "ownerReferences"], json!([owner]));
    }
    made(kind, object)
}

fn condition(object: &mut Value, kind: &str, model: &ConditionModel, (reason, message): (String, String), now: &str) {
    let same = view::condition(object, kind).filter(|before| view::text(before, &["status"]) == model.status);
    let since = same.map(|before| view::text(before, &["lastTransitionTime"])).filter(|since| !since.is_empty()).unwrap_or(now).to_owned();
    if view::list_mut(object, &["status", "conditions"]).is_none() {
        view::set(object, &["status", "conditions"], json!([]));
    }
    let Some(conditions) = view::list_mut(object, &["status", "conditions"]) else { return };
    let wanted = json!({"type": kind, "status": model.status, "lastTransitionTime": since, "reason": reason, "message": message});
    match conditions.iter_mut().find(|condition| view::text(condition, &["type"]) == kind) {
        // Fields that the entry does not know stay.
        Some(place) => place.merge(&wanted),
        None => conditions.push(wanted),
    }
}

impl Outcome {
    /// Does it.
    pub(crate) fn make(self, ctx: &mut Ctx<'_>) -> Result<(), Status> {
        match self {
            Self::Nothing => Ok(()),
            Self::Update(key, object) => ctx.update(&key, object).map(drop),
            Self::Make(kind, object) => ctx.create(kind, object).map(drop),
            Self::Delete(key) => ctx.delete(&key),
        }
    }
}

/// Gives the images of a workload's containers new tags.
fn retag(object: &mut Value, tags: &BTreeMap<String, String>) {
    for field in ["containers", "initContainers"] {
        let Some(containers) = view::list_mut(object, &["spec", "template", "spec", field]) else { continue };
        for container in containers.iter_mut() {
            let Some(tag) = tags.get(view::text(container, &["name"])).or_else(|| tags.get("*")) else { continue };
            let image = view::text(container, &["image"]);
            let (repository, _) = split(image);
            let tagged = format!("{repository}:{tag}");
            view::set(container, &["image"], tagged);
        }
    }
}
