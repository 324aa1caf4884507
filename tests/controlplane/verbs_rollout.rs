//! Rollouts, their histories and waits on a real API server, side by side with kubectl; and the verbs that only read.

use lockgate::base::Reason;
use lockgate_sim::json::json;

use super::Outcome;
use super::binaries::Binaries;
use super::command;
use super::verbs::{Bench, same};
use super::verbs_ends;

/// A workload of each kind that has a history.
fn workloads() -> String {
    let template = |app: &str| {
        format!(
            "  selector: {{ matchLabels: {{ app: {app} }} }}\n  template:\n    metadata: {{ labels: {{ app: {app} }} }}\n    spec:\n      \
             automountServiceAccountToken: false\n      initContainers: [{{ name: setup, image: 'registry.example/setup:v1' }}]\n      \
             containers: [{{ name: web, image: 'registry.example/web:v1', ports: [{{ name: http, containerPort: 80 }}] }}]\n"
        )
    };
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{ name: web }}\nspec:\n  replicas: 2\n{}---\n\
         apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {{ name: db }}\nspec:\n  replicas: 1\n  serviceName: db\n{}---\n\
         apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {{ name: agent }}\nspec:\n{}",
        template("web"),
        template("db"),
        template("agent"),
    )
}

/// Revisions with their causes, as `kubectl rollout history` prints them.
fn by_kubectl(bench: &Bench, namespace: &str, workload: &str) -> Outcome<Vec<(i64, String)>> {
    let said = bench.plane.kubectl(&["rollout", "history", workload, "-n", namespace])?;
    let rows = said.lines().filter_map(|line| {
        let (revision, cause) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        Some((revision.parse().ok()?, cause.trim().replace("<none>", "")))
    });
    Ok(rows.collect())
}

/// The same by our verb.
fn ours(bench: &Bench, workload: &str) -> Outcome<Vec<(i64, String)>> {
    let rows = bench.does("rollout_history", json!([workload]), json!({}))?.value.into_json();
    let mut rows: Vec<(i64, String)> = rows
        .as_array()
        .into_iter()
        .flatten()
        .map(|row| (row["revision"].as_i64().unwrap_or_default(), row["change_cause"].as_str().unwrap_or_default().to_owned()))
        .collect();
    rows.sort();
    Ok(rows)
}

fn image(bench: &Bench, namespace: &str, workload: &str) -> Outcome<String> {
    let object = bench.object(namespace, workload)?;
    Ok(object.pointer("/spec/template/spec/containers/0/image").map(ToString::to_string).unwrap_or_default())
}

/// Histories and the ways back are kubectl's, for each kind, gaps included.
pub(crate) fn histories(binaries: &Binaries) -> Outcome {
    let bench = Bench::start(binaries)?;
    bench.both(&workloads())?;
    for workload in ["deployment/web", "statefulset/db", "daemonset/agent"] {
        bench.does("wait_rollout", json!([workload]), json!({}))?;
        for version in ["v2", "v3"] {
            let new = format!("registry.example/web:{version}");
            bench.does("set_image", json!([workload, { "web": new }]), json!({ "change_cause": version }))?;
            bench.does("wait_rollout", json!([workload]), json!({}))?;
            bench.plane.kubectl(&["set", "image", workload, &format!("web={new}"), "-n", "theirs"])?;
            let cause = format!("kubernetes.io/change-cause={version}");
            bench.plane.kubectl(&["annotate", workload, "-n", "theirs", "--overwrite", &cause])?;
            bench.plane.kubectl(&["rollout", "status", workload, "-n", "theirs", "--timeout=60s"])?;
        }
        compared(&bench, workload, "three revisions")?;
        for (to, flag) in [(json!({ "to": 1 }), "--to-revision=1"), (json!({ "to": 3 }), "--to-revision=3")] {
            bench.does("rollout_undo", json!([workload]), to)?;
            bench.does("wait_rollout", json!([workload]), json!({}))?;
            bench.plane.kubectl(&["rollout", "undo", workload, "-n", "theirs", flag])?;
            bench.plane.kubectl(&["rollout", "status", workload, "-n", "theirs", "--timeout=60s"])?;
            same(&format!("{workload} {flag}"), image(&bench, "ours", workload)?, image(&bench, "theirs", workload)?)?;
            compared(&bench, workload, flag)?;
        }
        let error = bench.fails("rollout_undo", json!([workload]), json!({ "to": 77 }))?;
        same("a revision that never was", error.reason, Reason::NotFound)?;
    }
    Ok(())
}

