//! The JSON Schemas of everything that `-o json` prints, made from the same closed lists as the code. Published as the files of
//! `host/report/schema/`.

#[path = "files_schema.rs"]
mod files;
#[path = "runs_schema.rs"]
mod runs;

use crate::base::json::{Value as Json, json};

use super::json::{CHECK, ERROR, EVENT, LIST, PLAN, REQUEST, SHOW, SKEW, TEST};
use crate::base::{Kind, Reason};
use crate::check::Rule;
use crate::primitives::skew::{Component, Verdict};
use crate::run::runbook::{Impact, ParamType};

/// Every schema, with the name of its file.
#[must_use]
pub fn all() -> Vec<(&'static str, Json)> {
    vec![
        ("check.v1.json", check()),
        ("error.v1.json", error_document()),
        ("event.v1.json", event_line()),
        ("list.v1.json", list()),
        ("plan.v1.json", plan()),
        ("planfile.v1.json", files::planfile()),
        ("request.v1.json", request()),
        ("report.v1.json", runs::report()),
        ("runs.v1.json", runs::list()),
        ("show.v1.json", show()),
        ("skew.v1.json", skew()),
        ("snapshot.v1.json", files::snapshot()),
        ("status.v1.json", runs::status()),
        ("test.v1.json", test()),
    ]
}

fn document(schema: &str, title: &str, required: &[&str], properties: Json) -> Json {
    let mut all = json!({ "schema": { "const": schema } });
    merge(&mut all, properties);
    let required: Vec<&str> = std::iter::once("schema").chain(required.iter().copied()).collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": format!("https://{schema}.json"),
        "title": title,
        "type": "object",
        "required": required,
        "additionalProperties": false,
        "properties": all,
    })
}

fn merge(into: &mut Json, from: Json) {
    if let (Json::Object(into), Json::Object(from)) = (into, from) {
        into.extend(from);
    }
}

/// A closed object: all of `required` must be there, nothing but both lists may.
fn object(required: Json, optional: Json) -> Json {
    let names: Vec<String> = required.as_object().map(|map| map.keys().map(ToString::to_string).collect()).unwrap_or_default();
    let mut properties = required;
    merge(&mut properties, optional);
    json!({ "type": "object", "required": names, "additionalProperties": false, "properties": properties })
}

fn text() -> Json {
    json!({ "type": "string" })
}

fn texts() -> Json {
    json!({ "type": "array", "items": { "type": "string" } })
}

fn count() -> Json {
    json!({ "type": "integer", "minimum": 0 })
}

fn maybe(ty: &str) -> Json {
    json!({ "type": [ty, "null"] })
}

fn words<'a>(words: impl IntoIterator<Item = &'a str>) -> Json {
    json!({ "enum": words.into_iter().collect::<Vec<_>>() })
}

fn list_of(items: Json) -> Json {
    json!({ "type": "array", "items": items })
}

fn known() -> Json {
    words(["observed", "admitted", "modelled", "assumed", "unknown"])
}

fn what() -> Json {
    words(["plan", "run"])
}

fn error() -> Json {
    let kinds = [Kind::Runbook, Kind::Cluster, Kind::Stuck, Kind::Internal, Kind::Input, Kind::Cancelled, Kind::Refused];
    let place = object(
        json!({ "file": text(), "line": count(), "column": maybe("integer"), "length": maybe("integer"), "source": maybe("string"), "function": maybe("string") }),
        json!({}),
    );
    object(
        json!({
            "kind": words(kinds.iter().map(|kind| kind.as_str())),
            "reason": words(Reason::ALL.iter().map(|reason| reason.as_str())),
            "message": text(),
            "object": maybe("string"),
            "hint": maybe("string"),
            "causes": texts(),
            "details": {},
            "places": list_of(place),
        }),
        json!({}),
    )
}

