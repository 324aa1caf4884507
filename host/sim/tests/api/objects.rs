//! Creating, replacing, identity, versions, conflicts, subresources.

use lockgate_sim::Request;
use lockgate_sim::json::{Value, json};

use crate::support::{Api, DEPLOYMENTS, JSON_PATCH, MAPS, MERGE, PODS, STRATEGIC, deployment, pod, rv, text};

#[test]
fn a_created_object_has_its_metadata() {
    let mut api = Api::new();
    let map = api.map("a", json!({}));
    let meta = &map["metadata"];
    assert_eq!((map["kind"].as_str(), map["apiVersion"].as_str()), (Some("ConfigMap"), Some("v1")));
    assert_eq!(meta["namespace"], "x");
    assert_eq!(meta["creationTimestamp"], "2001-02-03T04:05:06Z");
    assert_eq!(text(&meta["uid"]).len(), 36);
    assert_eq!(meta.get("generation"), None);
    assert_eq!(api.get(&format!("{MAPS}/a")), map);
    let named = api.ok(&Request::post(MAPS, &json!({"metadata": {"generateName": "cfg-"}})));
    let name = text(&named["metadata"]["name"]);
    assert!(name.starts_with("cfg-") && name.len() == 9, "{name}");
}

#[test]
fn creating_fails_as_on_a_server() {
    let mut api = Api::new();
    api.map("a", json!({}));
    let body = json!({"metadata": {"name": "a"}});
    let (code, reason, message) = api.fails(&Request::post(MAPS, &body));
    assert_eq!((code, reason.as_str(), message.as_str()), (409, "AlreadyExists", r#"configmaps "a" already exists"#));
    let (code, reason, message) = api.fails(&Request::post("/api/v1/namespaces/none/configmaps", &body));
    assert_eq!((code, reason.as_str(), message.as_str()), (404, "NotFound", r#"namespaces "none" not found"#));
    let (code, _, message) = api.fails(&Request::post(MAPS, &json!({"metadata": {"name": "b", "namespace": "y"}})));
    assert_eq!(code, 400);
    assert_eq!(message, "the namespace of the provided object does not match the namespace sent on the request");
    assert_eq!(api.fails(&Request::post(MAPS, &json!({"kind": "Secret", "metadata": {"name": "b"}}))).0, 400);
    assert_eq!(api.fails(&Request::post(MAPS, &json!({"metadata": {"name": "B"}}))).0, 422);
    let mut wrong = deployment("d");
    wrong["spec"]["replicas"] = json!("two");
    let (code, _, message) = api.fails(&Request::post(DEPLOYMENTS, &wrong));
    assert_eq!(code, 400);
    assert!(
        message.starts_with(r#"Deployment in version "v1" cannot be handled as a Deployment: json: cannot unmarshal string"#),
        "{message}"
    );
    let (code, reason, message) = api.fails(&Request::get(&format!("{DEPLOYMENTS}/d")));
    assert_eq!((code, reason.as_str(), message.as_str()), (404, "NotFound", r#"deployments.apps "d" not found"#));
}

#[test]
fn only_effective_writes_count() {
    let mut api = Api::new();
    let map = api.map("a", json!({}));
    let path = format!("{MAPS}/a");
    assert_eq!(api.ok(&Request::put(&path, &map)), map);
    assert_eq!(api.patch(&path, &json!({"data": {"a": "1"}})), map);
    assert_eq!(api.patch(&path, &json!({"data": {"gone": null}})), map);
    let changed = api.patch(&path, &json!({"data": {"a": "2"}}));
    assert_eq!(rv(&changed), rv(&map) + 1);
}

#[test]
fn a_stale_version_is_a_conflict() {
    let mut api = Api::new();
    let created = api.ok(&Request::post(DEPLOYMENTS, &deployment("d")));
    let path = format!("{DEPLOYMENTS}/d");
    api.patch(&path, &json!({"metadata": {"labels": {"a": "b"}}}));
    let text = "Operation cannot be fulfilled on deployments.apps \"d\": the object has been modified; please apply your changes to \
        the latest version and try again";
    for request in [
        Request::put(&path, &created),
        Request::patch(&path, MERGE, &json!({"metadata": {"resourceVersion": created["metadata"]["resourceVersion"]}})),
        Request::put(&format!("{path}/scale"), &json!({"metadata": {"name": "d", "resourceVersion": "1"}, "spec": {"replicas": 1}})),
    ] {
        assert_eq!(api.fails(&request), (409, "Conflict".to_owned(), text.to_owned()));
    }
    let other = json!({"metadata": {"uid": "00000000-0000-4000-8000-000000000000"}});
    assert!(
        api.fails(&Request::patch(&path, MERGE, &other))
            .2
            .ends_with(r#"metadata.uid: Invalid value: "00000000-0000-4000-8000-000000000000": field is immutable"#)
    );
    let mut put = created.clone();
    put["metadata"]["uid"] = other["metadata"]["uid"].clone();
    put["metadata"]["resourceVersion"] = Value::Null;
    assert!(api.fails(&Request::put(&path, &put)).2.contains("Precondition failed: UID in precondition"));
    // Without a version the last writer wins.
    let mut unversioned = created;
    unversioned["metadata"]["resourceVersion"] = Value::Null;
    api.ok(&Request::put(&path, &unversioned));
}

#[test]
fn generation_follows_the_spec() {
    let mut api = Api::new();
    let path = format!("{DEPLOYMENTS}/d");
    let generation = |object: &Value| object["metadata"]["generation"].as_i64();
    assert_eq!(generation(&api.ok(&Request::post(DEPLOYMENTS, &deployment("d")))), Some(1));
    assert_eq!(generation(&api.patch(&path, &json!({"metadata": {"labels": {"a": "b"}}}))), Some(1));
    assert_eq!(generation(&api.patch(&path, &json!({"spec": {"minReadySeconds": 1}}))), Some(2));
    // Annotations of a Deployment go on to its ReplicaSets, so they count.
    assert_eq!(generation(&api.patch(&path, &json!({"metadata": {"annotations": {"a": "b"}}}))), Some(3));
    assert_eq!(generation(&api.patch(&format!("{path}/status"), &json!({"status": {"replicas": 5}}))), Some(3));
    assert_eq!(generation(&api.ok(&Request::post(PODS, &pod("p")))), Some(1));
}

#[test]
fn spec_and_status_are_isolated() {
    let mut api = Api::new();
    api.ok(&Request::post("/api/v1/nodes", &json!({"metadata": {"name": "n"}, "status": {"phase": "Running"}})));
    let node = api.patch("/api/v1/nodes/n", &json!({"status": {"phase": "Pending"}, "spec": {"unschedulable": true}}));
    assert_eq!((&node["status"]["phase"], &node["spec"]["unschedulable"]), (&json!("Running"), &json!(true)));
    let body = json!({"status": {"phase": "Pending"}, "spec": {"unschedulable": false}, "metadata": {"labels": {"l": "v"}}});
    let node = api.patch("/api/v1/nodes/n/status", &body);
    assert_eq!((&node["status"]["phase"], &node["spec"]["unschedulable"]), (&json!("Pending"), &json!(true)));
    // Labels can be written with the status of a node, but not with that of a Deployment.
    assert_eq!(node["metadata"]["labels"]["l"], "v");
    api.ok(&Request::post(DEPLOYMENTS, &deployment("d")));
    let body = json!({"metadata": {"labels": {"l": "v"}, "annotations": {"a": "v"}}});
    let meta = api.patch(&format!("{DEPLOYMENTS}/d/status"), &body)["metadata"].clone();
    assert_eq!((meta.get("labels"), &meta["annotations"]["a"], &meta["generation"]), (None, &json!("v"), &json!(1)));
}

#[test]
fn scale_is_a_view_of_the_replicas() {
    let mut api = Api::new();
    api.ok(&Request::post(DEPLOYMENTS, &deployment("d")));
    let path = format!("{DEPLOYMENTS}/d/scale");
    let scale = api.get(&path);
    assert_eq!((scale["kind"].as_str(), scale["apiVersion"].as_str()), (Some("Scale"), Some("autoscaling/v1")));
    assert_eq!((&scale["spec"], &scale["status"]), (&json!({}), &json!({"replicas": 0, "selector": "app=d"})));
    let scaled = api.patch(&path, &json!({"spec": {"replicas": 3}}));
    assert_eq!(scaled["spec"]["replicas"], 3);
    let deployment = api.get(&format!("{DEPLOYMENTS}/d"));
    assert_eq!((&deployment["spec"]["replicas"], &deployment["metadata"]["generation"]), (&json!(3), &json!(2)));
    let fresh = api.get(&path);
    assert_eq!(api.ok(&Request::put(&path, &fresh))["metadata"], fresh["metadata"]);
    let (code, _, message) = api.fails(&Request::patch(&path, MERGE, &json!({"spec": {"replicas": -1}})));
    assert_eq!(code, 422);
    assert_eq!(message, r#"Scale.autoscaling "d" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0"#);
    assert_eq!(api.fails(&Request::get("/apis/apps/v1/namespaces/x/daemonsets/d/scale")).0, 404);
}

#[test]
fn a_rehearsal_leaves_no_trace() {
    let mut api = Api::new();
    let map = api.map("a", json!({}));
    let before = api.0.store().rv();
    let dry = |request: Request| request.with_query("dryRun", "All");
    let created = api.ok(&dry(Request::post(MAPS, &json!({"metadata": {"name": "b"}}))));
    assert_eq!(created["metadata"].get("resourceVersion"), None);
    let patched = api.ok(&dry(Request::patch(&format!("{MAPS}/a"), MERGE, &json!({"data": {"a": "2"}}))));
    assert_eq!((&patched["data"]["a"], rv(&patched)), (&json!("2"), rv(&map)));
    api.ok(&dry(Request::delete(&format!("{MAPS}/a"))));
    api.ok(&dry(Request::delete(MAPS)));
    assert_eq!(api.fails(&dry(Request::post(MAPS, &json!({"metadata": {"name": "a"}})))).0, 409);
    assert_eq!(api.0.store().rv(), before);
    assert_eq!(api.get(&format!("{MAPS}/a")), map);
    assert!(api.gone(&format!("{MAPS}/b")));
    assert_eq!(api.fails(&Request::delete(&format!("{MAPS}/a")).with_query("dryRun", "Some")).0, 422);
    // A rehearsal takes no random numbers either: the same object is created afterwards.
    let uid = &api.ok(&Request::post(MAPS, &json!({"metadata": {"name": "b"}})))["metadata"]["uid"];
    assert_eq!(*uid, created["metadata"]["uid"]);
}

#[test]
fn identity_cannot_be_changed() {
    let mut api = Api::new();
    let map = api.map("a", json!({}));
    let path = format!("{MAPS}/a");
    assert_eq!(api.fails(&Request::patch(&path, MERGE, &json!({"metadata": {"name": "b"}}))).0, 400);
    let patched = api.patch(&path, &json!({"metadata": {"creationTimestamp": null, "generation": 9}}));
    assert_eq!(patched, map);
    let patch = json!({"metadata": {"deletionTimestamp": "2001-01-01T00:00:00Z"}});
    assert!(
        api.fails(&Request::patch(&path, MERGE, &patch))
            .2
            .ends_with("metadata.deletionTimestamp: Invalid value: \"2001-01-01T00:00:00Z\": field is immutable")
    );
    api.ok(&Request::post(DEPLOYMENTS, &deployment("d")));
    let patch = json!([{"op": "replace", "path": "/spec/selector/matchLabels/app", "value": "other"},
        {"op": "replace", "path": "/spec/template/metadata/labels/app", "value": "other"}]);
    let (code, reason, message) = api.fails(&Request::patch(&format!("{DEPLOYMENTS}/d"), JSON_PATCH, &patch));
    assert_eq!((code, reason.as_str()), (422, "Invalid"));
    assert!(message.ends_with(r#"spec.selector: Invalid value: {"matchLabels":{"app":"other"}}: field is immutable"#), "{message}");
}

#[test]
fn services_get_addresses() {
    let mut api = Api::new();
    let services = "/api/v1/namespaces/x/services";
    let a = api.ok(&Request::post(services, &json!({"metadata": {"name": "a"}, "spec": {"ports": [{"port": 80}]}})));
    let ip = text(&a["spec"]["clusterIP"]);
    assert!(ip.starts_with("10.96."), "{ip}");
    assert_eq!(a["spec"]["clusterIPs"], json!([ip]));
    let same = json!({"metadata": {"name": "b"}, "spec": {"clusterIP": ip, "ports": [{"port": 80}]}});
    assert!(api.fails(&Request::post(services, &same)).2.contains("provided IP is already allocated"));
    let b = json!({"metadata": {"name": "b"}, "spec": {"type": "NodePort", "ports": [{"port": 80}]}});
    let port = api.ok(&Request::post(services, &b))["spec"]["ports"][0]["nodePort"].as_i64().unwrap();
    assert!((30_000..32_768).contains(&port), "{port}");
    // A service can be replaced without knowing its address.
    let replaced = api.ok(&Request::put(&format!("{services}/a"), &json!({"metadata": {"name": "a"}, "spec": {"ports": [{"port": 81}]}})));
    assert_eq!(replaced["spec"]["clusterIP"], ip.as_str());
}

#[test]
fn leases_need_a_version_and_can_be_put() {
    let mut api = Api::new();
    let path = "/apis/coordination.k8s.io/v1/namespaces/x/leases/l";
    let body = json!({"metadata": {"name": "l"}, "spec": {"holderIdentity": "me"}});
    let (code, lease) = api.send(&Request::put(path, &body));
    assert_eq!(code, 201);
    assert!(
        api.fails(&Request::put(path, &body)).2.contains("metadata.resourceVersion: Invalid value: 0: must be specified for an update")
    );
    api.ok(&Request::put(path, &lease));
    // One that is meant by its uid is not made anew.
    api.ok(&Request::delete(path));
    let uid = lease["metadata"]["uid"].as_str().unwrap();
    assert_eq!(
        api.fails(&Request::put(path, &lease)).2,
        format!(
            "Operation cannot be fulfilled on leases.coordination.k8s.io \"l\": StorageError: invalid object, Code: 4, Key: \
             /registry/leases/x/l, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: {uid}, UID in object meta: "
        )
    );
    assert_eq!(api.fails(&Request::put(&format!("{MAPS}/new"), &json!({"metadata": {"name": "new"}}))).0, 404);
    let (code, _, message) = api.fails(&Request::put(&format!("{MAPS}/new"), &json!({})));
    assert_eq!((code, message.as_str()), (400, "the name of the object (new based on URL) was undeterminable: name must be provided"));
}

#[test]
fn an_image_is_set_as_kubectl_does() {
    let mut api = Api::new();
    api.ok(&Request::post(DEPLOYMENTS, &deployment("d")));
    let patch = json!({"spec": {"template": {"spec": {
        "$setElementOrder/containers": [{"name": "a"}], "containers": [{"name": "a", "image": "a:2"}]}}}});
    let patched = api.ok(&Request::patch(&format!("{DEPLOYMENTS}/d"), STRATEGIC, &patch).with_query("fieldManager", "kubectl-set"));
    let containers = patched["spec"]["template"]["spec"]["containers"].as_array().unwrap();
    assert_eq!((containers.len(), containers[0]["image"].as_str()), (1, Some("a:2")));
}
