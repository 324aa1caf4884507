//! Signals that are no Ctrl-C: a request to terminate, and a terminal that goes away; and a reader who goes away in the middle of a run.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};

use expectrl::Expect as _;
use expectrl::session::OsSession;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::served::Served;
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

/// A step that writes, waits for somebody, and writes again, on a cluster that is served; the command once it has written, and its first lines.
fn waits(served: &Served, host: &Host) -> (Child, BufReader<std::process::ChildStdout>) {
    let words = ["run", "r", "--kubeconfig", served.kubeconfig(), "--no-plan", "--yes"];
    let mut child = host.command(&words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("deployment/web") {
        line.clear();
        assert_ne!(out.read_line(&mut line).unwrap(), 0, "it ended before it wrote");
    }
    (child, out)
}

/// It goes on when the deployment has settled at one pod.
const WAITS: &str = "permissions { { verbs = { \"patch\" }, kinds = { \"deployments\" }, namespaces = { \"shop\" } } }\n\
                     step \"one\" { title = \"One\", run = function()\n scale(\"deployment/web\", 1)\n wait_rollout(\"deployment/web\", { stable = \"2s\" })\n \
                     annotate(\"deployment/web\", { two = \"2\" })\n end }\n";

fn ended(host: &Host, child: Child, code: i32) {
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(code), "{}", String::from_utf8_lossy(&output.stderr));
    let report = host.run(&["report", "last"]).exits(0);
    assert!(report.stdout.contains("state      done") && report.stdout.contains("2 writes"), "{}", report.transcript());
}

#[test]
fn a_terminal_that_goes_away_in_the_middle_of_a_wait_ends_nothing() {
    let host = Host::with_runbook(&format!("{HEAD}{WAITS}"));
    let served = Served::start(&host, &["r"]);
    let (child, out) = waits(&served, &host);
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGHUP).unwrap();
    // Its terminal is gone with everything that it read.
    drop(out);
    ended(&host, child, 0);
}

#[test]
fn a_reader_that_goes_away_in_the_middle_of_a_run_ends_nothing() {
    let host = Host::with_runbook(&format!("{HEAD}{WAITS}"));
    let served = Served::start(&host, &["r"]);
    let (child, out) = waits(&served, &host);
    drop(out);
    ended(&host, child, 0);
}
