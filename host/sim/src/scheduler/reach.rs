//! How much of a cluster must be known to place one pod: for overlays that read as little as they can.

use super::affinity;
use super::filters::node_itself;
use crate::json::{Map, Value, json};
use crate::kinds;
use crate::store::Store;
use crate::view;

/// In a cluster of up to so many nodes all pods are read once for a pod that may go to more than one node: a pod anywhere in a zone may
/// keep it away from all nodes of that zone. In a larger one that takes too many requests: where few nodes are in question, whom pods
/// elsewhere in their zones keep away is not seen there.
const WHOLE: usize = 1_000;
/// With so many nodes in question their pods are asked for one node after the other; with more, all pods are read once.
const FEW_NODES: usize = 32;

/// Whose pods decide where a pod goes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Nobody's: it is not placed, or no node comes into question.
    None,
    /// Those on these nodes.
    Nodes(Vec<String>),
    /// Everybody's.
    All,
}

/// Whose pods must be known before this one is placed; all nodes are. `asked` is for how many nodes that was asked before.
pub(crate) fn reach(store: &Store, pod: &Value, asked: usize) -> Reach {
    let foreign = !matches!(view::text(pod, &["spec", "schedulerName"]), "" | "default-scheduler");
    let placed = !view::text(pod, &["spec", "nodeName"]).is_empty();
    let ended = matches!(view::text(pod, &["status", "phase"]), "Succeeded" | "Failed");
    let gated = !view::list(pod, &["spec", "schedulingGates"]).is_empty();
    if foreign || placed || ended || gated || view::is_terminating(pod) {
        return Reach::None;
    }
    let looks_around = ["podAffinity", "podAntiAffinity"].iter().any(|which| !affinity::pod_terms(pod, which).is_empty())
        || !view::list(pod, &["spec", "topologySpreadConstraints"]).is_empty();
    if looks_around {
        return Reach::All;
    }
    let pinned = affinity::pinned_nodes(pod);
    let named = |node: &Value| pinned.as_ref().is_none_or(|names| names.contains(&view::name(node)));
    let nodes = store.list(kinds::NODE, None).filter(|(_, node)| named(node) && node_itself(pod, node, store.rules).is_ok());
    let nodes: Vec<String> = nodes.map(|(key, _)| key.name.to_string()).take(FEW_NODES + 1).collect();
    let is_small = || pinned.is_none() && store.count(kinds::NODE, None) <= WHOLE;
    match nodes.len() {
        0 => Reach::None,
        few if few <= FEW_NODES && asked <= FEW_NODES && is_small() => Reach::All,
        few if few <= FEW_NODES && asked <= FEW_NODES => Reach::Nodes(nodes),
        _ => Reach::All,
    }
}

/// What of a pod counts when others are placed: where it is, what it takes there, whose it is, what its labels say, and whom it keeps
/// away.
#[must_use]
pub fn reduced(pod: &Value) -> Value {
    let pick = |object: Option<&Value>, fields: &[&str]| -> Map {
        let object = object.and_then(Value::as_object);
        object.into_iter().flatten().filter(|(name, _)| fields.contains(&name.as_str())).map(|(n, v)| (n.clone(), v.clone())).collect()
    };
    let metadata = ["creationTimestamp", "deletionTimestamp", "labels", "name", "namespace", "ownerReferences", "resourceVersion", "uid"];
    let mut spec = pick(view::at(pod, &["spec"]), &["hostNetwork", "nodeName", "overhead", "priority"]);
    for field in ["containers", "initContainers"] {
        let containers = view::list(pod, &["spec", field]);
        let ports = |container: &Value| -> Vec<Value> {
            let of_host = |port: &&Value| view::flag(pod, &["spec", "hostNetwork"]) || view::count(port, &["hostPort"]) > 0;
            view::list(container, &["ports"]).iter().filter(of_host).cloned().collect()
        };
        let counts = |container: &Value| {
            let mut kept = pick(Some(container), &["restartPolicy"]);
            if let Some(requests) = view::at(container, &["resources", "requests"]) {
                kept.insert("resources", json!({ "requests": requests.clone() }));
            }
            let ports = ports(container);
            if !ports.is_empty() {
                kept.insert("ports", ports.into_iter().collect::<Value>());
            }
            Value::Object(kept)
        };
        if !containers.is_empty() {
            spec.insert(field, containers.iter().map(counts).collect::<Value>());
        }
    }
    let terms = affinity::pod_terms(pod, "podAntiAffinity");
    if !terms.is_empty() {
        let required = json!({"requiredDuringSchedulingIgnoredDuringExecution": terms.to_vec()});
        spec.insert("affinity", json!({ "podAntiAffinity": required }));
    }
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": pick(view::at(pod, &["metadata"]), &metadata),
        "spec": spec,
        "status": pick(view::at(pod, &["status"]), &["phase"]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheduler::Needs;

    #[test]
    fn a_reduced_pod_takes_the_same() {
        let pod = json!({
            "metadata": {"name": "p", "namespace": "d", "uid": "u", "labels": {"a": "b"}, "annotations": {"x": "y"}, "managedFields": [{}],
                "ownerReferences": [{"uid": "o", "controller": true}]},
            "spec": {"nodeName": "n", "hostNetwork": true, "priority": 7, "overhead": {"cpu": "1m"}, "volumes": [{"name": "v"}],
                "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "t"}]},
                    "nodeAffinity": {"x": 1}},
                "initContainers": [{"name": "i", "restartPolicy": "Always", "resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "2"}}}],
                "containers": [{"name": "c", "image": "x", "ports": [{"containerPort": 80}], "resources": {"requests": {"memory": "1Mi"}}}]},
            "status": {"phase": "Running", "podIP": "10.0.0.1"},
        });
        let small = reduced(&pod);
        let (all, kept) = (Needs::of(&pod), Needs::of(&small));
        assert_eq!((&all.requests, &all.ports, all.repels, &all.owner), (&kept.requests, &kept.ports, kept.repels, &kept.owner));
        assert_eq!((all.priority, kept.priority), (7, 7));
        assert_eq!(small["metadata"]["labels"], pod["metadata"]["labels"]);
        assert_eq!(
            (small.pointer("/metadata/annotations"), small.pointer("/spec/volumes"), small.pointer("/status/podIP")),
            (None, None, None)
        );
        assert!(small.to_string().len() < pod.to_string().len());
    }
}
