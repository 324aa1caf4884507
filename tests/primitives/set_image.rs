//! set_image.

use lockgate::base::{Kind, Reason};
use lockgate::cluster::Verb;
use lockgate_sim::faults::{Action, Match, Rule};
use lockgate_sim::json::json;

use super::support::{Rig, changes};

const NEW: &str = "registry.example/agent:v1.0.1";
const OLD: &str = "registry.example/agent:v1.0.0";

#[test]
fn two_containers_are_one_patch_and_one_generation() {
    let rig = Rig::new();
    let before = rig.object("daemonset/agent");
    let done = rig.call("set_image", json!(["daemonset/agent", { "agent": NEW, "setup": NEW }]), json!({})).unwrap();
    let value = done.value.clone().into_json();
    assert_eq!(rig.writes(), 1);
    assert_eq!(value["changed"], true);
    assert_eq!(value["previous"], json!({ "agent": OLD, "setup": OLD }));
    assert_eq!(value["images"], json!({ "agent": NEW, "setup": NEW }));
    assert_eq!(value["generation"].as_i64(), before["metadata"]["generation"].as_i64().map(|number| number + 1));
    assert_eq!(value["revision_before"], 1);
    assert_eq!(
        changes(&done),
        [
            "spec.template.spec.containers[name=agent].image v1.0.0 -> v1.0.1",
            "spec.template.spec.initContainers[name=setup].image v1.0.0 -> v1.0.1"
        ]
    );
    let after = rig.object("daemonset/agent");
    assert_eq!(after["spec"]["template"]["spec"]["initContainers"][0]["image"], NEW);
    let managers: Vec<&str> =
        after["metadata"]["managedFields"].as_array().into_iter().flatten().filter_map(|entry| entry["manager"].as_str()).collect();
    assert!(managers.is_empty() || managers.contains(&"lockgate"), "{managers:?}");
}

#[test]
fn it_is_taken_back_by_its_inverse() {
    let rig = Rig::new();
    let before = rig.object("daemonset/agent")["spec"].clone();
    let done = rig.call("set_image", json!(["daemonset/agent", { "setup": NEW }]), json!({})).unwrap();
    let undone = rig.undo(&done);
    assert_eq!(changes(&undone), ["spec.template.spec.initContainers[name=setup].image v1.0.1 -> v1.0.0"]);
    assert_eq!(rig.object("daemonset/agent")["spec"], before);
}

#[test]
fn the_same_image_again_sends_nothing() {
    let rig = Rig::new();
    rig.read_only();
    let done =
        rig.call("set_image", json!(["daemonset/agent", { "agent": OLD, "setup": OLD }]), json!({ "change_cause": "again" })).unwrap();
    let value = done.value.into_json();
    assert_eq!((value["changed"].clone(), value["previous"].clone()), (json!(false), value["images"].clone()));
    assert_eq!((done.wrote, rig.writes()), (vec![], 0));
}

#[test]
fn an_unknown_container_stops_everything() {
    let rig = Rig::new();
    let error = rig.error("set_image", json!(["daemonset/agent", { "agent": NEW, "setpu": NEW }]), json!({}));
    assert_eq!((error.kind, error.reason), (Kind::Cluster, Reason::NotFound));
    assert_eq!(error.message, "setting images of `daemonset/agent`: it has no container `setpu`");
    assert_eq!(error.hint.as_deref(), Some("did you mean `setup`? it has `agent` and `setup`; nothing was sent"));
    assert_eq!(rig.writes(), 0);
    assert_eq!(rig.object("daemonset/agent")["metadata"]["generation"], 1);
}

#[test]
fn what_is_expected_is_a_precondition() {
    let rig = Rig::new();
    let expect = json!({ "expect": { "agent": "registry.example/agent:v0.9.0" } });
    let error = rig.error("set_image", json!(["daemonset/agent", { "agent": NEW }]), expect);
    assert_eq!(error.reason, Reason::Precondition);
    assert_eq!(
        error.message,
        format!("setting images of `daemonset/agent`: container `agent` has image `{OLD}`, not `registry.example/agent:v0.9.0`")
    );
    assert_eq!(rig.writes(), 0);
    rig.call("set_image", json!(["daemonset/agent", { "agent": NEW }]), json!({ "expect": { "agent": OLD } })).unwrap();
    assert_eq!(rig.writes(), 1);
}

