//! Pods on their nodes.

use lockgate_sim::Request;
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

/// A pod of two containers that nobody controls.
fn pair(sim: &mut Sim, policy: &str) {
    let containers = json!([{"name": "a", "image": "shop/a:v1"}, {"name": "b", "image": "shop/b:v1"}]);
    sim.create("pod", &json!({"metadata": {"name": "pair"}, "spec": {"restartPolicy": policy, "containers": containers}}));
    sim.go(60);
}

/// Status of a container: state, `lastState`, restarts, image, whether it is ready.
fn container(sim: &mut Sim, place: usize) -> (Value, Value, i64, String, bool) {
    let status = sim.get("pod/pair")["status"]["containerStatuses"][place].clone();
    let (count, image) = (status["restartCount"].as_i64().unwrap(), status["image"].as_str().unwrap().to_owned());
    (status["state"].clone(), status["lastState"].clone(), count, image, status["ready"] == json!(true))
}

fn rename(sim: &mut Sim, image: &str) {
    let patch = json!({"spec": {"containers": [{"name": "a", "image": image}]}});
    sim.ok(&Request::patch("/api/v1/namespaces/shop/pods/pair", "application/strategic-merge-patch+json", &patch));
}

#[test]
fn a_container_whose_image_is_changed_is_started_again() {
    for policy in ["Always", "Never"] {
        let mut sim = one();
        pair(&mut sim, policy);
        let other = container(&mut sim, 1);
        rename(&mut sim, "shop/a:v2");
        assert_eq!(container(&mut sim, 0).3, "shop/a:v1", "it stops first");
        sim.go(1);
        // Its image comes: the end of the former run is shown meanwhile.
        let (state, last, restarts, image, ready) = container(&mut sim, 0);
        assert_eq!((&state["terminated"]["exitCode"], restarts, image.as_str(), ready), (&json!(143), 0, "shop/a:v1", false));
        assert_eq!((last, sim.get("pod/pair")["status"]["phase"].clone()), (json!({}), json!("Running")));
        assert_eq!(condition(&sim.get("pod/pair"), "Ready").0, "False");
        sim.go(30);
        let (state, last, restarts, image, ready) = container(&mut sim, 0);
        assert!(state["running"].is_object(), "{state}");
        assert_eq!((&last["terminated"]["exitCode"], restarts, image.as_str(), ready), (&json!(143), 1, "shop/a:v2", true));
        let pod = sim.get("pod/pair");
        assert_eq!((condition(&pod, "Ready").0.as_str(), &pod["status"]["observedGeneration"]), ("True", &json!(2)));
        assert_eq!(container(&mut sim, 1), other, "the other one is left alone");
        let events = sim.list("event");
        let told = |reason: &str| -> Vec<&str> {
            let about = events.iter().filter(|event| event["involvedObject"]["name"] == "pair" && event["reason"] == reason);
            about.map(|event| event["message"].as_str().unwrap()).collect()
        };
        assert_eq!(told("Killing"), ["Container a definition changed, will be restarted"]);
    }
}

#[test]
fn another_image_may_not_come_and_the_former_may_come_back() {
    let mut sim = one();
    sim.0.models_mut().never_pulls("*:bad");
    pair(&mut sim, "Always");
    rename(&mut sim, "shop/a:bad");
    sim.go(100);
    let (state, last, restarts, _, ready) = container(&mut sim, 0);
    assert_eq!((&state["waiting"]["reason"], &last["terminated"]["exitCode"]), (&json!("ImagePullBackOff"), &json!(143)));
    assert_eq!((restarts, ready, sim.get("pod/pair")["status"]["phase"].clone()), (0, false, json!("Running")));
    rename(&mut sim, "shop/a:v1");
    sim.go(5);
    let (state, last, restarts, image, ready) = container(&mut sim, 0);
    assert!(state["running"].is_object() && ready, "without the back-off of the other image: {state}");
    assert_eq!((&last["terminated"]["exitCode"], restarts, image.as_str()), (&json!(143), 1, "shop/a:v1"));
}

#[test]
fn an_image_may_be_changed_before_anything_runs_and_in_a_back_off() {
    let mut sim = one();
    sim.0.models_mut().never_pulls("*:bad");
    let containers = json!([{"name": "a", "image": "shop/a:bad"}]);
    sim.create("pod", &json!({"metadata": {"name": "pair"}, "spec": {"containers": containers}}));
    sim.go(400);
    rename(&mut sim, "shop/a:v1");
    sim.go(12);
    assert_eq!((container(&mut sim, 0).2, container(&mut sim, 0).4), (0, true), "it never ran before");
    let crash = lockgate_sim::json::from_value(json!({"after": "1s"})).unwrap();
    sim.0.models_mut().image(ImageModel { crash: Some(crash), ..ImageModel::new("*:crashes", "broken") });
    rename(&mut sim, "shop/a:crashes");
    sim.go(400);
    assert_eq!(container(&mut sim, 0).0["waiting"]["reason"], "CrashLoopBackOff");
    let before = container(&mut sim, 0).2;
    rename(&mut sim, "shop/a:v1");
    sim.go(4);
    assert_eq!((container(&mut sim, 0).2, container(&mut sim, 0).4), (before + 1, true));
}

