//! Snapshots: made of a cluster, planned on where the cluster cannot be reached, and what is wrong with a file that is none.

use std::fs;

use super::json_schema::fits;
use super::served::Served;
use super::support::{CLUSTER, Host, MOVE};

const IMAGE: &str = "image=registry.example/web:v1.2.4";

/// Beside the workload what must not be passed on.
const SECRETS: &str = "---
apiVersion: v1
kind: Secret
metadata: { name: db, namespace: shop }
stringData: { password: hunter2-hunter2 }
---
apiVersion: v1
kind: ConfigMap
metadata: { name: conf, namespace: shop }
data: { app.conf: \"mode: fast\\npassword: hunter3-hunter3\\n\" }
---
apiVersion: v1
kind: Pod
metadata: { name: lone, namespace: shop }
spec:
  containers:
    - { name: c, image: \"registry.example/web:v1.2.3\", env: [{ name: API_TOKEN, value: hunter4-hunter4 }, { name: MODE, value: fast }] }
";

fn host() -> Host {
    Host::with_runbook(MOVE).file("r/cluster.yaml", &format!("{CLUSTER}{SECRETS}"))
}

/// What a snapshot has in it.
fn unpacked(host: &Host, name: &str) -> String {
    let mut text = String::new();
    let file = fs::File::open(host.path().join(name)).unwrap();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(file), &mut text).unwrap();
    text
}

/// The plan without the line that names the cluster.
fn without_cluster(plan: &str) -> String {
    plan.lines().filter(|line| !line.starts_with("cluster")).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_plan_on_a_snapshot_is_the_plan_on_the_cluster_without_it() {
    let host = host();
    let served = Served::start(&host, &["r"]);
    let way = ["--kubeconfig", served.kubeconfig()];
    let live = host.run(&["plan", "r", IMAGE, "--local", way[0], way[1]]).exits(0);
    let all = host.run(&["snapshot", "-o", "all.snap", way[0], way[1]]).exits(0);
    all.shows("configmap/shop/conf data.app.conf")
        .shows("pod/shop/lone spec.containers[0].env[0].value")
        .shows("1 field of Secrets: hashed");
    host.run(&["snapshot", "-o", "few.snap", "--for", "r", IMAGE, way[0], way[1]]).exits(0);
    drop(served);
    fits("snapshot.v1.json", unpacked(&host, "all.snap").lines().next().unwrap());
    for (name, secrets) in [("all.snap", true), ("few.snap", false)] {
        let text = unpacked(&host, name);
        assert!(!text.contains("hunter"), "{text}");
        assert_eq!(text.contains("\"secrets\""), secrets, "{name}");
        let said = host.run(&["plan", "r", IMAGE, "--snapshot", name]).exits(0).tells("nothing is contacted");
        assert_eq!(without_cluster(&said.stdout), without_cluster(&live.stdout), "{name}");
        assert!(!said.stdout.contains("admitted"), "{}", said.transcript());
    }
}

#[test]
fn a_run_on_the_cluster_is_held_to_a_plan_on_its_snapshot() {
    let host = host().env("LOCKGATE_RUNS", "runs");
    let served = Served::start(&host, &["r"]);
    let way = ["--kubeconfig", served.kubeconfig()];
    host.run(&["snapshot", "-o", "all.snap", way[0], way[1]]).exits(0);
    host.run(&["plan", "r", IMAGE, "--snapshot", "all.snap", "--out", "plan.json"]).exits(0);
    host.run(&["run", "r", IMAGE, way[0], way[1], "--plan", "plan.json", "--yes"]).exits(0).shows("done: 1 write");
    let other = Served::start(&host, &["r", "--seed", "7"]);
    let words = ["run", "r", IMAGE, "--kubeconfig", other.kubeconfig(), "--plan", "plan.json", "--yes"];
    host.run(&words).exits(5).tells("is of another cluster");
}

#[test]
fn what_a_snapshot_lacks_is_unknown_by_name() {
    let host = host().file(
        "c/runbook.luau",
        &MOVE.replace("images(\"deployment/web\").web.version", "get(\"configmap/conf\").data.mode and version(\"1.2.3\")"),
    );
    host.run(&["snapshot", "-o", "few.snap", "--for", "r", IMAGE, "--sandbox"]).exits(0);
    let said = host.run(&["plan", "c", IMAGE, "--snapshot", "few.snap"]).exits(3);
    said.shows("the snapshot `few.snap` has no configmaps in shop").shows("unknown");
}

#[test]
fn a_snapshot_is_a_target_of_the_prompt_and_of_the_skew_report_and_of_no_run() {
    let host = host();
    host.run(&["snapshot", "-o", "all.snap", "--sandbox=r/cluster.yaml"]).exits(0);
    host.run(&["skew", "--snapshot", "all.snap"]).shows("kubelet");
    host.run(&["run", "r", IMAGE, "--snapshot", "all.snap", "--yes"]).exits(2).golden("snapshot-run");
    host.run(&["plan", "r", IMAGE, "--snapshot", "all.snap", "--sandbox"]).exits(2);
    let mut command = host.command(&["repl", "--snapshot", "all.snap"]);
    let mut child = command
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"get(\"deployment/web\", { namespace = \"shop\" }).spec.replicas\n")
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "2", "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_file_that_is_no_snapshot_is_told_by_what_is_wrong() {
    let host = host();
    host.run(&["snapshot", "-o", "all.snap", "--sandbox=r/cluster.yaml"]).exits(0);
    let path = |name: &str| host.path().join(name);
    let bytes = fs::read(path("all.snap")).unwrap();
    fs::write(path("short.snap"), &bytes[..bytes.len() / 2]).unwrap();
    let mut newer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut newer, unpacked(&host, "all.snap").replace("snapshot/v1", "snapshot/v2").as_bytes()).unwrap();
    fs::write(path("newer.snap"), newer.finish().unwrap()).unwrap();
    fs::write(path("text.snap"), "hello").unwrap();
    fs::write(path("empty.snap"), "").unwrap();
    fs::create_dir(path("folder")).unwrap();
    for name in ["short", "newer", "text", "empty", "missing"] {
        let file = format!("{name}.snap");
        host.run(&["plan", "r", IMAGE, "--snapshot", &file]).exits(2).golden(&format!("snapshot-{name}"));
    }
    host.run(&["plan", "r", IMAGE, "--snapshot", "folder"]).exits(2).golden("snapshot-folder");
    host.run(&["snapshot", "-o", "nowhere/x.snap", "--sandbox=r/cluster.yaml"]).exits(2).tells("cannot be written to `nowhere/x.snap`");
    host.run(&["snapshot", "-o", "x.snap", "image=x", "--sandbox=r/cluster.yaml"]).exits(2).tells("--for");
}

