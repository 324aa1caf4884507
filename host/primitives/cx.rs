//! What a primitive may use: the cluster, and the operator.

use std::rc::Rc;
use std::sync::Arc;

use futures::future::LocalBoxFuture;
use serde::{Deserialize, Serialize};

use super::done::Done;
use crate::base::json::Value as Json;
use crate::base::{Clock, Error, Kind, Object, Reason, Result, Span, Timestamp, Value};
use crate::cluster::{Cluster, Delay, Target};

/// The surroundings of one call. Cheap to clone.
#[derive(Clone)]
pub struct Cx {
    /// The one way to the cluster.
    pub cluster: Cluster,
    /// The operator and the record.
    pub talk: Rc<dyn Talk>,
}

impl Cx {
    /// A call, and then a look at what it did before it was interrupted and did not come to again.
    #[must_use]
    pub fn whole(&self, call: LocalBoxFuture<'static, Result<Done>>) -> LocalBoxFuture<'static, Result<Done>> {
        let cluster = self.cluster.clone();
        Box::pin(async move {
            let done = call.await?;
            cluster.settle_rest().await?;
            Ok(done)
        })
    }

    /// The clock of this run.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        self.cluster.clock()
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock().now()
    }

    /// An object as scripts get it.
    #[must_use]
    pub fn object(&self, object: Arc<Json>) -> Value {
        let unmodelled = self.cluster.is_unmodelled(&object);
        Value::Object(Object { unmodelled, ..Object::read(object) })
    }

    /// The error of who wants to know from its status how an object is.
    ///
    /// # Errors
    /// `unmodelled` in a plan, when nobody plays who would write that status.
    pub fn must_be_modelled(&self, target: &Target, object: &Json) -> Result<()> {
        if self.cluster.is_unmodelled(object) { Err(unmodelled_status(&target.full_name())) } else { Ok(()) }
    }

    /// Says what is being waited for.
    pub fn waiting(&self, what: &str, state: impl Into<String>, since: Timestamp) {
        self.talk.progress(Progress::Waiting { what: what.to_owned(), state: state.into(), since });
    }

    /// Says that what was waited for is there.
    pub fn waited(&self, what: &str, state: impl Into<String>, since: Timestamp) {
        let took = Span::between(since, self.now());
        self.talk.progress(Progress::Done { what: what.to_owned(), state: state.into(), took });
    }
}

/// Nobody can say what the status of this object (`kind/namespace/name`) will be.
#[must_use]
pub fn unmodelled_status(object: &str) -> Error {
    let message = format!("the status of `{object}` is not known: the plan has changed the object, and nobody plays its operator here");
    Error::new(Kind::Cluster, Reason::Unmodelled, message)
        .about(object)
        .hint("where the plan may take something for granted, say so: `assume(function() return … end, value, \"why\")`")
}

/// The options of a question.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AskOptions {
    /// The answers allowed; empty for any.
    pub choices: Vec<String>,
    /// The answer when the operator just presses Enter, and in a plan.
    pub default: Option<String>,
}

/// How a wait goes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    /// Something is waited for.
    Waiting {
        /// What: `rollout of daemonset/cce-cni-node-agent`.
        what: String,
        /// How far: `1/2 nodes updated`.
        state: String,
        /// Since when.
        since: Timestamp,
    },
    /// The server lets somebody wait.
    Delayed(Delay),
    /// The server warned in its answer to a write: its words.
    Warned(String),
    /// It is there.
    Done {
        /// What was waited for.
        what: String,
        /// How it ended: `2/2 nodes`.
        state: String,
        /// How long it took.
        took: Span,
    },
}

/// The operator and the record, as primitives see them.
pub trait Talk {
    /// Asks for consent; `Ok` is yes.
    ///
    /// # Errors
    /// `declined` when the operator says no or cannot be asked: the run parks.
    fn confirm<'a>(&'a self, question: &'a str) -> LocalBoxFuture<'a, Result<()>>;
    /// Asks for a text.
    ///
    /// # Errors
    /// `declined` when nobody can be asked; in a plan `unmodelled` when there is no default.
    fn ask<'a>(&'a self, question: &'a str, options: &'a AskOptions) -> LocalBoxFuture<'a, Result<String>>;
    /// Has people do something, and takes the operator's word that it is done; consent to a plan is no such word. In a plan it counts
    /// as done, which is an assumption.
    ///
    /// # Errors
    /// `declined` when the operator says no or cannot be asked.
    fn manual<'a>(&'a self, text: &'a str) -> LocalBoxFuture<'a, Result<()>>;
    /// Enters something that is taken for granted; `in_place_of` is the unknown that it stands for.
    fn assume(&self, text: &str, in_place_of: Option<&Error>);
    /// Tells the operator something.
    fn note(&self, text: &str);
    /// Reports a wait.
    fn progress(&self, progress: Progress);
    /// Tells one of the several writes of a verb when it is made. The verb lists it in [`super::Done`] too, where it is not told again;
    /// when the verb fails later, it has been told all the same.
    fn wrote(&self, wrote: &super::Wrote);
}
