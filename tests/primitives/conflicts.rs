//! Every verb that changes an object, when somebody else changes it at the same moment: made up by the fault layer, and real.

use std::sync::Arc;

use futures::future::LocalBoxFuture;
use lockgate::base::{Error, Object, Reason, Result, Value};
use lockgate::cluster::Verb;
use lockgate::primitives::{Arg, Done};
use lockgate_sim::Cluster as Sim;
use lockgate_sim::faults::{Action, Match, Rule};
use lockgate_sim::json::{Value as Json, json};
use lockgate_sim::request::Request;

use super::support::{Rig, arg, changes};

const PORTS: &str = "/apis/apps/v1/namespaces/default/deployments/ports";
const SETTINGS: &str = "/api/v1/namespaces/default/configmaps/settings";

/// One call of each verb, with the resource it writes to.
fn calls(rig: &Rig) -> Vec<(&'static str, &'static str, Vec<Arg>, Json)> {
    let settings = "configmap/settings";
    let object = match rig.call("get", json!([settings]), json!({})).unwrap().value {
        Value::Object(object) => with(&object, "/data/mode", json!("slow")),
        other => panic!("{other:?}"),
    };
    let args = |list: Json| list.as_array().unwrap().iter().cloned().map(arg).collect::<Vec<Arg>>();
    let change = json!({ "data": { "mode": "slow" } });
    let operations = json!([{ "op": "replace", "path": "/data/mode", "value": "slow" }]);
    let container =
        json!({ "spec": { "template": { "spec": { "containers": [{ "name": "ports", "image": "registry.example/ports:v2" }] } } } });
    vec![
        ("scale", "deployments.apps", args(json!(["deployment/ports", 0])), json!({})),
        ("set_image", "deployments.apps", args(json!(["deployment/ports", { "ports": "registry.example/ports:v2" }])), json!({})),
        ("patch", "configmaps", args(json!([settings, change])), json!({})),
        ("patch", "deployments.apps", args(json!(["deployment/ports", container])), json!({ "type": "strategic" })),
        ("patch", "configmaps", args(json!([settings, operations])), json!({ "type": "json" })),
        ("update", "configmaps", vec![object], json!({})),
    ]
}

/// An object that the script has changed in one place.
fn with(object: &Object, pointer: &str, value: Json) -> Arg {
    let mut current = (*object.current).clone();
    *current.pointer_mut(pointer).unwrap() = value;
    Arg::Value(Value::Object(Object { current: Arc::new(current), original: object.original.clone(), unmodelled: false }))
}

fn conflicts(nth: Option<u64>) -> Rule {
    Rule { when: Match { verb: Some("patch".into()), nth, ..Match::default() }, action: Action::Conflict }
}

#[test]
fn a_conflict_is_looked_at_again_by_every_verb() {
    let count = calls(&Rig::new()).len();
    for index in 0..count {
        let rig = Rig::with(|sim| sim.add_fault(conflicts(Some(1))));
        let (verb, resource, positional, options) = calls(&rig).swap_remove(index);
        let reads = rig.requests(Verb::Get, resource);
        let done = rig.run(rig.calling(verb, positional, &options)).unwrap_or_else(|error| panic!("{verb} {options}: {error}"));
        assert!(!done.wrote.is_empty(), "{verb} {options}");
        assert_eq!(rig.requests(Verb::Patch, resource), 2, "{verb} {options}");
        let fresh = rig.requests(Verb::Get, resource) - reads;
        assert!(fresh >= if verb == "update" { 1 } else { 2 }, "{verb} {options}: {fresh} reads for two tries");
    }
}

#[test]
fn a_conflict_that_stays_is_an_error_that_says_how_often() {
    let count = calls(&Rig::new()).len();
    for index in 0..count {
        let rig = Rig::with(|sim| sim.add_fault(conflicts(None)));
        let (verb, resource, positional, options) = calls(&rig).swap_remove(index);
        let error = rig.run(rig.calling(verb, positional, &options)).unwrap_err();
        assert_eq!(error.reason, Reason::Conflict, "{verb} {options}: {error}");
        assert!(error.hint.as_deref().is_some_and(|hint| hint.contains("5 tries")), "{verb} {options}: {error:?}");
        assert_eq!(rig.requests(Verb::Patch, resource), 5, "{verb} {options}");
    }
}

