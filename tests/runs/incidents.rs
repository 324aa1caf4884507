//! What went wrong elsewhere, told in public by those it happened to, and what keeps it from happening here. Each row is met by a test, of
//! its name here or of another name where it is tested anyway; what an engine cannot know is left to the runbooks, with the reason and with
//! the scenarios that show that they do it.
//! `tests/incidents.md` is this table; `BLESS=1 cargo test incidents` writes it again.

use std::path::Path;

use lockgate::cli::test::ended::effects;
use lockgate::cluster::{Cluster, Simulation};
use lockgate::run::End;
use lockgate::run::event::Event;
use lockgate::run::journal::Fact;
use lockgate::run::journal::book::OnDrift;
use lockgate_sim::json::json;
use lockgate_sim::request::Request;

use super::harness::{Kill, Scene};
use super::taken::{take_back, way_back};

/// A row of the table.
struct Row {
    /// Its name.
    name: &'static str,
    /// What happened, and where that is told.
    what: &'static str,
    /// The tests, each as `FILE::NAME`.
    by: &'static [&'static str],
    /// What is left to the runbook, and why.
    runbook: &'static str,
    /// Scenarios of bundled runbooks that show it, each as `RUNBOOK: TITLE`.
    shown: &'static [&'static str],
}

const ROWS: &[Row] = &[
    Row {
        name: "reddit_pi_day",
        what: "Reddit, 2023-03-14, 314 minutes: a label that the new version dropped was in selectors of the route reflectors; no way down, \
               and a restore that nobody had tried",
        by: &["tests/cli/comeback.rs::a_run_with_a_point_of_no_return_is_taken_back_only_to_there"],
        runbook: "which labels, taints and APIs a version drops is knowledge about that version: the runbook looks for them in all selectors \
                  before the jump, tries one node first, and gates on a snapshot that was restored once",
        shown: &[
            "calico-upgrade: a peering that selects nodes by a label that no node has stops before its agents start anew",
            "kubeadm-upgrade: who still asks for such an API is told by the API server",
            "kubeadm-upgrade: without a backup somebody has to answer for it",
            "kubeadm-upgrade: an empty backup is no backup",
            "kubeadm-upgrade: selectors by a label that the target takes away stop it: those of workloads and of the network plugin",
        ],
    },
    Row {
        name: "datadog_and_heroku",
        what: "Datadog, 2023-03-08, and Heroku, 2025-06-10: an update of the systems by themselves restarted the network everywhere at once",
        by: &[
            "tests/primitives/foreign.rs::kured_with_its_lock_held_refuses",
            "tests/primitives/foreign.rs::kured_at_rest_and_a_lock_that_has_run_out_are_warned_of",
        ],
        runbook: "timers of a node's own updates, and its `ManageForeignRoutingPolicyRules`, are files of the node: a runbook about the \
                  network asks each node for them, and goes one failure domain at a time",
        shown: &["kubeadm-upgrade: a node that updates itself is named, on Debian and on Red Hat"],
    },
    Row {
        name: "openai",
        what: "OpenAI, 2024-12-11, over four hours: requests of every node at once took the control planes down, and nobody got in to undo it",
        by: &[
            "tests/cli/threats.rs::t16_the_server_is_watched_and_not_asked_again_and_again",
            "tests/cli/comeback.rs::without_the_api_the_journal_still_says_what_was_done",
            "host/cluster/wire_tests.rs::retry_after_is_honoured_within_the_deadline",
        ],
        runbook: "how long a cache hides a fault, and which pool is the largest: the runbook chooses its first node and how long it looks",
        shown: &[
            "calico-upgrade: a way back that is closed stops the run after one node",
            "cilium-helm-upgrade: node by node, each agent is asked before the next is replaced",
            "calico-upgrade: a first node that falls ill while it is watched keeps the others as they are",
        ],
    },
    Row {
        name: "skyscanner",
        what: "Skyscanner, 2021-08-25: two characters in a template took the namespaces of all cells away",
        by: &[
            "host/cluster/permit/tests.rs::limits_count_what_is_different",
            "tests/cli/permissions.rs::what_is_granted_is_done_and_everything_else_refused_in_the_plan_already",
        ],
        runbook: "",
        shown: &[],
    },
    Row {
        name: "calico_3187",
        what: "Calico 3.10 to 3.11: all its nodes and endpoints were deleted, 5,000 pods lost their network",
        by: &[],
        runbook: "how many objects of which kind there must be afterwards is known to the runbook: it counts them before and after, with \
                  its controllers at one replica, one step at a time",
        shown: &["calico-upgrade: host endpoints that vanish under the new controllers stop the run before any agent changes"],
    },
    Row {
        name: "calico_host_endpoints",
        what: "Calico 3.14: endpoints of all interfaces drop what no policy allows",
        by: &[],
        runbook: "the check for a policy that allows is about Calico's own kinds",
        shown: &[
            "calico-upgrade: with host endpoints of all interfaces everything is let through, and the agents go one node first",
            "calico-upgrade: a label that is taken back is noticed before the first agent changes",
            "calico-upgrade: a policy that selects none of the hosts is refused",
        ],
    },
    Row {
        name: "calico_5221",
        what: "Calico: the change cut the way by which it would have been undone",
        by: &[],
        runbook: "whether it can still be undone after the first node is asked through the network that is changed: a step of the runbook",
        shown: &["calico-upgrade: a way back that is closed stops the run after one node"],
    },
    Row {
        name: "cilium_27922",
        what: "Cilium, more than 50 nodes: agents rolled on while endpoints lost their connections (also #11147, #30609, #37271)",
        by: &["tests/runs/incidents.rs::cilium_27922", "tests/primitives/lifecycle.rs::node_by_node_an_on_delete_daemonset_is_upgraded"],
        runbook: "what a working connection is: the runbook's `verify` of each node",
        shown: &[
            "cilium-helm-upgrade: node by node, the first agent that is not well after a while stops all others",
            "cilium-helm-upgrade: agents that roll and are not well afterwards are found",
        ],
    },
    Row {
        name: "rancher_36776",
        what: "Rancher: several nodes of etcd and the control plane were drained at once (also #39167)",
        by: &["tests/primitives/drain/nodes.rs::never_two_nodes_of_the_control_plane_at_once"],
        runbook: "",
        shown: &["kubeadm-upgrade: somebody cordons another control-plane node meanwhile: the next one is not touched"],
    },
    Row {
        name: "rancher_26405",
        what: "Rancher: an upgrade that hangs when another node is away or drained by hand (also #25946, #26076)",
        by: &[
            "tests/primitives/foreign.rs::a_node_that_somebody_drains_refuses_and_planned_maintenance_is_warned_of",
            "tests/primitives/drain/hazards.rs::the_pods_of_a_dead_kubelet_are_left_behind_when_asked",
            "tests/cli/comeback.rs::without_a_terminal_a_difference_stops",
        ],
        runbook: "",
        shown: &[],
    },
    Row {
        name: "kured_137",
        what: "kured: the lock stays with a node that is gone, and nobody is patched for two months (also #173, #847, #822, #478)",
        by: &[
            "host/cluster/lease_tests.rs::a_second_run_is_told_who_has_it_even_when_it_has_run_out",
            "tests/cli/comeback.rs::a_lock_of_a_dead_run_is_freed_by_the_command_that_is_shown",
        ],
        runbook: "",
        shown: &[],
    },
    Row {
        name: "kured_63",
        what: "kured and hetzner: nodes stay cordoned after their reboot (also #955, hetzner#1497)",
        by: &["tests/runs/incidents.rs::kured_63"],
        runbook: "",
        shown: &[],
    },
    Row {
        name: "kured_976",
        what: "kured: the command that says whether to reboot was missing, and the node rebooted without end",
        by: &["tests/primitives/resumed.rs::a_machine_that_has_booted_is_not_booted_again"],
        runbook: "",
        shown: &[],
    },
    Row {
        name: "system_upgrade_controller_341",
        what: "system-upgrade-controller: it uncordons nodes that it had not cordoned",
        by: &[
            "tests/runs/incidents.rs::system_upgrade_controller_341",
            "tests/primitives/drain/cordon.rs::a_cordon_of_a_person_stays_unless_it_is_asked_for",
        ],
        runbook: "",
        shown: &[],
    },
    Row {
        name: "system_upgrade_controller_225",
        what: "system-upgrade-controller: nothing keeps two plans from one cluster or node",
        by: &[
            "tests/runs/lock.rs::a_second_run_is_refused_with_who_has_it_and_how_it_is_freed",
            "tests/primitives/foreign.rs::running_jobs_of_the_upgrade_controller_refuse",
        ],
        runbook: "",
        shown: &[],
    },
    Row {
        name: "gpu_operator_110",
        what: "gpu-operator: its own node rebooted, it forgot that, and rebooted it without end",
        by: &["tests/primitives/resumed.rs::a_machine_that_has_booted_is_not_booted_again"],
        runbook: "",
        shown: &[],
    },
    Row {
        name: "tuppr_413",
        what: "tuppr: the only record of a node in the middle of its upgrade was a Job that the cluster cleaned away",
        by: &["tests/cli/comeback.rs::a_lease_that_somebody_deleted_is_taken_anew_and_the_run_goes_on"],
        runbook: "",
        shown: &[],
    },
    Row {
        name: "embedded_cluster_2068",
        what: "embedded-cluster: the Job that upgrades sat on nodes that it drained",
        by: &["tests/primitives/drain/nodes.rs::the_node_of_our_own_pod_is_left_alone"],
        runbook: "",
        shown: &[],
    },
    Row {
        name: "system_upgrade_controller_71",
        what: "system-upgrade-controller: a plan that is deleted after a failure leaves its nodes cordoned",
        by: &["tests/runs/incidents.rs::system_upgrade_controller_71"],
        runbook: "",
        shown: &[],
    },
    Row {
        name: "kubectl_172",
        what: "kubectl, kops, origin, kubespray, AKS, system-upgrade-controller: a drain hangs for ever on a budget or a webhook, and is silent",
        by: &[
            "tests/primitives/drain/budgets.rs::an_impossible_budget_is_found_before_anything_is_written_with_its_numbers",
            "tests/primitives/drain/hazards.rs::a_webhook_that_says_no_is_waited_for_and_named",
            "tests/primitives/drain/hazards.rs::a_pod_that_never_ends_stalls_after_its_grace_period",
        ],
        runbook: "",
        shown: &[
            "kubeadm-upgrade: a budget that is never met is found before anything is written",
            "kubeadm-upgrade: a webhook that nobody answers would refuse evictions, and stops it before it begins",
        ],
    },
    Row {
        name: "kubespray_6545",
        what: "kubespray: runs that fail again and again cordon more and more nodes (also #6546)",
        by: &["tests/runs/incidents.rs::kubespray_6545"],
        runbook: "",
        shown: &[],
    },
    Row {
        name: "kubespray_6948",
        what: "kubespray: hours until a run is back at the node that failed",
        by: &["tests/runs/incidents.rs::kubespray_6948"],
        runbook: "",
        shown: &[],
    },
    Row {
        name: "kubespray_1813",
        what: "kubespray: all nodes, or a fifth of them, were restarted at once (also #5508, #11395)",
        by: &["tests/runs/incidents.rs::kubespray_1813"],
        runbook: "",
        shown: &[],
    },
    Row {
        name: "helm_8987",
        what: "helm: one that was killed leaves `pending-upgrade`, which is in everybody's way (also #10323, #10599, #30601, harvester#3643)",
        by: &[
            "tests/helm/mod.rs::a_killed_helm_leaves_a_lock_that_is_released",
            "tests/helm/mod.rs::an_upgrade_that_was_killed_with_its_run_is_made_anew",
        ],
        runbook: "",
        shown: &[
            "calico-upgrade: an operation of Helm that never ended stops before anything is written",
            "cilium-helm-upgrade: an upgrade that died before has to be taken back first",
        ],
    },
    Row {
        name: "helm_12516",
        what: "helm: an API that the new Kubernetes has no more is in a release's manifest, and the release cannot be upgraded any more",
        by: &[],
        runbook: "which APIs a version drops is knowledge about that version: a runbook that raises Kubernetes reads the manifests of all releases",
        shown: &[
            "kubeadm-upgrade: a release with an API that the target does not have is asked about",
            "cilium-helm-upgrade: an API that Kubernetes has dropped in the release's record is found before anything is begun",
            "calico-upgrade: a record with a PodSecurityPolicy, which this Kubernetes does not know, has to be mended first",
        ],
    },
    Row {
        name: "gravity_2155",
        what: "gravity: taken back in the wrong order, begun over one that was unfinished, resumed only with the service that was down \
               (also #1698, #2166)",
        by: &[
            "tests/runs/back.rs::a_run_is_taken_back_to_where_it_began",
            "host/run/lock/tests.rs::what_a_run_left_behind_is_told_to_others_and_not_to_itself",
            "tests/cli/comeback.rs::without_the_api_the_journal_still_says_what_was_done",
        ],
        runbook: "",
        shown: &[],
    },
    Row {
        name: "kubeadm_1617",
        what: "kubeadm: a timeout while a static pod is swapped, and success with the old version (also #850, kubernetes#65071)",
        by: &[
            "tests/primitives/machine/mod.rs::a_kubeadm_cluster_is_upgraded_node_by_node",
            "tests/primitives/skew/cluster.rs::every_component_is_read_where_it_runs",
        ],
        runbook: "that the version is asked of each node after it, and not read off an exit code, is for the runbook to do",
        shown: &[
            "kubeadm-upgrade: an apply that says success and changed nothing is noticed",
            "kubeadm-upgrade: a kubelet that says another version is not believed",
            "kubeadm-upgrade: a control plane whose pods do not become ready is not followed by the next",
        ],
    },
    Row {
        name: "kured_841",
        what: "kured, wksctl: the last healthy node of the control plane was cordoned",
        by: &[
            "tests/primitives/drain/nodes.rs::never_two_nodes_of_the_control_plane_at_once",
            "tests/primitives/drain/cordon.rs::the_last_node_that_takes_pods_is_told",
        ],
        runbook: "how many members etcd needs is asked of etcd: a check of the runbook before each node of the control plane",
        shown: &[
            "kubeadm-upgrade: another control-plane node that is cordoned stops it before it begins",
            "kubeadm-upgrade: a member of etcd is lost meanwhile: the next control-plane node is not touched",
        ],
    },
    Row {
        name: "kubernetes_101695",
        what: "CVE-2021-25743: text of the cluster moves the cursor of a terminal",
        by: &["tests/cli/threats.rs::t04_text_from_the_cluster_moves_nothing_on_the_terminal"],
        runbook: "",
        shown: &[],
    },
    Row {
        name: "vpc_cni",
        what: "A CNI of another version came with a template while nodes were added, 2024-04-19, three and a half hours",
        by: &[
            "tests/cli/comeback.rs::without_a_terminal_a_difference_stops",
            "tests/cli/threats.rs::t15_the_cluster_is_the_one_that_was_planned_on",
        ],
        runbook: "the digest of an image or chart is said by who asks for the upgrade",
        shown: &[
            "cilium-helm-upgrade: parts of different versions are refused",
            "kubeadm-upgrade: a network plugin that does not fit stops it",
        ],
    },
];

