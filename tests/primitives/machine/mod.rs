//! `machine.*` on the models of a simulated cluster.

mod by_hand;
mod by_pod;
mod home;

use lockgate::base::{Kind, Reason, Span};
use lockgate::cluster::Access;
use lockgate::primitives::{Done, Inverse};
use lockgate_sim::Options as SimOptions;
use lockgate_sim::fixture::Fixture;
use lockgate_sim::json::{Value as Json, json};
use lockgate_sim::{Cluster as Sim, model::ModelDocument};

use super::support::{Rig, changes};

/// A kubeadm cluster: `m1` of the control plane, `w1` on Debian, `w2` on CentOS; all at v1.18.4, with v1.19.16 in the repositories.
pub(crate) fn sim() -> Sim {
    let text = include_str!("../../../host/sim/src/machines/tests.yaml");
    Fixture::parse("machines.yaml", text).unwrap().cluster(SimOptions::default()).unwrap()
}

fn rig() -> Rig {
    Rig::on(sim())
}

/// Entries under `machines`.
fn model(rig: &Rig, machines: &str) {
    let text = format!("apiVersion: lockgate.dev/v1\nkind: Model\nmachines: [{machines}]\n");
    let document: ModelDocument = serde_saphyr::from_str(&text).unwrap();
    rig.sim(|sim| sim.models_mut().extend(document));
}

/// How often a command was run on a machine.
fn ran(rig: &Rig, what: &str) -> usize {
    let line = format!("MACHINE {what}");
    rig.sim(|sim| sim.event_log().filter(|entry| entry.ends_with(&line)).count())
}

fn kubelet_version(rig: &Rig, node: &str) -> String {
    rig.object(&format!("node/{node}"))["status"]["nodeInfo"]["kubeletVersion"].as_str().unwrap().to_owned()
}

fn told(done: &Done) -> String {
    format!("{} {}", done.wrote[0].verb, done.wrote[0].target)
}

#[test]
fn reading_gives_what_the_model_says_and_failing_is_an_error() {
    let rig = rig();
    let read = rig.value("machine.read", json!(["w1", ["kubelet", "--version"]]), Json::Null);
    assert_eq!(read, json!({ "code": 0, "stdout": "Kubernetes v1.18.4\n", "stderr": "", "truncated": false }));
    let error = rig.error("machine.read", json!(["node/w1", ["cat", "/none"]]), Json::Null);
    assert_eq!((error.kind, error.reason), (Kind::Cluster, Reason::CommandFailed));
    assert_eq!(error.to_string(), "`cat /none` on `w1` ended with exit code 1: cat: /none: No such file or directory");
    assert_eq!((error.object.as_deref(), error.details["code"].as_i64()), (Some("node/w1"), Some(1)));
    let read = rig.value("machine.read", json!(["w1", ["cat", "/none"]]), json!({ "check": false }));
    assert_eq!(read["code"], 1);
    assert_eq!(rig.value("machine.file", json!(["w2", "/etc/os-release"]), Json::Null).as_str().unwrap().lines().next(), Some("ID=centos"));
    let error = rig.error("machine.file", json!(["w1", "/none"]), Json::Null);
    assert_eq!((error.reason, error.message.as_str()), (Reason::NotFound, "reading `/none` on `w1`: there is no such file"));
    assert_eq!(rig.writes(), 0);
}

#[test]
fn what_no_model_knows_is_unmodelled_and_a_reader_changes_nothing() {
    let rig = rig();
    let error = rig.error("machine.read", json!(["w1", ["etcdctl", "endpoint", "health"]]), Json::Null);
    assert_eq!(error.reason, Reason::Unmodelled);
    assert!(error.message.contains("`etcdctl endpoint health` on the machine of node w1"), "{error}");
    let error = rig.error("machine.read", json!(["w1", ["systemctl", "stop", "kubelet"]]), Json::Null);
    assert_eq!((error.kind, error.reason), (Kind::Refused, Reason::Refused));
    let error = rig.error("machine.read", json!(["w11", ["true"]]), Json::Null);
    assert_eq!((error.reason, error.hint.as_deref()), (Reason::NotFound, Some("did you mean `node/w1`?")));
    for (verb, arguments) in [
        ("machine.read", json!(["w1", []])),
        ("machine.run", json!(["w1", [""]])),
        ("machine.file", json!(["w1", "etc/passwd"])),
        ("machine.write", json!(["w1", "/etc/", "x"])),
        ("machine.service", json!(["w1", "-H", "start"])),
        ("machine.service", json!(["w1", "kubelet", "kill"])),
        ("machine.available", json!(["w1", "-y", "1"])),
        ("machine.packages", json!(["w1", {}])),
        ("machine.packages", json!(["w1", { "kubeadm": "1 2" }])),
        ("machine.read", json!(["deployment/web", ["true"]])),
    ] {
        let error = rig.error(verb, arguments.clone(), Json::Null);
        assert_eq!((error.kind, error.reason), (Kind::Input, Reason::Usage), "{verb} {arguments}: {error}");
    }
    let error = rig.error("machine.write", json!(["w1", "/etc/x", "x"]), json!({ "mode": "rw" }));
    assert_eq!(error.reason, Reason::Usage);
}

