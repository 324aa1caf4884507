//! apply.

use lockgate::base::{Kind, Reason};
use lockgate::cluster::Verb;
use lockgate::primitives::{Done, Inverse};
use lockgate_sim::faults::{Action, Failure, Match, Rule};
use lockgate_sim::json::{Value, json};
use lockgate_sim::request::Request;

use super::support::Rig;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const CRD: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

fn map(name: &str, data: Value) -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": data })
}

fn definition(group: &str) -> Value {
    json!({ "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": { "name": format!("windows.{group}") },
        "spec": { "group": group, "scope": "Namespaced",
                  "names": { "plural": "windows", "singular": "window", "kind": "Window" },
                  "versions": [{ "name": "v1", "served": true, "storage": true, "schema": { "openAPIV3Schema": {
                      "type": "object", "properties": { "spec": { "type": "object", "properties": { "open": { "type": "boolean" } } } } } } }] } })
}

fn window(group: &str, open: Value) -> Value {
    json!({ "apiVersion": format!("{group}/v1"), "kind": "Window", "metadata": { "name": "w" }, "spec": { "open": open } })
}

fn actions(value: &Value) -> Vec<String> {
    let rows = value["objects"].as_array().unwrap();
    rows.iter().map(|row| format!("{} {}", row["action"].as_str().unwrap(), row["object"].as_str().unwrap())).collect()
}

fn applied(rig: &Rig, objects: Value) -> Done {
    rig.call("apply", json!([objects]), json!({})).unwrap()
}

/// A manifest as `kubectl apply` sends it: the object with the annotation, under its manager.
fn client_side(rig: &Rig, object: &Value) {
    let mut object = object.clone();
    object["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"] = format!("{object}\n").into();
    rig.sim(|sim| {
        let request = Request::post(MAPS, &object).with_query("fieldManager", "kubectl-client-side-apply");
        assert_eq!(sim.handle(&request).status, 201);
    });
}

#[test]
fn what_is_missing_is_created_and_the_second_time_nothing_is_sent() {
    let rig = Rig::new();
    let done = applied(&rig, json!([map("a", json!({ "x": "1" })), map("b", json!({ "y": "2" }))]));
    let value = done.value.clone().into_json();
    assert_eq!(
        (actions(&value), &value["changed"]),
        (vec!["created configmap/default/a".into(), "created configmap/default/b".into()], &json!(true))
    );
    assert_eq!((done.wrote.len(), rig.operator.told.borrow().len()), (2, 2));
    let (a, b) = (rig.object("configmap/a"), rig.object("configmap/b"));
    assert_eq!(a["metadata"]["managedFields"][0]["manager"], "lockgate");
    assert_eq!(a["metadata"]["managedFields"][0]["operation"], "Apply");
    let writes = rig.writes();
    let again = applied(&rig, json!([map("a", json!({ "x": "1" })), map("b", json!({ "y": "2" }))]));
    let value = again.value.into_json();
    assert_eq!(
        (actions(&value), &value["changed"]),
        (vec!["unchanged configmap/default/a".into(), "unchanged configmap/default/b".into()], &json!(false))
    );
    assert_eq!((again.wrote.len(), rig.writes()), (0, writes));
    assert_eq!((rig.object("configmap/a"), rig.object("configmap/b")), (a, b), "the versions too");
}

#[test]
fn what_differs_is_changed_and_what_is_left_out_goes() {
    let rig = Rig::new();
    applied(&rig, map("a", json!({ "x": "1", "y": "2" })));
    let done = applied(&rig, map("a", json!({ "x": "3" })));
    assert_eq!(rig.object("configmap/a")["data"], json!({ "x": "3" }));
    let value = done.value.clone().into_json();
    assert_eq!(
        value["objects"][0]["changes"],
        json!([{ "path": "data.x", "before": "1", "after": "3" }, { "path": "data.y", "before": "2" }])
    );
    assert_eq!(done.wrote[0].verb, "apply");
    rig.undo(&done);
    assert_eq!(rig.object("configmap/a")["data"], json!({ "x": "1", "y": "2" }));
}

#[test]
fn a_definition_and_an_object_of_it_are_applied_in_one_call_in_any_order() {
    let rig = Rig::new();
    let done = applied(&rig, json!([window("example.com", json!(true)), definition("example.com")]));
    assert_eq!(actions(&done.value.into_json()), ["created customresourcedefinition/windows.example.com", "created window/default/w"]);
    assert_eq!(rig.object("window.example.com/w")["spec"]["open"], true);
    assert!(matches!(&done.wrote[0].inverse, Inverse::Irreversible(why) if why.contains("all objects of its kind")));
    let again = applied(&rig, json!([window("example.com", json!(true)), definition("example.com")]));
    assert_eq!(again.wrote, []);
}

