//! What is said about the lock.

use super::{Errand, Worker};
use crate::base::{Error, Kind, Reason, Span, Timestamp};
use crate::cluster::Lease;
use crate::cluster::fence::OPEN_FOR;
use crate::cluster::lease::LASTS;
use crate::cluster::machines::quoted;

/// The refusal of somebody who finds the lock held.
#[must_use]
pub fn held(cluster: &str, lease: &Lease, worker: &Worker, now: Timestamp) -> Error {
    let lease = &on_one_line(lease);
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
    let run = quoted(run);
    let unlock = format!("lockgate unlock {run} {}", worker.way);
    let unlock = unlock.trim_end();
    error.hint(if own {
        format!("look there (`lockgate attach {run}`); if nothing works on it any more, free the lock with `{unlock}` and resume")
    } else {
        format!("wait for it, or go on with it (`lockgate resume {run}`); if nobody will, free the lock with `{unlock}`")
    })
}

/// The refusal of a run that would begin over another one, which failed half-way.
#[must_use]
pub fn unfinished(cluster: &str, lease: &Lease, worker: &Worker) -> Error {
    let lease = &on_one_line(lease);
    let run = lease.last.as_deref().unwrap_or_default();
    let word = quoted(run);
    let unlock = format!("lockgate unlock {word} {}", worker.way);
    let gives_up = format!("`{}` gives it up", unlock.trim_end());
    Error::new(Kind::Refused, Reason::Refused, format!("the run `{run}` on `{cluster}` is not finished: no other one begins over it"))
        .about("lease/kube-system/lockgate")
        .cause(format!("{}: {}", who(lease), lease.left.as_deref().unwrap_or_default()))
        .hint(match &lease.takes_back {
            Some(of) => format!("`lockgate resume {word}` goes on with taking back `{of}`; {gives_up}"),
            None => format!("`lockgate resume {word}` goes on with it, `lockgate rollback {word}` takes it back; {gives_up}"),
        })
}

/// Why a new run cannot begin, as its lock would say: another run holds the lease, or is not finished. `None` when it can.
#[must_use]
pub fn in_the_way(cluster: &str, lease: &Lease, worker: &Worker, now: Timestamp) -> Option<Error> {
    if lease.run.is_some() {
        return Some(held(cluster, lease, worker, now));
    }
    lease.unfinished().map(|_| unfinished(cluster, lease, worker))
}

/// What is said before the lock is waited for; none where it is not.
#[must_use]
pub fn waits(cluster: &str, lease: &Lease, worker: &Worker, errand: &Errand, now: Timestamp) -> Option<String> {
    let lease = &on_one_line(lease);
    let over = match errand {
        Errand::Begin => None,
        Errand::Resume { gone, .. } => Some((worker.run.as_str(), *gone)),
        Errand::TakeBack { of, gone } => Some((of.as_str(), *gone)),
    };
    if lease.is_warm(now) {
        let last = lease.last.as_deref().unwrap_or_default();
        return Some(format!(
            "waiting {LASTS}: the lock of `{cluster}` was freed from the run `{last}`, which may have been at work, and writes nothing after that"
        ));
    }
    let (run, gone) = over.filter(|(run, _)| lease.run.as_deref() == Some(run))?;
    let waits = !(gone && lease.host == worker.host);
    waits.then(|| format!("waiting up to {LASTS}: whether `{}` works on the run `{run}` still is seen by its lock", lease.host))
}

/// The lease with each of its texts on one line. Whoever may write it could otherwise add lines that look like ours.
fn on_one_line(lease: &Lease) -> Lease {
    let text = |text: &String| text.replace('\n', "\\n");
    let some = |text: &Option<String>| text.as_ref().map(|text| text.replace('\n', "\\n"));
    Lease {
        run: some(&lease.run),
        host: text(&lease.host),
        user: text(&lease.user),
        runbook: text(&lease.runbook),
        step: some(&lease.step),
        head: some(&lease.head),
        last: some(&lease.last),
        left: some(&lease.left),
        takes_back: some(&lease.takes_back),
        ..lease.clone()
    }
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
    let (age, ahead) = (Span::between(renewed, now), Span::between(now, renewed));
    if ahead > LASTS {
        return format!(
            "it was last heard of at {renewed:.0}, which is {} from now: the clock of one of the two machines is wrong",
            ahead.rounded()
        );
    }
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
    let before = &on_one_line(before);
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

/// What was freed, or given up, for the person who did it. `gone`: whether no process works on the run for sure.
#[must_use]
pub fn unlocked(cluster: &str, lease: &Lease, gone: bool) -> String {
    let Some(run) = lease.run.as_deref() else {
        let run = lease.last.as_deref().unwrap_or_default();
        return format!("the run `{run}` ({}) is given up: what it wrote stays, and another run may begin on `{cluster}`", who(lease));
    };
    let after = if gone {
        "no process works on it".to_owned()
    } else {
        format!("where a process works on it, it stops within {OPEN_FOR}, and the next run waits for that")
    };
    format!("the lock of `{cluster}` is free; the run `{run}` ({}) does not hold it any more: {after}", who(lease))
}
