//! Where pods go.

use lockgate_sim::json::{Value, json};

use crate::support::{Sim, condition, deployment, nodes};

fn place(sim: &mut Sim, name: &str, spec: Value) -> (String, String) {
    let mut spec = spec;
    if spec.get("containers").is_none() {
        spec["containers"] = json!([{"name": "c", "image": "i:1"}]);
    }
    let labels = json!({"name": name, "group": "g"});
    sim.create("pod", &json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": spec}));
    let pod = sim.get(&format!("pod/{name}"));
    let node = pod["spec"]["nodeName"].as_str().unwrap_or_default().to_owned();
    (node, condition(&pod, "PodScheduled").2)
}

fn three() -> Sim {
    Sim::new(&(nodes(&["n1", "n2", "n3"]) + "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n"))
}

fn requests(cpu: &str, memory: &str) -> Value {
    json!({"containers": [{"name": "c", "image": "i:1", "resources": {"requests": {"cpu": cpu, "memory": memory}}}]})
}

#[test]
fn pods_of_one_workload_spread() {
    let mut sim = Sim::new(&(nodes(&["n1", "n2", "n3"]) + &deployment(6, "")));
    let pods = sim.list("pod");
    for node in ["n1", "n2", "n3"] {
        assert_eq!(pods.iter().filter(|p| p["spec"]["nodeName"] == node).count(), 2, "{node}");
    }
}

#[test]
fn resources_run_out_in_the_servers_words() {
    let mut sim = three();
    for n in 0..3 {
        assert_ne!(place(&mut sim, &format!("big-{n}"), requests("3", "1Gi")).0, "");
    }
    let (node, message) = place(&mut sim, "late", requests("1500m", "1Gi"));
    assert_eq!(node, "");
    assert_eq!(
        message,
        "0/3 nodes are available: 3 Insufficient cpu. no new claims to deallocate, preemption: 0/3 nodes are available: 3 No \
         preemption victims found for incoming pod."
    );
    let (_, message) = place(&mut sim, "huge", requests("5", "17Gi"));
    assert_eq!(
        message,
        "0/3 nodes are available: 3 Insufficient cpu, 3 Insufficient memory. no new claims to deallocate, preemption: 0/3 \
         nodes are available: 3 Preemption is not helpful for scheduling."
    );
    // What goes makes room for what waits.
    sim.go(30);
    sim.delete("pod/big-1");
    sim.go(5);
    assert_ne!(sim.get("pod/late")["spec"]["nodeName"], Value::Null);
}

#[test]
fn cordons_taints_and_names() {
    let mut sim = three();
    sim.patch("node/n1", &json!({"spec": {"unschedulable": true}}));
    sim.patch("node/n2", &json!({"spec": {"taints": [{"key": "a", "value": "b", "effect": "NoSchedule"}]}}));
    assert_eq!(place(&mut sim, "free", json!({})).0, "n3");
    let (_, message) = place(&mut sim, "picky", json!({"nodeSelector": {"disk": "ssd"}}));
    assert_eq!(
        message,
        "0/3 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, 1 node(s) had untolerated taint(s), 1 \
         node(s) were unschedulable. no new claims to deallocate, preemption: 0/3 nodes are available: 3 Preemption is not \
         helpful for scheduling."
    );
    sim.patch("node/n3", &json!({"metadata": {"labels": {"disk": "ssd"}}}));
    assert_eq!(sim.get("pod/picky")["spec"]["nodeName"], "n3", "a changed node is tried at once");
    let tolerations = json!([{"key": "a", "operator": "Exists"}]);
    let affinity = json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
        {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n2"]}]}]}}});
    assert_eq!(place(&mut sim, "pinned", json!({"tolerations": tolerations, "affinity": affinity})).0, "n2");
    let (_, message) = place(&mut sim, "pinned-wrong", json!({"affinity": affinity}));
    assert_eq!(
        message,
        "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 node(s) didn't satisfy plugin(s) [NodeAffinity]. no \
         new claims to deallocate, preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."
    );
}

#[test]
fn pods_keep_away_from_each_other() {
    let mut sim = three();
    let term = json!([{"labelSelector": {"matchLabels": {"group": "g"}}, "topologyKey": "kubernetes.io/hostname"}]);
    let apart = json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": term}}});
    let mut taken: Vec<String> = (0..3).map(|n| place(&mut sim, &format!("p{n}"), apart.clone()).0).collect();
    taken.sort();
    assert_eq!(taken, ["n1", "n2", "n3"]);
    let (_, message) = place(&mut sim, "fourth", apart);
    assert!(message.starts_with("0/3 nodes are available: 3 node(s) didn't match pod anti-affinity rules."), "{message}");
    let (_, message) = place(&mut sim, "plain", json!({}));
    assert!(message.starts_with("0/3 nodes are available: 3 node(s) didn't satisfy existing pods anti-affinity rules."), "{message}");
    let near = json!({"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
        [{"labelSelector": {"matchLabels": {"name": "nobody"}}, "topologyKey": "kubernetes.io/hostname"}]}}});
    let (_, message) = place(&mut sim, "lonely", near);
    assert!(message.starts_with("0/3 nodes are available: 3 node(s) didn't match pod affinity rules."), "{message}");
}

