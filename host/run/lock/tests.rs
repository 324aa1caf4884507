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
