//! The tests that every runbook gets for free: it loads offline, its plan is the committed one, its coverage is complete.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;

use crate::base::{Error, Kind, Reason, Result};
use crate::cli::{host, setting, target};
use crate::cluster::{Cancel, Cluster};
use crate::run::source::Beside;
use crate::run::{self, Given, Params, Record, Runbook, Source, coverage};

/// The fixture of the committed plan.
pub(super) const FIXTURE: &str = "cluster.yaml";
/// The committed plan.
const PLAN: &str = "plan.txt";

pub(super) fn failed(message: String) -> Error {
    Error::new(Kind::Runbook, Reason::CheckFailed, message)
}

/// The file loads without a cluster, and says what a catalogue needs.
pub(super) fn loads(source: &Source) -> Result<()> {
    let runbook = host::declared(source, &[])?;
    if runbook.header.title.is_empty() || runbook.steps.is_empty() {
        return Err(failed("a runbook needs a title and a step".into()));
    }
    Ok(())
}

/// Whether a file is the test of a module: `NAME_test.luau` beside `NAME.luau`, a runbook whose steps call the module and look at
/// what came of it, with its cluster in `NAME_test.yaml`.
pub(super) fn is_of_module(source: &Source) -> bool {
    tests_module(Path::new(&source.file))
}

/// The same by the file's name.
pub(super) fn tests_module(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().ends_with("_test.luau"))
}

/// The steps of the test of a module hold.
pub(super) fn holds(source: &Source) -> Result<()> {
    let summary = planned(source, &format!("{}.yaml", source.name))?.summary;
    match summary.error {
        None if summary.end == run::End::Succeeded => Ok(()),
        None => Err(failed(format!("the test of a module ends as {:?}", summary.end).to_lowercase())),
        Some(error) => Err(error),
    }
}

/// Every coverage table answers for every line.
pub(super) fn coverage(source: &Source) -> Result<()> {
    coverage::audit(source, &host::declared(source, &[])?)
}

/// The parameters of the committed plan: the example of each required one.
pub(super) fn examples(runbook: &Runbook) -> Result<Given> {
    let words: Result<Vec<(String, String)>> = runbook
        .params
        .iter()
        .filter(|param| param.required())
        .map(|param| match &param.example {
            Some(example) => Ok((param.name.clone(), example.clone())),
            None => Err(failed(format!("parameter `{}` has no `example`, so there can be no committed plan", param.name))
                .hint("give it an `example` that fits `cluster.yaml`")),
        })
        .collect();
    Ok(Given { words: words?, ..Given::default() })
}

/// The plan on the runbook's own fixture is the committed one, or becomes it.
pub(super) fn plan(source: &Source, bless: bool) -> Result<()> {
    let planned = transcript(source)?;
    let committed = committed(source)?;
    if committed.as_deref() == Some(planned.as_str()) {
        return Ok(());
    }
    let label = source.beside.label(PLAN);
    match (&source.beside, bless) {
        (Beside::Disk(folder), true) => write(&folder.join(PLAN), &planned),
        _ => {
            let hint = "look at the difference; `lockgate test --bless FOLDER` writes the file anew";
            let Some(committed) = committed else { return Err(failed(format!("there is no `{label}`")).hint(hint)) };
            let line = committed.lines().zip(planned.lines()).position(|(old, new)| old != new);
            let line = line.unwrap_or_else(|| committed.lines().count().min(planned.lines().count()));
            let at = |text: &str| text.lines().nth(line).unwrap_or("(nothing)").to_owned();
            Err(failed(format!("the plan is not the committed one: `{label}` differs in line {}", line + 1))
                .cause(format!("committed: {}", at(&committed)))
                .cause(format!("planned:   {}", at(&planned)))
                .hint(hint))
        }
    }
}

fn transcript(source: &Source) -> Result<String> {
    let made = planned(source, FIXTURE)?;
    setting::transcript(&made.records, &made.twin)
}

/// The committed plan, where there is one.
///
/// # Errors
/// When it cannot be read.
pub(super) fn committed(source: &Source) -> Result<Option<String>> {
    source.beside.read(PLAN)
}

/// A plan on a fixture beside the runbook.
pub(super) struct Planned {
    pub(super) summary: run::Summary,
    records: Vec<Record>,
    /// What was planned for.
    pub(super) cluster: Cluster,
    twin: Cluster,
    pub(super) runbook: Rc<Runbook>,
    /// Those of its examples.
    pub(super) params: Rc<Params>,
}

/// The plan on a fixture beside the runbook.
///
/// # Errors
/// What is wrong with the runbook, the examples of its parameters, or the fixture. A plan that fails is told by its summary.
pub(super) fn planned(source: &Source, fixture: &str) -> Result<Planned> {
    let text = source.beside.read(fixture)?.ok_or_else(|| failed(format!("there is no `{fixture}`")))?;
    planned_on(source, target::sandbox("sandbox", &source.beside.label(fixture), &text, &Cancel::new())?)
}

/// The same on this cluster.
///
/// # Errors
/// What is wrong with the runbook or the examples of its parameters.
pub(super) fn planned_on(source: &Source, cluster: Cluster) -> Result<Planned> {
    let runtime = host::runtime()?;
    let mut script = host::script(source, &[], &runtime)?;
    let runbook = Rc::new(script.load()?);
    let given = Given { beside: Some(source.beside.clone()), ..examples(&runbook)? };
    let params = Rc::new(run::params::resolve(&runbook, &given, &mut |pattern, text| script.matches(pattern, text))?);
    let records: Rc<RefCell<Vec<Record>>> = Rc::default();
    let twin = cluster.planning();
    let summary = run::plan_on(script.as_mut(), &cluster, &twin, &runbook, &params, records.clone());
    Ok(Planned { summary, records: records.take(), cluster, twin, runbook, params })
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).map_err(|error| Error::usage(format!("cannot write `{}`", path.display())).cause(error.to_string()))
}

/// Compares the committed line hashes with the document, or writes them; says what was found.
pub(super) fn document(source: &Source, number: &str, path: &Path, bless: bool) -> Result<String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Error::usage(format!("cannot read the document `{}`", path.display())).cause(error.to_string()))?;
    let (name, lines) = (coverage::file_name(number), coverage::hashes(&text));
    if bless {
        let Beside::Disk(folder) = &source.beside else {
            return Err(Error::usage(format!("`{}` is in the binary and cannot be written", source.name)).hint("name its folder"));
        };
        write(&folder.join(&name), &coverage::render(&lines))?;
        return Ok(format!("wrote {name}: {} lines with text", lines.len()));
    }
    let committed = source.beside.read(&name)?.ok_or_else(|| failed(format!("there is no `{name}`")).hint("`--bless` writes it"))?;
    let committed = coverage::parse(&name, &committed)?;
    let changed: Vec<String> = committed
        .keys()
        .chain(lines.keys())
        .collect::<std::collections::BTreeSet<_>>()
        .into_iter()
        .filter(|line| committed.get(line) != lines.get(line))
        .map(u32::to_string)
        .collect();
    if changed.is_empty() {
        return Ok(format!("document {number} is the one that `{}` answers for", source.name));
    }
    Err(failed(format!("document {number} has changed in lines {}", changed.join(", ")))
        .hint("read them, adapt runbook and coverage, then `--bless`"))
}
