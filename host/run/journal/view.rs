//! What a journal says, for people: where a run stands, what it did and when, what is half-done, and how to go on. Reads only what is
//! there; nothing of it is asked of a cluster.

use std::collections::BTreeMap;

use serde::Serialize;

use super::entry::{Fact, Planned};
use super::folder::{Holder, RunFolder};
use super::read::Read;
use super::taken::TakenBack;
use crate::base::json::Value as Json;
use crate::base::{Error, Span, Timestamp};
use crate::cluster::keep::Outcome;
use crate::cluster::machines::quoted;
use crate::run::approval::Waiting;
use crate::run::event::{AnsweredBy, Confirmation, End, Event, Item, Record, Stays, StepEnd, Summary, TargetInfo, Verdict};
use crate::run::hindsight::{Hindsight, predictions};

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// A process works on it.
    Running,
    /// Everything is done.
    Done,
    /// Its checks found nothing to do.
    NothingToDo,
    /// A check or step failed.
    Failed,
    /// It waits for a person: a gate, a question that was declined or that nobody could be asked.
    Parked,
    /// It was stopped on purpose.
    Interrupted,
    /// Its process ended without a word.
    Killed,
}

impl Standing {
    /// All of them, in the words of JSON.
    pub const WORDS: [&'static str; 7] = ["running", "done", "nothing_to_do", "failed", "parked", "interrupted", "killed"];

    /// The word that people read.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Standing::Running => "running",
            Standing::Done => "done",
            Standing::NothingToDo => "nothing to do",
            Standing::Failed => "failed",
            Standing::Parked => "parked",
            Standing::Interrupted => "interrupted",
            Standing::Killed => "killed",
        }
    }

    /// Whether `resume` has something to do.
    #[must_use]
    pub fn can_go_on(self) -> bool {
        matches!(self, Standing::Failed | Standing::Parked | Standing::Interrupted | Standing::Killed)
    }
}

/// A process that worked on the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Worked {
    /// Since when.
    pub at: Timestamp,
    /// The process.
    pub pid: u32,
    /// Its machine.
    pub host: String,
    /// Its user.
    pub user: String,
    /// The epoch of its writes.
    pub epoch: u64,
}

/// What let the run begin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Consented {
    /// When.
    pub at: Timestamp,
    /// Who: `operator`, `--yes`, `sandbox`; `…, without a plan`.
    pub by: String,
    /// SHA-256 of the plan's text.
    pub plan: Option<String>,
    /// What was accepted with it.
    pub confirmations: Vec<Confirmation>,
    /// What the plan said.
    pub planned: Option<Planned>,
}

/// A check and its verdict.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Checked {
    /// Which.
    pub check: Item,
    /// When it was last asked.
    pub at: Timestamp,
    /// What it said; none when it was not over.
    pub verdict: Option<Verdict>,
    /// How long it took.
    pub took: Option<Span>,
}

/// A step, or one item of a step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Stepped {
    /// Which.
    pub step: Item,
    /// When it began, the first time.
    pub started: Timestamp,
    /// When it ended, the last time.
    pub ended: Option<Timestamp>,
    /// How; none when it is not over.
    pub end: Option<StepEnd>,
    /// How long it took, by the process that ended it.
    pub took: Option<Span>,
    /// How long the plan said that it takes.
    pub predicted: Option<Span>,
    /// How many writes it made.
    pub writes: usize,
}

/// What is known of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Became {
    /// It was made.
    Made,
    /// It was not made.
    NotMade,
    /// Nobody knows.
    Unknown,
    /// It was about to be sent when the process ended.
    Open,
}

impl Became {
    /// All of them, in the words of JSON.
    pub const WORDS: [&'static str; 4] = ["made", "not_made", "unknown", "open"];
}

/// A write, from its intent to what became of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Write {
    /// When it was about to be sent.
    pub at: Timestamp,
    /// Where.
    pub place: String,
    /// Its operation.
    pub op: String,
    /// The verb.
    pub verb: String,
    /// The object.
    pub target: String,
    /// The part of it.
    pub part: Option<String>,
    /// What became of it.
    pub became: Became,
    /// Why, where it was not made or is not known.
    pub why: Option<String>,
}

/// A question and its answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answered {
    /// When.
    pub at: Timestamp,
    /// What.
    pub confirmation: Confirmation,
    /// The answer; none when there was none.
    pub answer: Option<String>,
    /// Who gave it.
    pub by: AnsweredBy,
    /// The name of the person who gave it from another terminal.
    pub who: Option<String>,
}

/// What happened to the run itself: the lock, a signal, a cluster that was not as the record says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Incident {
    /// When.
    pub at: Timestamp,
    /// What, in one sentence.
    pub what: String,
}

