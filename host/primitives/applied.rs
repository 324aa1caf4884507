//! One object of `apply`: looked at, tried, and written.

use std::rc::Rc;
use std::sync::Arc;

use crate::base::json::{Map, Value as Json, json};

use super::apply::Looked;
use super::create::{self, holds_others};
use super::cx::Cx;
use super::done::{Inverse, Wrote};
use super::edit::{merge_patch, plain};
use super::established::makes;
use super::manifest::Manifest;
use super::owners;
use super::tries::{Tries, version};
use super::view;
use crate::base::diff::{Change, changes};
use crate::base::{Error, Kind, Reason, Result};
use crate::cluster::{Applying, OP_ANNOTATION, PatchType, Resource, Target};

/// What `kubectl apply` remembers.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// All annotations of an object together may be this long (apimachinery: api/validation/objectmeta.go).
const ANNOTATIONS: usize = 256 << 10;
/// How often an object is handed over and looked at again.
const HANDOVERS: usize = 3;

/// An object with the namespace that it goes to.
pub(super) struct Place {
    /// The object.
    pub(super) manifest: Manifest,
    /// Its namespace as it was said, where it was.
    pub(super) namespace: Option<String>,
}

impl Place {
    /// Whether it defines a kind.
    pub(super) fn is_definition(&self) -> bool {
        self.manifest.kind() == "CustomResourceDefinition" && self.manifest.text("/apiVersion").starts_with("apiextensions.k8s.io/")
    }

    /// Whether it defines the kind of the other.
    pub(super) fn defines(&self, other: &Place) -> bool {
        let group = other.manifest.text("/apiVersion").split_once('/').map_or("", |(group, _)| group);
        self.is_definition() && makes(&self.manifest.0) == (group, other.manifest.kind())
    }

    /// Whether it is the namespace of the other.
    fn holds(&self, other: &Target) -> bool {
        self.manifest.kind() == "Namespace" && other.namespace.as_deref() == Some(self.manifest.name())
    }

    fn target(&self, cx: &Cx, resource: &Rc<Resource>) -> Target {
        cx.cluster.object(resource.clone(), self.namespace.clone(), self.manifest.name())
    }
}

/// What became of one object.
pub(super) struct Applied {
    /// Which.
    pub(super) target: Target,
    /// `created`, `configured` or `unchanged`.
    pub(super) action: &'static str,
    /// What changed.
    pub(super) changes: Vec<Change>,
    /// The write, where there was one.
    pub(super) wrote: Option<Wrote>,
}

/// Reads the object and asks the server what it would make of it, without a write. `all` are the objects of the same call.
pub(super) async fn look(cx: &Cx, place: &Place, resource: Rc<Resource>, force: bool, all: &[Place]) -> Result<Looked> {
    let target = place.target(cx, &resource);
    let live = cx.cluster.find(&target).await?;
    let dry = match &live {
        // The namespace is made by the same call: before that the server can only say that it is missing.
        None if all.iter().any(|other| other.holds(&target)) => None,
        _ => tried(cx, place, &target, live.as_deref(), force).await?,
    };
    Ok(Looked { resource, live, dry })
}

/// What the server would make of it; `None` where it cannot be asked.
async fn tried(cx: &Cx, place: &Place, target: &Target, live: Option<&Json>, force: bool) -> Result<Option<Arc<Json>>> {
    let body = body(place, target, live);
    match cx.cluster.apply(target, body, Applying { force, dry_run: true }).await {
        Ok(object) => Ok(Some(object)),
        // A webhook of the first generation: it says so instead of letting its side effects happen.
        Err(error) if error.causes.iter().any(|cause| cause.contains("does not support dry run")) => Ok(None),
        Err(error) if owners::is_conflict(&error) => {
            let live = live.unwrap_or(&Json::Null);
            let to_hand_over = owners::handed_over(live).map_or_else(Vec::new, |(_, managers)| managers);
            match owners::conflict(target, &error, live, &place.manifest.0, &to_hand_over) {
                Some(conflict) => Err(conflict),
                // All of them belong to those who hand over.
                None => Ok(None),
            }
        }
        Err(error) => Err(explained(target, error)),
    }
}

