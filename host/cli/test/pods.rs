//! Pods by their owner: their own names are drawn, so that no scenario can write them.

use std::collections::BTreeMap;
use std::sync::Arc;

use lockgate_sim::Cluster as Sim;
use lockgate_sim::kinds::POD;
use lockgate_sim::store::Key;

use crate::base::json::Value as Json;

/// What a scenario says before an owner: `pod of deployment/web`.
pub(super) const OF: &str = "pod of ";

/// Every pod that there is or was, by namespace and name.
#[derive(Debug, Default)]
pub(super) struct Pods(BTreeMap<Key, Arc<Json>>);

impl Pods {
    /// Those of a cluster as it was, and of everything that happened in it since.
    pub(super) fn ever(before: &Sim, now: &Sim) -> Pods {
        let mut pods = BTreeMap::new();
        let held = [before, now].into_iter().flat_map(|sim| sim.store().list(POD, None));
        pods.extend(held.map(|(key, pod)| (key.clone(), pod.clone())));
        let since = now.store().changes_after(before.store().rv()).into_iter().flatten().filter(|change| change.key.kind.is(POD));
        for change in since {
            if let Some(pod) = change.before.as_ref().or(change.after.as_ref()) {
                pods.entry(change.key.clone()).or_insert_with(|| pod.clone());
            }
        }
        Pods(pods)
    }

    /// Those that there are now.
    pub(super) fn now(sim: &Sim) -> Pods {
        Pods(sim.store().list(POD, None).map(|(key, pod)| (key.clone(), pod.clone())).collect())
    }

    /// The pods of an owner, on that node where one is said; those that are going already apart.
    pub(super) fn staying_of<'a>(&'a self, owner: &'a Key, node: Option<&'a str>) -> impl Iterator<Item = &'a Key> {
        let stays = move |pod: &Json| {
            pod.pointer("/metadata/deletionTimestamp").is_none() && node.is_none_or(|node| text(pod, "/spec/nodeName") == node)
        };
        self.0.iter().filter(move |(key, pod)| is_of(pod, &key.namespace, owner) && stays(pod)).map(|(key, _)| key)
    }

    /// Whether there ever was one of this owner.
    pub(super) fn any_of(&self, owner: &Key) -> bool {
        self.0.iter().any(|(key, pod)| is_of(pod, &key.namespace, owner))
    }

    /// Whether this is a pod of that owner.
    pub(super) fn is_of(&self, pod: &Key, owner: &Key) -> bool {
        pod.kind.is(POD) && self.0.get(pod).is_some_and(|found| is_of(found, &pod.namespace, owner))
    }
}

fn text<'a>(object: &'a Json, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Json::as_str).unwrap_or_default()
}

/// Whether a pod belongs to this owner: its controller, or the Deployment behind its ReplicaSet.
fn is_of(pod: &Json, namespace: &str, owner: &Key) -> bool {
    let owners = pod.pointer("/metadata/ownerReferences").and_then(Json::as_array).into_iter().flatten();
    let controllers = owners.filter(|owner| owner.pointer("/controller").and_then(Json::as_bool) == Some(true));
    let Some(controller) = controllers.into_iter().next().filter(|_| *owner.namespace == *namespace) else { return false };
    let (kind, name) = (text(controller, "/kind"), text(controller, "/name"));
    let is = |kind: &str, name: &str| owner.kind.kind == kind && *owner.name == *name;
    let hash = text(pod, "/metadata/labels/pod-template-hash");
    let deployment = name.strip_suffix(hash).and_then(|start| start.strip_suffix('-'));
    is(kind, name) || (kind == "ReplicaSet" && deployment.is_some_and(|name| is("Deployment", name)))
}
