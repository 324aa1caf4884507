//! Random runbooks under random faults, killed at random: everything follows from a seed. What disturbs may delay a run and may fail it; a
//! run that has failed is resumed as a person would, and has to end as if nothing had happened.
//!
//! `LOCKGATE_SEED=7 cargo test --test tests runs::seeds` plays one seed, `LOCKGATE_SEEDS=1000000` as many as are asked for.
//! `LOCKGATE_DEFECT=forgets` plays them with a host that forgets the writes that were on their way: what fails then fails again.

use lockgate::base::{Kind, Span};
use lockgate::cli::test::ended::THEIRS;
use lockgate::cli::test::kill::{broken, lies};
use lockgate::cluster::RunId;
use lockgate::run::journal::Past;
use lockgate::run::journal::book::OnDrift;
use lockgate::run::lock::Errand;
use lockgate::run::{End, Source, perform};
use lockgate_sim::Options as SimOptions;
use lockgate_sim::faults::{Act, Action, Deed, Entries, Failure, Happening, Match, Rule, Side, Write, chaos};
use lockgate_sim::fixture::Fixture;
use lockgate_sim::json::json;
use lockgate_sim::model::Span as SimSpan;
use lockgate_sim::request::Method;
use lockgate_sim::rng::Rng;

use jiff::SignedDuration;

use super::harness::{Kill, SOMEBODY, Scene, World, happens, passes};
use super::kill::{Count, Reference, judged, told, with_entries};
use super::kinds::{Shape, cluster};
use super::proves::without_open_writes;

/// How many seeds one run of the tests plays, in four tests.
const SEEDS: u64 = 2_000;
/// How often a run is resumed at most: every fault comes once, and is over then.
const PROCESSES: usize = 12;

/// What a step may do; `{}` is a number of its own. None of them disturbs another.
const ACTS: [&str; 14] = [
    "set_image(\"deployment/web\", { web = \"registry.example/web:v{}.0.0\" })",
    "set_image(\"deployment/web\", { web = \"registry.example/web:v{}.0.0\" })\n    wait_rollout(\"deployment/web\")",
    "scale(\"deployment/web\", 1 + {} % 4)",
    "label(\"node/w1\", { l{} = \"x\" })",
    "annotate(\"deployment/web\", { a{} = \"x\", other = false })",
    "taint(\"w2\", { \"t{}=x:PreferNoSchedule\" })",
    "cordon(\"w1\")\n    uncordon(\"w1\")",
    "patch(\"configmap/settings\", { data = { p{} = \"x\" } })",
    "create { apiVersion = \"v1\", kind = \"ConfigMap\", metadata = { name = \"c{}\" }, data = { a = \"b\" } }",
    "create { apiVersion = \"v1\", kind = \"ConfigMap\", metadata = { generateName = \"g{}-\" }, data = { a = \"b\" } }",
    "create { apiVersion = \"v1\", kind = \"ConfigMap\", metadata = { name = \"d{}\" } }\n    delete(\"configmap/d{}\")",
    "apply { { apiVersion = \"v1\", kind = \"ConfigMap\", metadata = { name = \"s{}\" }, data = { a = \"b\" } } }",
    "set_env(\"deployment/web\", { E{} = \"x\" })",
    "rollout_restart(\"daemonset/agent\")\n    wait_rollout(\"daemonset/agent\")",
];

/// A runbook of one or two steps with one to three acts each.
fn runbook(rng: &mut Rng) -> String {
    let mut text = "runbook { title = \"t\", summary = \"s\", impact = \"none\" }\n".to_owned();
    let mut number = 1;
    for step in 1..=1 + rng.below(2) {
        let mut body = String::new();
        for _ in 0..1 + rng.below(3) {
            let act = usize::try_from(rng.below(ACTS.len() as u64)).unwrap_or(0);
            number += 1;
            body.push_str(&format!("    {}\n", ACTS[act].replace("{}", &number.to_string())));
        }
        let verify = if rng.below(6) == 0 { "  verify = function() wait_rollout(\"deployment/web\") end,\n" } else { "" };
        text.push_str(&format!("step \"s{step}\" {{\n  title = \"Step\",\n  run = function()\n{body}  end,\n{verify}}}\n"));
    }
    text
}

