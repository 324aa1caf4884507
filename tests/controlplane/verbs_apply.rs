//! `apply` on a real API server.

use lockgate::base::Reason;
use lockgate_sim::json::{Value as Json, json};

use super::Outcome;
use super::binaries::Binaries;
use super::verbs::{Bench, same};

fn map(data: Json) -> Json {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "a" }, "data": data })
}

fn definition(fields: usize) -> Json {
    let text = "x".repeat(1 << 10);
    let properties: Vec<(String, Json)> =
        (0..fields).map(|at| (format!("field{at}"), json!({ "type": "string", "description": text }))).collect();
    json!({ "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": { "name": "windows.example.com" },
        "spec": { "group": "example.com", "scope": "Namespaced",
                  "names": { "plural": "windows", "singular": "window", "kind": "Window", "listKind": "WindowList" },
                  "versions": [{ "name": "v1", "served": true, "storage": true, "schema": { "openAPIV3Schema": { "type": "object",
                      "properties": { "spec": { "type": "object", "properties": Json::Object(properties.into_iter().collect()) } } } } }] } })
}

fn version(bench: &Bench, reference: &str) -> Outcome<String> {
    Ok(bench.object("ours", reference)?["metadata"]["resourceVersion"].to_string())
}

fn unchanged(bench: &Bench, objects: Json) -> Outcome {
    let done = bench.does("apply", json!([objects]), json!({}))?;
    let value = done.value.into_json();
    let actions: Vec<String> =
        value["objects"].as_array().into_iter().flatten().map(|row| row["action"].as_str().unwrap_or_default().to_owned()).collect();
    if done.wrote.is_empty() && actions.iter().all(|action| action == "unchanged") {
        Ok(())
    } else {
        Err(format!("not unchanged: {value}"))
    }
}

/// A definition of 1 MB and an object of it in one call; and everything a second time.
pub(crate) fn definitions(binaries: &Binaries) -> Outcome {
    let bench = Bench::start(binaries)?;
    let window = json!({ "apiVersion": "example.com/v1", "kind": "Window", "metadata": { "name": "w" }, "spec": { "field1": "open" } });
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "fourth" } });
    let mut inside = map(json!({ "x": "1" }));
    inside["metadata"]["namespace"] = "fourth".into();
    let objects = json!([window.clone(), inside, definition(950), namespace]);
    let done = bench.does("apply", json!([objects.clone()]), json!({}))?;
    let written: Vec<String> = done.wrote.iter().map(|wrote| wrote.target.clone()).collect();
    let order = ["namespace/fourth", "configmap/fourth/a", "customresourcedefinition/windows.example.com", "window/w"];
    same("the order", written, order.map(str::to_owned).to_vec())?;
    let before = version(&bench, "windows/w")?;
    unchanged(&bench, objects)?;
    same("the version", version(&bench, "windows/w")?, before)?;
    // The next call finds the kind at once, and changes it.
    let mut open = window;
    open["spec"] = json!({ "field2": "shut" });
    bench.does("apply", json!([open]), json!({}))?;
    same("a field that is gone", bench.object("ours", "windows/w")?["spec"].clone(), serde_json::json!({ "field2": "shut" }))?;
    let error = bench.fails("apply", json!([map(json!({}))]), json!({ "namespace": "none" }))?;
    same("a namespace that is not there", error.reason, Reason::NotFound)
}

/// What our apply tells as its changes is what `kubectl diff` tells of the same manifest.
fn as_kubectl_diff(bench: &Bench, data: Json) -> Outcome {
    let mut whole: serde_json::Value = serde_json::from_str(&map(data.clone()).to_string()).map_err(|error| error.to_string())?;
    whole["metadata"]["annotations"] = bench.object("ours", "configmap/a")?["metadata"]["annotations"].take();
    let file = bench.file("diff.json", &whole.to_string())?;
    // It ends with 1 when there are differences.
    let words = ["diff", "--server-side", "--field-manager=lockgate", "-n", "ours", "-f", &file];
    let output = bench.plane.kubectl_raw(&words)?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    same(&format!("kubectl diff: {}", String::from_utf8_lossy(&output.stderr)), output.status.code(), Some(1))?;
    let is_line = |line: &&str| (line.starts_with('+') || line.starts_with('-')) && !line.starts_with("+++") && !line.starts_with("---");
    let mut theirs: Vec<String> = said.lines().filter(is_line).map(|line| line.replace([' ', '"'], "")).collect();
    let done = bench.does("apply", json!([map(data)]), json!({}))?;
    let told = done.wrote.iter().flat_map(|wrote| &wrote.changes);
    let mut ours: Vec<String> = told
        .flat_map(|change| {
            let key = change.path.rsplit('.').next().unwrap_or_default().to_owned();
            let line = |sign: &str, value: &Option<Json>| value.as_ref().map(|value| format!("{sign}{key}:{value}").replace('"', ""));
            [line("-", &change.before), line("+", &change.after)].into_iter().flatten().collect::<Vec<_>>()
        })
        .collect();
    theirs.sort();
    ours.sort();
    same("changes", &ours, &theirs)?;
    same("there are some", ours.len(), 4)
}

