//! One small runbook for each kind of act, killed everywhere: the rows of the table of acts in the design's reference.

use lockgate::run::Source;
use lockgate_sim::fixture::Fixture;
use lockgate_sim::model::ModelDocument;
use lockgate_sim::{Cluster as Sim, Options as SimOptions};

use super::harness::Scene;
use super::kill::{Count, everywhere};
use crate::primitives::helm::chart;

/// How many nodes a cluster has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// One of the control plane, two workers.
    Small,
    /// Three of the control plane, three workers.
    HighlyAvailable,
}

/// A kind of act: its name, how often it was killed at least, the cluster, the steps.
pub(super) struct KindOfAct {
    pub(super) name: &'static str,
    pub(super) shapes: &'static [Shape],
    pub(super) steps: &'static str,
    /// What else the cluster has.
    pub(super) also: Also,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Also {
    Nothing,
    Commands,
    Charts,
    Machines,
    /// Machines behind the nodes of the control plane.
    Masters,
}

const SMALL: &[Shape] = &[Shape::Small];
const LARGE: &[Shape] = &[Shape::HighlyAvailable];
const BOTH: &[Shape] = &[Shape::Small, Shape::HighlyAvailable];

pub(super) const KINDS: [KindOfAct; 18] = [
    KindOfAct {
        name: "cordon",
        shapes: BOTH,
        also: Also::Nothing,
        steps: r#"
step "cordon" { title = "Cordon", run = function() cordon("w1", { reason = "test" }) end }
step "uncordon" { title = "Uncordon", run = function() uncordon("w1") end }
"#,
    },
    KindOfAct {
        name: "drain",
        shapes: BOTH,
        also: Also::Nothing,
        steps: r#"
group "nodes" {
  title = "Every worker",
  each = { "w1", "w2" },
  steps = {
    step "drain" { title = "Drain", run = function(node) drain(node) end },
    step "uncordon" {
      title = "Uncordon",
      run = function(node) uncordon(node) end,
      verify = function() wait_rollout("deployment/web") end,
    },
  },
}
"#,
    },
    KindOfAct {
        name: "set_image",
        shapes: BOTH,
        also: Also::Nothing,
        steps: r#"
step "image" {
  title = "A new image",
  run = function()
    local before = set_image("deployment/web", { web = "registry.example/web:v2.0.0", prepare = "registry.example/web:v2.0.0" })
    state.before = tostring(before.previous.web)
  end,
  verify = function() wait_rollout("deployment/web") end,
}
step "agent" {
  title = "And of the agent",
  run = function() set_image("daemonset/agent", { agent = "registry.example/agent:v2.0.0" }) end,
  verify = function() wait_rollout("daemonset/agent") end,
}
"#,
    },
    KindOfAct {
        name: "scale",
        shapes: BOTH,
        also: Also::Nothing,
        steps: r#"
step "down-and-up" {
  title = "Down and up again",
  run = function()
    local before = scale("deployment/web", 0, { wait = "gone" }).previous
    scale("deployment/web", before)
    scale("statefulset/db", 3)
  end,
  verify = function()
    wait_rollout("deployment/web")
    wait_rollout("statefulset/db")
  end,
}
"#,
    },
    KindOfAct {
        name: "apply",
        shapes: BOTH,
        also: Also::Nothing,
        steps: r#"
step "apply" {
  title = "Apply",
  run = function()
    apply {
      { apiVersion = "v1", kind = "ConfigMap", metadata = { name = "new" }, data = { a = "b" } },
      { apiVersion = "v1", kind = "ConfigMap", metadata = { name = "settings" }, data = { more = "yes" } },
      { apiVersion = "v1", kind = "Secret", metadata = { name = "login" }, data = { user = "YWRtaW4=", word = "c2VjcmV0" } },
      { apiVersion = "v1", kind = "Service", metadata = { name = "web" },
        spec = { selector = { app = "web" }, ports = { { port = 80 } } } },
    }
  end,
}
step "again" {
  title = "Apply again",
  run = function() apply { { apiVersion = "v1", kind = "ConfigMap", metadata = { name = "new" }, data = { a = "c" } } } end,
}
"#,
    },
    KindOfAct {
        name: "objects",
        shapes: BOTH,
        also: Also::Nothing,
        steps: r#"
step "objects" {
  title = "Make, change, delete",
  run = function()
    create { apiVersion = "v1", kind = "ConfigMap", metadata = { generateName = "made-" }, data = { a = "b" } }
    create { apiVersion = "v1", kind = "ConfigMap", metadata = { name = "named" }, data = { a = "b" } }
    patch("configmap/settings", { data = { mode = "slow" } })
    patch("configmap/settings", { { op = "add", path = "/data/more", value = "yes" } }, { type = "json" })
    local named = get("configmap/named")
    named.data.a = "c"
    update(named)
    delete("configmap/old")
    delete("deployment/web", { wait = true })
  end,
}
"#,
    },
    KindOfAct {
        name: "metadata",
        shapes: BOTH,
        also: Also::Nothing,
        steps: r#"
step "metadata" {
  title = "Labels, annotations, taints, environment",
  run = function()
    label("node/w1", { tier = "front" })
    label("node/w1", { tier = "back" })
    annotate("deployment/web", { note = "x", other = false })
    taint("w1", { "upgrade=now:PreferNoSchedule" })
    taint("w1", { "upgrade-" })
    set_env("deployment/web", { MODE = "slow" })
  end,
  verify = function() wait_rollout("deployment/web") end,
}
"#,
    },
    KindOfAct {
        name: "rollouts",
        shapes: BOTH,
        also: Also::Nothing,
        steps: r#"
step "restart" {
  title = "Restart",
  run = function() rollout_restart("deployment/web") end,
  verify = function() wait_rollout("deployment/web") end,
}
step "pause" {
  title = "Pause, change, resume",
  run = function()
    rollout_pause("deployment/web")
    set_image("deployment/web", { web = "registry.example/web:v2.0.0" })
    rollout_resume("deployment/web")
  end,
  verify = function() wait_rollout("deployment/web") end,
}
step "back" {
  title = "Back",
  run = function() rollout_undo("deployment/web") end,
  verify = function() wait_rollout("deployment/web") end,
}
"#,
    },
    KindOfAct {
        name: "replace_pod",
        shapes: BOTH,
        also: Also::Nothing,
        steps: r#"
step "image" {
  title = "A new image",
  run = function() set_image("daemonset/by-hand", { main = "registry.example/agent:v2.0.0" }) end,
}
step "pods" {
  title = "Pod by pod",
  each = { "w1", "w2" },
  run = function(node) replace_pod("daemonset/by-hand", { node = node }) end,
}
"#,
    },
    KindOfAct {
        name: "jobs",
        shapes: BOTH,
        also: Also::Nothing,
        steps: r#"
local template = { spec = { restartPolicy = "Never", containers = { { name = "main", image = "registry.example/job:v1" } } } }
step "job" {
  title = "A job and a pod",
  run = function()
    create { apiVersion = "batch/v1", kind = "Job", metadata = { name = "once" }, spec = { template = template } }
    wait_for("job/once", "Complete")
    create { apiVersion = "v1", kind = "Pod", metadata = { name = "probe" }, spec = template.spec }
    wait_for("pod/probe", "Ready")
    delete("pod/probe", { wait = true })
  end,
}
"#,
    },
    KindOfAct {
        name: "custom",
        shapes: BOTH,
        also: Also::Nothing,
        steps: r#"
step "definition" {
  title = "A definition and an object",
  run = function()
    apply {
      { apiVersion = "apiextensions.k8s.io/v1", kind = "CustomResourceDefinition", metadata = { name = "gears.shop.example" },
        spec = { group = "shop.example", scope = "Namespaced",
          names = { plural = "gears", singular = "gear", kind = "Gear", listKind = "GearList" },
          versions = { { name = "v1", served = true, storage = true,
            schema = { openAPIV3Schema = { type = "object", ["x-kubernetes-preserve-unknown-fields"] = true } } } } } },
    }
    apply { { apiVersion = "shop.example/v1", kind = "Gear", metadata = { name = "one" }, spec = { teeth = 3 } } }
    patch("gear/one", { spec = { teeth = 4 } })
  end,
}
"#,
    },
    KindOfAct {
        name: "exec",
        shapes: BOTH,
        also: Also::Commands,
        steps: r#"
step "rotate" {
  title = "Commands",
  run = function()
    local pod = "pod/" .. list("pods", { labels = "app=db" })[1].metadata.name
    exec(pod, { "rotate", "keys" })
    annotate("deployment/web", { rotated = "yes" })
  end,
}
"#,
    },
    KindOfAct {
        name: "questions",
        shapes: BOTH,
        also: Also::Nothing,
        steps: r#"
step "ask" {
  title = "Questions",
  gate = "Begin?",
  run = function()
    confirm("Really?")
    local mode = ask("Which mode?", { choices = { "slow", "fast" }, default = "slow" })
    patch("configmap/settings", { data = { mode = mode } })
    manual("Write `by hand` into the settings.", {
      done = function() return get("configmap/settings").data.by == "hand" end,
      pretend = function() patch("configmap/settings", { data = { by = "hand" } }) end,
    })
    manual("Look around.")
    state.mode = mode
  end,
}
step "after" {
  title = "After it",
  run = function()
    label("configmap/settings", { mode = state.mode })
    note("it is " .. state.mode)
  end,
}
"#,
    },
    KindOfAct {
        name: "batches",
        shapes: BOTH,
        also: Also::Nothing,
        steps: r#"
step "ramp" {
  title = function(node) return `Label {node}` end,
  each = function()
    local names = {}
    for _, node in ipairs(list("nodes")) do table.insert(names, node.metadata.name) end
    return names
  end,
  batch = { ramp = { 1, 2 }, max_failures = 1 },
  when = function(node) return node ~= "w2", "not this one" end,
  run = function(node)
    label("node/" .. node, { upgraded = "yes" })
    annotate("node/" .. node, { upgraded = "yes" })
  end,
}
"#,
    },
    KindOfAct {
        name: "recover",
        shapes: BOTH,
        also: Also::Nothing,
        steps: r#"
step "fails-once" {
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
    },
    KindOfAct {
        name: "helm",
        shapes: BOTH,
        also: Also::Charts,
        steps: r#"
step "install" { title = "Install", run = function() helm.install("shop", "shop", { version = "1.0.0" }) end }
step "upgrade" {
  title = "Upgrade",
  run = function() helm.upgrade("shop", "shop", { version = "2.0.0", values_from = "previous" }) end,
}
step "back" { title = "Back", run = function() helm.rollback("shop", { revision = 1 }) end }
step "away" { title = "Away", run = function() helm.uninstall("shop") end }
"#,
    },
    KindOfAct {
        name: "machines",
        shapes: SMALL,
        also: Also::Machines,
        steps: r#"
step "backup" {
  title = "Commands and files",
  run = function()
    machine.run("w1", { "backup", "etcd" })
    machine.write("w1", "/etc/motd", "kept\n")
  end,
}
step "control-plane" {
  title = "kubeadm",
  run = function()
    machine.packages("m1", { kubeadm = "1.19.16" })
    machine.run("m1", { "kubeadm", "upgrade", "apply", "v1.19.16", "-y" })
    machine.packages("m1", { kubelet = "1.19.16" })
    machine.service("m1", "kubelet", "restart")
  end,
}
step "worker" {
  title = "A worker",
  run = function()
    cordon("w1")
    machine.packages("w1", { kubeadm = "1.19.16", kubelet = "1.19.16" })
    machine.service("w1", "kubelet", "restart")
    wait_for("node/w1", "Ready")
    machine.reboot("w1")
    uncordon("w1")
  end,
}
"#,
    },
    KindOfAct {
        name: "control_plane",
        shapes: LARGE,
        also: Also::Masters,
        steps: r#"
group "masters" {
  title = "Every node of the control plane",
  each = { "m1", "m2", "m3" },
  steps = {
    step "boot" {
      title = "Boot it",
      run = function(node) machine.reboot(node) end,
      verify = function(node) wait_for("node/" .. node, "Ready") end,
    },
  },
}
"#,
    },
];

impl KindOfAct {
    pub(super) fn named(name: &str) -> &'static KindOfAct {
        KINDS.iter().find(|kind| kind.name == name).unwrap()
    }

    pub(super) fn scene(&self, shape: Shape) -> Scene {
        let text = format!("runbook {{ title = \"t\", summary = \"s\", impact = \"none\" }}\n{}", self.steps);
        let mut sim = match self.also {
            Also::Machines => crate::primitives::machine::sim(),
            _ => Fixture::parse("cluster.yaml", &cluster(shape)).unwrap().cluster(SimOptions::default()).unwrap(),
        };
        self.adds(&mut sim);
        Scene::of(Source::of_text("tried", &text), sim)
    }

    fn adds(&self, sim: &mut Sim) {
        let text = match self.also {
            Also::Nothing => return,
            Also::Charts => {
                let old = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: shop }\ndata: { colour: green }\n";
                let charts = vec![chart("1.0.0", old), chart("2.0.0", &old.replace("green", "red"))];
                sim.models_mut().extend(ModelDocument { charts, ..ModelDocument::default() });
                return;
            }
            Also::Commands => "exec: [{match: {command: \"rotate*\"}, answer: {stdout: \"rotated\\n\"}, why: a test}]",
            Also::Masters => "machines: [{node: m1, why: a test}, {node: m2, why: a test}, {node: m3, why: a test}]",
            Also::Machines => "machines: [{node: w1, why: a test, commands: [{argv: backup etcd, takes: 20s, stdout: \"kept\\n\"}]}]",
        };
        let document: ModelDocument = serde_saphyr::from_str(&format!("apiVersion: lockgate.dev/v1\nkind: Model\n{text}\n")).unwrap();
        sim.models_mut().extend(document);
    }
}

