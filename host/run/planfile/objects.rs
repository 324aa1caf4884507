//! The objects that a plan read, without what moves by itself: who wrote last and when, tokens that kubelets mount, and status, except what
//! the status of an object says that a check read, by its name or in a list where no controller made it. Pods are known by their owner and
//! place, never by a made-up name. The values of Secrets are hashes.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::status;
use crate::base::diff;
use crate::base::json::{Map, Value as Json, json};
use crate::cluster::reads::{Input, Inputs};
use crate::cluster::snapshot::redact::sealed;
use crate::run::steady::Steady;

/// Kinds that are written all the time by whoever they are about.
const RESTLESS: [&str; 4] = ["Event", "Lease", "Endpoints", "EndpointSlice"];
/// Annotations that are.
const RESTLESS_ANNOTATIONS: [&str; 3] =
    ["control-plane.alpha.kubernetes.io/leader", "kubectl.kubernetes.io/last-applied-configuration", diff::OPERATION];
/// Fields of `metadata` that move by themselves.
const KEPT_BY_SERVER: [&str; 6] =
    ["resourceVersion", "managedFields", "creationTimestamp", "generation", "selfLink", "deletionGracePeriodSeconds"];
/// What the names of the volumes begin with that API servers mount for tokens, before five made-up characters.
const TOKENS: &str = "kube-api-access-";

/// An input as it is bound.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Bound {
    /// Pods of one controller on one node: each is as good as another.
    Pods {
        /// Their contents, sorted.
        pods: Vec<Json>,
    },
    /// One object.
    One {
        /// Its content; null where it was looked for and not there.
        object: Json,
    },
}

/// Every input, and the lists, by names that do not move.
pub(super) fn bind(inputs: &Inputs, steady: &Steady) -> (BTreeMap<String, Bound>, BTreeMap<String, Vec<String>>) {
    let mut bound: BTreeMap<String, Bound> = BTreeMap::new();
    for input in &inputs.objects {
        let Some(object) = &input.found else {
            bound.insert(input.object.clone(), Bound::One { object: Json::Null });
            continue;
        };
        if is_restless(object) {
            continue;
        }
        let name = name(input, steady);
        let mut content = content(object);
        if let Some(status) = input.checked.then(|| status::said(object)).flatten() {
            content["status"] = status;
        }
        match (&mut bound.get_mut(&name), name == input.object) {
            (Some(Bound::Pods { pods }), false) => pods.push(content),
            (_, false) => drop(bound.insert(name, Bound::Pods { pods: vec![content] })),
            (_, true) => drop(bound.insert(name, Bound::One { object: content })),
        }
    }
    for one in bound.values_mut() {
        if let Bound::Pods { pods } = one {
            pods.sort_by_key(ToString::to_string);
        }
    }
    let lists = inputs.lists.iter().map(|list| {
        let items = list.items.iter().filter(|item| item.found.as_deref().is_some_and(|object| !is_restless(object)));
        let mut names: Vec<String> = items.map(|item| name(item, steady)).collect();
        names.sort();
        (list.about.clone(), names)
    });
    (bound, lists.collect())
}

fn is_restless(object: &Json) -> bool {
    object.get("kind").and_then(Json::as_str).is_some_and(|kind| RESTLESS.contains(&kind))
}

/// `deployment/shop/web`; of a pod with a made-up name `pods of replicaset/shop/web-5d4f8 on w1`; of something else with a made-up name
/// where it begins.
fn name(input: &Input, steady: &Steady) -> String {
    let Some(object) = &input.found else { return input.object.clone() };
    let (head, own) = input.object.rsplit_once('/').unwrap_or(("", &input.object));
    let text = |path: &str| object.pointer(path).and_then(Json::as_str).unwrap_or_default();
    let generated = text("/metadata/generateName");
    let made_up = if generated.is_empty() { steady.beginning(own).unwrap_or_default() } else { generated };
    if made_up.is_empty() || !own.starts_with(made_up) {
        return input.object.clone();
    }
    if text("/kind") != "Pod" {
        return format!("{head}/{made_up}…");
    }
    let owners = object.pointer("/metadata/ownerReferences").and_then(Json::as_array).into_iter().flatten();
    let owner = owners.filter(|owner| owner["controller"] == true).find_map(|owner| {
        Some(format!("{}/{}/{}", owner["kind"].as_str()?.to_lowercase(), text("/metadata/namespace"), owner["name"].as_str()?))
    });
    let place = match text("/spec/nodeName") {
        "" => "no node".to_owned(),
        node => format!("node/{node}"),
    };
    format!("pods of {} on {place}", owner.unwrap_or_else(|| format!("{made_up}…")))
}

/// The object without what moves by itself.
fn content(object: &Json) -> Json {
    let mut object = object.clone();
    let (is_secret, is_pod) = (object["kind"] == "Secret", object["kind"] == "Pod");
    let Json::Object(fields) = &mut object else { return object };
    fields.remove("status");
    if let Some(Json::Object(metadata)) = fields.get_mut("metadata") {
        KEPT_BY_SERVER.iter().for_each(|field| drop(metadata.remove(field)));
        // An owner that was made again says so itself.
        for owner in metadata.get_mut("ownerReferences").and_then(Json::as_array_mut).into_iter().flat_map(|owners| owners.iter_mut()) {
            owner.as_object_mut().map(|owner| owner.remove("uid"));
        }
        if is_pod {
            ["name", "uid"].iter().for_each(|field| drop(metadata.remove(field)));
        }
        if let Some(Json::Object(annotations)) = metadata.get_mut("annotations") {
            RESTLESS_ANNOTATIONS.iter().for_each(|name| drop(annotations.remove(name)));
        }
        if metadata.get("annotations").and_then(Json::as_object).is_some_and(Map::is_empty) {
            metadata.remove("annotations");
        }
    }
    if is_secret {
        for part in ["data", "stringData"] {
            let Some(Json::Object(values)) = fields.get_mut(part) else { continue };
            for value in values.values_mut() {
                // The same on a snapshot, which has hashes in their place.
                *value = format!("sha256 {}…", sealed(value.as_str().unwrap_or_default())).into();
            }
        }
    }
    if is_pod {
        without_tokens(fields);
    }
    object
}

