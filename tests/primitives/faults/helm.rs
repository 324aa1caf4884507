//! `helm.*` as far as it needs no helm: what is stored is read natively, and charts are those of a fixture.

use lockgate_sim::Cluster as Sim;
use lockgate_sim::json::{Value as Json, json};
use lockgate_sim::model::ModelDocument;
use lockgate_sim::request::Request;

use super::calls::{Case, given};
use crate::primitives::helm::{chart, locked, release_of_two};
use crate::primitives::support::Rig;

const ONE: &str = "
apiVersion: v1
kind: ConfigMap
metadata: { name: shop }
data: { colour: green }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: shop }
spec:
  replicas: 1
  selector: { matchLabels: { app: shop } }
  template:
    metadata: { labels: { app: shop } }
    spec: { containers: [{ name: shop, image: registry.example/shop:v1 }] }
";

/// The second version has another image and lacks the map.
fn two() -> String {
    let deployment = ONE.split_once("---").unwrap().1;
    deployment.replace("shop:v1", "shop:v2")
}

/// A cluster whose fixture has two versions of a chart.
fn charts() -> Rig {
    Rig::with(|sim| {
        let charts = vec![chart("1.0.0", ONE), chart("2.0.0", &two())];
        sim.models_mut().extend(ModelDocument { charts, ..ModelDocument::default() });
    })
}

fn chosen() -> Sim {
    charts().sim(|sim| sim.fork())
}

fn install(rig: &Rig) {
    rig.value("helm.install", json!(["shop", "shop"]), json!({ "version": "1.0.0" }));
}

fn upgrade(rig: &Rig) {
    rig.value("helm.upgrade", json!(["shop", "shop"]), newer());
}

fn newer() -> Json {
    json!({ "version": "2.0.0", "values_from": "previous", "stall": "1h" })
}

fn installed() -> Sim {
    let rig = charts();
    install(&rig);
    rig.sim(|sim| sim.fork())
}

fn upgraded() -> Sim {
    let rig = charts();
    install(&rig);
    upgrade(&rig);
    rig.sim(|sim| sim.fork())
}

/// The second revision was begun and never ended.
fn stuck() -> Sim {
    let rig = charts();
    install(&rig);
    upgrade(&rig);
    locked(&rig, "pending-upgrade");
    rig.sim(|sim| sim.fork())
}

/// A release as helm 4 recorded it.
fn released(sim: &mut Sim) {
    for secret in release_of_two() {
        assert_eq!(sim.handle(&Request::post("/api/v1/namespaces/default/secrets", &secret)).status, 201);
    }
}

pub(super) fn reads() -> Vec<Case> {
    let shop = || json!(["shop"]);
    vec![
        given("helm.list", released, "helm.list", json!([]), json!({})),
        given("helm.get", released, "helm.get", shop(), json!({})),
        given("helm.history", released, "helm.history", shop(), json!({})),
        given("helm.values", released, "helm.values", shop(), json!({ "all": true })),
        given("helm.manifest", released, "helm.manifest", shop(), json!({})),
        Case::on("helm.diff", installed, "helm.diff", json!(["shop", "shop"]), json!({ "version": "2.0.0", "values_from": "previous" })),
    ]
}

pub(super) fn writes() -> Vec<Case> {
    let both = || json!(["shop", "shop"]);
    vec![
        Case::on("helm.install", chosen, "helm.install", both(), json!({ "version": "1.0.0", "stall": "1h" })),
        Case::on("helm.upgrade", installed, "helm.upgrade", both(), newer()),
        Case::on("helm.rollback", upgraded, "helm.rollback", json!(["shop"]), json!({ "revision": 1, "stall": "1h" })),
        Case::on("helm.uninstall", upgraded, "helm.uninstall", json!(["shop"]), json!({})),
    ]
}

pub(super) fn locks() -> Vec<Case> {
    vec![
        Case::on("helm.unlock", stuck, "helm.unlock", json!(["shop"]), json!({ "to": "failed" })),
        Case::on("helm.unlock back", stuck, "helm.unlock", json!(["shop"]), json!({ "to": "rollback" })),
    ]
}

/// Charts of a fixture are read and rendered without the cluster.
pub(super) fn without_requests() -> Vec<Case> {
    vec![
        Case::on("helm.chart", chosen, "helm.chart", json!(["shop"]), json!({ "version": "1.0.0" })),
        Case::on("helm.template", chosen, "helm.template", json!(["shop", "shop"]), json!({ "version": "1.0.0" })),
    ]
}
