//! How long a drain takes beyond what its pods take themselves, beside kubectl on the same server. Measured by hand: `tests/bench/drain`.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use lockgate_sim::json::Value as Json;

use super::Outcome;
use super::binaries::Binaries;
use super::drain::given::{Ends, Situation, node};
use super::drain::{left_pods, live, staged};
use super::plane::ControlPlane;

/// How often each is measured.
const ROUNDS: usize = 5;

const TEN: Situation =
    Situation { name: "ten pods", given: "deployment web 10", options: "{}", verdict: "ok", says: "", ends: Ends::Empty(&[]) };

/// One drain: all of it, and the longest time that a pod took from being marked to being gone.
#[derive(Clone, Copy)]
struct Took {
    all: Duration,
    pods: Duration,
}

impl Took {
    fn beyond(self) -> Duration {
        self.all.saturating_sub(self.pods)
    }
}

fn name(pod: &Json) -> &str {
    pod["metadata"]["name"].as_str().unwrap_or_default()
}

/// Runs a command and looks at the node's pods while it goes.
fn measured(plane: &ControlPlane, runtime: &tokio::runtime::Runtime, id: &str, command: &mut Command) -> Outcome<Took> {
    let cluster = runtime.block_on(live(plane))?;
    let (mut marked, mut gone): (BTreeMap<String, Instant>, BTreeMap<String, Duration>) = (BTreeMap::new(), BTreeMap::new());
    let begun = Instant::now();
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().map_err(|error| format!("starting: {error}"))?;
    let status = loop {
        if let Some(status) = child.try_wait().map_err(|error| format!("waiting: {error}"))? {
            break status;
        }
        let pods = runtime.block_on(left_pods(&cluster, &node(id)))?;
        let now = Instant::now();
        for pod in pods.iter().filter(|pod| pod.pointer("/metadata/deletionTimestamp").is_some()) {
            marked.entry(name(pod).to_owned()).or_insert(now);
        }
        for (marked, since) in &marked {
            if !pods.iter().any(|pod| name(pod) == marked) {
                gone.entry(marked.clone()).or_insert(now - *since);
            }
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let all = begun.elapsed();
    let pods = gone.values().max().copied().unwrap_or_default();
    let empty = runtime.block_on(left_pods(&cluster, &node(id)))?.is_empty();
    if status.success() && empty && gone.len() + 1 >= marked.len() && marked.len() == 10 {
        return Ok(Took { all, pods });
    }
    let output = child.wait_with_output().map_err(|error| format!("reading: {error}"))?;
    Err(format!("{status}, {} marked, {} gone: {}", marked.len(), gone.len(), String::from_utf8_lossy(&output.stderr)))
}

/// Five drains of ten pods each, by kubectl and by lockgate in turn: lockgate takes at most a fifth of what kubectl takes beyond the
/// pods' own time.
#[allow(clippy::print_stdout, reason = "the figures are what it is run for")]
pub(super) fn beside_kubectl(binaries: &Binaries) -> Outcome {
    let ids: Vec<String> = (0..ROUNDS).flat_map(|round| [format!("k{round}"), format!("l{round}")]).collect();
    let situations: Vec<(String, &Situation)> = ids.iter().map(|id| (id.clone(), &TEN)).collect();
    let plane = staged(binaries, &situations)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| format!("runtime: {error}"))?;
    let (mut kubectl, mut ours) = (Vec::new(), Vec::new());
    for id in &ids {
        let node = node(id);
        if id.starts_with('k') {
            let mut command = Command::new(binaries.path("kubectl"));
            command.arg("--kubeconfig").arg(plane.kubeconfig("operator")).args(["drain", &node, "--ignore-daemonsets"]);
            kubectl.push(measured(&plane, &runtime, id, command.env("HOME", plane.path()).env_remove("KUBECONFIG"))?);
            continue;
        }
        let folder = plane.path().join(format!("drain-{id}"));
        let text = format!(
            "runbook {{ title = \"Drain\", summary = \"Drains.\", impact = \"restarts\" }}\n\
             permissions {{ {{ verbs = {{ \"*\" }}, kinds = {{ \"*\" }} }} }}\n\
             step \"drain\" {{ title = \"Drain\", run = function() drain(\"{node}\") end }}\n"
        );
        let written = std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(folder.join("runbook.luau"), text));
        written.map_err(|error| format!("writing {}: {error}", folder.display()))?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_lockgate"));
        command.arg("run").arg(&folder).args(["--yes", "--no-plan", "--context", "real", "--kubeconfig"]).arg(plane.kubeconfig("operator"));
        ours.push(measured(&plane, &runtime, id, command.env("HOME", plane.path()).env_remove("KUBECONFIG"))?);
    }
    let median = |took: &[Took], of: fn(Took) -> Duration| {
        let mut times: Vec<Duration> = took.iter().copied().map(of).collect();
        times.sort();
        times.get(times.len() / 2).copied().unwrap_or_default().as_millis()
    };
    let figures = |took: &[Took]| {
        let (all, pods, beyond) = (median(took, |took| took.all), median(took, |took| took.pods), median(took, Took::beyond));
        (format!("{all} ms in all, {pods} ms the slowest pod, {beyond} ms beyond"), beyond)
    };
    let ((theirs, slow), (our, fast)) = (figures(&kubectl), figures(&ours));
    println!("drain of 10 pods, median of {ROUNDS}\n  kubectl   {theirs}\n  lockgate  {our}");
    if fast * 5 <= slow { Ok(()) } else { Err(format!("{fast} ms beyond the pods' own time, kubectl {slow} ms")) }
}
