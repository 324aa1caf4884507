//! When a run that was killed and went on counts as well: O1 to O7 of the design's reference, as data.

use lockgate::run::journal::book::OnDrift;
use lockgate::run::journal::file::Journal;
use lockgate::run::journal::memory::MemoryDisk;
use lockgate::run::journal::{Fact, read};
use lockgate::run::{End, Summary};

use super::invariants;
use super::trace::Trace;
use super::{Reference, normal};
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
    Oracle { id: "O5", says: "the journal is whole and tells what was done", look: journal_tells },
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

/// What is in only one of two sorted lists.
fn differences(wanted: &[String], found: &[String]) -> Vec<String> {
    let count = |all: &[String], one: &String| all.iter().filter(|other| *other == one).count();
    let missing = wanted.iter().filter(|one| count(found, one) < count(wanted, one)).map(|one| format!("missing: {one}"));
    let more = found.iter().filter(|one| count(found, one) > count(wanted, one)).map(|one| format!("too much: {one}"));
    let mut all: Vec<String> = missing.chain(more).collect();
    all.dedup();
    all
}

fn same_state(case: &Case<'_>) -> Vec<String> {
    let found = case.world.simulation.with(normal::held);
    if found == case.reference.state { Vec::new() } else { differences(&case.reference.state, &found) }
}

/// What may be done again, because the host said so: a part of what differs, and what the journal must tell as often, or once.
const PARDONED: [(&str, &str, bool); 2] = [
    // Nobody can tell whether a command ran: a person was asked.
    ("/exec", "Run it again?", true),
    // An operation of helm that was interrupted is one that helm cannot go on with: its record is taken away and made again.
    ("sh.helm.release.v1.", "its helm went with the run", false),
];

fn same_effects(case: &Case<'_>) -> Vec<String> {
    let mut wrong = differences(&case.reference.effects, &case.trace.effective());
    for (part, said, each) in PARDONED {
        let told = case.trace.told().filter(|text| text.contains(said)).count();
        let mut left = if each { told } else { told * wrong.len() };
        wrong.retain(|line| {
            let pardoned = left > 0 && line.contains(part);
            left -= usize::from(pardoned);
            !pardoned
        });
    }
    wrong
}

fn same_acts(case: &Case<'_>) -> Vec<String> {
    let mut found: Vec<String> = acts(&case.trace.machines);
    found.sort();
    differences(&case.reference.acts, &found)
}

/// What machines did that cannot be done twice: not what they were only asked.
pub(super) fn acts(machines: &[String]) -> Vec<String> {
    /// Where lockgate keeps what it needs to find its own operations again.
    const NOTES: &str = " /var/lib/lockgate/";
    const READS: [&str; 6] = ["cat ", "systemctl is-", "dpkg-query ", "apt-cache ", "apt-mark showhold", "command "];
    let mut acts: Vec<String> = machines
        .iter()
        .filter(|line| {
            !line.contains(NOTES) && !READS.iter().any(|read| line.split_once(' ').is_some_and(|(_, what)| what.starts_with(read)))
        })
        .cloned()
        .collect();
    acts.sort();
    acts
}

fn invariants_hold(case: &Case<'_>) -> Vec<String> {
    invariants::broken(&case.trace).0
}

fn journal_tells(case: &Case<'_>) -> Vec<String> {
    let story = case.trace.story();
    let half = story.half_done().map(|write| format!("{} {} is half-done", write.verb, write.target));
    let mut wrong: Vec<String> = half.collect();
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
    if back.entries != case.trace.entries {
        wrong.push("it reads otherwise than it was written".to_owned());
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
    let ended = case.scene.process_in(&world, Kill::No, OnDrift::Stop);
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
