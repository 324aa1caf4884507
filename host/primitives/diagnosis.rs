//! Why a workload is not as it should be, from what the scheduler, the kubelets and the controllers wrote down.
//!
//! One module for `why` and `wait_rollout`, so that both name the same reason in the same words. A diagnosis is *certain* when
//! nothing but a change from outside can help: `wait_rollout` raises it at once instead of waiting for time to pass.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::base::json::{Map, Value as Json, json};

use super::cx::Cx;
use super::pod_trouble::{self, Trouble};
use super::rollout::{Rollout, Shape};
use super::view::{self, and, verb};
use super::workload::{host_ports, replicas};
use crate::base::{Reason, Result};

/// How many nodes are read for one diagnosis.
const NODES: usize = 20;

/// What is wrong.
#[derive(Clone, Debug)]
pub(super) struct Diagnosis {
    /// The reason.
    pub(super) reason: Reason,
    /// One sentence, without the name of the workload.
    pub(super) message: String,
    /// The pods it is about.
    pub(super) pods: Vec<String>,
    /// The nodes it is about.
    pub(super) nodes: Vec<String>,
    /// The object that says so: `pod/web-1`, `replicaset/web-5`, the workload itself.
    pub(super) object: String,
    /// The words of who noticed: scheduler, kubelet, API server.
    pub(super) evidence: Option<String>,
    /// What to do.
    pub(super) hint: Option<String>,
    /// Whether it cannot clear by itself.
    pub(super) certain: bool,
}

impl Diagnosis {
    /// A diagnosis that may clear by itself.
    pub(super) fn new(reason: Reason, object: impl Into<String>, message: impl Into<String>) -> Diagnosis {
        Diagnosis {
            reason,
            message: message.into(),
            pods: Vec::new(),
            nodes: Vec::new(),
            object: object.into(),
            evidence: None,
            hint: None,
            certain: false,
        }
    }

    /// As scripts see it.
    pub(super) fn into_json(self) -> Json {
        let mut fields = Map::new();
        fields.insert("reason".to_owned(), self.reason.as_str().into());
        let message = match &self.evidence {
            Some(evidence) => format!("{}: {evidence}", self.message),
            None => self.message,
        };
        fields.insert("message".to_owned(), message.into());
        fields.insert("object".to_owned(), self.object.into());
        fields.insert("pods".to_owned(), self.pods.into());
        fields.insert("nodes".to_owned(), self.nodes.into());
        if let Some(hint) = self.hint {
            fields.insert("hint".to_owned(), hint.into());
        }
        Json::Object(fields)
    }

    /// The facts for scripts that go with an error.
    pub(super) fn details(&self) -> Json {
        json!({ "reason": self.reason.as_str(), "pods": self.pods, "nodes": self.nodes, "object": self.object })
    }
}

/// What is wrong with a rollout, as far as the objects at hand tell; `nodes` may be empty.
pub(super) fn of(rollout: &Rollout, nodes: &BTreeMap<String, Arc<Json>>) -> Option<Diagnosis> {
    if view::flag(&rollout.workload, "/spec/paused") {
        let mut found = Diagnosis::new(Reason::Paused, rollout.name.clone(), "it is paused");
        found.certain = true;
        found.hint = Some("resume it first".to_owned());
        return Some(found);
    }
    cannot_create(rollout).or_else(|| pods_in_trouble(rollout, nodes)).or_else(|| missing(rollout)).or_else(|| leaving(rollout, nodes))
}

/// The same, with the nodes read that it is about.
pub(super) async fn with_nodes(cx: &Cx, rollout: &Rollout) -> Result<Option<Diagnosis>> {
    let names: BTreeSet<&str> = rollout
        .pods
        .iter()
        .filter(|pod| !view::is_ready(pod))
        .map(|pod| view::text(pod, "/spec/nodeName"))
        .filter(|name| !name.is_empty())
        .take(NODES)
        .collect();
    let mut nodes = BTreeMap::new();
    if !names.is_empty() {
        let resource = cx.cluster.resolve("nodes", None).await?;
        for name in names {
            match cx.cluster.find(&cx.cluster.object(resource.clone(), None, name)).await {
                Ok(Some(node)) => drop(nodes.insert(name.to_owned(), node)),
                Ok(None) => {}
                Err(stop) if stop.is_stop() => return Err(stop),
                // Without the right to read nodes a diagnosis is poorer, not impossible.
                Err(_) => break,
            }
        }
    }
    Ok(of(rollout, &nodes))
}

