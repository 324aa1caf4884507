//! Calico 3.13 to 3.22 by its manifest, with host endpoints of all interfaces: what they let through before, the new release denies.

use serde_json::{Value, json};

use super::{Bench, Outcome, file, rolled_out};
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
