//! What is said about the lock.

use super::{Errand, Worker};
use crate::base::{Error, Kind, Reason, Span, Timestamp};
use crate::cluster::Lease;
use crate::cluster::lease::LASTS;

/// The refusal of somebody who finds the lock held.
#[must_use]
pub fn held(cluster: &str, lease: &Lease, worker: &Worker, now: Timestamp) -> Error {
    let run = lease.run.as_deref().unwrap_or_default();
    let own = run == worker.run;
    let message = if own {
        format!("the run `{run}` is worked on already: it holds the lock of `{cluster}`")
    } else {
        format!("the lock of `{cluster}` is held by the run `{run}`")
    };
    let mut error = Error::new(Kind::Refused, Reason::Refused, message).about("lease/kube-system/lockgate");
    error = error.cause(who(lease));
    error = error.cause(heard(lease, now));
    if let Some(head) = &lease.head {
        error = error.cause(format!("the head of its journal is {head}"));
    }
    let unlock = format!("lockgate unlock {run} {}", worker.way);
    let unlock = unlock.trim_end();
    error.hint(if own {
        format!("look there (`lockgate attach {run}`); if nothing works on it any more, free the lock with `{unlock}` and resume")
    } else {
        format!("wait for it, or go on with it (`lockgate resume {run}`); if nobody will, free the lock with `{unlock}`")
    })
}

/// Which runbook, who, on which machine, and where.
fn who(lease: &Lease) -> String {
    let mut text = String::new();
    let mut add = |word: &str, what: &str| {
        if !what.is_empty() {
            let blank = if text.is_empty() { "" } else { " " };
            text.push_str(&format!("{blank}{word}`{what}`"));
        }
    };
    add("runbook ", &lease.runbook);
    add("by ", &lease.user);
    add("on ", &lease.host);
    match &lease.step {
        Some(step) => format!("{text}, in step `{step}`"),
        None => format!("{text}, before its first step"),
    }
}

/// When the holder was last heard of.
fn heard(lease: &Lease, now: Timestamp) -> String {
    let Some(renewed) = lease.renewed else { return "it never said that it is alive".to_owned() };
    let age = Span::between(renewed, now);
    if age > LASTS {
        return format!("it was last heard of {} ({renewed:.0}): it may be gone, which does not free the lock", ago(renewed, now));
    }
    format!("it was last heard of {}", ago(renewed, now))
}

/// `12s ago`, `just now`.
#[must_use]
pub fn ago(then: Timestamp, now: Timestamp) -> String {
    match Span::between(then, now).rounded() {
        age if age < Span::from_secs(1) => "just now".to_owned(),
        age => format!("{age} ago"),
    }
}

/// What the run that had the lock before left behind: a warning for who begins another one.
#[must_use]
pub fn left_behind(cluster: &str, before: &Lease, worker: &Worker, errand: &Errand) -> Option<String> {
    let (last, left) = (before.last.as_deref()?, before.left.as_deref()?);
    let expected = match errand {
        Errand::Resume { .. } => last == worker.run,
        Errand::TakeBack { of, .. } => last == of,
        Errand::Begin => false,
    };
    let step = before.step.as_ref().map(|step| format!(" in step `{step}`")).unwrap_or_default();
    (!expected)
        .then(|| format!("the run `{last}` on `{cluster}` was not finished ({left}{step}): `lockgate resume {last}` goes on with it"))
}

/// The lock that a person is about to free: who has it, where, and since when nothing was heard.
#[must_use]
pub fn described(cluster: &str, lease: &Lease, now: Timestamp) -> String {
    let run = lease.run.as_deref().unwrap_or_default();
    format!("the lock of `{cluster}` is held by the run `{run}` ({}); {}", who(lease), heard(lease, now))
}

/// What was freed, for the person who did it.
#[must_use]
pub fn unlocked(cluster: &str, lease: &Lease) -> String {
    let run = lease.run.as_deref().unwrap_or_default();
    format!("the lock of `{cluster}` is free; the run `{run}` ({}) writes nothing more", who(lease))
}
