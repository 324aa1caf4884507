//! The two ends that every wait has: the whole time allowed, and the time allowed without progress.

use super::cx::Cx;
use crate::base::{Reason, Result, Span, Timestamp};
use crate::cluster::Following;

/// The default of `stall`.
const STALL: Span = Span::from_secs(180);

/// One wait.
pub(super) struct Pace {
    what: String,
    since: Timestamp,
    timeout: Span,
    stall: Span,
    moved: Timestamp,
    shown: Option<String>,
}

/// How a wait ended without what it waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// It was to look only once.
    Once,
    /// The whole time is over.
    Timeout,
    /// Nothing moved for too long.
    Stall,
}

impl Ended {
    /// The reason of the error.
    pub(super) fn reason(self) -> Reason {
        if self == Ended::Stall { Reason::Stalled } else { Reason::Timeout }
    }
}

impl Pace {
    /// Begins now. `what` is how progress names it: `rollout of deployment/web`.
    pub(super) fn begin(cx: &Cx, what: String, timeout: Span, stall: Option<Span>) -> Pace {
        let since = cx.now();
        Pace { what, since, timeout, stall: stall.unwrap_or(STALL), moved: since, shown: None }
    }

    /// When it began.
    pub(super) fn since(&self) -> Timestamp {
        self.since
    }

    /// How long it has taken.
    pub(super) fn took(&self, now: Timestamp) -> Span {
        Span::between(self.since, now)
    }

    /// Something moved.
    pub(super) fn moved(&mut self, now: Timestamp) {
        self.moved = now;
    }

    /// Shows the state when it is another than the one shown last.
    pub(super) fn show(&mut self, cx: &Cx, state: &str) {
        if self.shown.as_deref() != Some(state) {
            cx.waiting(&self.what, state, self.since);
            self.shown = Some(state.to_owned());
        }
    }

    /// Shows the end, when waiting was shown at all.
    pub(super) fn done(&self, cx: &Cx, state: &str) {
        if self.shown.is_some() {
            cx.waited(&self.what, state, self.since);
        }
    }

    /// Whether it is to end now. Until `patience` standing still is normal.
    pub(super) fn ended(&self, now: Timestamp, patience: Option<Timestamp>) -> Option<Ended> {
        if self.timeout.is_zero() {
            Some(Ended::Once)
        } else if now >= self.timeout.after(self.since) {
            Some(Ended::Timeout)
        } else if now >= self.stalls_at(patience) {
            Some(Ended::Stall)
        } else {
            None
        }
    }

    /// When to look again at the latest.
    pub(super) fn until(&self, patience: Option<Timestamp>) -> Timestamp {
        self.timeout.after(self.since).min(self.stalls_at(patience))
    }

    /// In words: what did not come, and why the wait ended. `subject` is a sentence's subject: `` rollout of `x` ``.
    pub(super) fn says(&self, ended: Ended, subject: &str) -> String {
        match ended {
            Ended::Once => format!("{subject} is not finished"),
            Ended::Timeout => format!("{subject} did not finish within {}", self.timeout),
            Ended::Stall => format!("{subject} made no progress for {}", self.stall),
        }
    }

    fn stalls_at(&self, patience: Option<Timestamp>) -> Timestamp {
        self.stall.after(patience.map_or(self.moved, |until| until.max(self.moved)))
    }
}

/// Waits for a change of what is followed, and says so when the server cannot be heard.
pub(super) async fn next(cx: &Cx, pace: &mut Pace, following: &mut Following, until: Timestamp) -> Result<()> {
    following.changed(Some(until)).await?;
    if let Some(trouble) = following.trouble() {
        pace.show(cx, &format!("the server cannot be heard: {trouble}"));
    }
    Ok(())
}
