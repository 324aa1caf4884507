//! What is done from another terminal: a run is looked at while it goes, and its question is answered.

use std::rc::Rc;

use expectrl::Expect as _;
use lockgate::base::Timestamp;
use lockgate::run::approval::{Answers, Elsewhere};
use lockgate::run::journal::{Journal, Runs, read};
use lockgate::run::{Confirmation, End, Nobody, Operator as _};

use super::journals::{NEW, OLD, story, two, write};
use super::support::Host;
use super::terminal::{ends, start};

#[test]
fn the_transcript_of_a_run_that_is_over_is_printed_and_its_exit_code_given() {
    let host = two();
    host.run(&["attach", OLD, "--runs", "state"]).exits(0).shows("Move web").hides("nobody works on");
    let killed = host.run(&["attach", "last", "--runs", "state"]).exits(1);
    killed.shows("Move web").tells("nobody works on the run `01KAN4B7X00000000000000BBB` any more").tells("lockgate resume");
    host.run(&["attach", "nonsense", "--runs", "state"]).exits(2).tells("there is no run `nonsense`");
}

#[test]
fn a_run_that_goes_on_is_followed_to_its_end() {
    let host = Host::new();
    let (_, held) = write(&host, OLD, &story(OLD, false, Some(End::Succeeded))[..3]);
    let state = host.path().join("state");
    let mut session = start(&host, &["attach", OLD, "--runs", "state"]);
    // It has shown what there is, and follows.
    session.expect("Move web").unwrap();
    let folder = Runs::at(&state).open(OLD).unwrap();
    let read = read(&mut folder.disk(), OLD, false).unwrap();
    let journal = Journal::go_on(Box::new(folder.disk()), Some(Rc::new(folder.redactor().unwrap())), &read).unwrap();
    for fact in story(OLD, false, Some(End::Succeeded)).split_off(3) {
        journal.append(Timestamp::from_second(1_800_000_100).unwrap(), &fact).unwrap();
    }
    drop(held);
    let said = ends(session, 0);
    assert!(said.contains("done"), "{said}");
}

/// A run that parked at this gate.
fn parked(host: &Host) {
    drop(write(host, NEW, &story(NEW, false, Some(End::Parked))));
    let answers = Answers::of(NEW, &host.path().join("state").join(NEW));
    let operator = Elsewhere::new(Rc::new(Nobody), answers);
    let gate = Confirmation { at: "step rest".to_owned(), question: "Go on with the other nodes?".to_owned(), occurrence: 1 };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    assert_eq!(runtime.block_on(operator.confirm(&gate)).unwrap(), None);
}

#[test]
fn a_gate_is_answered_once_and_by_its_name() {
    let host = Host::new();
    parked(&host);
    let words = |rest: &[&'static str]| [&["approve", "last"][..], rest, &["--runs", "state"]].concat();
    host.run(&words(&["rset", "--yes"])).exits(2).tells("does not wait at `rset` but at `rest`").tells("did you mean `rest`?");
    host.run(&words(&["rest"])).exits(2).tells("no terminal").tells("Go on with the other nodes?");
    let answered = host.run(&words(&["rest", "--yes"])).exits(0);
    answered
        .tells("Go on with the other nodes?")
        .shows("`rest` is answered with yes")
        .shows(&format!("`lockgate resume {NEW} --runs state` takes it"));
    host.run(&words(&["rest", "--no"])).exits(5).tells("has been answered");
    drop(write(&host, OLD, &story(OLD, false, Some(End::Succeeded))));
    host.run(&["approve", OLD, "rest", "--yes", "--runs", "state"]).exits(2).tells("waits for no answer");
}

#[test]
fn a_lock_is_freed_by_the_whole_name_of_a_run_or_of_one_that_is_known_here() {
    let host = two();
    host.run(&["unlock", "nonsense", "--runs", "state", "--yes"])
        .exits(2)
        .tells("give the whole id of a run that was begun on another machine");
    // A name that is one needs a cluster next.
    host.run(&["unlock", OLD, "--runs", "state", "--yes"]).exits(2).tells("no cluster to work on");
    host.run(&["unlock", "last", "--runs", "state", "--yes"]).exits(2).tells("no cluster to work on");
}
