//! What five verbs say to what people get wrong in a call: every text word for word in `tests/cli/golden/errors-*.txt`.

use super::support::{CLUSTER, HEAD, Host};

/// A node with a pod that belongs to nobody and one under a budget that lets nothing go, a machine that is modelled, and the volume of a
/// pod that goes with it.
const MORE: &str = r#"---
apiVersion: v1
kind: Node
metadata: { name: n2 }
---
apiVersion: v1
kind: Pod
metadata: { name: alone, namespace: shop }
spec: { nodeName: n2, containers: [{ name: a, image: "registry.example/a:v1" }], volumes: [{ name: data, emptyDir: {} }] }
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: { name: all-of-web, namespace: shop }
spec: { minAvailable: 2, selector: { matchLabels: { app: web } } }
---
apiVersion: lockgate.dev/v1
kind: Model
machines:
  - node: n2
    why: a machine that fails
    os: ubuntu
    commands:
      - { argv: ["false"], takes: 1s, code: 1, stderr: "it says no" }
      - { argv: [sleep, long], takes: 2h }
"#;

/// Calls each of these, and tells what comes of it.
fn told(name: &str, calls: &[&str]) {
    let mut body = String::from(
        "local function try(text, call)\n  local ok, wrong = pcall(call)\n  note(text)\n  if ok then return note(\"no error\") end\n  \
         note(`  {wrong.reason}: {wrong.message}`)\n  for _, cause in wrong.causes do note(`    cause: {cause}`) end\n  \
         if wrong.hint then note(`    hint: {wrong.hint}`) end\nend\n",
    );
    for call in calls {
        body.push_str(&format!("try([=[{call}]=], function() {call} end)\n"));
    }
    let host = Host::with_runbook(&format!("{HEAD}step \"s\" {{ title = \"S\", run = function()\n{body}\nend }}\n"))
        .file("r/cluster.yaml", &format!("{CLUSTER}{MORE}"));
    let said = host.run(&["plan", "r", "--sandbox"]);
    assert!(said.stdout.contains("usage: "), "{}", said.transcript());
    said.hides("no error").golden(&format!("errors-{name}"));
}

#[test]
fn of_drain() {
    told(
        "drain",
        &[
            "drain()",
            "drain(7)",
            "drain({})",
            "drain({ \"n1\", \"n1\" })",
            "drain(\"deployment/web\")",
            "drain(\"nowhere\")",
            "drain(\"n1\", \"now\")",
            "drain(\"n1\", { timeuot = \"5m\" })",
            "drain(\"n1\", { timeout = \"five\" })",
            "drain(\"n1\", { grace_period = -1 })",
            "drain(\"n1\", { max_evictions = 0 })",
            "drain(\"n1\", { pod_selector = \"app in web\" })",
            "drain(\"n1\", { on_impossible_budget = \"ignore\" })",
            "drain(\"n2\")",
            "drain(\"n2\", { force = true })",
            "drain(\"n1\")",
        ],
    );
}

#[test]
fn of_helm_upgrade() {
    told(
        "helm-upgrade",
        &[
            "helm.upgrade()",
            "helm.upgrade(\"shop\")",
            "helm.upgrade(\"Shop_1\", \"./chart\", { values_from = \"none\" })",
            "helm.upgrade(\"shop\", \"./chart\", { values_from = \"keep\" })",
            "helm.upgrade(\"shop\", \"./chart\", { vlaues = {} })",
            "helm.upgrade(\"shop\", \"./chart\", { values = 7, values_from = \"none\" })",
            "helm.upgrade(\"shop\", \"./chart\", { reuse_values = true })",
            "helm.upgrade(\"shop\", \"./chart\", { reset_values = true })",
            "helm.upgrade(\"shop\", \"./chart\", { atomic = true, values_from = \"none\" })",
            "helm.upgrade(\"shop\", \"./chart\", { timeout = \"soon\", values_from = \"none\" })",
            "helm.upgrade(\"shop\", \"./chart\", { values_from = \"previous\" })",
        ],
    );
}

#[test]
fn of_taint() {
    told(
        "taint",
        &[
            "taint()",
            "taint(\"n1\")",
            "taint(\"n1\", \"a=b:NoSchedule\")",
            "taint(\"n1\", {})",
            "taint(\"n1\", { \"a=b\" })",
            "taint(\"n1\", { \"a=b:NoShedule\" })",
            "taint(\"n1\", { \"=b:NoSchedule\" })",
            "taint(\"n1\", { \"a=b c:NoSchedule\" })",
            "taint(\"n1\", { \"a=b:NoSchedule\", \"a-\" })",
            "taint(\"n1\", { \"a=b:NoSchedule\" }, { overwrite = true })",
            "taint(\"deployment/web\", { \"a=b:NoSchedule\" })",
            "taint(\"nowhere\", { \"a=b:NoSchedule\" })",
        ],
    );
}

#[test]
fn of_machine_run() {
    told(
        "machine-run",
        &[
            "machine.run()",
            "machine.run(\"n2\")",
            "machine.run(\"n2\", \"uname -a\")",
            "machine.run(\"n2\", {})",
            "machine.run(\"n2\", { \"\" })",
            "machine.run(\"n2\", { \"uname\", 7 })",
            "machine.run(\"n2\", { \"uname\" }, { sudoo = false })",
            "machine.run(\"n2\", { \"uname\" }, { limit = \"0s\" })",
            "machine.run(\"nowhere\", { \"uname\" })",
            "machine.run(\"n1\", { \"uname\" })",
            "machine.run(\"n2\", { \"false\" })",
            "machine.run(\"n2\", { \"false\" }, { limit = \"soon\" })",
        ],
    );
}

#[test]
fn of_skew_check() {
    told(
        "skew-check",
        &[
            "skew_check(\"v1.36.0\")",
            "skew_check({ traget = \"v1.37.0\" })",
            "skew_check({ target = \"latest\" })",
            "skew_check({ target = 1.37 })",
            "skew_check({ assume = \"v1.36.0\" })",
            "skew_check({ assume = { kublet = \"v1.36.0\" } })",
            "skew_check({ assume = { [\"kubelet/nowhere\"] = \"v1.36.0\" } })",
            "skew_check({ assume = { kubectl = \"newest\" } })",
        ],
    );
}
