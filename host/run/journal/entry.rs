//! What a journal says, line by line. The file itself (chain, syncing, what a crash leaves) is in `file.rs`.

use std::collections::BTreeMap;

use crate::base::json::Value as Json;
use serde::{Deserialize, Serialize};

use crate::base::{Error, Result, Span, Timestamp, Value};
use crate::cluster::downtime::MadeUp;
use crate::cluster::keep::{Intent, Open, Outcome, Pin};
use crate::cluster::permit::{self, Line};
use crate::primitives::{Done, Wrote};
use crate::run::event::{Confirmation, Event, Record, StepEnd, Summary, TargetInfo, Verdict};
use crate::run::hindsight::{Prediction, predictions};
use crate::run::runbook::Phase;
use crate::run::script::{Call, Returned};

/// The version of the format. A journal with a greater one is refused by name.
pub const VERSION: u32 = 1;

/// One line, without what chains it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Its number, from 1.
    pub seq: u64,
    /// The cluster's time.
    pub at: Timestamp,
    /// What it says.
    #[serde(flatten)]
    pub fact: Fact,
}

/// What happened, as a run needs it to go on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "k", rename_all = "snake_case")]
pub enum Fact {
    /// The first line: what the run is.
    Header(Box<Header>),
    /// A process works on the run from here on: the first one, and each that resumed it.
    Begun(Begun),
    /// The plan that was shown, and who accepted it.
    Consent(Consent),
    /// What the transcript was told.
    Told {
        /// The event, with its number in the transcript.
        n: u64,
        /// The item that it is about, where several were done at the same time.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        item: Option<String>,
        /// The event.
        event: Box<Event>,
    },
    /// A function of a declaration is entered.
    Enter {
        /// Where: `check ID`, `step ID`, `step ID/ITEM`.
        place: String,
        /// Which function.
        phase: Phase,
    },
    /// A function of a declaration has ended.
    Left {
        /// Where.
        place: String,
        /// Which function.
        phase: Phase,
        /// What it gave.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        returned: Option<Returned>,
        /// What it raised.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<Error>,
    },
    /// A person allowed what no permission grants; for as long as the run goes on.
    Granted {
        /// The line that grants it.
        grant: Line,
    },
    /// A gate was answered with yes: whoever goes on does not ask it again.
    Passed {
        /// The step.
        place: String,
        /// Its question, as it was asked.
        question: String,
    },
    /// A check or step has ended, as far as going on needs to know: `state` comes with it.
    Ended {
        /// Where.
        place: String,
        /// The verdict of a check.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        verdict: Option<Verdict>,
        /// The end of a step.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        end: Option<StepEnd>,
        /// All of `state` as a step that ended well left it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        state: Option<BTreeMap<String, Value>>,
    },
    /// A call of a verb is over.
    Call(Box<Finished>),
    /// A write is about to be sent.
    Intent {
        /// Where.
        place: String,
        /// The write.
        #[serde(flatten)]
        intent: Box<Intent>,
    },
    /// What became of it.
    Outcome {
        /// Its operation.
        op: String,
        /// What became of it.
        #[serde(flatten)]
        outcome: Outcome,
    },
    /// A step is done again from its beginning, because somebody changed what it had written.
    Again {
        /// The step.
        place: String,
    },
    /// The items of an `each`, computed once.
    Items {
        /// The step or group.
        place: String,
        /// Its items as its functions get them, in order.
        items: Vec<Value>,
    },
    /// Several items begin at the same time.
    Batch {
        /// The step or group.
        place: String,
        /// The number of the first item, from 1.
        first: usize,
        /// `state` as each of them finds it.
        state: BTreeMap<String, Value>,
    },
    /// The lock was taken, renewed after a break, or given back.
    Lock {
        /// What was done.
        what: String,
        /// The epoch that writes carry from here on.
        epoch: u64,
    },
    /// The cluster is not as the record says; what the operator chose.
    Drift {
        /// The object.
        object: String,
        /// What differs.
        differences: Vec<String>,
        /// `accept`, `again` or `stop`.
        choice: String,
    },
    /// A chart is used for the first time.
    Chart(Pin),
    /// The run goes on with another source than the one it began with.
    Script {
        /// Where it was found.
        source: String,
        /// The word that finds it again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        word: Option<String>,
        /// SHA-256 of every file by its name.
        files: BTreeMap<String, String>,
    },
    /// Another run takes this one back from here on.
    TakenBack {
        /// That run.
        run: String,
        /// The step that is left as it is, with all before it: `step ID`; none where all is taken back.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        place: Option<String>,
    },
    /// A signal came.
    Signal {
        /// Its name and what follows from it.
        what: String,
    },
}

