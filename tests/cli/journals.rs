//! `lockgate runs`, `status` and `report`, and what is said about run folders that nobody should go on from.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use lockgate::base::json::json;
use lockgate::base::{Span, Timestamp};
use lockgate::cluster::keep::{Intent, Key, Outcome, Sign};
use lockgate::run::event::{AnsweredBy, Event, Item, Known, StepEnd, TargetInfo, What};
use lockgate::run::journal::entry::{Begun, Consent, Fact, Header, Planned, VERSION};
use lockgate::run::journal::{Held, Journal, Runs};
use lockgate::run::{Confirmation, End, Summary};

use super::json_schema::fits;
use super::support::Host;

pub(super) const OLD: &str = "01KAM4B7X00000000000000AAA";
pub(super) const NEW: &str = "01KAN4B7X00000000000000BBB";

fn header(run: &str) -> Header {
    Header {
        v: VERSION,
        run: run.to_owned(),
        what: "run".to_owned(),
        of: None,
        runbook: "web".to_owned(),
        title: "Move web".to_owned(),
        source: "r/runbook.luau".to_owned(),
        files: [("runbook/runbook.luau".to_owned(), "ab".repeat(32))].into(),
        params: [("to".to_owned(), json!("v2")), ("key".to_owned(), json!({ "secret": "hmac-sha256:00" }))].into(),
        typed: [].into(),
        target: TargetInfo { name: "prod".to_owned(), simulated: false },
        way: json!({ "runbook": "r", "modules": [], "target": {} }),
        cluster: Some("7d9f".to_owned()),
        namespace: "shop".to_owned(),
        version: "0.1.0".to_owned(),
        command: "lockgate run r to=v2".to_owned(),
    }
}

/// One step with a write, and perhaps one that is not known; and how it ended.
pub(super) fn story(run: &str, half: bool, end: Option<End>) -> Vec<Fact> {
    let step = || Item { id: "move".to_owned(), title: "Move web".to_owned(), number: 1, of: 1, part: None };
    let told = |n: u64, event: Event| Fact::Told { n, item: None, event: Box::new(event) };
    let intent = |number: u64| {
        let op = format!("{run}/{number}/1");
        let key = Key { verb: "patch".to_owned(), target: "deployment/shop/web".to_owned(), part: None };
        let intent = Intent { op: op.clone(), key, object: None, sign: Sign::Stamp(op), body: "00".into(), prior: None };
        Fact::Intent { place: "step move".to_owned(), intent: Box::new(intent) }
    };
    let question = || Confirmation { at: "step move".to_owned(), question: "Move it now?".to_owned(), occurrence: 1 };
    let planned = Planned {
        text: "plan  one write\n".to_owned(),
        took: Span::from_secs(40),
        writes: 1,
        steps: [("move".to_owned(), Span::from_secs(30))].into(),
        predictions: Vec::new(),
        made_up: Default::default(),
    };
    let mut facts = vec![
        Fact::Begun(Begun { pid: 71, host: "laptop".to_owned(), user: "ops".to_owned(), epoch: 1 }),
        Fact::Consent(Consent {
            grants: None,
            by: "operator".to_owned(),
            plan: Some("cd".repeat(32)),
            confirmations: vec![question()],
            planned: Some(planned),
        }),
        told(1, Event::StepStarted { step: step() }),
        told(
            2,
            Event::Asked {
                confirmation: question(),
                answer: Some("yes".to_owned()),
                by: AnsweredBy::Plan,
                who: None,
                known: Known::Observed,
            },
        ),
        intent(1),
        Fact::Outcome { op: format!("{run}/1/1"), outcome: Outcome::Made { after: None } },
    ];
    if half {
        facts.push(intent(2));
    }
    if let Some(end) = end {
        let summary = Summary {
            end,
            exit_code: 0,
            writes: 1,
            objects: vec!["deployment/web".to_owned()],
            unsure: Vec::new(),
            invertible: 1,
            no_return: Vec::new(),
            stays: Vec::new(),
            took: Span::from_secs(12),
            unknowns: Vec::new(),
            drift: None,
            assumptions: Vec::new(),
            confirmations: Vec::new(),
            requests: Vec::new(),
            error: None,
        };
        facts.push(told(3, Event::StepFinished { step: step(), end: StepEnd::Done { recovered: false }, took: Span::from_secs(12) }));
        facts.push(told(4, Event::Finished { what: What::Run, summary }));
    }
    facts
}

