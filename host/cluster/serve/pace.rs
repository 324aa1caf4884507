//! Virtual time for clients outside this process: they do not say when they wait, so that it has to be guessed.
//!
//! `instant`: after 20 ms without a request, while a client is connected, time moves on to the next event, and after 400 ms if that
//! is far away: a client that is merely slow must not lose ten minutes between two of its requests. What only polls is served by
//! that too: between two of its questions its connection stays open. Who begins anew for each question, as a shell that sleeps between
//! two commands, has a pause without any connection: from a second on it counts as it is. `xN` and `real`: time goes with the clock of
//! the world.

use std::fmt;
use std::future::pending;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::base::clock::{Duration, between, later};
use crate::base::{Clock, Error, Result, Timestamp};
use crate::cluster::overlay::Overlay;
use crate::cluster::sim::Simulation;

/// How long no request may come before time moves.
const QUIET: Duration = Duration::from_millis(20);
/// How long no request may come before time moves by more than [`FAR`]. Less than the second after which kubectl asks again.
const STILL: Duration = Duration::from_millis(400);
/// What is longer is no part of a rollout: a deadline, a time to live, a patience.
const FAR: Duration = Duration::from_secs(30);
/// What passes without any connection counts from this on: commands right behind each other find the cluster as the first one left it.
const PAUSE: Duration = Duration::from_millis(900);
/// And no more of it than this: somebody went away.
const AWAY: Duration = Duration::from_secs(600);
/// Events so near to each other are one step when no client is told anything of them.
const STEP: Duration = Duration::from_secs(1);
/// How often a cluster in the time of the world is looked at even if nothing is due: watches have bookmarks to send.
const LOOK: Duration = Duration::from_secs(1);
/// The greatest number in `xN`: a day in about a second.
const FASTEST: f64 = 100_000.0;

/// How fast virtual time goes in a served cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Speed {
    /// From event to event, as soon as every client waits.
    #[default]
    Instant,
    /// So many times as fast as the world; 1 is real time.
    Times(f64),
}

impl FromStr for Speed {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Speed, String> {
        match text {
            "instant" => Ok(Speed::Instant),
            "real" => Ok(Speed::Times(1.0)),
            _ => text
                .strip_prefix('x')
                .and_then(|factor| factor.parse().ok())
                .filter(|factor| (0.001..=FASTEST).contains(factor))
                .map(Speed::Times)
                .ok_or_else(|| format!("a speed is `instant`, `real`, or `xN` with N from 0.001 to {FASTEST}")),
        }
    }
}

impl fmt::Display for Speed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Speed::Instant => f.write_str("instant"),
            Speed::Times(1.0) => f.write_str("real"),
            Speed::Times(factor) => write!(f, "x{factor}"),
        }
    }
}

/// Whose time moves.
#[derive(Clone, Debug)]
pub(in crate::cluster) enum Moves {
    /// That of a simulated cluster.
    Simulation(Simulation),
    /// That of a plan's copy of a live cluster, which has to read on the way.
    Copy(Arc<Overlay>),
    /// Nobody's: what is served is in the time of the world.
    Nothing,
}

impl Moves {
    pub(in crate::cluster) fn simulation(&self) -> Option<&Simulation> {
        match self {
            Moves::Simulation(simulation) => Some(simulation),
            Moves::Copy(overlay) => Some(overlay.simulation()),
            Moves::Nothing => None,
        }
    }

    pub(in crate::cluster) async fn advance(&self, to: Timestamp) -> Result<()> {
        match self {
            Moves::Simulation(simulation) => simulation.advance(to),
            Moves::Copy(overlay) => overlay.advance(to).await,
            Moves::Nothing => Ok(()),
        }
    }
}

/// Moves the time of one served cluster.
#[derive(Debug)]
pub(super) struct Pace {
    moves: Moves,
    speed: Speed,
    world: Clock,
    /// Where both clocks were when it began.
    began: (Timestamp, Timestamp),
    connected: AtomicUsize,
    answering: AtomicUsize,
    /// When the last connection ended, by the clock of the world.
    left: Mutex<Option<Timestamp>>,
    requests: AtomicU64,
    changed: Notify,
}

