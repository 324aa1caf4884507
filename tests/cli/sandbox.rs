//! `lockgate sandbox` as a person meets it. What its clients see is in `tests/sandbox/` and `tests/cluster/serve.rs`.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use expectrl::process::unix::WaitStatus;
use expectrl::session::OsSession;
use expectrl::{ControlCode, Eof, Expect as _};

use super::json_schema::fits;
use super::support::{CLUSTER, Host, MOVE};

#[test]
fn help() {
    Host::new().run(&["sandbox", "--help"]).exits(0).golden("sandbox-help");
}

#[test]
fn what_is_wrong_is_told_before_anything_starts() {
    let host = Host::new()
        .file("broken.yaml", &CLUSTER.replace("kind: Deployment", "kind: Deploymnt"))
        .file("bare/runbook.luau", MOVE)
        .file("lone.luau", MOVE);
    for (name, words) in [
        ("sandbox-fixture-broken", &["broken.yaml"][..]),
        ("sandbox-fixture-missing", &["nothing.yaml"]),
        ("sandbox-fixture-unknown", &["cce-cni-v1-ptach"]),
        ("sandbox-runbook-without-fixture", &["lone.luau"]),
        ("sandbox-folder-without-fixture", &["bare"]),
        ("sandbox-speed", &["--speed", "fast"]),
        ("sandbox-nodes-none", &["--nodes", "0"]),
        ("sandbox-nodes-and-fixture", &["broken.yaml", "--nodes", "3"]),
        ("sandbox-pods-without-nodes", &["--pods-per-node", "3"]),
        ("sandbox-pods-many", &["--nodes", "3", "--pods-per-node", "300"]),
        ("sandbox-record-nowhere", &["--record", "nowhere/record"]),
        ("sandbox-gaps-and-more", &["--gaps", "--port", "3"]),
    ] {
        let words: Vec<&str> = std::iter::once("sandbox").chain(words.iter().copied()).collect();
        let said = host.run(&words).exits(2);
        assert!(said.stdout.is_empty(), "{}", said.transcript());
        said.golden(name);
    }
}

#[test]
fn a_taken_port_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let said = Host::new().run(&["sandbox", "--port", &port]).exits(2);
    said.replacing(&port, "PORT").golden("sandbox-port-taken");
}

#[test]
fn the_gaps_are_printed() {
    let said = Host::new().run(&["sandbox", "--gaps"]).exits(0);
    assert_eq!(said.stdout, lockgate_sim::gaps::page());
    said.shows("CronJob.batch").shows("LimitRange").shows("pods/attach").shows("pods/portforward").shows("**Containers.**");
}

/// The command on a terminal of its own; gives it with the kubeconfig that it wrote.
fn start(host: &Host, words: &[&str]) -> (OsSession, PathBuf) {
    let mut command = host.command(words);
    command.env("TERM", "xterm").env("TMPDIR", host.path());
    command.stdin(std::process::Stdio::inherit());
    let mut session = OsSession::spawn(command).unwrap();
    session.set_expect_timeout(Some(Duration::from_secs(30)));
    session.expect("export KUBECONFIG=").unwrap();
    let found = session.expect(".kubeconfig").unwrap();
    let path = format!("{}.kubeconfig", String::from_utf8_lossy(found.before()));
    session.expect("Ctrl-C; nothing is kept").unwrap();
    (session, PathBuf::from(path))
}

#[test]
fn ctrl_c_ends_it_and_takes_the_kubeconfig_away() {
    let host = Host::new().file("cluster.yaml", CLUSTER);
    let (mut session, kubeconfig) = start(&host, &["sandbox", "cluster.yaml"]);
    let mode = fs::metadata(&kubeconfig).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "nobody else may read the token");
    session.send(ControlCode::EndOfText).unwrap();
    session.expect("ended     after 0 requests; the cluster and its kubeconfig are gone").unwrap();
    session.expect(Eof).unwrap();
    assert!(matches!(session.get_process().wait().unwrap(), WaitStatus::Exited(_, 0)));
    assert!(!kubeconfig.exists());
}

#[test]
fn a_run_on_it_is_recorded() {
    let host = Host::with_runbook(MOVE);
    let (mut session, kubeconfig) = start(&host, &["sandbox", "r", "--record", "requests.jsonl"]);
    let words = ["run", "r", "image=registry.example/web:v1.2.4", "--yes", "--kubeconfig", kubeconfig.to_str().unwrap()];
    host.run(&words).exits(0).shows("done: 1 write to 1 object");
    session.send(ControlCode::EndOfText).unwrap();
    session.expect(Eof).unwrap();
    assert!(matches!(session.get_process().wait().unwrap(), WaitStatus::Exited(_, 0)));
    let text = fs::read_to_string(host.path().join("requests.jsonl")).unwrap();
    let requests: Vec<_> = text.lines().map(|line| fits("request.v1.json", line)).collect();
    let writes = requests.iter().filter(|one| one["method"] != "GET" && one["act"]["resource"] != "leases");
    // The plan asks first what the server would say.
    let (asked, writes): (Vec<_>, Vec<_>) = writes.partition(|one| one["uri"].as_str().unwrap().contains("dryRun=All"));
    let [write] = writes.as_slice() else { panic!("one write is one request: {writes:?}") };
    assert_eq!(asked.iter().map(|one| one["act"].clone()).collect::<Vec<_>>(), [write["act"].clone()]);
    assert_eq!((write["method"].as_str(), write["status"].as_u64()), (Some("PATCH"), Some(200)));
    assert_eq!(write["act"]["resource"], "deployments");
    assert!(write["length"].as_u64().unwrap() > 0 && write["user_agent"].as_str().unwrap().starts_with("lockgate/"), "{write}");
    assert!(!text.contains("v1.2.4"), "bodies are not recorded");
}

