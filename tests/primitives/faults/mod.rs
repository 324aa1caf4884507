//! Every fault at every request of every verb: the matrix of `reference/safety.md` §5.7. What a cell expects is written down from
//! that table ([`table`]); what happened is read off the simulator's own ledger, not off what the client believes. A fault that did
//! not happen fails its cell.

mod calls;
mod table;

use std::collections::BTreeMap;
use std::path::Path;

use lockgate::base::Error;
use lockgate_sim::Cluster as Sim;
use lockgate_sim::faults::{Asked, Schedule, schedules};

use self::calls::Case;
use self::table::Expected;
use super::support::Rig;
use crate::docs::generated;

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

/// Plays a call on a copy of this cluster, with one thing going wrong.
fn play(case: &Case, base: &Sim, schedule: Option<&Schedule>) -> Played {
    let rig = Rig::on(base.fork());
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
        let later = sim.now().checked_add(jiff::SignedDuration::from_secs(40)).unwrap();
        sim.advance_to(later);
        let mut effects = BTreeMap::new();
        for effect in sim.ledger()[before..].iter().filter(|effect| effect.by.starts_with("lockgate/")) {
            *effects.entry(format!("{} {}", effect.verb, effect.subject)).or_default() += 1;
        }
        let asked = sim.faults().asked().skip(asked).filter(|asked| asked.client.starts_with("lockgate/")).cloned().collect();
        Played { error: result.err(), effects, asked, fired: sim.faults().unfired().next().is_none() }
    })
}

/// What is wrong with one cell, if anything.
fn judge(case: &Case, base: &Sim, schedule: &Schedule, whole: &Played) -> Option<String> {
    let asked = &whole.asked[schedule.request];
    // Who waits already goes on waiting; a drain does from its first eviction on.
    let waits = whole.asked[..schedule.request].iter().any(|before| before.subresource == "eviction");
    let expected = table::expected(case.name, asked, schedule.fault, waits);
    let played = play(case, base, Some(schedule));
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

/// Plays all cells of these calls. How many there are is kept in a file, so that none goes missing unseen.
fn matrix(name: &str, cases: &[Case]) {
    let (mut cells, mut wrong) = (0, Vec::new());
    for case in cases {
        let base = Rig::with(case.given).sim(|sim| sim.fork());
        let whole = play(case, &base, None);
        assert!(whole.error.is_none(), "{}: without a fault: {:?}", case.name, whole.error);
        for schedule in schedules(&whole.asked).iter().filter(|schedule| table::is_meant(schedule.fault)) {
            cells += 1;
            wrong.extend(judge(case, &base, schedule, &whole));
        }
    }
    let count = format!("{cells} cells, {} as specified\n", cells - wrong.len());
    assert!(cells >= 20 * cases.len(), "{cells} cells of {} calls", cases.len());
    assert!(wrong.is_empty(), "{} of {cells} cells:\n{}", wrong.len(), wrong.join("\n"));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/primitives/faults/counts");
    generated(&folder.join(format!("{name}.txt")), &count);
}

#[test]
fn reads() {
    matrix("reads", &calls::reads());
}

#[test]
fn versions() {
    matrix("versions", &calls::versions());
}

#[test]
fn writes_of_one_object() {
    matrix("writes", &calls::writes());
}

#[test]
fn waits() {
    matrix("waits", &calls::waits());
}

#[test]
fn edits() {
    matrix("edits", &calls::edits());
}

#[test]
fn lives() {
    matrix("lives", &calls::lives());
}

#[test]
fn nodes() {
    matrix("nodes", &calls::nodes());
}

#[test]
fn drains() {
    matrix("drains", &calls::drains());
}