/// A ReplicaSet that may not create its pods: quota, admission, a missing service account.
fn cannot_create(rollout: &Rollout) -> Option<Diagnosis> {
    let holders = rollout.sets.iter().chain([&rollout.workload]);
    let failing = holders.filter(|holder| view::holds(holder, "ReplicaFailure")).max_by_key(|holder| replicas(holder))?;
    let condition = view::condition(failing, "ReplicaFailure")?;
    let kind = view::text(failing, "/kind").to_ascii_lowercase();
    let kind = if kind.is_empty() { "replicaset".to_owned() } else { kind };
    let object = format!("{kind}/{}", view::name(failing));
    let mut found = Diagnosis::new(Reason::Quota, object, "its pods cannot be created");
    found.evidence = Some(view::text(condition, "/message").to_owned()).filter(|text| !text.is_empty());
    found.hint = Some("look at the quotas and admission rules of its namespace".to_owned());
    Some(found)
}

/// Pods that are there and not ready: those of the wanted revision first, and of them the trouble that says most.
fn pods_in_trouble(rollout: &Rollout, nodes: &BTreeMap<String, Arc<Json>>) -> Option<Diagnosis> {
    let troubles = |updated: bool| -> Vec<(&Arc<Json>, Trouble)> {
        let pods = rollout.pods.iter().filter(|pod| !view::is_terminating(pod) && rollout.is_updated(pod) == updated);
        pods.filter_map(|pod| {
            let node = nodes.get(view::text(pod, "/spec/nodeName"));
            pod_trouble::of(pod, node.map(Arc::as_ref)).map(|trouble| (pod, trouble))
        })
        .collect()
    };
    let found = Some(troubles(true)).filter(|found| !found.is_empty()).unwrap_or_else(|| troubles(false));
    let (_, worst) = found.iter().min_by_key(|(_, trouble)| trouble.rank())?;
    let rank = worst.rank();
    let group: Vec<&(&Arc<Json>, Trouble)> = found.iter().filter(|(_, trouble)| trouble.rank() == rank).collect();
    let (first, trouble) = group.first()?;
    let mut diagnosis = if trouble.reason == Reason::HostPortConflict {
        host_ports_taken(rollout, &group)
    } else {
        let many = group.len();
        let total = usize::try_from(rollout.counts().desired).unwrap_or(0).max(many);
        Diagnosis::new(trouble.reason, "", format!("{many} of {total} {} {}", pods_of(total), trouble.says(many)))
    };
    diagnosis.certain |= trouble.certain;
    diagnosis.evidence.clone_from(&trouble.evidence);
    diagnosis.hint = diagnosis.hint.or_else(|| trouble.hint.clone());
    diagnosis.object = format!("pod/{}", view::name(first));
    diagnosis.pods = group.iter().map(|(pod, _)| view::name(pod).to_owned()).collect();
    if diagnosis.nodes.is_empty() {
        let on: BTreeSet<String> = group.iter().map(|(pod, _)| view::text(pod, "/spec/nodeName").to_owned()).collect();
        diagnosis.nodes = on.into_iter().filter(|name| !name.is_empty()).collect();
    }
    // A pod of a DaemonSet is known by its node: its name says nothing to the person who has to look there.
    let names: Vec<String> = diagnosis.nodes.iter().map(|name| format!("`{name}`")).collect();
    let told = names.iter().any(|name| diagnosis.message.contains(name));
    if rollout.shape == Shape::DaemonSet && (1..=3).contains(&names.len()) && !told {
        diagnosis.message.push_str(&format!(" on {} {}", verb(names.len(), "node", "nodes"), and(&names)));
    }
    Some(diagnosis)
}

fn pods_of(total: usize) -> &'static str {
    verb(total, "pod", "pods")
}

