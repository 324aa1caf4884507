//! A fault in lockgate's own code (`reference/safety.md` §2.7, "panic in host"): the process unwinds at some event of the run, and what is
//! dropped on the way writes nothing and gives nothing back. The next process finishes the run as after any other end of the first.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

use lockgate::run::event::Sink;
use lockgate::run::journal::book::OnDrift;
use lockgate::run::lock::Errand;
use lockgate::run::{Job, Record, perform};

use super::harness::{Kill, Scene};
use super::kill::{Reference, finished, summed, told};
use super::kinds::{KindOfAct, Shape};

/// Passes on so many records, and unwinds at the next.
struct Falls {
    left: usize,
    to: Rc<RefCell<dyn Sink>>,
}

impl Sink for Falls {
    fn record(&mut self, record: &Record) {
        if self.left == 0 {
            // Without the hook of the process, which is that of all tests.
            resume_unwind(Box::new("a fault of its own"));
        }
        self.left -= 1;
        self.to.borrow_mut().record(record);
    }
}

/// Unwinds at every event of this runbook; gives at how many.
fn everywhere(name: &str) -> usize {
    let scene: Scene = KindOfAct::named(name).scene(Shape::Small);
    let (reference, _, _) = Reference::watched(&scene);
    let mut wrong = Vec::new();
    for at in 0.. {
        let world = scene.world();
        let fell = catch_unwind(AssertUnwindSafe(|| {
            scene.works(&world, scene.id(), Errand::Begin, Kill::No, OnDrift::Stop, &|script, job, _, _| {
                let sink: Rc<RefCell<dyn Sink>> = Rc::new(RefCell::new(Falls { left: at, to: job.sink.clone() }));
                perform(script, Job { sink, ..job })
            })
        }));
        if fell.is_ok() {
            assert!(at > 5, "{name}: a run without events");
            assert!(wrong.is_empty(), "{name}: {} of {at} differ:\n{}", wrong.len(), summed(&wrong));
            return at;
        }
        let (found, _) = finished(&scene, &reference, &world, false);
        if !found.is_empty() {
            wrong.push(format!("{name}: fell at event {at}\n  {}\n{}", found.join("\n  "), told(&world)));
        }
    }
    unreachable!("a run has an end")
}

#[test]
fn a_run_that_fell_over_its_own_fault_is_finished_by_the_next_process() {
    let events: usize = ["set_image", "drain", "objects", "exec", "batches", "rollouts", "machines", "helm"].map(everywhere).iter().sum();
    assert!(events > 100, "{events} events");
}
