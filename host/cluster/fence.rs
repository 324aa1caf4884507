//! The write fence: nothing is written unless the lock of the run was renewed a short while ago.
//!
//! Age is measured by a clock that nobody sets and that goes on while the machine sleeps ([`Clock::steady`]): a laptop that was closed
//! in the middle of a run finds its fence closed. A closed fence is no error: who wants to write waits until the lock was renewed. Only
//! when somebody else has the lock, or has resumed the run, it is over ([`Fence::lose`]).
//!
//! An API server that is away is no error of a run either: a read that got no answer waits here until the lock can be renewed again
//! ([`Fence::outlast`]), which tells a server that is away from a request that fails.
//!
//! There are two who look at it. A request to write waits in [`super::wire`] and what starts commands waits beside it
//! ([`Fence::pass`]); the guard beneath every client refuses at once what came around them ([`Fence::check`]).

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::BoxFuture;

use super::cancel::{Cancel, Stage};
use super::op::OP_ANNOTATION;
use crate::base::clock::{Duration, later};
use crate::base::json::Value as Json;
use crate::base::{Clock, Error, Kind, Reason, Result, Span};

/// How often the lock is renewed.
pub const RENEWED_EVERY: Span = Span::from_secs(10);
/// For how long after a renewal writes are let through (`reference/safety.md` §2.5).
pub const OPEN_FOR: Span = Span::from_secs(40);
/// For how long a write waits at a closed fence. An API server that is itself upgraded stays away for minutes.
pub const WAITS_FOR: Span = Span::from_secs(30 * 60);
/// The pause between two looks.
const PAUSE: Duration = Duration::from_secs(2);

/// Renews the lock that a fence stands for.
pub(super) trait Renew: Send + Sync {
    /// Comes when one more try was made, whoever makes it; what came of it is told to the fence.
    fn renewed(&self) -> BoxFuture<'_, ()>;

    /// Something that others are to read in the lock, with the next renewal.
    fn tell(&self, note: Note);

    /// Whether nobody renews but who passes the fence: then it is due before it is late.
    fn by_hand(&self) -> bool;
}

/// What others read in the lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Note {
    /// The step that the run is in.
    Step(String),
    /// The head of its journal.
    Head(String),
}

/// The fence of one cluster; clones are the same. A cluster that has taken no lock has an open one.
#[derive(Clone, Default)]
pub(crate) struct Fence(Arc<Mutex<Option<Held>>>);

/// The lock that is held.
struct Held {
    run: String,
    epoch: u64,
    clock: Clock,
    /// When the last renewal that was answered had been sent.
    renewed: Duration,
    /// How often it was.
    renewals: u64,
    /// Whether it is to be renewed although it is not old.
    due: bool,
    /// Why the last try failed.
    trouble: Option<String>,
    /// Why it is over.
    lost: Option<Error>,
    renew: Arc<dyn Renew>,
}

impl Held {
    fn age(&self) -> Duration {
        self.clock.steady().saturating_sub(self.renewed)
    }

    fn is_open(&self) -> bool {
        self.age() < OPEN_FOR.as_duration()
    }
}

impl fmt::Debug for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.lock() {
            None => write!(f, "Fence(no lock)"),
            Some(held) => write!(f, "Fence({}, epoch {}, {:?} old)", held.run, held.epoch, held.age()),
        }
    }
}

impl Fence {
    fn lock(&self) -> MutexGuard<'_, Option<Held>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From here on writes need the lock, which was taken by a request that was sent at `taken`.
    pub(super) fn arm(&self, run: String, epoch: u64, clock: Clock, taken: Duration, renew: Arc<dyn Renew>) {
        let held = Held { run, epoch, clock, renewed: taken, renewals: 0, due: false, trouble: None, lost: None, renew };
        *self.lock() = Some(held);
    }

    /// From here on there is no lock that writes would need: the run has given it back.
    pub(super) fn disarm(&self) {
        *self.lock() = None;
    }

    /// The lock was renewed by a request that was sent at `sent`.
    pub(super) fn renewed(&self, sent: Duration) {
        if let Some(held) = &mut *self.lock() {
            held.renewed = held.renewed.max(sent);
            held.renewals += 1;
            (held.due, held.trouble) = (false, None);
        }
    }