#[test]
fn a_command_runs_once_takes_its_time_and_is_told() {
    let rig = rig();
    model(&rig, "{node: w1, why: seen, commands: [{argv: backup etcd, takes: 4m, stdout: 'done', effect: {files: {/backup: all of it}}}]}");
    let begun = rig.cx().now();
    let done = rig.call("machine.run", json!(["w1", ["backup", "etcd"]]), Json::Null).unwrap();
    assert_eq!(done.value.clone().into_json(), json!({ "changed": true, "code": 0, "stdout": "done", "stderr": "", "truncated": false }));
    assert_eq!(Span::between(begun, rig.cx().now()), Span::from_secs(240));
    assert_eq!((told(&done).as_str(), ran(&rig, "w1 backup etcd")), ("run backup etcd on w1", 1));
    assert!(matches!(done.wrote[0].inverse, Inverse::Irreversible(_)));
    assert_eq!(rig.operator.states.borrow()[0], "backup etcd on w1: it runs");
    assert_eq!(rig.value("machine.file", json!(["w1", "/backup"]), Json::Null), json!("all of it"));
}

#[test]
fn a_command_that_fails_has_run_and_the_record_says_so() {
    let rig = rig();
    model(&rig, "{node: w1, why: seen, commands: [{argv: migrate, code: 3, stderr: \"one\\ntwo\\n\"}]}");
    let error = rig.error("machine.run", json!(["w1", ["migrate"]]), Json::Null);
    assert_eq!(error.to_string(), "`migrate` on `w1` ended with exit code 3: one: two");
    assert_eq!(rig.operator.told.borrow().iter().map(|wrote| wrote.target.clone()).collect::<Vec<_>>(), ["migrate on w1"]);
    assert_eq!(rig.value("machine.run", json!(["w1", ["migrate"]]), json!({ "check": false }))["code"], 3);
    assert_eq!(ran(&rig, "w1 migrate"), 2, "two calls are two operations");
}

#[test]
fn nothing_is_changed_where_only_reads_are_allowed() {
    let rig = rig();
    rig.cluster.set_access(Access::ReadOnly);
    for (verb, arguments) in [
        ("machine.run", json!(["w1", ["systemctl", "stop", "kubelet"]])),
        ("machine.write", json!(["w1", "/etc/x", "x"])),
        ("machine.packages", json!(["w1", { "kubeadm": "1.19.16-00" }])),
        ("machine.service", json!(["w1", "kubelet", "stop"])),
        ("machine.reboot", json!(["w1"])),
    ] {
        let error = rig.error(verb, arguments, Json::Null);
        assert_eq!((error.kind, error.reason), (Kind::Refused, Reason::Refused), "{verb}: {error}");
        assert!(error.to_string().contains("only reads are allowed here"), "{verb}: {error}");
    }
    assert_eq!(rig.value("machine.read", json!(["w1", ["systemctl", "is-active", "kubelet"]]), Json::Null)["stdout"], "active\n");
    assert!(rig.operator.told.borrow().is_empty(), "nothing happened");
}

#[test]
fn a_plan_works_on_its_copy_of_the_machines() {
    let rig = rig();
    let plan = Rig::over(rig.cluster.planning());
    plan.value("machine.packages", json!(["w1", { "kubelet": "1.19.16-00" }]), Json::Null);
    plan.value("machine.service", json!(["w1", "kubelet", "restart"]), Json::Null);
    assert_eq!((kubelet_version(&plan, "w1").as_str(), kubelet_version(&rig, "w1").as_str()), ("v1.19.16", "v1.18.4"));
    assert_eq!(ran(&rig, "w1 systemctl restart kubelet"), 0);
    let live = lockgate::cluster::Cluster::stand_in(sim(), lockgate::cluster::Options::new(rig.cluster.run()));
    let plan = Rig::over(live.planning());
    let error = plan.error("machine.read", json!(["w1", ["true"]]), Json::Null);
    assert_eq!(error.reason, Reason::Unmodelled, "nobody knows the machines of a live cluster, and nothing is run there: {error}");
}

