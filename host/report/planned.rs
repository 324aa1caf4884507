//! A plan as pages: the parts that Markdown and HTML have in common, and the page of Markdown, which fits a pull request. Neither
//! has moments, ids or made-up names in it: two plans of the same input are the same page (`run/steady.rs`).

use super::escape;
use super::given;
use super::markup::{fenced, html, page, page_table};
use super::paint::Paint;
use super::transcript::{Transcript, field, needs, stays};
use crate::base::diff::Change;
use crate::base::json::Value as Json;
use crate::base::{Error, Span};
use crate::cluster::Drift;
use crate::cluster::downtime::Line;
use crate::primitives::registry::plural;
use crate::run::event::{AnsweredBy, End, Event, Item, Known, Record, StepEnd, Summary, Verdict};

/// Values longer than this are cut; `--explain` shows them whole.
const LONG: usize = 160;

/// What each word about a line means.
const LEGEND: [(Known, &str); 5] = [
    (Known::Observed, "read from the cluster as it is"),
    (Known::Admitted, "the server was asked and would do it (`dryRun=All`)"),
    (Known::Modelled, "what the simulated controllers make of it"),
    (Known::Assumed, "rests on a default, or on a word that nobody has given yet"),
    (Known::Unknown, "nobody can say"),
];

/// A plan that is over, its records steady.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    /// Everything that happened in it.
    pub records: &'a [Record],
    /// What is down when.
    pub downtime: &'a [Line],
}

/// A line of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// As the transcript has it.
    Line(String),
    /// A field as it was.
    Before(String),
    /// The same as it would be.
    After(String),
}

/// A step, or one item of a step.
pub(super) struct Section {
    pub(super) item: Item,
    pub(super) said: Vec<Said>,
    pub(super) writes: usize,
    pub(super) end: Option<StepEnd>,
    pub(super) took: Span,
    /// After the beginning of the plan.
    pub(super) from: Span,
    /// Further items of the same step of which there is the same to say, and nothing is written.
    also: Vec<String>,
}

impl Section {
    /// `step 1/3: Move web, node-1 (1/3)`
    pub(super) fn title(&self) -> String {
        let Item { number, of, title, part, .. } = &self.item;
        let part = match (part, self.also.as_slice()) {
            (None, _) => String::new(),
            (Some(part), []) => format!(", {} ({}/{})", part.name, part.number, part.of),
            (Some(part), also) => format!(", {}, {} ({} of {})", part.name, also.join(", "), also.len() + 1, part.of),
        };
        format!("step {number}/{of}: {title}{part}")
    }

    /// Whether another item of the same step says and does the same, which is to write nothing.
    fn is_like(&self, other: &Section) -> bool {
        let is_same = self.item.number == other.item.number && self.item.title == other.item.title;
        let does = self.writes + other.writes > 0 || !self.took.is_zero() || !other.took.is_zero();
        is_same && !does && !self.is_open() && self.end == other.end && self.said == other.said
    }

    /// `2 writes, about 2m`
    pub(super) fn about(&self) -> String {
        let time = if self.took.is_zero() { String::new() } else { format!(", about {}", self.took.rounded()) };
        let writes = if self.writes == 0 { "no writes".to_owned() } else { plural(self.writes, "write") };
        let end = match &self.end {
            Some(StepEnd::Done { recovered: false }) => "",
            Some(StepEnd::Done { recovered: true }) => "recovers; ",
            Some(StepEnd::Skipped { .. }) => "skipped; ",
            Some(StepEnd::Failed { .. }) => "fails; ",
            Some(StepEnd::Unknown { .. }) | None => "cannot be followed to its end; ",
        };
        format!("{end}{writes}{time}")
    }

    /// Whether a reviewer has to look at it.
    pub(super) fn is_open(&self) -> bool {
        !matches!(self.end, Some(StepEnd::Done { recovered: false } | StepEnd::Skipped { .. }))
    }
}

