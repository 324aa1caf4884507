//! A run is killed everywhere; a second process goes on. The cluster must end as if nothing had happened, and nothing may have been done
//! twice. Here the runbooks that are more than one kind of act; `kinds` has one for each.

use lockgate::run::Source;

use super::harness::Scene;
use super::kill::{Count, everywhere};
use super::kinds::{KindOfAct, Shape};

const FIXTURE: &str = include_str!("cluster.yaml");

#[test]
fn a_scale_down_and_up_is_killed_everywhere() {
    let scene = Scene::new(
        r#"
runbook { title = "t", summary = "s", impact = "none" }
check "there" { title = "It is there", run = function() ensure(exists("deployment/web"), "no web") end }
step "down-and-up" {
  title = "Scale down and up again",
  run = function()
    local replicas = get("deployment/web").spec.replicas
    scale("deployment/web", 0, { wait = "gone" })
    scale("deployment/web", replicas)
    state.replicas = replicas
  end,
  verify = function() wait_rollout("deployment/web") end,
}
step "image" {
  title = "A new image",
  run = function()
    local before = set_image("deployment/web", { web = "registry.example/web:v2.0.0" })
    annotate("deployment/web", { before = tostring(before.previous.web), replicas = tostring(state.replicas) })
    create { apiVersion = "v1", kind = "ConfigMap", metadata = { generateName = "made-" }, data = { a = "b" } }
    delete("configmap/settings")
  end,
  verify = function() wait_rollout("deployment/web") end,
}
"#,
        FIXTURE,
    );
    let killed = everywhere("scale", &scene);
    super::count::keep("scaled", killed);
    assert!(killed.points > 100, "{killed:?}");
}

#[test]
fn items_groups_and_recoveries_are_killed_everywhere() {
    let scene = Scene::new(
        r#"
runbook { title = "t", summary = "s", impact = "none" }
check "nodes" { title = "Nodes", at = "always", run = function() ensure(#list("nodes") == 2, "two nodes") end }
step "label" {
  title = function(node) return `Label {node}` end,
  each = function()
    local names = {}
    for _, node in ipairs(list("nodes")) do table.insert(names, node.metadata.name) end
    return names
  end,
  batch = { serial = 2 },
  run = function(node)
    label("node/" .. node, { upgraded = "yes" })
    state[node] = get("node/" .. node).metadata.labels.upgraded
  end,
  verify = function(node) ensure(get("node/" .. node).metadata.labels.upgraded == "yes", "not labelled") end,
}
group "nodes" {
  title = "Every node",
  each = { "n1", "n2" },
  steps = {
    step "close" { title = "Close", gate = "Close it?", run = function(node) cordon(node) end },
    step "taint" {
      title = "Taint",
      when = function(node) return state[node] == "yes", "not labelled" end,
      run = function(node)
        taint(node, { "upgrade=now:NoSchedule" })
        annotate("node/" .. node, { tainted = "yes" })
        uncordon(node)
      end,
    },
  },
}
step "again" {
  title = "Fails once",
  run = function()
    set_env("deployment/web", { MODE = "slow" })
    patch("configmap/settings", { data = { mode = "slow" } })
    get("configmap/made")
    label("deployment/web", { done = "yes" })
  end,
  recover = function(err)
    if err.reason ~= "not_found" then return false end
    create { apiVersion = "v1", kind = "ConfigMap", metadata = { name = "made" }, data = { why = "recover" } }
    return "again"
  end,
}
"#,
        FIXTURE,
    );
    let killed = everywhere("items", &scene);
    super::count::keep("items", killed);
    assert!(killed.points > 300, "{killed:?}");
}

/// The cluster of the bundled runbook, and the same with three nodes of the control plane and three workers.
fn bundled(highly_available: bool) -> Scene {
    let mut fixture = include_str!("../../runbooks/cce-cni-v1-patch/cluster.yaml").to_owned();
    if highly_available {
        fixture.insert_str(0, MORE_NODES);
    }
    let source = Source::bundled("cce-cni-v1-patch").unwrap();
    let given = vec!["image=registry.example/cce-plugin-pro/cce-cni:v1.8.4".to_owned()];
    Scene { source, given, ..Scene::new("", &fixture) }
}

const MORE_NODES: &str = r#"apiVersion: v1
kind: Node
metadata: { name: m3, labels: { cluster-role: master, kubernetes.io/os: linux, node-role.kubernetes.io/master: "" } }
spec: { taints: [{ key: node-role.kubernetes.io/master, effect: NoSchedule }] }
---
apiVersion: v1
kind: Node
metadata: { name: w2, labels: { kubernetes.io/os: linux } }
---
apiVersion: v1
kind: Node
metadata: { name: w3, labels: { kubernetes.io/os: linux } }
---
"#;

#[test]
fn the_bundled_runbook_is_killed_everywhere() {
    // Through the port trap: the new pod waits for a port that an old one holds, and `recover` scales down and up.
    let killed = everywhere("cce", &bundled(false));
    super::count::keep("cce", killed);
    assert!(killed.points > 300, "{killed:?}");
}

#[test]
fn the_bundled_runbook_is_killed_everywhere_on_six_nodes() {
    // The same runbook.
    let killed = Count { runbooks: 0, ..everywhere("cce on six nodes", &bundled(true)) };
    super::count::keep("cce-of-six", killed);
    assert!(killed.points > 300, "{killed:?}");
}

/// A StatefulSet whose controller waits for a pod that never gets ready: the undo deletes that pod, once, whenever its process dies.
#[test]
fn an_undo_that_frees_a_statefulset_is_killed_everywhere() {
    let steps = r#"
step "break" {
  title = "An image that is not there",
  run = function()
    set_image("statefulset/db", { db = "registry.example/db:v9.0.0" })
    wait_for("pod/db-1", function(pod) return pod ~= nil and pod.spec.containers[1].image == "registry.example/db:v9.0.0" end)
  end,
}
step "undo" {
  title = "Go back",
  run = function() rollout_undo("statefulset/db", { to = 1 }) end,
  verify = function() wait_rollout("statefulset/db") end,
}
"#;
    let mut scene = KindOfAct { steps, ..*KindOfAct::named("rollouts") }.scene(Shape::Small);
    let missing =
        "apiVersion: lockgate.dev/v1\nkind: Model\nimages: [{match: \"registry.example/db:v9*\", never_pulls: true, why: a test}]\n";
    scene.sim.models_mut().extend(serde_saphyr::from_str(missing).unwrap());
    let killed = everywhere("undo", &scene);
    super::count::keep("undo", killed);
    assert!(killed.points > 50, "{killed:?}");
}
