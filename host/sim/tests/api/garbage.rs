//! Whatever a request carries, the answer is a `Status` or a result, never a panic.

use lockgate_sim::json::{Value, json};
use lockgate_sim::{Body, Method, Request};
use proptest::prelude::*;

use crate::support::{Api, DEPLOYMENTS, JSON_PATCH, MAPS, MERGE, PODS, STRATEGIC, deployment};

fn value() -> impl Strategy<Value = Value> {
    let word = prop_oneof![
        Just("name"),
        Just("metadata"),
        Just("spec"),
        Just("containers"),
        Just("$patch"),
        Just("delete"),
        Just("labels"),
        Just("$setElementOrder/containers"),
        Just("replicas"),
        Just("template"),
        Just("selector"),
        Just("ports"),
        Just(""),
        Just("ü"),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((word.clone(), inner), 0..5)
                .prop_map(|fields| Value::Object(fields.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())),
        ]
    })
}

/// A well-formed Deployment with one field replaced by something else.
fn bent() -> impl Strategy<Value = Value> {
    let places = [
        "/metadata",
        "/metadata/name",
        "/metadata/labels",
        "/metadata/ownerReferences",
        "/metadata/finalizers",
        "/spec",
        "/spec/replicas",
        "/spec/selector",
        "/spec/template",
        "/spec/template/spec",
        "/spec/template/spec/containers",
        "/spec/template/spec/containers/0",
        "/spec/template/spec/containers/0/ports",
        "/spec/strategy",
        "/spec/strategy/rollingUpdate",
        "/spec/template/spec/containers/0/resources",
        "/spec/template/spec/tolerations",
        "/spec/template/spec/affinity",
        "/status",
    ];
    (prop::sample::select(places.to_vec()), value()).prop_map(|(place, value)| {
        let mut object = deployment("d");
        object["spec"]["strategy"] = json!({"rollingUpdate": {}});
        let (parent, last) = place.rsplit_once('/').unwrap();
        match object.pointer_mut(parent) {
            Some(Value::Object(map)) => {
                map.insert(last.to_owned(), value);
            }
            Some(Value::Array(list)) => list[0] = value,
            _ => {}
        }
        object
    })
}

fn answered(api: &mut Api, request: &Request) {
    let response = api.0.handle(request);
    match &response.body {
        Body::Json(value) if response.status >= 400 => assert_eq!(value["kind"], "Status", "{value}"),
        Body::Text(text) if response.status == 404 => assert_eq!(text, crate::support::NOWHERE),
        Body::Json(_) | Body::Text(_) | Body::Watch(_) | Body::Log(_) => assert!((200..300).contains(&response.status)),
        Body::Exec(_) => panic!("a stream without asking to upgrade"),
    }
    assert_eq!(api.0.failure(), None, "{} {} {}", request.method.as_str(), request.path, String::from_utf8_lossy(&request.body));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn bytes(bytes in prop::collection::vec(any::<u8>(), 0..80), method in 0..5_usize, path in "(/[a-z0-9.%]{0,9}){0,7}", query in "[a-zA-Z=&0-9!,()]{0,30}") {
        let mut api = Api::new();
        let methods = [Method::Get, Method::Post, Method::Put, Method::Patch, Method::Delete];
        for path in [path.as_str(), MAPS, PODS, "/api/v1/namespaces/x/pods/p", "/apis/apps/v1/namespaces/x/deployments/d/scale"] {
            let mut request = Request::new(methods[method], &format!("{path}?{query}"));
            request.body.clone_from(&bytes);
            request.content_type = if method == 3 { MERGE.into() } else { String::new() };
            answered(&mut api, &request);
        }
    }

    #[test]
    fn options(name in prop_oneof![Just("labelSelector"), Just("fieldSelector"), Just("continue"), Just("resourceVersion"), Just("limit"),
            Just("resourceVersionMatch"), Just("timeoutSeconds"), Just("dryRun"), Just("gracePeriodSeconds"), Just("sendInitialEvents")],
            text in "\\PC{0,12}|[a-z!=,() ]{0,12}|-?[0-9]{0,22}", watch: bool) {
        let mut api = Api::new();
        answered(&mut api, &Request::get(MAPS).with_query(name, &text).with_query("watch", if watch { "true" } else { "false" }));
        answered(&mut api, &Request::delete(MAPS).with_query(name, &text));
    }

    #[test]
    fn objects(object in value(), bent in bent(), spec in value()) {
        let mut api = Api::new();
        api.ok(&Request::post(DEPLOYMENTS, &deployment("d")));
        let path = format!("{DEPLOYMENTS}/d");
        let named = json!({"metadata": {"name": "n"}, "spec": spec, "data": spec, "status": spec, "subsets": spec, "ports": spec});
        for kind in lockgate_sim::kinds::ALL {
            let group = if kind.group.is_empty() { "/api".to_owned() } else { format!("/apis/{}", kind.group) };
            let namespace = if kind.namespaced { "/namespaces/x" } else { "" };
            answered(&mut api, &Request::post(&format!("{group}/{}{namespace}/{}", kind.version, kind.plural), &named));
        }
        answered(&mut api, &Request::post(DEPLOYMENTS, &object));
        answered(&mut api, &Request::put(&path, &bent));
        answered(&mut api, &Request::put(&format!("{path}/status"), &bent));
        answered(&mut api, &Request::put(&format!("{path}/scale"), &bent));
        for content in [MERGE, STRATEGIC, JSON_PATCH] {
            answered(&mut api, &Request::patch(&path, content, &object));
            answered(&mut api, &Request::patch(&path, content, &bent));
            answered(&mut api, &Request::patch(&format!("{path}/scale"), content, &object));
        }
        answered(&mut api, &Request::delete(&path).with_body("application/json", &object));
        api.advance(700);
    }
}

#[test]
fn depth() {
    let mut api = Api::new();
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let mut request = Request::new(Method::Post, MAPS);
        request.body = format!("{}1{}", open.repeat(100_000), close.repeat(100_000)).into_bytes();
        assert_eq!(api.fails(&request).0, 400);
    }
}
