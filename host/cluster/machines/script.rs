//! The scripts that are sent to a machine, and what they answer.
//!
//! A script is read by `/bin/sh -s` from its standard input, so that no login shell touches the words of a command, whatever shell
//! that is. It is one function that is called in its last line: what arrives only in part does nothing. Its answer stands between
//! two lines with the name of the operation; outputs are in base64. An answer without its last line is none.

use lockgate_sim::base64;

use super::quote::{line, quoted};
use super::{Command, File, Operation, OperationId, Output, Progress};
use crate::base::Span;

/// How much of each output is brought over.
const KEPT: usize = 1 << 20;

/// A script for a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Script {
    /// Its text.
    pub(super) text: String,
    /// The name in its answer.
    pub(super) id: String,
    /// Whether it runs as root.
    pub(super) sudo: bool,
    /// Whether it changes nothing, so that Ctrl-C may end it at once.
    pub(super) reads: bool,
    /// The seconds after which its command is ended.
    limit: u64,
}

/// What a script answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// A command ended.
    Ended(Output),
    /// An operation has begun, now or before.
    Begun,
    /// An operation is this far.
    At(Progress),
    /// A file is written; where the former one is kept.
    Written(Option<String>),
    /// The machine cannot do it, in its words.
    Fault(String),
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// The script has not begun.
    NotBegun,
    /// It has begun, and its answer is not whole.
    Cut,
}

impl Script {
    fn new(id: String, sudo: bool, variables: &[(&str, String)], words: &[String], body: &str) -> Script {
        let limit = variables.iter().find(|(name, _)| *name == "limit").and_then(|(_, limit)| limit.parse().ok()).unwrap_or(u64::MAX);
        let mut text = String::from("lockgate() {\numask 077\nexport LC_ALL=C\nmissing=\n");
        text.push_str("PATH=\"${PATH:-/usr/bin:/bin}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\"\n");
        text.push_str(include_str!("frame.sh"));
        text.push_str(&format!("id={}\nkept={KEPT}\n", quoted(&id)));
        for (name, value) in variables {
            text.push_str(&format!("{name}={}\n", quoted(value)));
        }
        text.push_str(&set(words));
        text.push_str("say answer \"$id\"\n[ -z \"$missing\" ] || fault \"$missing is not there\"\nwork \"$@\"\nsay end \"$id\"\n}\n");
        text.push_str("work() {\n");
        text.push_str(body);
        text.push_str("}\nlockgate; exit\n");
        Script { text, id, sudo, reads: false, limit }
    }

    /// Runs a command and answers with its outputs.
    pub(super) fn reading(id: String, command: &Command, limit: Span) -> Script {
        let variables = [("limit", seconds(limit)), ("input", command.stdin.clone().unwrap_or_default())];
        Script { reads: true, ..Script::new(id, command.sudo, &variables, &command.words, include_str!("reading.sh")) }
    }

    /// Begins an operation.
    pub(super) fn starting(operation: &Operation) -> Script {
        let Operation { id, command, limit, finally } = operation;
        let finally = finally.as_deref().map(line).unwrap_or_default();
        let words = line(&command.words);
        let runner = format!("limit={}\nfinally={}\n{}", seconds(*limit), quoted(&finally), include_str!("running.sh"));
        // The words are set where the folder's name was read already.
        let runner = runner.replacen("dir=$1\n", &format!("dir=$1\n{}", set(&command.words)), 1);
        let variables = [
            ("input", command.stdin.clone().unwrap_or_default()),
            ("words", words),
            ("runner", runner),
            ("unit", format!("lockgate-{}-{}", id.run.to_lowercase(), id.part)),
        ];
        let body = format!("{}{}", folder(id), include_str!("starting.sh"));
        Script::new(format!("{id}/begin"), command.sudo, &variables, &[], &body)
    }

    /// Asks how far an operation is.
    pub(super) fn looking(id: &OperationId, sudo: bool, limit: Span) -> Script {
        let body = format!("{}{}", folder(id), include_str!("looking.sh"));
        Script { reads: true, ..Script::new(format!("{id}/look"), sudo, &[("limit", seconds(limit))], &[], &body) }
    }

