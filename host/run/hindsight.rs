//! What a plan said, compared with what happened, claim by claim: verdicts, writes, questions, waits and how long they took, ends.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::event::{Event, Record, StepEnd};
use super::planfile::claims;
use super::steady::Steady;
use crate::base::{Result, Span};
use crate::cluster::downtime::MadeUp;
use crate::primitives::registry::plural;

/// A wait is as predicted when it took at least half as long and at most twice as long, or the difference is below this.
const CLOSE: Span = Span::from_secs(10);
/// The end of a step that went well.
const DONE: &str = "is done";
/// The end of a step that was stopped by a person: nothing that was said has come otherwise.
const STOPPED: &str = "is stopped";
/// How many differences are told.
const TOLD: usize = 5;

/// One thing that a plan said, or that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prediction {
    /// Where: `check ID`, `step ID`, `step ID/ITEM`.
    pub at: String,
    /// What.
    pub says: String,
    /// How long it takes; of waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took: Option<Span>,
}

/// What became of a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Hindsight {
    /// How many things it said.
    pub predicted: usize,
    /// How many of them came true.
    pub right: usize,
    /// How many the run did not come to.
    pub not_reached: usize,
    /// What came otherwise.
    pub wrong: Vec<String>,
    /// What happened and was not said.
    pub surprises: Vec<String>,
}

/// What these records say; `made_up` are the names that are made up in them.
///
/// # Errors
/// Internal, when a record cannot be written as JSON.
pub fn predictions(records: &[Record], made_up: MadeUp) -> Result<Vec<Prediction>> {
    let steady = Steady::of(records, made_up);
    let mut all = Vec::new();
    let mut place = String::new();
    for record in steady.records(records)? {
        match &record.event {
            Event::CheckStarted { check } => place = format!("check {}", check.id),
            Event::StepStarted { step } => place = format!("step {}", step.id),
            _ => {}
        }
        let at = record.item.as_ref().map_or_else(|| place.clone(), |item| format!("step {item}"));
        if let Event::Waited { what, took, .. } = &record.event {
            all.push(Prediction { at, says: format!("waits for {what}"), took: Some(*took) });
            continue;
        }
        if let Event::StepFinished { end: StepEnd::Failed { error }, .. } = &record.event
            && error.is_stop()
        {
            all.push(Prediction { at, says: STOPPED.to_owned(), took: None });
            continue;
        }
        all.extend(claims::says(&record.event).into_iter().map(|says| Prediction { at: at.clone(), says, took: None }));
    }
    Ok(all)
}

impl Prediction {
    /// Whether it says that nobody can know: neither right nor wrong.
    fn is_none(&self) -> bool {
        claims::UNKNOWN.iter().any(|begin| self.says.starts_with(begin))
    }
}

impl Hindsight {
    /// Compares what was said with what happened.
    #[must_use]
    pub fn of(said: &[Prediction], happened: &[Prediction]) -> Hindsight {
        let mut places: Vec<&str> = Vec::new();
        for one in said.iter().chain(happened) {
            if !places.contains(&one.at.as_str()) {
                places.push(&one.at);
            }
        }
        let mut all = Hindsight::default();
        for place in places {
            let of = |all: &[Prediction]| -> Vec<Prediction> { all.iter().filter(|one| one.at == place).cloned().collect() };
            let (said, happened) = (of(said), of(happened));
            all.predicted += said.iter().filter(|one| !one.is_none()).count();
            all.place(place, said, happened);
        }
        all
    }

    fn place(&mut self, place: &str, mut said: Vec<Prediction>, mut happened: Vec<Prediction>) {
        let unforeseen = said.iter().any(Prediction::is_none);
        said.retain(|one| !one.is_none());
        if happened.is_empty() {
            self.not_reached += said.len();
            return;
        }
        let stopped = happened.iter().any(|one| one.says == STOPPED);
        happened.retain(|one| one.says != STOPPED);
        // What ended otherwise did not come to everything that was said of it.
        let ends_as_said = !said.iter().any(|one| one.says == DONE) || happened.iter().any(|one| one.says == DONE);
        let mut missing = Vec::new();
        for one in said {
            let Some(found) = happened.iter().position(|other| other.says == one.says) else {
                missing.push(one);
                continue;
            };
            let found = happened.remove(found);
            match (one.took, found.took) {
                (Some(said), Some(took)) if !is_close(said, took) => {
                    let what = one.says.trim_start_matches("waits for ");
                    self.wrong.push(format!("{place}: {what} took {}, predicted {}", took.rounded(), said.rounded()));
                }
                _ => self.right += 1,
            }
        }
        if stopped {
            self.not_reached += missing.len();
            missing.clear();
        }
        for one in missing {
            let end = matches!(one.says.as_str(), DONE) || place.starts_with("check ");
            if !ends_as_said && !end {
                self.not_reached += 1;
                continue;
            }
            let instead = if end { happened.pop().map(|other| format!(", and it came `{}`", other.says)) } else { None };
            self.wrong.push(format!("{place}: predicted `{}`{}", one.says, instead.unwrap_or_else(|| ", and it did not come".to_owned())));
        }
        if unforeseen {
            // The plan said that it could not know this.
            return;
        }
        self.surprises.extend(happened.into_iter().map(|other| format!("{place}: {}", other.says)));
    }
}

