//! `systemctl`.

use super::effect::Effect;
use super::scene::Answer;
use super::{Activity, Machine, Unit};

/// A unit's name without its type, when that is a service.
pub(super) fn plain(unit: &str) -> &str {
    unit.strip_suffix(".service").unwrap_or(unit)
}

/// Runs `systemctl`; `None` when it is called in a way that is not known.
pub(super) fn run(machine: &Machine, words: &[&str]) -> Option<Answer> {
    let words: Vec<&str> =
        words.iter().copied().filter(|word| !matches!(*word, "--quiet" | "-q" | "--no-pager" | "--no-ask-password" | "--")).collect();
    match words.as_slice() {
        ["daemon-reload"] => Some(Answer::default().takes(1)),
        ["is-system-running"] => Some(Answer::says("running\n")),
        ["is-active", unit] => Some(match machine.activity(plain(unit)) {
            Some(Activity::Active) => Answer::says("active\n"),
            Some(other) => Answer { code: 3, ..Answer::says(format!("{}\n", other.as_str())) },
            None => Answer { code: 4, ..Answer::says("inactive\n") },
        }),
        ["is-enabled", unit] => Some(match machine.units.get(plain(unit)) {
            Some(Unit { enabled: true, .. }) => Answer::says("enabled\n"),
            Some(_) => Answer { code: 1, ..Answer::says("disabled\n") },
            None => Answer { code: 4, ..missing(unit) },
        }),
        ["show", "--property=NeedDaemonReload", "--value", unit] => machine.units.get(plain(unit)).map(|_| Answer::says("no\n")),
        [action @ ("start" | "stop" | "restart" | "reload" | "enable" | "disable"), unit] => Some(act(machine, action, unit)),
        _ => None,
    }
}

fn missing(unit: &str) -> Answer {
    Answer::fails(5, format!("Unit {}.service could not be found.\n", plain(unit)))
}

fn act(machine: &Machine, action: &str, unit: &str) -> Answer {
    let name = plain(unit);
    let Some(now) = machine.units.get(name).copied() else {
        let text = format!("Failed to {action} {name}.service: Unit {name}.service not found.\n");
        return Answer::fails(if matches!(action, "enable" | "disable") { 1 } else { 5 }, text);
    };
    let set = |activity: Activity, enabled: bool| Effect::Unit {
        name: name.to_owned(),
        unit: Unit { activity, enabled },
        again: action == "restart",
    };
    let answer = Answer::default().takes(1);
    match action {
        "start" if now.activity == Activity::Active => Answer::default(),
        "start" | "restart" => answer.then(set(Activity::Active, now.enabled)),
        "stop" => answer.then(set(Activity::Inactive, now.enabled)),
        "enable" => Answer::default().then(set(now.activity, true)),
        "disable" => Answer::default().then(set(now.activity, false)),
        _ if now.activity == Activity::Active => answer,
        _ => Answer::fails(1, format!("{name}.service is not active, cannot reload.\n")),
    }
}
