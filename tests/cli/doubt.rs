//! Writes of which nobody knows what became of them, sources that are not the pinned one, and steps that cannot be taken back: what `resume`
//! and `rollback` do about them.

use std::process::Stdio;
use std::time::{Duration, Instant};

use super::support::{HEAD, Host, Said};

/// The answer to the first write is lost, and the look at what became of it is refused.
const LOST: &str = "apiVersion: lockgate.dev/v1
kind: Faults
rules:
- match: {verb: create, kind: ConfigMap, namespace: shop, nth: 1}
  do: lost_after
- match: {verb: get, kind: ConfigMap, namespace: shop, nth: 1}
  do: {fail: {code: 403, message: \"no\"}}
";

const CREATES: &str = r#"step "one" {
  title = "One",
  run = function()
    create { apiVersion = "v1", kind = "ConfigMap", metadata = { generateName = "job-" }, data = { a = "b" } }
  end,
}
permissions { { verbs = { "create", "delete" }, kinds = { "configmaps" } } }
"#;

fn host(steps: &str) -> Host {
    Host::with_runbook(&format!("{HEAD}{steps}")).env("LOCKGATE_RUNS", "state")
}

fn run(host: &Host, more: &[&str]) -> Said {
    host.run(&[&["run", "./r", "--sandbox", "--yes", "--no-plan"], more].concat())
}

/// The writes that the journal has of the newest run.
fn writes(host: &Host) -> Vec<(String, String)> {
    let report = host.run(&["report", "last", "-o", "json"]).exits(0);
    let report: serde_json::Value = serde_json::from_str(&report.stdout).unwrap();
    let text = |write: &serde_json::Value, field: &str| write[field].as_str().unwrap().to_owned();
    report["writes"].as_array().unwrap().iter().map(|write| (text(write, "verb"), text(write, "became"))).collect()
}

/// A command that began and does not come back.
const HELD: &str = "apiVersion: lockgate.dev/v1
kind: Faults
rules:
- match: {kind: Pod, subresource: exec}
  do: {hold: after}
";

/// Begins a run and kills it when its journal has the command.
fn killed_in_the_command(host: &Host) {
    let words = ["run", "./r", "--sandbox", "--yes", "--chaos", "hold.yaml"];
    let mut child = host.command(&words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let began = Instant::now();
    let is_noted = || {
        let journal = host.runs_in("state").first().and_then(|folder| std::fs::read_to_string(folder.join("journal.jsonl")).ok());
        journal.is_some_and(|text| text.contains(r#""verb":"exec","target""#))
    };
    // It stands still for as long as it lives.
    while !is_noted() {
        assert!(child.try_wait().unwrap().is_none() && began.elapsed() < Duration::from_secs(60), "the command was never begun");
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn an_unknown_outcome_is_settled_when_the_run_goes_on() {
    let host = host(CREATES).file("faults.yaml", LOST);
    run(&host, &["--chaos", "faults.yaml"]).exits(1).tells("whether the change was made is unknown");
    assert_eq!(writes(&host), [("create".to_owned(), "unknown".to_owned())]);
    host.run(&["resume", "last"]).exits(0);
    // The same operation: it was made, and is not made again.
    assert_eq!(writes(&host), [("create".to_owned(), "made".to_owned())]);
}

#[test]
fn an_unknown_outcome_is_settled_when_the_run_is_taken_back() {
    let host = host(CREATES).file("faults.yaml", LOST);
    run(&host, &["--chaos", "faults.yaml"]).exits(1);
    host.run(&["rollback", "last", "--yes"]).exits(0).shows("delete   configmap/job-");
}

#[test]
fn a_command_in_flight_is_not_forgotten_by_a_rollback() {
    let with = "step \"one\" {
  title = \"One\",
  run = function() exec(list(\"pods\", { labels = \"app=web\" })[1], { \"upgrade\" }) end,
  rollback = function() label(\"deployment/web\", { upgraded = \"no\" }) end,
}
";
    let without =
        "step \"one\" { title = \"One\", run = function() exec(list(\"pods\", { labels = \"app=web\" })[1], { \"upgrade\" }) end }\n";
    let model = "---\napiVersion: lockgate.dev/v1\nkind: Model\nexec:\n- { match: { command: upgrade }, answer: { code: 0 }, why: seen }\n";
    for (steps, said) in [(with, "patch    deployment/web"), (without, "may have been done: look there")] {
        let host = host(steps).file("r/cluster.yaml", &format!("{}{model}", super::support::CLUSTER));
        let host = host.file("hold.yaml", HELD);
        killed_in_the_command(&host);
        let back = host.run(&["rollback", "last", "--yes"]).exits(0);
        assert!(back.stdout.contains(said), "{}", back.transcript());
    }
}

#[test]
fn another_source_has_to_begin_as_the_run_did() {
    let steps = |first: &str, second: &str| {
        format!(
            "step \"{first}\" {{ title = \"1\", run = function() label(\"deployment/web\", {{ a = \"1\" }}) end }}
step \"two\" {{ title = \"2\", run = function() {second} end }}
permissions {{ {{ verbs = {{ \"patch\" }}, kinds = {{ \"deployments\" }} }} }}
"
        )
    };
    let host = host(&steps("one", "error(\"not yet\")"));
    let host = host
        .file("renamed/runbook.luau", &format!("{HEAD}{}", steps("first", "")))
        .file("mended/runbook.luau", &format!("{HEAD}{}", steps("one", "label(\"deployment/web\", { b = \"2\" })")));
    run(&host, &[]).exits(1);
    host.run(&["resume", "last", "--script", "renamed"])
        .exits(5)
        .tells("step 1 of the run was `one`, and the other source has step `first` there")
        .tells("`--script pinned` goes on with the source that the run has");
    host.run(&["resume", "last", "--script", "mended"]).exits(0).shows("patch    deployment/web");
    host.run(&["rollback", "last", "--yes"]).exits(0);
}

#[test]
fn steps_that_cannot_be_taken_back_are_shown_everywhere() {
    let steps = "step \"one\" { title = \"1\", run = function() label(\"deployment/web\", { a = \"1\" }) end }
step \"data\" {
  title = \"Moves the data\",
  run = function() label(\"deployment/web\", { moved = \"yes\" }) end,
  irreversible = \"the old store is gone\",
}
step \"three\" { title = \"3\", run = function() label(\"deployment/web\", { c = \"3\" }) end }
permissions { { verbs = { \"patch\" }, kinds = { \"deployments\" } } }
";
    let host = host(steps);
    let no_return = "step `data` cannot be taken back: the old store is gone";
    let plan = host.run(&["plan", "./r", "--sandbox"]).exits(0);
    let plan = plan.shows("warning  what this step does cannot be taken back: the old store is gone").shows(no_return);
    assert!(plan.stdout.contains("2 of 3 writes can be taken back"), "{}", plan.transcript());
    run(&host, &[]).exits(0).shows(no_return);
    host.run(&["report", "last"]).exits(0).shows(no_return);
    host.run(&["report", "last", "-o", "html"]).exits(0).shows("the old store is gone");
    host.run(&["status"]).exits(0).shows(no_return).shows("--to data` takes back what was done after that step");
    host.run(&["rollback", "last", "--yes"]).exits(5).tells("the old store is gone").tells("`--to data`");
    host.run(&["rollback", "last", "--yes", "--to", "data"]).exits(0).shows("take back: 3");
}

#[test]
fn what_is_left_out_warns_of_nothing_and_what_is_the_same_is_named() {
    let steps = "step \"data\" {
  title = \"Moves the data\",
  when = function() return false end,
  run = function() label(\"deployment/web\", { moved = \"yes\" }) end,
  irreversible = \"the old store is gone\",
}
step \"same\" {
  title = \"Nothing new\",
  run = function()
    local map = function(name) return { apiVersion = \"v1\", kind = \"ConfigMap\", metadata = { name = name } } end
    for _ = 1, 2 do apply { map(\"a\"), map(\"b\"), map(\"c\"), map(\"d\") } end
  end,
}
permissions { { verbs = { \"*\" }, kinds = { \"*\" } } }
";
    let host = host(steps);
    let same = "same     configmap/a, configmap/b, configmap/c and 1 more: nothing to apply";
    for said in [host.run(&["plan", "./r", "--sandbox"]).exits(0), run(&host, &[]).exits(0)] {
        said.hides("cannot be taken back").shows("skipped").shows(same);
    }
}
