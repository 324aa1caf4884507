//! Whether what a plan has read is still so when the plan ends.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::json::Value as Json;
use lockgate_sim::kinds::Kind;
use lockgate_sim::{Part, Scope};
use serde::{Deserialize, Serialize};

use super::Overlay;
use crate::base::Result;
use crate::cluster::page::{self, Step, meta};
use crate::cluster::request::{Act, Call, Verb};

/// Only the metadata of objects.
const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
const METADATA_LIST: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
/// So many objects of a kind and namespace are looked at one by one, more as a list.
const FEW: usize = 4;
/// So many objects are read again to see what it is that changed; of others only that they have.
const LOOKED_AT: usize = 32;
/// Objects a page of metadata.
const PAGE: &str = "1000";
/// Kinds that are there to change.
const RESTLESS: [&str; 2] = ["Event", "Lease"];

/// What became of the objects that a plan has read from a live cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drift {
    /// How many objects were read whole.
    pub inputs: usize,
    /// Those that are not as they were, by kind, namespace and name.
    pub changed: Vec<Moved>,
}

/// An object that is not as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// Which, as `kind/namespace/name`.
    pub object: String,
    /// What happened: `changed`, `replaced` or `gone`.
    pub how: String,
}

impl Drift {
    /// One sentence for people; nothing when nothing changed.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        const NAMED: usize = 10;
        if self.changed.is_empty() {
            return None;
        }
        let mut names: Vec<String> = self.changed.iter().take(NAMED).map(|moved| format!("{} ({})", moved.object, moved.how)).collect();
        if self.changed.len() > NAMED {
            names.push(format!("and {} more", self.changed.len() - NAMED));
        }
        Some(format!("{} of {} inputs changed while planning: {}", self.changed.len(), self.inputs, names.join(", ")))
    }
}

