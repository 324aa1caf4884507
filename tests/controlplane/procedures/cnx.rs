//! A hosted Calico before CNX is added: its agents are replaced by hand, node by node.

use serde_json::{Value, json};

use super::{Bench, Outcome, file, rolled_out};
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
