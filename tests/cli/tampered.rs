//! T17 of the threat table: what others did to the folder of a run is found, and nothing goes on from it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use lockgate::cluster::keep::Outcome;
use lockgate::run::journal::io::{JOURNAL, RealDisk};
use lockgate::run::journal::memory::MemoryDisk;
use lockgate::run::journal::{Fact, Journal, read};

use super::support::{Host, MOVE};
use super::threats::{IMAGE, serve};

/// What is done to the folder, and what is told of it.
type Spoil = (&'static str, fn(&std::path::Path), &'static str);

fn edit(path: &std::path::Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{from} is not in {text}");
    fs::write(path, text.replacen(from, to, 1)).unwrap();
}

pub(super) fn mode(path: &std::path::Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn script(folder: &std::path::Path) -> std::path::PathBuf {
    let mut folders = vec![folder.join("script")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            match entry.file_name().unwrap().to_str() {
                Some("runbook.luau") => return entry,
                _ if entry.is_dir() => folders.push(entry),
                _ => {}
            }
        }
    }
    panic!("no runbook is pinned")
}

/// Writes the journal anew, each line whole and chained to the one before, by somebody who has not got the key.
fn forge(folder: &std::path::Path) {
    let mut disk = RealDisk::new(folder);
    let run = folder.file_name().unwrap().to_str().unwrap();
    let past = read(&mut disk, run, false).unwrap();
    let forged = MemoryDisk::new();
    let mut facts = past.entries.iter();
    let Some((at, Fact::Header(header))) = facts.next().map(|entry| (entry.at, entry.fact.clone())) else { panic!("no header") };
    let journal = Journal::create(Box::new(forged.clone()), None, at, *header).unwrap();
    // What was done counts as not done.
    let why = "nobody was there".to_owned();
    for entry in facts {
        let fact = match &entry.fact {
            Fact::Outcome { op, .. } => &Fact::Outcome { op: op.clone(), outcome: Outcome::NotMade { why: why.clone() } },
            other => other,
        };
        journal.append(entry.at, fact).unwrap();
    }
    fs::write(folder.join(JOURNAL), forged.files().remove(JOURNAL).unwrap()).unwrap();
}

/// The answers in a folder.
fn answers(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let found = fs::read_dir(folder.join("answers")).unwrap().map(|entry| entry.unwrap().path());
    found.filter(|path| !path.ends_with("waiting.json")).collect()
}

/// What others can do to it.
fn spoils() -> [Spoil; 10] {
    [
        (
            "a parameter of the record",
            |folder| edit(&folder.join("journal.jsonl"), "web:v1.2.4", "web:v6.6.6"),
            "is broken: it was changed",
        ),
        (
            "a line of the record",
            |folder| edit(&folder.join("journal.jsonl"), "\"k\":\"consent\"", "\"k\":\"consemt\""),
            "is broken: it was changed",
        ),
        (
            "its end",
            |folder| {
                let path = folder.join("journal.jsonl");
                let text = fs::read_to_string(&path).unwrap();
                fs::write(&path, text.lines().take(3).map(|line| format!("{line}\n")).collect::<String>()).unwrap();
            },
            "is not the one that the lock of `sandbox` was told of",
        ),
        ("the pinned script", |folder| edit(&script(folder), "wait_rollout", "wait_for"), "is not whole"),
        ("the mode of the record", |folder| mode(&folder.join("journal.jsonl"), 0o666), "others can write to it"),
        ("the mode of the folder", |folder| mode(folder, 0o777), "others can write to it"),
        (
            "a link in place of the record",
            |folder| {
                fs::rename(folder.join("journal.jsonl"), folder.join("other")).unwrap();
                std::os::unix::fs::symlink("other", folder.join("journal.jsonl")).unwrap();
            },
            "it is a symbolic link",
        ),
        ("a journal that is whole, by somebody else", forge, "was not written with the key of this folder of runs"),
        (
            "the key of the folder of runs",
            |folder| fs::write(folder.parent().unwrap().join("seal"), [7; 32]).unwrap(),
            "was not written with the key of this folder of runs",
        ),
        (
            "an answer that others could have given",
            |folder| answers(folder).iter().for_each(|path| mode(path, 0o666)),
            "others than its owner can read or write it",
        ),
    ]
}

#[test]
fn t17_what_others_did_to_the_folder_of_a_run_is_not_gone_on_from() {
    let host = Host::with_runbook(&format!(
        "{MOVE}step \"rest\" {{ title = \"Rest\", gate = \"Go on?\", run = function() note(\"went on\") end }}\n"
    ));
    let (_served, kubeconfig) = serve(&host, "r", "record");
    let host = host.file("k.yaml", &kubeconfig);
    host.run(&["run", "r", IMAGE, "--yes", "--kubeconfig", "k.yaml"]).exits(4);
    host.run(&["approve", "last", "rest", "--yes"]).exits(0);
    let runs = host.path().join(".local/state/lockgate/runs");
    let run = host.runs_in(".local/state/lockgate/runs")[0].file_name().unwrap().to_str().unwrap().to_owned();
    let copy = |from: &std::path::Path, to: &std::path::Path| {
        let done = std::process::Command::new("cp").arg("-a").args([from, to]).status().unwrap();
        assert!(done.success());
    };
    let writes = || {
        let text = fs::read_to_string(host.path().join("record")).unwrap();
        text.lines()
            .filter(|line| ["\"patch\"", "\"create\"", "\"delete\""].iter().any(|verb| line.contains(verb)))
            .filter(|line| !line.contains("leases"))
            .count()
    };
    let before = writes();
    for (what, spoil, told) in spoils() {
        let spoiled = host.path().join("spoiled");
        fs::remove_dir_all(&spoiled).ok();
        copy(&runs, &spoiled);
        spoil(&spoiled.join(&run));
        let said = host.run(&["resume", &run, "--script", "pinned", "--runs", "spoiled"]);
        assert!(matches!(said.code, Some(5)), "{what}: {}", said.transcript());
        said.tells(told).hides("went on");
        assert_eq!(writes(), before, "{what}");
    }
    // An answer that nobody gave is none, whoever owns the file.
    let folder = host.path().join("spoiled").join(&run);
    for path in answers(&folder) {
        mode(&path, 0o600);
        edit(&path, "\"by\":\"", "\"by\":\"not ");
    }
    let said = host.run(&["resume", &run, "--runs", "spoiled"]).exits(5).hides("went on");
    said.tells("it was not written by `lockgate approve --runs spoiled` with the key of this folder of runs");
    // Without its key nobody goes on from a journal, or takes back what it says; whoever looked, and says so, does.
    fs::write(host.path().join("spoiled/seal"), [7; 32]).unwrap();
    host.run(&["rollback", &run, "--yes", "--runs", "spoiled"]).exits(5).tells("was not written with the key of this folder of runs");
    let said = host.run(&["resume", &run, "--runs", "spoiled"]).exits(5);
    said.tells(&format!("`lockgate resume {run} --accept-truncated --runs spoiled`"));
    host.run(&["resume", &run, "--accept-truncated", "--runs", "spoiled"]).exits(5).tells("is not safe to go by");
    answers(&folder).iter().for_each(|path| fs::remove_file(path).unwrap());
    host.run(&["approve", &run, "rest", "--yes", "--runs", "spoiled"]).exits(0);
    host.run(&["resume", &run, "--runs", "spoiled"]).exits(0).shows("went on");
}
