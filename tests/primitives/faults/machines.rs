//! `machine.*` on the models of a simulated cluster, which ask for the node, and by pods, whose every request is the cluster's. By `ssh` no
//! request is made; what can go wrong there is in `tests/machine`.

use lockgate::cluster::machines::{Inventory, Way, Ways};
use lockgate::cluster::{Access, Cluster, Options, RunId};
use lockgate_sim::Cluster as Sim;
use lockgate_sim::json::{Value as Json, from_value, json};
use lockgate_sim::model::ModelDocument;
use lockgate_sim::request::Request;

use super::calls::Case;
use crate::primitives::machine;
use crate::primitives::support::Rig;

fn modelled_backup() -> Sim {
    let mut sim = machine::sim();
    let text =
        "apiVersion: lockgate.dev/v1\nkind: Model\nmachines: [{node: w1, why: a test, commands: [{argv: backup etcd, takes: 20s}]}]\n";
    let document: ModelDocument = serde_saphyr::from_str(text).unwrap();
    sim.models_mut().extend(document);
    sim
}

pub(super) fn modelled() -> Vec<Case> {
    let row = |verb: &'static str, arguments: Json| Case::on(verb, modelled_backup, verb, arguments, json!({}));
    vec![
        row("machine.read", json!(["w1", ["kubelet", "--version"]])),
        row("machine.file", json!(["w1", "/etc/os-release"])),
        row("machine.available", json!(["w1", "kubeadm", "1.19.16"])),
        row("machine.run", json!(["w1", ["backup", "etcd"]])),
        row("machine.write", json!(["w1", "/etc/motd", "hello\n"])),
        row("machine.packages", json!(["w1", { "kubeadm": "1.19.16" }])),
        row("machine.service", json!(["w1", "kubelet", "restart"])),
        row("machine.reboot", json!(["w1"])),
    ]
}

/// What the shell of a machine says, whatever it is asked: it has begun, it has ended, it has written.
fn answers(run: RunId) -> String {
    let ended = "state ended\ncode 0\ntook 0\nsize-out 3\nout aGkK\nsize-err 0\nerr \n";
    let block = |id: &str, text: &str| format!("answer {run}/{id}\n{text}end {run}/{id}\n");
    let reads: String = (1..100).map(|number| block(&format!("read/{number}"), ended)).collect();
    let operations: String = (1..100)
        .map(|number| {
            block(&format!("{number}/begin"), "state begun\n")
                + &block(&format!("{number}/look"), ended)
                + &block(&format!("{number}/write"), "state written\nformer /former\n")
        })
        .collect();
    reads + &operations
}

fn with_pods() -> Sim {
    let mut sim = machine::sim();
    let namespace = json!({ "metadata": { "name": "machines" } });
    assert_eq!(sim.handle(&Request::post("/api/v1/namespaces", &namespace)).status, 201);
    let entry = json!({
        "apiVersion": "lockgate.dev/v1", "kind": "Model",
        "images": [{ "match": "*busybox*", "pull": "1s", "ready": "0s", "why": "a small image" }],
        "exec": [{ "match": { "container": "machine", "command": "nsenter *" },
            "answer": { "stdout": answers(RunId::simulated(sim.now(), 1)), "takes": "2s" }, "why": "a test" }],
    });
    sim.models_mut().extend(from_value::<ModelDocument>(entry).unwrap());
    sim
}

fn by_pod(sim: Sim) -> Rig {
    let inventory = "pod: {image: registry.example/busybox:1.36, namespace: machines, privileged: true}";
    let ways = Ways { kind: Way::Pod, inventory: Inventory::parse("i.yaml", inventory).unwrap() };
    // The run of `with_pods`, however far the time is.
    let run = RunId::simulated(machine::sim().now(), 1);
    let cluster = Cluster::stand_in(sim, Options { machines: Some(ways), ..Options::new(run) });
    cluster.set_access(Access::ReadWrite);
    Rig::over(cluster)
}

/// Those whose steps the answers above fit; the others are made of the same steps.
pub(super) fn by_pods() -> Vec<Case> {
    let row = |name: &'static str, verb: &'static str, arguments: Json| Case {
        rig: by_pod,
        ..Case::on(name, with_pods, verb, arguments, json!({}))
    };
    vec![
        row("machine.read by a pod", "machine.read", json!(["w1", ["kubelet", "--version"]])),
        row("machine.run by a pod", "machine.run", json!(["w1", ["backup", "etcd"]])),
    ]
}
