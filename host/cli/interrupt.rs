//! Ctrl-C: a thread that listens and presses the switch. The first press stops the run before its next write; the second gives
//! up on answers that are still awaited.

use tokio::signal::unix::{SignalKind, signal};

use crate::base::{Error, Result};
use crate::cluster::{Cancel, Stage};
use crate::report::screen::aside;

/// Listens from now on.
///
/// # Errors
/// When there can be no thread or no listener.
pub(super) fn listen(cancel: &Cancel) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(cannot)?;
    // Registered here, so that no Ctrl-C after this call is lost.
    let mut signals = {
        let _inside = runtime.enter();
        signal(SignalKind::interrupt()).map_err(cannot)?
    };
    let cancel = cancel.clone();
    let listener = move || {
        runtime.block_on(async {
            while signals.recv().await.is_some() {
                aside(match cancel.press() {
                    Stage::Abandoned => "interrupted again: giving up on answers; the outcome of a write that was sent is unknown",
                    _ => "interrupted: stopping before the next write; press again to stop waiting for answers",
                });
            }
        });
    };
    std::thread::Builder::new().name("interrupt".to_owned()).spawn(listener).map(|_| ()).map_err(cannot)
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
    Error::internal("listening for Ctrl-C").cause(error.to_string())
}