#[test]
fn a_namespace_comes_before_what_is_in_it() {
    let rig = Rig::new();
    let mut inside = map("a", json!({}));
    inside["metadata"]["namespace"] = "new".into();
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "new" } });
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": [inside.clone(), namespace] });
    let done = applied(&rig, list);
    assert_eq!(actions(&done.value.into_json()), ["created namespace/new", "created configmap/new/a"]);
    // Without it the call is refused, and nothing is written.
    inside["metadata"]["namespace"] = "missing".into();
    let writes = rig.writes();
    let error = rig.error("apply", json!([[map("b", json!({})), inside]]), json!({}));
    assert_eq!(error.reason, Reason::NotFound, "{error}");
    assert_eq!(rig.writes(), writes);
}

#[test]
fn what_kubectl_applied_is_taken_over_and_fields_that_are_gone_go() {
    let rig = Rig::new();
    client_side(&rig, &map("a", json!({ "x": "1", "old": "yes" })));
    let done = applied(&rig, map("a", json!({ "x": "2" })));
    let object = rig.object("configmap/a");
    assert_eq!(object["data"], json!({ "x": "2" }), "a field of kubectl's that is no longer said");
    let managers: Vec<&str> =
        object["metadata"]["managedFields"].as_array().unwrap().iter().map(|entry| entry["manager"].as_str().unwrap()).collect();
    assert_eq!(managers, ["lockgate"]);
    let remembered = object["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"].as_str().unwrap();
    assert!(remembered.contains(r#""x":"2""#) && !remembered.contains("old"), "{remembered}");
    assert_eq!(done.wrote.len(), 1);
    let again = applied(&rig, map("a", json!({ "x": "2" })));
    assert_eq!(again.wrote, []);
}

#[test]
fn a_field_of_somebody_else_is_a_conflict_before_anything_is_written() {
    let rig = Rig::new();
    applied(&rig, map("a", json!({ "x": "1", "y": "1" })));
    rig.sim(|sim| {
        let edit = json!({ "data": { "x": "theirs", "y": "also" } });
        let request =
            Request::patch(&format!("{MAPS}/a"), "application/merge-patch+json", &edit).with_query("fieldManager", "kubectl-edit");
        assert_eq!(sim.handle(&request).status, 200);
    });
    let writes = rig.writes();
    let objects = json!([map("0", json!({})), map("a", json!({ "x": "2", "y": "1" }))]);
    let error = rig.error("apply", json!([objects.clone()]), json!({}));
    assert_eq!((error.kind, error.reason), (Kind::Cluster, Reason::Conflict));
    assert_eq!(error.message, "applying `configmap/a`: 2 fields belong to others");
    assert_eq!(error.causes[0], r#"`data.x` belongs to `kubectl-edit`, which has it at "theirs" and not at "2""#);
    assert_eq!(error.details["fields"][1], json!({ "field": "data.y", "owner": "kubectl-edit", "live": "also", "wanted": "1" }));
    assert_eq!(error.hint.as_deref(), Some("leave these fields out, or take them over with `force_conflicts = true`"));
    assert_eq!((rig.writes(), rig.value("exists", json!(["configmap/0"]), json!({}))), (writes, json!(false)));
    rig.call("apply", json!([objects]), json!({ "force_conflicts": true })).unwrap();
    let object = rig.object("configmap/a");
    assert_eq!(object["data"], json!({ "x": "2", "y": "1" }));
    let owners: Vec<&Value> =
        object["metadata"]["managedFields"].as_array().unwrap().iter().filter(|entry| entry["fieldsV1"].get("f:data").is_some()).collect();
    assert_eq!((owners.len(), &owners[0]["manager"]), (1, &json!("lockgate")));
}

#[test]
fn what_another_verb_wrote_is_no_conflict_of_our_own() {
    let rig = Rig::new();
    applied(&rig, map("a", json!({ "x": "1" })));
    rig.call("label", json!(["configmap/a", { "seen": "yes" }]), json!({})).unwrap();
    let done = applied(&rig, map("a", json!({ "x": "2" })));
    assert_eq!(done.wrote.len(), 1);
    let object = rig.object("configmap/a");
    assert_eq!((&object["data"]["x"], &object["metadata"]["labels"]["seen"]), (&json!("2"), &json!("yes")));
}

#[test]
fn somebody_who_writes_in_between_is_seen() {
    let rig = Rig::new();
    applied(&rig, map("a", json!({ "x": "1" })));
    rig.sim(|sim| {
        let when = Match { verb: Some("patch".into()), kind: Some("ConfigMap".into()), nth: Some(2), ..Match::default() };
        sim.add_fault(Rule { when, action: Action::Conflict });
    });
    let done = applied(&rig, map("a", json!({ "x": "2" })));
    assert_eq!((done.wrote.len(), rig.sim(|sim| sim.faults().fired())), (1, vec![1]));
    assert_eq!(rig.object("configmap/a")["data"]["x"], "2");
}

#[test]
fn a_webhook_that_takes_no_dry_run_does_not_stop_it() {
    let rig = Rig::new();
    applied(&rig, map("a", json!({ "x": "1" })));
    rig.sim(|sim| {
        let message = "admission webhook \"old.example.com\" does not support dry run".to_owned();
        let failure = Failure { code: 400, reason: None, message: Some(message), retry_after: None, causes: Vec::new() };
        let when = Match { verb: Some("patch".into()), kind: Some("ConfigMap".into()), nth: Some(1), ..Match::default() };
        sim.add_fault(Rule { when, action: Action::Fail(failure) });
    });
    let done = applied(&rig, map("a", json!({ "x": "2" })));
    assert_eq!((done.wrote.len(), rig.sim(|sim| sim.faults().fired())), (1, vec![1]));
    assert_eq!(rig.object("configmap/a")["data"]["x"], "2");
}

#[test]
fn unknown_and_immutable_fields_are_named() {
    let rig = Rig::new();
    let mut wrong = map("a", json!({}));
    wrong["dta"] = json!({ "x": "1" });
    let error = rig.error("apply", json!([[map("0", json!({})), wrong]]), json!({}));
    assert_eq!(error.reason, Reason::Invalid, "{error}");
    assert!(error.to_string().contains("dta"), "{error}");
    assert_eq!(rig.value("exists", json!(["configmap/0"]), json!({})), false, "found before anything was written");
    let mut fixed = map("a", json!({ "x": "1" }));
    fixed["immutable"] = true.into();
    applied(&rig, fixed.clone());
    fixed["data"]["x"] = "2".into();
    let error = rig.error("apply", json!([fixed]), json!({}));
    assert_eq!(error.reason, Reason::Invalid, "{error}");
    assert!(error.hint.as_deref().is_some_and(|hint| hint.contains("delete the object and apply it again")), "{error:?}");
}

#[test]
fn bad_lists_are_refused_before_anything_is_contacted() {
    let rig = Rig::new();
    let mut generated = map("", json!({}));
    generated["metadata"] = json!({ "generateName": "a-" });
    for (objects, says) in [
        (json!([]), "has no objects"),
        (json!([map("a", json!({})), { "kind": "ConfigMap" }]), "has a wrong object 2: it must be an object"),
        (json!([map("a", json!({})), map("a", json!({}))]), "`configmap/a` is there twice"),
        (generated, "`configmap/a-` has no `metadata.name`"),
        (json!("manifest.yaml"), "must be an object"),
    ] {
        let error = rig.error("apply", json!([objects]), json!({}));
        assert_eq!((error.kind, error.reason), (Kind::Input, Reason::Usage), "{error}");
        assert!(error.message.contains(says), "{}", error.message);
    }
    assert_eq!(rig.cluster.requests().len(), 0);
    let error = rig.error("apply", json!([window("nobody.example.com", json!(true))]), json!({}));
    assert_eq!(error.message, "`window/w`: the cluster has no kind `Window` of `nobody.example.com/v1`");
}

#[test]
fn a_definition_whose_names_are_taken_is_told_at_once() {
    let rig = Rig::new();
    applied(&rig, definition("example.com"));
    let mut second = definition("example.com");
    second["metadata"]["name"] = "panes.example.com".into();
    second["spec"]["names"]["plural"] = "panes".into();
    let error = rig.error("apply", json!([second]), json!({}));
    assert_eq!((error.kind, error.reason), (Kind::Stuck, Reason::Invalid), "{error}");
    assert!(error.message.ends_with("its names are not accepted"), "{}", error.message);
}

#[test]
fn values_of_secrets_are_not_shown() {
    let rig = Rig::new();
    let secret = |value: &str| json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "s" }, "data": { "key": value } });
    applied(&rig, secret("b25l"));
    let done = applied(&rig, secret("dHdv"));
    let value = done.value.clone().into_json();
    assert_eq!(value["objects"][0]["changes"], json!([{ "path": "data.key", "before": "***", "after": "***" }]));
    let told = serde_json::to_string(&lockgate::run::Event::wrote(&done.wrote[0], lockgate::run::Known::Observed)).unwrap();
    assert!(!told.contains("dHdv") && !told.contains("b25l"), "{told}");
    assert_eq!(rig.requests(Verb::Patch, "secrets"), 2);
}

#[test]
fn a_large_definition_fits() {
    let rig = Rig::new();
    let mut large = definition("example.com");
    let text = "x".repeat(1 << 10);
    let properties: Vec<(String, Value)> =
        (0..700).map(|at| (format!("field{at}"), json!({ "type": "string", "description": text }))).collect();
    large["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"] =
        Value::Object(properties.into_iter().collect());
    let done = applied(&rig, large);
    assert_eq!(done.wrote.len(), 1);
    assert!(rig.sim(|sim| sim.handle(&Request::get(&format!("{CRD}/windows.example.com"))).status) == 200);
}
