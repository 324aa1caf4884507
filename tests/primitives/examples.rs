//! The example of every word in the table of verbs is run: planned and carried out, on a cluster of its own that has what it is about.

use std::fmt::Write as _;

use lockgate::cli::test::{self, Test};
use lockgate::primitives::ALL;
use lockgate::run::Source;

/// What some examples stand in the middle of.
const BEFORE: [(&str, &str); 7] = [
    ("random", "local nodes = list(\"nodes\")"),
    ("not_needed", "local running, target = 1, 1"),
    ("uncordon", "cordon(\"w1\")"),
    ("rollout_resume", "rollout_pause(\"deployment/web\")"),
    (
        "rollout_undo",
        "set_image(\"deployment/cce-eni-ipam\", { [\"cce-eni-ipam\"] = \"registry.example/cce-cni:v1.9.3\" }) wait_rollout(\"deployment/cce-eni-ipam\")",
    ),
    ("helm.install", "helm.uninstall(\"cilium\")"),
    (
        "helm.rollback",
        "helm.upgrade(\"cilium\", \"cilium\", { repo = \"https://helm.cilium.io\", version = \"1.16.5\", values_from = \"previous\" })",
    ),
];

/// One runbook with all of them, of which a parameter chooses one.
fn runbook() -> (String, String) {
    let (mut text, mut scenarios) = (
        "runbook { title = \"Examples\", summary = \"Those of the reference.\", impact = \"outage\", namespace = \"shop\" }\n\
         param \"which\" { type = \"string\", doc = \"The word.\", example = \"get\" }\n\
         param \"image\" { type = \"image\", doc = \"Another image.\", default = \"registry.example/cce-cni:v1.9.4\", example = \"r.example/a:v1\" }\n\
         local examples = {}\n"
            .to_owned(),
        String::new(),
    );
    for definition in ALL {
        let name = definition.name;
        let before = BEFORE.iter().find(|(of, _)| *of == name).map_or("", |(_, before)| before);
        writeln!(text, "examples[\"{name}\"] = function()\n{before}\n{}\nend", definition.example).unwrap();
        let ends = if name == "not_needed" { "run:not_needed()" } else { "run:succeeds()" };
        let answers = if name == "ask" { "answers = { [\"How many replicas\"] = \"3\" }, " } else { "" };
        writeln!(scenarios, "scenario \"{name}\" {{ params = {{ which = \"{name}\" }}, {answers}expect = function(run) {ends} end }}")
            .unwrap();
    }
    text.push_str(
        "check \"example\" { title = \"The example of a check\", when = function() return params.which == \"not_needed\" end,\n\
           run = function() examples[params.which]() end }\n\
         step \"example\" { title = \"The example\", run = function() examples[params.which]() end }\n",
    );
    (text, scenarios)
}

#[test]
fn every_example_of_the_reference_runs() {
    let folder = tempfile::TempDir::new().unwrap();
    let (text, scenarios) = runbook();
    for (file, text) in [("runbook.luau", text.as_str()), ("test.luau", &scenarios), ("cluster.yaml", include_str!("examples.yaml"))] {
        std::fs::write(folder.path().join(file), text).unwrap();
    }
    let source = Source::on_disk(folder.path()).unwrap();
    let tests: Vec<Test> = test::tests(&source).unwrap().into_iter().filter(|test| matches!(test, Test::Scenario(_))).collect();
    assert_eq!(tests.len(), ALL.len());
    let wrong: Vec<String> = tests
        .iter()
        .filter_map(|one| {
            test::one(&source, one, false, 0).err().map(|error| format!("{one}: {error} {:?} ({:?})", error.causes, error.hint))
        })
        .collect();
    assert!(wrong.is_empty(), "{} of {} examples:\n{}", wrong.len(), tests.len(), wrong.join("\n"));
}
