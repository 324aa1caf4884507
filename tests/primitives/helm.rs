//! `helm.*` without helm: reading what helm has stored, and charts that a fixture carries in rendered form.

use std::collections::BTreeMap;

use lockgate::base::{Kind, Reason, base64};
use lockgate::cluster::{Cluster, Options, RunId};
use lockgate::primitives::{Inverse, find};
use lockgate_sim::json::{Value as Json, json};
use lockgate_sim::model::{ChartModel, ModelDocument};
use lockgate_sim::{Cluster as Sim, Options as SimOptions, Request};

use super::support::{Rig, changes};

/// Release Secrets as the helms wrote them, with what `helm -o json` said of them. Written by
/// `BLESS=1 cargo test --test cases helm::recorded`.
const RECORDED: [(&str, &str); 2] =
    [("helm3", include_str!("../helm/recorded/helm3.json")), ("helm4", include_str!("../helm/recorded/helm4.json"))];

fn recorded(text: &str) -> Json {
    serde_json::from_str(text).unwrap()
}

/// The Secrets of a release with two revisions, as helm 4 wrote them.
pub(super) fn release_of_two() -> Vec<Json> {
    recorded(RECORDED[1].1)["objects"].as_array().unwrap().to_vec()
}

fn put(sim: &mut Sim, object: &Json) {
    let kind = object["kind"].as_str().unwrap();
    let path = format!("/api/v1/namespaces/default/{}", if kind == "Secret" { "secrets" } else { "configmaps" });
    let answer = sim.handle(&Request::post(&path, object));
    assert_eq!(answer.status, 201, "{object}");
}

/// A cluster in which a helm has been at work.
fn after(helm: &Json) -> Rig {
    let objects: Vec<Json> = helm["objects"].as_array().unwrap().to_vec();
    Rig::with(move |sim| objects.iter().for_each(|object| put(sim, object)))
}

/// What helm prints otherwise than we do: a number as text, a time in another form.
fn alike(rows: &Json) -> Json {
    let rows = rows.as_array().unwrap().iter().map(|row| {
        let mut row = row.clone();
        if let Some(number) = row["revision"].as_str().and_then(|text| text.parse::<i64>().ok()) {
            row["revision"] = number.into();
        }
        row["updated"] = Json::Null;
        row
    });
    Json::Array(rows.collect())
}

#[test]
fn what_both_helms_stored_is_read_as_they_read_it() {
    for (helm, text) in RECORDED {
        let recorded = recorded(text);
        let rig = after(&recorded);
        let history = rig.value("helm.history", json!(["shop"]), json!({}));
        assert_eq!(alike(&history), alike(&recorded["history"]), "{helm}");
        assert_eq!(history[1]["updated"], recorded["history"][1]["updated"], "{helm}");
        assert_eq!(alike(&rig.value("helm.list", json!([]), json!({}))), alike(&recorded["list"]), "{helm}");
        assert_eq!(rig.value("helm.values", json!(["shop"]), json!({})), recorded["values"], "{helm}");
        assert_eq!(rig.value("helm.values", json!(["shop"]), json!({ "all": true })), recorded["all_values"], "{helm}");
        let manifest = rig.value("helm.manifest", json!(["shop"]), json!({}));
        assert_eq!(manifest.as_str().map(str::trim_end), recorded["manifest"].as_str(), "{helm}");
        let release = rig.value("helm.get", json!(["shop"]), json!({}));
        assert_eq!((release["revision"].as_i64(), release["deployed_revision"].as_i64()), (Some(2), Some(2)), "{helm}");
        assert_eq!((release["pending"].as_bool(), release["chart_version"].as_str()), (Some(false), Some("0.1.0")), "{helm}");
        assert_eq!(rig.writes(), 0);
    }
}