/// Whether a file of the tree has a test of this name, as a function or as a named case.
fn is_there(test: &str) -> bool {
    let Some((file, name)) = test.split_once("::") else { return false };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let Ok(text) = std::fs::read_to_string(path) else { return false };
    let function = format!("#[test]\nfn {name}() {{");
    text.replace("\n    ", "\n").contains(&function) || text.contains(&format!("(\"{name}\", "))
}

/// Whether a bundled runbook has this scenario.
fn is_shown(scenario: &str) -> bool {
    let Some((runbook, title)) = scenario.split_once(": ") else { return false };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("runbooks").join(runbook).join("test.luau");
    std::fs::read_to_string(path).is_ok_and(|text| text.contains(&format!("\nscenario \"{title}\" ")))
}

#[test]
fn every_row_is_met_by_tests_that_are_there() {
    for row in ROWS {
        assert!(!row.by.is_empty() || !row.runbook.is_empty(), "`{}` is met by nothing", row.name);
        for test in row.by {
            assert!(is_there(test), "`{}` names `{test}`, which is not there", row.name);
        }
        for scenario in row.shown {
            assert!(is_shown(scenario), "`{}` names the scenario `{scenario}`, which is not there", row.name);
        }
        assert!(row.runbook.is_empty() || !row.shown.is_empty(), "what `{}` leaves to runbooks is shown by none of them", row.name);
    }
    assert!(!is_shown("kubeadm-upgrade: nothing of this title") && !is_shown("none: x"));
    assert!(!is_there("tests/runs/incidents.rs::nothing_of_this_name") && !is_there("tests/none.rs::x"));
    let text = include_str!("incidents.rs");
    let own: Vec<&str> = text.split("#[test]\nfn ").skip(1).filter_map(|rest| rest.split_once('(')).map(|(name, _)| name).collect();
    for row in ROWS {
        let test = format!("tests/runs/incidents.rs::{}", row.name);
        assert_eq!(own.contains(&row.name), row.by.contains(&&*test), "{test}");
    }
    let mut names: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), ROWS.len());
}