#[test]
fn a_conflict_is_looked_at_again_and_one_that_stays_is_an_error() {
    let conflict = |nth| Rule { when: Match { verb: Some("patch".into()), nth, ..Match::default() }, action: Action::Conflict };
    for options in [json!({}), json!({ "expect": { "agent": OLD } })] {
        let rig = Rig::with(|sim| sim.add_fault(conflict(Some(1))));
        rig.call("set_image", json!(["daemonset/agent", { "agent": NEW }]), options).unwrap();
        assert_eq!(rig.requests(Verb::Patch, "daemonsets.apps"), 2);
    }
    let rig = Rig::with(|sim| sim.add_fault(conflict(None)));
    let error = rig.error("set_image", json!(["daemonset/agent", { "agent": NEW }]), json!({}));
    assert_eq!(error.reason, Reason::Conflict);
}

/// A webhook that puts the image back within the same request: the rollout of the former image may not pass for one of the new.
#[test]
fn an_image_that_the_server_does_not_keep_is_an_error() {
    let put_back = json!({ "spec": { "template": { "spec": { "containers": [{ "name": "agent", "image": OLD }] } } } });
    let when = Match { verb: Some("patch".into()), ..Match::default() };
    let rig = Rig::with(|sim| sim.add_fault(Rule { when, action: Action::Admit(put_back) }));
    let error = rig.error("set_image", json!(["daemonset/agent", { "agent": NEW }]), json!({}));
    assert_eq!((error.kind, error.reason), (Kind::Cluster, Reason::Conflict));
    assert_eq!(
        error.message,
        format!("setting images of `daemonset/agent`: the server stored the former image {OLD} for container `agent`")
    );
}

#[test]
fn the_change_cause_is_in_the_history() {
    let rig = Rig::new();
    rig.call("set_image", json!(["deployment/web", { "web": "registry.example/web:v2" }]), json!({ "change_cause": "why not" })).unwrap();
    let history = rig.value("rollout_history", json!(["deployment/web"]), json!({}));
    assert_eq!(history[1]["change_cause"], "why not");
    assert_eq!(rig.writes(), 1, "in the same request");
}

#[test]
fn revision_before_is_the_one_to_go_back_to() {
    let rig = Rig::new();
    for (image, before) in [("registry.example/web:v2", 1), ("registry.example/web:v3", 2)] {
        assert_eq!(rig.value("set_image", json!(["deployment/web", { "web": image }]), json!({}))["revision_before"], before);
    }
}

#[test]
fn pods_have_images_too_and_services_have_none() {
    let rig = Rig::new();
    let pods = rig.value("list", json!(["pods"]), json!({ "labels": "app=web" }));
    let pod = format!("pod/{}", pods[0]["metadata"]["name"].as_str().unwrap());
    rig.call("set_image", json!([pod, { "web": "registry.example/web:v2" }]), json!({})).unwrap();
    assert_eq!(rig.object(&pod)["spec"]["containers"][0]["image"], "registry.example/web:v2");
    let pod = json!({ "spec": { "containers": [{ "name": "c", "image": "registry.example/c:v1" }], "restartPolicy": "Never" } });
    let nightly = json!({
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": { "name": "nightly" },
        "spec": { "schedule": "0 3 * * *", "jobTemplate": { "spec": { "template": pod } } },
    });
    rig.call("create", json!([nightly]), json!({})).unwrap();
    rig.call("set_image", json!(["cronjob/nightly", { "c": "registry.example/c:v2" }]), json!({})).unwrap();
    let template = rig.object("cronjob/nightly")["spec"]["jobTemplate"]["spec"]["template"].clone();
    assert_eq!(template["spec"]["containers"][0]["image"], "registry.example/c:v2");
    let error = rig.error("set_image", json!(["service/web", { "web": "a:b" }]), json!({}));
    assert_eq!((error.kind, error.reason), (Kind::Input, Reason::Unsupported));
    let bad = rig.error("set_image", json!(["deployment/web", { "web": "Bad Image" }]), json!({}));
    assert!(bad.message.contains("`set_image`: argument `images` has a wrong entry `web`"), "{bad}");
    let none = rig.error("set_image", json!(["deployment/web", {}]), json!({}));
    assert_eq!(none.reason, Reason::Usage);
}
