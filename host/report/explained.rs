//! One step of a plan in full: the difference of every object that it writes, and what each line rests on: which reads, which answer of
//! the server, which controllers of the simulated cluster, which word of the script.

use std::collections::BTreeMap;

use super::escape;
use super::paint::Paint;
use super::transcript::Transcript;
use crate::base::diff::BOOKKEEPING;
use crate::base::json::{Value as Json, json};
use crate::base::{Error, Result};
use crate::cluster::{Recorded, Verb};
use crate::primitives::registry::plural;
use crate::run::Steady;
use crate::run::event::{Event, Known, Record};

/// Lines of a difference around what changed.
const AROUND: usize = 3;
/// Objects longer than this are told field by field: whole, nobody would read them.
const MOST: usize = 3_000;
/// Fields of `metadata` that the server keeps.
const KEPT_BY_SERVER: [&str; 3] = ["managedFields", "resourceVersion", "generation"];
/// What stands for the values of a Secret.
const HIDDEN: &str = "(secret)";

/// An object that a request of the plan changed in the copy.
#[derive(Clone, Debug)]
pub struct Written {
    /// `deployment/shop/web`
    pub subject: String,
    /// As it was.
    pub before: Option<Json>,
    /// As it would be.
    pub after: Option<Json>,
}

/// A line of a plan, with all that happened in the copy since the line before.
#[derive(Clone, Debug)]
pub struct Basis {
    /// The line.
    pub record: Record,
    /// The requests.
    pub requests: Vec<Recorded>,
    /// What is to be said of what was read, and which rule decided.
    pub facts: Vec<String>,
    /// What they changed.
    pub written: Vec<Written>,
    /// What controllers of the simulated cluster did: `deployment-controller: 1 replicaset made`.
    pub controllers: BTreeMap<String, usize>,
}

/// The step whose id or title this is: its lines, or what steps there are.
///
/// # Errors
/// Input when there is no such step. Internal when an object cannot be written as YAML.
pub fn text(step: &str, all: &[Basis], steady: &Steady, asked: Asked, paint: Paint) -> Result<String> {
    let mut transcript = Transcript::new(paint);
    let mut out = String::new();
    let (mut inside, mut found) = (false, Vec::new());
    for basis in all {
        let record = steady.record(&basis.record)?;
        if let Event::StepStarted { step: item } = &record.event {
            let of_it = item.id.strip_prefix(step).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
            inside = of_it || item.title == step || item.number.to_string() == step;
            found.push(item.id.clone());
        }
        let lines = transcript.lines(&record);
        let is_end = matches!(record.event, Event::Finished { .. });
        if !inside || is_end {
            continue;
        }
        out.push_str(lines.trim_start_matches('\n'));
        let margin = " ".repeat(transcript.head());
        for line in rests_on(&record.event, basis, asked) {
            out.push_str(&format!("{margin}{}\n", paint.dim(format!("         because  {}", escape::line(&steady.text(&line))))));
        }
        for written in &basis.written {
            for line in difference(written)? {
                let line = escape::line(&steady.text(&line)).into_owned();
                let painted = match line.chars().next() {
                    Some('+') => paint.good(line),
                    Some('-') => paint.bad(line),
                    _ => line,
                };
                out.push_str(format!("{margin}         {painted}").trim_end());
                out.push('\n');
            }
        }
    }
    if out.is_empty() {
        found.dedup();
        let steps = found.iter().map(|id| format!("`{id}`")).collect::<Vec<_>>().join(", ");
        let none = if steps.is_empty() { "the plan came to no step".to_owned() } else { format!("the plan came to {steps}") };
        return Err(Error::usage(format!("`--explain {step}`: the plan has no such step")).hint(none));
    }
    Ok(out)
}

/// Who was asked about writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// The live server.
    Server,
    /// Nobody: it is a simulated cluster.
    Simulated,
    /// Nobody: a snapshot cannot be asked.
    Snapshot,
    /// Nobody, as was wanted (`--local`).
    Local,
}

