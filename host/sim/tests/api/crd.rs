//! Custom resources: definitions and their objects, in the words of a real server.
//!
//! `crd.json` holds what kube-apiserver v1.36.4 answered to a sequence of requests (the case `controlplane::answers_are_current`
//! records it). Left out are times, who owns the fields, and the words of a failure with many causes, which stand in the causes.

use lockgate_sim::fixture::Fixture;
use lockgate_sim::json::{Map, Value, json};
use lockgate_sim::{Body, Cluster, Options, Request, WatchPoll};

use crate::replay;
use crate::support::{Api, MERGE, text};

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const GEARS: &str = "/apis/alpha.example/v1/namespaces/x/gears";

/// An answer without what differs by nature.
fn plain(value: &Value) -> Value {
    const VOLATILE: [&str; 8] = [
        "uid",
        "resourceVersion",
        "creationTimestamp",
        "time",
        "managedFields",
        "deletionTimestamp",
        "lastTransitionTime",
        "storageVersionHash",
    ];
    match value {
        Value::Object(fields) => {
            // Words about the columns of Kubernetes itself are not kept.
            let name = fields.get("format").and_then(Value::as_str) == Some("name");
            let kept = |field: &str| !(VOLATILE.contains(&field) || name && field == "description");
            let kept = fields.iter().filter(|(field, _)| kept(field)).map(|(field, value)| (field.clone(), plain(value)));
            Value::Object(kept.collect::<Map>())
        }
        Value::Array(items) => items.iter().map(plain).collect(),
        // The age of an object that was made a moment ago.
        Value::String(text) if text.strip_suffix('s').is_some_and(|age| age.parse::<u8>().is_ok()) => "now".into(),
        other => other.clone(),
    }
}

/// The causes of a failure in an order, and no message where it holds many of them or a whole object.
fn in_order(mut answer: Value) -> Value {
    let causes = answer.pointer_mut("/details/causes").and_then(Value::as_array_mut);
    let several = causes.is_some_and(|causes| {
        let mut sorted: Vec<Value> = causes.iter().cloned().collect();
        sorted.sort_by_key(Value::to_string);
        *causes = sorted.into();
        causes.len() > 1
    });
    let patched = answer.get("message").is_some_and(|message| text(message).starts_with(" \"\" is invalid: patch:"));
    if several || patched {
        answer["message"] = Value::Null;
        if patched {
            answer["details"] = Value::Null;
        }
    }
    answer
}

fn rows() -> Vec<Value> {
    serde_json::from_str(include_str!("crd.json")).unwrap()
}

fn decoded(text: &str) -> String {
    text.replace("%2F", "/").replace("%3D", "=")
}

/// Sends every row and gives what is answered otherwise.
fn differences(rows: &[Value]) -> Vec<String> {
    let mut api = Api(Cluster::new(Options::default()));
    api.ok(&Request::post("/api/v1/namespaces", &json!({"metadata": {"name": "crd"}})));
    let mut differ = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        let mut request = replay::request(row);
        for (_, value) in &mut request.query {
            *value = decoded(value);
        }
        request.accept = row.get("accept").map(text).unwrap_or_default();
        let response = api.0.handle(&request);
        let answer = match &response.body {
            Body::Json(value) => in_order(plain(value)),
            Body::Text(text) => text.as_str().into(),
            other => panic!("row {at}: {other:?}"),
        };
        let warnings: Value =
            response.headers.iter().filter(|(name, _)| name == "Warning").map(|(_, text)| Value::from(text.as_str())).collect();
        // A path that nobody has is answered in plain text there and with a status here.
        let nobody = row["answer"].as_str().is_some_and(|text| text.starts_with("404 page"));
        let answer = if nobody && response.status == 404 { row["answer"].clone() } else { answer };
        let here = json!({"status": response.status, "answer": answer, "warnings": warnings});
        let warnings = row.get("warnings").cloned().unwrap_or_else(|| json!([]));
        let there = json!({"status": row["status"].clone(), "answer": plain(&row["answer"]), "warnings": warnings});
        if here != there {
            let about =
                format!("row {at}: {} {} {}", text(&row["method"]), text(&row["path"]), row.get("body").map(text).unwrap_or_default());
            differ.push(format!("{about}\n  recorded: {there}\n  answered: {here}"));
        }
    }
    differ
}

