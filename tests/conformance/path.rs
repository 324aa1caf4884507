//! The kubectl that is on the PATH, whatever its version: what it does to the served cluster is what the recorded one did. What it says is
//! not compared, since every version says it in its own words.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use libtest_mimic::{Completion, Failed, Trial};
use serde_json::Value;

use super::case::{Action, Case};
use super::golden::{Done, Golden};
use super::run::{self, Ran};
use super::{Outcome, compare, served, told};
use crate::controlplane;

/// Older ones speak to servers in ways that v1.36 has dropped.
const OLDEST: u64 = 29;

/// One test for each case that has commands of kubectl.
pub(super) fn trials(cases: &[Case]) -> Vec<Trial> {
    let with_kubectl = cases.iter().filter(|case| case.needs_kubectl() && case.text.plane.version.is_none()).cloned();
    with_kubectl.map(|case| Trial::ignorable_test(format!("sandbox::kubectl-on-path::{}", case.name), move || trial(&case))).collect()
}

fn trial(case: &Case) -> Result<Completion, Failed> {
    let program = match found() {
        Ok(program) => program,
        Err(reason) if controlplane::is_required("kubectl-on-path") => return Err(Failed::from(reason)),
        Err(reason) => return Ok(Completion::ignored_with(reason)),
    };
    let golden = Golden::read(&case.folder.join("golden.json"))?;
    let ran = run::run(case, &mut served::Served::new(case, Some(program))?, &[]);
    let golden = Golden { steps: without_words(case, golden.steps), ..golden };
    let found = compare(&golden, &Ran { steps: without_words(case, ran.steps), failure: ran.failure })?;
    if found.is_empty() { Ok(Completion::Completed) } else { Err(Failed::from(told(case, &found))) }
}

/// The steps without what kubectl sent and said.
fn without_words(case: &Case, steps: Vec<Done>) -> Vec<Done> {
    let of_kubectl = case.text.steps.iter().map(|step| matches!(step.action(), Ok(Action::Kubectl(..) | Action::Drains(_))));
    let pairs = steps.into_iter().zip(of_kubectl);
    pairs.map(|(done, of_kubectl)| if of_kubectl { Done { exchanges: Vec::new(), said: Value::Null, ..done } } else { done }).collect()
}

/// The first kubectl of the PATH.
///
/// # Errors
/// There is none, or it is too old.
fn found() -> Outcome<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let program = std::env::split_paths(&path).map(|folder| folder.join("kubectl")).find(|program| program.is_file());
    let program = program.ok_or("there is no kubectl on the PATH")?;
    let output = Command::new(&program).args(["version", "--client", "-o", "json"]).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{}: {error}", program.display()))?;
    let said: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let version = said.pointer("/clientVersion/gitVersion").and_then(Value::as_str).unwrap_or_default().to_owned();
    let minor = version.strip_prefix("v1.").and_then(|rest| rest.split('.').next()?.parse::<u64>().ok());
    match minor {
        Some(minor) if minor >= OLDEST => Ok(program),
        Some(_) => Err(format!("{} is {version}: v1.{OLDEST} or later is needed", program.display())),
        None => Err(format!("{} does not say which version it is", program.display())),
    }
}
