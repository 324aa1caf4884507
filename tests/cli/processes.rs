//! The command is killed by SIGKILL at every write of a run, and at some of its reads and waits (`tests/support/killed.rs`).

use lockgate::run::Source;

use super::killed::{Runbook, same};

#[test]
fn the_bundled_runbook_is_killed_at_every_write() {
    let source = Source::bundled("cce-cni-v1-patch").unwrap();
    let fixture = source.beside.read("cluster.yaml").unwrap().unwrap();
    let params = &["image=registry.example/cce-plugin-pro/cce-cni:v1.8.4"];
    let runbook = Runbook { source: source.text.to_string(), fixture, params, files: Vec::new(), env: Vec::new(), judge: same };
    let killed = runbook.everywhere();
    assert!(killed >= 8, "{killed}");
}

#[test]
fn a_run_of_many_kinds_of_writes_is_killed_at_each() {
    let runbook =
        Runbook { source: MANY.to_owned(), fixture: CLUSTER.to_owned(), params: &[], files: Vec::new(), env: Vec::new(), judge: same };
    let killed = runbook.everywhere();
    assert!(killed >= 20, "{killed}");
}

#[test]
fn a_run_is_killed_while_it_reads_and_while_it_waits() {
    let runbook =
        Runbook { source: MANY.to_owned(), fixture: CLUSTER.to_owned(), params: &[], files: Vec::new(), env: Vec::new(), judge: same };
    let killed = runbook.while_it_reads(3);
    assert!(killed >= 8, "{killed}");
}

#[test]
fn a_run_that_is_killed_over_a_command_asks_whether_to_run_it_again() {
    let runbook =
        Runbook { source: COMMAND.to_owned(), fixture: CLUSTER.to_owned(), params: &[], files: Vec::new(), env: Vec::new(), judge: same };
    let killed = runbook.everywhere();
    assert!(killed >= 4, "{killed}");
}

const MANY: &str = r#"
runbook { title = "Many", summary = "Writes of every kind.", impact = "none", namespace = "shop" }
step "objects" {
  title = "Objects come, change and go",
  run = function()
    create { apiVersion = "v1", kind = "ConfigMap", metadata = { generateName = "made-" }, data = { a = "b" } }
    apply { apiVersion = "v1", kind = "ConfigMap", metadata = { name = "applied" }, data = { a = "b" } }
    patch("configmap/settings", { data = { mode = "slow" } })
    delete("configmap/old")
    label("deployment/web", { tier = "front" })
  end,
}
step "workload" {
  title = "A new image, down and up",
  run = function()
    set_image("deployment/web", { web = "registry.example/web:v2" })
    wait_rollout("deployment/web")
    scale("deployment/web", 0, { wait = "gone" })
    scale("deployment/web", 2)
  end,
  verify = function() wait_rollout("deployment/web") end,
}
step "node" {
  title = "A node is emptied",
  run = function()
    drain("n1")
    taint("n1", { "upgrade=now:NoSchedule" })
    uncordon("n1")
  end,
  verify = function() wait_rollout("deployment/web") end,
}
"#;

/// A plan cannot know what a command says, and ends there.
const COMMAND: &str = r#"
runbook { title = "Command", summary = "A command in a pod.", impact = "none", namespace = "shop" }
step "mark" { title = "Mark", run = function() label("statefulset/db", { tier = "back" }) end }
step "command" { title = "A command", run = function() exec("pod/db-0", { "rotate", "keys" }) end }
"#;

const CLUSTER: &str = r#"
{apiVersion: v1, kind: Node, metadata: {name: n1}}
---
{apiVersion: v1, kind: Node, metadata: {name: n2}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: settings, namespace: shop}, data: {mode: fast}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: old, namespace: shop}}
---
apiVersion: lockgate.dev/v1
kind: Model
exec: [{match: {command: "rotate*"}, answer: {stdout: "rotated"}, why: a test}]
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, namespace: shop}
spec:
  replicas: 1
  serviceName: db
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec: {containers: [{name: db, image: 'registry.example/db:v1'}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: 'registry.example/web:v1'}]}
"#;