fn item() -> Json {
    let part = object(json!({ "name": text(), "number": count(), "of": count() }), json!({}));
    object(json!({ "id": text(), "title": text(), "number": count(), "of": count() }), json!({ "part": part }))
}

/// One of several closed objects, told apart by `is`.
fn cases(cases: &[(&str, Json, Json)]) -> Json {
    let all: Vec<Json> = cases
        .iter()
        .map(|(name, required, optional)| {
            let mut required = required.clone();
            merge(&mut required, json!({ "is": { "const": name } }));
            object(required, optional.clone())
        })
        .collect();
    json!({ "oneOf": all })
}

fn verdict() -> Json {
    cases(&[
        ("ok", json!({}), json!({ "detail": text() })),
        ("not_needed", json!({ "why": text() }), json!({})),
        ("failed", json!({ "error": error() }), json!({})),
        ("skipped", json!({ "why": text() }), json!({})),
        ("unknown", json!({ "error": error() }), json!({})),
    ])
}

fn step_end() -> Json {
    cases(&[
        ("done", json!({ "recovered": { "type": "boolean" } }), json!({})),
        ("skipped", json!({ "why": text() }), json!({})),
        ("failed", json!({ "error": error() }), json!({})),
        ("unknown", json!({ "why": text() }), json!({})),
    ])
}

fn change() -> Json {
    object(json!({ "path": text() }), json!({ "before": {}, "after": {} }))
}

fn inverse() -> Json {
    let call = object(json!({ "verb": text(), "arguments": { "type": "array" }, "options": {} }), json!({}));
    json!({ "oneOf": [object(json!({ "call": call }), json!({})), object(json!({ "irreversible": text() }), json!({}))] })
}

fn confirmation() -> Json {
    json!({ "place": text(), "question": text(), "occurrence": count() })
}

fn summary_fields() -> (Json, Json) {
    (
        json!({
            "end": words(["succeeded", "not_needed", "failed", "parked", "interrupted", "unknown"]),
            "exit_code": count(),
            "writes": count(),
            "objects": texts(),
            "invertible": count(),
            "took": text(),
        }),
        json!({
            "unsure": texts(),
            "no_return": texts(),
            "stays": list_of(object(json!({ "verb": text(), "target": text(), "why": text() }), json!({}))),
            "unknowns": texts(),
            "assumptions": texts(),
            "drift": object(json!({ "inputs": count(), "changed": list_of(object(json!({ "object": text(), "how": text() }), json!({}))) }), json!({})),
            "confirmations": list_of(object(confirmation(), json!({}))),
            "requests": texts(),
            "error": error(),
        }),
    )
}

/// Each event: its name, what it always has, what it may have.
fn events() -> Vec<(&'static str, Json, Json)> {
    let none = || json!({});
    let mut asked = confirmation();
    merge(&mut asked, json!({ "by": words(["operator", "plan", "assumption", "nobody"]), "known": known() }));
    let (mut finished, finished_may) = summary_fields();
    merge(&mut finished, json!({ "what": what() }));
    let started = json!({
        "what": what(), "run": text(), "runbook": text(), "title": text(), "namespace": text(), "checks": texts(), "steps": count(),
        "target": object(json!({ "name": text(), "simulated": { "type": "boolean" } }), none()),
        "params": { "type": "object" },
    });
    vec![
        ("started", started, none()),
        ("check_started", json!({ "check": item() }), none()),
        ("check_finished", json!({ "check": item(), "verdict": verdict(), "known": known(), "took": text() }), none()),
        ("step_started", json!({ "step": item() }), none()),
        ("recovering", json!({ "step": text(), "phase": words(["run", "verify"]), "error": error() }), none()),
        ("no_return", json!({ "step": text(), "why": text() }), none()),
        ("again", json!({ "step": text() }), none()),
        (
            "wrote",
            json!({ "verb": text(), "target": text(), "changes": list_of(change()), "inverse": inverse(), "known": known() }),
            none(),
        ),
        ("unchanged", json!({ "verb": text(), "target": text(), "known": known() }), none()),
        ("waiting", json!({ "what": text(), "state": text(), "since": text() }), none()),
        ("delayed", json!({ "what": text(), "state": text(), "waited": text() }), none()),
        ("warned", json!({ "text": text() }), none()),
        ("waited", json!({ "what": text(), "state": text(), "took": text(), "known": known() }), none()),
        ("note", json!({ "text": text() }), none()),
        ("asked", asked, json!({ "answer": text(), "who": text() })),
        ("step_finished", json!({ "step": item(), "end": step_end(), "took": text() }), none()),
        ("finished", finished, finished_may),
    ]
}