/// What a line rests on.
fn rests_on(event: &Event, basis: &Basis, asked: Asked) -> Vec<String> {
    // The end of a step says no more than its lines.
    let Some(known) = event.known().filter(|_| !matches!(event, Event::StepFinished { .. })) else { return Vec::new() };
    let mut lines = Vec::new();
    let reads = requests(basis, |request| !request.verb.is_write());
    if !reads.is_empty() {
        lines.push(format!("read: {}", reads.join("; ")));
    }
    match (event, known) {
        (Event::Wrote { .. }, Known::Admitted) => {
            let answers = basis.requests.iter().filter(|request| request.dry_run).map(|request| {
                let answer = request.status.map_or_else(|| "no answer".to_owned(), |status| status.to_string());
                format!("{}?dryRun=All -> {answer}", called(request))
            });
            lines.push(format!("the server was asked: {}", answers.collect::<Vec<_>>().join("; ")));
        }
        (Event::Wrote { .. }, _) => lines.push(
            match asked {
                Asked::Server => "the server could not be asked about this write: the simulated cluster carried it out",
                Asked::Simulated => "the cluster is simulated: it carried the write out in the copy",
                Asked::Snapshot => "a snapshot answers no question: the simulated cluster carried the write out",
                Asked::Local => "the server was not asked (`--local`): the simulated cluster carried the write out",
            }
            .to_owned(),
        ),
        (Event::Asked { .. }, Known::Assumed) => {
            lines.push("nobody was asked in the plan: its default, or a word that is yet to be given".to_owned())
        }
        (Event::Asked { .. }, _) => lines.push("nobody was asked in the plan: accepting it is the answer".to_owned()),
        (Event::Waited { .. }, Known::Observed) => lines.push("it was so in the cluster already".to_owned()),
        (Event::Waited { .. }, _) => lines.push("virtual time went on in the copy until it was so".to_owned()),
        _ => {}
    }
    lines.extend(basis.facts.iter().cloned());
    if !basis.controllers.is_empty() {
        let done: Vec<String> = basis
            .controllers
            .iter()
            .map(|(what, count)| if *count == 1 { what.clone() } else { format!("{what} ({count} times)") })
            .collect();
        lines.push(format!("then, in the model: {}", done.join("; ")));
    }
    if known == Known::Unknown {
        lines.push("nobody can know it before the run".to_owned());
    }
    lines
}

fn requests(basis: &Basis, counts: impl Fn(&Recorded) -> bool) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for request in basis.requests.iter().filter(|request| counts(request) && !request.dry_run && request.verb != Verb::Watch) {
        let text = called(request);
        if !all.contains(&text) {
            all.push(text);
        }
    }
    all
}

/// `get deployments.apps shop/web`
fn called(request: &Recorded) -> String {
    let part = request.subresource.as_ref().map_or_else(String::new, |part| format!("/{part}"));
    let place = [request.namespace.as_deref(), request.name.as_deref()].into_iter().flatten().collect::<Vec<_>>().join("/");
    format!("{} {}{part} {place}", request.verb, request.resource).trim_end().to_owned()
}

/// The difference of an object as YAML, with a few lines around what changed.
fn difference(written: &Written) -> Result<Vec<String>> {
    let (mut before, mut after) = (written.before.clone(), written.after.clone());
    if written.subject.starts_with("secret/") {
        hide(&mut before, &mut after);
    }
    let lines = |object: &Option<Json>| -> Result<Vec<String>> {
        let Some(object) = object else { return Ok(Vec::new()) };
        let text = serde_saphyr::to_string(&shown(object));
        let text = text.map_err(|error| Error::internal("writing an object as YAML").cause(error.to_string()))?;
        Ok(text.trim_end().lines().map(str::to_owned).collect())
    };
    let (old, new) = (lines(&before)?, lines(&after)?);
    let mut out = vec![match (&before, &after) {
        (None, _) => format!("{} is made", written.subject),
        (_, None) => format!("{} is gone", written.subject),
        _ => written.subject.clone(),
    }];
    if before.is_some() && after.is_none() {
        // What goes as a whole is in the cluster to be read.
        return Ok(out);
    }
    if old.len() > MOST || new.len() > MOST {
        out.push(format!("  {} and {}: too long to be compared line by line", plural(old.len(), "line"), plural(new.len(), "line")));
        return Ok(out);
    }
    out.extend(around(&diff(&old, &new)));
    Ok(out)
}

/// The object without what only machines read.
fn shown(object: &Json) -> Json {
    let mut object = object.clone();
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
        if let Some(metadata) = fields.get_mut("metadata").and_then(Json::as_object_mut) {
            KEPT_BY_SERVER.iter().for_each(|field| drop(metadata.remove(field)));
            if let Some(annotations) = metadata.get_mut("annotations").and_then(Json::as_object_mut) {
                BOOKKEEPING.iter().for_each(|name| drop(annotations.remove(name)));
            }
            if metadata.get("annotations").and_then(Json::as_object).is_some_and(|annotations| annotations.is_empty()) {
                metadata.remove("annotations");
            }
        }
    }
    object
}

