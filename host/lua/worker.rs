//! Threads with a Lua state each, for items that are done at the same time. To make a state takes longer than most items do, so a thread that
//! is done with one item is kept for the next.

use std::cell::RefCell;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use super::engine::Engine;
use super::limits::Limits;
use crate::base::{Error, Result};

/// What a thread does for an item, with its state or with why there is none.
type Work = Box<dyn FnOnce(Result<Engine>) + Send>;

/// So many threads wait for items at most, per thread that begins them.
const IDLE: usize = 8;

/// A state that holds more bytes than this when its item is over is not used again: the next item finds all its memory.
const KEPT: usize = 16 << 20;

/// A thread of its own needs as much room as the main thread has: how deep a script may call is counted in it.
const STACK: usize = 8 << 20;

thread_local! {
    static WAITING: RefCell<Vec<Worker>> = const { RefCell::new(Vec::new()) };
}

/// One thread.
struct Worker {
    limits: Limits,
    work: Sender<Work>,
    done: Receiver<()>,
    thread: JoinHandle<()>,
}

/// The work of an item on its thread. Dropped, it waits for the end of it.
pub(super) struct Working(Option<Worker>);

/// Has a thread do this: one that waits, or a new one.
///
/// # Errors
/// When no thread can be begun.
pub(super) fn begin(limits: &Limits, mut work: Work) -> Result<Working> {
    while let Some(worker) = waiting(limits) {
        // One that ended meanwhile gives the work back.
        match worker.work.send(work) {
            Ok(()) => return Ok(Working(Some(worker))),
            Err(back) => work = back.0,
        }
    }
    let (send, jobs) = channel();
    let (tell, done) = channel();
    let its = limits.clone();
    let thread = std::thread::Builder::new().name("item".to_owned()).stack_size(STACK).spawn(move || serve(&its, &jobs, &tell));
    let thread = thread.map_err(|error| Error::internal("beginning a thread for an item").cause(error.to_string()))?;
    let worker = Worker { limits: limits.clone(), work: send, done, thread };
    worker.work.send(work).map_err(|_| Error::internal("the thread of an item has ended"))?;
    Ok(Working(Some(worker)))
}

fn waiting(limits: &Limits) -> Option<Worker> {
    WAITING.with_borrow_mut(|waiting| {
        let at = waiting.iter().position(|worker| worker.limits == *limits)?;
        Some(waiting.swap_remove(at))
    })
}

/// What a thread does until nobody can give it anything more.
fn serve(limits: &Limits, jobs: &Receiver<Work>, done: &Sender<()>) {
    let mut kept = None;
    while let Ok(work) = jobs.recv() {
        let engine = kept.take().map_or_else(|| Engine::new(limits.clone()), Ok);
        work(engine.clone());
        kept = engine.ok().filter(|engine| engine.memory() <= KEPT);
        if done.send(()).is_err() {
            return;
        }
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        let Some(worker) = self.0.take() else { return };
        if worker.done.recv().is_err() {
            if worker.thread.join().is_err() {
                tracing::error!("the thread of an item ended by a fault of lockgate itself");
            }
            return;
        }
        // At the end of the thread that began it there is nobody left to wait for.
        let keep = |waiting: &RefCell<Vec<Worker>>| {
            let mut waiting = waiting.borrow_mut();
            if waiting.len() < IDLE {
                waiting.push(worker);
            }
        };
        WAITING.try_with(keep).ok();
    }
}

#[cfg(test)]
mod tests {
    use std::thread::ThreadId;

    use super::*;

    /// Has this done to the state, and gives which thread did it.
    fn done(with: impl FnOnce(&Engine) + Send + 'static) -> (Working, ThreadId) {
        let (tell, told) = channel();
        let work = move |engine: Result<Engine>| {
            with(&engine.unwrap());
            tell.send(std::thread::current().id()).unwrap();
        };
        let working = begin(&Limits::default(), Box::new(work)).unwrap();
        (working, told.recv().unwrap())
    }

    #[test]
    fn a_thread_that_is_done_does_the_next_work() {
        let (first, one) = done(|_| ());
        let (second, other) = done(|_| ());
        assert_ne!(one, other, "the first is not done");
        drop(first);
        assert_eq!(done(|_| ()).1, one);
        drop(second);
    }

    #[test]
    fn a_state_that_has_grown_is_not_used_again() {
        let (first, one) = done(|engine| engine.lua().set_named_registry_value("much", "x".repeat(KEPT)).unwrap());
        drop(first);
        let (second, other) = done(|engine| assert!(engine.memory() < KEPT));
        assert_eq!(one, other);
        drop(second);
    }

    #[test]
    fn a_thread_that_fell_is_replaced() {
        let (first, one) = done(|_| ());
        drop(first);
        drop(begin(&Limits::default(), Box::new(|_| panic!("a fault of lockgate itself"))).unwrap());
        assert_ne!(done(|_| ()).1, one);
    }
}
