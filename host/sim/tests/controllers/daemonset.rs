//! DaemonSets.

use lockgate_sim::json::{Value, json};
use lockgate_sim::model::PodMatch;

use crate::support::{Sim, nodes};

fn agent(more: &str) -> String {
    format!(
        "apiVersion: apps/v1
kind: DaemonSet
metadata: {{name: agent, namespace: shop}}
spec:
  selector: {{matchLabels: {{app: agent}}}}
{more}
  template:
    metadata: {{labels: {{app: agent}}}}
    spec:
      hostNetwork: true
      initContainers:
      - {{name: install, image: 'shop/agent:v1'}}
      containers:
      - {{name: agent, image: 'shop/agent:v1', ports: [{{containerPort: 9100}}]}}
---
"
    )
}

fn numbered(count: usize) -> Vec<String> {
    (1..=count).map(|n| format!("n{n:02}")).collect()
}

fn cluster(count: usize, more: &str) -> Sim {
    let names = numbered(count);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    Sim::new(&(nodes(&names) + &agent(more)))
}

/// desired, current, updated, ready, available, unavailable, misscheduled
fn counters(sim: &mut Sim) -> [i64; 7] {
    let status = sim.get("ds/agent")["status"].clone();
    [
        "desiredNumberScheduled",
        "currentNumberScheduled",
        "updatedNumberScheduled",
        "numberReady",
        "numberAvailable",
        "numberUnavailable",
        "numberMisscheduled",
    ]
    .map(|field| status[field].as_i64().unwrap_or(0))
}

/// Most nodes without an available pod at any time of a rollout.
fn most_missing(sim: &mut Sim, seconds: i64) -> i64 {
    let mut most = 0;
    sim.step_through(seconds, |sim| most = most.max(counters(sim)[5]));
    most
}

#[test]
fn every_node_gets_a_pinned_pod() {
    let mut sim = cluster(3, "");
    assert_eq!(counters(&mut sim), [3, 3, 3, 3, 3, 0, 0]);
    for pod in sim.list("pod") {
        let affinity = &pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
        let field = &affinity["nodeSelectorTerms"][0]["matchFields"][0];
        assert_eq!(field["key"], "metadata.name");
        assert_eq!(field["values"][0], pod["spec"]["nodeName"]);
        let tolerations = pod["spec"]["tolerations"].as_array().unwrap();
        let tolerates = |key: &str| tolerations.iter().any(|t| t["key"] == key);
        assert!(tolerates("node.kubernetes.io/unschedulable") && tolerates("node.kubernetes.io/network-unavailable"));
        assert_eq!(pod["status"]["initContainerStatuses"][0]["state"]["terminated"]["reason"], "Completed");
    }
}

#[test]
fn one_node_after_the_other_by_default() {
    let mut sim = cluster(4, "");
    sim.set_image("ds/agent", "shop/agent:v2");
    assert_eq!(most_missing(&mut sim, 300), 1);
    assert_eq!(counters(&mut sim), [4, 4, 4, 4, 4, 0, 0]);
    assert_eq!(sim.images(), ["shop/agent:v2"; 4]);
    let mut numbers: Vec<i64> = sim.list("revision").iter().map(|r| r["revision"].as_i64().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2]);
    // Back to the first template: its revision becomes the third.
    sim.set_image("ds/agent", "shop/agent:v1");
    sim.go(300);
    let mut numbers: Vec<i64> = sim.list("revision").iter().map(|r| r["revision"].as_i64().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [2, 3]);
    assert_eq!(sim.images(), ["shop/agent:v1"; 4]);
}

#[test]
fn percentages_round_up() {
    let mut sim = cluster(12, "  updateStrategy: {rollingUpdate: {maxUnavailable: 10%}}");
    sim.set_image("ds/agent", "shop/agent:v2");
    assert_eq!(most_missing(&mut sim, 300), 2);
    assert_eq!(sim.images(), ["shop/agent:v2"; 12]);
}

#[test]
fn a_surge_never_leaves_a_node_without_a_pod() {
    let names = ["n1", "n2", "n3"];
    let surge =
        agent("  updateStrategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}").replace("hostNetwork: true", "hostNetwork: false");
    let mut sim = Sim::new(&(nodes(&names) + &surge));
    sim.set_image("ds/agent", "shop/agent:v2");
    let mut most_pods = 0;
    let mut least_serving = usize::MAX;
    sim.step_through(300, |sim| {
        most_pods = most_pods.max(sim.images().len());
        let ready = |pod: &&Value| crate::support::condition(pod, "Ready").0 == "True";
        least_serving = least_serving.min(sim.list("pod").iter().filter(ready).count());
    });
    assert_eq!((most_pods, least_serving), (4, 3));
    assert_eq!(sim.images(), ["shop/agent:v2"; 3]);
}

