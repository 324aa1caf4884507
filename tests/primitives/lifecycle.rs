//! create, delete, replace_pod.

use lockgate::base::{Kind, Reason};
use lockgate::cluster::Verb;
use lockgate::primitives::Inverse;
use lockgate_sim::faults::{Act, Action, Deed, Match, Rule, Write};
use lockgate_sim::json::{Value, json};
use lockgate_sim::{Method, Request};

use super::support::Rig;

const MERGE: &str = "application/merge-patch+json";

fn window(name: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name, "labels": { "a": "b" } }, "data": { "open": "yes" } })
}

fn names(rig: &Rig, kind: &str) -> Vec<String> {
    let listed = rig.value("list", json!([kind]), json!({}));
    listed.as_array().unwrap().iter().map(|object| object["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

/// Somebody else's write around the first request of this verb for a ConfigMap.
fn around(verb: &str, action: fn(Deed) -> Action, write: Write) -> Rule {
    Rule {
        when: Match { verb: Some(verb.into()), kind: Some("ConfigMap".into()), nth: Some(1), ..Match::default() },
        action: action(Deed { delay: lockgate_sim::model::Span::ZERO, act: Act::Write(write) }),
    }
}

fn write(verb: Method, path: &str, body: Value) -> Write {
    Write { by: "somebody-else".into(), verb, path: path.into(), body }
}

#[test]
fn an_object_is_created_and_taken_back() {
    let rig = Rig::new();
    let done = rig.call("create", json!([window("w")]), json!({})).unwrap();
    let value = done.value.clone().into_json();
    assert_eq!((&value["changed"], &value["object"]["data"]["open"]), (&json!(true), &json!("yes")));
    assert!(value["object"]["metadata"]["uid"].is_string());
    assert_eq!((done.wrote[0].verb.as_str(), done.wrote[0].target.as_str()), ("create", "configmap/w"));
    let shown: Vec<String> = done.wrote[0].changes.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["data.open added yes", "metadata.labels.a added b"]);
    rig.undo(&done);
    assert_eq!(rig.value("exists", json!(["configmap/w"]), json!({})), false);
}

#[test]
fn what_is_there_already_is_a_conflict_and_stays_as_it_is() {
    let rig = Rig::new();
    rig.call("create", json!([window("w")]), json!({})).unwrap();
    let before = rig.object("configmap/w");
    let error = rig.error("create", json!([window("w")]), json!({}));
    assert_eq!((error.kind, error.reason), (Kind::Cluster, Reason::Conflict));
    assert_eq!(error.message, "creating `configmap/w`: it exists already");
    assert_eq!(error.hint.as_deref(), Some("`apply` changes an object that may be there; `exists` asks"));
    assert_eq!(rig.object("configmap/w"), before);
}

#[test]
fn a_name_may_be_begun_only() {
    let rig = Rig::new();
    let object = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "generateName": "w-" } });
    let first = rig.value("create", json!([object.clone()]), json!({}));
    let second = rig.value("create", json!([object]), json!({}));
    let name = |value: &Value| value["object"]["metadata"]["name"].as_str().unwrap().to_owned();
    assert!(name(&first).starts_with("w-") && name(&first) != name(&second), "{} {}", name(&first), name(&second));
}

#[test]
fn bad_objects_are_refused_before_anything_is_contacted() {
    let rig = Rig::new();
    for (object, options, says) in [
        (json!({ "kind": "ConfigMap", "metadata": { "name": "w" } }), json!({}), "but has no `apiVersion`"),
        (json!({ "apiVersion": "v1", "metadata": { "name": "w" } }), json!({}), "but has no `kind`"),
        (json!({ "apiVersion": "v1", "kind": "ConfigMap" }), json!({}), "but has no `metadata`"),
        (json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": {} }), json!({}), "has no `metadata.name`"),
        (json!("configmap/w"), json!({}), "must be an object with `apiVersion`"),
        (
            json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "w", "namespace": "a" } }),
            json!({ "namespace": "b" }),
            "`configmap/w` is in namespace `a`, and the option says `b`",
        ),
    ] {
        let error = rig.error("create", json!([object]), options);
        assert_eq!((error.kind, error.reason), (Kind::Input, Reason::Usage), "{error}");
        assert!(error.message.contains(says), "{}", error.message);
    }
    assert_eq!(rig.cluster.requests().len(), 0);
    let unknown = json!({ "apiVersion": "example.com/v1", "kind": "Window", "metadata": { "name": "w" } });
    let error = rig.error("create", json!([unknown]), json!({}));
    assert_eq!(error.message, "`window/w`: the cluster has no kind `Window` of `example.com/v1`");
    let misspelt = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "w" }, "dta": {} });
    let error = rig.error("create", json!([misspelt]), json!({}));
    assert_eq!(error.reason, Reason::Invalid, "{error}");
    assert!(error.to_string().contains("dta"), "{error}");
}

