//! Kills of runs, everywhere: before and after every line of the journal reaches the disk, with and without the loss of what was not
//! synced, before and after every request is carried out, and with a request that arrives when its sender is dead. Where that is comes from
//! the journal and the request log of the same run when nobody stops it.

pub(super) mod invariants;
pub(super) mod normal;
pub(super) mod oracles;
mod trace;

use jiff::SignedDuration;
use lockgate::run::journal::Entry;
use lockgate::run::journal::book::OnDrift;
use lockgate::run::{End, Summary};
use lockgate_sim::faults::Side;
use lockgate_sim::model::Span as SimSpan;

use self::oracles::Case;
use self::trace::Trace;
use super::harness::{Kill, Scene, World};

/// A run that nobody stopped.
pub(super) struct Reference {
    pub(super) end: End,
    pub(super) state: Vec<String>,
    pub(super) effects: Vec<String>,
    pub(super) acts: Vec<String>,
    pub(super) took: SignedDuration,
    pub(super) lines: usize,
    /// Its requests; whether each writes.
    pub(super) asked: Vec<bool>,
}

/// What came of many kills.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Count {
    /// Different ways in which a run was killed.
    pub(super) points: usize,
    /// Runs that were killed in their recovery as well.
    pub(super) double: usize,
    /// Runs under faults that a seed drew.
    pub(super) seeds: usize,
    /// Runbooks, each on each shape of cluster.
    pub(super) runbooks: usize,
    /// Events at which the invariants were looked at.
    pub(super) events: usize,
}

impl std::ops::AddAssign for Count {
    fn add_assign(&mut self, other: Count) {
        self.points += other.points;
        self.double += other.double;
        self.seeds += other.seeds;
        self.runbooks += other.runbooks;
        self.events += other.events;
    }
}

/// A way to kill a run, and what the world does then.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    pub(super) kill: Kill,
    /// What was not synced is lost.
    pub(super) loses: bool,
    /// The request on the way arrives so many seconds after the death of its sender; without it, it is lost.
    pub(super) arrives: Option<i64>,
}

/// So long after the death of its sender a request may still arrive: a proxy that holds it for seconds, and one that holds it nearly until
/// the end of its deadline.
const LATE: [i64; 2] = [3, 50];

impl Reference {
    /// Of which nothing is known but where it can be killed.
    pub(super) fn nothing() -> Reference {
        let (state, effects, acts, asked) = Default::default();
        Reference { end: End::Succeeded, state, effects, acts, took: SignedDuration::ZERO, lines: 0, asked }
    }

    pub(super) fn of(scene: &Scene) -> Reference {
        let world = scene.world();
        let ended = scene.process_in(&world, Kill::No, OnDrift::Stop);
        let summary = ended.summary.unwrap();
        assert_eq!(summary.end, End::Succeeded, "{:?}", summary.error);
        let trace = Trace::of(scene, &world);
        let (broken, _) = invariants::broken(&trace);
        assert!(broken.is_empty(), "a run that nobody stops: {broken:#?}");
        let took = world.simulation.now().duration_since(scene.sim.now());
        let asked = world.asked_since(0);
        Reference {
            end: summary.end,
            effects: trace.effective(),
            acts: oracles::acts(&trace.machines),
            took,
            lines: world.disk.written(),
            asked,
            state: world.simulation.with(normal::held),
        }
    }

    /// Where it can be killed: from its own journal and its own requests.
    pub(super) fn kills(&self) -> Vec<Kill> {
        let lines = (1..=self.lines).flat_map(|line| [Kill::Before(line), Kill::After(line)]);
        let requests = self.asked.iter().zip(1..).flat_map(|(writes, number)| {
            let after = writes.then_some(Kill::Asking(number, Side::After));
            [Some(Kill::Asking(number, Side::Before)), after].into_iter().flatten()
        });
        lines.chain(requests).collect()
    }
}