/// The release in a Secret, as JSON.
fn unpacked(secret: &Json) -> Json {
    use std::io::Read as _;
    let coded = base64::decode(secret["data"]["release"].as_str().unwrap()).unwrap();
    let packed = base64::decode(std::str::from_utf8(&coded).unwrap()).unwrap();
    let mut text = String::new();
    flate2::read::GzDecoder::new(packed.as_slice()).read_to_string(&mut text).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn old_releases_and_those_in_config_maps_are_read_too() {
    let recorded = recorded(RECORDED[0].1);
    let plain = Rig::with(|sim| {
        for secret in recorded["objects"].as_array().unwrap() {
            let mut secret = secret.clone();
            let coded = base64::encode(serde_json::to_string(&unpacked(&secret)).unwrap().as_bytes());
            secret["data"]["release"] = base64::encode(coded.as_bytes()).into();
            put(sim, &secret);
        }
    });
    assert_eq!(alike(&plain.value("helm.history", json!(["shop"]), json!({}))), alike(&recorded["history"]));
    let maps = Rig::with(|sim| {
        for secret in recorded["objects"].as_array().unwrap() {
            let coded = base64::decode(secret["data"]["release"].as_str().unwrap()).unwrap();
            let metadata = json!({ "name": secret["metadata"]["name"], "labels": secret["metadata"]["labels"] });
            let data = json!({ "release": String::from_utf8(coded).unwrap() });
            put(sim, &json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data }));
        }
    });
    assert_eq!(alike(&maps.value("helm.history", json!(["shop"]), json!({}))), alike(&recorded["history"]));
    assert_eq!(maps.value("helm.values", json!(["shop"]), json!({})), recorded["values"]);
}

#[test]
fn a_release_that_is_not_there_is_nil_or_an_error_that_helps() {
    let rig = after(&recorded(RECORDED[1].1));
    assert_eq!(rig.value("helm.get", json!(["shpo"]), json!({})), Json::Null);
    let error = rig.error("helm.history", json!(["shpo"]), json!({}));
    assert_eq!((error.reason, error.hint.as_deref()), (Reason::NotFound, Some("did you mean `shop`?")));
    let error = rig.error("helm.values", json!(["kube-system/shop"]), json!({}));
    assert_eq!(error.hint.as_deref(), Some("there is one in namespace `default`: write `default/shop`"));
    let error = rig.error("helm.get", json!(["--kubeconfig=x"]), json!({}));
    assert_eq!(error.reason, Reason::Usage, "{error}");
}

#[test]
fn a_release_that_cannot_be_read_says_so() {
    let labels = json!({ "owner": "helm", "name": "torn", "version": "1", "status": "deployed" });
    let metadata = json!({ "name": "sh.helm.release.v1.torn.v1", "labels": labels });
    let secret =
        json!({ "apiVersion": "v1", "kind": "Secret", "type": "helm.sh/release.v1", "metadata": metadata, "data": { "release": "AAAA" } });
    let rig = Rig::with(|sim| put(sim, &secret));
    let error = rig.error("helm.get", json!(["torn"]), json!({}));
    assert_eq!((error.reason, error.object.as_deref()), (Reason::Unsupported, Some("secret/default/sh.helm.release.v1.torn.v1")));
}

const V1: &str = "
apiVersion: v1
kind: ConfigMap
metadata: { name: shop }
data: { colour: green }
---
apiVersion: v1
kind: Secret
metadata: { name: shop-key }
data: { key: b25l }
---
apiVersion: v1
kind: ConfigMap
metadata: { name: shop-old }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: shop }
spec:
  replicas: 2
  selector: { matchLabels: { app: shop } }
  template:
    metadata: { labels: { app: shop } }
    spec: { containers: [{ name: shop, image: registry.example/shop:v1 }] }
";

pub(crate) fn chart(version: &str, manifest: &str) -> ChartModel {
    ChartModel {
        name: "shop".to_owned(),
        version: version.to_owned(),
        app_version: Some(format!("v{version}")),
        kube_version: Some(">=1.30".to_owned()),
        when: json!({}),
        fails: None,
        manifest: manifest.to_owned(),
        crds: String::new(),
        values: json!({ "colour": "green", "image": { "tag": "v1" } }),
        why: "a test".to_owned(),
    }
}

