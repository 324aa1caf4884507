//! patch and update.

use std::sync::Arc;

use lockgate::base::{Kind, Object, Reason, Value};
use lockgate::primitives::Arg;
use lockgate_sim::json::{Value as Json, json};
use lockgate_sim::request::Request;

use super::support::{Rig, arg, changes};

#[test]
fn patch_changes_what_is_said_and_can_be_taken_back() {
    let rig = Rig::new();
    let before = rig.object("configmap/settings");
    let done = rig.call("patch", json!(["configmap/settings", { "data": { "mode": "slow", "empty": null } }]), json!({})).unwrap();
    assert_eq!(changes(&done), ["data.empty removed", "data.mode fast -> slow"]);
    assert_eq!(rig.object("configmap/settings")["data"], json!({ "mode": "slow" }));
    let undone = rig.undo(&done);
    assert!(!undone.wrote.is_empty());
    assert_eq!(rig.object("configmap/settings")["data"], before["data"]);
}

#[test]
fn patch_of_nothing_new_sends_nothing() {
    let rig = Rig::new();
    rig.read_only();
    for (change, options) in [
        (json!({ "data": { "mode": "fast" } }), json!({})),
        (json!({ "data": { "gone": null } }), json!({})),
        (json!([]), json!({})),
        (json!([{ "op": "replace", "path": "/data/mode", "value": "fast" }]), json!({ "type": "json" })),
        (json!({ "data": { "mode": "fast" } }), json!({ "type": "strategic" })),
    ] {
        let done = rig.call("patch", json!(["configmap/settings", change]), options.clone()).unwrap();
        assert_eq!(done.value.into_json()["changed"], false, "{options}");
        assert_eq!(done.wrote, []);
    }
    assert_eq!(rig.writes(), 0);
}

#[test]
fn the_three_types_differ_in_lists() {
    let ports = |kind: &str, change: Json| -> Vec<String> {
        let rig = Rig::new();
        rig.call("patch", json!(["service/web", change]), json!({ "type": kind })).unwrap();
        let ports = rig.object("service/web")["spec"]["ports"].clone();
        ports.as_array().unwrap().iter().map(|port| format!("{}={}", port["name"].as_str().unwrap(), port["port"])).collect()
    };
    let change = json!({ "spec": { "ports": [{ "name": "http", "port": 90, "targetPort": 8080 }] } });
    assert_eq!(ports("merge", change.clone()), ["http=90"]);
    let change = json!({ "spec": { "ports": [{ "port": 80, "name": "web" }] } });
    assert_eq!(ports("strategic", change), ["web=80", "debug=81"]);
    let change = json!([{ "op": "replace", "path": "/spec/ports/1/port", "value": 91 }]);
    assert_eq!(ports("json", change), ["http=80", "debug=91"]);
}

#[test]
fn a_json_patch_whose_test_fails_is_not_sent() {
    let rig = Rig::new();
    let patch = json!([{ "op": "test", "path": "/data/mode", "value": "slow" }, { "op": "remove", "path": "/data/mode" }]);
    let error = rig.error("patch", json!(["configmap/settings", patch]), json!({ "type": "json" }));
    assert_eq!((error.kind, error.reason), (Kind::Cluster, Reason::Precondition));
    assert_eq!(error.message, "patching `configmap/settings`: its `test` does not hold; nothing was sent");
    assert_eq!(rig.writes(), 0);
}

#[test]
fn wrong_changes_are_usage_errors() {
    let rig = Rig::new();
    for (change, options) in [
        (json!([{ "op": "remove", "path": "/data" }]), json!({})),
        (json!({ "data": {} }), json!({ "type": "json" })),
        (json!("x"), json!({})),
        (json!([{ "op": "frobnicate", "path": "/data" }]), json!({ "type": "json" })),
        (json!({}), json!({ "type": "mergee" })),
    ] {
        let error = rig.error("patch", json!(["configmap/settings", change]), options);
        assert_eq!((error.kind, error.reason), (Kind::Input, Reason::Usage), "{error}");
    }
    assert_eq!(rig.writes(), 0);
}