/// Writes what was looked at, or finds that there is nothing to write.
pub(super) async fn write(cx: &Cx, place: &Place, looked: Looked, force: bool) -> Result<Applied> {
    let target = place.target(cx, &looked.resource);
    let mut tries = Tries::of(cx, &target, "applying");
    let (mut live, mut dry) = (looked.live, looked.dry);
    let mut handed_over = 0;
    loop {
        let Some(before) = live.clone() else {
            match cx.cluster.apply(&target, body(place, &target, None), Applying { force, dry_run: false }).await {
                Ok(_) => return Ok(created(place, target)),
                // Somebody made it meanwhile.
                Err(error) if owners::is_conflict(&error) => {}
                Err(error) => tries.again(PatchType::Merge, &Json::Null, explained(&target, error)).await?,
            }
            live = tries.find().await?;
            if let Some(live) = &live {
                dry = tried(cx, place, &target, Some(live), force).await?;
            }
            continue;
        };
        // Interrupted after its write, it comes to it again without handing over once more what the server noted with it.
        let made = cx.cluster.is_made_already(&target, &before);
        if let Some((managed, _)) = owners::handed_over(&before).filter(|_| !made && handed_over < HANDOVERS) {
            handed_over += 1;
            match cx.cluster.set_owners(&target, &before, managed).await {
                Ok(_) => {}
                Err(error) => tries.again(PatchType::Merge, &before, error).await?,
            }
        } else {
            if !made && dry.as_ref().is_some_and(|dry| is_same(&before, dry)) {
                return Ok(Applied { target, action: "unchanged", changes: Vec::new(), wrote: None });
            }
            // That no field of others is in the way was seen for this very version of the object, so that force takes over the stamp
            // of the last write and nothing else. Where it was not seen the server decides.
            let mut body = body(place, &target, Some(&before));
            if dry.is_some() {
                body["metadata"]["resourceVersion"] = version(&before).into();
            }
            match cx.cluster.apply(&target, body, Applying { force: force || dry.is_some(), dry_run: false }).await {
                Ok(after) => return Ok(configured(target, &before, &after)),
                Err(error) if owners::is_conflict(&error) => {
                    return Err(owners::conflict(&target, &error, &before, &place.manifest.0, &[]).unwrap_or(error));
                }
                Err(error) => tries.again(PatchType::Merge, &before, explained(&target, error)).await?,
            }
        }
        let now = tries.find().await?;
        dry = tried(cx, place, &target, now.as_deref(), force).await?;
        live = now;
    }
}

/// What is sent: the object, without what belongs to the server, in its namespace.
fn body(place: &Place, target: &Target, live: Option<&Json>) -> Json {
    let manifest = &place.manifest.0;
    let mut body = manifest.clone();
    let Some(fields) = body.as_object_mut() else { return body };
    fields.remove("status");
    let metadata = fields.entry("metadata").or_insert_with(|| json!({}));
    if let Some(metadata) = metadata.as_object_mut() {
        for field in ["managedFields", "resourceVersion", "uid", "creationTimestamp", "generation", "selfLink"] {
            metadata.remove(field);
        }
        if let Some(namespace) = &target.namespace {
            metadata.insert("namespace".to_owned(), namespace.as_str().into());
        }
    }
    let live = live.unwrap_or(&Json::Null);
    let mut kept = Map::new();
    // The stamp of the last write stays until the next one: without it the server would take it away.
    if let Some(stamp) = view::annotation(live, OP_ANNOTATION) {
        kept.insert(OP_ANNOTATION.to_owned(), stamp.into());
    }
    // Whoever uses `kubectl apply` on it next compares with what was applied last.
    if view::annotation(live, LAST_APPLIED).is_some() {
        let remembered = remembered(manifest, target);
        if remembered.len() < ANNOTATIONS / 2 {
            kept.insert(LAST_APPLIED.to_owned(), remembered.into());
        }
    }
    if !kept.is_empty() {
        match body.pointer_mut("/metadata/annotations").and_then(Json::as_object_mut) {
            Some(annotations) => annotations.extend(kept),
            None => body["metadata"]["annotations"] = Json::Object(kept),
        }
    }
    body
}