/// Something that counts while it lives.
pub(in crate::cluster) struct Counted {
    pace: Arc<Pace>,
    of: fn(&Pace) -> &AtomicUsize,
}

impl Drop for Counted {
    fn drop(&mut self) {
        let before = (self.of)(&self.pace).fetch_sub(1, Ordering::SeqCst);
        if before == 1 && std::ptr::eq((self.of)(&self.pace), &raw const self.pace.connected) {
            *self.pace.left() = Some(self.pace.world.now());
        }
        self.pace.changed.notify_one();
    }
}

impl Pace {
    pub(super) fn new(moves: Moves, speed: Speed) -> Arc<Pace> {
        let world = Clock::real();
        let began = (world.now(), moves.simulation().map_or_else(|| world.now(), Simulation::now));
        let (connected, answering) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let (left, requests, changed) = (Mutex::default(), AtomicU64::new(0), Notify::new());
        Arc::new(Pace { moves, speed, world, began, connected, answering, left, requests, changed })
    }

    fn left(&self) -> MutexGuard<'_, Option<Timestamp>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether time moves from event to event.
    pub(super) fn is_instant(&self) -> bool {
        self.speed == Speed::Instant
    }

    fn count(self: &Arc<Self>, of: fn(&Pace) -> &AtomicUsize) -> Counted {
        of(self).fetch_add(1, Ordering::SeqCst);
        self.changed.notify_one();
        Counted { pace: self.clone(), of }
    }

    /// A client is connected for as long as the guard lives.
    pub(super) fn connected(self: &Arc<Self>) -> Counted {
        self.count(|pace| &pace.connected)
    }

    /// A request is being answered for as long as the guard lives. Time is what it has to be for this request.
    ///
    /// # Errors
    /// When time cannot be moved.
    pub(super) fn answering(self: &Arc<Self>) -> Result<Counted> {
        self.requests.fetch_add(1, Ordering::SeqCst);
        if let (Speed::Times(factor), Moves::Simulation(simulation)) = (self.speed, &self.moves) {
            simulation.advance(self.due(simulation, factor))?;
        }
        if let (Speed::Instant, Moves::Simulation(simulation), Some(left)) = (self.speed, &self.moves, self.left().take()) {
            let pause = between(left, self.world.now());
            if pause >= PAUSE {
                simulation.advance(later(simulation.now(), pause.min(AWAY)))?;
            }
        }
        Ok(self.count(|pace| &pace.answering))
    }

    /// The virtual time that belongs to the time of the world.
    fn due(&self, simulation: &Simulation, factor: f64) -> Timestamp {
        let (world, start) = self.began;
        let passed = between(world, self.world.now()).as_secs_f64() * factor;
        later(start, Duration::try_from_secs_f64(passed).unwrap_or(Duration::MAX)).max(simulation.now())
    }

    /// Moves time for ever.
    ///
    /// # Errors
    /// When time cannot be moved.
    pub(super) async fn run(&self) -> Result<()> {
        match (self.speed, self.moves.simulation()) {
            (_, None) => pending().await,
            (Speed::Instant, Some(simulation)) => self.instant(simulation).await,
            (Speed::Times(factor), Some(simulation)) => self.with_the_world(simulation, factor).await,
        }
    }

    /// Whether a client is connected, or cannot be: who asks again and again while nobody can be reached waits, too.
    fn somebody_waits(&self, simulation: &Simulation) -> bool {
        self.connected.load(Ordering::SeqCst) > 0 || (self.requests.load(Ordering::SeqCst) > 0 && simulation.is_down())
    }

    async fn instant(&self, simulation: &Simulation) -> Result<()> {
        loop {
            let seen = self.requests.load(Ordering::SeqCst);
            let waits = self.somebody_waits(simulation) && self.answering.load(Ordering::SeqCst) == 0;
            let next = simulation.next_at().filter(|_| waits);
            let Some(next) = next else {
                tokio::select! {
                    () = self.changed.notified() => {}
                    () = simulation.expected() => {}
                }
                continue;
            };
            let is_far = between(simulation.now(), next) > FAR;
            self.rest(if is_far { STILL } else { QUIET }).await?;
            if self.requests.load(Ordering::SeqCst) == seen && self.somebody_waits(simulation) {
                self.step(simulation).await?;
            }
        }
    }

