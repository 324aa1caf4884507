//! Holding the lock of a cluster: taken once, renewed for as long as the run works, given back.
//!
//! Who renews it depends on whose time it is.
//! - On a live cluster: a thread of its own, with a runtime and connections of its own. The run's thread may be in Lua, which nothing
//!   can interrupt, or at a question to a person; neither may cost the lock.
//! - In virtual time: whoever wants to write, before the write, when the last renewal is due. Time moves only while somebody waits, so
//!   that a renewal in the middle of a wait could be seen by nobody but the simulator's log; and a participant that never rests would
//!   make a wait for what never comes endless, which is an error today.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use futures::future::BoxFuture;
use tokio::sync::watch;

use super::client::Cluster;
use super::fence::{Note, RENEWED_EVERY, Renew};
use super::layers::{Access, Gate, Layers, Recorder};
use super::lease::{Claim, Claimed, Lease, Mine, Way};
use super::live::Live;
use super::place::{Place, Server};
use super::sim;
use super::wire::{Limits, Wire};
use super::{Cancel, Stage};
use crate::base::clock::{Duration, later};
use crate::base::{Clock, Error, Result, Span};

/// How long one try to renew may take. Shorter than the fence by far, so that a try that hangs costs little.
const TRY: Span = Span::from_secs(5);
/// The pause after a try that failed.
const PAUSE: Duration = Duration::from_secs(2);
/// How long a process that ends may take to tell the lock what it has not told yet: in which step it stopped, and the line of its journal.
const LAST: Duration = Duration::from_secs(2);
/// How long taking it and giving it back may take.
const PATIENT: Span = Span::from_secs(30);

/// What a claim came to.
#[derive(Debug)]
pub enum Taken {
    /// It is ours. The lease was this before, when there was one.
    Ours(Lock, Option<Box<Lease>>),
    /// Somebody else has it.
    Held(Box<Lease>),
    /// It is free, but the run that had it is not finished, and this is another one.
    Left(Box<Lease>),
}

/// The lock of a cluster that this process holds. Dropping it without [`Lock::release`] leaves the lease to the run: it is not renewed
/// any more, and writes are refused when it is old.
#[derive(Debug)]
pub struct Lock {
    cluster: Cluster,
    mine: Arc<Mine>,
    epoch: u64,
    keeper: Keeper,
}

impl Lock {
    /// The epoch of the writes of this process.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Goes on unless the lock is lost.
    ///
    /// # Errors
    /// Why it is.
    pub fn check(&self) -> Result<()> {
        self.cluster.still_ours()
    }

    /// Gives it back, and says what the run left half-done, if anything. A lock that is lost already is left alone.
    ///
    /// # Errors
    /// Those of a write: then it is still the run's.
    pub async fn release(self, left: Option<&str>) -> Result<()> {
        let Lock { cluster, mine, keeper, .. } = self;
        if let Keeper::Thread(thread) = &keeper {
            // It is told with the same write that gives it back.
            thread.talk.is_given_back.store(true, Ordering::SeqCst);
        }
        drop(keeper);
        let fence = cluster.gate().fence();
        if fence.lost().is_some() {
            return Ok(());
        }
        let given = mine.free(&cluster.lease_way()?, left).await;
        fence.disarm();
        given
    }
}

/// Who renews it.
enum Keeper {
    /// Who passes the fence.
    Nobody,
    /// A thread.
    Thread(Thread),
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Keeper::Nobody => "whoever passes the fence",
            Keeper::Thread(_) => "a thread",
        })
    }
}

/// The thread that renews; it ends when this is dropped.
struct Thread {
    talk: Arc<Talk>,
    handle: Option<JoinHandle<()>>,
}

/// What the thread and the others tell each other.
struct Talk {
    mine: Arc<Mine>,
    /// Counts who wants it renewed now.
    asked: watch::Sender<u64>,
    /// Counts the tries.
    tried: watch::Sender<u64>,
    over: Cancel,
    /// Whether the lock is given back when that is over, and not left to the run.
    is_given_back: AtomicBool,
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.talk.over.press();
        if let Some(handle) = self.handle.take() {
            // It waits for nothing but this switch; a fault in it was told by itself.
            handle.join().ok();
        }
    }
}

impl Thread {
    fn begin(live: Arc<Live>, talk: Arc<Talk>) -> Result<Thread> {
        let cannot = |error: std::io::Error| Error::internal("beginning to renew the lock").cause(error.to_string());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(cannot)?;
        let told = talk.clone();
        let work = move || runtime.block_on(keep(&live, &told));
        let handle = std::thread::Builder::new().name("lock".to_owned()).spawn(work).map_err(cannot)?;
        Ok(Thread { talk, handle: Some(handle) })
    }
}

