//! Objects in and out of a simulated cluster.

use std::rc::Rc;

use lockgate::base::{Kind, ObjectRef, Reason, Timestamp};
use lockgate::cluster::{Access, Cluster, OP_ANNOTATION, Options, PatchType, Resource, RunId, Select, Target, Verb};
use lockgate_sim::json::{Value, json};

use super::support::{config_map, run, simulated};

async fn resource(cluster: &Cluster, kind: &str) -> Rc<Resource> {
    cluster.resolve(kind, None).await.unwrap()
}

async fn target(cluster: &Cluster, text: &str) -> Target {
    cluster.target(&ObjectRef::parse(text).unwrap(), None).await.unwrap()
}

fn stamp(object: &Value) -> String {
    object["metadata"]["annotations"][OP_ANNOTATION].as_str().unwrap_or_default().to_owned()
}

#[test]
fn every_write_carries_run_sequence_and_epoch() {
    run(async {
        let at: Timestamp = "2001-02-03T04:05:06Z".parse().unwrap();
        let id = RunId::simulated(at, 7);
        let cluster = simulated(Options::new(id));
        let maps = resource(&cluster, "cm").await;
        let created = cluster.create(&maps, None, config_map("a", json!({"k": "1"}))).await.unwrap();
        assert_eq!(stamp(&created), format!("{id}/1/1"));
        let a = target(&cluster, "configmap/a").await;
        let mut writes = 1;
        for (kind, body) in [
            (PatchType::Merge, json!({"data": {"k": "2"}})),
            (PatchType::Strategic, json!({"data": {"k": "3"}})),
            (PatchType::Json, json!([{"op": "replace", "path": "/data/k", "value": "4"}])),
        ] {
            let patched = cluster.patch(&a, kind, body, None).await.unwrap();
            writes += 1;
            assert_eq!(stamp(&patched), format!("{id}/{writes}/1"), "{kind:?}");
            assert_eq!(patched["data"]["k"], writes.to_string());
        }
        let mut object = (*cluster.get(&a).await.unwrap()).clone();
        object["data"]["k"] = "5".into();
        let replaced = cluster.replace(&a, object.clone()).await.unwrap();
        assert_eq!(stamp(&replaced), format!("{id}/5/1"));
        let stale = cluster.replace(&a, object).await.unwrap_err();
        assert_eq!((stale.kind, stale.reason), (Kind::Cluster, Reason::Conflict));
        assert_eq!(stale.message, "replacing `configmap/a`: it is not as it was read any more");
        cluster.delete(&a, json!({"gracePeriodSeconds": 0})).await.unwrap();
        assert_eq!(cluster.find(&a).await.unwrap(), None);
    });
}

#[test]
fn a_json_patch_on_an_object_without_annotations_keeps_to_what_was_read() {
    run(async {
        let cluster = simulated(Options::new(RunId::generate()));
        cluster.simulation().unwrap().with(|sim| {
            let body = config_map("bare", json!({"k": "1"}));
            sim.handle(&lockgate_sim::request::Request::post("/api/v1/namespaces/default/configmaps", &body));
        });
        let bare = target(&cluster, "cm/bare").await;
        assert_eq!(stamp(&cluster.get(&bare).await.unwrap()), "");
        let patch = json!([{"op": "replace", "path": "/data/k", "value": "2"}]);
        let patched = cluster.patch(&bare, PatchType::Json, patch, None).await.unwrap();
        assert_eq!(stamp(&patched), format!("{}/1/1", cluster.run()));
    });
}

#[test]
fn a_missing_object_is_none_or_an_error() {
    run(async {
        let cluster = simulated(Options::new(RunId::generate()));
        let missing = target(&cluster, "deployment/nope").await;
        assert_eq!(cluster.find(&missing).await.unwrap(), None);
        let error = cluster.get(&missing).await.unwrap_err();
        assert_eq!((error.kind, error.reason), (Kind::Cluster, Reason::NotFound));
        assert_eq!(error.to_string(), "reading `deployment/nope`: no such object: deployments.apps \"nope\" not found");
        let maps = resource(&cluster, "cm").await;
        let error = cluster.create(&maps, Some("nowhere"), config_map("a", json!({}))).await.unwrap_err();
        let said = "creating `configmap/nowhere/a`: what it belongs to does not exist: namespaces \"nowhere\" not found";
        assert_eq!((error.reason, error.to_string().as_str()), (Reason::NotFound, said));
    });
}

#[test]
fn lists_are_paged_sorted_and_whole() {
    run(async {
        let cluster = simulated(Options::new(RunId::generate()));
        let maps = resource(&cluster, "configmaps").await;
        for index in (0..1203).rev() {
            let mut object = config_map(&format!("m{index:04}"), json!({}));
            object["metadata"]["labels"] = json!({"odd": (index % 2 == 1).to_string()});
            cluster.create(&maps, None, object).await.unwrap();
        }
        let before = cluster.requests().len();
        let listed = cluster.list(&maps, Some("default"), &Select::default()).await.unwrap();
        let names: Vec<&str> = listed.items.iter().filter_map(|map| map["metadata"]["name"].as_str()).collect();
        assert_eq!(names.len(), 1203);
        assert!(names.is_sorted());
        assert!(listed.items.iter().all(|map| map["kind"] == "ConfigMap" && map["apiVersion"] == "v1"));
        assert!(!listed.resource_version.is_empty());
        let requests = cluster.requests();
        assert_eq!(requests[before..].iter().filter(|request| request.verb == Verb::List).count(), 3, "pages of 500");
        let odd = Select { labels: Some("odd=true".to_owned()), fields: None };
        assert_eq!(cluster.list(&maps, None, &odd).await.unwrap().items.len(), 601);
        let one = Select { labels: None, fields: Some("metadata.name=m0007".to_owned()) };
        assert_eq!(cluster.list(&maps, None, &one).await.unwrap().items.len(), 1);
    });
}

