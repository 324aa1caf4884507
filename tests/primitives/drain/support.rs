//! Clusters for drains: made of the lines of [`super::given`], with something done to them.

use lockgate::base::Span;
use lockgate_sim::faults::Rule;
use lockgate_sim::json::{Value as Json, json};
use lockgate_sim::{Cluster as Sim, Request};

use super::super::support::Rig;
use super::given::{Ends, Situation};
use super::table;

/// The node that is drained; everything is in a namespace `s` of its own.
pub(super) const NODE: &str = "s-a";

/// A cluster with these things on its node.
pub(super) fn rig(given: &'static str) -> Rig {
    rig_with(given, |_| {})
}

/// The same with something done to it.
pub(super) fn rig_with(given: &'static str, work: impl FnOnce(&mut Sim)) -> Rig {
    let situation = Situation { name: "a test", given, options: "{}", verdict: "", says: "", ends: Ends::Empty(&[]) };
    let mut sim = table::cluster(&situation, "s");
    work(&mut sim);
    Rig::on(sim)
}

/// A fault rule.
pub(super) fn rule(rule: Json) -> Rule {
    lockgate_sim::json::from_value(rule).unwrap()
}

/// A fault of evictions.
pub(super) fn evictions(action: &Json, nth: Option<u64>) -> Rule {
    let mut when = json!({ "verb": "create", "kind": "Pod", "subresource": "eviction" });
    if let Some(nth) = nth {
        when["nth"] = nth.into();
    }
    rule(json!({ "match": when, "do": action }))
}

/// Something that is sent past the client.
pub(super) fn sent(rig: &Rig, request: &Request) -> Json {
    rig.sim(|sim| {
        let answer = sim.handle(request);
        let value = answer.value().cloned().unwrap_or_default();
        assert!((200..300).contains(&answer.status), "{}: {value}", request.path);
        value
    })
}

/// The names of the pods of a node, those of DaemonSets apart.
pub(super) fn left(rig: &Rig, node: &str) -> Vec<String> {
    let pods = rig.value("list", json!(["pods"]), json!({ "all_namespaces": true, "fields": format!("spec.nodeName={node}") }));
    pods.as_array().unwrap().iter().map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

/// How long something takes in the cluster's time.
pub(super) fn took<T>(rig: &Rig, work: impl FnOnce() -> T) -> (T, Span) {
    let before = rig.cluster.clock().now();
    let done = work();
    (done, Span::between(before, rig.cluster.clock().now()))
}

/// How many requests for evictions have left.
pub(super) fn asked(rig: &Rig) -> usize {
    rig.cluster.requests().iter().filter(|request| request.subresource.as_deref() == Some("eviction")).count()
}

/// What changed the store by our hand: `verb subject`, evictions apart.
pub(super) fn effects(rig: &Rig) -> Vec<String> {
    rig.sim(|sim| {
        let ours = sim.ledger().iter().filter(|effect| effect.by.starts_with("lockgate/"));
        ours.map(|effect| format!("{} {}", effect.verb, effect.subject)).collect()
    })
}
