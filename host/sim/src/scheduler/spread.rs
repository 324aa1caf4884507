//! Topology spread constraints that forbid a placement (`whenUnsatisfiable: DoNotSchedule`).

use std::collections::{BTreeMap, BTreeSet};

use crate::json::Value;

use super::load::Load;
use super::{affinity, taints};
use crate::engine::Ctx;
use crate::store::Key;
use crate::view;

/// One constraint, counted.
pub(super) struct Spread {
    topology_key: String,
    max_skew: i64,
    /// Whether the pod counts itself.
    counts_itself: bool,
    /// Matching pods by domain, among the nodes that the pod may use.
    domains: BTreeMap<String, i64>,
    /// The fewest pods of a domain.
    least: i64,
}

/// Why a node does not satisfy a constraint.
pub(super) enum Violation {
    /// The node has no label for the topology.
    NoDomain,
    /// The domain would have too many pods.
    Skew,
}

impl Spread {
    /// Counts the constraints of a pod that forbid placements.
    pub(super) fn all_of(ctx: &Ctx<'_>, pod: &Value) -> Vec<Self> {
        let constraints: Vec<&Value> = view::list(pod, &["spec", "topologySpreadConstraints"])
            .iter()
            .filter(|c| view::text(c, &["whenUnsatisfiable"]) != "ScheduleAnyway")
            .collect();
        let keys: Vec<&str> = constraints.iter().map(|c| view::text(c, &["topologyKey"])).collect();
        constraints.iter().map(|constraint| Self::of(ctx, pod, constraint, &keys)).collect()
    }

    fn of(ctx: &Ctx<'_>, pod: &Value, constraint: &Value, all_keys: &[&str]) -> Self {
        let selector = view::at(constraint, &["labelSelector"]);
        let same: BTreeSet<&str> = view::list(constraint, &["matchLabelKeys"]).iter().filter_map(Value::as_str).collect();
        let matches = |other: &Value| {
            view::namespace(other) == view::namespace(pod)
                && view::selects(selector, view::labels(other))
                && same.iter().all(|key| view::label(other, key) == view::label(pod, key))
        };
        let (mut domains, used) = (BTreeMap::new(), ctx.engine.index.nodes());
        for (key, node) in ctx.store.list(crate::kinds::NODE, None) {
            let eligible = is_eligible(constraint, pod, node)
                && all_keys.iter().all(|key| view::labels(node).is_some_and(|labels| labels.contains_key(key)));
            let Some(domain) = affinity::topology(constraint, node).filter(|_| eligible) else { continue };
            let here = used.get(&key.name).into_iter().flat_map(Load::keys);
            let count =
                here.filter(|other: &&Key| ctx.store.get(other).is_some_and(|other| !view::is_terminating(other) && matches(other)));
            *domains.entry(domain.to_owned()).or_default() += i64::try_from(count.count()).unwrap_or(i64::MAX);
        }
        let wanted = view::count(constraint, &["minDomains"]);
        let too_few = i64::try_from(domains.len()).unwrap_or(i64::MAX) < wanted;
        let least = if too_few { 0 } else { domains.values().min().copied().unwrap_or(0) };
        Self {
            topology_key: view::text(constraint, &["topologyKey"]).to_owned(),
            max_skew: view::count(constraint, &["maxSkew"]),
            counts_itself: matches(pod),
            domains,
            least,
        }
    }

    /// Whether the pod may go to the node.
    pub(super) fn check(&self, node: &Value) -> Result<(), Violation> {
        let label = view::labels(node).and_then(|l| l.get(&self.topology_key)).and_then(Value::as_str);
        let domain = label.ok_or(Violation::NoDomain)?;
        let there = self.domains.get(domain).copied().unwrap_or(0) + i64::from(self.counts_itself);
        if there - self.least > self.max_skew { Err(Violation::Skew) } else { Ok(()) }
    }
}

/// Whether a node counts: by default node affinity is honoured and taints are not.
fn is_eligible(constraint: &Value, pod: &Value, node: &Value) -> bool {
    let affinity = view::text(constraint, &["nodeAffinityPolicy"]) == "Ignore" || affinity::node_matches(pod, node);
    let taints = view::text(constraint, &["nodeTaintsPolicy"]) != "Honor" || taints::tolerates_all(pod, node, &["NoSchedule", "NoExecute"]);
    affinity && taints
}