/// What goes wrong: what the simulator's own chaos has, requests that arrive late, other codes, somebody else who writes.
fn faults(seed: u64, rng: &mut Rng) -> Vec<Rule> {
    let mut rules = chaos(seed);
    for _ in 0..rng.below(3) {
        let nth = Some(1 + rng.below(20));
        let verb = Some(["patch", "create", "delete", "get", "list"][usize::try_from(rng.below(5)).unwrap_or(0)].to_owned());
        let action = match rng.below(4) {
            0 => Action::Delayed(seconds(1 + rng.below(50))),
            1 => Action::Fail(Failure { code: 504, reason: None, message: None, retry_after: None, causes: Vec::new() }),
            2 => Action::Before(deed(Act::Write(theirs("/apis/apps/v1/namespaces/default/deployments/web")))),
            _ => Action::Down(seconds(5 + rng.below(20))),
        };
        rules.push(Rule { when: Match { verb, nth, ..Match::default() }, action });
    }
    rules
}

fn seconds(seconds: u64) -> SimSpan {
    SimSpan(SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(0)))
}

fn deed(act: Act) -> Deed {
    Deed { delay: SimSpan::ZERO, act }
}

/// Somebody else writes what nobody here cares about, into what everybody does.
fn theirs(path: &str) -> Write {
    let body = json!({ "metadata": { "annotations": { (THEIRS): "yes" } } });
    Write { by: SOMEBODY.to_owned(), verb: Method::Patch, path: path.to_owned(), body }
}

/// What the world is like while a run goes, beside the network.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Weather {
    /// As ever.
    Fair,
    /// Lists are of a former moment for a while, as an API server gives them whose cache lags; watches begin late.
    Stale,
    /// Images take long to come, and pods to be ready: every controller is late.
    Slow,
    /// The kubelet of a worker dies and comes back.
    DeadNode,
    /// A second administrator works on the same objects and nodes.
    SecondAdministrator,
    /// A controller takes back what the run did to the replicas of a workload, once.
    Reverts,
}

impl Weather {
    fn of(rng: &mut Rng) -> Weather {
        use Weather::{DeadNode, Fair, Reverts, SecondAdministrator, Slow, Stale};
        [Fair, Fair, Stale, Slow, DeadNode, SecondAdministrator, Reverts][usize::try_from(rng.below(7)).unwrap_or(0)]
    }

    /// What it brings.
    fn brings(self, rng: &mut Rng) -> (Vec<Rule>, Vec<Happening>) {
        let happens = |at: u64, act: Act| Happening { at: seconds(at), deed: deed(act) };
        let begin = rng.below(40);
        match self {
            Weather::Fair => (Vec::new(), Vec::new()),
            Weather::Stale => {
                let mut when = |verb: &str, kind: &str| Match {
                    verb: Some(verb.to_owned()),
                    kind: Some(kind.to_owned()),
                    after: Some(seconds(begin)),
                    until: Some(seconds(begin + 5 + rng.below(30))),
                    ..Match::default()
                };
                let kind = ["Deployment", "Pod", "ReplicaSet", "Node"][usize::try_from(begin % 4).unwrap_or(0)];
                let late = Action::Late(seconds(3 + begin % 10));
                (
                    vec![Rule { when: when("list", kind), action: Action::Stale }, Rule { when: when("watch", kind), action: late }],
                    Vec::new(),
                )
            }
            Weather::Slow => {
                let (pull, ready) = (10 + rng.below(40), 10 + rng.below(60));
                (Vec::new(), vec![happens(begin, model(&format!("images: [{{match: '*', pull: {pull}s, ready: {ready}s, why: a test}}]")))])
            }
            Weather::DeadNode => {
                let kubelet = |state: &str| model(&format!("nodes: [{{match: w1, kubelet: {state}, why: a test}}]"));
                (Vec::new(), vec![happens(begin, kubelet("stopped")), happens(begin + 30 + rng.below(150), kubelet("running"))])
            }
            Weather::SecondAdministrator => {
                let closes = |closed: bool| {
                    let body = json!({ "spec": { "unschedulable": closed } });
                    Act::Write(Write { by: SOMEBODY.to_owned(), verb: Method::Patch, path: "/api/v1/nodes/m1".to_owned(), body })
                };
                let paths = [
                    "/api/v1/namespaces/default/configmaps/settings",
                    "/api/v1/nodes/w1",
                    "/apis/apps/v1/namespaces/default/daemonsets/agent",
                ];
                let mut all = vec![happens(begin, closes(true)), happens(begin + 20 + rng.below(60), closes(false))];
                all.extend(paths.map(|path| happens(rng.below(60), Act::Write(theirs(path)))));
                (Vec::new(), all)
            }
            Weather::Reverts => {
                let body = json!({ "spec": { "replicas": 3 } });
                let path = "/apis/apps/v1/namespaces/default/deployments/web".to_owned();
                let write = Write { by: SOMEBODY.to_owned(), verb: Method::Patch, path, body };
                let when = Match {
                    verb: Some("patch".to_owned()),
                    kind: Some("Deployment".to_owned()),
                    nth: Some(1 + rng.below(3)),
                    ..Match::default()
                };
                let deed = Deed { delay: seconds(rng.below(20)), act: Act::Write(write) };
                (vec![Rule { when, action: Action::After(deed) }], Vec::new())
            }
        }
    }
}

