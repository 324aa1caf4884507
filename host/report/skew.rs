//! A skew report for people: as a table, and as a page.

use super::escape;
use super::paint::Paint;
use super::table;
use crate::primitives::skew::{Finding, Move, Report, Row, Verdict};

const HEADINGS: [&str; 6] = ["COMPONENT", "NODE", "VERSION", "ALLOWED", "VERDICT", "RULE"];

/// The lines of `lockgate skew`.
#[must_use]
pub fn text(report: &Report, cluster: &str, paint: Paint) -> String {
    let mut out = format!("cluster   {}\n", escape::line(cluster));
    if let Some(target) = &report.target {
        out.push_str(&format!("target    {}\n", escape::line(target)));
    }
    let rows: Vec<Vec<String>> = report.rows.iter().map(cells).collect();
    out.push_str(&format!("\n{}", table::columns(&HEADINGS, &rows, paint)));
    if !(report.violations.is_empty() && report.unknown.is_empty() && report.warnings.is_empty()) {
        out.push('\n');
    }
    for (word, findings) in findings(report) {
        for finding in findings {
            let painted = match word {
                "violation" => paint.bad(format!("{word:<10}")),
                _ => paint.warn(format!("{word:<10}")),
            };
            out.push_str(&format!("{painted}{}\n", escape::line(&sentence(finding))));
        }
    }
    if !report.order.is_empty() {
        out.push_str(&format!("\n{}\n", paint.strong(escape::line(&heading(report)))));
        for (place, step) in report.order.iter().enumerate() {
            out.push_str(&format!("  {}  {}\n", place + 1, escape::line(&moves(step))));
        }
    }
    out.push_str(&format!("\n{}", verdict(report, paint)));
    out
}

/// The same as Markdown, to be kept.
#[must_use]
pub fn markdown(report: &Report, cluster: &str) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.iter().map(|cell| escape_cell(cell)).collect::<Vec<_>>().join(" | "));
    let mut out = format!("# Version skew of {}\n\n", escape_cell(cluster));
    if let Some(target) = &report.target {
        out.push_str(&format!("Target: `{}`\n\n", escape_cell(target)));
    }
    out.push_str(&line(&["component", "node", "version", "allowed", "verdict", "rule"].map(str::to_owned)));
    out.push_str("|---|---|---|---|---|---|\n");
    report.rows.iter().for_each(|row| out.push_str(&line(&cells(row))));
    for (word, findings) in findings(report) {
        if !findings.is_empty() {
            out.push_str(&format!("\n## {word}\n\n"));
        }
        findings.iter().for_each(|finding| out.push_str(&format!("- {}\n", escape_cell(&sentence(finding)))));
    }
    if !report.order.is_empty() {
        out.push_str(&format!("\n## {}\n\n", escape_cell(&heading(report))));
        for (place, step) in report.order.iter().enumerate() {
            out.push_str(&format!("{}. {}\n", place + 1, escape_cell(&moves(step))));
        }
    }
    out.push_str(&format!("\n{}", verdict(report, Paint::plain())));
    out
}

/// Text of the cluster in a table or a list of a page.
fn escape_cell(text: &str) -> String {
    escape::line(text).replace('|', "\\|").replace('<', "&lt;")
}

fn cells(row: &Row) -> Vec<String> {
    let or = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    vec![
        row.component.as_str().to_owned(),
        or(&row.node),
        or(&row.version),
        or(&row.allowed),
        row.verdict.as_str().to_owned(),
        row.rule.unwrap_or("-").to_owned(),
    ]
}

/// What is to be said, the worst first.
fn findings(report: &Report) -> [(&'static str, &[Finding]); 3] {
    [("violation", &report.violations), ("unknown", &report.unknown), ("warning", &report.warnings)]
}

fn sentence(finding: &Finding) -> String {
    let rule = finding.rule.map_or_else(String::new, |rule| format!(" ({rule})"));
    format!("{}{rule}", finding.sentence())
}

fn heading(report: &Report) -> String {
    match (report.path.as_slice(), &report.target) {
        ([first, .., last], _) => format!("order of the first upgrade, to {first}; {} upgrades lead to {last}", report.path.len()),
        (_, Some(target)) => format!("order of the upgrade to {target}"),
        (_, None) => "order".to_owned(),
    }
}

fn moves(step: &Move) -> String {
    let nodes = if step.nodes.is_empty() { String::new() } else { format!(" on {}", step.nodes.join(", ")) };
    format!("{}{nodes}: {} to {} ({})", step.component.as_str(), step.from.join(", "), step.to, step.note)
}

fn verdict(report: &Report, paint: Paint) -> String {
    let count = |count: usize, noun: &str| if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") };
    let known = report.rows.iter().filter(|row| matches!(row.verdict, Verdict::Ok | Verdict::AtLimit)).count();
    let warnings = if report.warnings.is_empty() { String::new() } else { format!(", {}", count(report.warnings.len(), "warning")) };
    if report.ok {
        return format!("{}: {} within the policy{warnings}\n", paint.good("clean"), count(known, "version"));
    }
    let mut parts = Vec::new();
    if !report.violations.is_empty() {
        parts.push(count(report.violations.len(), "violation"));
    }
    if !report.unknown.is_empty() {
        parts.push(format!("{} unknown", report.unknown.len()));
    }
    format!("{}: {}{warnings}\n", paint.bad("not clean"), parts.join(", "))
}
