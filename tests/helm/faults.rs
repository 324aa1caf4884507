//! Faults under a real helm: something goes wrong at a write of an upgrade, and whatever it is, the release can be told from its record,
//! is upgraded at most once, and comes to the same end by another call. What is in the way of a call after a helm that died is its lock,
//! which is recognised and released. The exact expectations, cell by cell, are those of the verbs' own requests
//! (`tests/primitives/faults`); which request a rule meets here is for helm to say.

use std::time::Duration;

use lockgate::base::Reason;
use lockgate_sim::faults::{Action, Failure, Match, Rule};
use lockgate_sim::json::{Value as Json, json};
use lockgate_sim::model::Span;

use super::bench::{Bench, Outcome, ensure, same};

/// What an error may say when a write of helm goes wrong; whatever else is a fault of ours.
pub(super) const REASONS: [Reason; 7] =
    [Reason::Conflict, Reason::HelmFailed, Reason::HelmHook, Reason::HelmLocked, Reason::NotReady, Reason::Timeout, Reason::Unreachable];

/// The writes of an upgrade: helm notes the new revision, changes the objects, and notes how it went, which are two writes.
const WRITES: [(&str, &str, u64); 4] =
    [("create", "Secret", 1), ("patch", "Deployment", 1), ("update", "Secret", 1), ("update", "Secret", 2)];

fn actions() -> Outcome<Vec<(&'static str, Action)>> {
    let fails = |code| Action::Fail(Failure { code, reason: None, message: None, retry_after: None, causes: Vec::new() });
    let down = Span(jiff::SignedDuration::from_mins(5));
    Ok(vec![
        ("lost before it arrives", Action::LostBefore),
        ("lost after it was carried out", Action::LostAfter),
        ("500", fails(500)),
        ("the server goes away", Action::Down(down)),
    ])
}

fn upgrade(chart: &str) -> (&'static str, Json, Json) {
    ("helm.upgrade", json!(["shop", chart]), json!({ "values_from": "previous", "values": { "colour": "red" }, "stall": "1h" }))
}

pub(super) fn in_the_middle(bench: &Bench) -> Outcome {
    let chart = bench.plain_chart("0.1.0", &[])?;
    bench.value("helm.install", json!(["shop", chart]), json!({ "values": { "colour": "blue" } }))?;
    let next = bench.plain_chart("0.2.0", &[("tag: v1.0.0", "tag: v2.0.0")])?;
    let simulation = bench.cluster.simulation().ok_or("no simulated cluster")?;
    let (mut wrong, mut met, mut all, mut locks) = (Vec::new(), 0, 0, 0);
    for (verb, kind, nth) in WRITES {
        for (name, action) in actions()? {
            let when = Match { verb: Some(verb.into()), kind: Some(kind.into()), nth: Some(nth), ..Match::default() };
            let cell = Bench::on(simulation.fork(), bench.helm)?;
            all += 1;
            let begun = std::time::Instant::now();
            match play(&cell, &next, Rule { when, action }) {
                Ok((fired, locked)) => {
                    met += usize::from(fired);
                    locks += usize::from(locked);
                }
                Err(why) => wrong.push(format!("{verb} {kind} {nth}, {name}: {why}")),
            }
            let took = begun.elapsed();
            if took > Duration::from_secs(60) {
                wrong.push(format!("{verb} {kind} {nth}, {name}: it took {took:?}"));
            }
        }
    }
    ensure(wrong.is_empty(), || format!("{} of {all} cells:\n{}", wrong.len(), wrong.join("\n")))?;
    // helm 3 replaces what helm 4 patches; at the second of them one of the two has no such write.
    ensure(met * 4 >= all * 3, || format!("of {all} faults only {met} happened"))?;
    ensure(locks > 0, || "no helm left its lock".to_owned())
}

/// Plays one cell: whether its fault happened, and whether helm left its lock.
fn play(bench: &Bench, chart: &str, rule: Rule) -> Outcome<(bool, bool)> {
    let simulation = bench.cluster.simulation().ok_or("no simulated cluster")?;
    simulation.with(|sim| sim.add_fault(rule));
    let (verb, arguments, options) = upgrade(chart);
    let result = bench.call(verb, arguments.clone(), options.clone());
    let met = simulation.with(|sim| {
        let met = sim.faults().unfired().next().is_none();
        sim.clear_faults();
        let later = sim.now().checked_add(jiff::SignedDuration::from_mins(11)).map_err(|error| error.to_string())?;
        // What was down comes back.
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
    let locked = status == "pending-upgrade";
    if locked {
        let error = bench.fails(Reason::HelmLocked, verb, arguments.clone(), options.clone())?;
        ensure(error.hint.as_deref().is_some_and(|hint| hint.contains("helm.unlock")), || format!("{error:?}"))?;
        bench.value("helm.unlock", json!(["shop"]), json!({ "to": "failed" }))?;
    }
    bench.value(verb, arguments, options).map_err(|error| format!("after {result:?}: {error}"))?;
    same("in the end", bench.release()?["status"].as_str(), Some("deployed"))?;
    let image = bench.object("deployment/shop")?["spec"]["template"]["spec"]["containers"][0]["image"].clone();
    ensure(image.as_str().is_some_and(|image| image.ends_with("v2.0.0")), || format!("the image is {image}"))?;
    Ok((met, locked))
}