/// Writes a run as a process does; gives its folder, and the lock as long as it is wanted.
pub(super) fn write(host: &Host, run: &str, facts: &[Fact]) -> (PathBuf, Held) {
    write_at(host, run, facts, |second| Timestamp::from_second(1_800_000_000 + 2 * i64::try_from(second).unwrap()).unwrap())
}

/// The same with a clock.
pub(super) fn write_at(host: &Host, run: &str, facts: &[Fact], at: impl Fn(usize) -> Timestamp) -> (PathBuf, Held) {
    let folder = Runs::at(host.path().join("state")).create(run).unwrap();
    let held = folder.hold().unwrap();
    let redactor = std::rc::Rc::new(folder.redactor().unwrap());
    let journal = Journal::create(Box::new(folder.disk()), Some(redactor), at(0), header(run)).unwrap();
    for (place, fact) in facts.iter().enumerate() {
        journal.append(at(place + 1), fact).unwrap();
    }
    (folder.path().to_path_buf(), held)
}

/// A run that is done and, begun after it, one that was killed in its second write.
pub(super) fn two() -> Host {
    let host = Host::new();
    drop(write(&host, OLD, &story(OLD, false, Some(End::Succeeded))));
    drop(write(&host, NEW, &story(NEW, true, None)));
    host
}

fn bytes(folder: &Path) -> Vec<u8> {
    fs::read(folder.join("journal.jsonl")).unwrap()
}

#[test]
fn runs_are_listed_with_what_became_of_them() {
    let host = two();
    host.run(&["runs", "--runs", "state"]).exits(0).golden("runs");
    host.run(&["runs", "--runs", "state", "-o", "markdown"]).exits(0).shows("| 01KAN4B7X00000000000000BBB | web | prod | killed |");
    let list = fits("runs.v1.json", &host.run(&["runs", "--runs", "state", "-o", "json"]).exits(0).stdout);
    assert_eq!(list["runs"][0]["standing"], "killed");
    assert_eq!((&list["runs"][1]["run"], &list["runs"][1]["writes"]), (&OLD.into(), &1.into()));
    Host::new().run(&["runs", "--runs", "none"]).exits(0).tells("there are no runs in `none`").hides("RUN");
}

#[test]
fn the_folder_of_runs_is_found_by_option_variable_and_state_folder() {
    let host = two();
    let state = host.path().join("state").display().to_string();
    let home = Host::new();
    home.run(&["status", "--runs", &state]).exits(0).shows(NEW);
    let by_variable = Host::new().env("LOCKGATE_RUNS", &state);
    by_variable.run(&["status"]).exits(0).shows(NEW);
    by_variable.run(&["status", "--runs", "elsewhere"]).exits(2).tells("in `elsewhere`");
    let by_state = Host::new().env("XDG_STATE_HOME", &format!("{state}/xdg"));
    fs::create_dir_all(host.path().join("state/xdg/lockgate")).unwrap();
    std::os::unix::fs::symlink(&state, host.path().join("state/xdg/lockgate/runs")).unwrap();
    by_state.run(&["status"]).exits(0).shows(NEW);
    home.run(&["status"]).exits(2).tells(".local/state/lockgate/runs");
}

#[test]
fn status_says_where_a_run_stands_and_how_to_go_on() {
    let host = two();
    host.run(&["status", "--runs", "state"]).exits(0).golden("status");
    let status = fits("status.v1.json", &host.run(&["status", "last", "--runs", "state", "-o", "json"]).exits(0).stdout);
    assert_eq!(status["next"][0]["command"], format!("lockgate resume {NEW} --runs state"));
    assert_eq!(status["half_done"][0]["became"], "open");
    let done = host.run(&["status", "aaa", "--runs", "state"]).exits(0).shows(OLD).shows("state      done\n").hides("resume");
    assert!(done.stdout.contains("rollback"));
}

