//! Calls that were interrupted and are made anew, as far as what they do is no request of the API: a command in a container, what runs on a
//! machine, a release. The process of the first call is killed after it has done everything and before it could note that.

use std::rc::Rc;

use lockgate::base::{Kind, Reason};
use lockgate::primitives::Done;
use lockgate_sim::json::{Value as Json, json};
use lockgate_sim::model::{ExecAnswer, ExecMatch, ExecModel, ModelDocument};

use super::kept::Kept;
use super::support::{Rig, changes};

/// What is run on machines to read.
const READS: [&str; 6] = ["cat ", "systemctl is-", "dpkg-query ", "apt-cache ", "apt-mark showhold", "command "];

/// What was done so far: how often requests changed or ran something, and what machines ran but to read.
fn effects(rig: &Rig) -> (usize, Vec<String>) {
    rig.sim(|sim| {
        let ran = sim.event_log().filter_map(|line| line.split_once("MACHINE w1 ")).map(|(_, what)| what.to_owned());
        (sim.ledger().len(), ran.filter(|what| !READS.iter().any(|read| what.starts_with(read))).collect())
    })
}

/// Makes a call, and then again as the next process of the run does, which knows of everything but its end; both results. Nothing is done
/// twice.
fn anew(rig: &Rig, verb: &str, positional: Json, options: Json) -> (Done, Done) {
    let first = Rc::new(Kept::default());
    rig.cluster.keep(first.clone());
    rig.cluster.begin_call();
    let once = rig.call(verb, positional.clone(), options.clone()).unwrap();
    let done = effects(rig);
    let second = Rc::new(first.interrupted());
    rig.cluster.keep(second.clone());
    rig.cluster.begin_call();
    let again = rig.call(verb, positional, options).unwrap();
    assert_eq!(effects(rig), done, "{verb}: something was done a second time");
    if !verb.starts_with("helm.") {
        // What a release is made of is looked at as a whole.
        assert_eq!(second.unmet(), Vec::<String>::new(), "{verb}: what the record has was not come to");
    }
    for operation in second.operations() {
        assert!(first.operations().contains(&operation), "{verb}: `{operation}` is a new operation");
    }
    // With the end of the call its record is closed.
    rig.cluster.keep(Rc::new(Kept::default()));
    (once, again)
}

/// The same, where both give the same, and have the same way back.
fn alike(rig: &Rig, verb: &str, positional: Json, options: Json) {
    let (once, again) = anew(rig, verb, positional, options);
    assert_eq!(once.value.into_json(), again.value.into_json(), "{verb}");
    assert_eq!(once.wrote, again.wrote, "{verb}");
}

fn machines() -> Rig {
    let rig = Rig::on(super::machine::sim());
    let text = "apiVersion: lockgate.dev/v1\nkind: Model\nmachines: [{node: w1, why: a test, commands: [{argv: backup etcd, takes: 20s, stdout: \"kept\\n\"}]}]\n";
    let document: ModelDocument = serde_saphyr::from_str(text).unwrap();
    rig.sim(|sim| sim.models_mut().extend(document));
    rig
}

#[test]
fn a_command_on_a_machine_is_found_and_not_run_again() {
    alike(&machines(), "machine.run", json!(["w1", ["backup", "etcd"]]), Json::Null);
}

#[test]
fn a_file_that_was_written_is_told_with_what_was_there_before() {
    let rig = machines();
    rig.value("machine.write", json!(["w1", "/etc/motd", "before\n"]), Json::Null);
    let (once, again) = anew(&rig, "machine.write", json!(["w1", "/etc/motd", "after it\n"]), Json::Null);
    assert_eq!((once.value.into_json(), &once.wrote), (json!({ "changed": true }), &again.wrote));
    assert_eq!(changes(&again), ["text 7 bytes -> 9 bytes"]);
    rig.undo(&again);
    assert_eq!(rig.value("machine.file", json!(["w1", "/etc/motd"]), Json::Null), "before\n");
}

#[test]
fn packages_that_were_installed_are_told_with_what_they_replaced() {
    let rig = machines();
    alike(&rig, "machine.packages", json!(["w1", { "kubeadm": "1.19.16", "kubectl": "1.19.16" }]), Json::Null);
}

