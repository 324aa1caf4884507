//! What happens in a plan or run, one line a fact, verbs in one column. A plan and a run print the same words; a plan adds how
//! each line is known.

use super::escape;
use super::given;
use super::paint::Paint;
use crate::base::diff::Change;
use crate::base::{Error, Kind, Span};
use crate::cluster::Drift;
use crate::primitives::registry::plural;
use crate::run::event::{AnsweredBy, Confirmation, End, Event, Item, Known, Record, Stays, StepEnd, Summary, Verdict, What};

/// Lines are broken between words here, whatever the terminal's width: a transcript is compared and reviewed.
const WIDTH: usize = 120;
/// Width of the verb column: the longest verb and two spaces.
const VERB: usize = 9;
/// Titles are padded up to here.
const TITLE: usize = 64;
/// Names of fields are padded up to here.
const FIELD: usize = 48;
/// A detail of a check up to this long stands on its line.
const DETAIL: usize = 60;

/// Writes records as lines. One transcript per plan or run.
#[derive(Clone, Debug)]
pub struct Transcript {
    paint: Paint,
    what: What,
    /// Width of the first column: `check 1/6 `.
    head: usize,
    title: usize,
    in_steps: bool,
    /// The last step that was come to: of those before it that were not told, each had no items.
    reached: usize,
    /// The check that is being asked, until it says something before its verdict: then its title stands above that.
    of_check: Option<Item>,
    error_shown: Option<Error>,
    /// Which item the lines are about, where several are done at the same time.
    speaker: Option<String>,
    /// What the plan before this run said it would take.
    predicted: Option<Span>,
}

impl Transcript {
    /// An empty one.
    #[must_use]
    pub fn new(paint: Paint) -> Transcript {
        Transcript {
            paint,
            what: What::Run,
            head: 10,
            title: 0,
            in_steps: false,
            reached: 0,
            of_check: None,
            error_shown: None,
            speaker: None,
            predicted: None,
        }
    }

    /// The same, which compares how long the run took with what the plan said.
    #[must_use]
    pub fn predicted(mut self, took: Span) -> Transcript {
        self.predicted = Some(took);
        self
    }

    /// The whole transcript as text, without colour: what `plan.txt` holds.
    #[must_use]
    pub fn text(records: &[Record]) -> String {
        let mut transcript = Transcript::new(Paint::plain());
        records.iter().map(|record| transcript.lines(record)).collect()
    }

    /// Width of the first column.
    pub(super) fn head(&self) -> usize {
        self.head
    }

    /// The lines of one record, each with its line end; empty for what is not shown.
    pub fn lines(&mut self, record: &Record) -> String {
        let mut out = String::new();
        match &record.event {
            Event::CheckStarted { check } => self.of_check = Some(check.clone()),
            Event::CheckFinished { .. } => self.of_check = None,
            _ => {}
        }
        self.speaker = record.item.as_deref().and_then(|key| key.split('/').nth(1)).map(str::to_owned);
        self.write(&record.event, &mut out);
        if let Some(check) = self.of_check.take_if(|_| !out.is_empty()) {
            let (head, width) = (format!("check {}/{}", check.number, check.of), self.head);
            out.insert_str(0, &format!("{head:<width$}{}\n", escape::line(&check.title)));
        }
        out
    }

