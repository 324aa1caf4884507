//! wait_for and wait_gone.

use std::cell::RefCell;
use std::rc::Rc;

use lockgate::base::{Error, Kind, ObjectRef, Reason, Result, Span, Value};
use lockgate::cluster::Cluster;
use lockgate::primitives::{Arg, Callback};
use lockgate_sim::Request;
use lockgate_sim::json::{Value as Json, json};

use super::support::{Rig, arg};

/// A script's function.
struct Function<F>(F);

impl<F: Fn(Option<Json>) -> Result<Vec<Value>>> Callback for Function<F> {
    fn call(&self, mut arguments: Vec<Value>) -> Result<Vec<Value>> {
        let object = match arguments.remove(0) {
            Value::Nil => None,
            other => Some(other.into_json()),
        };
        (self.0)(object)
    }
}

fn function(body: impl Fn(Option<Json>) -> Result<Vec<Value>> + 'static) -> Arg {
    Arg::Function(Rc::new(Function(body)))
}

/// Runs a call while something else happens five seconds later.
fn meanwhile<F: Future<Output = ()>>(
    rig: &Rig,
    verb: &str,
    positional: Vec<Arg>,
    options: Json,
    then: impl FnOnce(Cluster) -> F,
) -> Result<lockgate::primitives::Done> {
    let call = rig.calling(verb, positional, &options);
    let (other, cluster) = (rig.cluster.clock().join(), rig.cluster.clone());
    rig.run(async move {
        let something = async {
            other.sleep(Span::from_secs(5)).await.unwrap();
            then(cluster).await;
            drop(other);
        };
        futures::join!(call, something).0
    })
}

async fn delete(cluster: Cluster, reference: &str) {
    let target = cluster.target(&ObjectRef::parse(reference).unwrap(), None).await.unwrap();
    cluster.delete(&target, json!({})).await.unwrap();
}

async fn create_map(cluster: Cluster) {
    let kind = cluster.resolve("configmaps", None).await.unwrap();
    let map = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "new" }, "data": { "ready": "yes" } });
    cluster.create(&kind, None, map).await.unwrap();
}

#[test]
fn a_condition_that_holds_needs_no_time() {
    let rig = Rig::new();
    rig.read_only();
    let start = rig.cluster.clock().now();
    let object = rig.value("wait_for", json!(["deployment/web", "available"]), json!({ "timeout": 0 }));
    assert_eq!(object["metadata"]["name"], "web");
    assert_eq!(rig.cluster.clock().now(), start);
}

#[test]
fn a_condition_that_never_comes_stalls_and_says_what_there_is() {
    let rig = Rig::new();
    let error = rig.error("wait_for", json!(["deployment/web", "Ready"]), json!({ "stall": "20s" }));
    assert_eq!((error.kind, error.reason), (Kind::Stuck, Reason::Stalled));
    assert_eq!(error.message, "the wait for condition `Ready` of `deployment/web` made no progress for 20s: it has no such condition yet");
    assert!(error.hint.as_deref().is_some_and(|hint| hint.contains("`Available`")), "{error:?}");
}

#[test]
fn an_absent_object_is_waited_for() {
    let rig = Rig::new();
    let holds = |object: Option<Json>| Ok(vec![Value::from(object.is_some_and(|map| map["data"]["ready"] == "yes"))]);
    let done = meanwhile(&rig, "wait_for", vec![arg(json!("configmap/new")), function(holds)], json!({}), create_map).unwrap();
    assert_eq!(done.value.into_json()["data"]["ready"], "yes");
    let error = rig.error("wait_for", json!(["configmap/other", "Ready"]), json!({ "timeout": 0 }));
    assert!(error.message.ends_with("is not finished: it is not there yet"), "{error}");
}

#[test]
fn progress_keeps_a_wait_alive_and_is_shown() {
    let rig = Rig::new();
    rig.call("set_image", json!(["daemonset/agent", { "agent": "registry.example/agent:v2" }]), json!({})).unwrap();
    let holds = |object: Option<Json>| {
        let status = object.map(|set| set["status"].clone()).unwrap_or_default();
        let updated = status["updatedNumberScheduled"].as_i64().unwrap_or(0);
        Ok(vec![Value::from(updated == 3), Value::from(format!("{updated} of 3"))])
    };
    rig.run(rig.calling("wait_for", vec![arg(json!("daemonset/agent")), function(holds)], &json!({}))).unwrap();
    let states = rig.operator.states.borrow().clone();
    assert!(states.contains(&"daemonset/agent: 1 of 3".to_owned()) && states.contains(&"daemonset/agent: 2 of 3".to_owned()), "{states:?}");
}

#[test]
fn stable_must_hold_without_a_break() {
    let rig = Rig::new();
    let calls = Rc::new(RefCell::new(Vec::new()));
    let (seen, clock) = (calls.clone(), rig.cluster.clock().clone());
    let holds = move |object: Option<Json>| {
        seen.borrow_mut().push(clock.now());
        Ok(vec![Value::from(object.is_some())])
    };
    let start = rig.cluster.clock().now();
    rig.run(rig.calling("wait_for", vec![arg(json!("configmap/settings")), function(holds)], &json!({ "stable": "40s" }))).unwrap();
    assert_eq!(Span::between(start, rig.cluster.clock().now()), Span::from_secs(40));
}

