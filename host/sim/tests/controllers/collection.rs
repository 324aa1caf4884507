//! What goes with its owner or its namespace.

use lockgate_sim::Request;
use lockgate_sim::json::{Value, json};
use lockgate_sim::model::PodMatch;

use crate::support::{Sim, condition, deployment, nodes, path};

fn merge(of: &str, body: &Value) -> Request {
    Request::patch(of, "application/merge-patch+json", body)
}

#[test]
fn what_never_had_its_owner_is_collected() {
    let mut sim = Sim::new(&(nodes(&["n1"]) + &deployment(1, "")));
    let owner = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "nobody", "uid": "00000000-0000-0000-0000-000000000001"});
    let body = |name: &str, owners: &[&Value]| json!({"metadata": {"name": name, "ownerReferences": owners}});
    let maps = "/api/v1/namespaces/shop/configmaps";
    sim.ok(&Request::post(maps, &body("orphan", &[&owner])));
    let there = sim.get("deploy/web");
    let living = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": there["metadata"]["uid"]});
    sim.ok(&Request::post(maps, &body("child", &[&owner, &living])));
    // An owner of the right name is another one when its uid differs.
    let mut other = living.clone();
    other["uid"] = owner["uid"].clone();
    sim.ok(&Request::post(maps, &body("stranger", &[&other])));
    sim.ok(&Request::post(maps, &body("late", &[])));
    sim.ok(&merge(&format!("{maps}/late"), &json!({"metadata": {"ownerReferences": [owner]}})));
    let left = sim.ok(&Request::get(maps));
    let names: Vec<&str> = left["items"].as_array().unwrap().iter().map(|m| m["metadata"]["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["child"]);
}

#[test]
fn a_chain_goes_from_its_end_in_the_foreground() {
    let mut sim = Sim::new(&(nodes(&["n1"]) + &deployment(2, "")));
    let options = json!({"propagationPolicy": "Foreground"});
    sim.ok(&Request::delete(&path("deploy/web")).with_body("application/json", &options));
    assert!(sim.exists("deploy/web"));
    assert_eq!(sim.get("deploy/web")["metadata"]["finalizers"], json!(["foregroundDeletion"]));
    let sets = sim.list("rs");
    assert_eq!(sets[0]["metadata"]["finalizers"], json!(["foregroundDeletion"]), "the set waits for its pods");
    sim.step_through(60, |sim| {
        let (pods, sets) = (sim.list("pod").len(), sim.list("rs").len());
        assert!(pods == 0 || sets == 1, "{pods} {sets}");
        assert!(sets == 0 || sim.exists("deploy/web"));
    });
    assert!(!sim.exists("deploy/web"));
}

#[test]
fn a_namespace_says_what_it_waits_for() {
    let mut sim = Sim::new(&(nodes(&["n1"]) + &deployment(1, "")));
    let namespace = "/api/v1/namespaces/shop";
    let maps = format!("{namespace}/configmaps");
    sim.ok(&Request::post(&maps, &json!({"metadata": {"name": "held", "finalizers": ["example.com/hold"]}})));
    sim.0.models_mut().stuck_terminating(PodMatch::default());
    sim.ok(&Request::delete(namespace));
    sim.go(1);
    let going = sim.ok(&Request::get(namespace));
    let kinds: Vec<&str> = going["status"]["conditions"].as_array().unwrap().iter().map(|c| c["type"].as_str().unwrap()).collect();
    assert_eq!(kinds.len(), 5, "{kinds:?}");
    assert_eq!(condition(&going, "NamespaceDeletionContentFailure").1, "ContentDeleted");
    let text = "Some resources are remaining: configmaps. has 1 resource instances, pods. has 1 resource instances";
    assert_eq!(condition(&going, "NamespaceContentRemaining"), ("True".into(), "SomeResourcesRemain".into(), text.into()));
    let text = "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances";
    assert_eq!(condition(&going, "NamespaceFinalizersRemaining"), ("True".into(), "SomeFinalizersRemain".into(), text.into()));
    let pod = sim.list("pod")[0]["metadata"]["name"].as_str().unwrap().to_owned();
    sim.ok(&Request::delete(&format!("{}?gracePeriodSeconds=0", path(&format!("pod/{pod}")))));
    sim.go(60);
    let going = sim.ok(&Request::get(namespace));
    let text = "Some resources are remaining: configmaps. has 1 resource instances";
    assert_eq!(condition(&going, "NamespaceContentRemaining").2, text);
    assert_eq!(sim.0.next_event_at(), None, "it waits for somebody, not for time");
    sim.ok(&merge(&format!("{maps}/held"), &json!({"metadata": {"finalizers": null}})));
    assert_eq!(sim.0.handle(&Request::get(namespace)).status, 404);
}
