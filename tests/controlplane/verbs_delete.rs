//! `create`, `delete` and `replace_pod` on a real API server.

use lockgate::base::Reason;
use lockgate_sim::json::json;

use super::Outcome;
use super::binaries::Binaries;
use super::verbs::{Bench, same};

/// Three Deployments to be deleted in the three ways.
fn deployments() -> String {
    let one = |name: &str| {
        format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{ name: {name} }}\nspec:\n  replicas: 2\n  \
             selector: {{ matchLabels: {{ app: {name} }} }}\n  template:\n    metadata: {{ labels: {{ app: {name} }} }}\n    \
             spec: {{ automountServiceAccountToken: false, containers: [{{ name: c, image: registry.example/c:v1 }}] }}\n"
        )
    };
    ["background", "foreground", "orphan"].map(one).join("---\n")
}

/// What is left: kinds with the app they are of, and whether somebody owns them.
fn left(bench: &Bench, namespace: &str) -> Outcome<Vec<String>> {
    let mut all = Vec::new();
    for kind in ["deployments", "replicasets", "pods"] {
        for object in bench.plane.list(Some(namespace), kind)? {
            let owned = object.pointer("/metadata/ownerReferences/0/kind").map_or_else(|| "nobody".to_owned(), ToString::to_string);
            all.push(format!("{kind} of {} owned by {owned}", object["metadata"]["labels"]["app"]));
        }
    }
    all.sort();
    Ok(all)
}

/// Deletions leave what kubectl's leave, and no more than what was looked at goes.
pub(crate) fn deletions(binaries: &Binaries) -> Outcome {
    let bench = Bench::start(binaries)?;
    bench.both(&deployments())?;
    for namespace in ["ours", "theirs"] {
        bench.until("six pods are there", |plane| Ok(plane.list(Some(namespace), "pods")?.len() == 6))?;
    }
    for cascade in ["background", "foreground", "orphan"] {
        let object = format!("deploy/{cascade}");
        bench.does("delete", json!([object]), json!({ "cascade": cascade }))?;
        bench.plane.kubectl(&["delete", &object, "-n", "theirs", &format!("--cascade={cascade}")])?;
        if bench.exists("ours", &object) {
            return Err(format!("{object} is still there"));
        }
    }
    bench.until("both sides have the same left", |_| Ok(left(&bench, "ours")? == left(&bench, "theirs")?))?;
    same("what is left", left(&bench, "ours")?.len(), 3)?;
    let again = bench.does("delete", json!(["deploy/background"]), json!({}))?;
    same("a second deletion", again.wrote.len(), 0)?;
    replaced_and_held(&bench)
}

fn replaced_and_held(bench: &Bench) -> Outcome {
    let window = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "w" }, "data": { "a": "b" } });
    let made = bench.does("create", json!([window.clone()]), json!({}))?.value.into_json();
    let twice = bench.fails("create", json!([window.clone()]), json!({}))?;
    same("a second creation", twice.reason, Reason::Conflict)?;
    let old = made["object"].clone();
    bench.plane.kubectl(&["delete", "configmap", "w", "-n", "ours"])?;
    bench.plane.kubectl(&["create", "configmap", "w", "-n", "ours"])?;
    let done = bench.does("delete", json!([old]), json!({}))?;
    same("the deletion of one that was replaced", (done.wrote.len(), bench.exists("ours", "configmap/w")), (0, true))?;

    let mut misspelt = window;
    misspelt["dta"] = json!({});
    let error = bench.fails("create", json!([misspelt]), json!({}))?;
    same("an unknown field", (error.reason, error.to_string().contains("unknown field \"dta\"")), (Reason::Invalid, true))?;

    bench.plane.kubectl(&[
        "patch",
        "configmap",
        "w",
        "-n",
        "ours",
        "--type=merge",
        "-p",
        r#"{"metadata":{"finalizers":["example.com/hold"]}}"#,
    ])?;
    let error = bench.fails("delete", json!(["configmap/w"]), json!({ "timeout": "2s" }))?;
    same("a held deletion", error.message.ends_with("terminating, held by finalizer `example.com/hold`"), true)?;
    bench.plane.kubectl(&["create", "namespace", "third"])?;
    bench.plane.kubectl(&["create", "configmap", "held", "-n", "third"])?;
    bench.plane.kubectl(&[
        "patch",
        "configmap",
        "held",
        "-n",
        "third",
        "--type=merge",
        "-p",
        r#"{"metadata":{"finalizers":["example.com/hold"]}}"#,
    ])?;
    let error = bench.fails("delete", json!(["namespace/third"]), json!({ "timeout": "15s" }))?;
    if !error.message.contains("example.com/hold") {
        return Err(format!("the namespace's error does not name what is left: {error}"));
    }
    for (namespace, name) in [("ours", "w"), ("third", "held")] {
        bench.plane.kubectl(&["patch", "configmap", name, "-n", namespace, "--type=merge", "-p", r#"{"metadata":{"finalizers":null}}"#])?;
    }
    bench.does("delete", json!(["namespace/third"]), json!({})).map(drop)?;
    same("the namespace", bench.exists("default", "namespace/third"), false)
}

const DAEMONS: &str = "apiVersion: apps/v1
kind: DaemonSet
metadata: { name: agent }
spec:
  updateStrategy: { type: OnDelete }
  selector: { matchLabels: { app: agent } }
  template:
    metadata: { labels: { app: agent } }
    spec:
      automountServiceAccountToken: false
      tolerations: [{ operator: Exists }]
      containers: [{ name: agent, image: registry.example/agent:v1 }]
";

/// An OnDelete DaemonSet is upgraded on one node and not on the other.
pub(crate) fn replacements(binaries: &Binaries) -> Outcome {
    let bench = Bench::start(binaries)?;
    bench.both(DAEMONS)?;
    let ready = |plane: &super::plane::ControlPlane| {
        let sets = plane.list(Some("ours"), "daemonsets")?;
        Ok(sets.iter().all(|set| set["status"]["numberReady"] == 2))
    };
    bench.until("two agents are ready", ready)?;
    bench.does("set_image", json!(["daemonset/agent", { "agent": "registry.example/agent:v2" }]), json!({}))?;
    let value = bench.does("replace_pod", json!(["daemonset/agent"]), json!({ "node": "ours-1" }))?.value.into_json();
    same("the revision", value["revision"].as_i64(), Some(2))?;
    let mut images: Vec<String> = Vec::new();
    for pod in bench.plane.list(Some("ours"), "pods")? {
        images.push(format!("{} {}", pod["spec"]["nodeName"], pod["spec"]["containers"][0]["image"]));
    }
    images.sort();
    let expected = [r#""ours-1" "registry.example/agent:v2""#, r#""theirs-1" "registry.example/agent:v1""#].map(str::to_owned);
    same("the images", images, expected.to_vec())?;
    let error = bench.fails("replace_pod", json!(["daemonset/agent"]), json!({ "node": "nowhere" }))?;
    same("a node without a pod", error.hint.clone(), Some("it has on `ours-1` and `theirs-1`".to_owned()))
}