impl Plan<'_> {
    /// How it ended.
    pub(super) fn summary(&self) -> Option<&Summary> {
        self.records.iter().rev().find_map(|record| match &record.event {
            Event::Finished { summary, .. } => Some(summary),
            _ => None,
        })
    }

    /// The runbook and its title.
    pub(super) fn title(&self) -> String {
        let started = self.records.iter().find_map(|record| match &record.event {
            Event::Started { runbook, title, .. } => Some(format!("{runbook}: {title}")),
            _ => None,
        });
        started.unwrap_or_default()
    }

    /// What was planned, each fact with its head.
    pub(super) fn facts(&self) -> Vec<Vec<String>> {
        let mut rows: Vec<Vec<String>> = Vec::new();
        let mut row = |head: &str, text: String| rows.push(vec![head.to_owned(), text]);
        for record in self.records {
            let Event::Started { target, namespace, params, .. } = &record.event else { continue };
            let simulated = if target.simulated { " (simulated)" } else { "" };
            row("cluster", format!("{}{simulated}, namespace {namespace}", target.name));
            for (name, value) in params {
                row("param", format!("{name}={}", given::value(value)));
            }
        }
        row("writes", "nothing: this is a dry run on a copy".to_owned());
        rows
    }

    /// The line that says how it ended, and whether that is good (0), doubtful (1) or bad (2).
    pub(super) fn verdict(&self) -> (String, u8) {
        let mut transcript = Transcript::new(Paint::plain());
        let mut last = String::new();
        for record in self.records {
            let lines = transcript.lines(record);
            if matches!(record.event, Event::Finished { .. }) {
                last = lines.lines().find(|line| !line.is_empty()).unwrap_or_default().to_owned();
            }
        }
        let class = self.summary().map_or(2, |summary| match (summary.end, summary.exit_code) {
            (End::Succeeded, 0) | (End::NotNeeded, _) => 0,
            (End::Succeeded | End::Unknown, _) => 1,
            _ => 2,
        });
        (last, class)
    }

    /// What nobody can know, what was taken on trust, and what accepting the plan answers: each with its head.
    pub(super) fn doubts(&self) -> Vec<(&'static str, String)> {
        let Some(summary) = self.summary() else { return Vec::new() };
        let of = |head: &'static str, texts: &[String]| texts.iter().map(|text| (head, text.clone())).collect::<Vec<_>>();
        let mut all = of("unknown", &summary.unknowns);
        all.extend(of("assumed", &summary.assumptions));
        all.extend(summary.drift.as_ref().and_then(Drift::text).map(|text| ("moved", text)));
        all.extend(of("no return", &summary.no_return));
        all.extend(of("stays", &stays(&summary.stays)));
        all.extend(summary.confirmations.iter().map(|asked| ("accepting it says yes to", format!("{} ({})", asked.question, asked.at))));
        // Asked in any case, whoever accepts the plan.
        let asked = self.records.iter().filter_map(|record| match &record.event {
            Event::Asked { confirmation, by: AnsweredBy::Nobody, .. } => {
                Some(("a run asks", format!("{} ({})", confirmation.question, confirmation.at)))
            }
            Event::Asked { confirmation, known: Known::Assumed, .. } => {
                Some(("a run asks", format!("{} ({})", confirmation.question, confirmation.at)))
            }
            _ => None,
        });
        all.extend(asked);
        all
    }

    /// The checks: title, verdict, how it is known.
    pub(super) fn checks(&self) -> Vec<Vec<String>> {
        let told = |error: &Error| std::iter::once(&error.message).chain(&error.causes).cloned().collect::<Vec<_>>().join("; ");
        let of = |record: &Record| {
            let Event::CheckFinished { check, verdict, known, .. } = &record.event else { return None };
            let (word, detail) = match verdict {
                Verdict::Ok { detail } => ("ok", detail.clone().unwrap_or_default()),
                Verdict::NotNeeded { why } => ("not needed", why.clone()),
                Verdict::Skipped { why } => ("skipped", why.clone()),
                Verdict::Failed { error } => ("failed", told(error)),
                Verdict::Unknown { error } => ("unknown", told(error)),
            };
            Some(vec![check.title.clone(), word.to_owned(), detail, known.as_str().to_owned()])
        };
        self.records.iter().filter_map(of).collect()
    }

    /// The steps; what several items do at the same time is told item by item.
    pub(super) fn sections(&self) -> Vec<Section> {
        let mut transcript = Transcript::new(Paint::plain());
        let mut sections: Vec<Section> = Vec::new();
        let began = self.records.first().map(|record| record.at);
        for record in self.records {
            let from = began.map_or(Span::ZERO, |began| Span::between(began, record.at));
            if let Event::StepStarted { step } = &record.event {
                sections.push(Section {
                    item: step.clone(),
                    said: Vec::new(),
                    writes: 0,
                    end: None,
                    took: Span::ZERO,
                    from,
                    also: Vec::new(),
                });
                transcript.lines(record);
                continue;
            }
            let of_item = record.item.as_ref().and_then(|key| sections.iter().rposition(|section| section.item.id == *key));
            let place = of_item.or_else(|| sections.len().checked_sub(1));
            let section = place.and_then(|place| sections.get_mut(place)).filter(|_| !matches!(record.event, Event::Finished { .. }));
            let lines = |transcript: &mut Transcript, record: &Record| -> Vec<Said> {
                let text = transcript.lines(record);
                let margin = transcript.head();
                text.lines().map(|line| Said::Line(line.get(margin..).unwrap_or(line).to_owned())).collect()
            };
            let Some(section) = section else {
                transcript.lines(record);
                continue;
            };
            match &record.event {
                Event::Wrote { verb, target, changes, inverse, known } => {
                    section.writes += 1;
                    let event = Event::Wrote {
                        verb: verb.clone(),
                        target: target.clone(),
                        changes: Vec::new(),
                        inverse: inverse.clone(),
                        known: *known,
                    };
                    section.said.extend(lines(&mut transcript, &Record { event, ..record.clone() }));
                    section.said.extend(differences(changes, Some(LONG)));
                }
                Event::StepFinished { end, took, .. } => {
                    section.said.extend(lines(&mut transcript, record));
                    (section.end, section.took) = (Some(end.clone()), *took);
                }
                _ => section.said.extend(lines(&mut transcript, record)),
            }
        }
        sections.into_iter().fold(Vec::new(), |mut all, section| {
            match (all.last_mut(), &section.item.part) {
                (Some(last), Some(part)) if last.is_like(&section) => last.also.push(part.name.clone()),
                _ => all.push(section),
            }
            all
        })
    }

    /// How the lines are known, in the words that occur.
    pub(super) fn legend(&self) -> Vec<(&'static str, &'static str)> {
        let known: Vec<Known> = self.records.iter().filter_map(|record| record.event.known()).collect();
        LEGEND.iter().filter(|(word, _)| known.contains(word)).map(|(word, text)| (word.as_str(), *text)).collect()
    }

    /// The page of Markdown: the verdict and what it rests on first, then the steps, folded.
    #[must_use]
    pub fn markdown(&self) -> String {
        let (verdict, _) = self.verdict();
        let mut out = format!("## Plan of {}\n\n**{}**\n\n", page(&self.title()), page(&verdict));
        if let Some(error) = self.summary().and_then(|summary| summary.error.as_ref()) {
            out.push_str(&format!("{}\n\n", page(&error.message)));
            error.causes.iter().for_each(|cause| out.push_str(&format!("- {}\n", page(cause))));
            if !error.causes.is_empty() {
                out.push('\n');
            }
        }
        out.push_str(&page_table(&["", ""], &self.facts()));
        out.push_str("\n### What this rests on\n\n");
        let doubts = self.doubts();
        if doubts.is_empty() {
            out.push_str("Nothing is assumed, nothing is unknown, nothing is asked.\n");
        }
        doubts.iter().for_each(|(head, text)| out.push_str(&format!("- {head}: {}\n", page(text))));
        if !self.downtime.is_empty() {
            out.push_str("\n### What is down meanwhile\n\n");
            out.push_str(&page_table(&["what", "from", "until", "how"], &outages(self.downtime)));
        }
        let checks = self.checks();
        if !checks.is_empty() {
            out.push_str("\n### Checks\n\n");
            out.push_str(&page_table(&["check", "", "", "known"], &checks));
        }
        let sections = self.sections();
        if !sections.is_empty() {
            out.push_str("\n### Steps\n");
        }
        for section in &sections {
            let open = if section.is_open() { " open" } else { "" };
            let head = format!("<summary>{} ({})</summary>", html(&section.title()), html(&section.about()));
            let body = if section.said.is_empty() { "Nothing.\n".to_owned() } else { fenced("diff", &diff(&section.said)) };
            out.push_str(&format!("\n<details{open}>\n{head}\n\n{body}\n</details>\n"));
        }
        let legend: Vec<String> = self.legend().iter().map(|(word, text)| format!("`[{word}]` {text}")).collect();
        if !legend.is_empty() {
            out.push_str(&format!("\n{}.\n", legend.join("; ")));
        }
        if let Some(summary) = self.summary().filter(|summary| !summary.requests.is_empty()) {
            out.push_str(&format!("\nNeeds: {}\n", page(&needs(&summary.requests))));
        }
        out
    }
}