/// Entries about the world behind the API.
fn model(entries: &str) -> Act {
    Act::Model(Box::new(serde_saphyr::from_str::<Entries>(entries).unwrap()))
}

/// Where the next process is killed.
fn kill(rng: &mut Rng, reference: &Reference) -> Kill {
    let at = usize::try_from(1 + rng.below(reference.lines as u64)).unwrap_or(1);
    match rng.below(6) {
        5 => Kill::Later(Span::from_secs(rng.below(60))),
        0 => Kill::Before(at),
        1 => Kill::After(at),
        2 => Kill::Asking(1 + rng.below(reference.asked as u64), Side::Before),
        3 => Kill::Asking(1 + rng.below(reference.asked as u64), Side::After),
        _ => Kill::No,
    }
}

/// What is wrong with the host on purpose.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Defect {
    /// It forgets the writes of which nobody knows what became of them.
    Forgets,
}

impl Defect {
    /// The one that the environment asks for.
    fn asked() -> Option<Defect> {
        std::env::var("LOCKGATE_DEFECT").ok().filter(|name| name == "forgets").map(|_| Defect::Forgets)
    }
}

/// Plays a seed; gives how many events there were.
fn play(seed: u64, defect: Option<Defect>) -> Result<usize, String> {
    let mut rng = Rng::new(seed);
    let text = runbook(&mut rng);
    let sim =
        Fixture::parse("cluster.yaml", &cluster(Shape::Small)).unwrap().cluster(SimOptions { seed, ..SimOptions::default() }).unwrap();
    let scene = Scene { budget: 2, delays: true, ..Scene::of(Source::of_text("tried", &text), sim) };
    let reference = Reference { took: SignedDuration::from_hours(1), ..Reference::of(&scene) };
    let mut world = scene.world();
    happens(&world, faults(seed, &mut rng), Vec::new());
    // Drawn apart, so that what else is drawn for a seed stays what it was.
    let mut apart = Rng::new(seed ^ 0x7765_6174_6865_7200);
    let weather = Weather::of(&mut apart);
    let (rules, happenings) = weather.brings(&mut apart);
    let tries = apart.below(4) == 0;
    let does = if apart.below(2) == 0 { OnDrift::Again } else { OnDrift::Accept };
    happens(&world, rules, happenings);
    let mut kills = rng.below(4);
    let mut history = vec![format!("{weather:?}")];
    let mut on_drift = OnDrift::Stop;
    for _ in 0..PROCESSES {
        let planned = if kills > 0 { kill(&mut rng, &reference) } else { Kill::No };
        kills = kills.saturating_sub(1);
        let ended = scene.process(&world, planned.clone(), on_drift);
        if let Some(error) = &ended.refused {
            // Over, or not even begun: the lock could not be had, or not be given back.
            history.push(format!("refused: {error}"));
            passes(&world, seconds(180));
            continue;
        }
        let Some(summary) = ended.summary else {
            history.push(format!("{planned:?}"));
            if tries && let Some(wrong) = nobody_else_begins(&scene, &world) {
                return Err(said(&text, &history, &wrong, &world));
            }
            world = after_death(world, &mut rng, &mut history);
            if defect == Some(Defect::Forgets) {
                world = with_entries(&world, without_open_writes);
            }
            continue;
        };
        if summary.end == End::Succeeded {
            let (wrong, events) =
                if weather == Weather::Reverts { reverted(&scene, &world) } else { judged(&scene, &reference, &world, &summary, false) };
            return if wrong.is_empty() { Ok(events) } else { Err(said(&text, &history, &wrong.join("\n  "), &world)) };
        }
        let error = summary.error.map(|error| error.to_string()).unwrap_or_default();
        // A person who is told that somebody else wrote there goes on from what there is, or has it written again.
        if matches!(weather, Weather::Reverts | Weather::SecondAdministrator) && error.contains(" is not as ") {
            on_drift = does;
        }
        history.push(format!("{:?}: {error}", summary.end));
        if tries && let Some(wrong) = nobody_else_begins(&scene, &world) {
            return Err(said(&text, &history, &wrong, &world));
        }
        passes(&world, seconds(180));
    }
    Err(said(&text, &history, "it does not come to an end", &world))
}

