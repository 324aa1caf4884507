//! A plan on a live cluster. The live cluster is a second simulated one behind the same client, and its record is what would
//! have been on the wire. Its server is not asked about writes: `asked.rs`.

use lockgate::base::{ObjectRef, Reason, Span};
use lockgate::cluster::{Access, Cluster, Follow, Options, PatchType, RunId, Select, Target, Verb, Woke};
use lockgate_sim::fixture::Fixture;
use lockgate_sim::json::json;
use lockgate_sim::request::Request;

use super::support::{config_map, empty, run};

/// A live cluster with two ConfigMaps, one of them in another namespace, and a Secret.
fn live() -> Cluster {
    let mut sim = empty();
    for (namespace, name) in [("default", "a"), ("kube-system", "b")] {
        let path = format!("/api/v1/namespaces/{namespace}/configmaps");
        sim.handle(&Request::post(&path, &config_map(name, json!({"k": "1"}))));
    }
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"p": "cw=="}});
    sim.handle(&Request::post("/api/v1/namespaces/default/secrets", &secret));
    Cluster::stand_in(sim, Options { local: true, ..Options::new(RunId::generate()) })
}

async fn target(cluster: &Cluster, text: &str) -> Target {
    cluster.target(&ObjectRef::parse(text).unwrap(), None).await.unwrap()
}

/// What left the process: verb and resource with its namespace.
fn wire(plan: &Cluster) -> Vec<String> {
    let real = plan.requests().into_iter().filter(|request| !request.dry);
    real.map(|request| format!("{} {} {}", request.verb, request.resource, request.namespace.unwrap_or_default())).collect()
}

#[test]
fn objects_are_copied_on_first_touch() {
    run(async {
        let live = live();
        let plan = live.planning();
        assert!(plan.label().plan && !plan.label().simulated);
        assert_eq!(plan.access(), Access::ReadWrite);
        assert_eq!(wire(&plan), Vec::<String>::new());
        let a = target(&plan, "cm/a").await;
        let read = plan.get(&a).await.unwrap();
        assert_eq!((read["data"]["k"].as_str(), read["kind"].as_str()), (Some("1"), Some("ConfigMap")));
        let original = live.get(&a).await.unwrap();
        assert_eq!(read["metadata"]["uid"], original["metadata"]["uid"]);
        assert_eq!(plan.find(&target(&plan, "cm/nope").await).await.unwrap(), None);
        plan.get(&a).await.unwrap();
        assert_eq!(plan.find(&target(&plan, "cm/nope").await).await.unwrap(), None);
        assert_eq!(wire(&plan), ["get configmaps default"; 2], "each once, also what is not there");
        plan.list(&a.resource, Some("default"), &Select::default()).await.unwrap();
        plan.get(&target(&plan, "cm/other").await).await.unwrap_err();
        assert_eq!(wire(&plan)[2..], ["list configmaps default"], "a list knows them all");
        plan.get(&target(&plan, "cm/kube-system/b").await).await.unwrap();
        plan.get(&target(&plan, "secret/s").await).await.unwrap();
        assert_eq!(wire(&plan)[3..], ["get configmaps kube-system", "get secrets default"], "secrets only when they are read");
    });
}

#[test]
fn writes_stay_in_the_plan() {
    run(async {
        let live = live();
        let before = live.simulation().unwrap().with(|sim| sim.event_log().len());
        let plan = live.planning();
        let a = target(&plan, "cm/a").await;
        let maps = plan.resolve("cm", None).await.unwrap();
        let patched = plan.patch(&a, PatchType::Merge, json!({"data": {"k": "2"}}), None).await.unwrap();
        assert_eq!(patched["data"]["k"], "2");
        plan.create(&maps, None, config_map("new", json!({}))).await.unwrap();
        let mut object = (*plan.get(&a).await.unwrap()).clone();
        object["data"]["k"] = "3".into();
        plan.replace(&a, object).await.unwrap();
        plan.patch(&a, PatchType::Json, json!([{"op": "replace", "path": "/data/k", "value": "4"}]), None).await.unwrap();
        plan.delete(&target(&plan, "cm/new").await, json!({})).await.unwrap();
        assert_eq!(plan.get(&a).await.unwrap()["data"]["k"], "4", "the plan reads its own writes");
        let expected = ["get configmaps default", "get configmaps default", "get namespaces "];
        assert_eq!(wire(&plan), expected, "a new object needs its namespace, and must not be there");
        assert_eq!(live.get(&a).await.unwrap()["data"]["k"], "1");
        let after = live
            .simulation()
            .unwrap()
            .with(|sim| sim.event_log().skip(before).filter(|line| !line.contains("list") && !line.contains("get")).count());
        assert_eq!(after, 0, "the live cluster saw reads only");
    });
}

