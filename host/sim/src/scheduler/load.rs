//! What all pods of one node take from it, summed up, so that placing a pod does not count them anew.

use std::collections::BTreeMap;
use std::sync::Arc;

use imbl::OrdMap;

use super::needs::Needs;
use crate::json::Text;
use crate::store::Key;

/// What a container without requests counts as when nodes are compared, in thousandths: 100m of CPU and 200 MiB.
pub(super) const ASSUMED: [(&str, i128); 2] = [("cpu", 100), ("memory", 200 * 1024 * 1024 * 1000)];

/// The pods of one node.
#[derive(Debug, Clone, Default)]
pub(crate) struct Load {
    pods: OrdMap<Key, Arc<Needs>>,
    /// Requests in thousandths, by resource.
    requests: BTreeMap<Text, i128>,
    /// For each of [`ASSUMED`], what pods that request nothing of it count as.
    assumed: [i128; 2],
}

/// What a pod counts as for each of [`ASSUMED`] when it requests nothing of it.
pub(super) fn assumed(needs: &Needs) -> [i128; 2] {
    ASSUMED.map(|(name, assumed)| if needs.requests.get(name).is_some_and(|n| *n > 0) { 0 } else { assumed })
}

impl Load {
    /// Takes a pod in.
    pub(crate) fn come(&mut self, key: Key, needs: Needs) {
        self.count(&needs, 1);
        if let Some(before) = self.pods.insert(key, Arc::new(needs)) {
            self.count(&before, -1);
        }
    }

    /// Lets a pod go.
    pub(crate) fn leave(&mut self, key: &Key) {
        if let Some(before) = self.pods.remove(key) {
            self.count(&before, -1);
        }
    }

    fn count(&mut self, needs: &Needs, by: i128) {
        for (name, amount) in &needs.requests {
            match self.requests.get_mut(name) {
                Some(sum) => *sum += by * amount,
                None => drop(self.requests.insert(name.clone(), by * amount)),
            }
        }
        for (sum, amount) in self.assumed.iter_mut().zip(assumed(needs)) {
            *sum += by * amount;
        }
    }

    /// Keys of the pods, in their order.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &Key> + use<'_> {
        self.pods.keys()
    }

    /// What each pod takes.
    pub(super) fn values(&self) -> impl Iterator<Item = &Needs> + use<'_> {
        self.pods.values().map(|needs| &**needs)
    }

    /// What is left when all pods of a lower priority are gone; `None` when there are none.
    pub(super) fn without_lower(&self, priority: i64) -> Option<Load> {
        let lower = |needs: &Needs| needs.priority < priority;
        if !self.values().any(lower) {
            return None;
        }
        let mut left = self.clone();
        self.pods.iter().filter(|(_, needs)| lower(needs)).for_each(|(key, _)| left.leave(key));
        Some(left)
    }

    /// How many pods there are.
    pub(super) fn len(&self) -> usize {
        self.pods.len()
    }

    /// What all pods together request of a resource, in thousandths.
    pub(super) fn requested(&self, name: &str) -> i128 {
        self.requests.get(name).copied().unwrap_or(0)
    }

    /// As [`Self::requested`] for each of [`ASSUMED`], with what pods count as that request nothing.
    pub(super) fn taken(&self) -> [i128; 2] {
        let mut taken = self.assumed;
        for (sum, (name, _)) in taken.iter_mut().zip(ASSUMED) {
            *sum += self.requested(name);
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds;

    #[test]
    fn sums_are_those_of_the_pods_that_are_there() {
        let needs = |cpu: i128| Needs { requests: BTreeMap::from([("cpu".into(), cpu)]), ..Needs::default() };
        let key = |name: &str| Key::new(kinds::POD, "x", name);
        let mut load = Load::default();
        load.come(key("a"), needs(500));
        load.come(key("b"), needs(0));
        load.come(key("a"), needs(300));
        assert_eq!((load.len(), load.requested("cpu"), load.taken()), (2, 300, [400, 2 * ASSUMED[1].1]));
        load.leave(&key("a"));
        load.leave(&key("a"));
        assert_eq!((load.len(), load.requested("cpu"), load.taken()), (1, 0, [100, ASSUMED[1].1]));
    }

    #[test]
    fn what_is_lower_can_be_thought_away() {
        let needs = |cpu: i128, priority: i64| Needs { requests: BTreeMap::from([("cpu".into(), cpu)]), priority, ..Needs::default() };
        let mut load = Load::default();
        load.come(Key::new(kinds::POD, "x", "low"), needs(500, 0));
        load.come(Key::new(kinds::POD, "x", "equal"), needs(300, 7));
        assert!(load.without_lower(0).is_none());
        assert_eq!(load.without_lower(7).map(|left| (left.len(), left.requested("cpu"))), Some((1, 300)));
        assert_eq!((load.len(), load.requested("cpu")), (2, 800), "nobody has gone");
    }
}
