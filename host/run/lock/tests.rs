//! What is said to whom.

use super::*;
use crate::base::Timestamp;

fn worker(run: &str) -> Worker {
    Worker {
        run: run.to_owned(),
        host: "bastion".to_owned(),
        user: "kim".to_owned(),
        runbook: "calico-manifest".to_owned(),
        way: "--context prod".to_owned(),
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn lease() -> Lease {
    Lease {
        run: Some("A".to_owned()),
        host: "laptop".to_owned(),
        user: "ops".to_owned(),
        runbook: "cce-cni-v1-patch".to_owned(),
        step: Some("ipam".to_owned()),
        head: Some("3fa9".to_owned()),
        epoch: 1,
        acquired: Some(at(0)),
        renewed: Some(at(100)),
        ..Lease::default()
    }
}

#[test]
fn a_refusal_says_who_where_when_and_how_it_is_freed() {
    let error = held("prod", &lease(), &worker("B"), at(112));
    assert_eq!((error.kind.exit_code(), error.message.as_str()), (5, "the lock of `prod` is held by the run `A`"));
    assert_eq!(
        error.causes,
        [
            "runbook `cce-cni-v1-patch` by `ops` on `laptop`, in step `ipam`",
            "it was last heard of 12s ago",
            "the head of its journal is 3fa9"
        ]
    );
    let hint = error.hint.as_deref().unwrap();
    assert!(hint.contains("`lockgate unlock A --context prod`") && hint.contains("`lockgate resume A`"), "{hint}");
}

#[test]
fn one_that_has_run_out_is_said_to_be_so_and_not_free() {
    let error = held("prod", &lease(), &worker("B"), at(100 + 7200));
    assert_eq!(error.causes[1], "it was last heard of 2h ago (1970-01-01T00:01:40Z): it may be gone, which does not free the lock");
    let never = Lease { renewed: None, step: None, user: String::new(), ..lease() };
    let error = held("prod", &never, &worker("B"), at(0));
    assert_eq!(
        error.causes,
        [
            "runbook `cce-cni-v1-patch` on `laptop`, before its first step",
            "it never said that it is alive",
            "the head of its journal is 3fa9"
        ]
    );
}

#[test]
fn a_holder_whose_clock_is_ahead_is_told_so() {
    let error = held("prod", &Lease { renewed: Some(at(7300)), ..lease() }, &worker("B"), at(100));
    assert_eq!(
        error.causes[1],
        "it was last heard of at 1970-01-01T02:01:40Z, which is 2h from now: the clock of one of the two machines is wrong"
    );
}

#[test]
fn a_resume_of_a_run_that_is_worked_on_is_told_so() {
    let error = held("prod", &lease(), &worker("A"), at(100));
    assert_eq!(error.message, "the run `A` is worked on already: it holds the lock of `prod`");
    assert_eq!(error.causes[1], "it was last heard of just now");
    assert!(error.hint.as_deref().unwrap().contains("lockgate attach A"));
}

#[test]
fn what_a_run_left_behind_is_told_to_others_and_not_to_itself() {
    let before = Lease { run: None, last: Some("A".to_owned()), left: Some("failed".to_owned()), ..lease() };
    let warning = left_behind("prod", &before, &worker("B"), &Errand::Begin).unwrap();
    assert_eq!(warning, "the run `A` on `prod` was not finished (failed in step `ipam`): `lockgate resume A` goes on with it");
    assert_eq!(left_behind("prod", &before, &worker("A"), &Errand::Resume { known_epoch: 1, gone: true }), None);
    let back = Errand::TakeBack { of: "A".to_owned(), gone: true };
    assert_eq!(left_behind("prod", &before, &worker("B"), &back), None);
    let clean = Lease { left: None, ..before };
    assert_eq!(left_behind("prod", &clean, &worker("B"), &Errand::Begin), None);
}

#[test]
fn a_run_that_failed_half_way_is_named_with_the_ways_on() {
    let left = Lease { run: None, host: String::new(), last: Some("A".to_owned()), left: Some("failed".to_owned()), ..lease() };
    let error = unfinished("prod", &left, &worker("B"));
    assert_eq!((error.kind.exit_code(), &*error.message), (5, "the run `A` on `prod` is not finished: no other one begins over it"));
    assert_eq!(error.causes, ["runbook `cce-cni-v1-patch` by `ops`, in step `ipam`: failed"]);
    let hint = "`lockgate resume A` goes on with it, `lockgate rollback A` takes it back; `lockgate unlock A --context prod` gives it up";
    assert_eq!(error.hint.as_deref(), Some(hint));
    let back = unfinished("prod", &Lease { takes_back: Some("Z".to_owned()), ..left.clone() }, &worker("B"));
    assert!(back.hint.as_deref().unwrap().starts_with("`lockgate resume A` goes on with taking back `Z`; "), "{back:?}");
    assert!(unlocked("prod", &left, true).starts_with("the run `A` (runbook `cce-cni-v1-patch` by `ops`, in step `ipam`) is given up"));
}

#[test]
fn who_waits_for_the_lock_is_told_why() {
    let begin = |lease: &Lease, now| waits("prod", lease, &worker("B"), &Errand::Begin, at(now));
    let freed = Lease { run: None, host: String::new(), last: Some("A".to_owned()), freed: true, ..lease() };
    assert!(
        begin(&freed, 130).unwrap().starts_with("waiting 1m: the lock of `prod` was freed from the run `A`, which may have been at work")
    );
    assert_eq!(begin(&freed, 100 + 3600), None, "it was not heard of for long");
    assert_eq!(begin(&Lease { freed: false, ..freed }, 130), None);
    assert_eq!(begin(&lease(), 130), None, "it is refused, and not waited for");
    let resume = |host: &str, gone| {
        let worker = Worker { host: host.to_owned(), ..worker("A") };
        waits("prod", &lease(), &worker, &Errand::Resume { known_epoch: 1, gone }, at(130))
    };
    assert_eq!(resume("laptop", true), None);
    for told in [resume("laptop", false), resume("bastion", true)] {
        assert_eq!(told.as_deref(), Some("waiting up to 1m: whether `laptop` works on the run `A` still is seen by its lock"));
    }
}
