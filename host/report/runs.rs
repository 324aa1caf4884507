//! Runs, for people: the list, where one stands, and the whole report as text and as a page of Markdown.

use std::collections::BTreeMap;

use super::escape;
use super::given;
use super::markup::{code, fenced, page, page_table};
use super::paint::Paint;
use super::table;
use super::transcript::{Transcript, stays};
use crate::base::{Error, Span, Timestamp};
use crate::primitives::registry::plural;
use crate::run::approval::Waiting;
use crate::run::event::{AnsweredBy, Record, StepEnd, Verdict};
use crate::run::hindsight::Hindsight;
use crate::run::journal::listed::Listed;
use crate::run::journal::view::{Answered, Became, Standing, Stepped, Story, Write};

/// Width of the first column.
const HEAD: usize = 11;
const LIST: [&str; 7] = ["RUN", "RUNBOOK", "CLUSTER", "STATE", "STARTED", "TOOK", "WRITES"];
const STEPS: [&str; 6] = ["STEP", "TITLE", "END", "TOOK", "PLANNED", "WRITES"];

/// The table of `lockgate runs`.
#[must_use]
pub fn list(runs: &[Listed], paint: Paint) -> String {
    let rows: Vec<Vec<String>> = runs.iter().map(cells).collect();
    let mut out = table::columns(&LIST, &rows, paint);
    for run in runs {
        if let Listed::Broken { error, .. } = run {
            out.push_str(&format!("{}\n", escape::line(&error.to_string())));
        }
    }
    out
}

/// The same as a table of Markdown.
#[must_use]
pub fn list_markdown(runs: &[Listed]) -> String {
    let heads = LIST.map(str::to_lowercase);
    page_table(&heads.each_ref().map(String::as_str), &runs.iter().map(cells).collect::<Vec<_>>())
}

fn cells(listed: &Listed) -> Vec<String> {
    match listed {
        Listed::Broken { run, .. } => [run.as_str(), "-", "-", "unreadable", "-", "-", "-"].map(str::to_owned).to_vec(),
        Listed::Run(line) => {
            let rollback = if line.what == "rollback" { " (rollback)" } else { "" };
            let writes = match line.half_done {
                0 => line.writes.to_string(),
                half => format!("{} and {half} unknown", line.writes),
            };
            vec![
                line.run.clone(),
                format!("{}{rollback}", line.runbook),
                cluster(&line.target.name, line.target.simulated),
                match &line.taken_back {
                    Some(taken) if taken.is_whole() => "taken back".to_owned(),
                    Some(_) => "taken back in part".to_owned(),
                    None => line.standing.as_str().to_owned(),
                },
                clock(line.started),
                line.took.rounded().to_string(),
                writes,
            ]
        }
    }
}

/// Where a run stands: `lockgate status`. `options` stand behind the commands that go on.
#[must_use]
pub fn status(story: &Story, options: &str, paint: Paint) -> String {
    let mut out = Rows::new();
    out.row("run", &format!("{} {}: {}", story.run, story.runbook, story.title));
    if let Some(of) = &story.of {
        out.row("takes back", of);
    }
    out.row("cluster", &cluster(&story.target.name, story.target.simulated));
    out.painted("state", &painted(story, paint));
    if let Some(taken) = &story.taken_back {
        out.row("taken back", &taken.told());
    }
    if let Some(error) = story.error() {
        out.error(error);
    }
    out.row("began", &began(story));
    out.row("steps", &progress(story));
    if let Some(inside) = &story.inside {
        out.row("inside", inside);
    }
    if let Some(asked) = story.asked.last() {
        out.row("asked", &format!("{}: {}", asked.confirmation.question, answer(asked)));
    }
    if let Some(Waiting { confirmation, .. }) = &story.waiting {
        out.row("waits", &format!("{}: {}", confirmation.at, confirmation.question));
    }
    out.row("writes", &plural(story.made(), "write"));
    no_return(story, |head, text| out.row(head, &text));
    half_done(story, &mut out);
    for (command, does) in story.ways_on(options) {
        out.row("next", &format!("`{command}` {does}"));
    }
    out.text
}