#[test]
fn on_delete_changes_nothing_until_a_pod_is_deleted() {
    let mut sim = cluster(2, "  updateStrategy: {type: OnDelete}");
    sim.set_image("ds/agent", "shop/agent:v2");
    sim.go(120);
    assert_eq!(sim.images(), ["shop/agent:v1"; 2]);
    assert_eq!(counters(&mut sim)[..3], [2, 2, 0]);
    let first = sim.list("pod")[0]["metadata"]["name"].as_str().unwrap().to_owned();
    sim.delete(&format!("pod/{first}"));
    sim.go(60);
    assert_eq!(sim.images(), ["shop/agent:v1", "shop/agent:v2"]);
    assert_eq!(counters(&mut sim), [2, 2, 1, 2, 2, 0, 0]);
}

#[test]
fn taints_cordons_and_new_nodes() {
    let tainted = "apiVersion: v1
kind: Node
metadata: {name: master}
spec: {taints: [{key: node-role.kubernetes.io/control-plane, effect: NoSchedule}]}
---
";
    let mut sim = Sim::new(&(nodes(&["n1", "n2"]) + tainted + &agent("")));
    assert_eq!(counters(&mut sim)[0], 2, "the tainted node is not covered");
    sim.patch("node/n1", &json!({"spec": {"unschedulable": true}}));
    sim.go(5);
    assert_eq!(counters(&mut sim), [2, 2, 2, 2, 2, 0, 0]);
    sim.create("node", &json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n3"}}));
    sim.go(30);
    assert_eq!(counters(&mut sim), [3, 3, 3, 3, 3, 0, 0]);
    // A rollout reaches the cordoned node too.
    sim.set_image("ds/agent", "shop/agent:v2");
    sim.go(120);
    assert_eq!(sim.images(), ["shop/agent:v2"; 3]);
    // A NoExecute taint drives the pod away.
    let taints = json!([{"key": "gone", "effect": "NoExecute"}]);
    sim.patch("node/n2", &json!({"spec": {"taints": taints}}));
    sim.go(30);
    assert_eq!(counters(&mut sim)[0], 2);
    assert_eq!(sim.list("pod").len(), 2);
}

#[test]
fn a_node_without_kubelet_holds_the_rollout_up() {
    let mut sim = cluster(3, "");
    sim.0.models_mut().stuck_terminating(PodMatch { node: Some("n02".to_owned()), ..PodMatch::default() });
    sim.set_image("ds/agent", "shop/agent:v2");
    sim.go(900);
    // The one pod that may be missing is the one that never goes: the next node is not touched.
    assert_eq!(sim.images(), ["shop/agent:v1", "shop/agent:v2"]);
    let counted = counters(&mut sim);
    assert_eq!((counted[0], counted[2]), (3, 1), "{counted:?}");
    let stuck: Vec<Value> = sim.list("pod").into_iter().filter(|p| p["metadata"].get("deletionTimestamp").is_some()).collect();
    assert_eq!(stuck.len(), 1);
    assert_eq!(stuck[0]["spec"]["nodeName"], "n02");
}

#[test]
fn an_agent_that_never_gets_ready_stops_the_rollout_at_its_node() {
    let mut sim = cluster(3, "");
    sim.0.models_mut().never_ready(PodMatch { node: Some("n03".to_owned()), ..PodMatch::default() });
    sim.set_image("ds/agent", "shop/agent:v2");
    sim.go(900);
    let [desired, _, updated, ready, available, unavailable, _] = counters(&mut sim);
    assert_eq!((desired, available, unavailable), (3, 2, 1));
    assert!((1..=3).contains(&updated) && ready == 2, "{updated} {ready}");
}

#[test]
fn broken_old_pods_are_replaced_at_once_whatever_the_limit() {
    let mut sim = cluster(4, "");
    sim.0.models_mut().never_pulls("*:bad");
    sim.patch("ds/agent", &json!({"spec": {"updateStrategy": {"rollingUpdate": {"maxUnavailable": 3}}}}));
    sim.set_image("ds/agent", "shop/agent:bad");
    sim.go(60);
    assert_eq!(counters(&mut sim)[5], 3);
    sim.patch("ds/agent", &json!({"spec": {"updateStrategy": {"rollingUpdate": {"maxUnavailable": 1}}}}));
    sim.set_image("ds/agent", "shop/agent:v2");
    sim.go(2);
    let updated = sim.images().iter().filter(|image| *image == "shop/agent:v2").count();
    assert_eq!(updated, 3, "the three broken nodes, and no healthy one: {:?}", sim.images());
    sim.go(120);
    assert_eq!(sim.images(), ["shop/agent:v2"; 4]);
}
