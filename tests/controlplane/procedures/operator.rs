//! Calico by Tigera's operator, alone and as a release of Helm. What the operator and the agents do, a stand-in of the case does.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::{Value, json};

use super::cilium::helm;
use super::{Bench, Outcome, copy, file, rolled_out, text};
use crate::controlplane::Binaries;

const AGENT: &str = "daemonset/calico-system/calico-node";
const OPERATOR: &str = "deployment/tigera-operator/tigera-operator";

/// The operators that are met here, and the release that each one rolls out.
const RELEASES: [(&str, &str); 5] =
    [("v1.25.13", "v3.22.5"), ("v1.28.5", "v3.24.6"), ("v1.29.6", "v3.25.2"), ("v1.36.16", "v3.29.7"), ("v1.38.13", "v3.30.7")];

/// The kinds that the operator of 3.30 is the first to have.
const LATER: [(&str, &str); 2] = [("Goldmane", "goldmanes"), ("Whisker", "whiskers")];

/// The definition of such a kind.
fn definition(kind: &str, plural: &str) -> String {
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("{plural}.operator.tigera.io") },
        "spec": {
            "group": "operator.tigera.io",
            "scope": "Cluster",
            "names": { "kind": kind, "listKind": format!("{kind}List"), "plural": plural, "singular": kind.to_lowercase() },
            "versions": [{
                "name": "v1", "served": true, "storage": true, "subresources": { "status": {} },
                "schema": { "openAPIV3Schema": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } },
            }],
        },
    });
    format!("---\n{definition}\n")
}

/// What the operator does in a copy of the cluster.
const OPERATOR_PLAYS: &str = "apiVersion: lockgate.dev/v1\nkind: Model\ninclude: [calico-operator]\n";

/// Calico 3.29 to 3.30 by the operator; and before that what is refused.
pub(super) fn by_operator(binaries: &Binaries) -> Outcome {
    let bench = Bench::empty(binaries, "")?;
    install_definitions(&bench, "v3.29.7")?;
    bench.apply(&operator("v1.36.16")?)?;
    bench.apply(&text("operator-resources.yaml")?)?;
    works_until(&bench, "v3.29.7")?;

    let manifest = bench.plane.path().join("tigera-operator.yaml");
    let later: String = LATER.iter().map(|(kind, plural)| definition(kind, plural)).collect();
    let whole = format!("{}\n{later}---\n{}", text("operator-crds.yaml")?, operator("v1.38.13")?);
    fs::write(&manifest, whole).map_err(|error| format!("{}: {error}", manifest.display()))?;
    let manifest = format!("manifest={}", manifest.display());
    let run = |to: &'static str| vec!["run", "calico-upgrade", to, &manifest, "--yes"];
    bench.refuses(&run("to=v3.31.7"), 1, "is not the operator of v3.31.7, which is 1.40")?;

    // What the operator does no plan on the server knows.
    let roles = bench.roles_of_copy(&["calico-upgrade", "to=v3.30.7", &manifest], OPERATOR_PLAYS)?;
    bench.under(&roles, || bench.beside(works, || bench.run(&run("to=v3.30.7"))?.expect_code(0)))?;
    bench.expect_writes("operator")?;
    bench.runs(OPERATOR, "tigera-operator", "quay.io/tigera/operator:v1.38.13")?;
    whole_at(&bench, "v3.30.7")
}

