//! StatefulSets: order, identity, rollouts with a partition, and the pod that holds everything up.

use lockgate_sim::json::{Value, json};
use lockgate_sim::model::{ImageModel, PodMatch, PodModel, Readiness};
use proptest::prelude::*;

use crate::support::{Sim, nodes};

fn set(replicas: i64, more: &Value) -> Value {
    let template = json!({"metadata": {"labels": {"app": "db"}}, "spec": {"containers": [{"name": "db", "image": "shop/db:v1"}]}});
    let mut set = json!({"metadata": {"name": "db"},
        "spec": {"replicas": replicas, "serviceName": "db", "selector": {"matchLabels": {"app": "db"}}, "template": template}});
    for (field, value) in more.as_object().unwrap() {
        set["spec"][field.as_str()] = value.clone();
    }
    set
}

fn empty(seed: u64) -> Sim {
    Sim::seeded(&(nodes(&["n1", "n2"]) + "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n"), seed)
}

fn running(replicas: i64, more: &Value) -> Sim {
    let mut sim = empty(1);
    sim.create("sts", &set(replicas, more));
    sim.go(120);
    sim
}

/// Pods by name with the tag of their image; `!` marks one that is going.
fn pods(sim: &mut Sim) -> Vec<String> {
    let tag = |pod: &Value| pod["spec"]["containers"][0]["image"].as_str().unwrap().rsplit(':').next().unwrap().to_owned();
    let mark = |pod: &Value| if pod["metadata"].get("deletionTimestamp").is_some() { "!" } else { "" };
    sim.list("pod").iter().map(|pod| format!("{}={}{}", pod["metadata"]["name"].as_str().unwrap(), tag(pod), mark(pod))).collect()
}

/// replicas, ready, current, updated, available.
fn counts(sim: &mut Sim) -> [i64; 5] {
    let status = sim.get("sts/db")["status"].clone();
    ["replicas", "readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"].map(|f| status[f].as_i64().unwrap_or(0))
}

fn revision(sim: &mut Sim, which: &str) -> String {
    sim.get("sts/db")["status"][format!("{which}Revision").as_str()].as_str().unwrap().to_owned()
}

#[test]
fn pods_come_one_after_another_and_have_names() {
    let mut sim = empty(1);
    sim.create("sts", &set(3, &json!({})));
    let mut most_waiting = 0;
    sim.step_through(120, |sim| {
        let waiting = sim.list("pod").len() as i64 - counts(sim)[1];
        most_waiting = most_waiting.max(waiting);
    });
    assert_eq!(most_waiting, 1, "the next is made when the one before is ready");
    assert_eq!(pods(&mut sim), ["db-0=v1", "db-1=v1", "db-2=v1"]);
    assert_eq!(counts(&mut sim), [3, 3, 3, 3, 3]);
    let pod = sim.get("pod/db-1");
    let labels = &pod["metadata"]["labels"];
    assert_eq!((&labels["apps.kubernetes.io/pod-index"], &labels["statefulset.kubernetes.io/pod-name"]), (&json!("1"), &json!("db-1")));
    assert_eq!(labels["controller-revision-hash"].as_str().unwrap(), revision(&mut sim, "update"));
    assert_eq!((&pod["spec"]["hostname"], &pod["spec"]["subdomain"]), (&json!("db-1"), &json!("db")));
    assert_eq!(sim.events("SuccessfulCreate")[1], "Create Pod db-1 in StatefulSet db successful");
}

#[test]
fn parallel_pods_come_and_go_at_once() {
    let mut sim = empty(1);
    sim.create("sts", &set(4, &json!({"podManagementPolicy": "Parallel", "ordinals": {"start": 5}})));
    assert_eq!(pods(&mut sim), ["db-5=v1", "db-6=v1", "db-7=v1", "db-8=v1"]);
    sim.go(60);
    sim.scale("sts/db", 1);
    assert_eq!(pods(&mut sim), ["db-5=v1", "db-6=v1!", "db-7=v1!", "db-8=v1!"]);
}

#[test]
fn scaling_down_goes_from_the_top() {
    let mut sim = running(4, &json!({}));
    sim.scale("sts/db", 1);
    let mut seen = Vec::new();
    sim.step_through(120, |sim| {
        let now = pods(sim);
        if seen.last() != Some(&now) {
            seen.push(now);
        }
    });
    let going = |pods: &Vec<String>| pods.iter().filter(|p| p.ends_with('!')).count();
    assert!(seen.iter().all(|pods| going(pods) <= 1), "{seen:?}");
    assert_eq!(seen.last().unwrap(), &["db-0=v1"]);
    assert!(seen.iter().all(|pods| pods[0] == "db-0=v1"), "{seen:?}");
}

