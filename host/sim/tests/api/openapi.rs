//! The OpenAPI documents: what kubectl reads of them.

use std::collections::BTreeSet;

use lockgate_sim::json::{Value, json};
use lockgate_sim::{Method, Request, kinds};

use crate::support::{Api, text};

#[test]
fn every_group_and_version_that_is_served_has_its_document() {
    let mut api = Api::new();
    let index = api.get("/openapi/v3");
    let paths: BTreeSet<&str> = index["paths"].as_object().unwrap().keys().map(|path| path.as_str()).collect();
    for kind in kinds::ALL {
        let prefix = if kind.group.is_empty() { "api" } else { "apis" };
        let path = format!("{prefix}/{}", kind.api_version());
        assert!(paths.contains(path.as_str()), "{path}");
    }
    for path in paths {
        let url = text(&index["paths"][path]["serverRelativeURL"]);
        assert!(url.starts_with(&format!("/openapi/v3/{path}?hash=")), "{url}");
        let document = api.get(&url);
        assert_eq!(document["openapi"], "3.0.0");
        let schemas = document["components"]["schemas"].as_object().unwrap();
        let mut wanted = Vec::new();
        references(&document, &mut wanted);
        for name in wanted {
            assert!(schemas.contains_key(&name), "{path}: {name}");
        }
    }
}

fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("$ref").and_then(Value::as_str).map(|path| path.rsplit('/').next().unwrap().to_owned()));
            fields.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

/// kubectl finds a type by group, version and kind, and sees from the parameters of a patch that the server checks fields itself.
#[test]
fn a_document_says_what_kubectl_asks_it() {
    let document = Api::new().get("/openapi/v3/apis/apps/v1");
    let deployment = &document["components"]["schemas"]["io.k8s.api.apps.v1.Deployment"];
    assert_eq!(deployment["x-kubernetes-group-version-kind"], json!([{"group": "apps", "kind": "Deployment", "version": "v1"}]));
    let patch = &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
    assert_eq!(patch["x-kubernetes-group-version-kind"]["kind"], "Deployment");
    let names: Vec<String> = patch["parameters"].as_array().unwrap().iter().map(|parameter| text(&parameter["name"])).collect();
    assert_eq!(names, ["dryRun", "fieldManager", "fieldValidation", "force"]);
    let containers = &document["components"]["schemas"]["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
    assert_eq!(containers["x-kubernetes-patch-merge-key"], "name");
}

#[test]
fn what_is_not_there_is_refused() {
    let mut api = Api::new();
    let send = |api: &mut Api, request: &Request| api.0.handle(request).status;
    assert_eq!(send(&mut api, &Request::get("/openapi/v3/apis/nope/v1")), 404);
    assert_eq!(send(&mut api, &Request::new(Method::Put, "/openapi/v3")), 405);
    let mut protobuf = Request::get("/openapi/v3/api/v1");
    "application/com.github.proto-openapi.spec.v3.v1.0+protobuf".clone_into(&mut protobuf.accept);
    assert_eq!(send(&mut api, &protobuf), 406);
    assert_eq!(send(&mut api, &Request::new(Method::Put, "/openapi/v2")), 405);
    assert_eq!(send(&mut api, &Request::get("/openapi/v1")), 404);
}
