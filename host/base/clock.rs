//! Time: real, or virtual and moved only when everybody waits. The only file that knows the machine's clocks.
//!
//! A [`Clock`] handle is one *participant* of a run: the script, a parallel call, a lock renewer, a led child. Virtual time
//! moves only when every participant is parked in a sleep and no request is on its way ([`Clock::busy`]); the participant
//! that notices moves it to the next event of the [`TimeSource`] or the earliest deadline, whichever comes first, and wakes
//! everybody. All look around and park again: simple, and nobody can miss what happened at that instant.

use std::collections::BTreeMap;
use std::fmt;
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

pub use jiff::Timestamp;
pub use std::time::{Duration, Instant};

/// Holds this thread up, in the time of the world: for a lock of a file, which is nobody's event.
pub(crate) fn pause(length: Duration) {
    std::thread::sleep(length);
}

use super::{Result, Span};

/// The time of the machine's wall clock.
#[must_use]
pub fn wall() -> Timestamp {
    Timestamp::now()
}

/// The future that moves a [`TimeSource`]. Dropping it before its end must be harmless: the time reached so far stands.
pub type Advance = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

/// Where virtual time comes from: a simulated cluster.
pub trait TimeSource: Send + Sync {
    /// The virtual time.
    fn now(&self) -> Timestamp;
    /// When something happens next by itself; `None` when nothing will.
    fn next_event_at(&self) -> Option<Timestamp>;
    /// Moves time on to `to`, and runs what happens until then. A plan on a live cluster may have to read from it for that,
    /// hence a future, and hence errors.
    fn advance_to(&self, to: Timestamp) -> Advance;
}

/// How a parked sleep ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// The deadline is here.
    Deadline,
    /// There is no deadline, every other participant waits without one too, and nothing will ever happen by itself.
    Never,
}

/// A handle on time. Clones are the same participant; it leaves when the last clone is dropped.
#[derive(Clone)]
pub struct Clock(Inner);

#[derive(Clone)]
enum Inner {
    Real { wall: Timestamp, since: Instant },
    Virtual(Arc<Participant>),
}

impl Clock {
    /// The time of the world. Durations come from the monotonic clock, so that a jump of the wall clock changes no deadline.
    #[must_use]
    pub fn real() -> Clock {
        Clock(Inner::Real { wall: wall(), since: Instant::now() })
    }

    /// The first participant of a virtual time.
    #[must_use]
    pub fn virtual_time(source: Arc<dyn TimeSource>) -> Clock {
        let core = Arc::new(Core { source, state: Mutex::default() });
        Clock(Inner::Virtual(Participant::new(core)))
    }

    /// Whether time is virtual.
    #[must_use]
    pub fn is_virtual(&self) -> bool {
        matches!(self.0, Inner::Virtual(_))
    }

    /// Another participant in the same time. Branches that run at the same time need one each: a participant counts as parked
    /// when all sleeps it has begun wait, whatever else it does.
    #[must_use]
    pub fn join(&self) -> Clock {
        match &self.0 {
            Inner::Real { .. } => self.clone(),
            Inner::Virtual(participant) => Clock(Inner::Virtual(Participant::new(participant.core.clone()))),
        }
    }