#[test]
fn the_guard_is_beneath_the_primitives() {
    run(async {
        let cluster = simulated(Options::new(RunId::generate()));
        let maps = resource(&cluster, "cm").await;
        let a = target(&cluster, "cm/a").await;
        cluster.set_access(Access::ReadOnly);
        let clone = cluster.with_namespace("other");
        assert_eq!(clone.access(), Access::ReadOnly, "clones share it");
        let error = cluster.create(&maps, None, config_map("a", json!({}))).await.unwrap_err();
        assert_eq!((error.kind, error.reason), (Kind::Refused, Reason::Refused));
        for kind in [PatchType::Merge, PatchType::Strategic, PatchType::Json] {
            let body = if kind == PatchType::Json { json!([]) } else { json!({}) };
            assert_eq!(cluster.patch(&a, kind, body, None).await.unwrap_err().kind, Kind::Refused);
        }
        assert_eq!(cluster.replace(&a, json!({})).await.unwrap_err().kind, Kind::Refused);
        assert_eq!(cluster.delete(&a, json!({})).await.unwrap_err().kind, Kind::Refused);
        assert_eq!(cluster.requests(), [], "none of them was sent");
        assert_eq!(cluster.find(&a).await.unwrap(), None);
        clone.set_access(Access::Load);
        assert_eq!(cluster.find(&a).await.unwrap_err().kind, Kind::Refused);
        assert_eq!(cluster.requests().len(), 1);
        cluster.set_access(Access::ReadWrite);
        cluster.create(&maps, None, config_map("a", json!({}))).await.unwrap();
    });
}

#[test]
fn references_find_their_namespace() {
    run(async {
        let cluster = simulated(Options { namespace: Some("kube-system".to_owned()), ..Options::new(RunId::generate()) });
        for (text, option, shown, full) in [
            ("deploy/x", None, "deployment/x", "deployment/kube-system/x"),
            ("deploy/x", Some("shop"), "deployment/shop/x", "deployment/shop/x"),
            ("deploy/other/x", Some("shop"), "deployment/other/x", "deployment/other/x"),
            ("deploy/kube-system/x", None, "deployment/x", "deployment/kube-system/x"),
            ("node/n1", Some("shop"), "node/n1", "node/n1"),
            ("daemonset.apps/x", None, "daemonset/x", "daemonset/kube-system/x"),
        ] {
            let target = cluster.target(&ObjectRef::parse(text).unwrap(), option).await.unwrap();
            assert_eq!((target.to_string().as_str(), target.full_name().as_str()), (shown, full), "{text}");
        }
        let error = cluster.target(&ObjectRef::parse("node/shop/n1").unwrap(), None).await.unwrap_err();
        assert_eq!((error.kind, error.hint.as_deref()), (Kind::Input, Some("write `node/n1` without `shop`")));
    });
}

#[test]
fn unknown_and_unmodelled_kinds_differ() {
    run(async {
        let cluster = simulated(Options::new(RunId::generate()));
        let error = cluster.resolve("deploymet", None).await.unwrap_err();
        assert_eq!((error.kind, error.reason), (Kind::Input, Reason::Usage));
        assert_eq!(error.hint.as_deref(), Some("did you mean `deployment`?"));
        let asked = cluster.requests().len();
        assert!(asked > 0, "the server was asked");
        cluster.resolve("banana", None).await.unwrap_err();
        assert_eq!(cluster.requests().len(), asked, "and only once");
        let claim = target(&cluster, "pvc/x").await;
        let error = cluster.get(&claim).await.unwrap_err();
        assert_eq!(error.reason, Reason::Unmodelled);
        assert!(error.causes[0].starts_with("simulator: not modelled: "), "{error}");
    });
}

#[test]
fn a_plan_on_a_simulated_cluster_is_an_independent_copy() {
    run(async {
        let cluster = simulated(Options::new(RunId::generate()));
        let maps = resource(&cluster, "cm").await;
        cluster.create(&maps, None, config_map("a", json!({"k": "1"}))).await.unwrap();
        let plan = cluster.planning();
        assert!(plan.label().plan && plan.label().simulated);
        let a = target(&plan, "cm/a").await;
        plan.patch(&a, PatchType::Merge, json!({"data": {"k": "2"}}), None).await.unwrap();
        let twin = plan.planning();
        assert_eq!(twin.get(&a).await.unwrap()["data"]["k"], "2", "a plan of a plan starts from it");
        assert_eq!(cluster.get(&a).await.unwrap()["data"]["k"], "1");
        assert!(plan.requests().iter().all(|request| request.dry));
        assert!(cluster.requests().iter().all(|request| !request.dry));
    });
}
