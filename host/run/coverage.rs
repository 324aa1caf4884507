//! The audit of a `coverage` table: every line of the source document with text in it is covered or waived. The runbook's folder
//! keeps one short hash per line (`coverage-NUMBER.lines`), so that the audit needs no copy of the document, and a changed
//! document is noticed.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use super::runbook::{Coverage, CoveredBy, Runbook, StepDecl};
use super::source::Source;
use crate::base::{Error, Kind, Reason, Result};

/// The hashes of a document: line number, from 1, to the first eight hexadecimal digits of the SHA-256 of its trimmed text.
/// Lines without text are left out.
pub type Lines = BTreeMap<u32, String>;

/// The name of the file that keeps the hashes of a document.
#[must_use]
pub fn file_name(document: &str) -> String {
    format!("coverage-{document}.lines")
}

/// The hashes of a document's text.
#[must_use]
pub fn hashes(document: &str) -> Lines {
    (1_u32..)
        .zip(document.lines())
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(number, line)| {
            let digest = Sha256::digest(line.trim().as_bytes());
            (number, digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect())
        })
        .collect()
}

/// The hashes as the file keeps them.
#[must_use]
pub fn render(lines: &Lines) -> String {
    lines.iter().map(|(number, hash)| format!("{number} {hash}\n")).collect()
}

/// Reads the file of hashes.
///
/// # Errors
/// A line that is not `NUMBER HASH`.
pub fn parse(file: &str, text: &str) -> Result<Lines> {
    let mut lines = Lines::new();
    for (place, line) in (1_u32..).zip(text.lines()) {
        let entry = line.split_once(' ').and_then(|(number, hash)| Some((number.parse().ok()?, hash)));
        let Some((number, hash)) = entry else {
            return Err(wrong(format!("`{file}` line {place} is not a line number and a hash"))
                .hint("write the file anew: `lockgate test RUNBOOK --document NUMBER=FILE --bless`"));
        };
        lines.insert(number, hash.to_owned());
    }
    Ok(lines)
}

fn wrong(message: String) -> Error {
    Error::new(Kind::Runbook, Reason::CheckFailed, message)
}

/// Audits every coverage table of a runbook.
///
/// # Errors
/// The first lines that nobody answers for, a line that is answered for twice or is not in the document, or a part that does not
/// exist; with the table's place.
pub fn audit(source: &Source, runbook: &Runbook) -> Result<()> {
    for table in &runbook.coverage {
        let lines = committed(source, table)?;
        if let Some((_, error)) = problems(table, &lines, runbook).into_iter().next() {
            return Err(error);
        }
    }
    Ok(())
}

/// The hashes that the runbook's folder keeps of the document of a table.
///
/// # Errors
/// When there are none, or they cannot be read.
pub fn committed(source: &Source, table: &Coverage) -> Result<Lines> {
    let file = file_name(&table.document);
    let text = source.beside.read(&file)?.ok_or_else(|| {
        wrong(format!("there is no `{file}` beside the runbook"))
            .hint(format!("write it: `lockgate test RUNBOOK --document {}=FILE --bless`", table.document))
    })?;
    parse(&source.beside.label(&file), &text)
}

/// Everything that is wrong with a table, with the key of the entry that it is about; each error has the table's place.
#[must_use]
pub fn problems(table: &Coverage, lines: &Lines, runbook: &Runbook) -> Vec<(Option<String>, Error)> {
    let document = &table.document;
    let last = lines.keys().next_back().copied().unwrap_or(0);
    let mut answered: BTreeSet<u32> = BTreeSet::new();
    let mut found = Vec::new();
    for entry in &table.entries {
        let mut about = |error: Error| found.push((Some(entry.key.clone()), error));
        if entry.from == 0 || entry.to < entry.from || entry.to > last {
            about(wrong(format!("coverage \"{document}\": `{}` is no range of the document's {last} lines", entry.key)));
            continue;
        }
        let twice = (entry.from..=entry.to).filter(|line| !answered.insert(*line)).min();
        if let Some(twice) = twice {
            about(wrong(format!("coverage \"{document}\": line {twice} is answered for twice, the second time by `{}`", entry.key)));
        }
        match &entry.by {
            CoveredBy::Part(part) => {
                if let Err(error) = exists(part, runbook) {
                    about(error.context(format!("coverage \"{document}\": `{}` names a part that does not exist", entry.key)));
                }
            }
            CoveredBy::Waived(reason) if reason.trim().is_empty() => {
                about(wrong(format!("coverage \"{document}\": `{}` is waived without a reason", entry.key)));
            }
            CoveredBy::Waived(_) => {}
        }
    }
    let missing: Vec<String> = lines.keys().filter(|line| !answered.contains(line)).map(u32::to_string).collect();
    if !missing.is_empty() {
        let error = wrong(format!("coverage \"{document}\": nobody answers for lines {}", missing.join(", ")));
        found.push((None, error.hint("cover each with a part of the runbook, or waive it with a reason")));
    }
    for (_, error) in &mut found {
        if error.places.is_empty() {
            error.places.push(table.place.clone());
        }
    }
    found
}