/// The field of a plan's events that says when, counted from its beginning; no id of a run is in them.
const AFTER: &str = "after";

/// Any event; `more` is what its carrier adds, `time` the field that says when.
fn any_event(time: &str, more: &Json) -> Json {
    let all: Vec<Json> = events()
        .into_iter()
        .map(|(name, mut required, mut optional)| {
            merge(&mut optional, json!({ "item_key": text() }));
            merge(&mut required, json!({ "event": { "const": name }, "seq": count() }));
            merge(&mut required, more.clone());
            if let Some(required) = required.as_object_mut() {
                required.insert(time, text());
                if time == AFTER {
                    required.remove("run");
                }
            }
            object(required, optional)
        })
        .collect();
    json!({ "oneOf": all })
}

fn event_line() -> Json {
    let mut schema = any_event("at", &json!({ "schema": { "const": EVENT }, "in": what() }));
    merge(
        &mut schema,
        json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$id": format!("https://{EVENT}.json"),
            "title": "One line of `lockgate run -o json`",
        }),
    );
    schema
}

fn plan() -> Json {
    let (required, optional) = summary_fields();
    document(
        PLAN,
        "What `lockgate plan -o json` prints",
        &["summary", "events", "downtime"],
        json!({ "summary": object(required, optional), "events": list_of(any_event(AFTER, &json!({}))), "downtime": list_of(downtime()) }),
    )
}

/// When a node or workload is down.
fn downtime() -> Json {
    let one = |is: &str, more: Json| {
        let mut required = json!({ "from": text(), "is": { "const": is } });
        merge(&mut required, more);
        object(required, json!({ "to": text() }))
    };
    let short = one("short", json!({ "ready": count(), "of": count() }));
    let outage = json!({ "oneOf": [one("cordoned", json!({})), one("not_ready", json!({})), short] });
    object(json!({ "object": text(), "outages": list_of(outage) }), json!({}))
}

fn error_document() -> Json {
    document(
        ERROR,
        "What a command prints with `-o json` that failed before it had anything else to print",
        &["error", "exit_code"],
        json!({ "error": error(), "exit_code": count() }),
    )
}

fn impact() -> Json {
    words(Impact::WORDS.iter().copied())
}

fn list() -> Json {
    let item = object(json!({ "name": text(), "title": text(), "summary": text(), "impact": impact(), "parameters": texts() }), json!({}));
    document(LIST, "What `lockgate list -o json` prints", &["runbooks"], json!({ "runbooks": list_of(item) }))
}

