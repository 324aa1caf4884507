//! Pods that no node took, in the order in which they are tried again.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::json::{Text, Value};
use crate::store::Key;
use crate::view;

/// By what the real scheduler's queue is ordered (`PrioritySort`): a higher priority, then whoever has waited longer. A name says nothing,
/// since it ends in a draw.
type Rank = (Reverse<i64>, Text, u64);

/// Pods that no node took.
#[derive(Debug, Clone, Default)]
pub(crate) struct Waiting {
    pods: BTreeMap<Key, Rank>,
    /// How often a pod was taken in.
    tries: u64,
}

impl Waiting {
    /// A pod was tried, in vain.
    pub(super) fn insert(&mut self, key: &Key, pod: &Value) {
        self.tries += 1;
        let rank =
            (Reverse(view::count(pod, &["spec", "priority"])), view::text(pod, &["metadata", "creationTimestamp"]).into(), self.tries);
        self.pods.insert(key.clone(), rank);
    }

    /// It is placed, or gone.
    pub(crate) fn remove(&mut self, key: &Key) {
        self.pods.remove(key);
    }

    /// All of them, to be tried again; none are left.
    pub(crate) fn take(&mut self) -> impl Iterator<Item = Key> + use<> {
        let mut pods: Vec<(Key, Rank)> = std::mem::take(&mut self.pods).into_iter().collect();
        pods.sort_by(|(_, one), (_, other)| one.cmp(other));
        pods.into_iter().map(|(key, _)| key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::json;
    use crate::kinds;

    #[test]
    fn the_important_and_then_the_old_come_first_whatever_their_names() {
        let mut waiting = Waiting::default();
        for (name, priority, created) in [("a", 0, "10"), ("d", 0, "09"), ("b", 0, "09"), ("c", 5, "11")] {
            let pod = json!({"metadata": {"creationTimestamp": created}, "spec": {"priority": priority}});
            waiting.insert(&Key::new(kinds::POD, "default", name), &pod);
        }
        waiting.insert(&Key::new(kinds::POD, "default", "gone"), &json!({}));
        waiting.remove(&Key::new(kinds::POD, "default", "gone"));
        let names: Vec<String> = waiting.take().map(|key| key.name.to_string()).collect();
        assert_eq!(names, ["c", "d", "b", "a"]);
        assert_eq!(waiting.take().count(), 0);
    }
}
