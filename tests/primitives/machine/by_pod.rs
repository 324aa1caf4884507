//! `--machines pod`: a privileged pod on the node, on the simulator. What its shell answers is written in an `exec` entry.

use lockgate::base::{Kind, Reason};
use lockgate::cluster::machines::{Inventory, Way, Ways};
use lockgate::cluster::{Access, Cluster, Options, RunId, Verb};
use lockgate_sim::json::{Value as Json, json};
use lockgate_sim::model::ModelDocument;
use lockgate_sim::request::Request;

use crate::primitives::support::Rig;

const GRANTED: &str = "pod: {image: registry.example/busybox:1.36, namespace: machines, privileged: true}";

/// A cluster whose machines are reached by pods in the namespace `machines`, with what its shells answer to the first read.
fn rig(inventory: &str, level: &str, answer: Option<&str>) -> Rig {
    let mut sim = super::sim();
    let run = RunId::simulated(sim.now(), 1);
    let labels = if level.is_empty() { json!({}) } else { json!({ "pod-security.kubernetes.io/enforce": level }) };
    let namespace = json!({ "metadata": { "name": "machines", "labels": labels } });
    assert_eq!(sim.handle(&Request::post("/api/v1/namespaces", &namespace)).status, 201);
    if let Some(answer) = answer {
        let stdout = answer.replace("ID", &format!("{run}/read/1"));
        let entry = json!({
            "apiVersion": "lockgate.dev/v1", "kind": "Model",
            "exec": [{ "match": { "container": "machine", "command": "nsenter -t 1 -m -u -i -n -p -- /bin/sh -s" },
                "answer": { "stdout": stdout, "takes": "2s" }, "why": "what the script answers" }],
        });
        let document: ModelDocument = lockgate_sim::json::from_value(entry).unwrap();
        sim.models_mut().extend(document);
    }
    let ways = Ways { kind: Way::Pod, inventory: Inventory::parse("i.yaml", inventory).unwrap() };
    let cluster = Cluster::stand_in(sim, Options { machines: Some(ways), ..Options::new(run) });
    cluster.set_access(Access::ReadWrite);
    Rig::over(cluster)
}

const ANSWER: &str = "answer ID\nstate ended\ncode 0\ntook 0\nsize-out 3\nout aGkK\nsize-err 0\nerr \nend ID\n";

#[test]
fn a_pod_is_made_entered_and_taken_away() {
    let rig = rig(GRANTED, "privileged", Some(ANSWER));
    let read = rig.value("machine.read", json!(["w1", ["uname", "-r"]]), Json::Null);
    assert_eq!((read["code"].as_i64(), read["stdout"].as_str()), (Some(0), Some("hi\n")));
    let log: Vec<String> = rig.sim(|sim| sim.event_log().map(str::to_owned).collect());
    assert!(log.iter().any(|line| line.contains("ADDED pod/machines/lockgate-w1-")), "{log:#?}");
    assert_eq!((rig.requests(Verb::Create, "pods"), rig.requests(Verb::Delete, "pods")), (2, 1), "the pod, and what is run in it");
    assert_eq!(rig.value("list", json!(["pods"]), json!({ "namespace": "machines" })), json!([]));
}

#[test]
fn it_is_taken_away_whatever_came_of_the_work() {
    let rig = rig(GRANTED, "", Some("answer ID\nstate ended\ncode 0\n"));
    let error = rig.error("machine.read", json!(["w1", ["uname", "-r"]]), Json::Null);
    assert_eq!(error.reason, Reason::Unreachable, "{error}");
    assert_eq!(rig.value("list", json!(["pods"]), json!({ "namespace": "machines" })), json!([]));
    let rig = self::rig(GRANTED, "", None);
    let error = rig.error("machine.read", json!(["w1", ["uname", "-r"]]), Json::Null);
    assert_eq!(error.reason, Reason::Unmodelled, "{error}");
    assert_eq!(rig.value("list", json!(["pods"]), json!({ "namespace": "machines" })), json!([]));
}

#[test]
fn nothing_is_made_unless_it_is_granted_and_allowed() {
    for inventory in ["", "pod: {image: busybox}", "pod: {image: busybox, privileged: false}"] {
        let rig = rig(inventory, "", None);
        let error = rig.error("machine.read", json!(["w1", ["true"]]), Json::Null);
        assert_eq!((error.kind, error.reason), (Kind::Refused, Reason::Refused), "{error}");
        assert!(error.hint.as_deref().unwrap().contains("privileged: true"));
        assert_eq!(rig.writes(), 0);
    }
    let rig = rig(GRANTED, "restricted", Some(ANSWER));
    let error = rig.error("machine.read", json!(["w1", ["true"]]), Json::Null);
    assert_eq!((error.reason, rig.writes()), (Reason::Refused, 0));
    assert_eq!(error.message, "namespace `machines` allows only restricted pods, and the way to a machine is a privileged one");
    let rig = self::rig(GRANTED, "", Some(ANSWER));
    rig.read_only();
    let error = rig.error("machine.read", json!(["w1", ["true"]]), Json::Null);
    assert_eq!((error.kind, rig.value("list", json!(["pods"]), json!({ "namespace": "machines" }))), (Kind::Refused, json!([])), "{error}");
}

#[test]
fn a_pod_that_does_not_run_says_why() {
    let rig = rig(GRANTED, "", Some(ANSWER));
    rig.sim(|sim| sim.models_mut().never_pulls("registry.example/busybox:*"));
    let error = rig.error("machine.read", json!(["w1", ["true"]]), Json::Null);
    assert_eq!((error.kind, error.reason), (Kind::Stuck, Reason::NotReady), "{error}");
    assert!(
        error.message.contains("the pod to reach it does not run: ErrImagePull") || error.message.contains("ImagePullBackOff"),
        "{error}"
    );
    assert_eq!(rig.value("list", json!(["pods"]), json!({ "namespace": "machines" })), json!([]));
}
