//! `:live on`: what is typed acts on the cluster itself, as a run that is recorded, locked and can be taken back.

use std::path::Path;
use std::process::Command;

use expectrl::ControlCode;
use expectrl::Expect as _;

use super::Terminal;

/// Runs the binary beside a session: on its runs.
fn beside(home: &Path, words: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lockgate"));
    let output = command.args(words).env_clear().env("HOME", home).stdin(std::process::Stdio::null()).output().unwrap();
    (output.status.code(), format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)))
}

impl Terminal {
    /// Says yes to `:live on`.
    fn goes_live(&mut self) {
        self.types(":live on");
        self.sees("itself, as soon as they are typed? [y/N] ");
        self.types("y");
        self.sees("live: run ");
        self.sees("(LIVE) > ");
    }
}

const WEB: &str = "deployment/cce-eni-ipam";

#[test]
fn what_is_typed_is_recorded_and_taken_back() {
    let mut terminal = Terminal::start();
    terminal.types(":ns kube-system");
    terminal.sees("sandbox/kube-system (dry) > ");
    // What was tried on the copy stays there.
    terminal.asks(&format!("scale(\"{WEB}\", 1, {{ wait = \"gone\" }})"), "replicas  2 -> 1");
    terminal.goes_live();
    terminal.types(&format!("`live {{get(\"{WEB}\").spec.replicas}}`"));
    terminal.sees("live 2\r\n");
    terminal.sees("(LIVE) > ");
    terminal.types(&format!("annotate(\"{WEB}\", {{ typed = \"yes\" }})"));
    terminal.sees("metadata.annotations.typed  added yes");
    terminal.sees("(LIVE) > ");
    terminal.types("get(\"deployment/none\")");
    terminal.sees("no such object");
    terminal.sees("(LIVE) > ");
    terminal.types(":live off");
    terminal.sees("is over, 1 write to 1 object");
    terminal.sees("(dry) > ");
    // The new copy is of the cluster as it is now.
    terminal.asks(&format!("get(\"{WEB}\").metadata.annotations.typed"), "yes");
    let home = terminal.home().to_path_buf();
    let (code, said) = beside(&home, &["status", "last"]);
    assert!(code == Some(0) && said.contains("prompt: Lines typed at the prompt") && said.contains("1 write"), "{said}");
    let (code, said) = beside(&home, &["resume", "last"]);
    assert!(code == Some(5) && said.contains("was typed at the prompt") || code == Some(0) && said.contains("is over"), "{said}");
    let (code, said) = beside(&home, &["rollback", "last", "--yes"]);
    assert!(code == Some(0) && said.contains("metadata.annotations.typed"), "{code:?} {said}");
    terminal.ends();
}

#[test]
fn no_is_no_and_leaving_gives_the_lock_back() {
    let mut terminal = Terminal::start();
    terminal.types(":live on");
    terminal.sees("[y/N] ");
    terminal.types("");
    terminal.sees("not accepted: calls act on a copy");
    terminal.sees("(dry) > ");
    terminal.asks(":live off", "calls act on a copy already");
    terminal.goes_live();
    // A question of a line is asked here; Ctrl-C at it ends the line.
    terminal.types("confirm(\"Really?\") note(\"said yes\")");
    terminal.sees("Really? [y/N] ");
    terminal.types("y");
    terminal.sees("said yes");
    terminal.sees("(LIVE) > ");
    terminal.types("confirm(\"And now?\")");
    terminal.sees("And now? [y/N] ");
    terminal.session.send(ControlCode::EndOfText).unwrap();
    terminal.sees("interrupted");
    terminal.sees("(LIVE) > ");
    terminal.types("1 + 1");
    terminal.sees("2\r\n");
    terminal.sees("(LIVE) > ");
    let home = terminal.home().to_path_buf();
    terminal.session.send(ControlCode::EndOfTransmission).unwrap();
    terminal.sees("is over, nothing was written");
    terminal.session.expect(expectrl::Eof).unwrap();
    let journal = std::fs::read_dir(home.join(".local/state/lockgate/runs")).unwrap();
    let runs = journal.map(|run| run.unwrap().path()).filter(|run| run.is_dir());
    let lines: String = runs.map(|run| std::fs::read_to_string(run.join("journal.jsonl")).unwrap()).collect();
    assert!(lines.contains("given back"), "{lines}");
}

#[test]
fn lines_from_a_pipe_go_live_on_a_sandbox_only() {
    let home = tempfile::tempdir().unwrap();
    // A sandbox needs no word, as for a run.
    std::fs::write(home.path().join("lines"), ":live on\nannotate(\"deployment/kube-system/cce-eni-ipam\", { a = \"b\" })\n").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_lockgate"));
    command.args(["repl", "--sandbox"]).env_clear().env("HOME", home.path());
    let output = command.stdin(std::fs::File::open(home.path().join("lines")).unwrap()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(0) && said.contains("is over, 1 write to 1 object"), "{said}");
}