#[test]
fn a_plan_of_a_plan_is_independent_and_reads_nothing_twice() {
    run(async {
        let live = live();
        let plan = live.planning();
        let a = target(&plan, "cm/a").await;
        plan.patch(&a, PatchType::Merge, json!({"data": {"k": "2"}}), None).await.unwrap();
        let twin = plan.planning();
        twin.patch(&a, PatchType::Merge, json!({"data": {"k": "3"}}), None).await.unwrap();
        assert_eq!(plan.get(&a).await.unwrap()["data"]["k"], "2");
        assert_eq!(twin.get(&a).await.unwrap()["data"]["k"], "3");
        assert_eq!(wire(&twin), Vec::<String>::new());
    });
}

#[test]
fn a_plan_is_about_one_state() {
    run(async {
        let live = live();
        let plan = live.planning();
        let a = target(&plan, "cm/a").await;
        plan.get(&a).await.unwrap();
        live.set_access(Access::ReadWrite);
        live.patch(&a, PatchType::Merge, json!({"data": {"k": "9"}}), None).await.unwrap();
        assert_eq!(plan.get(&a).await.unwrap()["data"]["k"], "1");
    });
}

/// Lists of one kind that are read one after the other are of one moment, as long as the server remembers it.
#[test]
fn lists_of_a_kind_are_of_one_moment() {
    run(async {
        for remembers in [true, false] {
            let live = Cluster::stand_in(empty(), Options { local: true, ..Options::new(RunId::generate()) });
            let write = |request: &Request| assert!(live.simulation().unwrap().with(|sim| sim.handle(request)).status < 300);
            let path = "/api/v1/namespaces/default/configmaps";
            let labelled = |name: &str, label: &str| {
                let mut map = config_map(name, json!({}));
                map["metadata"]["labels"] = json!({ "x": label });
                map
            };
            write(&Request::post(path, &labelled("a", "1")));
            write(&Request::post(path, &labelled("b", "2")));
            let plan = live.planning();
            let maps = plan.resolve("cm", None).await.unwrap();
            let names = async |label: &str| -> Vec<String> {
                let select = Select { labels: Some(format!("x={label}")), fields: None };
                let listed = plan.list(&maps, Some("default"), &select).await.unwrap();
                listed.items.iter().map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()).collect()
            };
            assert_eq!(names("1").await, ["a"]);
            // Somebody moves one from the second list to the first, and makes another.
            if !remembers {
                live.simulation().unwrap().with(|sim| sim.set_history_limit(1));
            }
            write(&Request::patch(&format!("{path}/b"), "application/merge-patch+json", &json!({"metadata": {"labels": {"x": "1"}}})));
            write(&Request::post(path, &labelled("c", "2")));
            write(&Request::post(path, &labelled("d", "3")));
            let expected: &[&str] = if remembers { &["b"] } else { &["c"] };
            assert_eq!(names("2").await, expected);
            assert_eq!(names("1").await, ["a"], "what was read stands");
            let drift = plan.drift().await.unwrap().unwrap();
            assert!(!drift.changed.is_empty(), "and what has moved meanwhile is named");
        }
    });
}

#[test]
fn a_read_of_all_namespaces_keeps_what_the_plan_did_in_one() {
    run(async {
        let live = live();
        let plan = live.planning();
        let a = target(&plan, "cm/a").await;
        plan.patch(&a, PatchType::Merge, json!({"data": {"k": "2"}}), None).await.unwrap();
        plan.create(&a.resource, None, config_map("new", json!({}))).await.unwrap();
        let all = plan.list(&a.resource, None, &Select::default()).await.unwrap().items;
        let data: Vec<_> = all.iter().map(|map| (map["metadata"]["name"].as_str(), map["data"]["k"].as_str())).collect();
        assert_eq!(data, [(Some("a"), Some("2")), (Some("new"), None), (Some("b"), Some("1"))]);
        assert_eq!(wire(&plan)[2..], ["get namespaces ", "list configmaps "]);
    });
}

