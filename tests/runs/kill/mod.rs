//! Kills of runs, everywhere: before and after every line of the journal reaches the disk, with and without the loss of what was not
//! synced, before and after every request is carried out, with a request that arrives when its sender is dead, and in the middle of waits.
//! Where that is comes from the journal and the request log of the same run when nobody stops it. One death in eight is died for real.

pub(super) mod oracles;

use jiff::SignedDuration;
use lockgate::base::Span;
use lockgate::cli::test::ended::held;
use lockgate::cli::test::kill::{At, Does, Moment, Point, broken};
use lockgate::run::journal::Entry;
use lockgate::run::journal::book::OnDrift;
use lockgate::run::{End, Summary};
use lockgate_sim::faults::Side;

use self::oracles::Case;
use super::harness::{Kill, Scene, World};

/// A run that nobody stopped.
pub(super) struct Reference {
    pub(super) end: End,
    pub(super) state: Vec<String>,
    pub(super) effects: Vec<String>,
    pub(super) acts: Vec<String>,
    pub(super) took: SignedDuration,
    /// How many lines its journal has, and how many requests it made.
    pub(super) lines: usize,
    pub(super) asked: usize,
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
    /// Runbooks, each once, whatever the shapes of cluster that it is killed on.
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

impl Reference {
    pub(super) fn of(scene: &Scene) -> Reference {
        let world = scene.world();
        let ended = scene.process(&world, Kill::No, OnDrift::Stop);
        let summary = ended.summary.unwrap_or_else(|| panic!("{:?}", ended.refused));
        Reference::after(scene, &world, &summary)
    }

    /// The same, with its world and its moments.
    pub(super) fn watched(scene: &Scene) -> (Reference, World, Vec<Moment>) {
        let world = scene.world();
        let (summary, moments) = watched(scene, &world);
        (Reference::after(scene, &world, &summary), world, moments)
    }

    /// What there is after it.
    fn after(scene: &Scene, world: &World, summary: &Summary) -> Reference {
        assert_eq!(summary.end, End::Succeeded, "{:?}", summary.error);
        let trace = scene.trace(world);
        let (broken, _) = broken(&trace);
        assert!(broken.is_empty(), "a run that nobody stops: {broken:#?}");
        let took = world.simulation.now().duration_since(scene.sim.now());
        Reference {
            end: summary.end,
            effects: trace.effective(),
            acts: trace.acts(),
            took,
            lines: world.disk.written(),
            asked: world.simulation.with(|sim| sim.faults().asked().len()),
            state: held(&mut world.simulation.fork()),
        }
    }
}

/// A process that nobody stops, and its moments.
pub(super) fn watched(scene: &Scene, world: &World) -> (Summary, Vec<Moment>) {
    world.watch();
    let ended = scene.process(world, Kill::No, OnDrift::Stop);
    let summary = ended.summary.unwrap_or_else(|| panic!("{:?}", ended.refused));
    (summary, world.moments())
}

/// Kills a first process at this point for real: it has to leave the world that the watched run says.
pub(super) fn dies(scene: &Scene, whole: &World, moments: &[Moment], point: &Point) -> Vec<String> {
    let moment = &moments[point.moment];
    let kill = match &moment.seen.at {
        At::Line { number, .. } if point.kept > moment.seen.lines => Kill::After(*number),
        At::Line { number, .. } => Kill::Before(*number),
        At::Asking { number, .. } => {
            let side = if point.does == Does::CarriesOut { Side::After } else { Side::Before };
            Kill::Asking(number.expect("a rule counts it"), side)
        }
        At::Waiting => Kill::Later(Span::between(scene.sim.now(), moment.sim.now())),
    };
    let mut world = scene.world();
    let ended = scene.process(&world, kill, OnDrift::Stop);
    if ended.summary.is_some() {
        return vec!["it was not killed".to_owned()];
    }
    let mut wrong = Vec::new();
    // Of items that are done at once one dies while the request of another, whose intent is on the disk, leaves.
    let at_once = scene.source.text.contains("batch");
    let most = if at_once { world.disk.open_intents() } else { 0 };
    if world.written_since_death() > most {
        wrong.push("I6: a dead process wrote something".to_owned());
    }
    if at_once {
        return wrong;
    }
    if point.kept < moment.seen.lines {
        world.disk.keep(point.kept);
    }
    if let Does::Receives(seconds) = point.does {
        world.arrives(seconds);
    }
    let left = whole.at(moments, point).unwrap();
    if *world.disk.entries.borrow() != *left.disk.entries.borrow() {
        wrong.push(format!("it left another journal than the watched run says\n{}\n{}", told(&world), told(&left)));
    }
    if world.ledger() != left.ledger() {
        wrong.push("it did something else than the watched run says".to_owned());
    }
    let (other, differs) = left
        .simulation
        .with(|left| world.simulation.with(|sim| (format!("{:?}", left.store().diff(sim.store())), left.now() != sim.now())));
    if other != "[]" || differs {
        wrong.push(format!("it left another cluster than the watched run says (at another time: {differs}): {other}"));
    }
    wrong
}

/// Goes on to the end, and gives what is wrong then.
pub(super) fn finished(scene: &Scene, reference: &Reference, world: &World, thorough: bool) -> (Vec<String>, usize) {
    let ended = scene.process(world, Kill::No, OnDrift::Stop);
    match (ended.summary, ended.refused) {
        (Some(summary), None) => judged(scene, reference, world, &summary, thorough),
        (_, refused) => (vec![format!("it could not go on: {refused:?}")], 0),
    }
}

pub(super) fn judged(scene: &Scene, reference: &Reference, world: &World, summary: &Summary, thorough: bool) -> (Vec<String>, usize) {
    let trace = scene.trace(world);
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

/// One world in so many is looked at thoroughly, and one is died for real.
const EACH: usize = 8;

/// The same; gives what is wrong.
pub(super) fn every_kill(name: &str, scene: &Scene) -> (Count, Vec<String>) {
    let (reference, whole, moments) = Reference::watched(scene);
    let (mut count, mut wrong) = (Count { runbooks: 1, ..Count::default() }, Vec::new());
    for (number, (points, world)) in whole.worlds(&moments).into_iter().enumerate() {
        let at = |point: &Point| format!("{name}: killed {}", moments[point.moment].told(point));
        if number % EACH == EACH / 2 {
            let point = &points[number / EACH % points.len()];
            wrong.extend(dies(scene, &whole, &moments, point).into_iter().map(|what| format!("{}\n  {what}", at(point))));
        }
        let (found, events) = finished(scene, &reference, &world, number.is_multiple_of(EACH));
        count += Count { points: points.len(), events, ..Count::default() };
        if !found.is_empty() {
            wrong.push(format!("{}\n  {}\n{}", at(&points[0]), found.join("\n  "), told(&world)));
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