/// What `kubectl get -A -o yaml` prints, and what `kubectl cluster-info dump -o json` prints and writes.
#[test]
fn what_kubectl_gives_is_imported() {
    let host = host();
    let list = "apiVersion: v1\nkind: List\nitems:\n";
    let items: String = format!("{CLUSTER}{SECRETS}---\napiVersion: v1\nkind: Namespace\nmetadata: {{ name: shop }}\n")
        .split("---\n")
        .map(|document| {
            let mut lines = document.trim_end().lines();
            let first = lines.next().unwrap_or_default();
            format!("- {first}\n{}", lines.map(|line| format!("  {line}\n")).collect::<String>())
        })
        .collect();
    fs::write(host.path().join("get.yaml"), format!("{list}{items}")).unwrap();
    let said = host.run(&["plan", "r", IMAGE, "--snapshot", "get.yaml"]);
    said.tells("it was imported").shows("patch    deployment/web  [modelled]");
    let again = host.run(&["snapshot", "-o", "all.snap", "--snapshot", "get.yaml"]).exits(0);
    assert!(!unpacked(&host, "all.snap").contains("hunter"), "{}", again.transcript());

    let deployments = r#"{"kind":"DeploymentList","apiVersion":"apps/v1","metadata":{},"items":[{"metadata":{"name":"web","namespace":"shop"},
        "spec":{"replicas":2,"selector":{"matchLabels":{"app":"web"}},"template":{"metadata":{"labels":{"app":"web"}},
        "spec":{"containers":[{"name":"web","image":"registry.example/web:v1.2.3"}]}}}}]}"#;
    let nodes = r#"{"kind":"NodeList","apiVersion":"v1","items":[{"metadata":{"name":"n1"}}]}"#;
    let log = "==== START logs for container web of pod shop/web-1 ====\nserver says {\"half\": \n==== END logs for container web of pod shop/web-1 ====\n";
    fs::write(host.path().join("dump.json"), format!("{nodes}\n{log}{deployments}\n")).unwrap();
    fs::create_dir_all(host.path().join("dump/shop/web-1")).unwrap();
    fs::write(host.path().join("dump/nodes.json"), nodes).unwrap();
    fs::write(host.path().join("dump/shop/deployments.json"), deployments).unwrap();
    fs::write(host.path().join("dump/shop/web-1/logs.txt"), "no { json").unwrap();
    for name in ["dump.json", "dump"] {
        host.run(&["plan", "r", IMAGE, "--snapshot", name]).tells("2 objects").shows("v1.2.3 to v1.2.4");
    }
    fs::write(host.path().join("half.json"), &deployments[..100]).unwrap();
    host.run(&["plan", "r", IMAGE, "--snapshot", "half.json"]).exits(2).tells("ends too early");
}