/// Calico 3.22 as a release of Helm in `default` to 3.24, where the release moves, and on to 3.25, where it stays.
pub(super) fn by_helm(which: &str, binaries: &Binaries) -> Outcome {
    let bench = Bench::empty(binaries, "")?;
    let folder = bench.plane.path().to_path_buf();
    symlink(crate::sandbox::helm(which)?, folder.join("bin/helm")).map_err(|error| format!("linking helm: {error}"))?;
    let chart = |release: &str| format!("{}/tigera-operator-{release}.tgz", folder.display());
    for release in ["v3.22.5", "v3.24.6", "v3.25.2"] {
        pack(&bench, release)?;
    }
    install_definitions(&bench, "v3.22.5")?;
    helm(&bench, &["install", "calico", &chart("v3.22.5"), "--namespace=default", "--set=installation.registry=quay.io"])?;
    works_until(&bench, "v3.22.5")?;

    let manifest = format!("manifest={}", file("operator-crds.yaml").display());
    for release in ["v3.24.6", "v3.25.2"] {
        let (to, chart) = (format!("to={release}"), format!("chart={}", chart(release)));
        let run = ["run", "calico-upgrade", &to, &manifest, &chart, "--yes"];
        let roles = bench.roles_of_copy(&["calico-upgrade", &to, &manifest, &chart], OPERATOR_PLAYS)?;
        bench.under(&roles, || bench.beside(works, || bench.run(&run)?.expect_code(0)))?;
        whole_at(&bench, release)?;
    }
    bench.expect_writes(&format!("operator-{which}"))?;
    // One record in the new namespace for each of the two, and none in the old one; nothing was uninstalled on the way.
    let records = |namespace: &str| -> Outcome<usize> {
        Ok(bench.plane.list(Some(namespace), "secrets")?.iter().filter(|secret| secret["type"] == "helm.sh/release.v1").count())
    };
    let (before, after) = (records("default")?, records("tigera-operator")?);
    if (before, after) != (0, 2) {
        return Err(format!("{before} records in default, {after} in tigera-operator"));
    }
    bench.holds("installation/default", &json!({ "spec": { "registry": "quay.io" } }))
}

/// Everything runs this release, and what Calico keeps is there.
fn whole_at(bench: &Bench, release: &str) -> Outcome {
    bench.runs(AGENT, "calico-node", &format!("docker.io/calico/node:{release}"))?;
    bench.runs(AGENT, "install-cni", &format!("docker.io/calico/cni:{release}"))?;
    bench.runs("deployment/calico-system/calico-typha", "calico-typha", &format!("docker.io/calico/typha:{release}"))?;
    bench.runs("deployment/calico-apiserver/calico-apiserver", "calico-apiserver", &format!("docker.io/calico/apiserver:{release}"))?;
    bench.holds(AGENT, &rolled_out(3))?;
    bench.holds("clusterinformation/default", &json!({ "spec": { "calicoVersion": release } }))?;
    bench.holds("hostendpoint/w2-eth0", &json!({ "spec": { "node": "w2" } }))
}

fn operator(version: &str) -> Outcome<String> {
    Ok(text("operator.yaml")?.replace("OPERATOR", version))
}

fn install_definitions(bench: &Bench, release: &str) -> Outcome {
    bench.apply(&text("operator-crds.yaml")?)?;
    bench.apply(&text("operator-cluster.yaml")?.replace("RELEASE", release))
}

/// Packs the chart of a release, with its operator.
fn pack(bench: &Bench, release: &str) -> Outcome {
    let chart = bench.plane.path().join("chart").join("tigera-operator");
    let packing = |error: std::io::Error| format!("packing the chart of {release}: {error}");
    copy(&file("tigera-operator"), &chart).map_err(packing)?;
    let values = text("tigera-operator/values.yaml")?;
    let operator = RELEASES.iter().find(|(_, of)| *of == release).map(|(operator, _)| *operator).unwrap_or_default();
    fs::write(chart.join("values.yaml"), values.replace("OPERATOR", operator)).map_err(packing)?;
    let (chart, to) = (chart.display().to_string(), bench.plane.path().display().to_string());
    helm(bench, &["package", &chart, "--version", release, "--app-version", release, "--destination", &to]).map(drop)
}

/// Lets the operator work until a release is there.
fn works_until(bench: &Bench, release: &str) -> Outcome {
    bench.plane.until(&format!("Calico {release} is installed"), super::SETTLE, |_| {
        works(bench)?;
        whole_at(bench, release)?;
        let available = json!({ "status": { "conditions": [{ "type": "Available", "status": "True" }, {}, {}] } });
        bench.holds("tigerastatus/calico", &available)?;
        bench.holds("tigerastatus/apiserver", &available).map(|()| true)
    })?;
    bench.settled()
}

