//! Calico by its manifests. From 3.13 to 3.22 with host endpoints of all interfaces: what they let through before, the new release denies.
//! As Canal, and for policies only. And host endpoints that Calico makes in the place of those made by hand.

use serde_json::{Value, json};

use super::{Bench, Outcome, bundled, file, fixture_of, rolled_out};
use crate::controlplane::{Binaries, command};

const AGENT: &str = "daemonset/kube-system/calico-node";
const CONTROLLERS: &str = "deployment/kube-system/calico-kube-controllers";

/// The procedure from the labels of the endpoints to the end of the temporary policy; and before that what it refuses.
pub(super) fn by_manifest(binaries: &Binaries) -> Outcome {
    let bench = Bench::start(binaries, "calico-3.13.yaml")?;
    let manifest = format!("manifest={}", file("calico-3.22.yaml").display());
    let hardening = format!("hardening={}", file("calico-hardening.yaml").display());
    let with = |to: &'static str| ["calico-upgrade", to, &manifest, &hardening, "bake=2s"];
    let run = |to: &'static str| [&["run"], &with(to)[..], &["--yes"]].concat();

    // The file is of another release; and nothing leads back.
    bench.refuses(&run("to=v3.23.5"), 1, "the manifest installs")?;
    bench.refuses(&run("to=v3.12.0"), 1, "3.12.0 is no release that this runbook knows")?;

    // What the hosts log is for a person to look at: the run waits there, and another terminal says that it was done.
    let roles = bench.roles(&with("to=v3.22.5"))?;
    let whole = || {
        let parked = bench.run(&run("to=v3.22.5"))?;
        parked.expect_code(4)?;
        parked.expect_said("calico-packet")?;
        bench.holds("globalnetworkpolicy.crd.projectcalico.org/default.allow-all-upgrade", &allows_all())?;
        command::about(&bench.plane, &["approve", "last", "traffic", "--yes"])?.expect_code(0)?;
        // What the plan was accepted for does not outlive the pause: the gate is asked anew.
        bench.run(&["resume", "last"])?.expect_code(4)?;
        command::about(&bench.plane, &["approve", "last", "policy-removal", "--yes"])?.expect_code(0)?;
        bench.run(&["resume", "last"])?.expect_code(0)
    };
    bench.under(&roles, || bench.beside(agents_tell, whole))?;

    bench.expect_writes("calico")?;
    for container in ["calico-node", "mount-bpffs"] {
        bench.runs(AGENT, container, "docker.io/calico/node:v3.22.5")?;
    }
    bench.runs(AGENT, "install-cni", "docker.io/calico/cni:v3.22.5")?;
    bench.runs(CONTROLLERS, "calico-kube-controllers", "docker.io/calico/kube-controllers:v3.22.5")?;
    bench.holds(AGENT, &rolled_out(3))?;
    bench.holds(AGENT, &json!({ "spec": { "updateStrategy": { "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": 1 } } } }))?;
    bench.holds("pod/kube-system/calicoctl", &json!({ "spec": { "containers": [{ "image": "docker.io/calico/ctl:v3.22.5" }] } }))?;
    bench.holds("hostendpoint/m1-all", &json!({ "metadata": { "labels": { "host-endpoint-upgrade": "", "role": "master" } } }))?;
    bench.holds("hostendpoint/w2-eth0", &json!({ "metadata": { "labels": { "host-endpoint-upgrade": Value::Null } } }))?;
    // Served as policy/v1: the manifest has it as v1beta1.
    bench.holds("poddisruptionbudget/kube-system/calico-kube-controllers", &json!({ "spec": { "maxUnavailable": 1 } }))?;
    bench.holds("globalnetworkpolicy.crd.projectcalico.org/default.hosts", &json!({ "spec": { "selector": "has(role)" } }))?;
    bench.is_gone("globalnetworkpolicy.crd.projectcalico.org/default.allow-all-upgrade")
}

fn allows_all() -> Value {
    let rules = json!([{ "action": "Log" }, { "action": "Allow" }]);
    json!({ "spec": { "selector": "has(host-endpoint-upgrade)", "types": ["Ingress", "Egress"], "ingress": rules, "egress": rules } })
}

/// What an agent does when it is up: it writes the release that it is of, where that is another one.
fn agents_tell(bench: &Bench) -> Outcome {
    bench.tell_release("kube-system")
}

