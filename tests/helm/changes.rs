//! Releases are changed as helm changes them, and what became of them is told.

use lockgate::base::Reason;
use lockgate::primitives::Inverse;
use lockgate_sim::faults::{Action, Failure, Match, Rule};
use lockgate_sim::json::{Value as Json, json};

use super::bench::{Bench, Outcome, ensure, is, same};

fn installed(bench: &Bench) -> Outcome<String> {
    let chart = bench.chart("0.1.0", &[])?;
    bench.value("helm.install", json!(["shop", chart]), json!({ "values": { "colour": "blue" } }))?;
    Ok(chart)
}

fn kept() -> Json {
    json!({ "values_from": "previous" })
}

pub(super) fn life(bench: &Bench) -> Outcome {
    let chart = bench.chart("0.1.0", &[])?;
    let installed =
        bench.call("helm.install", json!(["shop", chart]), json!({ "values": { "colour": "blue" } })).map_err(|error| error.to_string())?;
    let told: Vec<String> = installed.wrote[0].changes.iter().map(ToString::to_string).collect();
    ensure(told.contains(&"deployment/shop added apps/v1 Deployment".to_owned()), || format!("{told:#?}"))?;
    let ready = bench.object("deployment/shop")?["status"]["readyReplicas"].clone();
    is("it was waited for", &ready, 2)?;
    let description = bench.release()?["description"].clone();
    ensure(description.as_str().is_some_and(|text| text.contains(&bench.cluster.run().to_string())), || {
        format!("the run is named: {description}")
    })?;

    let next = bench.chart("0.2.0", &[("tag: v1.0.0", "tag: v2.0.0")])?;
    let upgraded = bench.call("helm.upgrade", json!(["shop", next]), kept()).map_err(|error| error.to_string())?;
    let told: Vec<String> = upgraded.wrote[0].changes.iter().map(ToString::to_string).collect();
    let says = |line: &str| told.iter().any(|told| told == line);
    let image = "deployment/shop spec.template.spec.containers[name=shop].image v1.0.0 -> v2.0.0";
    ensure(says(image) && says("chart shop-0.1.0 -> shop-0.2.0") && says("revision 1 -> 2"), || format!("{told:#?}"))?;
    same("values are kept", bench.value("helm.values", json!(["shop"]), json!({}))?, json!({ "colour": "blue" }))?;
    is("helm says so too", &bench.helm_json(&["history", "shop"])?[1]["status"], "deployed")?;

    let Inverse::Call { verb, arguments, options } = &upgraded.wrote[0].inverse else { return Err("no way back".to_owned()) };
    bench.value(verb, arguments.clone().into(), options.clone())?;
    same("rolled back", bench.release()?["chart"].as_str(), Some("shop-0.1.0"))?;
    bench.value("helm.uninstall", json!(["shop"]), json!({}))?;
    same("gone", bench.release()?, Json::Null)?;
    is("its objects too", &bench.value("exists", json!(["deployment/shop"]), json!({}))?, false)?;
    is("a second time", &bench.value("helm.uninstall", json!(["shop"]), json!({}))?["changed"], false)
}

pub(super) fn previous_values(bench: &Bench) -> Outcome {
    let (one, two) = (bench.chart("0.1.0", &[])?, bench.chart("0.2.0", &[("annotations: {}", "annotations: {}\nreserve: 7")])?);
    let first = ["--set", "colour=red,replicas=3,nested.a=1,nested.b=2"];
    bench.helm(&[&["install", "shop", &one][..], &first].concat())?;
    bench.helm(&["upgrade", "shop", &two, "--reset-then-reuse-values", "--set", "nested.b=null,tag=v9,replicas=null"])?;
    let (theirs, values) = (bench.helm(&["get", "manifest", "shop"])?, bench.helm_json(&["get", "values", "shop"])?);
    // Not by a rollback: helm has written the nulls into the record of the first revision meanwhile.
    bench.helm(&["uninstall", "shop", "--wait"])?;
    bench.helm(&[&["install", "shop", &one][..], &first].concat())?;
    let given = json!({ "nested": { "b": null }, "tag": "v9", "replicas": null });
    bench.value("helm.upgrade", json!(["shop", two]), json!({ "values_from": "previous", "values": given }))?;
    same("values", bench.helm_json(&["get", "values", "shop"])?, values)?;
    same("manifest", bench.helm(&["get", "manifest", "shop"])?, theirs)
}

