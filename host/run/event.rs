//! Everything that happens in a plan or a run, as one enum. The JSON output is exactly these.

use std::collections::BTreeMap;
use std::fmt;

use crate::base::json::Value as Json;
use serde::{Deserialize, Serialize};

use super::runbook::Phase;
use crate::base::diff::Change;
use crate::base::{Error, Span, Timestamp};
use crate::cluster::Drift;
use crate::primitives::{Inverse, Wrote};

/// How a line is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Known {
    /// Read from the cluster as it is.
    Observed,
    /// A write of which the live server says that it would do it.
    Admitted,
    /// What the simulated cluster made of a write.
    Modelled,
    /// Rests on a default or on a word that nobody has given yet.
    Assumed,
    /// Nobody can say.
    Unknown,
}

impl Known {
    /// The word of the transcript.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Known::Observed => "observed",
            Known::Admitted => "admitted",
            Known::Modelled => "modelled",
            Known::Assumed => "assumed",
            Known::Unknown => "unknown",
        }
    }
}

/// Whether something is tried on a copy or done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// On a copy of the cluster; nothing is written.
    Plan,
    /// On the cluster.
    Run,
}

/// The cluster of a plan or run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetInfo {
    /// Its name: the context, or the fixture.
    pub name: String,
    /// Whether it is simulated.
    pub simulated: bool,
}

/// A check or step among the others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// What tells it from all others of its kind: `ID`; of an item of a step `ID/ITEM`, and of a group `GROUP/ITEM/ID`.
    pub id: String,
    /// Its title.
    pub title: String,
    /// Its place, from 1.
    pub number: usize,
    /// How many there are.
    pub of: usize,
    /// Which item of a step that is done for several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<Part>,
}

/// One item of a step or group that is done for several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The item's name.
    pub name: String,
    /// Its place, from 1.
    pub number: usize,
    /// How many there are.
    pub of: usize,
}

/// What a check said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Verdict {
    /// It holds; perhaps with a detail to show.
    Ok {
        /// What the check returned as text.
        #[serde(skip_serializing_if = "Option::is_none")]
        detail: Option<String>,
    },
    /// It holds, and there is nothing to do.
    NotNeeded {
        /// Why.
        why: String,
    },
    /// It does not hold.
    Failed {
        /// The error.
        error: Error,
    },
    /// It was not asked.
    Skipped {
        /// Why.
        why: String,
    },
    /// In a plan: it reads what nobody models.
    Unknown {
        /// The error.
        error: Error,
    },
}

/// How a step ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum StepEnd {
    /// Done; after a recovery or not.
    Done {
        /// Whether `recover` had to help.
        recovered: bool,
    },
    /// Its `when` said no.
    Skipped {
        /// Why.
        why: String,
    },
    /// It failed.
    Failed {
        /// The error.
        error: Error,
    },
    /// In a plan: it meets what nobody models, or comes after a step that does.
    Unknown {
        /// Why.
        why: String,
    },
}

/// Who answered a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnsweredBy {
    /// A person, at this moment.
    Operator,
    /// The accepted plan, which showed this very question.
    Plan,
    /// Nobody: in a plan a confirmation counts as yes, a question takes its default.
    Assumption,
    /// Nobody; there is no answer.
    Nobody,
}

/// A confirmation that a plan reached: consent is bound to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmation {
    /// Where it is asked: `check ID` or `step ID`. In documents `place`: `at` is the time of an event.
    #[serde(rename = "place", alias = "at")]
    pub at: String,
    /// Its text.
    pub question: String,
    /// The how manieth time this text is asked there, from 1.
    pub occurrence: usize,
}

/// How a whole plan or run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// Everything is done; of a plan: would succeed.
    Succeeded,
    /// The checks found that there is nothing to do.
    NotNeeded,
    /// A check or a step failed; of a plan: would fail.
    Failed,
    /// The run stopped and can be started again: a question was declined, or nobody could be asked.
    Parked,
    /// Ctrl-C.
    Interrupted,
    /// Of a plan: it could not be followed to its end.
    Unknown,
}

/// A write that cannot be taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stays {
    /// The request's verb.
    pub verb: String,
    /// The object.
    pub target: String,
    /// Why not.
    pub why: String,
}

impl Stays {
    /// What stays of this write; `None` when there is a way back.
    #[must_use]
    pub fn of(verb: &str, target: &str, inverse: &Inverse) -> Option<Stays> {
        let Inverse::Irreversible(why) = inverse else { return None };
        Some(Stays { verb: verb.to_owned(), target: target.to_owned(), why: why.clone() })
    }
}

impl fmt::Display for Stays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.verb, self.target, self.why)
    }
}

/// The last event, as data of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// How it ended.
    pub end: End,
    /// The exit code it stands for.
    pub exit_code: u8,
    /// How many writes were made (of a plan: would be made).
    pub writes: usize,
    /// The objects written, each once, in order.
    pub objects: Vec<String>,
    /// Objects with a write that was sent and not answered: whether it was made is unknown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unsure: Vec<String>,
    /// How many of the writes can be taken back.
    pub invertible: usize,
    /// The steps that wrote and say that they cannot be taken back, with the reason: a rollback of the whole run is refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub no_return: Vec<String>,
    /// The writes of other steps that nothing takes back: a rollback leaves them as they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stays: Vec<Stays>,
    /// How long it took, in the cluster's time.
    pub took: Span,
    /// What the plan could not know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknowns: Vec<String>,
    /// What the plan took on trust.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub assumptions: Vec<String>,
    /// What of a live cluster has changed since the plan has read it; absent when nothing has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<Drift>,
    /// The confirmations that were reached.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub confirmations: Vec<Confirmation>,
    /// The requests that were made, by `verb resources`: `get deployments`, `patch daemonsets`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<String>,
    /// Why it did not succeed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Error>,
}