    /// A try to renew it failed.
    pub(super) fn failed(&self, why: String) {
        if let Some(held) = &mut *self.lock() {
            held.trouble = Some(why);
        }
    }

    /// Tells others something with the next renewal, which is due now.
    pub(super) fn tell(&self, note: Note) {
        if let Some(held) = &mut *self.lock() {
            held.due = true;
            held.renew.tell(note);
        }
    }

    /// It is over: nothing is written any more. The first reason stands.
    pub(super) fn lose(&self, why: Error) {
        if let Some(held) = &mut *self.lock() {
            held.lost.get_or_insert(why);
        }
    }

    /// Why the lock is lost.
    pub(super) fn lost(&self) -> Option<Error> {
        self.lock().as_ref().and_then(|held| held.lost.clone())
    }

    /// Looks at the stamp of an object that was read: one of this run with a later epoch is from another process, which has resumed
    /// the run. It will be found in the lock too, but whoever reads this is about to write.
    pub(super) fn saw(&self, object: &Json) {
        let Some(held) = &mut *self.lock() else { return };
        let stamp = object.pointer("/metadata/annotations").and_then(|all| all.get(OP_ANNOTATION)).and_then(Json::as_str);
        let Some((run, epoch)) = stamp.and_then(parts) else { return };
        if run == held.run && epoch > held.epoch {
            let name = object.pointer("/metadata/name").and_then(Json::as_str).unwrap_or_default();
            let (run, own) = (&held.run, held.epoch);
            let why = lost(run, format!("`{name}` carries a write of its process {epoch}, and this is process {own}"));
            held.lost.get_or_insert(why);
        }
    }

    /// Whether a write may be sent at this moment.
    ///
    /// # Errors
    /// Why not: the lock is lost, or was not renewed for too long.
    pub(super) fn check(&self) -> Result<()> {
        match &*self.lock() {
            None => Ok(()),
            Some(Held { lost: Some(why), .. }) => Err(why.clone()),
            Some(held) if held.is_open() => Ok(()),
            Some(held) => Err(closed(held, span(held.age()))),
        }
    }

    /// Whether writes need a lock, which somebody has taken from this server.
    pub(super) fn is_armed(&self) -> bool {
        self.lock().is_some()
    }

    /// For who got no answer of use: waits until the lock is renewed by a request that is sent from now on. Gives whether that took more
    /// than one try, so that the whole server was away; `None` at once where there is no lock.
    ///
    /// # Errors
    /// As [`Fence::pass`].
    pub(super) async fn outlast(&self, cancel: &Cancel, tell: impl Fn(String)) -> Result<Option<bool>> {
        let mut begun = None;
        let mut was_away = false;
        loop {
            let (renew, clock, renewals) = match &*self.lock() {
                None => return Ok(None),
                Some(Held { lost: Some(why), .. }) => return Err(why.clone()),
                Some(held) => (held.renew.clone(), held.clock.clone(), held.renewals),
            };
            let since = *begun.get_or_insert_with(|| clock.steady());
            cancel.check()?;
            tokio::select! {
                biased;
                () = renew.renewed() => {}
                () = cancel.reached(Stage::Stopping) => return Err(Cancel::error()),
            }
            let said = match &*self.lock() {
                None => return Ok(None),
                Some(Held { lost: Some(why), .. }) => return Err(why.clone()),
                Some(held) if held.renewals > renewals && held.renewed >= since => return Ok(Some(was_away)),
                // A try that was on its way when this began went well.
                Some(Held { trouble: None, .. }) => continue,
                Some(held) if clock.steady().saturating_sub(since) >= WAITS_FOR.as_duration() => return Err(closed(held, WAITS_FOR)),
                Some(held) => format!("the cluster does not answer{}; the run waits for it", because(held)),
            };
            was_away = true;
            tell(said);
            tokio::select! {
                biased;
                () = cancel.reached(Stage::Stopping) => return Err(Cancel::error()),
                parked = clock.park(Some(later(clock.now(), PAUSE))) => parked.map(drop)?,
            }
        }
    }