    /// Moves to the next event, and over those right behind it of which nobody is told.
    async fn step(&self, simulation: &Simulation) -> Result<()> {
        let (told, seen, end) = (simulation.told(), self.requests.load(Ordering::SeqCst), later(simulation.now(), STEP));
        let mut first = true;
        while let Some(at) = simulation.next_at().filter(|at| first || *at <= end) {
            self.moves.advance(at).await?;
            first = false;
            // Streams that have something to tell are polled now.
            tokio::task::yield_now().await;
            if simulation.told() != told || self.requests.load(Ordering::SeqCst) != seen {
                break;
            }
        }
        Ok(())
    }

    async fn with_the_world(&self, simulation: &Simulation, factor: f64) -> Result<()> {
        loop {
            self.moves.advance(self.due(simulation, factor)).await?;
            let now = simulation.now();
            let next = [simulation.next_at(), simulation.next_watch_end()].into_iter().flatten().min();
            let left = next.map_or(LOOK, |at| Duration::try_from_secs_f64(between(now, at).as_secs_f64() / factor).unwrap_or(LOOK));
            tokio::select! {
                () = self.changed.notified() => {}
                rested = self.rest(left.min(LOOK)) => rested?,
            }
        }
    }

    async fn rest(&self, span: Duration) -> Result<()> {
        self.world.sleep_until(later(self.world.now(), span)).await
    }
}

/// Never comes back: what only an error ends.
pub(super) async fn run(pace: Arc<Pace>) -> Error {
    match pace.run().await {
        Err(error) => error,
        Ok(()) => pending().await,
    }
}

#[cfg(test)]
mod tests {
    use lockgate_sim::Options;
    use lockgate_sim::fixture::Fixture;

    use super::*;

    #[test]
    fn speeds_are_read_as_they_are_printed() {
        for (text, speed) in
            [("instant", Speed::Instant), ("real", Speed::Times(1.0)), ("x60", Speed::Times(60.0)), ("x0.5", Speed::Times(0.5))]
        {
            assert_eq!(text.parse(), Ok(speed));
            assert_eq!(speed.to_string(), text);
        }
        for wrong in ["", "fast", "x", "x0", "x-1", "xNaN", "xinf", "60", "x1e9"] {
            assert!(wrong.parse::<Speed>().is_err(), "{wrong}");
        }
    }

    const SLOW: &str = "apiVersion: v1\nkind: Node\nmetadata: {name: n1}\n";
    const POD: &str = r#"{"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a", "image": "registry.example/a:v1"}]}}"#;

    fn simulation() -> Simulation {
        let sim = Fixture::parse("c.yaml", SLOW).unwrap().cluster(Options::default()).unwrap();
        let simulation = Simulation::new(sim);
        let pod = serde_json::from_str(POD).unwrap();
        simulation.with(|sim| drop(sim.handle(&lockgate_sim::Request::post("/api/v1/namespaces/default/pods", &pod))));
        simulation
    }

    fn run<F: Future>(future: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
    }

    /// Lets the pace work until nothing is left to happen, for at most ten seconds.
    async fn settled(pace: &Arc<Pace>) -> bool {
        let (clock, world) = (pace.moves.simulation().unwrap(), Clock::real());
        tokio::select! {
            ended = pace.run() => panic!("{ended:?}"),
            () = async { while clock.next_at().is_some() { tokio::task::yield_now().await } } => true,
            _ = world.sleep_until(later(world.now(), Duration::from_millis(400))) => clock.next_at().is_none(),
        }
    }

    #[test]
    fn time_moves_only_while_a_client_is_connected_and_asks_nothing() {
        run(async {
            let simulation = simulation();
            let start = simulation.now();
            let pace = Pace::new(Moves::Simulation(simulation.clone()), Speed::Instant);
            assert!(!settled(&pace).await, "nobody waits");
            assert_eq!(simulation.now(), start);
            let client = pace.connected();
            let question = pace.answering().unwrap();
            assert!(!settled(&pace).await, "a request is being answered");
            assert_eq!(simulation.now(), start);
            drop(question);
            assert!(settled(&pace).await);
            assert!(simulation.now() > start);
            drop(client);
        });
    }