/// Runs a call, and lets somebody else in as soon as the `reads`-th read of this resource is answered.
fn while_called(
    rig: &Rig,
    call: LocalBoxFuture<'static, Result<Done>>,
    (resource, reads): (&str, usize),
    somebody: impl FnOnce(&mut Sim),
) -> Result<Done> {
    let answered = || {
        let requests = rig.cluster.requests();
        requests.iter().filter(|sent| sent.verb == Verb::Get && sent.resource == resource && sent.status.is_some()).count()
    };
    let before = answered();
    rig.run(async {
        let other = async {
            while answered() < before + reads {
                tokio::task::yield_now().await;
            }
            rig.sim(somebody);
        };
        futures::join!(call, other).0
    })
}

fn merge(path: &'static str, change: Json) -> impl FnOnce(&mut Sim) {
    move |sim| {
        let response = sim.handle(&Request::patch(path, "application/merge-patch+json", &change));
        assert_eq!(response.status, 200, "{:?}", response.value());
    }
}

fn scale_to_zero(rig: &Rig, somebody: impl FnOnce(&mut Sim)) -> Result<Done> {
    let call = rig.calling("scale", vec![arg(json!("deployment/ports")), arg(json!(0))], &json!({}));
    while_called(rig, call, ("deployments.apps", 1), somebody)
}

#[test]
fn scale_gives_the_number_that_it_replaced() {
    let rig = Rig::new();
    let done = scale_to_zero(&rig, merge(PORTS, json!({ "spec": { "replicas": 3 } }))).unwrap();
    assert_eq!(done.value.clone().into_json(), json!({ "changed": true, "previous": 3, "replicas": 0 }));
    assert_eq!(changes(&done), ["spec.replicas 3 -> 0"]);
    assert_eq!(rig.requests(Verb::Patch, "deployments.apps"), 2);
    rig.undo(&done);
    assert_eq!(rig.object("deployment/ports")["spec"]["replicas"], 3);
}

#[test]
fn scale_writes_no_more_when_somebody_else_did_the_same() {
    let rig = Rig::new();
    let done = scale_to_zero(&rig, merge(PORTS, json!({ "spec": { "replicas": 0 } }))).unwrap();
    assert_eq!(done.value.into_json(), json!({ "changed": false, "previous": 0, "replicas": 0 }));
    assert_eq!((done.wrote, rig.requests(Verb::Patch, "deployments.apps")), (vec![], 1));
}

#[test]
fn another_object_of_that_name_is_left_alone() {
    let rig = Rig::new();
    let mut other = rig.object("deployment/ports");
    other["metadata"] = json!({ "name": "ports", "namespace": "default" });
    let error = scale_to_zero(&rig, move |sim| {
        assert_eq!(sim.handle(&Request::delete(PORTS)).status, 200);
        assert_eq!(sim.handle(&Request::post("/apis/apps/v1/namespaces/default/deployments", &other)).status, 201);
    })
    .unwrap_err();
    assert_eq!(error.reason, Reason::Replaced);
    assert_eq!(error.message, "scaling `deployment/ports`: it was deleted meanwhile, and another was created under its name");
    assert_eq!(rig.object("deployment/ports")["spec"]["replicas"], 2);
}

