//! What is read off a simulated cluster that `kubeadm` could have installed.

use lockgate::base::Reason;
use lockgate::cluster::{Cluster, Options, RunId};
use lockgate_sim::fixture::Fixture;
use lockgate_sim::json::{Value as Json, json};
use lockgate_sim::{Cluster as Sim, Options as SimOptions};

use super::super::support::Rig;

/// A mirror pod of the control plane.
fn mirror(component: &str, node: &str, image: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata:\n  name: {component}-{node}\n  namespace: kube-system\n  \
         labels: {{ component: {component}, tier: control-plane }}\n  \
         annotations: {{ kubernetes.io/config.mirror: a1, kubernetes.io/config.source: file }}\n\
         spec:\n  nodeName: {node}\n  hostNetwork: true\n  containers: [{{ name: {component}, image: \"{image}\" }}]\n"
    )
}

fn node(name: &str, kubelet: &str, labels: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Node\nmetadata: {{ name: {name}, labels: {{ {labels} }} }}\nstatus: {{ nodeInfo: {{ kubeletVersion: {kubelet} }} }}\n"
    )
}

/// Two control-plane nodes in the middle of an upgrade to 1.19, a worker, kube-proxy and CoreDNS.
fn upgrading() -> String {
    let role = "node-role.kubernetes.io/master: \"\"";
    let mut text = node("m1", "v1.18.4", role) + &node("m2", "v1.18.4", role) + &node("w1", "v1.17.17", "");
    for (node, version) in [("m1", "v1.19.16"), ("m2", "v1.18.4")] {
        for component in ["kube-apiserver", "kube-controller-manager", "kube-scheduler"] {
            text += &mirror(component, node, &format!("k8s.gcr.io/{component}:{version}"));
        }
        text += &mirror("etcd", node, "k8s.gcr.io/etcd:3.4.3-0");
    }
    text += "---\napiVersion: apps/v1\nkind: DaemonSet\nmetadata: { name: kube-proxy, namespace: kube-system, labels: { k8s-app: kube-proxy } }\n\
             spec:\n  selector: { matchLabels: { k8s-app: kube-proxy } }\n  template:\n    metadata: { labels: { k8s-app: kube-proxy } }\n    \
             spec:\n      tolerations: [{ operator: Exists }]\n      containers: [{ name: kube-proxy, image: \"k8s.gcr.io/kube-proxy:v1.18.4\" }]\n";
    text += "---\napiVersion: v1\nkind: ConfigMap\nmetadata: { name: kubeadm-config, namespace: kube-system }\n\
             data: { ClusterConfiguration: \"kind: ClusterConfiguration\\nkubernetesVersion: v1.19.16\\n\" }\n";
    text
}

fn sim(text: &str) -> Sim {
    Fixture::parse("fixture", text).unwrap().cluster(SimOptions::default()).unwrap()
}

fn rig(text: &str) -> Rig {
    Rig::on(sim(text))
}

/// `component node version` of each row of `versions()`.
fn versions(rig: &Rig) -> Vec<String> {
    let rows = rig.value("versions", json!([]), Json::Null);
    let text = |row: &Json, name: &str| row.get(name).and_then(Json::as_str).unwrap_or("-").to_owned();
    rows.as_array()
        .unwrap()
        .iter()
        .map(|row| format!("{} {} {}", text(row, "component"), text(row, "node"), text(row, "version")))
        .collect()
}

/// `component node rule` of each finding of that kind.
fn findings(found: &Json, kind: &str) -> Vec<String> {
    let text = |row: &Json, name: &str| row.get(name).and_then(Json::as_str).unwrap_or("-").to_owned();
    found[kind]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| format!("{} {} {}", text(row, "component"), text(row, "node"), text(row, "rule")))
        .collect()
}