#[test]
fn answers_are_those_of_a_real_server() {
    let rows = rows();
    let differ = differences(&rows);
    assert!(differ.is_empty(), "{} of {} differ:\n{}", differ.len(), rows.len(), differ.join("\n"));
    assert!(rows.len() >= 180);
}

/// Every recorded answer, altered, is noticed.
#[test]
fn the_comparison_is_not_blind() {
    let rows = rows();
    for at in [9, 15, 20, 93, 100, 150, 180] {
        for (field, other) in [("status", json!(299)), ("answer", json!({"kind": "Other"}))] {
            let mut altered = rows.clone();
            altered[at][field] = other;
            assert_eq!(differences(&altered[..=at]).len(), 1, "row {at} {field}");
        }
    }
}

/// A definition of namespaced `Gear`s with these versions; no version but `v1`, of any fields, when none is given.
fn definition(versions: Value) -> Value {
    let open = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    let one = json!([{"name": "v1", "served": true, "storage": true, "schema": open}]);
    let versions = if versions.is_null() { one } else { versions };
    json!({"metadata": {"name": "gears.alpha.example"}, "spec": {"group": "alpha.example", "scope": "Namespaced",
        "names": {"kind": "Gear", "plural": "gears", "shortNames": ["gr"]}, "versions": versions}})
}

fn gear(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "alpha.example/v1", "kind": "Gear", "metadata": {"name": name}, "spec": spec})
}

fn with_gears() -> Api {
    let mut api = Api::new();
    api.ok(&Request::post(DEFINITIONS, &definition(Value::Null)));
    api
}

#[test]
fn objects_are_watched_in_the_version_that_was_asked_for() {
    let schema =
        |fields: Value| json!({"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object", "properties": fields}}}});
    let mut api = Api::new();
    api.ok(&Request::post(
        DEFINITIONS,
        &definition(json!([
            {"name": "v1", "served": true, "storage": true, "schema": schema(json!({"a": {"type": "string"}, "b": {"type": "string"}}))},
            {"name": "v2", "served": true, "storage": false, "schema": schema(json!({"a": {"type": "string"}}))},
            {"name": "v3", "served": false, "storage": false, "schema": schema(json!({}))},
        ])),
    ));
    let old = api.watch(&format!("{GEARS}?watch=1"));
    let new = api.watch(&format!("{}?watch=1", GEARS.replace("/v1/", "/v2/")));
    api.ok(&Request::post(GEARS, &gear("g", json!({"a": "1", "b": "2"}))));
    let mut told = |id| match api.0.poll_watch(id) {
        WatchPoll::Event(event) => (text(&event["type"]), text(&event["object"]["apiVersion"]), event["object"]["spec"].clone()),
        other => panic!("{other:?}"),
    };
    assert_eq!(told(old), ("ADDED".into(), "alpha.example/v1".into(), json!({"a": "1", "b": "2"})));
    assert_eq!(told(new), ("ADDED".into(), "alpha.example/v2".into(), json!({"a": "1"})));
    assert_eq!(api.send(&Request::get(&GEARS.replace("/v1/", "/v3/"))).0, 404);
}

#[test]
fn a_fork_has_its_own_definitions() {
    let mut api = with_gears();
    let mut fork = Api(api.0.fork());
    fork.ok(&Request::delete(&format!("{DEFINITIONS}/gears.alpha.example")));
    assert_eq!(fork.send(&Request::get(GEARS)).0, 404);
    api.ok(&Request::post(GEARS, &gear("g", json!({}))));
    assert_eq!(api.get(GEARS)["items"].as_array().unwrap().len(), 1);
    assert_eq!(api.get("/apis/alpha.example/v1")["resources"][0]["shortNames"], json!(["gr"]));
    assert_eq!(fork.send(&Request::get("/apis/alpha.example/v1")).0, 404);
}

