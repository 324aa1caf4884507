//! Nodes: the status that a kubelet registers, and the taints that follow from state.

use crate::json::{Value, json};

use crate::engine::Ctx;
use crate::status::Status;
use crate::store::Key;
use crate::view;

/// The version of a node that says nothing else.
const KUBELET_VERSION: &str = "v1.36.4";

/// Whether a change of a node matters to pods: where they may run, or whether its kubelet is there.
pub(crate) fn matters(before: Option<&Value>, after: Option<&Value>) -> bool {
    let (Some(before), Some(after)) = (before, after) else { return true };
    [&["spec"][..], &["metadata", "labels"], &["status", "allocatable"]].iter().any(|path| view::at(before, path) != view::at(after, path))
        || view::condition_is_true(before, "Ready") != view::condition_is_true(after, "Ready")
}

/// Registers a node that has no `Ready` condition yet, and keeps the taints in step with cordon and condition.
pub(crate) fn sync(ctx: &mut Ctx<'_>, key: &Key) -> Result<(), Status> {
    let Some(node) = ctx.get(key) else { return Ok(()) };
    let mut next = (*node).clone();
    if view::condition(&next, "Ready").is_none() {
        register(&mut next, &view::stamp(ctx.now()));
    }
    let ready = view::condition(&next, "Ready").map(|c| view::text(c, &["status"]).to_owned());
    for (taint, wanted) in [
        ("node.kubernetes.io/unschedulable", view::flag(&next, &["spec", "unschedulable"])),
        ("node.kubernetes.io/not-ready", ready.as_deref() == Some("False")),
        ("node.kubernetes.io/unreachable", ready.as_deref() == Some("Unknown")),
    ] {
        set_taint(&mut next, taint, wanted, &view::stamp(ctx.now()));
    }
    ctx.update(key, next).map(drop)
}

/// Fills in what a kubelet reports and a fixture may leave out: a `Ready` condition, capacity, an address, versions, labels.
pub(crate) fn register(node: &mut Value, now: &str) {
    let name = view::name(node).to_owned();
    for (label, value) in [("kubernetes.io/hostname", name.as_str()), ("kubernetes.io/os", "linux"), ("kubernetes.io/arch", "amd64")] {
        if view::label(node, label).is_empty() {
            view::set(node, &["metadata", "labels", label], value);
        }
    }
    let capacity = json!({"cpu": "4", "memory": "16Gi", "pods": "110", "ephemeral-storage": "100Gi"});
    fill(node, "capacity", &capacity);
    let capacity = view::at(node, &["status", "capacity"]).cloned().unwrap_or(capacity);
    fill(node, "allocatable", &capacity);
    for (field, value) in [
        ("kubeletVersion", KUBELET_VERSION),
        ("operatingSystem", "linux"),
        ("architecture", "amd64"),
        ("containerRuntimeVersion", "containerd://2.1.4"),
    ] {
        if view::text(node, &["status", "nodeInfo", field]).is_empty() {
            view::set(node, &["status", "nodeInfo", field], value);
        }
    }
    if view::list(node, &["status", "addresses"]).is_empty() {
        let address = json!([{"type": "InternalIP", "address": address(&name)}, {"type": "Hostname", "address": name}]);
        view::set(node, &["status", "addresses"], address);
    }
    if view::condition(node, "Ready").is_none()
        && let Some(conditions) = view::list_mut(node, &["status", "conditions"])
    {
        conditions.push(json!({
            "type": "Ready", "status": "True", "reason": "KubeletReady", "message": "kubelet is posting ready status",
            "lastHeartbeatTime": now, "lastTransitionTime": now,
        }));
    }
}

/// Resources that the node does not name.
fn fill(node: &mut Value, field: &str, from: &Value) {
    for (name, value) in from.as_object().into_iter().flatten() {
        if view::at(node, &["status", field, name]).is_none() {
            view::set(node, &["status", field, name], value.clone());
        }
    }
}

/// An address in 10.0.0.0/16 that depends on the name alone, so that adding a node moves no other.
pub(crate) fn address(name: &str) -> String {
    let hash = name.bytes().fold(0x811c_9dc5_u32, |h, b| (h ^ u32::from(b)).wrapping_mul(0x0100_0193));
    format!("10.0.{}.{}", hash >> 8 & 0xff, (hash & 0xff) % 254 + 1)
}

fn set_taint(node: &mut Value, key: &str, wanted: bool, now: &str) {
    let is_it = |taint: &Value| view::text(taint, &["key"]) == key && view::text(taint, &["effect"]) == "NoSchedule";
    let there = view::list(node, &["spec", "taints"]).iter().any(is_it);
    if there == wanted {
        return;
    }
    if let Some(taints) = view::list_mut(node, &["spec", "taints"]) {
        taints.retain(|taint| !is_it(taint));
        if wanted {
            taints.push(json!({"key": key, "effect": "NoSchedule", "timeAdded": now}));
        }
        if taints.is_empty() {
            view::remove(node, &["spec", "taints"]);
        }
    }
}
