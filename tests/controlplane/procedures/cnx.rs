//! CNX: a hosted Calico before it is added, whose agents are replaced by hand, node by node; components that other tools run; and CNX itself.

use serde_json::{Value, json};

use super::aggregated::Aggregated;
use super::{Bench, Outcome, bundled, file, fixture_of, parsed, rolled_out};
use crate::controlplane::Binaries;

const AGENT: &str = "daemonset/kube-system/calico-node";
const CONTROLLERS: &str = "deployment/kube-system/calico-kube-controllers";

/// Calico 3.0.4 to 3.0.12 with the strategy `OnDelete`; and before that what the procedure refuses.
pub(super) fn upgrade(binaries: &Binaries) -> Outcome {
    let bench = Bench::start(binaries, "cnx.yaml")?;
    let manifest = |name: &str| format!("manifest={}", file(name).display());
    let (new, rolling) = (manifest("cnx-manifest.yaml"), bench.plane.path().join("two.yaml"));

    // Two controllers at a time would both write.
    let text = super::text("cnx-manifest.yaml")?.replace("strategy: { type: Recreate }", "strategy: { type: RollingUpdate }");
    std::fs::write(&rolling, text).map_err(|error| error.to_string())?;
    let rolling = format!("manifest={}", rolling.display());
    let words = "calico-kube-controllers of the manifest has the strategy RollingUpdate";
    bench.refuses(&["run", "cnx-calico-upgrade", &rolling, "--yes"], 1, words)?;

    let roles = bench.roles(&["cnx-calico-upgrade", &new, "bake=2s"])?;
    bench.under(&roles, || bench.run(&["run", "cnx-calico-upgrade", &new, "bake=2s", "--yes"])?.expect_code(0))?;
    bench.expect_writes("cnx")?;
    bench.runs(AGENT, "calico-node", "quay.io/calico/node:v3.0.12")?;
    bench.runs(AGENT, "install-cni", "quay.io/calico/cni:v2.0.11")?;
    bench.runs(CONTROLLERS, "calico-kube-controllers", "quay.io/calico/kube-controllers:v2.0.11")?;
    bench.holds(AGENT, &rolled_out(3))?;
    bench.holds(AGENT, &json!({ "spec": { "updateStrategy": { "type": "OnDelete" } } }))?;
    bench.holds("configmap/kube-system/calico-config", &json!({ "data": { "veth_mtu": "1440" } }))?;
    for node in ["m1", "w1", "w2"] {
        bench.holds(&format!("node/{node}"), &json!({ "spec": { "unschedulable": Value::Null } }))?;
        bench.is_gone(&format!("pod/kube-system/calico-node-probe-{node}"))?;
    }
    bench.is_gone("daemonset/kube-system/calico-node-prefetch")
}

/// On a cluster of one node components that other tools run; then, on three nodes, CNX with what watches it.
pub(super) fn added(binaries: &Binaries) -> Outcome {
    let bench = Bench::empty(binaries, "")?;
    let (objects, models) = fixture_of("cnx-add", "cluster.yaml")?;
    let (first, rest) = objects.split_at(objects.find("---\napiVersion: v1\nkind: Node\nmetadata: { name: w1").ok_or("w1 is elsewhere")?);
    let calico = first.find("apiVersion: v1\nkind: Node").ok_or("m1 is elsewhere")?;
    bench.install(&first[calico..])?;
    components(&bench)?;

    bench.install(&format!("{}\n{rest}", &first[..calico]))?;
    let beside = |name: &str, file: &str| format!("{name}={}", bundled("cnx-add", file).display());
    let (manifest, operator) = (beside("manifest", "calico.yaml"), beside("operator", "operator.yaml"));
    let (monitor, image) = (beside("monitor", "monitor-calico.yaml"), "image=registry.example/tigera/cnx-node:v2.0.0");
    let with = ["cnx-add", &manifest, image, &operator, &monitor, "bake=2s"];
    let roles = bench.roles_of_copy(&with, &models)?;
    let whole = || bench.run(&[&["run"], &with[..], &["--yes"]].concat())?.expect_code(0);
    bench.under(&roles, || bench.beside(prometheus_works, whole))?;
    bench.expect_writes("cnx-added")?;
    bench.runs(AGENT, "calico-node", "registry.example/tigera/cnx-node:v2.0.0")?;
    bench.holds(AGENT, &rolled_out(3))?;
    bench.holds("statefulset/calico-monitoring/alertmanager-calico-node-alertmanager", &json!({ "status": { "readyReplicas": 3 } }))?;
    for node in ["m1", "w1", "w2"] {
        bench.holds(&format!("node/{node}"), &json!({ "spec": { "unschedulable": Value::Null } }))?;
    }
    bench.is_gone("pod/kube-system/calico-node-probe-w1")
}