/// Pods that wait for host ports. Certain when pods of the same workload hold them on every node in question, and the
/// workload's own strategy keeps those alive.
fn host_ports_taken(rollout: &Rollout, group: &[&(&Arc<Json>, Trouble)]) -> Diagnosis {
    let wanted: BTreeSet<i64> = group.iter().flat_map(|(pod, _)| host_ports(pod)).collect();
    let holders: Vec<&Arc<Json>> = rollout
        .pods
        .iter()
        .filter(|pod| !view::text(pod, "/spec/nodeName").is_empty() && !view::is_finished(pod))
        .filter(|pod| host_ports(pod).iter().any(|port| wanted.contains(port)))
        .collect();
    let held: BTreeSet<i64> =
        holders.iter().flat_map(|pod| host_ports(pod)).filter(|port| holders.is_empty() || wanted.contains(port)).collect();
    let shown = if held.is_empty() { &wanted } else { &held };
    let ports: Vec<String> = shown.iter().map(i64::to_string).collect();
    let (many, total) = (group.len(), usize::try_from(rollout.counts().desired).unwrap_or(0).max(group.len()));
    let waits = format!(
        "{many} of {total} {} {} for {} {}",
        pods_of(total),
        verb(many, "waits", "wait"),
        verb(ports.len(), "host port", "host ports"),
        and(&ports)
    );
    let kind = rollout.name.split('/').next().unwrap_or("workload");
    if holders.is_empty() {
        let mut found = Diagnosis::new(Reason::HostPortConflict, "", format!("{waits}, which pods of others hold"));
        found.hint = Some("find out who uses the ports on those nodes".to_owned());
        return found;
    }
    let message =
        format!("{waits}, which {} {} of the same {kind} {}", holders.len(), pods_of(holders.len()), verb(holders.len(), "holds", "hold"));
    let mut found = Diagnosis::new(Reason::HostPortConflict, "", message);
    let nodes: BTreeSet<String> = holders.iter().map(|pod| view::text(pod, "/spec/nodeName").to_owned()).collect();
    found.certain = holders.iter().all(|pod| !view::is_terminating(pod))
        && strategy_protects(rollout, group.len())
        && group.iter().all(|(_, trouble)| only_held_by(trouble.evidence.as_deref().unwrap_or_default(), nodes.len()));
    found.nodes = nodes.into_iter().collect();
    found.hint = Some(if found.certain {
        "its update strategy keeps the old pods until the new ones are ready: scale it to 0 with `wait = \"gone\"` and back".to_owned()
    } else {
        "the old pods may still go".to_owned()
    });
    found
}

/// Whether the scheduler's words leave no other node: as many nodes lack the port as `nodes` that our own pods hold, and all
/// others can never take the pod.
fn only_held_by(message: &str, nodes: usize) -> bool {
    let Some((_, counted)) = message.split_once(" nodes are available: ") else { return false };
    let counted = counted.split(". ").next().unwrap_or(counted);
    let mut ports = 0;
    for part in counted.trim_end_matches('.').split(", ") {
        let Some((number, why)) = part.split_once(' ') else { return false };
        let Ok(number) = number.parse::<usize>() else { return false };
        if why.contains("didn't have free ports") {
            ports += number;
        } else if !why.contains("didn't match Pod's node affinity/selector") && !is_lasting_taint(why) {
            return false;
        }
    }
    ports > 0 && ports <= nodes
}

/// Taints of conditions (`node.kubernetes.io/not-ready`) go away by themselves; others are somebody's decision. Servers that do
/// not name the taint leave it open.
fn is_lasting_taint(why: &str) -> bool {
    why.contains("untolerated taint {") && !why.contains("node.kubernetes.io/") && !why.contains("node.cloudprovider")
}

/// Whether the Deployment controller will delete no more old pods as things stand: the arithmetic of its rolling update
/// (`pkg/controller/deployment/rolling.go`). Things stand when all new pods but the `waiting` ones are available.
fn strategy_protects(rollout: &Rollout, waiting: usize) -> bool {
    if rollout.shape != Shape::Deployment || rollout.strategy() != "RollingUpdate" || !view::is_observed(&rollout.workload) {
        return false;
    }
    let wanted = rollout.wanted().map(|revision| view::uid(&revision.object));
    let Some(new) = rollout.sets.iter().find(|set| Some(view::uid(set)) == wanted) else { return false };
    let spec = |set: &Json| view::count(set, "/spec/replicas");
    let available = |set: &Json| view::count(set, "/status/availableReplicas");
    if usize::try_from(spec(new) - available(new)) != Ok(waiting) {
        return false;
    }
    let total: i64 = rollout.sets.iter().map(|set| spec(set)).sum();
    let least = replicas(&rollout.workload) - max_unavailable(&rollout.workload);
    let may_go = total - least - (spec(new) - available(new));
    if may_go <= 0 {
        return true;
    }
    let unhealthy: i64 = rollout.sets.iter().filter(|set| Some(view::uid(set)) != wanted).map(|set| spec(set) - available(set)).sum();
    rollout.sets.iter().map(|set| available(set)).sum::<i64>() <= least && unhealthy <= 0
}

