//! Every situation of the table on the simulated cluster: the verdict beforehand, and what comes of it.

use lockgate::base::Reason;
use lockgate_sim::json::{Value as Json, json};
use lockgate_sim::model::PodMatch;
use lockgate_sim::{Cluster as Sim, Options as SimOptions, Request};

use super::super::support::Rig;
use super::given::{Act, Ends, NEVER, Situation, id, node};
use super::situations::{FLAGGED, FLAGS, SITUATIONS, combinations};

const MERGE: &str = "application/merge-patch+json";

fn sent(sim: &mut Sim, request: &Request) -> Json {
    let answer = sim.handle(request);
    let value = answer.value().cloned().unwrap_or_default();
    assert!((200..300).contains(&answer.status), "{:?} {}: {value}", request.method, request.path);
    value
}

/// Lets everything come to rest; what happens for ever is given half a minute.
fn rest(sim: &mut Sim) {
    let end = sim.now() + std::time::Duration::from_secs(30);
    while let Some(at) = sim.next_event_at().filter(|at| *at <= end) {
        sim.advance_to(at);
    }
    sim.advance_to(end);
}

fn pods(sim: &mut Sim, id: &str, app: &str) -> Vec<String> {
    let path = format!("/api/v1/namespaces/{id}/pods");
    let list = sent(sim, &Request::get(&path).with_query("labelSelector", &format!("app={app}")));
    list["items"].as_array().unwrap().iter().map(|pod| format!("{path}/{}", pod["metadata"]["name"].as_str().unwrap())).collect()
}

/// Apps whose pods run and never become ready by themselves.
fn unready(situation: &Situation) -> Vec<String> {
    let lines = situation.given.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let marked = lines.filter(|words| words.iter().any(|word| ["unready", "succeeded", "failed"].contains(word)));
    marked.filter_map(|words| words.get(1).map(|&app| app.to_owned())).collect()
}

/// A simulated cluster in a situation.
pub(super) fn cluster(situation: &Situation, id: &str) -> Sim {
    let mut sim = Sim::new(SimOptions::default());
    sim.furnish();
    sent(&mut sim, &Request::post("/api/v1/namespaces", &json!({ "metadata": { "name": id } })));
    sim.models_mut().never_pulls(NEVER);
    for app in unready(situation) {
        let labels = [("app".to_owned(), app.clone())].into();
        sim.models_mut().never_ready(PodMatch { labels, ..PodMatch::default() });
    }
    for act in situation.acts(id) {
        match act {
            Act::Create(path, object) => drop(sent(&mut sim, &Request::post(&path, &object))),
            Act::Rest => rest(&mut sim),
            Act::Status { app, status } => {
                for path in pods(&mut sim, id, &app) {
                    sent(&mut sim, &Request::patch(&format!("{path}/status"), MERGE, &json!({ "status": status })));
                }
            }
            Act::Delete { path, options } => drop(sent(&mut sim, &Request::delete(&path).with_body("application/json", &options))),
            Act::DeletePods { app } => {
                for path in pods(&mut sim, id, &app) {
                    sent(&mut sim, &Request::delete(&path));
                }
            }
            Act::Patch { path, patch } => drop(sent(&mut sim, &Request::patch(&path, MERGE, &patch))),
        }
    }
    sim
}

fn on_node(rig: &Rig, node: &str) -> Vec<String> {
    let listed = rig.value("list", json!(["pods"]), json!({ "all_namespaces": true, "fields": format!("spec.nodeName={node}") }));
    let mut apps: Vec<String> =
        listed.as_array().unwrap().iter().map(|pod| pod["metadata"]["labels"]["app"].as_str().unwrap().to_owned()).collect();
    apps.sort();
    apps.dedup();
    apps
}

/// What is wrong with one situation.
fn tried(situation: &Situation, id: &str) -> Result<(), String> {
    let rig = Rig::on(cluster(situation, id));
    let (node, options) = (node(id), serde_json::from_str::<Json>(situation.options).unwrap());
    let mut plan_options = options.clone();
    plan_options.as_object_mut().unwrap().remove("stall");
    let plan = rig.value("drain_plan", json!([node]), plan_options);
    if plan["verdict"] != situation.verdict || !plan["message"].as_str().unwrap().contains(situation.says) {
        return Err(format!("the plan says {}", plan["message"]));
    }
    let before = rig.writes();
    let ended = rig.call("drain", json!([node]), options);
    let cordoned = rig.object(&format!("node/{node}"))["spec"]["unschedulable"] == true;
    let came = match (situation.ends, &ended) {
        (Ends::Empty(stay), Ok(_)) => cordoned && on_node(&rig, &node) == stay,
        (Ends::Refused(reason), Err(error)) => error.reason == Reason::parse(reason).unwrap() && rig.writes() == before,
        (Ends::Stuck(reason), Err(error)) => error.reason == Reason::parse(reason).unwrap() && cordoned,
        _ => false,
    };
    let told = || match &ended {
        Ok(done) => format!("{}; left {:?}", done.value.clone().into_json(), on_node(&rig, &node)),
        Err(error) => format!("{:?} {error} {:?}", error.reason, error.causes),
    };
    if came { Ok(()) } else { Err(format!("it ends with {}", told())) }
}

#[test]
fn every_situation_ends_as_foreseen() {
    let only = std::env::var("SITUATION").ok();
    let chosen = SITUATIONS.iter().enumerate().filter(|(_, row)| only.as_deref().is_none_or(|only| row.name == only));
    let wrong: Vec<String> =
        chosen.filter_map(|(index, row)| tried(row, &id(index)).err().map(|what| format!("{} {}: {what}", id(index), row.name))).collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), SITUATIONS.len(), wrong.join("\n"));
}

/// `drain --dry-run=client` of kubectl was recorded with all of its flags; the same pods go here.
#[test]
fn the_same_pods_go_by_the_same_flags_as_with_kubectl() {
    let recorded: Json = serde_json::from_str(include_str!("../../controlplane/recorded/drain-flags.json")).unwrap();
    let rig = Rig::on(cluster(&FLAGGED, FLAGS));
    let mut classes = std::collections::BTreeSet::new();
    for (name, options) in combinations() {
        let plan = rig.value("drain_plan", json!([node(FLAGS)]), options.clone());
        assert_eq!(super::situations::summary(&plan), recorded[&*name], "{name}");
        for pod in plan["pods"].as_array().unwrap() {
            classes.insert(pod["class"].as_str().unwrap().to_owned());
        }
    }
    let all = ["daemonset", "finished", "local_storage", "mirror", "replicated", "unmanaged"].map(str::to_owned);
    assert_eq!(classes, all.into());
    assert_eq!(recorded.as_object().unwrap().len(), 16);
}

#[test]
fn the_table_is_as_long_as_promised_and_names_are_unique() {
    let mut names: Vec<&str> = SITUATIONS.iter().map(|row| row.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), SITUATIONS.len());
    assert!(SITUATIONS.len() >= 40, "{}", SITUATIONS.len());
}