#[test]
fn the_server_refuses_what_is_invalid_with_its_own_words() {
    let rig = Rig::new();
    let labels = json!({ "app": "x" });
    let change = json!({ "spec": { "selector": { "matchLabels": labels }, "template": { "metadata": { "labels": labels } } } });
    let error = rig.error("patch", json!(["deployment/web", change]), json!({}));
    assert_eq!(error.reason, Reason::Invalid);
    assert!(error.causes.iter().any(|cause| cause.contains("field is immutable")), "{error}");
}

fn read(rig: &Rig, reference: &str) -> Object {
    match rig.call("get", json!([reference]), json!({})).unwrap().value {
        Value::Object(object) => object,
        other => panic!("{other:?}"),
    }
}

fn changed(object: &Object, pointer: &str, value: Json) -> Arg {
    let mut current = (*object.current).clone();
    *current.pointer_mut(pointer).unwrap() = value;
    Arg::Value(Value::Object(Object { current: Arc::new(current), original: object.original.clone(), unmodelled: false }))
}

#[test]
fn update_sends_the_difference_and_no_more() {
    let rig = Rig::new();
    let object = read(&rig, "deployment/web");
    let done = rig
        .run(rig.calling(
            "update",
            vec![changed(&object, "/spec/template/spec/containers/0/image", json!("registry.example/web:v9"))],
            &json!({}),
        ))
        .unwrap();
    assert_eq!(changes(&done), ["spec.template.spec.containers[name=web].image v1.0.0 -> v9"]);
    assert_eq!(rig.object("deployment/web")["spec"]["template"]["spec"]["containers"][0]["image"], "registry.example/web:v9");
    rig.undo(&done);
    assert_eq!(rig.object("deployment/web")["spec"]["template"], object.current["spec"]["template"]);
}

#[test]
fn update_without_a_change_sends_nothing() {
    let rig = Rig::new();
    let object = read(&rig, "configmap/settings");
    let done = rig.run(rig.calling("update", vec![Arg::Value(Value::Object(object))], &json!({}))).unwrap();
    assert_eq!((done.value.into_json()["changed"].clone(), rig.writes()), (json!(false), 0));
}

#[test]
fn update_refuses_other_tables_other_names_and_status() {
    let rig = Rig::new();
    let plain = arg(rig.object("configmap/settings"));
    let error = rig.run(rig.calling("update", vec![plain], &json!({}))).unwrap_err();
    assert_eq!(error.reason, Reason::Usage);
    assert!(error.hint.as_deref().is_some_and(|hint| hint.contains("`patch`")), "{error:?}");
    let object = read(&rig, "deployment/web");
    for (pointer, value) in [("/metadata/name", json!("x")), ("/kind", json!("DaemonSet")), ("/status", json!({}))] {
        let error = rig.run(rig.calling("update", vec![changed(&object, pointer, value)], &json!({}))).unwrap_err();
        assert_eq!((error.kind, error.reason), (Kind::Input, Reason::Usage), "{pointer}");
    }
    assert_eq!(rig.writes(), 0);
}

#[test]
fn a_custom_resource_takes_no_strategic_patch_and_the_error_says_what_to_do() {
    let rig = Rig::with(|sim| {
        let version = json!({ "name": "v1", "served": true, "storage": true,
            "schema": { "openAPIV3Schema": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } } });
        let definition = json!({ "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": { "name": "carts.shop.test" },
            "spec": { "group": "shop.test", "scope": "Cluster", "versions": [version],
                      "names": { "plural": "carts", "singular": "cart", "kind": "Cart" } } });
        let cart = json!({ "apiVersion": "shop.test/v1", "kind": "Cart", "metadata": { "name": "a" }, "spec": { "wheels": 4 } });
        for (path, object) in [("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition), ("/apis/shop.test/v1/carts", cart)]
        {
            assert_eq!(sim.handle(&Request::post(path, &object)).status, 201);
        }
    });
    let change = json!({ "spec": { "wheels": 3 } });
    let error = rig.error("patch", json!(["cart.shop.test/a", change]), json!({ "type": "strategic" }));
    assert_eq!(
        (error.reason, error.hint.as_deref()),
        (Reason::Unsupported, Some("custom resources take no strategic patch: leave out `type`"))
    );
    assert_eq!(rig.object("cart.shop.test/a")["spec"]["wheels"], 4);
    rig.call("patch", json!(["cart.shop.test/a", change]), json!({})).unwrap();
    assert_eq!(rig.object("cart.shop.test/a")["spec"]["wheels"], 3);
}
