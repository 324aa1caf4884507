//! rollout_history and rollout_undo.

use lockgate::base::{Kind, Reason};
use lockgate_sim::faults::{Action, Match, Rule};
use lockgate_sim::json::{Value as Json, json};

use super::support::{Rig, changes};

const WEB: &str = "registry.example/web";

/// A web at v3, having been at v1.0.0 and v2.
fn three() -> Rig {
    let rig = Rig::new();
    for version in ["v2", "v3"] {
        rig.call("set_image", json!(["deployment/web", { "web": format!("{WEB}:{version}") }]), json!({})).unwrap();
        rig.call("wait_rollout", json!(["deployment/web"]), json!({})).unwrap();
    }
    rig
}

fn told(history: &Json) -> Vec<(i64, String, bool)> {
    let row = |row: &Json| {
        let image = row["images"]["web"].as_str().or(row["images"]["agent"].as_str()).unwrap().to_owned();
        (row["revision"].as_i64().unwrap(), image, row["current"].as_bool().unwrap())
    };
    history.as_array().unwrap().iter().map(row).collect()
}

fn history(rig: &Rig, workload: &str) -> Vec<(i64, String, bool)> {
    told(&rig.value("rollout_history", json!([workload]), json!({})))
}

#[test]
fn history_is_oldest_first_and_knows_the_current_one() {
    let rig = three();
    rig.read_only();
    let expected = [(1, format!("{WEB}:v1.0.0"), false), (2, format!("{WEB}:v2"), false), (3, format!("{WEB}:v3"), true)];
    assert_eq!(history(&rig, "deployment/web"), expected);
    assert_eq!(history(&rig, "daemonset/agent"), [(1, "registry.example/agent:v1.0.0".to_owned(), true)]);
    assert_eq!(rig.error("rollout_history", json!(["pod/x"]), json!({})).reason, Reason::Unsupported);
}

#[test]
fn undo_goes_to_the_newest_that_differs_and_renumbers() {
    let rig = three();
    let annotations = |rig: &Rig| rig.object("deployment/web")["metadata"]["annotations"].as_object().unwrap().len();
    let before = annotations(&rig);
    let done = rig.call("rollout_undo", json!(["deployment/web"]), json!({})).unwrap();
    let value = done.value.clone().into_json();
    assert_eq!((&value["changed"], &value["from"], &value["to"]), (&json!(true), &json!(3), &json!(2)));
    assert_eq!(value["images"]["web"], format!("{WEB}:v2"));
    assert_eq!(changes(&done), ["spec.template.spec.containers[name=web].image v3 -> v2"]);
    rig.call("wait_rollout", json!(["deployment/web"]), json!({})).unwrap();
    let expected = [(1, format!("{WEB}:v1.0.0"), false), (3, format!("{WEB}:v3"), false), (4, format!("{WEB}:v2"), true)];
    assert_eq!(history(&rig, "deployment/web"), expected);
    assert!(annotations(&rig) >= before, "annotations are kept");
    rig.undo(&done);
    rig.call("wait_rollout", json!(["deployment/web"]), json!({})).unwrap();
    assert_eq!(rig.images_of("web"), [format!("{WEB}:v3"), format!("{WEB}:v3")]);
}

#[test]
fn undo_goes_to_a_number_or_to_images() {
    let rig = three();
    assert_eq!(rig.value("rollout_undo", json!(["deployment/web"]), json!({ "to": 1 }))["to"], 1);
    assert_eq!(rig.object("deployment/web")["spec"]["template"]["spec"]["containers"][0]["image"], format!("{WEB}:v1.0.0"));
    let to = json!({ "to": { "web": format!("{WEB}:v2") } });
    assert_eq!(rig.value("rollout_undo", json!(["deployment/web"]), to)["to"], 2);
    let missing = rig.error("rollout_undo", json!(["deployment/web"]), json!({ "to": 77 }));
    assert_eq!((missing.kind, missing.reason), (Kind::Cluster, Reason::NotFound));
    assert_eq!(missing.message, "undoing the rollout of `deployment/web`: there is no revision 77");
    assert!(missing.hint.as_deref().is_some_and(|hint| hint.starts_with("its revisions are `3`")), "{missing:?}");
    let images = rig.error("rollout_undo", json!(["deployment/web"]), json!({ "to": { "web": "x:y" } }));
    assert_eq!(images.reason, Reason::NotFound);
    assert_eq!(rig.error("rollout_undo", json!(["deployment/web"]), json!({ "to": {} })).reason, Reason::Usage);
}

