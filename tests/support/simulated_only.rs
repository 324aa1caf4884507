//! What no test tries against a real component, as a list that is printed by every run of the cases.
//!
//! The list is made by looking: a verb that acts on something and that no case of the real control plane, the real helms or the real
//! machines calls must be in [`ONLY`], with the reason and the tests that try it on the simulated cluster; and nothing else may be.

use std::collections::BTreeSet;
use std::path::Path;

use lockgate::primitives::{ALL, Effect};

/// What is proven on the simulated cluster only: verb or part of one, why, and by which ordinary tests.
const ONLY: [(&str, &str, &str); 8] = [
    ("exec", "KWOK runs nothing in a container; procedures meet prepared answers", "primitives::exec, cluster::exec"),
    ("logs", "KWOK runs nothing that writes a log; procedures meet prepared ones", "primitives::containers, cluster::exec"),
    (
        "what a failed hook wrote",
        "as for `logs`; that it is named, and that it has not ended, is real",
        "helm::…::a_failed_hook_is_told_with_its_log",
    ),
    ("machine.* by a pod", "KWOK has no kubelet: the privileged pod would never run", "primitives::machine::by_pod"),
    ("machine.packages", "it would change the packages of this machine; kubeadm_over_ssh has a stand-in", "primitives::machine"),
    ("machine.available", "its answers depend on this machine; kubeadm_over_ssh has a stand-in", "primitives::machine"),
    ("machine.reboot", "it would restart the machine that runs the tests", "primitives::machine"),
    ("a webhook with side effects", "admissionregistration.k8s.io/v1 admits none, and v1.36 serves no older version", "cluster::asked"),
];

/// Where verbs are called that meet something real.
const REAL: [&str; 3] = ["tests/controlplane", "tests/helm", "tests/machine"];

/// Verbs that touch no cluster and no machine are tried nowhere but in the interpreter.
fn acts(effect: Effect) -> bool {
    matches!(effect, Effect::Read | Effect::Write)
}

/// Whether a text calls this verb: by its name with arguments, or in a runbook that is written there.
fn calls(text: &str, verb: &str) -> bool {
    let called = ["json!(", "&json!", "&node", "\"a\"", "arguments"].iter().any(|next| text.contains(&format!("\"{verb}\", {next}")));
    called || ["\\\"", "settings)"].iter().any(|next| text.contains(&format!(" {verb}({next}")))
}

/// The texts of all the tests that meet something real.
fn texts() -> Result<String, String> {
    let mut all = String::new();
    for folder in REAL {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let entries = std::fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        for entry in entries {
            let path = entry.map_err(|error| error.to_string())?.path();
            if path.extension().is_some_and(|extension| extension == "rs") {
                all.push_str(&std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?);
            }
        }
    }
    // However its lines are broken.
    Ok(all.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// Every verb that acts is tried against something real, or in the list.
pub(crate) fn is_complete() -> Result<(), String> {
    let text = texts()?;
    // These say nothing about a cluster.
    let local = ["now", "random", "env", "assume"];
    let acting = ALL.iter().filter(|verb| acts(verb.effect) && !local.contains(&verb.name));
    let untried: BTreeSet<&str> = acting.map(|verb| verb.name).filter(|verb| !calls(&text, verb)).collect();
    let listed: BTreeSet<&str> = ONLY.iter().map(|(what, ..)| *what).filter(|what| ALL.iter().any(|verb| verb.name == *what)).collect();
    if untried == listed { Ok(()) } else { Err(format!("tried by nothing real: {untried:?}; in the list: {listed:?}")) }
}

/// The list for whoever ran the cases.
pub(crate) fn told() -> String {
    let mut text = String::from("proven on the simulated cluster only:\n");
    for (what, why, tests) in ONLY {
        text.push_str(&format!("  {what:<28} {why} (tests: {tests})\n"));
    }
    text
}
