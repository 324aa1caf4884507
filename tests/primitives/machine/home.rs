//! The machine that lockgate's own pod is on stays up.

use lockgate::base::{Kind, Reason};
use lockgate::cluster::machines::{Inventory, Way, Ways};
use lockgate::cluster::{Access, Cluster, Home, Options, RunId};
use lockgate_sim::json::{Value as Json, json};
use lockgate_sim::request::Request;

use super::ran;
use crate::primitives::support::Rig;

/// A cluster in which a pod `upgrade` runs on this node; lockgate is in a pod of that name, or in another one.
fn rig(node: &str, pod: &str, ways: Option<Ways>) -> Rig {
    let mut sim = super::sim();
    let body = json!({
        "metadata": { "name": "upgrade" },
        "spec": { "nodeName": node, "tolerations": [{ "operator": "Exists" }], "containers": [{ "name": "lockgate", "image": "registry.example/lockgate:v1" }] },
    });
    assert_eq!(sim.handle(&Request::post("/api/v1/namespaces/default/pods", &body)).status, 201);
    let home = Some(Home { namespace: "default".to_owned(), pod: pod.to_owned() });
    let options = Options { home, machines: ways, ..Options::new(RunId::simulated(sim.now(), 1)) };
    let cluster = if options.machines.is_some() { Cluster::stand_in(sim, options) } else { Cluster::simulated(sim, options) };
    cluster.set_access(Access::ReadWrite);
    Rig::over(cluster)
}

const DOWN: [(&str, &str); 5] = [
    ("machine.reboot", "rebooting `node/w1`"),
    ("machine.run reboot", "`systemctl reboot` on `node/w1`"),
    ("machine.run shell", "`sh -c 'kubeadm reset -f; poweroff'` on `node/w1`"),
    ("machine.run reset", "`kubeadm reset -f` on `node/w1`"),
    ("machine.service", "`systemctl start reboot.target` on `node/w1`"),
];

/// The verb with its arguments.
fn call(what: &str) -> (&'static str, Json) {
    match what {
        "machine.reboot" => ("machine.reboot", json!(["w1"])),
        "machine.run reboot" => ("machine.run", json!(["w1", ["systemctl", "reboot"]])),
        "machine.run shell" => ("machine.run", json!(["w1", ["sh", "-c", "kubeadm reset -f; poweroff"]])),
        "machine.run reset" => ("machine.run", json!(["w1", ["kubeadm", "reset", "-f"]])),
        _ => ("machine.service", json!(["w1", "reboot.target", "start"])),
    }
}

#[test]
fn what_takes_the_machine_of_our_own_pod_down_is_refused_before_anything_is_done() {
    let rig = rig("w1", "upgrade", None);
    super::model(
        &rig,
        "{node: w1, why: a test, commands: [{argv: systemctl is-active -- reboot.target, code: 3}, {argv: systemctl is-enabled -- reboot.target, code: 1}]}",
    );
    // A plan of the run says the same.
    for rig in [&Rig::over(rig.cluster.planning()), &rig] {
        for (what, doing) in DOWN {
            let (verb, arguments) = call(what);
            let error = rig.error(verb, arguments, Json::Null);
            assert_eq!((error.kind, error.reason), (Kind::Refused, Reason::Refused), "{what}: {error}");
            let told = format!("{doing}: `pod/default/upgrade` on it is the one that lockgate runs in, and the run would end with it");
            assert_eq!(error.message, told, "{what}");
            assert!(error.hint.as_deref().unwrap_or_default().ends_with("come to `w1` last"), "{error:?}");
        }
    }
    for command in ["systemctl reboot", "kubeadm reset -f", "systemctl start reboot.target"] {
        assert_eq!(ran(&rig, &format!("w1 {command}")), 0, "{command}");
    }
    assert!(rig.operator.told.borrow().is_empty(), "nothing was written");
    // What does not take it down is done there, and another machine goes down.
    rig.call("machine.service", json!(["w1", "kubelet", "restart"]), Json::Null).unwrap();
    rig.call("machine.reboot", json!(["w2"]), Json::Null).unwrap();
}

#[test]
fn a_pod_elsewhere_or_of_another_cluster_is_in_nobodys_way() {
    for (node, pod) in [("w2", "upgrade"), ("w1", "of-another-cluster")] {
        let rig = rig(node, pod, None);
        rig.call("machine.reboot", json!(["w1"]), Json::Null).unwrap();
        assert_eq!(ran(&rig, "w1 systemctl reboot"), 1);
    }
}

#[test]
fn an_operator_is_not_asked_to_take_it_down_either() {
    let by_hand = || Some(Ways { kind: Way::Manual, inventory: Inventory::default() });
    for what in ["machine.reboot", "machine.run reset"] {
        let (verb, arguments) = call(what);
        let rig = rig("w1", "upgrade", by_hand());
        let error = rig.error(verb, arguments, Json::Null);
        assert!(error.message.ends_with("and the run would end with it"), "{what}: {error}");
        assert!(rig.operator.asked.borrow().is_empty(), "{what}");
    }
}
