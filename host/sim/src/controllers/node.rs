//! Nodes: the status that a kubelet registers, and the taints that follow from state.

pub(crate) mod zones;

use crate::json::{Value, json};

use self::zones::Evictions;
use crate::engine::{Ctx, Work};
use crate::rules::Rule;
use crate::status::Status;
use crate::store::Key;
use crate::view;

/// So long a kubelet may say nothing, in seconds.
const GRACE: i64 = 50;
const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
/// What a kubelet says of a node that is well.
const WELL: [(&str, &str, &str, &str); 4] = [
    ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
    ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
];

/// The version of a node that says nothing else.
const KUBELET_VERSION: &str = "v1.36.4";

/// Whether a change of a node matters to pods: where they may run, or whether its kubelet is there.
pub(crate) fn matters(before: Option<&Value>, after: Option<&Value>) -> bool {
    let (Some(before), Some(after)) = (before, after) else { return true };
    [&["spec"][..], &["metadata", "labels"], &["status", "allocatable"]].iter().any(|path| view::at(before, path) != view::at(after, path))
        || view::condition_is_true(before, "Ready") != view::condition_is_true(after, "Ready")
}

/// Whether a change lets a node take pods that it did not take before.
pub(crate) fn takes_more(before: Option<&Value>, after: Option<&Value>) -> bool {
    let Some(after) = after else { return false };
    let Some(before) = before else { return true };
    let cordoned = |node: &Value| view::flag(node, &["spec", "unschedulable"]);
    let tainted = |node: &Value| view::list(node, &["spec", "taints"]).to_vec();
    let (old, new) = (tainted(before), tainted(after));
    cordoned(before) && !cordoned(after)
        || old.iter().any(|taint| !new.contains(taint))
        || [&["metadata", "labels"][..], &["status", "allocatable"]].iter().any(|path| view::at(before, path) != view::at(after, path))
        || !view::condition_is_true(before, "Ready") && view::condition_is_true(after, "Ready")
}

/// Registers a node that has no `Ready` condition yet, sees whether its kubelet still tells of itself, and keeps labels and taints in
/// step with what it says.
pub(crate) fn sync(ctx: &mut Ctx<'_>, key: &Key) -> Result<(), Status> {
    let Some(node) = ctx.get(key) else {
        ctx.engine.silent_nodes.remove(key.name.as_str());
        return Ok(());
    };
    let mut next = (*node).clone();
    if view::condition(&next, "Ready").is_none() {
        report(&mut next, &view::stamp(ctx.now()));
    }
    let was_ready = view::condition_is_true(&next, "Ready");
    heartbeat(ctx, key, &mut next);
    older_labels(&mut next);
    let lost = was_ready && !view::condition_is_true(&next, "Ready");
    let cordoned = view::flag(&next, &["spec", "unschedulable"]) && ctx.store.follows(Rule::CordonTaint);
    taint(&mut next, cordoned, ctx.engine.zones.evictions(&node), &view::stamp(ctx.now()));
    let node = ctx.update(key, next)?;
    if !lost {
        return Ok(());
    }
    ctx.event(&node, "Normal", "NodeNotReady", &format!("Node {} status is now: NodeNotReady", key.name))?;
    for pod in ctx.engine.index.pods_on(&key.name) {
        unready(ctx, &pod)?;
    }
    Ok(())
}

/// The pods of a lost node are not ready: nobody knows better.
fn unready(ctx: &mut Ctx<'_>, key: &Key) -> Result<(), Status> {
    let Some(pod) = ctx.get(key).filter(|pod| view::condition_is_true(pod, "Ready")) else { return Ok(()) };
    let mut next = (*pod).clone();
    if let Some(conditions) = view::list_mut(&mut next, &["status", "conditions"]) {
        for condition in conditions.iter_mut().filter(|c| view::text(c, &["type"]) == "Ready") {
            view::set(condition, &["status"], "False");
            view::set(condition, &["lastTransitionTime"], view::stamp(ctx.now()));
        }
    }
    let pod = ctx.update(key, next)?;
    ctx.event(&pod, "Warning", "NodeNotReady", "Node is not ready")
}

/// A kubelet that says nothing for 50 s leaves its node unknown; one that works again says that all is well.
fn heartbeat(ctx: &mut Ctx<'_>, key: &Key, node: &mut Value) {
    let now = ctx.now();
    if ctx.engine.kubelet_runs(&key.name) {
        if ctx.engine.silent_nodes.remove(key.name.as_str()).is_some() {
            for (kind, status, reason, message) in WELL {
                set_condition(node, kind, status, reason, message, &view::stamp(now));
            }
        }
        return;
    }
    if !ctx.store.follows(Rule::LostNodes) {
        return;
    }
    let since = *ctx.engine.silent_nodes.entry(key.name.as_str().into()).or_insert(now);
    let due = view::later_s(since, GRACE);
    if now < due {
        ctx.engine.wake_at(Work::Node(key.clone()), due);
        return;
    }
    for (kind, ..) in WELL {
        match view::condition(node, kind).map(|c| view::text(c, &["status"]) != "Unknown") {
            Some(false) => {}
            Some(true) => {
                let why = "Kubelet stopped posting node status.";
                set_condition(node, kind, "Unknown", "NodeStatusUnknown", why, &view::stamp(now));
            }
            None => {
                let why = "Kubelet never posted node status.";
                set_condition(node, kind, "Unknown", "NodeStatusNeverUpdated", why, &view::stamp(now));
            }
        }
    }
}