pub(super) fn reuse_values(bench: &Bench) -> Outcome {
    let chart = installed(bench)?;
    let error = bench.fails(Reason::Usage, "helm.upgrade", json!(["shop", chart]), json!({ "reuse_values": true }))?;
    ensure(error.hint.as_deref().is_some_and(|hint| hint.contains("values_from = \"previous\"")), || format!("{:?}", error.hint))?;
    let error = bench.fails(Reason::Usage, "helm.upgrade", json!(["shop", chart]), json!({}))?;
    ensure(error.message.contains("`values_from` is missing"), || error.to_string())
}

pub(super) fn failed(bench: &Bench) -> Outcome {
    let chart = installed(bench)?;
    let broken = json!({
        "values_from": "previous", "timeout": "3s",
        "values": { "migration": "v6.6.6", "annotations": { "never-ready": "yes" } },
    });
    let error = bench.fails(Reason::HelmHook, "helm.upgrade", json!(["shop", chart]), broken.clone())?;
    is("the error knows the revision", &error.details["revision"], 2)?;
    ensure(error.causes.iter().any(|cause| cause.contains("the hook is `job/shop-migration`")), || format!("{:#?}", error.causes))?;
    ensure(!bench.operator.wrote.borrow().is_empty(), || "what was begun is told".to_owned())?;
    bench.fails(Reason::HelmHook, "helm.upgrade", json!(["shop", chart]), broken)?;
    let theirs = bench.helm_json(&["history", "shop"])?;
    let statuses: Vec<&str> = theirs.as_array().into_iter().flatten().filter_map(|row| row["status"].as_str()).collect();
    same("statuses", statuses, ["deployed", "failed", "failed"])?;
    let back = bench.value("helm.rollback", json!(["shop"]), json!({}))?;
    is("a new revision", &back["revision"], 4)?;
    ensure(bench.helm_json(&["history", "shop"])?[3]["description"] == "Rollback to 1", || "to the last good one".to_owned())?;
    same("values", bench.value("helm.values", json!(["shop"]), json!({}))?, json!({ "colour": "blue" }))
}

fn paths(diff: &Json) -> Vec<String> {
    diff["changes"].as_array().into_iter().flatten().filter_map(|change| change["path"].as_str().map(str::to_owned)).collect()
}

pub(super) fn drift(bench: &Bench) -> Outcome {
    let chart = bench.plain_chart("0.1.0", &[])?;
    bench.value("helm.install", json!(["shop", chart]), json!({ "values": { "colour": "blue" } }))?;
    let none = bench.value("helm.diff", json!(["shop", chart]), kept())?;
    is("without drift", &none["changed"], false)?;
    bench.value("patch", json!(["configmap/shop", { "data": { "colour": "black" } }]), json!({}))?;
    let writes = bench.writes();
    let diff = bench.value("helm.diff", json!(["shop", chart]), kept())?;
    same("the drift", paths(&diff), ["configmap/shop data.colour"])?;
    same("before and after", (&diff["changes"][0]["before"], &diff["changes"][0]["after"]), (&json!("black"), &json!("blue")))?;
    same("nothing was written", bench.writes(), writes)?;
    is("it is as it was", &bench.object("configmap/shop")?["data"]["colour"], "black")?;
    is("and no revision was made", &bench.release()?["revision"], 1)?;
    let notes = diff["notes"].to_string();
    if bench.helm == "helm4" {
        // Applied by the server, a field that somebody else took is a conflict: that is what the upgrade itself would end with.
        ensure(notes.contains("the upgrade itself would be refused") && notes.contains(".data.colour"), || notes.clone())?;
        bench.fails(Reason::Conflict, "helm.upgrade", json!(["shop", chart]), kept())?;
        is("and does", &bench.release()?["status"], "failed")?;
        return is("with nothing changed", &bench.object("configmap/shop")?["data"]["colour"], "black");
    }
    ensure(!notes.contains("refused"), || notes.clone())
}

pub(super) fn secrets(bench: &Bench) -> Outcome {
    let secret = |word: &str| {
        format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{ name: shop-key }}\nstringData: {{ key: {word} }}\n---\napiVersion: v1\nkind: ServiceAccount"
        )
    };
    let (one, two) = (secret("hunter1"), secret("hunter2"));
    let first = bench.plain_chart("0.1.0", &[("apiVersion: v1\nkind: ServiceAccount", &one)])?;
    let second = bench.plain_chart("0.2.0", &[("apiVersion: v1\nkind: ServiceAccount", &two)])?;
    bench.value("helm.install", json!(["shop", first]), json!({}))?;
    let diff = bench.value("helm.diff", json!(["shop", second]), kept())?;
    ensure(paths(&diff).contains(&"secret/shop-key data.key".to_owned()), || format!("{diff}"))?;
    for hidden in ["hunter", "aHVudGVy"] {
        ensure(!diff.to_string().contains(hidden), || format!("`{hidden}` in {diff}"))?;
    }
    let done = bench.call("helm.upgrade", json!(["shop", second]), kept()).map_err(|error| error.to_string())?;
    let told = format!("{:?}", done.wrote);
    ensure(!told.contains("hunter") && !told.contains("aHVudGVy"), || told)
}