    fn write(&mut self, event: &Event, out: &mut String) {
        match event {
            Event::Started { .. } => self.started(event, out),
            Event::CheckFinished { check, verdict, known, .. } => self.check(check, verdict, *known, out),
            Event::StepStarted { step } => self.step(step, out),
            Event::Earlier { of, item } => self.earlier(of, item, out),
            Event::StepFinished { end, .. } => self.step_end(end, out),
            Event::Recovering { error, .. } => {
                self.failure("failed", error, out);
                self.fact(out, "recover", "", None);
            }
            Event::NoReturn { why, .. } => self.fact(out, "warning", &format!("what this step does cannot be taken back: {why}"), None),
            Event::Again { .. } => self.fact(out, "again", "from the call that failed", None),
            Event::Wrote { verb, target, changes, known, .. } => self.wrote(verb, target, changes, *known, out),
            Event::Unchanged { verb, target, known } => {
                self.fact(out, "same", &format!("{target}: nothing to {verb}"), Some(*known));
            }
            Event::Waited { what, state, took, known } => {
                self.fact(out, "wait", &format!("{what}: {state}{}", self.time(*took)), Some(*known));
            }
            Event::Warned { text } => self.fact(out, "warning", text, None),
            Event::Note { text } => self.fact(out, "note", text, None),
            Event::Asked { confirmation, answer, by, who, known } => {
                let answer = answer.as_deref().map(|answer| (answer, who.as_deref()));
                self.asked(confirmation, answer, *by, *known, out);
            }
            Event::Finished { summary, .. } => self.finished(summary, out),
            Event::CheckStarted { .. } | Event::Waiting { .. } | Event::Delayed { .. } => {}
        }
    }

    fn started(&mut self, event: &Event, out: &mut String) {
        let Event::Started { what, runbook, title, target, namespace, params, checks, steps, .. } = event else { return };
        self.what = *what;
        self.in_steps = false;
        self.reached = 0;
        let digits = |count: usize| count.to_string().len();
        let check = "check ".len() + 2 * digits(checks.len()) + 2;
        let step = "step ".len() + 2 * digits(*steps) + 2;
        self.head = check.max(step).max(10);
        self.title = checks.iter().map(|title| escape::line(title).chars().count()).max().unwrap_or(0).min(TITLE);
        let simulated = if target.simulated { " (simulated)" } else { "" };
        let name = if *what == What::Plan { "plan" } else { "run" };
        self.row(out, name, &format!("{runbook}: {title}"));
        self.row(out, "cluster", &format!("{}{simulated}, namespace {namespace}", target.name));
        for (name, value) in params {
            self.row(out, "param", &format!("{name}={}", given::value(value)));
        }
        if *what == What::Plan {
            self.row(out, "writes", "nothing: this is a dry run on a copy");
        }
        if !checks.is_empty() {
            out.push('\n');
        }
    }

    /// A line of the first column.
    fn row(&self, out: &mut String, head: &str, text: &str) {
        let width = self.head;
        out.push_str(&format!("{head:<width$}{}\n", hanging(&escape::line(text), width)));
    }

    /// A line of a step, or of a check: verb, text, how it is known; further lines of the text below the first.
    fn fact(&self, out: &mut String, verb: &str, text: &str, known: Option<Known>) {
        let verb = &*escape::line(verb);
        let margin = " ".repeat(self.head);
        let known = known.map(|known| self.known(known)).unwrap_or_default();
        let speaker = self.speaker.as_ref().map(|name| format!("{name}: ")).unwrap_or_default();
        let text = hanging(&escape::lines(format!("{speaker}{text}").trim_end()), self.head + VERB);
        let line = format!("{margin}{}{text}{known}", self.paint.strong(format!("{verb:<VERB$}")));
        out.push_str(line.trim_end());
        out.push('\n');
    }

    /// A line beneath a fact.
    fn detail(&self, out: &mut String, text: &str) {
        let margin = self.head + VERB;
        out.push_str(&format!("{}{}\n", " ".repeat(margin), hanging(&escape::line(text), margin)));
    }

    /// How a line is known; said in a plan only, where it is not the same for all.
    fn known(&self, known: Known) -> String {
        match (self.what, known) {
            (What::Run, _) => String::new(),
            (What::Plan, Known::Observed | Known::Admitted | Known::Modelled) => {
                format!("  {}", self.paint.dim(format!("[{}]", known.as_str())))
            }
            (What::Plan, _) => format!("  {}", self.paint.warn(format!("[{}]", known.as_str()))),
        }
    }

    fn time(&self, took: Span) -> String {
        match self.what {
            What::Plan if took.is_zero() => String::new(),
            What::Plan => format!(", about {}", took.rounded()),
            What::Run => format!(", {}", took.rounded()),
        }
    }

