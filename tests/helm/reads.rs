//! What helm has stored is read as helm reads it.

use std::io::Read as _;

use flate2::read::GzDecoder;
use lockgate::base::base64;
use lockgate_sim::json::{Value as Json, json};

use super::bench::{Bench, Outcome, same};

/// What helm prints otherwise than we do: a number as text, a time in another form.
pub(super) fn alike(rows: &Json) -> Json {
    let rows = rows.as_array().into_iter().flatten().map(|row| {
        let mut row = row.clone();
        if let Some(number) = row["revision"].as_str().and_then(|text| text.parse::<i64>().ok()) {
            row["revision"] = number.into();
        }
        row["updated"] = Json::Null;
        row
    });
    Json::Array(rows.collect())
}

/// Two revisions of the chart by helm itself.
pub(super) fn two_revisions(bench: &Bench) -> Outcome {
    let chart = bench.chart("0.1.0", &[])?;
    bench.helm(&["install", "shop", &chart, "--set", "nested.a=1", "--set", "list={a,b}", "--set", "gone=1"])?;
    bench.helm(&["upgrade", "shop", &chart, "--reset-values", "--set", "colour=red,nested.b=2,replicas=null"])?;
    Ok(())
}

pub(super) fn equal(bench: &Bench) -> Outcome {
    two_revisions(bench)?;
    let history = bench.value("helm.history", json!(["shop"]), json!({}))?;
    let theirs = bench.helm_json(&["history", "shop"])?;
    same("history", alike(&history), alike(&theirs))?;
    same("times", &history[1]["updated"], &theirs[1]["updated"])?;
    same("list", alike(&bench.value("helm.list", json!([]), json!({}))?), alike(&bench.helm_json(&["list"])?))?;
    same("values", bench.value("helm.values", json!(["shop"]), json!({}))?, bench.helm_json(&["get", "values", "shop"])?)?;
    let all = bench.value("helm.values", json!(["shop"]), json!({ "all": true }))?;
    same("all values", all, bench.helm_json(&["get", "values", "shop", "--all"])?)?;
    let manifest = bench.value("helm.manifest", json!(["shop"]), json!({}))?;
    same("manifest", manifest.as_str().unwrap_or_default().trim(), bench.helm(&["get", "manifest", "shop"])?.trim())?;
    let notes = bench.release()?["notes"].clone();
    same(
        "notes",
        notes.as_str().unwrap_or_default().trim(),
        bench.helm(&["get", "notes", "shop"])?.trim().trim_start_matches("NOTES:").trim(),
    )
}

pub(super) fn uncompressed(bench: &Bench) -> Outcome {
    two_revisions(bench)?;
    let theirs = bench.helm_json(&["history", "shop"])?;
    for revision in ["1", "2"] {
        let name = format!("secret/sh.helm.release.v1.shop.v{revision}");
        let secret = bench.object(&name)?;
        let decode = |text: &str| base64::decode(text).ok_or("not base64");
        let coded = decode(secret["data"]["release"].as_str().unwrap_or_default())?;
        let packed = decode(std::str::from_utf8(&coded).map_err(|error| error.to_string())?)?;
        let mut plain = Vec::new();
        GzDecoder::new(packed.as_slice()).read_to_end(&mut plain).map_err(|error| error.to_string())?;
        let data = base64::encode(base64::encode(&plain).as_bytes());
        bench.value("patch", json!([name, { "data": { "release": data } }]), json!({}))?;
    }
    same("history", alike(&bench.value("helm.history", json!(["shop"]), json!({}))?), alike(&theirs))?;
    same("helm reads it too", alike(&bench.helm_json(&["history", "shop"])?), alike(&theirs))
}