/// Something that happened. `at` of the record that carries it is the cluster's time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A plan or run begins.
    Started {
        /// Which.
        what: What,
        /// The run's id.
        run: String,
        /// The runbook's name.
        runbook: String,
        /// Its title.
        title: String,
        /// The cluster.
        target: TargetInfo,
        /// The namespace of references that name none.
        namespace: String,
        /// The parameters, secrets hidden.
        params: BTreeMap<String, Json>,
        /// The titles of all checks, in order.
        checks: Vec<String>,
        /// How many steps there are.
        steps: usize,
        /// Whether it goes on from where it was stopped.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        resumes: bool,
    },
    /// A check whose verdict stands, or a step that was done, before the run was stopped.
    Earlier {
        /// `check` or `step`.
        of: String,
        /// Which.
        item: Item,
    },
    /// A check is asked.
    CheckStarted {
        /// Which.
        check: Item,
    },
    /// A check has its verdict.
    CheckFinished {
        /// Which.
        check: Item,
        /// What it said.
        verdict: Verdict,
        /// How it is known.
        known: Known,
        /// How long it took.
        took: Span,
    },
    /// A step begins.
    StepStarted {
        /// Which.
        step: Item,
    },
    /// What the step that begins does cannot be taken back.
    NoReturn {
        /// The step's key.
        step: String,
        /// Why not.
        why: String,
    },
    /// Something failed inside a step, and its `recover` is asked.
    Recovering {
        /// The step's id.
        step: String,
        /// What failed: `run` or `verify`.
        phase: Phase,
        /// The error.
        error: Error,
    },
    /// `run` of a step is entered again, as its `recover` asked.
    Again {
        /// The step's id.
        step: String,
    },
    /// A write was made.
    Wrote {
        /// The request's verb.
        verb: String,
        /// The object.
        target: String,
        /// What changed.
        changes: Vec<Change>,
        /// How it is taken back.
        inverse: Inverse,
        /// How it is known.
        known: Known,
    },
    /// A write was not needed: everything is as asked.
    Unchanged {
        /// The verb of the script.
        verb: String,
        /// The object.
        target: String,
        /// How it is known.
        known: Known,
    },
    /// Something is waited for; sent again when its state changes.
    Waiting {
        /// What.
        what: String,
        /// How far it is.
        state: String,
        /// Since when.
        since: Timestamp,
    },
    /// The server lets the run wait: it is slow, or what it answered lets the request be sent again. In a plan too, where
    /// everything else that is waited for is the model's.
    Delayed {
        /// What is waited for.
        what: String,
        /// How it stands.
        state: String,
        /// For how long already, in real time.
        waited: Span,
    },
    /// The server warned of something in its answer to a write: its words.
    Warned {
        /// The warning.
        text: String,
    },
    /// What was waited for is there.
    Waited {
        /// What.
        what: String,
        /// How it ended.
        state: String,
        /// How long it took.
        took: Span,
        /// How it is known.
        known: Known,
    },
    /// The script told something.
    Note {
        /// The text.
        text: String,
    },
    /// The operator was asked, or somebody answered in their place.
    Asked {
        /// Where, what and the how manieth time.
        #[serde(flatten)]
        confirmation: Confirmation,
        /// The answer; `yes` and `no` of a confirmation. Absent when there is none.
        #[serde(skip_serializing_if = "Option::is_none")]
        answer: Option<String>,
        /// Who answered.
        by: AnsweredBy,
        /// The name of the person who answered, where that was from another terminal.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        who: Option<String>,
        /// How the answer is known.
        known: Known,
    },
    /// A step has ended.
    StepFinished {
        /// Which.
        step: Item,
        /// How.
        end: StepEnd,
        /// How long it took.
        took: Span,
    },
    /// The plan or run has ended.
    Finished {
        /// Which.
        what: What,
        /// How.
        #[serde(flatten)]
        summary: Summary,
    },
}

impl Event {
    /// How what it tells is known; none where it is no claim.
    #[must_use]
    pub fn known(&self) -> Option<Known> {
        match self {
            Event::CheckFinished { known, .. }
            | Event::Wrote { known, .. }
            | Event::Unchanged { known, .. }
            | Event::Waited { known, .. }
            | Event::Asked { known, .. } => Some(*known),
            Event::StepFinished { end: StepEnd::Unknown { .. }, .. } => Some(Known::Unknown),
            _ => None,
        }
    }

    /// The event of a write.
    #[must_use]
    pub fn wrote(wrote: &Wrote, known: Known) -> Event {
        let Wrote { verb, target, changes, inverse } = wrote.clone().without_secrets();
        Event::Wrote { verb, target, changes, inverse, known }
    }
}

/// An event with its number and time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Its number within its plan or run, from 1.
    pub seq: u64,
    /// The cluster's time.
    pub at: Timestamp,
    /// The item that it is about, where several are done at the same time: `ID/ITEM`, `GROUP/ITEM/ID`.
    #[serde(rename = "item_key", default, skip_serializing_if = "Option::is_none")]
    pub item: Option<String>,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// Who is told of events.
pub trait Sink {
    /// Something happened.
    fn record(&mut self, record: &Record);
}

/// Keeps everything.
impl Sink for Vec<Record> {
    fn record(&mut self, record: &Record) {
        self.push(record.clone());
    }
}