    fn check(&mut self, check: &Item, verdict: &Verdict, known: Known, out: &mut String) {
        let head = format!("check {}/{}", check.number, check.of);
        let (width, title) = (self.head, self.title);
        let shown = escape::line(&check.title);
        let (word, detail) = match verdict {
            Verdict::Ok { detail } => (self.paint.good("ok"), detail.clone()),
            Verdict::NotNeeded { why } => (self.paint.good("not needed"), Some(why.clone())),
            Verdict::Skipped { why } => ("skipped".to_owned(), Some(why.clone())),
            Verdict::Failed { .. } => (self.paint.bad("failed"), None),
            Verdict::Unknown { .. } => (self.paint.warn("unknown"), None),
        };
        let known = self.known(known);
        let detail = detail.filter(|detail| !detail.is_empty());
        let short = |detail: &&String| !detail.contains('\n') && detail.chars().count() <= DETAIL;
        let beside = detail.as_ref().filter(short).map(|detail| format!("  {}", escape::line(detail))).unwrap_or_default();
        out.push_str(&format!("{head:<width$}{shown:<title$}  {word}{beside}{known}\n"));
        if let Some(detail) = detail.filter(|detail| !short(&detail)) {
            let indent = " ".repeat(width);
            out.push_str(&format!("{indent}{}\n", hanging(&escape::lines(&detail), width)));
        }
        if let Verdict::Failed { error } | Verdict::Unknown { error } = verdict {
            self.told(error, width, out);
        }
    }

    fn step(&mut self, step: &Item, out: &mut String) {
        if !self.in_steps {
            self.in_steps = true;
            out.push('\n');
        }
        let width = self.head;
        for number in self.reached + 1..step.number {
            let head = format!("step {number}/{}", step.of);
            out.push_str(&format!("{head:<width$}left out: there is nothing that it would be done for\n"));
        }
        self.reached = self.reached.max(step.number);
        let head = format!("step {}/{}", step.number, step.of);
        out.push_str(&format!("{head:<width$}{}{}\n", self.paint.strong(escape::line(&step.title)), part(step)));
    }

    /// What was done before the run was stopped.
    fn earlier(&mut self, of: &str, item: &Item, out: &mut String) {
        if of == "step" && !self.in_steps {
            self.in_steps = true;
            out.push('\n');
        }
        if of == "step" {
            self.reached = self.reached.max(item.number);
        }
        let (head, width, title) = (format!("{of} {}/{}", item.number, item.of), self.head, self.title);
        let shown = escape::line(&item.title);
        let word = self.paint.good("done earlier");
        out.push_str(&format!("{head:<width$}{shown:<title$}{}  {word}\n", part(item)));
    }

    fn step_end(&mut self, end: &StepEnd, out: &mut String) {
        match end {
            // Where several are done at the same time, the end is where no other line tells it.
            StepEnd::Done { .. } if self.speaker.is_some() => self.fact(out, "done", "it is over", None),
            StepEnd::Done { .. } => {}
            StepEnd::Skipped { why } => self.fact(out, "skipped", why, None),
            StepEnd::Failed { error } if error.kind == Kind::Cancelled => self.failure("stopped", error, out),
            StepEnd::Failed { error } => self.failure("failed", error, out),
            StepEnd::Unknown { why } => self.fact(out, "unknown", why, Some(Known::Unknown)),
        }
    }

    /// What failed inside a step; its causes below.
    fn failure(&mut self, word: &str, error: &Error, out: &mut String) {
        if self.error_shown.as_ref() == Some(error) {
            self.fact(out, word, "as above", None);
            return;
        }
        self.fact(out, word, &error.message, None);
        for cause in &error.causes {
            self.detail(out, cause);
        }
        self.error_shown = Some(error.clone());
    }

    fn told(&mut self, error: &Error, margin: usize, out: &mut String) {
        let indent = " ".repeat(margin);
        for text in std::iter::once(&error.message).chain(&error.causes) {
            out.push_str(&format!("{indent}{}\n", hanging(&escape::lines(text), margin)));
        }
        self.error_shown = Some(error.clone());
    }

