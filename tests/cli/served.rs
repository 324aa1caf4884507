//! A simulated cluster behind a socket: to the command it is a live one.

use std::time::Duration;

use expectrl::session::OsSession;
use expectrl::{ControlCode, Eof, Expect as _};

use super::support::Host;

/// `lockgate sandbox` on a terminal of its own, until it is dropped.
pub(super) struct Served {
    session: OsSession,
    kubeconfig: String,
}

impl Served {
    /// Serves the cluster that these words of `lockgate sandbox` name.
    pub(super) fn start(host: &Host, words: &[&str]) -> Served {
        let mut all = vec!["sandbox"];
        all.extend(words);
        let mut command = host.command(&all);
        command.env("TERM", "xterm").env("TMPDIR", host.path()).stdin(std::process::Stdio::inherit());
        let mut session = OsSession::spawn(command).unwrap();
        session.set_expect_timeout(Some(Duration::from_secs(30)));
        session.expect("export KUBECONFIG=").unwrap();
        let found = session.expect(".kubeconfig").unwrap();
        let kubeconfig = format!("{}.kubeconfig", String::from_utf8_lossy(found.before()));
        session.expect("Ctrl-C; nothing is kept").unwrap();
        Served { session, kubeconfig }
    }

    /// The way to it.
    pub(super) fn kubeconfig(&self) -> &str {
        &self.kubeconfig
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // Whoever is gone already needs no word.
        let ended = self.session.send(ControlCode::EndOfText).is_ok() && self.session.expect(Eof).is_ok();
        if !ended {
            self.session.get_process_mut().exit(true).ok();
        }
    }
}
