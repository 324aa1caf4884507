//! The fence by itself, in virtual time.

use std::cell::RefCell;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::base::Timestamp;
use crate::base::json::json;
use crate::cluster::testing::quiet;

/// Renews as told: so many tries fail, then all go well.
struct Told {
    fence: Mutex<Option<Fence>>,
    clock: Clock,
    failing: AtomicUsize,
    tries: AtomicUsize,
    by_hand: bool,
}

impl Renew for Told {
    fn renewed(&self) -> BoxFuture<'_, ()> {
        let fence = self.fence.lock().unwrap().clone().unwrap();
        self.tries.fetch_add(1, Ordering::SeqCst);
        let left = self.failing.load(Ordering::SeqCst);
        if left > 0 {
            self.failing.store(left - 1, Ordering::SeqCst);
            fence.failed("no connection".to_owned());
        } else {
            fence.renewed(self.clock.steady());
        }
        Box::pin(std::future::ready(()))
    }

    fn tell(&self, _: Note) {}

    fn by_hand(&self) -> bool {
        self.by_hand
    }
}

fn armed(failing: usize, by_hand: bool) -> (Fence, Clock, Arc<Told>) {
    let clock = quiet(Timestamp::from_second(1_000).unwrap());
    let fence = Fence::default();
    let (failing, tries) = (AtomicUsize::new(failing), AtomicUsize::new(0));
    let told = Arc::new(Told { fence: Mutex::new(Some(fence.clone())), clock: clock.clone(), failing, tries, by_hand });
    fence.arm("R".to_owned(), 2, clock.clone(), clock.steady(), told.clone());
    (fence, clock, told)
}

fn run<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

async fn rest(clock: &Clock, seconds: u64) {
    clock.sleep(Span::from_secs(seconds)).await.unwrap();
}

#[test]
fn without_a_lock_everything_passes() {
    run(async {
        let fence = Fence::default();
        assert!(fence.check().is_ok());
        assert!(!fence.pass(&Cancel::new(), |_| ()).await.unwrap());
        fence.lose(Error::internal("x"));
        assert!(fence.check().is_ok(), "nothing was held that could be lost");
    });
}

#[test]
fn it_closes_forty_seconds_after_the_last_renewal_was_sent() {
    run(async {
        let (fence, clock, told) = armed(0, false);
        rest(&clock, 39).await;
        assert!(fence.check().is_ok());
        assert!(!fence.pass(&Cancel::new(), |_| ()).await.unwrap());
        assert_eq!(told.tries.load(Ordering::SeqCst), 0, "a thread renews by itself");
        rest(&clock, 1).await;
        let refused = fence.check().unwrap_err();
        assert_eq!((refused.kind.exit_code(), refused.is_stop()), (4, true), "{refused}");
        assert!(fence.pass(&Cancel::new(), |_| ()).await.unwrap(), "it waits for a renewal");
        assert!(fence.check().is_ok());
        // A late answer to an early request does not make it younger.
        fence.renewed(Duration::ZERO);
        assert!(fence.check().is_ok());
    });
}

#[test]
fn by_hand_it_is_renewed_when_that_is_due_and_a_failure_waits_for_the_fence() {
    run(async {
        let (fence, clock, told) = armed(1, true);
        rest(&clock, 9).await;
        fence.pass(&Cancel::new(), |_| ()).await.unwrap();
        assert_eq!(told.tries.load(Ordering::SeqCst), 0);
        rest(&clock, 1).await;
        fence.pass(&Cancel::new(), |_| panic!("the fence is open")).await.unwrap();
        assert_eq!((told.tries.load(Ordering::SeqCst), clock.now().as_second()), (1, 1_010), "it failed, and the write goes on");
        fence.pass(&Cancel::new(), |_| ()).await.unwrap();
        fence.pass(&Cancel::new(), |_| ()).await.unwrap();
        assert_eq!(told.tries.load(Ordering::SeqCst), 2, "once renewed it is young");
        fence.tell(Note::Step("ipam".to_owned()));
        fence.pass(&Cancel::new(), |_| ()).await.unwrap();
        assert_eq!(told.tries.load(Ordering::SeqCst), 3, "something new is told at once");
    });
}

#[test]
fn an_outage_is_waited_for_and_said() {
    run(async {
        let (fence, clock, told) = armed(30, false);
        rest(&clock, 45).await;
        let said = RefCell::new(Vec::new());
        assert!(fence.pass(&Cancel::new(), |text| said.borrow_mut().push(text)).await.unwrap());
        assert_eq!(told.tries.load(Ordering::SeqCst), 31);
        assert_eq!(clock.now().as_second(), 1_000 + 45 + 60);
        assert_eq!(said.borrow().len(), 30);
        assert_eq!(said.borrow()[0], "the lock of the run was last renewed 45s ago: no connection");
    });
}