/// What kubectl applied is taken over, kubectl can go on with it, and what others own is a conflict.
pub(crate) fn owners(binaries: &Binaries) -> Outcome {
    let bench = Bench::start(binaries)?;
    let client_side = bench.file("map.json", &map(json!({ "x": "1", "old": "yes" })).to_string())?;
    for namespace in ["ours", "theirs"] {
        bench.plane.kubectl(&["apply", "-n", namespace, "-f", &client_side])?;
    }
    let server_side = bench.file("next.json", &map(json!({ "x": "2" })).to_string())?;
    bench.does("apply", json!([map(json!({ "x": "2" }))]), json!({}))?;
    bench.plane.kubectl(&["apply", "--server-side", "-n", "theirs", "-f", &server_side])?;
    let data = |namespace: &str| Ok::<_, String>(bench.object(namespace, "configmap/a")?["data"].clone());
    same("fields that are gone", data("ours")?, data("theirs")?)?;
    unchanged(&bench, map(json!({ "x": "2" })))?;
    // kubectl sees nothing to do, neither of the new kind nor of the old. What lockgate adds to the object is its own.
    let mut whole: serde_json::Value = serde_json::from_str(&map(json!({ "x": "2" })).to_string()).map_err(|error| error.to_string())?;
    whole["metadata"]["annotations"] = bench.object("ours", "configmap/a")?["metadata"]["annotations"].take();
    let whole = bench.file("whole.json", &whole.to_string())?;
    bench.plane.kubectl(&["diff", "--server-side", "--field-manager=lockgate", "-n", "ours", "-f", &whole])?;
    let said = bench.plane.kubectl(&["apply", "-n", "ours", "-f", &server_side])?;
    same("kubectl apply", said.trim(), "configmap/a unchanged")?;
    let third = bench.file("third.json", &map(json!({ "y": "3" })).to_string())?;
    bench.plane.kubectl(&["apply", "-n", "ours", "-f", &third])?;
    same("kubectl takes away what it did not say", data("ours")?, serde_json::json!({ "y": "3" }))?;
    bench.does("apply", json!([map(json!({ "y": "3", "z": "1" }))]), json!({}))?;
    as_kubectl_diff(&bench, json!({ "y": "4", "w": "new" }))?;
    bench.does("apply", json!([map(json!({ "y": "3", "z": "1" }))]), json!({}))?;

    bench.plane.kubectl(&[
        "patch",
        "configmap",
        "a",
        "-n",
        "ours",
        "--field-manager=kubectl-edit",
        "--type=merge",
        "-p",
        r#"{"data":{"z":"theirs"}}"#,
    ])?;
    let before = version(&bench, "configmap/a")?;
    let error = bench.fails("apply", json!([map(json!({ "y": "3", "z": "2" }))]), json!({}))?;
    same(
        "the conflict",
        (error.reason, error.message.as_str()),
        (Reason::Conflict, r#"applying `configmap/a`: `data.z` belongs to `kubectl-edit`, which has it at "theirs" and not at "2""#),
    )?;
    same("nothing was written", version(&bench, "configmap/a")?, before)?;
    bench.does("apply", json!([map(json!({ "y": "3", "z": "2" }))]), json!({ "force_conflicts": true }))?;
    same("after force", data("ours")?, serde_json::json!({ "y": "3", "z": "2" }))?;
    bench.does("label", json!(["configmap/a", { "seen": "yes" }]), json!({}))?;
    bench.does("apply", json!([map(json!({ "y": "4", "z": "2" }))]), json!({}))?;
    same("a label of our own", bench.object("ours", "configmap/a")?["metadata"]["labels"]["seen"].as_str(), Some("yes"))?;

    let mut wrong = map(json!({}));
    wrong["dta"] = json!({ "x": "1" });
    let error = bench.fails("apply", json!([wrong]), json!({}))?;
    same("an unknown field", (error.reason, error.to_string().contains("dta")), (Reason::Invalid, true))?;
    let mut fixed = map(json!({ "y": "4", "z": "2" }));
    fixed["immutable"] = true.into();
    bench.does("apply", json!([fixed.clone()]), json!({}))?;
    fixed["data"]["y"] = "5".into();
    let error = bench.fails("apply", json!([fixed]), json!({}))?;
    same("an immutable field", error.hint.as_deref().is_some_and(|hint| hint.contains("delete the object")), true)
}
