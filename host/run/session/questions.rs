//! What people are asked in a run: by its gates, by its script, and for what no permission grants.

use std::borrow::Cow;

use super::Session;
use crate::base::json::Value as Json;
use crate::base::{Error, Kind, Reason, Result, Value};
use crate::cluster::permit::Line;
use crate::primitives::AskOptions;
use crate::run::consent::{self, Answer};
use crate::run::event::{Confirmation, Event, Known};
use crate::run::journal::Fact;
use crate::run::script::Call;

impl Session {
    /// Asks what is always asked, once for a run: a yes before it was stopped stands. In a plan it counts as yes and is listed.
    ///
    /// # Errors
    /// `declined` when the answer is no, or nobody is there: the run parks; when a yes cannot be kept.
    pub(in crate::run) async fn gate(&self, question: &str) -> Result<()> {
        let confirmation = self.question(question);
        self.tally.borrow_mut().gates.push(confirmation.clone());
        if self.book.as_ref().is_some_and(|book| book.past(|past| past.passed.get(&confirmation.at) == Some(&confirmation.question))) {
            return Ok(());
        }
        let one_at_a_time = self.asking.lock().await;
        let answer = self.voice.gate(&confirmation).await?;
        drop(one_at_a_time);
        let word = answer.value.map(|yes| if yes { "yes" } else { "no" }.to_owned());
        self.emit(Event::Asked { confirmation: confirmation.clone(), answer: word, by: answer.by, who: answer.who, known: answer.known });
        match answer.value {
            Some(true) => match &self.book {
                Some(book) => book.note(&Fact::Passed { place: confirmation.at, question: confirmation.question }),
                None => Ok(()),
            },
            Some(false) => Err(consent::declined(question)),
            None => Err(consent::unanswered(question)),
        }
    }

    /// The question as it is asked, kept and consented to: without secrets.
    pub(super) fn question(&self, text: &str) -> Confirmation {
        let text = &*self.secrets.get().map_or(Cow::Borrowed(text), |secrets| secrets.text(text));
        let mut occurrences = self.occurrences.borrow_mut();
        let count = occurrences.entry(text.to_owned()).or_default();
        *count += 1;
        Confirmation { at: self.place.borrow().clone(), question: text.to_owned(), occurrence: *count }
    }

    /// Whether what can be answered holds no secret: it is shown beside the question, and the answer is kept.
    ///
    /// # Errors
    /// Runbook, when it does.
    pub(super) fn may_be_shown(&self, options: &AskOptions) -> Result<()> {
        let is_secret = |text: &String| self.secrets.get().is_some_and(|secrets| matches!(secrets.text(text), Cow::Owned(_)));
        if options.choices.iter().chain(&options.default).any(is_secret) {
            let error = Error::new(Kind::Runbook, Reason::Usage, "`ask`: one of the choices, or the default, holds a secret");
            return Err(error.cause("what can be chosen is shown, and the answer is kept").hint("let the operator choose a name for it"));
        }
        Ok(())
    }

    /// Whether a journal can keep this: a value that a later step gets, and that is no secret. Else a run that goes on would have `(secret)`
    /// in its place, and might write that.
    ///
    /// # Errors
    /// Runbook, when it holds one; `name` is what a script calls it.
    pub(in crate::run) fn may_be_kept(&self, name: &str, value: &Value) -> Result<()> {
        let is_kept = self.secrets.get().is_none_or(|secrets| secrets.knows_nothing() || !secrets.json(&mut value.clone().into_json()));
        if is_kept {
            return Ok(());
        }
        let error = Error::new(Kind::Runbook, Reason::Usage, format!("`{name}` holds a secret, which no journal keeps"));
        Err(error.cause("a run that goes on would not have it").hint("read it again in the step that needs it"))
    }

    /// Tells what became of a question; `word` is the answer as it is told.
    pub(super) fn asked<T>(&self, confirmation: &Confirmation, word: Option<String>, answer: &Answer<T>) {
        if answer.known == Known::Assumed {
            let text = format!("the answer to `{}`: {}", confirmation.question, word.as_deref().unwrap_or_default());
            self.tally.borrow_mut().assumptions.push(text);
        }
        let Answer { by, known, .. } = *answer;
        self.emit(Event::Asked { confirmation: confirmation.clone(), answer: word, by, who: answer.who.clone(), known });
    }

    /// A question whose answer the record has counts as asked, so that the next one of the same words is the one that the plan showed.
    pub(super) fn asked_before(&self, call: &Call) {
        const ASKS: [&str; 3] = ["confirm", "ask", "manual"];
        if ASKS.contains(&call.verb.as_str())
            && let Some(text) = call.arguments.first().and_then(Json::as_str)
        {
            drop(self.question(text));
        }
    }

    /// Asks the operator whether something may be done that nothing grants; nobody there is no. It is no question of the script: those
    /// are counted without it. A yes holds for as long as the run goes on, whichever process does.
    pub(in crate::run) async fn granted(&self, question: &str, line: &Line, answered: &dyn Fn() -> Option<bool>) -> Result<bool> {
        let question = self.secrets.get().map_or(Cow::Borrowed(question), |secrets| secrets.text(question)).into_owned();
        let confirmation = Confirmation { at: self.place.borrow().clone(), question, occurrence: 1 };
        let one_at_a_time = self.asking.lock().await;
        // Another item of the batch wanted the same, and has the answer.
        if let Some(yes) = answered() {
            return Ok(yes);
        }
        let answer = self.voice.grant(&confirmation).await?;
        drop(one_at_a_time);
        if let Some(yes) = answer.value {
            self.asked(&confirmation, Some(if yes { "yes" } else { "no" }.to_owned()), &answer);
        }
        let yes = answer.value == Some(true);
        if yes && let Some(book) = &self.book {
            book.note(&Fact::Granted { grant: line.clone() })?;
        }
        Ok(yes)
    }

    /// What was allowed so in the processes before this one.
    pub(in crate::run) fn granted_before(&self) -> Vec<Line> {
        self.book.as_ref().map(|book| book.past(|past| past.granted.clone())).unwrap_or_default()
    }
}
