//! When a run that was killed and went on counts as well: O1 to O7 of the design's reference, as data.

use lockgate::cli::test::difference;
use lockgate::cli::test::ended::held;
use lockgate::cli::test::kill::{Trace, broken, lies, pardoned};
use lockgate::run::journal::book::OnDrift;
use lockgate::run::journal::file::Journal;
use lockgate::run::journal::memory::MemoryDisk;
use lockgate::run::journal::{Fact, read};
use lockgate::run::{End, Summary};

use super::Reference;
use crate::runs::harness::{Kill, Scene, World};

/// One of them.
pub(in crate::runs) struct Oracle {
    pub(in crate::runs) id: &'static str,
    pub(in crate::runs) says: &'static str,
    look: fn(&Case<'_>) -> Vec<String>,
}

/// A run that has ended, beside one that nobody stopped.
pub(super) struct Case<'a> {
    pub(super) scene: &'a Scene,
    pub(super) reference: &'a Reference,
    pub(super) world: &'a World,
    pub(super) summary: &'a Summary,
    pub(super) trace: Trace<'a>,
    /// Whether everything is looked at that takes its time.
    pub(super) thorough: bool,
}

/// In the order in which they are looked at: the state last, since it lets time pass.
pub(in crate::runs) const ORACLES: [Oracle; 7] = [
    Oracle { id: "O2", says: "the same effects, each as often", look: same_effects },
    Oracle { id: "O3", says: "what cannot be repeated was done as often", look: same_acts },
    Oracle { id: "O4", says: "the invariants hold", look: invariants_hold },
    Oracle { id: "O5", says: "the journal is whole, and what it tells is what was done", look: journal_tells },
    Oracle { id: "O6", says: "it takes no longer than three times as long and ten minutes", look: in_time },
    Oracle { id: "O7", says: "going on with it again writes nothing", look: is_over },
    Oracle { id: "O1", says: "the cluster ends as it would have", look: same_state },
];

/// What is wrong with a run that has ended.
pub(super) fn wrong(case: &Case<'_>) -> Vec<String> {
    if case.summary.end != case.reference.end {
        return vec![format!("it ended otherwise: {:?} {:?}", case.summary.end, case.summary.error)];
    }
    let looked = ORACLES.iter().flat_map(|oracle| {
        let found = (oracle.look)(case).into_iter();
        found.map(move |what| format!("{} ({}): {what}", oracle.id, oracle.says))
    });
    looked.collect()
}

fn same_state(case: &Case<'_>) -> Vec<String> {
    difference(&case.reference.state, &case.world.simulation.with(held))
}

fn same_effects(case: &Case<'_>) -> Vec<String> {
    pardoned(difference(&case.reference.effects, &case.trace.effective()), &case.trace.entries)
}

fn same_acts(case: &Case<'_>) -> Vec<String> {
    difference(&case.reference.acts, &case.trace.acts())
}

fn invariants_hold(case: &Case<'_>) -> Vec<String> {
    broken(&case.trace).0.iter().map(ToString::to_string).collect()
}

fn journal_tells(case: &Case<'_>) -> Vec<String> {
    let Some(story) = case.trace.story() else { return vec!["it tells nothing".to_owned()] };
    let half = story.half_done().map(|write| format!("{} {} is half-done", write.verb, write.target));
    let mut wrong: Vec<String> = half.chain(lies(&case.trace)).collect();
    if !case.thorough {
        return wrong;
    }
    // Written and read back as a file is.
    let disk = MemoryDisk::new();
    let mut facts = case.trace.entries.iter();
    let Some((at, Fact::Header(header))) = facts.next().map(|entry| (entry.at, entry.fact.clone())) else {
        return vec!["it has no header".to_owned()];
    };
    let journal = Journal::create(Box::new(disk.clone()), None, at, *header).unwrap();
    for entry in facts {
        journal.append(entry.at, &entry.fact).unwrap();
    }
    let back = read(&mut disk.clone(), "tried", false).unwrap();
    let differs = back.entries.iter().zip(&case.trace.entries).find(|(read, written)| read != written);
    if let Some((read, written)) = differs {
        wrong.push(format!("it reads otherwise than it was written: {read:?} instead of {written:?}"));
    }
    if back.entries.len() != case.trace.entries.len() {
        wrong.push("not all of it can be read".to_owned());
    }
    wrong
}

fn in_time(case: &Case<'_>) -> Vec<String> {
    let took = case.world.simulation.now().duration_since(case.scene.sim.now());
    let most = case.reference.took * 3 + jiff::SignedDuration::from_mins(10);
    if took > most { vec![format!("{took:#} instead of {:#}", case.reference.took)] } else { Vec::new() }
}

fn is_over(case: &Case<'_>) -> Vec<String> {
    if case.reference.end != End::Succeeded || !case.thorough {
        return Vec::new();
    }
    let world = case.world.fork();
    let ended = case.scene.process(&world, Kill::No, OnDrift::Stop);
    let summary = ended.summary.unwrap();
    let more = world.ledger().len() - case.world.ledger().len();
    let mut wrong = Vec::new();
    if summary.end != End::Succeeded {
        wrong.push(format!("it ends otherwise: {:?} {:?}", summary.end, summary.error));
    }
    if more > 0 {
        wrong.push(format!("{more} writes"));
    }
    wrong
}
