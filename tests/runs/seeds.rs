//! Random runbooks under random faults, killed at random: everything follows from a seed. What disturbs may delay a run and may fail it; a
//! run that has failed is resumed as a person would, and has to end as if nothing had happened.
//!
//! `LOCKGATE_SEED=7 cargo test --test tests runs::seeds` plays one seed, `LOCKGATE_SEEDS=1000000` as many as are asked for.

use lockgate::run::journal::book::OnDrift;
use lockgate::run::{End, Source};
use lockgate_sim::Options as SimOptions;
use lockgate_sim::faults::{Act, Action, Deed, Failure, Match, Rule, Side, Write, chaos};
use lockgate_sim::fixture::Fixture;
use lockgate_sim::json::json;
use lockgate_sim::model::Span as SimSpan;
use lockgate_sim::request::Method;
use lockgate_sim::rng::Rng;

use jiff::SignedDuration;

use super::harness::{Kill, SOMEBODY, Scene, World};
use super::kill::normal::THEIRS;
use super::kill::{Count, Reference, judged, told};
use super::kinds::{Shape, cluster};

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
            0 => Action::Delayed(SimSpan(SignedDuration::from_secs(1 + i64::try_from(rng.below(50)).unwrap_or(0)))),
            1 => Action::Fail(Failure { code: 504, reason: None, message: None, retry_after: None, causes: Vec::new() }),
            2 => Action::Before(theirs()),
            _ => Action::Down(SimSpan(SignedDuration::from_secs(5 + i64::try_from(rng.below(20)).unwrap_or(0)))),
        };
        rules.push(Rule { when: Match { verb, nth, ..Match::default() }, action });
    }
    rules
}

/// Somebody else writes what nobody here cares about, into what everybody does.
fn theirs() -> Deed {
    let body = json!({ "metadata": { "annotations": { (THEIRS): "yes" } } });
    let path = "/apis/apps/v1/namespaces/default/deployments/web".to_owned();
    let write = Write { by: SOMEBODY.to_owned(), verb: Method::Patch, path, body };
    Deed { delay: SimSpan::ZERO, act: Act::Write(write) }
}

/// Where the next process is killed.
fn kill(rng: &mut Rng, reference: &Reference) -> Kill {
    let at = usize::try_from(1 + rng.below(reference.lines as u64)).unwrap_or(1);
    match rng.below(5) {
        0 => Kill::Before(at),
        1 => Kill::After(at),
        2 => Kill::Asking(1 + rng.below(reference.asked.len() as u64), Side::Before),
        3 => Kill::Asking(1 + rng.below(reference.asked.len() as u64), Side::After),
        _ => Kill::No,
    }
}

/// Plays a seed; gives how many events there were.
fn play(seed: u64) -> Result<usize, String> {
    let mut rng = Rng::new(seed);
    let text = runbook(&mut rng);
    let sim =
        Fixture::parse("cluster.yaml", &cluster(Shape::Small)).unwrap().cluster(SimOptions { seed, ..SimOptions::default() }).unwrap();
    let scene = Scene { budget: 2, ..Scene::of(Source::of_text("tried", &text), sim) };
    let reference = Reference { took: SignedDuration::from_hours(1), ..Reference::of(&scene) };
    let mut world = scene.world();
    world.happens(faults(seed, &mut rng), Vec::new());
    let mut kills = rng.below(4);
    let mut history = Vec::new();
    for _ in 0..PROCESSES {
        let planned = if kills > 0 { kill(&mut rng, &reference) } else { Kill::No };
        kills = kills.saturating_sub(1);
        let ended = scene.process_in(&world, planned, OnDrift::Stop);
        let Some(summary) = ended.summary else {
            history.push(format!("{planned:?}"));
            world = after_death(world, &mut rng, &mut history);
            continue;
        };
        if summary.end == End::Succeeded {
            let (wrong, events) = judged(&scene, &reference, &world, &summary, false);
            return if wrong.is_empty() { Ok(events) } else { Err(said(&text, &history, &wrong.join("\n  "), &world)) };
        }
        history.push(format!("{:?}: {}", summary.end, summary.error.map(|error| error.to_string()).unwrap_or_default()));
        world.passes(SimSpan(SignedDuration::from_mins(3)));
    }
    Err(said(&text, &history, "it does not come to an end", &world))
}

/// Between two processes: the disk may lose what was not synced, the request on the way may arrive, time may pass.
fn after_death(world: World, rng: &mut Rng, history: &mut Vec<String>) -> World {
    if rng.below(2) == 0 {
        history.push(format!("lost {} lines", world.disk.lose_unsynced()));
    }
    if rng.below(2) == 0 {
        let seconds = 1 + i64::try_from(rng.below(50)).unwrap_or(0);
        if world.arrives(SimSpan(SignedDuration::from_secs(seconds))) {
            history.push(format!("its request arrives {seconds} s later"));
        }
    }
    if rng.below(2) == 0 {
        world.passes(SimSpan(SignedDuration::from_secs(i64::try_from(rng.below(300)).unwrap_or(0))));
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

/// Plays a quarter of the seeds.
fn quarter(number: u64) {
    let one = asked("LOCKGATE_SEED");
    let all = asked("LOCKGATE_SEEDS").unwrap_or(SEEDS);
    let mut count = Count::default();
    let mut failed = Vec::new();
    for seed in (number..all).step_by(4).filter(|_| one.is_none()).chain(one.filter(|seed| seed % 4 == number)) {
        count.seeds += 1;
        match play(seed) {
            Ok(events) => count.events += events,
            Err(what) => failed.push(format!("LOCKGATE_SEED={seed} cargo test --test tests runs::seeds\n{what}")),
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
