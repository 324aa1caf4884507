//! get, list, exists, images, ready, why, events.

use lockgate::base::{Kind, Reason, Value};
use lockgate_sim::json::json;

use super::support::Rig;

#[test]
fn get_gives_the_object_with_its_original() {
    let rig = Rig::new();
    let done = rig.call("get", json!(["deploy/web"]), json!({})).unwrap();
    let Value::Object(object) = &done.value else { panic!("{done:?}") };
    assert_eq!(object.current["spec"]["replicas"], 2);
    assert_eq!(object.original.as_ref(), Some(&object.current));
    assert_eq!(done.wrote, []);
}

#[test]
fn get_of_what_is_missing_names_what_is_there() {
    let rig = Rig::new();
    let error = rig.error("get", json!(["deployment/wep"]), json!({}));
    assert_eq!((error.kind, error.reason), (Kind::Cluster, Reason::NotFound));
    assert_eq!(error.hint.as_deref(), Some("did you mean `deployment/web`?"));
    let far = rig.error("get", json!(["deployment/something-else"]), json!({}));
    assert_eq!(far.hint.as_deref(), Some("deployments in namespace `default`: `ports` and `web`"));
    let other = rig.error("get", json!(["deployment/web"]), json!({ "namespace": "kube-system" }));
    assert_eq!(other.hint.as_deref(), Some("there are no deployments in namespace `kube-system`"));
    assert_eq!(rig.value("get", json!(["deployment/wep"]), json!({ "missing_ok": true })), json!(null));
}

#[test]
fn get_refuses_wrong_references_and_options() {
    let rig = Rig::new();
    let before = rig.cluster.requests().len();
    let bare = rig.error("get", json!(["web"]), json!({}));
    assert_eq!((bare.kind, bare.reason), (Kind::Input, Reason::Usage));
    assert!(bare.message.contains("it has no kind"), "{bare}");
    let option = rig.error("get", json!(["deployment/web"]), json!({ "namespce": "x" }));
    assert_eq!(option.hint.as_deref(), Some("did you mean `namespace`?"));
    assert_eq!(rig.cluster.requests().len(), before, "nothing was asked");
    assert_eq!(rig.error("get", json!(["deploymnt/web"]), json!({})).hint.as_deref(), Some("did you mean `deployment`?"));
}