#[test]
fn a_pod_is_given_its_grace_and_waited_for() {
    let rig = Rig::new();
    let pod = format!("pod/{}", rig.pods_of("ports")[0]["metadata"]["name"].as_str().unwrap());
    let begun = rig.cluster.clock().now();
    let done = rig.call("delete", json!([pod]), json!({})).unwrap();
    assert_eq!(rig.value("exists", json!([pod]), json!({})), false);
    let took = rig.cluster.clock().now().duration_since(begun).as_secs();
    assert!((1..=20).contains(&took), "{took}");
    assert!(matches!(&done.wrote[0].inverse, Inverse::Irreversible(why) if why.contains("replicaset/ports-")));
    assert_eq!(rig.requests(Verb::Delete, "pods"), 1);
}

#[test]
fn what_is_not_there_needs_no_deletion() {
    let rig = Rig::new();
    rig.read_only();
    let done = rig.call("delete", json!(["configmap/none"]), json!({})).unwrap();
    assert_eq!((done.value.into_json(), done.wrote.len(), rig.writes()), (json!({ "changed": false }), 0, 0));
}

#[test]
fn a_deletion_is_taken_back_and_the_second_is_none() {
    let rig = Rig::new();
    let was = rig.object("configmap/settings");
    let done = rig.call("delete", json!(["configmap/settings"]), json!({})).unwrap();
    assert_eq!(done.value.clone().into_json()["previous"]["data"], was["data"]);
    assert_eq!(rig.call("delete", json!(["configmap/settings"]), json!({})).unwrap().wrote.len(), 0);
    rig.undo(&done);
    let back = rig.object("configmap/settings");
    assert_eq!((&back["data"], &back["metadata"]["labels"]), (&was["data"], &was["metadata"]["labels"]));
    assert_ne!(back["metadata"]["uid"], was["metadata"]["uid"]);
}

#[test]
fn only_what_was_looked_at_is_deleted() {
    // Between the look and the deletion somebody replaces it: theirs stays.
    let (all, path) = ("/api/v1/namespaces/default/configmaps", "/api/v1/namespaces/default/configmaps/settings");
    let rig = Rig::with(|sim| {
        sim.add_fault(around("get", Action::After, write(Method::Delete, path, json!({}))));
        sim.add_fault(around("delete", Action::Before, write(Method::Post, all, window("settings"))));
    });
    let error = rig.error("delete", json!(["configmap/settings"]), json!({}));
    assert_eq!((error.kind, error.reason), (Kind::Cluster, Reason::Replaced), "{error}");
    assert_eq!(rig.sim(|sim| sim.faults().fired()), [1, 1]);
    assert_eq!(rig.object("configmap/settings")["data"]["open"], "yes");

    // The table that was read is that object, and no later one.
    let old = rig.object("configmap/settings");
    rig.sim(|sim| {
        assert_eq!(sim.handle(&Request::delete(path)).status, 200);
        assert_eq!(sim.handle(&Request::post(all, &window("settings"))).status, 201);
    });
    let done = rig.call("delete", json!([old]), json!({})).unwrap();
    assert_eq!((done.wrote.len(), done.value.into_json()["changed"].clone()), (0, json!(false)));
    assert_eq!(rig.value("exists", json!(["configmap/settings"]), json!({})), true);
}

#[test]
fn children_are_deleted_or_left_as_asked() {
    let rig = Rig::new();
    rig.call("delete", json!(["deployment/web"]), json!({ "cascade": "orphan" })).unwrap();
    assert_eq!((names(&rig, "deployments"), rig.pods_of("web").len()), (vec!["ports".to_owned()], 2));
    let set = names(&rig, "replicasets").into_iter().find(|name| name.starts_with("web-")).unwrap();
    assert_eq!(rig.object(&format!("replicaset/{set}"))["metadata"].get("ownerReferences"), None);

    let rig = Rig::new();
    rig.call("delete", json!(["deployment/web"]), json!({ "cascade": "foreground" })).unwrap();
    assert_eq!(rig.pods_of("web").len(), 0, "it stays until they are gone");

    let rig = Rig::new();
    rig.call("delete", json!(["deployment/web"]), json!({})).unwrap();
    assert!(!names(&rig, "deployments").contains(&"web".to_owned()));
    rig.call("wait_for", json!(["deployment/ports", "Available"]), json!({ "stable": "1m" })).unwrap();
    assert_eq!(rig.pods_of("web").len(), 0, "in the background");
}

