//! Which of several fitting nodes is best: room, spread, soft taints and preferences, weighted as in the default profile.

use imbl::OrdMap;

use crate::json::{Text, Value};

use super::load::{self, ASSUMED, Load};
use super::needs::{self, Needs};
use super::{affinity, taints};
use crate::view;

/// The best nodes; more than one when they are equal.
pub(super) fn best<'a>(used: &OrdMap<Text, Load>, pod: &Value, needs: &Needs, nodes: &[&'a Value]) -> Vec<&'a Value> {
    let siblings = |node: &Value| {
        let pods = used.get(view::name(node)).into_iter().flat_map(Load::values);
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
fn room(pods: Option<&Load>, needs: &Needs, node: &Value) -> i128 {
    let (there, own) = (pods.map_or([0; 2], Load::taken), load::assumed(needs));
    let free = ASSUMED.iter().zip(there.iter().zip(own)).map(|((name, _), (there, own))| {
        let all = view::at(node, &["status", "allocatable", name]).map_or(0, needs::milli);
        let taken = there + own + needs.requests.get(*name).copied().unwrap_or(0);
        if all > 0 && taken <= all { (all - taken) * 100 / all } else { 0 }
    });
    free.sum::<i128>() / ASSUMED.len() as i128
}
