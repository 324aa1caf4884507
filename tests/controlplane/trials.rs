//! The cases on the real control plane.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::Value;

use super::Outcome;
use super::audit::Request;
use super::binaries::Binaries;
use super::command::{self, Finished};
use super::fixture::{self, RUNBOOK};
use super::normalise::{self, State};
use super::plane::{ControlPlane, Pace};
use super::recording;

/// A patch release later than what the fixtures run.
pub(crate) const IMAGE: &str = "image=registry.example/cce-plugin-pro/cce-cni:v1.8.4";

/// The released chart's cluster: `Recreate`, three masters, three replicas.
pub(crate) const CLEAN: &str = "cluster-recreate.yaml";

/// The document's cluster: as many replicas as masters, rolling update, host ports.
pub(crate) const TRAP: &str = "cluster.yaml";

/// Completion of a rollout must be acted upon within this time. The goal is 50 ms; a busy machine is no failure.
const NOTICED: Duration = Duration::from_millis(500);

/// The answer to a write for which another one came between.
const CONFLICT: u64 = 409;

/// How often a run is made to have one without a conflict.
const UNDISTURBED: usize = 5;

/// Everything that is looked at of one undisturbed run.
#[derive(Debug)]
struct Clean {
    finished: Finished,
    requests: Vec<Request>,
    state: State,
}

/// The undisturbed run, made once for all the cases that look at it.
fn clean(binaries: &Binaries) -> Outcome<&'static Clean> {
    static RUN: OnceLock<Outcome<Clean>> = OnceLock::new();
    RUN.get_or_init(|| run_clean(binaries, Pace::default())).as_ref().map_err(Clone::clone)
}

fn run_clean(binaries: &Binaries, pace: Pace) -> Outcome<Clean> {
    let ((finished, state), requests) = without_conflict(|| {
        let plane = ControlPlane::start(binaries, pace)?;
        fixture::put(&plane, CLEAN)?;
        let finished = command::run(&plane, "operator", &["run", RUNBOOK, IMAGE, "--yes"])?;
        let requests = plane.audit()?;
        Ok(((finished, fixture::state_at_rest(&plane)?), requests))
    })?;
    Ok(Clean { finished, requests, state })
}

/// Only what the operator, that is lockgate, asked.
fn asked(requests: &[Request]) -> Vec<&Request> {
    requests.iter().filter(|request| request.user == "operator").collect()
}

/// All that the operator tried to change, in order.
fn changes(requests: &[Request]) -> impl Iterator<Item = &Request> {
    // The lock is none of the runbook's writes.
    asked(requests).into_iter().filter(|request| !request.is_read() && request.resource != "leases")
}

/// The writes that were made, as `verb path`.
fn writes(requests: &[Request]) -> Vec<String> {
    let path = |request: &Request| request.uri.split('?').next().unwrap_or_default().to_owned();
    let made = changes(requests).filter(|request| request.code != CONFLICT);
    made.map(|request| format!("{} {}", request.verb, path(request))).collect()
}

/// Runs it until no write was refused with a conflict, for cases that count requests: a change is made anew after one.
fn without_conflict<T>(mut run: impl FnMut() -> Outcome<(T, Vec<Request>)>) -> Outcome<(T, Vec<Request>)> {
    let mut conflicts = Vec::new();
    for _ in 0..UNDISTURBED {
        let (what, requests) = run()?;
        let Some(conflict) = asked(&requests).into_iter().find(|request| request.code == CONFLICT) else {
            return Ok((what, requests));
        };
        conflicts.push(format!("{} {}", conflict.verb, conflict.uri));
    }
    Err(format!("each of {UNDISTURBED} runs met a conflict: {conflicts:#?}"))
}

/// The state as if no write had met a conflict. A controller can write an object's status between lockgate's look and its change
/// (it always writes one when the last pod of a Deployment is gone); the change is then made anew as the next operation, which is
/// no fault, but gives all that follow a later number in `lockgate.dev/op`.
fn as_without_conflict(mut state: State, requests: &[Request]) -> State {
    let refused: Vec<bool> = changes(requests).map(|request| request.code == CONFLICT).collect();
    normalise::renumber(&mut state, |number| number - refused.iter().take(number).filter(|refused| **refused).count());
    state
}

fn expect_writes(requests: &[Request], expected: &[&str]) -> Outcome {
    let writes = writes(requests);
    if writes == expected { Ok(()) } else { Err(format!("the writes were {writes:#?} instead of {expected:#?}")) }
}

const PATCH_AGENT: &str = "patch /apis/apps/v1/namespaces/kube-system/daemonsets/cce-cni-node-agent";
const PATCH_IPAM: &str = "patch /apis/apps/v1/namespaces/kube-system/deployments/cce-eni-ipam";