/// Canal, whose agents are those of Calico beside flannel.
pub(super) fn as_canal(binaries: &Binaries) -> Outcome {
    let bench = upgraded(binaries, "canal", "cluster-canal.yaml", &["canal-v3.22.5.yaml"])?;
    let agent = "daemonset/kube-system/canal";
    bench.runs(agent, "calico-node", "registry.example/calico/node:v3.22.5")?;
    bench.runs(agent, "kube-flannel", "registry.example/coreos/flannel:v0.15.1")?;
    bench.holds(agent, &json!({ "spec": { "updateStrategy": { "type": "RollingUpdate" } } }))?;
    bench.holds("clusterinformation/default", &json!({ "spec": { "calicoVersion": "v3.22.5" } }))
}

/// Calico that enforces policies in the network of somebody else, with Typha, to which somebody has given a second replica.
pub(super) fn for_policies_only(binaries: &Binaries) -> Outcome {
    let bench = upgraded(binaries, "policies", "cluster-policy-only.yaml", &["calico-policy-only-v3.22.5.yaml", "keep=all"])?;
    bench.runs(AGENT, "calico-node", "registry.example/calico/node:v3.22.5")?;
    bench.runs("deployment/kube-system/calico-typha", "calico-typha", "registry.example/calico/typha:v3.22.5")?;
    bench.holds("deployment/kube-system/calico-typha", &json!({ "spec": { "replicas": 2 }, "status": { "readyReplicas": 2 } }))
}

/// The upgrade of what is in a fixture, by a manifest beside it.
fn upgraded(binaries: &Binaries, name: &str, fixture: &str, given: &[&str]) -> Outcome<Bench> {
    let (objects, models) = fixture_of("calico-upgrade", fixture)?;
    let bench = Bench::empty(binaries, "")?;
    bench.install(&objects)?;
    let manifest = format!("manifest={}", bundled("calico-upgrade", given[0]).display());
    let with = [&["calico-upgrade", "to=v3.22.5", &manifest, "bake=2s"], &given[1..]].concat();
    let roles = bench.roles_of_copy(&with, &models)?;
    let whole = || bench.run(&[&["run"], &with[..], &["--yes"]].concat())?.expect_code(0);
    bench.under(&roles, || bench.beside(agents_tell, whole))?;
    bench.expect_writes(name)?;
    Ok(bench)
}

/// Endpoints of all interfaces that were made by hand, on two of three nodes.
pub(super) fn auto_host_endpoints(binaries: &Binaries) -> Outcome {
    let (objects, models) = fixture_of("calico-auto-host-endpoints", "cluster.yaml")?;
    let bench = Bench::empty(binaries, "")?;
    bench.install(&objects)?;
    let roles = bench.roles_of_copy(&["calico-auto-host-endpoints"], &models)?;
    let whole = || bench.run_with(&["run", "calico-auto-host-endpoints", "--yes"], &["auto-create"]);
    bench.under(&roles, || bench.beside(endpoints_are_made, whole))?;
    bench.expect_writes("host-endpoints")?;
    for old in ["w1-all", "w2-all"] {
        bench.is_gone(&format!("hostendpoint/{old}"))?;
    }
    // That of one interface stays.
    bench.holds("hostendpoint/w2-eth0", &json!({ "spec": { "interfaceName": "eth0" } }))?;
    bench.holds("hostendpoint/w2-auto-hep", &json!({ "metadata": { "labels": { "role": "worker", "zone": "b" } } }))?;
    bench.holds("hostendpoint/m1-auto-hep", &json!({ "spec": { "node": "m1", "interfaceName": "*" } }))
}

/// What kube-controllers do when they are to make host endpoints: one for each node, with its labels.
fn endpoints_are_made(bench: &Bench) -> Outcome {
    let settings = bench.object("kubecontrollersconfiguration/default")?;
    if settings["spec"]["controllers"]["node"]["hostEndpoint"]["autoCreate"] != "Enabled" {
        return Ok(());
    }
    for node in bench.plane.list(None, "nodes")? {
        let name = node["metadata"]["name"].as_str().unwrap_or_default();
        let mut labels = node["metadata"]["labels"].clone();
        labels["projectcalico.org/created-by"] = "calico-kube-controllers".into();
        if bench.object(&format!("hostendpoint/{name}-auto-hep"))?["metadata"]["labels"] == labels {
            continue;
        }
        let spec = json!({ "node": name, "interfaceName": "*", "profiles": ["projectcalico-default-allow"] });
        let metadata = json!({ "name": format!("{name}-auto-hep"), "labels": labels });
        bench.apply(
            &json!({ "apiVersion": "crd.projectcalico.org/v1", "kind": "HostEndpoint", "metadata": metadata, "spec": spec }).to_string(),
        )?;
    }
    Ok(())
}
