//! Every fault at every request of every verb: the matrix of `reference/safety.md` §5.7. What a cell expects is written down from
//! that table ([`table`]); what happened is read off the simulator's own ledger, not off what the client believes. A fault that did
//! not happen fails its cell.

mod calls;
mod containers;
mod helm;
mod machines;
mod table;

use std::collections::BTreeMap;
use std::path::Path;

use lockgate::base::Error;
use lockgate_sim::Cluster as Sim;
use lockgate_sim::faults::{Asked, Schedule, schedules};
use lockgate_sim::json::json;

use self::calls::Case;
use self::table::Expected;
use crate::docs::generated;

/// What one run of a call did.
struct Played {
    /// The error, if there was one.
    error: Option<Error>,
    /// How often each `verb kind/namespace/name` changed the store, by our hand.
    effects: BTreeMap<String, usize>,
    /// The requests that it made.
    asked: Vec<Asked>,
    /// Their statuses, where there was an answer.
    statuses: Vec<Option<u16>>,
    /// Whether each rule met its request.
    fired: bool,
}

/// Plays a call on a copy of this cluster, with one thing going wrong.
fn play(case: &Case, base: &Sim, schedule: Option<&Schedule>) -> Played {
    let rig = (case.rig)(base.fork());
    let call = (case.call)(&rig);
    // The first contact is made: a wrong address is another thing than a server that goes away.
    rig.value("list", json!(["nodes"]), json!({}));
    let sent = rig.cluster.sent();
    let (before, asked) = rig.sim(|sim| {
        if let Some(schedule) = schedule {
            sim.add_fault(schedule.rule.clone());
        }
        (sim.ledger().len(), sim.faults().asked().len())
    });
    let result = rig.run(rig.calling(call.verb, call.positional, &call.options));
    let recorded = rig.cluster.requests_after(sent).into_iter();
    let statuses = recorded.filter(|request| !request.resource.starts_with('/')).map(|request| request.status).collect();
    rig.sim(|sim| {
        // What was delayed arrives.
        let later = sim.now().checked_add(jiff::SignedDuration::from_secs(40)).unwrap();
        sim.advance_to(later);
        let mut effects = BTreeMap::new();
        for effect in sim.ledger()[before..].iter().filter(|effect| effect.by.starts_with("lockgate/")) {
            *effects.entry(format!("{} {}", effect.verb, effect.subject)).or_default() += 1;
        }
        let asked = sim.faults().asked().skip(asked).filter(|asked| asked.client.starts_with("lockgate/")).cloned().collect();
        Played { error: result.err(), effects, asked, statuses, fired: sim.faults().unfired().next().is_none() }
    })
}

/// What is wrong with one cell, if anything.
fn judge(case: &Case, base: &Sim, schedule: &Schedule, whole: &Played) -> Option<String> {
    let asked = &whole.asked[schedule.request];
    // Only a good answer is replaced by another.
    let is_absent = matches!(schedule.fault, "of another kind" | "no object") && whole.statuses[schedule.request] == Some(404);
    let expected = match is_absent {
        true => Expected::Comes,
        false => table::expected(case.name, asked, schedule.fault, &whole.asked[..schedule.request]),
    };
    let played = play(case, base, Some(schedule));
    let cell = format!("{}: {}", case.name, schedule.name);
    if !played.fired {
        return Some(format!("{cell}: the fault did not happen"));
    }
    let twice = played.effects.iter().find(|(what, count)| {
        let again = what.ends_with("/exec") && table::may_run_again(case.name);
        whole.effects.get(*what).is_none_or(|whole| whole < *count) && !again && !table::may_come_back(case.name, what, schedule.fault)
    });
    if let Some((what, count)) = twice {
        return Some(format!("{cell}: `{what}` had {count} effects"));
    }
    if let (Expected::Fails(_) | Expected::Unknown(_), Some(error)) = (expected, &played.error) {
        let whole = format!("{error} {}", error.hint.as_deref().unwrap_or_default());
        let (wanted, unwanted) = table::says(asked, schedule.fault);
        let missing = wanted.iter().find(|text| !whole.contains(*text));
        if let Some(text) = missing {
            return Some(format!("{cell}: it does not say `{text}`: {whole}"));
        }
        if let Some(text) = unwanted.iter().find(|text| whole.contains(**text)) {
            return Some(format!("{cell}: it says `{text}`: {whole}"));
        }
        if matches!(expected, Expected::Unknown(_)) && case.name != "exec that reads" && !whole.contains("unknown") {
            return Some(format!("{cell}: it does not say that nobody knows: {whole}"));
        }
    }
    match (expected, &played.error) {
        (Expected::Comes, None) if alike(case, &played, whole, schedule.fault) => None,
        (Expected::Comes, None) => Some(format!("{cell}: it ended well, but did {:?} and not {:?}", played.effects, whole.effects)),
        (Expected::Done, None) => None,
        (Expected::Fails(reasons), Some(error)) if reasons.contains(&error.reason) => None,
        (Expected::Unknown(reasons), Some(error)) if reasons.contains(&error.reason) && error.details["outcome"] == "unknown" => None,
        (expected, Some(error)) => Some(format!("{cell}: expected {expected:?}, got {}: {error}", error.reason.as_str())),
        (expected, None) => Some(format!("{cell}: expected {expected:?}, it ended well")),
    }
}

