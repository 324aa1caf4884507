//! wait_rollout.

use std::collections::BTreeMap;

use lockgate::base::{Kind, ObjectRef, Reason, Span};
use lockgate::cluster::{PatchType, Verb};
use lockgate_sim::json::{Value as Json, json};
use lockgate_sim::model::PodMatch;
use lockgate_sim::request::Request;

use super::support::{Rig, arg};

fn new_image(rig: &Rig, workload: &str, container: &str, image: &str) {
    let mut images = lockgate_sim::json::Map::new();
    images.insert(container.to_owned(), image.into());
    rig.call("set_image", json!([workload, images]), json!({})).unwrap();
}

fn pods(app: &str) -> PodMatch {
    PodMatch { labels: BTreeMap::from([("app".to_owned(), app.to_owned())]), ..PodMatch::default() }
}

#[test]
fn a_rollout_is_waited_for_and_told() {
    let rig = Rig::new();
    new_image(&rig, "daemonset/agent", "agent", "registry.example/agent:v2");
    let value = rig.value("wait_rollout", json!(["daemonset/agent"]), json!({}));
    assert_eq!(value["kind"], "daemonset");
    assert_eq!((&value["desired"], &value["updated"], &value["ready"]), (&json!(3), &json!(3), &json!(3)));
    assert_eq!(value["revision"], 2);
    assert_eq!(rig.images_of("agent"), ["registry.example/agent:v2"; 3]);
    let states = rig.operator.states.borrow().clone();
    assert!(states.contains(&"rollout of daemonset/agent: 1/3 nodes updated, 0 ready".to_owned()), "{states:?}");
    assert!(states.contains(&"rollout of daemonset/agent: 2/3 nodes updated, 1 ready".to_owned()), "{states:?}");
    assert!(states.last().unwrap().starts_with("rollout of daemonset/agent: 3/3 nodes after "), "{states:?}");
    assert!(states.windows(2).all(|pair| pair[0] != pair[1]), "only changes are told");
}

#[test]
fn one_list_and_one_watch_a_kind_and_no_polling() {
    let rig = Rig::new();
    new_image(&rig, "deployment/web", "web", "registry.example/web:v2");
    let before = rig.cluster.requests().len();
    rig.call("wait_rollout", json!(["deployment/web"]), json!({})).unwrap();
    let requests = &rig.cluster.requests()[before..];
    for resource in ["deployments.apps", "pods", "replicasets.apps"] {
        for verb in [Verb::List, Verb::Watch] {
            let count = requests.iter().filter(|request| request.verb == verb && request.resource == resource).count();
            assert_eq!(count, 1, "{verb} of {resource}");
        }
    }
    assert_eq!(requests.len(), 7, "and one read of the workload at the start: {requests:?}");
    assert!(requests.iter().all(|request| !request.verb.is_write()));
}

#[test]
fn what_is_finished_needs_no_time_and_says_nothing() {
    let rig = Rig::new();
    rig.read_only();
    let start = rig.cluster.clock().now();
    let value = rig.value("wait_rollout", json!(["deployment/web"]), json!({ "timeout": 0 }));
    assert_eq!(value["took"], "0s");
    assert_eq!(rig.cluster.clock().now(), start);
    assert_eq!(rig.operator.states.borrow().len(), 0);
}

#[test]
fn asked_once_it_says_how_far_it_is() {
    let rig = Rig::new();
    new_image(&rig, "daemonset/agent", "agent", "registry.example/agent:v2");
    let start = rig.cluster.clock().now();
    let error = rig.error("wait_rollout", json!(["daemonset/agent"]), json!({ "timeout": 0 }));
    assert_eq!((error.kind, error.reason), (Kind::Stuck, Reason::Timeout));
    assert!(error.message.starts_with("rollout of `daemonset/agent` is not finished: "), "{error}");
    assert_eq!(error.details["desired"], 3);
    assert_eq!(rig.cluster.clock().now(), start);
}