#[test]
fn a_killed_command_is_run_anew_only_when_it_may_be() {
    let rig = rig();
    model(&rig, "{node: w1, boot: 5m, why: seen, commands: [{argv: once, takes: 2m}, {argv: often, takes: 2m}]}");
    let killed = |words: Json, options: Json| {
        let reboot = rig.sim(|sim| sim.now());
        rig.run(async {
            let call = rig.calling("machine.run", vec![super::support::arg(json!("w1")), super::support::arg(words)], &options);
            let kill = async {
                let clock = rig.cluster.clock().join();
                clock.sleep_until(reboot + std::time::Duration::from_secs(20)).await.unwrap();
                let order = lockgate_sim::machines::Order {
                    node: "w1".to_owned(),
                    id: format!("somebody {reboot}"),
                    reads: false,
                    deed: lockgate_sim::machines::Deed::Run { argv: vec!["reboot".to_owned()] },
                };
                rig.sim(|sim| sim.order(&order)).unwrap();
            };
            futures::join!(call, kill).0
        })
    };
    let error = killed(json!(["once"]), Json::Null).unwrap_err();
    assert_eq!((error.reason, error.details["outcome"].as_str()), (Reason::CommandFailed, Some("unknown")), "{error}");
    assert_eq!(ran(&rig, "w1 once"), 1);
    let told: Vec<Inverse> = rig.operator.told.borrow().iter().map(|wrote| wrote.inverse.clone()).collect();
    assert_eq!(told, [Inverse::Irreversible("nobody knows how it ended".to_owned())]);
    assert!(rig.operator.states.borrow().iter().any(|state| state.contains("the machine does not answer; it goes on there")));
    let done = killed(json!(["often"]), json!({ "idempotent": true })).unwrap();
    assert_eq!((done.value.into_json()["code"].as_i64(), ran(&rig, "w1 often")), (Some(0), 2));
}

#[test]
fn a_command_has_a_limit() {
    let rig = rig();
    model(&rig, "{node: w1, why: seen, commands: [{argv: 'sleep *', takes: 5h}]}");
    let error = rig.error("machine.read", json!(["w1", ["sleep", "1d"]]), json!({ "limit": "5s" }));
    assert_eq!((error.kind, error.reason), (Kind::Stuck, Reason::Timeout), "{error}");
    assert_eq!(error.message, "`sleep 1d` on `w1` was ended: its time was over");
}

#[test]
fn a_file_is_written_when_it_differs_and_put_back() {
    let rig = rig();
    let path = "/etc/apt/sources.list.d/kubernetes.list";
    let write = |text: &str, options: Json| rig.call("machine.write", json!(["w1", path, text]), options).unwrap();
    let file = || rig.call("machine.file", json!(["w1", path]), Json::Null).map(|done| done.value.into_json());
    let first = write("one\n", Json::Null);
    assert_eq!((told(&first), changes(&first)), (format!("write {path} on w1"), vec!["text added 4 bytes".to_owned()]));
    let again = write("one\n", Json::Null);
    assert_eq!((again.value.clone().into_json(), again.wrote.len()), (json!({ "changed": false }), 0));
    let mode = write("one\n", json!({ "mode": "0600" }));
    assert_eq!(mode.wrote.len(), 1, "the mode differs");
    assert!(write("one\n", json!({ "mode": "600" })).wrote.is_empty());
    let second = write("two\n", Json::Null);
    assert_eq!(file().unwrap(), json!("two\n"));
    rig.undo(&second);
    assert_eq!(file().unwrap(), json!("one\n"));
    rig.undo(&first);
    assert_eq!(file().unwrap_err().reason, Reason::NotFound, "there was none at first");
}

