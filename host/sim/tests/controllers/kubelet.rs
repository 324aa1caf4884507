//! Pods on their nodes.

use lockgate_sim::json::{Value, json};
use lockgate_sim::model::{ImageModel, PodMatch, Span};

use crate::support::{Sim, condition, deployment, nodes};

fn one() -> Sim {
    Sim::new(&(nodes(&["n1"]) + &deployment(1, "")))
}

fn pod(sim: &mut Sim, image: &str) -> Value {
    let pods = sim.list("pod");
    pods.into_iter().find(|p| p["spec"]["containers"][0]["image"] == image).unwrap()
}

fn waiting(sim: &mut Sim, image: &str) -> (String, String) {
    let waiting = pod(sim, image)["status"]["containerStatuses"][0]["state"]["waiting"].clone();
    let text = |field: &str| waiting[field].as_str().unwrap_or_default().to_owned();
    (text("reason"), text("message"))
}

#[test]
fn a_pod_is_pulled_started_and_ready_in_the_default_times() {
    let mut sim = one();
    sim.set_image("deploy/web", "shop/web:v2");
    sim.go(8);
    assert_eq!(waiting(&mut sim, "shop/web:v2").0, "ContainerCreating");
    sim.go(1);
    let started = pod(&mut sim, "shop/web:v2");
    assert_eq!(started["status"]["phase"], "Running");
    let unready = condition(&started, "Ready");
    assert_eq!((unready.1.as_str(), unready.2.as_str()), ("ContainersNotReady", "containers with unready status: [web]"));
    sim.go(2);
    let ready = pod(&mut sim, "shop/web:v2");
    for kind in ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"] {
        assert_eq!(condition(&ready, kind).0, "True", "{kind}");
    }
    assert_eq!(ready["status"]["hostIP"], sim.get("node/n1")["status"]["addresses"][0]["address"]);
    assert!(ready["status"]["podIP"].as_str().unwrap().starts_with("10.244."));
    // The image is on the node now: the next pod needs no pull.
    sim.scale("deploy/web", 2);
    sim.go(3);
    assert_eq!(sim.counters("deploy/web"), [2, 2, 2, 2, 0]);
}

#[test]
fn pulls_that_fail_back_off_and_succeed_when_the_image_appears() {
    let mut sim = one();
    sim.0.models_mut().never_pulls("*:bad");
    sim.set_image("deploy/web", "shop/web:bad");
    sim.go(1);
    let (reason, message) = waiting(&mut sim, "shop/web:bad");
    assert_eq!(reason, "ErrImagePull");
    assert!(message.ends_with("failed to resolve reference \"shop/web:bad\": shop/web:bad: not found"), "{message}");
    let mut seen = Vec::new();
    sim.step_through(1000, |sim| {
        let now = waiting(sim, "shop/web:bad").0;
        if seen.last().is_none_or(|(_, last)| *last != now) {
            seen.push((sim.0.now(), now));
        }
    });
    let failures: Vec<_> = seen.iter().filter(|(_, reason)| reason == "ErrImagePull").map(|(at, _)| *at).collect();
    let gaps: Vec<i64> = failures.windows(2).map(|w| w[1].duration_since(w[0]).as_secs()).collect();
    assert_eq!(gaps, [11, 21, 41, 81, 161, 301, 301], "each back-off and a second for the try");
    let (reason, message) = waiting(&mut sim, "shop/web:bad");
    assert_eq!(reason, "ImagePullBackOff");
    assert!(message.starts_with("Back-off pulling image \"shop/web:bad\""), "{message}");
    assert_eq!(pod(&mut sim, "shop/web:bad")["status"]["phase"], "Pending");
    let repaired = ImageModel { never_pulls: Some(false), ..ImageModel::new("*:bad", "pushed at last") };
    sim.0.models_mut().image(repaired);
    sim.go(400);
    assert_eq!(sim.counters("deploy/web"), [1, 1, 1, 1, 0]);
}

#[test]
fn crashes_are_counted_and_backed_off() {
    let mut sim = one();
    sim.0.models_mut().crashes(PodMatch { owner: Some("deployment/web".to_owned()), ..PodMatch::default() });
    sim.set_image("deploy/web", "shop/web:v2");
    let mut restarts = Vec::new();
    sim.step_through(700, |sim| {
        let count = pod(sim, "shop/web:v2")["status"]["containerStatuses"][0]["restartCount"].as_i64().unwrap();
        if restarts.last().is_none_or(|(_, last)| *last != count) {
            restarts.push((sim.0.now(), count));
        }
    });
    let gaps: Vec<i64> = restarts.windows(2).map(|w| w[1].0.duration_since(w[0].0).as_secs()).skip(1).collect();
    assert_eq!(gaps[..5], [12, 22, 42, 82, 162], "two seconds of running and the back-off");
    let (reason, message) = waiting(&mut sim, "shop/web:v2");
    assert_eq!(reason, "CrashLoopBackOff");
    assert!(message.starts_with("back-off 5m0s restarting failed container=web pod=web-"), "{message}");
    let status = pod(&mut sim, "shop/web:v2")["status"].clone();
    assert_eq!(status["containerStatuses"][0]["lastState"]["terminated"]["exitCode"], 1);
    assert_eq!(status["phase"], "Running");
    assert_eq!(sim.counters("deploy/web")[3], 1, "the old pod stays");
}

