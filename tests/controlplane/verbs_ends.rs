//! The bad ends of waits on a real API server, and drains of what does not go: a deadline, a quota, an image, a crash loop, a kubelet that is
//! dead, a namespace that is on its way out. One node is `test.io/silent`: KWOK leaves it alone, and this test writes what its kubelet would.

use lockgate::base::{Error, Kind, Reason};
use lockgate_sim::json::{Value as Json, json};

use super::Outcome;
use super::plane::ControlPlane;
use super::verbs::{Bench, same};

/// The node whose kubelet is this test.
const MUTE: &str = "mute";
/// Long enough for what is to be noticed.
const STALL: &str = "1500ms";

const WORLD: &str = "apiVersion: v1
kind: Node
metadata: { name: mute, labels: { test.io/silent: 'true', kubernetes.io/hostname: mute } }
";

/// A Deployment of one pod; `more` is a part of its spec, `pod` of that of its pods, `mark` an annotation of theirs.
fn deployment(name: &str, more: &str, pod: &str, mark: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{ name: {name} }}\nspec:\n  replicas: 1\n{more}  \
         selector: {{ matchLabels: {{ app: {name} }} }}\n  template:\n    metadata: {{ labels: {{ app: {name} }}, annotations: {{ {mark} }} }}\n    \
         spec:\n      automountServiceAccountToken: false\n      tolerations: [{{ key: node.kubernetes.io/not-ready, operator: Exists }}]\n{pod}      \
         containers: [{{ name: c, image: 'registry.example/c:v1' }}]\n---\n"
    )
}

/// All of it.
pub(super) fn all(bench: &Bench) -> Outcome {
    bench.plane.apply(WORLD)?;
    let ready =
        json!({ "type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": now(), "lastTransitionTime": now() });
    let capacity = json!({ "pods": "110", "cpu": "4", "memory": "4Gi" });
    status(bench, None, &format!("node/{MUTE}"), &json!({ "conditions": [ready], "capacity": capacity, "allocatable": capacity }))?;
    let there = format!("      nodeSelector: {{ kubernetes.io/hostname: {MUTE} }}\n");
    let objects = [
        deployment("late", "  progressDeadlineSeconds: 1\n", "", "never-ready: 'yes'"),
        deployment("unpulled", "", &there, ""),
        deployment("crashing", "", &there, ""),
    ];
    bench.plane.kubectl(&["create", "-n", "ours", "-f", &bench.file("ends.yaml", &objects.concat())?])?;
    waiting(bench, "unpulled", "ImagePullBackOff", "Back-off pulling image \"registry.example/c:v1\"")?;
    waiting(bench, "crashing", "CrashLoopBackOff", "back-off 40s restarting failed container")?;
    for (workload, stall, reason, says) in [
        ("late", "1m", Reason::NotReady, "passed its own deadline of 1s"),
        ("unpulled", STALL, Reason::ImagePull, "registry.example/c:v1"),
        ("crashing", STALL, Reason::CrashLoop, "made no progress"),
    ] {
        let error = bench.fails("wait_rollout", json!([format!("deployment/{workload}")]), json!({ "stall": stall }))?;
        ends(workload, &error, reason, says)?;
    }
    quota(bench)?;
    dead_kubelet(bench)?;
    leaving(bench)
}

fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn ends(what: &str, error: &Error, reason: Reason, says: &str) -> Outcome {
    same(&format!("{what}: {error} {:?}", error.causes), (error.kind, error.reason), (Kind::Stuck, reason))?;
    same(&format!("{what} says {says:?}: {error}"), error.to_string().contains(says), true)
}

/// Writes a status by hand.
fn status(bench: &Bench, namespace: Option<&str>, object: &str, status: &Json) -> Outcome {
    let patch = json!({ "status": status }).to_string();
    let mut words = vec!["patch", object, "--subresource=status", "--type=merge", "-p", &patch];
    words.extend(namespace.iter().flat_map(|namespace| ["-n", namespace]));
    bench.plane.kubectl(&words).map(drop)
}

/// The pods of a workload, once they are on their node.
fn placed(plane: &ControlPlane, app: &str) -> Outcome<Vec<String>> {
    let pods = plane.list(Some("ours"), "pods")?;
    let of = pods.iter().filter(|pod| pod["metadata"]["labels"]["app"] == app && pod["spec"]["nodeName"] == MUTE);
    Ok(of.filter_map(|pod| pod["metadata"]["name"].as_str().map(str::to_owned)).collect())
}

/// A kubelet says that the container of these pods waits.
fn waiting(bench: &Bench, app: &str, reason: &str, message: &str) -> Outcome {
    bench.until("its pod is placed", |plane| Ok(!placed(plane, app)?.is_empty()))?;
    for pod in placed(&bench.plane, app)? {
        let container = json!({
            "name": "c", "image": "registry.example/c:v1", "imageID": "", "ready": false, "started": false,
            "restartCount": if reason == "CrashLoopBackOff" { 6 } else { 0 }, "state": { "waiting": { "reason": reason, "message": message } },
        });
        let ready = json!({ "type": "Ready", "status": "False", "reason": "ContainersNotReady", "lastTransitionTime": now() });
        let phase = if reason == "CrashLoopBackOff" { "Running" } else { "Pending" };
        let told = json!({ "phase": phase, "conditions": [ready], "containerStatuses": [container] });
        status(bench, Some("ours"), &format!("pod/{pod}"), &told)?;
    }
    Ok(())
}

