//! What comes into a simulated cluster from outside, in its order. A cluster is nothing else than its beginning and these: with both,
//! another process makes the same one again.

use std::borrow::Cow;

use lockgate_sim::Cluster as Sim;
use lockgate_sim::faults::HoldId;
use lockgate_sim::machines::{Order, Refusal};
use lockgate_sim::request::{Body as SimBody, Request as SimRequest, Response as SimResponse};
use lockgate_sim::status::Status;

use super::Simulation;
use crate::base::{Error, Result, Timestamp};

/// Something that came from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input<'a> {
    /// A request to the API, reads too: fault rules count them.
    Request(Cow<'a, SimRequest>),
    /// A request that a rule held before its commit, and that goes on now.
    Held(Cow<'a, SimRequest>),
    /// A request that stood still under this number was let go.
    Released(u64),
    /// An order to a machine.
    Order(Cow<'a, Order>),
    /// Standard input of the command of this number ended, and this was in it.
    Stdin(u64, Cow<'a, str>),
    /// The run began with this step, or with something that is none.
    Step(Option<Cow<'a, str>>),
}

/// Keeps what comes into a cluster.
pub trait Tape: Send {
    /// Keeps it; only then it reaches the cluster, at this virtual time. So what a process was killed over counts as asked.
    ///
    /// # Errors
    /// When it cannot be kept: then it does not reach the cluster.
    fn keep(&mut self, at: Timestamp, input: &Input<'_>) -> Result<()>;
}

/// A tape that somebody may put in, behind a name that can be told.
#[derive(Default)]
pub(super) struct Recorder(Option<Box<dyn Tape>>);

impl Simulation {
    /// Keeps everything that comes from outside from now on.
    pub fn record(&self, tape: Box<dyn Tape>) {
        self.lock().tape.0 = Some(tape);
    }

    /// Gives the cluster once more what came to another one that began as this one did, and lets time pass up to `until` as its clients
    /// tell it. What is asked here is recorded nowhere.
    ///
    /// # Errors
    /// When the cluster stops in the middle of a step in time.
    pub fn replay<'a>(&self, inputs: impl IntoIterator<Item = (Timestamp, Input<'a>)>, until: Option<Timestamp>) -> Result<()> {
        let stuck = || Error::internal("the simulated cluster stopped in the middle of a step in time");
        {
            let mut world = self.lock();
            for (at, input) in inputs {
                if !world.sim.advance_to(at) {
                    return Err(stuck());
                }
                repeat(&mut world.sim, &input);
            }
            let skew = world.sim.faults().skew();
            if let Some(until) = until.map(|until| until.checked_add(skew).unwrap_or(until))
                && !world.sim.advance_to(until)
            {
                return Err(stuck());
            }
        }
        tracing::debug!(target: "lockgate::simulation", now = %self.now(), "made again");
        self.wake();
        Ok(())
    }

    /// Answers a request, once it is kept.
    pub(crate) fn handle(&self, request: &SimRequest) -> SimResponse {
        self.kept(&Input::Request(Cow::Borrowed(request)), |sim| sim.handle(request))
    }

    /// Carries out a request that stood still, once that is kept.
    pub(super) fn handle_held(&self, request: &SimRequest) -> SimResponse {
        self.kept(&Input::Held(Cow::Borrowed(request)), |sim| sim.handle_held(request))
    }

    fn kept(&self, input: &Input<'_>, work: impl FnOnce(&mut Sim) -> SimResponse) -> SimResponse {
        let answer = match self.keep(input, work) {
            Ok(answer) => answer,
            Err(error) => Status::internal(error.to_string()).into(),
        };
        self.wake();
        self.tell_deeds();
        answer
    }

    /// Does something with the cluster once it is kept that it was asked for.
    fn keep<T>(&self, input: &Input<'_>, work: impl FnOnce(&mut Sim) -> T) -> Result<T> {
        let world = &mut *self.lock();
        if let Some(tape) = &mut world.tape.0 {
            tape.keep(world.sim.now(), input)?;
        }
        Ok(work(&mut world.sim))
    }

    /// Begins something on a machine.
    ///
    /// # Errors
    /// When it cannot be kept that it was ordered. Inside: why it cannot be begun.
    pub(crate) fn order(&self, order: &Order) -> Result<std::result::Result<Timestamp, Refusal>> {
        let ordered = self.keep(&Input::Order(Cow::Borrowed(order)), |sim| sim.order(order));
        self.wake();
        ordered
    }

    /// Standard input of a command in a container has ended.
    ///
    /// # Errors
    /// Why the command fails.
    pub(in crate::cluster) fn input(&self, command: u64, text: &str) -> std::result::Result<(), String> {
        let kept = self.keep(&Input::Stdin(command, Cow::Borrowed(text)), |sim| sim.input(command, text));
        self.wake();
        kept.unwrap_or_else(|error| Err(error.to_string()))
    }

    /// Lets a request go on that a rule holds; false when it does not stand still.
    pub fn release(&self, hold: HoldId) -> bool {
        let released = self.keep(&Input::Released(hold.0), |sim| sim.release(hold)).unwrap_or(false);
        self.wake();
        released
    }

    /// Says in which step the run is, for fault rules that hold in one step alone.
    ///
    /// # Errors
    /// When it cannot be kept.
    pub fn enter_step(&self, step: Option<&str>) -> Result<()> {
        self.keep(&Input::Step(step.map(Cow::Borrowed)), |sim| sim.enter_step(step))
    }
}

fn repeat(sim: &mut Sim, input: &Input<'_>) {
    match input {
        Input::Request(request) => forget(sim, |sim| sim.handle(request)),
        Input::Held(request) => forget(sim, |sim| sim.handle_held(request)),
        Input::Released(hold) => {
            sim.release(HoldId(*hold));
        }
        // A refusal was an answer, and nothing came of it.
        Input::Order(order) => drop(sim.order(order)),
        // As with a refusal.
        Input::Stdin(command, text) => sim.input(*command, text).unwrap_or_default(),
        Input::Step(step) => sim.enter_step(step.as_deref()),
    }
}

/// Who had the answer is gone, and who watched too.
fn forget(sim: &mut Sim, answer: impl FnOnce(&mut Sim) -> SimResponse) {
    if let SimBody::Watch(id) = answer(sim).body {
        sim.close_watch(id);
    }
}