/// Everything that a journal says.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Story {
    /// The run.
    pub run: String,
    /// `run` or `rollback`.
    pub what: String,
    /// The run that it takes back.
    pub of: Option<String>,
    /// The runbook.
    pub runbook: String,
    /// Its title.
    pub title: String,
    /// Where its source was.
    pub source: String,
    /// SHA-256 of everything that was pinned.
    pub files: BTreeMap<String, String>,
    /// What was typed.
    pub command: String,
    /// Version of the program.
    pub version: String,
    /// The parameters; of a secret, its mark.
    pub params: BTreeMap<String, Json>,
    /// The cluster.
    pub target: TargetInfo,
    /// The `uid` of its namespace `kube-system`.
    pub cluster: Option<String>,
    /// The namespace of references that name none.
    pub namespace: String,
    /// Where it stands.
    pub standing: Standing,
    /// When it began.
    pub started: Timestamp,
    /// The last moment that the journal knows.
    pub last: Timestamp,
    /// The time between the two.
    pub took: Span,
    /// Who works on it now.
    #[serde(skip)]
    pub holder: Option<Holder>,
    /// Who worked on it, in order.
    pub processes: Vec<Worked>,
    /// What let it begin.
    pub consent: Option<Consented>,
    /// The checks, in order.
    pub checks: Vec<Checked>,
    /// How many steps there are.
    pub steps_of: usize,
    /// The steps that began, in order.
    pub steps: Vec<Stepped>,
    /// The check or step that is not over.
    pub inside: Option<String>,
    /// Questions and answers.
    pub asked: Vec<Answered>,
    /// The writes, in order.
    pub writes: Vec<Write>,
    /// What happened to the run itself.
    pub incidents: Vec<Incident>,
    /// How its last process ended.
    pub summary: Option<Summary>,
    /// Everything that was told, with its time.
    pub events: Vec<Record>,
    /// How many lines the journal has.
    pub lines: u64,
    /// SHA-256 of the last one.
    pub head: String,
    /// Whether something follows it that is no line.
    pub torn: bool,
    /// What took it back.
    pub taken_back: Option<TakenBack>,
    /// What its plan said, compared with what happened; none of a run that goes on or had no plan.
    pub hindsight: Option<Hindsight>,
    /// What it waits for and nobody has answered yet; of its folder, not of its journal.
    #[serde(skip)]
    pub waiting: Option<Waiting>,
}

impl Story {
    /// What the journal of this run says; `None` for one without a header, which cannot be.
    #[must_use]
    pub fn of(read: &Read, folder: &RunFolder) -> Option<Story> {
        let mut story = Story::told(read, folder.holder())?;
        if let (Some(holder), Some(last)) = (story.holder.as_mut().filter(|holder| holder.pid == 0), story.processes.last()) {
            // Its file does not say who it is.
            *holder = Holder { pid: last.pid, host: last.host.clone() };
        }
        story.taken_back = TakenBack::of(&folder.runs(), read);
        Some(story)
    }

    /// The same with the process that works on it known.
    #[must_use]
    pub fn told(read: &Read, holder: Option<Holder>) -> Option<Story> {
        let (first, header) = (read.entries.first()?, read.header()?.clone());
        let mut story = Story {
            run: header.run,
            what: header.what,
            of: header.of,
            runbook: header.runbook,
            title: header.title,
            source: header.source,
            files: header.files,
            command: header.command,
            version: header.version,
            params: header.params,
            target: header.target,
            cluster: header.cluster,
            namespace: header.namespace,
            standing: Standing::Killed,
            started: first.at,
            last: first.at,
            took: Span::ZERO,
            holder,
            processes: Vec::new(),
            consent: None,
            checks: Vec::new(),
            steps_of: 0,
            steps: Vec::new(),
            inside: None,
            asked: Vec::new(),
            writes: Vec::new(),
            incidents: Vec::new(),
            summary: None,
            events: Vec::new(),
            lines: read.entries.len() as u64,
            head: read.head.clone(),
            torn: read.torn.is_some(),
            taken_back: None,
            hindsight: None,
            waiting: None,
        };
        for entry in &read.entries {
            // No act of this run.
            if matches!(entry.fact, Fact::TakenBack { .. }) {
                continue;
            }
            let back = Span::between(entry.at, story.last);
            if back >= JUMP {
                let what =
                    format!("the clock went back by {} before line {}: times after it are not those of before", back.rounded(), entry.seq);
                story.incidents.push(Incident { at: entry.at, what });
            }
            story.took = Span::from_millis(story.took.as_millis() + Span::between(story.last, entry.at).as_millis());
            story.last = entry.at;
            story.take(entry.at, &entry.fact);
        }
        story.standing = match (&story.holder, &story.summary) {
            (Some(_), None) => Standing::Running,
            (None, None) => Standing::Killed,
            (_, Some(summary)) => match summary.end {
                End::Succeeded => Standing::Done,
                End::NotNeeded => Standing::NothingToDo,
                End::Failed | End::Unknown => Standing::Failed,
                End::Parked => Standing::Parked,
                End::Interrupted => Standing::Interrupted,
            },
        };
        let planned = story.consent.as_ref().and_then(|consent| consent.planned.as_ref());
        let predicted = planned.map(|planned| planned.steps.clone());
        let told = planned.filter(|planned| !planned.predictions.is_empty() && story.summary.is_some());
        story.hindsight = told.map(|planned| match predictions(&story.events, planned.made_up.clone()) {
            Ok(happened) => Hindsight::of(&planned.predictions, &happened),
            Err(error) => Hindsight { wrong: vec![error.to_string()], ..Hindsight::default() },
        });
        for step in &mut story.steps {
            step.predicted = predicted.as_ref().and_then(|steps| steps.get(&step.step.id).copied());
            let place = format!("step {}", step.step.id);
            step.writes = story.writes.iter().filter(|write| write.place == place && write.became == Became::Made).count();
        }
        Some(story)
    }