/// What the operator does, one look at a time: when it runs and there is an Installation it applies what it makes of it, and says in its
/// statuses how far that is; the agents write their release.
pub(super) fn works(bench: &Bench) -> Outcome {
    let Some(image) = running(bench)? else { return Ok(()) };
    if bench.object("installation/default")?.is_null() {
        return Ok(());
    }
    let release = RELEASES.iter().find(|(operator, _)| image.ends_with(&format!(":{operator}"))).map(|(_, release)| *release);
    let release = release.ok_or_else(|| format!("nobody knows what {image} installs"))?;
    let agent = bench.object(AGENT)?;
    if agent["spec"]["template"]["spec"]["containers"][0]["image"] != format!("docker.io/calico/node:{release}") {
        bench.apply(&makes(release)?)?;
    }
    tell(bench, &[("calico", "calico-system"), ("apiserver", "calico-apiserver")])?;
    bench.tell_release("calico-system")
}

/// What the operator makes of an Installation and an APIServer. The driver for volumes came with 3.24.
pub(super) fn makes(release: &str) -> Outcome<String> {
    let whole = text("calico-system.yaml")?.replace("RELEASE", release);
    let documents = whole.split("\n---").filter(|document| !release.starts_with("v3.22.") || !document.contains("csi-node-driver"));
    Ok(documents.collect::<Vec<_>>().join("\n---"))
}

/// The image of an operator that runs; nothing before.
pub(super) fn running(bench: &Bench) -> Outcome<Option<String>> {
    let deployment = bench.object(OPERATOR)?;
    let status = |key: &str| deployment["status"][key].as_u64().unwrap_or(0);
    let runs = status("availableReplicas") == 1 && status("updatedReplicas") == 1 && status("replicas") == 1;
    let seen = deployment["metadata"]["generation"].as_u64() == deployment["status"]["observedGeneration"].as_u64();
    let image = deployment["spec"]["template"]["spec"]["containers"][0]["image"].as_str();
    Ok(image.filter(|_| runs && seen).map(str::to_owned))
}

/// Says in `TigeraStatus` whether everything is rolled out.
pub(super) fn tell(bench: &Bench, statuses: &[(&str, &str)]) -> Outcome {
    for (name, namespace) in statuses {
        let workloads = bench.plane.list(Some(namespace), "deployments,daemonsets")?;
        let number = |object: &Value, key: &str| object["status"][key].as_u64().unwrap_or(0);
        let there = |object: &Value| {
            let updated = number(object, "updatedReplicas") + number(object, "updatedNumberScheduled");
            let wanted = object["spec"]["replicas"].as_u64().unwrap_or_else(|| number(object, "desiredNumberScheduled"));
            super::fixture::is_ready(object) && updated == wanted
        };
        let available = workloads.iter().all(there);
        let is = |holds: bool| if holds { "True" } else { "False" };
        let condition = |kind: &str, holds: bool| json!({ "type": kind, "status": is(holds), "reason": "AllObjectsAvailable" });
        let conditions = json!([condition("Available", available), condition("Progressing", !available), condition("Degraded", false)]);
        let reference = format!("tigerastatus/{name}");
        let found = bench.object(&reference)?;
        if found.is_null() {
            bench.apply(
                &json!({ "apiVersion": "operator.tigera.io/v1", "kind": "TigeraStatus", "metadata": { "name": name } }).to_string(),
            )?;
        }
        if super::differs(&found["status"]["conditions"], &conditions, "").is_some() {
            let patch = json!({ "status": { "conditions": conditions } }).to_string();
            bench.plane.kubectl(&["patch", "tigerastatus", name, "--subresource=status", "--type=merge", "-p", &patch])?;
        }
    }
    Ok(())
}
