//! Stopping a run from outside: the first request stops it before its next write, the second stops waiting for answers too.

use std::sync::Arc;

use tokio::sync::watch;

use crate::base::{Error, Kind, Reason, Result};

/// How far a stop has gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Nobody asked to stop.
    #[default]
    Running,
    /// Stop before the next write; waits and reads end, a write that was sent is waited for.
    Stopping,
    /// Stop waiting for writes that were sent too: their outcome is unknown.
    Abandoned,
}

/// The switch that stops a run. Clones are the same switch; it may be pressed from any thread.
#[derive(Clone, Debug)]
pub struct Cancel(Arc<watch::Sender<Stage>>);

impl Default for Cancel {
    fn default() -> Self {
        Cancel(Arc::new(watch::Sender::new(Stage::Running)))
    }
}

impl Cancel {
    /// A switch that nobody has pressed.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks to stop, as Ctrl-C does; the second time gives up on answers. Gives the stage that was reached.
    pub fn press(&self) -> Stage {
        self.0.send_modify(|stage| {
            *stage = match stage {
                Stage::Running => Stage::Stopping,
                Stage::Stopping | Stage::Abandoned => Stage::Abandoned,
            };
        });
        self.stage()
    }

    /// Takes the request back, for a session that goes on after a cancelled call.
    pub fn reset(&self) {
        self.0.send_replace(Stage::Running);
    }

    /// How far it has gone.
    #[must_use]
    pub fn stage(&self) -> Stage {
        *self.0.borrow()
    }

    /// Whether somebody asked to stop.
    #[must_use]
    pub fn is_pressed(&self) -> bool {
        self.stage() != Stage::Running
    }

    /// The error of a call that was stopped.
    #[must_use]
    pub fn error() -> Error {
        Error::new(Kind::Cancelled, Reason::Interrupted, "interrupted")
    }

    /// Goes on unless somebody asked to stop.
    ///
    /// # Errors
    /// [`Cancel::error`].
    pub fn check(&self) -> Result<()> {
        if self.is_pressed() { Err(Self::error()) } else { Ok(()) }
    }

    /// Ends when this stage is reached.
    pub async fn reached(&self, stage: Stage) {
        let mut receiver = self.0.subscribe();
        // The sender lives as long as `self`, so that the only end is the stage.
        if receiver.wait_for(|now| *now >= stage).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_presses_two_stages_and_a_way_back() {
        let cancel = Cancel::new();
        assert!(cancel.check().is_ok());
        assert_eq!(cancel.clone().press(), Stage::Stopping);
        assert!(cancel.check().unwrap_err().is_stop());
        assert_eq!(cancel.press(), Stage::Abandoned);
        assert_eq!(cancel.press(), Stage::Abandoned);
        cancel.reset();
        assert_eq!(cancel.stage(), Stage::Running);
    }

    #[test]
    fn waiting_ends_with_the_stage_also_from_another_thread() {
        let cancel = Cancel::new();
        let other = cancel.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut wait = Box::pin(cancel.reached(Stage::Abandoned));
            assert!(futures::poll!(&mut wait).is_pending());
            other.press();
            assert!(futures::poll!(&mut wait).is_pending());
            let thread = std::thread::spawn(move || other.press());
            wait.await;
            assert_eq!(thread.join().unwrap(), Stage::Abandoned);
        });
    }
}
