//! Whether what helm waits for and what we call ready is the same: the charts of `charts.yaml`, each installed by `helm --wait` and by our own
//! verb on the same server. `ready` of their objects has to agree with helm's verdict, and so has our own wait; where they differ on purpose
//! the chart names the rule, and a rule that makes no difference any more fails.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use lockgate::base::{Kind, Reason};
use lockgate_sim::json::{Value as Json, json};
use serde::Deserialize;
use tempfile::TempDir;

use super::bench::{Bench, Outcome, ensure};
use crate::controlplane::Binaries;
use crate::controlplane::plane::{ControlPlane, Server};

const CHARTS: &str = include_str!("charts.yaml");

/// Two nodes for everybody, and one that KWOK does not play, for pods that tolerate everything.
const NODES: &str = "
apiVersion: v1
kind: Node
metadata: { name: w1, labels: { kubernetes.io/hostname: w1 } }
---
apiVersion: v1
kind: Node
metadata: { name: w2, labels: { kubernetes.io/hostname: w2 } }
---
apiVersion: v1
kind: Node
metadata: { name: w3, labels: { kubernetes.io/hostname: w3, test.io/silent: \"true\" } }
spec: { taints: [{ key: test.io/silent, effect: NoSchedule }] }
";

/// What `tests/conformance/stages.yaml` has not: a container that ends again and again, and a pod that its node puts out.
const STAGES: &str = r#"
apiVersion: kwok.x-k8s.io/v1alpha1
kind: Stage
metadata: { name: pod-crashes }
spec:
  resourceRef: { apiGroup: v1, kind: Pod }
  selector:
    matchExpressions:
    - { key: .metadata.deletionTimestamp, operator: DoesNotExist }
    - { key: .status.phase, operator: In, values: [Running] }
    - { key: '.spec.containers.[] | select( .image | endswith("/crashing:broken") ) | .image', operator: Exists }
    - { key: '.status.containerStatuses.[] | select( .state.waiting ) | .name', operator: DoesNotExist }
  delay: { durationMilliseconds: 200 }
  next:
    statusTemplate: |
      containerStatuses:
      {{ range .spec.containers }}
      - name: {{ .name | Quote }}
        image: {{ .image | Quote }}
        imageID: ""
        ready: false
        started: false
        restartCount: 3
        state: { waiting: { reason: CrashLoopBackOff, message: "back-off 40s restarting failed container" } }
        lastState: { terminated: { exitCode: 1, reason: Error, startedAt: {{ Now | Quote }}, finishedAt: {{ Now | Quote }} } }
      {{ end }}
---
apiVersion: kwok.x-k8s.io/v1alpha1
kind: Stage
metadata: { name: pod-evicted }
spec:
  resourceRef: { apiGroup: v1, kind: Pod }
  selector:
    matchExpressions:
    - { key: .metadata.deletionTimestamp, operator: DoesNotExist }
    - { key: .status.phase, operator: In, values: [Running] }
    - { key: '.spec.containers.[] | select( .image | endswith("/evicted:broken") ) | .image', operator: Exists }
  delay: { durationMilliseconds: 200 }
  next:
    statusTemplate: |
      phase: Failed
      reason: Evicted
      message: "The node was low on resource: memory."
"#;

/// The time for what gets ready, on a busy machine.
const PATIENT: Duration = Duration::from_secs(90);
/// The time for what does not, whoever waits for it.
const SHORT: &str = "6s";
/// When our own wait is left alone: the time without progress, and some more.
const LEFT: Duration = Duration::from_secs(25);
/// For how long `ready` is asked: a pod that no node takes has failed after 15 s, an object without a status is new for 5 s, and helm does
/// not wait at all for some.
const JUDGED: Duration = Duration::from_secs(20);
/// How many charts are played at once.
const AT_ONCE: usize = 4;

/// How helm says that it waited in vain.
const WAITED: [&str; 7] = [
    "timed out waiting for the condition",
    "context deadline exceeded",
    "not ready. status:",
    "failed: BackoffLimitExceeded",
    "hooks failed",
    "failed pre-install",
    "is not ready",
];

/// What came of the charts: agreed, all; by helm.
static PLAYED: Mutex<BTreeMap<&'static str, (usize, usize)>> = Mutex::new(BTreeMap::new());

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Chart {
    name: String,
    objects: String,
    #[serde(default)]
    crds: String,
    /// What it is upgraded to.
    #[serde(default)]
    then: String,
    /// Whether helm is to wait for Jobs.
    #[serde(default)]
    jobs: bool,
    #[serde(default)]
    alone: bool,
    /// The objects that are not `Current`, with status and reason.
    #[serde(default)]
    is: BTreeMap<String, String>,
    /// Who decides otherwise, and why.
    #[serde(default)]
    differs: BTreeMap<String, String>,
}

/// Where one chart is played by one side.
struct Place<'a> {
    chart: &'a Chart,
    namespace: String,
    folder: TempDir,
}

/// How many charts agreed, for whoever reads the output; nothing when none was played.
pub(super) fn told() -> String {
    let played = PLAYED.lock().unwrap_or_else(PoisonError::into_inner);
    played.iter().map(|(helm, (agreed, all))| format!("charts: {agreed} of {all} ({helm})\n")).collect()
}

/// All of them, with this helm.
pub(super) fn agree(helm: &'static str, binaries: &Binaries) -> Outcome {
    let charts: Vec<Chart> = serde_saphyr::from_str(CHARTS).map_err(|error| format!("charts.yaml: {error}"))?;
    let stages = format!("{}\n---{STAGES}", include_str!("../conformance/stages.yaml"));
    let plane = ControlPlane::start_with(binaries, &stages, Server::default())?;
    plane.apply(NODES)?;
    plane.until("two nodes are ready", PATIENT, |plane| {
        let nodes = plane.list(None, "nodes")?;
        Ok(nodes.iter().filter(|node| node["status"]["conditions"].to_string().contains("KubeletReady")).count() == 2)
    })?;
    let program = crate::sandbox::helm(helm)?;
    let (alone, together): (Vec<&Chart>, Vec<&Chart>) = charts.iter().partition(|chart| chart.alone);
    let (next, found) = (Mutex::new(together.into_iter()), Mutex::new(Vec::new()));
    let work = || {
        loop {
            let Some(chart) = next.lock().unwrap_or_else(PoisonError::into_inner).next() else { return };
            let verdict = play(helm, &program, &plane, chart).map_err(|why| format!("{}: {why}", chart.name));
            found.lock().unwrap_or_else(PoisonError::into_inner).push(verdict);
        }
    };
    std::thread::scope(|scope| (0..AT_ONCE).for_each(|_| drop(scope.spawn(work))));
    let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    found.extend(alone.into_iter().map(|chart| play(helm, &program, &plane, chart).map_err(|why| format!("{}: {why}", chart.name))));
    let wrong: Vec<String> = found.iter().filter_map(|verdict| verdict.clone().err()).collect();
    let (agreed, all) = (found.len() - wrong.len(), charts.len());
    PLAYED.lock().unwrap_or_else(PoisonError::into_inner).insert(helm, (agreed, all));
    ensure(agreed == all, || format!("charts: {agreed} of {all}\n{}", wrong.join("\n")))
}

/// One chart: helm's verdict, ours on the same objects, and that of our own verb.
fn play(helm: &'static str, program: &Path, plane: &ControlPlane, chart: &Chart) -> Outcome {
    if let Some(who) = chart.differs.keys().find(|who| !["helm3", "helm4", "install"].contains(&who.as_str())) {
        return Err(format!("`differs` names `{who}`"));
    }
    let place = Place::new(plane, chart, "theirs")?;
    let theirs = place.theirs(helm, program, plane)?;
    let ours = place.judged(helm, plane)?;
    if chart.alone {
        // What disturbs others is gone before anybody else begins.
        plane.kubectl(&["delete", "apiservices", "-l", "app.kubernetes.io/managed-by=Helm"])?;
    }
    let place = Place::new(plane, chart, "ours")?;
    let installed = place.installed(helm, plane)?;
    for (who, verdict) in [(helm, theirs), ("install", installed)] {
        let words = |ready: bool| if ready { "ready" } else { "not ready" };
        match chart.differs.get(who) {
            None => ensure(verdict == ours, || format!("{who} says {}, `ready` says {}", words(verdict), words(ours)))?,
            Some(rule) => ensure(verdict != ours, || format!("{who} says {} as `ready` does, in spite of: {rule}", words(verdict)))?,
        }
    }
    Ok(())
}

impl<'a> Place<'a> {
    fn new(plane: &ControlPlane, chart: &'a Chart, side: &str) -> Outcome<Place<'a>> {
        let namespace = format!("{}-{side}", chart.name);
        plane.kubectl(&["create", "namespace", &namespace])?;
        let folder = TempDir::new().map_err(|error| error.to_string())?;
        Ok(Place { chart, namespace, folder })
    }

    /// The text with the name of this namespace.
    fn named(&self, text: &str) -> String {
        text.replace("NAMESPACE", &self.namespace)
    }

    /// Writes the chart in this version: its folder.
    fn write(&self, version: &str, objects: &str) -> Outcome<String> {
        let folder = self.folder.path().join(version).join(&self.chart.name);
        let put = |path: PathBuf, text: &str| {
            let parent = path.parent().unwrap_or(&folder);
            std::fs::create_dir_all(parent).and_then(|()| std::fs::write(&path, text)).map_err(|error| error.to_string())
        };
        put(folder.join("Chart.yaml"), &format!("apiVersion: v2\nname: {}\nversion: {version}\n", self.chart.name))?;
        put(folder.join("templates/objects.yaml"), &self.named(objects))?;
        if !self.chart.crds.is_empty() {
            put(folder.join("crds/all.yaml"), &self.named(&self.chart.crds))?;
        }
        Ok(folder.display().to_string())
    }

    /// Whether `helm --wait` ends well.
    fn theirs(&self, helm: &str, program: &Path, plane: &ControlPlane) -> Outcome<bool> {
        let expected = self.chart.is.is_empty() != self.chart.differs.contains_key(helm);
        let last = if expected { format!("{}s", PATIENT.as_secs()) } else { SHORT.to_owned() };
        let first = self.write("0.1.0", &self.chart.objects)?;
        if self.chart.then.is_empty() {
            return self.helm(program, plane, &["install", "it", &first, "--timeout", &last]);
        }
        let patient = format!("{}s", PATIENT.as_secs());
        ensure(self.helm(program, plane, &["install", "it", &first, "--timeout", &patient])?, || {
            "it is not ready before the upgrade".into()
        })?;
        let second = self.write("0.2.0", &self.chart.then)?;
        self.helm(program, plane, &["upgrade", "it", &second, "--timeout", &last])
    }

    /// Runs helm itself, beside us: whether it ended well. Another error than one about its waiting is one of the case.
    fn helm(&self, program: &Path, plane: &ControlPlane, words: &[&str]) -> Outcome<bool> {
        let home = self.folder.path();
        let output = Command::new(program)
            .args(words)
            .args(["--wait", "--namespace", &self.namespace, "--kubeconfig"])
            .arg(plane.kubeconfig("admin"))
            .args(self.chart.jobs.then_some("--wait-for-jobs"))
            .env("HELM_CACHE_HOME", home.join("cache"))
            .env("HELM_CONFIG_HOME", home.join("config"))
            .env("HELM_DATA_HOME", home.join("data"))
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("starting helm: {error}"))?;
        let said = String::from_utf8_lossy(&output.stderr);
        let in_vain = WAITED.iter().any(|words| said.contains(words));
        ensure(output.status.success() || in_vain, || format!("helm {words:?}: {said}"))?;
        Ok(output.status.success())
    }

    /// The objects of the chart: their references, and whether they are those of a hook, which may be gone.
    fn objects(&self) -> Outcome<Vec<(String, bool)>> {
        let last = if self.chart.then.is_empty() { &self.chart.objects } else { &self.chart.then };
        let text = self.named(&[self.chart.crds.as_str(), last].join("\n---\n"));
        let parsed = text.split("\n---").filter(|document| !document.trim().is_empty()).map(|document| {
            let object: Json = serde_saphyr::from_str(document).map_err(|error| format!("{error}: {document}"))?;
            let word = |value: &Json| value.as_str().unwrap_or_default().to_owned();
            let group = word(&object["apiVersion"]).split_once('/').map_or(String::new(), |(group, _)| format!(".{group}"));
            let reference = format!("{}{group}/{}", word(&object["kind"]).to_lowercase(), word(&object["metadata"]["name"]));
            Ok((reference, object["metadata"]["annotations"]["helm.sh/hook"].is_string()))
        });
        parsed.collect()
    }

    /// What `ready` says of the objects that helm made. What is to be not ready is found so by each look, until it says why as expected;
    /// what is to be ready becomes so.
    fn judged(&self, helm: &'static str, plane: &ControlPlane) -> Outcome<bool> {
        let bench = Bench::led(helm, plane.kubeconfig("admin"), self.namespace.clone())?;
        let objects = self.objects()?;
        let wanted: BTreeMap<String, String> = self.chart.is.iter().map(|(name, is)| (self.named(name), is.clone())).collect();
        let begun = Instant::now();
        loop {
            let mut found = BTreeMap::new();
            for (reference, is_hook) in &objects {
                let readiness = bench.value("ready", json!([reference]), json!({}))?;
                let word = |field: &str| readiness[field].as_str().unwrap_or_default().to_owned();
                let is = format!("{} {}", word("status"), word("reason"));
                if word("status") != "Current" && !(*is_hook && word("status") == "NotFound") {
                    found.insert(reference.clone(), is);
                }
            }
            if found == wanted {
                return Ok(found.is_empty());
            }
            ensure(wanted.is_empty() || !found.is_empty(), || format!("`ready` says that all is well, not {wanted:?}"))?;
            ensure(begun.elapsed() < JUDGED, || format!("`ready` says {found:?}, not {wanted:?}, for {} s", JUDGED.as_secs()))?;
            std::thread::sleep(Duration::from_millis(300));
        }
    }

    /// Whether our own verb ends well, its wait included.
    fn installed(&self, helm: &'static str, plane: &ControlPlane) -> Outcome<bool> {
        let bench = Bench::led(helm, plane.kubeconfig("admin"), self.namespace.clone())?;
        let first = self.write("0.1.0", &self.chart.objects)?;
        let patient = json!({ "stall": format!("{}s", PATIENT.as_secs()) });
        // What ends as ready may take its time.
        let expected = self.chart.is.is_empty() != self.chart.differs.contains_key("install");
        let options = if expected { patient.clone() } else { json!({ "stall": SHORT, "timeout": SHORT }) };
        let (limit, last) = if expected { (PATIENT, options) } else { (LEFT, options) };
        if self.chart.then.is_empty() {
            return self.verb(&bench, limit, "helm.install", &first, last);
        }
        ensure(self.verb(&bench, PATIENT, "helm.install", &first, patient)?, || "it is not ready before the upgrade".into())?;
        let second = self.write("0.2.0", &self.chart.then)?;
        let mut last = last;
        last["values_from"] = json!("none");
        self.verb(&bench, limit, "helm.upgrade", &second, last)
    }

    /// One call; one that is not over in time waits for something that does not come.
    fn verb(&self, bench: &Bench, limit: Duration, verb: &str, chart: &str, options: Json) -> Outcome<bool> {
        let call = bench.calling(verb, json!(["it", chart]), options);
        match bench.run(async { tokio::time::timeout(limit, call).await }) {
            Err(_) => Ok(false),
            Ok(Ok(_)) => Ok(true),
            Ok(Err(error)) if error.kind == Kind::Stuck || error.reason == Reason::HelmHook => Ok(false),
            Ok(Err(error)) => Err(format!("{verb}: {} ({:?})", error, error.reason)),
        }
    }
}