    /// Takes this participant out until the guard is dropped: others, each with a clock that joined, go on in its place, and time moves
    /// without it. It must not wait meanwhile.
    pub fn stand_aside(&self) -> Aside {
        match &self.0 {
            Inner::Real { .. } => Aside(None),
            Inner::Virtual(participant) => {
                participant.core.lock().participants -= 1;
                participant.core.wake();
                Aside(Some(participant.core.clone()))
            }
        }
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Inner::Real { wall, since } => later(*wall, since.elapsed()),
            Inner::Virtual(participant) => participant.core.source.now(),
        }
    }

    /// How much time has passed since some fixed moment, the time in which the machine slept included: two of them tell how long ago
    /// something was, whatever was done to the wall clock in between. In virtual time it is the virtual time.
    #[must_use]
    pub fn steady(&self) -> Duration {
        match &self.0 {
            Inner::Real { since, .. } => awake_or_not().unwrap_or_else(|| since.elapsed()),
            Inner::Virtual(_) => between(Timestamp::UNIX_EPOCH, self.now()),
        }
    }

    /// Holds virtual time still until the guard and all its clones are dropped: something is on its way. Its end makes
    /// everybody look around before time moves.
    #[must_use]
    pub fn busy(&self) -> Busy {
        match &self.0 {
            Inner::Real { .. } => Busy(None),
            Inner::Virtual(participant) => {
                participant.core.lock().busy += 1;
                Busy(Some(Arc::new(BusyGuard(participant.core.clone()))))
            }
        }
    }

    /// Waits until this time.
    ///
    /// # Errors
    /// What went wrong while virtual time was moved on (a plan on a live cluster reads from it then).
    pub async fn sleep_until(&self, deadline: Timestamp) -> Result<()> {
        self.park(Some(deadline)).await.map(|_| ())
    }

    /// Waits this long.
    ///
    /// # Errors
    /// As [`Clock::sleep_until`].
    pub async fn sleep(&self, span: Span) -> Result<()> {
        self.sleep_until(later(self.now(), span.as_duration())).await
    }

    /// Parks until the deadline, or for as long as there is something to wait for. Polled in a select, it must be the last
    /// branch: what is ready at this instant comes before a step in time. A sleep that was begun and is neither polled nor
    /// dropped holds time still.
    pub fn park(&self, deadline: Option<Timestamp>) -> Park {
        match &self.0 {
            Inner::Real { .. } => {
                let left = deadline.map(|deadline| between(self.now(), deadline));
                Park(State::Real(Box::pin(async move {
                    match left {
                        Some(left) => tokio::time::sleep(left).await,
                        None => pending().await,
                    }
                })))
            }
            Inner::Virtual(participant) => {
                let id = participant.core.lock().next_id();
                Park(State::Virtual { participant: participant.clone(), id, deadline, drive: None })
            }
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clock({}, {})", if self.is_virtual() { "virtual" } else { "real" }, self.now())
    }
}

/// The machine's clock that goes on while the machine sleeps. On Linux the monotonic clock stands still then, and another one does not.
fn awake_or_not() -> Option<Duration> {
    use nix::time::{ClockId, clock_gettime};
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let id = ClockId::CLOCK_BOOTTIME;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let id = ClockId::CLOCK_MONOTONIC;
    clock_gettime(id).ok().map(Duration::from)
}

/// How long the processor has worked for this thread, whatever else the machine did meanwhile; zero where that cannot be told.
#[must_use]
pub(crate) fn worked() -> Duration {
    use nix::time::{ClockId, clock_gettime};
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from).unwrap_or_default()
}

/// A number that is another one every few milliseconds and is cheap to look at: whoever saw another one has let time pass. Where there is no
/// such clock it is another one at every look.
#[must_use]
pub(crate) fn tick() -> Duration {
    use nix::time::{ClockId, clock_gettime};
    #[cfg(target_os = "linux")]
    const TICKS: ClockId = ClockId::CLOCK_MONOTONIC_COARSE;
    #[cfg(not(target_os = "linux"))]
    const TICKS: ClockId = ClockId::CLOCK_MONOTONIC;
    clock_gettime(TICKS).map(Duration::from).unwrap_or_default()
}

/// `at` plus this long; the end of time when that is too much.
#[must_use]
pub fn later(at: Timestamp, span: Duration) -> Timestamp {
    at.checked_add(span).unwrap_or(Timestamp::MAX)
}

/// From `from` to `to`; zero when `to` is not after `from`.
#[must_use]
pub fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

struct Core {
    source: Arc<dyn TimeSource>,
    state: Mutex<Book>,
}

/// Who takes part and who is parked.
#[derive(Default)]
struct Book {
    last_id: u64,
    participants: usize,
    parked: BTreeMap<u64, BTreeMap<u64, Parked>>,
    busy: usize,
    driving: bool,
}

struct Parked {
    deadline: Option<Timestamp>,
    waker: Waker,
    /// Whether it was polled since something last happened.
    looked: bool,
}

impl Book {
    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    fn remove(&mut self, participant: u64, sleep: u64) {
        if let Some(sleeps) = self.parked.get_mut(&participant) {
            drop(sleeps.remove(&sleep));
            if sleeps.is_empty() {
                drop(self.parked.remove(&participant));
            }
        }
    }

    /// Whether time may move: every sleep of every participant was polled since something last happened. Of two sleeps in
    /// one select the first may be over and the second not know yet.
    fn all_wait(&self) -> bool {
        !self.driving
            && self.busy == 0
            && self.parked.len() == self.participants
            && self.parked.values().flat_map(BTreeMap::values).all(|parked| parked.looked)
    }

    fn earliest(&self) -> Option<Timestamp> {
        self.parked.values().flat_map(BTreeMap::values).filter_map(|parked| parked.deadline).min()
    }

    /// Something may have happened: nobody counts as parked until it was polled again. Gives whom to wake.
    fn look_around(&mut self) -> Vec<Waker> {
        for parked in self.parked.values_mut().flat_map(BTreeMap::values_mut) {
            parked.looked = false;
        }
        self.wakers()
    }

