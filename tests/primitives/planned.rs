//! Verbs in a plan on a live cluster: what they may know there, and what not.

use lockgate::base::Reason;
use lockgate_sim::json::json;
use lockgate_sim::request::Request;

use super::support::Rig;

#[test]
fn a_plan_of_apply_sees_the_owners_that_the_live_cluster_has() {
    let object = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "a" }, "data": { "x": "1", "old": "yes" } });
    let rig = Rig::planning(|sim| {
        let mut applied = object.clone();
        applied["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"] = format!("{object}\n").into();
        let mut edited = object.clone();
        edited["metadata"]["name"] = "b".into();
        for (object, manager) in [(applied, "kubectl-client-side-apply"), (edited, "kubectl-edit")] {
            let request = Request::post("/api/v1/namespaces/default/configmaps", &object).with_query("fieldManager", manager);
            assert_eq!(sim.handle(&request).status, 201);
        }
    });
    let wanted = |name: &str| json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": { "x": "2" } });
    let done = rig.call("apply", json!([wanted("a")]), json!({})).unwrap();
    assert_eq!(done.wrote.len(), 1);
    assert_eq!(rig.object("configmap/a")["data"], json!({ "x": "2" }), "what kubectl applied is ours now");
    let error = rig.error("apply", json!([wanted("b")]), json!({}));
    assert_eq!(error.reason, Reason::Conflict);
    assert_eq!(error.message, r#"applying `configmap/b`: `data.x` belongs to `kubectl-edit`, which has it at "1" and not at "2""#);
}

#[test]
fn a_plan_runs_no_command_on_a_live_cluster_and_makes_up_no_log() {
    let rig = Rig::planning(|_| {});
    let pod = format!("pod/{}", rig.pods_of("web")[0]["metadata"]["name"].as_str().unwrap());
    for options in [json!({}), json!({ "read": true })] {
        let error = rig.error("exec", json!([pod, ["id"]]), options);
        assert_eq!(error.reason, Reason::Unmodelled, "{error}");
    }
    rig.call("set_image", json!(["deployment/web", { "web": "registry.example/web:v2" }]), json!({})).unwrap();
    rig.call("wait_rollout", json!(["deployment/web"]), json!({})).unwrap();
    let error = rig.error("logs", json!(["deployment/web"]), json!({}));
    assert_eq!(error.reason, Reason::Unmodelled, "these pods are the plan's own: {error}");
}

#[test]
fn a_plan_pretends_what_people_do_and_assumes_it() {
    let rig = Rig::planning(|_| {});
    assert_eq!(rig.value("manual", json!(["Replace the disk."]), json!({})), json!({ "changed": true }));
    assert_eq!(rig.operator.asked.borrow().len(), 1);
    let numbers = |rig: &Rig| [1, 2, 3].map(|_| rig.value("random", json!([1_000_000]), json!({})));
    assert_eq!(numbers(&rig), numbers(&Rig::planning(|_| {})), "of one seed");
    assert!(rig.value("random", json!([1]), json!({})) == 1);
}