/// Takes out the volumes of tokens, whose names are made up.
fn without_tokens(pod: &mut Map) {
    let is_token = |item: &Json| item.get("name").and_then(Json::as_str).is_some_and(|name| name.starts_with(TOKENS));
    let Some(Json::Object(spec)) = pod.get_mut("spec") else { return };
    if let Some(Json::Array(volumes)) = spec.get_mut("volumes") {
        volumes.retain(|volume| !is_token(volume));
    }
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        let Some(Json::Array(containers)) = spec.get_mut(list) else { continue };
        for place in 0..containers.len() {
            if let Some(Json::Array(mounts)) = containers.get_mut(place).and_then(|container| container.get_mut("volumeMounts")) {
                mounts.retain(|mount| !is_token(mount));
            }
        }
    }
}

/// What is another now: which object, which field, what it was and what it is.
pub(super) fn differences(then: &BTreeMap<String, Bound>, now: &BTreeMap<String, Bound>) -> Vec<String> {
    let names: BTreeSet<&String> = then.keys().chain(now.keys()).collect();
    let mut told = Vec::new();
    for name in names {
        match (then.get(name), now.get(name)) {
            (Some(then), Some(now)) if then == now => {}
            (Some(Bound::Pods { pods: then }), Some(Bound::Pods { pods: now })) if then.len() != now.len() => {
                told.push(format!("{name}: {} -> {}", then.len(), now.len()));
            }
            (Some(Bound::Pods { pods: then }), Some(Bound::Pods { pods: now })) => {
                let other = then.iter().zip(now).find(|(then, now)| then != now);
                told.extend(other.into_iter().flat_map(|(then, now)| fields(name, then, now)));
            }
            (Some(Bound::One { object: Json::Null }), Some(_)) => told.push(format!("{name}: was not there and is now")),
            (Some(_), Some(Bound::One { object: Json::Null })) => told.push(format!("{name}: is gone")),
            (Some(Bound::One { object: then }), Some(Bound::One { object: now })) => told.extend(fields(name, then, now)),
            // What is in one of them only was read in one of them only: a list tells of it, or a claim.
            (Some(Bound::Pods { pods }), None) => told.push(format!("{name}: {} -> 0", pods.len())),
            (None, Some(Bound::Pods { pods })) => told.push(format!("{name}: 0 -> {}", pods.len())),
            _ => {}
        }
    }
    told
}

fn fields(name: &str, then: &Json, now: &Json) -> Vec<String> {
    // A uid is what tells a thing from another of the same name.
    let uid = |object: &Json| object.pointer("/metadata/uid").cloned().unwrap_or_default();
    let mut changes: Vec<String> = diff::changes(then, now).iter().map(|change| format!("{name}: {change}")).collect();
    let status = |object: &Json| object.get("status").cloned().unwrap_or_default();
    status_fields(&format!("{name}: status"), &status(then), &status(now), &mut changes);
    if changes.is_empty() && uid(then) != uid(now) {
        changes.push(format!("{name}: was deleted and made again: uid {} -> {}", shown(&uid(then)), shown(&uid(now))));
    }
    if changes.is_empty() {
        changes.push(format!("{name}: {} -> {}", json!(then), json!(now)));
    }
    changes
}

/// What is another in the status of an object, field by field.
fn status_fields(path: &str, then: &Json, now: &Json, told: &mut Vec<String>) {
    match (then.as_object(), now.as_object()) {
        _ if then == now => {}
        (Some(old), Some(new)) => {
            let names: BTreeSet<&str> = old.iter().chain(new.iter()).map(|(name, _)| name.as_str()).collect();
            let of = |map: &Map, name: &str| map.get(name).cloned().unwrap_or_default();
            names.into_iter().for_each(|name| status_fields(&format!("{path}.{name}"), &of(old, name), &of(new, name), told));
        }
        _ => told.push(format!("{path} {} -> {}", shown(then), shown(now))),
    }
}

fn shown(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// What is new in a list, or no longer in it, as far as the differences of the objects do not say it.
pub(super) fn list_differences(
    then: &BTreeMap<String, Vec<String>>,
    now: &BTreeMap<String, Vec<String>>,
    objects: &BTreeMap<String, Bound>,
    objects_now: &BTreeMap<String, Bound>,
) -> Vec<String> {
    let mut told = BTreeSet::new();
    for (about, names) in then {
        let Some(names_now) = now.get(about) else { continue };
        let (then, now): (BTreeSet<&String>, BTreeSet<&String>) = (names.iter().collect(), names_now.iter().collect());
        let is_one = |objects: &BTreeMap<String, Bound>, name: &str| matches!(objects.get(name), Some(Bound::One { .. }));
        told.extend(now.difference(&then).filter(|name| is_one(objects_now, name)).map(|name| format!("{name}: is new among {about}")));
        told.extend(then.difference(&now).filter(|name| is_one(objects, name)).map(|name| format!("{name}: is gone from {about}")));
    }
    told.into_iter().collect()
}
