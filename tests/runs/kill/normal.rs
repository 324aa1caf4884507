//! What a cluster holds and what was done to it, without what differs from one run to the next: versions, times, made-up names.

use std::sync::Arc;

use lockgate::base::diff::changes;
use lockgate::cli::test::ended::KINDS;
use lockgate::cluster::Cluster;
use lockgate_sim::Cluster as Sim;
use lockgate_sim::json::{Value as Json, json};
use lockgate_sim::ledger::Effect;
use lockgate_sim::store::Change;

/// What somebody else writes in these tests, and nobody cares about.
pub(in crate::runs) const THEIRS: &str = "somebody.example/was-here";
/// Annotations that say when or by which operation.
const BOOKKEEPING: [&str; 3] = ["lockgate.dev/op", "deployment.kubernetes.io/revision", THEIRS];

/// What a cluster holds a quarter of an hour later that a run may have changed, without what moves by itself.
pub(in crate::runs) fn state(cluster: &Cluster) -> Vec<String> {
    cluster.simulation().unwrap().with(held)
}

/// The same of the cluster itself.
pub(in crate::runs) fn held(sim: &mut Sim) -> Vec<String> {
    let until = sim.now() + lockgate::base::Span::from_secs(900).as_duration();
    sim.advance_to(until);
    let mut found: Vec<String> = Vec::new();
    for (group, version, plural) in KINDS {
        let Some(kind) = lockgate_sim::kinds::by_resource(group, version, plural) else { continue };
        found.extend(sim.store().list(kind, None).map(|(_, object)| tidy(object).to_string()));
    }
    found.sort();
    found
}

/// Leaves what a person would call the state.
fn tidy(object: &Json) -> Json {
    let mut object = object.clone();
    if object["kind"] == "Pod" {
        let owner = object.pointer("/metadata/ownerReferences/0/kind").cloned().unwrap_or(Json::Null);
        let image = object.pointer("/spec/containers/0/image").cloned().unwrap_or(Json::Null);
        let metadata = &object["metadata"];
        let name = if owner == Json::Null { metadata["name"].clone() } else { Json::Null };
        // Which node a Deployment's pod gets is chance.
        let node = if owner == "ReplicaSet" { Json::Null } else { object["spec"]["nodeName"].clone() };
        let (phase, label) = (object["status"]["phase"].clone(), metadata["labels"]["app"].clone());
        return json!({ "kind": "Pod", "name": name, "owner": owner, "image": image, "phase": phase, "node": node, "label": label });
    }
    if object["type"] == "helm.sh/release.v1" {
        let mut labels = object["metadata"]["labels"].clone();
        if let Some(labels) = labels.as_object_mut() {
            labels.remove("modifiedAt");
        }
        return json!({ "kind": "Release", "name": object["metadata"]["name"], "labels": labels });
    }
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
    }
    tidy_metadata(&mut object);
    mask(&mut object);
    object
}

fn tidy_metadata(object: &mut Json) {
    let Some(metadata) = object.get_mut("metadata").and_then(Json::as_object_mut) else { return };
    for field in ["resourceVersion", "uid", "managedFields", "generation", "creationTimestamp", "ownerReferences"] {
        metadata.remove(field);
    }
    if let Some(base) = metadata.get("generateName").and_then(Json::as_str).map(str::to_owned) {
        metadata.insert("name", Json::from(format!("{base}*")));
    }
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Json::as_object_mut) {
        BOOKKEEPING.iter().for_each(|name| drop(annotations.remove(name)));
    }
    if metadata.get("annotations").and_then(Json::as_object).is_some_and(|annotations| annotations.is_empty()) {
        metadata.remove("annotations");
    }
}

/// A time is a time.
fn mask(value: &mut Json) {
    match value {
        Json::String(text) if is_time(text) => *value = "TIME".into(),
        Json::Array(items) => items.iter_mut().for_each(mask),
        Json::Object(fields) => fields.values_mut().for_each(mask),
        _ => {}
    }
}

fn is_time(text: &str) -> bool {
    text.len() >= 20 && text.as_bytes().get(10) == Some(&b'T') && text.parse::<lockgate::base::Timestamp>().is_ok()
}

/// Every effect that clients had on the cluster, the lock's apart, sorted: nothing may be in it twice that was not meant twice.
pub(in crate::runs) fn effects(cluster: &Cluster) -> Vec<String> {
    let simulation = cluster.simulation().unwrap();
    let of = |effect: &Effect| format!("{} {}", effect.verb, effect.subject);
    let mut found: Vec<String> =
        simulation.with(|sim| sim.ledger().iter().filter(|effect| !effect.subject.starts_with("lease/")).map(of).collect());
    found.sort();
    found
}

/// What an effect was, in the words that it has in every run: `patch deployment/default/web: spec.replicas: 3 -> 0`. `None` when it
/// changed nothing but the stamp of who wrote last.
pub(super) fn effective(effect: &Effect, change: Option<&Change>) -> Option<String> {
    let Some(change) = change else {
        // A command.
        return Some(format!("{} {}", effect.verb, effect.subject));
    };
    let subject = subject(effect, change);
    let what = match (&change.before, &change.after) {
        (None, Some(after)) => created(after),
        (Some(_), None) => "gone".to_owned(),
        (Some(before), Some(after)) if after.pointer("/metadata/deletionTimestamp").is_some() => {
            if before.pointer("/metadata/deletionTimestamp").is_some() { "is going already" } else { "is going" }.to_owned()
        }
        (Some(before), Some(after)) => {
            let (mut before, mut after) = ((**before).clone(), (**after).clone());
            [&mut before, &mut after].into_iter().for_each(|object| {
                if is_release(object) {
                    *object = tidy(object);
                }
                mask(object);
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

fn is_release(object: &Json) -> bool {
    object["type"] == "helm.sh/release.v1"
}

fn created(after: &Arc<Json>) -> String {
    tidy(after).to_string()
}

/// The object with its generated name left out.
fn subject(effect: &Effect, change: &Change) -> String {
    let object = change.after.as_ref().or(change.before.as_ref());
    let base = object.and_then(|object| object.pointer("/metadata/generateName")).and_then(Json::as_str);
    match base {
        Some(base) => effect
            .subject
            .split('/')
            .map(|part| if part.starts_with(base) { format!("{base}*") } else { part.to_owned() })
            .collect::<Vec<_>>()
            .join("/"),
        None => effect.subject.clone(),
    }
}
