//! What a cluster holds at the end, and what was done to it, without what differs from one run to the next: versions, times, made-up
//! names. Two runs that did the same give equal lines.

use lockgate_sim::Cluster as Sim;
use lockgate_sim::ledger::Effect;
use lockgate_sim::request::Request;
use lockgate_sim::store::Change;

use super::kill::is_ours;
use crate::base::diff::{BOOKKEEPING, changes};
use crate::base::json::{Value as Json, json};
use crate::base::{Span, Timestamp};

/// The kinds whose objects a run may change.
pub const KINDS: [(&str, &str, &str); 12] = [
    ("apps", "v1", "deployments"),
    ("apps", "v1", "daemonsets"),
    ("apps", "v1", "statefulsets"),
    ("batch", "v1", "jobs"),
    ("", "v1", "configmaps"),
    ("", "v1", "namespaces"),
    ("", "v1", "nodes"),
    ("", "v1", "pods"),
    ("", "v1", "secrets"),
    ("", "v1", "serviceaccounts"),
    ("", "v1", "services"),
    ("policy", "v1", "poddisruptionbudgets"),
];

/// What somebody else writes in tests, and nobody cares about.
pub const THEIRS: &str = "somebody.example/was-here";

/// How long a cluster is given to come to rest.
const REST: Span = Span::from_secs(900);

/// What a cluster holds a quarter of an hour later.
pub fn held(sim: &mut Sim) -> Vec<String> {
    sim.advance_to(REST.after(sim.now()));
    let kinds = KINDS.iter().filter_map(|(group, version, plural)| lockgate_sim::kinds::by_resource(group, version, plural));
    let mut found: Vec<String> =
        kinds.flat_map(|kind| sim.store().list(kind, None).map(|(_, object)| tidy(object).to_string()).collect::<Vec<_>>()).collect();
    found.extend(customs(sim));
    found.sort();
    found
}

/// The objects of kinds that were defined.
fn customs(sim: &mut Sim) -> Vec<String> {
    let text = |value: &Json, pointer: &str| value.pointer(pointer).and_then(Json::as_str).unwrap_or_default().to_owned();
    let defined: Vec<String> = match lockgate_sim::kinds::by_resource("apiextensions.k8s.io", "v1", "customresourcedefinitions") {
        None => Vec::new(),
        Some(kind) => {
            let all = sim.store().list(kind, None).map(|(_, crd)| {
                let version = text(crd, "/spec/versions/0/name");
                format!("/apis/{}/{version}/{}", text(crd, "/spec/group"), text(crd, "/spec/names/plural"))
            });
            all.collect()
        }
    };
    let mut found = Vec::new();
    for path in defined {
        let answer = sim.handle(&Request::get(&path));
        let items = answer.value().and_then(|list| list.get("items")).and_then(Json::as_array);
        found.extend(items.into_iter().flatten().map(|item| tidy(item).to_string()));
    }
    found
}

/// Every effect that clients had, those on the lock and events apart, sorted: what is in it twice was done twice.
#[must_use]
pub fn effects(sim: &Sim) -> Vec<String> {
    let effects = sim.ledger().iter().filter(|effect| is_ours(effect));
    let mut found: Vec<String> = effects.map(|effect| format!("{} {}", effect.verb, effect.subject)).collect();
    found.sort();
    found
}

/// What an effect was, in the words that it has in every run: `patch deployment/default/web: spec.replicas: 3 -> 0`. `None` when it
/// changed nothing but the stamp of who wrote last. A command has no change.
#[must_use]
pub fn effective(effect: &Effect, change: Option<&Change>) -> Option<String> {
    let Some(change) = change else { return Some(format!("{} {}", effect.verb, effect.subject)) };
    let subject = subject(effect, change);
    let goes = |object: &Json| object.pointer("/metadata/deletionTimestamp").is_some();
    let what = match (&change.before, &change.after) {
        (None, Some(after)) => tidy(after).to_string(),
        (Some(_), None) => "gone".to_owned(),
        (Some(before), Some(after)) if goes(after) => if goes(before) { "is going already" } else { "is going" }.to_owned(),
        (Some(before), Some(after)) => {
            let [before, after] = [before, after].map(|object| {
                let mut object = if is_release(object) { tidy(object) } else { (**object).clone() };
                mask(&mut object);
                object
            });
            let changed: Vec<String> =
                changes(&before, &after).iter().map(|change| format!("{}: {}", change.path, change.values())).collect();
            if changed.is_empty() {
                return None;
            }
            changed.join("; ")
        }
        (None, None) => return None,
    };
    Some(format!("{} {subject}: {what}", effect.verb))
}