fn is_close(said: Span, took: Span) -> bool {
    let apart = if said > took { said.minus(took) } else { took.minus(said) };
    apart <= CLOSE || (took.as_millis().saturating_mul(2) >= said.as_millis() && took.as_millis() <= said.as_millis().saturating_mul(2))
}

/// `predicted 41, right 40, wrong 1 (step 3: rollout took 4m10s, predicted 1m20s)`
impl fmt::Display for Hindsight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "predicted {}, right {}, wrong {}", self.predicted, self.right, self.wrong.len())?;
        let some = |f: &mut fmt::Formatter<'_>, texts: &[String]| {
            let more = texts.len().saturating_sub(TOLD);
            let more = if more == 0 { String::new() } else { format!("; and {more} more") };
            write!(f, " ({}{more})", texts.iter().take(TOLD).map(String::as_str).collect::<Vec<_>>().join("; "))
        };
        if !self.wrong.is_empty() {
            some(f, &self.wrong)?;
        }
        if self.not_reached > 0 {
            write!(f, ", not reached {}", self.not_reached)?;
        }
        if !self.surprises.is_empty() {
            write!(f, "; not predicted: {}", plural(self.surprises.len(), "thing"))?;
            some(f, &self.surprises)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(at: &str, says: &str, took: Option<u64>) -> Prediction {
        Prediction { at: at.to_owned(), says: says.to_owned(), took: took.map(Span::from_secs) }
    }

    #[test]
    fn claim_by_claim() {
        let said = [
            one("check c", "ok: 2", None),
            one("step a", "patch deployment/web", None),
            one("step a", "waits for rollout of deployment/web", Some(80)),
            one("step a", DONE, None),
            one("step b", "scale deployment/web", None),
            one("step b", DONE, None),
        ];
        assert_eq!(Hindsight::of(&said, &said).to_string(), "predicted 6, right 6, wrong 0");

        let mut slow = said.to_vec();
        slow[2].took = Some(Span::from_secs(250));
        let told = "predicted 6, right 5, wrong 1 (step a: rollout of deployment/web took 4m10s, predicted 1m20s)";
        assert_eq!(Hindsight::of(&said, &slow).to_string(), told);

        // It failed inside of the first step.
        let failed = [said[0].clone(), said[1].clone(), one("step a", "fails: no progress", None)];
        let told = "predicted 6, right 2, wrong 1 (step a: predicted `is done`, and it came `fails: no progress`), not reached 3";
        assert_eq!(Hindsight::of(&said, &failed).to_string(), told);

        // Somebody stopped it there.
        let stopped = [said[0].clone(), said[1].clone(), one("step a", STOPPED, None)];
        assert_eq!(Hindsight::of(&said, &stopped).to_string(), "predicted 6, right 2, wrong 0, not reached 4");

        // What the plan could not know is no prediction, whatever happened.
        let unknown = [said[0].clone(), said[1].clone(), one("step a", "cannot be known: nobody plays it", None)];
        let happened = [said[0].clone(), said[1].clone(), one("step a", "scale deployment/web", None), one("step a", DONE, None)];
        assert_eq!(Hindsight::of(&unknown, &happened).to_string(), "predicted 2, right 2, wrong 0");

        // It did more than was said.
        let mut more = said.to_vec();
        more.insert(2, one("step a", "asks `Go on?`: yes", None));
        let told = "predicted 6, right 6, wrong 0; not predicted: 1 thing (step a: asks `Go on?`: yes)";
        assert_eq!(Hindsight::of(&said, &more).to_string(), told);
        let other = [one("check c", "ok: 3", None)];
        assert_eq!(
            Hindsight::of(&said[..1], &other).to_string(),
            "predicted 1, right 0, wrong 1 (check c: predicted `ok: 2`, and it came `ok: 3`)"
        );
    }

    #[test]
    fn a_wait_may_take_half_or_twice_as_long() {
        for (said, took, close) in
            [(80, 41, true), (80, 160, true), (80, 39, false), (80, 170, false), (0, 9, true), (2, 11, true), (0, 20, false)]
        {
            assert_eq!(is_close(Span::from_secs(said), Span::from_secs(took)), close, "{said} {took}");
        }
    }
}
