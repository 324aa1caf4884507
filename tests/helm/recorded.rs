//! Recordings of what the helms store and say, for the tests that need no helm. `BLESS=1` writes them.

use std::path::Path;

use lockgate_sim::json::{Value as Json, json};

use super::bench::{Bench, Outcome, same};
use super::reads::{alike, two_revisions};

/// What helm has stored is in the recording: as it says, and in the same form.
pub(super) fn check(bench: &Bench) -> Outcome {
    two_revisions(bench)?;
    let secrets = bench.value("list", json!(["secrets"]), json!({ "labels": "owner=helm" }))?;
    let plain = |secret: &Json| {
        json!({
            "apiVersion": "v1", "kind": "Secret", "type": secret["type"], "data": secret["data"],
            "metadata": { "name": secret["metadata"]["name"], "labels": secret["metadata"]["labels"] },
        })
    };
    let said = json!({
        "history": bench.helm_json(&["history", "shop"])?,
        "list": bench.helm_json(&["list"])?,
        "values": bench.helm_json(&["get", "values", "shop"])?,
        "all_values": bench.helm_json(&["get", "values", "shop", "--all"])?,
        "manifest": bench.helm(&["get", "manifest", "shop"])?.trim_end(),
        "objects": secrets.as_array().into_iter().flatten().map(plain).collect::<Json>(),
    });
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/helm/recorded/{}.json", bench.helm));
    if std::env::var_os("BLESS").is_some_and(|value| value == "1") {
        let text = serde_json::to_string_pretty(&said).map_err(|error| error.to_string())?;
        return std::fs::write(&file, text + "\n").map_err(|error| error.to_string());
    }
    let text = std::fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    let recorded: Json = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    for field in ["history", "list"] {
        same(field, alike(&said[field]), alike(&recorded[field]))?;
    }
    for field in ["values", "all_values", "manifest"] {
        same(field, &said[field], &recorded[field])?;
    }
    let labels = |said: &Json| -> Vec<Vec<String>> {
        let objects = said["objects"].as_array().into_iter().flatten();
        objects
            .map(|object| object["metadata"]["labels"].as_object().into_iter().flatten().map(|(key, _)| key.to_string()).collect())
            .collect()
    };
    same("labels", labels(&said), labels(&recorded))
}