#[test]
fn every_component_is_read_where_it_runs() {
    let rig = rig(&upgrading());
    assert_eq!(
        versions(&rig),
        [
            "kube-apiserver m1 v1.19.16",
            "kube-apiserver m2 v1.18.4",
            "kube-controller-manager m1 v1.19.16",
            "kube-controller-manager m2 v1.18.4",
            "kube-scheduler m1 v1.19.16",
            "kube-scheduler m2 v1.18.4",
            "kubelet m1 v1.18.4",
            "kubelet m2 v1.18.4",
            "kubelet w1 v1.17.17",
            "kube-proxy m1 v1.18.4",
            "kube-proxy m2 v1.18.4",
            "kube-proxy w1 v1.18.4",
            "kubeadm-config - v1.19.16",
            "etcd m1 3.4.3-0",
            "etcd m2 3.4.3-0",
        ]
    );
    let rows = rig.value("versions", json!([]), Json::Null);
    assert_eq!(rows[0]["source"], json!("pod/kube-system/kube-apiserver-m1"));
    assert_eq!(rows[8]["source"], json!("node/w1"));
    assert_eq!(rig.writes(), 0);
}

#[test]
fn an_upgrade_in_the_middle_narrows_what_is_allowed() {
    let rig = rig(&upgrading());
    let found = rig.value("skew_check", json!([]), json!({}));
    assert_eq!(found["ok"], json!(false));
    // 1.19 is newer than the API server on m2, which the one on m1 may reach through the balancer.
    assert_eq!(findings(&found, "violations"), ["kube-controller-manager m1 R-C1", "kube-scheduler m1 R-C1", "kube-proxy w1 R-P3a"],);
    assert_eq!(findings(&found, "unknown"), [""; 0]);
    assert_eq!(
        findings(&found, "warnings"),
        ["kube-controller-manager m2 R-W2", "kube-scheduler m2 R-W2", "kubelet w1 R-W2", "kubeadm-config - -"]
    );
    // To go on to 1.20 is refused until all are at 1.19.
    let next = rig.value("skew_check", json!([]), json!({ "target": "v1.20.15" }));
    assert!(findings(&next, "violations").contains(&"kube-apiserver - R-S1".to_owned()), "{next}");
    let finish = rig.value("skew_check", json!([]), json!({ "target": "v1.19.16" }));
    assert!(!findings(&finish, "violations").iter().any(|finding| finding.starts_with("kube-apiserver")), "{finish}");
    // The kubelet of w1 is two behind 1.19, which kubeadm does not take.
    assert!(findings(&finish, "violations").contains(&"kubelet w1 R-S4".to_owned()), "{finish}");
}

