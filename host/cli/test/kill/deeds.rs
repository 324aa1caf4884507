//! What was done in a world since its run began: what clients changed there, event by event, in words that every run has for it.

use std::collections::{BTreeMap, BTreeSet};

use lockgate_sim::kinds::POD;
use lockgate_sim::ledger::Effect;
use lockgate_sim::store::{Change, Key};

use super::world::World;
use crate::cli::test::ended::effective;
use crate::run::Event;
use crate::run::journal::{Entry, Fact};

/// Everything, when it is over or at the death of a process.
#[derive(Debug)]
pub struct Deeds {
    /// What the store changed, in order.
    pub changes: Vec<Change>,
    /// What the run did.
    pub ledger: Vec<Effect>,
    /// Which change each effect was, by its place; commands are none.
    pub change_of: Vec<Option<usize>>,
    /// What machines were told, in order.
    pub machines: Vec<String>,
    /// The commands in pods that were announced as ones that change something, each as `POD COMMAND`.
    announced: BTreeSet<String>,
    /// What the names of pods begin with that were made up.
    drawn: BTreeMap<String, String>,
}

impl Deeds {
    /// Of this world.
    #[must_use]
    pub fn of(world: &World) -> Deeds {
        let (changes, machines): (Vec<Change>, Vec<String>) = world.simulation.with(|sim| {
            let changes = sim.store().changes_after(world.begun).map(|changes| changes.cloned().collect()).unwrap_or_default();
            let machines = sim.event_log().skip(world.happened).filter_map(|line| Some(line.split_once("MACHINE ")?.1.to_owned()));
            (changes, machines.collect())
        });
        let mut ledger = world.ledger();
        drop(ledger.drain(..world.earlier.min(ledger.len())));
        let change_of = ledger.iter().map(|effect| change_of(effect, &changes)).collect();
        let drawn = world.simulation.with(|sim| {
            let there = sim.store().list(POD, None).map(|(key, pod)| (key.clone(), pod.clone()));
            let were = changes.iter().filter(|change| change.key.kind.is(POD));
            let were = were.filter_map(|change| Some((change.key.clone(), change.before.clone().or_else(|| change.after.clone())?)));
            let all: Vec<_> = there.chain(were).collect();
            all.into_iter()
                .filter_map(|(key, pod)| Some((full_name(&key), pod.pointer("/metadata/generateName")?.as_str()?.to_owned())))
                .collect()
        });
        let announced = announced(&world.disk.entries.borrow());
        Deeds { changes, ledger, change_of, machines, announced, drawn }
    }

    /// The change of an effect.
    #[must_use]
    pub fn change(&self, effect: usize) -> Option<&Change> {
        self.changes.get((*self.change_of.get(effect)?)?)
    }

    /// The effects, sorted; those that changed nothing are left out.
    #[must_use]
    pub fn effective(&self) -> Vec<String> {
        let done = self.ledger.iter().enumerate().filter_map(|(at, effect)| match effect.subject.strip_suffix("/exec") {
            Some(pod) => self.ran(effect, pod),
            None => effective(effect, self.change(at)),
        });
        let mut found: Vec<String> = done.collect();
        found.sort();
        found
    }

    /// A command in a pod, in words that it has in every run; `None` when it only read: it may be asked as often as one likes.
    fn ran(&self, effect: &Effect, pod: &str) -> Option<String> {
        if !self.announced.contains(&format!("{pod} {}", effect.command)) {
            return None;
        }
        let place = pod.rsplit_once('/').map_or("", |(place, _)| place);
        let of = self.drawn.get(pod).map_or_else(|| pod.to_owned(), |start| format!("{place}/{start}*"));
        Some(format!("{} {of}/exec: {}", effect.verb, effect.command))
    }

