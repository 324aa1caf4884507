//! The schemas of `lockgate runs`, `status` and `report`.

use super::super::json::{REPORT, RUNS, STATUS};
use super::{
    any_event, confirmation, count, document, error, item, list_of, maybe, object, step_end, summary_fields, text, texts, verdict, words,
};
use crate::base::json::{Value as Json, json};
use crate::run::journal::view::{Became, Standing};

pub(super) fn list() -> Json {
    let broken = object(json!({ "run": text(), "error": error() }), json!({}));
    document(RUNS, "What `lockgate runs -o json` prints", &["runs"], json!({ "runs": list_of(json!({ "oneOf": [line(), broken] })) }))
}

pub(super) fn status() -> Json {
    let next = object(json!({ "command": text(), "does": text() }), json!({}));
    document(
        STATUS,
        "What `lockgate status -o json` prints",
        &["run", "title", "inside", "steps", "steps_of", "asked", "half_done", "error", "next"],
        json!({
            "run": line(), "title": text(), "inside": maybe("string"), "steps": list_of(step()), "steps_of": count(),
            "asked": or_null(asked()), "half_done": list_of(write()), "error": or_null(error()), "next": list_of(next),
        }),
    )
}

pub(super) fn report() -> Json {
    let process = object(json!({ "at": text(), "pid": count(), "host": text(), "user": text(), "epoch": count() }), json!({}));
    let prediction = object(json!({ "at": text(), "says": text() }), json!({ "took": text() }));
    let hindsight = object(
        json!({ "predicted": count(), "right": count(), "not_reached": count(), "wrong": texts(), "surprises": texts() }),
        json!({}),
    );
    let planned = object(
        json!({ "text": text(), "took": text(), "writes": count(), "steps": { "type": "object" } }),
        json!({ "predictions": list_of(prediction), "made_up": { "type": "object" } }),
    );
    let consent = object(
        json!({
            "at": text(), "by": text(), "plan": maybe("string"), "confirmations": list_of(object(confirmation(), json!({}))),
            "planned": or_null(planned),
        }),
        json!({}),
    );
    let check = object(json!({ "check": item(), "at": text(), "verdict": or_null(verdict()), "took": maybe("string") }), json!({}));
    let incident = object(json!({ "at": text(), "what": text() }), json!({}));
    let (required, optional) = summary_fields();
    let properties = json!({
        "run": text(), "what": words(["run", "rollback"]), "of": maybe("string"), "runbook": text(), "title": text(), "source": text(),
        "files": { "type": "object" }, "command": text(), "version": text(), "params": { "type": "object" }, "target": target(),
        "cluster": maybe("string"), "namespace": text(), "standing": words(Standing::WORDS), "started": text(), "last": text(),
        "took": text(), "processes": list_of(process), "consent": or_null(consent), "checks": list_of(check), "steps_of": count(),
        "steps": list_of(step()), "inside": maybe("string"), "asked": list_of(asked()), "writes": list_of(write()),
        "incidents": list_of(incident), "summary": or_null(object(required, optional)), "events": list_of(any_event("at", &json!({}))),
        "lines": count(), "head": text(), "torn": { "type": "boolean" }, "taken_back": or_null(taken_back()),
        "hindsight": or_null(hindsight),
    });
    let names: Vec<String> = properties.as_object().map(|map| map.keys().map(ToString::to_string).collect()).unwrap_or_default();
    document(REPORT, "What `lockgate report -o json` prints", &names.iter().map(String::as_str).collect::<Vec<_>>(), properties)
}

fn line() -> Json {
    object(
        json!({
            "run": text(), "what": words(["run", "rollback"]), "runbook": text(), "target": target(), "standing": words(Standing::WORDS),
            "started": text(), "took": text(), "writes": count(), "half_done": count(), "taken_back": or_null(taken_back()),
        }),
        json!({}),
    )
}

fn taken_back() -> Json {
    object(json!({ "run": text(), "to": maybe("string"), "standing": or_null(words(Standing::WORDS)) }), json!({}))
}

fn target() -> Json {
    object(json!({ "name": text(), "simulated": { "type": "boolean" } }), json!({}))
}

fn step() -> Json {
    object(
        json!({
            "step": item(), "started": text(), "ended": maybe("string"), "end": or_null(step_end()), "took": maybe("string"),
            "predicted": maybe("string"), "writes": count(),
        }),
        json!({}),
    )
}

fn write() -> Json {
    object(
        json!({
            "at": text(), "place": text(), "op": text(), "verb": text(), "target": text(), "part": maybe("string"),
            "became": words(Became::WORDS), "why": maybe("string"),
        }),
        json!({}),
    )
}

fn asked() -> Json {
    object(
        json!({
            "at": text(), "confirmation": object(confirmation(), json!({})), "answer": maybe("string"),
            "by": words(["operator", "plan", "assumption", "nobody"]), "who": maybe("string"),
        }),
        json!({}),
    )
}

fn or_null(schema: Json) -> Json {
    json!({ "oneOf": [schema, { "type": "null" }] })
}