    fn wrote(&self, verb: &str, target: &str, changes: &[Change], known: Known, out: &mut String) {
        self.fact(out, verb, target, Some(known));
        if verb == "apply" && changes.is_empty() {
            self.detail(out, "no value changes");
        }
        let names: Vec<String> = changes.iter().map(|change| field(&change.path)).collect();
        // What is longer has its value behind it, and moves nobody else's.
        let lengths = names.iter().map(|name| name.chars().count());
        let width = lengths.filter(|length| *length <= FIELD).max().unwrap_or(0);
        for (name, change) in names.iter().zip(changes) {
            self.detail(out, &format!("{name:<width$}  {}", change.values()));
        }
    }

    /// `answer` with the name of who gave it from another terminal.
    fn asked(&self, confirmation: &Confirmation, answer: Option<(&str, Option<&str>)>, by: AnsweredBy, known: Known, out: &mut String) {
        self.fact(out, "asks", &confirmation.question, None);
        let text = match (by, answer) {
            (AnsweredBy::Operator, Some((answer, Some(who)))) => format!("{answer} ({who}, from another terminal)"),
            (AnsweredBy::Operator, Some((answer, None))) => format!("{answer} (the operator)"),
            (AnsweredBy::Plan, Some((answer, _))) => format!("{answer} (the accepted plan)"),
            (AnsweredBy::Assumption, Some((answer, _))) if known == Known::Assumed => format!("{answer} (its default; a run asks)"),
            (AnsweredBy::Assumption, Some((answer, _))) => format!("{answer} (accepting the plan answers this)"),
            (AnsweredBy::Nobody, Some((answer, _))) => format!("{answer}, for this plan (a run asks it whatever was accepted)"),
            _ => "nobody has answered".to_owned(),
        };
        let known = if self.what == What::Plan { self.known(known) } else { String::new() };
        out.push_str(&format!("{}{}{known}\n", " ".repeat(self.head + VERB), escape::line(&text)));
    }

    fn finished(&self, summary: &Summary, out: &mut String) {
        out.push('\n');
        out.push_str(&self.verdict(summary));
        out.push('\n');
        for target in &summary.unsure {
            self.row(out, "unknown", &format!("whether `{target}` was written: the server did not answer; look at it before you go on"));
        }
        summary.no_return.iter().for_each(|text| self.row(out, "no return", text));
        stays(&summary.stays).iter().for_each(|text| self.row(out, "stays", text));
        for (head, texts) in [("unknown", &summary.unknowns), ("assumed", &summary.assumptions)] {
            for text in texts {
                self.row(out, head, text);
            }
        }
        if let Some(text) = summary.drift.as_ref().and_then(Drift::text) {
            self.row(out, "moved", &text);
        }
        if self.what == What::Plan && !summary.requests.is_empty() {
            self.row(out, "needs", &needs(&summary.requests));
        }
    }

    fn verdict(&self, summary: &Summary) -> String {
        let paint = self.paint;
        let count = format!("{} to {}", plural(summary.writes, "write"), plural(summary.objects.len(), "object"));
        let (writes, after) = match summary.writes {
            0 if !summary.unsure.is_empty() => ("no writes".to_owned(), "in the first write".to_owned()),
            0 => ("no writes".to_owned(), "before any write".to_owned()),
            _ => (count.clone(), format!("after {count}")),
        };
        let undo = match (summary.writes, summary.invertible) {
            (0, _) => String::new(),
            (writes, invertible) if writes == invertible => "; every write can be taken back".to_owned(),
            (writes, invertible) => format!("; {invertible} of {writes} writes can be taken back"),
        };
        match (self.what, summary.end) {
            (What::Plan, End::Succeeded) if summary.exit_code == 3 => {
                format!("{} as far as can be known: {writes}{}{undo}", paint.warn("would succeed"), self.time(summary.took))
            }
            (What::Plan, End::Succeeded) => {
                format!("{}: {writes}{}{undo}", paint.good("would succeed"), self.time(summary.took))
            }
            (What::Run, End::Succeeded) => {
                let predicted = self.predicted.map(|span| format!(" (the plan said about {})", span.rounded())).unwrap_or_default();
                format!("{}: {writes}{}{predicted}{undo}", paint.good("done"), self.time(summary.took))
            }
            (_, End::NotNeeded) => format!("{}: the checks hold and there is nothing to do", paint.good("nothing to do")),
            (What::Plan, End::Failed) => format!("{} {after}", paint.bad("would fail")),
            (What::Run, End::Failed) => format!("{} {after}", paint.bad("failed")),
            (_, End::Parked) => format!("{} {after}; nothing was cleaned up", paint.warn("stopped")),
            (_, End::Interrupted) => format!("{} {after}; nothing was cleaned up", paint.warn("interrupted")),
            (_, End::Unknown) => format!("{}: the plan cannot be followed to its end; {writes} so far", paint.warn("unknown")),
        }
    }
}