/// When it began and how long it took. How long one took that was killed nobody knows: only when it was last heard of.
fn began(story: &Story) -> String {
    match story.standing {
        Standing::Killed => format!("{}, last entry {}", clock(story.started), clock(story.last)),
        _ => format!("{}, took {}", clock(story.started), story.took.rounded()),
    }
}

/// The whole report: what was asked and planned, who consented, what happened when, what is half-done.
#[must_use]
pub fn report(story: &Story, paint: Paint) -> String {
    let mut out = Rows::new();
    facts(story, |head, text| out.row(head, &text));
    out.painted("state", &painted(story, paint));
    if let Some(error) = story.error() {
        out.error(error);
    }
    half_done(story, &mut out);
    let mut out = out.text;
    if !story.steps.is_empty() {
        out.push_str(&format!("\n{}", table::columns(&STEPS, &story.steps.iter().map(step_cells).collect::<Vec<_>>(), paint)));
    }
    if !story.writes.is_empty() {
        let heads = ["TIME", "WRITE", "OBJECT", "WHERE", "OUTCOME"];
        out.push_str(&format!("\n{}", table::columns(&heads, &story.writes.iter().map(write_cells).collect::<Vec<_>>(), paint)));
    }
    out.push_str(&format!("\n{}\n", paint.strong("what happened")));
    out.push_str(&timed(&story.events));
    out.push_str(&format!("\n{}", chain(story)));
    out
}

/// The same as a page of Markdown.
#[must_use]
pub fn markdown(story: &Story) -> String {
    let mut out = format!("# {} `{}`\n\n", title(story), code(&story.run));
    let mut rows: Vec<Vec<String>> = Vec::new();
    facts(story, |head, text| rows.push(vec![head.to_owned(), text]));
    rows.push(vec!["state".to_owned(), state(story)]);
    rows.extend(story.error().map(|error| vec!["error".to_owned(), error.to_string()]));
    out.push_str(&page_table(&["", ""], &rows));
    let half: Vec<&Write> = story.half_done().collect();
    if !half.is_empty() {
        out.push_str("\n## Half-done\n\n");
        half.iter().for_each(|write| out.push_str(&format!("- {}\n", page(&unknown(write)))));
    }
    if !story.steps.is_empty() {
        let heads = STEPS.map(str::to_lowercase);
        out.push_str("\n## Steps\n\n");
        let rows: Vec<Vec<String>> = story.steps.iter().map(step_cells).collect();
        out.push_str(&page_table(&heads.each_ref().map(String::as_str), &rows));
    }
    if !story.writes.is_empty() {
        out.push_str("\n## Writes\n\n");
        let rows: Vec<Vec<String>> = story.writes.iter().map(write_cells).collect();
        out.push_str(&page_table(&["time", "write", "object", "where", "outcome"], &rows));
    }
    if let Some(planned) = story.consent.as_ref().and_then(|consent| consent.planned.as_ref()) {
        out.push_str(&format!("\n## The plan\n\n{}", fenced("text", &planned.text)));
    }
    out.push_str(&format!("\n## What happened\n\n{}\n{}", fenced("text", &timed(&story.events)), page(&chain(story))));
    out.push('\n');
    out
}