/// The object as `kubectl apply` writes it into its annotation: compact, in its namespace, with annotations even where there are none but
/// without that one, and with a line's end (kubectl: pkg/util/apply.go).
fn remembered(manifest: &Json, target: &Target) -> String {
    let mut manifest = manifest.clone();
    if let Some(namespace) = &target.namespace {
        manifest["metadata"]["namespace"] = namespace.as_str().into();
    }
    match manifest.pointer_mut("/metadata/annotations").and_then(Json::as_object_mut) {
        Some(annotations) => drop(annotations.remove(LAST_APPLIED)),
        None => manifest["metadata"]["annotations"] = json!({}),
    }
    format!("{manifest}\n")
}

/// Whether the server would store what is there: values and owners.
fn is_same(live: &Json, dry: &Json) -> bool {
    plain(live) == plain(dry) && owners::of(live) == owners::of(dry)
}

fn created(place: &Place, target: Target) -> Applied {
    let wrote = create::wrote(&target, &place.manifest.0);
    let changes = shown(&target, wrote.changes.clone());
    Applied { target, action: "created", changes, wrote: Some(wrote) }
}

fn configured(target: Target, before: &Json, after: &Json) -> Applied {
    let (old, new) = (without_memory(before), without_memory(after));
    let all = changes(&old, &new);
    let inverse = match holds_others(&target.resource.kind) {
        Some(_) if target.resource.kind == "CustomResourceDefinition" => {
            Inverse::Irreversible("objects may be stored in the form of the new definition".to_owned())
        }
        _ => {
            let back = merge_patch(&plain(after), &plain(before)).unwrap_or_else(|| Json::Object(Map::new()));
            let back = without_stamp(back);
            Inverse::Call { verb: "patch".to_owned(), arguments: vec![target.full_name().into(), back], options: Json::Null }
        }
    };
    let wrote = Wrote { verb: "apply".to_owned(), target: target.to_string(), changes: all.clone(), inverse };
    let changes = shown(&target, all);
    Applied { target, action: "configured", changes, wrote: Some(wrote) }
}

/// The object without what `kubectl apply` remembers, which says everything once more, and without the stamp.
fn without_memory(object: &Json) -> Json {
    let mut object = object.clone();
    if let Some(metadata) = object.get_mut("metadata").and_then(Json::as_object_mut) {
        let left = metadata.get_mut("annotations").and_then(Json::as_object_mut).map(|annotations| {
            annotations.remove(LAST_APPLIED);
            annotations.remove(OP_ANNOTATION);
            annotations.len()
        });
        if left == Some(0) {
            metadata.remove("annotations");
        }
    }
    object
}

fn without_stamp(mut patch: Json) -> Json {
    if let Some(annotations) = patch.pointer_mut("/metadata/annotations").and_then(Json::as_object_mut) {
        annotations.remove(OP_ANNOTATION);
    }
    patch
}

/// What a script and an operator may see of it.
fn shown(target: &Target, changes: Vec<Change>) -> Vec<Change> {
    if target.resource.kind == "Secret" { changes.into_iter().map(Change::hidden).collect() } else { changes }
}

/// A refusal of the server that has an answer.
fn explained(target: &Target, error: Error) -> Error {
    if error.causes.iter().any(|cause| cause.contains("field is immutable")) {
        return error.hint("such a field is set once: delete the object and apply it again, if its loss can be borne");
    }
    if error
        .causes
        .iter()
        .any(|cause| cause.contains("strict decoding error") || cause.contains("unknown field") || cause.contains("field not declared"))
    {
        let message = format!("applying `{target}`: it has a field that the server does not know");
        let mut wrong = Error::new(Kind::Cluster, Reason::Invalid, message).about(target.full_name());
        wrong.causes.clone_from(&error.causes);
        wrong.details.clone_from(&error.details);
        return wrong;
    }
    error
}
