//! The door with small scripts of `sh` behind it.

use super::*;
use crate::base::clock::between;

fn script(text: &str) -> Child {
    Child::new("/bin/sh", ["-c", text])
}

fn run_with(child: &Child, cancel: &Cancel) -> Result<Ended> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(run(child, cancel, std::future::pending(), || Duration::ZERO))
}

fn ran(child: &Child) -> Ended {
    run_with(child, &Cancel::new()).unwrap()
}

#[test]
fn both_outputs_the_input_and_the_code_come_through() {
    let ended = ran(&script("cat; echo bad >&2; exit 3").stdin("one\ntwo\n"));
    assert_eq!((ended.code, ended.signal, ended.late, ended.truncated), (Some(3), None, false, false));
    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("one\ntwo\n", "bad\n"));
    assert!(!ended.is_well());
    assert!(ran(&script("exit 0").stdin(vec![b'x'; 1 << 20])).is_well(), "input that is not read is no fault");
}

#[test]
fn the_environment_is_made_for_it() {
    let ended = ran(&Child::new("/usr/bin/env", [] as [&str; 0]).env("ONLY", "this one"));
    let names: Vec<&str> = ended.stdout.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    assert!(names.contains(&"ONLY") && names.contains(&"PATH"), "{names:?}");
    assert!(names.iter().all(|name| *name == "ONLY" || INHERITED.contains(name)), "{names:?}");
    let is_left_out = |name: std::ffi::OsString| !INHERITED.iter().any(|known| name == *known);
    assert!(std::env::vars_os().any(|(name, _)| is_left_out(name)), "there was something to leave out");
}

#[test]
fn of_too_much_output_the_beginning_and_of_errors_the_end_is_kept() {
    let ended = ran(&script("seq 1 20000; seq 1 20000 >&2").kept(1000));
    assert!(ended.truncated && ended.stdout.starts_with("1\n2\n") && ended.stderr.ends_with("19999\n20000\n"));
    assert_eq!((ended.stdout.len(), ended.stderr.len()), (1000, 1000));
}

#[test]
fn a_child_without_time_is_asked_to_end_and_then_made_to() {
    let asked = ran(&script("trap 'echo asked; exit 7' TERM; echo here; while :; do sleep 0.01; done").limit(Span::from_millis(200)));
    assert_eq!((asked.code, asked.late, asked.stdout.as_str()), (Some(7), true, "here\nasked\n"));
    let clock = Clock::real();
    let begun = clock.now();
    let limits = script("trap '' TERM; sleep 60 & while :; do sleep 60; done").limit(Span::from_millis(100)).grace(Span::from_millis(200));
    let killed = ran(&limits);
    assert_eq!((killed.code, killed.signal, killed.late), (None, Some(9), true));
    let took = between(begun, clock.now());
    assert!(took < Duration::from_secs(10), "the whole group ended, or its outputs would be open still: {took:?}");
}

#[test]
fn time_in_which_the_cluster_was_away_is_none_of_the_childs() {
    let child = script("sleep 0.4; echo whole").limit(Span::from_millis(100));
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let spared = Duration::from_secs(20);
    let ended = runtime().block_on(run(&child, &Cancel::new(), std::future::pending(), || spared)).unwrap();
    assert_eq!((ended.late, ended.stdout.as_str()), (false, "whole\n"));
    let clock = Clock::real();
    let begun = clock.now();
    // It grows for a while, and then no more.
    let grows = || between(begun, clock.now()).min(Duration::from_millis(300));
    let child = script("sleep 60").limit(Span::from_millis(100));
    let ended = runtime().block_on(run(&child, &Cancel::new(), std::future::pending(), grows)).unwrap();
    let took = between(begun, clock.now());
    assert!(ended.late && took >= Duration::from_millis(400) && took < Duration::from_secs(20), "{took:?}");
}

#[test]
fn what_a_child_leaves_behind_does_not_hold_the_call() {
    let clock = Clock::real();
    let begun = clock.now();
    let ended = ran(&script("sleep 60 & echo done"));
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), "done\n"));
    assert!(between(begun, clock.now()) < Duration::from_secs(20));
}

#[test]
fn the_second_ctrl_c_ends_it_and_the_first_only_what_changes_nothing() {
    let cancel = Cancel::new();
    cancel.press();
    assert_eq!(run_with(&script("sleep 0.1; echo whole"), &cancel).unwrap().stdout, "whole\n");
    let error = run_with(&script("sleep 60").ends_at_once(), &cancel).unwrap_err();
    assert!(error.is_stop(), "{error}");
    cancel.press();
    let error = run_with(&script("sleep 60"), &cancel).unwrap_err();
    assert!(error.is_stop() && error.details["outcome"] == "unknown", "{error}");
}

#[test]
fn a_call_that_is_dropped_takes_its_child_along() {
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("pid");
    let child = script(&format!("sleep 60 & echo $! > {}; wait", file.display()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let clock = Clock::real();
    let pid: i32 = runtime.block_on(async {
        let cancel = Cancel::new();
        tokio::select! {
            ended = run(&child, &cancel, std::future::pending(), || Duration::ZERO) => panic!("{ended:?}"),
            pid = async {
                loop {
                    match std::fs::read_to_string(&file).ok().and_then(|text| text.trim().parse().ok()) {
                        Some(pid) => break pid,
                        None => clock.sleep(Span::from_millis(5)).await.unwrap(),
                    }
                }
            } => pid,
        }
    });
    let gone = || std::fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "));
    let last = later(clock.now(), Duration::from_secs(10));
    while !gone() && clock.now() < last {
        runtime.block_on(clock.sleep(Span::from_millis(5))).unwrap();
    }
    assert!(gone(), "process {pid} lives");
}

#[test]
fn what_cannot_be_started_says_why() {
    let error = run_with(&Child::new("/nowhere/helm", ["version"]), &Cancel::new()).unwrap_err();
    assert_eq!(
        (error.reason, error.to_string().as_str()),
        (Reason::CommandMissing, "cannot start `helm`: /nowhere/helm: no such file or directory")
    );
    let error = run_with(&Child::new("/etc/passwd", [] as [&str; 0]), &Cancel::new()).unwrap_err();
    assert_eq!((error.kind, error.reason), (Kind::Input, Reason::CommandFailed));
    assert!(on_path("sh").is_some() && on_path("no-such-program-anywhere").is_none());
}

#[test]
fn in_a_plan_and_a_simulated_cluster_the_door_is_shut() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let sim = lockgate_sim::Cluster::new(lockgate_sim::Options::default());
        let options = super::super::Options::new(super::super::RunId::simulated(sim.now(), 1));
        let simulated = Cluster::simulated(sim.fork(), options.clone());
        let standing = Cluster::stand_in(sim, options);
        for shut in [&simulated, &simulated.planning(), &standing.planning()] {
            let error = shut.start(&script("exit 0")).await.unwrap_err();
            assert_eq!(error.kind, Kind::Refused, "{error}");
        }
        assert!(standing.start(&script("exit 0")).await.unwrap().is_well());
    });
}