#[test]
fn a_revision_that_the_history_limit_took_away_is_not_there_any_more() {
    let rig = Rig::new();
    rig.call("patch", json!(["deployment/web", { "spec": { "revisionHistoryLimit": 1 } }]), json!({})).unwrap();
    for version in ["v2", "v3"] {
        rig.call("set_image", json!(["deployment/web", { "web": format!("{WEB}:{version}") }]), json!({})).unwrap();
        rig.call("wait_rollout", json!(["deployment/web"]), json!({})).unwrap();
    }
    // The controller cleans up after the rollout.
    rig.call("wait_rollout", json!(["deployment/web"]), json!({ "stable": "1m" })).unwrap();
    let writes = rig.writes();
    for (to, what) in [(json!(1), "there is no revision 1"), (json!({ "web": format!("{WEB}:v1.0.0") }), "no revision has these images")] {
        let error = rig.error("rollout_undo", json!(["deployment/web"]), json!({ "to": to }));
        assert_eq!((error.kind, error.reason), (Kind::Cluster, Reason::NotFound));
        assert_eq!(error.message, format!("undoing the rollout of `deployment/web`: {what}"));
        assert_eq!(error.hint.as_deref(), Some("its revisions are `2` and `3`"));
    }
    assert_eq!(rig.writes(), writes);
}

#[test]
fn undo_to_what_is_asked_for_already_sends_nothing() {
    let rig = three();
    rig.read_only();
    let writes = rig.writes();
    let done = rig.call("rollout_undo", json!(["deployment/web"]), json!({ "to": 3 })).unwrap();
    assert_eq!(done.value.into_json()["changed"], false);
    assert_eq!((done.wrote, rig.writes()), (vec![], writes));
}

#[test]
fn undo_of_the_only_revision_says_so() {
    let rig = Rig::new();
    let error = rig.error("rollout_undo", json!(["deployment/web"]), json!({}));
    assert_eq!(
        (error.reason, error.message.as_str()),
        (Reason::NotFound, "undoing the rollout of `deployment/web`: there is no earlier revision")
    );
}

#[test]
fn a_daemonset_goes_back_with_all_its_containers() {
    let rig = Rig::new();
    let spec = rig.object("daemonset/agent")["spec"]["template"].clone();
    let image = "registry.example/agent:v2";
    rig.call("set_image", json!(["daemonset/agent", { "agent": image, "setup": image }]), json!({})).unwrap();
    rig.call("rollout_undo", json!(["daemonset/agent"]), json!({})).unwrap();
    assert_eq!(rig.object("daemonset/agent")["spec"]["template"], spec);
    rig.call("wait_rollout", json!(["daemonset/agent"]), json!({})).unwrap();
    let expected = [(2, image.to_owned(), false), (3, "registry.example/agent:v1.0.0".to_owned(), true)];
    assert_eq!(history(&rig, "daemonset/agent"), expected);
}

#[test]
fn paused_and_helm_managed_workloads_are_refused() {
    let rig = three();
    rig.call("patch", json!(["deployment/web", { "spec": { "paused": true } }]), json!({})).unwrap();
    assert_eq!(rig.error("rollout_undo", json!(["deployment/web"]), json!({})).reason, Reason::Paused);
    rig.call(
        "patch",
        json!(["deployment/web", { "spec": { "paused": null }, "metadata": { "annotations": { "meta.helm.sh/release-name": "shop" } } }]),
        json!({}),
    )
    .unwrap();
    let error = rig.error("rollout_undo", json!(["deployment/web"]), json!({}));
    assert_eq!((error.kind, error.reason), (Kind::Refused, Reason::Refused));
    assert!(error.message.contains("Helm release `shop`"), "{error}");
}

#[test]
fn a_conflict_is_planned_anew() {
    let rig = three();
    rig.sim(|sim| {
        let when = Match { verb: Some("patch".into()), nth: Some(1), ..Match::default() };
        sim.add_fault(Rule { when, action: Action::Conflict });
    });
    assert_eq!(rig.value("rollout_undo", json!(["deployment/web"]), json!({}))["to"], 2);
}

#[test]
fn what_kubectl_apply_remembers_is_pointed_out() {
    let rig = three();
    let annotation = json!({ "metadata": { "annotations": { "kubectl.kubernetes.io/last-applied-configuration": "{}" } } });
    rig.call("patch", json!(["deployment/web", annotation]), json!({})).unwrap();
    rig.call("rollout_undo", json!(["deployment/web"]), json!({})).unwrap();
    assert!(rig.operator.notes.borrow()[0].contains("kubectl apply"));
}
