//! What holds at every instant, whatever happens: bounds of DaemonSets, budgets under evictions, owners under deletions, pods on lost
//! nodes. And what comes to rest.

use std::collections::{BTreeMap, BTreeSet};

use lockgate_sim::Request;
use lockgate_sim::json::{Value, json};
use lockgate_sim::model::{KubeletState, NodeModel};
use proptest::prelude::*;

use crate::support::{Sim, condition, deployment, nodes, path};

const MAPS: &str = "/api/v1/namespaces/shop/configmaps";

fn names(count: usize) -> Vec<String> {
    (1..=count).map(|n| format!("n{n}")).collect()
}

fn is_going(object: &Value) -> bool {
    object["metadata"].get("deletionTimestamp").is_some()
}

/// Pods that are ready and not being deleted.
fn healthy(sim: &mut Sim) -> i64 {
    let pods = sim.list("pod");
    i64::try_from(pods.iter().filter(|pod| !is_going(pod) && condition(pod, "Ready").0 == "True").count()).unwrap()
}

fn kubelet(sim: &mut Sim, node: &str, kubelet: KubeletState) {
    sim.0.models_mut().node(NodeModel { pattern: node.to_owned(), kubelet, why: "a test".to_owned() });
}

fn agents(strategy: &Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "agent"}, "spec": {
        "selector": {"matchLabels": {"app": "agent"}}, "updateStrategy": {"rollingUpdate": strategy},
        "template": {"metadata": {"labels": {"app": "agent"}}, "spec": {"containers": [{"name": "a", "image": "shop/agent:v1"}]}}}})
}

