//! One run at a time: what is not finished, what was taken back, what somebody else works on, and what is no run at all.

use std::fs;
use std::process::{Command, Stdio};

use expectrl::Expect as _;
use lockgate::base::json::json;
use serde_json::Value;

use super::comeback::{GATED, Site};
use super::json_schema::fits;
use super::support::{CLUSTER, HEAD, Host};
use super::terminal::{ends, start};

/// Two objects, one after the other.
const TWO: &str = r#"
step "one" { title = "One", run = function() create { apiVersion = "v1", kind = "ConfigMap", metadata = { name = "a" } } end }
step "two" { title = "Two", run = function() create { apiVersion = "v1", kind = "ConfigMap", metadata = { name = "b" } } end }
"#;

/// Another runbook on the same cluster.
const OTHER: &str = "step \"a\" { title = \"A\", run = function() label(\"node/n1\", { a = \"b\" }) end }\n";

/// [`TWO`] on a cluster where something goes wrong once.
fn site(rule: &str) -> Site {
    let faults = match rule {
        "" => String::new(),
        rule => format!("---\napiVersion: lockgate.dev/v1\nkind: Faults\nrules:\n- match: {rule}\n  do: {{fail: {{code: 403}}}}\n"),
    };
    let host = Host::with_runbook(&format!("{HEAD}{TWO}")).file("r/cluster.yaml", &format!("{CLUSTER}{faults}"));
    Site::of(host.file("other/runbook.luau", &format!("{HEAD}{OTHER}")))
}

/// Runs it without asking the server about the plan: what goes wrong comes as a surprise.
const RUN: [&str; 6] = ["run", "r", "--yes", "--local", "--kubeconfig", "k.yaml"];
const ANOTHER: [&str; 5] = ["run", "other", "--yes", "--kubeconfig", "k.yaml"];

// Runs that were taken back.

#[test]
fn a_run_that_was_taken_back_is_known_as_such() {
    let site = site("");
    site.host.run(&RUN).exits(0);
    let run = site.last();
    site.host.run(&["rollback", &run, "--yes"]).exits(0);
    let back = site.last();
    let by = format!("by run `{back}`");
    site.host.run(&["status", &run]).exits(0).shows("state      done").shows(&format!("taken back {by}")).hides("`lockgate ");
    site.host.run(&["runs"]).exits(0).shows("taken back");
    site.host.run(&["report", &run]).exits(0).shows(&format!("taken back {by}"));
    let status = fits("status.v1.json", &site.host.run(&["status", &run, "-o", "json"]).exits(0).stdout);
    assert_eq!(status["run"]["taken_back"], json!({ "run": back, "to": null, "standing": "done" }));
    let report = fits("report.v1.json", &site.host.run(&["report", &run, "-o", "json"]).exits(0).stdout);
    assert_eq!(report["took"], status["run"]["took"], "what came later is no time of the run");
    let before = site.writes();
    site.host.run(&["resume", &run, "--drift", "accept"]).exits(5).tells(&format!("run `{run}` was taken back {by}"));
    site.host.run(&["rollback", &run, "--yes"]).exits(0).tells("nothing is left to take back, and nothing was written");
    assert_eq!(site.writes(), before);
}

#[test]
fn a_run_of_which_a_part_was_taken_back_is_known_as_such() {
    let site = site("");
    site.host.run(&RUN).exits(0);
    let run = site.last();
    site.host.run(&["rollback", &run, "--to", "one", "--yes"]).exits(0);
    let told = format!("to step `one` by run `{}`", site.last());
    site.host.run(&["status", &run]).exits(0).shows(&format!("taken back {told}")).hides("`lockgate ");
    site.host.run(&["runs"]).exits(0).shows("taken back in part");
    let before = site.writes();
    site.host.run(&["resume", &run]).exits(5).tells(&format!("run `{run}` was taken back {told}")).tells("begin a new run");
    assert_eq!(site.writes(), before);
    // What is left of it can be taken back still.
    site.host.run(&["rollback", &run, "--yes"]).exits(0).shows("take back: One").hides("take back: Two");
    assert_eq!(site.writes(), before + 1);
    site.host.run(&["rollback", &run, "--yes"]).exits(0).tells("nothing is left to take back");
}

