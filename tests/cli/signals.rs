//! Signals that are no Ctrl-C: a request to terminate, and a terminal that goes away.

use std::time::Duration;

use expectrl::process::unix::WaitStatus;
use expectrl::session::OsSession;
use expectrl::{Eof, Expect as _};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::support::{HEAD, Host};

/// A step that writes, asks what no plan foresaw, and writes again.
const ASKS: &str = "step \"one\" { title = \"One\", run = function()\n annotate(\"deployment/web\", { one = \"1\" })\n \
                    confirm(\"Go on with web?\")\n annotate(\"deployment/web\", { two = \"2\" })\n end }\n\
                    permissions { { verbs = { \"patch\" }, kinds = { \"deployments\" }, namespaces = { \"shop\" } } }\n";

/// The command at its question.
fn asks(host: &Host) -> OsSession {
    let mut command = host.command(&["run", "r", "--sandbox", "--no-plan", "--yes"]);
    command.env("TERM", "xterm").stdin(std::process::Stdio::inherit());
    let mut session = OsSession::spawn(command).unwrap();
    session.set_expect_timeout(Some(Duration::from_secs(30)));
    session.expect("Go on with web? [y/N] ").unwrap();
    session
}

fn send(session: &OsSession, signal: Signal) {
    kill(Pid::from_raw(session.get_process().pid().as_raw()), signal).unwrap();
}

#[track_caller]
fn ends(mut session: OsSession, code: i32) -> String {
    let rest = session.expect(Eof).map(|found| String::from_utf8_lossy(found.as_bytes()).into_owned()).unwrap_or_default();
    match session.get_process().wait().unwrap() {
        WaitStatus::Exited(_, actual) => assert_eq!(actual, code, "{rest}"),
        other => panic!("{other:?}: {rest}"),
    }
    rest
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
