//! What is said, word by word, where a run cannot be begun or gone on with because of its folder or its lock.

use std::fs;
use std::os::unix::fs::chown;

use expectrl::Expect as _;
use lockgate::base::Timestamp;

use super::comeback::Site;
use super::support::{HEAD, Host, Said};
use super::terminal::{ends, start};

/// The same in every run: without ids, folders, moments, times, processes, hashes and the machine's name.
fn plain(mut said: Said, host: &Host, run: &str) -> Said {
    said = said.replacing(run, "RUN").replacing(&host.path().display().to_string(), "HERE");
    let machine = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    said = said.replacing(&format!("on `{}`", machine.trim()), "on `MACHINE`").replacing("heard of just now", "heard of TIME ago");
    let text = format!("{} {}", said.stdout, said.stderr);
    let words: Vec<&str> = text.split_whitespace().map(|word| word.trim_matches(|c: char| ",;:()`.".contains(c))).collect();
    for (at, word) in words.iter().enumerate() {
        let before = at.checked_sub(1).map_or("", |at| words[at]);
        let is_time = word.ends_with(['s', 'm', 'h']) && word.starts_with(|c: char| c.is_ascii_digit());
        if word.parse::<Timestamp>().is_ok() {
            said = said.replacing(word, "MOMENT");
        } else if word.len() == 64 && word.chars().all(|c| c.is_ascii_hexdigit()) {
            said = said.replacing(word, "HEAD");
        } else if is_time {
            said = said.replacing(&format!(" {word}"), " TIME");
        } else if before == "process" && word.chars().all(|c| c.is_ascii_digit()) {
            said = said.replacing(&format!("process {word}"), "process PID");
        }
    }
    said
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata("/proc/self").unwrap().uid() == 0
}

#[test]
fn a_folder_that_is_not_ours() {
    // Only root can give a folder away; others meet this in `comeback`.
    if !is_root() {
        return;
    }
    let (site, run) = Site::parked();
    chown(site.folder(&run), Some(65534), Some(65534)).unwrap();
    plain(site.host.run(&["resume", &run]).exits(5), &site.host, &run).golden("folder-not-ours");
}

#[test]
fn a_folder_that_was_copied_by_half() {
    let (site, run) = Site::parked();
    fs::remove_dir_all(site.folder(&run).join("script")).unwrap();
    plain(site.host.run(&["resume", &run, "--script", "pinned"]).exits(5), &site.host, &run).golden("folder-half");
}

#[test]
fn the_lock_of_a_run_that_nobody_works_on() {
    let (site, run) = Site::parked();
    let other = format!("{HEAD}step \"a\" {{ title = \"A\", run = function() label(\"node/n1\", {{ a = \"b\" }}) end }}\n");
    let host = site.host.file("other/runbook.luau", &other);
    let said = host.run(&["run", "other", "--yes", "--no-plan", "--kubeconfig", "k.yaml"]).exits(5);
    plain(said, &host, &run).golden("lock-of-another");
}

#[test]
fn a_second_resume_of_a_run_that_is_worked_on() {
    let (site, run) = Site::parked();
    let mut first = start(&site.host, &["resume", &run]);
    first.expect("Go on with the rest? [y/N] ").unwrap();
    plain(site.host.run(&["resume", &run]).exits(5), &site.host, &run).golden("resume-second");
    first.send_line("y").unwrap();
    ends(first, 0);
}

#[test]
fn a_lock_whose_clock_is_ahead() {
    let (site, run) = Site::parked();
    site.renewed_in(26 * 3600);
    let said = site.host.run(&["run", "r", "--yes", "--kubeconfig", "k.yaml"]).exits(5);
    plain(said, &site.host, &run).golden("lock-from-the-future");
}