pub(super) fn definitions(bench: &Bench) -> Outcome {
    installed(bench)?;
    let name = format!("customresourcedefinition/carts.{}.example", bench.cluster.namespace());
    let field = |bench: &Bench| -> Outcome<Json> {
        let definition = bench.object(&name)?;
        Ok(definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["gift"].clone())
    };
    let next = bench.chart("0.2.0", &[("owner: { type: string }", "owner: { type: string }\n                gift: { type: boolean }")])?;
    bench.value("helm.upgrade", json!(["shop", next]), kept())?;
    same("helm alone does not touch it", field(bench)?, Json::Null)?;
    bench.value("helm.upgrade", json!(["shop", next]), json!({ "values_from": "previous", "crds": true }))?;
    is("asked to, it is upgraded", &field(bench)?["type"], "boolean")?;
    let told = bench.operator.wrote.borrow();
    ensure(told.iter().any(|wrote| wrote.target == name), || format!("{told:?}"))
}

pub(super) fn conflicts(bench: &Bench) -> Outcome {
    let chart = installed(bench)?;
    let next = bench.chart("0.2.0", &[])?;
    let edit = json!(["configmap/shop", { "data": { "colour": "black" } }]);
    bench.value("patch", edit, json!({}))?;
    let upgrade = json!({ "values_from": "previous", "values": { "colour": "white" } });
    if bench.helm == "helm3" {
        bench.value("helm.upgrade", json!(["shop", next]), upgrade)?;
        return is("client-side apply overwrites", &bench.object("configmap/shop")?["data"]["colour"], "white");
    }
    let error = bench.fails(Reason::Conflict, "helm.upgrade", json!(["shop", next]), upgrade)?;
    ensure(error.to_string().contains("colour"), || format!("the field is named: {error}"))?;
    let mine = bench.release()?;
    same("the release is failed", mine["status"].as_str(), Some("failed"))?;
    bench.value("patch", json!(["configmap/shop", { "data": { "colour": "blue" } }]), json!({}))?;
    drop(chart);
    Ok(())
}

pub(super) fn unchanged(bench: &Bench) -> Outcome {
    let chart = installed(bench)?;
    let writes = bench.writes();
    for verb in ["helm.upgrade", "helm.install"] {
        let options = if verb == "helm.upgrade" { kept() } else { json!({ "values": { "colour": "blue" } }) };
        let done = bench.call(verb, json!(["shop", chart]), options).map_err(|error| format!("{verb}: {error}"))?;
        ensure(done.wrote.is_empty(), || format!("{verb}: {:?}", done.wrote))?;
    }
    same("nothing was sent", bench.writes(), writes)?;
    bench.value("patch", json!(["configmap/shop", { "data": { "colour": "blue", "own": "x" } }]), json!({}))?;
    let done = bench.call("helm.upgrade", json!(["shop", chart]), kept()).map_err(|error| error.to_string())?;
    ensure(done.wrote.is_empty(), || "what helm does not know of is no drift".to_owned())?;
    let missing = json!({ "values_from": "previous", "expect_revision": 9 });
    bench.fails(Reason::Precondition, "helm.upgrade", json!(["shop", chart]), missing).map(drop)
}

pub(super) fn planned(bench: &Bench) -> Outcome {
    installed(bench)?;
    let writes = bench.writes();
    let plan = bench.planning()?;
    let next = bench.chart("0.2.0", &[("tag: v1.0.0", "tag: v2.0.0")])?;
    let done = plan.call("helm.upgrade", json!(["shop", next]), kept()).map_err(|error| error.to_string())?;
    ensure(!done.wrote.is_empty(), || "nothing was done".to_owned())?;
    is("in the plan", &plan.release()?["revision"], 2)?;
    is("its pods", &plan.object("deployment/shop")?["status"]["updatedReplicas"], 2)?;
    same("nothing reached the cluster", bench.writes(), writes)?;
    is("as before", &bench.release()?["revision"], 1)
}