#[test]
fn spread_constraints_forbid_a_second_pod_in_a_zone() {
    let zones = "apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Node, metadata: {name: a1, labels: {zone: a}}}
- {apiVersion: v1, kind: Node, metadata: {name: a2, labels: {zone: a}}}
- {apiVersion: v1, kind: Node, metadata: {name: b1, labels: {zone: b}}}
- {apiVersion: v1, kind: Node, metadata: {name: nowhere}}
- {apiVersion: v1, kind: Namespace, metadata: {name: shop}}
";
    let mut sim = Sim::new(zones);
    let spread = json!({"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"group": "g"}}}]});
    let first: Vec<String> = (0..2).map(|n| place(&mut sim, &format!("p{n}"), spread.clone()).0[..1].to_owned()).collect();
    assert!(first.contains(&"a".to_owned()) && first.contains(&"b".to_owned()), "{first:?}");
    sim.patch("node/b1", &json!({"spec": {"unschedulable": true}}));
    assert_eq!(&place(&mut sim, "p2", spread.clone()).0[..1], "a");
    let (_, message) = place(&mut sim, "p3", spread);
    assert!(
        message.starts_with(
            "0/4 nodes are available: 1 node(s) didn't match pod topology spread constraints (missing required label), 1 \
             node(s) were unschedulable, 2 node(s) didn't match pod topology spread constraints."
        ),
        "{message}"
    );
}

#[test]
fn the_number_of_pods_is_a_resource() {
    let small = "apiVersion: v1
kind: Node
metadata: {name: n1}
status: {capacity: {pods: '1'}}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop}
";
    let mut sim = Sim::new(small);
    assert_eq!(place(&mut sim, "a", json!({})).0, "n1");
    let (_, message) = place(&mut sim, "b", json!({}));
    assert!(message.starts_with("0/1 nodes are available: 1 Too many pods."), "{message}");
}

#[test]
fn without_nodes_nothing_is_placed() {
    let mut sim = Sim::new("apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n");
    assert_eq!(place(&mut sim, "a", json!({})).1, "no nodes available to schedule pods");
}

#[test]
fn a_pod_that_would_take_the_place_of_others_says_that_nobody_models_it() {
    let mut sim = three();
    let class = |name: &str, value: i64| json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}, "value": value});
    sim.create("priorityclass", &class("high", 1000));
    sim.create("priorityclass", &class("low", 10));
    let of = |class: &str, cpu: &str| {
        let mut spec = requests(cpu, "1Gi");
        spec["priorityClassName"] = json!(class);
        spec
    };
    for (name, class) in [("a", "low"), ("b", "high"), ("c", "low")] {
        assert_ne!(place(&mut sim, name, of(class, "3")).0, "", "{name}");
    }
    let (node, message) = place(&mut sim, "urgent", of("high", "2"));
    assert_eq!(node, "");
    assert_eq!(
        message,
        "0/3 nodes are available: 3 Insufficient cpu. no new claims to deallocate, preemption: 0/3 nodes are available: 1 No preemption \
         victims found for incoming pod, 2 simulator: not modelled: preemption."
    );
    // Who is of no higher priority than anybody takes nobody's place, here as elsewhere.
    let (_, message) = place(&mut sim, "equal", of("low", "2"));
    assert!(message.ends_with("preemption: 0/3 nodes are available: 3 No preemption victims found for incoming pod."), "{message}");
    let mut gentle = of("high", "2");
    gentle["preemptionPolicy"] = json!("Never");
    let never = json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "gentle"}, "value": 1000,
        "preemptionPolicy": "Never"});
    sim.create("priorityclass", &never);
    gentle["priorityClassName"] = json!("gentle");
    let (_, message) = place(&mut sim, "gentle", gentle);
    assert!(message.ends_with("preemption: not eligible due to preemptionPolicy=Never."), "{message}");
}