/// Sets a condition. What the kubelet does not say does not change the time of its last word.
pub(crate) fn set_condition(node: &mut Value, kind: &str, status: &str, reason: &str, message: &str, now: &str) {
    let old = view::condition(node, kind);
    let heard = old.filter(|_| status == "Unknown").map_or(now, |old| view::text(old, &["lastHeartbeatTime"]));
    let since = old.filter(|old| view::text(old, &["status"]) == status).map_or(now, |old| view::text(old, &["lastTransitionTime"]));
    let condition = json!({"type": kind, "status": status, "lastHeartbeatTime": heard, "lastTransitionTime": since,
        "reason": reason, "message": message});
    if let Some(conditions) = view::list_mut(node, &["status", "conditions"]) {
        match conditions.iter().position(|c| view::text(c, &["type"]) == kind) {
            Some(at) => conditions[at] = condition,
            None => conditions.push(condition),
        }
    }
}

/// Labels of old clients, beside those that they are made of.
fn older_labels(node: &mut Value) {
    for (label, older) in [("kubernetes.io/os", "beta.kubernetes.io/os"), ("kubernetes.io/arch", "beta.kubernetes.io/arch")] {
        let value = view::label(node, label).to_owned();
        if !value.is_empty() && view::label(node, older) != value {
            view::set(node, &["metadata", "labels", older], value);
        }
    }
}

/// Taints that follow from cordon and conditions: those that keep pods away, and for lost nodes those that drive them away.
fn taint(node: &mut Value, cordoned: bool, evictions: Evictions, now: &str) {
    let status = |node: &Value, kind: &str| view::condition(node, kind).map(|c| view::text(c, &["status"]).to_owned()).unwrap_or_default();
    let ready = status(node, "Ready");
    let is = |kind: &str| status(node, kind) == "True";
    let keep_away = [
        ("node.kubernetes.io/unschedulable", cordoned),
        (NOT_READY, ready == "False"),
        (UNREACHABLE, ready == "Unknown"),
        ("node.kubernetes.io/memory-pressure", is("MemoryPressure")),
        ("node.kubernetes.io/disk-pressure", is("DiskPressure")),
        ("node.kubernetes.io/pid-pressure", is("PIDPressure")),
        ("node.kubernetes.io/network-unavailable", is("NetworkUnavailable")),
    ];
    for (key, wanted) in keep_away {
        set_taint(node, key, "NoSchedule", wanted, now);
    }
    for (key, lost) in [(NOT_READY, ready == "False"), (UNREACHABLE, ready == "Unknown")] {
        match evictions {
            Evictions::On => set_taint(node, key, "NoExecute", lost, now),
            Evictions::Held if !lost => set_taint(node, key, "NoExecute", false, now),
            Evictions::Held => {}
            Evictions::Off => set_taint(node, key, "NoExecute", false, now),
        }
    }
}

/// Fills in what a kubelet reports and a fixture may leave out: labels, and what [`report`] fills in.
pub(crate) fn register(node: &mut Value, now: &str) {
    let name = view::name(node).to_owned();
    for (label, value) in [("kubernetes.io/hostname", name.as_str()), ("kubernetes.io/os", "linux"), ("kubernetes.io/arch", "amd64")] {
        if view::label(node, label).is_empty() {
            view::set(node, &["metadata", "labels", label], value);
        }
    }
    older_labels(node);
    report(node, now);
}

/// Fills in the status: a `Ready` condition, capacity, an address, versions. A node that somebody creates gets no labels by that.
fn report(node: &mut Value, now: &str) {
    let name = view::name(node).to_owned();
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

fn set_taint(node: &mut Value, key: &str, effect: &str, wanted: bool, now: &str) {
    let is_it = |taint: &Value| view::text(taint, &["key"]) == key && view::text(taint, &["effect"]) == effect;
    let there = view::list(node, &["spec", "taints"]).iter().any(is_it);
    if there == wanted {
        return;
    }
    if let Some(taints) = view::list_mut(node, &["spec", "taints"]) {
        taints.retain(|taint| !is_it(taint));
        if wanted {
            taints.push(json!({"key": key, "effect": effect, "timeAdded": now}));
        }
        if taints.is_empty() {
            view::remove(node, &["spec", "taints"]);
        }
    }
}