/// Masks the values of a Secret; one that changes is told.
fn hide(before: &mut Option<Json>, after: &mut Option<Json>) {
    let values =
        |object: &Option<Json>, part: &str| object.as_ref().and_then(|object| object.get(part)).cloned().unwrap_or_else(|| json!({}));
    for part in ["data", "stringData"] {
        let (old, new) = (values(before, part), values(after, part));
        for (object, own, other) in [(&mut *before, &old, &new), (&mut *after, &new, &old)] {
            let Some(map) = object.as_mut().and_then(|object| object.get_mut(part)).and_then(Json::as_object_mut) else { continue };
            let is_new = std::ptr::eq(own, &new);
            for (key, value) in map.iter_mut() {
                let same = other.get(key.as_str()) == own.get(key.as_str());
                let is_other = !same && other.get(key.as_str()).is_some() && is_new;
                *value = if is_other { format!("{HIDDEN} another").into() } else { HIDDEN.into() };
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Both,
    Old,
    New,
}

/// The lines of both, by the longest common subsequence of what is between their common beginning and end.
fn diff<'a>(old: &'a [String], new: &'a [String]) -> Vec<(Side, &'a str)> {
    let head = old.iter().zip(new).take_while(|(old, new)| old == new).count();
    let tail = old.iter().rev().zip(new.iter().rev()).take_while(|(old, new)| old == new).count();
    let tail = tail.min(old.len().min(new.len()) - head);
    let (a, b) = (old.get(head..old.len() - tail).unwrap_or_default(), new.get(head..new.len() - tail).unwrap_or_default());
    // How long the longest common subsequence of what follows is, row by row.
    let wide = b.len() + 1;
    let mut length = vec![0_u32; (a.len() + 1) * wide];
    let at = |length: &[u32], i: usize, j: usize| length.get(i * wide + j).copied().unwrap_or_default();
    for (i, left) in a.iter().enumerate().rev() {
        for (j, right) in b.iter().enumerate().rev() {
            let value = if left == right { at(&length, i + 1, j + 1) + 1 } else { at(&length, i + 1, j).max(at(&length, i, j + 1)) };
            if let Some(cell) = length.get_mut(i * wide + j) {
                *cell = value;
            }
        }
    }
    let mut out: Vec<(Side, &str)> = old.iter().take(head).map(|line| (Side::Both, line.as_str())).collect();
    let (mut i, mut j) = (0, 0);
    loop {
        match (a.get(i), b.get(j)) {
            (None, None) => break,
            (Some(left), Some(right)) if left == right => {
                out.push((Side::Both, left));
                (i, j) = (i + 1, j + 1);
            }
            (Some(left), right) if right.is_none() || at(&length, i + 1, j) >= at(&length, i, j + 1) => {
                out.push((Side::Old, left));
                i += 1;
            }
            (_, Some(right)) => {
                out.push((Side::New, right));
                j += 1;
            }
            (Some(_), None) => break,
        }
    }
    out.extend(old.iter().skip(old.len() - tail).map(|line| (Side::Both, line.as_str())));
    out
}

/// What changed, with a few lines around it; what is left out between is a line of dots.
fn around(lines: &[(Side, &str)]) -> Vec<String> {
    let changed: Vec<usize> = lines.iter().enumerate().filter(|(_, (side, _))| *side != Side::Both).map(|(place, _)| place).collect();
    let near = |place: usize| changed.iter().any(|at| at.abs_diff(place) <= AROUND);
    let mut out = Vec::new();
    let mut left_out = false;
    for (place, (side, line)) in lines.iter().enumerate() {
        if !near(place) {
            left_out = true;
            continue;
        }
        if std::mem::take(&mut left_out) {
            out.push("  ...".to_owned());
        }
        let mark = match side {
            Side::Both => ' ',
            Side::Old => '-',
            Side::New => '+',
        };
        out.push(format!("{mark} {line}"));
    }
    if out.is_empty() {
        out.push("  nothing but its status".to_owned());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_shows_what_changed_and_a_few_lines_around() {
        let lines = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let (old, new) = (lines("a b c d e f g h i j"), lines("a b c d X f g h i j k"));
        assert_eq!(around(&diff(&old, &new)), ["  ...", "  b", "  c", "  d", "- e", "+ X", "  f", "  g", "  h", "  i", "  j", "+ k"]);
        let (old, new) = (lines("a b c d e f g h i j k l m"), lines("A b c d e f g h i j k l M"));
        let told = around(&diff(&old, &new)).join("|");
        assert_eq!(told, "- a|+ A|  b|  c|  d|  ...|  j|  k|  l|- m|+ M");
        assert_eq!(around(&diff(&old, &old)), ["  nothing but its status"]);
    }

    #[test]
    fn the_values_of_a_secret_are_masked_and_one_that_changes_is_told() {
        let secret = |data: Json| Some(json!({ "kind": "Secret", "data": data }));
        let written = Written {
            subject: "secret/shop/db".to_owned(),
            before: secret(json!({ "a": "b2xk", "same": "c2FtZQ==" })),
            after: secret(json!({ "a": "bmV3", "same": "c2FtZQ==", "more": "bW9yZQ==" })),
        };
        let told = difference(&written).unwrap().join("\n");
        assert!(told.contains("-   a: (secret)\n+   a: (secret) another"), "{told}");
        assert!(told.contains("+   more: (secret)") && told.contains("    same: (secret)"), "{told}");
        assert!(!told.contains("b2xk") && !told.contains("bmV3") && !told.contains("bW9yZQ"), "{told}");
    }
}