/// Whether `check ID`, `step ID` or `step GROUP/ID`, with `run|verify|recover|rollback` behind it, or `param NAME` is a part of the runbook. Every step can be rolled
/// back, by its recorded inverses or its own function, unless it is declared `irreversible`.
fn exists(part: &str, runbook: &Runbook) -> Result<()> {
    let words: Vec<&str> = part.split_whitespace().collect();
    // Steps of groups may have one id in several of them: `GROUP/ID` says which.
    let group = |step: &StepDecl| step.group.and_then(|place| runbook.groups.get(place)).map(|group| group.id.as_str());
    let step = |name: &str| match name.split_once('/') {
        Some((of, id)) => runbook.steps.iter().find(|step| step.id == id && group(step) == Some(of)),
        None => runbook.steps.iter().find(|step| step.id == name),
    };
    let known = match words.as_slice() {
        ["runbook"] => true,
        ["param", name] => runbook.params.iter().any(|param| param.name == *name),
        ["check", id] => runbook.checks.iter().any(|check| check.id == *id),
        ["step", id] | ["step", id, "run"] => step(id).is_some(),
        ["step", id, "verify"] => step(id).is_some_and(|step| step.has_verify),
        ["step", id, "recover"] => step(id).is_some_and(|step| step.has_recover),
        ["step", id, "rollback"] => step(id).is_some_and(|step| step.irreversible.is_none()),
        _ => false,
    };
    if known { Ok(()) } else { Err(wrong(format!("`{part}` is none of its checks, steps and parameters"))) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Place;
    use crate::run::runbook::{CoverageEntry, Header};

    fn runbook(entries: Vec<(u32, u32, CoveredBy)>) -> (Runbook, Coverage) {
        let entries = entries.into_iter().map(|(from, to, by)| CoverageEntry { key: format!("{from}-{to}"), from, to, by }).collect();
        let table = Coverage { document: "002".into(), entries, place: Place::default() };
        let runbook = Runbook {
            name: "x".into(),
            header: Header::default(),
            params: vec![],
            checks: vec![],
            steps: vec![],
            groups: vec![],
            coverage: vec![],
            permissions: None,
        };
        (runbook, table)
    }

    #[test]
    fn a_line_that_nobody_answers_for_is_named() {
        let lines = hashes("one\n\ntwo\nthree\n");
        let (book, table) = runbook(vec![(1, 2, CoveredBy::Waived("heading".into()))]);
        let error = problems(&table, &lines, &book).into_iter().next().unwrap().1.to_string();
        assert!(error.contains("lines 3, 4"), "{error}");
    }

    #[test]
    fn overlaps_unknown_parts_and_ranges_outside_are_refused() {
        let lines = hashes("one\ntwo\n");
        let waived = || CoveredBy::Waived("heading".into());
        for (entries, why) in [
            (vec![(1, 2, waived()), (2, 2, waived())], "answered for twice"),
            (vec![(1, 3, waived())], "no range"),
            (vec![(1, 2, CoveredBy::Part("step nope".into()))], "does not exist"),
            (vec![(1, 2, CoveredBy::Waived(" ".into()))], "without a reason"),
        ] {
            let (book, table) = runbook(entries);
            let error = problems(&table, &lines, &book).into_iter().next().unwrap().1.to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn hashes_survive_their_file_and_see_a_change() {
        let lines = hashes("one\n\n  two\n");
        assert_eq!(lines.keys().copied().collect::<Vec<_>>(), [1, 3]);
        assert_eq!(parse("f", &render(&lines)).unwrap(), lines);
        assert_ne!(hashes("one\n\ntwo!\n"), lines);
        assert!(parse("f", "x y z\n").is_err());
    }
}