    fn wakers(&self) -> Vec<Waker> {
        self.parked.values().flat_map(BTreeMap::values).map(|parked| parked.waker.clone()).collect()
    }
}

impl Core {
    fn lock(&self) -> MutexGuard<'_, Book> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes everybody who is parked, outside the lock.
    fn wake(&self) {
        let wakers = self.lock().wakers();
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Ends a step in time: nobody is parked until it has looked around.
    fn step_done(&self) {
        let wakers = {
            let mut book = self.lock();
            book.driving = false;
            book.look_around()
        };
        wakers.into_iter().for_each(Waker::wake);
    }
}

struct Participant {
    core: Arc<Core>,
    id: u64,
}

impl Participant {
    fn new(core: Arc<Core>) -> Arc<Participant> {
        let id = {
            let mut book = core.lock();
            book.participants += 1;
            book.next_id()
        };
        Arc::new(Participant { core, id })
    }
}

impl Drop for Participant {
    fn drop(&mut self) {
        let mut book = self.core.lock();
        book.participants -= 1;
        drop(book.parked.remove(&self.id));
        drop(book);
        self.core.wake();
    }
}

/// Holds virtual time still while it lives; see [`Clock::busy`].
#[derive(Clone)]
pub struct Busy(Option<Arc<BusyGuard>>);

impl fmt::Debug for Busy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Busy({})", self.0.is_some())
    }
}

/// A participant does not take part while this lives; see [`Clock::stand_aside`].
#[must_use]
pub struct Aside(Option<Arc<Core>>);

impl fmt::Debug for Aside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Aside({})", self.0.is_some())
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        if let Some(core) = &self.0 {
            core.lock().participants += 1;
        }
    }
}

struct BusyGuard(Arc<Core>);

impl Drop for BusyGuard {
    fn drop(&mut self) {
        let wakers = {
            let mut book = self.0.lock();
            book.busy -= 1;
            if book.driving { Vec::new() } else { book.look_around() }
        };
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// The future of [`Clock::park`].
#[must_use = "futures do nothing unless polled"]
pub struct Park(State);

enum State {
    Real(Pin<Box<dyn Future<Output = ()> + Send>>),
    Virtual { participant: Arc<Participant>, id: u64, deadline: Option<Timestamp>, drive: Option<Advance> },
}

impl Future for Park {
    type Output = Result<Reached>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            State::Real(sleep) => sleep.as_mut().poll(cx).map(|()| Ok(Reached::Deadline)),
            State::Virtual { participant, id, deadline, drive } => poll_virtual(participant, *id, *deadline, drive, cx),
        }
    }
}

fn poll_virtual(
    participant: &Arc<Participant>,
    id: u64,
    deadline: Option<Timestamp>,
    drive: &mut Option<Advance>,
    cx: &mut Context<'_>,
) -> Poll<Result<Reached>> {
    let core = &participant.core;
    if drive.is_none() {
        if deadline.is_some_and(|deadline| core.source.now() >= deadline) {
            core.lock().remove(participant.id, id);
            return Poll::Ready(Ok(Reached::Deadline));
        }
        let earliest = {
            let mut book = core.lock();
            let parked = Parked { deadline, waker: cx.waker().clone(), looked: true };
            drop(book.parked.entry(participant.id).or_default().insert(id, parked));
            if !book.all_wait() {
                return Poll::Pending;
            }
            book.driving = true;
            book.earliest()
        };
        let next = core.source.next_event_at();
        let Some(to) = [next, earliest].into_iter().flatten().min() else {
            let mut book = core.lock();
            book.driving = false;
            book.remove(participant.id, id);
            return Poll::Ready(Ok(Reached::Never));
        };
        *drive = Some(core.source.advance_to(to));
    }
    let Some(step) = drive.as_mut() else { return Poll::Pending };
    match step.as_mut().poll(cx) {
        Poll::Pending => Poll::Pending,
        Poll::Ready(result) => {
            *drive = None;
            core.step_done();
            match result {
                // Everybody, this one too, was woken and looks around before time moves again.
                Ok(()) => Poll::Pending,
                Err(error) => Poll::Ready(Err(error)),
            }
        }
    }
}

impl Drop for Park {
    fn drop(&mut self) {
        if let State::Virtual { participant, id, drive, .. } = &mut self.0 {
            let drove = drive.take().is_some();
            {
                let mut book = participant.core.lock();
                book.remove(participant.id, *id);
                if drove {
                    book.driving = false;
                }
            }
            if drove {
                participant.core.wake();
            }
        }
    }
}

#[cfg(test)]
#[path = "clock_tests.rs"]
mod tests;