#[test]
fn the_trap_is_raised_at_once_with_its_proof() {
    let rig = Rig::new();
    new_image(&rig, "deployment/ports", "ports", "registry.example/ports:v2");
    let start = rig.cluster.clock().now();
    let error = rig.error("wait_rollout", json!(["deployment/ports"]), json!({}));
    assert_eq!((error.kind, error.reason), (Kind::Stuck, Reason::HostPortConflict), "{error}");
    assert_eq!(
        error.message,
        "rollout of `deployment/ports` cannot go on: 1 of 2 pods waits for host ports 9997 and 9998, which 2 pods of the same deployment hold"
    );
    assert!(error.causes[0].contains("2 node(s) didn't have free ports for the requested pod ports"), "{:?}", error.causes);
    assert_eq!(error.details["nodes"], json!(["m1", "m2"]));
    assert_eq!(error.object.as_deref(), Some("deployment/default/ports"));
    assert!(Span::between(start, rig.cluster.clock().now()) < Span::from_secs(5), "no waiting for what cannot come");
    // Scaled to nothing and back it goes on.
    rig.call("scale", json!(["deployment/ports", 0]), json!({ "wait": "gone" })).unwrap();
    rig.call("scale", json!(["deployment/ports", 2]), json!({})).unwrap();
    rig.call("wait_rollout", json!(["deployment/ports"]), json!({ "min_desired": 2 })).unwrap();
    assert_eq!(rig.images_of("ports"), ["registry.example/ports:v2"; 2]);
}

#[test]
fn a_strategy_that_lets_an_old_pod_go_is_no_trap() {
    let rig = Rig::new();
    rig.call("patch", json!(["deployment/ports", { "spec": { "strategy": { "rollingUpdate": { "maxUnavailable": 1 } } } }]), json!({}))
        .unwrap();
    new_image(&rig, "deployment/ports", "ports", "registry.example/ports:v2");
    rig.call("wait_rollout", json!(["deployment/ports"]), json!({})).unwrap();
    assert_eq!(rig.images_of("ports"), ["registry.example/ports:v2"; 2]);
}

#[test]
fn an_image_that_cannot_be_pulled_is_raised_after_the_stall() {
    let rig = Rig::with(|sim| sim.models_mut().never_pulls("*:v2"));
    new_image(&rig, "daemonset/agent", "agent", "registry.example/agent:v2");
    let start = rig.cluster.clock().now();
    let error = rig.error("wait_rollout", json!(["daemonset/agent"]), json!({ "stall": "2m" }));
    assert_eq!((error.kind, error.reason), (Kind::Stuck, Reason::ImagePull), "{error}");
    assert!(
        error
            .message
            .starts_with("rollout of `daemonset/agent` made no progress for 2m: 1 of 3 pods cannot pull image `registry.example/agent:v2`"),
        "{error}"
    );
    let took = Span::between(start, rig.cluster.clock().now());
    assert!(took >= Span::from_secs(120) && took < Span::from_secs(180), "{took}");
}

#[test]
fn a_crash_loop_makes_no_progress() {
    let rig = Rig::with(|sim| sim.models_mut().crashes(PodMatch { node: Some("w1".into()), ..pods("agent") }));
    new_image(&rig, "daemonset/agent", "agent", "registry.example/agent:v2");
    let error = rig.error("wait_rollout", json!(["daemonset/agent"]), json!({}));
    assert_eq!(error.reason, Reason::CrashLoop, "{error}");
    assert_eq!(error.details["nodes"], json!(["w1"]));
}

#[test]
fn a_pod_that_never_gets_ready_is_not_ready() {
    let rig = Rig::with(|sim| sim.models_mut().never_ready(pods("web")));
    new_image(&rig, "deployment/web", "web", "registry.example/web:v2");
    let error = rig.error("wait_rollout", json!(["deployment/web"]), json!({ "stall": "30s" }));
    assert_eq!(error.reason, Reason::NotReady, "{error}");
    assert!(error.message.contains("runs but is not ready"), "{error}");
}

#[test]
fn the_whole_time_ends_a_wait_that_moves() {
    let rig = Rig::with(|sim| sim.models_mut().slow("*:v2", jiff::SignedDuration::from_secs(90)));
    new_image(&rig, "daemonset/agent", "agent", "registry.example/agent:v2");
    let error = rig.error("wait_rollout", json!(["daemonset/agent"]), json!({ "timeout": "2m" }));
    assert_eq!((error.kind, error.reason), (Kind::Stuck, Reason::Timeout), "{error}");
    assert!(error.message.starts_with("rollout of `daemonset/agent` did not finish within 2m: "), "{error}");
    rig.call("wait_rollout", json!(["daemonset/agent"]), json!({})).unwrap();
}