#[test]
fn faults_are_told_when_they_happen() {
    let rule = "{match: {verb: patch, kind: Deployment, nth: 1}, do: {fail: {code: 503}}}";
    let never = "{match: {verb: delete, kind: Node}, do: conflict}";
    let gone = "{at: 0s, do: {write: {by: gitops, verb: delete, path: /api/v1/nodes/none}}}";
    let faults = format!("apiVersion: lockgate.dev/v1\nkind: Faults\nrules:\n- {rule}\n- {never}\nhappenings:\n- {gone}\n");
    let host = Host::with_runbook(MOVE).file("chaos.yaml", &faults);
    let (mut session, kubeconfig) = start(&host, &["sandbox", "r", "--chaos", "chaos.yaml", "--record", "requests.jsonl"]);
    let words = ["run", "r", "image=registry.example/web:v1.2.4", "--yes", "--kubeconfig", kubeconfig.to_str().unwrap()];
    host.run(&words).exits(0);
    session.expect("happened  ").unwrap();
    session.expect("patch deployments.apps shop/web: is answered 503").unwrap();
    session.send(ControlCode::EndOfText).unwrap();
    session.expect("in vain   every request to delete of kind Node: is answered 409").unwrap();
    session.expect("met no request").unwrap();
    session.expect("in vain   DELETE /api/v1/nodes/none of `gitops`").unwrap();
    session.expect(Eof).unwrap();
    let text = fs::read_to_string(host.path().join("requests.jsonl")).unwrap();
    let faults: Vec<_> = text.lines().map(|line| fits("request.v1.json", line)).filter(|one| one.get("fault").is_some()).collect();
    let [fault] = faults.as_slice() else { panic!("{text}") };
    assert_eq!((fault["fault"].as_str(), fault["status"].as_u64()), (Some("is answered 503"), Some(503)));
}

#[test]
fn a_record_that_cannot_be_written_is_told_at_the_end() {
    let host = Host::with_runbook(MOVE);
    let (mut session, kubeconfig) = start(&host, &["sandbox", "r", "--record", "/dev/full"]);
    let words = ["plan", "r", "image=registry.example/web:v1.2.4", "--kubeconfig", kubeconfig.to_str().unwrap()];
    host.run(&words).exits(0);
    session.send(ControlCode::EndOfText).unwrap();
    session.expect("the record `/dev/full` is not complete").unwrap();
    session.expect(Eof).unwrap();
    assert!(matches!(session.get_process().wait().unwrap(), WaitStatus::Exited(_, 1)));
}

#[test]
fn the_kubeconfig_can_be_printed_instead() {
    let host = Host::new();
    let mut command = host.command(&["sandbox", "cce-cni-v1-patch", "--print-kubeconfig"]);
    command.env("TERM", "dumb").env("TMPDIR", host.path()).stdin(std::process::Stdio::inherit());
    let mut session = OsSession::spawn(command).unwrap();
    session.set_expect_timeout(Some(Duration::from_secs(30)));
    session.expect("current-context: sandbox").unwrap();
    session.expect("token: ").unwrap();
    session.expect("the cluster of cce-cni-v1-patch/cluster.yaml at https://127.0.0.1:").unwrap();
    assert_eq!(fs::read_dir(host.path()).unwrap().count(), 0, "no file is written");
    session.send(ControlCode::EndOfText).unwrap();
    session.expect(Eof).unwrap();
    assert!(matches!(session.get_process().wait().unwrap(), WaitStatus::Exited(_, 0)));
}

#[test]
fn models_are_printed_as_stages() {
    let model = "apiVersion: lockgate.dev/v1\nkind: Model\nimages: [{match: '*:v2', pull: 3s, why: x}]\n";
    let host = Host::new().file("models.yaml", model);
    let said = host.run(&["sandbox", "models.yaml", "--stages"]).exits(0);
    said.shows("kind: Stage").shows("then 3000 else 8000 end").shows("# Not in here:");
    host.run(&["sandbox", "--stages"]).exits(2);
}

#[test]
fn fields_that_nobody_knows_are_told() {
    let odd = format!("{CLUSTER}---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: odd, lables: {{a: b}}}}\n");
    let host = Host::new().file("r/runbook.luau", MOVE).file("r/cluster.yaml", &odd);
    let said = host.run(&["test", "r"]);
    assert!(said.stderr.contains("`configmap/default/odd` has a field `metadata.lables`"), "{}", said.transcript());
}
