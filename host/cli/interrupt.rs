//! Ctrl-C: a thread that listens and presses the switch. The first press stops the run before its next write; the second gives
//! up on answers that are still awaited.

use crate::base::{Error, Result};
use crate::cluster::{Cancel, Stage};
use crate::report::screen::aside;

/// Listens from now on.
///
/// # Errors
/// When there can be no thread or no listener.
pub(super) fn listen(cancel: &Cancel) -> Result<()> {
    let cannot = |error: std::io::Error| Error::internal("listening for Ctrl-C").cause(error.to_string());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(cannot)?;
    // Registered here, so that no Ctrl-C after this call is lost.
    let mut signals = {
        let _inside = runtime.enter();
        tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt()).map_err(cannot)?
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