const SCENARIOS: &str = r#"scenario "two pods move" {
  params = { image = "registry.example/web:v1.2.4" },
  expect = function(run) run:succeeds() end,
}
scenario "three pods move" {
  params = { image = "registry.example/web:v1.2.4" },
  given = function(cluster) cluster:patch("deployment/web", { spec = { replicas = 3 } }) end,
  expect = function(run) run:succeeds() end,
}
scenario "elsewhere" {
  fixture = "other.yaml",
  params = { image = "registry.example/web:v1.2.4" },
  expect = function(run) run:succeeds() end,
}
"#;

/// Scenarios that were written for a fixture are played on somebody's cluster; what a snapshot does not have cannot be read there either.
#[test]
fn scenarios_are_played_on_a_snapshot() {
    let host = host().file("r/test.luau", SCENARIOS);
    host.run(&["snapshot", "-o", "all.snap", "--sandbox=r/cluster.yaml"]).exits(0);
    host.run(&["snapshot", "-o", "few.snap", "--for", "r", IMAGE, "--sandbox=r/cluster.yaml"]).exits(0);
    // The fixture is not looked at.
    fs::write(host.path().join("r/cluster.yaml"), "kind: Nonsense").unwrap();
    for file in ["all.snap", "few.snap"] {
        let said = host.run(&["test", "r", "--snapshot", file]).exits(0);
        let said = said.shows("ok      r  plans on the snapshot").shows("ok      r  two pods move").shows("skip    r  elsewhere");
        let said =
            said.shows("it has a fixture of its own, `other.yaml`").shows("4 tests: 4 passed, 0 failed, 1 skipped").shows("killed at ");
        said.tells("on the snapshot of `sandbox cluster`");
    }
    fits("test.v1.json", &host.run(&["test", "r", "--snapshot", "all.snap", "--no-kills", "-o", "json"]).exits(0).stdout);
    // A cluster on which it does not hold.
    fs::write(host.path().join("r/cluster.yaml"), CLUSTER.replace("name: web", "name: other")).unwrap();
    host.run(&["snapshot", "-o", "other.snap", "--sandbox=r/cluster.yaml"]).exits(0);
    let said = host.run(&["test", "r", "--snapshot", "other.snap", "--no-kills"]).exits(1);
    said.shows("FAILED  r  plans on the snapshot").shows("FAILED  r  two pods move").shows("no such object");
    // What is not in it.
    let host =
        host.file("c/runbook.luau", READS).file("c/test.luau", "scenario \"it reads\" { expect = function(run) run:succeeds() end }\n");
    let said = host.run(&["test", "c", "--snapshot", "few.snap"]).exits(1);
    said.shows("as far as can be known").shows("the snapshot `few.snap` has no configmaps in shop");
    for (words, told) in [
        (&["test", "r", "--snapshot", "missing.snap"][..], "cannot read the snapshot `missing.snap`"),
        (&["test", "r", "--snapshot", "all.snap", "--bless"], "cannot be used with"),
        (&["test", "r", "--snapshot", "all.snap", "--hollow"], "cannot be used with"),
    ] {
        host.run(words).exits(2).tells(told);
    }
}

const READS: &str = r#"runbook { title = "Reads", summary = "S.", impact = "none", namespace = "shop" }
step "read" { title = "Read", run = function() note(get("configmap/conf").data.x or "nothing") end }
"#;