/// What is needed, verb by verb, so that a line can be broken between two words.
pub(super) fn needs(requests: &[String]) -> String {
    requests.iter().map(|request| request.replace(',', ", ")).collect::<Vec<_>>().join("; ")
}

/// What a rollback leaves as it is, a line for all writes of one kind that stay for the same reason.
pub(super) fn stays(all: &[Stays]) -> Vec<String> {
    /// So many objects are named; what was written to the others stands where it was told.
    const NAMED: usize = 24;
    let mut lines: Vec<(String, &str, Vec<&str>)> = Vec::new();
    for Stays { verb, target, why } in all {
        // Of a command the node or the pod is what differs.
        let place = if verb == "exec" { "in" } else { "on" };
        let (what, name) = match target.rsplit_once(&format!(" {place} ")) {
            Some((command, name)) => (format!("{verb} {command} {place}"), name),
            None => (verb.clone(), target.as_str()),
        };
        match lines.iter_mut().find(|(of, because, _)| *of == what && because == why) {
            Some((_, _, names)) => names.push(name),
            None => lines.push((what, why, vec![name])),
        }
    }
    let line = |(what, why, names): &(String, &str, Vec<&str>)| {
        // Names that are made up are the same without their ends.
        let mut once: Vec<(&str, usize)> = Vec::new();
        for name in names {
            match once.iter_mut().find(|(known, _)| known == name) {
                Some((_, times)) => *times += 1,
                None => once.push((name, 1)),
            }
        }
        let told = once.iter().take(NAMED).map(|(name, times)| if *times == 1 { (*name).to_owned() } else { format!("{name} ({times})") });
        let named = told.collect::<Vec<_>>().join(", ");
        let more = once.len().saturating_sub(NAMED);
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        format!("{what} {named}{more}: {why}")
    };
    lines.iter().map(line).collect()
}

/// Breaks lines between words so that they fit behind a margin of this width; all but the first are indented by it. A word that
/// does not fit is left whole.
fn hanging(text: &str, margin: usize) -> String {
    let room = WIDTH.saturating_sub(margin);
    let mut lines: Vec<String> = Vec::new();
    for line in text.split('\n') {
        if line.chars().count() <= room {
            lines.push(line.to_owned());
            continue;
        }
        let mut current = String::new();
        for word in line.split(' ') {
            if !current.is_empty() && current.chars().count() + 1 + word.chars().count() > room {
                lines.push(std::mem::take(&mut current));
            }
            if !current.is_empty() {
                current.push(' ');
            }
            current.push_str(word);
        }
        lines.push(current);
    }
    lines.join(&format!("\n{}", " ".repeat(margin)))
}

/// The field of a change as people call it: the container for its image, `replicas` for `spec.replicas`.
pub(super) fn field(path: &str) -> String {
    if let Some(rest) = path.strip_suffix("].image")
        && let Some((_, name)) = rest.rsplit_once("ontainers[name=")
    {
        return name.to_owned();
    }
    path.strip_prefix("spec.").unwrap_or(path).to_owned()
}

#[cfg(test)]
#[path = "transcript_tests.rs"]
mod tests;

/// Which item of a step: `  node-1 (1/3)`.
fn part(item: &Item) -> String {
    item.part.as_ref().map_or_else(String::new, |part| format!("  {} ({}/{})", escape::line(&part.name), part.number, part.of))
}
