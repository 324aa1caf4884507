//! Deletion: grace, finalizers, owners, namespaces.

use lockgate_sim::Request;
use lockgate_sim::json::{Value, json};

use crate::support::{Api, DEPLOYMENTS, MAPS, MERGE, PODS, REPLICA_SETS, deployment, pod, rv, text};

fn delete(path: &str, options: &Value) -> Request {
    Request::delete(path).with_body("application/json", options)
}

/// A pod that is bound to a node that does not exist: no kubelet touches it.
fn bound(api: &mut Api, name: &str) -> Value {
    let mut pod = pod(name);
    pod["spec"]["nodeName"] = "ghost".into();
    api.ok(&Request::post(PODS, &pod))
}

/// A ConfigMap owned by something.
fn owned(api: &mut Api, name: &str, owners: &[&Value]) {
    let owners: Vec<Value> = owners
        .iter()
        .map(|o| json!({"apiVersion": o["apiVersion"], "kind": o["kind"], "name": o["metadata"]["name"], "uid": o["metadata"]["uid"], "blockOwnerDeletion": true}))
        .collect();
    api.ok(&Request::post(MAPS, &json!({"metadata": {"name": name, "ownerReferences": owners}})));
}

#[test]
fn a_plain_object_goes_at_once() {
    let mut api = Api::new();
    let map = api.map("a", json!({}));
    let answer = api.ok(&Request::delete(&format!("{MAPS}/a")));
    assert_eq!(answer["status"], "Success");
    assert_eq!(answer["details"], json!({"name": "a", "kind": "configmaps", "uid": map["metadata"]["uid"]}));
    assert!(api.gone(&format!("{MAPS}/a")));
    let (code, _, message) = api.fails(&Request::delete(&format!("{MAPS}/a")));
    assert_eq!((code, message.as_str()), (404, r#"configmaps "a" not found"#));
}

#[test]
fn preconditions_are_held() {
    let mut api = Api::new();
    let map = api.map("a", json!({}));
    let path = format!("{MAPS}/a");
    let (code, reason, message) = api.fails(&delete(&path, &json!({"preconditions": {"uid": "other"}})));
    assert_eq!((code, reason.as_str()), (409, "Conflict"));
    assert!(message.contains("the UID in the precondition (other) does not match the UID in record"), "{message}");
    assert_eq!(api.fails(&delete(&path, &json!({"preconditions": {"resourceVersion": "1"}}))).0, 409);
    api.ok(&delete(
        &path,
        &json!({"preconditions": {"uid": map["metadata"]["uid"], "resourceVersion": map["metadata"]["resourceVersion"]}}),
    ));
}

#[test]
fn a_bound_pod_gets_its_grace() {
    let mut api = Api::new();
    let created = bound(&mut api, "p");
    let path = format!("{PODS}/p");
    let answer = api.ok(&Request::delete(&path));
    let meta = &answer["metadata"];
    assert_eq!(
        (text(&meta["deletionTimestamp"]), meta["deletionGracePeriodSeconds"].as_i64()),
        ("2001-02-03T04:05:36Z".to_owned(), Some(30))
    );
    assert_eq!(meta["generation"], 2);
    let version = rv(&api.get(&path));
    assert!(version > rv(&created));
    // A longer grace has no effect, a shorter one has.
    api.ok(&delete(&path, &json!({"gracePeriodSeconds": 60})));
    assert_eq!(rv(&api.get(&path)), version);
    let shorter = api.ok(&delete(&path, &json!({"gracePeriodSeconds": 5})));
    assert_eq!(text(&shorter["metadata"]["deletionTimestamp"]), "2001-02-03T04:05:11Z");
    api.ok(&delete(&path, &json!({"gracePeriodSeconds": 0})));
    assert!(api.gone(&path));
}

#[test]
fn an_unbound_pod_needs_no_grace() {
    let mut api = Api::new();
    api.ok(&Request::post(PODS, &pod("p")));
    assert_eq!(api.ok(&Request::delete(&format!("{PODS}/p")))["kind"], "Pod");
    assert!(api.gone(&format!("{PODS}/p")));
}

#[test]
fn finalizers_hold_an_object() {
    let mut api = Api::new();
    api.map("a", json!({}));
    let path = format!("{MAPS}/a");
    api.patch(&path, &json!({"metadata": {"finalizers": ["example.com/hold"]}}));
    let answer = api.ok(&Request::delete(&path));
    assert_eq!(text(&answer["metadata"]["deletionTimestamp"]), "2001-02-03T04:05:06Z");
    api.ok(&Request::delete(&path));
    assert!(!api.gone(&path));
    let more = json!({"metadata": {"finalizers": ["example.com/hold", "example.com/more"]}});
    assert!(api.fails(&Request::patch(&path, MERGE, &more)).2.contains("no new finalizers can be added if the object is being deleted"));
    assert_eq!(
        api.patch(&path, &json!({"metadata": {"deletionTimestamp": null}}))["metadata"]["deletionTimestamp"],
        answer["metadata"]["deletionTimestamp"]
    );
    api.patch(&path, &json!({"metadata": {"finalizers": null}}));
    assert!(api.gone(&path));
}

#[test]
fn dependants_follow_their_last_owner() {
    let mut api = Api::new();
    let (a, b) = (api.map("a", json!({})), api.map("b", json!({})));
    owned(&mut api, "of-a", &[&a]);
    owned(&mut api, "of-both", &[&a, &b]);
    let child = api.get(&format!("{MAPS}/of-a"));
    owned(&mut api, "grandchild", &[&child]);
    api.ok(&Request::delete(&format!("{MAPS}/a")));
    assert!(api.gone(&format!("{MAPS}/of-a")) && api.gone(&format!("{MAPS}/grandchild")));
    let left = api.get(&format!("{MAPS}/of-both"));
    assert_eq!(left["metadata"]["ownerReferences"].as_array().unwrap().len(), 1);
    api.ok(&Request::delete(&format!("{MAPS}/b")));
    assert!(api.gone(&format!("{MAPS}/of-both")));
}

#[test]
fn orphans_stay() {
    let mut api = Api::new();
    let a = api.map("a", json!({}));
    owned(&mut api, "child", &[&a]);
    api.ok(&delete(&format!("{MAPS}/a"), &json!({"propagationPolicy": "Orphan"})));
    assert!(api.gone(&format!("{MAPS}/a")));
    assert_eq!(api.get(&format!("{MAPS}/child"))["metadata"].get("ownerReferences"), None);
    assert_eq!(api.fails(&delete(&format!("{MAPS}/child"), &json!({"propagationPolicy": "Sideways"}))).0, 422);
}

#[test]
fn in_the_foreground_the_owner_goes_last() {
    let mut api = Api::new();
    let a = api.map("a", json!({}));
    owned(&mut api, "child", &[&a]);
    api.patch(&format!("{MAPS}/child"), &json!({"metadata": {"finalizers": ["example.com/hold"]}}));
    let answer = api.ok(&delete(&format!("{MAPS}/a"), &json!({"propagationPolicy": "Foreground"})));
    assert_eq!(answer["metadata"]["finalizers"], json!(["foregroundDeletion"]));
    assert!(!api.gone(&format!("{MAPS}/a")) && !api.gone(&format!("{MAPS}/child")));
    api.patch(&format!("{MAPS}/child"), &json!({"metadata": {"finalizers": null}}));
    assert!(api.gone(&format!("{MAPS}/child")) && api.gone(&format!("{MAPS}/a")));
}

#[test]
fn a_deployment_takes_its_replica_sets_along() {
    for (policy, stay) in [("Background", 0), ("Foreground", 0), ("Orphan", 1)] {
        let mut api = Api::new();
        api.ok(&Request::post(DEPLOYMENTS, &deployment("d")));
        let sets = |api: &mut Api| api.get(REPLICA_SETS)["items"].as_array().unwrap().len();
        assert_eq!(sets(&mut api), 1);
        api.ok(&delete(&format!("{DEPLOYMENTS}/d"), &json!({"propagationPolicy": policy})));
        assert!(api.gone(&format!("{DEPLOYMENTS}/d")), "{policy}");
        assert_eq!(sets(&mut api), stay, "{policy}");
    }
}

#[test]
fn a_collection_is_deleted_by_selector() {
    let mut api = Api::new();
    for (name, app) in [("a", "web"), ("b", "db"), ("c", "web")] {
        api.map(name, json!({"app": app}));
    }
    let deleted = api.ok(&Request::delete(MAPS).with_query("labelSelector", "app=web"));
    assert_eq!(crate::support::names(&deleted), ["a", "c"]);
    assert_eq!(crate::support::names(&api.get(MAPS)), ["b"]);
}

#[test]
fn a_namespace_takes_its_content_along() {
    let mut api = Api::new();
    api.map("a", json!({}));
    api.patch(&format!("{MAPS}/a"), &json!({"metadata": {"finalizers": ["example.com/hold"]}}));
    bound(&mut api, "p");
    api.ok(&Request::post(DEPLOYMENTS, &deployment("d")));
    let answer = api.ok(&Request::delete("/api/v1/namespaces/x"));
    assert_eq!(answer["status"]["phase"], "Terminating");
    assert!(api.gone(&format!("{DEPLOYMENTS}/d")));
    let (code, _, message) = api.fails(&Request::post(MAPS, &json!({"metadata": {"name": "new"}})));
    assert_eq!(code, 403);
    assert!(message.ends_with("unable to create new content in namespace x because it is being terminated"), "{message}");
    assert_eq!(api.ok(&Request::delete("/api/v1/namespaces/x"))["status"]["phase"], "Terminating");
    api.ok(&Request::post("/api/v1/namespaces", &json!({"metadata": {"name": "kube-system"}})));
    assert_eq!(api.fails(&Request::delete("/api/v1/namespaces/kube-system")).0, 403);
    api.patch(&format!("{MAPS}/a"), &json!({"metadata": {"finalizers": null}}));
    assert!(!api.gone("/api/v1/namespaces/x"));
    api.ok(&delete(&format!("{PODS}/p"), &json!({"gracePeriodSeconds": 0})));
    assert!(api.gone("/api/v1/namespaces/x"));
    assert!(!api.gone("/api/v1/namespaces/y"));
}
