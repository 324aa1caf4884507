//! The prompt through a terminal of its own, as a person uses it.

mod live;
mod parts;
mod pending;
mod secrets;

use std::process::Command;
use std::time::Duration;

use expectrl::session::OsSession;
use expectrl::{ControlCode, Eof, Expect, Regex, Session};

const PROMPT: &str = "(dry) > ";

struct Terminal {
    session: OsSession,
    home: tempfile::TempDir,
}

impl Terminal {
    fn start() -> Terminal {
        let home = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_lockgate"));
        command.args(["repl", "--sandbox"]).env_clear().env("HOME", home.path()).env("TERM", "xterm").env("NO_COLOR", "1");
        let mut session = Session::spawn(command).unwrap();
        session.set_expect_timeout(Some(Duration::from_secs(60)));
        let mut terminal = Terminal { session, home };
        terminal.sees("dry: calls act on a copy of");
        terminal.sees("sandbox (dry) > ");
        terminal
    }

    fn home(&self) -> &std::path::Path {
        self.home.path()
    }

    fn sees(&mut self, text: &str) {
        if let Err(error) = self.session.expect(text) {
            panic!("`{text}` did not appear: {error}");
        }
    }

    fn types(&mut self, line: &str) {
        self.session.send_line(line).unwrap();
    }

    /// Types a line; its answer and the next prompt follow.
    fn asks(&mut self, line: &str, answer: &str) {
        self.types(line);
        self.sees(answer);
        self.sees(PROMPT);
    }

    fn ends(mut self) {
        self.session.send(ControlCode::EndOfTransmission).unwrap();
        self.session.expect(Eof).unwrap();
    }
}

#[test]
fn values_are_shown_and_names_are_kept() {
    let mut terminal = Terminal::start();
    terminal.asks("x = 40 + 1", "\r\n");
    terminal.asks("x + 1", "42");
    terminal.asks("images(\"deployment/kube-system/cce-eni-ipam\")", "cce-eni-ipam: registry.example/cce-plugin-pro/cce-cni:v1.8.3");
    terminal.asks("list(\"nodes\")", "NAME  STATUS  VERSION  AGE");
    terminal.ends();
}

#[test]
fn an_unfinished_entry_goes_on_in_the_next_line() {
    let mut terminal = Terminal::start();
    terminal.types("for i = 1, 2 do");
    terminal.types("note(`turn {i}`)");
    terminal.types("end");
    terminal.sees("turn 1");
    terminal.sees("turn 2");
    terminal.sees(PROMPT);
    terminal.ends();
}

#[test]
fn a_mistake_is_told_and_the_session_goes_on() {
    let mut terminal = Terminal::start();
    terminal.asks("scal(\"deployment/x\", 1)", "did you mean `scale`?");
    terminal.asks("scale(\"deployment/kube-system/cce-eni-ipam\", 1, { wiat = \"gone\" })", "did you mean `wait`?");
    terminal.asks("1 + 1", "2");
    terminal.ends();
}

#[test]
fn help_is_a_question_mark_away() {
    let mut terminal = Terminal::start();
    terminal.asks("?wait_rollout", "Needs");
    terminal.asks(":help", "end the session");
    terminal.asks(":nope", "there is no command");
    terminal.ends();
}

#[test]
fn tab_completes_verbs_options_and_names() {
    let mut terminal = Terminal::start();
    terminal.session.send("wait_ro\t").unwrap();
    terminal.sees("wait_rollout");
    terminal.session.send("(\"deployment/kube-system/cce\t").unwrap();
    terminal.sees("cce-eni-ipam");
    terminal.session.send("\", { stal\t").unwrap();
    terminal.sees("stall = ");
    terminal.session.send("\"1m\" })\n").unwrap();
    terminal.sees("updated: 2");
    terminal.sees(PROMPT);
    terminal.ends();
}

#[test]
fn ctrl_c_ends_a_call_and_not_the_session() {
    let mut terminal = Terminal::start();
    terminal.types("note(\"begun\") while true do get(\"deployment/kube-system/cce-eni-ipam\") end");
    terminal.session.expect(Regex("begun\r\n")).unwrap();
    terminal.session.send(ControlCode::EndOfText).unwrap();
    terminal.sees("interrupted");
    terminal.sees(PROMPT);
    terminal.asks("6 * 7", "42");
    terminal.ends();
}

#[test]
fn a_local_ends_with_its_line() {
    let mut terminal = Terminal::start();
    terminal.asks("local y = 3", "\r\n");
    terminal.asks("y", "a name that stays is set without it: `y = …`");
    terminal.ends();
}

#[test]
fn a_wait_inside_a_write_is_told_after_it() {
    let mut terminal = Terminal::start();
    terminal.types(":ns kube-system");
    terminal.sees("sandbox/kube-system (dry) > ");
    terminal.types("scale(\"deployment/cce-eni-ipam\", 0, { wait = \"gone\" })");
    terminal.sees("replicas  2 -> 0");
    terminal.sees("wait     ");
    terminal.sees(PROMPT);
    terminal.ends();
}

#[test]
fn lines_from_a_pipe_end_with_1_when_one_failed() {
    for (lines, code) in
        [("1 + 1\n", 0), ("y\n", 1), ("get(\"deployment/none\")\n1 + 1\n", 1), (":nope\n:quit\n", 1), ("for i = 1, 2 do\n", 1)]
    {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("lines"), lines).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_lockgate"));
        command.args(["repl", "--sandbox"]).env_clear().env("HOME", home.path());
        let output = command.stdin(std::fs::File::open(home.path().join("lines")).unwrap()).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{lines}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn writes_stay_on_the_copy_and_the_next_line_sees_them() {
    let mut terminal = Terminal::start();
    terminal.types(":ns kube-system");
    terminal.sees("sandbox/kube-system (dry) > ");
    terminal.asks("scale(\"deployment/cce-eni-ipam\", 1, { wait = \"gone\" })", "replicas  2 -> 1");
    terminal.asks("`now {get(\"deployment/cce-eni-ipam\").status.readyReplicas}`", "now 1\r\n");
    terminal.ends();
}
