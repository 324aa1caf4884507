//! Signals: a thread that listens and presses the switch of a run (`reference/safety.md` §2.7).
//!
//! Ctrl-C stops the run before its next write; the second gives up on answers that are still awaited. A request to terminate is the first,
//! and after 25 s the second: who sends it kills 30 s later, as a rule. A terminal that goes away stops nothing: the run goes on
//! into its journal, until it has a question that nobody can be asked; there it parks.

use std::sync::{LazyLock, Mutex, PoisonError};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::base::{Clock, Error, Result, Span};
use crate::cluster::{Cancel, Stage};
use crate::report::screen::aside;

/// How long a run that is to terminate waits for answers.
const TERMINATES_IN: Span = Span::from_secs(25);

/// Whether the terminal has gone away. There is one for the whole process, as there is one set of signals.
static HUNG_UP: LazyLock<watch::Sender<bool>> = LazyLock::new(|| watch::Sender::new(false));

/// The signals that came, with what followed from each, for the journal.
static CAME: Mutex<Vec<&str>> = Mutex::new(Vec::new());

/// What came since the last call of this function.
pub(super) fn came() -> Vec<&'static str> {
    std::mem::take(&mut *CAME.lock().unwrap_or_else(PoisonError::into_inner))
}

fn note(what: &'static str) {
    CAME.lock().unwrap_or_else(PoisonError::into_inner).push(what);
}

/// Ctrl-C.
fn pressed(cancel: &Cancel) {
    if cancel.press() == Stage::Abandoned {
        note("SIGINT again: answers are given up");
        aside("interrupted again: giving up on answers; the outcome of a write that was sent is unknown");
    } else {
        note("SIGINT: stops before the next write");
        aside("interrupted: stopping before the next write; press again to stop waiting for answers");
    }
}

/// Listens from now on.
///
/// # Errors
/// When there can be no thread or no listener.
pub(super) fn listen(cancel: &Cancel) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(cannot)?;
    // Registered here, so that no signal after this call is lost.
    let (mut interrupt, mut terminate, mut hangup) = {
        let _inside = runtime.enter();
        let on = |kind| signal(kind).map_err(cannot);
        (on(SignalKind::interrupt())?, on(SignalKind::terminate())?, on(SignalKind::hangup())?)
    };
    let cancel = cancel.clone();
    let listener = move || {
        runtime.block_on(async {
            let clock = Clock::real();
            let mut ends_at = None;
            loop {
                tokio::select! {
                    biased;
                    Some(()) = interrupt.recv() => pressed(&cancel),
                    Some(()) = terminate.recv() => {
                        if !cancel.is_pressed() {
                            cancel.press();
                        }
                        ends_at.get_or_insert_with(|| TERMINATES_IN.after(clock.now()));
                        note("SIGTERM: stops before the next write, gives up answers in 25s");
                        aside("asked to terminate: stopping before the next write; in 25s answers are given up");
                    }
                    Some(()) = hangup.recv() => {
                        note("SIGHUP: the terminal is gone; the run goes on to its next question");
                        HUNG_UP.send_replace(true);
                    }
                    _ = clock.park(ends_at) => {
                        ends_at = None;
                        cancel.press();
                    }
                    else => return,
                }
            }
        });
    };
    std::thread::Builder::new().name("interrupt".to_owned()).spawn(listener).map(|_| ()).map_err(cannot)
}

/// Whether the terminal has gone away.
pub(super) fn is_hung_up() -> bool {
    *HUNG_UP.borrow()
}

/// Comes when the terminal goes away.
pub(super) async fn hung_up() {
    // The sender lives as long as the process.
    if HUNG_UP.subscribe().wait_for(|gone| *gone).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Comes when this process is to end: Ctrl-C, a request to terminate, a terminal that went away. Listens from the call on, which
/// is made inside a runtime.
///
/// # Errors
/// When there can be no listener.
pub(super) fn end() -> Result<impl Future<Output = ()>> {
    let on = |kind| signal(kind).map_err(cannot);
    let (mut interrupt, mut terminate) = (on(SignalKind::interrupt())?, on(SignalKind::terminate())?);
    let mut hangup = on(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    })
}

fn cannot(error: std::io::Error) -> Error {
    Error::internal("listening for signals").cause(error.to_string())
}
