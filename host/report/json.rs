//! Everything as JSON: one document a command, or one line an event. Each says its schema; the schemas are published in
//! `host/report/schema/`.

use serde::Serialize;
use serde_json::{Map, Value as Json, json};

use super::escape;
use crate::base::json::to_value;
use crate::base::{Error, Result};
use crate::cluster::downtime::Line;
use crate::primitives::skew::Report;
use crate::run::journal::Story;
use crate::run::journal::listed::{Line as RunLine, Listed};
use crate::run::runbook::{CoveredBy, ParamDecl, Runbook};
use crate::run::{Record, Steady, Summary, What};

/// The schema of `lockgate list`.
pub const LIST: &str = "lockgate.dev/list/v1";
/// The schema of `lockgate show`.
pub const SHOW: &str = "lockgate.dev/show/v1";
/// The schema of `lockgate plan`.
pub const PLAN: &str = "lockgate.dev/plan/v1";
/// The schema of one line of `lockgate run`.
pub const EVENT: &str = "lockgate.dev/event/v1";
/// The schema of `lockgate test`.
pub const TEST: &str = "lockgate.dev/test/v1";
/// The schema of `lockgate check`.
pub const CHECK: &str = "lockgate.dev/check/v1";
/// The schema of `lockgate skew`.
pub const SKEW: &str = "lockgate.dev/skew/v1";
/// The schema of `lockgate runs`.
pub const RUNS: &str = "lockgate.dev/runs/v1";
/// The schema of `lockgate status`.
pub const STATUS: &str = "lockgate.dev/status/v1";
/// The schema of `lockgate report`.
pub const REPORT: &str = "lockgate.dev/report/v1";
/// The schema of one line of the record of `lockgate sandbox`.
pub const REQUEST: &str = "lockgate.dev/request/v1";
/// The schema of what a command prints that failed before it had anything else to print.
pub const ERROR: &str = "lockgate.dev/error/v1";

/// A document that names its schema, on several lines.
///
/// # Errors
/// When the content is no JSON object.
pub fn document(schema: &str, content: &impl Serialize) -> Result<String> {
    let text = serde_json::to_string_pretty(&with_schema(schema, content)?);
    text.map(|text| escape::json(&text).into_owned()).map_err(|error| Error::internal("writing JSON").cause(error.to_string()))
}

/// The same on one line.
///
/// # Errors
/// When the content is no JSON object.
pub fn line(schema: &str, content: &impl Serialize) -> Result<String> {
    Ok(escape::json(&with_schema(schema, content)?.to_string()).into_owned())
}

fn with_schema(schema: &str, content: &impl Serialize) -> Result<Json> {
    let content = serde_json::to_value(content).map_err(|error| Error::internal("writing JSON").cause(error.to_string()))?;
    let Json::Object(content) = content else { return Err(Error::internal("writing JSON: a document must be an object")) };
    let mut document = Map::new();
    document.insert("schema".to_owned(), schema.into());
    document.extend(content);
    Ok(Json::Object(document))
}

/// One line of `lockgate run`: an event of the plan before it, or of the run.
///
/// # Errors
/// When it cannot be written as JSON.
pub fn event(what: What, record: &Record) -> Result<String> {
    let content = serde_json::to_value(record).map_err(|error| Error::internal("writing JSON").cause(error.to_string()))?;
    let mut content = match content {
        Json::Object(content) => content,
        other => return Err(Error::internal(format!("writing JSON: an event became {other}"))),
    };
    content.insert("in".to_owned(), json!(what));
    line(EVENT, &content)
}

/// A plan: how it ends, every event, and what is down when. Without moments, ids and made-up names: two plans of the same input are
/// the same text.
///
/// # Errors
/// When it cannot be written as JSON.
pub fn plan(steady: &Steady, summary: &Summary, records: &[Record], downtime: &[Line]) -> Result<String> {
    let broken = |error: serde_json::Error| Error::internal("writing JSON").cause(error.to_string());
    let mut summary = to_value(summary).map_err(broken)?;
    steady.json(&mut summary);
    document(PLAN, &json!({ "summary": summary, "events": steady.document(records)?, "downtime": downtime }))
}

