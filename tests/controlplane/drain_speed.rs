//! How long a drain takes beyond what its pods take themselves, beside kubectl on the same server. Measured by hand: `tests/bench/drain`.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use lockgate::base::Span;
use lockgate::cluster::{Follow, Following, Select, Woke};
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

/// What one watch of the node's pods has seen. It is no poll: that would take the processors from the server and from who is measured.
#[derive(Default)]
struct Seen {
    marked: BTreeMap<String, Instant>,
    gone: BTreeMap<String, Duration>,
}

impl Seen {
    fn take_in(&mut self, following: &Following) {
        let now = Instant::now();
        let name = |pod: &Json| pod["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let here: BTreeMap<String, bool> =
            following.items(0).map(|pod| (name(pod), pod.pointer("/metadata/deletionTimestamp").is_some())).collect();
        for (pod, _) in here.iter().filter(|(_, is_marked)| **is_marked) {
            self.marked.entry(pod.clone()).or_insert(now);
        }
        for (pod, since) in self.marked.iter().filter(|(pod, _)| !here.contains_key(*pod)) {
            self.gone.entry(pod.clone()).or_insert(now - *since);
        }
    }
}

/// Runs a command and watches the node's pods while it goes.
async fn measured(plane: &ControlPlane, id: &str, mut command: Command) -> Outcome<Took> {
    let said = |error: lockgate::base::Error| error.to_string();
    let cluster = live(plane).await?;
    let select = Select { labels: None, fields: Some(format!("spec.nodeName={}", node(id))) };
    let pods = cluster.resolve("pods", None).await.map_err(said)?;
    let mut following = cluster.follow(vec![Follow { resource: pods, namespace: None, select }]).await.map_err(said)?;
    // It watches from here on: nothing happens yet.
    let soon = |span: u64| Span::from_millis(span).after(cluster.clock().now());
    following.changed(Some(soon(100))).await.map_err(said)?;
    let (done, mut ended) = tokio::sync::oneshot::channel();
    let begun = Instant::now();
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let child = child.map_err(|error| format!("starting: {error}"))?;
    let waits = std::thread::spawn(move || done.send((child.wait_with_output(), begun.elapsed())).is_ok());
    let mut seen = Seen::default();
    let (output, all) = loop {
        tokio::select! {
            ended = &mut ended => break ended.map_err(|_| "nobody waited for the command".to_owned())?,
            changed = following.changed(None) => changed.map(|_| seen.take_in(&following)).map_err(said)?,
        }
    };
    waits.join().map_err(|_| "waiting for the command failed".to_owned())?;
    let output = output.map_err(|error| format!("waiting: {error}"))?;
    let until = soon(1000);
    while seen.gone.len() < seen.marked.len() && following.changed(Some(until)).await.map_err(said)? == Woke::Changed {
        seen.take_in(&following);
    }
    let empty = left_pods(&cluster, &node(id)).await?.is_empty();
    let (marked, gone) = (seen.marked.len(), seen.gone.len());
    if output.status.success() && empty && (marked, gone) == (10, 10) {
        return Ok(Took { all, pods: seen.gone.values().max().copied().unwrap_or_default() });
    }
    Err(format!("{}, {marked} marked, {gone} gone: {}", output.status, String::from_utf8_lossy(&output.stderr)))
}

/// How much longer kubectl takes beyond the pods' own time, at least.
const TIMES: u128 = 5;

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
            command.env("HOME", plane.path()).env_remove("KUBECONFIG");
            kubectl.push(runtime.block_on(measured(&plane, id, command))?);
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
        command.env("HOME", plane.path()).env_remove("KUBECONFIG");
        ours.push(runtime.block_on(measured(&plane, id, command))?);
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
    if fast * TIMES <= slow { Ok(()) } else { Err(format!("{fast} ms beyond the pods' own time, kubectl {slow} ms")) }
}
