//! What a strategic merge patch does to lists and maps.

use crate::json::{Value, json};

use super::merge;
use crate::kinds::{self, Kind};

fn patched(kind: &Kind, object: Value, patch: Value) -> Result<Value, String> {
    let mut object = object;
    merge(kind, &mut object, patch).map(|()| object)
}

fn deployment(containers: Value) -> Value {
    json!({"spec": {"template": {"spec": {"containers": containers}}}})
}

fn containers(object: &Value) -> &Value {
    &object["spec"]["template"]["spec"]["containers"]
}

#[test]
fn an_image_is_set_by_container_name() {
    let before = deployment(json!([{"name": "a", "image": "a:1", "env": [{"name": "X", "value": "1"}]}, {"name": "b", "image": "b:1"}]));
    // What `kubectl set image` sends.
    let patch = json!({"spec": {"template": {"spec": {
        "$setElementOrder/containers": [{"name": "a"}, {"name": "b"}], "containers": [{"name": "b", "image": "b:2"}]}}}});
    let after = patched(kinds::DEPLOYMENT, before, patch).unwrap();
    assert_eq!(
        *containers(&after),
        json!([{"name": "a", "image": "a:1", "env": [{"name": "X", "value": "1"}]}, {"name": "b", "image": "b:2"}])
    );
}

#[test]
fn lists_inside_lists_merge_too() {
    let before = deployment(json!([{"name": "a", "env": [{"name": "X", "value": "1"}], "args": ["x", "y"],
        "ports": [{"containerPort": 80, "name": "http"}], "volumeMounts": [{"mountPath": "/a", "name": "v"}]}]));
    let patch = deployment(json!([{"name": "a", "env": [{"name": "Y", "value": "2"}, {"name": "X", "value": null}],
        "args": ["z"], "ports": [{"containerPort": 80, "protocol": "UDP"}], "volumeMounts": [{"mountPath": "/b", "name": "w"}]}]));
    let after = patched(kinds::DEPLOYMENT, before, patch).unwrap();
    let a = &containers(&after)[0];
    assert_eq!(a["env"], json!([{"name": "Y", "value": "2"}, {"name": "X"}]));
    assert_eq!(a["args"], json!(["z"]));
    assert_eq!(a["ports"], json!([{"containerPort": 80, "name": "http", "protocol": "UDP"}]));
    assert_eq!(a["volumeMounts"].as_array().unwrap().len(), 2);
}

#[test]
fn directives_delete_and_replace() {
    let before = || deployment(json!([{"name": "a", "image": "a:1"}, {"name": "b"}]));
    let after = patched(kinds::DEPLOYMENT, before(), deployment(json!([{"name": "a", "$patch": "delete"}]))).unwrap();
    assert_eq!(*containers(&after), json!([{"name": "b"}]));
    let after = patched(kinds::DEPLOYMENT, before(), deployment(json!([{"$patch": "replace"}, {"name": "c"}]))).unwrap();
    assert_eq!(*containers(&after), json!([{"name": "c"}]));
    let patch = json!({"spec": {"template": {"$patch": "replace", "spec": {"hostNetwork": true}}}});
    let after = patched(kinds::DEPLOYMENT, before(), patch).unwrap();
    assert_eq!(after, json!({"spec": {"template": {"spec": {"hostNetwork": true}}}}));
    let after = patched(kinds::DEPLOYMENT, before(), json!({"spec": {"$patch": "delete"}})).unwrap();
    assert_eq!(after, json!({"spec": {}}));
}

#[test]
fn the_order_of_elements_can_be_set() {
    let before = deployment(json!([{"name": "a"}, {"name": "server"}, {"name": "b"}]));
    let patch = json!({"spec": {"template": {"spec": {
        "$setElementOrder/containers": [{"name": "b"}, {"name": "new"}, {"name": "a"}], "containers": [{"name": "new"}]}}}});
    let after = patched(kinds::DEPLOYMENT, before, patch).unwrap();
    let names: Vec<&str> = containers(&after).as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["server", "b", "new", "a"]);
    let wrong = json!({"spec": {"template": {"spec": {"$setElementOrder/containers": [{"name": "a"}], "containers": [{"name": "x"}]}}}});
    assert!(patched(kinds::DEPLOYMENT, deployment(json!([])), wrong).unwrap_err().contains("doesn't match"));
}

#[test]
fn new_elements_come_before_those_only_the_server_has() {
    let before = deployment(json!([{"name": "server"}]));
    let after = patched(kinds::DEPLOYMENT, before, deployment(json!([{"name": "new"}]))).unwrap();
    assert_eq!(*containers(&after), json!([{"name": "new"}, {"name": "server"}]));
}

#[test]
fn keys_are_retained_as_asked() {
    let before = json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}});
    let patch = json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}});
    let after = patched(kinds::DEPLOYMENT, before.clone(), patch).unwrap();
    assert_eq!(after, json!({"spec": {"strategy": {"type": "Recreate"}}}));
    let wrong = json!({"spec": {"strategy": {"$retainKeys": ["type"], "rollingUpdate": {}}}});
    assert_eq!(patched(kinds::DEPLOYMENT, before, wrong), Err("invalid patch format of retainKeys".to_owned()));
}

#[test]
fn finalizers_are_a_set() {
    let before = json!({"metadata": {"finalizers": ["a", "b"]}});
    let after = patched(kinds::POD, before.clone(), json!({"metadata": {"finalizers": ["c", "a"]}})).unwrap();
    assert_eq!(after["metadata"]["finalizers"], json!(["c", "a", "b"]));
    let patch = json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}});
    assert_eq!(patched(kinds::POD, before, patch).unwrap()["metadata"]["finalizers"], json!(["b"]));
}

#[test]
fn atomic_lists_and_plain_maps() {
    let before = json!({"metadata": {"labels": {"a": "1", "b": "2"}}, "spec": {"tolerations": [{"key": "x"}]}});
    let patch = json!({"metadata": {"labels": {"a": null, "c": "3"}}, "spec": {"tolerations": [{"key": "y"}]}});
    let after = patched(kinds::POD, before, patch).unwrap();
    assert_eq!(after, json!({"metadata": {"labels": {"b": "2", "c": "3"}}, "spec": {"tolerations": [{"key": "y"}]}}));
    let status = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Other"}]}});
    let patch = json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}});
    let after = patched(kinds::NODE, status, patch).unwrap();
    assert_eq!(after["status"]["conditions"], json!([{"type": "Ready", "status": "False"}, {"type": "Other"}]));
}

#[test]
fn wrong_patches_say_why() {
    let before = || deployment(json!([{"name": "a"}]));
    let fails = |patch| patched(kinds::DEPLOYMENT, before(), patch).unwrap_err();
    assert!(fails(deployment(json!([{"image": "x"}]))).ends_with("does not contain declared merge key: name"));
    assert!(fails(json!({"spec": {"$patch": "merge"}})).starts_with("unknown patch type: merge in map"));
    assert_eq!(fails(deployment(json!([{"$patch": "merge"}]))), "merging lists cannot yet be specified in the patch");
    assert!(fails(deployment(json!(["text"]))).contains("different types"));
}

#[test]
fn service_ports_merge_by_port() {
    let before = json!({"spec": {"ports": [{"port": 80, "targetPort": 8080}]}});
    let after = patched(kinds::SERVICE, before, json!({"spec": {"ports": [{"port": 80, "nodePort": 30080}]}})).unwrap();
    assert_eq!(after["spec"]["ports"], json!([{"port": 80, "targetPort": 8080, "nodePort": 30080}]));
}
