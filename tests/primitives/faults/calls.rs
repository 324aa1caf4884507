//! The calls that are played, each with what it needs.

use std::sync::Arc;

use lockgate::base::{Object, Value};
use lockgate::primitives::Arg;
use lockgate_sim::Cluster as Sim;
use lockgate_sim::json::{Value as Json, json};
use lockgate_sim::request::Request;

use crate::primitives::support::{Rig, arg};

/// One call.
pub(super) struct Call {
    pub(super) verb: &'static str,
    pub(super) positional: Vec<Arg>,
    pub(super) options: Json,
}

/// A call and the cluster that it is played on.
pub(super) struct Case {
    pub(super) name: &'static str,
    /// The cluster before the call.
    pub(super) base: Box<dyn Fn() -> Sim>,
    /// How a copy of it is spoken to.
    pub(super) rig: fn(Sim) -> Rig,
    pub(super) call: Box<dyn Fn(&Rig) -> Call>,
}

impl Case {
    /// A call with plain arguments on this cluster.
    pub(super) fn on(name: &'static str, base: impl Fn() -> Sim + 'static, verb: &'static str, positional: Json, options: Json) -> Case {
        let call = move |_: &Rig| Call {
            verb,
            positional: positional.as_array().into_iter().flatten().cloned().map(arg).collect(),
            options: options.clone(),
        };
        Case { name, base: Box::new(base), rig: Rig::on, call: Box::new(call) }
    }

    /// The verb that it calls.
    pub(super) fn verb(&self) -> &'static str {
        (self.call)(&(self.rig)((self.base)())).verb
    }
}

/// A call with plain arguments on the fixture as it is.
fn plain(name: &'static str, verb: &'static str, positional: Json, options: Json) -> Case {
    given(name, |_| {}, verb, positional, options)
}

/// The same on a fixture to which something was done.
pub(super) fn given(name: &'static str, given: fn(&mut Sim), verb: &'static str, positional: Json, options: Json) -> Case {
    Case::on(name, move || Rig::with(given).sim(|sim| sim.fork()), verb, positional, options)
}

pub(super) fn reads() -> Vec<Case> {
    let web = json!(["deployment/web"]);
    vec![
        plain("get", "get", web.clone(), json!({})),
        plain("list", "list", json!(["pods"]), json!({ "labels": "app=web" })),
        plain("exists", "exists", web.clone(), json!({})),
        plain("images", "images", web.clone(), json!({})),
        plain("ready", "ready", web.clone(), json!({})),
        plain("why", "why", web.clone(), json!({})),
        plain("events", "events", web.clone(), json!({})),
        plain("rollout_history", "rollout_history", web, json!({})),
        plain("drain_plan", "drain_plan", json!(["w1"]), json!({ "pod_selector": "app=web" })),
    ]
}

pub(super) fn versions() -> Vec<Case> {
    vec![given("versions", installed_by_kubeadm, "versions", json!([]), json!({}))]
}

fn installed_by_kubeadm(sim: &mut Sim) {
    let config = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "kubeadm-config", "namespace": "kube-system" },
        "data": { "ClusterConfiguration": "kubernetesVersion: v1.36.4\n" },
    });
    assert_eq!(sim.handle(&Request::post("/api/v1/namespaces/kube-system/configmaps", &config)).status, 201);
}

pub(super) fn writes() -> Vec<Case> {
    let change = json!({ "data": { "mode": "slow" } });
    let operations = json!([{ "op": "replace", "path": "/data/mode", "value": "slow" }]);
    let images = json!({ "web": "registry.example/web:v2" });
    let container =
        json!({ "spec": { "template": { "spec": { "containers": [{ "name": "web", "image": "registry.example/web:v2" }] } } } });
    vec![
        plain("patch merge", "patch", json!(["configmap/settings", change]), json!({})),
        plain("patch json", "patch", json!(["configmap/settings", operations]), json!({ "type": "json" })),
        plain("patch strategic", "patch", json!(["deployment/web", container]), json!({ "type": "strategic" })),
        plain("set_image", "set_image", json!(["deployment/web", images]), json!({})),
        plain("scale", "scale", json!(["deployment/ports", 0]), json!({})),
        plain("scale and wait", "scale", json!(["deployment/ports", 0]), json!({ "wait": "gone", "timeout": "1h", "stall": "1h" })),
        update(),
    ]
}