#[test]
fn packages_come_to_their_versions_stay_held_and_go_back() {
    let rig = rig();
    assert_eq!(rig.value("machine.available", json!(["w1", "kubeadm", "1.19.16"]), Json::Null), json!(true));
    assert_eq!(rig.value("machine.available", json!(["w1", "kubeadm", "1.19.1"]), Json::Null), json!(false));
    let bring =
        |version: &str| rig.call("machine.packages", json!(["w1", { "kubeadm": version, "kubectl": version }]), Json::Null).unwrap();
    let holds = || rig.value("machine.read", json!(["w1", ["apt-mark", "showhold"]]), Json::Null)["stdout"].clone();
    let done = bring("v1.19.16");
    assert_eq!(
        done.value.clone().into_json(),
        json!({ "changed": true, "previous": { "kubeadm": "1.18.4-00", "kubectl": "1.18.4-00" },
            "packages": { "kubeadm": "1.19.16-00", "kubectl": "1.19.16-00" } })
    );
    assert_eq!(told(&done), "install kubeadm=1.19.16-00 kubectl=1.19.16-00 on w1");
    assert_eq!(changes(&done), ["kubeadm 1.18.4-00 -> 1.19.16-00", "kubectl 1.18.4-00 -> 1.19.16-00"]);
    assert_eq!(holds(), "kubeadm\nkubelet\n", "what was held is held again, and nothing else");
    assert!(bring("1.19.16-00").wrote.is_empty(), "nothing to do");
    assert_eq!(rig.sim(|sim| sim.event_log().filter(|line| line.contains("apt-get install")).count()), 1);
    rig.undo(&done);
    assert_eq!(rig.value("machine.read", json!(["w1", ["kubeadm", "version", "-o", "short"]]), Json::Null)["stdout"], "v1.18.4\n");
    assert_eq!(holds(), "kubeadm\nkubelet\n");
}

#[test]
fn packages_of_red_hat_go_forth_and_back_too() {
    let rig = rig();
    let version = || rig.value("machine.read", json!(["w2", ["kubelet", "--version"]]), Json::Null)["stdout"].clone();
    let done = rig.call("machine.packages", json!(["w2", { "kubelet": "1.19.16" }]), Json::Null).unwrap();
    assert_eq!((told(&done).as_str(), version()), ("install kubelet=1.19.16-0 on w2", json!("Kubernetes v1.19.16\n")));
    rig.undo(&done);
    assert_eq!(version(), "Kubernetes v1.18.4\n");
}

#[test]
fn a_package_that_cannot_be_had_is_named_before_anything_is_installed() {
    let rig = rig();
    let error = rig.error("machine.packages", json!(["w1", { "kubeadm": "1.19.16", "kubelet": "1.20.1" }]), Json::Null);
    assert_eq!((error.reason, error.message.as_str()), (Reason::NotFound, "packages on `w1`: the repositories have no `kubelet` 1.20.1"));
    assert_eq!(error.hint.as_deref(), Some("the newest are `1.19.16-00` and `1.18.4-00`; has the repository the right minor version?"));
    assert_eq!(rig.sim(|sim| sim.event_log().filter(|line| line.contains("apt-get install")).count()), 0);
    assert_eq!(ran(&rig, "w1 apt-get -o DPkg::Lock::Timeout=600 update"), 1, "the machine has looked for it");
    model(&rig, "{node: w1, os: flatcar 3815, why: seen}");
    let other = Rig::on(sim());
    model(&other, "{node: w1, os: flatcar 3815, why: seen}");
    let error = other.error("machine.packages", json!(["w1", { "kubeadm": "1.19.16" }]), Json::Null);
    assert_eq!(
        (error.reason, error.message.as_str()),
        (Reason::Unsupported, "packages on `w1`: it runs flatcar 3815, and only apt and yum are known here")
    );
}

#[test]
fn an_installation_that_fails_leaves_the_holds_and_one_that_was_interrupted_is_ended_first() {
    let rig = rig();
    model(
        &rig,
        "{node: w1, why: seen, commands: [{argv: 'apt-get install *', code: 100, stderr: 'E: Could not get lock /var/lib/dpkg/lock-frontend.'}]}",
    );
    let error = rig.error("machine.packages", json!(["w1", { "kubeadm": "1.19.16" }]), Json::Null);
    assert_eq!(error.reason, Reason::CommandFailed);
    assert!(error.hint.as_deref().unwrap().contains("no lock is ever deleted"), "{error:?}");
    assert_eq!(ran(&rig, "w1 apt-mark hold kubeadm"), 1, "held again however it ended");
    let other = Rig::on(sim());
    model(
        &other,
        "{node: w1, why: seen, files: {/half: yes}, commands: [\
         {argv: 'apt-get install *', when: {file: /half, contains: 'y'}, code: 100, stderr: 'E: dpkg was interrupted, you must manually run dpkg --configure -a'},\
         {argv: 'dpkg --configure -a', effect: {files: {/half: null}}}]}",
    );
    let done = other.call("machine.packages", json!(["w1", { "kubeadm": "1.19.16" }]), Json::Null).unwrap();
    assert_eq!(done.value.into_json()["packages"]["kubeadm"], "1.19.16-00");
    assert_eq!(ran(&other, "w1 dpkg --configure -a"), 1);
}

