//! Faults by a seed: for a run that must come through whatever the network and the server do.

use jiff::SignedDuration;

use super::{Action, Failure, Match, Rule};
use crate::model::Span;
use crate::rng::Rng;

/// Rules drawn from a seed: equal seeds give equal rules. They disturb, they do not break: whoever tries again as the API
/// allows comes through, and every write that gets lost is one that can be looked at afterwards.
#[must_use]
pub fn chaos(seed: u64) -> Vec<Rule> {
    // Another sequence than that of the cluster with the same seed.
    let mut rng = Rng::new(seed ^ 0x6368_616f_7300_0000);
    (0..4 + rng.below(6)).map(|_| rule(&mut rng)).collect()
}

fn rule(rng: &mut Rng) -> Rule {
    let mut when = Match::default();
    let fail =
        |code: u16, retry_after: Option<u32>| Action::Fail(Failure { code, reason: None, message: None, retry_after, causes: Vec::new() });
    let action = match rng.below(9) {
        0 => fail(429, Some(1 + rng.below(3) as u32)),
        1 => fail(503, Some(1)),
        2 => {
            // Whether a write that got a 500 was done is for its sender to find out; a read is asked again.
            when.verb = Some(["get", "list"][rng.below(2) as usize].to_owned());
            fail(500, None)
        }
        3 => Action::LostBefore,
        4 => Action::LostAfter,
        5 => {
            when.verb = Some("patch".to_owned());
            Action::Conflict
        }
        6 => Action::Late(Span(SignedDuration::from_millis(100 + rng.below(4_000) as i64))),
        7 => Action::DropWatch(rng.below(5)),
        _ => Action::ExpireWatch(rng.below(5)),
    };
    if matches!(action, Action::DropWatch(_) | Action::ExpireWatch(_)) {
        when.verb = Some("watch".to_owned());
    }
    when.nth = Some(1 + rng.below(12));
    Rule { when, action }
}