#[test]
fn nothing_unknown_passes() {
    let text = upgrading()
        .replace(
            "k8s.gcr.io/kube-apiserver:v1.18.4",
            "k8s.gcr.io/kube-apiserver@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        )
        .replace(":v1.19.16", ":v1.18.4");
    let rig = rig(&text);
    let found = rig.value("skew_check", json!([]), json!({}));
    assert_eq!(findings(&found, "unknown"), ["kube-apiserver m2 R-U1"]);
    assert_eq!(found["ok"], json!(false));
    let assumed = rig.value("skew_check", json!([]), json!({ "assume": { "kube-apiserver/m2": "v1.18.4" } }));
    assert_eq!(findings(&assumed, "unknown"), [""; 0]);
    assert!(findings(&assumed, "warnings").contains(&"kube-apiserver m2 -".to_owned()), "{assumed}");
}

/// More leases than servers that could be read: somebody is there that nobody has seen. A lease that is not renewed is nobody.
#[test]
fn api_servers_are_counted_by_their_leases() {
    let lease = |name: &str, renewed: &str| {
        format!(
            "---\napiVersion: coordination.k8s.io/v1\nkind: Lease\nmetadata:\n  name: {name}\n  namespace: kube-system\n  \
             labels: {{ apiserver.kubernetes.io/identity: kube-apiserver }}\n\
             spec: {{ holderIdentity: x, leaseDurationSeconds: 3600, renewTime: \"{renewed}\" }}\n"
        )
    };
    let fresh = "2001-02-03T04:05:00.000000Z";
    let two = lease("apiserver-a", fresh) + &lease("apiserver-b", "2001-02-03T04:04:55.000000Z");
    let settled = rig(&(upgrading() + &two));
    assert!(!versions(&settled).contains(&"kube-apiserver - -".to_owned()));
    let gone = rig(&(upgrading() + &two + &lease("apiserver-c", "2001-02-03T03:30:00.000000Z")));
    assert!(!versions(&gone).contains(&"kube-apiserver - -".to_owned()));
    let third = rig(&(upgrading() + &two + &lease("apiserver-c", fresh)));
    assert_eq!(versions(&third)[0], "kube-apiserver - -");
    let found = third.value("skew_check", json!([]), json!({}));
    assert_eq!(findings(&found, "unknown"), ["kube-apiserver - R-U1"]);
    let message = found["unknown"][0]["message"].as_str().unwrap();
    assert_eq!(message, "kube-apiserver: there are 3 API servers by their leases and addresses, and 2 could be read");
}

/// A node that does not report keeps its last version: it is judged, and told.
#[test]
fn the_version_of_a_node_that_is_not_ready_is_told_as_old() {
    let down = "---\napiVersion: v1\nkind: Node\nmetadata: { name: w2 }\nstatus:\n  nodeInfo: { kubeletVersion: v1.36.0 }\n  \
                conditions: [{ type: Ready, status: \"False\", reason: KubeletNotReady, lastHeartbeatTime: \"2001-02-03T04:00:00Z\" }]\n";
    let rig = rig(&(node("w1", "v1.36.4", "") + down));
    let found = rig.value("skew_check", json!([]), json!({}));
    assert_eq!(found["ok"], json!(true), "{found}");
    assert_eq!(findings(&found, "warnings"), ["kubelet w2 -"]);
    let message = found["warnings"][0]["message"].as_str().unwrap();
    assert!(
        message.starts_with("kubelet on w2 v1.36.0: the node is not ready") && message.ends_with("its version may be an old one"),
        "{message}"
    );
}

/// A provider's controllers are found by name, and a leader without pods is somebody.
#[test]
fn what_runs_outside_of_pods_or_under_another_name_is_found() {
    let cloud = "---\napiVersion: apps/v1\nkind: DaemonSet\nmetadata: { name: example-cloud-controller-manager, namespace: kube-system }\n\
                 spec:\n  selector: { matchLabels: { app: ccm } }\n  template:\n    metadata: { labels: { app: ccm } }\n    \
                 spec: { containers: [{ name: ccm, image: \"registry.example/cloud-controller-manager:v2.9.1\" }] }\n";
    let leader = "---\napiVersion: coordination.k8s.io/v1\nkind: Lease\nmetadata: { name: kube-scheduler, namespace: kube-system }\n\
                  spec: { holderIdentity: elsewhere, leaseDurationSeconds: 15, renewTime: \"2001-02-03T04:05:00.000000Z\" }\n";
    let rig = rig(&(node("w1", "v1.36.4", "") + cloud + leader));
    let found = rig.value("skew_check", json!([]), json!({}));
    assert_eq!(findings(&found, "unknown"), ["kube-scheduler - R-U1", "cloud-controller-manager - R-U2"]);
    let both = json!({ "kube-scheduler": "v1.36.4", "cloud-controller-manager": "v1.36.0" });
    let assumed = rig.value("skew_check", json!([]), json!({ "assume": both }));
    // What was read is not overruled.
    assert_eq!(findings(&assumed, "unknown"), ["cloud-controller-manager - R-U2"]);
}

/// What may not be read is unknown, each by its name, and the rest is judged all the same.
#[test]
fn what_may_not_be_read_is_unknown() {
    for (kind, unknown) in [
        ("Node", "kubelet - R-U1"),
        ("Pod", "kube-controller-manager - R-U1"),
        ("Pod", "kube-proxy - R-U1"),
        ("Deployment", "cloud-controller-manager - R-U1"),
        // Without them the pods still tell.
        ("Lease", ""),
        ("EndpointSlice", ""),
    ] {
        let mut sim = sim(&upgrading());
        let rule = serde_json::json!({ "match": { "verb": "list", "kind": kind }, "do": { "fail": { "code": 403 } } });
        sim.add_fault(serde_json::from_value(rule).unwrap());
        let rig = Rig::on(sim);
        let found = rig.value("skew_check", json!([]), json!({}));
        let told = findings(&found, "unknown");
        assert_eq!(told.iter().any(|finding| finding == unknown), !unknown.is_empty(), "{kind}: {told:?}");
        assert_eq!(found["ok"], json!(false));
    }
}

#[test]
fn wrong_arguments_are_told() {
    let rig = rig(&node("w1", "v1.36.4", ""));
    let error = rig.error("skew_check", json!([]), json!({ "target": "newest" }));
    assert_eq!(error.reason, Reason::Usage);
    assert!(error.message.starts_with("`skew_check`: option `target` must be a version"), "{}", error.message);
    let error = rig.error("skew_check", json!([]), json!({ "assume": { "kubelet": "soon" } }));
    assert!(error.message.contains("has a wrong entry `kubelet`"), "{}", error.message);
    let error = rig.error("skew_check", json!([]), json!({ "assume": "v1.30" }));
    assert!(error.message.contains("must be a table from components"), "{}", error.message);
    let error = rig.error("skew_check", json!([]), json!({ "assume": { "kublet": "v1.30" } }));
    assert_eq!(error.hint.as_deref(), Some("did you mean `kubelet`?"));
}

/// A plan's copy of a live cluster reads the same.
#[test]
fn a_plan_on_a_server_reads_the_same() {
    let direct = rig(&upgrading());
    let sim = sim(&upgrading());
    let run = RunId::simulated(sim.now(), 1);
    let server = Cluster::stand_in(sim, Options::new(run));
    let plan = Rig::over(server.planning());
    let server = Rig::over(server);
    assert_eq!(versions(&server), versions(&direct));
    assert_eq!(versions(&plan), versions(&direct));
}

/// What `kubeadm` itself brings about in the middle of its upgrade is a warning for whoever says that the upgrade is on its way, and a
/// violation for anybody else.
#[test]
fn what_the_upgrade_on_its_way_breaks_for_a_while_is_expected() {
    // The first node's control plane and all of kube-proxy are at 1.19, as after `kubeadm upgrade apply`.
    let text = upgrading().replace("kube-proxy:v1.18.4", "kube-proxy:v1.19.16").replace("v1.17.17", "v1.18.4");
    let broken =
        ["kube-controller-manager m1 R-C1", "kube-scheduler m1 R-C1", "kube-proxy m1 R-P1", "kube-proxy m2 R-P1", "kube-proxy w1 R-P1"];
    let first = rig(&text);
    let nobody = first.value("skew_check", json!([]), json!({}));
    assert_eq!(findings(&nobody, "violations"), broken);
    // To finish at another patch is the same upgrade.
    for target in ["v1.19.16", "v1.19.10"] {
        let found = first.value("skew_check", json!([]), json!({ "target": target }));
        assert_eq!((findings(&found, "violations"), &found["ok"]), (Vec::new(), &json!(true)), "{found}");
        let expected: Vec<String> = findings(&found, "warnings").into_iter().filter(|finding| finding.ends_with("R-W3")).collect();
        assert_eq!(expected, broken.map(|finding| format!("{} R-W3", finding.rsplit_once(' ').unwrap().0)));
    }
    let found = first.value("skew_check", json!([]), json!({ "target": "v1.19.16" }));
    let message = found["warnings"].as_array().unwrap().iter().find(|row| row["component"] == "kube-proxy").unwrap()["message"].as_str();
    assert_eq!(
        message.unwrap(),
        "kube-proxy on m1 v1.19.16: 1.19 is newer than the oldest API server's 1.18 (R-P1); expected until the upgrade is finished: \
         kubeadm below 1.28 moves kube-proxy together with the first API server"
    );
    // When all API servers have moved, kube-proxy is still ahead of its kubelets.
    let later = rig(&text.replace("kube-apiserver:v1.18.4", "kube-apiserver:v1.19.16"));
    let found = later.value("skew_check", json!([]), json!({ "target": "v1.19.16" }));
    assert_eq!(findings(&found, "violations"), [""; 0], "{found}");
    let at_nodes = ["kube-proxy m1 R-W3", "kube-proxy m2 R-W3", "kube-proxy w1 R-W3"];
    assert!(at_nodes.iter().all(|row| findings(&found, "warnings").contains(&(*row).to_owned())), "{found}");
}

/// The same states where nobody's upgrade explains them stay violations.
#[test]
fn what_no_upgrade_explains_is_not_expected() {
    let target = json!({ "target": "v1.19.16" });
    let proxies = upgrading().replace("kube-proxy:v1.18.4", "kube-proxy:v1.19.16");
    let violations = |text: &str, options: &Json| findings(&rig(text).value("skew_check", json!([]), options.clone()), "violations");
    // The kubelet is two behind its kube-proxy: no single upgrade does that.
    assert!(violations(&proxies, &target).contains(&"kube-proxy w1 R-P3a".to_owned()));
    let proxies = proxies.replace("v1.17.17", "v1.18.4");
    // Another installer.
    let other = violations(&proxies.replace("name: kubeadm-config", "name: other"), &target);
    assert!(other.contains(&"kube-proxy w1 R-P1".to_owned()) && other.contains(&"kube-scheduler m1 R-C1".to_owned()), "{other:?}");
    // Another upgrade.
    let next = violations(&proxies, &json!({ "target": "v1.20.1" }));
    assert!(next.contains(&"kube-proxy w1 R-P1".to_owned()), "{next:?}");
    // Controllers that are ahead of the API server of their own node.
    let ahead = upgrading().replace("kube-scheduler:v1.18.4", "kube-scheduler:v1.19.16").replace("v1.17.17", "v1.18.4");
    assert_eq!(violations(&ahead, &target), ["kube-scheduler m2 R-C1"]);
    // A kubelet that moved before the last API server: no rule lists that.
    let kubelet = proxies.replacen("kubeletVersion: v1.18.4", "kubeletVersion: v1.19.16", 1);
    assert_eq!(violations(&kubelet, &target), ["kubelet m1 R-K1"]);
    // From 1.28 the addons wait for the last control-plane node.
    let new = proxies.replace("v1.19.16", "v1.30.1").replace("v1.18.4", "v1.29.8");
    let found = violations(&new, &json!({ "target": "v1.30.1" }));
    assert_eq!(found, ["kube-proxy m1 R-P1", "kube-proxy m2 R-P1", "kube-proxy w1 R-P1"]);
}

/// `kubeadm` is asked on each machine; one of another minor is what the upgrade begins with, and no obstacle.
#[test]
fn kubeadm_is_read_off_the_machines() {
    let models = "---\napiVersion: lockgate.dev/v1\nkind: Model\nmachines:\n\
                  - { node: m1, why: seen, os: debian, packages: { kubeadm: 1.19.16-00 } }\n\
                  - { node: m2, why: seen, os: debian, packages: { kubeadm: 1.18.4-00 } }\n\
                  - { node: w1, why: seen, os: debian, packages: { kubelet: 1.18.4-00 } }\n";
    let text = upgrading() + models;
    let first = rig(&text);
    let read: Vec<String> = versions(&first).into_iter().filter(|row| row.starts_with("kubeadm ")).collect();
    assert_eq!(read, ["kubeadm m1 v1.19.16", "kubeadm m2 v1.18.4"], "a machine without it has none");
    let found = first.value("skew_check", json!([]), json!({ "target": "v1.19.16" }));
    let told: Vec<String> = findings(&found, "warnings").into_iter().filter(|row| row.starts_with("kubeadm ")).collect();
    assert_eq!(told, ["kubeadm m2 R-S4"]);
    // What `kubeadm` did not install has none to ask.
    let other = rig(&text.replace("name: kubeadm-config", "name: other"));
    assert!(!versions(&other).iter().any(|row| row.starts_with("kubeadm ")));
    // One that cannot tell is unknown.
    let mute = text.replace("os: debian, packages: { kubeadm: 1.18.4-00 }", "commands: [{ argv: kubeadm version -o short, code: 1 }]");
    let found = rig(&mute).value("skew_check", json!([]), json!({}));
    assert_eq!(findings(&found, "unknown"), ["kubeadm m2 R-U1"]);
}