/// The runbook from the first to the last step on a real API server.
pub(crate) fn clean_run(binaries: &Binaries) -> Outcome {
    let clean = clean(binaries)?;
    clean.finished.expect_code(0)?;
    expect_writes(&clean.requests, &[PATCH_AGENT, PATCH_IPAM])?;
    for request in asked(&clean.requests) {
        if !request.user_agent.starts_with("lockgate/") {
            return Err(format!("a request under another name: {request:?}"));
        }
    }
    Ok(())
}

/// What it leaves behind is what is recorded, which the simulated cluster is compared with.
pub(crate) fn clean_end_state(binaries: &Binaries) -> Outcome {
    recording::compare_real("clean", &clean(binaries)?.state)
}

/// The end of a rollout is noticed when the server says so, not at the next look: measured from the status that completes the
/// agent's rollout to the first request of the next step.
pub(crate) fn completion_is_noticed(binaries: &Binaries) -> Outcome {
    let requests = &clean(binaries)?.requests;
    let next_write = requests
        .iter()
        .find(|request| request.user == "operator" && !request.is_read() && request.resource == "deployments")
        .ok_or("the run never came to the deployment")?;
    let complete = requests
        .iter()
        .filter(|request| request.user == "controllers" && request.resource == "daemonsets/status")
        .map(|request| request.answered)
        .filter(|answered| *answered <= next_write.received)
        .max()
        .ok_or("no status of the daemonset was written")?;
    let noticed = asked(requests).iter().map(|request| request.received).filter(|received| *received >= complete).min();
    let took = Duration::from_micros(noticed.and_then(|noticed| u64::try_from(noticed - complete).ok()).unwrap_or(u64::MAX));
    // The figure is wanted in the log of a green run too.
    writeln!(std::io::stdout(), "from the completion of the agent's rollout to the next request: {took:?}").ok();
    if took <= NOTICED { Ok(()) } else { Err(format!("the next request came {took:?} after the rollout was complete")) }
}

/// Slower pods make a longer run, not more requests. Only whether there is a watch at all may differ: what holds at the first
/// look is not waited for. More than one for the same thing would be polling.
pub(crate) fn no_polling(binaries: &Binaries) -> Outcome {
    let slow = run_clean(binaries, Pace { ready: Duration::from_millis(2500), ..Pace::default() })?;
    slow.finished.expect_code(0)?;
    let [(quick, quick_watches), (slow, slow_watches)] = [&clean(binaries)?.requests, &slow.requests].map(|requests| {
        counted(requests).into_iter().partition::<BTreeMap<String, usize>, _>(|(request, _)| !request.starts_with("watch "))
    });
    if slow_watches.is_empty() {
        return Err("nothing was watched".to_owned());
    }
    if let Some(again) = quick_watches.iter().chain(&slow_watches).find(|(_, count)| **count > 1) {
        return Err(format!("watched more than once: {again:?}"));
    }
    if quick == slow { Ok(()) } else { Err(format!("requests with quick pods: {quick:#?}\nwith slow pods: {slow:#?}")) }
}

/// How often each thing was asked: verb, path and selectors, without what differs between two requests for the same.
fn counted(requests: &[Request]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    // The lock is renewed by the clock, however long the run takes.
    for request in asked(requests).into_iter().filter(|request| !request.uri.contains("/leases")) {
        let (path, query) = request.uri.split_once('?').unwrap_or((&request.uri, ""));
        let scope: Vec<&str> = query.split('&').filter(|part| part.ends_with("Selector") || part.contains("Selector=")).collect();
        *counts.entry(format!("{} {path} {}", request.verb, scope.join("&"))).or_insert(0) += 1;
    }
    counts
}

/// The runbook through the trap of the document: a new pod that waits for a port which the old pods hold.
pub(crate) fn trap_with_consent(binaries: &Binaries) -> Outcome {
    let plane = ControlPlane::start(binaries, Pace::default())?;
    fixture::put(&plane, TRAP)?;
    let finished = command::run(&plane, "operator", &["run", RUNBOOK, IMAGE, "--yes"])?;
    finished.expect_code(0)?;
    let (state, requests) = (fixture::state_at_rest(&plane)?, plane.audit()?);
    // The image, then to zero and back to the recorded count.
    expect_writes(&requests, &[PATCH_AGENT, PATCH_IPAM, PATCH_IPAM, PATCH_IPAM])?;
    recording::compare_real("trap", &as_without_conflict(state, &requests))
}

