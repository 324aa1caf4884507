//! Faults under a real helm: something goes wrong at its requests and at ours, and whatever it is, the release can be told from its
//! record, is upgraded at most once, and comes to the same end by another call. Which request a rule meets is for helm to say: its order is
//! not ours. The exact expectations, cell by cell, are those of the verbs' own requests (`tests/primitives/faults`).

use lockgate::base::Reason;
use lockgate_sim::Cluster as Sim;
use lockgate_sim::faults::{Schedule, schedules};
use lockgate_sim::json::{Value as Json, json};

use super::bench::{Bench, Outcome, ensure, same};

/// Of all cells every so-many-th is played: all of them would take an hour.
const EVERY: usize = 11;

fn upgrade(chart: &str) -> (&'static str, Json, Json) {
    ("helm.upgrade", json!(["shop", chart]), json!({ "values_from": "previous", "values": { "colour": "red" }, "stall": "1h" }))
}

/// What an error may say when a request goes wrong; whatever else is a fault of ours.
const REASONS: [Reason; 13] = [
    Reason::Conflict,
    Reason::Forbidden,
    Reason::HelmFailed,
    Reason::HelmHook,
    Reason::HelmLocked,
    Reason::HelmRemovedApi,
    Reason::Invalid,
    Reason::NotFound,
    Reason::NotReady,
    Reason::Stalled,
    Reason::Timeout,
    Reason::Unreachable,
    Reason::Unsupported,
];

pub(super) fn matrix(bench: &Bench) -> Outcome {
    let chart = bench.plain_chart("0.1.0", &[])?;
    bench.value("helm.install", json!(["shop", chart]), json!({ "values": { "colour": "blue" } }))?;
    let next = bench.plain_chart("0.2.0", &[("tag: v1.0.0", "tag: v2.0.0")])?;
    let simulation = bench.cluster.simulation().ok_or("no simulated cluster")?;
    let base = simulation.fork();

    let whole = Bench::on(base.fork(), bench.helm)?;
    let before = asked(&whole)?.len();
    let (verb, arguments, options) = upgrade(&next);
    whole.value(verb, arguments, options)?;
    let asked = asked(&whole)?.split_off(before);
    let is_meant = |schedule: &&Schedule| !matches!(schedule.fault, "held before" | "held after" | "100 MB");
    let cells: Vec<Schedule> = schedules(&asked).into_iter().filter(|schedule| is_meant(&schedule)).step_by(EVERY).collect();
    let (mut wrong, mut fired) = (Vec::new(), 0);
    for schedule in &cells {
        match play(&base, bench.helm, &next, schedule) {
            Ok(met) => fired += usize::from(met),
            Err(why) => wrong.push(format!("{}: {why}", schedule.name)),
        }
    }
    ensure(wrong.is_empty(), || format!("{} of {} cells:\n{}", wrong.len(), cells.len(), wrong.join("\n")))?;
    // helm asks at times of its own for what it has read lately.
    ensure(fired * 10 >= cells.len() * 9, || format!("of {} faults only {fired} happened", cells.len()))
}

fn asked(bench: &Bench) -> Outcome<Vec<lockgate_sim::faults::Asked>> {
    let simulation = bench.cluster.simulation().ok_or("no simulated cluster")?;
    Ok(simulation.with(|sim| sim.faults().asked().cloned().collect()))
}

/// Plays one cell; whether its fault happened.
fn play(base: &Sim, helm: &'static str, chart: &str, schedule: &Schedule) -> Outcome<bool> {
    let bench = Bench::on(base.fork(), helm)?;
    let simulation = bench.cluster.simulation().ok_or("no simulated cluster")?;
    simulation.with(|sim| sim.add_fault(schedule.rule.clone()));
    let (verb, arguments, options) = upgrade(chart);
    let result = bench.call(verb, arguments.clone(), options.clone());
    let met = simulation.with(|sim| {
        // What was delayed arrives, what was down comes back.
        let later = sim.now().checked_add(jiff::SignedDuration::from_mins(11)).map_err(|error| error.to_string())?;
        let met = sim.faults().unfired().next().is_none();
        sim.clear_faults();
        sim.advance_to(later);
        Ok::<bool, String>(met)
    })?;
    if let Err(error) = &result {
        ensure(REASONS.contains(&error.reason), || format!("{}: {error}", error.reason.as_str()))?;
    }
    let release = bench.release()?;
    let (revision, status) = (release["revision"].as_i64(), release["status"].as_str().unwrap_or_default().to_owned());
    ensure(revision <= Some(2), || format!("revision {revision:?}: it was upgraded twice"))?;
    match (&result, revision) {
        (Ok(_), _) => same("the release", (revision, status.as_str()), (Some(2), "deployed"))?,
        (Err(error), Some(1)) => ensure(status == "deployed", || format!("nothing was done, and it is {status}: {error}"))?,
        (Err(error), _) => {
            ensure(["deployed", "failed", "pending-upgrade"].contains(&status.as_str()), || format!("it is {status}: {error}"))?;
        }
    }
    if status == "pending-upgrade" {
        bench.value("helm.unlock", json!(["shop"]), json!({ "to": "failed" }))?;
    }
    bench.value(verb, arguments, options).map_err(|error| format!("after {result:?}: {error}"))?;
    same("in the end", bench.release()?["status"].as_str(), Some("deployed"))?;
    let image = bench.object("deployment/shop")?["spec"]["template"]["spec"]["containers"][0]["image"].clone();
    ensure(image.as_str().is_some_and(|image| image.ends_with("v2.0.0")), || format!("the image is {image}"))?;
    Ok(met)
}