#[test]
fn the_page_is_fresh() {
    let met = ROWS.iter().filter(|row| !row.by.is_empty()).count();
    let left = ROWS.iter().filter(|row| row.by.is_empty()).count();
    let shown = ROWS.iter().filter(|row| !row.shown.is_empty()).count();
    let mut page = format!(
        "# What went wrong elsewhere\n\nOf {} incidents {met} are met by tests of the engine; {left} are for runbooks alone. Scenarios of bundled \
         runbooks show {shown} of them.\n\n\
         | incident | what happened | tested by | left to the runbook, and why | shown by |\n|---|---|---|---|---|\n",
        ROWS.len()
    );
    for row in ROWS {
        let by: Vec<String> = row.by.iter().map(|test| format!("`{test}`")).collect();
        let (by, shown) = (by.join("<br>"), row.shown.join("<br>"));
        page.push_str(&format!("| {} | {} | {by} | {} | {shown} |\n", row.name, row.what, row.runbook));
    }
    page.push_str("\n*Generated from `tests/runs/incidents.rs`; `BLESS=1 cargo test incidents` writes it again.*\n");
    crate::docs::generated(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/incidents.md"), &page);
}

const FIXTURE: &str = include_str!("cluster.yaml");

fn scene(steps: &str) -> Scene {
    Scene::new(&format!("runbook {{ title = \"t\", summary = \"s\", impact = \"none\" }}\n{steps}"), FIXTURE)
}

/// The nodes that take no pods, by name.
fn cordoned(simulation: &Simulation) -> Vec<String> {
    simulation.with(|sim| {
        let nodes = sim.handle(&Request::get("/api/v1/nodes")).value().unwrap().clone();
        let items = nodes["items"].as_array().unwrap().clone();
        let closed = items.iter().filter(|node| node["spec"]["unschedulable"] == true);
        closed.map(|node| node["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    })
}

fn writes(cluster: &Cluster) -> usize {
    cluster.requests().iter().filter(|request| request.verb.is_write()).count()
}

#[test]
fn cilium_27922() {
    // The first node that is not well ends the roll: no other is touched, and a resume begins there again.
    let scene = scene(
        r#"
step "roll" {
  title = "Roll",
  each = { "n1", "n2" },
  run = function(node) label("node/" .. node, { rolled = "yes" }) end,
  verify = function(node) ensure(node ~= "n1", "n1 has lost its connections") end,
}
"#,
    );
    let (ended, _) = scene.whole();
    assert_eq!(ended.summary.unwrap().end, End::Failed);
    let n2 = ended.cluster.simulation().unwrap().with(|sim| sim.handle(&Request::get("/api/v1/nodes/n2")).value().unwrap().clone());
    assert_eq!(n2["metadata"]["labels"].get("rolled"), None);
}

/// A node is closed, something is done to it, and it is opened again.
const CLOSED: &str = r#"
step "node" {
  title = "A node",
  run = function()
    cordon("n1")
    annotate("node/n1", { rebooted = "yes" })
    uncordon("n1")
  end,
}
"#;

#[test]
fn kured_63() {
    let scene = scene(CLOSED);
    let (_, whole) = scene.whole();
    let lines = whole.disk.written();
    let mut between = 0;
    for line in 1..=lines {
        let world = scene.world();
        let simulation = world.simulation.clone();
        assert!(scene.process(&world, Kill::After(line), OnDrift::Stop).summary.is_none());
        // Killed with the node closed, in some of them.
        between += cordoned(&simulation).len();
        let ended = scene.process(&world, Kill::No, OnDrift::Stop);
        assert_eq!(ended.summary.unwrap().end, End::Succeeded);
        assert_eq!(cordoned(&simulation), [""; 0], "killed after line {line}");
    }
    assert!(between > 0);
}

#[test]
fn system_upgrade_controller_341() {
    let scene = scene(CLOSED);
    let world = scene.world();
    let (simulation, disk) = (world.simulation.clone(), world.disk.clone());
    // A person has closed the node before.
    let close = Request::patch("/api/v1/nodes/n1", "application/merge-patch+json", &json!({ "spec": { "unschedulable": true } }));
    simulation.with(|sim| drop(sim.handle(&close)));
    let ended = scene.process(&world, Kill::No, OnDrift::Stop);
    let error = ended.summary.unwrap().error.unwrap();
    assert!(error.message.contains("this run did not cordon it"), "{error:?}");
    assert_eq!(cordoned(&simulation), ["n1"], "the run leaves it as it found it");
    let back = take_back(&scene, &disk, &way_back(&simulation), Kill::No);
    assert_eq!(back.summary.unwrap().end, End::Succeeded);
    assert_eq!(cordoned(&simulation), ["n1"], "and so does whoever takes it back");
}

#[test]
fn system_upgrade_controller_71() {
    let scene = scene(
        r#"
step "node" { title = "A node", run = function() cordon("n1") ensure(false, "the upgrade of n1 failed") end }
"#,
    );
    let world = scene.world();
    let (simulation, disk) = (world.simulation.clone(), world.disk.clone());
    let ended = scene.process(&world, Kill::No, OnDrift::Stop);
    assert_eq!(ended.summary.unwrap().end, End::Failed);
    assert_eq!(cordoned(&simulation), ["n1"], "nothing cleans up by writing");
    let back = take_back(&scene, &disk, &way_back(&simulation), Kill::No);
    assert_eq!(back.summary.unwrap().end, End::Succeeded);
    assert_eq!(cordoned(&simulation), [""; 0], "taking it back does");
}

#[test]
fn kubespray_6545() {
    let scene = scene(
        r#"
step "nodes" {
  title = "Every node",
  each = { "n1", "n2" },
  run = function(node)
    cordon(node)
    ensure(exists("configmap/repaired"), "not yet")
    uncordon(node)
  end,
}
"#,
    );
    let world = scene.world();
    let simulation = world.simulation.clone();
    for _ in 0..4 {
        let ended = scene.process(&world, Kill::No, OnDrift::Stop);
        assert_eq!(ended.summary.unwrap().end, End::Failed);
        assert_eq!(cordoned(&simulation), ["n1"]);
    }
    let repaired = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "repaired" } });
    simulation.with(|sim| drop(sim.handle(&Request::post("/api/v1/namespaces/default/configmaps", &repaired))));
    let ended = scene.process(&world, Kill::No, OnDrift::Stop);
    assert_eq!(ended.summary.unwrap().end, End::Succeeded);
    assert_eq!(cordoned(&simulation), [""; 0]);
}

#[test]
fn kubespray_6948() {
    // Two hundred nodes, and the last but one fails: the run is back there at once.
    let mut fixture = FIXTURE.to_owned();
    (3..=200).for_each(|number| fixture.push_str(&format!("---\napiVersion: v1\nkind: Node\nmetadata: {{ name: n{number} }}\n")));
    let text = r#"
runbook { title = "t", summary = "s", impact = "none" }
step "nodes" {
  title = "Every node",
  each = function()
    local names = {}
    for number = 1, 200 do table.insert(names, "n" .. number) end
    return names
  end,
  run = function(node)
    if node == "n199" then ensure(exists("configmap/repaired"), "not yet") end
    label("node/" .. node, { upgraded = "yes" })
  end,
}
"#;
    let scene = Scene::new(text, &fixture);
    let world = scene.world();
    let simulation = world.simulation.clone();
    let first = scene.process(&world, Kill::No, OnDrift::Stop);
    assert_eq!(first.summary.unwrap().end, End::Failed);
    let repaired = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "repaired" } });
    simulation.with(|sim| drop(sim.handle(&Request::post("/api/v1/namespaces/default/configmaps", &repaired))));
    let second = scene.process(&world, Kill::No, OnDrift::Stop);
    assert_eq!(second.summary.unwrap().end, End::Succeeded);
    // One list says that the 198 are as they were left; then the failed one and the one after it.
    assert_eq!(writes(&second.cluster), 2);
    let requests = second.cluster.requests().len();
    assert!(requests <= 12, "{requests} requests");
}

#[test]
fn kubespray_1813() {
    // Without a word about batches one node is over before the next is begun.
    let scene = scene(
        r#"
step "nodes" {
  title = "Every node",
  each = { "n1", "n2" },
  run = function(node) cordon(node) uncordon(node) end,
}
"#,
    );
    let (ended, world) = scene.whole();
    assert_eq!(ended.summary.unwrap().end, End::Succeeded);
    let mut open = 0;
    for entry in world.disk.entries.borrow().iter() {
        let Fact::Told { event, .. } = &entry.fact else { continue };
        match &**event {
            Event::StepStarted { .. } => open += 1,
            Event::StepFinished { .. } => open -= 1,
            _ => {}
        }
        assert!((0..=1).contains(&open));
    }
    let ledger: Vec<String> = ended.cluster.simulation().unwrap().with(|sim| effects(sim));
    assert_eq!(ledger, ["patch node/n1", "patch node/n1", "patch node/n2", "patch node/n2"]);
}