#[test]
fn a_deployments_own_deadline_counts_and_an_old_verdict_does_not() {
    let rig = Rig::with(|sim| sim.models_mut().never_ready(pods("web")));
    rig.call("patch", json!(["deployment/web", { "spec": { "progressDeadlineSeconds": 60 } }]), json!({})).unwrap();
    new_image(&rig, "deployment/web", "web", "registry.example/web:v2");
    let error = rig.error("wait_rollout", json!(["deployment/web"]), json!({ "stall": "20m" }));
    assert!(error.message.starts_with("rollout of `deployment/web` passed its own deadline of 1m: "), "{error}");
    // The verdict still stands when the former template is asked for again: it must not count against it.
    new_image(&rig, "deployment/web", "web", "registry.example/web:v1.0.0");
    rig.call("wait_rollout", json!(["deployment/web"]), json!({})).unwrap();
    assert_eq!(rig.images_of("web"), ["registry.example/web:v1.0.0"; 2]);
}

#[test]
fn stable_wants_it_to_hold() {
    let rig = Rig::new();
    let start = rig.cluster.clock().now();
    rig.call("wait_rollout", json!(["deployment/web"]), json!({ "stable": "30s" })).unwrap();
    assert_eq!(Span::between(start, rig.cluster.clock().now()), Span::from_secs(30));
    let error = rig.error("wait_rollout", json!(["deployment/web"]), json!({ "stable": "30s", "timeout": "10s" }));
    assert_eq!(error.reason, Reason::Timeout);
}

#[test]
fn size_and_revision_are_preconditions() {
    let rig = Rig::new();
    let small = rig.error("wait_rollout", json!(["daemonset/agent"]), json!({ "min_desired": 4 }));
    assert_eq!(small.message, "rollout of `daemonset/agent` cannot finish: it wants 3 nodes, fewer than 4");
    assert_eq!(small.reason, Reason::Precondition);
    rig.call("wait_rollout", json!(["deployment/web"]), json!({ "revision": 1 })).unwrap();
    let other = rig.error("wait_rollout", json!(["deployment/web"]), json!({ "revision": 7 }));
    assert_eq!(other.message, "rollout of `deployment/web` cannot finish: it is at revision 1, not 7");
}

#[test]
fn paused_is_raised_at_once() {
    let rig = Rig::new();
    rig.call("patch", json!(["deployment/web", { "spec": { "paused": true } }]), json!({})).unwrap();
    new_image(&rig, "deployment/web", "web", "registry.example/web:v2");
    let start = rig.cluster.clock().now();
    let error = rig.error("wait_rollout", json!(["deployment/web"]), json!({}));
    assert_eq!((error.reason, rig.cluster.clock().now()), (Reason::Paused, start));
}

#[test]
fn kinds_without_rollouts_are_told_apart() {
    let rig = Rig::new();
    let error = rig.error("wait_rollout", json!(["configmap/settings"]), json!({}));
    assert_eq!((error.kind, error.reason), (Kind::Input, Reason::Unsupported));
    assert_eq!(error.hint.as_deref(), Some("use `wait_for`"));
    assert_eq!(rig.error("wait_rollout", json!(["deployment/wep"]), json!({})).reason, Reason::NotFound);
}

/// Waits for the rollout while somebody deletes the workload, and perhaps creates it again before anybody can look.
fn meddled(again: bool) -> lockgate::base::Error {
    let rig = Rig::new();
    new_image(&rig, "deployment/web", "web", "registry.example/web:v2");
    let call = rig.calling("wait_rollout", vec![arg(json!("deployment/web"))], &json!({}));
    let (other, cluster) = (rig.cluster.clock().join(), rig.cluster.clone());
    let mut object = rig.object("deployment/web");
    object["metadata"] = json!({ "name": "web" });
    object.as_object_mut().unwrap().remove("status");
    rig.run(async move {
        let meddler = async {
            other.sleep(Span::from_secs(1)).await.unwrap();
            cluster.simulation().unwrap().with(|sim| {
                let collection = "/apis/apps/v1/namespaces/default/deployments";
                assert_eq!(sim.handle(&Request::delete(&format!("{collection}/web"))).status, 200);
                if again {
                    assert_eq!(sim.handle(&Request::post(collection, &object)).status, 201);
                }
            });
            drop(other);
        };
        futures::join!(call, meddler).0.unwrap_err()
    })
}

#[test]
fn a_workload_that_goes_or_is_replaced_ends_the_wait() {
    let gone = meddled(false);
    assert_eq!((gone.reason, gone.message.as_str()), (Reason::NotFound, "waiting for `deployment/web`: it was deleted meanwhile"));
    let replaced = meddled(true);
    assert_eq!(replaced.reason, Reason::Replaced, "{replaced}");
}

