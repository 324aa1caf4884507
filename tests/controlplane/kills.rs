//! Runs on the real control plane whose processes are killed by SIGKILL at random moments, again and again until one of them comes to the
//! end. The end state must be that of a run that nobody killed, and the server's own log must have no write twice.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lockgate::base::json::Value as Json;
use lockgate::cli::test::ended::tidy;

use super::Outcome;
use super::binaries::Binaries;
use super::plane::{ControlPlane, Pace};

/// How often a process is killed, at least.
const KILLS: usize = 50;
/// How many of them in one run at most.
const MOST: usize = 20;
/// The variable that repeats a failure.
const SEED: &str = "LOCKGATE_SEED";
/// A process that is not over by then hangs.
const LIMIT: Duration = Duration::from_secs(180);

const RUNBOOK: &str = r#"
runbook { title = "Kills", summary = "Writes of several kinds, with waits between them.", impact = "restarts" }
param "ns" { type = "string", doc = "The namespace.", example = "k0" }

local function web() return `deployment/{params.ns}/web` end

step "objects" {
  title = "Objects come, change and go",
  run = function()
    create { apiVersion = "v1", kind = "ConfigMap", metadata = { generateName = "made-", namespace = params.ns }, data = { a = "b" } }
    patch(`configmap/{params.ns}/settings`, { data = { mode = "slow" } })
    label(web(), { tier = "front" })
    delete(`configmap/{params.ns}/old`)
  end,
}
step "image" {
  title = "A new image",
  run = function() set_image(web(), { web = "registry.example/web:v2" }) end,
  verify = function() wait_rollout(web()) end,
}
step "down-and-up" {
  title = "Down and up",
  run = function()
    local replicas = get(web()).spec.replicas
    scale(web(), 0, { wait = "gone" })
    scale(web(), replicas)
    state.replicas = replicas
  end,
  verify = function() wait_rollout(web()) end,
}
step "mark" {
  title = "Say that it is done",
  run = function() annotate(web(), { done = tostring(state.replicas) }) end,
}
permissions { { verbs = { "create", "patch", "delete", "update" }, kinds = { "configmaps", "deployments", "deployments/scale" } } }
"#;

/// What a namespace begins with.
fn begin(namespace: &str) -> String {
    format!(
        r#"
{{apiVersion: v1, kind: Namespace, metadata: {{name: {namespace}}}}}
---
{{apiVersion: v1, kind: ConfigMap, metadata: {{name: settings, namespace: {namespace}}}, data: {{mode: fast}}}}
---
{{apiVersion: v1, kind: ConfigMap, metadata: {{name: old, namespace: {namespace}}}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web, namespace: {namespace}}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec: {{containers: [{{name: web, image: "registry.example/web:v1"}}]}}
"#
    )
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}

/// One run in a namespace of its own.
struct Trial<'a> {
    plane: &'a ControlPlane,
    namespace: String,
    runs: PathBuf,
}

