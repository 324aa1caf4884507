//! Nodes that are lost, tainted or deleted, and what becomes of their pods.

use lockgate_sim::Request;
use lockgate_sim::json::{Value, json};
use lockgate_sim::model::{KubeletState, NodeModel};

use crate::support::{Sim, condition, deployment, nodes, path};

fn kubelet(sim: &mut Sim, node: &str, kubelet: KubeletState) {
    sim.0.models_mut().node(NodeModel { pattern: node.to_owned(), kubelet, why: "a test".to_owned() });
}

/// Taints as `key:effect`, without the first part of the key.
fn taints(sim: &mut Sim, node: &str) -> Vec<String> {
    let node = sim.get(&format!("node/{node}"));
    let list = node["spec"]["taints"].as_array().cloned().unwrap_or_default();
    let text = |taint: &Value, field: &str| taint[field].as_str().unwrap().to_owned();
    list.iter().map(|t| format!("{}:{}", text(t, "key").trim_start_matches("node.kubernetes.io/"), text(t, "effect"))).collect()
}

/// (name, node, terminating) of all pods.
fn pods(sim: &mut Sim) -> Vec<(String, String, bool)> {
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let pods = sim.list("pod");
    pods.iter()
        .map(|p| (text(&p["metadata"]["name"]), text(&p["spec"]["nodeName"]), p["metadata"].get("deletionTimestamp").is_some()))
        .collect()
}

fn on(sim: &mut Sim, node: &str) -> Vec<String> {
    pods(sim).into_iter().filter(|(_, on, _)| on == node).map(|(name, ..)| name).collect()
}

fn pod(name: &str, node: &str, tolerations: &Value) -> Value {
    json!({"metadata": {"name": name}, "spec": {"nodeName": node, "tolerations": tolerations,
        "containers": [{"name": "a", "image": "a:1"}]}})
}

#[test]
fn a_kubelet_that_a_happening_stops_is_noticed_though_nothing_else_happens() {
    let mut sim = Sim::new(&nodes(&["n1", "n2"]));
    let faults = "apiVersion: lockgate.dev/v1\nkind: Faults\nhappenings:\n- at: 30s\n  do: {model: {nodes: [{match: n1, kubelet: stopped, why: a test}]}}\n";
    sim.0.disturb(lockgate_sim::faults::FaultsDocument::parse("f.yaml", faults).unwrap());
    while let Some(at) = sim.0.next_event_at() {
        sim.0.advance_to(at);
    }
    assert_eq!(taints(&mut sim, "n1"), ["unreachable:NoSchedule", "unreachable:NoExecute"]);
}

#[test]
fn a_silent_kubelet_makes_its_node_unreachable_and_its_pods_leave() {
    let mut sim = Sim::new(&(nodes(&["n1", "n2", "n3"]) + &deployment(3, "")));
    let lost = on(&mut sim, "n2");
    assert_eq!(lost.len(), 1);
    kubelet(&mut sim, "n2", KubeletState::Stopped);
    sim.go(49);
    assert_eq!((taints(&mut sim, "n2"), sim.counters("deploy/web")[2]), (vec![], 3), "nobody knows yet");
    sim.go(1);
    assert_eq!(taints(&mut sim, "n2"), ["unreachable:NoSchedule", "unreachable:NoExecute"]);
    let why = ("Unknown".to_owned(), "NodeStatusUnknown".to_owned(), "Kubelet stopped posting node status.".to_owned());
    assert_eq!(condition(&sim.get("node/n2"), "Ready"), why);
    assert_eq!(condition(&sim.get("node/n2"), "DiskPressure").1, "NodeStatusNeverUpdated");
    assert_eq!(sim.counters("deploy/web")[2], 2, "the pods of a lost node are not ready");
    assert_eq!(sim.events("NodeNotReady"), ["Node is not ready"]);
    sim.go(299);
    assert_eq!(pods(&mut sim).len(), 3);
    sim.go(1);
    let gone: Vec<_> = pods(&mut sim).into_iter().filter(|(.., going)| *going).collect();
    assert_eq!(gone, [(lost[0].clone(), "n2".to_owned(), true)], "300 s are tolerated");
    let target = condition(&sim.get(&format!("pod/{}", lost[0])), "DisruptionTarget");
    assert_eq!(target.1, "DeletionByTaintManager");
    assert_eq!(sim.events("TaintManagerEviction"), [format!("Marking for deletion Pod shop/{}", lost[0])]);
    sim.go(3600);
    assert_eq!(pods(&mut sim).len(), 4, "without its kubelet the old pod stays");
    assert_eq!(sim.counters("deploy/web")[3], 3);
    // Only a forced deletion or the kubelet takes it away.
    kubelet(&mut sim, "n2", KubeletState::Running);
    sim.go(60);
    assert_eq!((pods(&mut sim).len(), taints(&mut sim, "n2")), (3, vec![]));
    assert_eq!(condition(&sim.get("node/n2"), "Ready").1, "KubeletReady");
}

#[test]
fn a_node_that_comes_back_in_time_keeps_its_pods() {
    let mut sim = Sim::new(&(nodes(&["n1", "n2"]) + &deployment(2, "")));
    let before = pods(&mut sim);
    kubelet(&mut sim, "n1", KubeletState::Stopped);
    sim.go(200);
    assert_eq!(sim.counters("deploy/web")[2], 1);
    kubelet(&mut sim, "n1", KubeletState::Running);
    sim.go(400);
    assert_eq!((pods(&mut sim), sim.counters("deploy/web")[2], taints(&mut sim, "n1")), (before, 2, vec![]));
    assert_eq!(sim.events("TaintManagerEviction"), [format!("Cancelling deletion of Pod shop/{}", on(&mut sim, "n1")[0])]);
}

