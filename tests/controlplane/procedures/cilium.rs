//! Cilium by Helm from 1.11 to 1.12 by way of the newest patch release, with a preflight each time; by both helms.

use std::os::unix::fs::symlink;
use std::process::Command;

use serde_json::{Value, json};

use super::{Bench, Outcome, file, rolled_out};
use crate::controlplane::Binaries;

const AGENT: &str = "daemonset/kube-system/cilium";
const RELEASES: [&str; 3] = ["1.11.7", "1.11.20", "1.12.19"];

/// What agents say in a copy of the cluster.
const AGENTS_PLAY: &str = "\
apiVersion: lockgate.dev/v1
kind: Model
include: [cilium]
logs:
  - { match: { container: cnp-validator }, answer: { text: \"All CCNPs and CNPs valid!\\n\" }, why: what the program of the case says }
exec:
  - { match: { pod: { labels: { k8s-app: cilium } }, command: \"cilium* status --brief\" }, answer: { stdout: \"OK\\n\" }, why: as the log }
";

/// The upgrade as the chart rolls its agents; and before that what it refuses.
pub(super) fn rolling(helm: &str, binaries: &Binaries) -> Outcome {
    let bench = installed(helm, binaries)?;
    let charts = format!("charts={}", bench.plane.path().join("charts").display());
    let run = |more: &[&'static str]| [&["run", "cilium-helm-upgrade", &charts, "--yes"], more].concat();

    bench.refuses(&run(&["target=1.11.1"]), 1, "1.11.1 is older than the running v1.11.7")?;
    bench.refuses(&run(&["target=1.13.18", "via=1.13.18"]), 5, "skips a minor release")?;

    let roles = bench.roles_of_copy(&["cilium-helm-upgrade", &charts, "target=1.12.19"], AGENTS_PLAY)?;
    let upgraded = || bench.run(&run(&["target=1.12.19"]))?.expect_code(0);
    bench.under(&roles, || bench.beside(agents_make_endpoints, upgraded))?;
    bench.expect_writes(&format!("cilium-{helm}"))?;
    whole(&bench, "RollingUpdate")
}

/// The upgrade with its agents replaced one by one, workers first.
pub(super) fn node_by_node(helm: &str, binaries: &Binaries) -> Outcome {
    let bench = installed(helm, binaries)?;
    let charts = format!("charts={}", bench.plane.path().join("charts").display());
    let with = ["cilium-helm-upgrade", &charts, "target=1.12.19", "via=1.12.19", "pace=node-by-node", "bake=1s"];
    let roles = bench.roles_of_copy(&with, AGENTS_PLAY)?;
    let upgraded = || bench.run(&[&["run"], &with[..], &["--yes"]].concat())?.expect_code(0);
    bench.under(&roles, || bench.beside(agents_make_endpoints, upgraded))?;
    bench.expect_writes(&format!("cilium-node-by-node-{helm}"))?;
    whole(&bench, "RollingUpdate")
}

/// What the upgrade leaves.
fn whole(bench: &Bench, strategy: &str) -> Outcome {
    for container in ["cilium-agent", "clean-cilium-state", "mount-cgroup"] {
        bench.runs(AGENT, container, "registry.example/cilium/cilium:v1.12.19")?;
    }
    bench.runs("deployment/kube-system/cilium-operator", "cilium-operator", "registry.example/cilium/operator-generic:v1.12.19")?;
    bench.runs("deployment/kube-system/hubble-relay", "hubble-relay", "registry.example/cilium/hubble-relay:v1.12.19")?;
    bench.holds(AGENT, &rolled_out(3))?;
    let strategy = json!({ "type": strategy, "rollingUpdate": { "maxUnavailable": 2 } });
    bench.holds(AGENT, &json!({ "spec": { "updateStrategy": strategy } }))?;
    bench.holds("configmap/kube-system/cilium-config", &json!({ "data": { "kube-proxy-replacement": "strict", "tunnel": "vxlan" } }))?;
    bench.is_gone("daemonset/kube-system/cilium-pre-flight-check")?;
    bench.is_gone("deployment/kube-system/cilium-pre-flight-check")?;
    // What was given when it was installed stays, and the first minor is noted.
    let values = helm(bench, &["get", "values", "cilium", "-n", "kube-system", "-o", "json"])?;
    let values: Value = serde_json::from_str(&values).map_err(|error| format!("{error}: {values}"))?;
    let wanted = json!({ "kubeProxyReplacement": "strict", "k8sServiceHost": "192.0.2.10", "upgradeCompatibility": "1.11" });
    super::differs(&values, &wanted, "values").map_or(Ok(()), Err)
}

/// A cluster with Cilium 1.11.7 by this helm, which is the `helm` of the control plane's folder.
fn installed(which: &str, binaries: &Binaries) -> Outcome<Bench> {
    let program = crate::sandbox::helm(which)?;
    let bench = Bench::empty(binaries, "")?;
    let folder = bench.plane.path();
    symlink(&program, folder.join("bin/helm")).map_err(|error| format!("linking helm: {error}"))?;
    let (chart, charts) = (file("cilium").display().to_string(), folder.join("charts").display().to_string());
    for release in RELEASES {
        helm(&bench, &["package", &chart, "--version", release, "--app-version", release, "--destination", &charts])?;
    }
    bench.apply(&super::text("cilium.yaml")?)?;
    let given = ["--set=kubeProxyReplacement=strict", "--set=k8sServiceHost=192.0.2.10", "--set-string=k8sServicePort=6443"];
    let chart = format!("{charts}/cilium-1.11.7.tgz");
    helm(&bench, &[&["install", "cilium", &chart, "--namespace=kube-system"], &given[..]].concat())?;
    bench.settled()?;
    agents_make_endpoints(&bench)?;
    Ok(bench)
}

/// Runs helm as `admin` and gives what it prints.
pub(super) fn helm(bench: &Bench, words: &[&str]) -> Outcome<String> {
    let output = Command::new(bench.plane.path().join("bin/helm"))
        .args(words)
        .env("KUBECONFIG", bench.plane.kubeconfig("admin"))
        .env("HOME", bench.plane.path())
        .output()
        .map_err(|error| format!("helm: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("helm {}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr)))
}

/// What the agent of a node does for each pod that it gives a network: an endpoint of that name, which goes with the pod.
fn agents_make_endpoints(bench: &Bench) -> Outcome {
    let found = super::parsed(&bench.plane.kubectl(&["get", "pods,ciliumendpoints", "--all-namespaces", "-o", "json"])?)?;
    let items = found["items"].as_array().cloned().unwrap_or_default();
    let (pods, endpoints): (Vec<Value>, Vec<Value>) = items.into_iter().partition(|item| item["kind"] == "Pod");
    let is_new = |pod: &&Value| {
        let managed = |endpoint: &Value| ["name", "namespace"].iter().all(|key| endpoint["metadata"][key] == pod["metadata"][key]);
        pod["status"]["phase"] == "Running" && pod["spec"]["hostNetwork"] != true && !endpoints.iter().any(managed)
    };
    for pod in pods.iter().filter(is_new) {
        let metadata = &pod["metadata"];
        let owner = json!({ "apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata["uid"] });
        let endpoint = json!({
            "apiVersion": "cilium.io/v2",
            "kind": "CiliumEndpoint",
            "metadata": { "name": metadata["name"], "namespace": metadata["namespace"], "ownerReferences": [owner] },
            "status": { "state": "ready" },
        });
        bench.apply(&endpoint.to_string())?;
    }
    Ok(())
}
