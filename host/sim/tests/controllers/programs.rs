//! Commands in containers that change what is in the cluster, and answer as it is then.

use lockgate_sim::json::{Value, json};
use lockgate_sim::machines::{Deed, Order, Progress};
use lockgate_sim::{Body, Exec, Ran, Request};

use super::support::Sim;

const FIXTURE: &str = r#"
apiVersion: v1
kind: Node
metadata: {name: n1}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: state, namespace: shop}
data: {phase: first}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: other, namespace: shop}
---
apiVersion: v1
kind: Pod
metadata: {name: one, namespace: shop}
spec: {containers: [{name: a, image: "registry.example/a:v1"}]}
---
apiVersion: lockgate.dev/v1
kind: Model
exec:
- match: {command: "phase"}
  answer: {stdout: "${of configmap/state .data.phase} of ${name}\n"}
  why: a test
- match: {command: "phase", when: [{of: configmap/state, path: .data.phase, is: second}]}
  answer: {stdout: "the second\n"}
  why: a test
- match: {command: "tool set * to *"}
  answer: {stderr: "there is no ${1}\n", code: 1}
  why: a test
- match: {command: "tool set * to *", when: [{of: "cm/${1}", exists: true}]}
  answer: {takes: 30s, effect: [{object: "configmap/${1}", merge: {data: {phase: "${2}"}}}]}
  why: a test
- match: {command: "tool drop *"}
  answer: {effect: [{object: "configmap/shop/${1}", delete: true}, {make: {apiVersion: v1, kind: ConfigMap, metadata: {name: "after-${1}"}, data: {a: "1"}}}]}
  why: a test
- match: {command: "tool apply"}
  answer: {stdout: "applied\n", effect: [{input: {}}]}
  why: a test
- match: {command: "tool list"}
  answer: {stdout: "${list configmaps as example/v9}"}
  why: a test
- match: {command: "tool list *"}
  answer: {stdout: "${list $1}"}
  why: a test
"#;

fn exec(sim: &mut Sim, command: &str) -> Exec {
    let path = "/api/v1/namespaces/shop/pods/one/exec";
    let mut request = Request::get(path).with_query("stdout", "true").with_query("stdin", "true").with_upgrade("websocket");
    for word in command.split(' ') {
        request = request.with_query("command", word);
    }
    match sim.0.handle(&request).body {
        Body::Exec(exec) => (*exec).clone(),
        other => panic!("{other:?}"),
    }
}

fn ran(sim: &mut Sim, command: &str) -> Ran {
    exec(sim, command).outcome.unwrap()
}

fn map(sim: &mut Sim, name: &str) -> Value {
    sim.ok(&Request::get(&format!("/api/v1/namespaces/shop/configmaps/{name}")))
}

