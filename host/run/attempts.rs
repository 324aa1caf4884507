//! How a check is asked, and how a step is tried: `run`, `verify`, and once `recover`.

use super::event::{Event, StepEnd, Verdict};
use super::runbook::{CheckDecl, Owner, Phase, StepDecl};
use super::runner::{error_value, skipped};
use super::script::Returned;
use crate::base::json::Value as Json;
use crate::base::{Error, Result, Value};

/// What was the matter in a step, and in which function.
type Failure = (Phase, Error);

/// What a check says.
///
/// # Errors
/// What one of its functions raised; `check_failed` when it does not hold.
pub(super) fn asked(decl: &CheckDecl, owner: Owner, mut call: impl FnMut(Phase) -> Result<Returned>) -> Result<Verdict> {
    if decl.has_when
        && let Some(why) = skipped(&call(Phase::When)?)
    {
        return Ok(Verdict::Skipped { why });
    }
    let returned = call(Phase::Check)?;
    if let Some(why) = returned.not_needed {
        return Ok(Verdict::NotNeeded { why });
    }
    returned.holds(owner)?;
    Ok(Verdict::Ok { detail: returned.value(0).as_text() })
}

/// Whoever calls the functions of a step.
pub(super) trait Hands {
    /// Calls a function of a declaration.
    async fn called(&mut self, owner: Owner, phase: Phase, arguments: Vec<Value>) -> Result<Returned>;

    /// Whether `recover` is asked about an error.
    fn recoverable(&self, error: &Error) -> bool;

    /// Tells what happens.
    fn tell(&self, event: Event);

    /// Makes ready to enter `run` again, from its beginning.
    fn begin_again(&mut self) -> Result<()>;
}

/// One step for one item, or for none.
pub(super) struct Attempt<'a> {
    /// What is declared.
    pub(super) decl: &'a StepDecl,
    /// Its place in the file.
    pub(super) place: usize,
    /// `ID` or `ID/ITEM`.
    pub(super) key: &'a str,
    /// What its functions get.
    pub(super) given: Vec<Value>,
}

impl Attempt<'_> {
    /// `run`, `verify`, and once `recover`.
    pub(super) async fn made(&self, hands: &mut impl Hands) -> Result<StepEnd> {
        let Err((phase, error)) = self.from(hands, Phase::Run).await else { return Ok(StepEnd::Done { recovered: false }) };
        if !self.decl.has_recover || !hands.recoverable(&error) {
            return Err(error);
        }
        let step = self.key.to_owned();
        hands.tell(Event::Recovering { step: step.clone(), phase, error: error.clone() });
        let mut arguments = vec![error_value(&error)];
        arguments.extend(self.given.iter().cloned());
        let answer = hands.called(Owner::Step(self.place), Phase::Recover, arguments).await;
        let answer = answer.map_err(|raised| {
            // The error itself, raised again, needs no second telling.
            if raised.message == error.message { raised } else { raised.cause(format!("while recovering from: {}", error.message)) }
        })?;
        answer.answers()?;
        match answer.value(0) {
            Value::Json(Json::Bool(false)) => Err(error),
            Value::Json(Json::String(_)) => {
                hands.tell(Event::Again { step });
                hands.begin_again()?;
                self.from(hands, Phase::Run).await.map_err(|(_, error)| error)?;
                Ok(StepEnd::Done { recovered: true })
            }
            _ => {
                self.from(hands, Phase::Verify).await.map_err(|(_, error)| error)?;
                Ok(StepEnd::Done { recovered: true })
            }
        }
    }

    /// `run` and `verify`, or only `verify`.
    async fn from(&self, hands: &mut impl Hands, phase: Phase) -> Result<(), Failure> {
        let owner = Owner::Step(self.place);
        if phase == Phase::Run {
            hands.called(owner, Phase::Run, self.given.clone()).await.map_err(|error| (Phase::Run, error))?;
        }
        if self.decl.has_verify {
            let verified = hands.called(owner, Phase::Verify, self.given.clone()).await;
            verified.and_then(|returned| returned.holds(owner)).map_err(|error| (Phase::Verify, error))?;
        }
        Ok(())
    }
}