#[test]
fn on_delete_waits_for_somebody_to_delete_the_pods() {
    let rig = Rig::new();
    rig.call(
        "patch",
        json!(["daemonset/agent", { "spec": { "updateStrategy": { "type": "OnDelete", "rollingUpdate": null } } }]),
        json!({}),
    )
    .unwrap();
    new_image(&rig, "daemonset/agent", "agent", "registry.example/agent:v2");
    let error = rig.error("wait_rollout", json!(["daemonset/agent"]), json!({ "stall": "1m" }));
    assert!(error.message.contains("3 pods are of a former revision, and strategy OnDelete replaces no pod"), "{error}");
    let call = rig.calling("wait_rollout", vec![arg(json!("daemonset/agent"))], &json!({}));
    let (other, cluster) = (rig.cluster.clock().join(), rig.cluster.clone());
    rig.run(async move {
        let somebody = async {
            other.sleep(Span::from_secs(1)).await.unwrap();
            let kind = cluster.resolve("pods", None).await.unwrap();
            for pod in cluster
                .list(&kind, Some("default"), &lockgate::cluster::Select { labels: Some("app=agent".into()), fields: None })
                .await
                .unwrap()
                .items
            {
                let target = cluster.target(&ObjectRef::of(&pod).unwrap(), None).await.unwrap();
                cluster.delete(&target, json!({})).await.unwrap();
            }
            drop(other);
        };
        futures::join!(call, somebody).0.unwrap();
    });
    assert_eq!(rig.images_of("agent"), ["registry.example/agent:v2"; 3]);
}

#[test]
fn a_node_that_is_not_ready_is_named() {
    let rig = Rig::new();
    // The node goes away under its pods, as the node lifecycle controller would write it.
    rig.run(async {
        let node = rig.cluster.target(&ObjectRef::new("node", "w1"), None).await.unwrap();
        let mut conditions = rig.cluster.get(&node).await.unwrap()["status"]["conditions"].clone();
        for condition in conditions.as_array_mut().unwrap().iter_mut().filter(|condition| condition["type"] == "Ready") {
            condition["status"] = json!("Unknown");
            condition["message"] = json!("Kubelet stopped posting node status.");
        }
        rig.cluster.patch(&node, PatchType::Merge, json!({ "status": { "conditions": conditions } }), Some("status")).await.unwrap();
    });
    new_image(&rig, "daemonset/agent", "agent", "registry.example/agent:v2");
    let error = rig.error("wait_rollout", json!(["daemonset/agent"]), json!({}));
    assert_eq!(error.reason, Reason::NotReady, "{error}");
    assert!(error.message.contains("still terminating on node `w1`, which is not ready"), "{error}");
    let nodes: &Json = &error.details["nodes"];
    assert_eq!(nodes, &json!(["w1"]), "{error}");
}

/// A cluster with a DaemonSet that was made through the API: its fields have owners, which those of a fixture need not have.
fn owned() -> Rig {
    Rig::with(|sim| {
        let images = "registry.example/other:v1.0.0";
        let spec =
            json!({ "initContainers": [{ "name": "setup", "image": images }], "containers": [{ "name": "other", "image": images }] });
        let labels = json!({ "app": "other" });
        let daemonset = json!({
            "metadata": { "name": "other" },
            "spec": { "selector": { "matchLabels": labels.clone() }, "template": { "metadata": { "labels": labels }, "spec": spec } },
        });
        let answer = sim.handle(&Request::post("/apis/apps/v1/namespaces/default/daemonsets", &daemonset));
        assert_eq!(answer.status, 201);
    })
}

/// Somebody sets the image of a container while a rollout is waited for.
fn set_meanwhile(rig: &Rig, manager: &'static str, image: &'static str) -> lockgate::base::Result<lockgate::primitives::Done> {
    let call = rig.calling("wait_rollout", vec![arg(json!("daemonset/other"))], &json!({}));
    let (other, simulation) = (rig.cluster.clock().join(), rig.cluster.simulation().unwrap());
    rig.run(async move {
        let something = async {
            other.sleep(Span::from_secs(2)).await.unwrap();
            let body = json!({ "spec": { "template": { "spec": { "containers": [{ "name": "other", "image": image }] } } } });
            let path = "/apis/apps/v1/namespaces/default/daemonsets/other";
            let request = Request::patch(path, "application/strategic-merge-patch+json", &body).with_query("fieldManager", manager);
            let answer = simulation.with(|sim| sim.handle(&request));
            assert_eq!(answer.status, 200);
            drop(other);
        };
        futures::join!(call, something).0
    })
}

