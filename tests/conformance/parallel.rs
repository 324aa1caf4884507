//! Several drains at the same time.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use super::Outcome;
use super::golden::Sent;
use super::run::Target;

/// How long all of them may take together.
const PATIENCE: Duration = Duration::from_secs(300);
/// So long kubectl waits after an eviction that was refused.
const AGAIN: Duration = Duration::from_secs(5);

/// A program that drains the nodes that it is given, each with a process of its own, and fails when one of them does.
///
/// # Errors
/// It cannot be written.
pub(crate) fn script(folder: &Path, kubectl: &Path) -> Outcome<PathBuf> {
    use std::os::unix::fs::PermissionsExt as _;
    let path = folder.join("drains");
    let text = format!(
        "#!/bin/sh\nall=\nfor node in \"$@\"; do\n  '{}' drain \"$node\" & all=\"$all $!\"\ndone\nfor one in $all; do wait \"$one\" || exit 1; done\n",
        kubectl.display()
    );
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    std::fs::write(&path, text).map_err(failed)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).map_err(failed)?;
    Ok(path)
}

/// Where there is no kubectl: cordons the nodes, evicts their pods in turn, and asks again for those that were refused.
///
/// # Errors
/// Something but a budget refuses, or it does not end.
pub(super) fn drain(target: &mut dyn Target, nodes: &[String]) -> Outcome {
    let began = target.clock();
    for node in nodes {
        let sent = Sent {
            method: "PATCH".to_owned(),
            path: format!("/api/v1/nodes/{node}"),
            content_type: "application/strategic-merge-patch+json".to_owned(),
            body: json!({"spec": {"unschedulable": true}}).to_string(),
            ..Sent::default()
        };
        sent_well(target, &sent, &[200])?;
    }
    loop {
        let (mut left, mut refused) = (false, false);
        for node in nodes {
            let path = format!("/api/v1/pods?fieldSelector=spec.nodeName%3D{node}");
            let pods = sent_well(target, &Sent { method: "GET".to_owned(), path, ..Sent::default() }, &[200])?.1;
            for pod in pods["items"].as_array().into_iter().flatten() {
                left = true;
                if pod["metadata"]["deletionTimestamp"].is_null() {
                    refused |= sent_well(target, &eviction(pod), &[201, 404, 429])?.0 == 429;
                }
            }
        }
        if !left {
            return Ok(());
        }
        if target.clock() - began > PATIENCE {
            return Err(format!("{} are not drained", nodes.join(", ")));
        }
        target.advance(if refused { AGAIN } else { Duration::from_secs(1) })?;
    }
}

fn eviction(pod: &Value) -> Sent {
    let (namespace, name) = (&pod["metadata"]["namespace"], &pod["metadata"]["name"]);
    Sent {
        method: "POST".to_owned(),
        path: format!(
            "/api/v1/namespaces/{0}/pods/{1}/eviction",
            namespace.as_str().unwrap_or_default(),
            name.as_str().unwrap_or_default()
        ),
        content_type: "application/json".to_owned(),
        body: json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": namespace}}).to_string(),
        ..Sent::default()
    }
}

/// Sends it and gives status and body, when the status is one of these.
fn sent_well(target: &mut dyn Target, sent: &Sent, wanted: &[u16]) -> Outcome<(u16, Value)> {
    let answer = target.send(sent)?;
    if wanted.contains(&answer.status) {
        Ok((answer.status, answer.body))
    } else {
        Err(format!("{} {}: {} {}", sent.method, sent.path, answer.status, answer.body))
    }
}
