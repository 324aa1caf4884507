//! `machine.*`: commands on the machines behind nodes.
//!
//! All of them are made of two things: a short command that changes nothing and whose output is read ([`hand`]), and one that changes
//! something, runs detached and is followed to its end ([`task`]). Where the operator works by hand both are asked of him; his word that
//! something is done is not taken for it where a read can tell.

mod down;
mod hand;
mod task;
mod tools;

pub mod available;
pub mod file;
pub mod packages;
pub mod read;
pub mod reboot;
pub mod run;
pub mod service;
pub mod write;

use self::hand::Hand;
use crate::base::json::json;
use crate::base::{Error, Kind, Reason, Result};
use crate::cluster::machines::{Output, line};

/// Refuses a command that is none.
fn words(verb: &str, argv: &[String]) -> Result<()> {
    match argv.first() {
        Some(program) if !program.is_empty() => Ok(()),
        _ => {
            Err(Error::usage(format!("`{verb}`: argument `argv` names no program")).hint("write its words: `{ \"kubeadm\", \"version\" }`"))
        }
    }
}

/// The error of a command that ended badly.
fn failed(hand: &Hand, argv: &[String], output: &Output) -> Error {
    let (node, command) = (&hand.node, line(argv));
    let about = |error: Error| {
        error
            .about(format!("node/{node}"))
            .details(json!({ "code": output.code, "stdout": end(&output.stdout), "stderr": end(&output.stderr) }))
    };
    if output.late {
        let message = format!("`{command}` on `{node}` was ended: its time was over");
        return about(Error::new(Kind::Stuck, Reason::Timeout, message)).hint("give it more with `limit`, if it needs that");
    }
    if output.code == 127 {
        let program = argv.first().map_or("", String::as_str);
        let message = format!("`{command}` on `{node}`: there is no `{program}`");
        return about(Error::new(Kind::Cluster, Reason::CommandMissing, message));
    }
    let error =
        about(Error::new(Kind::Cluster, Reason::CommandFailed, format!("`{command}` on `{node}` ended with exit code {}", output.code)));
    let said = if output.stderr.trim().is_empty() { &output.stdout } else { &output.stderr };
    let lines: Vec<&str> = said.lines().map(str::trim_end).filter(|line| !line.trim().is_empty()).collect();
    lines.iter().skip(lines.len().saturating_sub(5)).fold(error, |error, line| error.cause(*line))
}

/// The end of a long text.
fn end(text: &str) -> &str {
    let from = text.len().saturating_sub(4096);
    let from = (from..=text.len()).find(|place| text.is_char_boundary(*place)).unwrap_or(0);
    text.get(from..).unwrap_or_default()
}

/// What a command gave, for a script.
fn told(output: &Output) -> crate::base::json::Value {
    json!({ "code": output.code, "stdout": output.stdout, "stderr": output.stderr, "truncated": output.truncated })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_text_the_end_is_told() {
        assert_eq!(end("short"), "short");
        let long = format!("{}ä{}", "x".repeat(10), "y".repeat(4095));
        assert_eq!(end(&long), "y".repeat(4095), "no letter is cut");
    }
}
