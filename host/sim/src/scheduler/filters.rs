//! Whether a node can take a pod. Filters run in the order of the real scheduler; the first that fails speaks for the node.

use std::borrow::Cow;
use std::collections::BTreeSet;

use imbl::OrdMap;

use crate::json::{Text, Value};

use super::load::Load;
use super::needs::{self, Needs};
use super::spread::{Spread, Violation};
use super::{affinity, taints};
use crate::engine::Ctx;
use crate::rules::{Rule, Rules};
use crate::store::Key;
use crate::view;

/// Why a node does not take a pod.
pub(super) struct Rejection {
    /// The server's words.
    pub(super) reasons: Vec<Cow<'static, str>>,
    /// Whether other pods going away could help.
    pub(super) resolvable: bool,
}

/// What is said of a node that would take the pod if pods of a lower priority were taken off it.
const PREEMPTION: &str = "simulator: not modelled: preemption";

fn never(reason: &'static str) -> Rejection {
    Rejection { reasons: vec![Cow::Borrowed(reason)], resolvable: false }
}

fn not_now(reason: &'static str) -> Rejection {
    Rejection { reasons: vec![Cow::Borrowed(reason)], resolvable: true }
}

/// Where pods that a term is about are: pairs of topology key and value.
type Places = BTreeSet<(String, String)>;

/// Everything about one pod that does not depend on the node.
pub(super) struct Filters<'a> {
    pod: &'a Value,
    needs: &'a Needs,
    rules: Rules,
    used: &'a OrdMap<Text, Load>,
    pinned: Option<Vec<&'a str>>,
    spread: Vec<Spread>,
    /// Per required affinity term, where its pods are; `None`: no such pod anywhere and the pod itself is one.
    near: Vec<(&'a Value, Option<Places>)>,
    /// Places that the pod's own anti-affinity excludes.
    away: Places,
    /// Places that the anti-affinity of running pods closes to this one.
    closed: Places,
}

impl<'a> Filters<'a> {
    pub(super) fn new(ctx: &'a Ctx<'_>, pod: &'a Value, needs: &'a Needs) -> Self {
        let used = ctx.engine.index.nodes();
        let node_of = |name: &str| {
            let key = Key::new(crate::kinds::NODE, "", name);
            ctx.store.get(&key)
        };
        // Where the pods are that a predicate picks, as places of the topology of the terms it returns.
        let places_of = |pods: &mut dyn Iterator<Item = (&Key, &Text)>, terms: &dyn Fn(&Value) -> Vec<Value>| {
            let mut places = Places::new();
            for (key, node_name) in pods {
                let Some(node) = node_of(node_name) else { continue };
                for term in ctx.store.get(key).map_or_else(Vec::new, |other| terms(other)) {
                    if let Some(value) = affinity::topology(&term, node) {
                        places.insert((view::text(&term, &["topologyKey"]).to_owned(), value.to_owned()));
                    }
                }
            }
            places
        };
        let everywhere = || used.iter().flat_map(|(node, pods)| pods.keys().map(move |key| (key, node)));
        let own = affinity::pod_terms(pod, "podAntiAffinity");
        let own_about = |other: &Value| own.iter().filter(|t| affinity::term_selects(t, pod, other)).cloned().collect();
        let about_us = |other: &Value| -> Vec<Value> {
            let terms = affinity::pod_terms(other, "podAntiAffinity");
            terms.iter().filter(|t| affinity::term_selects(t, other, pod)).cloned().collect()
        };
        let near = affinity::pod_terms(pod, "podAffinity")
            .iter()
            .map(|term| {
                let found = places_of(&mut everywhere(), &|other| {
                    if affinity::term_selects(term, pod, other) { vec![term.clone()] } else { Vec::new() }
                });
                let first_of_its_kind = found.is_empty() && affinity::term_selects(term, pod, pod);
                (term, (!first_of_its_kind).then_some(found))
            })
            .collect();
        Self {
            pod,
            needs,
            rules: ctx.store.rules,
            used,
            pinned: affinity::pinned_nodes(pod),
            spread: Spread::all_of(ctx, pod),
            near,
            away: if own.is_empty() { Places::new() } else { places_of(&mut everywhere(), &own_about) },
            closed: places_of(&mut ctx.engine.index.repelling().iter(), &about_us),
        }
    }

    /// Names of the only nodes that come into question, if the pod names them.
    pub(super) fn pinned(&self) -> Option<&[&'a str]> {
        self.pinned.as_deref()
    }

