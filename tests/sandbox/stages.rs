//! Models exported as stages: pods take as long on a real cluster with KWOK as on the simulated one.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use libtest_mimic::Trial;
use lockgate_sim::fixture::Fixture;
use lockgate_sim::{Options, Request};
use serde_json::Value;

use super::Outcome;
use crate::controlplane::plane::{ControlPlane, Server};
use crate::controlplane::{self, Binaries};

const FIXTURE: &str = r#"
apiVersion: v1
kind: Node
metadata: {name: n1, labels: {kubernetes.io/os: linux}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: quick, namespace: default}
spec:
  selector: {matchLabels: {app: quick}}
  template:
    metadata: {labels: {app: quick}}
    spec: {containers: [{name: a, image: "registry.example/quick:v1"}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: slow, namespace: default}
spec:
  selector: {matchLabels: {app: slow}}
  template:
    metadata: {labels: {app: slow}}
    spec:
      initContainers: [{name: i, image: "registry.example/init:v1"}]
      containers: [{name: a, image: "registry.example/slow:v1"}, {name: b, image: "registry.example/quick-too:v1"}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: unready, namespace: default}
spec:
  selector: {matchLabels: {app: unready}}
  template:
    metadata: {labels: {app: unready}}
    spec: {containers: [{name: a, image: "registry.example/unready:v1"}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: absent, namespace: default}
spec:
  selector: {matchLabels: {app: absent}}
  template:
    metadata: {labels: {app: absent}}
    spec: {containers: [{name: a, image: "registry.example/absent:v1"}]}
---
apiVersion: batch/v1
kind: Job
metadata: {name: once, namespace: default}
spec: {template: {spec: {restartPolicy: Never, containers: [{name: a, image: "registry.example/once:v1"}]}}}
---
apiVersion: lockgate.dev/v1
kind: Model
images:
- {match: "*", pull: 1s, start: 1s, ready: 0s, why: a test}
- {match: "*/slow:v?", pull: 3s, ready: 2s, why: a test}
- {match: "*/absent:*", never_pulls: true, why: a test}
- {match: "*/once:*", run: 3s, why: a test}
pods:
- {match: {owner: deployment/unready}, ready: never, why: a test}
"#;

/// How far two clocks that count whole seconds may be apart, and how late KWOK may be on a busy machine.
const NEAR: i64 = 2;

/// The case.
pub(super) fn cases() -> Vec<Trial> {
    vec![controlplane::needs_binaries("stages_give_pods_the_same_times", check)]
}

fn check(binaries: &Binaries) -> Outcome {
    let simulated = simulated()?;
    let plane = ControlPlane::start_with(binaries, &exported()?, Server::default())?;
    let objects: Vec<&str> = FIXTURE.split("\n---\n").filter(|document| !document.contains("lockgate.dev/")).collect();
    plane.apply(&objects.join("\n---\n"))?;
    let mut last = BTreeMap::new();
    let whole = plane.until("the pods have done what they do", Duration::from_secs(60), |plane| {
        let pods: Value =
            serde_json::from_str(&plane.kubectl(&["get", "pods", "-n", "default", "-o", "json"])?).map_err(|error| error.to_string())?;
        last = courses(pods["items"].as_array().into_iter().flatten());
        let same = |(name, (fate, _)): (&String, &Course)| simulated.get(name).is_some_and(|(wanted, _)| wanted == fate);
        Ok(last.len() == simulated.len() && last.iter().all(same))
    });
    whole.map_err(|error| format!("{error}: {last:?} instead of {simulated:?}"))?;
    for (name, (_, seconds)) in &simulated {
        let came = last.get(name).and_then(|(_, seconds)| *seconds);
        let near = match (seconds, came) {
            (Some(wanted), Some(came)) => (wanted - came).abs() <= NEAR,
            (wanted, came) => *wanted == came,
        };
        if !near {
            return Err(format!("a pod of {name} is ready after {came:?} s, and after {seconds:?} s in the simulated cluster"));
        }
    }
    Ok(())
}

/// The stages as the command prints them.
fn exported() -> Outcome<String> {
    let folder = tempfile::TempDir::new().map_err(|error| error.to_string())?;
    let file = folder.path().join("cluster.yaml");
    std::fs::write(&file, FIXTURE).map_err(|error| error.to_string())?;
    let output = Command::new(env!("CARGO_BIN_EXE_lockgate")).args(["sandbox", "--stages"]).arg(&file).output();
    let output = output.map_err(|error| format!("lockgate sandbox --stages: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(format!("lockgate sandbox --stages: {said}"))
    }
}

fn simulated() -> Outcome<BTreeMap<String, Course>> {
    let mut cluster =
        Fixture::parse("cluster.yaml", FIXTURE).and_then(|fixture| fixture.cluster(Options::default())).map_err(|e| e.to_string())?;
    let response = cluster.handle(&Request::get("/api/v1/namespaces/default/pods"));
    let text = response.value().map(ToString::to_string).unwrap_or_default();
    let pods: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    Ok(courses(pods["items"].as_array().into_iter().flatten()))
}

/// How far a pod got, and after how many seconds it was ready; none for one that never is.
type Course = (String, Option<i64>);

/// By what the pods belong to.
fn courses<'a>(pods: impl Iterator<Item = &'a Value>) -> BTreeMap<String, Course> {
    let course = |pod: &'a Value| {
        let conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let second = |time: &Value| Some(time.as_str()?.parse::<jiff::Timestamp>().ok()?.as_second());
        let is_ready = conditions.iter().find(|condition| condition["type"] == "Ready" && condition["status"] == "True");
        let ready = is_ready.and_then(|found| Some(second(&found["lastTransitionTime"])? - second(&pod["metadata"]["creationTimestamp"])?));
        let fate = pod["status"]["phase"].as_str().unwrap_or_default().to_owned();
        let labels = &pod["metadata"]["labels"];
        let name = labels["app"].as_str().or_else(|| labels["job-name"].as_str()).unwrap_or_default().to_owned();
        // KWOK leaves conditions and times of a pod that is done as they were.
        (name, (fate.clone(), ready.filter(|_| fate == "Running")))
    };
    pods.map(course).collect()
}
