//! `set_image` sends what `kubectl set image` sends, but for our annotation, and for the order of the containers: kubectl says the order that
//! it read (`$setElementOrder`), which puts back what somebody else has ordered meanwhile.

use lockgate_sim::json::json;
use serde_json::Value;

use super::Outcome;
use super::audit::Request;
use super::binaries::Binaries;
use super::verbs::{Bench, same};

/// A workload of each kind, with two containers and one that sets up.
fn workloads() -> String {
    let spec = "{ automountServiceAccountToken: false, restartPolicy: Never, initContainers: [{ name: setup, image: registry.example/setup:v1 }], \
                containers: [{ name: b, image: registry.example/b:v1 }, { name: a, image: registry.example/a:v1 }] }";
    let always = spec.replace("restartPolicy: Never, ", "");
    let of = |kind: &str, more: &str| {
        format!(
            "apiVersion: apps/v1\nkind: {kind}\nmetadata: {{ name: web }}\nspec:\n  {more}selector: {{ matchLabels: {{ app: web-{kind} }} }}\n  \
             template: {{ metadata: {{ labels: {{ app: web-{kind} }} }}, spec: {always} }}\n---\n"
        )
    };
    format!(
        "{}{}{}apiVersion: batch/v1\nkind: CronJob\nmetadata: {{ name: web }}\nspec:\n  schedule: '0 0 1 1 *'\n  \
         jobTemplate: {{ spec: {{ template: {{ spec: {spec} }} }} }}\n---\n\
         apiVersion: v1\nkind: Pod\nmetadata: {{ name: web }}\nspec: {always}\n",
        of("Deployment", "replicas: 1\n  "),
        of("DaemonSet", ""),
        of("StatefulSet", "replicas: 1\n  serviceName: web\n  "),
    )
}

/// The images of a call: by container.
const CALLS: [(&str, &[(&str, &str)]); 6] = [
    ("deployment/web", &[("a", "registry.example/a:v2")]),
    ("deployment/web", &[("a", "registry.example/a:v3"), ("b", "registry.example/b:v2"), ("setup", "registry.example/setup:v2")]),
    ("daemonset/web", &[("b", "registry.example/b:v2"), ("a", "registry.example/a:v2")]),
    ("statefulset/web", &[("setup", "registry.example/setup:v2")]),
    ("cronjob/web", &[("a", "registry.example/a:v2"), ("setup", "registry.example/setup:v2")]),
    ("pod/web", &[("b", "registry.example/b:v2")]),
];

/// The patches of workloads in a namespace, oldest first.
fn patches(bench: &Bench, namespace: &str) -> Outcome<Vec<Request>> {
    let place = format!("/namespaces/{namespace}/");
    let mut found = bench.plane.audit()?;
    found.retain(|request| request.verb == "patch" && request.body.is_some() && request.uri.contains(&place) && request.code == 200);
    Ok(found)
}

/// The body that kubectl says to send, at `-v=9`.
fn said(log: &str) -> Outcome<Value> {
    let line =
        log.lines().find(|line| line.contains("Request Body") && line.contains("image")).ok_or_else(|| format!("no body in:\n{log}"))?;
    let at = line.find("body=").map(|at| at + "body=".len()).ok_or_else(|| format!("no body in {line}"))?;
    let text: String = serde_json::from_str(line[at..].trim()).map_err(|error| format!("{error} in {line}"))?;
    serde_json::from_str(&text).map_err(|error| format!("{error} in {text}"))
}

/// Takes the order of lists out of a patch; whether there was one.
fn without_order(patch: &mut Value) -> bool {
    match patch {
        Value::Object(fields) => {
            let before = fields.len();
            fields.retain(|name, _| !name.starts_with("$setElementOrder/"));
            let ordered = fields.len() < before;
            fields.values_mut().fold(ordered, |found, field| without_order(field) || found)
        }
        Value::Array(items) => items.iter_mut().filter_map(|item| without_order(item).then_some(())).count() > 0,
        _ => false,
    }
}

/// Each call sends one patch, and its body is kubectl's.
pub(crate) fn bodies(binaries: &Binaries) -> Outcome {
    let bench = Bench::start(binaries)?;
    bench.both(&workloads())?;
    for (workload, images) in CALLS {
        let given: lockgate_sim::json::Value =
            lockgate_sim::json::Value::Object(images.iter().map(|(name, image)| ((*name).to_owned(), json!(image))).collect());
        bench.does("set_image", json!([workload, given]), json!({}))?;
        let pairs: Vec<String> = images.iter().map(|(name, image)| format!("{name}={image}")).collect();
        let mut words = vec!["set", "image", workload, "-n", "theirs", "-v=9"];
        words.extend(pairs.iter().map(String::as_str));
        let output = bench.plane.kubectl_raw(&words)?;
        let told = said(&String::from_utf8_lossy(&output.stderr))?;
        // The log is written a moment after the answer.
        let mut sent = (None, None);
        bench.until("both patches are in the audit log", |_| {
            sent = (patches(&bench, "ours")?.pop(), patches(&bench, "theirs")?.pop());
            Ok(sent.1.as_ref().is_some_and(|request| request.body.as_ref() == Some(&told)) && sent.0.is_some())
        })?;
        let (Some(ours), Some(theirs)) = sent else { return Err("a patch is missing".to_owned()) };
        let mut body = ours.body.clone().unwrap_or_default();
        let annotations = body.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut);
        let stamp = annotations.and_then(|annotations| annotations.remove("lockgate.dev/op"));
        same(&format!("{workload}: the stamp"), stamp.is_some(), true)?;
        same(&format!("{workload}: annotations beside the stamp"), body.pointer("/metadata/annotations"), Some(&serde_json::json!({})))?;
        if let Some(body) = body.as_object_mut() {
            body.remove("metadata");
        }
        let mut wanted = told.clone();
        same(&format!("{workload}: kubectl says an order"), without_order(&mut wanted), true)?;
        same(&format!("{workload} {images:?}"), body, wanted)?;
        let path = |request: &Request| request.uri.split('?').next().unwrap_or_default().replace("/theirs/", "/ours/");
        same(&format!("{workload}: the path"), path(&ours), path(&theirs))?;
        same(
            &format!("{workload}: the manager"),
            (ours.uri.contains("fieldManager=lockgate"), theirs.uri.contains("fieldManager=kubectl-set")),
            (true, true),
        )?;
    }
    same("one patch for each call", patches(&bench, "ours")?.len(), CALLS.len())
}
