//! What holds after every change of the cluster while a node is drained, read off the cluster's own history and not off what `drain` says:
//! `reference/primitives.md` §1.2, acceptance 3, and "StatefulSet pods of one set strictly one at a time".

use std::collections::BTreeSet;

use lockgate::base::{Kind, Reason, Span};
use lockgate_sim::Request;
use lockgate_sim::json::{Value as Json, json};
use lockgate_sim::model::PodMatch;

use super::super::support::Rig;
use super::support::{NODE, asked, left, rig, rig_with, sent};

/// A cluster before something is done to it.
struct Before {
    /// Its last change.
    rv: u64,
    pods: Vec<Json>,
}

impl Before {
    fn of(rig: &Rig) -> Before {
        let pods = rig.value("list", json!(["pods"]), json!({ "all_namespaces": true }));
        Before { rv: rig.sim(|sim| sim.store().rv()), pods: pods.as_array().unwrap().to_vec() }
    }

    /// Every object of this kind as each change since then left it, in their order; with the object before where it was removed.
    fn since(&self, rig: &Rig, kind: &str) -> Vec<(Option<Json>, Json)> {
        rig.sim(|sim| {
            let changes = sim.store().changes_after(self.rv).expect("the whole history is kept");
            let of = changes.filter_map(|change| {
                let either = change.after.as_ref().or(change.before.as_ref())?;
                (either["kind"] == kind).then(|| (change.after.as_deref().cloned(), (**either).clone()))
            });
            of.collect()
        })
    }

    /// How many of this app served at once at least, looked at after every change since then; and how many changes there were of it.
    fn fewest(&self, rig: &Rig, app: &str) -> (usize, usize) {
        let of = |pod: &Json| pod["metadata"]["labels"]["app"] == app;
        let mut serving: BTreeSet<String> = self.pods.iter().filter(|pod| of(pod) && serves(pod)).map(uid).collect();
        let (mut fewest, mut changes) = (serving.len(), 0);
        for (after, either) in self.since(rig, "Pod").into_iter().filter(|(_, pod)| of(pod)) {
            match after.filter(serves) {
                Some(pod) => serving.insert(uid(&pod)),
                None => serving.remove(&uid(&either)),
            };
            (fewest, changes) = (fewest.min(serving.len()), changes + 1);
        }
        (fewest, changes)
    }
}

fn uid(object: &Json) -> String {
    object["metadata"]["uid"].as_str().unwrap().to_owned()
}

fn serves(pod: &Json) -> bool {
    let ready = |condition: &Json| condition["type"] == "Ready" && condition["status"] == "True";
    pod["metadata"]["deletionTimestamp"].is_null() && pod["status"]["conditions"].as_array().is_some_and(|all| all.iter().any(ready))
}

/// Drains, and waits until what went is there again.
fn drained(rig: &Rig) {
    rig.call("drain", json!([NODE]), json!({})).unwrap();
    rig.run(rig.cluster.clock().sleep(Span::from_secs(120))).unwrap();
}

#[test]
fn of_one_statefulset_never_more_than_one_pod_is_away() {
    let rig = rig("statefulset db 3\ndeployment web 2");
    let before = Before::of(&rig);
    drained(&rig);
    let (fewest, changes) = before.fewest(&rig, "db");
    assert_eq!(fewest, 2, "of 3, in {changes} changes");
    assert!(changes >= 9, "each is deleted, goes and comes again: {changes} changes");
    assert_eq!(before.fewest(&rig, "web").0, 0, "what nothing protects goes at once: the look above would see it");
}

#[test]
fn a_budget_of_one_holds_after_every_change() {
    let rig = rig("deployment web 3\nbudget web max=1");
    let service = json!({ "metadata": { "name": "web" }, "spec": { "selector": { "app": "web" }, "ports": [{ "port": 80 }] } });
    sent(&rig, &Request::post("/api/v1/namespaces/s/services", &service));
    rig.run(rig.cluster.clock().sleep(Span::from_secs(5))).unwrap();
    let before = Before::of(&rig);
    drained(&rig);
    let (fewest, changes) = before.fewest(&rig, "web");
    assert_eq!(fewest, 2, "of 3, in {changes} changes");
    // What the clients of the service see.
    let ready = |slice: &Json| slice["endpoints"].as_array().into_iter().flatten().filter(|end| end["conditions"]["ready"] == true).count();
    let ready: Vec<usize> = before.since(&rig, "EndpointSlice").iter().filter_map(|(after, _)| after.as_ref().map(ready)).collect();
    assert!(ready.len() >= 3 && ready.iter().all(|ready| *ready >= 2), "endpoints that were ready: {ready:?}");
}

#[test]
fn over_several_nodes_too_one_pod_of_a_set_is_away() {
    let rig = rig("statefulset db 4");
    let node = json!({ "metadata": { "name": "s-c", "labels": { "situation": "s", "which": "c" } } });
    sent(&rig, &Request::post("/api/v1/nodes", &node));
    drained(&rig);
    rig.call("uncordon", json!([NODE]), json!({})).unwrap();
    assert!(["s-b", "s-c"].iter().all(|node| !left(&rig, node).is_empty()), "they are on both nodes");
    let before = Before::of(&rig);
    rig.call("drain", json!([["s-b", "s-c"]]), json!({})).unwrap();
    rig.run(rig.cluster.clock().sleep(Span::from_secs(120))).unwrap();
    assert_eq!(before.fewest(&rig, "db").0, 3, "of 4");
}

#[test]
fn a_pod_that_does_not_come_back_keeps_the_others_of_its_set() {
    let rig = rig_with("statefulset db 3", |sim| {
        let labels = [("app".to_owned(), "db".to_owned())].into();
        sim.models_mut().never_ready(PodMatch { labels, ..PodMatch::default() });
    });
    let error = rig.error("drain", json!([NODE]), json!({ "stall": "1m" }));
    assert_eq!((error.kind, error.reason, asked(&rig)), (Kind::Stuck, Reason::Stalled, 1), "{error}");
    assert!(error.causes[0].contains("waits: pods of its StatefulSet go one after another, and `pod/s/db-"), "{:?}", error.causes);
    assert!(error.causes[0].ends_with("` is not back yet") && error.hint.as_deref().unwrap().starts_with("`why` of the pod"), "{error:?}");
}

#[test]
fn a_pod_that_can_be_nowhere_else_is_not_waited_for() {
    let rig = rig("statefulset db 2 pinned");
    let value = rig.value("drain", json!([NODE]), json!({}));
    assert_eq!(value["evicted"].as_array().unwrap().len(), 2, "{value}");
}