/// Whether both had the same effects; how often something was run that changes nothing, or that is begun once however often it is begun,
/// does not count.
fn alike(case: &Case, played: &Played, whole: &Played, fault: &str) -> bool {
    let counted = |played: &Played| -> BTreeMap<String, usize> {
        let free = |what: &str| what.ends_with("/exec") && table::may_run_again(case.name) || table::may_come_back(case.name, what, fault);
        played.effects.iter().filter(|(what, _)| !free(what)).map(|(what, count)| (what.clone(), *count)).collect()
    };
    counted(played) == counted(whole)
}

/// Plays all cells of these calls. How many there are is kept in a file, so that none goes missing unseen.
fn matrix(name: &str, cases: &[Case]) {
    let (mut cells, mut wrong) = (0, Vec::new());
    for case in cases {
        let base = (case.base)();
        let whole = play(case, &base, None);
        assert!(whole.error.is_none(), "{}: without a fault: {:?}", case.name, whole.error);
        assert_eq!(whole.asked.len(), whole.statuses.len(), "{}: what left and what arrived", case.name);
        for schedule in schedules(&whole.asked).iter().filter(|schedule| table::is_meant(schedule.fault)) {
            cells += 1;
            wrong.extend(judge(case, &base, schedule, &whole));
        }
    }
    let count = format!("{cells} cells, {} as specified\n", cells - wrong.len());
    assert!(cells >= 15 * cases.len(), "{cells} cells of {} calls", cases.len());
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

#[test]
fn containers() {
    matrix("containers", &containers::cases());
}

#[test]
fn helm_reads() {
    matrix("helm-reads", &helm::reads());
}

#[test]
fn helm_writes() {
    matrix("helm-writes", &helm::writes());
}

#[test]
fn helm_locks() {
    matrix("helm-locks", &helm::locks());
}

#[test]
fn machines() {
    matrix("machines", &machines::modelled());
}

#[test]
fn machines_by_pods() {
    matrix("machines-by-pods", &machines::by_pods());
}

#[test]
fn what_asks_nothing_meets_no_fault() {
    for case in helm::without_requests() {
        let played = play(&case, &(case.base)(), None);
        assert!(played.error.is_none() && played.asked.is_empty(), "{}: {:?} {:?}", case.name, played.error, played.asked);
    }
}

#[test]
fn every_verb_that_asks_the_cluster_is_played() {
    let groups = [
        calls::reads(),
        calls::versions(),
        calls::writes(),
        calls::waits(),
        calls::edits(),
        calls::lives(),
        calls::nodes(),
        calls::drains(),
        containers::cases(),
        helm::reads(),
        helm::writes(),
        helm::locks(),
        helm::without_requests(),
        machines::modelled(),
    ];
    let mut played: Vec<&str> = groups.iter().flatten().map(Case::verb).collect();
    // It is `versions` and a judgement of what that read.
    played.push("skew_check");
    let missing: Vec<&str> = lockgate::primitives::ALL
        .iter()
        .filter(|definition| !definition.needs.is_empty() || definition.name.starts_with("machine."))
        .map(|definition| definition.name)
        .filter(|name| !played.contains(name))
        .collect();
    assert!(missing.is_empty(), "no row: {missing:?}");
}
