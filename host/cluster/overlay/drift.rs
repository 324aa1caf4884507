//! Whether what a plan has read is still so when the plan ends.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::base::json::Value as Json;
use lockgate_sim::kinds::Kind;
use lockgate_sim::{Part, Scope};
use serde::{Deserialize, Serialize};

use super::Overlay;
use super::reading::asking;
use crate::base::Result;
use crate::cluster::page::{self, Step, meta};

/// Only the metadata of objects.
const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
const METADATA_LIST: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
/// So many objects are read again to see what it is that changed; of others only that they have.
const LOOKED_AT: usize = 32;
/// Objects a page of metadata.
const PAGE: &str = "1000";
/// Kinds that are there to change.
const RESTLESS: [&str; 2] = ["Event", "Lease"];

/// What became of the objects that a plan has read from a live cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drift {
    /// How many objects were read whole, those that have come to a list included.
    pub inputs: usize,
    /// Those that are not as they were, by kind, namespace and name.
    pub changed: Vec<Moved>,
}

/// An object that is not as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// Which, as `kind/namespace/name`.
    pub object: String,
    /// What happened: `changed`, `replaced`, `gone` or `new`.
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

/// Where an object is: namespace and name.
type Place = (String, String);

/// What was read: objects as they were first, and by which request each came.
#[derive(Clone, Debug, Default)]
pub(super) struct Inputs {
    objects: BTreeMap<&'static Kind, BTreeMap<Place, Json>>,
    scopes: BTreeMap<Scope, BTreeSet<Place>>,
}

impl Inputs {
    /// Takes in what was read first; what comes again stays as it was.
    pub(super) fn take(&mut self, scope: &Scope, objects: &[Json]) {
        if RESTLESS.contains(&scope.kind.kind) || scope.part == Part::Reduced {
            return;
        }
        let known = self.objects.entry(scope.kind).or_default();
        let places = self.scopes.entry(scope.clone()).or_default();
        for object in objects {
            let place = page::place(object);
            // The parts are shared with the copy.
            known.entry(place.clone()).or_insert_with(|| object.clone());
            places.insert(place);
        }
    }

    fn first(&self, kind: &'static Kind, place: &Place) -> Option<&Json> {
        self.objects.get(kind)?.get(place)
    }
}

impl Overlay {
    /// Looks at everything again that was read whole, by the same requests: whoever may make the plan may do that too.
    pub(in crate::cluster) async fn drift(&self) -> Result<Drift> {
        let inputs = self.read().inputs.clone();
        let mut found: BTreeMap<(&'static Kind, Place), &str> = BTreeMap::new();
        let mut looked_at = 0;
        for (scope, places) in &inputs.scopes {
            let now = self.metadata(scope).await?;
            for place in places {
                let (Some(then), key) = (inputs.first(scope.kind, place), (scope.kind, place.clone())) else { continue };
                if found.contains_key(&key) {
                    continue;
                }
                let how = match now.get(place) {
                    None => "gone",
                    Some(now) if meta(now, "uid") != meta(then, "uid") => "replaced",
                    Some(now) if meta(now, "resourceVersion") == meta(then, "resourceVersion") => continue,
                    Some(_) if looked_at >= LOOKED_AT => "changed",
                    Some(_) => {
                        looked_at += 1;
                        match self.whole(scope, place).await? {
                            None => "gone",
                            Some(now) if steady(&now) == steady(then) => continue,
                            Some(_) => "changed",
                        }
                    }
                };
                found.insert(key, how);
            }
            let new = now.keys().filter(|place| !places.contains(*place) && inputs.first(scope.kind, place).is_none());
            found.extend(new.map(|place| ((scope.kind, place.clone()), "new")));
        }
        let known: usize = inputs.objects.values().map(BTreeMap::len).sum();
        let new = found.values().filter(|how| **how == "new").count();
        let changed = found.into_iter().map(|((kind, place), how)| Moved { object: called(kind, &place), how: how.to_owned() });
        Ok(Drift { inputs: known + new, changed: changed.collect() })
    }

    /// The metadata of what a scope holds now.
    async fn metadata(&self, scope: &Scope) -> Result<BTreeMap<Place, Json>> {
        let (_, mut call) = asking(scope);
        let mut found = BTreeMap::new();
        if matches!(scope.part, Part::Name(_)) {
            call.accept = METADATA;
            match self.base.json(&call).await {
                Ok(object) => drop(found.insert(page::place(&object), Arc::unwrap_or_clone(object))),
                Err(error) if error.details["code"] == 404 => {}
                Err(error) => return Err(error),
            }
            return Ok(found);
        }
        call.accept = METADATA_LIST;
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

    /// One object of a scope as it is now.
    async fn whole(&self, scope: &Scope, place: &Place) -> Result<Option<Json>> {
        let kind = scope.kind;
        if matches!(scope.part, Part::Name(_)) {
            return match self.base.json(&asking(scope).1).await {
                Ok(object) => Ok(Some(Arc::unwrap_or_clone(object))),
                Err(error) if error.details["code"] == 404 => Ok(None),
                Err(error) => Err(error),
            };
        }
        // Who may list need not be allowed to read one: a list of one, which every kind's names can select.
        let mut fields = format!("metadata.name={}", place.1);
        if scope.namespace.is_none() && !place.0.is_empty() {
            fields.push_str(&format!(",metadata.namespace={}", place.0));
        }
        let only = Scope { part: Part::Selected { labels: String::new(), fields }, ..scope.clone() };
        let listed = page::read(&self.base, &asking(&only).1, &kind.api_version(), kind.kind).await?;
        Ok(listed.items.into_iter().next())
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
