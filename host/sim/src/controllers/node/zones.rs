//! How many nodes of each zone are ready. When most of a small zone is not, or all of all zones, the loss is taken to be the
//! network's and no further pods are evicted. A real cluster also limits how many nodes it marks in a time: 1 in 10 s.

use std::sync::Arc;

use imbl::{OrdMap, OrdSet};

use crate::json::{Text, Value};
use crate::store::Key;
use crate::view;

/// In zones up to this size nothing is evicted while most nodes are lost.
const SMALL: u32 = 50;

/// Region and zone.
type Zone = (Text, Text);

/// Nodes by zone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Zones {
    /// Ready nodes and others.
    counts: OrdMap<Zone, (u32, u32)>,
    unready: OrdSet<Key>,
    /// What is counted for each node.
    known: OrdMap<Key, (Zone, bool)>,
    /// Zones without a ready node.
    dead: usize,
}

/// What may be done about a lost node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Evictions {
    /// Its pods are evicted.
    On,
    /// Nothing changes.
    Held,
    /// No pods are evicted, those that wait for it stay.
    Off,
}

fn zone(node: &Value) -> Zone {
    let label = |key: &str| Text::from(view::label(node, key));
    (label("topology.kubernetes.io/region"), label("topology.kubernetes.io/zone"))
}

fn is_held((ready, lost): (u32, u32)) -> bool {
    ready > 0 && lost > 2 && u64::from(lost) * 100 >= u64::from(ready + lost) * 55 && ready + lost <= SMALL
}

impl Zones {
    /// Takes in a change of a node. True when other lost nodes must be looked at again.
    pub(crate) fn apply(&mut self, key: &Key, node: Option<&Arc<Value>>) -> bool {
        let new = node.map(|node| (zone(node), view::condition_is_true(node, "Ready")));
        let old = self.known.get(key).cloned();
        if old == new {
            return false;
        }
        match &new {
            Some(new) => drop(self.known.insert(key.clone(), new.clone())),
            None => drop(self.known.remove(key)),
        }
        let was_off = self.is_all_dead();
        let mut changed = false;
        for (side, step) in [(old, -1), (new.clone(), 1)] {
            let Some((zone, ready)) = side else { continue };
            let count = self.counts.entry(zone.clone()).or_default();
            let held = is_held(*count);
            let was_dead = count.0 == 0 && count.1 > 0;
            let part = if ready { &mut count.0 } else { &mut count.1 };
            *part = part.saturating_add_signed(step);
            changed |= held != is_held(*count);
            let is_dead = count.0 == 0 && count.1 > 0;
            let gone = *count == (0, 0);
            self.dead = self.dead.saturating_add_signed(isize::from(is_dead) - isize::from(was_dead));
            if gone {
                self.counts.remove(&zone);
            }
        }
        match new {
            Some((_, false)) => drop(self.unready.insert(key.clone())),
            _ => drop(self.unready.remove(key)),
        }
        changed || was_off != self.is_all_dead()
    }

    fn is_all_dead(&self) -> bool {
        self.dead > 0 && self.dead == self.counts.len()
    }

    /// Nodes that are not ready.
    pub(crate) fn unready(&self) -> Vec<Key> {
        self.unready.iter().cloned().collect()
    }

    /// What may be done about a lost node.
    pub(crate) fn evictions(&self, node: &Value) -> Evictions {
        if self.is_all_dead() {
            return Evictions::Off;
        }
        match self.counts.get(&zone(node)) {
            Some(count) if is_held(*count) => Evictions::Held,
            _ => Evictions::On,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::json;
    use crate::kinds;

    fn node(zone: &str, ready: bool) -> Arc<Value> {
        let status = if ready { "True" } else { "Unknown" };
        Arc::new(json!({"metadata": {"labels": {"topology.kubernetes.io/zone": zone}},
            "status": {"conditions": [{"type": "Ready", "status": status}]}}))
    }

    #[test]
    fn most_of_a_small_zone_or_everything_lost_holds_evictions() {
        let mut zones = Zones::default();
        let key = |name: &str| Key::new(kinds::NODE, "", name);
        for name in ["a1", "a2", "a3", "a4", "a5"] {
            zones.apply(&key(name), Some(&node("a", true)));
        }
        zones.apply(&key("b1"), Some(&node("b", true)));
        let lost = node("a", false);
        let mut seen = Vec::new();
        for name in ["a1", "a2", "a3", "a4", "a5"] {
            let again = zones.apply(&key(name), Some(&lost));
            seen.push((zones.evictions(&lost), again));
        }
        let (on, held) = (Evictions::On, Evictions::Held);
        assert_eq!(seen, [(on, false), (on, false), (held, true), (held, false), (on, true)], "a zone that is lost whole is evicted");
        assert!(zones.apply(&key("b1"), Some(&node("b", false))));
        assert_eq!((zones.evictions(&lost), zones.unready().len()), (Evictions::Off, 6));
        assert!(!zones.apply(&key("b1"), Some(&node("b", false))), "it is counted once");
        zones.apply(&key("b1"), None);
        assert_eq!((zones.evictions(&lost), zones.unready().len()), (Evictions::Off, 5));
    }
}
