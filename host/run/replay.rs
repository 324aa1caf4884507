//! The calls of `run` that are over, for a `recover` that answers `"again"`: they are not made twice.

use std::cell::{Cell, RefCell};

use super::script::Call;
use crate::base::{Error, Kind, Reason, Result};
use crate::primitives::Done;

/// The calls of the present step's `run`, in order, with what they gave.
#[derive(Default)]
pub(super) struct Replay {
    finished: RefCell<Vec<(Call, Result<Done>)>>,
    /// Where in `finished` a second attempt is; `None` in a first one.
    at: Cell<Option<usize>>,
}

impl Replay {
    /// Another step begins.
    pub(super) fn clear(&self) {
        self.finished.borrow_mut().clear();
        self.at.set(None);
    }

    /// A call is over.
    pub(super) fn keep(&self, call: &Call, result: &Result<Done>) {
        self.finished.borrow_mut().push((call.clone(), result.clone()));
    }

    /// `run` is entered again: calls that are over give their recorded results, the one that failed is made anew.
    pub(super) fn begin_again(&self) {
        let mut finished = self.finished.borrow_mut();
        if finished.last().is_some_and(|(_, result)| result.is_err()) {
            finished.pop();
        }
        self.at.set(Some(0));
    }

    /// The recorded result of this call, in a second attempt.
    ///
    /// # Errors
    /// When the first attempt made another call here.
    pub(super) fn recorded(&self, call: &Call) -> Result<Option<Result<Done>>> {
        let Some(place) = self.at.get() else { return Ok(None) };
        let finished = self.finished.borrow();
        let Some((before, result)) = finished.get(place) else {
            self.at.set(None);
            return Ok(None);
        };
        if !before.same(call) {
            let error = Error::new(
                Kind::Runbook,
                Reason::Precondition,
                format!("`run` was entered again and calls `{}`, but its first attempt called `{}` here", call.verb, before.verb),
            );
            return Err(error.hint("what `run` does up to the failed call must depend only on parameters, `state` and what it reads"));
        }
        self.at.set(Some(place + 1));
        Ok(Some(result.clone()))
    }
}