/// `maxUnavailable` in pods: percentages are rounded down, and 1 when it and `maxSurge` would both be 0.
fn max_unavailable(deployment: &Json) -> i64 {
    let wanted = replicas(deployment);
    let read = |field: &str, round_up: bool| {
        let value = deployment.pointer(&format!("/spec/strategy/rollingUpdate/{field}"));
        let percent = match value {
            Some(Json::Number(number)) => return number.as_i64().unwrap_or(0),
            Some(Json::String(text)) => text.trim_end_matches('%').parse::<i64>().unwrap_or(0),
            _ => 25,
        };
        (wanted * percent + if round_up { 99 } else { 0 }) / 100
    };
    let (unavailable, surge) = (read("maxUnavailable", false), read("maxSurge", true));
    if unavailable == 0 && surge == 0 { 1 } else { unavailable.min(wanted) }
}

/// Pods that should be there and are not.
fn missing(rollout: &Rollout) -> Option<Diagnosis> {
    let counts = rollout.counts();
    let going = rollout.pods.iter().any(|pod| view::is_terminating(pod));
    if rollout.strategy() == "OnDelete" && counts.old > 0 {
        let old: Vec<String> = rollout.pods.iter().filter(|pod| !rollout.is_updated(pod)).map(|pod| view::name(pod).to_owned()).collect();
        let many = old.len();
        let message =
            format!("{many} {} {} of a former revision, and strategy OnDelete replaces no pod", pods_of(many), verb(many, "is", "are"));
        let mut found = Diagnosis::new(Reason::NotReady, rollout.name.clone(), message);
        found.pods = old;
        found.hint = Some("delete these pods one after another".to_owned());
        return Some(found);
    }
    let lacking = counts.desired - counts.updated;
    if going || lacking <= 0 || rollout.pods.iter().any(|pod| !view::is_ready(pod)) {
        return None;
    }
    let message =
        format!("{lacking} of {} {} have not been created", counts.desired, pods_of(usize::try_from(counts.desired).unwrap_or(0)));
    let mut found = Diagnosis::new(Reason::NotReady, rollout.name.clone(), message);
    found.hint = Some("look at its events; is the controller manager running?".to_owned());
    Some(found)
}

