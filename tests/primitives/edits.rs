//! label, annotate, taint, set_env, and restarting, pausing and resuming a rollout.

use lockgate::base::{Kind, Reason};
use lockgate::cluster::Verb;
use lockgate::primitives::Inverse;
use lockgate_sim::faults::{Action, Match, Rule};
use lockgate_sim::json::{Value, json};
use lockgate_sim::request::Request;

use super::support::{Rig, changes};

/// Every patch is refused once as if somebody else had written in between.
fn overtaken(kind: &str) -> Rule {
    Rule { when: Match { verb: Some("patch".into()), kind: Some(kind.into()), nth: Some(1), ..Match::default() }, action: Action::Conflict }
}

fn env(rig: &Rig, object: &str, list: &str, place: usize) -> Value {
    rig.object(object)["spec"]["template"]["spec"][list][place]["env"].clone()
}

#[test]
fn labels_are_added_changed_and_taken_away_in_one_patch() {
    let rig = Rig::new();
    rig.call("label", json!(["node/m1", { "old": "1", "role": "master" }]), json!({})).unwrap();
    let done = rig.call("label", json!(["node/m1", { "role": "worker", "old": false, "new": "" }]), json!({})).unwrap();
    assert_eq!(done.value.clone().into_json(), json!({ "changed": true, "previous": { "role": "master", "old": "1", "new": false } }));
    let labels = rig.object("node/m1")["metadata"]["labels"].clone();
    assert_eq!((&labels["role"], &labels["new"], labels.get("old")), (&json!("worker"), &json!(""), None));
    assert_eq!(rig.requests(Verb::Patch, "nodes"), 2);
    assert_eq!(changes(&done), ["metadata.labels.new added \"\"", "metadata.labels.old removed", "metadata.labels.role master -> worker"]);
    rig.undo(&done);
    let labels = rig.object("node/m1")["metadata"]["labels"].clone();
    assert_eq!((&labels["role"], &labels["old"], labels.get("new")), (&json!("master"), &json!("1"), None));
}

#[test]
fn what_is_as_asked_is_not_sent() {
    let rig = Rig::new();
    rig.call("annotate", json!(["deployment/web", { "why": "a text: with anything\nin it" }]), json!({})).unwrap();
    rig.call("rollout_pause", json!(["deployment/web"]), json!({})).unwrap();
    rig.call("taint", json!(["w1", ["a=b:NoSchedule"]]), json!({})).unwrap();
    rig.call("set_env", json!(["deployment/web", { "A": "1", "EMPTY": "" }]), json!({})).unwrap();
    let sent = rig.writes();
    rig.read_only();
    for (verb, arguments) in [
        ("annotate", json!(["deployment/web", { "why": "a text: with anything\nin it", "none": false }])),
        ("label", json!(["node/m1", { "role": "master", "none": false }])),
        ("rollout_pause", json!(["deployment/web"])),
        ("rollout_resume", json!(["deployment/ports"])),
        ("taint", json!(["node/w1", ["a=b:NoSchedule", "c-", "d:NoExecute-"]])),
        ("set_env", json!(["deployment/web", { "A": "1", "EMPTY": "", "NONE": false }])),
    ] {
        let done = rig.call(verb, arguments, json!({})).unwrap();
        assert_eq!((done.wrote.len(), done.value.into_json()["changed"].clone()), (0, json!(false)), "{verb}");
    }
    assert_eq!(rig.writes(), sent);
}

#[test]
fn bad_words_are_refused_before_anything_is_contacted() {
    let rig = Rig::new();
    for (verb, arguments, says) in [
        ("label", json!(["node/m1", { "a b": "1" }]), "`label`: `a b` cannot be a name of labels"),
        ("label", json!(["node/m1", { "a": "b c" }]), "`label`: `b c` cannot be the value of label `a`"),
        ("label", json!(["node/m1", { "a": 1 }]), "`label`: argument `labels` has a wrong entry `a`: it must be a string or false"),
        ("label", json!(["node/m1", {}]), "`label`: argument `labels` is empty"),
        ("annotate", json!(["node/m1", { "": "x" }]), "`annotate`: `` cannot be a name of annotations"),
        ("annotate", json!(["node/m1", { "lockgate.dev/op": "x" }]), "is lockgate's own mark"),
        ("taint", json!(["m1", ["a=b"]]), "`taint`: argument `taints` has a wrong entry `a=b`: it has no effect"),
        ("taint", json!(["m1", ["a=b:NoSchedul"]]), "must be one of"),
        ("taint", json!(["m1", ["a=b:NoSchedule", "a-"]]), "says two things about one taint"),
        ("taint", json!(["deployment/web", ["a-"]]), "`taint`: argument `node` must be a node"),
        ("set_env", json!(["deployment/web", { "A=B": "1" }]), "`set_env`: `A=B` cannot be the name of a variable"),
        ("set_env", json!(["deployment/web", { "A": true }]), "it must be a string or false"),
        ("rollout_restart", json!(["web"]), "argument `workload` is no reference"),
    ] {
        let error = rig.error(verb, arguments, json!({}));
        assert_eq!((error.kind, error.reason), (Kind::Input, Reason::Usage), "{error}");
        assert!(error.message.contains(says), "{verb}: {}", error.message);
    }
    let error = rig.error("set_env", json!(["deployment/web", { "A": "1" }]), json!({ "containers": [] }));
    assert_eq!(error.reason, Reason::Usage);
    assert_eq!(rig.cluster.requests().len(), 0);
}