/// The object with its generated name left out.
fn subject(effect: &Effect, change: &Change) -> String {
    let object = change.after.as_ref().or(change.before.as_ref());
    let Some(base) = object.and_then(|object| object.pointer("/metadata/generateName")).and_then(Json::as_str) else {
        return effect.subject.clone();
    };
    let parts = effect.subject.split('/').map(|part| if part.starts_with(base) { format!("{base}*") } else { part.to_owned() });
    parts.collect::<Vec<_>>().join("/")
}

fn is_release(object: &Json) -> bool {
    object["type"] == "helm.sh/release.v1"
}

/// Leaves of an object what a person would call its state.
#[must_use]
pub fn tidy(object: &Json) -> Json {
    let mut object = object.clone();
    let at = |pointer: &str| object.pointer(pointer).cloned().unwrap_or(Json::Null);
    if object["kind"] == "Pod" {
        let owner = at("/metadata/ownerReferences/0/kind");
        let name = if owner == Json::Null { at("/metadata/name") } else { Json::Null };
        // Which node a Deployment's pod gets is chance.
        let node = if owner == "ReplicaSet" { Json::Null } else { at("/spec/nodeName") };
        return json!({
            "kind": "Pod", "name": name, "owner": owner, "image": at("/spec/containers/0/image"), "phase": at("/status/phase"),
            "node": node, "app": at("/metadata/labels/app"),
        });
    }
    if is_release(&object) {
        let mut labels = at("/metadata/labels");
        if let Some(labels) = labels.as_object_mut() {
            labels.remove("modifiedAt");
        }
        return json!({ "kind": "Release", "name": at("/metadata/name"), "labels": labels });
    }
    if let Some(pod) = owner_pod(&object) {
        let start = pod.rsplit_once('-').map_or("", |(start, _)| start).to_owned();
        rename(&mut object, &pod, &format!("{start}-*"));
    }
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
        if let Some(metadata) = fields.get_mut("metadata") {
            tidy_metadata(metadata);
        }
    }
    mask(&mut object);
    object
}

/// The pod that an object belongs to, when its name was made up: five letters and digits at its end, as servers make them.
fn owner_pod(object: &Json) -> Option<String> {
    let owners = object.pointer("/metadata/ownerReferences").and_then(Json::as_array)?;
    let pod = owners.iter().find(|owner| owner["kind"] == "Pod")?["name"].as_str()?;
    let drawn = pod.rsplit_once('-')?.1;
    let is_drawn = drawn.len() == 5 && drawn.bytes().all(|byte| b"bcdfghjklmnpqrstvwxz2456789".contains(&byte));
    is_drawn.then(|| pod.to_owned())
}

/// Says another name wherever this one is said.
fn rename(value: &mut Json, from: &str, to: &str) {
    match value {
        Json::String(text) if text.contains(from) => *value = text.replace(from, to).into(),
        Json::Array(items) => items.iter_mut().for_each(|item| rename(item, from, to)),
        Json::Object(fields) => fields.values_mut().for_each(|field| rename(field, from, to)),
        _ => {}
    }
}

fn tidy_metadata(metadata: &mut Json) {
    let Some(metadata) = metadata.as_object_mut() else { return };
    for field in ["resourceVersion", "uid", "managedFields", "generation", "creationTimestamp", "ownerReferences"] {
        metadata.remove(field);
    }
    if let Some(base) = metadata.get("generateName").and_then(Json::as_str).map(str::to_owned) {
        metadata.insert("name", format!("{base}*").into());
    }
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Json::as_object_mut) {
        BOOKKEEPING.iter().chain([&THEIRS]).for_each(|name| drop(annotations.remove(name)));
        if annotations.is_empty() {
            metadata.remove("annotations");
        }
    }
}

/// A time is a time.
fn mask(value: &mut Json) {
    match value {
        Json::String(text) if text.len() >= 20 && text.as_bytes().get(10) == Some(&b'T') && text.parse::<Timestamp>().is_ok() => {
            *value = "TIME".into();
        }
        Json::Array(items) => items.iter_mut().for_each(mask),
        Json::Object(fields) => fields.values_mut().for_each(mask),
        _ => {}
    }
}