/// The Manager, whose API server the real one asks over TLS.
pub(super) fn manager(binaries: &Binaries) -> Outcome {
    let bench = Bench::empty(binaries, "")?;
    let (objects, models) = fixture_of("cnx-manager", "cluster.yaml")?;
    bench.install(&objects)?;
    let server = Aggregated::start(bench.plane.path(), "projectcalico.org/v3")?;

    // No pod answers here: the Service of the manifest leads to the server beside.
    let path = bundled("cnx-manager", "calico-k8sapiserver-kdd.yaml");
    let text = std::fs::read_to_string(&path).map_err(|error| format!("reading {}: {error}", path.display()))?;
    let outside = text
        .replace(
            "service: { name: cnx-api, namespace: kube-system }",
            &format!("service: {{ name: cnx-api, namespace: kube-system, port: {} }}", server.port),
        )
        .replace("spec: { selector: { apiserver: \"true\" }, ports:", "spec: { type: ExternalName, externalName: localhost, ports:");
    if outside.matches("ExternalName,").count() != 1 || !outside.contains(&format!("port: {} }}", server.port)) {
        return Err(format!("{} has another Service", path.display()));
    }
    let manifest = bench.plane.path().join("apiserver.yaml");
    std::fs::write(&manifest, outside).map_err(|error| error.to_string())?;
    let manifest = format!("apiserver={}", manifest.display());
    let beside = |name: &str, file: &str| format!("{name}={}", bundled("cnx-manager", file).display());
    let (web, access) = (beside("web", "cnx-manager.yaml"), beside("access", "access.yaml"));
    let with = ["cnx-manager", &manifest, &web, &access, "kubernetes_api=https://k8s.example:6443"];

    let roles = bench.roles_of_copy(&with, &models)?;
    bench.under(&roles, || bench.run(&[&["run"], &with[..], &["--yes"]].concat())?.expect_code(0))?;
    bench.expect_writes("cnx-manager")?;
    let conditions = bench.object("apiservice/v3.projectcalico.org")?["status"]["conditions"].clone();
    if conditions[0]["type"] != "Available" || conditions[0]["status"] != "True" {
        return Err(format!("the API of the Manager is {conditions}"));
    }
    let config = json!({ "data": { "tigera.cnx-manager.kubernetes-api": "https://k8s.example:6443" } });
    bench.holds("configmap/kube-system/tigera-cnx-manager-web-config", &config)?;
    for deployment in ["cnx-apiserver", "cnx-manager"] {
        bench.holds(&format!("deployment/kube-system/{deployment}"), &json!({ "status": { "readyReplicas": 1 } }))?;
    }
    bench.holds("clusterrolebinding/network-admins", &json!({ "roleRef": { "name": "network-admin" } }))
}

/// Everything by hand, on the only node.
fn components(bench: &Bench) -> Outcome {
    let with = [
        "cnx-components",
        "from=v3.0.4",
        "datastore=etcd",
        "node_image=registry.example/calico/node:v3.0.12",
        "controllers_image=registry.example/calico/kube-controllers:v2.0.5",
        "plugins=v2.0.6",
        "controllers_on=m1",
        "bake=1s",
    ];
    let roles = bench.roles(&with)?;
    let run = [&["run"], &with[..], &["--yes"]].concat();
    bench.under(&roles, || bench.run_with(&run, &["controllers", "agents/m1/calico-node", "agents/m1/plugins"]))?;
    bench.holds("node/m1", &json!({ "spec": { "unschedulable": Value::Null } }))
}

/// What the Prometheus operator does: when it runs it defines its kinds, and makes a StatefulSet of each object of two of them.
fn prometheus_works(bench: &Bench) -> Outcome {
    let operator = bench.object("deployment/calico-monitoring/calico-prometheus-operator")?;
    if operator["status"]["availableReplicas"] != 1 {
        return Ok(());
    }
    for kind in ["Alertmanager", "Prometheus", "ServiceMonitor"] {
        let singular = kind.to_lowercase();
        let plural = if singular.ends_with('s') { format!("{singular}es") } else { format!("{singular}s") };
        let name = format!("{plural}.monitoring.coreos.com");
        if bench.object(&format!("customresourcedefinition/{name}"))?.is_null() {
            let schema = json!({ "openAPIV3Schema": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } });
            let names = json!({ "kind": kind, "listKind": format!("{kind}List"), "plural": plural, "singular": singular });
            let versions = json!([{ "name": "v1", "served": true, "storage": true, "schema": schema }]);
            let spec = json!({ "group": "monitoring.coreos.com", "scope": "Namespaced", "names": names, "versions": versions });
            let metadata = json!({ "name": name });
            let definition =
                json!({ "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": metadata, "spec": spec });
            bench.plane.apply(&definition.to_string())?;
            return Ok(());
        }
        if kind == "ServiceMonitor" {
            continue;
        }
        let objects = bench.plane.kubectl(&["get", &name, "-n", "calico-monitoring", "-o", "json"])?;
        for object in parsed(&objects)?["items"].as_array().into_iter().flatten() {
            let name = format!("{singular}-{}", object["metadata"]["name"].as_str().unwrap_or_default());
            if bench.object(&format!("statefulset/calico-monitoring/{name}"))?.is_null() {
                let labels = json!({ &singular: object["metadata"]["name"] });
                let containers = json!([{ "name": singular, "image": format!("registry.example/prometheus/{singular}:v1") }]);
                let template = json!({ "metadata": { "labels": labels }, "spec": { "containers": containers } });
                let spec = json!({
                    "replicas": object["spec"]["replicas"].as_u64().unwrap_or(1), "podManagementPolicy": "Parallel",
                    "serviceName": name, "selector": { "matchLabels": labels }, "template": template,
                });
                let metadata = json!({ "name": name, "namespace": "calico-monitoring" });
                bench
                    .plane
                    .apply(&json!({ "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": metadata, "spec": spec }).to_string())?;
            }
        }
    }
    Ok(())
}