#[test]
fn watches_of_a_plan_see_the_plan() {
    run(async {
        let live = live();
        let plan = live.planning();
        let resource = plan.resolve("cm", None).await.unwrap();
        let scope = Follow { resource: resource.clone(), namespace: Some("default".into()), select: Select::default() };
        let mut following = plan.follow(vec![scope]).await.unwrap();
        assert_eq!(following.items(0).count(), 1);
        plan.create(&resource, None, config_map("new", json!({}))).await.unwrap();
        assert_eq!(following.changed(None).await.unwrap(), Woke::Changed);
        assert_eq!(following.items(0).count(), 2);
        assert_eq!(wire(&plan), ["list configmaps default", "get namespaces "], "no watch leaves the process");
    });
}

#[test]
fn kinds_without_a_model_are_read_through_and_never_written() {
    run(async {
        let live = live();
        let plan = live.planning();
        let claim = target(&plan, "pvc/x").await;
        plan.get(&claim).await.unwrap_err();
        assert_eq!(wire(&plan), ["get persistentvolumeclaims default"]);
        let error = plan.patch(&claim, PatchType::Merge, json!({}), None).await.unwrap_err();
        assert_eq!(error.reason, Reason::Unmodelled);
        let scope = Follow { resource: claim.resource.clone(), namespace: None, select: Select::default() };
        // What there is can be read; what becomes of it nobody plays.
        let mut following = plan.follow(vec![scope]).await.unwrap();
        assert_eq!(following.changed(None).await.unwrap_err().reason, Reason::Unmodelled);
        plan.resolve("banana", None).await.unwrap_err();
        let plain = plan.requests().into_iter().filter(|request| !request.dry);
        assert!(plain.clone().any(|request| request.resource == "/apis"), "discovery is the live cluster's");
        assert!(plain.clone().all(|request| matches!(request.verb, Verb::Get | Verb::List)));
    });
}

const WEB: &str = "
apiVersion: v1
kind: Node
metadata: {name: n1}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: default}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: c, image: 'registry.example/web:1.0'}]}
";

/// A live cluster on which a Deployment runs two pods.
fn running() -> Cluster {
    let sim = Fixture::parse("web.yaml", WEB).unwrap().cluster(lockgate_sim::Options::default()).unwrap();
    Cluster::stand_in(sim, Options { local: true, ..Options::new(RunId::generate()) })
}

#[test]
fn simulated_controllers_carry_on_what_a_plan_writes() {
    run(async {
        let live = running();
        let before = live.simulation().unwrap().with(|sim| sim.store().rv());
        let plan = live.planning();
        let started = plan.clock().now();
        let web = target(&plan, "deployment/web").await;
        plan.patch(&web, PatchType::Merge, json!({"spec": {"replicas": 0}}), None).await.unwrap();
        let pods = plan.resolve("pods", None).await.unwrap();
        let scope = Follow { resource: pods.clone(), namespace: Some("default".into()), select: Select::default() };
        let mut following = plan.follow(vec![scope]).await.unwrap();
        assert_eq!(following.items(0).count(), 2, "they take their time to go");
        let deadline = Some(Span::from_secs(600).after(started));
        while following.items(0).next().is_some() {
            assert_eq!(following.changed(deadline).await.unwrap(), Woke::Changed);
        }
        assert!(plan.clock().now() > started);
        let left = live.list(&pods, Some("default"), &Select::default()).await.unwrap().items.len();
        assert_eq!((left, live.simulation().unwrap().with(|sim| sim.store().rv())), (2, before), "nothing happened there");
        let wire = wire(&plan);
        assert!(wire.iter().all(|line| line.starts_with("list ") || line.starts_with("get ")), "{wire:?}");
        assert!(wire.len() <= 16, "{wire:?}");
        assert!(!wire.iter().any(|line| line.contains("secrets")), "{wire:?}");
    });
}
