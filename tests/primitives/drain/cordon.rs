//! cordon and uncordon: the acceptance list of `reference/primitives.md` §1.1, and the three tests of each verb.

use lockgate::base::{Kind, Reason};
use lockgate::cluster::Verb;
use lockgate_sim::Request;
use lockgate_sim::json::{Value as Json, json};

use super::super::support::{Rig, arg, changes};

const BY: &str = "lockgate.dev/cordoned-by";

/// A cordon by a person with kubectl.
fn by_hand(rig: &Rig, node: &str, unschedulable: bool) {
    let patch = json!({ "spec": { "unschedulable": unschedulable } });
    let request = Request::patch(&format!("/api/v1/nodes/{node}"), "application/merge-patch+json", &patch);
    assert_eq!(rig.sim(|sim| sim.handle(&request).status), 200);
}

fn taints(node: &Json) -> Vec<&str> {
    node["spec"]["taints"].as_array().map(|taints| taints.iter().filter_map(|taint| taint["key"].as_str()).collect()).unwrap_or_default()
}

#[test]
fn a_cordon_is_one_write_that_says_whose_it_is_and_the_node_gets_its_taint() {
    let rig = Rig::new();
    let done = rig.call("cordon", json!(["w1"]), json!({ "reason": "kubelet upgrade" })).unwrap();
    assert_eq!(done.value.clone().into_json(), json!({ "changed": true, "node": "w1", "previous": false }));
    assert_eq!(changes(&done), ["spec.unschedulable added true"]);
    assert_eq!(rig.writes(), 1);
    let node = rig.object("node/w1");
    assert_eq!(node["spec"]["unschedulable"], true);
    assert_eq!(node["metadata"]["annotations"][BY], rig.cluster.run().to_string());
    assert_eq!(node["metadata"]["annotations"]["lockgate.dev/cordon-reason"], "kubelet upgrade");
    assert_eq!(taints(&node), ["node.kubernetes.io/unschedulable"]);
}

#[test]
fn the_second_cordon_sends_nothing() {
    let rig = Rig::new();
    rig.call("cordon", json!(["node/w1"]), json!({})).unwrap();
    let version = rig.object("node/w1")["metadata"]["resourceVersion"].clone();
    rig.read_only();
    let again = rig.call("cordon", json!(["w1"]), json!({})).unwrap();
    assert_eq!(again.value.into_json(), json!({ "changed": false, "node": "w1", "previous": true }));
    assert_eq!((again.wrote, rig.writes()), (vec![], 1));
    assert_eq!(rig.object("node/w1")["metadata"]["resourceVersion"], version);
}

#[test]
fn an_uncordon_undoes_a_cordon_and_the_inverse_of_each_is_the_other() {
    let rig = Rig::new();
    let before = rig.object("node/w1");
    let cordoned = rig.call("cordon", json!(["w1"]), json!({ "reason": "a disk" })).unwrap();
    let undone = rig.undo(&cordoned);
    assert_eq!(undone.value.clone().into_json(), json!({ "changed": true, "node": "w1" }));
    let after = rig.object("node/w1");
    assert_eq!(after["spec"], before["spec"], "spec as before, without the field");
    let annotations = after["metadata"]["annotations"].as_object().unwrap();
    assert!(annotations.keys().all(|key| !key.starts_with("lockgate.dev/cordon")), "{annotations:?}");
    rig.undo(&undone);
    let node = rig.object("node/w1");
    assert_eq!(
        (&node["spec"]["unschedulable"], &node["metadata"]["annotations"]["lockgate.dev/cordon-reason"]),
        (&json!(true), &json!("a disk"))
    );
}

#[test]
fn a_node_that_was_never_cordoned_is_not_written() {
    let rig = Rig::new();
    rig.read_only();
    assert_eq!(rig.value("uncordon", json!(["w1"]), json!({})), json!({ "changed": false, "node": "w1" }));
    assert_eq!(rig.requests(Verb::Patch, "nodes"), 0);
}

