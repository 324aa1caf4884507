//! Who answers questions. Consent is bound to what was shown: an accepted plan answers the confirmations that it reached, known
//! by place, text and occurrence. What it did not foresee still asks a person; where there is none, the run parks.

use std::rc::Rc;

use futures::future::LocalBoxFuture;

use super::event::{AnsweredBy, Confirmation, Known};
use crate::base::{Error, Kind, Reason, Result};
use crate::primitives::AskOptions;

/// A person who can be asked, or nobody.
pub trait Operator {
    /// Asks for yes or no; `None` when there is nobody to ask.
    ///
    /// # Errors
    /// When asking failed or was interrupted.
    fn confirm<'a>(&'a self, question: &'a Confirmation) -> LocalBoxFuture<'a, Result<Option<bool>>>;

    /// Asks for a text; `None` when there is nobody to ask. The answer is one of the choices where there are some.
    ///
    /// # Errors
    /// When asking failed or was interrupted.
    fn ask<'a>(&'a self, question: &'a Confirmation, options: &'a AskOptions) -> LocalBoxFuture<'a, Result<Option<String>>>;

    /// Asks whether something may be done that nothing grants; `None` when there is nobody to ask. Only a person who is here now can say
    /// so: an answer from another terminal, which may come hours later, is none.
    ///
    /// # Errors
    /// When asking failed or was interrupted.
    fn grant<'a>(&'a self, question: &'a Confirmation) -> LocalBoxFuture<'a, Result<Option<bool>>> {
        self.confirm(question)
    }

    /// Who gave the last answer to a confirmation, where it was somebody else than the person here.
    fn answered_by(&self) -> Option<String> {
        None
    }
}

/// Nobody is there.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nobody;

impl Operator for Nobody {
    fn confirm<'a>(&'a self, _: &'a Confirmation) -> LocalBoxFuture<'a, Result<Option<bool>>> {
        Box::pin(async { Ok(None) })
    }

    fn ask<'a>(&'a self, _: &'a Confirmation, _: &'a AskOptions) -> LocalBoxFuture<'a, Result<Option<String>>> {
        Box::pin(async { Ok(None) })
    }
}

/// How the questions of one plan or run are answered.
#[derive(Clone)]
pub enum Voice {
    /// A plan: a confirmation counts as yes and is listed; a question takes its default, or nobody can say how it goes on.
    Plan,
    /// A run: what was consented to is yes, everything else is asked.
    Person {
        /// Whom.
        operator: Rc<dyn Operator>,
        /// The confirmations of the accepted plan.
        consented: Vec<Confirmation>,
    },
}

/// An answer and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer<T> {
    /// The answer; `None` when there is none.
    pub(super) value: Option<T>,
    /// Who gave it.
    pub(super) by: AnsweredBy,
    /// Their name, where they gave it from another terminal.
    pub(super) who: Option<String>,
    /// How it is known.
    pub(super) known: Known,
}

impl Voice {
    /// Answers a confirmation.
    pub(super) async fn confirm(&self, question: &Confirmation) -> Result<Answer<bool>> {
        let (operator, consented) = match self {
            Voice::Plan => return Ok(assumed(Known::Modelled)),
            Voice::Person { operator, consented } => (operator, consented),
        };
        if consented.contains(question) {
            return Ok(Answer { value: Some(true), by: AnsweredBy::Plan, who: None, known: Known::Observed });
        }
        let value = operator.confirm(question).await?;
        Ok(answered(&**operator, value, Known::Observed))
    }

    /// Whether something may be done that nothing grants: that is asked, whatever the accepted plan showed. A script can ask the same
    /// words with `confirm`, and accepting its plan must not grant anything.
    pub(super) async fn grant(&self, question: &Confirmation) -> Result<Answer<bool>> {
        let Voice::Person { operator, .. } = self else {
            return Ok(Answer { value: None, by: AnsweredBy::Nobody, who: None, known: Known::Modelled });
        };
        let value = operator.grant(question).await?;
        Ok(Answer { by: by_whom(value.is_some()), value, who: None, known: Known::Observed })
    }

    /// Answers a gate: no plan's acceptance does that. A plan goes on as after a yes that nobody gave.
    pub(super) async fn gate(&self, question: &Confirmation) -> Result<Answer<bool>> {
        let Voice::Person { operator, .. } = self else {
            return Ok(Answer { by: AnsweredBy::Nobody, ..assumed(Known::Modelled) });
        };
        let value = operator.confirm(question).await?;
        Ok(answered(&**operator, value, Known::Observed))
    }

    /// Takes a word that something was done by hand. No plan can give it: it was not done then.
    pub(super) async fn word(&self, what: &Confirmation) -> Result<Answer<bool>> {
        let Voice::Person { operator, .. } = self else {
            return Ok(assumed(Known::Assumed));
        };
        let value = operator.confirm(what).await?;
        Ok(answered(&**operator, value, Known::Assumed))
    }

    /// Answers a question.
    pub(super) async fn ask(&self, question: &Confirmation, options: &AskOptions) -> Result<Answer<String>> {
        match self {
            Voice::Plan => Ok(match options.default.clone() {
                Some(default) => Answer { value: Some(default), by: AnsweredBy::Assumption, who: None, known: Known::Assumed },
                None => Answer { value: None, by: AnsweredBy::Nobody, who: None, known: Known::Unknown },
            }),
            Voice::Person { operator, .. } => {
                let value = operator.ask(question, options).await?;
                Ok(Answer { by: by_whom(value.is_some()), value, who: None, known: Known::Observed })
            }
        }
    }
}

/// The answer of a plan, where nobody is asked.
fn assumed(known: Known) -> Answer<bool> {
    Answer { value: Some(true), by: AnsweredBy::Assumption, who: None, known }
}

/// What this operator answered to a confirmation.
fn answered(operator: &dyn Operator, value: Option<bool>, known: Known) -> Answer<bool> {
    let who = value.and_then(|_| operator.answered_by());
    Answer { by: by_whom(value.is_some()), value, who, known }
}

fn by_whom(answered: bool) -> AnsweredBy {
    if answered { AnsweredBy::Operator } else { AnsweredBy::Nobody }
}

/// The error of a confirmation that was answered no.
pub(super) fn declined(question: &str) -> Error {
    Error::new(Kind::Cancelled, Reason::Declined, format!("the answer to `{question}` was no"))
}

/// The error of a question that nobody was there to answer, or that was left with Ctrl-D.
pub(super) fn unanswered(question: &str) -> Error {
    Error::new(Kind::Cancelled, Reason::Declined, format!("nobody answered `{question}`"))
}

/// The error of a question without default in a plan.
pub(super) fn unforeseeable(question: &str) -> Error {
    Error::new(Kind::Cluster, Reason::Unmodelled, format!("a plan cannot know the answer to `{question}`"))
        .hint("a run asks it; give the question a `default` for the plan to go on")
}
