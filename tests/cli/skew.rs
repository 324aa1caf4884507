//! `lockgate skew` as a person meets it: the table, the page, the document, and the exit code.

use super::json_schema::fits;
use super::support::Host;

fn node(name: &str, kubelet: &str, labels: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Node\nmetadata: {{ name: {name}, labels: {{ {labels} }} }}\n\
         status: {{ nodeInfo: {{ kubeletVersion: {kubelet} }} }}\n"
    )
}

fn mirror(component: &str, node: &str, version: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata:\n  name: {component}-{node}\n  namespace: kube-system\n  \
         labels: {{ component: {component}, tier: control-plane }}\n\
         spec:\n  nodeName: {node}\n  containers: [{{ name: {component}, image: \"registry.k8s.io/{component}:{version}\" }}]\n"
    )
}

/// One control-plane node and two workers; the second worker has this kubelet.
fn cluster(kubelet: &str) -> String {
    let mut text = node("m1", "v1.30.4", "node-role.kubernetes.io/control-plane: \"\"");
    text += &(node("w1", "v1.29.9", "") + &node("w2", kubelet, ""));
    for component in ["kube-apiserver", "kube-controller-manager", "kube-scheduler"] {
        text += &mirror(component, "m1", "v1.30.4");
    }
    text + &mirror("etcd", "m1", "3.5.12-0")
}

fn host() -> Host {
    Host::new()
        .file("clean.yaml", &cluster("v1.28.3"))
        .file("limit.yaml", &cluster("v1.27.9"))
        .file("old.yaml", &cluster("v1.25.2"))
        .file("unknown.yaml", &cluster("unreported"))
}

#[test]
fn a_clean_cluster() {
    host().run(&["skew", "--sandbox=clean.yaml"]).exits(0).golden("skew-clean");
}

#[test]
fn help() {
    Host::new().run(&["skew", "--help"]).exits(0).shows("Exit codes: 0 clean, 3 something is unknown, 5 a rule is broken.");
}

#[test]
fn a_violation() {
    host().run(&["skew", "--sandbox=old.yaml"]).exits(5).golden("skew-violation");
}

#[test]
fn an_unknown_version_does_not_pass_until_somebody_vouches_for_it() {
    host().run(&["skew", "--sandbox=unknown.yaml"]).exits(3).golden("skew-unknown");
    host().run(&["skew", "--sandbox=unknown.yaml", "--assume", "kubelet/w2=v1.29.1"]).exits(0).golden("skew-assumed");
    host().run(&["skew", "--sandbox=clean.yaml", "--assume", "kubectl=v1.33.0"]).exits(5).shows("R-T1");
}

#[test]
fn what_must_move_before_the_target() {
    host().run(&["skew", "--sandbox=clean.yaml", "--target", "v1.31.2"]).exits(0).golden("skew-target");
    host().run(&["skew", "--sandbox=limit.yaml", "--target", "v1.31.2"]).exits(5).golden("skew-target-blocked");
    host().run(&["skew", "--sandbox=clean.yaml", "--target", "v1.33.0"]).exits(5).golden("skew-target-far");
    host().run(&["skew", "--sandbox=clean.yaml", "--target", "v1.29.0"]).exits(5).shows("R-S2");
}

/// A runbook that insists on the policy is refused by it.
#[test]
fn a_runbook_that_insists_is_refused() {
    let text = "runbook { title = \"T\", summary = \"S.\", impact = \"none\" }\n\
                check \"skew\" { title = \"Versions fit\", run = function()\n  local found = skew_check { target = \"v1.31.2\" }\n  \
                ensure(found.ok, found.ok or found.violations[1].message, { reason = \"skew\" })\nend }\n\
                step \"s\" { title = \"S\", run = function() end }\n";
    let host = host().file("r.luau", text);
    host.run(&["plan", "r.luau", "--sandbox=limit.yaml"]).exits(5).golden("skew-refused");
    host.run(&["plan", "r.luau", "--sandbox=clean.yaml"]).exits(0);
}

#[test]
fn the_page() {
    host().run(&["skew", "--sandbox=limit.yaml", "--target", "v1.31.2", "-o", "markdown"]).exits(5).golden("skew-markdown");
}

#[test]
fn the_document_fits_its_schema() {
    let host = host();
    let clean = fits("skew.v1.json", &host.run(&["skew", "--sandbox=clean.yaml", "-o", "json"]).exits(0).stdout);
    assert_eq!((&clean["schema"], &clean["ok"]), (&"lockgate.dev/skew/v1".into(), &true.into()));
    let blocked = fits("skew.v1.json", &host.run(&["skew", "--sandbox=limit.yaml", "--target=v1.31.2", "-o", "json"]).exits(5).stdout);
    assert_eq!((&blocked["violations"][0]["rule"], &blocked["order"][0]["component"]), (&"R-S3".into(), &"kubelet".into()));
    let unknown = fits("skew.v1.json", &host.run(&["skew", "--sandbox=unknown.yaml", "-o", "json"]).exits(3).stdout);
    assert_eq!((&unknown["unknown"][0]["node"], &unknown["unknown"][0]["version"]), (&"w2".into(), &"unreported".into()));
}

#[test]
fn wrong_words() {
    let host = host();
    for (name, words) in [
        ("skew-target-wrong", &["--target", "newest"][..]),
        ("skew-assume-wrong", &["--assume", "kubelet/w1"]),
        ("skew-assume-nowhere", &["--sandbox=clean.yaml", "--assume", "kubelet/w9=v1.30.1"]),
        ("skew-assume-unknown", &["--sandbox=clean.yaml", "--assume", "kubelett=v1.30.1"]),
        ("skew-format", &["-o", "yaml"]),
    ] {
        let words: Vec<&str> = std::iter::once("skew").chain(words.iter().copied()).collect();
        host.run(&words).exits(2).golden(name);
    }
    let error = fits("error.v1.json", &host.run(&["skew", "--target=x", "-o", "json"]).exits(2).stdout);
    assert_eq!(error["error"]["reason"], "usage");
}
