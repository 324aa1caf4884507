//! Which of several fitting nodes is best: room, spread, soft taints and preferences, weighted as in the default profile.

use imbl::OrdMap;

use crate::json::{Text, Value};

use super::needs::{self, Needs};
use super::{affinity, taints};
use crate::store::Key;
use crate::view;

/// What a container without requests counts as, in thousandths: 100m of CPU and 200 MiB.
const ASSUMED: [(&str, i128); 2] = [("cpu", 100), ("memory", 200 * 1024 * 1024 * 1000)];

/// The best nodes; more than one when they are equal.
pub(super) fn best<'a>(used: &OrdMap<Text, OrdMap<Key, Needs>>, pod: &Value, needs: &Needs, nodes: &[&'a Value]) -> Vec<&'a Value> {
    let siblings = |node: &Value| {
        let pods = used.get(view::name(node)).into_iter().flat_map(OrdMap::values);
        pods.filter(|other| !needs.owner.is_empty() && other.owner == needs.owner).count()
    };
    let crowd = nodes.iter().map(|node| siblings(node)).max().unwrap_or(0).max(1);
    let soft = |node: &Value| taints::untolerated(pod, node, &["PreferNoSchedule"]).count();
    let softest = nodes.iter().map(|node| soft(node)).max().unwrap_or(0).max(1);
    let liked = nodes.iter().map(|node| affinity::preference(pod, node)).max().unwrap_or(0).max(1);
    let score = |node: &Value| {
        let spread = 100 * (crowd - siblings(node)) / crowd;
        let clean = 100 * (softest - soft(node)) / softest;
        let preferred = 100 * affinity::preference(pod, node) / liked;
        room(used.get(view::name(node)), needs, node) + 2 * spread as i128 + 3 * clean as i128 + 2 * i128::from(preferred)
    };
    let scores: Vec<i128> = nodes.iter().map(|node| score(node)).collect();
    let top = scores.iter().max().copied().unwrap_or(0);
    nodes.iter().zip(scores).filter(|(_, score)| *score == top).map(|(node, _)| *node).collect()
}

/// Percentage of CPU and memory that stays free, averaged.
fn room(pods: Option<&OrdMap<Key, Needs>>, needs: &Needs, node: &Value) -> i128 {
    let free = ASSUMED.iter().map(|(name, assumed)| {
        let of = |needs: &Needs| needs.requests.get(*name).copied().filter(|n| *n > 0).unwrap_or(*assumed);
        let all = view::at(node, &["status", "allocatable", name]).map_or(0, needs::milli);
        let taken: i128 = of(needs) + pods.into_iter().flat_map(OrdMap::values).map(of).sum::<i128>();
        if all > 0 && taken <= all { (all - taken) * 100 / all } else { 0 }
    });
    free.sum::<i128>() / ASSUMED.len() as i128
}