/// (name, its owners) of every ConfigMap with its uid.
fn maps(sim: &mut Sim) -> BTreeMap<String, (String, Vec<String>)> {
    let list = sim.ok(&Request::get(MAPS));
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let owners =
        |map: &Value| map["metadata"]["ownerReferences"].as_array().map_or(Vec::new(), |o| o.iter().map(|o| text(&o["uid"])).collect());
    let items = list["items"].as_array().unwrap().iter();
    let ours = items.filter(|map| text(&map["metadata"]["name"]).starts_with('m'));
    ours.map(|map| (text(&map["metadata"]["name"]), (text(&map["metadata"]["uid"]), owners(map)))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_daemon_set_never_misses_more_nodes_than_it_may(count in 1..7_usize, limit in 1..4_i64, surges in any::<bool>(), seed in any::<u64>()) {
        let names = names(count);
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut sim = Sim::seeded(&(nodes(&names) + "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n"), seed);
        let strategy = if surges { json!({"maxSurge": limit, "maxUnavailable": 0}) } else { json!({"maxUnavailable": limit}) };
        sim.create("ds", &agents(&strategy));
        sim.go(120);
        let all = i64::try_from(count).unwrap();
        prop_assert_eq!(healthy(&mut sim), all);
        sim.set_image("ds/agent", "shop/agent:v2");
        let (least, most) = if surges { (all, all + limit) } else { (all - limit, all) };
        sim.step_through(1200, |sim| {
            let staying = i64::try_from(sim.images().len()).unwrap();
            assert!(healthy(sim) >= least, "{} of {all} with {strategy}", healthy(sim));
            assert!(staying <= most, "{staying} of {all} with {strategy}");
        });
        prop_assert_eq!(sim.images(), vec!["shop/agent:v2".to_owned(); count]);
        prop_assert!(sim.0.next_event_at().is_none_or(|at| at > sim.0.now()));
    }

    #[test]
    fn evictions_never_go_below_what_a_budget_wants(
        replicas in 1..7_i64,
        at_least in 0..7_i64,
        percent in any::<bool>(),
        tries in prop::collection::vec((0..7_usize, 0..20_i64), 1..30),
    ) {
        let wanted = if percent { json!(format!("{}%", at_least * 15)) } else { json!(at_least) };
        let mut sim = Sim::new(&(nodes(&["n1", "n2"]) + &deployment(replicas, "")));
        sim.create("pdb", &json!({"metadata": {"name": "b"}, "spec": {"minAvailable": wanted, "selector": {"matchLabels": {"app": "web"}}}}));
        sim.go(30);
        for (which, seconds) in tries {
            let pods: Vec<String> = sim.list("pod").iter().map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned()).collect();
            let Some(pod) = pods.get(which % pods.len().max(1)) else { continue };
            let least = sim.get("pdb/b")["status"]["desiredHealthy"].as_i64().unwrap();
            let before = healthy(&mut sim);
            let request = Request::post(&format!("{}/eviction", path(&format!("pod/{pod}"))), &json!({"metadata": {"name": pod}}));
            let status = sim.0.handle(&request).status;
            let after = healthy(&mut sim);
            prop_assert!(matches!(status, 201 | 429), "{}", status);
            prop_assert!(after == before || after >= least, "{} of {} with {} wanted", after, before, least);
            prop_assert!(status != 429 || after == before, "a refusal takes nothing");
            sim.go(seconds);
        }
        sim.go(300);
        prop_assert_eq!(healthy(&mut sim), replicas, "what was evicted comes back");
    }

    #[test]
    fn nothing_with_a_living_owner_is_collected(
        owners in prop::collection::vec(prop::collection::vec(0..8_usize, 0..3), 1..9),
        deletions in prop::collection::vec((0..9_usize, 0..3_u8), 1..6),
    ) {
        let mut sim = Sim::new("apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n");
        let mut uids: Vec<String> = Vec::new();
        for (index, owners) in owners.iter().enumerate() {
            // Only what is there already can own: no circles. An owner is named once.
            let owners: BTreeSet<usize> = owners.iter().filter(|owner| **owner < index).copied().collect();
            let references: Vec<Value> = owners.iter().map(|owner| {
                json!({"apiVersion": "v1", "kind": "ConfigMap", "name": format!("m{owner}"), "uid": uids[*owner], "blockOwnerDeletion": true})
            }).collect();
            let map = sim.ok(&Request::post(MAPS, &json!({"metadata": {"name": format!("m{index}"), "ownerReferences": references}})));
            uids.push(map["metadata"]["uid"].as_str().unwrap().to_owned());
        }
        for (which, how) in deletions {
            let name = format!("m{which}");
            let before = maps(&mut sim);
            let Some((uid, _)) = before.get(&name).cloned() else { continue };
            let policy = ["Background", "Foreground", "Orphan"][usize::from(how)];
            sim.ok(&Request::from_uri("DELETE", &format!("{MAPS}/{name}?propagationPolicy={policy}")).unwrap());
            sim.go(60);
            let after = maps(&mut sim);
            prop_assert!(!after.contains_key(&name), "{} is still there after {}", name, policy);
            let living: BTreeSet<&String> = after.values().map(|(uid, _)| uid).collect();
            for (other, (_, owners)) in before.iter().filter(|(other, _)| **other != name) {
                let keeps = owners.is_empty() || owners.iter().any(|owner| living.contains(owner));
                prop_assert!(!keeps || after.contains_key(other), "{} was collected and has a living owner", other);
                if policy == "Orphan" && owners.contains(&uid) {
                    prop_assert!(after.contains_key(other), "{} was to be left", other);
                }
            }
            for (other, (_, owners)) in &after {
                prop_assert!(owners.is_empty() || owners.iter().any(|owner| living.contains(owner)), "{} is left behind", other);
            }
        }
    }

    #[test]
    fn pods_stay_on_lost_nodes_as_long_as_they_tolerate_it(
        replicas in 1..6_i64,
        changes in prop::collection::vec((0..3_usize, any::<bool>(), 1..400_i64), 1..8),
    ) {
        let mut sim = Sim::new(&(nodes(&["n1", "n2", "n3"]) + &deployment(replicas, "")));
        let mut lost: BTreeMap<String, i64> = BTreeMap::new();
        let start = sim.0.now();
        let seconds = move |sim: &Sim| sim.0.now().duration_since(start).as_secs();
        for (which, stops, wait) in changes {
            let node = format!("n{}", which + 1);
            if stops {
                kubelet(&mut sim, &node, KubeletState::Stopped);
                let now = seconds(&sim);
                lost.entry(node).or_insert(now);
            } else {
                kubelet(&mut sim, &node, KubeletState::Running);
                lost.remove(&node);
            }
            let known = lost.clone();
            sim.step_through(wait, |sim| {
                let now = seconds(sim);
                for (node, since) in &known {
                    let object = sim.get(&format!("node/{node}"));
                    assert_eq!(condition(&object, "Ready").0 != "True", now - since >= 50, "{node} at {now}, silent since {since}");
                    let marked = |pod: &Value| condition(pod, "DisruptionTarget").1 == "DeletionByTaintManager";
                    let early = sim.list("pod").into_iter().filter(|pod| pod["spec"]["nodeName"] == **node && marked(pod)).count();
                    assert!(early == 0 || now - since >= 350, "{node}: driven away at {now}, silent since {since}");
                }
            });
        }
        for node in ["n1", "n2", "n3"] {
            kubelet(&mut sim, node, KubeletState::Running);
        }
        sim.go(900);
        prop_assert_eq!((sim.counters("deploy/web")[3], sim.list("pod").len() as i64), (replicas, replicas));
    }
}