impl<'a> Trial<'a> {
    fn new(plane: &'a ControlPlane, number: usize) -> Outcome<Trial<'a>> {
        // No word that anything else could hold.
        let namespace = format!("killed-{number}");
        plane.apply(&begin(&namespace))?;
        plane.until("the deployment is there", Duration::from_secs(60), |plane| {
            let ready = plane.kubectl(&["get", "deployment", "web", "-n", &namespace, "-o", "jsonpath={.status.availableReplicas}"])?;
            Ok(ready == "2")
        })?;
        Ok(Trial { plane, runs: plane.path().join(format!("runs-{number}")), namespace })
    }

    /// The next process: it goes on with the run, or begins it where none was recorded.
    fn process(&self) -> Outcome<Child> {
        let begun = fs::read_dir(&self.runs).into_iter().flatten().flatten().any(|run| {
            // Killed before consent was on disk it has written nothing, and whoever resumes it is told to begin anew.
            fs::read_to_string(run.path().join("journal.jsonl")).is_ok_and(|journal| journal.contains(r#""k":"consent""#))
        });
        if !begun && self.runs.exists() {
            fs::remove_dir_all(&self.runs).map_err(|error| format!("clearing {}: {error}", self.runs.display()))?;
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_lockgate"));
        if begun {
            command.args(["resume", "last"]);
        } else {
            command.args([
                "run",
                "kills.luau",
                &format!("ns={}", self.namespace),
                "--no-plan",
                "--yes",
                "--context",
                "real",
                "--kubeconfig",
            ]);
            command.arg(self.plane.kubeconfig("admin"));
        }
        let log = |name: &str| File::options().create(true).append(true).open(self.log(name)).map_err(|error| error.to_string());
        command.arg("--runs").arg(&self.runs).current_dir(self.plane.path()).env("HOME", self.plane.path()).env_remove("KUBECONFIG");
        command.stdin(Stdio::null()).stdout(log("out")?).stderr(log("err")?);
        command.spawn().map_err(|error| format!("starting lockgate: {error}"))
    }

    fn log(&self, name: &str) -> PathBuf {
        self.plane.path().join(format!("{}.{name}", self.namespace))
    }

    /// Kills process after process, each at a moment that `moment` says, until one ends by itself; gives how many were killed. After
    /// `MOST` the next is left alone: on a machine that has become slower no process may come further than the one before it.
    fn until_the_end(&self, mut moment: impl FnMut() -> Option<Duration>) -> Outcome<usize> {
        for killed in 0..=MOST {
            let mut child = self.process()?;
            let (began, moment) = (Instant::now(), if killed < MOST { moment() } else { None });
            let limit = moment.unwrap_or(LIMIT);
            let ended = loop {
                if let Some(status) = child.try_wait().map_err(|error| error.to_string())? {
                    break Some(status);
                }
                if began.elapsed() >= limit {
                    break None;
                }
                std::thread::sleep(Duration::from_millis(1));
            };
            match ended {
                Some(status) if status.success() => return Ok(killed),
                Some(status) => return Err(format!("{status} after {killed} kills\n{}", self.told())),
                None => {
                    child.kill().and_then(|()| child.wait()).map_err(|error| error.to_string())?;
                    if moment.is_none() {
                        return Err(format!("a process was not over after {} s\n{}", LIMIT.as_secs(), self.told()));
                    }
                }
            }
        }
        Err(format!("a process that nobody killed was not over\n{}", self.told()))
    }

    fn told(&self) -> String {
        let text = |path: &Path| fs::read_to_string(path).unwrap_or_default();
        format!("{}--- stderr\n{}", text(&self.log("out")), text(&self.log("err")))
    }

    /// What the namespace holds, and what was written to it, with the same words in each.
    fn ended(&self) -> Outcome<Ended> {
        // Pods that the last rollout replaced may still be going.
        self.plane.until("no pod is going", LIMIT, |plane| Ok(plane.list(Some(&self.namespace), "pods")?.len() == 2))?;
        let mut held = Vec::new();
        for kind in ["configmaps", "deployments", "pods"] {
            for object in self.plane.list(Some(&self.namespace), kind)? {
                let object: Json = serde_json::from_str(&object.to_string()).map_err(|error| error.to_string())?;
                let mut object = tidy(&object);
                // Where a pod is placed is for the scheduler to say.
                if object["kind"] == "Pod" {
                    object["node"] = "somewhere".into();
                }
                held.push(object.to_string().replace(&self.namespace, "NS"));
            }
        }
        held.sort();
        let part = format!("/namespaces/{}/", self.namespace);
        let ours = |request: &&super::audit::Request| {
            request.user_agent.starts_with("lockgate/") && request.uri.contains(&part) && !request.is_read()
        };
        let said = |request: &super::audit::Request| {
            let path = request.uri.split('?').next().unwrap_or_default();
            format!("{} {}", request.verb, path.replace(&part, "/NS/"))
        };
        let audit = self.plane.audit()?;
        let (made, other): (Vec<_>, Vec<_>) = audit.iter().filter(ours).partition(|request| request.code < 300);
        let mut writes: Vec<String> = made.into_iter().map(said).collect();
        writes.sort();
        Ok(Ended { held, writes, unanswered: other.into_iter().map(said).collect() })
    }
}

/// How a namespace ended.
#[derive(Debug)]
struct Ended {
    /// What it holds.
    held: Vec<String>,
    /// The writes to it that the server answered well, in any order.
    writes: Vec<String>,
    /// Those that it answered otherwise: also when the write was made while its sender died.
    unanswered: Vec<String>,
}

impl Ended {
    /// Whether it ended as this run did that nobody killed: it holds the same, no write was made more often, and what the log does not know
    /// to have been made was under way when a process died.
    fn is_as(&self, wanted: &Ended) -> bool {
        let mut left = wanted.writes.clone();
        let once = self.writes.iter().all(|write| left.iter().position(|other| other == write).map(|at| left.remove(at)).is_some());
        let mut unanswered = self.unanswered.clone();
        let died = left.iter().all(|write| unanswered.iter().position(|other| other == write).map(|at| unanswered.remove(at)).is_some());
        self.held == wanted.held && once && died
    }
}

/// The case.
pub(crate) fn random_moments(binaries: &Binaries) -> Outcome {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| u64::from(time.subsec_nanos()));
    let seed = std::env::var(SEED).ok().and_then(|seed| seed.parse().ok()).unwrap_or(now);
    killed(binaries, seed).map_err(|error| format!("{SEED}={seed}: {error}"))
}

fn killed(binaries: &Binaries, seed: u64) -> Outcome {
    let plane = ControlPlane::start(binaries, Pace::default())?;
    fs::write(plane.path().join("kills.luau"), RUNBOOK).map_err(|error| error.to_string())?;
    plane.apply("{apiVersion: v1, kind: Node, metadata: {name: w1, labels: {type: kwok}, annotations: {kwok.x-k8s.io/node: fake}}}")?;
    let whole = Trial::new(&plane, 0)?;
    let began = Instant::now();
    whole.until_the_end(|| None)?;
    let took = began.elapsed();
    let wanted = whole.ended()?;
    if wanted.writes.len() < 7 {
        return Err(format!("the audit log has only {:?}", wanted.writes));
    }
    let (mut random, mut killed, mut runs) = (Random(seed), 0, 0);
    while killed < KILLS {
        runs += 1;
        let trial = Trial::new(&plane, runs)?;
        // Some die at once, some late; one that comes to its end before its moment is not killed.
        let longest = u64::try_from(took.as_millis() * 2 / 3).unwrap_or(u64::MAX).max(100);
        killed += trial.until_the_end(|| Some(Duration::from_millis(random.below(longest))))?;
        let found = trial.ended()?;
        if !found.is_as(&wanted) {
            return Err(format!("run {runs} ended in another way\nwanted {wanted:#?}\nfound {found:#?}\n{}", trial.told()));
        }
    }
    let told = format!("controlplane::kills: {killed} processes killed in {runs} runs, {SEED}={seed}\n");
    std::io::stderr().write_all(told.as_bytes()).map_err(|error| format!("telling the figures: {error}"))
}