#[test]
fn a_rollback_that_stopped_half_way_is_gone_on_with_and_nothing_else_is() {
    let site = site("{verb: delete, kind: ConfigMap, name: a, nth: 1}");
    site.host.run(&RUN).exits(0);
    let run = site.last();
    let said = site.host.run(&["rollback", &run, "--yes", "--local"]).exits(5).tells("forbidden");
    let back = site.last();
    let said = said.tells(&format!("`lockgate resume {back}` goes on with taking it back"));
    assert!(!said.stderr.contains(&format!("rollback {back}")), "nobody takes a rollback back\n{}", said.transcript());
    let told = format!("by run `{back}`, which is not over: failed");
    let next = format!("next       `lockgate resume {back}` goes on with taking it back");
    site.host.run(&["status", &run]).exits(0).shows(&format!("taken back {told}")).shows(&next);
    // To another end it is not gone on with.
    for words in [&["resume", &*run][..], &["rollback", &run, "--to", "one", "--yes"]] {
        let said = site.host.run(words).exits(5).tells(&format!("run `{run}` was taken back {told}"));
        said.tells(&format!("`lockgate resume {back}` goes on with that"));
    }
    let said = site.host.run(&ANOTHER).exits(5).tells(&format!("the run `{back}` on `sandbox` is not finished"));
    said.tells(&format!("`lockgate resume {back}` goes on with taking back `{run}`"));
    site.host.run(&["rollback", &run, "--yes"]).exits(0).tells(&format!("run `{back}` takes it back already")).shows("done earlier");
    site.host.run(&["status", &run]).exits(0).shows(&format!("taken back by run `{back}`\n"));
    site.host.run(&ANOTHER).exits(0);
}

// One unfinished run for each cluster.

/// A run that failed after its first write.
fn failed() -> (Site, String) {
    let site = site("{verb: create, kind: ConfigMap, nth: 2}");
    site.host.run(&RUN).exits(5).tells("step `two`");
    let run = site.last();
    (site, run)
}

#[test]
fn no_run_begins_over_one_that_failed() {
    let (site, run) = failed();
    let before = site.writes();
    let said = site.host.run(&ANOTHER).exits(5).replacing(&run, "RUN");
    said.golden("run-over-unfinished");
    assert_eq!((site.writes(), site.last()), (before, run.clone()), "it left nothing behind");
    site.host.run(&["resume", &run]).exits(0);
    site.host.run(&ANOTHER).exits(0);
}

#[test]
fn a_failed_run_that_was_taken_back_is_in_nobodys_way() {
    let (site, run) = failed();
    site.host.run(&["rollback", &run, "--yes"]).exits(0);
    site.host.run(&ANOTHER).exits(0);
}

#[test]
fn a_failed_run_is_given_up_by_its_name() {
    let (site, run) = failed();
    let words = ["unlock", &*run, "--kubeconfig", "k.yaml"];
    site.host.run(&words).exits(2).tells("there is no terminal to ask on");
    site.host.run(&ANOTHER).exits(5);
    let mut session = start(&site.host, &words);
    session.expect(format!("Give the run {run} up, as it is? What it wrote stays. [y/N] ")).unwrap();
    session.send_line("y").unwrap();
    let said = ends(session, 0);
    assert!(said.contains("is given up: what it wrote stays, and another run may begin on `sandbox`"), "{said}");
    site.host.run(&ANOTHER).exits(0).tells(&format!("the run `{run}` on `sandbox` was not finished (given up in step `two`)"));
    site.host.run(&[&words[..], &["--yes"]].concat()).exits(2).tells("nobody holds the lock of `sandbox`");
}

// Runs that somebody works on.

#[test]
fn a_run_whose_lock_file_was_removed_is_worked_on_all_the_same() {
    let (site, run) = Site::parked();
    let before = site.writes();
    let mut session = start(&site.host, &["resume", &run]);
    session.expect("Go on with the rest? [y/N] ").unwrap();
    fs::remove_file(site.folder(&run).join("lock")).unwrap();
    site.host.run(&["status", &run]).exits(0).shows("state      running, by process ").hides("process 0");
    site.host.run(&["resume", &run]).exits(5).tells(&format!("run `{run}` is being worked on"));
    session.send_line("y").unwrap();
    ends(session, 0);
    site.host.run(&["report", &run, "--verify"]).exits(0).shows("state      done");
    assert_eq!(site.writes(), before + 1);
}

#[test]
fn the_lock_of_a_live_run_is_freed_with_true_words_and_the_next_run_waits() {
    let site = Site::of(Host::with_runbook(&format!("{HEAD}{GATED}")).file("other/runbook.luau", &format!("{HEAD}{OTHER}")));
    site.host.run(&["run", "r", "--yes", "--kubeconfig", "k.yaml"]).exits(4);
    let run = site.last();
    let mut session = start(&site.host, &["resume", &run]);
    session.expect("Go on with the rest? [y/N] ").unwrap();
    let said = site.host.run(&["unlock", &run, "--yes"]).exits(0);
    let said = said.tells("it may be at work: it stops within 40s").tells("the next run waits for that");
    said.shows("where a process works on it, it stops within 40s, and the next run waits for that").hides("writes nothing more");
    let mut next = start(&site.host, &ANOTHER);
    next.expect("waiting 1m: the lock of `sandbox` was freed from the run").unwrap();
    drop(next);
    drop(session);
}

