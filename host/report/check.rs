//! What `lockgate check` found, for people and machines.

use serde_json::json;

use super::excerpt;
use super::json::{CHECK, document};
use super::paint::Paint;
use crate::base::{Error, Kind, Reason, Result};
use crate::check::{Finding, Report};
use crate::primitives::registry::plural;

/// A finding with its excerpt; the place has the column, as editors read it.
#[must_use]
pub fn finding(finding: &Finding, paint: Paint) -> String {
    let mut error = Error::new(Kind::Runbook, Reason::Invalid, finding.message.clone());
    error.causes.clone_from(&finding.causes);
    error.hint.clone_from(&finding.hint);
    error.places.push(finding.place.clone());
    excerpt::told(&format!("{}:", finding.rule.as_str()), &error, true, paint)
}

/// The last line.
#[must_use]
pub fn sum(report: &Report) -> String {
    let mut text = format!("{}: ", plural(report.files.len(), "file"));
    text.push_str(&match report.findings.len() {
        0 => "nothing found".to_owned(),
        found => plural(found, "finding"),
    });
    for left_out in &report.left_out {
        text.push_str(&format!("; not looked at: {left_out}"));
    }
    text
}

/// The whole report as JSON.
///
/// # Errors
/// When it cannot be written.
pub fn json(report: &Report) -> Result<String> {
    let findings: Vec<_> = report
        .findings
        .iter()
        .map(|finding| {
            let place = &finding.place;
            let mut entry = json!({
                "rule": finding.rule.as_str(), "message": finding.message, "causes": finding.causes, "file": place.file,
                "line": place.line.max(1), "column": place.column.unwrap_or(1).max(1), "length": place.length.unwrap_or(1).max(1),
            });
            if let Some(hint) = &finding.hint {
                entry["hint"] = json!(hint);
            }
            entry
        })
        .collect();
    document(CHECK, &json!({ "files": report.files, "findings": findings, "left_out": report.left_out }))
}