#[test]
fn init_containers_run_one_after_another_and_a_failure_begins_only_its_own_again() {
    let mut sim = Sim::new(&(nodes(&["n1"]) + "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n"));
    let images =
        |list: &[&str]| -> Vec<Value> { list.iter().map(|name| json!({"name": name, "image": format!("shop/{name}:v1")})).collect() };
    let crash = lockgate_sim::model::Crash { after: None, times: Some(1), exit_code: None };
    sim.0
        .models_mut()
        .image(lockgate_sim::model::ImageModel { crash: Some(crash), ..lockgate_sim::model::ImageModel::new("*/second:*", "fails once") });
    sim.create(
        "pod",
        &json!({"metadata": {"name": "p"}, "spec": {"initContainers": images(&["first", "second"]), "containers": images(&["main"])}}),
    );
    let mut seen: Vec<String> = Vec::new();
    sim.step_through(300, |sim| {
        let pod = sim.get("pod/p");
        let state = |status: &Value| {
            let state = status["state"].as_object().unwrap().keys().next().map_or(String::new(), |key| key.to_string());
            format!("{}{}", state.chars().next().unwrap_or('-'), status["restartCount"])
        };
        let all = ["initContainerStatuses", "containerStatuses"]
            .iter()
            .flat_map(|list| pod["status"][*list].as_array().cloned().unwrap_or_default());
        let now = all.map(|status| state(&status)).collect::<Vec<_>>().join(" ");
        if seen.last() != Some(&now) {
            seen.push(now);
        }
    });
    // The first has run once, the second twice, and what comes after waits for both.
    assert_eq!(seen.last().map(String::as_str), Some("t0 t1 r0"), "{seen:?}");
    assert!(seen.iter().all(|now| now.ends_with("w0") || now.starts_with("t0 t1")), "{seen:?}");
    assert!(seen.iter().all(|now| now.starts_with("t0") || now.contains(" w0 ")), "the second waits for the first: {seen:?}");
}

#[test]
fn a_restart_policy_says_what_begins_again() {
    for (policy, code, restarts, phase) in [
        ("Never", 0, 0, "Succeeded"),
        ("Never", 1, 0, "Failed"),
        ("OnFailure", 0, 0, "Succeeded"),
        ("OnFailure", 1, 1, "Running"),
        ("Always", 0, 1, "Running"),
    ] {
        let mut sim = Sim::new(&(nodes(&["n1"]) + "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n"));
        let crash = lockgate_sim::model::Crash { after: None, times: Some(1), exit_code: Some(code) };
        sim.0
            .models_mut()
            .image(lockgate_sim::model::ImageModel { crash: Some(crash), ..lockgate_sim::model::ImageModel::new("*", "ends once") });
        let spec = json!({"restartPolicy": policy, "containers": [{"name": "a", "image": "shop/a:v1"}]});
        sim.create("pod", &json!({"metadata": {"name": "p"}, "spec": spec}));
        sim.go(120);
        let status = sim.get("pod/p")["status"].clone();
        assert_eq!(
            (&status["phase"], &status["containerStatuses"][0]["restartCount"]),
            (&json!(phase), &json!(restarts)),
            "{policy} {code}"
        );
    }
}
