//! Disruption budgets as their controller reckons them, and evictions under them. The statuses are those that a real control plane of
//! v1.36 wrote for the same objects.

use lockgate_sim::Request;
use lockgate_sim::json::{Value, json};

use crate::support::{Sim, condition, deployment, nodes, path};

fn budget(name: &str, app: &str, spec: &str) -> String {
    format!(
        "apiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: {{name: {name}, namespace: shop}}\nspec: {{selector: {{matchLabels: {{app: \
         {app}}}}}{spec}}}\n---\n"
    )
}

const BARE: &str = "apiVersion: v1
kind: Pod
metadata: {name: p, namespace: shop, labels: {app: p}}
spec: {containers: [{name: a, image: 'a:1'}]}
---
";

/// disruptionsAllowed, currentHealthy, desiredHealthy, expectedPods.
fn counts(sim: &mut Sim, of: &str) -> [i64; 4] {
    let status = sim.get(of)["status"].clone();
    ["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"].map(|field| status[field].as_i64().unwrap())
}

fn evict(sim: &mut Sim, pod: &str) -> (u16, Value) {
    let response = sim.0.handle(&Request::post(&format!("{}/eviction", path(&format!("pod/{pod}"))), &json!({"metadata": {"name": pod}})));
    (response.status, response.value().cloned().unwrap())
}

fn pods(sim: &mut Sim) -> Vec<String> {
    let going = |pod: &Value| pod["metadata"].get("deletionTimestamp").is_some();
    sim.list("pod").iter().filter(|pod| !going(pod)).map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn numbers_and_percentages_are_of_what_there_should_be() {
    for (spec, want) in [
        (", minAvailable: 2", [1, 3, 2, 3]),
        (", minAvailable: 50%", [1, 3, 2, 3]),
        (", maxUnavailable: 1", [1, 3, 2, 3]),
        (", maxUnavailable: 30%", [1, 3, 2, 3]),
        (", maxUnavailable: 0", [0, 3, 3, 3]),
        ("", [0, 3, 0, 0]),
    ] {
        let mut sim = Sim::new(&(nodes(&["n1"]) + &deployment(3, "") + &budget("b", "web", spec)));
        assert_eq!(counts(&mut sim, "pdb/b"), want, "{spec}");
        let (status, reason) = if want[0] > 0 { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
        assert_eq!(condition(&sim.get("pdb/b"), "DisruptionAllowed"), (status.into(), reason.into(), String::new()));
    }
}

#[test]
fn a_budget_without_pods_allows_nothing() {
    let mut sim = Sim::new(&(nodes(&["n1"]) + &budget("b", "web", ", minAvailable: 1")));
    assert_eq!(counts(&mut sim, "pdb/b"), [0, 0, 1, 0]);
    assert_eq!(sim.events("NoPods"), ["No matching pods found"]);
}

#[test]
fn pods_whose_number_nobody_knows_fail_the_sync() {
    for (api_version, kind, why) in [
        ("apps/v1", "DaemonSet", "daemonsets.apps does not implement the scale subresource"),
        ("apps/v1", "ReplicaSet", "found no controllers for pod \"p\""),
        ("example.com/v1", "Thing", "no matches for kind \"Thing\" in version \"example.com/v1\""),
    ] {
        let mut sim = Sim::new(&(nodes(&["n1"]) + &budget("b", "p", ", maxUnavailable: 1") + &budget("c", "p", ", minAvailable: 1")));
        let owner = json!({"apiVersion": api_version, "kind": kind, "name": "gone", "uid": "u", "controller": true});
        let body = json!({"metadata": {"name": "p", "labels": {"app": "p"}, "ownerReferences": [owner], "finalizers": ["example.com/stay"]},
            "spec": {"containers": [{"name": "a", "image": "a:1"}]}});
        sim.create("pod", &body);
        assert_eq!(condition(&sim.get("pdb/b"), "DisruptionAllowed"), ("False".into(), "SyncFailed".into(), why.into()));
        assert_eq!(counts(&mut sim, "pdb/b")[0], 0);
        let told = format!("Failed to calculate the number of expected pods: {why}");
        assert_eq!(sim.events("CalculateExpectedPodCountFailed"), [told]);
        // A number counts the pods that there are.
        assert_eq!(counts(&mut sim, "pdb/c")[3], 1);
    }
}

#[test]
fn pods_without_a_controller_do_not_count() {
    let mut sim = Sim::new(&(nodes(&["n1"]) + BARE + &budget("b", "p", ", maxUnavailable: 1")));
    assert_eq!(counts(&mut sim, "pdb/b"), [0, 1, 0, 0]);
    let told = sim.events("UnmanagedPods");
    assert!(
        told[0]
            .contains("(selector: &LabelSelector{MatchLabels:map[string]string{app: p,},MatchExpressions:[]LabelSelectorRequirement{},})")
    );
}

#[test]
fn a_budget_lets_one_pod_go_at_a_time() {
    let mut sim = Sim::new(&(nodes(&["n1", "n2"]) + &deployment(3, "") + &budget("b", "web", ", maxUnavailable: 1")));
    let first = pods(&mut sim);
    assert_eq!(evict(&mut sim, &first[0]).0, 201);
    assert_eq!(counts(&mut sim, "pdb/b"), [0, 2, 2, 3]);
    assert_eq!(sim.get("pdb/b")["status"].get("disruptedPods"), None, "the pod is marked as going: the controller has seen it");
    let (code, refusal) = evict(&mut sim, &first[1]);
    assert_eq!(
        (code, &refusal["details"]["causes"][0]["message"]),
        (429, &json!("The disruption budget b needs 2 healthy pods and has 2 currently"))
    );
    // Pods that are gone already hurt nobody, and the budget opens when the successor is ready.
    assert_eq!(evict(&mut sim, &first[0]).0, 201);
    sim.go(60);
    assert_eq!(counts(&mut sim, "pdb/b"), [1, 3, 2, 3]);
    assert_eq!(evict(&mut sim, &first[1]).0, 201);
    let going = sim.get(&format!("pod/{}", first[1]));
    let why = ("True".to_owned(), "EvictionByEvictionAPI".to_owned(), "Eviction API: evicting".to_owned());
    assert_eq!(condition(&going, "DisruptionTarget"), why);
}

#[test]
fn an_eviction_that_was_never_finished_is_forgotten_after_two_minutes() {
    let mut sim = Sim::new(&(nodes(&["n1"]) + &deployment(2, "") + &budget("b", "web", ", maxUnavailable: 1")));
    let name = pods(&mut sim)[0].clone();
    let disrupted: lockgate_sim::json::Map = [(name, Value::from(sim.0.now().to_string()))].into_iter().collect();
    let status = json!({"status": {"disruptedPods": disrupted}});
    sim.ok(&Request::patch(&format!("{}/status", path("pdb/b")), "application/merge-patch+json", &status));
    assert_eq!(counts(&mut sim, "pdb/b"), [0, 1, 1, 2]);
    sim.go(119);
    assert_eq!(counts(&mut sim, "pdb/b")[0], 0);
    sim.go(1);
    assert_eq!(counts(&mut sim, "pdb/b"), [1, 2, 1, 2]);
    assert_eq!(sim.events("NotDeleted"), ["Pod was expected by PDB shop/shop to be deleted but it wasn't"]);
}
