//! Rollouts of Deployments.

use lockgate_sim::json::{Value, json};

use crate::support::{Sim, condition, deployment, model, nodes};

fn shop(replicas: i64, more: &str) -> Sim {
    Sim::new(&(nodes(&["n1", "n2", "n3"]) + &deployment(replicas, more)))
}

/// Steps through a rollout and returns the most pods and the fewest available ones on the way.
fn extremes(sim: &mut Sim, seconds: i64) -> (usize, i64) {
    let (mut most, mut least) = (0, i64::MAX);
    sim.step_through(seconds, |sim| {
        most = most.max(sim.images().len());
        least = least.min(sim.counters("deploy/web")[3]);
    });
    (most, least)
}

#[test]
fn the_default_strategy_keeps_its_fence_posts() {
    for (replicas, most, least) in [(1, 2, 1), (2, 3, 2), (3, 4, 3), (4, 5, 3), (10, 13, 8)] {
        let mut sim = shop(replicas, "");
        sim.set_image("deploy/web", "shop/web:v2");
        assert_eq!(extremes(&mut sim, 300), (most, least), "{replicas} replicas");
        assert_eq!(sim.counters("deploy/web"), [replicas, replicas, replicas, replicas, 0]);
    }
}

#[test]
fn an_image_that_cannot_be_pulled_leaves_the_old_pods_alone() {
    let mut sim = shop(4, "  strategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}");
    sim.0.models_mut().never_pulls("*:bad");
    sim.set_image("deploy/web", "shop/web:bad");
    let (most, least) = extremes(&mut sim, 700);
    assert_eq!((most, least), (5, 4));
    assert_eq!(sim.images(), ["shop/web:bad", "shop/web:v1", "shop/web:v1", "shop/web:v1", "shop/web:v1"]);
    let progressing = condition(&sim.get("deploy/web"), "Progressing");
    assert_eq!(progressing.1, "ProgressDeadlineExceeded");
    // A repaired template replaces the broken pod first.
    sim.set_image("deploy/web", "shop/web:v2");
    sim.go(120);
    assert_eq!(sim.images(), ["shop/web:v2"; 4]);
    assert_eq!(condition(&sim.get("deploy/web"), "Progressing").1, "NewReplicaSetAvailable");
}