/// kubectl waits for the former image as if it had been asked for, and exits 0.
#[test]
fn an_operator_that_sets_the_image_back_is_named() {
    let rig = owned();
    new_image(&rig, "daemonset/other", "other", "registry.example/other:v2");
    let error = set_meanwhile(&rig, "tigera-operator", "registry.example/other:v1.0.0").unwrap_err();
    assert_eq!((error.kind, error.reason), (Kind::Cluster, Reason::Conflict));
    assert_eq!(
        error.message,
        "rollout of `daemonset/other`: `tigera-operator` set container `other` to image `registry.example/other:v1.0.0`; this run had set \
         it to `registry.example/other:v2`"
    );
}

/// What an operator does with its own workload is what a script may be waiting for.
#[test]
fn an_image_that_is_not_this_runs_own_may_change_meanwhile() {
    let rig = owned();
    new_image(&rig, "daemonset/other", "setup", "registry.example/other:v2");
    set_meanwhile(&rig, "tigera-operator", "registry.example/other:v3").unwrap();
    assert_eq!(rig.images_of("other"), ["registry.example/other:v3"; 3]);
}

/// A StatefulSet of three pods that is there and ready.
fn with_store(rig: &Rig) {
    let template = json!({
        "metadata": { "labels": { "app": "store" } },
        "spec": { "containers": [{ "name": "store", "image": "registry.example/store:v1" }] },
    });
    let spec = json!({ "replicas": 3, "serviceName": "store", "selector": { "matchLabels": { "app": "store" } }, "template": template });
    let store = json!({ "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": { "name": "store" }, "spec": spec });
    rig.call("create", json!([store]), json!({})).unwrap();
    rig.call("wait_rollout", json!(["statefulset/store"]), json!({})).unwrap();
}

#[test]
fn a_statefulset_is_done_when_the_part_beyond_its_partition_is() {
    let rig = Rig::new();
    with_store(&rig);
    let partition = |number: i64| {
        let strategy = json!({ "type": "RollingUpdate", "rollingUpdate": { "partition": number } });
        rig.call("patch", json!(["statefulset/store", { "spec": { "updateStrategy": strategy } }]), json!({})).unwrap();
    };
    partition(2);
    new_image(&rig, "statefulset/store", "store", "registry.example/store:v2");
    rig.call("wait_rollout", json!(["statefulset/store"]), json!({})).unwrap();
    let tags = || rig.images_of("store").iter().map(|image| image.rsplit(':').next().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(tags(), ["v1", "v1", "v2"]);
    assert_eq!(rig.value("ready", json!(["statefulset/store"]), json!({}))["status"], "Current");
    partition(0);
    rig.call("wait_rollout", json!(["statefulset/store"]), json!({})).unwrap();
    assert_eq!(tags(), ["v2", "v2", "v2"], "it waits for those that are due now");
}

#[test]
fn a_statefulset_stops_at_the_pod_that_does_not_come_up() {
    let rig = Rig::with(|sim| sim.models_mut().never_pulls("*:v2"));
    with_store(&rig);
    new_image(&rig, "statefulset/store", "store", "registry.example/store:v2");
    let error = rig.error("wait_rollout", json!(["statefulset/store"]), json!({ "stall": "2m" }));
    assert_eq!((error.kind, error.reason), (Kind::Stuck, Reason::ImagePull), "{error}");
    assert_eq!(error.details["pods"], json!(["store-2"]), "{error:?}");
    assert_eq!(rig.images_of("store").iter().filter(|image| image.ends_with(":v1")).count(), 2, "the others were not touched");
}

#[test]
fn pods_that_may_not_be_created_are_told_in_the_servers_words() {
    let rig = Rig::with(|sim| {
        let class = json!({ "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": { "name": "there" }, "value": 1 });
        assert_eq!(sim.handle(&Request::post("/apis/scheduling.k8s.io/v1/priorityclasses", &class)).status, 201);
    });
    let change = json!({ "spec": { "template": { "spec": { "priorityClassName": "nobody-made-it" } } } });
    rig.call("patch", json!(["deployment/web", change]), json!({})).unwrap();
    let error = rig.error("wait_rollout", json!(["deployment/web"]), json!({ "stall": "2m" }));
    assert_eq!((error.kind, error.reason), (Kind::Stuck, Reason::Quota), "{error}");
    assert!(error.to_string().contains("no PriorityClass with name nobody-made-it was found"), "{error:?}");
    assert!(error.hint.is_some(), "{error:?}");
    assert_eq!(rig.images_of("web").len(), 2, "the old pods stay");
    let failed = rig.value("ready", json!(["deployment/web"]), json!({}));
    assert_eq!((failed["status"].as_str(), failed["reason"].as_str()), (Some("Failed"), Some("FailedCreate")), "for two minutes: {failed}");
}