/// Objects as they were read, by kind, namespace and name.
#[derive(Clone, Debug, Default)]
pub(super) struct Inputs(BTreeMap<&'static Kind, BTreeMap<(String, String), Json>>);

impl Inputs {
    /// Takes in what was read first; what comes again stays as it was.
    pub(super) fn take(&mut self, scope: &Scope, objects: &[Json]) {
        if RESTLESS.contains(&scope.kind.kind) || scope.part == Part::Reduced {
            return;
        }
        let known = self.0.entry(scope.kind).or_default();
        for object in objects {
            // The parts are shared with the copy.
            known.entry(page::place(object)).or_insert_with(|| object.clone());
        }
    }
}

impl Overlay {
    /// Looks at everything again that was read whole.
    pub(in crate::cluster) async fn drift(&self) -> Result<Drift> {
        let inputs = self.read().inputs.clone();
        let mut drift = Drift::default();
        let mut looked_at = 0;
        for (kind, objects) in &inputs.0 {
            drift.inputs += objects.len();
            let suspects = self.moved(kind, objects).await?;
            for (place, now) in suspects {
                let Some(then) = objects.get(&place) else { continue };
                let how = match now {
                    None => Some("gone"),
                    Some(now) if meta(&now, "uid") != meta(then, "uid") => Some("replaced"),
                    Some(_) if looked_at >= LOOKED_AT => Some("changed"),
                    Some(_) => {
                        looked_at += 1;
                        let now = self.again(kind, &place, "application/json").await?;
                        match now {
                            None => Some("gone"),
                            Some(now) => (steady(&now) != steady(then)).then_some("changed"),
                        }
                    }
                };
                drift.changed.extend(how.map(|how| Moved { object: called(kind, &place), how: how.to_owned() }));
            }
        }
        Ok(drift)
    }

    /// Objects of another version than they were, with their metadata now.
    async fn moved(
        &self,
        kind: &'static Kind,
        objects: &BTreeMap<(String, String), Json>,
    ) -> Result<Vec<((String, String), Option<Json>)>> {
        let mut by_namespace: BTreeMap<&str, Vec<&(String, String)>> = BTreeMap::new();
        objects.keys().for_each(|place| by_namespace.entry(&place.0).or_default().push(place));
        let lists = by_namespace.values().filter(|places| places.len() > FEW).count();
        let mut now: BTreeMap<(String, String), Json> = BTreeMap::new();
        if lists > FEW {
            now = self.metadata(kind, None).await?;
        } else {
            for (namespace, places) in &by_namespace {
                if places.len() > FEW {
                    now.extend(self.metadata(kind, Some(namespace).filter(|namespace| !namespace.is_empty()).copied()).await?);
                    continue;
                }
                for place in places {
                    if let Some(object) = self.again(kind, place, METADATA).await? {
                        drop(now.insert((*place).clone(), object));
                    }
                }
            }
        }
        let same = |place: &(String, String), then: &Json| {
            now.get(place).is_some_and(|now| ["uid", "resourceVersion"].iter().all(|field| meta(now, field) == meta(then, field)))
        };
        let moved = objects.iter().filter(|(place, then)| !same(place, then));
        Ok(moved.map(|(place, _)| (place.clone(), now.get(place).cloned())).collect())
    }

    async fn again(&self, kind: &Kind, place: &(String, String), accept: &'static str) -> Result<Option<Json>> {
        let name = (kind.plural, place.1.clone());
        let mut call = Call::new(act(kind, Verb::Get, &place.0, Some(name.1)), called(kind, place));
        call.accept = accept;
        match self.base.json(&call).await {
            Ok(object) => Ok(Some(Arc::unwrap_or_clone(object))),
            Err(error) if error.details["code"] == 404 => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn metadata(&self, kind: &Kind, namespace: Option<&str>) -> Result<BTreeMap<(String, String), Json>> {
        let mut call = Call::new(act(kind, Verb::List, namespace.unwrap_or_default(), None), kind.plural);
        call.accept = METADATA_LIST;
        let mut found = BTreeMap::new();
        let mut take = |step| {
            match step {
                Step::Begin => found.clear(),
                Step::Page(objects, _) => found.extend(objects.into_iter().map(|object| (page::place(&object), object))),
            }
            true
        };
        page::each(&self.base, &call, ("meta.k8s.io/v1", "PartialObjectMetadata"), PAGE, &mut take).await?;
        Ok(found)
    }
}

fn act(kind: &Kind, verb: Verb, namespace: &str, name: Option<String>) -> Act {
    Act {
        verb,
        group: kind.group.to_owned(),
        version: kind.version.to_owned(),
        resource: kind.plural.to_owned(),
        namespace: Some(namespace.to_owned()).filter(|namespace| !namespace.is_empty()),
        name,
        subresource: None,
    }
}

fn called(kind: &Kind, (namespace, name): &(String, String)) -> String {
    if namespace.is_empty() { format!("{}/{name}", kind.singular) } else { format!("{}/{namespace}/{name}", kind.singular) }
}

/// An object without what moves by itself.
fn steady(object: &Json) -> Json {
    let mut object = object.clone();
    if let Some(meta) = object.get_mut("metadata").and_then(Json::as_object_mut) {
        ["resourceVersion", "managedFields", "selfLink"].iter().for_each(|field| drop(meta.remove(field)));
    }
    let is_node = object.get("kind").is_some_and(|kind| kind == "Node");
    if let Some(status) = object.get_mut("status").and_then(Json::as_object_mut) {
        if is_node {
            ["images", "volumesInUse", "volumesAttached", "allocatable", "nodeInfo"].iter().for_each(|field| drop(status.remove(field)));
        }
        for condition in status.get_mut("conditions").and_then(Json::as_array_mut).into_iter().flatten() {
            if let Some(condition) = condition.as_object_mut() {
                ["lastHeartbeatTime", "lastProbeTime"].iter().for_each(|field| drop(condition.remove(field)));
            }
        }
    }
    object
}