#[test]
fn objects_go_with_their_namespace_and_with_their_owner() {
    let mut api = with_gears();
    let owner = api.ok(&Request::post(GEARS, &gear("owner", json!({}))));
    let owned = json!({"metadata": {"name": "m", "ownerReferences": [{"apiVersion": "alpha.example/v1", "kind": "Gear", "name": "owner",
        "uid": owner["metadata"]["uid"].clone()}]}});
    api.ok(&Request::post("/api/v1/namespaces/x/configmaps", &owned));
    api.ok(&Request::delete(&format!("{GEARS}/owner")));
    assert!(api.gone("/api/v1/namespaces/x/configmaps/m"));
    let mut held = gear("held", json!({}));
    held["metadata"]["finalizers"] = json!(["x.example/f"]);
    api.ok(&Request::post(GEARS, &held));
    api.ok(&Request::delete("/api/v1/namespaces/x"));
    assert_eq!(api.get("/api/v1/namespaces/x")["status"]["phase"], "Terminating");
    api.patch(&format!("{GEARS}/held"), &json!({"metadata": {"finalizers": null}}));
    assert!(api.gone("/api/v1/namespaces/x"));
}

#[test]
fn a_kind_may_have_the_name_of_another_group() {
    let mut api = Api::new();
    let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    for (kind, plural) in [("NetworkPolicy", "networkpolicies"), ("Service", "services"), ("Deployment", "deployments")] {
        api.ok(&Request::post(
            DEFINITIONS,
            &json!({"metadata": {"name": format!("{plural}.other.example")}, "spec": {
            "group": "other.example", "scope": "Namespaced", "names": {"kind": kind, "plural": plural},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": schema}]}}),
        ));
        let path = format!("/apis/other.example/v1/namespaces/x/{plural}");
        let object = json!({"apiVersion": "other.example/v1", "kind": kind, "metadata": {"name": "a.b"}, "spec": {"selector": "all()"}});
        let made = api.ok(&Request::post(&path, &object));
        assert_eq!((&made["spec"], made.get("status")), (&json!({"selector": "all()"}), None), "{kind}");
    }
    assert!(api.gone("/apis/apps/v1/namespaces/x/deployments/a.b"));
}

#[test]
fn what_is_not_modelled_is_refused_or_told() {
    let mut api = Api::new();
    let mut hooked = definition(Value::Null);
    hooked["spec"]["conversion"] = json!({"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v1"],
        "clientConfig": {"url": "https://x.example/c"}}});
    let (code, _, message) = api.fails(&Request::post(DEFINITIONS, &hooked));
    assert_eq!((code, message.as_str()), (501, "simulator: not modelled: conversion webhooks of custom resources"));
    let mut ruled = definition(Value::Null);
    ruled["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["x-kubernetes-validations"] = json!([{"rule": "self.spec.a < 3"}]);
    let response = api.0.handle(&Request::post(DEFINITIONS, &ruled));
    let warning = response.headers.iter().find(|(name, _)| name == "Warning").map(|(_, text)| text.as_str());
    assert_eq!(response.status, 201);
    assert_eq!(warning, Some(r#"299 - "simulator: not modelled: x-kubernetes-validations are not evaluated""#));
    let template = json!({"spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "a:v1"}]}}}});
    let cron = json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "nightly"},
        "spec": {"schedule": "0 3 * * *", "jobTemplate": template}});
    api.ok(&Request::post("/api/v1/namespaces", &json!({"metadata": {"name": "default"}})));
    let response = api.0.handle(&Request::post("/apis/batch/v1/namespaces/default/cronjobs", &cron));
    let warning = response.headers.iter().find(|(name, _)| name == "Warning").map(|(_, text)| text.as_str());
    assert_eq!(response.status, 201);
    assert_eq!(warning, Some(r#"299 - "simulator: not modelled: a CronJob starts no Job here""#));
    let ingress = json!({"metadata": {"name": "i"}, "spec": {"defaultBackend": {"service": {"name": "s", "port": {"number": 80}}}}});
    let made = Request::post("/apis/networking.k8s.io/v1/namespaces/default/ingresses", &ingress);
    let warned = |api: &mut Api| {
        let response = api.0.handle(&made);
        assert_eq!(response.status, 201);
        response.headers.iter().any(|(name, text)| name == "Warning" && text.contains("an Ingress gets no address here"))
    };
    assert!(warned(&mut api));
    // Where a model plays its controller nobody is warned.
    let model = "apiVersion: lockgate.dev/v1\nkind: Model\nobjects:\n- {kind: Ingress, status: {loadBalancer: {}}, why: a test}\n";
    let mut played = Api(Fixture::parse("c.yaml", model).unwrap().cluster(Options::default()).unwrap());
    assert!(!warned(&mut played));
}

/// What was wrong before a schema became stricter is nobody's fault who changes something else.
#[test]
fn what_is_unchanged_is_not_refused() {
    let schema = |least: u64| {
        let text = json!({"type": "string", "minLength": least});
        let part = json!({"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}, "note": text.clone()}});
        let parts = json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"], "items": part});
        let spec = json!({"type": "object", "properties": {"a": text.clone(), "b": text, "parts": parts}});
        let schema = json!({"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}});
        definition(json!([{"name": "v1", "served": true, "storage": true, "schema": schema}]))
    };
    let mut api = Api::new();
    api.ok(&Request::post(DEFINITIONS, &schema(0)));
    let parts = json!([{"name": "one", "note": "x"}, {"name": "two", "note": "y"}]);
    api.ok(&Request::post(GEARS, &gear("g", json!({"a": "x", "b": "y", "parts": parts}))));
    let change = |spec: Value| Request::patch(&format!("{GEARS}/g"), MERGE, &spec);
    let defined = api.get(&format!("{DEFINITIONS}/gears.alpha.example"));
    let mut stricter = schema(3);
    stricter["metadata"]["resourceVersion"] = defined["metadata"]["resourceVersion"].clone();
    api.ok(&Request::put(&format!("{DEFINITIONS}/gears.alpha.example"), &stricter));
    api.ok(&change(json!({"metadata": {"labels": {"l": "1"}}})));
    api.ok(&change(json!({"spec": {"a": "long enough"}})));
    let parts = json!([{"name": "two", "note": "y"}, {"name": "one", "note": "long enough"}]);
    api.ok(&change(json!({"spec": {"parts": parts}})));
    for wrong in [json!({"b": "z"}), json!({"parts": [{"name": "two", "note": "z"}]}), json!({"parts": [{"name": "new", "note": "y"}]})] {
        let (code, ..) = api.fails(&change(json!({"spec": wrong})));
        assert_eq!(code, 422, "{wrong}");
    }
    let (code, ..) = api.fails(&Request::post(GEARS, &gear("h", json!({"a": "x"}))));
    assert_eq!(code, 422);
}

/// Go has nothing in a field of a custom resource that is not there, whatever the schema requires.
#[test]
fn required_fields_have_their_owner() {
    let part =
        json!({"type": "object", "required": ["size", "on"], "properties": {"size": {"type": "integer"}, "on": {"type": "boolean"}}});
    let spec = json!({"type": "object", "required": ["part"], "properties": {"part": part}});
    let schema = json!({"openAPIV3Schema": {"type": "object", "required": ["spec"], "properties": {"spec": spec}}});
    let mut api = Api::new();
    api.ok(&Request::post(DEFINITIONS, &definition(json!([{"name": "v1", "served": true, "storage": true, "schema": schema}]))));
    let made = api.ok(&Request::post(GEARS, &gear("g", json!({"part": {"size": 0, "on": false}}))));
    let owned = json!({"f:spec": {".": {}, "f:part": {".": {}, "f:size": {}, "f:on": {}}}});
    assert_eq!(made["metadata"]["managedFields"][0]["fieldsV1"], owned);
}

#[test]
fn what_is_in_no_definition_is_on_no_page() {
    let mut api = with_gears();
    for path in ["/apis/alpha.example/v1/cogs", "/apis/alpha.example/v9/namespaces/x/gears"] {
        let answer = api.0.handle(&Request::get(path));
        assert_eq!((answer.status, answer.body), (404, Body::Text("404 page not found\n".to_owned())), "{path}");
    }
    let (code, _, message) = api.fails(&Request::get("/apis/apps/v1/cogs"));
    assert_eq!((code, message.as_str()), (404, "the server could not find the requested resource"));
    let wanted = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
    let answer = api.0.handle(&Request::get("/openapi/v2").with_accept(wanted));
    assert_eq!((answer.status, answer.body), (200, Body::Text(String::new())));
    assert_eq!(api.get("/openapi/v2")["swagger"], "2.0");
    let both = json!({"propagationPolicy": "Foreground", "orphanDependents": true});
    api.ok(&Request::post(GEARS, &gear("g", json!({}))));
    let (code, _, message) = api.fails(&Request::delete(&format!("{GEARS}/g")).with_body("application/json", &both));
    assert_eq!(code, 422, "{message}");
    assert!(message.contains("cannot be both set"), "{message}");
}

#[test]
fn definitions_in_conflict_wait_for_the_name() {
    let mut api = with_gears();
    let mut other = definition(Value::Null);
    other["metadata"]["name"] = "cogs.alpha.example".into();
    other["spec"]["names"] = json!({"kind": "Gear", "plural": "cogs", "singular": "cog"});
    api.ok(&Request::post(DEFINITIONS, &other));
    let established = |api: &mut Api| {
        let cogs = api.get(&format!("{DEFINITIONS}/cogs.alpha.example"));
        let condition = cogs["status"]["conditions"].as_array().unwrap().iter().find(|c| c["type"] == "Established").cloned();
        text(&condition.unwrap()["status"])
    };
    assert_eq!(established(&mut api), "False");
    api.ok(&Request::delete(&format!("{DEFINITIONS}/gears.alpha.example")));
    assert_eq!(established(&mut api), "True");
    api.ok(&Request::get("/apis/alpha.example/v1/cogs"));
}

#[test]
fn the_scale_of_an_object_is_where_its_definition_says() {
    let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    let scale = json!({"scale": {"specReplicasPath": ".spec.size.wanted", "statusReplicasPath": ".status.found"}, "status": {}});
    let mut api = Api::new();
    api.ok(&Request::post(
        DEFINITIONS,
        &definition(json!([
        {"name": "v1", "served": true, "storage": true, "schema": schema, "subresources": scale}])),
    ));
    api.ok(&Request::post(GEARS, &gear("g", json!({"size": {"wanted": 2}}))));
    api.ok(&Request::patch(&format!("{GEARS}/g/status"), MERGE, &json!({"status": {"found": 1}})));
    let scale = api.get(&format!("{GEARS}/g/scale"));
    assert_eq!((&scale["spec"], &scale["status"]), (&json!({"replicas": 2}), &json!({"replicas": 1})));
    api.patch(&format!("{GEARS}/g/scale"), &json!({"spec": {"replicas": 5}}));
    let gear = api.get(&format!("{GEARS}/g"));
    assert_eq!(
        (&gear["spec"], &gear["status"], &gear["metadata"]["generation"]),
        (&json!({"size": {"wanted": 5}}), &json!({"found": 1}), &json!(2))
    );
}

#[test]
fn documents_describe_custom_resources() {
    let mut api = Api::new();
    let schema =
        json!({"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object", "properties": {"a": {"type": "string"}}}}}});
    let before = api.get("/openapi/v3")["paths"].clone();
    api.ok(&Request::post(DEFINITIONS, &definition(json!([{"name": "v1", "served": true, "storage": true, "schema": schema}]))));
    assert!(before.get("apis/alpha.example/v1").is_none());
    let url = text(&api.get("/openapi/v3")["paths"]["apis/alpha.example/v1"]["serverRelativeURL"]);
    let document = api.get(&url);
    let gear = &document["components"]["schemas"]["example.alpha.v1.Gear"];
    assert_eq!(gear["properties"]["spec"]["properties"]["a"]["type"], "string");
    assert_eq!(gear["x-kubernetes-group-version-kind"], json!([{"group": "alpha.example", "version": "v1", "kind": "Gear"}]));
    assert!(document["components"]["schemas"]["io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"].is_object());
    assert!(document["paths"]["/apis/alpha.example/v1/namespaces/{namespace}/gears/{name}"]["patch"].is_object());
    api.ok(&Request::delete(&format!("{DEFINITIONS}/gears.alpha.example")));
    assert_eq!(api.get("/openapi/v3")["paths"], before);
}

#[test]
fn fixtures_hold_definitions_and_their_objects_in_any_order() {
    let gear = "apiVersion: alpha.example/v1\nkind: Gear\nmetadata: { name: g, namespace: x }\nspec: { a: A, typo: 1 }\n";
    let schema =
        "{ type: object, properties: { spec: { type: object, properties: { a: { type: string }, b: { type: string, default: B } } } } }";
    let definition = format!(
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {{ name: gears.alpha.example }}\nspec:\n  \
         group: alpha.example\n  scope: Namespaced\n  names: {{ kind: Gear, plural: gears }}\n  versions:\n  \
         - {{ name: v1, served: true, storage: true, schema: {{ openAPIV3Schema: {schema} }} }}\n"
    );
    for text in [format!("{definition}---\n{gear}"), format!("{gear}---\n{definition}")] {
        let fixture = Fixture::parse("gears.yaml", &text).unwrap();
        let mut api = Api(fixture.cluster(Options::default()).unwrap());
        assert_eq!(api.get(&format!("{GEARS}/g"))["spec"], json!({"a": "A", "b": "B"}));
    }
    let wrong = gear.replace("a: A", "a: 1");
    let error = Fixture::parse("gears.yaml", &format!("{definition}---\n{wrong}")).unwrap().cluster(Options::default()).unwrap_err();
    assert!(error.to_string().contains("spec.a in body must be of type string"), "{error}");
    assert!(Fixture::parse("gears.yaml", gear).unwrap_err().to_string().contains("unknown kind `Gear`"));
}

#[test]
fn discovery_lists_custom_resources_as_a_real_server_does() {
    let mut api = with_gears();
    let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let groups = api.ok(&Request::get("/apis").with_accept(accept))["items"].as_array().unwrap().clone();
    let last = groups.iter().last().unwrap();
    assert_eq!(last["metadata"]["name"], "alpha.example");
    let resource = &last["versions"][0]["resources"][0];
    // Unlike of a kind of Kubernetes itself, the group and version are told, and the verbs stand in another order.
    assert_eq!(resource["responseKind"], json!({"group": "alpha.example", "version": "v1", "kind": "Gear"}));
    assert_eq!(resource["verbs"], json!(["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"]));
    assert_eq!(resource["shortNames"], json!(["gr"]));
}

#[test]
fn definitions_of_a_fixture_may_have_any_shape() {
    let odd = ["'any'", "true", "7", "[1]", "{}", "null", "{type: 7, properties: []}", "{type: object, properties: {spec: nothing}}"];
    for schema in odd {
        for whole in [format!("{{openAPIV3Schema: {schema}}}"), schema.to_owned()] {
            let text = format!(
                "{{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {{name: gears.alpha.example}}, spec: {{\
                 group: alpha.example, scope: Namespaced, names: {{kind: Gear, plural: gears}}, versions: [{{name: v1, served: true, \
                 storage: true, schema: {whole}, subresources: {whole}, additionalPrinterColumns: {whole}}}]}}}}\n---\n\
                 {{apiVersion: alpha.example/v1, kind: Gear, metadata: {{name: a, namespace: x}}, spec: {{teeth: 3}}}}\n"
            );
            let Ok(fixture) = Fixture::parse("odd.yaml", &text) else { continue };
            let Ok(mut cluster) = fixture.cluster(Options::default()) else { continue };
            let gear = json!({"apiVersion": "alpha.example/v1", "kind": "Gear", "metadata": {"name": "b"}, "spec": {"teeth": "many"}});
            for request in [
                Request::get("/openapi/v3/apis/alpha.example/v1"),
                Request::get("/apis/alpha.example/v1"),
                Request::get(GEARS),
                Request::post(GEARS, &gear),
                Request::patch(&format!("{GEARS}/a"), MERGE, &json!({"spec": 7, "status": []})),
                Request::patch(&format!("{GEARS}/a/status"), MERGE, &json!({"status": {"phase": "Turns"}})),
                Request::get(&format!("{GEARS}/a/scale")),
                Request::delete(&format!("{GEARS}/a")),
            ] {
                let answer = cluster.handle(&request);
                assert!((200..=599).contains(&answer.status), "{schema}: {request:?}");
            }
        }
    }
}

#[test]
fn a_definition_that_was_born_in_v1beta1_stays_as_it_is_until_it_has_defaults() {
    let definition = r#"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: cogs.old.example}
spec:
  group: old.example
  scope: Cluster
  preserveUnknownFields: true
  names: {kind: Cog, plural: cogs}
  versions: [{name: v1, served: true, storage: true}]
---
{apiVersion: old.example/v1, kind: Cog, metadata: {name: one}, spec: {teeth: 3, unknown: {deep: true}}}
"#;
    let mut api = Api(Fixture::parse("cluster.yaml", definition).unwrap().cluster(Options::default()).unwrap());
    let path = format!("{DEFINITIONS}/cogs.old.example");
    let cog = "/apis/old.example/v1/cogs/one";
    assert_eq!(api.get(&path)["spec"]["preserveUnknownFields"], true);
    api.ok(&Request::patch(&path, MERGE, &json!({"metadata": {"labels": {"a": "b"}}})));
    let schema = |default: Option<i64>| {
        let mut teeth = json!({"type": "integer"});
        if let Some(default) = default {
            teeth["default"] = default.into();
        }
        let spec = json!({"type": "object", "properties": {"teeth": {"type": "integer"}, "rim": teeth}});
        let schema = json!({"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}});
        json!([{"name": "v1", "served": true, "storage": true, "schema": schema}])
    };
    api.ok(&Request::patch(&path, MERGE, &json!({"spec": {"versions": schema(None)}})));
    api.ok(&Request::patch(cog, MERGE, &json!({"spec": {"teeth": 4}})));
    assert_eq!(api.get(cog)["spec"], json!({"teeth": 4, "unknown": {"deep": true}}), "nothing is pruned");

    let refused = api.send(&Request::patch(&path, MERGE, &json!({"spec": {"versions": schema(Some(7))}})));
    assert_eq!(refused.0, 422);
    let message = text(&refused.1["message"]);
    assert!(
        message.contains("spec.preserveUnknownFields: Invalid value: true: must be false in order to use defaults in the schema"),
        "{message}"
    );
    api.ok(&Request::patch(&path, MERGE, &json!({"spec": {"preserveUnknownFields": false, "versions": schema(Some(7))}})));
    assert_eq!(api.get(cog)["spec"], json!({"teeth": 4, "rim": 7}));
    let back = api.send(&Request::patch(&path, MERGE, &json!({"spec": {"preserveUnknownFields": true}})));
    assert!(text(&back.1["message"]).contains("cannot set to true"), "{}", back.1);
}
