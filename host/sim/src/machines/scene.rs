//! What a command does: the entries of the models first, then the programs that every machine has.

use jiff::{SignedDuration, Timestamp};

use super::effect::Effect;
use super::{Deed, File, Holds, Machine, Refusal, files, kubeadm, packages, units};
use crate::json::Value;
use crate::lifecycle::hold::Seen;
use crate::lifecycle::words::{NO_TABLE, Words};
use crate::model::Models;
use crate::store::Store;
use crate::view;

/// What a command gives, and what it changes on the way.
#[derive(Debug, Clone, Default)]
pub(super) struct Answer {
    pub(super) code: u8,
    pub(super) stdout: String,
    pub(super) stderr: String,
    pub(super) takes: SignedDuration,
    /// What changes, and how long after the beginning.
    pub(super) effects: Vec<(SignedDuration, Effect)>,
}

impl Answer {
    pub(super) fn says(stdout: impl Into<String>) -> Answer {
        Answer { stdout: stdout.into(), ..Answer::default() }
    }

    pub(super) fn fails(code: u8, stderr: impl Into<String>) -> Answer {
        Answer { code, stderr: stderr.into(), ..Answer::default() }
    }

    pub(super) fn takes(self, seconds: i64) -> Answer {
        Answer { takes: SignedDuration::from_secs(seconds), ..self }
    }

    /// The same with a change at its end.
    pub(super) fn then(mut self, effect: Effect) -> Answer {
        let takes = self.takes;
        self.effects.push((takes, effect));
        self
    }

    /// The same, begun so much later.
    pub(super) fn later(mut self, wait: SignedDuration) -> Answer {
        self.takes = self.takes.saturating_add(wait);
        self.effects.iter_mut().for_each(|(at, _)| *at = at.saturating_add(wait));
        self
    }

    /// The same with a change so many seconds after its beginning.
    pub(super) fn after(mut self, seconds: i64, effect: Effect) -> Answer {
        self.effects.push((SignedDuration::from_secs(seconds), effect));
        self
    }
}

/// What a command sees when it begins.
pub(super) struct Scene<'a> {
    pub(super) machine: &'a Machine,
    pub(super) node: &'a Value,
    pub(super) store: &'a Store,
    pub(super) models: &'a Models,
    pub(super) now: Timestamp,
}

impl Scene<'_> {
    pub(super) fn answer(&self, deed: &Deed) -> Result<Answer, Refusal> {
        match deed {
            Deed::Write { path, text, mode } => {
                let mode = mode.or_else(|| self.machine.files.get(path).map(|file| file.mode)).unwrap_or(0o644);
                Ok(Answer::default().then(Effect::File(path.clone(), Some(File { text: text.clone(), mode }))))
            }
            Deed::Run { argv } => self.run(argv),
        }
    }

    fn run(&self, argv: &[String]) -> Result<Answer, Refusal> {
        let line = argv.join(" ");
        if let Some(answer) = self.modelled(&line) {
            return Ok(answer);
        }
        let words: Vec<&str> = argv.iter().map(String::as_str).collect();
        let name = view::name(self.node);
        let known = match words.as_slice() {
            ["true"] => Some(Answer::default()),
            ["false"] => Some(Answer::fails(1, "")),
            ["id", "-u"] => Some(Answer::says("0\n")),
            ["hostname"] => Some(Answer::says(format!("{name}\n"))),
            ["uname", "-r"] => Some(Answer::says(format!("{}\n", self.info("kernelVersion")))),
            ["kubelet", "--version"] => self.version_of("kubelet").map(|version| Answer::says(format!("Kubernetes {version}\n"))),
            ["swapon", "--show", ..] => Some(Answer::says(self.machine.files.get("/proc/swaps").map_or("", |file| file.text.as_str()))),
            ["journalctl", ..] => Some(Answer::says("-- No entries --\n")),
            ["kubeadm", rest @ ..] => kubeadm::run(self, rest),
            ["reboot"] | ["systemctl", "reboot"] | ["shutdown", "-r", "now"] => Some(Answer::default().after(1, Effect::Reboot)),
            ["systemctl", rest @ ..] => units::run(self.machine, rest),
            [program, rest @ ..] => {
                packages::run(self.machine, self.now, program, rest).or_else(|| files::run(self.machine, program, rest))
            }
            [] => None,
        };
        known.ok_or_else(|| Refusal::Unmodelled(format!("`{line}` on the machine of node {name}: no `commands` entry is about it")))
    }

    /// What the last entry says that is about this command.
    fn modelled(&self, line: &str) -> Option<Answer> {
        let entries: Vec<_> = self.models.machines(view::name(self.node)).flat_map(|entry| &entry.commands).collect();
        let (entry, found) = entries.into_iter().rev().find_map(|entry| {
            let found = entry.matches(line)?;
            entry.when.iter().all(|holds| self.holds(holds, &found)).then_some((entry, found))
        })?;
        let words = Words { store: self.store, subject: self.node, table: &NO_TABLE, found: &found };
        let said = |text: &str| words.text(text).unwrap_or_default();
        let takes = entry.takes.map_or(SignedDuration::ZERO, |span| span.0);
        let answer = Answer { code: entry.code, stdout: said(&entry.stdout), stderr: said(&entry.stderr), takes, effects: Vec::new() };
        Some(match entry.effect.clone() {
            Some(effect) => answer.then(Effect::Modelled(Box::new(effect), found)),
            None => answer,
        })
    }

    fn holds(&self, holds: &Holds, found: &[String]) -> bool {
        match holds {
            Holds::File(wanted) => {
                let words = Words { store: self.store, subject: self.node, table: &NO_TABLE, found };
                let path = words.text(&wanted.file).unwrap_or_default();
                self.machine.files.get(&path).is_some_and(|file| file.text.contains(&wanted.contains))
            }
            Holds::Object(condition) => Seen { store: self.store, index: None, object: self.node, found }.holds(condition),
        }
    }

    pub(super) fn info(&self, field: &str) -> &str {
        view::text(self.node, &["status", "nodeInfo", field])
    }

    /// The version of Kubernetes that a package holds: `v1.19.16` of `1.19.16-00`.
    pub(super) fn version_of(&self, package: &str) -> Option<String> {
        self.machine.packages.get(package).map(|version| packages::kubernetes(version))
    }
}
