//! What unit tests of this folder share.

use std::sync::{Arc, Mutex};

use crate::base::clock::{Advance, TimeSource};
use crate::base::{Clock, Timestamp};

/// A time in which nothing happens by itself.
struct Quiet(Mutex<Timestamp>);

impl TimeSource for Quiet {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }

    fn next_event_at(&self) -> Option<Timestamp> {
        None
    }

    fn advance_to(&self, to: Timestamp) -> Advance {
        *self.0.lock().unwrap() = to;
        Box::pin(std::future::ready(Ok(())))
    }
}

/// A virtual clock that moves from deadline to deadline.
pub(super) fn quiet(start: Timestamp) -> Clock {
    Clock::virtual_time(Arc::new(Quiet(Mutex::new(start))))
}