#[test]
fn a_finalizer_that_nobody_takes_away_is_named() {
    let rig = Rig::with(|sim| {
        let held = json!({ "metadata": { "finalizers": ["example.com/hold"] } });
        let path = "/api/v1/namespaces/default/configmaps/settings";
        assert_eq!(sim.handle(&Request::patch(path, MERGE, &held)).status, 200);
    });
    let error = rig.error("delete", json!(["configmap/settings"]), json!({ "timeout": "1m" }));
    assert_eq!((error.kind, error.reason), (Kind::Stuck, Reason::Timeout));
    assert_eq!(
        error.message,
        "the wait for the end of `configmap/settings` did not finish within 1m: terminating, held by finalizer `example.com/hold`"
    );
    assert_eq!(rig.operator.told.borrow().len(), 1, "the deletion was told when it was made");
    // What is going already is not deleted again, but waited for.
    let error = rig.error("delete", json!(["configmap/settings"]), json!({ "timeout": "1m" }));
    assert_eq!((error.reason, rig.requests(Verb::Delete, "configmaps")), (Reason::Timeout, 1));
    let done = rig.call("delete", json!(["configmap/settings"]), json!({ "wait": false })).unwrap();
    assert_eq!(done.wrote.len(), 0);
}

#[test]
fn a_namespace_is_gone_with_what_is_in_it() {
    let rig = Rig::with(|sim| {
        let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "shop" } });
        assert_eq!(sim.handle(&Request::post("/api/v1/namespaces", &namespace)).status, 201);
        let mut held = window("held");
        held["metadata"]["finalizers"] = json!(["example.com/hold"]);
        assert_eq!(sim.handle(&Request::post("/api/v1/namespaces/shop/configmaps", &held)).status, 201);
    });
    let error = rig.error("delete", json!(["namespace/shop"]), json!({ "timeout": "2m" }));
    assert_eq!(error.reason, Reason::Timeout);
    assert!(error.message.contains("finalizers") && error.message.contains("example.com/hold"), "{}", error.message);
    rig.sim(|sim| {
        let free = json!({ "metadata": { "finalizers": null } });
        assert_eq!(sim.handle(&Request::patch("/api/v1/namespaces/shop/configmaps/held", MERGE, &free)).status, 200);
    });
    let done = rig.call("delete", json!(["namespace/shop"]), json!({ "timeout": "5m" })).unwrap();
    assert_eq!(done.wrote.len(), 0, "its deletion had begun");
    assert_eq!(rig.value("exists", json!(["namespace/shop"]), json!({})), false);
}

#[test]
fn a_grace_period_of_none_is_told() {
    let rig = Rig::new();
    let pod = format!("pod/{}", rig.pods_of("ports")[0]["metadata"]["name"].as_str().unwrap());
    rig.call("delete", json!([pod]), json!({ "grace_period": 0 })).unwrap();
    assert_eq!(*rig.operator.notes.borrow(), [format!("{pod} is deleted at once: its containers may still run for a while")]);
    let error = rig.error("delete", json!([pod]), json!({ "cascade": "forground" }));
    assert_eq!((error.reason, error.hint.as_deref()), (Reason::Usage, Some("did you mean `foreground`?")));
}

fn on_delete(rig: &Rig, image: &str) {
    rig.sim(|sim| {
        let change = json!({ "spec": { "updateStrategy": { "type": "OnDelete", "rollingUpdate": null } } });
        let path = "/apis/apps/v1/namespaces/default/daemonsets/agent";
        assert_eq!(sim.handle(&Request::patch(path, MERGE, &change)).status, 200);
    });
    rig.call("set_image", json!(["daemonset/agent", { "agent": image, "setup": image }]), json!({})).unwrap();
}

