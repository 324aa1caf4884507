//! The prompt's own commands, and its help.

use super::session::reference_of;
use crate::base::{Error, ObjectRef, Result, did_you_mean};
use crate::primitives::{self, Definition};

/// The commands, with what each does.
pub(super) const NAMES: &[(&str, &str)] = &[
    (":checks", "ask every check of the runbook that is loaded"),
    (":commit", "make the pending calls on the cluster itself, waits included, as one run; asks once"),
    (":diff", "what was changed since the last `:fork`, all in all"),
    (":fork", "go on on a copy of this copy; `:undo` goes back to this point"),
    (":help", "this overview"),
    (":live", "on|off: calls act on the cluster itself, with a journal and its lock; or on a copy"),
    (":load", "RUNBOOK name=value …: its checks and steps can be done one by one; `params` are its own"),
    (":ns", "NAME: the namespace of references that name none"),
    (":plan", "the pending calls as a plan: what they would write, wait for and ask"),
    (":quit", "end the session; Ctrl-D does the same"),
    (":save", "FILE: the pending calls as a runbook, a step each"),
    (":step", "ID: do a step of the runbook that is loaded; `ID/ITEM` for one of its items"),
    (":undo", "back to the last `:fork`, or to the cluster as it is; what was tried since is dropped"),
];

/// A command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// `:checks`.
    Checks,
    /// `:diff`.
    Diff,
    /// `:load RUNBOOK name=value …`.
    Load(String, Vec<String>),
    /// `:save FILE`.
    Save(String),
    /// `:step ID`.
    Step(String),
    /// `:commit`.
    Commit,
    /// `:fork`.
    Fork,
    /// `:help`.
    Help,
    /// `:live on` and `:live off`.
    Live(bool),
    /// `:ns NAME`.
    Namespace(String),
    /// `:plan`.
    Plan,
    /// `:quit`.
    Quit,
    /// `:undo`.
    Undo,
}

/// Reads a line that begins with a colon.
///
/// # Errors
/// An unknown command, with the nearest one; a namespace that is none.
pub(super) fn parse(line: &str) -> Result<Command> {
    let mut words = line.split_whitespace();
    let name = words.next().unwrap_or_default();
    let rest: Vec<&str> = words.collect();
    match (name, rest.as_slice()) {
        (":checks", []) => Ok(Command::Checks),
        (":commit", []) => Ok(Command::Commit),
        (":diff", []) => Ok(Command::Diff),
        (":load", [runbook, words @ ..]) => Ok(Command::Load((*runbook).to_owned(), words.iter().map(|word| (*word).to_owned()).collect())),
        (":load", []) => {
            Err(Error::usage("`:load` takes a runbook").hint("write `:load RUNBOOK name=value …`; `lockgate list` shows them"))
        }
        (":save", [file]) => Ok(Command::Save((*file).to_owned())),
        (":save", _) => Err(Error::usage("`:save` takes one file").hint("write `:save fix.luau`")),
        (":step", [id]) => Ok(Command::Step((*id).to_owned())),
        (":step", _) => Err(Error::usage("`:step` takes the id of one step").hint("write `:step ID`, or `:step ID/ITEM`")),
        (":fork", []) => Ok(Command::Fork),
        (":help", []) => Ok(Command::Help),
        (":plan", []) => Ok(Command::Plan),
        (":undo", []) => Ok(Command::Undo),
        (":quit", []) => Ok(Command::Quit),
        (":ns", [name]) => {
            ObjectRef::parse(&format!("namespace/{name}"))?;
            Ok(Command::Namespace((*name).to_owned()))
        }
        (":live", ["on"]) => Ok(Command::Live(true)),
        (":live", ["off"]) => Ok(Command::Live(false)),
        (":live", _) => Err(Error::usage("`:live` is `on` or `off`").hint("`:live on` lets calls act on the cluster itself")),
        (":ns", _) => Err(Error::usage("`:ns` takes one namespace").hint("write `:ns kube-system`")),
        (known, _) if NAMES.iter().any(|(name, _)| *name == known) => Err(Error::usage(format!("`{known}` takes nothing behind it"))),
        (unknown, _) => {
            let error = Error::usage(format!("there is no command `{unknown}`"));
            Err(match did_you_mean(unknown, NAMES.iter().map(|(name, _)| *name)) {
                Some(near) => error.hint(format!("did you mean `{near}`?")),
                None => error.hint("`:help` lists them"),
            })
        }
    }
}

/// Everything that a line may call.
pub(super) fn words() -> Vec<&'static Definition> {
    primitives::ALL.to_vec()
}

/// What is said when a session begins.
pub(super) fn banner(cluster: &str) -> String {
    format!(
        "dry: calls act on a copy of `{cluster}`, nothing is written there; `:plan` shows what is pending, `:commit` makes it, `:help` says more, Ctrl-D leaves"
    )
}

/// `:help`, and `?` alone.
pub(super) fn overview() -> String {
    let mut text = String::from("a line is Luau: an expression shows its value, an assignment keeps it\n\ncommands\n");
    for (name, does) in NAMES {
        text.push_str(&format!("  {name:<8} {does}\n"));
    }
    text.push_str("  ?VERB    the reference of a verb\n\nverbs\n");
    for word in words() {
        text.push_str(&format!("  {:<16} {}\n", word.name, word.summary()));
    }
    text
}

/// `?verb`.
///
/// # Errors
/// An unknown verb, with the nearest one.
pub(super) fn help(verb: &str) -> Result<String> {
    if verb.is_empty() {
        return Ok(overview());
    }
    if let Some(definition) = words().into_iter().find(|definition| definition.name == verb) {
        return Ok(reference_of(definition));
    }
    let error = Error::usage(format!("there is no verb `{verb}`"));
    Err(match did_you_mean(verb, words().iter().map(|definition| definition.name)) {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => error.hint("`:help` lists them"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_and_mistakes_are_told() {
        assert_eq!(parse(":ns kube-system").unwrap(), Command::Namespace("kube-system".into()));
        assert_eq!(parse(":quit").unwrap(), Command::Quit);
        assert_eq!((parse(":live on").unwrap(), parse(":live off").unwrap()), (Command::Live(true), Command::Live(false)));
        assert!(parse(":live").is_err() && parse(":live yes").is_err());
        assert_eq!(parse(":hlep").unwrap_err().hint.as_deref(), Some("did you mean `:help`?"));
        assert!(parse(":ns").is_err());
        assert!(parse(":help me").is_err());
    }

    #[test]
    fn help_knows_every_word() {
        for word in words() {
            assert!(help(word.name).unwrap().contains(word.name));
        }
        assert_eq!(help("scal").unwrap_err().hint.as_deref(), Some("did you mean `scale`?"));
    }
}
