//! The list of runs: a line each.

use serde::Serialize;

use super::taken::TakenBack;
use super::view::{Standing, Story};
use crate::base::{Error, Span, Timestamp};
use crate::run::event::TargetInfo;

/// One line of the list of runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Listed {
    /// A run.
    Run(Box<Line>),
    /// A folder that cannot be read.
    Broken {
        /// The run.
        run: String,
        /// Why.
        error: Error,
    },
}

/// A run in the list.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    /// The run.
    pub run: String,
    /// `run` or `rollback`.
    pub what: String,
    /// The runbook.
    pub runbook: String,
    /// The cluster.
    pub target: TargetInfo,
    /// Where it stands.
    pub standing: Standing,
    /// When it began.
    pub started: Timestamp,
    /// How long it took so far.
    pub took: Span,
    /// How many writes were made.
    pub writes: usize,
    /// How many of them nobody knows about.
    pub half_done: usize,
    /// What took it back.
    pub taken_back: Option<TakenBack>,
}

impl Line {
    /// The line of this run.
    #[must_use]
    pub fn of(story: &Story) -> Line {
        Line {
            run: story.run.clone(),
            what: story.what.clone(),
            runbook: story.runbook.clone(),
            target: story.target.clone(),
            standing: story.standing,
            started: story.started,
            took: story.took,
            writes: story.made(),
            half_done: story.half_done().count(),
            taken_back: story.taken_back.clone(),
        }
    }
}
