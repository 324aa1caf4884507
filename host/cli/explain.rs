//! What happens in a plan's copy while the plan is made, kept for `--explain`.

use std::collections::BTreeMap;

use lockgate_sim::cluster::CONTROLLERS;
use lockgate_sim::ledger::Effect;
use lockgate_sim::store::{Change, Key};

use crate::cluster::Cluster;
use crate::report::explained::{Basis, Written};
use crate::run::{Event, Record};

/// Keeps it.
pub(super) struct Witness {
    twin: Cluster,
    /// How many requests, effects and lines of the log were seen, and the last change.
    requests: usize,
    effects: usize,
    lines: usize,
    change: u64,
    kept: Vec<Basis>,
}

impl Witness {
    /// From now on, on this copy.
    pub(super) fn of(twin: &Cluster) -> Witness {
        let seen = twin.simulation().map(|simulation| simulation.with(|sim| (sim.ledger().len(), sim.event_log().len(), sim.store().rv())));
        let (effects, lines, change) = seen.unwrap_or_default();
        Witness { twin: twin.clone(), requests: 0, effects, lines, change, kept: Vec::new() }
    }

    /// Something was told: what happened since the last time belongs to it.
    pub(super) fn record(&mut self, record: &Record) {
        // Not shown: what happened belongs to what it leads to.
        if matches!(record.event, Event::Waiting { .. } | Event::Delayed { .. }) {
            return;
        }
        let requests = self.twin.requests();
        let (mut written, mut controllers) = (Vec::new(), BTreeMap::new());
        if let Some(simulation) = self.twin.simulation() {
            let (effects, changes, lines) = simulation.with(|sim| {
                let effects: Vec<Effect> = sim.ledger().iter().skip(self.effects).cloned().collect();
                let changes: Vec<Change> =
                    sim.store().changes_after(self.change).map(|changes| changes.cloned().collect()).unwrap_or_default();
                let lines: Vec<String> = sim.event_log().skip(self.lines).map(str::to_owned).collect();
                self.change = sim.store().rv();
                (effects, changes, lines)
            });
            self.effects += effects.len();
            self.lines += lines.len();
            for effect in effects {
                let Some(change) = changes.iter().find(|change| change.rv == effect.version) else { continue };
                let object = |object: &Option<std::sync::Arc<_>>| object.as_deref().cloned();
                written.push(Written { subject: named(&change.key), before: object(&change.before), after: object(&change.after) });
            }
            lines.iter().filter_map(|line| by_controller(line)).for_each(|what| *controllers.entry(what).or_default() += 1);
        }
        let new = requests.into_iter().skip(self.requests).collect::<Vec<_>>();
        self.requests += new.len();
        self.kept.push(Basis { record: record.clone(), requests: new, written, controllers });
    }

    /// Everything that was kept.
    pub(super) fn kept(self) -> Vec<Basis> {
        self.kept
    }
}

/// `deployment/shop/web`
fn named(key: &Key) -> String {
    let kind = key.kind.kind.to_lowercase();
    [kind.as_str(), key.namespace.as_str(), key.name.as_str()].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/")
}

/// What a controller did, by a line of the simulated cluster's log: `TIME ADDED pod/shop/web-x rv=7 replicaset-controller`.
fn by_controller(line: &str) -> Option<String> {
    let mut words = line.split(' ').skip(1);
    let (does, subject, actor) = (words.next()?, words.next()?, words.last()?);
    let kind = subject.split('/').next().filter(|kind| *kind != "event")?;
    if !CONTROLLERS.contains(&actor) {
        return None;
    }
    let does = match does {
        "ADDED" => "makes",
        "MODIFIED" => "changes",
        "DELETED" => "removes",
        _ => return None,
    };
    Some(format!("{actor} {does} {kind}"))
}