#[test]
fn node_by_node_an_on_delete_daemonset_is_upgraded() {
    let rig = Rig::new();
    on_delete(&rig, "registry.example/agent:v1.0.1");
    for (node, new) in [("m1", 1), ("w1", 2)] {
        let done = rig.call("replace_pod", json!(["daemonset/agent"]), json!({ "node": node })).unwrap();
        let value = done.value.clone().into_json();
        assert_eq!((&value["node"], &value["revision"]), (&json!(node), &json!(2)));
        assert_ne!(value["old"], value["pod"]);
        let pod = rig.object(&format!("pod/{}", value["pod"].as_str().unwrap()));
        assert_eq!(pod["spec"]["containers"][0]["image"], "registry.example/agent:v1.0.1");
        let ready = pod["status"]["conditions"].as_array().unwrap().iter().find(|condition| condition["type"] == "Ready").unwrap();
        assert_eq!(ready["status"], "True");
        assert_eq!(rig.images_of("agent").iter().filter(|image| image.ends_with("v1.0.1")).count(), new);
        assert_eq!((done.wrote.len(), rig.operator.told.borrow().len()), (1, new), "told once, when it was made");
        assert!(matches!(&done.wrote[0].inverse, Inverse::Irreversible(_)));
    }
}

#[test]
fn without_a_pod_there_nothing_is_replaced() {
    let rig = Rig::new();
    rig.read_only();
    let error = rig.error("replace_pod", json!(["deployment/ports"]), json!({ "node": "w1" }));
    assert_eq!((error.kind, error.reason), (Kind::Cluster, Reason::NotFound));
    assert_eq!(error.message, "replacing the pod of `deployment/ports`: it has no pod on node `w1`");
    assert_eq!(error.hint.as_deref(), Some("it has on `m1` and `m2`"));
    let error = rig.error("replace_pod", json!(["service/web"]), json!({ "node": "w1" }));
    assert_eq!((error.kind, error.reason), (Kind::Input, Reason::Unsupported));
    let sent = rig.cluster.requests().len();
    let error = rig.error("replace_pod", json!(["daemonset/agent"]), json!({}));
    assert_eq!((error.reason, rig.cluster.requests().len()), (Reason::Usage, sent));
    assert_eq!(rig.writes(), 0);
}

#[test]
fn a_successor_that_cannot_come_up_is_diagnosed() {
    let rig = Rig::with(|sim| sim.models_mut().never_pulls("*:broken"));
    on_delete(&rig, "registry.example/agent:broken");
    let error = rig.error("replace_pod", json!(["daemonset/agent"]), json!({ "node": "w1" }));
    assert_eq!(error.kind, Kind::Stuck);
    assert!(error.message.contains("image"), "{error}");
    assert_eq!(rig.operator.told.borrow().len(), 1);
    assert_eq!(rig.images_of("agent").iter().filter(|image| image.ends_with("broken")).count(), 1, "the other nodes are left alone");
}

#[test]
fn a_pod_of_a_deployment_is_replaced_too() {
    let rig = Rig::new();
    let node = rig.pods_of("ports")[0]["spec"]["nodeName"].clone();
    let value = rig.value("replace_pod", json!(["deployment/ports"]), json!({ "node": node }));
    assert_ne!(value["old"], value["pod"]);
    assert_eq!(rig.pods_of("ports").len(), 2);
}

#[test]
fn the_successor_of_a_statefulsets_pod_has_its_name() {
    let set = "---\napiVersion: apps/v1\nkind: StatefulSet\nmetadata: { name: db }\nspec:\n  replicas: 1\n  serviceName: db\n  \
               updateStrategy: { type: OnDelete }\n  selector: { matchLabels: { app: db } }\n  template:\n    \
               metadata: { labels: { app: db } }\n    spec: { nodeName: w1, containers: [{ name: db, image: \"registry.example/db:v1\" }] }\n";
    let rig = Rig::also(set, |_| {});
    rig.call("set_image", json!(["statefulset/db", { "db": "registry.example/db:v2" }]), json!({})).unwrap();
    let before = rig.object("pod/db-0");
    let value = rig.value("replace_pod", json!(["statefulset/db"]), json!({ "node": "w1" }));
    let after = rig.object("pod/db-0");
    assert_eq!((&value["old"], &value["pod"]), (&json!("db-0"), &json!("db-0")));
    assert_ne!(before["metadata"]["uid"], after["metadata"]["uid"]);
    assert_eq!(after["spec"]["containers"][0]["image"], "registry.example/db:v2");
}

#[test]
fn a_controller_that_sleeps_stops_it_before_the_deletion() {
    let rig = Rig::new();
    rig.sim(|sim| sim.stop_controller("daemonset-controller"));
    on_delete(&rig, "registry.example/agent:v1.0.1");
    let error = rig.error("replace_pod", json!(["daemonset/agent"]), json!({ "node": "w1" }));
    assert_eq!((error.kind, error.reason), (Kind::Stuck, Reason::Timeout));
    assert!(error.message.ends_with("has not seen the latest change for 1m; nothing was deleted"), "{}", error.message);
    assert_eq!(rig.requests(Verb::Delete, "pods"), 0);
}
