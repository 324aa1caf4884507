//! What a plan says that it would do, in lines that can be compared: verdicts, writes, questions, ends. How long something takes and what
//! a script notes is no claim: that is compared after the run (`run/hindsight.rs`).

use serde::{Deserialize, Serialize};

use crate::run::event::{Event, Record, StepEnd, Verdict};

/// One thing that a plan says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claim {
    /// Where: `check ID`, `step ID`, `step ID/ITEM`, `the plan`.
    pub(crate) at: String,
    /// What.
    pub(crate) says: String,
}

/// How a claim begins that says that nobody can know: of a check, and of a step.
pub(in crate::run) const UNKNOWN: [&str; 2] = ["unknown: ", "cannot be known: "];

/// The claims of a plan whose words are steady.
pub(super) fn of(records: &[Record]) -> Vec<Claim> {
    let mut place = "the plan".to_owned();
    let mut claims = Vec::new();
    for record in records {
        match &record.event {
            Event::CheckStarted { check } => place = format!("check {}", check.id),
            Event::StepStarted { step } => place = format!("step {}", step.id),
            _ => {}
        }
        let at = match &record.item {
            Some(item) => format!("step {item}"),
            None => place.clone(),
        };
        claims.extend(says(&record.event).into_iter().map(|says| Claim { at: at.clone(), says }));
    }
    claims
}

/// What an event says.
pub(in crate::run) fn says(event: &Event) -> Vec<String> {
    match event {
        Event::CheckFinished { verdict, .. } => vec![match verdict {
            Verdict::Ok { detail } => detail.as_ref().map_or_else(|| "ok".to_owned(), |detail| format!("ok: {detail}")),
            Verdict::NotNeeded { why } => format!("not needed: {why}"),
            Verdict::Skipped { why } => format!("skipped: {why}"),
            Verdict::Failed { error } => format!("fails: {}", error.message),
            Verdict::Unknown { error } => format!("unknown: {}", error.message),
        }],
        Event::Wrote { verb, target, changes, .. } => {
            let head = format!("{verb} {target}");
            let mut all = vec![head.clone()];
            all.extend(changes.iter().map(|change| format!("{head}: {change}")));
            all
        }
        Event::Unchanged { verb, target, .. } => vec![format!("nothing to {verb} at {target}")],
        Event::Asked { confirmation, answer, .. } => {
            vec![format!("asks `{}`: {}", confirmation.question, answer.as_deref().unwrap_or("no answer"))]
        }
        Event::Recovering { error, .. } => vec![format!("fails and recovers: {}", error.message)],
        Event::NoReturn { why, .. } => vec![format!("cannot be taken back: {why}")],
        Event::StepFinished { end, .. } => vec![match end {
            StepEnd::Done { .. } => "is done".to_owned(),
            StepEnd::Skipped { why } => format!("is skipped: {why}"),
            StepEnd::Failed { error } => format!("fails: {}", error.message),
            StepEnd::Unknown { why } => format!("cannot be known: {why}"),
        }],
        _ => Vec::new(),
    }
}

/// What one plan says and the other does not, place by place, in the order of the places.
pub(super) fn differences(then: &[Claim], now: &[Claim]) -> Vec<String> {
    let mut places: Vec<&str> = Vec::new();
    for claim in then.iter().chain(now) {
        if !places.contains(&claim.at.as_str()) {
            places.push(&claim.at);
        }
    }
    let mut told = Vec::new();
    for place in places {
        let of =
            |claims: &[Claim]| -> Vec<String> { claims.iter().filter(|claim| claim.at == place).map(|claim| claim.says.clone()).collect() };
        let (then, now) = (of(then), of(now));
        let first = then.iter().zip(&now).position(|(then, now)| then != now).unwrap_or(then.len().min(now.len()));
        let at = |claims: &[String]| claims.get(first).cloned();
        match (at(&then), at(&now)) {
            (None, None) => {}
            (then, now) => {
                let word = |says: Option<String>| says.unwrap_or_else(|| "nothing more".to_owned());
                told.push(format!("{place}: planned was `{}`, now it is `{}`", word(then), word(now)));
            }
        }
    }
    told
}