    /// What machines did that cannot be done twice, sorted: not what they were only asked.
    #[must_use]
    pub fn acts(&self) -> Vec<String> {
        /// Where lockgate keeps what it needs to find its own operations again.
        const NOTES: &str = " /var/lib/lockgate/";
        const READS: [&str; 6] = ["cat ", "systemctl is-", "dpkg-query ", "apt-cache ", "apt-mark showhold", "command "];
        let reads = |line: &str| READS.iter().any(|read| line.split_once(' ').is_some_and(|(_, what)| what.starts_with(read)));
        let mut acts: Vec<String> = self.machines.iter().filter(|line| !line.contains(NOTES) && !reads(line)).cloned().collect();
        acts.sort();
        acts
    }

    /// The full name of what an effect wrote.
    #[must_use]
    pub fn object_of(&self, effect: usize) -> String {
        /// What a request may be about beside the object.
        const PARTS: [&str; 6] = ["exec", "attach", "eviction", "scale", "status", "binding"];
        let subject = self.ledger.get(effect).map(|effect| effect.subject.as_str()).unwrap_or_default();
        match (self.change(effect), subject.rsplit_once('/')) {
            (Some(change), _) => full_name(&change.key),
            (None, Some((object, part))) if PARTS.contains(&part) => object.to_owned(),
            (None, _) => subject.to_owned(),
        }
    }

    /// Whether an effect only read: a command in a pod that nothing announced.
    #[must_use]
    pub fn only_read(&self, effect: usize) -> bool {
        let Some(done) = self.ledger.get(effect) else { return false };
        done.subject.strip_suffix("/exec").is_some_and(|pod| self.ran(done, pod).is_none())
    }
}

/// The commands in pods of which the journal says before that they will run.
fn announced(entries: &[Entry]) -> BTreeSet<String> {
    let intents = entries.iter().filter_map(|entry| match &entry.fact {
        Fact::Intent { intent, .. } if intent.key.verb == "exec" => Some(&intent.key),
        _ => None,
    });
    intents.map(|key| format!("{} {}", key.target, key.part.as_deref().unwrap_or_default())).collect()
}

fn change_of(effect: &Effect, changes: &[Change]) -> Option<usize> {
    if effect.subject.ends_with("/exec") {
        return None;
    }
    let end = changes.partition_point(|change| change.rv <= effect.version);
    let named = changes.get(..end)?.iter().rposition(|change| {
        let name = full_name(&change.key);
        effect.subject == name || effect.subject.strip_prefix(&name).is_some_and(|rest| rest.starts_with('/'))
    });
    // One that the server named is the last.
    named.or_else(|| end.checked_sub(1))
}

/// `kind/namespace/name`, as intents have it.
#[must_use]
pub fn full_name(key: &Key) -> String {
    let parts = [key.kind.singular, &key.namespace, &key.name];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/")
}

/// What may be done again, because the host said so: a part of the line of the effect, and what the journal must tell as often, or once.
const PARDONED: [(&str, &str, bool); 2] = [
    // Nobody can tell whether a command ran: a person was asked.
    ("/exec", "Run it again?", true),
    // An operation of helm that was interrupted is one that helm cannot go on with: its record is taken away and made again.
    ("sh.helm.release.v1.", "its helm went with the run", false),
];

/// What is left of differences between two runs without those that people were told of.
#[must_use]
pub fn pardoned(mut wrong: Vec<String>, entries: &[Entry]) -> Vec<String> {
    for (part, said, each) in PARDONED {
        let told = told(entries).filter(|text| text.contains(said)).count();
        let mut left = if each { told } else { told * wrong.len() };
        wrong.retain(|line| {
            let pardoned = left > 0 && line.contains(part);
            left -= usize::from(pardoned);
            !pardoned
        });
    }
    wrong
}

/// What people were asked and told.
fn told(entries: &[Entry]) -> impl Iterator<Item = &str> {
    entries.iter().filter_map(|entry| match &entry.fact {
        Fact::Told { event, .. } => match &**event {
            Event::Asked { confirmation, .. } => Some(confirmation.question.as_str()),
            Event::Note { text, .. } => Some(text.as_str()),
            _ => None,
        },
        _ => None,
    })
}
