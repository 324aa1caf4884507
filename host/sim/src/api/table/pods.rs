//! What the table of pods says of one: the state of its containers in one word.

use jiff::Timestamp;

use super::duration;
use crate::json::{Value, json};
use crate::view;

/// A pod in short.
struct Summary {
    ready: usize,
    total: usize,
    reason: String,
    restarts: i64,
    last_restart: Option<Timestamp>,
}

/// Restarts and when the last of them was.
#[derive(Default)]
struct Restarts {
    count: i64,
    last: Option<Timestamp>,
}

impl Restarts {
    fn add(&mut self, status: &Value) {
        self.count += view::count(status, &["restartCount"]);
        self.last = self.last.max(view::time(status, &["lastState", "terminated", "finishedAt"]));
    }
}

/// Why a container has ended, when its status gives no reason.
fn ending(terminated: &Value) -> String {
    match view::text(terminated, &["reason"]) {
        "" => match view::count(terminated, &["signal"]) {
            0 => format!("ExitCode:{}", view::count(terminated, &["exitCode"])),
            signal => format!("Signal:{signal}"),
        },
        reason => reason.to_owned(),
    }
}

/// Whether an init container runs on beside the others.
fn runs_on(pod: &Value, name: &str) -> bool {
    let init = view::list(pod, &["spec", "initContainers"]).iter().find(|container| view::text(container, &["name"]) == name);
    init.is_some_and(|container| view::text(container, &["restartPolicy"]) == "Always")
}

fn summary(pod: &Value) -> Summary {
    let init = view::list(pod, &["spec", "initContainers"]);
    let sidecars = init.iter().filter(|container| view::text(container, &["restartPolicy"]) == "Always").count();
    let phase = view::text(pod, &["status", "phase"]);
    let mut summary = Summary {
        ready: 0,
        total: view::list(pod, &["spec", "containers"]).len() + sidecars,
        reason: [view::text(pod, &["status", "reason"]), phase].into_iter().find(|r| !r.is_empty()).unwrap_or_default().to_owned(),
        restarts: 0,
        last_restart: None,
    };
    if view::condition(pod, "PodScheduled").is_some_and(|condition| view::text(condition, &["reason"]) == "SchedulingGated") {
        "SchedulingGated".clone_into(&mut summary.reason);
    }
    let (mut all, mut beside) = (Restarts::default(), Restarts::default());
    let initializing = initialization(pod, &mut summary, &mut all, &mut beside);
    if !initializing || view::condition_is_true(pod, "Initialized") {
        all = beside;
        containers(pod, &mut summary, &mut all);
    }
    let terminating = view::is_terminating(pod);
    if terminating && view::text(pod, &["status", "reason"]) == "NodeLost" {
        "Unknown".clone_into(&mut summary.reason);
    } else if terminating && !matches!(phase, "Succeeded" | "Failed") {
        "Terminating".clone_into(&mut summary.reason);
    }
    (summary.restarts, summary.last_restart) = (all.count, all.last);
    summary
}

/// The first init container that is not done gives the reason; true when there is one.
fn initialization(pod: &Value, summary: &mut Summary, all: &mut Restarts, beside: &mut Restarts) -> bool {
    let total = view::list(pod, &["spec", "initContainers"]).len();
    for (at, status) in view::list(pod, &["status", "initContainerStatuses"]).iter().enumerate() {
        all.add(status);
        let sidecar = runs_on(pod, view::text(status, &["name"]));
        if sidecar {
            beside.add(status);
        }
        let terminated = view::at(status, &["state", "terminated"]);
        if terminated.is_some_and(|terminated| view::count(terminated, &["exitCode"]) == 0) {
            continue;
        }
        if sidecar && view::flag(status, &["started"]) {
            summary.ready += usize::from(view::flag(status, &["ready"]));
            continue;
        }
        summary.reason = match (terminated, view::text(status, &["state", "waiting", "reason"])) {
            (Some(terminated), _) => format!("Init:{}", ending(terminated)),
            (None, "" | "PodInitializing") => format!("Init:{at}/{total}"),
            (None, reason) => format!("Init:{reason}"),
        };
        return true;
    }
    false
}

/// The first container that does not run gives the reason.
fn containers(pod: &Value, summary: &mut Summary, restarts: &mut Restarts) {
    let mut running = false;
    for status in view::list(pod, &["status", "containerStatuses"]).iter().rev() {
        restarts.add(status);
        let waiting = view::text(status, &["state", "waiting", "reason"]);
        if !waiting.is_empty() {
            waiting.clone_into(&mut summary.reason);
        } else if let Some(terminated) = view::at(status, &["state", "terminated"]) {
            summary.reason = ending(terminated);
        } else if view::flag(status, &["ready"]) && view::at(status, &["state", "running"]).is_some() {
            running = true;
            summary.ready += 1;
        }
    }
    if summary.reason == "Completed" && running {
        let ready = view::condition_is_true(pod, "Ready");
        if ready { "Running" } else { "NotReady" }.clone_into(&mut summary.reason);
    }
}

/// `READY`.
pub(super) fn ready(pod: &Value) -> String {
    let summary = summary(pod);
    format!("{}/{}", summary.ready, summary.total)
}

/// `STATUS`.
pub(super) fn status(pod: &Value) -> String {
    summary(pod).reason
}

/// `RESTARTS`.
pub(super) fn restarts(pod: &Value, now: Timestamp) -> String {
    let summary = summary(pod);
    match summary.last_restart.filter(|_| summary.restarts != 0) {
        Some(last) => format!("{} ({} ago)", summary.restarts, duration::since(now, Some(last))),
        None => summary.restarts.to_string(),
    }
}

/// `READINESS GATES`: how many of them hold.
pub(super) fn gates(pod: &Value) -> String {
    let gates = view::list(pod, &["spec", "readinessGates"]);
    if gates.is_empty() {
        return "<none>".to_owned();
    }
    let hold = gates.iter().filter(|gate| view::condition_is_true(pod, view::text(gate, &["conditionType"]))).count();
    format!("{hold}/{}", gates.len())
}

/// What a row says of a pod that will not run any more.
pub(super) fn conditions(pod: &Value) -> Option<Value> {
    let (reason, message) = match view::text(pod, &["status", "phase"]) {
        "Succeeded" => ("Succeeded", "The pod has completed successfully."),
        "Failed" => ("Failed", "The pod failed."),
        _ => return None,
    };
    Some(json!([{"type": "Completed", "status": "True", "reason": reason, "message": message}]))
}
