//! Runbooks as people read about them: `list`, `show`, and the generated pages.

use super::escape;
use super::paint::Paint;
use super::table;
use crate::base::Value;
use crate::run::runbook::{Coverage, CoveredBy, ParamDecl, ParamType, Runbook, StepDecl};

/// The lines of `lockgate list`.
#[must_use]
pub fn list(runbooks: &[Runbook], paint: Paint) -> String {
    let rows: Vec<Vec<String>> = runbooks
        .iter()
        .map(|runbook| vec![runbook.name.clone(), runbook.header.impact.as_str().to_owned(), runbook.header.title.clone()])
        .collect();
    table::columns(&["NAME", "IMPACT", "TITLE"], &rows, paint)
}

/// The text of `lockgate show`.
#[must_use]
pub fn show(runbook: &Runbook, file: &str, paint: Paint) -> String {
    let header = &runbook.header;
    let mut out = format!("{}\n{}\n\n", paint.strong(escape::line(&header.title)), escape::lines(&header.summary));
    let mut facts = vec![("name", runbook.name.clone()), ("file", file.to_owned()), ("impact", header.impact.as_str().to_owned())];
    let optional =
        [("source", &header.source), ("namespace", &header.namespace), ("versions", &header.versions), ("duration", &header.duration)];
    facts.extend(optional.into_iter().filter_map(|(name, value)| value.clone().map(|value| (name, value))));
    for (name, value) in &facts {
        out.push_str(&format!("{name:<10} {}\n", escape::line(value)));
    }
    for (name, value) in &header.labels {
        out.push_str(&format!("label      {}={}\n", escape::line(name), escape::line(value)));
    }
    section(&mut out, "parameters", paint, runbook.params.iter().map(|decl| (decl.name.clone(), parameter(decl))));
    section(&mut out, "checks", paint, runbook.checks.iter().map(|check| (check.id.clone(), check.title.clone())));
    section(&mut out, "steps", paint, runbook.steps.iter().map(|step| (step.id.clone(), step_text(step))));
    if let Some(granted) = &runbook.permissions {
        section(&mut out, "permissions", paint, super::permissions::rows(granted).into_iter());
    }
    section(&mut out, "coverage", paint, runbook.coverage.iter().map(|table| (table.document.clone(), coverage(table))));
    out.push_str(&format!("\ntry it: {}\n", try_it(runbook)));
    out
}

fn section(out: &mut String, heading: &str, paint: Paint, rows: impl Iterator<Item = (String, String)>) {
    let rows: Vec<(String, String)> = rows.collect();
    if rows.is_empty() {
        return;
    }
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    out.push_str(&format!("\n{}\n", paint.strong(heading)));
    for (name, text) in rows {
        let indent = format!("\n{}", " ".repeat(width + 4));
        out.push_str(&format!("  {:<width$}  {}\n", escape::line(&name), escape::lines(&text).replace('\n', &indent)));
    }
}

/// The declared facts of a parameter: its type, then what it means.
fn parameter(decl: &ParamDecl) -> String {
    let mut text = format!("{}\n{}", kind(decl), decl.doc);
    if let Some(example) = &decl.example {
        text.push_str(&format!("\nfor example {}={example}", decl.name));
    }
    text
}

fn kind(decl: &ParamDecl) -> String {
    let mut text = decl.ty.as_str().to_owned();
    match (&decl.default, decl.optional) {
        (Some(_), _) if decl.ty == ParamType::Secret => text.push_str(", has a default"),
        (Some(default), _) => text.push_str(&format!(", default {}", plain(default))),
        (None, true) => text.push_str(", optional"),
        (None, false) => text.push_str(", required"),
    }
    if !decl.choices.is_empty() {
        text.push_str(&format!(", one of {}", decl.choices.join(" ")));
    }
    match (decl.min, decl.max) {
        (Some(min), Some(max)) => text.push_str(&format!(", from {min} to {max}")),
        (Some(min), None) => text.push_str(&format!(", at least {min}")),
        (None, Some(max)) => text.push_str(&format!(", at most {max}")),
        (None, None) => {}
    }
    if let Some(pattern) = &decl.pattern {
        text.push_str(&format!(", like {pattern}"));
    }
    text
}

fn plain(value: &Value) -> String {
    value.as_text().unwrap_or_else(|| value.clone().into_json().to_string())
}

fn step_text(step: &StepDecl) -> String {
    let mut text = step.title_or_id().to_owned();
    let has = [(step.has_when, "when"), (step.has_verify, "verify"), (step.has_recover, "recover")];
    let has: Vec<&str> = has.into_iter().filter_map(|(has, word)| has.then_some(word)).collect();
    if !has.is_empty() {
        text.push_str(&format!(" ({})", has.join(", ")));
    }
    if let Some(why) = &step.irreversible {
        text.push_str(&format!("\ncannot be taken back: {why}"));
    }
    text
}

