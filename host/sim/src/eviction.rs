//! What a server decides about an eviction, as plain arithmetic over a pod and the budgets of its namespace.
//!
//! The order of decisions and the texts are those of `pkg/registry/core/pod/storage/eviction.go` of v1.36. The simulated server asks
//! here, and so does whoever wants to know beforehand.

use crate::controllers::pods;
use crate::json::Value;
use crate::view;

/// More unconfirmed evictions than this stop all further ones.
const MOST_DISRUPTED: usize = 2000;

/// What becomes of an eviction.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision<'a> {
    /// The pod goes and no budget is asked: none covers it, or it has not started, has ended or is going already.
    Free,
    /// The pod is not ready, and its budget lets it go without counting it.
    Uncounted(&'a Value),
    /// The pod goes and takes one disruption off this budget.
    Counted(&'a Value),
    /// Not now (429).
    Refused {
        /// The budget that has nothing to give, or does not know yet.
        budget: &'a Value,
        /// The seconds after which the server wants to be asked again; 0 for none.
        retry_after: u32,
        /// The server's words.
        why: String,
    },
    /// No (403): the budget itself is out of order.
    Forbidden {
        /// The budget.
        budget: &'a Value,
        /// The server's words.
        why: &'static str,
    },
    /// No (500): more than one budget covers the pod.
    Several,
}

/// Whether a budget of the pod's namespace covers it. An empty selector covers all pods, none at all covers no pod.
#[must_use]
pub fn covers(budget: &Value, pod: &Value) -> bool {
    view::selects(view::at(budget, &["spec", "selector"]), view::labels(pod))
}

/// Whether a pod may go whatever its budget says: it has not started, has ended, or is going already.
#[must_use]
pub fn is_past_protection(pod: &Value) -> bool {
    matches!(view::text(pod, &["status", "phase"]), "Pending" | "Succeeded" | "Failed") || view::is_terminating(pod)
}

/// Decides about the eviction of a pod that is covered by these budgets.
#[must_use]
pub fn decide<'a>(pod: &Value, covering: &[&'a Value]) -> Decision<'a> {
    if is_past_protection(pod) {
        return Decision::Free;
    }
    let budget = match covering {
        [] => return Decision::Free,
        [budget] => *budget,
        _ => return Decision::Several,
    };
    if !pods::is_ready(pod) && may_lose_unready(budget) {
        return Decision::Uncounted(budget);
    }
    check(budget)
}

/// Whether an unready pod may go without being counted.
fn may_lose_unready(budget: &Value) -> bool {
    let (healthy, desired) = (view::count(budget, &["status", "currentHealthy"]), view::count(budget, &["status", "desiredHealthy"]));
    view::text(budget, &["spec", "unhealthyPodEvictionPolicy"]) == "AlwaysAllow" || (healthy >= desired && desired > 0)
}

/// Refuses when the budget has nothing to give, or does not know yet.
fn check(budget: &Value) -> Decision<'_> {
    let name = view::name(budget);
    let allowed = view::count(budget, &["status", "disruptionsAllowed"]);
    if view::count(budget, &["status", "observedGeneration"]) < view::generation(budget) {
        let why = format!("The disruption budget {name} is still being processed by the server.");
        return Decision::Refused { budget, retry_after: 10, why };
    }
    if allowed < 0 {
        return Decision::Forbidden { budget, why: "pdb disruptions allowed is negative" };
    }
    if view::at(budget, &["status", "disruptedPods"]).and_then(Value::as_object).is_some_and(|pods| pods.len() > MOST_DISRUPTED) {
        return Decision::Forbidden { budget, why: "DisruptedPods map too big - too many evictions not confirmed by PDB controller" };
    }
    if allowed > 0 {
        return Decision::Counted(budget);
    }
    Decision::Refused { budget, retry_after: 0, why: nothing_left(budget) }
}

/// Why a budget has nothing to give.
fn nothing_left(budget: &Value) -> String {
    let name = view::name(budget);
    let (healthy, desired) = (view::count(budget, &["status", "currentHealthy"]), view::count(budget, &["status", "desiredHealthy"]));
    let closed = view::condition(budget, "DisruptionAllowed")
        .filter(|c| view::text(c, &["status"]) == "False" && !view::text(c, &["message"]).is_empty())
        .map(|c| (view::text(c, &["reason"]), view::text(c, &["message"])));
    match closed {
        Some(("SyncFailed", message)) => {
            format!("The disruption budget {name} does not allow evicting pods currently because it failed sync: {message}")
        }
        _ if healthy <= desired => format!("The disruption budget {name} needs {desired} healthy pods and has {healthy} currently"),
        Some((reason, message)) => format!("The disruption budget {name} does not allow evicting pods currently ({reason}): {message}"),
        None => format!("The disruption budget {name} does not allow evicting pods currently"),
    }
}
