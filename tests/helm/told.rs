//! What errors of helm say beyond helm's own words, where releases are kept, and which rights the verbs need.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use lockgate::base::Reason;
use lockgate::cluster::Verb;
use lockgate::primitives::find;
use lockgate_sim::json::{Value as Json, json};
use lockgate_sim::model::ModelDocument;

use super::bench::{Bench, Outcome, ensure, is, same};
use super::locks::{endless, until};
use super::reads::alike;

/// A migration that says what is wrong with it.
const BROKEN: &str = "apiVersion: lockgate.dev/v1
kind: Model
images: [{ match: 'registry.example/migrate:v7.0.0', crash: { after: 1s, exit_code: 3 }, why: a test }]
logs: [{ match: { container: migrate }, answer: { text: \"connected\\nno such table: carts\\n\" }, why: a test }]
";

/// A hook that fails is named, with what its pods wrote.
pub(super) fn hook_log(bench: &Bench) -> Outcome {
    let chart = bench.plain_chart("0.1.0", &[])?;
    bench.value("helm.install", json!(["shop", chart]), json!({}))?;
    let document: ModelDocument = serde_saphyr::from_str(BROKEN).map_err(|error| error.to_string())?;
    bench.cluster.simulation().ok_or("no simulated cluster")?.with(|sim| sim.models_mut().extend(document));
    let broken = json!({ "values_from": "previous", "values": { "migration": "v7.0.0" } });
    let error = bench.fails(Reason::HelmHook, "helm.upgrade", json!(["shop", chart]), broken)?;
    let says =
        |words: &str| ensure(error.causes.iter().any(|cause| cause.contains(words)), || format!("no `{words}`: {:#?}", error.causes));
    says("the hook is `job/shop-migration`: BackoffLimitExceeded: ")?;
    says("`pod/shop-migration-")?;
    says(" wrote: no such table: carts")?;
    ensure(error.hint.as_deref().is_some_and(|hint| hint.starts_with("mend what the hook says; ")), || format!("{:?}", error.hint))
}

/// All objects that are in the way of an installation are named, with whose they are.
pub(super) fn owners(bench: &Bench) -> Outcome {
    let chart = bench.plain_chart("0.1.0", &[])?;
    let map = |name: &str| json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": {} });
    let mut account = json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "shop" } });
    account["metadata"]["labels"] = json!({ "app.kubernetes.io/managed-by": "Helm" });
    account["metadata"]["annotations"] = json!({ "meta.helm.sh/release-name": "other", "meta.helm.sh/release-namespace": "elsewhere" });
    for object in [map("shop"), map("bystander"), account] {
        bench.value("create", json!([object]), json!({}))?;
    }
    let error = bench.fails(Reason::Conflict, "helm.install", json!(["shop", chart]), json!({}))?;
    for cause in ["`configmap/shop` belongs to no release", "`serviceaccount/shop` belongs to release `elsewhere/other`"] {
        ensure(error.causes.iter().any(|said| said == cause), || format!("no `{cause}`: {:#?}", error.causes))?;
    }
    same("the objects", &error.details["objects"], &json!(["serviceaccount/shop", "configmap/shop"]))?;
    same("nothing was begun", bench.release()?, Json::Null)
}

/// Releases that Helm keeps in ConfigMaps are read, changed, unlocked and removed there.
pub(super) fn in_config_maps(bench: &Bench) -> Outcome {
    let first = bench.plain_chart("0.1.0", &[])?;
    bench.helm_in("configmap", &["install", "shop", &first, "--set", "colour=blue"])?;
    let stored = |kind: &str| -> Outcome<usize> {
        let found = bench.value("list", json!([kind]), json!({ "labels": "owner=helm" }))?;
        Ok(found.as_array().map_or(0, |found| found.iter().count()))
    };
    let kept = |revisions: usize| same("records", (stored("secrets")?, stored("configmaps")?), (0, revisions));
    kept(1)?;
    let next = bench.plain_chart("0.2.0", &[("tag: v1.0.0", "tag: v2.0.0")])?;
    let options = json!({ "values_from": "previous" });
    let diff = bench.value("helm.diff", json!(["shop", next]), options.clone())?;
    is("a diff", &diff["changed"], true)?;
    is("an upgrade", &bench.value("helm.upgrade", json!(["shop", next]), options)?["revision"], 2)?;
    same("its values", bench.value("helm.values", json!(["shop"]), json!({}))?, json!({ "colour": "blue" }))?;
    is("a rollback", &bench.value("helm.rollback", json!(["shop"]), json!({ "revision": 1 }))?["revision"], 3)?;
    kept(3)?;
    let theirs: Json =
        serde_json::from_str(&bench.helm_in("configmap", &["history", "shop", "--output", "json"])?).map_err(|error| error.to_string())?;
    same("history", alike(&bench.value("helm.history", json!(["shop"]), json!({}))?), alike(&theirs))?;

    let words = ["upgrade", "shop", &next, "--set", "migration=v6.6.6,annotations.never-ready=yes", "--timeout", "10m"];
    bench.run(async {
        tokio::select! {
            // Its process group is killed when this future is dropped.
            ended = bench.helming_in(Some("configmap"), &words) => Err(format!("{ended:?}")),
            pending = until(bench, "pending-upgrade") => pending.map_err(|error| error.to_string()),
        }
    })?;
    let again = json!({ "values_from": "previous" });
    bench.fails(Reason::HelmLocked, "helm.upgrade", json!(["shop", next]), again.clone())?;
    bench.value("helm.unlock", json!(["shop"]), json!({}))?;
    is("after it was unlocked", &bench.value("helm.upgrade", json!(["shop", next]), again)?["revision"], 5)?;
    kept(5)?;
    bench.value("helm.uninstall", json!(["shop"]), json!({}))?;
    kept(0)
}

