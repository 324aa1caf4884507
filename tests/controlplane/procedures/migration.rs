//! Calico 3.22 from its manifest to Tigera's operator. A stand-in walks through the phases of the operator
//! (`namespace_migration.go` of the operator), node after node.

use std::fs;

use serde_json::{Value, json};

use super::operator::{makes, running, tell};
use super::{Bench, Outcome, fixture_of, rolled_out, text};
use crate::controlplane::{Binaries, command};

const OLD: &str = "daemonset/kube-system/calico-node";
const NEW: &str = "daemonset/calico-system/calico-node";
const MARK: &str = "projectcalico.org/operator-node-migration";
const RELEASE: &str = "v3.22.5";

/// What the operator keeps a status of: there is no APIServer here.
const STATUSES: [(&str, &str); 1] = [("calico", "calico-system")];

/// The hand-over; and before that what is refused.
pub(super) fn to_operator(binaries: &Binaries) -> Outcome {
    let bench = Bench::empty(binaries, "")?;
    bench.install(&installed()?)?;
    let file = |name: &str, operator: &str| -> Outcome<String> {
        let path = bench.plane.path().join(name);
        let whole = format!("{}\n---\n{}", text("operator-crds.yaml")?, text("operator.yaml")?.replace("OPERATOR", operator));
        fs::write(&path, whole).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(format!("manifest={}", path.display()))
    };
    let (manifest, later) = (file("tigera-operator.yaml", "v1.25.13")?, file("later.yaml", "v1.28.5")?);
    let run = |manifest: &str| ["run", "calico-manifest-to-operator", manifest, "--yes"].map(str::to_owned);
    let refused = run(&later);
    bench.refuses(&refused.each_ref().map(String::as_str), 1, "It takes over its own release only")?;

    let whole = run(&manifest);
    let roles =
        bench.roles_of_copy(&["calico-manifest-to-operator", &manifest], &fixture_of("calico-manifest-to-operator", "cluster.yaml")?.1)?;
    let handed_over = || {
        // What the operator will do no plan knows, and one that is not whole gives no consent: the gate is answered when it is reached.
        bench.run(&whole.each_ref().map(String::as_str))?.expect_code(4)?;
        command::about(&bench.plane, &["approve", "last", "hand-over", "--yes"])?.expect_code(0)?;
        bench.run(&["resume", "last"])?.expect_code(0)
    };
    bench.under(&roles, || bench.beside(takes_over, handed_over))?;
    bench.expect_writes("migration")?;
    bench.runs(NEW, "calico-node", "docker.io/calico/node:v3.22.5")?;
    bench.holds(NEW, &rolled_out(3))?;
    bench.holds(NEW, &json!({ "spec": { "template": { "spec": { "nodeSelector": { MARK: Value::Null } } } } }))?;
    bench.is_gone(OLD)?;
    bench.is_gone("deployment/kube-system/calico-kube-controllers")?;
    for node in ["m1", "w1", "w2"] {
        bench.holds(&format!("node/{node}"), &json!({ "metadata": { "labels": { MARK: Value::Null } } }))?;
        bench.is_gone(&format!("pod/calico-system/calico-node-probe-{node}"))?;
    }
    bench.holds("hostendpoint/w2-eth0", &json!({ "spec": { "node": "w2" } }))
}

/// The cluster of the manifest for 3.13, with what the one for 3.22 makes.
fn installed() -> Outcome<String> {
    let old = text("calico-3.13.yaml")?;
    let new = text("calico-3.22.yaml")?.replace("policy/v1beta1", "policy/v1");
    let kept = |document: &&str| {
        let kinds = ["kind: Node\n", "kind: IPPool\n", "kind: HostEndpoint\n", "kind: ClusterInformation\n", "kind: FelixConfiguration\n"];
        kinds.iter().any(|kind| document.contains(kind))
    };
    let kept: Vec<&str> = old.split("\n---").filter(kept).collect();
    Ok(format!("{new}\n---\n{}", kept.join("\n---")).replace("v3.13.5", RELEASE))
}

/// What the operator does, one look at a time.
fn takes_over(bench: &Bench) -> Outcome {
    if running(bench)?.is_none() || bench.object("installation/default")?.is_null() {
        return Ok(());
    }
    let (old, new) = (bench.object(OLD)?, bench.object(NEW)?);
    let marked = new["spec"]["template"]["spec"]["nodeSelector"][MARK] == "migrated";
    if new.is_null() {
        render(bench, true)?;
        bench.plane.kubectl(&["delete", "deployment", "calico-kube-controllers", "-n", "kube-system", "--ignore-not-found"])?;
        return tell(bench, &STATUSES);
    }
    if !old.is_null() {
        hand_over(bench, &old, &new)?;
    } else if marked {
        render(bench, false)?;
    } else if super::differs(&new, &rolled_out(3), "").is_none() {
        bench.plane.kubectl(&["label", "nodes", "--all", &format!("{MARK}-")])?;
    }
    tell(bench, &STATUSES)
}

/// The operator's objects; the agents only on nodes that are handed over, where they are `bound`. There is no APIServer.
fn render(bench: &Bench, bound: bool) -> Outcome {
    let linux = "nodeSelector: { kubernetes.io/os: linux";
    let agents = format!("{linux} }}\n      serviceAccountName: calico-node");
    let whole = makes(RELEASE)?;
    if !whole.contains(&agents) {
        return Err("the DaemonSet of the operator selects its nodes in another way".to_owned());
    }
    let marked = agents.replace(linux, &format!("{linux}, {MARK}: migrated"));
    let whole = if bound { whole.replace(&agents, &marked) } else { whole };
    let documents = whole.split("\n---").filter(|document| !document.contains("calico-apiserver"));
    bench.apply(&documents.collect::<Vec<_>>().join("\n---"))
}

/// The next of the phases in which both are there.
fn hand_over(bench: &Bench, old: &Value, new: &Value) -> Outcome {
    let nodes = bench.plane.list(None, "nodes")?;
    let mark = |node: &Value| node["metadata"]["labels"][MARK].as_str().map(str::to_owned);
    if nodes.iter().any(|node| mark(node).is_none()) {
        return bench.plane.kubectl(&["label", "nodes", "--all", &format!("{MARK}=pre-operator")]).map(drop);
    }
    if old["spec"]["template"]["spec"]["nodeSelector"][MARK] != "pre-operator" {
        let patch = json!({ "spec": { "template": { "spec": { "nodeSelector": { MARK: "pre-operator" } } } } }).to_string();
        return bench.plane.kubectl(&["patch", "daemonset", "calico-node", "-n", "kube-system", "--type=merge", "-p", &patch]).map(drop);
    }
    let whole = |object: &Value| {
        let number = |key: &str| object["status"][key].as_u64().unwrap_or(0);
        let seen = number("observedGeneration") == object["metadata"]["generation"].as_u64().unwrap_or(0);
        seen && number("numberReady") == number("desiredNumberScheduled") && number("updatedNumberScheduled") >= number("numberReady")
    };
    if !whole(old) || !whole(new) {
        return Ok(());
    }
    match nodes.iter().find(|node| mark(node).as_deref() == Some("pre-operator")) {
        Some(node) => {
            let name = node["metadata"]["name"].as_str().unwrap_or_default();
            bench.plane.kubectl(&["label", "node", name, "--overwrite", &format!("{MARK}=migrated")]).map(drop)
        }
        None => bench.plane.kubectl(&["delete", "daemonset", "calico-node", "-n", "kube-system"]).map(drop),
    }
}
