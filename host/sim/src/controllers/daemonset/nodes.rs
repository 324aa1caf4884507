//! Which nodes want a pod of a DaemonSet, and how a pod is pinned to its node.

use crate::json::{Value, json};

use crate::scheduler::{affinity, taints};
use crate::view;

/// Tolerations that every pod of a DaemonSet gets: key and effect.
const TOLERATED: &[(&str, &str)] = &[
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
];
/// One more for pods in the network of their host.
const TOLERATED_ON_HOST_NETWORK: (&str, &str) = ("node.kubernetes.io/network-unavailable", "NoSchedule");

/// Where pods of a DaemonSet may run.
#[derive(Debug, Clone)]
pub(super) struct Placement {
    /// The pod's spec with the tolerations that it will have.
    spec: Value,
}

impl Placement {
    /// Reads it off the template.
    pub(super) fn of(set: &Value) -> Self {
        let mut pod = json!({});
        let template = view::at(set, &["spec", "template", "spec"]);
        for field in ["nodeSelector", "affinity", "tolerations", "hostNetwork", "nodeName"] {
            if let Some(value) = template.and_then(|t| t.get(field)) {
                view::set(&mut pod, &["spec", field], value.clone());
            }
        }
        tolerate(&mut pod);
        Self { spec: pod }
    }

    /// Whether a node gets a new pod, and whether it keeps one that runs there.
    pub(super) fn on(&self, node: &Value) -> (bool, bool) {
        let named = view::text(&self.spec, &["spec", "nodeName"]);
        if (!named.is_empty() && named != view::name(node)) || !affinity::node_matches(&self.spec, node) {
            return (false, false);
        }
        let keep = taints::tolerates_all(&self.spec, node, &["NoExecute"]);
        (keep && taints::tolerates_all(&self.spec, node, &["NoSchedule", "NoExecute"]), keep)
    }
}

/// Adds the tolerations that the controller gives to every pod.
pub(super) fn tolerate(pod: &mut Value) {
    let host = view::flag(pod, &["spec", "hostNetwork"]).then_some(&TOLERATED_ON_HOST_NETWORK);
    let Some(tolerations) = view::list_mut(pod, &["spec", "tolerations"]) else { return };
    for (key, effect) in TOLERATED.iter().chain(host) {
        let toleration = json!({"key": key, "operator": "Exists", "effect": effect});
        if !tolerations.contains(&toleration) {
            tolerations.push(toleration);
        }
    }
}

/// Pins a pod to a node: a required node affinity on the name of the node in every term.
pub(super) fn pin(pod: &mut Value, node: &str) {
    let by_name = json!([{"key": "metadata.name", "operator": "In", "values": [node]}]);
    let required = ["spec", "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution"];
    let mut selector = view::at(pod, &required).cloned().unwrap_or_else(|| json!({}));
    match selector.get_mut("nodeSelectorTerms").and_then(Value::as_array_mut).filter(|terms| !terms.is_empty()) {
        Some(terms) => terms.iter_mut().for_each(|term| view::set(term, &["matchFields"], by_name.clone())),
        None => selector = json!({"nodeSelectorTerms": [{"matchFields": by_name}]}),
    }
    match view::at(pod, &["spec", "affinity"]) {
        Some(_) => view::set(pod, &required, selector),
        None => {
            let affinity = json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": selector}});
            view::set(pod, &["spec", "affinity"], affinity);
        }
    }
}

/// The node that a pod runs on or is pinned to; empty when there is none.
pub(super) fn target(pod: &Value) -> &str {
    let bound = view::text(pod, &["spec", "nodeName"]);
    if bound.is_empty() { affinity::pinned_to(pod).unwrap_or_default() } else { bound }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_keeps_the_template_s_own_terms() {
        let term = json!({"matchExpressions": [{"key": "disk", "operator": "Exists"}]});
        let mut pod = json!({"spec": {"hostNetwork": true, "affinity": {"nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}}}});
        tolerate(&mut pod);
        pin(&mut pod, "n1");
        assert_eq!(target(&pod), "n1");
        let node = |name: &str, labels: Value| json!({"metadata": {"name": name, "labels": labels}});
        assert!(affinity::node_matches(&pod, &node("n1", json!({"disk": "ssd"}))));
        assert!(!affinity::node_matches(&pod, &node("n1", json!({}))));
        assert!(!affinity::node_matches(&pod, &node("n2", json!({"disk": "ssd"}))));
        assert_eq!(view::list(&pod, &["spec", "tolerations"]).len(), 7);
    }

    #[test]
    fn cordons_and_unready_nodes_still_want_a_pod() {
        let set = json!({"spec": {"template": {"spec": {}}}});
        let tainted = |key: &str, effect: &str| json!({"metadata": {"name": "n"}, "spec": {"taints": [{"key": key, "effect": effect}]}});
        let placement = Placement::of(&set);
        assert_eq!(placement.on(&tainted("node.kubernetes.io/unschedulable", "NoSchedule")), (true, true));
        assert_eq!(placement.on(&tainted("node.kubernetes.io/not-ready", "NoExecute")), (true, true));
        assert_eq!(placement.on(&tainted("dedicated", "NoSchedule")), (false, true));
        assert_eq!(placement.on(&tainted("dedicated", "NoExecute")), (false, false));
    }
}