// Folders that are no runs.

#[test]
fn a_run_that_cannot_be_kept_leaves_no_folder() {
    let host = Host::with_runbook(&format!("{HEAD}{TWO}"));
    host.run(&["run", "r", "--sandbox", "--yes", "--runs", "state"]).exits(0);
    let whole = fs::read_dir(host.path().join("state")).unwrap().count();
    let inner = host.command(&["run", "r", "--sandbox", "--yes", "--runs", "state"]);
    let mut shell = Command::new("sh");
    // No file may grow, as on a full disk.
    shell.args(["-c", "trap '' XFSZ; ulimit -f 0; exec \"$0\" \"$@\""]).arg(inner.get_program()).args(inner.get_args());
    shell.current_dir(host.path()).env("HOME", host.path()).stdin(Stdio::null());
    let output = shell.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("the folder of runs `state` cannot be written to"), "{said}");
    assert_eq!(fs::read_dir(host.path().join("state")).unwrap().count(), whole, "{said}");
    host.run(&["status", "--runs", "state"]).exits(0).shows("done");
}

#[test]
fn what_a_process_left_that_died_before_its_run_began_is_no_run() {
    let host = Host::with_runbook(&format!("{HEAD}{TWO}"));
    host.run(&["run", "r", "--sandbox", "--yes", "--runs", "state"]).exits(0);
    // The next run of the simulated cluster would have this name.
    let runs = host.runs_in("state");
    let [run] = runs.as_slice() else { panic!("{runs:?}") };
    let name = run.file_name().unwrap().to_str().unwrap();
    let left = host.path().join("state").join(format!("{}ZZ", &name[..24]));
    fs::create_dir(&left).unwrap();
    for file in ["new", "lock", "key"] {
        fs::write(left.join(file), "").unwrap();
    }
    host.run(&["status", "last", "--runs", "state"]).exits(0).shows(name);
    host.run(&["runs", "--runs", "state"]).exits(0).hides("unreadable");
    host.run(&["resume", "last", "--runs", "state"]).exits(0).tells("is over");
}

// What was pinned.

/// Runs it up to its gate, and gives its id.
fn parks(site: &Site, words: &[&str]) -> String {
    site.host.run(&[words, &["--yes", "--kubeconfig", "k.yaml"]].concat()).exits(4);
    site.last()
}

#[test]
fn a_folder_of_modules_without_one_is_not_missed() {
    let text = format!("{HEAD}local mine = require \"mine\"\n{}", GATED.replace("3", "mine.replicas"));
    let host = Host::with_runbook(&text).file("empty/notes.md", "-").file("mods/mine.luau", "return { replicas = 3 }\n");
    let site = Site::of(host);
    let run = parks(&site, &["run", "r", "--modules", "empty", "--modules", "mods"]);
    site.host.run(&["resume", &run]).exits(4).tells("Go on with the rest?");
}

#[test]
fn beside_a_lone_file_only_what_it_requires_counts() {
    let text = format!("{HEAD}local mine = require \"mine\"\n{}", GATED.replace("3", "mine.replicas"));
    let host = Host::new().file("r/cluster.yaml", CLUSTER).file("lone/web.luau", &text).file("lone/mine.luau", "return { replicas = 3 }\n");
    let site = Site::of(host.file("lone/notes.luau", "-- mine\n"));
    let run = parks(&site, &["run", "lone/web.luau"]);
    let lone = site.host.path().join("lone");
    fs::write(lone.join("new.luau"), "return 1\n").unwrap();
    fs::write(lone.join("notes.luau"), "-- other\n").unwrap();
    site.host.run(&["resume", &run]).exits(4).tells("Go on with the rest?");
    fs::write(lone.join("mine.luau"), "return { replicas = 9 }\n").unwrap();
    site.host.run(&["resume", &run]).exits(5).tells("`mine.luau` has changed");
}

/// What the journal says is JSON, line by line.
#[test]
fn the_journal_of_a_run_that_was_taken_back_says_by_whom() {
    let site = site("");
    site.host.run(&RUN).exits(0);
    let run = site.last();
    site.host.run(&["rollback", &run, "--to", "one", "--yes"]).exits(0);
    let text = fs::read_to_string(site.folder(&run).join("journal.jsonl")).unwrap();
    let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!((&last["k"], &last["run"], &last["place"]), (&"taken_back".into(), &site.last().into(), &"step one".into()));
    site.host.run(&["report", &run, "--verify"]).exits(0);
}