/// The first lines of a report, each as what it is about and what is to be said.
pub(super) fn facts(story: &Story, mut tell: impl FnMut(&str, String)) {
    tell("run", format!("{} {}: {}", story.run, story.runbook, story.title));
    if let Some(of) = &story.of {
        tell("takes back", of.clone());
    }
    let uid = story.cluster.as_ref().map_or_else(String::new, |uid| format!(", kube-system {uid}"));
    tell("cluster", format!("{}{uid}, namespace {}", cluster(&story.target.name, story.target.simulated), story.namespace));
    tell("asked", story.command.clone());
    for (name, value) in &story.params {
        let text = if value.get("secret").is_some() { "(secret)".to_owned() } else { given::value(value) };
        tell("param", format!("{name}={text}"));
    }
    let count = story.files.keys().filter(|name| !name.starts_with('@')).count();
    tell("script", format!("{}, {} pinned, by lockgate {}", story.source, plural(count, "file"), story.version));
    if let Some(consent) = &story.consent {
        if let Some(planned) = &consent.planned {
            let hash = consent.plan.as_ref().map_or_else(String::new, |hash| format!("; SHA-256 {hash}"));
            tell("planned", format!("{} in {}{hash}", plural(planned.writes, "write"), planned.took.rounded()));
        }
        tell("consent", format!("{} at {}", consent.by, clock(consent.at)));
        for confirmation in &consent.confirmations {
            tell("", format!("with it, {}: {}", confirmation.at, confirmation.question));
        }
    }
    for asked in &story.asked {
        let said = answer(asked);
        tell("asked", format!("{} {}: {}: {said}", clock(asked.at), asked.confirmation.at, asked.confirmation.question));
    }
    for worked in &story.processes {
        tell("process", format!("{} {} on {}, process {}, epoch {}", clock(worked.at), worked.user, worked.host, worked.pid, worked.epoch));
    }
    for incident in &story.incidents {
        tell("incident", format!("{} {}", clock(incident.at), incident.what));
    }
    tell("began", format!("{}, last entry {}, {}", clock(story.started), clock(story.last), story.took.rounded()));
    if let Some(taken) = &story.taken_back {
        tell("taken back", taken.told());
    }
    tell("steps", progress(story));
    tell("writes", plural(story.made(), "write"));
    if let Some(hindsight) = &story.hindsight {
        tell("plan", hindsight.to_string());
    }
    no_return(story, tell);
}

/// The line of a run that compares it with its plan.
#[must_use]
pub fn foresight(hindsight: &Hindsight) -> String {
    format!("plan      {}\n", escape::line(&hindsight.to_string()))
}

fn no_return(story: &Story, mut tell: impl FnMut(&str, String)) {
    for (step, why) in story.no_return() {
        tell("no return", format!("step `{step}` cannot be taken back: {why}"));
    }
    stays(&story.stays()).into_iter().for_each(|text| tell("stays", text));
}

/// Lines with what they are about in the first column.
struct Rows {
    text: String,
}

impl Rows {
    fn new() -> Rows {
        Rows { text: String::new() }
    }

    fn row(&mut self, head: &str, text: &str) {
        self.painted(head, &escape::line(text));
    }

    /// A text that is safe already.
    fn painted(&mut self, head: &str, text: &str) {
        self.text.push_str(&format!("{head:<HEAD$}{text}\n"));
    }

    fn error(&mut self, error: &Error) {
        self.row("why", &error.message);
        error.causes.iter().for_each(|cause| self.row("", cause));
    }
}

fn half_done(story: &Story, out: &mut Rows) {
    for write in story.half_done() {
        out.row("half-done", &unknown(write));
    }
}

pub(super) fn unknown(write: &Write) -> String {
    let part = write.part.as_ref().map_or_else(String::new, |part| format!(" ({part})"));
    let why = match (&write.became, &write.why) {
        (Became::Open, _) => "the process ended before its answer was kept".to_owned(),
        (_, Some(why)) => why.clone(),
        (_, None) => "there was no answer".to_owned(),
    };
    format!("{} {}{part} in {}: whether it was made is not known, {why}", write.verb, write.target, write.place)
}

fn painted(story: &Story, paint: Paint) -> String {
    let text = state(story);
    let text = escape::line(&text);
    match story.standing {
        Standing::Done | Standing::NothingToDo | Standing::Running => paint.good(text),
        Standing::Parked | Standing::Interrupted => paint.warn(text),
        Standing::Failed | Standing::Killed => paint.bad(text),
    }
}

/// The state in a sentence.
pub(super) fn state(story: &Story) -> String {
    match (&story.holder, story.standing) {
        (Some(holder), Standing::Running) => format!("running, by process {} on {}", holder.pid, holder.host),
        (_, Standing::Killed) => "killed: its process ended without a word".to_owned(),
        (_, standing) => standing.as_str().to_owned(),
    }
}

pub(super) fn title(story: &Story) -> String {
    let what = if story.what == "rollback" { "Rollback" } else { "Run" };
    format!("{what} of {}", page(&story.runbook))
}

