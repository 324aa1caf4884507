//! What the benchmarks must reach: what is missed is said at the end, and the benchmark fails.

use std::time::Duration;

/// The figures that were missed.
#[derive(Default)]
pub(crate) struct Missed(Vec<String>);

impl Missed {
    /// A time that is too long.
    pub(crate) fn within(&mut self, name: &str, is: Duration, allowed: Duration) {
        if is > allowed {
            self.0.push(format!("{name}: {is:?} is more than {allowed:?}"));
        }
    }

    /// Anything else that is not as wanted; `figure` says what it is.
    #[allow(dead_code, reason = "not every benchmark counts")]
    pub(crate) fn unless(&mut self, holds: bool, figure: impl Into<String>) {
        if !holds {
            self.0.push(figure.into());
        }
    }

    /// Fails when something was missed.
    pub(crate) fn end(self) {
        assert!(self.0.is_empty(), "missed:\n  {}", self.0.join("\n  "));
    }
}