/// A JSON patch of the first container's image, with somebody in between.
fn first_image(rig: &Rig, somebody: impl FnOnce(&mut Sim)) -> Result<Done> {
    let operations = json!([{ "op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "registry.example/ports:v2" }]);
    let call = rig.calling("patch", vec![arg(json!("deployment/ports")), arg(operations)], &json!({ "type": "json" }));
    // The verb's own read, and the one for the operation's annotation.
    while_called(rig, call, ("deployments.apps", 2), somebody)
}

#[test]
fn a_json_patch_by_place_goes_on_only_while_it_means_the_same() {
    let rig = Rig::new();
    let done = first_image(&rig, merge(PORTS, json!({ "metadata": { "labels": { "seen": "1" } } }))).unwrap();
    assert_eq!(changes(&done), ["spec.template.spec.containers[name=ports].image v1.0.0 -> v2"]);
    assert_eq!(
        (rig.requests(Verb::Patch, "deployments.apps"), &rig.object("deployment/ports")["metadata"]["labels"]["seen"]),
        (2, &json!("1"))
    );

    let rig = Rig::new();
    let mut containers = rig.object("deployment/ports")["spec"]["template"]["spec"]["containers"].clone();
    containers.as_array_mut().unwrap().insert(0, json!({ "name": "proxy", "image": "registry.example/proxy:v1" }));
    let change = json!({ "spec": { "template": { "spec": { "containers": containers } } } });
    let error = first_image(&rig, merge(PORTS, change)).unwrap_err();
    assert_eq!(error.reason, Reason::Conflict);
    assert_eq!(
        error.message,
        "patching `deployment/ports`: somebody else changed it meanwhile, and this JSON patch would now change something else"
    );
    assert_eq!(rig.object("deployment/ports")["spec"]["template"]["spec"]["containers"][1]["image"], "registry.example/ports:v1.0.0");
}

#[test]
fn a_json_patch_whose_test_no_longer_holds_is_a_precondition() {
    let rig = Rig::new();
    let operations =
        json!([{ "op": "test", "path": "/data/mode", "value": "fast" }, { "op": "replace", "path": "/data/mode", "value": "slow" }]);
    let call = rig.calling("patch", vec![arg(json!("configmap/settings")), arg(operations)], &json!({ "type": "json" }));
    let error = while_called(&rig, call, ("configmaps", 2), merge(SETTINGS, json!({ "data": { "mode": "medium" } }))).unwrap_err();
    assert_eq!(error.reason, Reason::Precondition, "{error:?}");
    assert_eq!(rig.object("configmap/settings")["data"]["mode"], "medium");
}

#[test]
fn a_patch_that_names_a_version_is_for_that_one_only() {
    let rig = Rig::new();
    let version = rig.object("configmap/settings")["metadata"]["resourceVersion"].clone();
    rig.sim(merge(SETTINGS, json!({ "data": { "other": "1" } })));
    let change = json!({ "metadata": { "resourceVersion": version }, "data": { "mode": "slow" } });
    let error = rig.error("patch", json!(["configmap/settings", change]), json!({}));
    assert_eq!((error.reason, rig.requests(Verb::Patch, "configmaps")), (Reason::Conflict, 1));
    assert!(error.hint.as_deref().is_some_and(|hint| hint.contains("resourceVersion")), "{error:?}");
}

/// `update` of `data.mode` in an object that somebody changed after it was read.
fn update_mode(rig: &Rig, change: Json) -> Result<Done, Error> {
    let read = rig.call("get", json!(["configmap/settings"]), json!({})).unwrap().value;
    let Value::Object(object) = read else { panic!("{read:?}") };
    rig.sim(merge(SETTINGS, change));
    rig.run(rig.calling("update", vec![with(&object, "/data/mode", json!("slow"))], &json!({})))
}

#[test]
fn update_goes_on_when_somebody_else_changed_another_field() {
    let rig = Rig::new();
    let done = update_mode(&rig, json!({ "data": { "other": "1" } })).unwrap();
    assert_eq!(changes(&done), ["data.mode fast -> slow"], "what the other one did is not told as done here");
    assert_eq!(rig.requests(Verb::Patch, "configmaps"), 2);
    assert_eq!(rig.object("configmap/settings")["data"], json!({ "mode": "slow", "empty": "", "other": "1" }));
    rig.undo(&done);
    assert_eq!(rig.object("configmap/settings")["data"]["other"], "1");
}

#[test]
fn update_of_a_field_that_somebody_else_changed_is_a_conflict() {
    for theirs in [json!("medium"), json!("slow"), Json::Null] {
        let rig = Rig::new();
        let error = update_mode(&rig, json!({ "data": { "mode": theirs } })).unwrap_err();
        assert_eq!(error.reason, Reason::Conflict);
        assert_eq!(error.message, "updating `configmap/settings`: somebody else changed `data.mode` meanwhile; nothing was sent");
        assert!(error.hint.as_deref().is_some_and(|hint| hint.contains("`get`")), "{error:?}");
        assert_eq!(rig.requests(Verb::Patch, "configmaps"), 1);
        assert_ne!(rig.object("configmap/settings")["data"].get("empty"), None);
    }
}
