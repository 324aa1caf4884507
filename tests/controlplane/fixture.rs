//! The runbook's fixture clusters, put on a real server, and what is compared of a cluster.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::Outcome;
use super::normalise::{self, State};
use super::plane::ControlPlane;

/// The runbook of all cases.
pub(crate) const RUNBOOK: &str = "cce-cni-v1-patch";

/// The namespace of everything that the runbook touches.
pub(crate) const NAMESPACE: &str = "kube-system";

/// The kinds that are compared: group, version, plural. Config maps and leases of the control plane itself live in the same namespace and are not.
pub(crate) const COMPARED: [(&str, &str, &str); 8] = [
    ("apps", "v1", "deployments"),
    ("apps", "v1", "replicasets"),
    ("apps", "v1", "daemonsets"),
    ("apps", "v1", "controllerrevisions"),
    ("", "v1", "pods"),
    ("", "v1", "services"),
    ("", "v1", "endpoints"),
    ("discovery.k8s.io", "v1", "endpointslices"),
];

/// How long a fixture may take to become ready.
const SETTLE: Duration = Duration::from_secs(60);

/// The path of a file of the runbook.
pub(crate) fn path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("runbooks").join(RUNBOOK).join(file)
}

/// Applies a fixture and waits until its workloads are ready, as the simulated cluster does when it boots.
///
/// # Errors
/// The server refused an object or the workloads did not become ready.
pub(crate) fn put(plane: &ControlPlane, file: &str) -> Outcome {
    let text = std::fs::read_to_string(path(file)).map_err(|error| format!("reading {file}: {error}"))?;
    // Models describe what only the simulated cluster has to be told.
    let documents: Vec<&str> = text.split("\n---").filter(|document| !document.contains("apiVersion: lockgate.dev/")).collect();
    plane.apply(&documents.join("\n---"))?;
    plane.until(&format!("{file} is ready"), SETTLE, |plane| {
        let mut objects = plane.list(Some(NAMESPACE), "deployments")?;
        objects.extend(plane.list(Some(NAMESPACE), "daemonsets")?);
        let endpoints = plane.list(Some(NAMESPACE), "endpointslices")?;
        let served = |slice: &Value| slice.pointer("/endpoints/0/conditions/ready") == Some(&Value::Bool(true));
        Ok(objects.len() == 2 && objects.iter().all(is_ready) && endpoints.iter().any(served))
    })
}

/// Whether the status of a Deployment or DaemonSet counts as many ready pods as it wants.
pub(super) fn is_ready(object: &Value) -> bool {
    let number = |pointer: &str| object.pointer(pointer).and_then(Value::as_u64);
    let wanted = number("/spec/replicas").or_else(|| number("/status/desiredNumberScheduled"));
    let ready = number("/status/readyReplicas").or_else(|| number("/status/numberReady"));
    wanted.is_some_and(|wanted| wanted > 0) && ready == wanted && number("/status/observedGeneration") == number("/metadata/generation")
}

/// What the cluster holds, made comparable.
///
/// # Errors
/// kubectl failed.
pub(crate) fn state(plane: &ControlPlane) -> Outcome<State> {
    let mut objects = Vec::new();
    for (group, version, plural) in COMPARED {
        let kind = if group.is_empty() { plural.to_owned() } else { format!("{plural}.{version}.{group}") };
        objects.extend(plane.list(Some(NAMESPACE), &kind)?);
    }
    Ok(normalise::normalise(objects))
}

/// Waits until two looks at the cluster, some time apart, see the same: the controllers have nothing left to do.
///
/// # Errors
/// As [`state`], or it never comes to rest.
pub(crate) fn state_at_rest(plane: &ControlPlane) -> Outcome<State> {
    let mut last = None;
    plane.until("the cluster is at rest", SETTLE, |plane| {
        std::thread::sleep(Duration::from_millis(700));
        let now = state(plane)?;
        Ok(last.replace(now.clone()) == Some(now))
    })?;
    last.ok_or_else(|| "no state was read".to_owned())
}
