//! Every fault at every request of every verb: the matrix of `reference/safety.md` §5.7. What a cell expects is written down from
//! that table ([`table`]); what happened is read off the simulator's own ledger, not off what the client believes. A fault that did
//! not happen fails its cell.

mod calls;
mod table;

use std::collections::BTreeMap;

use lockgate::base::Error;
use lockgate_sim::faults::{Asked, Schedule, schedules};

use self::calls::Case;
use self::table::Expected;
use super::support::Rig;

/// What one run of a call did.
struct Played {
    /// The error, if there was one.
    error: Option<Error>,
    /// How often each `verb kind/namespace/name` changed the store, by our hand.
    effects: BTreeMap<String, usize>,
    /// The requests that it made.
    asked: Vec<Asked>,
    /// Whether each rule met its request.
    fired: bool,
}

/// Plays a call on a cluster of its own, with one thing going wrong.
fn play(case: &Case, schedule: Option<&Schedule>) -> Played {
    let rig = Rig::with(case.given);
    let call = (case.call)(&rig);
    // The first contact is made: a wrong address is another thing than a server that goes away.
    rig.object("configmap/settings");
    let (before, asked) = rig.sim(|sim| {
        if let Some(schedule) = schedule {
            sim.add_fault(schedule.rule.clone());
        }
        (sim.ledger().len(), sim.faults().asked().len())
    });
    let result = rig.run(rig.calling(call.verb, call.positional, &call.options));
    rig.sim(|sim| {
        // What was delayed arrives.
        for _ in 0..40 {
            let to = sim.now().checked_add(jiff::SignedDuration::from_secs(1)).unwrap();
            sim.advance_to(to);
        }
        let mut effects = BTreeMap::new();
        for effect in sim.ledger()[before..].iter().filter(|effect| effect.by.starts_with("lockgate/")) {
            *effects.entry(format!("{} {}", effect.verb, effect.subject)).or_default() += 1;
        }
        let asked = sim.faults().asked().skip(asked).filter(|asked| asked.client.starts_with("lockgate/")).cloned().collect();
        Played { error: result.err(), effects, asked, fired: sim.faults().unfired().next().is_none() }
    })
}

/// What is wrong with one cell, if anything.
fn judge(case: &Case, schedule: &Schedule, asked: &Asked, whole: &Played) -> Option<String> {
    // Who waits already goes on waiting; a drain does from its first eviction on.
    let waits = whole.asked[..schedule.request].iter().any(|before| before.subresource == "eviction");
    let expected = table::expected(case.name, asked, schedule.fault, waits);
    let played = play(case, Some(schedule));
    let cell = format!("{}: {}", case.name, schedule.name);
    if !played.fired {
        return Some(format!("{cell}: the fault did not happen"));
    }
    let twice = played.effects.iter().find(|(what, count)| whole.effects.get(*what).is_none_or(|whole| whole < *count));
    if let Some((what, count)) = twice {
        return Some(format!("{cell}: `{what}` had {count} effects"));
    }
    match (expected, played.error) {
        (Expected::Comes, None) if played.effects == whole.effects => None,
        (Expected::Comes, None) => Some(format!("{cell}: it ended well, but did {:?} and not {:?}", played.effects, whole.effects)),
        (Expected::Done, None) => None,
        (Expected::Fails(reasons), Some(error)) if reasons.contains(&error.reason) => None,
        (expected, Some(error)) => Some(format!("{cell}: expected {expected:?}, got {}: {error}", error.reason.as_str())),
        (expected, None) => Some(format!("{cell}: expected {expected:?}, it ended well")),
    }
}

/// Plays all cells of these calls.
fn matrix(cases: &[Case]) {
    let (mut cells, mut wrong) = (0, Vec::new());
    for case in cases {
        let whole = play(case, None);
        assert!(whole.error.is_none(), "{}: without a fault: {:?}", case.name, whole.error);
        for schedule in schedules(&whole.asked).iter().filter(|schedule| table::is_meant(schedule.fault)) {
            cells += 1;
            wrong.extend(judge(case, schedule, &whole.asked[schedule.request], &whole));
        }
    }
    println!("fault matrix: {cells} cells, {} as specified", cells - wrong.len());
    assert!(cells >= 20 * cases.len(), "{cells} cells of {} calls", cases.len());
    assert!(wrong.is_empty(), "{} of {cells} cells:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn reads() {
    matrix(&calls::reads());
}

#[test]
fn versions() {
    matrix(&calls::versions());
}

#[test]
fn writes_of_one_object() {
    matrix(&calls::writes());
}

#[test]
fn waits() {
    matrix(&calls::waits());
}

#[test]
fn edits() {
    matrix(&calls::edits());
}

#[test]
fn lives() {
    matrix(&calls::lives());
}

#[test]
fn nodes() {
    matrix(&calls::nodes());
}

#[test]
fn drains() {
    matrix(&calls::drains());
}