    /// Writes a file.
    pub(super) fn writing(file: &File) -> Script {
        let mode = file.mode.map(|mode| format!("{mode:o}")).unwrap_or_default();
        let variables = [("path", file.path.clone()), ("mode", mode), ("input", file.text.clone())];
        let body = format!("{}{}", folder(&file.id), include_str!("writing.sh"));
        Script::new(format!("{}/write", file.id), file.sudo, &variables, &[], &body)
    }

    /// Reads the answer in what the machine said.
    pub(super) fn answer(&self, said: &str) -> Result<Answer, Missing> {
        let mut lines = said.lines().skip_while(|line| line.strip_prefix("answer ") != Some(self.id.as_str()));
        lines.next().ok_or(Missing::NotBegun)?;
        let mut answer = Fields::default();
        for line in lines {
            let (field, value) = line.split_once(' ').unwrap_or((line, ""));
            if field == "end" && value == self.id {
                return answer.read(self.limit).ok_or(Missing::Cut);
            }
            answer.set(field, value);
        }
        Err(Missing::Cut)
    }
}

/// `set --` with these words.
fn set(words: &[String]) -> String {
    format!("set -- {}\n", line(words))
}

/// Where an operation is kept: for root where it survives a reboot, for others in their home.
fn folder(id: &OperationId) -> String {
    format!(
        "base=/var/lib/lockgate\n[ \"$(id -u)\" = 0 ] || base=\"${{XDG_STATE_HOME:-$HOME/.local/state}}/lockgate\"\ndir=$base/{}/{}\n",
        quoted(&id.run),
        quoted(&id.part)
    )
}

/// A limit for `timeout`: whole seconds, at least one.
fn seconds(limit: Span) -> String {
    limit.as_millis().div_ceil(1000).max(1).to_string()
}

/// The fields of an answer.
#[derive(Default)]
struct Fields {
    state: String,
    code: Option<i32>,
    took: u64,
    out: Option<Vec<u8>>,
    err: Option<Vec<u8>>,
    sizes: [usize; 2],
    former: Option<String>,
    fault: Option<String>,
}

impl Fields {
    fn set(&mut self, field: &str, value: &str) {
        match field {
            "state" => value.clone_into(&mut self.state),
            "code" => self.code = value.parse().ok(),
            "took" => self.took = value.parse().unwrap_or(0),
            "out" => self.out = base64::decode(value),
            "err" => self.err = base64::decode(value),
            "size-out" => self.sizes[0] = value.parse().unwrap_or(0),
            "size-err" => self.sizes[1] = value.parse().unwrap_or(0),
            "former" => self.former = Some(value.to_owned()),
            "fault" => self.fault = Some(value.to_owned()),
            // Newer scripts may say more.
            _ => {}
        }
    }

    /// `None` when something is missing.
    fn read(self, limit: u64) -> Option<Answer> {
        if let Some(fault) = self.fault {
            return Some(Answer::Fault(fault));
        }
        Some(match self.state.as_str() {
            "begun" => Answer::Begun,
            "absent" => Answer::At(Progress::Absent),
            "running" => Answer::At(Progress::Running(None)),
            "gone" => Answer::At(Progress::Gone { booted: false }),
            "booted" => Answer::At(Progress::Gone { booted: true }),
            "written" => Answer::Written(self.former),
            "ended" => {
                let whole = |bytes: Option<Vec<u8>>, size: usize| {
                    bytes.filter(|bytes| bytes.len() == size.min(KEPT)).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
                };
                let [out, err] = self.sizes;
                let code = self.code?;
                // `timeout` gives 124, and 137 when it had to kill.
                let late = matches!(code, 124 | 137) && self.took >= limit;
                let (stdout, stderr) = (whole(self.out, out)?, whole(self.err, err)?);
                Answer::Ended(Output { code, stdout, stderr, truncated: out.max(err) > KEPT, late })
            }
            _ => return None,
        })
    }
}

#[cfg(test)]
#[path = "script_tests.rs"]
mod tests;