fn progress(story: &Story) -> String {
    let done = steps_over(story);
    let asked = story.checks.iter().filter(|checked| matches!(checked.verdict, Some(Verdict::Ok { .. }))).count();
    format!("{done} of {} done; {} of {} held", story.steps_of, asked, plural(story.checks.len(), "check"))
}

/// How many steps are over. Each item of a step has a line of its own: the step is over with the last of them.
fn steps_over(story: &Story) -> usize {
    let over = |stepped: &&Stepped| matches!(stepped.end, Some(StepEnd::Done { .. } | StepEnd::Skipped { .. }));
    let mut left: BTreeMap<usize, usize> = BTreeMap::new();
    for stepped in story.steps.iter().filter(over) {
        let items = stepped.step.part.as_ref().map_or(1, |part| part.of);
        let count = left.entry(stepped.step.number).or_insert(items);
        *count = count.saturating_sub(1);
    }
    left.values().filter(|count| **count == 0).count()
}

pub(super) fn step_cells(stepped: &Stepped) -> Vec<String> {
    let span = |span: Option<Span>| span.map_or_else(|| "-".to_owned(), |span| span.rounded().to_string());
    vec![
        stepped.step.id.clone(),
        stepped.step.title.clone(),
        end(stepped.end.as_ref()).to_owned(),
        span(stepped.took),
        span(stepped.predicted),
        stepped.writes.to_string(),
    ]
}

pub(super) fn end(end: Option<&StepEnd>) -> &'static str {
    match end {
        Some(StepEnd::Done { recovered: false }) => "done",
        Some(StepEnd::Done { recovered: true }) => "recovered",
        Some(StepEnd::Skipped { .. }) => "skipped",
        Some(StepEnd::Failed { .. }) => "failed",
        Some(StepEnd::Unknown { .. }) => "unknown",
        None => "not over",
    }
}

pub(super) fn write_cells(write: &Write) -> Vec<String> {
    let part = write.part.as_ref().map_or_else(String::new, |part| format!(" {part}"));
    let outcome = match (write.became, &write.why) {
        (Became::Made, _) => "made".to_owned(),
        (Became::NotMade, why) => format!("not made: {}", why.as_deref().unwrap_or("refused")),
        (Became::Unknown | Became::Open, _) => "not known".to_owned(),
    };
    vec![clock(write.at), format!("{}{part}", write.verb), write.target.clone(), write.place.clone(), outcome]
}

fn answer(asked: &Answered) -> String {
    let who = match (asked.by, &asked.who) {
        (AnsweredBy::Operator, Some(who)) => format!("{who}, from another terminal"),
        (AnsweredBy::Operator, None) => "the operator".to_owned(),
        (AnsweredBy::Plan, _) => "the accepted plan".to_owned(),
        (AnsweredBy::Assumption, _) => "nobody; assumed".to_owned(),
        (AnsweredBy::Nobody, _) => "nobody".to_owned(),
    };
    asked.answer.as_deref().map_or_else(|| "no answer".to_owned(), |answer| format!("{answer} ({who})"))
}

/// The transcript with the time before each line that begins something.
pub(super) fn timed(events: &[Record]) -> String {
    let mut transcript = Transcript::new(Paint::plain());
    let mut out = String::new();
    for record in events {
        let mut time = Some(clock(record.at));
        for line in transcript.lines(record).lines() {
            let time = if line.is_empty() { String::new() } else { time.take().unwrap_or_default() };
            out.push_str(format!("{time:<21}{line}").trim_end());
            out.push('\n');
        }
    }
    out
}

fn chain(story: &Story) -> String {
    let torn = if story.torn { "; what follows the last line is torn" } else { "" };
    format!(
        "journal: {}, chain head {}{torn}\n",
        plural(usize::try_from(story.lines).unwrap_or(usize::MAX), "line"),
        escape::line(&story.head)
    )
}

pub(super) fn cluster(name: &str, simulated: bool) -> String {
    if simulated { format!("{name} (simulated)") } else { name.to_owned() }
}

/// A moment to the second.
pub(super) fn clock(at: Timestamp) -> String {
    let seconds = Timestamp::from_second(at.as_second()).unwrap_or(at);
    seconds.to_string()
}

#[cfg(test)]
#[path = "runs_tests.rs"]
mod tests;