/// The same without consent: the run parks, and what the cluster says at that moment is recorded.
///
/// What it says of the Deployment's progress depends on a race. Making the new ReplicaSet, the Deployment's controller writes
/// `NewReplicaSetCreated`; its next status goes from the pods of the former template (2 updated) to those of the new ReplicaSet.
/// If it sees 0 of them and then 1, that is progress and the reason becomes `ReplicaSetUpdated`; if the ReplicaSet's controller
/// was quicker and the first it sees is 1, that is less than 2, no progress, and the reason stays. Here the controller of
/// ReplicaSets has to wait until the 0 is written, which is the order of nearly all runs and that of the simulated cluster.
pub(crate) fn trap_declined(binaries: &Binaries) -> Outcome {
    let mut plane = ControlPlane::start(binaries, Pace::default())?;
    fixture::put(&plane, TRAP)?;
    plane.hold_replicasets()?;
    // Without a plan nothing was shown, so nothing was consented to; and there is no terminal to ask at.
    let running = command::start(&plane, "operator", &["run", RUNBOOK, IMAGE, "--yes", "--no-plan"])?;
    plane.until("the deployment counts no pod of its new replica set", Duration::from_secs(60), |plane| {
        let deployments = plane.list(Some(fixture::NAMESPACE), "deployments")?;
        let number = |pointer: &str| deployments.first().and_then(|object| object.pointer(pointer)).and_then(Value::as_u64).unwrap_or(0);
        Ok(number("/status/observedGeneration") == 2 && number("/status/replicas") == 2 && number("/status/updatedReplicas") == 0)
    })?;
    plane.release_replicasets()?;
    running.finish()?.expect_code(4)?;
    let (state, requests) = (fixture::state_at_rest(&plane)?, plane.audit()?);
    expect_writes(&requests, &[PATCH_AGENT, PATCH_IPAM])?;
    recording::compare_real("trap-moment", &as_without_conflict(state, &requests))
}

/// A plan only reads and asks, also through the trap; and a user without rights is told so.
pub(crate) fn plan_writes_nothing(binaries: &Binaries) -> Outcome {
    let plane = ControlPlane::start(binaries, Pace::default())?;
    fixture::put(&plane, TRAP)?;
    let before = plane.list(Some("kube-system"), "deployments,daemonsets,replicasets,pods")?;
    command::run(&plane, "operator", &["plan", RUNBOOK, IMAGE])?.expect_code(0)?;
    let requests = plane.audit()?;
    let asked = asked(&requests);
    if asked.is_empty() {
        return Err("the plan asked the server nothing".to_owned());
    }
    if let Some(request) = asked.iter().find(|request| !matches!(request.verb.as_str(), "get" | "list") && !request.is_question()) {
        return Err(format!("the plan sent {request:?}"));
    }
    if let Some(request) = asked.iter().find(|request| request.resource.starts_with("secrets")) {
        return Err(format!("the plan read secrets: {request:?}"));
    }
    let after = plane.list(Some("kube-system"), "deployments,daemonsets,replicasets,pods")?;
    if before == after { Ok(()) } else { Err("objects have changed during the plan".to_owned()) }
}

/// A user without rights gets the server's own words and the exit code of a refusal.
pub(crate) fn forbidden(binaries: &Binaries) -> Outcome {
    let plane = ControlPlane::start(binaries, Pace::default())?;
    for command in [&["plan", RUNBOOK, IMAGE][..], &["run", RUNBOOK, IMAGE, "--yes"]] {
        let finished = command::run(&plane, "nobody", command)?;
        finished.expect_code(5)?;
        finished.expect_said("User \"nobody\" cannot")?;
    }
    let refused: Vec<Request> = plane.audit()?.into_iter().filter(|request| request.user == "nobody").collect();
    match refused.iter().find(|request| !request.is_read()) {
        Some(request) => Err(format!("a write was tried: {request:?}")),
        None if refused.iter().any(|request| request.code == 403) => Ok(()),
        None => Err(format!("the server refused nothing: {refused:?}")),
    }
}

/// The API server dies in the middle of a wait and comes back: the wait goes on, and nothing is written twice.
pub(crate) fn server_restarts(binaries: &Binaries) -> Outcome {
    let mut plane = ControlPlane::start(binaries, Pace { ready: Duration::from_millis(2500), ..Pace::default() })?;
    fixture::put(&plane, CLEAN)?;
    let running = command::start(&plane, "operator", &["run", RUNBOOK, IMAGE, "--yes"])?;
    plane.until("the agent's rollout is being watched", Duration::from_secs(60), |plane| {
        let requests = plane.audit()?;
        let patched = requests.iter().position(|request| request.user == "operator" && request.verb == "patch");
        let watched = |request: &Request| request.user == "operator" && request.verb == "watch" && request.resource == "daemonsets";
        Ok(patched.is_some_and(|patched| requests[patched..].iter().any(watched)))
    })?;
    plane.restart_apiserver()?;
    running.finish()?.expect_code(0)?;
    let (state, requests) = (fixture::state_at_rest(&plane)?, plane.audit()?);
    expect_writes(&requests, &[PATCH_AGENT, PATCH_IPAM])?;
    recording::same(&clean(binaries)?.state, &as_without_conflict(state, &requests), "undisturbed | disturbed")
}