/// When what is down, a row each.
pub(super) fn outages(lines: &[Line]) -> Vec<Vec<String>> {
    let rows = lines.iter().flat_map(|line| line.outages.iter().map(move |outage| (line, outage)));
    rows.map(|(line, outage)| {
        let to = outage.to.map_or_else(|| "the end".to_owned(), moment);
        vec![line.object.clone(), moment(outage.from), to, outage.how.told()]
    })
    .collect()
}

/// When something begins or ends, to the second: rounded as a duration is, what is short would end when it begins.
pub(super) fn moment(at: Span) -> String {
    Span::from_secs(at.as_millis().saturating_add(500) / 1_000).to_string()
}

/// The fields of a write, as they were and as they would be; `most` cuts long values.
pub(super) fn differences(changes: &[Change], most: Option<usize>) -> Vec<Said> {
    let mut said = Vec::new();
    for change in changes {
        let name = field(&change.path);
        let line = |value: &Json| {
            let text = match value {
                Json::String(text) => text.to_string(),
                other => other.to_string(),
            };
            let text = escape::line(&text);
            match most {
                Some(most) if text.chars().count() > most => format!("{name}: {}…", text.chars().take(most).collect::<String>()),
                _ => format!("{name}: {text}"),
            }
        };
        said.extend(change.before.as_ref().map(|value| Said::Before(line(value))));
        said.extend(change.after.as_ref().map(|value| Said::After(line(value))));
    }
    said
}

/// The lines as a difference is written: what is no field has a space before it.
pub(super) fn diff(said: &[Said]) -> String {
    let indent = " ".repeat(9);
    let lines = said.iter().map(|said| match said {
        Said::Line(line) => format!(" {line}\n"),
        Said::Before(line) => format!("-{indent}{line}\n"),
        Said::After(line) => format!("+{indent}{line}\n"),
    });
    lines.collect()
}
