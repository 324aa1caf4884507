//! Signals that are no Ctrl-C: a request to terminate, and a terminal that goes away.

use expectrl::Expect as _;
use expectrl::session::OsSession;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::support::{HEAD, Host};
use super::terminal::{ends, start};

/// A step that writes, asks what no plan foresaw, and writes again.
const ASKS: &str = "step \"one\" { title = \"One\", run = function()\n annotate(\"deployment/web\", { one = \"1\" })\n \
                    confirm(\"Go on with web?\")\n annotate(\"deployment/web\", { two = \"2\" })\n end }\n\
                    permissions { { verbs = { \"patch\" }, kinds = { \"deployments\" }, namespaces = { \"shop\" } } }\n";

/// The command at its question.
fn asks(host: &Host) -> OsSession {
    let mut session = start(host, &["run", "r", "--sandbox", "--no-plan", "--yes"]);
    session.expect("Go on with web? [y/N] ").unwrap();
    session
}

fn send(session: &OsSession, signal: Signal) {
    kill(Pid::from_raw(session.get_process().pid().as_raw()), signal).unwrap();
}

#[test]
fn a_request_to_terminate_stops_before_the_next_write() {
    let host = Host::with_runbook(&format!("{HEAD}{ASKS}"));
    let session = asks(&host);
    send(&session, Signal::SIGTERM);
    let said = ends(session, 4);
    assert!(said.contains("asked to terminate") && said.contains("interrupted"), "{said}");
}

#[test]
fn a_terminal_that_goes_away_parks_the_run_at_its_question() {
    let host = Host::with_runbook(&format!("{HEAD}{ASKS}"));
    let session = asks(&host);
    send(&session, Signal::SIGHUP);
    let said = ends(session, 4);
    assert!(said.contains("nobody answered `Go on with web?`"), "{said}");
}
