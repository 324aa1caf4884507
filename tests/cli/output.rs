//! Outputs that end early or are full.

use std::fs::OpenOptions;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use super::support::{Host, MOVE};

const PLAN: &[&str] = &["plan", "r", "image=registry.example/web:v1.2.4", "--sandbox"];

#[test]
fn a_reader_that_goes_away_ends_the_output_quietly() {
    let host = Host::with_runbook(MOVE);
    for words in [&["list"][..], &["types"], PLAN] {
        let mut child = host.command(words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut first = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(!first.is_empty());
        assert_eq!(output.status.code(), Some(0), "{words:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{words:?}");
    }
}

#[test]
fn a_closed_output_is_no_reason_to_fail() {
    let host = Host::new();
    // The reader is gone before the first line.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = host.command(&["list"]).stdout(writer).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn a_full_disk_is_told() {
    let Ok(full) = OpenOptions::new().write(true).open("/dev/full") else { return };
    let host = Host::with_runbook(MOVE);
    for words in [&["list"][..], PLAN] {
        let output = host.command(words).stdout(full.try_clone().unwrap()).stderr(Stdio::piped()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("error: writing to standard output") && said.contains("no space left on device"), "{said}");
    }
}

#[test]
fn a_plan_that_cannot_be_shown_is_not_run() {
    let Ok(full) = OpenOptions::new().write(true).open("/dev/full") else { return };
    let host = Host::with_runbook(MOVE);
    let words = ["run", "r", "image=registry.example/web:v1.2.4", "--sandbox", "--yes"];
    let output = host.command(&words).stdout(full).stderr(Stdio::piped()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("it was not run: nothing was written"), "{said}");
}

#[test]
fn there_is_no_colour_without_a_terminal() {
    let said = Host::with_runbook(MOVE).env("TERM", "xterm-256color").run(PLAN).exits(0);
    assert!(!said.stdout.contains('\u{1b}') && !said.stderr.contains('\u{1b}'), "{}", said.transcript());
}