/// Kills a first process. Gives the worlds that there may be then, each with the point that leads there; `None` when it was over before.
pub(super) fn killed(scene: &Scene, world: &World, kill: Kill) -> Option<Vec<(Point, World)>> {
    let first = scene.process_in(world, kill, OnDrift::Stop);
    if first.summary.is_some() {
        return None;
    }
    // Of items that are done at once one dies while the request of another, whose intent is on the disk, leaves.
    let most = if scene.source.text.contains("batch") { world.disk.open_intents() } else { 0 };
    assert!(world.written_since_death() <= most, "I6: {kill:?}: a dead process wrote something");
    let point = Point { kill, loses: false, arrives: None };
    let mut worlds = Vec::new();
    let lost = world.fork();
    if lost.disk.lose_unsynced() > 0 {
        worlds.push((Point { loses: true, ..point }, lost));
    }
    if let Kill::Asking(_, Side::Before) = kill {
        for seconds in LATE {
            let late = world.fork();
            if late.arrives(SimSpan(SignedDuration::from_secs(seconds))) {
                worlds.push((Point { arrives: Some(seconds), ..point }, late));
            }
        }
    }
    worlds.push((point, world.fork()));
    Some(worlds)
}

/// Goes on to the end, and gives what is wrong then.
pub(super) fn finished(scene: &Scene, reference: &Reference, world: &World, thorough: bool) -> (Vec<String>, usize) {
    let ended = scene.process_in(world, Kill::No, OnDrift::Stop);
    judged(scene, reference, world, &ended.summary.unwrap(), thorough)
}

pub(super) fn judged(scene: &Scene, reference: &Reference, world: &World, summary: &Summary, thorough: bool) -> (Vec<String>, usize) {
    let trace = Trace::of(scene, world);
    let events = trace.changes.len();
    let case = Case { scene, reference, world, summary, trace, thorough };
    (oracles::wrong(&case), events)
}

/// Kills a run of this everywhere; panics with what is wrong.
pub(super) fn everywhere(name: &str, scene: &Scene) -> Count {
    let (count, wrong) = every_kill(name, scene);
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), count.points, summed(&wrong));
    count
}

/// What is wrong in many cases, each only once, and one case with its journal.
pub(super) fn summed(wrong: &[String]) -> String {
    let mut seen: Vec<(&str, usize, &str)> = Vec::new();
    for case in wrong {
        let head = case.lines().next().unwrap_or_default();
        for line in case.lines().skip(1).filter(|line| !line.starts_with("    ")) {
            match seen.iter_mut().find(|(other, ..)| *other == line) {
                Some(found) => found.1 += 1,
                None => seen.push((line, 1, head)),
            }
        }
    }
    let mut text: String = seen.iter().take(30).map(|(line, count, head)| format!("{count} times{line}\n    first: {head}\n")).collect();
    text.extend(wrong.first().map(String::as_str));
    text
}

/// The same; gives what is wrong.
pub(super) fn every_kill(name: &str, scene: &Scene) -> (Count, Vec<String>) {
    let reference = Reference::of(scene);
    let (mut count, mut wrong) = (Count { runbooks: 1, ..Count::default() }, Vec::new());
    for (number, kill) in reference.kills().into_iter().enumerate() {
        let worlds = killed(scene, &scene.world(), kill).unwrap_or_else(|| panic!("{name}: {kill:?}: not killed"));
        for (point, world) in worlds {
            let (found, events) = finished(scene, &reference, &world, number.is_multiple_of(8));
            count += Count { points: 1, events, ..Count::default() };
            if !found.is_empty() {
                wrong.push(format!("{name}: {point:?}\n  {}\n{}", found.join("\n  "), told(&world)));
            }
        }
    }
    (count, wrong)
}

/// The journal of a world, one line a fact: for whoever looks for what is wrong.
pub(super) fn told(world: &World) -> String {
    let entries = world.disk.entries.borrow();
    let short = |text: String| text.chars().take(220).collect::<String>();
    entries.iter().map(|entry| format!("    {} {}\n", entry.seq, short(format!("{:?}", entry.fact)))).collect()
}

/// The same world with another journal: as a host has it that does not look at a part of it.
pub(super) fn with_entries(world: &World, sees: fn(&[Entry]) -> Vec<Entry>) -> World {
    let world = world.fork();
    let seen = sees(&world.disk.entries.borrow());
    world.disk.marks.borrow_mut().truncate(seen.len());
    *world.disk.entries.borrow_mut() = seen;
    world
}