fn revisions(sim: &mut Sim) -> Vec<(String, String, i64)> {
    let mut all: Vec<(String, String, i64)> = sim
        .list("rs")
        .iter()
        .map(|rs| {
            let revision = rs["metadata"]["annotations"]["deployment.kubernetes.io/revision"].as_str().unwrap();
            let image = rs["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap();
            (revision.to_owned(), image.to_owned(), rs["spec"]["replicas"].as_i64().unwrap())
        })
        .collect();
    all.sort();
    all
}

fn row(revision: &str, image: &str, replicas: i64) -> (String, String, i64) {
    (revision.to_owned(), format!("shop/web:{image}"), replicas)
}

#[test]
fn going_back_renumbers_the_old_replica_set() {
    let mut sim = shop(2, "");
    for image in ["shop/web:v2", "shop/web:v3", "shop/web:v1"] {
        sim.set_image("deploy/web", image);
        sim.go(60);
    }
    assert_eq!(revisions(&mut sim), [row("2", "v2", 0), row("3", "v3", 0), row("4", "v1", 2)]);
    let sets = sim.list("rs");
    let current = sets.iter().find(|rs| rs["spec"]["replicas"] == 2).unwrap();
    assert_eq!(current["metadata"]["annotations"]["deployment.kubernetes.io/revision-history"], "1");
    let deployment = sim.get("deploy/web");
    assert_eq!(deployment["metadata"]["annotations"]["deployment.kubernetes.io/revision"], "4");
    let (_, _, message) = condition(&deployment, "Progressing");
    let name = current["metadata"]["name"].as_str().unwrap();
    assert_eq!(message, format!("ReplicaSet \"{name}\" has successfully progressed."));
}

#[test]
fn history_is_cut_at_its_limit() {
    let mut sim = shop(1, "  revisionHistoryLimit: 2");
    for n in 2..7 {
        sim.set_image("deploy/web", &format!("shop/web:v{n}"));
        sim.go(60);
    }
    assert_eq!(revisions(&mut sim), [row("4", "v4", 0), row("5", "v5", 0), row("6", "v6", 1)]);
}

#[test]
fn a_paused_deployment_only_scales() {
    let mut sim = shop(2, "");
    sim.patch("deploy/web", &json!({"spec": {"paused": true}}));
    let paused = condition(&sim.get("deploy/web"), "Progressing");
    assert_eq!(paused, ("Unknown".to_owned(), "DeploymentPaused".to_owned(), "Deployment is paused".to_owned()));
    sim.set_image("deploy/web", "shop/web:v2");
    sim.scale("deploy/web", 3);
    sim.go(60);
    assert_eq!(sim.images(), ["shop/web:v1"; 3]);
    sim.patch("deploy/web", &json!({"spec": {"paused": null}}));
    sim.go(60);
    assert_eq!(sim.images(), ["shop/web:v2"; 3]);
    assert_eq!(condition(&sim.get("deploy/web"), "Progressing").1, "NewReplicaSetAvailable");
}

#[test]
fn scaling_in_the_middle_of_a_rollout_is_proportional() {
    let mut sim = shop(10, "  strategy: {rollingUpdate: {maxSurge: 3, maxUnavailable: 2}}");
    sim.0.models_mut().never_pulls("*:bad");
    sim.set_image("deploy/web", "shop/web:bad");
    sim.go(60);
    assert_eq!(revisions(&mut sim), [row("1", "v1", 8), row("2", "bad", 5)]);
    sim.scale("deploy/web", 15);
    sim.go(1);
    assert_eq!(revisions(&mut sim), [row("1", "v1", 11), row("2", "bad", 7)]);
    sim.scale("deploy/web", 0);
    sim.go(60);
    assert_eq!(sim.list("pod").len(), 0);
}

/// Sizes of the two ReplicaSets of a Deployment with their annotations, old one first.
fn sets(sim: &mut Sim) -> Vec<(i64, String, String, String)> {
    let mut all: Vec<_> = sim.list("rs");
    all.sort_by_key(|rs| rs["spec"]["template"]["metadata"]["labels"].get("v").is_some());
    all.iter()
        .map(|rs| {
            let note = |key: &str| {
                let text = rs["metadata"]["annotations"][format!("deployment.kubernetes.io/{key}")].as_str();
                text.unwrap_or_default().to_owned()
            };
            (rs["spec"]["replicas"].as_i64().unwrap(), note("revision"), note("desired-replicas"), note("max-replicas"))
        })
        .collect()
}

fn set(replicas: i64, revision: &str, desired: &str, most: &str) -> (i64, String, String, String) {
    (replicas, revision.to_owned(), desired.to_owned(), most.to_owned())
}

/// Every number here was read off a Kubernetes 1.36.4 control plane that was given the same commands.
#[test]
fn a_long_story_goes_as_on_a_real_control_plane() {
    let mut sim = shop(4, "");
    let rolling = json!({"rollingUpdate": {"maxSurge": 3, "maxUnavailable": 2}});
    sim.patch("deploy/web", &json!({"spec": {"replicas": 10, "strategy": rolling}}));
    sim.go(30);
    assert_eq!(sets(&mut sim), [set(10, "1", "10", "13")]);
    let broken = [("v".to_owned(), "2".to_owned())].into();
    sim.0.models_mut().never_ready(lockgate_sim::model::PodMatch { labels: broken, ..Default::default() });
    sim.patch("deploy/web", &json!({"spec": {"template": {"metadata": {"labels": {"v": "2"}}}}}));
    sim.go(30);
    assert_eq!(sim.counters("deploy/web"), [13, 5, 8, 8, 5]);
    assert_eq!(sets(&mut sim), [set(8, "1", "10", "13"), set(5, "2", "10", "13")]);
    sim.scale("deploy/web", 15);
    sim.go(30);
    assert_eq!(sim.counters("deploy/web"), [18, 7, 11, 11, 7]);
    assert_eq!(sets(&mut sim), [set(11, "1", "15", "18"), set(7, "2", "15", "18")]);
    let available = condition(&sim.get("deploy/web"), "Available");
    assert_eq!(available.2, "Deployment does not have minimum availability.");
    sim.patch("deploy/web", &json!({"spec": {"paused": true}}));
    sim.scale("deploy/web", 6);
    sim.go(30);
    assert_eq!(sim.counters("deploy/web"), [9, 4, 5, 5, 4]);
    assert_eq!(sets(&mut sim), [set(5, "1", "6", "9"), set(4, "2", "6", "9")]);
    assert_eq!(condition(&sim.get("deploy/web"), "Progressing").1, "DeploymentPaused");
    sim.patch("deploy/web", &json!({"spec": {"paused": null}}));
    sim.go(30);
    assert_eq!(sim.counters("deploy/web"), [9, 5, 4, 4, 5]);
    sim.patch("deploy/web", &json!({"spec": {"template": {"metadata": {"labels": {"v": null}}}}}));
    sim.go(60);
    assert_eq!(sim.counters("deploy/web"), [6, 6, 6, 6, 0]);
    assert_eq!(sets(&mut sim), [set(6, "3", "6", "9"), set(0, "2", "6", "9")]);
    sim.scale("deploy/web", 0);
    sim.go(30);
    assert_eq!(sets(&mut sim), [set(0, "3", "0", "3"), set(0, "2", "6", "9")]);
    let told: Vec<String> = sim.events("ScalingReplicaSet").iter().map(|text| text.replace("replica set web-", "")).collect();
    let told: Vec<String> = told
        .iter()
        .map(|text| {
            let (head, tail) = text.split_once(" from ").unwrap();
            format!("{} {tail}", head.rsplit_once(' ').unwrap().0)
        })
        .collect();
    let expected = [
        "Scaled up 0 to 4",
        "Scaled up 4 to 10",
        "Scaled up 0 to 3",
        "Scaled down 10 to 8",
        "Scaled up 3 to 5",
        "Scaled up 8 to 11",
        "Scaled up 5 to 7",
        "Scaled down 11 to 5",
        "Scaled down 7 to 4",
    ];
    assert_eq!(told[..expected.len()], expected);
}

#[test]
fn events_tell_the_steps_in_the_servers_words() {
    let mut sim = shop(1, "");
    sim.set_image("deploy/web", "shop/web:v2");
    sim.go(60);
    let names = |sim: &mut Sim, image: &str| -> String {
        let sets = sim.list("rs");
        let is_it = |rs: &&Value| rs["spec"]["template"]["spec"]["containers"][0]["image"] == image;
        sets.iter().find(is_it).unwrap()["metadata"]["name"].as_str().unwrap().to_owned()
    };
    let (old, new) = (names(&mut sim, "shop/web:v1"), names(&mut sim, "shop/web:v2"));
    assert_eq!(
        sim.events("ScalingReplicaSet"),
        [
            format!("Scaled up replica set {old} from 0 to 1"),
            format!("Scaled up replica set {new} from 0 to 1"),
            format!("Scaled down replica set {old} from 1 to 0"),
        ]
    );
}

#[test]
fn min_ready_seconds_delay_availability() {
    let mut sim = shop(1, "  minReadySeconds: 30");
    sim.set_image("deploy/web", "shop/web:v2");
    sim.go(20);
    let [replicas, updated, ready, available, _] = sim.counters("deploy/web");
    assert_eq!([replicas, updated, ready, available], [2, 1, 2, 1]);
    sim.go(30);
    assert_eq!(sim.counters("deploy/web"), [1, 1, 1, 1, 0]);
}

#[test]
fn a_slow_image_takes_its_time() {
    let fixture = nodes(&["n1"]) + &deployment(1, "") + &model("images:\n- {match: '*:v2', pull: 4m, why: measured}");
    let mut sim = Sim::new(&fixture);
    sim.set_image("deploy/web", "shop/web:v2");
    sim.go(239);
    assert_eq!(sim.counters("deploy/web")[1..4], [1, 1, 1]);
    sim.go(10);
    assert_eq!(sim.counters("deploy/web"), [1, 1, 1, 1, 0]);
}

#[test]
fn deleting_a_deployment_takes_its_pods_along() {
    let mut sim = shop(2, "");
    sim.delete("deploy/web");
    sim.go(10);
    assert!(!sim.exists("deploy/web"));
    assert_eq!((sim.list("rs").len(), sim.list("pod").len()), (0, 0));
}

#[test]
fn a_service_follows_the_readiness_of_its_pods() {
    let service = "apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web, namespace: shop}
spec: {minAvailable: 1, selector: {matchLabels: {app: web}}}
";
    let mut sim = Sim::new(&(nodes(&["n1"]) + &deployment(2, "") + service));
    let subsets = sim.get("endpoints/web")["subsets"].clone();
    assert_eq!(subsets[0]["addresses"].as_array().unwrap().len(), 2);
    assert_eq!(subsets[0]["ports"][0]["port"], 8080);
    assert_eq!(sim.get("pdb/web")["status"]["disruptionsAllowed"], 1);
    sim.0.models_mut().never_ready(lockgate_sim::model::PodMatch::default());
    let victim = sim.list("pod")[0]["metadata"]["name"].as_str().unwrap().to_owned();
    sim.delete(&format!("pod/{victim}"));
    sim.go(60);
    let subsets = sim.get("endpoints/web")["subsets"].clone();
    assert_eq!(subsets[0]["addresses"].as_array().unwrap().len(), 1);
    assert_eq!(subsets[0]["notReadyAddresses"].as_array().unwrap().len(), 1);
    let slices = sim.list("slice");
    let ready = |e: &&Value| e["conditions"]["ready"] == true;
    assert_eq!(slices[0]["endpoints"].as_array().unwrap().iter().filter(ready).count(), 1);
    assert_eq!(sim.get("pdb/web")["status"]["disruptionsAllowed"], 0);
}
