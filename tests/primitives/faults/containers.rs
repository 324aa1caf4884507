//! Commands in containers, and what containers wrote.

use lockgate_sim::Cluster as Sim;
use lockgate_sim::json::json;

use super::calls::Case;
use crate::primitives::support::Rig;

const TOOL: &str = r#"---
apiVersion: v1
kind: Pod
metadata: { name: tool }
spec: { nodeName: w1, containers: [{ name: tool, image: "registry.example/tool:v1" }] }
---
apiVersion: lockgate.dev/v1
kind: Model
exec: [{ match: { command: "rotate keys" }, answer: { stdout: "rotated\n", takes: 3s }, why: a test }]
logs: [{ match: { container: tool }, answer: { text: "first\nsecond\n" }, why: a test }]
"#;

fn running() -> Sim {
    let rig = Rig::also(TOOL, |_| {});
    rig.call("wait_for", json!(["pod/tool", "Ready"]), json!({})).unwrap();
    rig.sim(|sim| sim.fork())
}

pub(super) fn cases() -> Vec<Case> {
    let rotate = || json!(["pod/tool", ["rotate", "keys"]]);
    vec![
        Case::on("exec", running, "exec", rotate(), json!({})),
        Case::on("exec that reads", running, "exec", rotate(), json!({ "read": true })),
        Case::on("logs", running, "logs", json!(["pod/tool"]), json!({})),
        Case::on("logs of a workload", logged, "logs", json!(["deployment/web"]), json!({ "tail": 1 })),
    ]
}

fn logged() -> Sim {
    Rig::also(&TOOL.replace("container: tool", "container: web"), |_| {}).sim(|sim| sim.fork())
}
