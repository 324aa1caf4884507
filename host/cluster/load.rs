//! How much is asked of a server: no more than so many requests a second, and nothing more of one that can hardly answer
//! (`reference/safety.md` §4, T16). All parts of a run share this; the lock is renewed by a way of its own, which is not held up.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use super::error::Trouble;
use crate::base::clock::{Duration, later};
use crate::base::{Span, Timestamp};

/// What a run sends to a live server a second, in the long run: as kubectl
/// (`k8s.io/cli-runtime/pkg/genericclioptions/config_flags.go`, as its burst).
const PER_SECOND: u32 = 50;
/// What it may send at once when it has rested.
const BURST: u32 = 300;
/// The answers that count are those of the last minute.
const LOOKS_BACK: Span = Span::from_secs(60);
/// With fewer answers nobody can tell.
const ENOUGH: usize = 20;

/// So many requests a second, after a burst.
#[derive(Debug)]
pub(super) struct Pace {
    per_second: u32,
    burst: u32,
    /// When all that was sent so far would have been sent at that pace.
    until: Mutex<Option<Timestamp>>,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace::new(PER_SECOND, BURST)
    }
}

impl Pace {
    pub(super) fn new(per_second: u32, burst: u32) -> Pace {
        Pace { per_second, burst, until: Mutex::default() }
    }

    /// When the next request may be sent.
    pub(super) fn next(&self, now: Timestamp) -> Timestamp {
        let each = Duration::from_secs(1) / self.per_second.max(1);
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        let due = until.map_or(now, |until| until.max(now));
        *until = Some(later(due, each));
        // What was not sent earlier may be sent at once, as far as the burst goes.
        due.checked_sub(each * self.burst).map_or(now, |next| next.max(now))
    }
}

/// How a server answered of late.
#[derive(Debug, Default)]
pub(crate) struct Strain(Mutex<VecDeque<(Timestamp, bool)>>);

impl Strain {
    /// Notes what came of a request, where the server answered. That it cannot be reached is another matter: then it is waited for. What a
    /// disruption budget refuses is refused well.
    pub(super) fn note(&self, now: Timestamp, trouble: Option<&Trouble>) {
        let bad = match trouble {
            None => false,
            Some(Trouble::Status { code: 429, .. }) => trouble.is_some_and(|trouble| !trouble.names_budget()),
            Some(Trouble::Status { code, .. }) => *code >= 500 && *code != 501,
            Some(_) => return,
        };
        self.answered(now, bad);
    }

    /// The same of an answer that was looked at: whether it says that the server cannot do what it is asked.
    pub(super) fn answered(&self, now: Timestamp, bad: bool) {
        let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        answers.push_back((now, bad));
        while answers.front().is_some_and(|(at, _)| Span::between(*at, now) > LOOKS_BACK) {
            answers.pop_front();
        }
    }

    /// What is wrong with the server, when half of its answers or more are that it cannot do what it is asked.
    pub(super) fn told(&self, now: Timestamp) -> Option<String> {
        let answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_late = answers.iter().filter(|(at, _)| Span::between(*at, now) <= LOOKS_BACK);
        let (all, bad) = of_late.fold((0_usize, 0_usize), |(all, bad), (_, is_bad)| (all + 1, bad + usize::from(*is_bad)));
        let hard = all >= ENOUGH && bad * 2 >= all;
        hard.then(|| format!("{bad} of the last {all} answers of the API server, within {LOOKS_BACK}, were 429 or 5xx"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::json::{Value as Json, json};

    fn at(seconds: u64) -> Timestamp {
        later(Timestamp::UNIX_EPOCH, Duration::from_secs(seconds))
    }

    #[test]
    fn a_pace_lets_a_burst_pass_and_then_one_after_the_other() {
        let pace = Pace::new(10, 20);
        let start = at(0);
        let waits: Vec<u64> = (0..24).map(|_| Span::between(start, pace.next(start)).as_millis()).collect();
        // Twenty at once.
        assert!(waits.iter().take(20).all(|wait| *wait == 0), "{waits:?}");
        assert_eq!(waits[20..], [0, 100, 200, 300]);
        assert_eq!(pace.next(at(60)), at(60), "who rested may send at once again");
    }

    #[test]
    fn half_of_a_minutes_answers_are_too_many_errors() {
        let status = |code: u16, status: Json| Trouble::Status { code, retry_after: None, status };
        let strain = Strain::default();
        for second in 0..19 {
            strain.note(at(second), Some(&status(503, Json::Null)));
        }
        assert_eq!(strain.told(at(19)), None, "nineteen answers are too few");
        strain.note(at(19), None);
        let told = "19 of the last 20 answers of the API server, within 1m, were 429 or 5xx";
        assert_eq!(strain.told(at(19)).as_deref(), Some(told));
        assert_eq!(strain.told(at(70)), None, "they are forgotten");
        // A budget, a server that is away, and what a request deserves say nothing about the server.
        let strain = Strain::default();
        let budget = json!({ "details": { "causes": [{ "reason": "DisruptionBudget" }] } });
        for second in 0..30 {
            strain.note(at(second), Some(&status(429, budget.clone())));
            strain.note(at(second), Some(&Trouble::Connect("refused".to_owned())));
            strain.note(at(second), Some(&status(409, Json::Null)));
        }
        assert_eq!(strain.told(at(30)), None);
    }
}