/// Pods on their way out that others wait for.
fn leaving(rollout: &Rollout, nodes: &BTreeMap<String, Arc<Json>>) -> Option<Diagnosis> {
    let going: Vec<&Arc<Json>> = rollout.pods.iter().filter(|pod| view::is_terminating(pod)).collect();
    let first = going.first()?;
    let on: BTreeSet<&str> = going.iter().map(|pod| view::text(pod, "/spec/nodeName")).filter(|name| !name.is_empty()).collect();
    let down: Vec<String> = on
        .iter()
        .filter(|name| nodes.get(**name).is_some_and(|node| !view::holds(node, "Ready")))
        .map(|name| format!("`{name}`"))
        .collect();
    let mut message = format!("{} {} still terminating", going.len(), verb(going.len(), "pod is", "pods are"));
    if !down.is_empty() {
        message.push_str(&format!(
            " on {} {}, which {} not ready",
            verb(down.len(), "node", "nodes"),
            and(&down),
            verb(down.len(), "is", "are")
        ));
    }
    let mut found = Diagnosis::new(Reason::NotReady, format!("pod/{}", view::name(first)), message);
    found.pods = going.iter().map(|pod| view::name(pod).to_owned()).collect();
    found.nodes = on.into_iter().map(str::to_owned).collect();
    found.hint =
        Some(if down.is_empty() { "is the kubelet there running?" } else { "repair the node, or remove it from the cluster" }.to_owned());
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRAP: &str = "0/3 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, 2 node(s) didn't have free \
                        ports for the requested pod ports. no new claims to deallocate, preemption: 0/3 nodes are available: \
                        1 Preemption is not helpful for scheduling, 2 No preemption victims found for incoming pod.";

    #[test]
    fn the_scheduler_leaves_no_node_only_when_its_numbers_say_so() {
        assert!(only_held_by(TRAP, 2));
        assert!(!only_held_by(TRAP, 1), "a node is taken by somebody else");
        assert!(!only_held_by(&TRAP.replace("1 node(s) didn't match Pod's node affinity/selector", "1 Insufficient cpu"), 2));
        assert!(!only_held_by(
            &TRAP.replace("didn't match Pod's node affinity/selector", "had untolerated taint {node.kubernetes.io/not-ready: }"),
            2
        ));
        assert!(!only_held_by("", 2));
    }

    #[test]
    fn percentages_round_down_and_both_zero_is_one() {
        let deployment =
            |replicas: i64, rolling: Json| json!({ "spec": { "replicas": replicas, "strategy": { "rollingUpdate": rolling } } });
        assert_eq!(max_unavailable(&deployment(2, json!({}))), 0);
        assert_eq!(max_unavailable(&deployment(4, json!({}))), 1);
        assert_eq!(max_unavailable(&deployment(2, json!({ "maxUnavailable": 0, "maxSurge": 0 }))), 1);
        assert_eq!(max_unavailable(&deployment(3, json!({ "maxUnavailable": "50%" }))), 1);
        assert_eq!(max_unavailable(&deployment(2, json!({ "maxUnavailable": 5 }))), 2);
    }

    fn trap(max_unavailable: i64, old: usize) -> Rollout {
        let pod = |name: &str, set: &str, node: &str| {
            let mut pod = json!({ "metadata": { "name": name, "ownerReferences": [{ "uid": set, "controller": true, "kind": "ReplicaSet" }] },
                "spec": { "hostNetwork": true, "nodeName": node, "containers": [{ "ports": [{ "containerPort": 9997 }, { "containerPort": 9998 }] }] },
                "status": { "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }] } });
            if node.is_empty() {
                pod["status"] = json!({ "phase": "Pending", "conditions": [
                    { "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": TRAP }] });
            }
            Arc::new(pod)
        };
        let template = |image: &str| json!({ "spec": { "containers": [{ "image": image }] } });
        let set = |uid: &str, image: &str, replicas: usize, available: usize| {
            Arc::new(json!({ "metadata": { "uid": uid, "annotations": { "deployment.kubernetes.io/revision": "1" },
                "ownerReferences": [{ "uid": "d", "controller": true }] },
                "spec": { "replicas": replicas, "template": template(image) }, "status": { "availableReplicas": available } }))
        };
        let workload = Arc::new(json!({ "metadata": { "uid": "d" }, "spec": { "replicas": 2, "template": template("a:2"),
            "strategy": { "rollingUpdate": { "maxUnavailable": max_unavailable } } } }));
        let mut pods = vec![pod("new-1", "new", "")];
        pods.extend((1..=old).map(|index| pod(&format!("old-{index}"), "old", &format!("m{index}"))));
        let sets = [set("old", "a:1", old, old), set("new", "a:2", 1, 0)];
        Rollout::new(Shape::Deployment, "deployment/ipam".into(), workload, pods.iter(), sets.iter())
    }

    #[test]
    fn the_trap_is_certain_and_says_who_holds_the_ports() {
        let found = of(&trap(0, 2), &BTreeMap::new()).unwrap();
        assert_eq!(found.reason, Reason::HostPortConflict);
        assert_eq!(found.message, "1 of 2 pods waits for host ports 9997 and 9998, which 2 pods of the same deployment hold");
        assert!(found.certain);
        assert_eq!((found.pods, found.nodes), (vec!["new-1".to_owned()], vec!["m1".to_owned(), "m2".to_owned()]));
        assert_eq!(found.evidence.as_deref(), Some(TRAP));
    }

    #[test]
    fn it_is_not_certain_while_the_strategy_may_delete_an_old_pod_or_others_hold_a_port() {
        assert!(!of(&trap(1, 2), &BTreeMap::new()).unwrap().certain);
        assert!(!of(&trap(0, 1), &BTreeMap::new()).unwrap().certain);
    }
}