    /// Whether the node can take the pod.
    pub(super) fn check(&self, node: &Value) -> Result<(), Rejection> {
        if self.pinned.as_ref().is_some_and(|names| !names.contains(&view::name(node))) {
            return Err(never("node(s) didn't satisfy plugin(s) [NodeAffinity]"));
        }
        self.node_itself(node)?;
        self.room(node, self.used.get(view::name(node)))?;
        for constraint in &self.spread {
            constraint.check(node).map_err(|violation| match violation {
                Violation::NoDomain => never("node(s) didn't match pod topology spread constraints (missing required label)"),
                Violation::Skew => not_now("node(s) didn't match pod topology spread constraints"),
            })?;
        }
        self.other_pods(node)
    }

    fn node_itself(&self, node: &Value) -> Result<(), Rejection> {
        node_itself(self.pod, node, self.rules)
    }

    /// Whether ports and resources are left beside these pods.
    fn room(&self, node: &Value, pods: Option<&Load>) -> Result<(), Rejection> {
        let taken = || pods.into_iter().flat_map(Load::values);
        let asks = !self.needs.ports.is_empty() && self.rules.hold(Rule::SchedulerPorts);
        if asks && taken().any(|other| self.needs.ports_collide(other)) {
            return Err(not_now("node(s) didn't have free ports for the requested pod ports"));
        }
        let (mut reasons, mut resolvable) = (Vec::new(), true);
        let allocatable = |name: &str| view::at(node, &["status", "allocatable", name]).map_or(0, needs::milli);
        if (pods.map_or(0, Load::len) as i128 + 1) * 1000 > allocatable("pods") {
            reasons.push(Cow::Borrowed("Too many pods"));
        }
        for (name, wanted) in self.needs.requests.iter().filter(|(_, wanted)| **wanted > 0) {
            let used = pods.map_or(0, |pods| pods.requested(name));
            if used + wanted > allocatable(name) {
                reasons.push(Cow::Owned(format!("Insufficient {name}")));
                resolvable &= *wanted <= allocatable(name);
            }
        }
        if reasons.is_empty() { Ok(()) } else { Err(Rejection { reasons, resolvable }) }
    }

    /// What taking pods of a lower priority off a node would achieve that was rejected, in the real scheduler's words as far as it
    /// achieves nothing. Taking them off is not modelled.
    pub(super) fn preemption(&self, node: &Value, rejection: &Rejection) -> Vec<Cow<'static, str>> {
        if !rejection.resolvable {
            return vec![Cow::Borrowed("Preemption is not helpful for scheduling")];
        }
        let left = self.used.get(view::name(node)).and_then(|pods| pods.without_lower(self.needs.priority));
        match left.map(|left| self.room(node, Some(&left))) {
            None => vec![Cow::Borrowed("No preemption victims found for incoming pod")],
            Some(Err(still)) => still.reasons,
            Some(Ok(())) => vec![Cow::Borrowed(PREEMPTION)],
        }
    }

    fn other_pods(&self, node: &Value) -> Result<(), Rejection> {
        for (term, places) in &self.near {
            let here = affinity::topology(term, node).map(|value| place(term, value));
            let met = here.is_some_and(|here| places.as_ref().is_none_or(|places| places.contains(&here)));
            if !met {
                return Err(never("node(s) didn't match pod affinity rules"));
            }
        }
        if self.is_in(&self.away, node) {
            return Err(not_now("node(s) didn't match pod anti-affinity rules"));
        }
        if self.is_in(&self.closed, node) {
            return Err(not_now("node(s) didn't satisfy existing pods anti-affinity rules"));
        }
        Ok(())
    }

    fn is_in(&self, places: &Places, node: &Value) -> bool {
        let label = |key: &str| view::labels(node).and_then(|l| l.get(key)).and_then(Value::as_str);
        places.iter().any(|(key, value)| label(key) == Some(value))
    }
}

/// Whether the node can take the pod, whatever other pods there are.
pub(super) fn node_itself(pod: &Value, node: &Value, rules: Rules) -> Result<(), Rejection> {
    if view::flag(node, &["spec", "unschedulable"]) {
        let cordon = crate::json::json!({"spec": {"taints": [
            {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}]}});
        if !taints::tolerates_all(pod, &cordon, &["NoSchedule"]) {
            return Err(never("node(s) were unschedulable"));
        }
    }
    if !taints::tolerates_all(pod, node, &["NoSchedule", "NoExecute"]) && rules.hold(Rule::SchedulerTaints) {
        return Err(never("node(s) had untolerated taint(s)"));
    }
    if !affinity::node_matches(pod, node) {
        return Err(never("node(s) didn't match Pod's node affinity/selector"));
    }
    Ok(())
}

fn place(term: &Value, value: &str) -> (String, String) {
    (view::text(term, &["topologyKey"]).to_owned(), value.to_owned())
}