fn maps(sim: &mut Sim) -> Vec<String> {
    let all = sim.ok(&Request::get("/api/v1/namespaces/shop/configmaps"));
    all["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

fn sim() -> Sim {
    let mut sim = Sim::new(FIXTURE);
    sim.go(20);
    sim
}

#[test]
fn a_command_changes_objects_when_it_ends_and_later_ones_see_it() {
    let mut sim = sim();
    assert_eq!(ran(&mut sim, "phase").stdout, "first of one\n");
    assert_eq!(ran(&mut sim, "tool set state to second").code, 0);
    sim.go(29);
    assert_eq!(map(&mut sim, "state")["data"]["phase"], "first", "it has not ended");
    sim.go(1);
    assert_eq!(map(&mut sim, "state")["data"]["phase"], "second");
    assert_eq!(ran(&mut sim, "phase").stdout, "the second\n");
    let missing = ran(&mut sim, "tool set nothing to x");
    assert_eq!((missing.code, missing.stderr.as_str()), (1, "there is no nothing\n"));
    assert_eq!(sim.0.failure(), None);
}

#[test]
fn objects_are_deleted_and_made() {
    let mut sim = sim();
    for _ in 0..2 {
        ran(&mut sim, "tool drop other");
        assert_eq!(maps(&mut sim), ["after-other", "state"], "what is gone already is no fault, and what is there is made no second time");
    }
    assert_eq!(sim.0.failure(), None);
}

#[test]
fn a_command_that_is_killed_with_its_pod_changes_nothing() {
    let mut sim = sim();
    ran(&mut sim, "tool set state to second");
    sim.ok(&Request::delete("/api/v1/namespaces/shop/pods/one").with_query("gracePeriodSeconds", "0"));
    sim.go(60);
    assert_eq!(map(&mut sim, "state")["data"]["phase"], "first");
}

#[test]
fn standard_input_becomes_objects() {
    let mut sim = sim();
    let command = ran(&mut sim, "tool apply").reads.unwrap();
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: new}\n---\n{\"apiVersion\": \"v1\", \"kind\": \"ConfigMap\", \"metadata\": {\"name\": \"state\"}}";
    let version = map(&mut sim, "state")["metadata"]["uid"].clone();
    sim.0.input(command, text).unwrap();
    assert_eq!(maps(&mut sim), ["new", "other", "state"]);
    let state = map(&mut sim, "state");
    assert_eq!((&state["data"], &state["metadata"]["uid"]), (&Value::Null, &version), "replaced, and the same object");
    for (text, why) in [
        ("", "no resources specified"),
        ("kind: ConfigMap", "a document has no `kind` or no `metadata.name`"),
        ("{apiVersion: v9, kind: Thing, metadata: {name: a}}", "no matches for kind \"Thing\" in version \"v9\""),
        ("a: [", "line 1"),
        ("{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: [1]}", "ConfigMap(a)"),
    ] {
        let command = ran(&mut sim, "tool apply").reads.unwrap();
        let said = sim.0.input(command, text).unwrap_err();
        assert!(said.contains(why), "{text}: {said}");
    }
    assert_eq!(maps(&mut sim).len(), 3);
    assert_eq!(sim.0.failure(), None);
    assert_eq!(ran(&mut sim, "phase").reads, None, "others do not wait for it");
}

#[test]
fn lists_are_told_as_the_program_tells_them() {
    let mut sim = sim();
    let list: Value = serde_json::from_str(&ran(&mut sim, "tool list").stdout).unwrap();
    assert_eq!((&list["kind"], &list["items"][0]["apiVersion"]), (&json!("ConfigMapList"), &json!("example/v9")));
    let list: Value = serde_json::from_str(&ran(&mut sim, "tool list cm").stdout).unwrap();
    assert_eq!(list["items"].as_array().unwrap().len(), 2);
    let refused = exec(&mut sim, "tool list gadgets").outcome.unwrap_err();
    assert!(refused.message().contains("no `exec` entry"), "{}", refused.message());
}

const ETCD: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Node
metadata: {name: n1}
---
apiVersion: v1
kind: Pod
metadata: {name: calicoctl, namespace: kube-system}
spec: {hostNetwork: true, containers: [{name: calicoctl, image: "registry.example/ctl:v3.22.5"}]}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: calico-node, namespace: kube-system}
spec:
  selector: {matchLabels: {k8s-app: calico-node}}
  template:
    metadata: {labels: {k8s-app: calico-node}}
    spec: {hostNetwork: true, containers: [{name: calico-node, image: "registry.example/node:v3.22.5"}]}
---
{apiVersion: etcd.lockgate.dev/v1, kind: ClusterInformation, metadata: {name: default}, spec: {calicoVersion: v3.22.5, clusterType: "k8s,bgp", datastoreReady: true}}
---
{apiVersion: etcd.lockgate.dev/v1, kind: HostEndpoint, metadata: {name: n1-all}, spec: {node: n1, interfaceName: "*"}}
---
{apiVersion: etcd.lockgate.dev/v1, kind: Node, metadata: {name: n1}, spec: {orchRefs: [{orchestrator: k8s, nodeName: n1}]}}
---
{apiVersion: etcd.lockgate.dev/v1, kind: NetworkPolicy, metadata: {name: deny, namespace: default}, spec: {selector: "all()"}}
---
{apiVersion: lockgate.dev/v1, kind: Model, include: [calico-etcd]}
"#;

fn ctl(sim: &mut Sim, command: &str) -> Ran {
    let path = "/api/v1/namespaces/kube-system/pods/calicoctl/exec";
    let mut request = Request::get(path).with_query("stdout", "true").with_query("stdin", "true").with_upgrade("websocket");
    for word in command.split(' ') {
        request = request.with_query("command", word);
    }
    let Body::Exec(exec) = sim.0.handle(&request).body else { panic!("no stream") };
    let ran = exec.outcome.clone().unwrap();
    if let Some(at) = Some(ran.ends_at).filter(|at| *at > sim.0.now()) {
        sim.0.advance_to(at);
    }
    ran
}

fn items(ran: &Ran) -> Vec<Value> {
    serde_json::from_str::<Value>(&ran.stdout).unwrap()["items"].as_array().unwrap().to_vec()
}

#[test]
fn calicoctl_reads_and_writes_what_etcd_holds() {
    let mut sim = Sim::new(ETCD);
    sim.go(30);
    let heps = items(&ctl(&mut sim, "/calicoctl get heps -o json"));
    assert_eq!((heps.len(), &heps[0]["apiVersion"]), (1, &json!("projectcalico.org/v3")));
    assert_eq!(items(&ctl(&mut sim, "calicoctl get networkpolicy -A -o json")).len(), 1);
    assert_eq!(ctl(&mut sim, "calicoctl label hostendpoint none a=b").code, 1);
    assert_eq!(ctl(&mut sim, "calicoctl label hostendpoint n1-all host-endpoint-upgrade=").code, 0);
    let one: Value = serde_json::from_str(&ctl(&mut sim, "calicoctl get hep n1-all -o json").stdout).unwrap();
    assert_eq!(one["metadata"]["labels"], json!({"host-endpoint-upgrade": ""}));
    let apply = ctl(&mut sim, "calicoctl apply -f -").reads.unwrap();
    sim.0.input(apply, "{apiVersion: projectcalico.org/v3, kind: GlobalNetworkPolicy, metadata: {name: allow}, spec: {order: 1}}").unwrap();
    assert_eq!(items(&ctl(&mut sim, "calicoctl get gnp -o json"))[0]["spec"]["order"], 1);
    assert_eq!(ctl(&mut sim, "calicoctl patch gnp allow -p {\"spec\":{\"order\":2}}").code, 0);
    assert_eq!(items(&ctl(&mut sim, "calicoctl get gnp -o json"))[0]["spec"]["order"], 2);
    assert_eq!(ctl(&mut sim, "calicoctl delete gnp allow").code, 0);
    assert_eq!(ctl(&mut sim, "calicoctl delete gnp allow").code, 1);
    let version = ctl(&mut sim, "calicoctl version").stdout;
    assert!(version.contains("Client Version:    v3.22.5\n") && version.contains("Cluster Version:   v3.22.5\n"), "{version}");
    assert_eq!(sim.0.failure(), None);
}

#[test]
fn what_etcd_held_moves_to_the_api_and_no_pod_starts_meanwhile() {
    let mut sim = Sim::new(ETCD);
    sim.go(30);
    assert_eq!(ctl(&mut sim, "calicoctl datastore migrate export").code, 1, "it is not locked");
    ctl(&mut sim, "calicoctl datastore migrate lock");
    assert_eq!(ctl(&mut sim, "calicoctl datastore migrate export").stdout.split("===\n").count(), 3);
    sim.create("pod", &json!({"metadata": {"name": "late"}, "spec": {"containers": [{"name": "a", "image": "registry.example/a:v1"}]}}));
    sim.create("pod", &json!({"metadata": {"name": "host"}, "spec": {"hostNetwork": true, "containers": [{"name": "a", "image": "registry.example/a:v1"}]}}));
    sim.go(60);
    let phase = |sim: &mut Sim, name: &str| sim.get(&format!("pod/{name}"))["status"]["phase"].as_str().unwrap().to_owned();
    assert_eq!((phase(&mut sim, "late").as_str(), phase(&mut sim, "host").as_str()), ("Pending", "Running"));
    let events = sim.list("event");
    assert!(
        events.iter().any(|event| event["reason"] == "FailedCreatePodSandBox" && event["involvedObject"]["name"] == "late"),
        "{events:?}"
    );

    let import = "env DATASTORE_TYPE=kubernetes /calicoctl datastore migrate import -f /tmp/etcd-data";
    assert_eq!(ctl(&mut sim, import).code, 0);
    assert_eq!(ctl(&mut sim, import).code, 1, "there is data already");
    let path = "/apis/crd.projectcalico.org/v1/hostendpoints/n1-all";
    assert_eq!(sim.ok(&Request::get(path))["spec"]["interfaceName"], "*");
    let cluster = sim.ok(&Request::get("/apis/crd.projectcalico.org/v1/clusterinformations/default"));
    assert_eq!(cluster["spec"]["datastoreReady"], false);

    ctl(&mut sim, "calicoctl datastore migrate unlock");
    sim.go(60);
    assert_eq!(phase(&mut sim, "late"), "Running");
    assert_eq!(sim.0.failure(), None);
}

#[test]
fn calicoctl_on_a_machine_uses_what_its_configuration_names() {
    let model = r#"
---
apiVersion: lockgate.dev/v1
kind: Model
machines:
- node: n1
  files: {/usr/local/bin/calicoctl: "", /etc/etcd.cfg: "datastoreType: etcdv3", /etc/kdd.cfg: "datastoreType: kubernetes"}
  why: a test
"#;
    let mut sim = Sim::new(&format!("{ETCD}{model}"));
    let mut count = 0;
    let mut on = |sim: &mut Sim, argv: &[&str]| {
        count += 1;
        let id = count.to_string();
        let deed = Deed::Run { argv: argv.iter().map(|word| (*word).to_owned()).collect() };
        let ends = sim.0.order(&Order { node: "n1".to_owned(), id: id.clone(), reads: false, deed }).unwrap();
        sim.until(ends);
        match sim.0.ordered("n1", &id).unwrap() {
            Progress::Ended { code, stdout, stderr } => (code, stdout + &stderr),
            other => panic!("{other:?}"),
        }
    };
    let (etcd, kdd) = ("--config=/etc/etcd.cfg", "--config=/etc/kdd.cfg");
    let export = "umask 077; calicoctl datastore migrate export --config=/etc/etcd.cfg > /srv/etcd-data";
    assert_eq!(on(&mut sim, &["sh", "-c", export]).0, 1, "it is not locked");
    assert_eq!(on(&mut sim, &["calicoctl", "datastore", "migrate", "lock", etcd]), (0, "Datastore locked.\n".to_owned()));
    assert_eq!(on(&mut sim, &["sh", "-c", export]).0, 0);
    assert_eq!(on(&mut sim, &["grep", "-c", "^===$", "/srv/etcd-data"]).1, "2\n");
    let (code, told) = on(&mut sim, &["calicoctl", "datastore", "migrate", "import", "-f", "/srv/none", kdd]);
    assert_eq!((code, told.contains("no such file")), (1, true));
    assert_eq!(on(&mut sim, &["calicoctl", "datastore", "migrate", "import", "-f", "/srv/etcd-data", etcd]).0, 1);
    assert_eq!(on(&mut sim, &["calicoctl", "datastore", "migrate", "import", "-f", "/srv/etcd-data", kdd]).0, 0);
    assert!(on(&mut sim, &["calicoctl", "datastore", "migrate", "import", "-f", "/srv/etcd-data", kdd]).1.contains("already has"));
    let heps: Value = serde_json::from_str(&on(&mut sim, &["calicoctl", "get", "hostendpoints", "-A", "-o", "json", kdd]).1).unwrap();
    assert_eq!(heps["items"].as_array().unwrap().len(), 1);
    let ready = |sim: &mut Sim| {
        sim.ok(&Request::get("/apis/crd.projectcalico.org/v1/clusterinformations/default"))["spec"]["datastoreReady"].clone()
    };
    assert_eq!(ready(&mut sim), false);
    assert_eq!(on(&mut sim, &["calicoctl", "datastore", "migrate", "unlock", kdd]).0, 0);
    assert_eq!(ready(&mut sim), true);
    assert!(on(&mut sim, &["calicoctl", "version", etcd]).1.contains("Cluster Version:   v3.22.5\n"));
}