/// A skew report of the cluster of this name.
///
/// # Errors
/// When it cannot be written as JSON.
pub fn skew(report: &Report, cluster: &str) -> Result<String> {
    let mut content = serde_json::to_value(report).map_err(|error| Error::internal("writing JSON").cause(error.to_string()))?;
    if let Some(fields) = content.as_object_mut() {
        fields.insert("cluster".to_owned(), cluster.into());
    }
    document(SKEW, &content)
}

/// The list of runs.
///
/// # Errors
/// When it cannot be written as JSON.
pub fn runs(listed: &[Listed]) -> Result<String> {
    document(RUNS, &json!({ "runs": listed }))
}

/// Where a run stands; `options` stand behind the commands that go on.
///
/// # Errors
/// When it cannot be written as JSON.
pub fn status(story: &Story, options: &str) -> Result<String> {
    let ways = story.ways_on(options).into_iter().map(|(command, does)| json!({ "command": command, "does": does }));
    document(
        STATUS,
        &json!({
            "run": RunLine::of(story),
            "title": story.title,
            "inside": story.inside,
            "steps": story.steps,
            "steps_of": story.steps_of,
            "asked": story.asked.last(),
            "half_done": story.half_done().collect::<Vec<_>>(),
            "error": story.error(),
            "next": ways.collect::<Vec<_>>(),
        }),
    )
}

/// All that is known of a run.
///
/// # Errors
/// When it cannot be written as JSON.
pub fn report(story: &Story) -> Result<String> {
    document(REPORT, story)
}

/// An error, where nothing else was printed.
///
/// # Errors
/// When it cannot be written as JSON.
pub fn error(error: &Error) -> Result<String> {
    document(ERROR, &json!({ "error": error, "exit_code": error.kind.exit_code() }))
}

/// The runbooks of `lockgate list`.
///
/// # Errors
/// When it cannot be written as JSON.
pub fn list(runbooks: &[Runbook]) -> Result<String> {
    let items: Vec<Json> = runbooks
        .iter()
        .map(|runbook| {
            json!({
                "name": runbook.name,
                "title": runbook.header.title,
                "summary": runbook.header.summary,
                "impact": runbook.header.impact,
                "parameters": runbook.params.iter().map(|decl| decl.name.as_str()).collect::<Vec<_>>(),
            })
        })
        .collect();
    document(LIST, &json!({ "runbooks": items }))
}

/// The runbook of `lockgate show`.
///
/// # Errors
/// When it cannot be written as JSON.
pub fn show(runbook: &Runbook, file: &str) -> Result<String> {
    let checks: Vec<Json> = runbook.checks.iter().map(|check| json!({ "id": check.id, "title": check.title, "at": check.at })).collect();
    let steps: Vec<Json> = runbook
        .steps
        .iter()
        .map(|step| {
            json!({
                "id": step.id,
                "title": step.title_or_id(),
                "verify": step.has_verify,
                "recover": step.has_recover,
                "when": step.has_when,
                "irreversible": step.irreversible,
                "group": step.group.and_then(|place| runbook.groups.get(place)).map(|group| group.id.as_str()),
            })
        })
        .collect();
    let coverage: Vec<Json> = runbook
        .coverage
        .iter()
        .map(|table| {
            let entries = table.entries.iter().map(|entry| match &entry.by {
                CoveredBy::Part(part) => json!({ "lines": entry.key, "part": part }),
                CoveredBy::Waived(why) => json!({ "lines": entry.key, "waived": why }),
            });
            json!({ "document": table.document, "entries": entries.collect::<Vec<_>>() })
        })
        .collect();
    document(
        SHOW,
        &json!({
            "name": runbook.name,
            "file": file,
            "header": runbook.header,
            "parameters": runbook.params.iter().map(param).collect::<Vec<_>>(),
            "checks": checks,
            "steps": steps,
            "coverage": coverage,
            "permissions": runbook.permissions,
        }),
    )
}

fn param(decl: &ParamDecl) -> Json {
    json!({
        "name": decl.name,
        "type": decl.ty,
        "doc": decl.doc,
        "required": decl.required(),
        "default": decl.default.clone().map(crate::base::Value::into_json),
        "choices": decl.choices,
        "min": decl.min,
        "max": decl.max,
        "pattern": decl.pattern,
        "example": decl.example,
    })
}
