//! drain of several nodes.

use lockgate::base::{Kind, Reason};
use lockgate::cluster::{Cluster, Options};
use lockgate_sim::Request;
use lockgate_sim::json::json;

use super::super::support::Rig;
use super::support::{NODE, left, rig, rig_with, sent};

fn label(rig: &Rig, node: &str, role: &str) {
    let patch = json!({ "metadata": { "labels": { (format!("node-role.kubernetes.io/{role}")): "" } } });
    sent(rig, &Request::patch(&format!("/api/v1/nodes/{node}"), "application/merge-patch+json", &patch));
}

#[test]
fn all_are_cordoned_before_the_first_pod_goes_and_then_they_are_emptied_in_order() {
    let rig = rig_with("deployment web 2", |sim| {
        let node = json!({ "metadata": { "name": "s-c", "labels": { "situation": "s" } } });
        assert_eq!(sim.handle(&Request::post("/api/v1/nodes", &node)).status, 201);
    });
    let done = rig.call("drain", json!([[NODE, "s-b"]]), json!({})).unwrap();
    let told: Vec<&str> = done.wrote.iter().map(|wrote| wrote.verb.as_str()).collect();
    assert_eq!(told, ["cordon", "cordon", "evict", "evict"], "no pod goes from the first node to the second");
    let value = done.value.into_json();
    assert_eq!((&value["nodes"], &value["cordoned"]), (&json!([NODE, "s-b"]), &json!([NODE, "s-b"])));
    assert_eq!((left(&rig, NODE).len(), left(&rig, "s-b").len(), left(&rig, "s-c").len()), (0, 0, 2));
}

#[test]
fn what_is_wrong_with_the_last_node_is_found_before_the_first_is_cordoned() {
    let rig = rig("deployment web 1\npod tool");
    let error = rig.error("drain", json!([["s-b", NODE]]), json!({}));
    assert_eq!((error.reason, rig.writes()), (Reason::Refused, 0));
    assert_eq!(rig.value("drain_plan", json!([["s-b", NODE]]), json!({}))["verdict"], "refused");
}

#[test]
fn never_two_nodes_of_the_control_plane_at_once() {
    let rig = rig("deployment web 1");
    label(&rig, NODE, "control-plane");
    label(&rig, "s-b", "master");
    let error = rig.error("drain", json!([[NODE, "s-b"]]), json!({}));
    assert_eq!((error.kind, error.reason, rig.writes()), (Kind::Refused, Reason::Refused, 0));
    assert_eq!(error.message, "draining `node/s-a` and `node/s-b`: both are of the control plane, and one of them must stay");
    rig.call("cordon", json!(["s-b"]), json!({})).unwrap();
    let error = rig.error("drain", json!([NODE]), json!({}));
    assert_eq!((error.reason, rig.writes()), (Reason::Refused, 1));
    assert_eq!(error.hint.as_deref(), Some("bring `s-b` back first: `uncordon(\"s-b\")` when it is ready"));
    rig.call("uncordon", json!(["s-b"]), json!({})).unwrap();
    // One that a person has cordoned is out of service too; and the plan of a drain says what the drain would.
    rig.cluster.simulation().unwrap().with(|sim| {
        let patch = lockgate_sim::json!({ "spec": { "unschedulable": true } });
        sim.handle(&lockgate_sim::Request::patch("/api/v1/nodes/s-b", "application/merge-patch+json", &patch));
    });
    let error = rig.error("drain", json!([NODE]), json!({}));
    assert_eq!(error.message, "draining `node/s-a`: `node/s-b` is of the control plane too, and is cordoned, by no run");
    let plan = rig.value("drain_plan", json!([NODE]), json!({}));
    assert_eq!((&plan["verdict"], &plan["message"]), (&json!("refused"), &json!(format!("refused: {}", error.message))));
    assert_eq!(rig.value("drain_plan", json!([[NODE, "s-b"]]), json!({}))["verdict"], "refused");
    rig.call("uncordon", json!(["s-b"]), json!({ "foreign": true })).unwrap();
    rig.call("drain", json!([NODE]), json!({})).unwrap();
}

#[test]
fn a_list_is_of_nodes_and_names_none_twice() {
    let rig = rig("deployment web 1");
    for wrong in [json!([[]]), json!([[NODE, NODE]]), json!([[NODE, 3]])] {
        let error = rig.error("drain", wrong.clone(), json!({}));
        assert_eq!((error.kind, error.reason), (Kind::Input, Reason::Usage), "{wrong}");
    }
}

#[test]
fn the_node_of_our_own_pod_is_left_alone() {
    // Lockgate in a pod of the cluster that it upgrades: with that pod its run would end, and the node would stay cordoned.
    let elsewhere = rig("deployment web 1\npod tool");
    let pods = left(&elsewhere, NODE);
    let home = |pod: &str| lockgate::cluster::Home { namespace: "s".to_owned(), pod: pod.to_owned() };
    let at = |pod: &str| {
        let options = Options { home: Some(home(pod)), ..Options::new(elsewhere.cluster.run()) };
        Rig::over(Cluster::beside(&elsewhere.cluster.simulation().unwrap(), options))
    };
    let web = pods.iter().find(|name| name.starts_with("web-")).unwrap();
    let force = json!({ "force": true });
    for rig in [at(web), at("tool")] {
        let error = rig.error("drain", json!([["s-b", NODE]]), force.clone());
        assert_eq!((error.kind, error.reason, rig.writes()), (Kind::Refused, Reason::Refused, 0));
        assert!(error.message.ends_with("is the one that lockgate runs in, and the run would end with it"), "{error}");
        assert!(error.hint.as_deref().unwrap_or_default().ends_with("drain `s-a` last"), "{error:?}");
        let plan = rig.value("drain_plan", json!([NODE]), force.clone());
        assert_eq!(plan["verdict"], "refused");
        assert!(plan["message"].as_str().unwrap().contains("is the one that lockgate runs in"), "{plan}");
        // A plan of the run says the same.
        let planning = Rig::over(rig.cluster.planning());
        assert_eq!(planning.error("drain", json!([NODE]), force.clone()).reason, Reason::Refused);
        assert_eq!(rig.value("drain_plan", json!(["s-b"]), force.clone())["verdict"], "ok", "other nodes go");
    }
    // A pod of another cluster may have any name.
    at("web-elsewhere").call("drain", json!([NODE]), force).unwrap();
}