/// The pod that a rollout wants besides is more than the quota lets be.
fn quota(bench: &Bench) -> Outcome {
    bench.plane.kubectl(&["create", "namespace", "small"])?;
    let quota = "apiVersion: v1\nkind: ResourceQuota\nmetadata: { name: one }\nspec: { hard: { pods: '1' } }\n---\n";
    let file = bench.file("quota.yaml", &format!("{quota}{}", deployment("web", "", "", "")))?;
    bench.until("the namespace is ready", |plane| Ok(plane.kubectl(&["get", "serviceaccount", "default", "-n", "small"]).is_ok()))?;
    bench.plane.kubectl(&["create", "-n", "small", "-f", &file])?;
    bench.does("wait_rollout", json!(["deployment/small/web"]), json!({}))?;
    bench.does("set_image", json!(["deployment/small/web", { "c": "registry.example/c:v2" }]), json!({}))?;
    let error = bench.fails("wait_rollout", json!(["deployment/small/web"]), json!({ "stall": STALL }))?;
    ends("quota", &error, Reason::Quota, "exceeded quota: one")
}

/// Nobody says that the pods of a dead kubelet are gone.
fn dead_kubelet(bench: &Bench) -> Outcome {
    let gone = json!({ "type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown", "lastHeartbeatTime": now(), "lastTransitionTime": now() });
    status(bench, None, &format!("node/{MUTE}"), &json!({ "conditions": [gone] }))?;
    let options = |more: Json| {
        let mut options = json!({ "grace_period": 1, "stall": STALL });
        options.as_object_mut().into_iter().for_each(|all| all.extend(more.as_object().cloned().unwrap_or_default()));
        options
    };
    let error = bench.fails("drain", json!([MUTE]), options(json!({})))?;
    same(&format!("{error}"), (error.kind, error.reason), (Kind::Stuck, Reason::Stalled))?;
    let hint = error.hint.clone().unwrap_or_default();
    same(&hint, hint.contains("skip_wait_for_delete_timeout"), true)?;
    let value = bench.does("drain", json!([MUTE]), options(json!({ "skip_wait_for_delete_timeout": 1 })))?.value.into_json();
    let classes: Vec<&str> = value["skipped"].as_array().into_iter().flatten().filter_map(|pod| pod["class"].as_str()).collect();
    same(&format!("{value}"), classes.iter().filter(|class| **class == "overdue").count() >= 2, true)
}

/// The pods of a namespace that goes are waited for, and are not asked to go once more.
fn leaving(bench: &Bench) -> Outcome {
    bench.plane.kubectl(&["create", "namespace", "leaving"])?;
    bench.until("the namespace is ready", |plane| Ok(plane.kubectl(&["get", "serviceaccount", "default", "-n", "leaving"]).is_ok()))?;
    let here = "      nodeSelector: { kubernetes.io/hostname: ours-1 }\n";
    let text = deployment("leaver", "", here, "").replace("metadata: { labels", "metadata: { finalizers: [test.io/held], labels");
    bench.plane.kubectl(&["create", "-n", "leaving", "-f", &bench.file("leaving.yaml", &text)?])?;
    bench.does("wait_rollout", json!(["deployment/leaving/leaver"]), json!({}))?;
    bench.plane.kubectl(&["delete", "namespace", "leaving", "--wait=false"])?;
    let held = |plane: &ControlPlane| -> Outcome<Vec<String>> {
        let pods = plane.list(Some("leaving"), "pods")?;
        let going = pods.iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_string());
        Ok(going.filter_map(|pod| pod["metadata"]["name"].as_str().map(str::to_owned)).collect())
    };
    bench.until("its pods are on their way out", |plane| Ok(!held(plane)?.is_empty()))?;
    let plane = &bench.plane;
    let done = std::thread::scope(|scope| {
        let other = scope.spawn(move || -> Outcome {
            plane.until("the node is cordoned", super::verbs::LIMIT, |plane| {
                Ok(plane.kubectl(&["get", "node", "ours-1", "-o", "jsonpath={.spec.unschedulable}"])? == "true")
            })?;
            for pod in held(plane)? {
                let none = r#"{"metadata":{"finalizers":null}}"#;
                plane.kubectl(&["patch", "pod", &pod, "-n", "leaving", "--type=merge", "-p", none])?;
            }
            Ok(())
        });
        let done = bench.does("drain", json!(["ours-1"]), json!({ "pod_selector": "app=leaver" }));
        other.join().map_err(|_| "somebody else failed".to_owned())??;
        done
    })?;
    let value = done.value.into_json();
    same(&format!("nothing was evicted: {value}"), value["evicted"].as_array().map(|all| all.iter().count()), Some(0))
}