#[test]
fn a_conflict_is_looked_at_again() {
    for (kind, verb, arguments) in [
        ("Node", "label", json!(["node/m1", { "a": "1" }])),
        ("Node", "annotate", json!(["node/m1", { "a": "1" }])),
        ("Node", "taint", json!(["m1", ["a:NoSchedule"]])),
        ("Deployment", "set_env", json!(["deployment/web", { "A": "1" }])),
        ("Deployment", "rollout_restart", json!(["deployment/web"])),
        ("Deployment", "rollout_pause", json!(["deployment/web"])),
    ] {
        let rig = Rig::with(|sim| sim.add_fault(overtaken(kind)));
        let done = rig.call(verb, arguments, json!({})).unwrap();
        assert_eq!((done.wrote.len(), rig.writes()), (1, 2), "{verb}");
        assert_eq!(rig.sim(|sim| sim.faults().fired()), [1], "{verb}");
    }
}

#[test]
fn labels_over_a_selection_are_a_loop() {
    let rig = Rig::new();
    let pods = rig.pods_of("web");
    for pod in &pods {
        rig.call("label", json!([pod, { "seen": "yes" }]), json!({})).unwrap();
    }
    let labelled = rig.value("list", json!(["pods"]), json!({ "labels": "seen=yes" }));
    assert_eq!((labelled.as_array().unwrap().len(), pods.len()), (2, 2));
}