fn show() -> Json {
    let header = object(
        json!({ "title": text(), "summary": text(), "impact": impact() }),
        json!({ "source": text(), "namespace": text(), "versions": text(), "duration": text(), "labels": { "type": "object" } }),
    );
    let param = object(
        json!({
            "name": text(), "type": words(ParamType::WORDS.iter().copied()), "doc": text(), "required": { "type": "boolean" },
            "default": {}, "choices": texts(), "min": maybe("number"), "max": maybe("number"),
            "pattern": maybe("string"), "example": maybe("string"),
        }),
        json!({}),
    );
    let boolean = || json!({ "type": "boolean" });
    let check = object(json!({ "id": text(), "title": text(), "at": words(["start", "always"]) }), json!({}));
    let step = object(
        json!({ "id": text(), "title": text(), "verify": boolean(), "recover": boolean(), "when": boolean(), "irreversible": maybe("string"), "group": maybe("string") }),
        json!({}),
    );
    let entry = object(json!({ "lines": text() }), json!({ "part": text(), "waived": text() }));
    let table = object(json!({ "document": text(), "entries": list_of(entry) }), json!({}));
    document(
        SHOW,
        "What `lockgate show -o json` prints",
        &["name", "file", "header", "parameters", "checks", "steps", "coverage", "permissions"],
        json!({
            "name": text(), "file": text(), "header": header, "parameters": list_of(param),
            "checks": list_of(check), "steps": list_of(step), "coverage": list_of(table),
            "permissions": maybe("object"),
        }),
    )
}

fn request() -> Json {
    let act = object(
        json!({
            "verb": text(), "group": text(), "version": text(), "resource": text(),
            "namespace": maybe("string"), "name": maybe("string"), "subresource": maybe("string"),
        }),
        json!({}),
    );
    document(
        REQUEST,
        "One line of the record of `lockgate sandbox --record`",
        &["seq", "at", "method", "uri", "act", "user_agent", "content_type", "length", "status"],
        json!({
            "seq": count(), "at": text(), "method": text(), "uri": text(), "act": act, "user_agent": text(),
            "content_type": text(), "length": count(), "status": count(), "fault": text(),
        }),
    )
}

fn skew() -> Json {
    let component = || words(Component::ALL.iter().map(|component| component.as_str()));
    let row = object(
        json!({
            "component": component(), "node": maybe("string"), "version": maybe("string"), "allowed": maybe("string"),
            "verdict": words(Verdict::WORDS.iter().copied()), "rule": maybe("string"), "source": text(),
        }),
        json!({}),
    );
    let finding = object(
        json!({
            "component": component(), "node": maybe("string"), "version": maybe("string"), "rule": maybe("string"), "message": text(),
        }),
        json!({}),
    );
    let step = object(json!({ "component": component(), "nodes": texts(), "from": texts(), "to": text(), "note": text() }), json!({}));
    let findings = || list_of(finding.clone());
    document(
        SKEW,
        "What `lockgate skew -o json` prints",
        &["cluster", "ok", "target", "rows", "violations", "warnings", "unknown", "path", "order"],
        json!({
            "cluster": text(), "ok": { "type": "boolean" }, "target": maybe("string"), "rows": list_of(row),
            "violations": findings(), "warnings": findings(), "unknown": findings(), "path": texts(), "order": list_of(step),
        }),
    )
}

fn check() -> Json {
    let rules = words(Rule::ALL.iter().map(|rule| rule.as_str()));
    let finding = object(
        json!({
            "rule": rules, "message": text(), "causes": texts(), "file": text(),
            "line": { "type": "integer", "minimum": 1 }, "column": { "type": "integer", "minimum": 1 },
            "length": { "type": "integer", "minimum": 1 },
        }),
        json!({ "hint": text() }),
    );
    let properties = json!({
        "files": texts(),
        "findings": { "type": "array", "items": finding },
        "left_out": texts(),
    });
    document(CHECK, "What `lockgate check -o json` prints", &["files", "findings", "left_out"], properties)
}

fn test() -> Json {
    let result = object(
        json!({ "runbook": text(), "name": text(), "result": words(["ok", "failed", "skipped"]) }),
        json!({ "error": error(), "killed": count(), "note": text(), "taken_back": count() }),
    );
    let counts = ["tests", "passed", "failed", "skipped", "killed", "asked", "taken_back"];
    let properties = json!({
        "tests": list_of(result), "passed": count(), "failed": count(), "skipped": count(), "killed": count(), "asked": count(), "taken_back": count(),
    });
    document(TEST, "What `lockgate test -o json` prints", &counts, properties)
}
