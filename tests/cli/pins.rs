//! What a run keeps of its sources: those that it began with, those that it went on with, its parameter file.

use super::support::{HEAD, Host};

/// A step that waits for a person, and one that says which file it is from.
fn text(word: &str) -> String {
    format!(
        "{HEAD}param \"size\" {{ type = \"integer\", doc = \"Size.\", default = 1 }}\n\
         param \"key\" {{ type = \"secret\", doc = \"Key.\", optional = true }}\n\
         step \"one\" {{ title = \"One\", run = function() annotate(\"deployment/web\", {{ one = tostring(params.size) }}) end }}\n\
         step \"two\" {{ title = \"Two\", gate = \"Go on?\", run = function() annotate(\"deployment/web\", {{ two = \"{word}\" }}) end }}\n\
         step \"three\" {{ title = \"Three\", gate = \"And on?\", run = function() annotate(\"deployment/web\", {{ three = \"{word}\" }}) end }}\n"
    )
}

fn only_run(host: &Host) -> String {
    host.runs_in(".local/state/lockgate/runs")[0].file_name().unwrap().to_str().unwrap().to_owned()
}

fn kept(host: &Host, run: &str, path: &str) -> Option<String> {
    std::fs::read_to_string(host.path().join(".local/state/lockgate/runs").join(run).join(path)).ok()
}

#[test]
fn a_source_that_was_chosen_once_is_the_runs_from_then_on() {
    let host = Host::with_runbook(&text("old"));
    host.run(&["run", "r", "--sandbox"]).exits(4);
    let run = only_run(&host);
    let host = host.file("r/runbook.luau", &text("new"));
    host.run(&["resume", &run]).exits(5).tells("is not what it was when the run began").tells("--script pinned");
    host.run(&["approve", &run, "two", "--yes"]).exits(0);
    host.run(&["resume", &run, "--script", "r"]).exits(4).shows("added new").tells("And on?");
    // No word about the script is needed any more, and the file may go.
    assert_eq!(kept(&host, &run, "script-2/runbook/runbook.luau").unwrap(), text("new"));
    assert_eq!(kept(&host, &run, "script/runbook/runbook.luau").unwrap(), text("old"));
    host.run(&["approve", &run, "three", "--yes"]).exits(0);
    let said = host.run(&["resume", &run]).exits(0);
    assert!(said.stdout.contains("three") && said.stdout.contains("added new"), "{}", said.transcript());
    host.run(&["rollback", &run, "--yes"]).exits(0);
}

#[test]
fn a_source_that_is_not_there_any_more_is_not_offered() {
    let host = Host::with_runbook(&text("old"));
    host.run(&["run", "r", "--sandbox"]).exits(4);
    let run = only_run(&host);
    let gone = host.path().join("gone");
    std::fs::rename(host.path().join("r"), &gone).unwrap();
    let said = host.run(&["resume", &run]).exits(5);
    let said = said.tells("`--script PATH` with another");
    assert!(!said.stderr.contains("with the one of now"), "{}", said.transcript());
    host.run(&["resume", &run, "--script", "pinned"]).exits(4).tells("nobody answered");
}

#[test]
fn the_parameter_file_is_kept_unless_it_holds_a_secret() {
    let host = Host::with_runbook(&text("x")).file("given.yaml", "size: 3 # as agreed\n");
    host.run(&["run", "r", "--sandbox", "--params", "given.yaml"]).exits(4);
    let run = only_run(&host);
    assert_eq!(kept(&host, &run, "script/data/params.yaml").as_deref(), Some("size: 3 # as agreed\n"));
    let host = Host::with_runbook(&text("x")).file("given.yaml", "size: 3\nkey: canary-of-the-file\n");
    host.run(&["run", "r", "--sandbox", "--params", "given.yaml"]).exits(4);
    let run = only_run(&host);
    assert_eq!(kept(&host, &run, "script/data/params.yaml"), None);
    assert!(!kept(&host, &run, "journal.jsonl").unwrap().contains("canary-of-the-file"));
}