    #[test]
    fn a_time_that_somebody_waits_for_is_reached_exactly() {
        run(async {
            let simulation = simulation();
            let pace = Pace::new(Moves::Simulation(simulation.clone()), Speed::Instant);
            let _client = pace.connected();
            let at = later(simulation.now(), Duration::from_secs(90));
            tokio::select! {
                ended = pace.run() => panic!("{ended:?}"),
                () = simulation.reached(at) => assert_eq!(simulation.now(), at),
            }
        });
    }

    #[test]
    fn a_slow_client_does_not_lose_ten_minutes() {
        run(async {
            let simulation = Simulation::new(lockgate_sim::Cluster::new(Options::default()));
            let pace = Pace::new(Moves::Simulation(simulation.clone()), Speed::Instant);
            let (world, _client) = (Clock::real(), pace.connected());
            let began = world.now();
            tokio::select! {
                ended = pace.run() => panic!("{ended:?}"),
                () = simulation.reached(later(simulation.now(), Duration::from_secs(600))) => {}
            }
            assert!(between(began, world.now()) >= STILL);
        });
    }

    #[test]
    fn time_goes_on_while_nobody_can_be_reached_and_somebody_asks() {
        run(async {
            let simulation = simulation();
            let rule = r#"{"match": {"verb": "list"}, "do": {"down": "10m"}}"#;
            simulation.with(|sim| sim.add_fault(serde_json::from_str(rule).unwrap()));
            let pace = Pace::new(Moves::Simulation(simulation.clone()), Speed::Instant);
            drop(pace.answering().unwrap());
            let list = || lockgate_sim::Request::get("/api/v1/nodes");
            assert!(simulation.with(|sim| sim.handle(&list())).conduct.refused && simulation.is_down());
            tokio::select! {
                ended = pace.run() => panic!("{ended:?}"),
                () = async { while simulation.is_down() { tokio::task::yield_now().await } } => {}
            }
        });
    }

    #[test]
    fn a_pause_between_two_commands_counts() {
        run(async {
            let simulation = simulation();
            let pace = Pace::new(Moves::Simulation(simulation.clone()), Speed::Instant);
            let start = simulation.now();
            let ask = |ago: u64| {
                drop(pace.connected());
                let left = *pace.left();
                *pace.left() = left.map(|left| left - Duration::from_millis(ago));
                let _client = pace.connected();
                drop(pace.answering().unwrap());
                *pace.left() = None;
            };
            ask(100);
            assert_eq!(simulation.now(), start, "commands right behind each other");
            ask(3_000);
            let passed = between(start, simulation.now());
            assert!((3..10).contains(&passed.as_secs()), "{passed:?}");
            ask(7_200_000);
            assert_eq!(between(start, simulation.now()) - passed, AWAY);
        });
    }

    #[test]
    fn a_clock_that_is_ahead_or_behind_keeps_nothing() {
        for skew in ["1h", "-1h"] {
            run(async {
                let simulation = simulation();
                let faults = format!("apiVersion: lockgate.dev/v1\nkind: Faults\nclock: {skew}\n");
                let faults = lockgate_sim::faults::FaultsDocument::parse("f.yaml", &faults).unwrap();
                simulation.with(|sim| sim.disturb(faults));
                let (start, _) = (simulation.now(), ());
                let pace = Pace::new(Moves::Simulation(simulation.clone()), Speed::Instant);
                let _client = pace.connected();
                assert!(settled(&pace).await, "{skew}");
                assert!((1..600).contains(&between(start, simulation.now()).as_secs()), "{skew}");
            });
        }
    }

    #[test]
    fn a_thousand_times_the_speed_of_the_world_is_that() {
        run(async {
            let simulation = simulation();
            let (start, world) = (simulation.now(), Clock::real());
            let began = world.now();
            let pace = Pace::new(Moves::Simulation(simulation.clone()), Speed::Times(1000.0));
            assert!(settled(&pace).await, "eleven seconds pass in eleven milliseconds");
            let (virtually, really) = (between(start, simulation.now()), between(began, world.now()));
            assert!(virtually <= really * 1000, "{virtually:?} in {really:?}");
        });
    }
}
