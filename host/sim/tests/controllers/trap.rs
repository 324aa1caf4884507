//! The trap of the CCE upgrade: two masters, two replicas in the network of the host, the default strategy.

use lockgate_sim::json::json;

use crate::support::{Sim, condition};

const TRAP: &str = "
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Node, metadata: {name: master-1, labels: {role: master}}}
- {apiVersion: v1, kind: Node, metadata: {name: master-2, labels: {role: master}}}
- {apiVersion: v1, kind: Node, metadata: {name: worker-1}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: ipam, namespace: shop}
spec:
  replicas: 2
  selector: {matchLabels: {app: ipam}}
  template:
    metadata: {labels: {app: ipam}}
    spec:
      hostNetwork: true
      nodeSelector: {role: master}
      containers:
      - name: ipam
        image: registry.example/ipam:v1.8.0
        ports: [{containerPort: 9600}]
";

const MESSAGE: &str = "0/3 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, 2 node(s) didn't have free \
    ports for the requested pod ports. no new claims to deallocate, preemption: 0/3 nodes are available: 1 Preemption is not \
    helpful for scheduling, 2 No preemption victims found for incoming pod.";

#[test]
fn a_surge_pod_finds_no_host_port_and_the_rollout_stands() {
    let mut sim = Sim::new(TRAP);
    assert_eq!(sim.counters("deploy/ipam"), [2, 2, 2, 2, 0]);
    sim.set_image("deploy/ipam", "registry.example/ipam:v1.8.4");
    let begun = sim.0.now();
    sim.go(30);
    assert_eq!(sim.counters("deploy/ipam"), [3, 1, 2, 2, 1]);
    let deployment = sim.get("deploy/ipam");
    assert_eq!(deployment["status"]["terminatingReplicas"], 0);
    assert_eq!(condition(&deployment, "Progressing").1, "ReplicaSetUpdated");
    let pending: Vec<_> = sim.list("pod").into_iter().filter(|p| p["status"]["phase"] == "Pending").collect();
    assert_eq!(pending.len(), 1);
    let scheduled = condition(&pending[0], "PodScheduled");
    assert_eq!(scheduled, ("False".to_owned(), "Unschedulable".to_owned(), MESSAGE.to_owned()));
    assert_eq!(sim.events("FailedScheduling"), [MESSAGE]);

    let deadline = begun.checked_add(jiff::SignedDuration::from_secs(600)).unwrap();
    sim.until(deadline);
    assert_eq!(condition(&sim.get("deploy/ipam"), "Progressing").0, "True", "the deadline is not over yet");
    sim.go(1);
    let deployment = sim.get("deploy/ipam");
    let (status, reason, message) = condition(&deployment, "Progressing");
    assert_eq!((status.as_str(), reason.as_str()), ("False", "ProgressDeadlineExceeded"));
    let new = sim.list("rs").into_iter().find(|rs| rs["spec"]["replicas"] == 1).unwrap();
    let name = new["metadata"]["name"].as_str().unwrap();
    assert_eq!(message, format!("ReplicaSet \"{name}\" has timed out progressing."));
    let available = condition(&deployment, "Available");
    assert_eq!((available.0.as_str(), available.2.as_str()), ("True", "Deployment has minimum availability."));
}

#[test]
fn to_zero_and_back_heals_it() {
    let mut sim = Sim::new(TRAP);
    sim.set_image("deploy/ipam", "registry.example/ipam:v1.8.4");
    sim.go(700);
    sim.scale("deploy/ipam", 0);
    assert_eq!(sim.list("pod").len(), 2, "the two old pods are terminating, the pending one is gone at once");
    sim.go(2);
    assert_eq!(sim.list("pod").len(), 0);
    assert_eq!(sim.counters("deploy/ipam"), [0, 0, 0, 0, 0]);
    sim.scale("deploy/ipam", 2);
    sim.go(30);
    assert_eq!(sim.counters("deploy/ipam"), [2, 2, 2, 2, 0]);
    assert_eq!(sim.images(), ["registry.example/ipam:v1.8.4"; 2]);
    let progressing = condition(&sim.get("deploy/ipam"), "Progressing");
    assert_eq!((progressing.0.as_str(), progressing.1.as_str()), ("True", "NewReplicaSetAvailable"));
}

#[test]
fn a_pod_that_goes_away_slowly_keeps_its_port() {
    let mut sim =
        Sim::new(&format!("{TRAP}---\napiVersion: lockgate.dev/v1\nkind: Model\nimages: [{{match: '*', stop: 20s, why: test}}]\n"));
    sim.patch("deploy/ipam", &json!({"spec": {"strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}}}}));
    sim.set_image("deploy/ipam", "registry.example/ipam:v1.8.4");
    sim.go(10);
    let deployment = sim.get("deploy/ipam");
    assert_eq!(deployment["status"]["terminatingReplicas"], 1);
    let pending = sim.list("pod").into_iter().filter(|p| p["spec"].get("nodeName").is_none()).count();
    assert_eq!(pending, 2, "old ports are held until the old pod is gone");
    sim.go(120);
    assert_eq!(sim.counters("deploy/ipam"), [2, 2, 2, 2, 0]);
}

#[test]
fn recreate_waits_until_every_old_pod_is_gone() {
    let recreate = TRAP
        .replace("replicas: 2", "replicas: 3\n  strategy: {type: Recreate}")
        .replace("metadata: {name: worker-1}", "metadata: {name: worker-1, labels: {role: master}}");
    let mut sim = Sim::new(&recreate);
    assert_eq!(sim.counters("deploy/ipam"), [3, 3, 3, 3, 0]);
    sim.set_image("deploy/ipam", "registry.example/ipam:v1.8.4");
    sim.step_through(60, |sim| {
        let pods = sim.list("pod");
        let mut images: Vec<&str> = pods.iter().map(|p| p["spec"]["containers"][0]["image"].as_str().unwrap()).collect();
        images.dedup();
        assert!(images.len() <= 1, "old and new pods together: {images:?}");
    });
    assert_eq!(sim.counters("deploy/ipam"), [3, 3, 3, 3, 0]);
    assert_eq!(sim.images(), ["registry.example/ipam:v1.8.4"; 3]);
    let available = sim.get("deploy/ipam");
    assert_eq!(condition(&available, "Available").1, "MinimumReplicasAvailable");
}
