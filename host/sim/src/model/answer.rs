//! What containers answer: commands that are run in them, and what they write into their logs.

use jiff::SignedDuration;
use serde::Deserialize;

use super::{Condition, ObjectChange, PodMatch, Span, glob, parts};
use crate::json::Value;

/// Which commands an entry is about. Every given field must match.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecMatch {
    /// Which pods; every pod when left out.
    #[serde(default)]
    pub pod: PodMatch,
    /// Pattern over the name of the container.
    pub container: Option<String>,
    /// Pattern over the words of the command, joined by one space each; `*` stands for any text.
    pub command: Option<String>,
    /// What must hold when it begins, seen from the pod. `${1}` in a reference stands for what the first `*` of `command` does.
    #[serde(default)]
    pub when: Vec<Condition>,
}

/// What a command does.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecAnswer {
    /// What it writes to standard output. In both outputs `${…}` stands for what it does in the texts of an
    /// [`ObjectModel`](super::ObjectModel), seen from the pod, and `${1}` for what the first `*` of the pattern does.
    #[serde(default)]
    pub stdout: String,
    /// What it writes to standard error.
    #[serde(default)]
    pub stderr: String,
    /// Its exit code, 0 to 255.
    #[serde(default)]
    pub code: u8,
    /// How long it takes; no time when left out.
    pub takes: Option<Span>,
    /// Whether it copies standard input to standard output, after `stdout`, until the input ends.
    #[serde(default)]
    pub echo: bool,
    /// What it changes in the cluster when it ends, in this order.
    #[serde(default)]
    pub effect: Vec<ObjectChange>,
}

/// What is known about commands in containers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecModel {
    /// Which commands.
    #[serde(rename = "match")]
    pub commands: ExecMatch,
    /// What they do.
    pub answer: ExecAnswer,
    /// Why this is believed.
    pub why: String,
}

impl ExecModel {
    /// What the `*` of the pattern stand for when the entry is about this command, as far as it does not depend on conditions.
    /// `owners` are the owners of the pod as `kind/name`, nearest first.
    pub(super) fn matches(&self, pod: &Value, owners: &[String], container: &str, command: &str) -> Option<Vec<String>> {
        let wanted = &self.commands;
        let fits = wanted.container.as_ref().is_none_or(|pattern| glob(pattern, container)) && wanted.pod.matches(pod, owners);
        match &wanted.command {
            _ if !fits => None,
            None => Some(Vec::new()),
            Some(pattern) => parts(pattern, command),
        }
    }

    /// What is wrong with the entry, if anything.
    ///
    /// # Errors
    /// One sentence.
    pub(super) fn check(&self) -> Result<(), String> {
        let ExecAnswer { effect, echo, .. } = &self.answer;
        if *echo && effect.iter().any(|change| change.input.is_some()) {
            return Err("an `exec` entry either copies standard input (`echo`) or takes objects from it (`input`)".to_owned());
        }
        effect.iter().try_for_each(ObjectChange::check)?;
        self.commands.when.iter().try_for_each(Condition::check_for_commands)
    }
}

/// Which logs an entry is about. Every given field must match.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogMatch {
    /// Which pods; every pod when left out.
    #[serde(default)]
    pub pod: PodMatch,
    /// Pattern over the name of the container.
    pub container: Option<String>,
    /// Only the log of the run before the present one, or only that of the present one; both when left out.
    pub previous: Option<bool>,
}

/// A line that is written some time after the container started.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogLine {
    /// Time from the start of the container to the line.
    pub after: Span,
    /// The line, without its end.
    pub text: String,
}

/// What a container writes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogAnswer {
    /// What it writes when it starts; any number of lines.
    #[serde(default)]
    pub text: String,
    /// What it writes later.
    #[serde(default)]
    pub lines: Vec<LogLine>,
}

impl LogAnswer {
    /// All lines with the time from the start to each, in the order of these times.
    pub(crate) fn timed(&self) -> Vec<(SignedDuration, &str)> {
        let first = self.text.lines().map(|line| (SignedDuration::ZERO, line));
        let mut all: Vec<(SignedDuration, &str)> = first.chain(self.lines.iter().map(|line| (line.after.0, line.text.as_str()))).collect();
        all.sort_by_key(|(after, _)| *after);
        all
    }
}

/// What is known about logs.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogModel {
    /// Which logs.
    #[serde(rename = "match")]
    pub logs: LogMatch,
    /// What is in them.
    pub answer: LogAnswer,
    /// Why this is believed.
    pub why: String,
}

impl LogModel {
    /// Whether the entry is about this log. `owners` are the owners of the pod as `kind/name`, nearest first.
    pub(super) fn matches(&self, pod: &Value, owners: &[String], container: &str, previous: bool) -> bool {
        let wanted = &self.logs;
        wanted.previous.is_none_or(|wanted| wanted == previous)
            && wanted.container.as_ref().is_none_or(|pattern| glob(pattern, container))
            && wanted.pod.matches(pod, owners)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::{from_value, json};

    #[test]
    fn commands_are_matched_as_one_text() {
        let pod = json!({"metadata": {"name": "web-1", "namespace": "shop", "labels": {"app": "web"}}});
        let owners = ["deployment/web".to_owned()];
        let matches = |wanted: Value, container: &str, command: &str| {
            let model: ExecModel = from_value(json!({"match": wanted, "answer": {}, "why": "seen"})).unwrap();
            model.matches(&pod, &owners, container, command).is_some()
        };
        assert!(matches(json!({}), "a", "id"));
        assert!(matches(json!({"command": "cat /etc/*"}), "a", "cat /etc/hosts"));
        assert!(!matches(json!({"command": "cat"}), "a", "cat /etc/hosts"));
        assert!(!matches(json!({"container": "b*"}), "a", "id"));
        assert!(matches(json!({"pod": {"owner": "deployment/web"}, "container": "?"}), "a", "id"));
        assert!(!matches(json!({"pod": {"namespace": "other"}}), "a", "id"));
    }

    #[test]
    fn lines_come_in_the_order_of_their_times() {
        let answer: LogAnswer =
            from_value(json!({"text": "one\ntwo\n", "lines": [{"after": "9s", "text": "late"}, {"after": "3s", "text": "soon"}]})).unwrap();
        let seconds: Vec<(i64, &str)> = answer.timed().into_iter().map(|(after, text)| (after.as_secs(), text)).collect();
        assert_eq!(seconds, [(0, "one"), (0, "two"), (3, "soon"), (9, "late")]);
        let wrong = from_value::<ExecAnswer>(json!({"code": 256})).unwrap_err().to_string();
        assert!(wrong.contains("256"), "{wrong}");
    }
}