    fn take(&mut self, at: Timestamp, fact: &Fact) {
        match fact {
            Fact::Begun(begun) => {
                let (host, user) = (begun.host.clone(), begun.user.clone());
                self.processes.push(Worked { at, pid: begun.pid, host, user, epoch: begun.epoch });
                self.summary = None;
            }
            Fact::Consent(consent) => {
                self.consent = Some(Consented {
                    at,
                    by: consent.by.clone(),
                    plan: consent.plan.clone(),
                    confirmations: consent.confirmations.clone(),
                    planned: consent.planned.clone(),
                });
            }
            Fact::Told { n, item, event } => {
                self.events.push(Record { seq: *n, at, item: item.clone(), event: (**event).clone() });
                self.heard(at, event);
            }
            Fact::Intent { place, intent } => {
                // The same operation again is the same write: it is settled by whoever went on.
                self.writes.retain(|write| write.op != intent.op);
                self.writes.push(Write {
                    at,
                    place: place.clone(),
                    op: intent.op.clone(),
                    verb: intent.key.verb.clone(),
                    target: intent.object.clone().unwrap_or_else(|| intent.key.target.clone()),
                    part: intent.key.part.clone(),
                    became: Became::Open,
                    why: None,
                });
            }
            Fact::Outcome { op, outcome } => {
                for write in self.writes.iter_mut().filter(|write| write.op == *op) {
                    (write.became, write.why) = match outcome {
                        Outcome::Made { .. } => (Became::Made, None),
                        Outcome::NotMade { why } => (Became::NotMade, Some(why.clone())),
                        Outcome::Unknown { why } => (Became::Unknown, Some(why.clone())),
                    };
                }
            }
            Fact::Lock { what, epoch } => self.incidents.push(Incident { at, what: format!("lock: {what} (epoch {epoch})") }),
            Fact::Signal { what } => self.incidents.push(Incident { at, what: what.clone() }),
            Fact::Drift { object, differences, choice } => {
                let what = format!("{object} was not as the record says ({}): {choice}", differences.join("; "));
                self.incidents.push(Incident { at, what });
            }
            _ => {}
        }
    }

    fn heard(&mut self, at: Timestamp, event: &Event) {
        match event {
            Event::Started { steps, namespace, .. } => {
                // The runbook's own, where it has one.
                (self.steps_of, self.namespace) = (*steps, namespace.clone());
            }
            Event::CheckStarted { check } => {
                self.inside = Some(format!("check {}", check.id));
                self.checks.retain(|checked| checked.check.id != check.id);
                self.checks.push(Checked { check: check.clone(), at, verdict: None, took: None });
            }
            Event::CheckFinished { check, verdict, took, .. } => {
                self.inside = None;
                for checked in self.checks.iter_mut().filter(|checked| checked.check.id == check.id) {
                    (checked.verdict, checked.took) = (Some(verdict.clone()), Some(*took));
                }
            }
            Event::StepStarted { step } => {
                self.inside = Some(format!("step {}", step.id));
                match self.steps.iter_mut().find(|stepped| stepped.step.id == step.id) {
                    Some(stepped) => (stepped.ended, stepped.end, stepped.took) = (None, None, None),
                    None => self.steps.push(Stepped {
                        step: step.clone(),
                        started: at,
                        ended: None,
                        end: None,
                        took: None,
                        predicted: None,
                        writes: 0,
                    }),
                }
            }
            Event::StepFinished { step, end, took } => {
                self.inside = None;
                for stepped in self.steps.iter_mut().filter(|stepped| stepped.step.id == step.id) {
                    (stepped.ended, stepped.end, stepped.took) = (Some(at), Some(end.clone()), Some(*took));
                }
            }
            Event::Asked { confirmation, answer, by, who, .. } => {
                let (confirmation, answer, who) = (confirmation.clone(), answer.clone(), who.clone());
                self.asked.push(Answered { at, confirmation, answer, by: *by, who });
            }
            Event::Finished { summary, .. } => self.summary = Some(summary.clone()),
            _ => {}
        }
    }