pub(super) fn template(bench: &Bench) -> Outcome {
    let extra = "colour: {{ .Values.colour }}\n  server: {{ .Capabilities.KubeVersion.Version }}\n  here: {{ (lookup \"v1\" \"Namespace\" \"\" .Release.Namespace).metadata.name }}\n---\n";
    let chart = bench.chart("0.1.0", &[("colour: {{ .Values.colour }}\n---\n", extra)])?;
    let plain = bench.chart("0.1.0", &[])?;
    let early = bench.value("helm.template", json!(["shop", plain]), json!({}))?;
    ensure(early.as_array().is_some_and(|objects| objects.len() == 6), || format!("{early}"))?;
    installed(bench)?;
    let writes = bench.writes();
    let objects = bench.value("helm.template", json!(["shop", chart]), json!({ "values": { "colour": "red" } }))?;
    let map = objects.as_array().into_iter().flatten().find(|object| object["kind"] == "ConfigMap").ok_or("no ConfigMap")?;
    is("values", &map["data"]["colour"], "red")?;
    let server = bench.run(bench.cluster.server_version()).map_err(|error| error.to_string())?;
    same("the server", map["data"]["server"].as_str(), Some(server.as_str()))?;
    same("lookup", map["data"]["here"].as_str(), Some(bench.cluster.namespace()))?;
    same("nothing is written", bench.writes(), writes)
}

/// A no of admission is the answer of our plan. helm's own dry run asks the server nothing about the objects.
pub(super) fn denied(bench: &Bench) -> Outcome {
    let chart = bench.plain_chart("0.1.0", &[])?;
    bench.value("helm.install", json!(["shop", chart]), json!({ "values": { "colour": "blue" } }))?;
    let next = bench.plain_chart("0.2.0", &[("tag: v1.0.0", "tag: v2.0.0")])?;
    let said = refusing(bench)?;
    let plan = bench.planning_beside()?;
    let writes = plan.writes();
    let error = plan.call("helm.upgrade", json!(["shop", next]), kept()).map_or_else(Ok, |done| Err(format!("{:?}", done.value)))?;
    let text = format!("{error} {:?}", error.causes);
    ensure(text.contains(said), || format!("it does not say so: {text}"))?;
    ensure(plan.writes() > writes, || "helm wrote nothing in the plan".to_owned())?;
    is("as before", &bench.release()?["revision"], 1)?;
    let told = bench.helm(&["upgrade", "shop", &next, "--dry-run=server"])?;
    ensure(told.contains("REVISION: 2"), || format!("helm: {told}"))?;
    // And the run meets it.
    let error = bench.call("helm.upgrade", json!(["shop", next]), kept()).map_or_else(Ok, |done| Err(format!("{:?}", done.value)))?;
    let text = format!("{error} {:?}", error.causes);
    ensure(text.contains(said), || format!("the run does not say so: {text}"))
}

/// From now on the server takes no Deployment with an image of this tag in this namespace; with these words.
fn refusing(bench: &Bench) -> Outcome<&'static str> {
    const SAID: &str = "this version is not for here";
    let namespace = bench.cluster.namespace().to_owned();
    if let Some(simulation) = bench.cluster.simulation() {
        let when = Match { verb: Some("patch".into()), kind: Some("Deployment".into()), ..Match::default() };
        let failure =
            Failure { code: 422, reason: Some("Invalid".into()), message: Some(SAID.into()), retry_after: None, causes: Vec::new() };
        simulation.with(|sim| sim.add_fault(Rule { when, action: Action::Fail(failure) }));
        return Ok(SAID);
    }
    let rules = json!({ "apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["deployments"] });
    let here = json!({ "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": namespace } }, "resourceRules": [rules] });
    let expression = "object.spec.template.spec.containers.all(c, !c.image.endsWith(':v2.0.0'))";
    let api = "admissionregistration.k8s.io/v1";
    for object in [
        json!({
            "apiVersion": api, "kind": "ValidatingAdmissionPolicy", "metadata": { "name": namespace },
            "spec": { "failurePolicy": "Fail", "matchConstraints": here, "validations": [{ "expression": expression, "message": SAID }] },
        }),
        json!({
            "apiVersion": api, "kind": "ValidatingAdmissionPolicyBinding", "metadata": { "name": namespace },
            "spec": { "policyName": namespace, "validationActions": ["Deny"] },
        }),
    ] {
        bench.value("create", json!([object]), json!({}))?;
    }
    // It acts when the server has noticed it; what it lets through until then stays as it is.
    let image =
        json!({ "spec": { "template": { "spec": { "containers": [{ "name": "shop", "image": "registry.example/shop:v2.0.0" }] } } } });
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(120);
    loop {
        let tried = bench.planning_beside()?.call("patch", json!(["deployment/shop", image]), json!({ "type": "strategic" }));
        match tried {
            Err(error) if error.causes.iter().any(|cause| cause.contains(SAID)) => return Ok(SAID),
            Err(error) => return Err(format!("{error} {:?}", error.causes)),
            Ok(_) if std::time::Instant::now() > deadline => return Err("the policy does not act".to_owned()),
            Ok(_) => bench.run(async { tokio::time::sleep(std::time::Duration::from_millis(100)).await }),
        }
    }
}