#[test]
fn a_unit_is_brought_where_it_is_to_be_and_back() {
    let rig = rig();
    let serve = |action: &str| rig.call("machine.service", json!(["w1", "kubelet", action]), Json::Null).unwrap();
    assert!(serve("start").wrote.is_empty(), "it runs");
    assert!(serve("enable").wrote.is_empty());
    let stopped = serve("stop");
    assert_eq!((told(&stopped).as_str(), changes(&stopped)), ("stop kubelet on w1", vec!["active true -> false".to_owned()]));
    assert_eq!(stopped.value.clone().into_json(), json!({ "changed": true, "active": false, "enabled": true }));
    rig.undo(&stopped);
    let disabled = serve("disable");
    assert_eq!(disabled.value.clone().into_json()["enabled"], false);
    rig.undo(&disabled);
    let again = serve("restart");
    assert!(matches!(again.wrote[0].inverse, Inverse::Irreversible(_)));
    let error = rig.error("machine.service", json!(["w1", "kubelt", "restart"]), Json::Null);
    assert_eq!(
        (error.reason, error.to_string().as_str()),
        (
            Reason::CommandFailed,
            "`systemctl restart kubelt` on `w1` ended with exit code 5: Failed to restart kubelt.service: Unit kubelt.service not found."
        )
    );
    model(&rig, "{node: w1, why: a bad flag, commands: [{argv: systemctl restart kubelet, effect: {units: {kubelet: failed}}}]}");
    let error = rig.error("machine.service", json!(["w1", "kubelet", "restart"]), Json::Null);
    assert_eq!(error.message, "unit `kubelet` on `w1` does not run after its restart");
    assert!(error.details["journal"].is_string());
}

#[test]
fn a_reboot_is_over_when_the_node_is_ready_with_another_boot() {
    let rig = rig();
    model(&rig, "{node: w1, boot: 3m, why: a slow firmware}");
    let begun = rig.cx().now();
    let done = rig.call("machine.reboot", json!(["w1"]), Json::Null).unwrap();
    let node = rig.object("node/w1");
    assert_eq!(
        (told(&done).as_str(), done.value.clone().into_json()["boot_id"].clone()),
        ("reboot node/w1", node["status"]["nodeInfo"]["bootID"].clone())
    );
    let took = Span::between(begun, rig.cx().now());
    assert!(took > Span::from_secs(180) && took < Span::from_secs(210), "{took}");
    assert!(matches!(done.wrote[0].inverse, Inverse::Irreversible(_)));
    assert!(rig.operator.states.borrow().iter().any(|state| state.ends_with("it is down")), "{:?}", rig.operator.states);
    model(&rig, "{node: w1, boot: 2h, why: it does not come back}");
    let other = Rig::on(sim());
    model(&other, "{node: w1, boot: 2h, why: it does not come back}");
    let error = other.error("machine.reboot", json!(["w1"]), json!({ "limit": "10m" }));
    assert_eq!((error.kind, error.reason), (Kind::Stuck, Reason::Timeout), "{error}");
    assert_eq!(other.operator.told.borrow().len(), 1, "that it was begun is in the record");
}

#[test]
fn a_kubeadm_cluster_is_upgraded_node_by_node() {
    let rig = rig();
    let run = |node: &str, words: Json| rig.value("machine.run", json!([node, words]), json!({ "idempotent": true }));
    let bring = |node: &str, packages: Json| rig.value("machine.packages", json!([node, packages]), Json::Null);
    bring("m1", json!({ "kubeadm": "1.19.16" }));
    let plan = rig.value("machine.read", json!(["m1", ["kubeadm", "upgrade", "plan", "v1.19.16"]]), Json::Null);
    assert!(plan["stdout"].as_str().unwrap().contains("kubeadm upgrade apply v1.19.16"));
    run("m1", json!(["kubeadm", "upgrade", "apply", "v1.19.16", "-y"]));
    for node in ["m1", "w1", "w2"] {
        if node != "m1" {
            bring(node, json!({ "kubeadm": "1.19.16" }));
            run(node, json!(["kubeadm", "upgrade", "node"]));
        }
        bring(node, json!({ "kubelet": "1.19.16", "kubectl": "1.19.16" }));
        rig.value("machine.service", json!([node, "kubelet", "restart"]), Json::Null);
        rig.value("wait_for", json!([format!("node/{node}"), "Ready"]), Json::Null);
        assert_eq!(kubelet_version(&rig, node), "v1.19.16");
    }
    rig.value("wait_rollout", json!(["daemonset/kube-proxy"]), json!({ "namespace": "kube-system" }));
    let server = rig.object("pod/kube-system/kube-apiserver-m1");
    assert_eq!(server["spec"]["containers"][0]["image"], "registry.example/kube-apiserver:v1.19.16");
    assert_eq!(server["status"]["phase"], "Running");
}
