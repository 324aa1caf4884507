//! The clock, moved by sources whose events are lists.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// A source whose events are a list; counts its steps.
struct Script {
    now: Mutex<Timestamp>,
    events: Vec<i64>,
    steps: AtomicUsize,
    hang: bool,
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn script(events: &[i64]) -> Arc<Script> {
    Arc::new(Script { now: Mutex::new(at(0)), events: events.to_vec(), steps: AtomicUsize::new(0), hang: false })
}

impl TimeSource for Arc<Script> {
    fn now(&self) -> Timestamp {
        *self.now.lock().unwrap()
    }
    fn next_event_at(&self) -> Option<Timestamp> {
        self.events.iter().map(|second| at(*second)).find(|event| *event > self.now())
    }
    fn advance_to(&self, to: Timestamp) -> Advance {
        let this = self.clone();
        Box::pin(async move {
            tokio::task::yield_now().await;
            if this.hang {
                pending::<()>().await;
            }
            this.steps.fetch_add(1, Ordering::SeqCst);
            *this.now.lock().unwrap() = to;
            Ok(())
        })
    }
}

fn run<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

#[test]
fn one_participant_steps_through_events_to_its_deadline() {
    run(async {
        let source = script(&[5, 7]);
        let clock = Clock::virtual_time(Arc::new(source.clone()));
        clock.sleep_until(at(10)).await.unwrap();
        assert_eq!(clock.now(), at(10));
        assert_eq!(source.steps.load(Ordering::SeqCst), 3, "5, 7 and the deadline");
        clock.sleep_until(at(3)).await.unwrap();
        assert_eq!(clock.now(), at(10), "time does not go back");
    });
}

#[test]
fn time_moves_only_when_all_participants_wait() {
    run(async {
        let source = script(&[]);
        let one = Clock::virtual_time(Arc::new(source.clone()));
        let two = one.join();
        let mut first = Box::pin(one.sleep_until(at(10)));
        for _ in 0..5 {
            assert!(futures::poll!(&mut first).is_pending());
        }
        assert_eq!(one.now(), at(0), "the other participant is not parked");
        let order = Mutex::new(Vec::new());
        let second = async {
            for second in [4, 12] {
                two.sleep_until(at(second)).await.unwrap();
                order.lock().unwrap().push((2, two.now()));
            }
        };
        let first = async {
            first.await.unwrap();
            order.lock().unwrap().push((1, one.now()));
            one.sleep_until(at(12)).await.unwrap();
        };
        futures::join!(first, second);
        assert_eq!(*order.lock().unwrap(), [(2, at(4)), (1, at(10)), (2, at(12))]);
    });
}

#[test]
fn a_participant_that_leaves_frees_the_others() {
    run(async {
        let one = Clock::virtual_time(Arc::new(script(&[])));
        let two = one.join();
        let mut sleep = Box::pin(one.sleep_until(at(1)));
        assert!(futures::poll!(&mut sleep).is_pending());
        drop(two);
        sleep.await.unwrap();
        assert_eq!(one.now(), at(1));
    });
}

#[test]
fn who_stands_aside_holds_nobody_up_and_takes_part_again() {
    run(async {
        let one = Clock::virtual_time(Arc::new(script(&[])));
        let two = one.join();
        let aside = one.stand_aside();
        two.sleep_until(at(3)).await.unwrap();
        drop(aside);
        let mut sleep = Box::pin(two.sleep_until(at(5)));
        for _ in 0..5 {
            assert!(futures::poll!(&mut sleep).is_pending());
        }
        assert_eq!(one.now(), at(3), "it is waited for again");
    });
}

#[test]
fn busy_holds_time_and_its_end_wakes() {
    run(async {
        let clock = Clock::virtual_time(Arc::new(script(&[])));
        let busy = clock.busy();
        let copy = busy.clone();
        let mut sleep = Box::pin(clock.sleep_until(at(1)));
        assert!(futures::poll!(&mut sleep).is_pending());
        drop(busy);
        assert!(futures::poll!(&mut sleep).is_pending());
        assert_eq!(clock.now(), at(0));
        drop(copy);
        sleep.await.unwrap();
        assert_eq!(clock.now(), at(1));
    });
}

#[test]
fn waiting_for_nothing_is_noticed() {
    run(async {
        let clock = Clock::virtual_time(Arc::new(script(&[5])));
        assert_eq!(clock.park(None).await.unwrap(), Reached::Never);
        assert_eq!(clock.now(), at(5), "what was to happen happened first");
    });
}

#[test]
fn a_dropped_driver_is_replaced() {
    run(async {
        let mut hanging = Arc::try_unwrap(script(&[])).ok().unwrap();
        hanging.hang = true;
        let one = Clock::virtual_time(Arc::new(Arc::new(hanging)));
        let two = one.join();
        let mut first = Box::pin(one.sleep_until(at(2)));
        let mut second = Box::pin(two.sleep_until(at(3)));
        assert!(futures::poll!(&mut first).is_pending());
        assert!(futures::poll!(&mut second).is_pending());
        assert!(futures::poll!(&mut second).is_pending());
        drop(second);
        assert!(!one.0.core().lock().driving);
        assert!(futures::poll!(&mut first).is_pending());
        assert!(!one.0.core().lock().driving, "the second participant is not parked");
        drop(two);
        assert!(futures::poll!(&mut first).is_pending());
        assert!(one.0.core().lock().driving);
    });
}

#[test]
fn of_two_sleeps_in_a_select_the_earlier_ends_at_its_time() {
    run(async {
        let clock = Clock::virtual_time(Arc::new(script(&[3])));
        for second in [2, 4] {
            tokio::select! {
                biased;
                woke = clock.sleep_until(at(second)) => woke.unwrap(),
                _ = clock.sleep_until(at(100)) => panic!("too late"),
            }
            assert_eq!(clock.now(), at(second));
        }
    });
}

impl Inner {
    fn core(&self) -> &Core {
        match self {
            Inner::Virtual(participant) => &participant.core,
            Inner::Real { .. } => panic!("real"),
        }
    }
}

#[test]
fn steady_time_goes_on_and_is_the_virtual_one_where_time_is_virtual() {
    run(async {
        let clock = Clock::virtual_time(Arc::new(script(&[])));
        let before = clock.steady();
        clock.sleep_until(at(40)).await.unwrap();
        assert_eq!(clock.steady() - before, Duration::from_secs(40));
    });
    let real = Clock::real();
    let (first, second) = (real.steady(), real.steady());
    assert!(Duration::ZERO < first && first <= second);
}

#[test]
fn lengths_saturate() {
    assert_eq!(between(at(5), at(3)), Duration::ZERO);
    assert_eq!(between(at(3), at(5)), Duration::from_secs(2));
    assert_eq!(later(Timestamp::MAX, Duration::from_secs(1)), Timestamp::MAX);
}
