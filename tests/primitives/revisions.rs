//! rollout_history and rollout_undo.

use lockgate::base::{Kind, Reason, Span};
use lockgate::cluster::Verb;
use lockgate::primitives::{Done, Inverse};
use lockgate_sim::faults::{Action, Match, Rule};
use lockgate_sim::json::{Value as Json, json};
use lockgate_sim::request::Request;

use super::support::{Rig, arg, changes};

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

/// kubectl goes back one too far here: the newest revision that the controller has written down is the one before the change.
#[test]
fn undo_right_after_a_change_waits_for_its_revision_and_goes_back_by_that_one() {
    let rig = three();
    rig.sim(|sim| sim.stop_controller("deployment-controller"));
    let images = json!({ "web": format!("{WEB}:v4") });
    rig.call("set_image", json!(["deployment/web", images]), json!({})).unwrap();
    let error = rig.error("rollout_undo", json!(["deployment/web"]), json!({}));
    assert_eq!((error.kind, rig.requests(Verb::Patch, "deployments.apps")), (Kind::Stuck, 3), "nothing was undone: {error}");
    assert!(error.message.ends_with("its controller has not seen the latest change for 1m"), "{error}");

    let call = rig.calling("rollout_undo", vec![arg(json!("deployment/web"))], &json!({}));
    let other = rig.cluster.clock().join();
    let start = rig.cluster.clock().now();
    let done = rig.run(async {
        let controller = async {
            other.sleep(Span::from_secs(20)).await.unwrap();
            rig.sim(|sim| sim.start_controller("deployment-controller"));
            drop(other);
        };
        futures::join!(call, controller).0.unwrap()
    });
    assert!(Span::between(start, rig.cluster.clock().now()) >= Span::from_secs(20));
    let value = done.value.clone().into_json();
    assert_eq!((&value["from"], &value["to"]), (&json!(4), &json!(3)), "{value}");
    assert_eq!(rig.object("deployment/web")["spec"]["template"]["spec"]["containers"][0]["image"], format!("{WEB}:v3"));
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

#[test]
fn what_another_object_controls_is_refused() {
    let rig = three();
    let owner =
        json!({ "apiVersion": "operator.tigera.io/v1", "kind": "Installation", "name": "default", "uid": "0-1", "controller": true });
    rig.call("patch", json!(["deployment/web", { "metadata": { "ownerReferences": [owner] } }]), json!({})).unwrap();
    let writes = rig.writes();
    let error = rig.error("rollout_undo", json!(["deployment/web"]), json!({ "to": 1 }));
    assert_eq!((error.kind, error.reason), (Kind::Refused, Reason::Refused));
    let owner = "installation.operator.tigera.io/default";
    assert_eq!(
        error.message,
        format!("undoing the rollout of `deployment/web`: it belongs to `{owner}`, which would put its own template back")
    );
    assert!(error.hint.as_deref().is_some_and(|hint| hint.starts_with("undo it there") && hint.contains(owner)), "{error:?}");
    assert_eq!(rig.writes(), writes, "nothing is sent");
}

const STORE: &str = "registry.example/store";

/// A StatefulSet of three pods that is stuck at the last of them: the image of its second revision cannot be pulled.
fn stuck(more: &Json) -> Rig {
    let rig = Rig::with(|sim| sim.models_mut().never_pulls("*:broken"));
    let template = json!({
        "metadata": { "labels": { "app": "store" } },
        "spec": { "containers": [{ "name": "store", "image": format!("{STORE}:v1") }] },
    });
    let mut spec =
        json!({ "replicas": 3, "serviceName": "store", "selector": { "matchLabels": { "app": "store" } }, "template": template });
    spec.merge(more);
    let store = json!({ "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": { "name": "store" }, "spec": spec });
    rig.call("create", json!([store]), json!({})).unwrap();
    rig.call("wait_rollout", json!(["statefulset/store"]), json!({})).unwrap();
    rig.call("set_image", json!(["statefulset/store", { "store": format!("{STORE}:broken") }]), json!({})).unwrap();
    rig.error("wait_rollout", json!(["statefulset/store"]), json!({ "stall": "2m" }));
    rig
}

fn uids(rig: &Rig) -> Vec<Json> {
    ["store-0", "store-1", "store-2"].map(|name| rig.object(&format!("pod/{name}"))["metadata"]["uid"].clone()).to_vec()
}

/// All pods are ready, and of the revision that is wanted.
fn is_back(rig: &Rig) {
    rig.call("wait_rollout", json!(["statefulset/store"]), json!({})).unwrap();
    let set = rig.object("statefulset/store");
    let pods = rig.pods_of("store");
    assert_eq!(pods.len(), 3);
    for pod in pods {
        assert_eq!(pod["metadata"]["labels"]["controller-revision-hash"], set["status"]["updateRevision"]);
        let name = pod["metadata"]["name"].as_str().unwrap();
        assert_eq!(rig.value("ready", json!([format!("pod/{name}")]), json!({}))["status"], "Current");
    }
    assert_eq!(rig.images_of("store"), ["registry.example/store:v1"; 3]);
}

fn told_writes(done: &Done) -> Vec<(&str, &str)> {
    done.wrote.iter().map(|wrote| (wrote.verb.as_str(), wrote.target.as_str())).collect()
}

#[test]
fn a_statefulset_that_is_stuck_comes_back() {
    let rig = stuck(&json!({}));
    let before = uids(&rig);
    let done = rig.call("rollout_undo", json!(["statefulset/store"]), json!({})).unwrap();
    assert_eq!(told_writes(&done), [("patch", "statefulset/store"), ("delete", "pod/store-2")]);
    assert!(matches!(done.wrote[1].inverse, Inverse::Irreversible(_)));
    assert!(rig.operator.told.borrow().ends_with(&done.wrote), "each is told when it is made");
    assert_eq!(rig.requests(Verb::Delete, "pods"), 1);
    is_back(&rig);
    let after = uids(&rig);
    assert_eq!((&before[..2], before[2] == after[2]), (&after[..2], false), "the others are left alone");
}

#[test]
fn what_was_undone_by_others_is_freed_too() {
    let rig = stuck(&json!({}));
    let path = "/apis/apps/v1/namespaces/default/statefulsets/store";
    let body = json!({ "spec": { "template": { "spec": { "containers": [{ "name": "store", "image": format!("{STORE}:v1") }] } } } });
    let request = Request::patch(path, "application/strategic-merge-patch+json", &body);
    assert_eq!(rig.sim(|sim| sim.handle(&request)).status, 200);
    let to = json!({ "to": { "store": format!("{STORE}:v1") } });
    let done = rig.call("rollout_undo", json!(["statefulset/store"]), to.clone()).unwrap();
    assert_eq!(told_writes(&done), [("delete", "pod/store-2")]);
    is_back(&rig);
    let done = rig.call("rollout_undo", json!(["statefulset/store"]), to).unwrap();
    assert_eq!((&done.value.into_json()["changed"], done.wrote), (&json!(false), vec![]));
}

#[test]
fn pods_that_are_replaced_otherwise_are_not_deleted() {
    let on_delete = json!({ "updateStrategy": { "type": "OnDelete", "rollingUpdate": null } });
    for more in [json!({ "podManagementPolicy": "Parallel" }), json!({})] {
        let rig = stuck(&more);
        if more == json!({}) {
            rig.call("patch", json!(["statefulset/store", { "spec": on_delete.clone() }]), json!({})).unwrap();
        }
        rig.call("rollout_undo", json!(["statefulset/store"]), json!({})).unwrap();
        assert_eq!(rig.requests(Verb::Delete, "pods"), 0, "{more}");
    }
}

#[test]
fn a_pod_is_left_to_people_while_the_controller_sleeps() {
    let rig = stuck(&json!({}));
    rig.sim(|sim| sim.stop_controller("statefulset-controller"));
    let done = rig.call("rollout_undo", json!(["statefulset/store"]), json!({})).unwrap();
    assert_eq!(told_writes(&done), [("patch", "statefulset/store")]);
    assert_eq!(rig.requests(Verb::Delete, "pods"), 0, "it would come again as it is");
    let notes = rig.operator.notes.borrow();
    let note = notes.last().map(String::as_str).unwrap_or_default();
    assert!(note.starts_with("pod/store-2 is not ready") && note.contains("`delete` it"), "{note}");
}
