//! The schemas of the files that lockgate writes for others to read: bound plans, and the first line of a snapshot.

use super::{confirmation, document, list_of, merge, object, summary_fields, text, texts};
use crate::base::json::{Value as Json, json};
use crate::cluster::snapshot;
use crate::run::planfile;

/// An object of which the members have names of their own.
fn map_of(items: &Json) -> Json {
    json!({ "type": "object", "additionalProperties": items })
}

pub(super) fn planfile() -> Json {
    let (required, optional) = summary_fields();
    let claim = object(json!({ "at": text(), "says": text() }), json!({}));
    let pods = object(json!({ "pods": list_of(json!({ "type": "object" })) }), json!({}));
    let one = object(json!({ "object": { "type": ["object", "null"] } }), json!({}));
    let mut schema = document(
        planfile::SCHEMA,
        "What `lockgate plan --out FILE` writes",
        &[
            "hash",
            "tool",
            "runbook",
            "files",
            "params",
            "cluster",
            "simulated",
            "namespace",
            "summary",
            "claims",
            "confirmations",
            "inputs",
            "lists",
        ],
        json!({
            "hash": text(), "tool": text(), "runbook": text(), "files": map_of(&text()), "params": { "type": "object" }, "cluster": text(),
            "uid": text(), "simulated": { "type": "boolean" }, "namespace": text(), "summary": object(required, optional),
            "claims": list_of(claim), "lists": map_of(&texts()), "charts": map_of(&text()),
        }),
    );
    if let Some(properties) = schema.get_mut("properties") {
        let confirmations = list_of(object(confirmation(), json!({})));
        merge(properties, json!({ "confirmations": confirmations, "inputs": map_of(&json!({ "oneOf": [pods, one] })) }));
    }
    schema
}

pub(super) fn snapshot() -> Json {
    let part = object(
        json!({ "group": text(), "version": text(), "resource": text(), "kind": text() }),
        json!({ "namespace": text(), "slim": { "type": "boolean" } }),
    );
    let left = object(json!({ "what": text(), "why": text() }), json!({}));
    let cut = object(json!({ "object": text(), "field": text(), "why": text() }), json!({}));
    document(
        snapshot::SCHEMA,
        "The first line of what `lockgate snapshot -o FILE` writes, when it is unpacked",
        &["tool", "at", "cluster", "version", "namespace", "scopes"],
        json!({
            "tool": text(), "at": text(), "cluster": text(), "uid": text(), "version": text(), "namespace": text(), "purpose": text(),
            "scopes": list_of(part), "refused": list_of(left), "cut": list_of(cut),
        }),
    )
}
