//! The report against the ledger: every write that the journal tells people of was made in the cluster, as often as it says, and nothing
//! was made there that it does not tell.

use std::collections::BTreeMap;

use super::trace::Trace;
use crate::run::Event;
use crate::run::journal::Fact;
use crate::run::journal::view::{Became, Write};

/// What the report says otherwise than the ledger.
#[must_use]
pub fn lies(trace: &Trace<'_>) -> Vec<String> {
    let Some(story) = trace.story() else { return vec!["it tells nothing".to_owned()] };
    let mut made: BTreeMap<String, [usize; 2]> = BTreeMap::new();
    let (releases, others): (Vec<&Write>, Vec<&Write>) = story.writes.iter().partition(|write| write.target.starts_with("release/"));
    for write in others.into_iter().filter(|write| write.became == Became::Made && !on_a_machine(write)) {
        made.entry(write.target.clone()).or_default()[0] += 1;
    }
    for effect in (0..trace.ledger.len()).filter(|effect| !trace.only_read(*effect)) {
        let object = trace.object_of(effect);
        // What helm did is told of as what was done to its release.
        if made.contains_key(&object) || releases.is_empty() {
            made.entry(object).or_default()[1] += 1;
        }
    }
    // Nobody can tell whether a command ran: a person was asked, and let it run again.
    let again = trace.entries.iter().filter(|entry| matches!(&entry.fact, Fact::Told { event, .. } if was_asked(event))).count();
    let differ = made.into_iter().filter(|(_, [told, done])| told > done || told + again < *done);
    differ.map(|(object, [told, done])| format!("it tells of {told} writes to {object}, and there were {done}")).collect()
}

fn was_asked(event: &Event) -> bool {
    matches!(event, Event::Asked { confirmation, .. } if confirmation.question.contains("Run it again?"))
}

fn on_a_machine(write: &Write) -> bool {
    write.verb == "machine"
}
