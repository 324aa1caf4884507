//! A run is killed at every line of its journal, before and after the line is on the disk, and with everything lost that was not synced;
//! a second process goes on. The cluster must end as if nothing had happened, and nothing may have been done twice.

use std::rc::Rc;

use lockgate::run::journal::book::OnDrift;
use lockgate::run::{End, Source};

use super::harness::{Disk, Kill, Scene, effects, state};

/// Kills everywhere and compares; gives how often.
fn everywhere(name: &str, scene: &Scene) -> usize {
    kills(name, scene, &[(true, false), (false, false), (true, true), (false, true)])
}

/// Kills at every line: before or after it is on the disk, with or without the loss of what was not synced.
fn kills(name: &str, scene: &Scene, ways: &[(bool, bool)]) -> usize {
    let (whole, disk) = scene.whole();
    let summary = whole.summary.unwrap();
    assert_eq!(summary.end, End::Succeeded, "{name}: {:?}", summary.error);
    let (wanted, made) = (state(&whole.cluster), effects(&whole.cluster));
    let lines = disk.entries.borrow().len();
    let mut killed = 0;
    for line in 1..=lines {
        for &(before, loses) in ways {
            let kill = if before { Kill::Before(line) } else { Kill::After(line) };
            let what = format!("{name}: {kill:?} of {lines}, loses {loses}");
            let (simulation, disk) = (scene.cluster(), Rc::<Disk>::default());
            let first = scene.process(&simulation, &disk, kill, OnDrift::Stop);
            assert!(first.summary.is_none(), "{what}: not killed: {:?}", first.summary);
            if loses {
                disk.lose_unsynced();
            }
            let second = scene.process(&simulation, &disk, Kill::No, OnDrift::Stop);
            let summary = second.summary.unwrap();
            assert_eq!(summary.end, End::Succeeded, "{what}: {:?}\n{:#?}", summary.error, disk.entries.borrow());
            assert_eq!(effects(&second.cluster), made, "{what}\n{:#?}", disk.entries.borrow());
            assert_eq!(state(&second.cluster), wanted, "{what}");
            killed += 1;
        }
    }
    killed
}

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
    assert!(killed > 100, "{killed}");
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
    assert!(killed > 300, "{killed}");
}

#[test]
fn the_bundled_runbook_is_killed_everywhere() {
    let fixture = include_str!("../../runbooks/cce-cni-v1-patch/cluster.yaml");
    let source = Source::bundled("cce-cni-v1-patch").unwrap();
    let given = vec!["image=registry.example/cce-plugin-pro/cce-cni:v1.8.4".to_owned()];
    let scene = Scene { source, given, ..Scene::new("", fixture) };
    // Through the port trap: the new pod waits for a port that an old one holds, and `recover` scales down and up.
    let killed = kills("cce", &scene, &[(true, false), (false, true)]);
    assert!(killed > 150, "{killed}");
}
