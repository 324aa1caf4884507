//! Patches over the wire.

use lockgate_sim::json::json;
use lockgate_sim::{Method, Request};

use crate::support::{Api, DEPLOYMENTS, JSON_PATCH, MAPS, MERGE, STRATEGIC, deployment};

#[test]
fn content_types_are_checked() {
    let mut api = Api::new();
    api.map("a", json!({}));
    let path = format!("{MAPS}/a");
    let (code, reason, _) = api.fails(&Request::patch(&path, "application/json", &json!({})));
    assert_eq!((code, reason.as_str()), (415, "UnsupportedMediaType"));
    assert_eq!(api.fails(&Request::patch(&path, "application/apply-patch+json", &json!({}))).0, 415);
    let mut plain = Request::new(Method::Post, MAPS);
    plain.content_type = "text/plain".into();
    assert_eq!(api.fails(&plain).0, 415);
    assert_eq!(
        api.ok(&Request::patch(&path, "application/merge-patch+json;charset=utf-8", &json!({"data": {"b": "2"}})))["data"]["b"],
        "2"
    );
}

#[test]
fn json_patches_test_before_they_write() {
    let mut api = Api::new();
    api.map("a", json!({}));
    let path = format!("{MAPS}/a");
    let patch = |value| json!([{"op": "test", "path": "/data/a", "value": value}, {"op": "add", "path": "/data/b", "value": "x"}]);
    assert_eq!(api.ok(&Request::patch(&path, JSON_PATCH, &patch("1")))["data"], json!({"a": "1", "b": "x"}));
    let (code, reason, message) = api.fails(&Request::patch(&path, JSON_PATCH, &patch("2")));
    assert_eq!((code, reason.as_str()), (422, "Invalid"));
    assert_eq!(message, "the server rejected our request due to an error in our request");
    assert_eq!(api.fails(&Request::patch(&path, JSON_PATCH, &json!({"op": "test"}))).0, 400);
    assert_eq!(api.fails(&Request::patch(&path, MERGE, &json!([]))).0, 400);
    assert_eq!(api.fails(&Request::patch(&format!("{MAPS}/none"), MERGE, &json!({}))).0, 404);
}

#[test]
fn a_patch_is_validated_like_a_write() {
    let mut api = Api::new();
    api.ok(&Request::post(DEPLOYMENTS, &deployment("d")));
    let path = format!("{DEPLOYMENTS}/d");
    let (code, _, message) = api.fails(&Request::patch(&path, MERGE, &json!({"spec": {"replicas": "many"}})));
    assert_eq!(code, 422);
    assert!(message.contains("patch: Invalid value:") && message.contains("of type int32"), "{message}");
    let (code, _, message) = api.fails(&Request::patch(&path, MERGE, &json!({"spec": {"replicas": -2}})));
    assert_eq!(code, 422);
    assert!(message.ends_with("spec.replicas: Invalid value: -2: must be greater than or equal to 0"), "{message}");
    // A strategy can be changed when the section that no longer fits is taken away with it.
    let recreate = json!({"spec": {"strategy": {"type": "Recreate"}}});
    assert!(api.fails(&Request::patch(&path, MERGE, &recreate)).2.contains("may not be specified when strategy `type` is 'Recreate'"));
    let recreate = json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}});
    assert_eq!(api.ok(&Request::patch(&path, STRATEGIC, &recreate))["spec"]["strategy"], json!({"type": "Recreate"}));
}
