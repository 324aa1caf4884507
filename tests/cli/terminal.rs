//! The command on a terminal: questions, colour, Ctrl-C.

use std::time::Duration;

use expectrl::process::unix::WaitStatus;
use expectrl::session::OsSession;
use expectrl::{ControlCode, Eof, Expect as _};

use super::support::{HEAD, Host, MOVE};

const RUN: &[&str] = &["run", "r", "image=registry.example/web:v1.2.4", "--sandbox"];

/// The command on a terminal of its own.
pub(super) fn start(host: &Host, words: &[&str]) -> OsSession {
    let mut command = host.command(words);
    command.env("TERM", "xterm");
    // The terminal takes the place of the streams that `command` has set.
    command.stdin(std::process::Stdio::inherit());
    let mut session = OsSession::spawn(command).unwrap();
    session.set_expect_timeout(Some(Duration::from_secs(30)));
    session
}

#[track_caller]
pub(super) fn ends(mut session: OsSession, code: i32) -> String {
    let rest = session.expect(Eof).map(|found| String::from_utf8_lossy(found.as_bytes()).into_owned()).unwrap_or_default();
    match session.get_process().wait().unwrap() {
        WaitStatus::Exited(_, actual) => assert_eq!(actual, code, "{rest}"),
        other => panic!("{other:?}: {rest}"),
    }
    rest
}

#[test]
fn the_plan_is_asked_about() {
    let host = Host::with_runbook(MOVE);
    let mut session = start(&host, RUN);
    session.expect("would succeed").unwrap();
    session.expect("Run this on `sandbox`? [y/N] ").unwrap();
    session.send_line("maybe").unwrap();
    session.expect("`maybe` is neither yes nor no").unwrap();
    session.send_line("y").unwrap();
    session.expect("done").unwrap();
    ends(session, 0);
}

#[test]
fn no_writes_nothing() {
    let host = Host::with_runbook(MOVE);
    let mut session = start(&host, RUN);
    session.expect("[y/N] ").unwrap();
    session.send_line("").unwrap();
    session.expect("nothing was written").unwrap();
    ends(session, 4);
}

#[test]
fn ctrl_d_at_a_question_is_no() {
    let host = Host::with_runbook(MOVE);
    let mut session = start(&host, RUN);
    session.expect("[y/N] ").unwrap();
    session.send(ControlCode::EndOfTransmission).unwrap();
    let said = ends(session, 4);
    assert!(said.contains("nothing was written") && !said.contains("no terminal"), "{said}");
}

#[test]
fn ctrl_c_at_a_question_ends_the_run() {
    let host = Host::with_runbook(MOVE);
    let mut session = start(&host, RUN);
    session.expect("[y/N] ").unwrap();
    session.send(ControlCode::EndOfText).unwrap();
    let said = ends(session, 4);
    assert!(said.contains("interrupted"), "{said}");
}

#[test]
fn without_a_plan_every_question_is_asked() {
    let host = Host::with_runbook(&format!(
        "{HEAD}step \"down\" {{ title = \"Down\", run = function()\n confirm(\"Scale web to 0?\")\n \
         local n = ask(\"To how many?\", {{ choices = {{ \"0\", \"1\" }}, default = \"1\" }})\n scale(\"deployment/web\", tonumber(n))\n end }}\n"
    ));
    let mut session = start(&host, &["run", "r", "--sandbox", "--no-plan"]);
    session.expect("without a plan? [y/N] ").unwrap();
    session.send_line("yes").unwrap();
    session.expect("Scale web to 0? [y/N] ").unwrap();
    session.send_line("y").unwrap();
    session.expect("To how many? (0, 1) [1] ").unwrap();
    session.send_line("7").unwrap();
    session.expect("`7` is none of the choices").unwrap();
    session.send_line("").unwrap();
    session.expect("nothing grants it: there is no accepted plan").unwrap();
    session.expect("names = { \"web\" } }` for this run? [y/N] ").unwrap();
    session.send_line("y").unwrap();
    session.expect("2 -> 1").unwrap();
    ends(session, 0);

    let mut session = start(&host, &["run", "r", "--sandbox", "--no-plan", "--yes"]);
    session.expect("Scale web to 0? [y/N] ").unwrap();
    session.send_line("n").unwrap();
    session.expect("goes on with it").unwrap();
    ends(session, 4);
}

#[test]
fn colour_is_for_terminals_that_want_it() {
    let host = Host::with_runbook(MOVE);
    let said = ends(start(&host, &["plan", "r", RUN[2], "--sandbox"]), 0);
    assert!(said.contains("\u{1b}[32mwould succeed"), "{said}");
    let host = host.env("NO_COLOR", "1");
    let said = ends(start(&host, &["plan", "r", RUN[2], "--sandbox"]), 0);
    assert!(said.contains("would succeed") && !said.contains('\u{1b}'), "{said}");
}

#[test]
fn ctrl_c_stops_a_script_that_does_not_end() {
    let host = Host::with_runbook(&format!(
        "{HEAD}step \"a\" {{ title = \"A\", run = function()\n note(\"begins\")\n local n = 0\n while true do\n n += 1\n pcall(get, \"configmap/c\" .. n)\n end\n end }}\n"
    ));
    let mut session = start(&host, &["plan", "r", "--sandbox"]);
    session.expect("begins").unwrap();
    session.send(ControlCode::EndOfText).unwrap();
    let said = ends(session, 4);
    assert!(said.contains("before any write; nothing was cleaned up"), "{said}");
}
