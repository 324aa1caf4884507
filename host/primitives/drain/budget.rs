//! What disruption budgets say about the pods of a node, decided beforehand as the server will decide it.

use std::sync::Arc;

use lockgate_sim::eviction::{self, Decision};

use super::classify::short;
use crate::base::json::{Value as Json, json};
use crate::primitives::view;

/// The budgets of all namespaces, as they are now.
pub(super) struct Budgets {
    all: Vec<Arc<Json>>,
}

/// What keeps a pod from being evicted.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Block {
    /// The budgets, `NAMESPACE/NAME`.
    pub(super) budgets: Vec<String>,
    /// The reason, as the end of a sentence about the pod.
    pub(super) why: String,
    /// Whether nothing that happens by itself will change it.
    pub(super) forever: bool,
    /// The numbers, for scripts.
    pub(super) details: Json,
}

/// What an eviction would meet now.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Answer {
    /// It goes, whatever budgets say.
    Free,
    /// It goes, and this budget (`NAMESPACE/NAME`) has so many left.
    Counted { budget: String, left: i64 },
    /// It does not go now.
    Blocked(Block),
}

impl Budgets {
    pub(super) fn new<'a>(all: impl Iterator<Item = &'a Arc<Json>>) -> Budgets {
        Budgets { all: all.cloned().collect() }
    }

    /// The budgets that cover a pod.
    pub(super) fn covering(&self, pod: &Json) -> Vec<&Json> {
        let namespace = view::text(pod, "/metadata/namespace");
        let here = self.all.iter().map(|budget| &**budget).filter(|budget| view::text(budget, "/metadata/namespace") == namespace);
        here.filter(|budget| eviction::covers(budget, pod)).collect()
    }

    /// The budget of this `NAMESPACE/NAME`.
    pub(super) fn find(&self, name: &str) -> Option<&Arc<Json>> {
        self.all.iter().find(|budget| short(budget) == name)
    }

    /// What the server would answer to the eviction of a pod.
    pub(super) fn answer(&self, pod: &Json) -> Answer {
        let covering = self.covering(pod);
        match eviction::decide(pod, &covering) {
            Decision::Free | Decision::Uncounted(_) => Answer::Free,
            Decision::Counted(budget) => Answer::Counted { budget: short(budget), left: view::count(budget, "/status/disruptionsAllowed") },
            Decision::Several => {
                let names: Vec<String> = covering.iter().map(|budget| short(budget)).collect();
                let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
                let why = format!("budgets {} cover it, and the server evicts no pod with more than one", view::and(&quoted));
                Answer::Blocked(Block { budgets: names.clone(), why, forever: true, details: json!({ "budgets": names }) })
            }
            Decision::Forbidden { budget, why } => {
                let name = short(budget);
                let block = Block {
                    why: format!("budget `{name}` is out of order: {why}"),
                    forever: view::count(budget, "/status/disruptionsAllowed") < 0,
                    details: numbers(budget),
                    budgets: vec![name],
                };
                Answer::Blocked(block)
            }
            Decision::Refused { budget, .. } => Answer::Blocked(refused(pod, budget)),
        }
    }
}

/// Why a budget that has nothing to give has nothing, and whether it ever will.
fn refused(pod: &Json, budget: &Json) -> Block {
    let name = short(budget);
    let of = |field: &str| view::count(budget, &format!("/status/{field}"));
    let (expected, desired, healthy) = (of("expectedPods"), of("desiredHealthy"), of("currentHealthy"));
    let failed = view::condition(budget, "DisruptionAllowed")
        .filter(|condition| view::text(condition, "/reason") == "SyncFailed" && view::text(condition, "/status") == "False");
    // A budget that cannot be counted never says that it was: its failure is looked at first.
    let (why, forever) = if let Some(condition) = failed {
        (format!("budget `{name}` cannot be counted: {}", view::text(condition, "/message")), true)
    } else if !view::is_observed(budget) {
        (format!("budget `{name}` has not been counted yet"), false)
    } else if expected == 0 {
        (format!("budget `{name}` asks for a share of pods that no controller counts"), true)
    } else if desired >= expected {
        let unready = if view::is_ready(pod) { "" } else { ", ready or not" };
        (
            format!(
                "budget `{name}` keeps {desired} of its {expected} {}{unready}",
                view::verb(usize::try_from(expected).unwrap_or(2), "pod", "pods")
            ),
            true,
        )
    } else {
        (format!("budget `{name}` needs {desired} healthy pods and has {healthy}"), false)
    };
    Block { why, forever, details: numbers(budget), budgets: vec![name] }
}