#[test]
fn a_custom_resource_takes_labels_and_annotations() {
    let rig = Rig::with(|sim| {
        let version = json!({ "name": "v1", "served": true, "storage": true,
            "schema": { "openAPIV3Schema": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } } });
        let crd = json!({ "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": { "name": "endpoints.projectcalico.test" },
            "spec": { "group": "projectcalico.test", "scope": "Cluster", "versions": [version],
                      "names": { "plural": "endpoints", "singular": "endpoint", "kind": "Endpoint" } } });
        assert_eq!(sim.handle(&Request::post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", &crd)).status, 201);
        let object = json!({ "apiVersion": "projectcalico.test/v1", "kind": "Endpoint", "metadata": { "name": "w1" } });
        assert_eq!(sim.handle(&Request::post("/apis/projectcalico.test/v1/endpoints", &object)).status, 201);
    });
    let name = "endpoint.projectcalico.test/w1";
    rig.call("label", json!([name, { "host-endpoint-upgrade": "" }]), json!({})).unwrap();
    let done = rig.call("annotate", json!([name, { "a": "b" }]), json!({})).unwrap();
    let metadata = rig.object(name)["metadata"].clone();
    assert_eq!((&metadata["labels"]["host-endpoint-upgrade"], &metadata["annotations"]["a"]), (&json!(""), &json!("b")));
    rig.undo(&done);
    assert_eq!(rig.object(name)["metadata"]["annotations"].get("a"), None);
}

#[test]
fn a_taint_keeps_those_of_others_and_gets_a_new_value() {
    let rig = Rig::with(|sim| {
        let taints = json!({ "spec": { "taints": [{ "key": "theirs", "effect": "NoExecute", "timeAdded": "2001-02-03T04:05:06Z" }] } });
        assert_eq!(sim.handle(&Request::patch("/api/v1/nodes/w1", "application/merge-patch+json", &taints)).status, 200);
    });
    let done = rig.call("taint", json!(["w1", ["upgrade=one:NoSchedule", "upgrade=one:NoExecute"]]), json!({})).unwrap();
    assert_eq!(done.value.clone().into_json()["previous"], json!(["theirs:NoExecute"]));
    let done = rig.call("taint", json!(["w1", ["upgrade=two:NoSchedule", "upgrade:NoExecute-"]]), json!({})).unwrap();
    let value = done.value.clone().into_json();
    assert_eq!(value["taints"], json!(["theirs:NoExecute", "upgrade=two:NoSchedule"]));
    assert_eq!(rig.object("node/w1")["spec"]["taints"][0]["timeAdded"], "2001-02-03T04:05:06Z");
    rig.undo(&done);
    let mut taints: Vec<String> = rig.object("node/w1")["spec"]["taints"].as_array().unwrap().iter().map(Value::to_string).collect();
    taints.sort();
    assert_eq!(taints.len(), 3, "{taints:?}");
    assert!(taints.iter().any(|taint| taint.contains("one") && taint.contains("NoExecute")), "{taints:?}");
}

#[test]
fn a_taint_that_pods_do_not_tolerate_drives_them_away() {
    let rig = Rig::new();
    rig.call("taint", json!(["w1", ["upgrade:NoExecute"]]), json!({})).unwrap();
    let condition = json!(["deployment/web", "Available"]);
    rig.call("wait_for", condition, json!({ "stable": "30s" })).unwrap();
    let on_w1 = rig.value("list", json!(["pods"]), json!({ "fields": "spec.nodeName=w1" }));
    let owners: Vec<&str> =
        on_w1.as_array().unwrap().iter().filter_map(|pod| pod["metadata"]["ownerReferences"][0]["kind"].as_str()).collect();
    assert_eq!(owners, ["DaemonSet"], "the agent tolerates everything");
}

#[test]
fn variables_are_set_in_all_containers_or_in_those_named() {
    let rig = Rig::new();
    let done = rig.call("set_env", json!(["daemonset/agent", { "A": "1", "B": "two" }]), json!({})).unwrap();
    assert_eq!(rig.writes(), 1);
    let both = json!([{ "name": "A", "value": "1" }, { "name": "B", "value": "two" }]);
    assert_eq!((env(&rig, "daemonset/agent", "containers", 0), env(&rig, "daemonset/agent", "initContainers", 0)), (both.clone(), both));
    let none = json!({ "A": false, "B": false });
    assert_eq!(done.value.clone().into_json()["previous"], json!({ "agent": none.clone(), "setup": none }));
    let options = json!({ "containers": ["setup"] });
    let second = rig.call("set_env", json!(["daemonset/agent", { "A": "3", "B": false }]), options).unwrap();
    assert_eq!(env(&rig, "daemonset/agent", "initContainers", 0), json!([{ "name": "A", "value": "3" }]));
    assert_eq!(env(&rig, "daemonset/agent", "containers", 0).as_array().unwrap().len(), 2, "the other one is left alone");
    assert_eq!(
        changes(&second),
        [
            "spec.template.spec.initContainers[name=setup].env[name=A].value 1 -> 3",
            "spec.template.spec.initContainers[name=setup].env[name=B] removed"
        ]
    );
    rig.undo(&second);
    assert_eq!(env(&rig, "daemonset/agent", "initContainers", 0).as_array().unwrap().len(), 2);
    rig.undo(&done);
    assert_eq!(env(&rig, "daemonset/agent", "containers", 0), Value::Null);
}

#[test]
fn a_value_from_a_secret_stays_when_another_changes_and_comes_back() {
    let secret = json!({ "name": "KEY", "valueFrom": { "secretKeyRef": { "name": "keys", "key": "main" } } });
    let list = json!([secret.clone(), { "name": "MODE", "value": "fast" }]);
    let given = list.clone();
    let rig = Rig::with(move |sim| {
        let change = json!({ "spec": { "template": { "spec": { "containers": [{ "name": "web", "env": given }] } } } });
        let path = "/apis/apps/v1/namespaces/default/deployments/web";
        assert_eq!(sim.handle(&Request::patch(path, "application/strategic-merge-patch+json", &change)).status, 200);
    });
    rig.call("set_env", json!(["deployment/web", { "MODE": "slow" }]), json!({})).unwrap();
    assert_eq!(env(&rig, "deployment/web", "containers", 0), json!([secret.clone(), { "name": "MODE", "value": "slow" }]));
    let added = rig.call("set_env", json!(["deployment/web", { "A": "1" }]), json!({})).unwrap();
    let names = |rig: &Rig| {
        env(rig, "deployment/web", "containers", 0).as_array().unwrap().iter().map(|entry| entry["name"].to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(&rig), [r#""KEY""#, r#""MODE""#, r#""A""#], "new ones come last");
    rig.undo(&added);
    assert_eq!(names(&rig), [r#""KEY""#, r#""MODE""#]);
    let done = rig.call("set_env", json!(["deployment/web", { "KEY": "plain" }]), json!({})).unwrap();
    assert_eq!(env(&rig, "deployment/web", "containers", 0)[0], json!({ "name": "KEY", "value": "plain" }));
    assert_eq!(done.value.clone().into_json()["previous"]["web"]["KEY"], true);
    rig.undo(&done);
    assert_eq!(env(&rig, "deployment/web", "containers", 0)[0], secret);
    let gone = rig.call("set_env", json!(["deployment/web", { "KEY": false }]), json!({})).unwrap();
    rig.undo(&gone);
    assert_eq!(env(&rig, "deployment/web", "containers", 0)[0], secret, "in its old place");
}

#[test]
fn a_container_that_is_not_there_stops_everything() {
    let rig = Rig::new();
    let error = rig.error("set_env", json!(["daemonset/agent", { "A": "1" }]), json!({ "containers": ["setpu"] }));
    assert_eq!((error.kind, error.reason), (Kind::Cluster, Reason::NotFound));
    assert_eq!(error.message, "setting the environment of `daemonset/agent`: it has no container `setpu`");
    let pod = format!("pod/{}", rig.pods_of("web")[0]["metadata"]["name"].as_str().unwrap());
    for object in [pod.as_str(), "service/web"] {
        let error = rig.error("set_env", json!([object, { "A": "1" }]), json!({}));
        assert_eq!((error.kind, error.reason), (Kind::Input, Reason::Unsupported));
    }
    assert_eq!(rig.writes(), 0);
}

#[test]
fn a_restart_is_one_new_revision_and_new_pods() {
    let rig = Rig::new();
    let before: Vec<Value> = rig.pods_of("web").iter().map(|pod| pod["metadata"]["uid"].clone()).collect();
    let done = rig.call("rollout_restart", json!(["deployment/web"]), json!({})).unwrap();
    let at = done.value.clone().into_json()["restarted_at"].clone();
    let annotations = rig.object("deployment/web")["spec"]["template"]["metadata"]["annotations"].clone();
    assert_eq!(annotations["kubectl.kubernetes.io/restartedAt"], at);
    rig.call("wait_rollout", json!(["deployment/web"]), json!({})).unwrap();
    let stays = |pod: &&Value| pod["metadata"]["deletionTimestamp"].is_null();
    let after: Vec<Value> = rig.pods_of("web").iter().filter(stays).map(|pod| pod["metadata"]["uid"].clone()).collect();
    assert_eq!(after.len(), 2);
    assert!(after.iter().all(|uid| !before.contains(uid)), "{after:?}");
    assert_eq!(rig.value("rollout_history", json!(["deployment/web"]), json!({})).as_array().unwrap().len(), 2);
    assert!(matches!(&done.wrote[0].inverse, Inverse::Irreversible(_)));
}

#[test]
fn two_restarts_within_one_second_are_two() {
    let rig = Rig::new();
    let first = rig.value("rollout_restart", json!(["daemonset/agent"]), json!({}));
    let second = rig.value("rollout_restart", json!(["daemonset/agent"]), json!({}));
    assert_ne!(first["restarted_at"], second["restarted_at"]);
    assert_eq!(rig.object("daemonset/agent")["metadata"]["generation"], 3);
}

#[test]
fn a_paused_deployment_is_not_restarted_and_resumes_with_what_was_changed() {
    let rig = Rig::new();
    let paused = rig.call("rollout_pause", json!(["deployment/web"]), json!({})).unwrap();
    assert_eq!(changes(&paused), ["spec.paused added true"]);
    let error = rig.error("rollout_restart", json!(["deployment/web"]), json!({}));
    assert_eq!(error.reason, Reason::Paused);
    assert_eq!(error.message, "restarting `deployment/web`: it is paused, so that nothing would restart");
    rig.call("set_env", json!(["deployment/web", { "A": "1" }]), json!({})).unwrap();
    assert_eq!(rig.value("rollout_history", json!(["deployment/web"]), json!({})).as_array().unwrap().len(), 1);
    rig.undo(&paused);
    rig.call("wait_rollout", json!(["deployment/web"]), json!({})).unwrap();
    assert_eq!(rig.value("rollout_history", json!(["deployment/web"]), json!({})).as_array().unwrap().len(), 2);
}

#[test]
fn what_has_no_rollout_is_told_so_and_on_delete_restarts_nothing() {
    let rig = Rig::with(|sim| {
        let change = json!({ "spec": { "updateStrategy": { "type": "OnDelete", "rollingUpdate": null } } });
        let path = "/apis/apps/v1/namespaces/default/daemonsets/agent";
        assert_eq!(sim.handle(&Request::patch(path, "application/merge-patch+json", &change)).status, 200);
    });
    for (verb, object) in [("rollout_restart", "service/web"), ("rollout_pause", "daemonset/agent"), ("rollout_resume", "node/m1")] {
        let error = rig.error(verb, json!([object]), json!({}));
        assert_eq!((error.kind, error.reason), (Kind::Input, Reason::Unsupported), "{verb}");
    }
    rig.call("rollout_restart", json!(["daemonset/agent"]), json!({})).unwrap();
    let notes = rig.operator.notes.borrow().clone();
    assert_eq!(notes, ["daemonset/agent has the strategy OnDelete: each pod restarts when it is deleted, and not before"]);
}
