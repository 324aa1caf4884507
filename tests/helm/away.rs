//! An API server that goes away while a helm that a run leads is at work: what helm reads waits for the server with the run, and when the
//! server stays away the run is parked, and goes on by `lockgate resume`. The run is that of the binary, on a simulated cluster.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::bench::{Bench, Outcome, ensure, same};

const RUNBOOK: &str = r#"runbook { title = "T", summary = "S.", impact = "restarts", namespace = "shop" }
permissions {
  { verbs = { "create", "update", "patch" }, kinds = { "secrets", "configmaps", "deployments" } },
  helm = { charts = { "./chart" } },
}
step "one" { title = "One", run = function() helm.install("shop", "./chart") end }
step "two" { title = "Two", run = function() ensure(get("configmap/settings").data.colour == "green", "another chart") end }
"#;

const CLUSTER: &str = "
apiVersion: v1
kind: Node
metadata: { name: n1 }
---
apiVersion: v1
kind: Namespace
metadata: { name: shop }
";

/// Where the objects of the chart are.
const SOURCE: &str = "chart/templates/objects.yaml";
const OBJECTS: &str = "
apiVersion: v1
kind: ConfigMap
metadata: { name: settings }
data: { colour: green }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: web }
spec:
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec: { containers: [{ name: web, image: \"registry.example/web:v1\" }] }
";

/// What the binary said.
struct Said {
    code: Option<i32>,
    text: String,
}

/// A folder with the runbook, the chart, and what goes wrong.
struct Host {
    folder: TempDir,
    helm: &'static str,
}

impl Host {
    /// This goes wrong at the request that `what` names.
    fn new(helm: &'static str, what: &str, trouble: &str) -> Outcome<Host> {
        let folder = TempDir::new().map_err(|error| error.to_string())?;
        let rules = format!("apiVersion: lockgate.dev/v1\nkind: Faults\nrules:\n- match: {{{what}}}\n  do: {{{trouble}}}\n");
        for (path, text) in [
            ("r/runbook.luau", RUNBOOK),
            ("r/cluster.yaml", CLUSTER),
            ("chart/Chart.yaml", "apiVersion: v2\nname: shop\nversion: 0.1.0\n"),
            (SOURCE, OBJECTS),
            ("chaos.yaml", &rules),
        ] {
            let path = folder.path().join(path);
            let parent = path.parent().unwrap_or(folder.path());
            std::fs::create_dir_all(parent).and_then(|()| std::fs::write(&path, text)).map_err(|error| error.to_string())?;
        }
        Ok(Host { folder, helm })
    }

    fn run(&self, words: &[&str]) -> Outcome<Said> {
        let output = Command::new(env!("CARGO_BIN_EXE_lockgate"))
            .args(words)
            .current_dir(self.folder.path())
            .env_clear()
            .env("HOME", self.folder.path())
            .env("HELM_BIN", crate::sandbox::helm(self.helm)?)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("starting lockgate: {error}"))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let text = format!("$ lockgate {}\n{}--- stderr ---\n{}", words.join(" "), text(&output.stdout), text(&output.stderr));
        Ok(Said { code: output.status.code(), text })
    }
}

impl Said {
    fn exits(&self, code: i32) -> Outcome {
        same(&self.text, self.code, Some(code))
    }

    fn says(&self, words: &str) -> Outcome {
        ensure(self.text.contains(words), || format!("nothing is said of {words:?}\n{}", self.text))
    }
}

/// The run of a helm with the server gone for this long from this request of helm on.
fn run(bench: &Bench, what: &str, down: &str) -> Outcome<(Host, Said)> {
    let (host, said) = meets(bench, what, &format!("down: {down}"))?;
    said.says("finds no connection")?;
    Ok((host, said))
}

/// The run of a helm whose request meets this trouble.
fn meets(bench: &Bench, what: &str, trouble: &str) -> Outcome<(Host, Said)> {
    let host = Host::new(bench.helm, what, trouble)?;
    let said = host.run(&["run", "r", "--sandbox", "--chaos", "chaos.yaml", "--no-plan", "--yes"])?;
    Ok((host, said))
}

pub(super) fn waited_for(bench: &Bench) -> Outcome {
    let (_, said) = run(bench, "verb: get, kind: Deployment, nth: 1", "10m")?;
    said.exits(0)?;
    said.says("added deployed")?;
    said.says("1 write to 1 object, 10m")?;
    let (_, said) = run(bench, "verb: get, kind: Deployment, nth: 1", "3h")?;
    said.exits(4)?;
    said.says("could not be renewed for 30m, so nothing more is written")?;
    said.says("when the cluster answers again, go on with `lockgate resume last`")
}

/// What helm wants to write when there is no connection was never sent: it waits for the server too, and its time is not counted.
pub(super) fn writes_wait(bench: &Bench) -> Outcome {
    for what in ["verb: create, kind: Secret, nth: 1", "verb: update, kind: Secret, nth: 1"] {
        let (_, said) = run(bench, what, "25m")?;
        said.exits(0)?;
        said.says("added deployed")?;
        said.says("1 write to 1 object, 25m")?;
    }
    let (host, said) = run(bench, "verb: create, kind: Secret, nth: 1", "50m")?;
    said.exits(4)?;
    said.says("could not be renewed for 30m, so nothing more is written")?;
    let said = host.run(&["resume", "last"])?;
    said.exits(0)?;
    said.says("added deployed")
}

/// The chart is in the run's own folder, and its digest in the journal: a run goes on with the one that it began with, and no other.
pub(super) fn charts_stay(bench: &Bench) -> Outcome {
    let io = |error: std::io::Error| error.to_string();
    let parked = || -> Outcome<(Host, PathBuf)> {
        let (host, said) = run(bench, "verb: create, kind: Secret, nth: 1", "50m")?;
        said.exits(4)?;
        std::fs::write(host.folder.path().join(SOURCE), OBJECTS.replace("green", "blue")).map_err(io)?;
        let runs = std::fs::read_dir(host.folder.path().join(".local/state/lockgate/runs")).map_err(io)?;
        let mut kept = runs.filter_map(|entry| Some(entry.ok()?.path().join("charts"))).filter(|charts| charts.is_dir());
        let charts = kept.next().ok_or("the run has no charts")?;
        Ok((host, charts))
    };
    // Another content beside the runbook is none of the run's business.
    let (host, charts) = parked()?;
    host.run(&["resume", "last"])?.exits(0)?;
    let journal = std::fs::read_to_string(charts.with_file_name("journal.jsonl")).map_err(io)?;
    let pins = journal.lines().filter(|line| line.contains("\"k\":\"chart\"")).count();
    ensure(pins == 1, || format!("{pins} lines pin the chart"))?;

    // Without the kept one it would be the other.
    let (host, charts) = parked()?;
    std::fs::remove_dir_all(&charts).map_err(io)?;
    let said = host.run(&["resume", "last"])?;
    said.exits(5)?;
    said.says("chart `./chart` is not the one that this run began with")?;
    // What is kept is the wrong one now; what is found again is the right one.
    std::fs::write(host.folder.path().join(SOURCE), OBJECTS).map_err(io)?;
    let said = host.run(&["resume", "last"])?;
    said.exits(0)?;
    said.says("added deployed")
}

/// What helm could not write is no success, whatever helm says, and is told with what is to be done.
pub(super) fn unwritten(bench: &Bench) -> Outcome {
    let (host, said) = meets(bench, "verb: create, kind: Secret, nth: 1", "fail: {code: 500}")?;
    said.exits(1)?;
    said.says("failed before any write")?;
    let said = host.run(&["resume", "last"])?;
    said.exits(0)?;
    said.says("added deployed")?;

    let (_, said) = meets(bench, "verb: update, kind: Secret, nth: 1", "fail: {code: 500}")?;
    said.exits(1)?;
    said.says("helm has done its work, and could not note that it did")?;
    said.says("revision 1 is `pending-install` now")?;
    said.says("`helm.unlock` counts the revision as failed")
}