    /// The writes of which it is not known whether they were made.
    pub fn half_done(&self) -> impl Iterator<Item = &Write> {
        self.writes.iter().filter(|write| matches!(write.became, Became::Open | Became::Unknown))
    }

    /// How many writes were made.
    #[must_use]
    pub fn made(&self) -> usize {
        self.writes.iter().filter(|write| write.became == Became::Made).count()
    }

    /// Why it did not succeed.
    #[must_use]
    pub fn error(&self) -> Option<&Error> {
        self.summary.as_ref()?.error.as_ref()
    }

    /// The steps that wrote and cannot be taken back, in order, with the reason of each.
    #[must_use]
    pub fn no_return(&self) -> Vec<(&str, &str)> {
        let mut steps: Vec<(&str, &str)> = Vec::new();
        for record in &self.events {
            let Event::NoReturn { step, why } = &record.event else { continue };
            let place = format!("step {step}");
            let wrote = self.writes.iter().any(|write| write.place == place && write.became != Became::NotMade);
            if wrote && !steps.iter().any(|(known, _)| known == step) {
                steps.push((step, why));
            }
        }
        steps
    }

    /// The writes that a rollback leaves as they are. A process that was killed left no summary: then by what it told, and a step's own
    /// `rollback` may know a way back that the record does not.
    #[must_use]
    pub fn stays(&self) -> Vec<Stays> {
        if let Some(summary) = &self.summary {
            return summary.stays.clone();
        }
        let no_return = self.no_return();
        let mut stays: Vec<Stays> = Vec::new();
        let mut inside = String::new();
        for record in &self.events {
            match &record.event {
                Event::StepStarted { step } => inside = step.id.clone(),
                Event::Wrote { verb, target, inverse, .. } => {
                    let place = record.item.as_deref().unwrap_or(&inside);
                    let counts = !no_return.iter().any(|(step, _)| *step == place);
                    let one = Stays::of(verb, target, inverse).filter(|one| counts && !stays.contains(one));
                    stays.extend(one);
                }
                _ => {}
            }
        }
        stays
    }

    /// Whether it wrote anything after this step, as far as is known; without a step, anything at all.
    fn wrote_after(&self, step: Option<&str>) -> bool {
        let place = step.map(|step| format!("step {step}"));
        let made = |write: &&Write| write.became != Became::NotMade;
        let mut writes = self.writes.iter().rev().filter(made).take_while(|write| Some(&write.place) != place.as_ref());
        writes.next().is_some()
    }

    /// The commands that go on from here, with what each does; `options` stand behind each (`--runs DIR`).
    #[must_use]
    pub fn ways_on(&self, options: &str) -> Vec<(String, &'static str)> {
        let command = |word: &str| format!("lockgate {word} {}{options}", self.run);
        let mut ways = Vec::new();
        if let Some(taken) = &self.taken_back {
            let by = |word: &str| format!("lockgate {word} {}{options}", taken.run);
            match taken.standing {
                Some(Standing::Running) => ways.push((by("attach"), "shows how it is taken back")),
                Some(standing) if standing.can_go_on() => ways.push((by("resume"), "goes on with taking it back")),
                _ => {}
            }
            return ways;
        }
        if let Some(waiting) = &self.waiting {
            let gate = format!("lockgate approve {} {}{options}", self.run, quoted(waiting.gate()));
            ways.push((gate, "answers what it waits for"));
        }
        match self.standing {
            Standing::Running => ways.push((command("attach"), "shows what it does")),
            standing if standing.can_go_on() => ways.push((command("resume"), "goes on")),
            _ => {}
        }
        let no_return = self.no_return();
        let last = no_return.last().map(|(step, _)| *step);
        let wrote = self.wrote_after(last);
        if wrote && self.standing != Standing::Running && self.what != "rollback" {
            ways.push(match last {
                None => (command("rollback"), "takes back what was done, after a plan and a question"),
                Some(step) => {
                    let from = format!("{} --to {}", command("rollback"), quoted(step));
                    (from, "takes back what was done after that step, which itself cannot be taken back")
                }
            });
        }
        ways
    }
}

/// A clock that goes back by this much has been set; less is the correction of a good one.
const JUMP: Span = Span::from_secs(1);