#[test]
fn what_a_function_raises_ends_the_wait_as_it_is() {
    let rig = Rig::new();
    let raises = |_| Err(Error::new(Kind::Runbook, Reason::CheckFailed, "no"));
    let error = rig.run(rig.calling("wait_for", vec![arg(json!("node/w1")), function(raises)], &json!({}))).unwrap_err();
    assert_eq!((error.kind, error.message.as_str()), (Kind::Runbook, "no"));
    let odd = |_| Ok(vec![Value::from("yes".to_owned())]);
    let error = rig.run(rig.calling("wait_for", vec![arg(json!("node/w1")), function(odd)], &json!({}))).unwrap_err();
    assert_eq!(error.message, "`wait_for`: the function must return true or false, got a string");
}

#[test]
fn deletion_under_a_named_wait_is_not_found() {
    let rig = Rig::new();
    let positional = vec![arg(json!("configmap/settings")), arg(json!("Ready"))];
    let error = meanwhile(&rig, "wait_for", positional, json!({}), |cluster| delete(cluster, "configmap/settings")).unwrap_err();
    assert_eq!((error.reason, error.message.as_str()), (Reason::NotFound, "waiting for `configmap/settings`: it was deleted meanwhile"));
}

/// `kubectl wait --for=condition=Complete` sits out its time on a Job that has failed.
#[test]
fn what_can_never_come_any_more_ends_the_wait_at_once() {
    let job = "apiVersion: batch/v1\nkind: Job\nmetadata: { name: once, namespace: default }\nspec:\n  template:\n    spec: { restartPolicy: Never, \
               containers: [{ name: once, image: \"registry.example/once:v1\" }] }\n";
    let pod = "---\napiVersion: v1\nkind: Pod\nmetadata: { name: tool, namespace: default }\nspec: { containers: [{ name: tool, image: \
               \"registry.example/tool:v1\" }] }\n";
    let rig = Rig::also(&format!("---\n{job}{pod}"), |sim| assert!(sim.stop_controller("job-controller")));
    let status = |path: &str, status: Json| {
        let answer = rig.sim(|sim| sim.handle(&Request::patch(path, "application/merge-patch+json", &json!({ "status": status }))));
        assert_eq!(answer.status, 200, "{path}");
    };
    status("/apis/batch/v1/namespaces/default/jobs/once/status", json!({ "conditions": [{ "type": "Failed", "status": "True" }] }));
    status("/api/v1/namespaces/default/pods/tool/status", json!({ "phase": "Succeeded" }));
    let begun = rig.cluster.clock().now();
    for (object, condition, reason, why) in [
        ("job/once", "Complete", Reason::CommandFailed, "condition `Complete` of `job/once` cannot come any more: the job failed"),
        ("pod/tool", "Ready", Reason::NotReady, "condition `Ready` of `pod/tool` cannot come any more: the pod has ended"),
    ] {
        let error = rig.error("wait_for", json!([object, condition]), json!({}));
        assert_eq!((error.kind, error.reason, error.message.as_str()), (Kind::Stuck, reason, why));
    }
    assert_eq!(Span::between(begun, rig.cluster.clock().now()), Span::from_secs(0));
}

#[test]
fn gone_is_gone_and_what_was_never_there_is_too() {
    let rig = Rig::new();
    let positional = vec![arg(json!("configmap/settings"))];
    let done = meanwhile(&rig, "wait_gone", positional, json!({}), |cluster| delete(cluster, "configmap/settings")).unwrap();
    assert_eq!(done.value.into_json(), json!({ "took": "5s" }));
    assert_eq!(rig.value("wait_gone", json!(["configmap/settings"]), json!({ "timeout": 0 })), json!({ "took": "0s" }));
}

#[test]
fn another_object_of_that_name_counts_as_gone() {
    let rig = Rig::new();
    let old = rig.call("get", json!(["configmap/settings"]), json!({})).unwrap().value;
    let again = |cluster: Cluster| async move {
        delete(cluster.clone(), "configmap/settings").await;
        let kind = cluster.resolve("configmaps", None).await.unwrap();
        let map = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "settings" } });
        cluster.create(&kind, None, map).await.unwrap();
    };
    meanwhile(&rig, "wait_gone", vec![arg(json!("configmap/settings"))], json!({}), again).unwrap();
    // The table of the former object means exactly that one.
    let done = rig.run(rig.calling("wait_gone", vec![Arg::Value(old)], &json!({ "timeout": 0 }))).unwrap();
    assert_eq!(done.value.into_json(), json!({ "took": "0s" }));
}

#[test]
fn what_nobody_deletes_stalls_and_says_so() {
    let rig = Rig::new();
    let error = rig.error("wait_gone", json!(["node/w1"]), json!({ "stall": "30s" }));
    assert_eq!((error.kind, error.reason), (Kind::Stuck, Reason::Stalled));
    assert_eq!(error.message, "the wait for the end of `node/w1` made no progress for 30s: nobody has asked for its deletion");
    assert_eq!(error.hint.as_deref(), Some("delete it first"));
}

#[test]
fn finalizers_that_hold_it_are_named() {
    let rig = Rig::new();
    rig.call("patch", json!(["configmap/settings", { "metadata": { "finalizers": ["example.io/keep"] } }]), json!({})).unwrap();
    rig.run(delete(rig.cluster.clone(), "configmap/settings"));
    let error = rig.error("wait_gone", json!(["configmap/settings"]), json!({ "timeout": "10s" }));
    assert_eq!(error.reason, Reason::Timeout);
    assert!(error.message.ends_with("did not finish within 10s: terminating, held by finalizer `example.io/keep`"), "{error}");
}
