//! Runbooks as people read about them: `list`, `show`, and the generated pages.

use std::collections::BTreeMap;

use super::escape;
use super::paint::Paint;
use super::table;
use crate::base::Value;
use crate::run::runbook::{Coverage, CoveredBy, Each, ParamDecl, ParamType, Runbook, StepDecl, Title};

/// The lines of `lockgate list`.
#[must_use]
pub fn list(runbooks: &[Runbook], paint: Paint) -> String {
    let rows: Vec<Vec<String>> = runbooks
        .iter()
        .map(|runbook| vec![runbook.name.clone(), runbook.header.impact.as_str().to_owned(), runbook.header.title.clone()])
        .collect();
    table::columns(&["NAME", "IMPACT", "TITLE"], &rows, paint)
}

/// What is known of a runbook beside its declarations.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// What its steps leave to people, by the line in which a step is declared.
    pub by_hand: BTreeMap<u32, Vec<String>>,
    /// How long its committed plan takes.
    pub takes: Option<String>,
}

impl Known {
    /// Adds how long the committed plan takes, from its last lines.
    #[must_use]
    pub fn with_plan(mut self, plan: Option<&str>) -> Known {
        let sum = plan.into_iter().flat_map(str::lines).find_map(|line| line.strip_prefix("would succeed: ")?.split_once("about "));
        self.takes = sum.map(|(_, rest)| rest.split([';', ',']).next().unwrap_or(rest).trim().to_owned());
        self
    }

    /// How long it takes: as its header says, else as it took in the plan.
    fn duration(&self, runbook: &Runbook) -> Option<String> {
        let planned = || self.takes.as_ref().map(|takes| format!("about {takes} on its fixture"));
        runbook.header.duration.clone().or_else(planned)
    }
}

/// The text of `lockgate show`: what it is, what must hold before, its steps, and what can be taken back.
#[must_use]
pub fn show(runbook: &Runbook, file: &str, known: &Known, paint: Paint) -> String {
    let header = &runbook.header;
    let mut out = format!("{}\n{}\n\n", paint.strong(escape::line(&header.title)), escape::lines(&header.summary));
    let mut facts = vec![("name", runbook.name.clone()), ("file", file.to_owned()), ("impact", header.impact.as_str().to_owned())];
    let optional = [
        ("source", header.source.clone()),
        ("namespace", header.namespace.clone()),
        ("versions", header.versions.clone()),
        ("duration", known.duration(runbook)),
    ];
    facts.extend(optional.into_iter().filter_map(|(name, value)| value.map(|value| (name, value))));
    for (name, value) in &facts {
        out.push_str(&format!("{name:<10} {}\n", escape::line(value)));
    }
    for (name, value) in &header.labels {
        out.push_str(&format!("label      {}={}\n", escape::line(name), escape::line(value)));
    }
    section(&mut out, "parameters", paint, runbook.params.iter().map(|decl| (decl.name.clone(), parameter(decl))));
    section(&mut out, "must hold before", paint, runbook.checks.iter().map(|check| (check.id.clone(), check.title.clone())));
    section(&mut out, "steps", paint, steps(runbook, known).into_iter().map(|row| (row.name, row.text)));
    section(&mut out, "taking back", paint, undo(runbook).into_iter());
    if let Some(granted) = &runbook.permissions {
        section(&mut out, "permissions", paint, super::permissions::rows(granted).into_iter());
    }
    section(&mut out, "coverage", paint, runbook.coverage.iter().map(|table| (table.document.clone(), coverage(table))));
    out.push_str(&format!("\ntry it: {}\n", try_it(runbook)));
    out
}

/// A line of the steps: a step, or the group that the following ones belong to.
struct Row {
    name: String,
    text: String,
    /// Whether it is a step of a group.
    inner: bool,
    /// Whether it is a group.
    group: bool,
}

/// The steps in order, those of a group under its name.
fn steps(runbook: &Runbook, known: &Known) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut open = None;
    for step in &runbook.steps {
        if step.group != open
            && let Some(group) = step.group.and_then(|place| runbook.groups.get(place))
        {
            let text = format!("{} ({})", group.title, each(&group.each));
            rows.push(Row { name: group.id.clone(), text, inner: false, group: true });
        }
        open = step.group;
        let inner = step.group.is_some();
        let name = if inner { format!("  {}", step.id) } else { step.id.clone() };
        let mut text = step_text(step);
        for hand in known.by_hand.get(&step.place.line).into_iter().flatten() {
            text.push_str(&format!("\nby hand: {hand}"));
        }
        rows.push(Row { name, text, inner, group: false });
    }
    rows
}

fn each(each: &Each) -> String {
    match each {
        Each::List(items) => format!("for each of {}", items.len()),
        Each::Function => "for each item that is found".to_owned(),
    }
}

/// What can be taken back, and what not.
fn undo(runbook: &Runbook) -> Vec<(String, String)> {
    let named = |step: &StepDecl| match step.group.and_then(|place| runbook.groups.get(place)) {
        Some(group) => format!("{}/{}", group.id, step.id),
        None => step.id.clone(),
    };
    let kept =
        runbook.steps.iter().filter_map(|step| Some((named(step), format!("cannot be taken back: {}", step.irreversible.as_ref()?))));
    let own = runbook.steps.iter().filter(|step| step.has_rollback).map(|step| (named(step), "has its own way back".to_owned()));
    let mut rows: Vec<(String, String)> = kept.chain(own).collect();
    let rest = if rows.is_empty() { "every step" } else { "the rest" };
    rows.push((rest.to_owned(), "by what the run recorded, the newest step first".to_owned()));
    rows
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
    let mut text = match &step.title {
        Title::Text(title) => title.clone(),
        Title::Function => "(its title says what is found)".to_owned(),
    };
    let has = [(step.has_when, "when"), (step.has_verify, "verify"), (step.has_recover, "recover")];
    let has: Vec<&str> = has.into_iter().filter_map(|(has, word)| has.then_some(word)).collect();
    if !has.is_empty() {
        text.push_str(&format!(" ({})", has.join(", ")));
    }
    if let Some(each) = step.each.as_ref().filter(|_| step.group.is_none()) {
        text.push_str(&format!("\n{}", self::each(each)));
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
pub fn page(runbook: &Runbook, known: &Known, transcript: Option<&str>) -> String {
    let header = &runbook.header;
    let mut out = format!("# {}\n\n{}\n\n", header.title, header.summary.trim());
    out.push_str(&format!("- Impact: {}\n", header.impact.as_str()));
    for (name, value) in [
        ("Source", header.source.clone()),
        ("Namespace", header.namespace.clone()),
        ("Versions", header.versions.clone()),
        ("Duration", known.duration(runbook)),
    ] {
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
    let mut place = 0;
    for row in steps(runbook, known) {
        let (name, text) = (row.name.trim(), row.text.replace('\n', "; "));
        let indent = if row.inner { "   " } else { "" };
        if row.inner {
            out.push_str(&format!("{indent}- `{name}`: {text}\n"));
        } else {
            place += 1;
            let group = if row.group { "group " } else { "" };
            out.push_str(&format!("{place}. {group}`{name}`: {text}\n"));
        }
    }
    out.push_str("\n## Taking back\n\n");
    for (name, text) in undo(runbook) {
        out.push_str(&format!("- {name}: {text}\n"));
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