/// Where somebody took back what the run did, the cluster may end so, and the run may have done it again: but the invariants hold, and what
/// the report tells is what was done.
fn reverted(scene: &Scene, world: &World) -> (Vec<String>, usize) {
    let trace = scene.trace(world);
    let (broken, events) = broken(&trace);
    let mut wrong: Vec<String> = broken.iter().map(ToString::to_string).collect();
    wrong.extend(lies(&trace));
    (wrong, events)
}

/// While a run that wrote is not over nobody else may begin on its cluster.
fn nobody_else_begins(scene: &Scene, world: &World) -> Option<String> {
    let world = world.fork();
    let past = Past::of(world.disk.entries.borrow().iter().cloned());
    let is_over = past.ended.is_some_and(|summary| summary.end == End::Succeeded);
    if world.ledger().is_empty() || is_over {
        return None;
    }
    let other = Scene { source: scene.source.clone(), given: Vec::new(), sim: scene.sim.fork(), ..*scene };
    let fresh = World::of(world.simulation.clone(), None);
    let id = RunId::simulated(scene.sim.now(), 9);
    let ended = other.works(&fresh, id, Errand::Begin, Kill::No, OnDrift::Stop, &|script, job, _, _| perform(script, job));
    match ended.refused {
        Some(error) if error.kind == Kind::Refused => None,
        Some(error) => Some(format!("I12: another run is refused otherwise: {error:?}")),
        None => Some("I12: another run is not refused".to_owned()),
    }
}

/// Between two processes: the disk may lose what was not synced, the request on the way may arrive, time may pass.
fn after_death(mut world: World, rng: &mut Rng, history: &mut Vec<String>) -> World {
    if rng.below(2) == 0 {
        history.push(format!("lost {} lines", world.disk.lose_unsynced()));
    }
    if rng.below(2) == 0 {
        let seconds = 1 + i64::try_from(rng.below(50)).unwrap_or(0);
        if world.arrives(seconds) {
            history.push(format!("its request arrives {seconds} s later"));
        }
    }
    if rng.below(2) == 0 {
        passes(&world, seconds(rng.below(300)));
    }
    world
}

fn said(text: &str, history: &[String], wrong: &str, world: &World) -> String {
    format!("  {wrong}\n{}\n{text}\n{}", history.join("\n"), told(world))
}

/// The number in an environment variable of the tests.
fn asked(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// What plays one seed again.
fn command(seed: u64, defect: Option<Defect>) -> String {
    let defect = defect.map_or("", |_| "LOCKGATE_DEFECT=forgets ");
    format!("{defect}LOCKGATE_SEED={seed} cargo test --test tests runs::seeds::seeds_of")
}

/// Plays a quarter of the seeds.
fn quarter(number: u64) {
    let (one, defect) = (asked("LOCKGATE_SEED"), Defect::asked());
    let all = asked("LOCKGATE_SEEDS").unwrap_or(SEEDS);
    let mut count = Count::default();
    let mut failed = Vec::new();
    for seed in (number..all).step_by(4).filter(|_| one.is_none()).chain(one.filter(|seed| seed % 4 == number)) {
        count.seeds += 1;
        match play(seed, defect) {
            Ok(events) => count.events += events,
            Err(what) => failed.push(format!("{}\n{what}", command(seed, defect))),
        }
    }
    assert!(failed.is_empty(), "{} of {} seeds differ:\n{}", failed.len(), count.seeds, failed[..failed.len().min(4)].join("\n"));
    if one.is_none() && all == SEEDS {
        super::count::keep(&format!("seeds-{number}"), count);
    }
}

#[test]
fn seeds_of_the_first_quarter() {
    quarter(0);
}

#[test]
fn seeds_of_the_second_quarter() {
    quarter(1);
}

#[test]
fn seeds_of_the_third_quarter() {
    quarter(2);
}

#[test]
fn seeds_of_the_fourth_quarter() {
    quarter(3);
}

#[test]
fn what_a_seed_found_it_finds_again_by_the_command_that_is_printed() {
    let defect = Some(Defect::Forgets);
    let (seed, what) = (0..SEEDS).find_map(|seed| Some((seed, play(seed, defect).err()?))).expect("a defect is found by some seed");
    let line = command(seed, defect);
    let (settings, words) = line.split_once(" cargo test --test tests ").unwrap();
    let mut again = std::process::Command::new(std::env::current_exe().unwrap());
    again.args(words.split(' ')).envs(settings.split(' ').map(|setting| setting.split_once('=').unwrap()));
    let output = again.output().unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains(&line) && said.contains(&what), "{said}\n\nis not\n\n{what}");
    // And it is the defect that is found.
    play(seed, None).unwrap();
}
