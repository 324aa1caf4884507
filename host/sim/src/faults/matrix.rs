//! Every fault at every request: what a test of "whatever goes wrong, wherever" goes through.
//!
//! A run without faults says which requests there are ([`Faults::asked`](super::Faults::asked)). Each schedule then lets one thing go
//! wrong at one of them. A schedule whose rule never fires tested nothing: see [`Faults::unfired`](super::Faults::unfired).

use super::{Action, Asked, Failure, Match, Rule, Side};
use crate::json::json;
use crate::model::Span;
use jiff::SignedDuration;

/// One fault at one request.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// What goes wrong where: `3 patch deployment/shop/web: lost after`.
    pub name: String,
    /// The fault alone, for example `lost after`: the column of a matrix.
    pub fault: &'static str,
    /// Which request of the client, from 0: the place in the list that was given.
    pub request: usize,
    /// The rule; its count begins when it is added, which is to be where the list began.
    pub rule: Rule,
}

/// Every fault that can happen to each of these requests, request by request.
#[must_use]
pub fn schedules<'a>(asked: impl IntoIterator<Item = &'a Asked>) -> Vec<Schedule> {
    let asked: Vec<&Asked> = asked.into_iter().collect();
    (0..asked.len()).flat_map(|place| of_request(place, asked.get(..=place).unwrap_or_default())).collect()
}

/// The faults of the last of these requests.
fn of_request(place: usize, so_far: &[&Asked]) -> Vec<Schedule> {
    let Some(asked) = so_far.last() else { return Vec::new() };
    let schedule = |(fault, action): (&'static str, Action)| {
        // A rule counts the requests that its fault can happen to.
        let nth = so_far.iter().filter(|asked| action.happens_to(asked.verb)).count();
        Schedule {
            name: format!("{} {} {}: {fault}", place + 1, asked.verb, asked.what),
            fault,
            request: place,
            rule: Rule { when: Match { nth: u64::try_from(nth).ok(), ..Match::default() }, action },
        }
    };
    faults(asked).into_iter().map(schedule).collect()
}

fn fail(code: u16) -> Action {
    Action::Fail(Failure { code, reason: None, message: None, retry_after: None, causes: Vec::new() })
}

fn told(code: u16, reason: &str, message: &str) -> Action {
    Action::Fail(Failure { code, reason: Some(reason.into()), message: Some(message.into()), retry_after: None, causes: Vec::new() })
}

fn seconds(seconds: i64) -> Span {
    Span(SignedDuration::from_secs(seconds))
}

/// What can happen to a request.
fn faults(asked: &Asked) -> Vec<(&'static str, Action)> {
    let mut faults = anywhere();
    match asked.verb {
        "watch" => faults.extend(to_a_watch()),
        // Opening a stream into a container changes what runs there, whatever its method.
        _ if asked.subresource == "exec" => faults.extend(to_a_write(asked)),
        "get" | "list" => faults.extend(to_a_read(asked.verb)),
        _ => faults.extend(to_a_write(asked)),
    }
    faults
}

fn anywhere() -> Vec<(&'static str, Action)> {
    let throttled = Failure { code: 429, reason: None, message: None, retry_after: Some(7), causes: Vec::new() };
    vec![
        ("429", Action::Fail(throttled)),
        ("500", fail(500)),
        ("503", fail(503)),
        ("504", fail(504)),
        ("401", fail(401)),
        ("403", fail(403)),
        ("404", fail(404)),
        ("refused", Action::Refuse),
        ("down for 10 min", Action::Down(seconds(600))),
        ("lost before", Action::LostBefore),
        ("lost after", Action::LostAfter),
        ("late by 10 min", Action::Late(seconds(600))),
    ]
}

fn to_a_watch() -> Vec<(&'static str, Action)> {
    vec![
        ("410", fail(410)),
        ("expired at once", Action::ExpireWatch(0)),
        ("expired after an event", Action::ExpireWatch(1)),
        ("closed at once", Action::DropWatch(0)),
        ("closed after an event", Action::DropWatch(1)),
        ("no bookmarks", Action::NoBookmarks),
    ]
}

/// What becomes of an answer on its way.
fn to_an_answer() -> Vec<(&'static str, Action)> {
    let other = json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "other", "namespace": "elsewhere"}});
    vec![
        ("truncated", Action::Truncate(20)),
        ("nothing but its head", Action::Truncate(0)),
        ("stalls", Action::Stall(20)),
        ("of another kind", Action::Answer(other)),
        ("no object", Action::Answer(json!({}))),
        ("100 MB", Action::Pad(100_000_000)),
    ]
}

fn to_a_read(verb: &str) -> Vec<(&'static str, Action)> {
    let mut faults = to_an_answer();
    faults.push(("stale", Action::Stale));
    if verb == "list" {
        faults.push(("410", fail(410)));
    }
    faults
}

fn to_a_write(asked: &Asked) -> Vec<(&'static str, Action)> {
    let mut faults = to_an_answer();
    faults.extend([
        ("delayed by 30 s", Action::Delayed(seconds(30))),
        ("422", fail(422)),
        ("denied by a webhook", told(403, "Forbidden", "admission webhook \"guard.example\" denied the request: not now")),
        (
            "webhook timeout",
            told(
                500,
                "InternalError",
                "Internal error occurred: failed calling webhook \"guard.example\": failed to call webhook: Post \
                 \"https://guard.example.svc:443/?timeout=10s\": context deadline exceeded",
            ),
        ),
        ("held before", Action::Hold(Side::Before)),
        ("held after", Action::Hold(Side::After)),
    ]);
    match (asked.verb, asked.subresource.as_str()) {
        ("create", "eviction") => {
            let cause = [("reason", "DisruptionBudget"), ("message", "The disruption budget web needs 1 healthy pods and has 1 currently")];
            faults.push((
                "429 of a budget",
                Action::Fail(Failure {
                    code: 429,
                    reason: Some("TooManyRequests".into()),
                    message: Some("Cannot evict pod as it would violate the pod's disruption budget.".into()),
                    retry_after: Some(10),
                    causes: vec![cause.into_iter().map(|(field, text)| (field.to_owned(), text.to_owned())).collect()],
                }),
            ));
        }
        ("create", _) => faults.push(("409", told(409, "AlreadyExists", "an object of this name already exists"))),
        _ => faults.push(("409", Action::Conflict)),
    }
    faults
}
