//! What a primitive gives back: its value for the script, and for the record what it wrote.

use crate::base::json::Value as Json;
use serde::{Deserialize, Serialize};

use crate::base::Value;
use crate::base::diff::Change;

/// The result of one call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Done {
    /// What the script gets.
    pub value: Value,
    /// What was written, in order; empty for reads and for calls that found everything as asked.
    pub wrote: Vec<Wrote>,
}

/// One write, for the transcript, the journal and the rollback.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Wrote {
    /// The request's verb: `patch`, `create`, `delete`, `scale`.
    pub verb: String,
    /// The object: `deployment/cce-eni-ipam`.
    pub target: String,
    /// What changed, field by field.
    pub changes: Vec<Change>,
    /// How to take it back.
    pub inverse: Inverse,
}

/// How a write is taken back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Inverse {
    /// By calling a verb.
    Call {
        /// The verb.
        verb: String,
        /// Its positional arguments.
        arguments: Vec<Json>,
        /// Its options; `null` for none.
        options: Json,
    },
    /// Not at all, and why.
    Irreversible(String),
}

impl Wrote {
    /// The same as others may see it: of a Secret neither the values nor a way back that holds them.
    #[must_use]
    pub fn without_secrets(mut self) -> Wrote {
        if !self.target.starts_with("secret/") {
            return self;
        }
        self.changes = self.changes.into_iter().map(Change::hidden).collect();
        let holds = |argument: &Json| argument.get("data").is_some() || argument.get("stringData").is_some();
        if matches!(&self.inverse, Inverse::Call { arguments, .. } if arguments.iter().any(holds)) {
            self.inverse = Inverse::Irreversible("what a Secret holds is not kept in the record".to_owned());
        }
        self
    }
}

impl Done {
    /// A read, or a talk with the operator.
    #[must_use]
    pub fn read(value: impl Into<Value>) -> Self {
        Done { value: value.into(), wrote: Vec::new() }
    }

    /// A write that was not needed.
    #[must_use]
    pub fn unchanged(value: impl Into<Value>) -> Self {
        Done { value: value.into(), wrote: Vec::new() }
    }

    /// A write that was made.
    #[must_use]
    pub fn changed(value: impl Into<Value>, wrote: Wrote) -> Self {
        Done { value: value.into(), wrote: vec![wrote] }
    }

    /// Several writes, in the order in which they were made. A verb that takes its time tells each at once as well, by `Talk::wrote`.
    #[must_use]
    pub fn wrote(value: impl Into<Value>, wrote: Vec<Wrote>) -> Self {
        Done { value: value.into(), wrote }
    }
}