#[test]
fn a_rollout_stops_at_its_partition() {
    let mut sim = running(3, &json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}}));
    let old = revision(&mut sim, "current");
    sim.set_image("sts/db", "shop/db:v2");
    sim.go(200);
    assert_eq!(pods(&mut sim), ["db-0=v1", "db-1=v2", "db-2=v2"]);
    assert_eq!((counts(&mut sim), revision(&mut sim, "current")), ([3, 3, 1, 2, 3], old.clone()));
    assert_ne!(revision(&mut sim, "update"), old);
    // Below the partition a pod comes back as it was.
    sim.delete("pod/db-0");
    sim.go(60);
    assert_eq!(pods(&mut sim)[0], "db-0=v1");
    sim.patch("sts/db", &json!({"spec": {"updateStrategy": {"rollingUpdate": {"partition": 0}}}}));
    sim.go(100);
    assert_eq!((pods(&mut sim)[0].as_str(), counts(&mut sim)), ("db-0=v2", [3, 3, 3, 3, 3]));
    assert_eq!(revision(&mut sim, "current"), revision(&mut sim, "update"));
}

#[test]
fn on_delete_changes_a_pod_when_it_is_deleted() {
    let mut sim = running(2, &json!({"updateStrategy": {"type": "OnDelete"}}));
    sim.set_image("sts/db", "shop/db:v2");
    sim.go(120);
    assert_eq!(pods(&mut sim), ["db-0=v1", "db-1=v1"]);
    sim.delete("pod/db-0");
    sim.go(120);
    assert_eq!(pods(&mut sim), ["db-0=v2", "db-1=v1"]);
}

#[test]
fn a_broken_pod_holds_up_its_own_repair() {
    let mut sim = running(3, &json!({}));
    sim.0.models_mut().never_pulls("*:broken");
    sim.set_image("sts/db", "shop/db:broken");
    sim.go(300);
    assert_eq!(pods(&mut sim), ["db-0=v1", "db-1=v1", "db-2=broken"]);
    sim.set_image("sts/db", "shop/db:v1");
    sim.go(3600);
    assert_eq!(pods(&mut sim), ["db-0=v1", "db-1=v1", "db-2=broken"], "putting the template back is not enough");
    sim.delete("pod/db-2");
    sim.go(60);
    assert_eq!((pods(&mut sim), counts(&mut sim)), (vec!["db-0=v1".into(), "db-1=v1".into(), "db-2=v1".into()], [3, 3, 3, 3, 3]));
}

#[test]
fn revisions_are_numbered_and_kept_up_to_the_limit() {
    let mut sim = running(1, &json!({"revisionHistoryLimit": 1}));
    for tag in ["v2", "v3", "v2"] {
        sim.set_image("sts/db", &format!("shop/db:{tag}"));
        sim.go(60);
    }
    let mut kept: Vec<(i64, String)> = sim
        .list("revision")
        .iter()
        .map(|r| {
            (r["revision"].as_i64().unwrap(), r["data"]["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap().to_owned())
        })
        .collect();
    kept.sort();
    assert_eq!(kept, [(3, "shop/db:v3".to_owned()), (4, "shop/db:v2".to_owned())], "one that is used again gets the next number");
}

#[test]
fn min_ready_seconds_hold_up_the_next_pod() {
    let mut sim = empty(1);
    sim.create("sts", &set(2, &json!({"minReadySeconds": 30})));
    sim.go(35);
    assert_eq!((pods(&mut sim).len(), counts(&mut sim)[1], counts(&mut sim)[4]), (1, 1, 0));
    sim.go(60);
    assert_eq!(counts(&mut sim)[4], 2);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// In order at most one pod is missing at a time, no name is there twice, and what can come to rest does.
    #[test]
    fn one_pod_is_away_at_a_time(
        replicas in 1..6_i64,
        partition in 0..6_i64,
        scale in prop::option::of(0..7_i64),
        broken in prop::option::of(0..6_i64),
        seed in any::<u64>(),
    ) {
        let mut sim = empty(seed);
        sim.create("sts", &set(replicas, &json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": partition}}})));
        sim.go(200);
        if let Some(ordinal) = broken {
            let one = PodMatch { name: Some(format!("db-{ordinal}")), ..PodMatch::default() };
            sim.0.models_mut().pod(PodModel { ready: Some(Readiness::Never), ..PodModel::new(one, "a test") });
        }
        sim.0.models_mut().image(ImageModel { pull: None, ..ImageModel::new("*", "a test") });
        sim.set_image("sts/db", "shop/db:v2");
        sim.step_through(400, |sim| {
            let [there, ready, ..] = counts(sim);
            assert!(there <= replicas && ready >= replicas - 1, "{there} {ready} of {replicas}");
        });
        let wanted = scale.unwrap_or(replicas);
        sim.scale("sts/db", wanted);
        sim.step_through(600, |sim| {
            let names: Vec<String> = sim.list("pod").iter().map(|p| p["metadata"]["name"].as_str().unwrap().to_owned()).collect();
            let mut once = names.clone();
            once.dedup();
            assert_eq!(names, once);
        });
        let stuck = broken.is_some_and(|ordinal| ordinal < replicas.max(wanted) && ordinal >= partition.min(replicas));
        if !stuck {
            let want: Vec<String> = (0..wanted).map(|n| format!("db-{n}=v{}", if n < partition { 1 } else { 2 })).collect();
            prop_assert_eq!(pods(&mut sim), want);
            prop_assert_eq!(counts(&mut sim)[1], wanted);
        }
    }
}