fn coverage(table: &Coverage) -> String {
    let count = |waived: bool| -> u32 {
        let of = table.entries.iter().filter(|entry| matches!(entry.by, CoveredBy::Waived(_)) == waived);
        of.map(|entry| entry.to + 1 - entry.from).sum()
    };
    format!("{} lines of the document are covered, {} waived with a reason", count(false), count(true))
}

/// A command that plans the runbook on its own fixture.
#[must_use]
pub fn try_it(runbook: &Runbook) -> String {
    let params: Vec<String> = runbook
        .params
        .iter()
        .filter(|decl| decl.required())
        .map(|decl| format!(" {}={}", decl.name, decl.example.as_deref().unwrap_or("…")))
        .collect();
    escape::line(&format!("lockgate plan {}{} --sandbox", runbook.name, params.concat())).into_owned()
}

/// `runbooks/README.md`: the catalogue.
#[must_use]
pub fn catalogue_page(runbooks: &[Runbook]) -> String {
    let mut out = String::from(
        "# Runbooks\n\n\
         Each folder is a published upgrade procedure as a runbook: `runbook.luau`, a fixture cluster, scenarios, and the\n\
         transcript of its dry run on that cluster. `lockgate list` prints this table, `lockgate show NAME` one of them.\n\n\
         | runbook | what it does | impact | source |\n|---|---|---|---|\n",
    );
    for runbook in runbooks {
        let header = &runbook.header;
        out.push_str(&format!(
            "| [`{name}`]({name}/README.md) | {} | {} | {} |\n",
            cell(&header.title),
            header.impact.as_str(),
            cell(header.source.as_deref().unwrap_or("")),
            name = runbook.name,
        ));
    }
    out.push_str(&generated("the headers of the runbooks"));
    out
}

/// The `README.md` of a runbook's folder; `transcript` is its `plan.txt`.
#[must_use]
pub fn page(runbook: &Runbook, transcript: Option<&str>) -> String {
    let header = &runbook.header;
    let mut out = format!("# {}\n\n{}\n\n", header.title, header.summary.trim());
    out.push_str(&format!("- Impact: {}\n", header.impact.as_str()));
    for (name, value) in
        [("Source", &header.source), ("Namespace", &header.namespace), ("Versions", &header.versions), ("Duration", &header.duration)]
    {
        if let Some(value) = value {
            out.push_str(&format!("- {name}: {value}\n"));
        }
    }
    if !runbook.params.is_empty() {
        out.push_str("\n## Parameters\n\n| name | type | meaning | example |\n|---|---|---|---|\n");
        for decl in &runbook.params {
            let example = decl.example.as_deref().map(|example| format!("`{}={example}`", decl.name)).unwrap_or_default();
            out.push_str(&format!("| `{}` | {} | {} | {} |\n", decl.name, cell(&kind(decl)), cell(&decl.doc), cell(&example)));
        }
    }
    if !runbook.checks.is_empty() {
        out.push_str("\n## Checks\n\nAll of them are asked before the first write.\n\n");
        for check in &runbook.checks {
            out.push_str(&format!("- `{}`: {}\n", check.id, check.title));
        }
    }
    out.push_str("\n## Steps\n\n");
    for (place, step) in runbook.steps.iter().enumerate() {
        out.push_str(&format!("{}. `{}`: {}\n", place + 1, step.id, step_text(step).replace('\n', "; ")));
    }
    if let Some(granted) = &runbook.permissions {
        out.push_str("\n## Permissions\n\nWhat it may do beside reading; everything else is refused.\n\n");
        for (what, terms) in super::permissions::rows(granted) {
            out.push_str(&format!("- {what}: {}\n", terms.replace('\n', "; ")));
        }
    }
    if !runbook.coverage.is_empty() {
        out.push_str("\n## Coverage\n\n");
        for table in &runbook.coverage {
            out.push_str(&format!("- Document {}: {}.\n", table.document, coverage(table)));
        }
    }
    if let Some(transcript) = transcript {
        out.push_str(&format!("\n## Dry run\n\n```console\n$ {}\n{}\n```\n", try_it(runbook), transcript.trim_end()));
    }
    out.push_str(&generated("`runbook.luau` and `plan.txt`"));
    out
}

/// A text inside a Markdown table.
fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

/// The last line of a generated page.
pub(super) fn generated(from: &str) -> String {
    format!("\n*Generated from {from}; `BLESS=1 cargo test docs` writes it again.*\n")
}
