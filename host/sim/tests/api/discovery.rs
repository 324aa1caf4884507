//! What the server says about itself, as a real one says it.
//!
//! `discovery.json` holds the aggregated documents of kube-apiserver v1.36.4 (the case `controlplane::tables_are_current` writes
//! it). What is served here must be described there in the same words; what is not served here must not be described.

use lockgate_sim::json::{Value, json};
use lockgate_sim::{Body, Request};

use crate::support::{Api, text};

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// The resources of an aggregated document, by group and version, in their order.
fn resources(document: &Value) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    for group in document["items"].as_array().unwrap() {
        for version in group["versions"].as_array().unwrap() {
            assert_eq!(version["freshness"], "Current");
            let name = format!("{}/{}", text(group["metadata"].get("name").unwrap_or(&Value::Null)), text(&version["version"]));
            found.extend(version["resources"].as_array().unwrap().iter().map(|resource| (name.clone(), resource.clone())));
        }
    }
    found
}

/// A resource of the real server without the subresources that are refused here.
fn only_served(recorded: &Value, served: &Value) -> Value {
    let mut recorded = recorded.clone();
    let names = |resource: &Value| -> Vec<String> {
        let subs = resource.get("subresources").and_then(Value::as_array);
        subs.map_or(&[][..], |subs| subs).iter().map(|sub| text(&sub["subresource"])).collect()
    };
    let known = names(served);
    if let Some(subs) = recorded.as_object_mut().unwrap().get_mut("subresources").and_then(Value::as_array_mut) {
        subs.retain(|sub| known.contains(&text(&sub["subresource"])));
        if subs.is_empty() {
            recorded.as_object_mut().unwrap().remove("subresources");
        }
    }
    recorded
}

#[test]
fn aggregated_discovery_is_that_of_a_real_server() {
    let rows: Vec<Value> = serde_json::from_str(include_str!("discovery.json")).unwrap();
    let mut api = Api::new();
    let mut compared = 0;
    for row in &rows {
        let path = text(&row["path"]);
        let answer = api.ok(&Request::get(&path).with_accept(AGGREGATED));
        for field in ["kind", "apiVersion", "metadata"] {
            assert_eq!(answer[field], row["answer"][field], "{path} {field}");
        }
        let recorded = resources(&row["answer"]);
        let mut places = Vec::new();
        for (version, resource) in resources(&answer) {
            let name = text(&resource["resource"]);
            let at = recorded.iter().position(|(v, r)| *v == version && r["resource"] == resource["resource"]);
            let at = at.unwrap_or_else(|| panic!("{version} {name} is on no real server"));
            assert_eq!(resource, only_served(&recorded[at].1, &resource), "{version} {name}");
            places.push(at);
            compared += 1;
        }
        assert!(places.is_sorted(), "{path}: the order is another one: {places:?}");
    }
    assert!(compared >= 35, "only {compared} resources");
}

#[test]
fn the_older_documents_say_the_same() {
    let mut api = Api::new();
    for (root, prefix) in [("/api", "/api"), ("/apis", "/apis")] {
        let aggregated = api.ok(&Request::get(root).with_accept(AGGREGATED));
        for (version, resource) in resources(&aggregated) {
            let list = api.get(&format!("{prefix}/{}", version.trim_start_matches('/')));
            let named = |name: &str| list["resources"].as_array().unwrap().iter().find(|r| r["name"] == name).cloned().unwrap();
            let one = named(&text(&resource["resource"]));
            assert_eq!((&one["verbs"], &one["singularName"]), (&resource["verbs"], &resource["singularResource"]));
            assert_eq!(one["namespaced"].as_bool(), Some(resource["scope"] == "Namespaced"));
            for sub in resource.get("subresources").and_then(Value::as_array).map_or(&[][..], |subs| subs) {
                let named = named(&format!("{}/{}", text(&resource["resource"]), text(&sub["subresource"])));
                assert_eq!((&named["verbs"], &named["kind"]), (&sub["verbs"], &sub["responseKind"]["kind"]));
            }
        }
    }
}

#[test]
fn forms_are_negotiated_as_on_a_real_server() {
    let mut api = Api::new();
    let kind = |api: &mut Api, path: &str, accept: &str| {
        let (status, answer) = api.send(&Request::get(path).with_accept(accept));
        (status, text(&answer["kind"]))
    };
    let found = |kind: &str| (200, kind.to_owned());
    let refused = (406, "Status".to_owned());
    let old = AGGREGATED.replace("v=v2", "v=v2beta1");
    // The order does not matter here, for the plain document is only looked at when there is no aggregated one to give.
    for accept in [AGGREGATED.to_owned(), format!("{AGGREGATED},{old},application/json"), format!("application/json,{AGGREGATED};q=0.1")] {
        assert_eq!(kind(&mut api, "/apis", &accept), found("APIGroupDiscoveryList"), "{accept}");
    }
    for accept in ["", "*/*", "application/json", &format!("{old},application/json")] {
        assert_eq!(kind(&mut api, "/apis", accept), found("APIGroupList"), "{accept}");
        assert_eq!(kind(&mut api, "/api", accept), found("APIVersions"), "{accept}");
    }
    for accept in [old.as_str(), "text/html", "application/json;as=Table;g=meta.k8s.io;v=v1"] {
        assert_eq!(kind(&mut api, "/apis", accept), refused, "{accept}");
    }
    // Only the two roots are aggregated.
    assert_eq!(kind(&mut api, "/apis/apps", AGGREGATED), refused);
    assert_eq!(kind(&mut api, "/apis/apps/v1", &format!("{AGGREGATED},application/json")), found("APIResourceList"));
    let (_, _, message) = api.fails(&Request::get("/apis").with_accept("text/html"));
    let wanted = "only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf";
    assert_eq!(message, wanted);
}

#[test]
fn a_client_that_knows_the_document_is_not_told_again() {
    let mut api = Api::new();
    let request = Request::get("/apis").with_accept(AGGREGATED);
    let header = |headers: &[(String, String)], name: &str| headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone());
    let first = api.0.handle(&request);
    let tag = header(&first.headers, "ETag").unwrap();
    assert_eq!((first.status, header(&first.headers, "Content-Type").as_deref()), (200, Some(AGGREGATED)));
    let again = api.0.handle(&Request { if_none_match: tag.clone(), ..request.clone() });
    assert_eq!((again.status, again.body, header(&again.headers, "ETag")), (304, Body::Text(String::new()), Some(tag.clone())));
    let other = api.0.handle(&Request { if_none_match: "\"0\"".into(), ..request });
    assert_eq!((other.status, other.value().unwrap()["kind"].clone()), (200, json!("APIGroupDiscoveryList")));
    let core = api.0.handle(&Request::get("/api").with_accept(AGGREGATED));
    assert_ne!(header(&core.headers, "ETag"), Some(tag));
}