#[test]
fn list_selects_and_sorts() {
    let rig = Rig::new();
    let names = |kind: &str, options| -> Vec<String> {
        let listed = rig.value("list", json!([kind]), options);
        listed.as_array().unwrap().iter().map(|object| object["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names("no", json!({})), ["m1", "m2", "w1"]);
    assert_eq!(names("nodes", json!({ "labels": "role=master" })), ["m1", "m2"]);
    assert_eq!(names("pods", json!({ "labels": "app=agent", "fields": "spec.nodeName=w1" })).len(), 1);
    assert_eq!(names("deployments.apps", json!({ "namespace": "kube-system" })), [""; 0]);
    assert_eq!(names("deployments", json!({ "all_namespaces": true })), ["ports", "web"]);
    assert_eq!(names("gateways.example.io", json!({ "missing_ok": true })), [""; 0]);
}

#[test]
fn list_refuses_unknown_kinds_and_contradictions() {
    let rig = Rig::new();
    assert_eq!(rig.error("list", json!(["podz"]), json!({})).hint.as_deref(), Some("did you mean `pod`?"));
    let both = rig.error("list", json!(["pods"]), json!({ "namespace": "a", "all_namespaces": true }));
    assert_eq!(both.reason, Reason::Usage);
    let bad = rig.error("list", json!(["pods"]), json!({ "labels": "app in (" }));
    assert_eq!(bad.reason, Reason::Invalid);
}

#[test]
fn exists_tells_objects_from_kinds() {
    let rig = Rig::new();
    assert_eq!(rig.value("exists", json!(["configmap/settings"]), json!({})), json!(true));
    assert_eq!(rig.value("exists", json!(["configmap/nothing"]), json!({})), json!(false));
    assert_eq!(rig.error("exists", json!(["confgmap/settings"]), json!({})).kind, Kind::Input);
}

#[test]
fn images_include_init_containers_and_know_their_version() {
    let rig = Rig::new();
    let done = rig.call("images", json!(["daemonset/agent"]), json!({})).unwrap();
    let Value::Map(images) = &done.value else { panic!("{done:?}") };
    assert_eq!(images.keys().collect::<Vec<_>>(), ["agent", "setup"]);
    assert_eq!(images["setup"].as_text().as_deref(), Some("registry.example/agent:v1.0.0"));
    assert!(matches!(images["setup"], Value::Typed(_)));
    let error = rig.error("images", json!(["configmap/settings"]), json!({}));
    assert_eq!((error.kind, error.reason), (Kind::Input, Reason::Unsupported));
}

#[test]
fn ready_speaks_of_any_kind() {
    let rig = Rig::new();
    for (reference, status) in [
        ("deployment/web", "Current"),
        ("daemonset/agent", "Current"),
        ("node/w1", "Current"),
        ("configmap/settings", "Current"),
        ("deployment/nothing", "NotFound"),
    ] {
        assert_eq!(rig.value("ready", json!([reference]), json!({}))["status"], status, "{reference}");
    }
    rig.call("set_image", json!(["deployment/web", { "web": "registry.example/web:v2.0.0" }]), json!({})).unwrap();
    let going = rig.value("ready", json!(["deployment/web"]), json!({}));
    assert_eq!(going["status"], "InProgress", "{going}");
}

#[test]
fn why_says_nothing_is_wrong_when_nothing_is() {
    let rig = Rig::new();
    let found = rig.value("why", json!(["deployment/ports"]), json!({}));
    assert_eq!(found, json!({ "message": "nothing is wrong", "object": "deployment/ports", "pods": [], "nodes": [] }));
}

#[test]
fn why_finds_the_host_ports_and_who_holds_them() {
    let rig = Rig::new();
    rig.call("set_image", json!(["deployment/ports", { "ports": "registry.example/ports:v2.0.0" }]), json!({})).unwrap();
    let found = rig.value("why", json!(["deployment/ports"]), json!({}));
    assert_eq!(found["reason"], "host_port_conflict", "{found}");
    assert_eq!(found["nodes"], json!(["m1", "m2"]));
    let pod = format!("pod/{}", found["pods"][0].as_str().unwrap());
    assert_eq!(found["object"], pod);
    let message = found["message"].as_str().unwrap();
    assert!(
        message.starts_with("1 of 2 pods waits for host ports 9997 and 9998, which 2 pods of the same deployment hold: 0/3"),
        "{message}"
    );
    let of_pod = rig.value("why", json!([pod]), json!({}));
    assert_eq!(of_pod["reason"], "host_port_conflict", "{of_pod}");
    let of_node = rig.value("why", json!(["node/w1"]), json!({}));
    assert_eq!(of_node["message"], "nothing is wrong");
}

#[test]
fn events_are_newest_last_and_about_the_object_only() {
    let rig = Rig::new();
    rig.call("set_image", json!(["deployment/web", { "web": "registry.example/web:v2.0.0" }]), json!({})).unwrap();
    rig.call("wait_rollout", json!(["deployment/web"]), json!({})).unwrap();
    let events = rig.value("events", json!(["deployment/web"]), json!({}));
    let events = events.as_array().unwrap();
    assert!(!events.is_empty());
    assert!(events.iter().all(|event| event["reason"] == "ScalingReplicaSet"), "{events:?}");
    assert!(events.windows(2).all(|pair| pair[0]["time"].as_str() <= pair[1]["time"].as_str()));
    assert_eq!(rig.value("events", json!(["configmap/settings"]), json!({})), json!([]));
}