#[test]
fn a_pod_that_was_loaded_at_rest_heeds_what_is_changed_in_it() {
    let running = |name: &str| {
        format!(
            "{{name: {name}, image: 'shop/{name}:v1', imageID: 'shop/{name}@sha256:00', containerID: 'containerd://{name}', ready: true, \
             started: true, restartCount: 3, lastState: {{}}, state: {{running: {{startedAt: '2001-02-03T04:00:00Z'}}}}}}"
        )
    };
    let conditions: Vec<String> = ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"]
        .iter()
        .map(|kind| {
            format!(
                "{{type: {kind}, status: 'True', lastProbeTime: null, lastTransitionTime: '2001-02-03T04:00:00Z', observedGeneration: 1}}"
            )
        })
        .collect();
    let fixture = format!(
        "{}apiVersion: v1\nkind: Pod\nmetadata: {{name: pair, namespace: shop, uid: 11111111-2222-3333-4444-555555555555, generation: 1}}\n\
         spec: {{nodeName: n1, containers: [{{name: a, image: 'shop/a:v1'}}, {{name: b, image: 'shop/b:v1'}}]}}\n\
         status: {{phase: Running, observedGeneration: 1, podIP: 10.9.8.7, podIPs: [{{ip: 10.9.8.7}}], startTime: '2001-02-03T04:00:00Z', \
         conditions: [{}], containerStatuses: [{}, {}]}}\n",
        nodes(&["n1"]),
        conditions.join(", "),
        running("a"),
        running("b"),
    );
    let mut sim = Sim::new(&fixture);
    sim.go(60);
    let loaded = sim.get("pod/pair");
    // Something that no container has to be started for is seen, and nothing else changes.
    let tolerations = json!([{"key": "x", "operator": "Exists", "effect": "NoSchedule"}]);
    sim.patch("pod/pair", &json!({"spec": {"tolerations": tolerations}}));
    let seen = sim.get("pod/pair");
    assert_eq!((&seen["metadata"]["generation"], &seen["status"]["observedGeneration"]), (&json!(2), &json!(2)));
    assert_eq!(condition(&seen, "Ready"), condition(&loaded, "Ready"));
    for field in ["containerStatuses", "podIP", "startTime"] {
        assert_eq!(seen["status"][field], loaded["status"][field], "{field}");
    }
    rename(&mut sim, "shop/a:v2");
    sim.go(40);
    let changed = sim.get("pod/pair");
    assert_eq!((&changed["status"]["observedGeneration"], container(&mut sim, 0).2, container(&mut sim, 0).4), (&json!(3), 4, true));
    assert_eq!(container(&mut sim, 0).3, "shop/a:v2");
    assert_eq!(changed["status"]["containerStatuses"][1], loaded["status"]["containerStatuses"][1]);
    // The first change of one that was loaded may be that of its image.
    let mut sim = Sim::new(&fixture);
    rename(&mut sim, "shop/a:v2");
    sim.go(40);
    assert_eq!((container(&mut sim, 0).2, container(&mut sim, 0).3.as_str(), container(&mut sim, 0).4), (4, "shop/a:v2", true));
}

#[test]
fn ten_minutes_of_running_well_are_a_new_beginning() {
    for (after, wanted) in [(599, [609, 619, 639]), (600, [601, 601, 601])] {
        let mut sim = one();
        let crash = lockgate_sim::json::from_value(json!({"after": format!("{after}s")})).unwrap();
        sim.0.models_mut().image(ImageModel { crash: Some(crash), ..ImageModel::new("*:v2", "leaks memory") });
        sim.set_image("deploy/web", "shop/web:v2");
        let mut restarts = Vec::new();
        sim.step_through(3300, |sim| {
            let count = pod(sim, "shop/web:v2")["status"]["containerStatuses"][0]["restartCount"].as_i64().unwrap();
            if restarts.last().is_none_or(|(_, last)| *last != count) {
                restarts.push((sim.0.now(), count));
            }
        });
        let gaps: Vec<i64> = restarts.windows(2).map(|w| w[1].0.duration_since(w[0].0).as_secs()).skip(1).collect();
        assert_eq!(gaps[..3], wanted, "{after}");
    }
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
