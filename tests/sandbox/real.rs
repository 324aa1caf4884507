//! The same transcripts on a real control plane: what the sandbox says is what a cluster says.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use libtest_mimic::Trial;
use serde_json::Value;

use super::transcript::{Shell, check_on, read, words};
use super::{Outcome, clients, served};
use crate::controlplane::plane::{ControlPlane, Pace, Server};
use crate::controlplane::{self, Binaries};

/// Transcripts that hold on both. The others ask what KWOK has no answer to (exit codes, the end of what is sent to a command, crashes,
/// logs), or what is generated.
const SAME: [(&str, &str); 15] = [
    ("kubectl", "apply"),
    ("kubectl", "make"),
    ("kubectl", "change"),
    ("kubectl", "drain"),
    ("kubectl", "events"),
    ("kubectl", "explain"),
    ("kubectl", "nodes"),
    ("kubectl", "read"),
    ("kubectl", "rollout"),
    ("kubectl", "scale"),
    ("kubectl", "streams"),
    ("kubectl", "tables"),
    ("kubectl", "write"),
    ("helm3", "release"),
    ("helm4", "release"),
];

/// What KWOK answers for the kubelets, in the place of the Model document of the sandbox: it runs programs of its folder.
const ANSWERS: &str = "\
apiVersion: kwok.x-k8s.io/v1alpha1
kind: ClusterExec
metadata: { name: commands }
spec:
  execs: [{ local: {} }]
";

/// How long a fixture may take to become ready.
const READY: Duration = Duration::from_secs(60);

/// One case each.
pub(super) fn cases() -> Vec<Trial> {
    let case = |(client, name): (&'static str, &'static str)| {
        controlplane::needs_binaries(&format!("transcripts::{client}::{name}"), move |binaries| check(binaries, client, name))
    };
    // Which helms there are is asked once: without them their transcripts are no cases here.
    let there = |(client, _): &(&'static str, &'static str)| *client == "kubectl" || clients::find(client).is_ok();
    SAME.into_iter().filter(there).map(case).collect()
}

fn check(binaries: &Binaries, client: &str, name: &str) -> Outcome {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = root.join(format!("tests/sandbox/{client}/{name}.txt"));
    let fixture = words(&read(&file)?).map_or_else(|| root.join("host/cli/sandbox.yaml"), |word| served::files().join(word));
    let plane = ControlPlane::start_with(binaries, &Pace::default().asked(ANSWERS)?, Server::default())?;
    let program = plane.path().join("bin/web");
    let write = || {
        std::fs::create_dir_all(plane.path().join("bin"))?;
        std::fs::write(&program, "#!/bin/sh\n[ \"$*\" = version ] && echo web v1\n")?;
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))
    };
    write().map_err(|error| format!("writing {}: {error}", program.display()))?;
    put(&plane, &read(&fixture)?)?;
    let clients = clients::find(client)?;
    check_on(&file, &Shell { kubeconfig: &plane.kubeconfig("admin"), home: plane.path(), path: clients.path() })
}

/// Applies a fixture and waits until its workloads are ready, as a sandbox does before it serves.
fn put(plane: &ControlPlane, fixture: &str) -> Outcome {
    // Models describe what only the simulated cluster has to be told.
    let documents: Vec<&str> = fixture.split("\n---").filter(|document| !document.contains("apiVersion: lockgate.dev/")).collect();
    plane.apply(&documents.join("\n---"))?;
    plane.until("the fixture is ready", READY, |plane| {
        let workloads: Value =
            serde_json::from_str(&plane.kubectl(&["get", "deployments,daemonsets", "--all-namespaces", "-o", "json"])?)
                .map_err(|error| error.to_string())?;
        let number = |object: &Value, pointer: &str| object.pointer(pointer).and_then(Value::as_u64);
        let is_ready = |object: &Value| {
            let wanted = number(object, "/spec/replicas").or_else(|| number(object, "/status/desiredNumberScheduled"));
            wanted.is_some() && wanted == number(object, "/status/readyReplicas").or_else(|| number(object, "/status/numberReady"))
        };
        Ok(workloads["items"].as_array().into_iter().flatten().all(is_ready))
    })
}