/// What is sent for the records of releases is what the verb says that it needs.
pub(super) fn needs(bench: &Bench) -> Outcome {
    let one = bench.plain_chart("0.1.0", &[])?;
    let two = bench.plain_chart("0.2.0", &[("tag: v1.0.0", "tag: v2.0.0")])?;
    let kept = |values: Json| json!({ "values_from": "previous", "values": values });
    let sent = RefCell::default();
    let step = |verb, positional, options| step(bench, &sent, verb, positional, options);
    step("helm.install", json!(["shop", one]), json!({}))?;
    step("helm.upgrade", json!(["shop", two]), kept(json!({})))?;
    for verb in ["helm.get", "helm.history", "helm.values", "helm.manifest"] {
        step(verb, json!(["shop"]), json!({}))?;
    }
    step("helm.list", json!([]), json!({}))?;
    step("helm.diff", json!(["shop", one]), kept(json!({})))?;
    step("helm.rollback", json!(["shop"]), json!({ "revision": 1 }))?;
    // helm keeps ten revisions: the next ones push the oldest out, of a rollback too.
    for number in 0..7 {
        bench.helm(&["upgrade", "shop", &two, "--set", &format!("colour=c{number}")])?;
    }
    step("helm.upgrade", json!(["shop", two]), kept(json!({ "colour": "last" })))?;
    step("helm.rollback", json!(["shop"]), json!({}))?;
    let upgrade = bench.calling("helm.upgrade", json!(["shop", two]), kept(endless()));
    bench.run(async {
        tokio::select! {
            ended = upgrade => Err(format!("{:?}", ended.map(|done| done.value))),
            pending = until(bench, "pending-upgrade") => pending.map_err(|error| error.to_string()),
        }
    })?;
    step("helm.unlock", json!(["shop"]), json!({}))?;
    step("helm.uninstall", json!(["shop"]), json!({}))?;
    // Of a release that is not there, the ConfigMaps are asked too.
    step("helm.list", json!([]), json!({}))?;
    let sent = sent.into_inner();
    for (verb, sent) in &sent {
        let said = said(verb)?;
        let unused: Vec<&String> = said.difference(sent).filter(|need| *need != "list configmaps").collect();
        ensure(unused.is_empty(), || format!("{verb} says that it needs {unused:?}, and sends {sent:?}"))?;
    }
    Ok(())
}

/// One call; none of its requests for a record is more than is said.
fn step(
    bench: &Bench,
    sent: &RefCell<BTreeMap<&'static str, BTreeSet<String>>>,
    verb: &'static str,
    positional: Json,
    options: Json,
) -> Outcome {
    let begun = bench.cluster.sent();
    bench.value(verb, positional, options)?;
    let is_record = |name: &Option<String>| name.as_deref().is_none_or(|name| name.starts_with("sh.helm.release."));
    let now: BTreeSet<String> = bench
        .cluster
        .requests_after(begun)
        .iter()
        // A helm that waits for what is to go watches the chart's own objects, and no records.
        .filter(|request| request.verb != Verb::Watch && ["secrets", "configmaps"].contains(&request.resource.as_str()))
        .filter(|request| is_record(&request.name) && is_record(&request.made))
        .map(|request| format!("{} {}", request.verb.as_str(), request.resource))
        .collect();
    let said = said(verb)?;
    let more: Vec<&String> = now.difference(&said).collect();
    ensure(!now.is_empty() && more.is_empty(), || format!("{verb} sends {now:?}, and says that it needs {said:?}"))?;
    sent.borrow_mut().entry(verb).or_default().extend(now);
    Ok(())
}

/// What a verb says that it needs, one by one: `list secrets`.
fn said(verb: &str) -> Outcome<BTreeSet<String>> {
    let needs = find(verb).ok_or("no such verb")?.needs.iter().filter_map(|need| need.split_once(' '));
    Ok(needs.flat_map(|(verbs, kind)| verbs.split(',').map(move |verb| format!("{verb} {kind}"))).collect())
}
