//! scale.

use std::collections::BTreeMap;

use lockgate::base::{Kind, Reason, Span};
use lockgate_sim::json::json;
use lockgate_sim::model::PodMatch;

use super::support::{Rig, changes};

#[test]
fn to_zero_and_back_is_one_write_each_and_undone_by_the_other() {
    let rig = Rig::new();
    let done = rig.call("scale", json!(["deployment/ports", 0]), json!({})).unwrap();
    assert_eq!(done.value.clone().into_json(), json!({ "changed": true, "previous": 2, "replicas": 0 }));
    assert_eq!(changes(&done), ["spec.replicas 2 -> 0"]);
    assert_eq!(rig.writes(), 1);
    let stamp = rig.object("deployment/ports")["metadata"]["annotations"]["lockgate.dev/op"].clone();
    assert!(stamp.as_str().is_some_and(|stamp| stamp.ends_with("/1/1")), "{stamp}");
    rig.undo(&done);
    assert_eq!(rig.object("deployment/ports")["spec"]["replicas"], 2);
}

#[test]
fn gone_means_no_pod_is_left_terminating_ones_included() {
    let rig = Rig::new();
    let before = rig.cluster.clock().now();
    rig.call("scale", json!(["deployment/ports", 0]), json!({ "wait": "gone" })).unwrap();
    assert_eq!(rig.pods_of("ports").len(), 0);
    assert!(Span::between(before, rig.cluster.clock().now()) >= Span::from_secs(2), "the pods take 2 s to stop");
    let states = rig.operator.states.borrow().clone();
    assert!(states.iter().any(|state| state == "surplus pods of deployment/ports: 2 pods terminating"), "{states:?}");
    assert!(states.last().unwrap().starts_with("surplus pods of deployment/ports: gone after "), "{states:?}");
}

#[test]
fn without_waiting_pods_are_still_there() {
    let rig = Rig::new();
    rig.call("scale", json!(["deployment/ports", 0]), json!({})).unwrap();
    assert_eq!(rig.pods_of("ports").len(), 2, "they terminate");
    // Asked again the number is right already, but the pods are waited for all the same.
    let again = rig.call("scale", json!(["deployment/ports", 0]), json!({ "wait": "gone" })).unwrap();
    assert_eq!((again.wrote, rig.writes()), (vec![], 1));
    assert_eq!(rig.pods_of("ports").len(), 0);
}

#[test]
fn to_fewer_leaves_that_many() {
    let rig = Rig::new();
    rig.call("scale", json!(["deployment/ports", 1]), json!({ "wait": "gone" })).unwrap();
    assert_eq!(rig.pods_of("ports").len(), 1);
}

#[test]
fn the_same_number_sends_nothing() {
    let rig = Rig::new();
    rig.read_only();
    let value = rig.value("scale", json!(["deployment/ports", 2]), json!({}));
    assert_eq!(value, json!({ "changed": false, "previous": 2, "replicas": 2 }));
    assert_eq!(rig.writes(), 0);
}

#[test]
fn what_an_autoscaler_scales_is_refused_unless_forced() {
    let rig = Rig::new();
    let error = rig.error("scale", json!(["deployment/web", 0]), json!({}));
    assert_eq!((error.kind, error.reason, rig.writes()), (Kind::Refused, Reason::Refused, 0));
    assert_eq!(error.message, "scaling `deployment/web`: `horizontalpodautoscaler/web` scales it too, and would scale it back");
    let done = rig.call("scale", json!(["deployment/web", 0]), json!({ "force_hpa": true })).unwrap();
    rig.undo(&done);
    assert_eq!(rig.object("deployment/web")["spec"]["replicas"], 2);
}

#[test]
fn daemonsets_and_others_cannot_be_scaled() {
    let rig = Rig::new();
    for reference in ["daemonset/agent", "configmap/settings"] {
        let error = rig.error("scale", json!([reference, 1]), json!({}));
        assert_eq!((error.kind, error.reason), (Kind::Input, Reason::Unsupported), "{reference}");
    }
    assert_eq!(rig.error("scale", json!(["deployment/web", -1]), json!({})).reason, Reason::Usage);
    assert_eq!(rig.error("scale", json!(["deployment/web", 1]), json!({ "wait": "gnoe" })).reason, Reason::Usage);
}

#[test]
fn a_pod_that_never_ends_stalls_after_its_grace_period_and_the_write_is_told() {
    let rig = Rig::with(|sim| {
        let labels = BTreeMap::from([("app".to_owned(), "ports".to_owned())]);
        sim.models_mut().stuck_terminating(PodMatch { labels, node: Some("m2".into()), ..PodMatch::default() });
    });
    let start = rig.cluster.clock().now();
    let error = rig.error("scale", json!(["deployment/ports", 0]), json!({ "wait": "gone", "stall": "1m" }));
    assert_eq!((error.kind, error.reason), (Kind::Stuck, Reason::Stalled), "{error}");
    assert_eq!(error.message, "scaling `deployment/ports` to 0 made no progress for 1m: 1 pod terminating on `m2`");
    assert_eq!(rig.operator.told.borrow()[0].changes[0].path, "spec.replicas", "whatever became of the wait");
    let took = Span::between(start, rig.cluster.clock().now());
    assert_eq!(took, Span::from_secs(80), "20 s of grace, then a minute");
}

#[test]
fn a_number_that_somebody_else_sets_meanwhile_is_a_conflict() {
    let rig = Rig::new();
    let call = rig.calling(
        "scale",
        vec![super::support::arg(json!("deployment/ports")), super::support::arg(json!(0))],
        &json!({ "wait": "gone" }),
    );
    let other = rig.cluster.clock().join();
    let cluster = rig.cluster.clone();
    let error = rig.run(async move {
        let meddler = async {
            other.sleep(Span::from_secs(1)).await.unwrap();
            let target = cluster.target(&lockgate::base::ObjectRef::new("deployment", "ports"), None).await.unwrap();
            cluster.patch(&target, lockgate::cluster::PatchType::Merge, json!({ "spec": { "replicas": 1 } }), None).await.unwrap();
            drop(other);
        };
        futures::join!(call, meddler).0.unwrap_err()
    });
    assert_eq!(error.reason, Reason::Conflict);
    assert_eq!(error.message, "scaling `deployment/ports`: somebody set it to 1 replicas meanwhile");
}