/// A cluster of this shape with a little of everything.
pub(super) fn cluster(shape: Shape) -> String {
    let (masters, workers) = match shape {
        Shape::Small => (1, 2),
        Shape::HighlyAvailable => (3, 3),
    };
    let mut text = String::new();
    for number in 1..=masters {
        text.push_str(&format!(
            "apiVersion: v1\nkind: Node\nmetadata: {{ name: m{number}, labels: {{ node-role.kubernetes.io/control-plane: \"\" }} }}\n\
             spec: {{ taints: [{{ key: node-role.kubernetes.io/control-plane, effect: NoSchedule }}] }}\n---\n"
        ));
    }
    for number in 1..=workers {
        text.push_str(&format!("apiVersion: v1\nkind: Node\nmetadata: {{ name: w{number} }}\n---\n"));
    }
    text.push_str(include_str!("workloads.yaml"));
    text
}

/// Kills a kind of act everywhere, on every shape that matters to it.
fn kill(name: &str, least: usize) {
    let kind = KindOfAct::named(name);
    let mut count = Count::default();
    for shape in kind.shapes {
        count += everywhere(&format!("{name} on {shape:?}"), &kind.scene(*shape));
    }
    // It is one runbook, whatever it runs on.
    count.runbooks = 1;
    assert!(count.points >= least, "{count:?}");
    super::count::keep(&format!("kind-{name}"), count);
}

macro_rules! killed_everywhere {
    ($($test:ident: $name:literal at $least:literal;)*) => {
        $(
            #[test]
            fn $test() {
                kill($name, $least);
            }
        )*

        #[test]
        fn every_kind_of_act_has_its_test() {
            let tested = [$($name),*];
            KINDS.iter().for_each(|kind| assert!(tested.contains(&kind.name), "{} is never killed", kind.name));
        }
    };
}

killed_everywhere! {
    cordoning: "cordon" at 10;
    draining: "drain" at 10;
    images: "set_image" at 10;
    scaling: "scale" at 10;
    applying: "apply" at 10;
    objects: "objects" at 10;
    metadata: "metadata" at 10;
    rollouts: "rollouts" at 10;
    pods_that_are_replaced: "replace_pod" at 10;
    jobs: "jobs" at 10;
    custom_resources: "custom" at 10;
    commands: "exec" at 10;
    questions: "questions" at 10;
    batches: "batches" at 10;
    recoveries: "recover" at 10;
    releases: "helm" at 10;
    machines: "machines" at 10;
    control_planes: "control_plane" at 10;
}
