//! Answers of services in this process, handed over beside their text.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::base::json::Value as Json;

/// An answer whose JSON is at hand: in-process services put it into the response's extensions, which saves writing and
/// parsing the text. Its body still gives the text to whoever reads it.
#[derive(Clone, Debug)]
pub(crate) struct AtHand(pub(crate) Arc<Json>);

/// The events of a watch that is answered in this process: who takes them from here finds an empty line in the body where each
/// would have stood. Until somebody does, the body has the whole text.
#[derive(Clone, Debug, Default)]
pub(crate) struct EventsAtHand(Arc<Mutex<Option<VecDeque<Json>>>>);

impl EventsAtHand {
    fn queue(&self) -> MutexGuard<'_, Option<VecDeque<Json>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on events come this way.
    pub(crate) fn take_over(&self) {
        self.queue().get_or_insert_default();
    }

    /// The next event.
    pub(crate) fn next(&self) -> Option<Json> {
        self.queue().as_mut()?.pop_front()
    }

    /// Hands an event over; gives it back when nobody takes them here.
    pub(crate) fn offer(&self, event: Json) -> Option<Json> {
        match self.queue().as_mut() {
            Some(queue) => {
                queue.push_back(event);
                None
            }
            None => Some(event),
        }
    }
}