/// The numbers of a budget, in its own words.
fn numbers(budget: &Json) -> Json {
    let status = |field: &str| view::count(budget, &format!("/status/{field}"));
    let mut numbers = json!({
        "budgets": [short(budget)],
        "disruptionsAllowed": status("disruptionsAllowed"), "currentHealthy": status("currentHealthy"),
        "desiredHealthy": status("desiredHealthy"), "expectedPods": status("expectedPods"),
    });
    if let Some(condition) = view::condition(budget, "DisruptionAllowed") {
        numbers["condition"] = json!({ "reason": view::text(condition, "/reason"), "message": view::text(condition, "/message") });
    }
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(name: &str, status: &Json) -> Arc<Json> {
        let mut budget = json!({
            "metadata": { "name": name, "namespace": "shop", "generation": 1 },
            "spec": { "selector": { "matchLabels": { "app": "web" } } },
            "status": { "observedGeneration": 1 },
        });
        for (field, value) in status.as_object().unwrap() {
            budget["status"][&**field] = value.clone();
        }
        Arc::new(budget)
    }

    fn pod(ready: bool) -> Json {
        let status = if ready { "True" } else { "False" };
        json!({
            "metadata": { "name": "web-0", "namespace": "shop", "labels": { "app": "web" } },
            "status": { "phase": "Running", "conditions": [{ "type": "Ready", "status": status }] },
        })
    }

    fn blocked(pod: &Json, budgets: &[Arc<Json>]) -> (String, bool) {
        match Budgets::new(budgets.iter()).answer(pod) {
            Answer::Blocked(block) => (block.why, block.forever),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_cannot_clear_by_itself_is_told_from_what_can() {
        let waits = budget("b", &json!({ "expectedPods": 3, "desiredHealthy": 2, "currentHealthy": 2 }));
        assert_eq!(blocked(&pod(true), &[waits]), ("budget `shop/b` needs 2 healthy pods and has 2".to_owned(), false));
        let all = budget("b", &json!({ "expectedPods": 3, "desiredHealthy": 3, "currentHealthy": 3 }));
        assert_eq!(blocked(&pod(true), &[all]), ("budget `shop/b` keeps 3 of its 3 pods".to_owned(), true));
        let one = budget("b", &json!({ "expectedPods": 1, "desiredHealthy": 1, "currentHealthy": 0 }));
        assert_eq!(blocked(&pod(false), &[one]), ("budget `shop/b` keeps 1 of its 1 pod, ready or not".to_owned(), true));
        let unseen = budget("b", &json!({ "observedGeneration": 0 }));
        assert_eq!(blocked(&pod(true), &[unseen]), ("budget `shop/b` has not been counted yet".to_owned(), false));
    }

    #[test]
    fn a_budget_of_another_namespace_covers_nothing() {
        let mut other = (*budget("b", &json!({ "expectedPods": 1, "desiredHealthy": 1 }))).clone();
        other["metadata"]["namespace"] = "elsewhere".into();
        assert_eq!(Budgets::new([Arc::new(other)].iter()).answer(&pod(true)), Answer::Free);
    }

    #[test]
    fn what_a_budget_lets_go_is_counted() {
        let open = budget("b", &json!({ "expectedPods": 3, "desiredHealthy": 1, "currentHealthy": 3, "disruptionsAllowed": 2 }));
        let answer = Budgets::new([open].iter()).answer(&pod(true));
        assert_eq!(answer, Answer::Counted { budget: "shop/b".to_owned(), left: 2 });
    }
}