    /// The error of a request of a user whom the server does not know any more: it stops a run, which goes on when somebody has signed in;
    /// where there is no lock it stays as it is.
    pub(super) fn signed_out(&self, error: Error) -> Error {
        let Some(run) = self.lock().as_ref().map(|held| held.run.clone()) else { return error };
        let message = format!("{}: its credentials have run out, and asking for new ones did not help", error.message);
        let mut stop = Error::new(Kind::Cancelled, Reason::Interrupted, message);
        stop.object.clone_from(&error.object);
        stop.causes.clone_from(&error.causes);
        stop.details = error.details.clone();
        stop.hint(format!("sign in to the cluster again, then go on with `lockgate resume {run}`"))
    }

    /// Stops a run, which goes on when the server is well again: who can hardly answer is asked nothing more. Where there is no lock, a
    /// person looks at each error.
    ///
    /// # Errors
    /// The stop, with the reason.
    pub(super) fn spares(&self, why: String) -> Result<()> {
        let Some(run) = self.lock().as_ref().map(|held| held.run.clone()) else { return Ok(()) };
        let stop =
            Error::new(Kind::Cancelled, Reason::Interrupted, "the API server can hardly answer, so nothing more is asked of it").cause(why);
        Err(stop.hint(format!("when it is well again, go on with `lockgate resume {run}`")))
    }

    /// Waits until a write may be sent; says so through `tell`. Gives whether it had to wait.
    ///
    /// # Errors
    /// The lock is lost, could not be renewed for [`WAITS_FOR`], or the operator stopped it.
    pub(super) async fn pass(&self, cancel: &Cancel, tell: impl Fn(String)) -> Result<bool> {
        let mut waited = None;
        loop {
            let (renew, clock) = match &*self.lock() {
                None => return Ok(waited.is_some()),
                Some(Held { lost: Some(why), .. }) => return Err(why.clone()),
                Some(held) => {
                    let wanted = held.renew.by_hand() && (held.due || held.age() >= RENEWED_EVERY.as_duration());
                    if held.is_open() && (!wanted || waited.is_some()) {
                        return Ok(waited.is_some());
                    }
                    (held.renew.clone(), held.clock.clone())
                }
            };
            cancel.check()?;
            tokio::select! {
                biased;
                () = renew.renewed() => {}
                () = cancel.reached(Stage::Stopping) => return Err(Cancel::error()),
            }
            let since = *waited.get_or_insert_with(|| clock.steady());
            let said = match &*self.lock() {
                Some(held) if held.lost.is_none() && !held.is_open() => {
                    if clock.steady().saturating_sub(since) >= WAITS_FOR.as_duration() {
                        return Err(closed(held, WAITS_FOR));
                    }
                    format!("the lock of the run was last renewed {} ago{}", span(held.age()).rounded(), because(held))
                }
                _ => continue,
            };
            tell(said);
            tokio::select! {
                biased;
                () = cancel.reached(Stage::Stopping) => return Err(Cancel::error()),
                parked = clock.park(Some(later(clock.now(), PAUSE))) => parked.map(drop)?,
            }
        }
    }
}

fn span(length: Duration) -> Span {
    Span::from_millis(u64::try_from(length.as_millis()).unwrap_or(u64::MAX))
}

fn because(held: &Held) -> String {
    held.trouble.as_ref().map(|why| format!(": {why}")).unwrap_or_default()
}

/// The run and the epoch of a stamp `RUN/SEQ/EPOCH`.
fn parts(stamp: &str) -> Option<(&str, u64)> {
    let (run, rest) = stamp.split_once('/')?;
    let (_, epoch) = rest.rsplit_once('/')?;
    Some((run, epoch.parse().ok()?))
}

/// The error of a run that has its lock no more. A script cannot catch it.
pub(super) fn lost(run: &str, why: String) -> Error {
    Error::new(Kind::Cancelled, Reason::Interrupted, format!("the run `{run}` has lost its lock: {why}"))
        .hint(format!("this process writes nothing more; `lockgate status {run}` says how far it came"))
}

fn closed(held: &Held, span: Span) -> Error {
    let run = &held.run;
    let error = Error::new(
        Kind::Cancelled,
        Reason::Interrupted,
        format!("the lock of the run `{run}` could not be renewed for {}, so nothing more is written", span.rounded()),
    );
    let error = match &held.trouble {
        Some(why) => error.cause(why.clone()),
        None => error,
    };
    error.hint(format!("when the cluster answers again, go on with `lockgate resume {run}`"))
}

#[cfg(test)]
#[path = "fence_tests.rs"]
mod tests;
