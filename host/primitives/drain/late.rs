//! How a drain stands, in words: while it goes, at its end, and when it does not end.

use super::classify::short;
use super::engine::{Engine, Step, Tracked};
use super::foresee::{is_silent, pods};
use super::prepare::BUDGETS;
use crate::base::json::{Value as Json, json};
use crate::base::{Error, Kind, Reason, Span, Timestamp};
use crate::primitives::pace::{Ended, Pace};
use crate::primitives::view;
use crate::primitives::wait_gone::finalizers;

/// How many pods an error names.
const NAMED: usize = 10;

/// `3 of 5 pods gone, 1 terminating; pod/shop/web-1 waits: budget …`
pub(super) fn state(engine: &Engine<'_>) -> String {
    let mine = || engine.pods.iter().filter(|pod| pod.step != Step::Stays);
    let (all, gone) = (mine().count(), mine().filter(|pod| pod.step == Step::Gone).count());
    let going = mine().filter(|pod| pod.step == Step::Going).count();
    let mut state = format!("{gone} of {} gone", pods(all));
    if going > 0 {
        state.push_str(&format!(", {going} terminating"));
    }
    let waiting: Vec<&Tracked> = mine().filter(|pod| matches!(pod.step, Step::Due | Step::Later { .. })).collect();
    if let Some(first) = waiting.first() {
        let more = if waiting.len() > 1 { format!(" (and {} more)", waiting.len() - 1) } else { String::new() };
        state.push_str(&format!("; pod/{}{more} waits: {}", first.name(), why(first)));
    }
    state
}

/// How it ended.
pub(super) fn gone(engine: &Engine<'_>) -> String {
    let count = |step: &Step| engine.pods.iter().filter(|pod| pod.step == *step).count();
    let stay = count(&Step::Stays);
    let stays = if stay == 0 { String::new() } else { format!(", {stay} {}", view::verb(stay, "stays", "stay")) };
    format!("{} gone{stays}", pods(count(&Step::Gone)))
}

/// Why a pod that has not been asked, or was refused, is not going.
fn why(pod: &Tracked) -> String {
    match &pod.step {
        Step::Later { why, .. } => why.clone(),
        _ => pod.waits.clone().unwrap_or_else(|| "it has not been asked yet".to_owned()),
    }
}

/// What holds a pod up.
fn blocker(pod: &Tracked, now: Timestamp) -> String {
    if pod.step != Step::Going {
        return format!("waits: {}", why(pod));
    }
    let held = finalizers(&pod.pod);
    if !held.is_empty() {
        return format!("terminating, held by {} {}", view::verb(held.len(), "finalizer", "finalizers"), view::and(&held));
    }
    match view::time(&pod.pod, "/metadata/deletionTimestamp") {
        Some(end) if end > now => format!("terminating, with {} of its grace period left", Span::between(now, end).rounded()),
        Some(end) => format!("terminating, {} beyond its grace period", Span::between(end, now).rounded()),
        None => "evicted, but not terminating yet".to_owned(),
    }
}

/// The error of a drain that did not end.
pub(super) async fn error(engine: &Engine<'_>, ended: Ended, pace: &Pace) -> Error {
    let node = &engine.prepared.node;
    let left: Vec<&Tracked> = engine.pods.iter().filter(|pod| pod.is_left()).collect();
    let by_budget = left.iter().filter(|pod| pod.step != Step::Going).count();
    let blocked = left.iter().all(|pod| pod.step != Step::Going && pod.budget.is_some());
    let reason = if ended == Ended::Stall && blocked && by_budget > 0 { Reason::BlockedByBudget } else { ended.reason() };
    let says = pace.says(ended, &format!("draining `{node}`"));
    let are = view::verb(left.len(), "is", "are");
    let mut error = Error::new(Kind::Stuck, reason, format!("{says}: {} {are} left, and the node stays cordoned", pods(left.len())))
        .about(node.full_name());
    let now = engine.cx.now();
    for pod in left.iter().take(NAMED) {
        error = error.cause(format!("`pod/{}` {}", pod.name(), blocker(pod, now)));
    }
    if left.len() > NAMED {
        error = error.cause(format!("{} more", left.len() - NAMED));
    }
    let budgets: Vec<Json> = engine
        .prepared
        .following
        .items(BUDGETS)
        .filter(|budget| left.iter().any(|pod| pod.budget.as_deref() == Some(&short(budget))))
        .map(|budget| json!({ "budget": short(budget), "status": budget["status"].clone() }))
        .collect();
    let rows: Vec<Json> = left.iter().map(|pod| json!({ "pod": pod.name(), "blocker": blocker(pod, now) })).collect();
    let error = error.details(json!({ "pods": rows, "budgets": budgets }));
    match hint(engine, &left).await {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// Who can help.
async fn hint(engine: &Engine<'_>, left: &[&Tracked]) -> Option<&'static str> {
    let going: Vec<&&Tracked> = left.iter().filter(|pod| pod.step == Step::Going).collect();
    if going.iter().any(|pod| !finalizers(&pod.pod).is_empty()) {
        return Some("find out why those who put the finalizers there do not take them away");
    }
    if !going.is_empty() {
        // Best told of the node as it is now; the one that was read at the start will do when the server cannot be heard.
        let node = engine.cx.cluster.get(&engine.prepared.node).await.unwrap_or_else(|_| engine.prepared.object.clone());
        return Some(if is_silent(&node) {
            "its kubelet does not answer: `skip_wait_for_delete_timeout` leaves such pods behind, the taint \
             `node.kubernetes.io/out-of-service` has them removed"
        } else {
            "a container that ignores SIGTERM ends with its grace period: `grace_period` shortens it"
        });
    }
    if left.iter().all(|pod| pod.budget.is_none() && pod.waits.is_some()) {
        return Some("`why` of the pod that is not back says what it lacks; then drain again");
    }
    if left.iter().any(|pod| pod.budget.is_some()) {
        return Some("find out why the pods under the budget are not ready, or change the budget; then drain again");
    }
    None
}