fn compared(bench: &Bench, workload: &str, when: &str) -> Outcome {
    let seen = ours(bench, workload)?;
    same(&format!("{workload}, {when}: the same cluster"), &seen, &by_kubectl(bench, "ours", workload)?)?;
    let numbers = |rows: &[(i64, String)]| rows.iter().map(|row| row.0).collect::<Vec<i64>>();
    same(&format!("{workload}, {when}: both sides"), numbers(&seen), numbers(&by_kubectl(bench, "theirs", workload)?))
}

/// Patches of three types, annotations and scales leave what kubectl's leave; waits end with kubectl's.
pub(crate) fn edits(binaries: &Binaries) -> Outcome {
    let bench = Bench::start(binaries)?;
    bench.both(&workloads())?;
    let ports =
        json!({ "spec": { "template": { "spec": { "containers": [{ "name": "web", "env": [{ "name": "A", "value": "1" }] }] } } } });
    let whole = json!({ "spec": { "template": { "spec": { "containers": [{ "name": "web", "image": "registry.example/web:v9" }] } } } });
    let steps = json!([
        { "op": "test", "path": "/spec/replicas", "value": 2 }, { "op": "replace", "path": "/spec/replicas", "value": 3 },
        { "op": "add", "path": "/metadata/labels", "value": { "a.b": "c" } },
    ]);
    for (kind, change) in [("strategic", ports), ("json", steps), ("merge", whole), ("merge", json!({ "metadata": { "labels": null } }))] {
        bench.does("patch", json!(["deployment/web", change.clone()]), json!({ "type": kind }))?;
        bench.plane.kubectl(&["patch", "deployment/web", "-n", "theirs", &format!("--type={kind}"), "-p", &change.to_string()])?;
        let essence = |namespace: &str| -> Outcome<(serde_json::Value, serde_json::Value)> {
            let mut object = bench.object(namespace, "deployment/web")?;
            Ok((object["spec"].take(), object["metadata"]["labels"].take()))
        };
        same(&format!("patch {kind} {change}"), essence("ours")?, essence("theirs")?)?;
    }
    let failing = json!([{ "op": "test", "path": "/spec/replicas", "value": 9 }]);
    let error = bench.fails("patch", json!(["deployment/web", failing]), json!({ "type": "json" }))?;
    same("a test that fails", error.reason, Reason::Precondition)?;
    images(&bench)?;
    bench.plane.kubectl(&["annotate", "statefulset/db", "-n", "theirs", "note=x"])?;
    bench.does("annotate", json!(["statefulset/db", { "note": "x" }]), json!({}))?;
    let note = |namespace: &str| -> Outcome<String> {
        Ok(bench.object(namespace, "statefulset/db")?["metadata"]["annotations"]["note"].to_string())
    };
    same("annotate", note("ours")?, note("theirs")?)?;
    waits(&bench)
}

/// Images of what has no rollout: a CronJob and a bare Pod.
fn images(bench: &Bench) -> Outcome {
    let pod = "{ automountServiceAccountToken: false, restartPolicy: Never, containers: [{ name: c, image: 'registry.example/c:v1' }] }";
    bench.both(&format!(
        "apiVersion: batch/v1\nkind: CronJob\nmetadata: {{ name: nightly }}\nspec:\n  schedule: '0 3 * * *'\n  suspend: true\n  \
         jobTemplate: {{ spec: {{ template: {{ spec: {pod} }} }} }}\n---\napiVersion: v1\nkind: Pod\nmetadata: {{ name: bare }}\nspec: {pod}\n"
    ))?;
    for (object, at) in
        [("cronjob/nightly", "/spec/jobTemplate/spec/template/spec/containers/0/image"), ("pod/bare", "/spec/containers/0/image")]
    {
        bench.does("set_image", json!([object, { "c": "registry.example/c:v2" }]), json!({}))?;
        bench.plane.kubectl(&["set", "image", object, "c=registry.example/c:v2", "-n", "theirs"])?;
        let image = |namespace: &str| -> Outcome<String> {
            Ok(bench.object(namespace, object)?.pointer(at).map(ToString::to_string).unwrap_or_default())
        };
        same(object, image("ours")?, image("theirs")?)?;
        same(object, image("ours")?.as_str(), "\"registry.example/c:v2\"")?;
    }
    Ok(())
}

fn waits(bench: &Bench) -> Outcome {
    for (object, condition) in
        [("deployment/web", "Available"), ("node/ours-1", "Ready"), ("pod/db-0", "Ready"), ("pod/db-0", "PodScheduled")]
    {
        bench.does("wait_for", json!([object, condition]), json!({}))?;
        bench.plane.kubectl(&["wait", &format!("--for=condition={condition}"), object, "-n", "ours", "--timeout=60s"])?;
    }
    bench.plane.kubectl(&["delete", "pod/db-0", "-n", "ours", "--wait=false"])?;
    let error = bench.fails("wait_for", json!(["pod/db-0", "Ready"]), json!({}))?;
    same("the pod that was meant is on its way out", error.reason, Reason::NotFound)?;
    bench.plane.kubectl(&["delete", "statefulset/db", "-n", "ours", "--wait=false"])?;
    bench.does("wait_gone", json!(["statefulset/db"]), json!({}))?;
    bench.until("its pod goes", |plane| Ok(plane.kubectl(&["get", "pod/db-0", "-n", "ours"]).is_err()))?;
    let gone = bench.does("wait_gone", json!(["pod/db-0"]), json!({}))?;
    same("what is gone is not waited for", gone.wrote.len(), 0)
}