#[test]
fn an_outage_without_end_stops_the_run() {
    run(async {
        let (fence, clock, _) = armed(usize::MAX, false);
        rest(&clock, 60).await;
        let stopped = fence.pass(&Cancel::new(), |_| ()).await.unwrap_err();
        assert_eq!(clock.now().as_second(), 1_060 + 30 * 60);
        assert_eq!((stopped.kind.exit_code(), stopped.is_stop()), (4, true));
        assert_eq!(stopped.to_string(), "the lock of the run `R` could not be renewed for 30m, so nothing more is written: no connection");
        assert!(stopped.hint.as_deref().unwrap().contains("lockgate resume R"));
    });
}

#[test]
fn ctrl_c_ends_the_wait_at_a_closed_fence() {
    run(async {
        let (fence, clock, _) = armed(usize::MAX, false);
        rest(&clock, 60).await;
        let cancel = Cancel::new();
        let told = cancel.clone();
        let stopped = fence.pass(&cancel, |_| assert!(told.press() > Stage::Running)).await.unwrap_err();
        assert_eq!(stopped.message, "interrupted");
        assert_eq!(clock.now().as_second(), 1_060);
    });
}

#[test]
fn a_lost_lock_is_lost_for_good_and_the_first_reason_stands() {
    run(async {
        let (fence, _, _) = armed(0, true);
        fence.lose(lost("R", "somebody has freed it".to_owned()));
        fence.lose(lost("R", "another reason".to_owned()));
        for error in [fence.check().unwrap_err(), fence.pass(&Cancel::new(), |_| ()).await.unwrap_err()] {
            assert_eq!(error.message, "the run `R` has lost its lock: somebody has freed it");
            assert_eq!((error.kind.exit_code(), error.is_stop()), (4, true));
        }
        fence.disarm();
        assert!(fence.check().is_ok());
    });
}

#[test]
fn a_later_epoch_of_this_run_on_an_object_is_somebody_else() {
    let stamped = |stamp: &str| json!({"metadata": {"name": "web", "annotations": {"lockgate.dev/op": stamp}}});
    for stamp in ["R/7/2", "R/9/1", "OTHER/1/9", "nonsense", "R/x"] {
        let (fence, _, _) = armed(0, true);
        fence.saw(&stamped(stamp));
        assert!(fence.check().is_ok(), "{stamp}");
    }
    let (fence, _, _) = armed(0, true);
    fence.saw(&stamped("R/9/3"));
    let error = fence.check().unwrap_err();
    assert_eq!(error.message, "the run `R` has lost its lock: `web` carries a write of its process 3, and this is process 2");
}

#[test]
fn a_server_that_is_away_is_told_from_a_request_that_fails() {
    run(async {
        assert_eq!(Fence::default().outlast(&Cancel::new(), |_| ()).await.unwrap(), None, "nobody waits without a lock");
        let (fence, clock, told) = armed(0, false);
        rest(&clock, 5).await;
        assert_eq!(fence.outlast(&Cancel::new(), |_| panic!("it is there")).await.unwrap(), Some(false));
        told.failing.store(30, Ordering::SeqCst);
        let said = RefCell::new(Vec::new());
        let waited = fence.outlast(&Cancel::new(), |text| said.borrow_mut().push(text)).await.unwrap();
        assert_eq!((waited, clock.now().as_second()), (Some(true), 1_000 + 5 + 60));
        assert_eq!(said.borrow()[0], "the cluster does not answer: no connection; the run waits for it");
        assert_eq!(said.borrow().len(), 30);
    });
}

#[test]
fn a_server_that_stays_away_stops_the_run_and_so_does_ctrl_c() {
    run(async {
        let (fence, clock, _) = armed(usize::MAX, false);
        let stopped = fence.outlast(&Cancel::new(), |_| ()).await.unwrap_err();
        assert_eq!((clock.now().as_second(), stopped.kind.exit_code(), stopped.is_stop()), (1_000 + 30 * 60, 4, true));
        let (fence, clock, _) = armed(usize::MAX, false);
        let cancel = Cancel::new();
        let pressed = cancel.clone();
        let stopped = fence.outlast(&cancel, |_| assert!(pressed.press() > Stage::Running)).await.unwrap_err();
        assert_eq!((stopped.message.as_str(), clock.now().as_second()), ("interrupted", 1_000));
        let (fence, _, _) = armed(0, false);
        fence.lose(lost("R", "somebody has freed it".to_owned()));
        assert!(fence.outlast(&Cancel::new(), |_| ()).await.unwrap_err().message.contains("lost its lock"));
    });
}
