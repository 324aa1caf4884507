//! What the server says about itself, what it refuses, and its log.

use lockgate_sim::json::json;
use lockgate_sim::{Body, Cluster, Options, Request};

use crate::support::{Api, MAPS, NOWHERE, deployment};

#[test]
fn health_and_version() {
    let mut api = Api(Cluster::new(Options { version: "v1.33.2".into(), ..Options::default() }));
    for path in ["/readyz", "/livez", "/healthz", "/readyz/ping"] {
        assert_eq!(api.0.handle(&Request::get(path)).body, Body::Text("ok".into()), "{path}");
    }
    let version = api.get("/version");
    assert_eq!((version["gitVersion"].as_str(), version["minor"].as_str()), (Some("v1.33.2"), Some("33")));
    assert_eq!(api.get("/apis/apps/v1")["kind"], "APIResourceList");
    assert_eq!(Options::default().start.to_string(), "2001-02-03T04:05:06Z");
}

#[test]
fn what_is_not_modelled_is_named() {
    let mut api = Api::new();
    for (path, what) in [
        ("/api/v1/namespaces/x/limitranges/l", "limitranges"),
        ("/api/v1/componentstatuses", "componentstatuses"),
        ("/apis/networking.k8s.io/v1/servicecidrs", "servicecidrs.networking.k8s.io"),
        ("/apis/node.k8s.io/v1", "group node.k8s.io"),
        ("/api/v1/namespaces/x/pods/p/attach", "pods/attach"),
    ] {
        let (code, reason, message) = api.fails(&Request::get(path));
        assert_eq!((code, reason.as_str(), message), (501, "NotImplemented", format!("simulator: not modelled: {what}")));
    }
    let (code, reason, message) = api.fails(&Request::get("/api/v1/things"));
    assert_eq!((code, reason.as_str(), message.as_str()), (404, "NotFound", "the server could not find the requested resource"));
    for path in ["/apis/example.com/v1/things", "/nonsense"] {
        assert_eq!(api.send(&Request::get(path)), (404, NOWHERE.into()), "{path}");
    }
    assert_eq!(api.fails(&Request::delete("/api/v1/namespaces")).0, 405);
}

/// Clients look for quotas, limits and claims on their way (`kubectl describe namespace`, `kubectl apply --prune`), and must not fail
/// because of them; who wants one must hear why there is none.
#[test]
fn kinds_of_which_there_are_none_are_listed_and_refused_by_name() {
    let mut api = Api::new();
    let claims = "/api/v1/namespaces/x/persistentvolumeclaims";
    let list = api.get(&format!("{claims}?labelSelector=a&limit=500"));
    assert_eq!((&list["kind"], &list["items"]), (&json!("PersistentVolumeClaimList"), &json!([])));
    let table = api.ok(&Request::get(claims).with_accept("application/json;as=Table;g=meta.k8s.io;v=v1"));
    assert_eq!((&table["kind"], &table["rows"]), (&json!("Table"), &json!([])));
    assert_eq!(api.fails(&Request::get(&format!("{claims}?fieldSelector=x%3Dy"))).0, 400);
    let watch =
        api.watch(&format!("{claims}?watch=true&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"));
    assert_eq!(api.events(watch).0.len(), 1, "the bookmark after nothing");
    let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"}});
    for request in [
        Request::post(claims, &claim),
        Request::get(&format!("{claims}/data")),
        Request::patch(&format!("{claims}/data"), "application/apply-patch+yaml", &claim),
        Request::delete(claims),
        Request::post("/apis/storage.k8s.io/v1/storageclasses", &json!({})),
    ] {
        let (code, _, message) = api.fails(&request);
        assert_eq!((code, message.starts_with("simulator: not modelled: ")), (501, true), "{message}");
    }
    // kubectl sees from here that the server checks fields itself, and sends what it is given.
    let patch = api.get("/openapi/v3/api/v1")["paths"]["/api/v1/namespaces/{namespace}/persistentvolumeclaims/{name}"]["patch"].clone();
    assert!(patch["parameters"].as_array().unwrap().iter().any(|parameter| parameter["name"] == "fieldValidation"), "{patch}");
    // What lies under an overlay may have some: nobody says that there are none.
    let mut overlay = Api(Cluster::new(Options { partial: true, ..Options::default() }));
    assert!(overlay.0.scopes(&Request::get(claims)).is_empty());
    assert_eq!(overlay.fails(&Request::get(claims)).2, "simulator: not modelled: persistentvolumeclaims");
}

#[test]
fn the_log_tells_who_did_what() {
    let mut api = Api::new();
    let mut request = Request::post(MAPS, &json!({"metadata": {"name": "a"}}));
    request.user_agent = "lockgate/0.1 (linux)".into();
    api.ok(&request);
    let log: Vec<&str> = api.0.event_log().collect();
    assert_eq!(
        log[log.len() - 2..],
        ["2001-02-03T04:05:06Z REQUEST create configmap/x 201 rv=3 lockgate", "2001-02-03T04:05:06Z ADDED configmap/x/a rv=3 lockgate"]
    );
}

#[test]
fn equal_inputs_give_equal_logs() {
    let run = |seed: u64| {
        let mut api = Api(Cluster::new(Options { seed, ..Options::default() }));
        api.ok(&Request::post("/api/v1/namespaces", &json!({"metadata": {"name": "x"}})));
        api.ok(&Request::post(MAPS, &json!({"metadata": {"generateName": "a-"}})));
        api.ok(&Request::post("/apis/apps/v1/namespaces/x/deployments", &deployment("d")));
        api.advance(100);
        (api.0.event_log().map(str::to_owned).collect::<Vec<_>>(), api.get(MAPS))
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1).1, run(2).1);
}