/// What verbs say that only read: images, readiness, causes, events, and a change made of what was read.
pub(crate) fn reads(binaries: &Binaries) -> Outcome {
    let bench = Bench::start(binaries)?;
    bench.both(&workloads())?;
    for workload in ["deployment/web", "statefulset/db", "daemonset/agent"] {
        bench.does("wait_rollout", json!([workload]), json!({}))?;
        let images = bench.does("images", json!([workload]), json!({}))?.value.into_json();
        same("images", images, json!({ "setup": "registry.example/setup:v1", "web": "registry.example/web:v1" }))?;
        let ready = bench.does("ready", json!([workload]), json!({}))?.value.into_json();
        same(workload, ready["status"].as_str(), Some("Current"))?;
    }
    let events = bench.does("events", json!(["deployment/web"]), json!({}))?.value.into_json();
    same("events", events.as_array().is_some_and(|rows| rows.iter().any(|row| row["reason"] == "ScalingReplicaSet")), true)?;
    let stuck = json!({ "spec": { "template": { "spec": { "nodeSelector": { "no": "node" } } } } });
    bench.does("patch", json!(["deployment/web", stuck]), json!({}))?;
    bench.until("the scheduler says no", |plane| {
        let pods = plane.list(Some("ours"), "pods")?;
        Ok(pods.iter().any(|pod| pod.to_string().contains("Unschedulable")))
    })?;
    let why = bench.does("why", json!(["deployment/web"]), json!({}))?.value.into_json();
    same("why", why["reason"].as_str(), Some("unschedulable"))?;
    let error = bench.fails("wait_rollout", json!(["deployment/web"]), json!({ "stall": "2s" }))?;
    same("the wait says so too", error.reason, Reason::Unschedulable)?;
    let listed = bench.does("list", json!(["pods"]), json!({ "labels": "app=agent" }))?.value.into_json();
    same("list", listed.as_array().map(|pods| pods.iter().count()), Some(2))?;
    let server = bench.plane.kubectl(&["version", "-o", "json"])?;
    let server: serde_json::Value = serde_json::from_str(&server).map_err(|error| error.to_string())?;
    let version = server["serverVersion"]["gitVersion"].as_str().unwrap_or_default().to_owned();
    let versions = bench.does("versions", json!([]), json!({}))?.value.into_json().to_string();
    same(&format!("versions names {version}: {versions}"), versions.contains(version.trim_start_matches('v')), true)?;
    // The nodes of KWOK say no version: what is unknown does not pass.
    let skew = bench.does("skew_check", json!([]), json!({}))?.value.into_json();
    let unknown: Vec<&str> = skew["unknown"].as_array().into_iter().flatten().filter_map(|row| row["node"].as_str()).collect();
    same("skew_check", (skew["ok"].as_bool(), unknown), (Some(false), vec!["ours-1", "theirs-1"]))?;
    updates(&bench)?;
    verbs_ends::all(&bench)
}

/// `update` sends what the table has now and had not when it was read: by a script, since only there a table is one.
fn updates(bench: &Bench) -> Outcome {
    let folder = bench.plane.path().join("update");
    let text = "runbook { title = \"Update\", summary = \"Updates.\", impact = \"none\", namespace = \"ours\" }\n\
                permissions { { verbs = { \"*\" }, kinds = { \"*\" } } }\n\
                step \"update\" { title = \"Update\", run = function()\n local settings = get(\"configmap/settings\")\n \
                settings.data.a = \"2\"\n settings.data.b = nil\n update(settings)\nend }\n";
    let written = std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(folder.join("runbook.luau"), text));
    written.map_err(|error| format!("writing {}: {error}", folder.display()))?;
    bench.plane.kubectl(&[
        "create",
        "configmap",
        "settings",
        "-n",
        "ours",
        "--from-literal=a=1",
        "--from-literal=b=1",
        "--from-literal=c=1",
    ])?;
    command::run(&bench.plane, "operator", &["run", "./update", "--yes"])?.expect_code(0)?;
    let data = bench.object("ours", "configmap/settings")?["data"].take();
    same("update", data, serde_json::json!({ "a": "2", "c": "1" }))
}
