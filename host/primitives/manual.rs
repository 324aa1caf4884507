//! `manual`: something that only people can do.

use std::rc::Rc;

use crate::base::json::{Value as Json, json};

use super::cx::Cx;
use super::done::Done;
use super::pace::Pace;
use super::registry::Callback;
use crate::base::{Error, Kind, Reason, Result, Span, Value};
use crate::cluster::Access;
use crate::primitive;

/// How often `done` is asked: nothing tells when the answer of a function changes.
const AGAIN: Span = Span::from_secs(5);
/// How long people have when nothing is said.
const TIMEOUT: Span = Span::from_secs(3600);

primitive! {
    /// Shows the operator what to do by hand, and goes on when it is done.
    ///
    /// With `done` that is when the function returns something true; it is asked every 5 seconds, and where it holds already nobody is
    /// told to do anything. Without it the operator's word is taken, which is an assumption. Nobody does anything in a plan or on a
    /// simulated cluster: there `pretend` is called, which may write to the copy what people would bring about; `done` must hold after
    /// it. That is an assumption too. Consent to a plan does not answer it.
    pub ask fn manual as Manual(
        /// What to do, so that somebody who was just called can do it.
        text: String,
    ) options {
        /// A function that only reads and says whether it is done.
        done: Option<Rc<dyn Callback>>,
        /// A function that stands in for people where there are none.
        pretend: Option<Rc<dyn Callback>>,
        /// The whole time allowed with `done`; default 1 hour. 0 asks once.
        timeout: Option<Span>,
    } -> "{ changed: boolean }", "whether anything had to be done";
    since "0.1";
    example r#"manual("Replace the disk of w1, then power it on.", { done = function() return ready("node/w1").status == "Current" end })"#;
    needs [];
}

impl Manual {
    async fn run(self, cx: Cx) -> Result<Done> {
        if self.text.trim().is_empty() {
            return Err(Error::usage("`manual`: the text is empty").hint("say what to do"));
        }
        if cx.cluster.access() != Access::ReadWrite {
            let error =
                Error::new(Kind::Runbook, Reason::Refused, "`manual` has things changed, and is called where only reads are allowed");
            return Err(error.hint("it belongs into the `run` of a step"));
        }
        if self.is_done(&cx).await? == Some(true) {
            return Ok(told(false));
        }
        let label = cx.cluster.label();
        if let Some(pretend) = self.pretend.as_ref().filter(|_| label.plan || label.simulated) {
            cx.cluster.set_by_hand(true);
            let made = pretend.invoke(Vec::new()).await;
            cx.cluster.set_by_hand(false);
            made?;
            cx.talk.assume(&format!("done by hand: {}", self.text), None);
            return match self.is_done(&cx).await? {
                Some(false) => {
                    let message = format!("after `pretend` it is still not done: {}", self.text);
                    Err(Error::new(Kind::Runbook, Reason::Precondition, message).hint("let `pretend` bring about what `done` looks for"))
                }
                _ => Ok(told(true)),
            };
        }
        match self.done {
            None => cx.talk.manual(&self.text).await?,
            Some(_) if label.plan => {
                let message = format!("a plan cannot know what people bring about: {}", self.text);
                return Err(
                    Error::new(Kind::Cluster, Reason::Unmodelled, message).hint("give `pretend`, a function that does it to the copy")
                );
            }
            Some(_) => self.wait(&cx).await?,
        }
        Ok(told(true))
    }

    /// What `done` says; `None` without it.
    async fn is_done(&self, cx: &Cx) -> Result<Option<bool>> {
        let Some(done) = &self.done else { return Ok(None) };
        let access = cx.cluster.access();
        cx.cluster.set_access(Access::ReadOnly);
        let answer = done.invoke(Vec::new()).await;
        cx.cluster.set_access(access);
        let first = answer?.into_iter().next().unwrap_or(Value::Nil);
        Ok(Some(!matches!(first, Value::Nil | Value::Json(Json::Bool(false)))))
    }

    /// Shows the text and asks `done` until it holds.
    async fn wait(&self, cx: &Cx) -> Result<()> {
        let timeout = self.timeout.unwrap_or(TIMEOUT);
        cx.talk.note(&format!("to be done by hand: {}", self.text));
        let pace = Pace::begin(cx, "people".to_owned(), timeout, Some(timeout));
        cx.waiting("people", self.text.as_str(), pace.since());
        loop {
            if pace.ended(cx.now(), None).is_some() {
                let message = format!("it was not done by hand within {timeout}: {}", self.text);
                return Err(Error::new(Kind::Stuck, Reason::Timeout, message).hint("`timeout` gives people longer"));
            }
            cx.cluster.rest(AGAIN.after(cx.now()).min(pace.until(None))).await?;
            if self.is_done(cx).await? == Some(true) {
                cx.waited("people", "done", pace.since());
                return Ok(());
            }
        }
    }
}

fn told(changed: bool) -> Done {
    Done::read(Value::Json(json!({ "changed": changed })))
}
