//! A release that the other helm made: read, upgraded and taken back by this one, and then by the other again.

use std::io::Read as _;

use flate2::read::GzDecoder;
use lockgate::base::base64;
use lockgate_sim::json::{Value as Json, json};

use super::bench::{Bench, Outcome, ensure, is, same};
use super::reads::alike;

/// How a revision was applied, in its own record: `csa`, `ssa`, or nothing, which is `csa`.
fn applied_by(bench: &Bench, revision: u32) -> Outcome<String> {
    let secret = bench.object(&format!("secret/sh.helm.release.v1.shop.v{revision}"))?;
    let decode = |text: &str| base64::decode(text).ok_or("not base64");
    let coded = decode(secret["data"]["release"].as_str().unwrap_or_default())?;
    let packed = decode(std::str::from_utf8(&coded).map_err(|error| error.to_string())?)?;
    let mut plain = Vec::new();
    GzDecoder::new(packed.as_slice()).read_to_end(&mut plain).map_err(|error| error.to_string())?;
    let release: Json = serde_json::from_slice(&plain).map_err(|error| error.to_string())?;
    Ok(release["apply_method"].as_str().unwrap_or_default().to_owned())
}

pub(super) fn crossed(bench: &Bench) -> Outcome {
    let chart = bench.chart("0.1.0", &[])?;
    bench.other_helm(&["install", "shop", &chart, "--set", "colour=blue"])?;
    let history = bench.value("helm.history", json!(["shop"]), json!({}))?;
    same("history", alike(&history), alike(&bench.other_json(&["history", "shop"])?))?;
    same("values", bench.value("helm.values", json!(["shop"]), json!({}))?, json!({ "colour": "blue" }))?;

    let next = bench.chart("0.2.0", &[("tag: v1.0.0", "tag: v2.0.0")])?;
    bench.value("helm.upgrade", json!(["shop", next]), json!({ "values_from": "previous" }))?;
    same("upgraded", bench.release()?["chart"].as_str(), Some("shop-0.2.0"))?;
    same("values are kept", bench.value("helm.values", json!(["shop"]), json!({}))?, json!({ "colour": "blue" }))?;
    if bench.helm == "helm4" {
        let method = applied_by(bench, 2)?;
        ensure(method != "ssa", || format!("what helm 3 made stays client-side, not {method}"))?;
    }

    let theirs = bench.other_json(&["history", "shop"])?;
    same("the other helm reads it", alike(&bench.value("helm.history", json!(["shop"]), json!({}))?), alike(&theirs))?;
    let later = bench.chart("0.3.0", &[])?;
    bench.other_helm(&["upgrade", "shop", &later, "--reset-values", "--set", "colour=red"])?;
    same("and goes on with it", bench.release()?["chart"].as_str(), Some("shop-0.3.0"))?;

    let back = bench.value("helm.rollback", json!(["shop"]), json!({ "revision": 2 }))?;
    is("back", &back["revision"], 4)?;
    same("to our own", bench.release()?["chart"].as_str(), Some("shop-0.2.0"))?;
    let first = bench.value("helm.rollback", json!(["shop"]), json!({ "revision": 1 }))?;
    is("and to theirs", &first["chart"], "shop-0.1.0")?;
    is("as it was", &bench.object("configmap/shop")?["data"]["colour"], "blue")?;
    let statuses = bench.other_json(&["history", "shop"])?;
    let last = statuses.as_array().and_then(|rows| rows.last()).map(|row| row["status"].clone());
    same("they agree", last, Some(json!("deployed")))
}