/// The second version: another image and colour, another key, and one object less.
fn v2() -> String {
    let text = V1.replace("shop:v1", "shop:v2").replace("green", "red").replace("b25l", "dHdv");
    let documents: Vec<&str> = text.split("\n---").filter(|document| !document.contains("shop-old")).collect();
    documents.join("\n---")
}

/// A cluster whose fixture has two versions of a chart.
fn rig() -> Rig {
    Rig::with(|sim| {
        let charts = vec![chart("1.0.0", V1), chart("2.0.0", &v2())];
        sim.models_mut().extend(ModelDocument { charts, ..ModelDocument::default() });
    })
}

fn options(version: &str) -> Json {
    json!({ "version": version, "values": { "colour": "green" } })
}

fn upgrade(version: &str) -> Json {
    json!({ "version": version, "values_from": "previous" })
}

fn installed() -> Rig {
    let rig = rig();
    rig.value("helm.install", json!(["shop", "shop"]), options("1.0.0"));
    rig
}

#[test]
fn a_chart_of_the_fixture_is_installed_upgraded_rolled_back_and_uninstalled() {
    let rig = rig();
    let facts = rig.value("helm.chart", json!(["shop"]), json!({ "version": "2.0.0" }));
    assert_eq!((facts["app_version"].as_str(), facts["kube_version"].as_str()), (Some("v2.0.0"), Some(">=1.30")));
    let installed = rig.value("helm.install", json!(["shop", "shop"]), options("1.0.0"));
    assert_eq!((installed["changed"].as_bool(), installed["revision"].as_i64()), (Some(true), Some(1)));
    assert_eq!(rig.images_of("shop"), ["registry.example/shop:v1", "registry.example/shop:v1"], "it was waited for");
    let deployment = rig.object("deployment/shop");
    assert_eq!(deployment["metadata"]["annotations"]["meta.helm.sh/release-name"], "shop");
    assert_eq!(deployment["metadata"]["labels"]["app.kubernetes.io/managed-by"], "Helm");

    let done = rig.call("helm.upgrade", json!(["shop", "shop"]), upgrade("2.0.0")).unwrap();
    let told = changes(&done);
    for says in [
        "revision 1 -> 2",
        "chart shop-1.0.0 -> shop-2.0.0",
        "configmap/shop data.colour green -> red",
        "secret/shop-key data.key (hidden) -> (hidden, another)",
        "configmap/shop-old removed",
        "deployment/shop spec.template.spec.containers[name=shop].image v1 -> v2",
    ] {
        assert!(told.iter().any(|line| line == says), "{says} in {told:#?}");
    }
    assert!(!told.iter().any(|line| line.contains("dHdv") || line.contains("b25l")), "{told:#?}");
    assert_eq!(rig.images_of("shop"), ["registry.example/shop:v2", "registry.example/shop:v2"]);
    let statuses = |rig: &Rig| -> Vec<String> {
        let history = rig.value("helm.history", json!(["shop"]), json!({}));
        history.as_array().unwrap().iter().map(|row| row["status"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(statuses(&rig), ["superseded", "deployed"]);
    assert!(matches!(&done.wrote[0].inverse, Inverse::Call { verb, .. } if verb == "helm.rollback"));

    let back = rig.undo(&done);
    assert!(changes(&back).iter().any(|line| line.ends_with(".image v2 -> v1")), "{:?}", changes(&back));
    assert_eq!(statuses(&rig), ["superseded", "superseded", "deployed"]);
    assert_eq!(rig.object("configmap/shop-old")["kind"], "ConfigMap");
    assert_eq!(rig.value("helm.values", json!(["shop"]), json!({})), json!({ "colour": "green" }));

    let gone = rig.call("helm.uninstall", json!(["shop"]), json!({})).unwrap();
    assert!(matches!(gone.wrote[0].inverse, Inverse::Irreversible(_)));
    assert_eq!(rig.value("helm.get", json!(["shop"]), json!({})), Json::Null);
    assert_eq!(rig.value("exists", json!(["deployment/shop"]), json!({})), false);
    assert_eq!(rig.value("helm.uninstall", json!(["shop"]), json!({}))["changed"], false);
}

#[test]
fn what_is_as_asked_is_left_alone_and_drift_is_not() {
    let rig = installed();
    let writes = rig.writes();
    for (verb, options) in [("helm.upgrade", upgrade("1.0.0")), ("helm.install", options("1.0.0"))] {
        let done = rig.call(verb, json!(["shop", "shop"]), options).unwrap();
        assert!(done.wrote.is_empty(), "{verb}: {:?}", done.wrote);
    }
    assert_eq!(rig.writes(), writes);
    rig.value("scale", json!(["deployment/shop", 5]), json!({}));
    let done = rig.call("helm.upgrade", json!(["shop", "shop"]), upgrade("1.0.0")).unwrap();
    assert!(changes(&done).contains(&"deployment/shop spec.replicas 5 -> 2".to_owned()), "{:?}", changes(&done));
}

#[test]
fn a_diff_tells_what_an_upgrade_would_do_and_does_nothing() {
    let rig = installed();
    rig.value("scale", json!(["deployment/shop", 5]), json!({}));
    rig.read_only();
    let writes = rig.writes();
    let diff = rig.value("helm.diff", json!(["shop", "shop"]), upgrade("2.0.0"));
    let paths: Vec<&str> = diff["changes"].as_array().unwrap().iter().map(|change| change["path"].as_str().unwrap()).collect();
    assert!(paths.contains(&"deployment/shop spec.replicas"), "what others changed is told: {paths:?}");
    assert!(paths.contains(&"secret/shop-key data.key") && paths.contains(&"configmap/shop-old"), "{paths:?}");
    assert!(!diff.to_string().contains("dHdv"), "{diff}");
    assert_eq!(rig.writes(), writes);
    assert_eq!(rig.value("helm.get", json!(["shop"]), json!({}))["revision"], 1);
    let fresh = rig.value("helm.diff", json!(["other", "shop"]), json!({ "version": "1.0.0", "namespace": "kube-system" }));
    assert_eq!(fresh["changed"], true, "an installation: {fresh}");
}

#[test]
fn what_must_be_said_is_asked_for_and_what_was_meant_is_explained() {
    let rig = installed();
    let error = rig.error("helm.upgrade", json!(["shop", "shop"]), json!({ "version": "2.0.0" }));
    assert_eq!((error.kind, error.reason), (Kind::Input, Reason::Usage));
    assert!(error.message.contains("`values_from` is missing"), "{error}");
    let error = rig.error("helm.upgrade", json!(["shop", "shop"]), json!({ "version": "2.0.0", "reuse_values": true }));
    assert!(error.hint.as_deref().unwrap().contains("values_from = \"previous\""), "{error}");
    assert!(error.hint.as_deref().unwrap().contains("defaults of the old one"), "{error}");
    let error = rig.error("helm.upgrade", json!(["shop", "shop"]), json!({ "version": "9.0.0", "values_from": "none" }));
    assert_eq!((error.reason, error.hint.as_deref()), (Reason::HelmChartNotFound, Some("the fixture has `1.0.0` and `2.0.0`")));
    let mut expecting = upgrade("2.0.0");
    expecting["expect_revision"] = 7.into();
    let error = rig.error("helm.upgrade", json!(["shop", "shop"]), expecting);
    assert_eq!(error.reason, Reason::Precondition, "{error}");
    let error = rig.error("helm.install", json!(["shop", "shop"]), json!({ "version": "2.0.0" }));
    assert_eq!((error.reason, error.hint.as_deref()), (Reason::Precondition, Some("use `helm.upgrade`")));
    let error = rig.error("helm.rollback", json!(["shop"]), json!({ "revision": 4 }));
    assert_eq!((error.reason, error.hint.as_deref()), (Reason::NotFound, Some("its revisions are 1")));
    let error = rig.error("helm.rollback", json!(["shop"]), json!({}));
    assert_eq!(error.reason, Reason::NotFound, "{error}");
    assert_eq!(rig.value("helm.get", json!(["shop"]), json!({}))["revision"], 1);
}

#[test]
fn values_lie_over_former_ones_and_unknown_ones_are_noted() {
    let rig = installed();
    let mut options = upgrade("2.0.0");
    options["values"] = json!({ "imgae": { "tag": "v2" }, "colour": null });
    rig.value("helm.upgrade", json!(["shop", "shop"]), options);
    assert_eq!(rig.value("helm.values", json!(["shop"]), json!({})), json!({ "imgae": { "tag": "v2" } }));
    let all = rig.value("helm.values", json!(["shop"]), json!({ "all": true }));
    assert_eq!(all["colour"], "green", "the chart's own value is back");
    let notes = rig.operator.notes.borrow();
    assert!(notes.iter().any(|note| note.contains("has no value `imgae`") && note.contains("it has `image`")), "{notes:?}");
    assert!(notes.iter().any(|note| note.contains("those of the fixture")), "{notes:?}");
}

#[test]
fn nothing_is_changed_where_only_reads_are_allowed() {
    let rig = installed();
    rig.read_only();
    let writes = rig.writes();
    for (verb, arguments, options) in [
        ("helm.upgrade", json!(["shop", "shop"]), upgrade("2.0.0")),
        ("helm.install", json!(["other", "shop"]), options("1.0.0")),
        ("helm.uninstall", json!(["shop"]), json!({})),
    ] {
        let error = rig.error(verb, arguments, options);
        assert_eq!((error.kind, error.reason), (Kind::Refused, Reason::Refused), "{verb}: {error}");
    }
    assert_eq!(rig.writes(), writes);
}

/// Marks the last revision as one whose operation never ended.
pub(super) fn locked(rig: &Rig, status: &str) {
    let mut secret = rig.object("secret/sh.helm.release.v1.shop.v2");
    let mut release = unpacked(&secret);
    release["info"]["status"] = status.into();
    release["info"]["description"] = "Preparing upgrade".into();
    let coded = base64::encode(serde_json::to_string(&release).unwrap().as_bytes());
    secret["data"]["release"] = base64::encode(coded.as_bytes()).into();
    secret["metadata"]["labels"]["status"] = status.into();
    let path = "/api/v1/namespaces/default/secrets/sh.helm.release.v1.shop.v2";
    assert_eq!(rig.sim(|sim| sim.handle(&Request::put(path, &secret)).status), 200);
    let first = "/api/v1/namespaces/default/secrets/sh.helm.release.v1.shop.v1";
    let patch = json!({ "metadata": { "labels": { "status": "deployed" } } });
    assert_eq!(rig.sim(|sim| sim.handle(&Request::patch(first, "application/merge-patch+json", &patch)).status), 200);
}

#[test]
fn a_lock_is_recognised_and_released_in_both_ways() {
    for to in ["failed", "rollback"] {
        let rig = installed();
        rig.value("helm.upgrade", json!(["shop", "shop"]), upgrade("2.0.0"));
        locked(&rig, "pending-upgrade");
        let error = rig.error("helm.upgrade", json!(["shop", "shop"]), upgrade("2.0.0"));
        assert_eq!(error.reason, Reason::HelmLocked, "{error}");
        assert_eq!((error.details["revision"].as_i64(), error.details["status"].as_str()), (Some(2), Some("pending-upgrade")));
        assert!(error.hint.as_deref().unwrap().contains("helm.unlock"), "{error}");
        assert_eq!(rig.value("helm.get", json!(["shop"]), json!({}))["pending"], true);
        for verb in ["helm.rollback", "helm.uninstall"] {
            assert_eq!(rig.error(verb, json!(["shop"]), json!({})).reason, Reason::HelmLocked, "{verb}");
        }
        let done = rig.call("helm.unlock", json!(["shop"]), json!({ "to": to })).unwrap();
        assert_eq!(done.wrote.len(), 1);
        let release = rig.value("helm.get", json!(["shop"]), json!({}));
        assert_eq!(release["pending"], false);
        match to {
            "failed" => {
                assert_eq!((release["revision"].as_i64(), release["status"].as_str()), (Some(2), Some("failed")));
                rig.value("helm.upgrade", json!(["shop", "shop"]), upgrade("2.0.0"));
                assert_eq!(rig.value("helm.get", json!(["shop"]), json!({}))["status"], "deployed");
            }
            _ => {
                assert_eq!((release["revision"].as_i64(), release["status"].as_str()), (Some(3), Some("deployed")));
                assert_eq!(release["chart"], "shop-1.0.0");
            }
        }
        assert_eq!(rig.value("helm.unlock", json!(["shop"]), json!({ "to": to }))["changed"], false);
    }
}

#[test]
fn without_helm_the_error_says_what_to_install() {
    let folder = tempfile::TempDir::new().unwrap();
    std::fs::write(folder.path().join("Chart.yaml"), "apiVersion: v2\nname: other\nversion: 0.1.0\n").unwrap();
    let chart = folder.path().display().to_string();
    let sim = Sim::new(SimOptions::default());
    let options = Options { helm: Some("/nowhere/helm".into()), ..Options::new(RunId::simulated(sim.now(), 1)) };
    let rig = Rig::over(Cluster::simulated(sim, options));
    let error = rig.error("helm.install", json!(["other", chart]), json!({}));
    assert_eq!(error.reason, Reason::CommandMissing, "{error}");
    assert!(error.hint.as_deref().unwrap().contains("https://helm.sh"), "{error}");
}

#[test]
fn a_whole_family_is_declared() {
    let names = [
        "list",
        "get",
        "history",
        "values",
        "manifest",
        "chart",
        "template",
        "diff",
        "install",
        "upgrade",
        "rollback",
        "uninstall",
        "unlock",
    ];
    let missing: Vec<&&str> = names.iter().filter(|name| find(&format!("helm.{name}")).is_none()).collect();
    assert!(missing.is_empty(), "{missing:?}");
    let known: BTreeMap<&str, usize> = BTreeMap::from([("helm.upgrade", 10), ("helm.unlock", 2)]);
    for (name, options) in known {
        assert_eq!(find(name).unwrap().options.len(), options, "{name}: the options are a closed list");
    }
}

/// A chart that renders to something else for its preflight, and refuses a value.
fn formed() -> Rig {
    let form = |when: Json, manifest: &str, fails: Option<&str>| ChartModel {
        when,
        fails: fails.map(str::to_owned),
        values: if fails.is_none() && !manifest.contains("preflight") { chart("1.0.0", "").values } else { json!({}) },
        ..chart("1.0.0", manifest)
    };
    let preflight = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: preflight }\n";
    Rig::with(|sim| {
        let charts = vec![
            form(json!({}), V1, None),
            form(json!({ "preflight": { "enabled": true }, "agent": false }), preflight, None),
            form(json!({ "tunnel": "vxlan" }), "", Some("tunnel was removed: use routingMode")),
        ];
        sim.models_mut().extend(ModelDocument { charts, ..ModelDocument::default() });
    })
}

#[test]
fn a_chart_of_the_fixture_has_the_form_that_its_values_ask_for() {
    let rig = formed();
    let call = |release: &str, values: Json| (json!([release, "shop"]), json!({ "version": "1.0.0", "values": values }));
    let (place, options) = call("pre", json!({ "preflight": { "enabled": true, "more": 1 }, "agent": false }));
    rig.value("helm.install", place, options);
    assert!(rig.value("exists", json!(["configmap/preflight"]), json!({})) == true);
    assert!(rig.value("exists", json!(["deployment/shop"]), json!({})) == false, "the same chart, another form");
    assert!(rig.operator.notes.borrow().iter().any(|note| note.contains("the values given here are not in them")), "`more` is in no entry");
    let (place, options) = call("shop", json!({ "agent": false }));
    rig.value("helm.install", place, options);
    assert_eq!(rig.object("deployment/shop")["kind"], "Deployment");
    let facts = rig.value("helm.chart", json!(["shop"]), json!({ "version": "1.0.0" }));
    assert_eq!(facts["values"], json!({ "colour": "green", "image": { "tag": "v1" } }), "its own values are those of any form");

    let writes = rig.writes();
    let refused = json!({ "version": "1.0.0", "values": { "tunnel": "vxlan" }, "values_from": "previous" });
    let error = rig.error("helm.upgrade", json!(["shop", "shop"]), refused.clone());
    assert_eq!((error.reason, rig.writes()), (Reason::HelmRender, writes), "{error}");
    assert!(error.to_string().ends_with("tunnel was removed: use routingMode"), "{error}");
    assert_eq!(rig.error("helm.diff", json!(["shop", "shop"]), refused).reason, Reason::HelmRender);
    let (place, options) = call("shop", json!({ "tunnel": "vxlan" }));
    assert_eq!(rig.error("helm.template", place, options).reason, Reason::HelmRender);
}

#[test]
fn values_that_no_form_is_for_are_told() {
    let rig = Rig::with(|sim| {
        let charts = vec![ChartModel { when: json!({ "a": 1 }), ..chart("1.0.0", V1) }];
        sim.models_mut().extend(ModelDocument { charts, ..ModelDocument::default() });
    });
    let error = rig.error("helm.install", json!(["shop", "shop"]), json!({ "version": "1.0.0" }));
    assert_eq!(error.reason, Reason::HelmChartNotFound);
    assert_eq!(error.hint.as_deref(), Some("the fixture has it when the values hold `{\"a\":1}`"));
}

#[test]
fn waiting_for_the_workloads_may_be_left_to_the_script() {
    let rig = installed();
    rig.sim(|sim| sim.models_mut().never_pulls("*:v2"));
    let waits = rig.error("helm.upgrade", json!(["shop", "shop"]), upgrade("2.0.0"));
    assert_eq!(waits.reason, Reason::ImagePull, "{waits}");
    let rig = installed();
    rig.sim(|sim| sim.models_mut().never_pulls("*:v2"));
    let options = |version: &str| json!({ "version": version, "values_from": "previous", "wait": false });
    let before = rig.cluster.clock().now();
    let done = rig.value("helm.upgrade", json!(["shop", "shop"]), options("2.0.0"));
    assert_eq!((done["changed"].as_bool(), rig.cluster.clock().now()), (Some(true), before));
    rig.value("helm.rollback", json!(["shop"]), json!({ "revision": 1, "wait": false }));
}

#[test]
fn a_rollout_that_goes_on_is_waited_for_however_long_it_takes() {
    // Forty pods, one after another, each looked at for twenty seconds: more than the ten minutes that a wait has otherwise.
    let slow =
        V1.replace("replicas: 2", "replicas: 40\n  minReadySeconds: 20\n  strategy: { rollingUpdate: { maxUnavailable: 1, maxSurge: 0 } }");
    let rig = Rig::with(|sim| {
        let charts = vec![chart("1.0.0", &slow), chart("2.0.0", &slow.replace("shop:v1", "shop:v2"))];
        sim.models_mut().extend(ModelDocument { charts, ..ModelDocument::default() });
    });
    rig.value("helm.install", json!(["shop", "shop"]), options("1.0.0"));
    let before = rig.cluster.clock().now();
    rig.value("helm.upgrade", json!(["shop", "shop"]), upgrade("2.0.0"));
    assert!(lockgate::base::Span::between(before, rig.cluster.clock().now()) > lockgate::base::Span::from_secs(700));
    assert_eq!(rig.images_of("shop").iter().filter(|image| image.ends_with(":v2")).count(), 40);
}