#[test]
fn a_network_that_is_lost_whole_evicts_nobody() {
    let mut sim = Sim::new(&(nodes(&["n1", "n2"]) + &deployment(2, "")));
    kubelet(&mut sim, "*", KubeletState::Stopped);
    sim.go(2000);
    assert!(pods(&mut sim).iter().all(|(.., going)| !going));
    assert_eq!(taints(&mut sim, "n1"), ["unreachable:NoSchedule"]);
    assert_eq!(sim.counters("deploy/web")[2], 0);
}

#[test]
fn a_taint_drives_pods_away_when_their_time_is_up() {
    let mut sim = Sim::new(&(nodes(&["n1"]) + "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n"));
    let for_ever = json!([{"key": "repair", "operator": "Exists"}]);
    let a_while = json!([{"key": "repair", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 20}]);
    for (name, tolerations) in [("a", &json!([])), ("b", &a_while), ("c", &for_ever)] {
        sim.create("pod", &pod(name, "n1", tolerations));
    }
    sim.go(30);
    sim.patch("node/n1", &json!({"spec": {"taints": [{"key": "repair", "effect": "NoExecute"}]}}));
    sim.go(10);
    assert_eq!(on(&mut sim, "n1"), ["b", "c"]);
    sim.go(20);
    assert_eq!(on(&mut sim, "n1"), ["c"]);
    // One that comes later has its time too.
    sim.create("pod", &pod("d", "n1", &a_while));
    sim.go(19);
    assert_eq!(on(&mut sim, "n1"), ["c", "d"]);
    sim.go(10);
    assert_eq!(on(&mut sim, "n1"), ["c"]);
}

#[test]
fn conditions_of_a_node_become_taints() {
    let mut sim = Sim::new(&(nodes(&["n1", "n2"]) + &deployment(1, "")));
    let conditions = json!([{"type": "Ready", "status": "True"}, {"type": "DiskPressure", "status": "True"}, {"type": "NetworkUnavailable", "status": "True"}]);
    let status = |conditions: &Value| {
        Request::patch(
            &format!("{}/status", path("node/n1")),
            "application/merge-patch+json",
            &json!({"status": {"conditions": conditions}}),
        )
    };
    sim.ok(&status(&conditions));
    assert_eq!(taints(&mut sim, "n1"), ["disk-pressure:NoSchedule", "network-unavailable:NoSchedule"]);
    sim.ok(&status(&json!([{"type": "Ready", "status": "False"}])));
    assert_eq!(taints(&mut sim, "n1"), ["not-ready:NoSchedule", "not-ready:NoExecute"]);
    sim.patch("node/n2", &json!({"spec": {"unschedulable": true}}));
    assert_eq!(taints(&mut sim, "n2"), ["unschedulable:NoSchedule"]);
}

#[test]
fn the_pods_of_a_deleted_node_are_collected() {
    let mut sim = Sim::new(&(nodes(&["n1", "n2"]) + &deployment(2, "")));
    let lost = on(&mut sim, "n2");
    sim.delete("node/n2");
    sim.go(39);
    assert_eq!(on(&mut sim, "n2"), lost, "the node might come back");
    sim.go(1);
    assert_eq!(on(&mut sim, "n2"), Vec::<String>::new());
    sim.go(60);
    assert_eq!(on(&mut sim, "n1").len(), 2);
}

#[test]
fn what_is_going_on_a_node_out_of_service_is_removed() {
    let mut sim = Sim::new(&(nodes(&["n1", "n2", "n3"]) + &deployment(3, "")));
    kubelet(&mut sim, "n3", KubeletState::Stopped);
    sim.go(1000);
    assert_eq!(on(&mut sim, "n3").len(), 1);
    let mut all = sim.get("node/n3")["spec"]["taints"].as_array().cloned().unwrap();
    all.push(json!({"key": "node.kubernetes.io/out-of-service", "value": "nodeshutdown", "effect": "NoExecute"}));
    sim.patch("node/n3", &json!({"spec": {"taints": all}}));
    sim.go(1);
    assert_eq!(on(&mut sim, "n3"), Vec::<String>::new());
}

#[test]
fn pods_that_no_selector_claims_any_more_have_no_owner() {
    let mut sim = Sim::new(&(nodes(&["n1"]) + &deployment(1, "")));
    let name = on(&mut sim, "n1")[0].clone();
    sim.patch(&format!("pod/{name}"), &json!({"metadata": {"labels": {"app": "other"}}}));
    assert_eq!(sim.get(&format!("pod/{name}"))["metadata"].get("ownerReferences"), None);
    assert_eq!(pods(&mut sim).len(), 2);
}

#[test]
fn a_new_node_is_tainted_until_it_is_ready() {
    let mut sim = Sim::new(&nodes(&["n1"]));
    let labels = json!({"kubernetes.io/os": "linux"});
    let created = sim.create("node", &json!({"metadata": {"name": "n9", "labels": labels}}));
    assert_eq!(created["spec"]["taints"], json!([{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]));
    assert_eq!(taints(&mut sim, "n9"), Vec::<String>::new());
    let labels = json!({"kubernetes.io/os": "linux", "beta.kubernetes.io/os": "linux"});
    assert_eq!(sim.get("node/n9")["metadata"]["labels"], labels, "the controller keeps the older label, nobody adds others");
}