#[test]
fn a_crash_that_ends_lets_the_pod_get_ready() {
    let mut sim = one();
    let crash = lockgate_sim::json::from_value(json!({"times": 2, "after": "1s"})).unwrap();
    sim.0.models_mut().image(ImageModel { crash: Some(crash), ..ImageModel::new("*:v2", "slow database") });
    sim.set_image("deploy/web", "shop/web:v2");
    sim.go(60);
    assert_eq!(sim.counters("deploy/web"), [1, 1, 1, 1, 0]);
    assert_eq!(pod(&mut sim, "shop/web:v2")["status"]["containerStatuses"][0]["restartCount"], 2);
}

#[test]
fn deletion_takes_the_shorter_of_grace_and_stop_time() {
    let mut sim = one();
    let slow = ImageModel { stop: Some(Span(jiff::SignedDuration::from_secs(45))), ..ImageModel::new("*", "drains") };
    sim.0.models_mut().image(slow);
    let name = pod(&mut sim, "shop/web:v1")["metadata"]["name"].as_str().unwrap().to_owned();
    sim.delete(&format!("pod/{name}"));
    sim.go(29);
    let terminating = sim.get(&format!("pod/{name}"));
    assert_eq!(terminating["metadata"]["deletionGracePeriodSeconds"], 30);
    sim.go(1);
    assert!(!sim.exists(&format!("pod/{name}")));
}

#[test]
fn finalizers_keep_a_stopped_pod() {
    let mut sim = one();
    let name = format!("pod/{}", pod(&mut sim, "shop/web:v1")["metadata"]["name"].as_str().unwrap());
    sim.patch(&name, &json!({"metadata": {"finalizers": ["shop.example/hold"]}}));
    sim.delete(&name);
    sim.go(60);
    assert!(sim.exists(&name));
    sim.patch(&name, &json!({"metadata": {"finalizers": null}}));
    sim.go(1);
    assert!(!sim.exists(&name));
}

#[test]
fn nothing_happens_on_a_node_that_is_not_ready() {
    let mut sim = one();
    let mut node = sim.get("node/n1");
    node["status"]["conditions"][0]["status"] = json!("Unknown");
    let body = json!({"status": {"conditions": node["status"]["conditions"]}});
    sim.ok(&lockgate_sim::Request::patch("/api/v1/nodes/n1/status", "application/merge-patch+json", &body));
    let name = format!("pod/{}", pod(&mut sim, "shop/web:v1")["metadata"]["name"].as_str().unwrap());
    sim.delete(&name);
    sim.go(600);
    assert!(sim.exists(&name), "the pod stays Terminating");
    let replacement = sim.list("pod").into_iter().find(|p| p["spec"].get("nodeName").is_none()).unwrap();
    let message = condition(&replacement, "PodScheduled").2;
    assert!(message.starts_with("0/1 nodes are available: 1 node(s) had untolerated taint(s)."), "{message}");
}

#[test]
fn the_mirror_of_a_static_pod_comes_back_and_its_containers_run_on() {
    let mut sim = Sim::new(&(nodes(&["n1"]) + "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n"));
    let pod = |name: &str, annotations: Value| {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "annotations": annotations},
               "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "shop/c:v1"}]}})
    };
    sim.create("pod", &pod("etcd-n1", json!({"kubernetes.io/config.mirror": "abc"})));
    sim.create("pod", &pod("plain", json!({})));
    sim.go(60);
    let before = sim.get("pod/etcd-n1");
    sim.delete("pod/etcd-n1");
    sim.delete("pod/plain");
    sim.go(60);
    assert!(!sim.exists("pod/plain"));
    let after = sim.get("pod/etcd-n1");
    assert_ne!(after["metadata"]["uid"], before["metadata"]["uid"]);
    assert_eq!(after["status"]["containerStatuses"], before["status"]["containerStatuses"], "nothing was stopped");
    assert!(after["metadata"].get("deletionTimestamp").is_none());
    // Without its kubelet nobody makes it anew: the deletion waits.
    sim.0.models_mut().node(lockgate_sim::model::NodeModel {
        pattern: "n1".to_owned(),
        kubelet: lockgate_sim::model::KubeletState::Stopped,
        why: "a test".to_owned(),
    });
    sim.delete("pod/etcd-n1");
    sim.go(30);
    assert_eq!(sim.get("pod/etcd-n1")["metadata"]["uid"], after["metadata"]["uid"]);
}