/// Renews it until that is over.
async fn keep(live: &Arc<Live>, talk: &Talk) {
    let (clock, server) = (Clock::real(), Server::Live(live.clone()));
    let limits = Limits { read: TRY, write: TRY };
    let way = Way::new(server.wire(own_layers(&clock), Cancel::new(), limits));
    let mut asked = talk.asked.subscribe();
    loop {
        let before = clock.steady();
        let well = tokio::select! {
            biased;
            () = talk.over.reached(Stage::Stopping) => break,
            well = talk.mine.renew(&way) => well,
        };
        tracing::debug!(target: "lockgate::lock", well, took = ?clock.steady().saturating_sub(before), "renewing the lock");
        talk.tried.send_modify(|count| *count += 1);
        let next = later(clock.now(), if well { RENEWED_EVERY.as_duration() } else { PAUSE });
        tokio::select! {
            biased;
            () = talk.over.reached(Stage::Stopping) => break,
            // The sender lives as long as `talk`.
            changed = asked.changed() => if changed.is_err() { break },
            // Time of the world does not fail.
            _ = clock.park(Some(next)) => {}
        }
    }
    // Whoever finds the lock of a run that stopped is told where it did. A server that is away is not waited for.
    if talk.mine.is_behind() && !talk.is_given_back.load(Ordering::SeqCst) {
        tokio::select! {
            _ = talk.mine.renew(&way) => {}
            _ = clock.park(Some(later(clock.now(), LAST))) => {}
        }
    }
}

impl Renew for Talk {
    fn renewed(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let mut tried = self.tried.subscribe();
            self.asked.send_modify(|count| *count += 1);
            // The sender is `self`.
            tried.changed().await.ok();
        })
    }

    fn tell(&self, note: Note) {
        self.mine.tell(note);
        self.asked.send_modify(|count| *count += 1);
    }

    fn by_hand(&self) -> bool {
        false
    }
}

/// Renews in the time of whoever wants to write.
struct Hand {
    way: Way,
    mine: Arc<Mine>,
}

impl Renew for Hand {
    fn renewed(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.mine.renew(&self.way).await;
        })
    }

    fn tell(&self, note: Note) {
        self.mine.tell(note);
    }

    fn by_hand(&self) -> bool {
        true
    }
}

/// Layers of its own: the lock is no act of the runbook, so that neither its guard nor its record knows of it.
fn own_layers(clock: &Clock) -> Layers {
    Layers { gate: Gate::new(Access::ReadWrite), recorder: Recorder::default(), clock: clock.clone(), dry: false }
}

impl Cluster {
    /// Takes the lock of the cluster; from then on writes need it.
    ///
    /// # Errors
    /// Those of a read and a write, with what to grant where they are forbidden; `interrupted`.
    pub async fn take_lock(&self, claim: &Claim) -> Result<Taken> {
        let way = self.lease_way()?;
        let claimed = tokio::select! {
            biased;
            claimed = way.claim(claim) => claimed?,
            () = self.cancel().reached(Stage::Stopping) => return Err(Cancel::error()),
        };
        let (before, object, sent) = match claimed {
            Claimed::Held(lease) => return Ok(Taken::Held(lease)),
            Claimed::Left(lease) => return Ok(Taken::Left(lease)),
            Claimed::Ours { before, object, sent } => (before, object, sent),
        };
        let epoch = Lease::of(&object).epoch;
        let fence = self.gate().fence();
        let mine = Arc::new(Mine::new(claim.run.clone(), object, fence.clone()));
        let (renew, keeper): (Arc<dyn Renew>, Keeper) = match &self.shared.place {
            Place::Server(Server::Live(live)) => {
                let (asked, tried) = (watch::Sender::new(0), watch::Sender::new(0));
                let talk = Arc::new(Talk { mine: mine.clone(), asked, tried, over: Cancel::new(), is_given_back: AtomicBool::new(false) });
                (talk.clone(), Keeper::Thread(Thread::begin(live.clone(), talk)?))
            }
            _ => (Arc::new(Hand { way: self.lease_way()?, mine: mine.clone() }), Keeper::Nobody),
        };
        fence.arm(claim.run.clone(), epoch, self.clock().clone(), sent, renew);
        Ok(Taken::Ours(Lock { cluster: self.clone(), mine, epoch, keeper }, before))
    }

    /// Tells whoever looks at the lock which step the run is in, with its next renewal. Without a lock nothing is told.
    pub fn now_in(&self, step: &str) {
        self.gate().fence().tell(Note::Step(step.to_owned()));
    }

    /// The same of the head of the run's journal.
    pub fn journal_is_at(&self, head: &str) {
        self.gate().fence().tell(Note::Head(head.to_owned()));
    }

    /// Goes on unless the lock that this cluster's writes need is lost.
    ///
    /// # Errors
    /// Why it is.
    pub fn still_ours(&self) -> Result<()> {
        self.gate().fence().lost().map_or(Ok(()), Err)
    }

    /// Waits until the lock lets something be written; for what is no request of this cluster's own client.
    ///
    /// # Errors
    /// The lock is lost, or could not be renewed for half an hour; `interrupted`.
    pub async fn pass_fence(&self) -> Result<()> {
        self.gate().fence().pass(self.cancel(), |_| ()).await.map(drop)
    }

    /// The way to the lease, for one thing on it.
    pub(super) fn lease_way(&self) -> Result<Way> {
        let limits = Limits { read: PATIENT, write: PATIENT };
        let (layers, clock) = (own_layers(self.clock()), self.clock().clone());
        let wire = match &self.shared.place {
            Place::Copy(_) => return Err(Error::internal("the lock of a cluster was asked of a plan's copy of it")),
            Place::Server(server @ (Server::Live(_) | Server::Snapshot(_))) => server.wire(layers, Cancel::new(), limits),
            Place::Simulated(simulation) | Place::Server(Server::StandIn(simulation)) => {
                let simulation = simulation.clone();
                let connect = Box::new(move |_: bool| Ok(sim::client(&simulation, &layers)));
                Wire::new(connect, "the simulated cluster".to_owned(), clock, Cancel::new(), limits)
            }
        };
        Ok(Way::new(wire))
    }
}