#[test]
fn a_unit_is_not_restarted_and_not_stopped_twice() {
    let rig = machines();
    alike(&rig, "machine.service", json!(["w1", "kubelet", "restart"]), Json::Null);
    alike(&rig, "machine.service", json!(["w1", "kubelet", "stop"]), Json::Null);
}

#[test]
fn a_machine_that_has_booted_is_not_booted_again() {
    let rig = machines();
    alike(&rig, "machine.reboot", json!(["w1"]), Json::Null);
    let boots = rig.sim(|sim| sim.event_log().filter(|line| line.ends_with("MACHINE w1 systemctl reboot")).count());
    assert_eq!(boots, 1);
}

/// A cluster in which `rotate` is a command.
fn containers() -> Rig {
    let commands = ExecMatch { command: Some("rotate*".to_owned()), ..ExecMatch::default() };
    let exec = vec![ExecModel {
        commands,
        answer: ExecAnswer { stdout: "rotated\n".to_owned(), ..ExecAnswer::default() },
        why: "a test".to_owned(),
    }];
    Rig::with(|sim| sim.models_mut().extend(ModelDocument { exec, ..ModelDocument::default() }))
}

fn rotate(rig: &Rig) -> Json {
    let pod = rig.pods_of("web")[0]["metadata"]["name"].as_str().unwrap().to_owned();
    json!([format!("pod/{pod}"), ["rotate", "keys"]])
}

#[test]
fn whether_a_command_in_a_container_is_run_again_is_for_a_person_to_say() {
    let rig = containers();
    let call = rotate(&rig);
    let first = Rc::new(Kept::default());
    rig.cluster.keep(first.clone());
    rig.value("exec", call.clone(), json!({}));
    assert!(rig.operator.asked.borrow().is_empty());
    rig.cluster.keep(Rc::new(first.interrupted()));
    rig.operator.declines.set(true);
    let error = rig.error("exec", call.clone(), json!({}));
    assert_eq!((error.kind, error.reason, effects(&rig).0), (Kind::Cancelled, Reason::Declined, 1), "{error}");
    let question = rig.operator.asked.borrow()[0].0.clone();
    assert!(question.starts_with("`rotate keys` in pod/") && question.ends_with("may have run. Run it again?"), "{question}");
    rig.operator.declines.set(false);
    assert_eq!(rig.value("exec", call.clone(), json!({}))["stdout"], "rotated\n");
    assert_eq!(effects(&rig).0, 2);
    // One that only reads is nobody's question.
    rig.value("exec", call, json!({ "read": true }));
    assert_eq!(rig.operator.asked.borrow().len(), 2);
}

const CHART: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: shop }\ndata: { colour: green }\n";

fn charts() -> Rig {
    Rig::with(|sim| {
        let charts = vec![super::helm::chart("1.0.0", CHART), super::helm::chart("2.0.0", &CHART.replace("green", "red"))];
        sim.models_mut().extend(ModelDocument { charts, ..ModelDocument::default() });
    })
}

#[test]
fn a_release_of_a_fixtures_chart_is_found_and_not_made_again() {
    let rig = charts();
    let revision = |rig: &Rig| rig.value("helm.get", json!(["shop"]), json!({}))["revision"].clone();
    anew(&rig, "helm.install", json!(["shop", "shop"]), json!({ "version": "1.0.0" }));
    assert_eq!(revision(&rig), 1);
    let newer = json!({ "version": "2.0.0", "values_from": "previous" });
    let (once, again) = anew(&rig, "helm.upgrade", json!(["shop", "shop"]), newer);
    assert_eq!((&once.value.into_json()["previous_revision"], revision(&rig)), (&json!(1), json!(2)));
    assert_eq!(once.wrote[0].inverse, again.wrote[0].inverse);
    anew(&rig, "helm.rollback", json!(["shop"]), json!({ "revision": 1 }));
    assert_eq!((revision(&rig), rig.object("configmap/shop")["data"]["colour"].as_str()), (json!(3), Some("green")));
    let (_, again) = anew(&rig, "helm.uninstall", json!(["shop"]), json!({}));
    assert_eq!(again.value.into_json()["changed"], true, "it was this call that took it away");
}
