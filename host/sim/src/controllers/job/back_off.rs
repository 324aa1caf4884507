//! How long a Job waits before it makes another pod: 10 s after a failure, doubled for each further one, at most 10 minutes.

use imbl::OrdMap;
use jiff::{SignedDuration, Timestamp};

use crate::controllers::pods::KeyedPod;
use crate::json::Value;
use crate::store::Key;
use crate::view;

const FIRST: SignedDuration = SignedDuration::from_secs(10);
const LONGEST: SignedDuration = SignedDuration::from_secs(600);

/// What the controller remembers of Jobs between two looks.
pub(crate) type BackOffs = OrdMap<Key, BackOff>;

/// Failures of one Job since its last success.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct BackOff {
    failures: u32,
    last: Option<Timestamp>,
}

impl BackOff {
    /// The record after these pods have ended: a success forgets the failures before it.
    pub(super) fn after(self, succeeded: &[&KeyedPod], failed: &[&KeyedPod]) -> Self {
        let last_success = succeeded.iter().filter_map(|(_, pod)| finished(pod)).max();
        let base = if succeeded.is_empty() { self } else { Self::default() };
        failed
            .iter()
            .filter_map(|(_, pod)| finished(pod))
            .filter(|at| last_success.is_none_or(|success| *at > success))
            .fold(base, |record, at| Self { failures: record.failures + 1, last: record.last.max(Some(at)) })
    }

    /// When another pod may be made; `None` when at once.
    pub(super) fn until(self) -> Option<Timestamp> {
        let doubled = 2_i32.checked_pow(self.failures.checked_sub(1)?).and_then(|factor| FIRST.checked_mul(factor));
        Some(view::later(self.last?, doubled.map_or(LONGEST, |delay| delay.min(LONGEST))))
    }
}

/// When a pod has ended: by its containers, else by the condition or the deletion that says so, else when it was made.
fn finished(pod: &Value) -> Option<Timestamp> {
    let containers = view::list(pod, &["status", "containerStatuses"]);
    let ends: Option<Vec<Timestamp>> = containers.iter().map(|c| view::time(c, &["state", "terminated", "finishedAt"])).collect();
    ends.and_then(|ends| ends.into_iter().max())
        .or_else(|| {
            let condition = view::condition(pod, "Ready").filter(|c| view::text(c, &["status"]) == "False")?;
            view::time(condition, &["lastTransitionTime"])
        })
        .or_else(|| {
            let grace = view::count(pod, &["metadata", "deletionGracePeriodSeconds"]);
            view::time(pod, &["metadata", "deletionTimestamp"]).map(|at| view::later_s(at, -grace))
        })
        .or_else(|| view::time(pod, &["metadata", "creationTimestamp"]))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::json::json;
    use crate::kinds;

    fn pod(second: i64) -> KeyedPod {
        let at = Timestamp::from_second(second).unwrap().to_string();
        let pod = json!({"status": {"containerStatuses": [{"state": {"terminated": {"finishedAt": at}}}]}});
        (Key::new(kinds::POD, "x", &format!("p{second}")), Arc::new(pod))
    }

    #[test]
    fn delays_double_up_to_ten_minutes() {
        let mut record = BackOff::default();
        assert_eq!(record.until(), None);
        let mut delays = Vec::new();
        for second in 1..9 {
            record = record.after(&[], &[&pod(second)]);
            delays.push(record.until().unwrap().as_second() - second);
        }
        assert_eq!(delays, [10, 20, 40, 80, 160, 320, 600, 600]);
    }

    #[test]
    fn a_success_forgets_the_failures_before_it() {
        let record = BackOff::default().after(&[], &[&pod(1), &pod(2)]);
        assert_eq!(record.after(&[&pod(5)], &[]).until(), None);
        assert_eq!(record.after(&[&pod(5)], &[&pod(4), &pod(6)]).until().unwrap().as_second(), 16);
    }
}