#[test]
fn a_cordon_of_a_person_stays_unless_it_is_asked_for() {
    let rig = Rig::new();
    by_hand(&rig, "w1", true);
    let error = rig.error("uncordon", json!(["w1"]), json!({}));
    assert_eq!((error.kind, error.reason, rig.writes()), (Kind::Refused, Reason::Refused, 0));
    assert_eq!(error.message, "uncordoning `node/w1`: this run did not cordon it");
    assert_eq!(error.hint.as_deref(), Some("ask who did and why; with `foreign = true` it is uncordoned all the same"));
    // Cordoned already: ours does not make it ours.
    rig.call("cordon", json!(["w1"]), json!({})).unwrap();
    assert_eq!(rig.error("uncordon", json!(["w1"]), json!({})).reason, Reason::Refused);
    assert_eq!(rig.value("uncordon", json!(["w1"]), json!({ "foreign": true })), json!({ "changed": true, "node": "w1" }));
}

#[test]
fn a_cordon_of_another_run_is_told_with_its_reason() {
    let rig = Rig::new();
    let metadata = json!({ "annotations": { BY: "0199-other", "lockgate.dev/cordon-reason": "new kernel" } });
    let patch = json!({ "metadata": metadata, "spec": { "unschedulable": true } });
    let request = Request::patch("/api/v1/nodes/w1", "application/merge-patch+json", &patch);
    rig.sim(|sim| sim.handle(&request));
    let error = rig.error("uncordon", json!(["w1"]), json!({}));
    assert_eq!(error.message, "uncordoning `node/w1`: run `0199-other` cordoned it");
    assert_eq!(error.causes, ["the reason given: new kernel"]);
}

#[test]
fn a_selector_cordons_what_list_gives() {
    let rig = Rig::new();
    let masters = rig.value("list", json!(["nodes"]), json!({ "labels": "role=master" }));
    for node in masters.as_array().unwrap() {
        rig.run(rig.calling("cordon", vec![arg(node.clone())], &json!({}))).unwrap();
    }
    let cordoned = |name: &str| rig.object(&format!("node/{name}"))["spec"]["unschedulable"] == true;
    assert_eq!(["m1", "m2", "w1"].map(cordoned), [true, true, false]);
}

#[test]
fn what_is_no_node_is_refused_before_anything_is_asked() {
    let rig = Rig::new();
    for verb in ["cordon", "uncordon", "drain", "drain_plan"] {
        let error = rig.error(verb, json!(["pod/web"]), json!({}));
        assert_eq!((error.kind, error.reason), (Kind::Input, Reason::Usage), "{verb}: {error}");
        let error = rig.error(verb, json!(["w11"]), json!({}));
        assert_eq!((error.kind, error.reason), (Kind::Cluster, Reason::NotFound), "{verb}");
        assert_eq!(error.hint.as_deref(), Some("did you mean `node/w1`?"), "{verb}");
    }
    assert_eq!(rig.writes(), 0);
}

#[test]
fn a_user_who_may_not_patch_nodes_fails() {
    let rig = Rig::with(|sim| {
        let rule = json!({ "match": { "verb": "patch", "kind": "Node" }, "do": { "fail": { "code": 403 } } });
        sim.add_fault(lockgate_sim::json::from_value(rule).unwrap());
    });
    for verb in ["cordon", "drain"] {
        let error = rig.error(verb, json!(["w1"]), json!({}));
        assert_eq!((error.kind, error.reason), (Kind::Refused, Reason::Forbidden), "{verb}");
        assert_eq!(error.hint.as_deref(), Some("the user needs `patch` on `nodes`"), "{verb}");
    }
    assert_eq!(rig.requests(Verb::Create, "pods"), 0, "nothing is evicted from a node that could not be cordoned");
}

#[test]
fn a_webhook_that_takes_the_cordon_away_is_noticed() {
    let rig = Rig::with(|sim| {
        let admit = json!({ "admit": { "spec": { "unschedulable": null } } });
        let rule = json!({ "match": { "verb": "patch", "kind": "Node" }, "do": admit });
        sim.add_fault(lockgate_sim::json::from_value(rule).unwrap());
    });
    let error = rig.error("drain", json!(["w1"]), json!({}));
    assert_eq!(error.message, "cordoning `node/w1`: the server stored the node without `spec.unschedulable`");
    assert_eq!(rig.requests(Verb::Create, "pods"), 0);
}

#[test]
fn the_last_node_that_takes_pods_is_told() {
    let rig = Rig::new();
    for node in ["m1", "m2", "w1"] {
        assert_eq!(rig.operator.notes.borrow().len(), 0);
        rig.call("cordon", json!([node]), json!({})).unwrap();
    }
    let notes = rig.operator.notes.borrow().clone();
    assert_eq!(notes, ["node/w1 was the last node that takes pods: no other is ready, without taints and not cordoned"]);
}