/// What a run is: pinned when it begins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// [`VERSION`].
    pub v: u32,
    /// The run.
    pub run: String,
    /// What it does: `run`, `rollback`.
    pub what: String,
    /// The run that it takes back, when it is a rollback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    /// The runbook's name.
    pub runbook: String,
    /// Its title.
    pub title: String,
    /// Where its source was found, as the operator said it.
    pub source: String,
    /// SHA-256 of every pinned file by its name in the folder `script`, and of the embedded modules by `@name`.
    pub files: BTreeMap<String, String>,
    /// The parameters as words or values; a secret is `{"secret": HMAC}`.
    pub params: BTreeMap<String, Json>,
    /// The same as they were resolved, secrets apart: a run that goes on takes these.
    #[serde(default)]
    pub typed: BTreeMap<String, Value>,
    /// The cluster.
    pub target: TargetInfo,
    /// How the cluster is found again: the fields of the target options that were given.
    pub way: Json,
    /// The `uid` of the namespace `kube-system`; none where it could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// The namespace of references that name none.
    pub namespace: String,
    /// Version of the program.
    pub version: String,
    /// The command that was typed; secrets left out.
    pub command: String,
}

/// A process that works on a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    /// The process.
    pub pid: u32,
    /// The machine it runs on.
    pub host: String,
    /// The user.
    pub user: String,
    /// The epoch of its writes: 1 for the first process.
    pub epoch: u64,
}

/// Who let the run begin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Consent {
    /// `operator`, `--yes`, `sandbox`; `…, without a plan`.
    pub by: String,
    /// SHA-256 of the plan's text as it was shown; none without a plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// The confirmations that the plan reached: accepted with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub confirmations: Vec<Confirmation>,
    /// What the plan said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planned: Option<Planned>,
    /// What accepting it granted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grants: Option<permit::Planned>,
}

/// What a plan said, for comparing it with what came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    /// Its text as it was shown.
    pub text: String,
    /// How long it said the run takes.
    pub took: Span,
    /// How many writes it said there are.
    pub writes: usize,
    /// How long it said each step takes, by the step's id; of a step with items, each of them by `ID/ITEM`.
    pub steps: BTreeMap<String, Span>,
    /// Everything it said, to be compared with what happens.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub predictions: Vec<Prediction>,
    /// The names in it that were made up.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub made_up: MadeUp,
}

impl Planned {
    /// Of a plan that was shown as this text, and in which these names were made up.
    ///
    /// # Errors
    /// Internal, when a record cannot be written as JSON.
    pub fn of(summary: &Summary, records: &[Record], text: String, made_up: MadeUp) -> Result<Planned> {
        let ends = records.iter().filter_map(|record| match &record.event {
            Event::StepFinished { step, took, .. } => Some((step.id.clone(), *took)),
            _ => None,
        });
        let (took, writes, steps) = (summary.took, summary.writes, ends.collect());
        let predictions = predictions(records, made_up.clone())?;
        // Every ReplicaSet has one: those that nothing was said of are no use.
        let said = |(_, stands): &(String, String)| predictions.iter().any(|one| one.says.contains(stands.as_str()));
        let made_up = made_up.into_iter().filter(said).collect();
        Ok(Planned { text, took, writes, steps, predictions, made_up })
    }
}

/// A call that is over, with what it gave.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finished {
    /// Where it was made.
    pub place: String,
    /// In which function.
    pub phase: Phase,
    /// The call.
    pub call: Call,
    /// What it gave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done: Option<Done>,
    /// What it raised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Error>,
    /// What it wrote, when it raised something afterwards.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wrote: Vec<Wrote>,
    /// The answer held what is not kept (a Secret): it is read again, and this is the HMAC that it must have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reread: Option<String>,
    /// What it wrote, where its answer held what is not kept: made anew for that answer, it meets these.
    #[serde(skip)]
    pub writes: Vec<Open>,
}