#[test]
fn a_run_whose_process_lives_is_running() {
    let host = Host::new();
    let (_, held) = write(&host, NEW, &story(NEW, true, None));
    host.run(&["status", "--runs", "state"]).exits(0).shows("state      running, by process ").hides("resume");
    drop(held);
    host.run(&["status", "--runs", "state"]).exits(0).shows("state      killed");
}

#[test]
fn a_report_is_the_same_story_in_four_forms() {
    let host = two();
    let report = |format: &str| host.run(&["report", "bbb", "--runs", "state", "-o", format]).exits(0);
    report("text").without_head().golden("report");
    report("markdown").shows("# Run of web `01KAN4B7X00000000000000BBB`").shows("## Half-done").shows("| asked | lockgate run r to=v2 |");
    report("html").shows("<!doctype html>").shows("<svg ").hides("<script").hides("src=");
    let json = fits("report.v1.json", &report("json").stdout);
    assert_eq!(json["standing"], "killed");
    assert_eq!(json["consent"]["planned"]["text"], "plan  one write\n");
    assert_eq!(json["params"]["key"]["secret"], "hmac-sha256:00");
    assert_eq!(json["steps"][0]["predicted"], "30s");
    assert_eq!(json["head"].as_str().unwrap().len(), 64);
}

#[test]
fn an_unknown_run_is_told_with_the_nearest() {
    let host = two();
    let said = host.run(&["report", "01KAN4B7X00000000000000BBC", "--runs", "state"]).exits(2);
    said.tells("there is no run `01KAN4B7X00000000000000BBC`").tells(&format!("hint: did you mean `{NEW}`?"));
    host.run(&["status", "01ka", "--runs", "state"]).exits(2).tells("`01ka` is not one run: 2 begin or end so");
    let json = host.run(&["status", "nope", "--runs", "state", "-o", "json"]).exits(2);
    assert_eq!(fits("error.v1.json", &json.stdout)["error"]["reason"], "usage");
}

#[test]
fn a_journal_that_was_edited_is_refused_and_the_others_are_listed() {
    let host = two();
    let folder = host.path().join("state").join(NEW);
    let edited = String::from_utf8(bytes(&folder)).unwrap().replacen("\"by\":\"operator\"", "\"by\":\"nobody!!\"", 1);
    fs::write(folder.join("journal.jsonl"), edited).unwrap();
    host.run(&["status", "--runs", "state"]).exits(5).golden("journal-edited");
    host.run(&["runs", "--runs", "state"]).exits(0).shows("unreadable").shows("done").shows("is broken");
}

#[test]
fn a_torn_end_is_read_over_and_left_as_it_is() {
    let host = two();
    let folder = host.path().join("state").join(NEW);
    let mut torn = bytes(&folder);
    torn.extend_from_slice(b"{\"seq\":9,\"at\":\"2027-01-1");
    fs::write(folder.join("journal.jsonl"), &torn).unwrap();
    host.run(&["report", "last", "--runs", "state"]).exits(0).shows("; what follows the last line is torn");
    assert_eq!(bytes(&folder), torn);
    assert!(!folder.join("journal.torn").exists());
}

#[test]
fn half_a_copy_another_version_and_an_open_folder_are_told_apart() {
    let host = two();
    let folder = host.path().join("state").join(NEW);
    let whole = bytes(&folder);
    fs::remove_file(folder.join("journal.jsonl")).unwrap();
    host.run(&["status", "--runs", "state"]).exits(5).golden("journal-missing");
    fs::write(folder.join("journal.jsonl"), "").unwrap();
    host.run(&["status", "--runs", "state"]).exits(5).tells("its journal has no header");
    fs::remove_file(folder.join("journal.jsonl")).unwrap();
    let newer = Header { v: 9, version: "9.1.0".to_owned(), ..header(NEW) };
    let disk = lockgate::run::journal::io::RealDisk::new(&folder);
    Journal::create(Box::new(disk), None, Timestamp::UNIX_EPOCH, newer).unwrap();
    host.run(&["status", "--runs", "state"]).exits(5).golden("journal-newer");
    fs::write(folder.join("journal.jsonl"), whole).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o770)).unwrap();
    host.run(&["status", "--runs", "state"]).exits(5).golden("journal-open");
}