pub(super) fn edits() -> Vec<Case> {
    let web = || json!(["deployment/web"]);
    vec![
        plain("label", "label", json!(["configmap/settings", { "tier": "front" }]), json!({})),
        plain("annotate", "annotate", json!(["configmap/settings", { "note": "x" }]), json!({})),
        plain("taint", "taint", json!(["w1", ["k=v:NoSchedule"]]), json!({})),
        plain("set_env", "set_env", json!(["deployment/web", { "A": "1" }]), json!({})),
        plain("rollout_restart", "rollout_restart", web(), json!({})),
        plain("rollout_pause", "rollout_pause", web(), json!({})),
        given("rollout_resume", pauses_web, "rollout_resume", web(), json!({})),
        given("rollout_undo", calls_for_v2, "rollout_undo", web(), json!({})),
    ]
}

pub(super) fn lives() -> Vec<Case> {
    let map = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "made" }, "data": { "a": "1" } });
    let hour = json!({ "timeout": "1h", "stall": "1h" });
    vec![
        plain("create", "create", json!([map]), json!({})),
        plain("apply new", "apply", json!([map]), json!({})),
        plain(
            "apply changed",
            "apply",
            json!([{ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "settings" }, "data": { "mode": "slow" } }]),
            json!({ "force_conflicts": true }),
        ),
        plain("delete", "delete", json!(["configmap/settings"]), json!({})),
        plain("replace_pod", "replace_pod", json!(["daemonset/agent"]), merge(hour, json!({ "node": "w1" }))),
    ]
}

pub(super) fn nodes() -> Vec<Case> {
    vec![
        plain("cordon", "cordon", json!(["w1"]), json!({})),
        given("uncordon", cordons_w1, "uncordon", json!(["w1"]), json!({ "foreign": true })),
    ]
}

pub(super) fn drains() -> Vec<Case> {
    let options = json!({ "pod_selector": "app=web", "timeout": "1h", "stall": "1h" });
    vec![plain("drain", "drain", json!(["w1"]), options)]
}

fn cordons_w1(sim: &mut Sim) {
    let body = json!({ "spec": { "unschedulable": true } });
    assert_eq!(sim.handle(&Request::patch("/api/v1/nodes/w1", "application/merge-patch+json", &body)).status, 200);
}

fn merge(mut one: Json, other: Json) -> Json {
    one.as_object_mut().unwrap().extend(other.as_object().unwrap().clone());
    one
}

fn pauses_web(sim: &mut Sim) {
    let path = "/apis/apps/v1/namespaces/default/deployments/web";
    let answer = sim.handle(&Request::patch(path, "application/merge-patch+json", &json!({ "spec": { "paused": true } })));
    assert_eq!(answer.status, 200);
}

/// An object that the script has read and changed in one place.
fn update() -> Case {
    let call = |rig: &Rig| {
        let Value::Object(object) = rig.call("get", json!(["configmap/settings"]), json!({})).unwrap().value else { panic!("no object") };
        let mut current = (*object.current).clone();
        current["data"]["mode"] = "slow".into();
        let changed = Object { current: Arc::new(current), original: object.original.clone(), unmodelled: false };
        Call { verb: "update", positional: vec![Arg::Value(Value::Object(changed))], options: json!({}) }
    };
    Case { name: "update", base: Box::new(|| Rig::new().sim(|sim| sim.fork())), rig: Rig::on, call: Box::new(call) }
}

pub(super) fn waits() -> Vec<Case> {
    let hour = json!({ "timeout": "1h", "stall": "1h" });
    vec![
        given("wait_rollout", calls_for_v2, "wait_rollout", json!(["deployment/web"]), hour.clone()),
        plain("wait_for", "wait_for", json!(["deployment/web", "Available"]), hour.clone()),
        plain("wait_gone", "wait_gone", json!(["configmap/none"]), hour),
    ]
}

/// A rollout is on its way.
fn calls_for_v2(sim: &mut Sim) {
    let path = "/apis/apps/v1/namespaces/default/deployments/web";
    let body = json!({ "spec": { "template": { "spec": { "containers": [{ "name": "web", "image": "registry.example/web:v2" }] } } } });
    let answer = sim.handle(&Request::patch(path, "application/strategic-merge-patch+json", &body));
    assert_eq!(answer.status, 200);
}
