//! Runs in a simulated cluster whose process is gone: the cluster is made again, and the run goes on in it or is taken back.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use lockgate::cli::test::ended::{effects, held};
use lockgate::cluster::Simulation;
use lockgate::run::journal::{Runs, requests};
use lockgate_sim::Options;
use lockgate_sim::faults::FaultsDocument;
use lockgate_sim::fixture::Fixture;

use super::support::{CLUSTER, HEAD, Host};

/// Writes of several kinds with waits between them.
const STEPS: &str = r#"
step "image" {
  title = "A new image",
  run = function() set_image("deployment/web", { web = "registry.example/web:v2" }) end,
  verify = function() wait_rollout("deployment/web") end,
}
step "down-and-up" {
  title = "Down and up",
  run = function()
    local replicas = get("deployment/web").spec.replicas
    scale("deployment/web", 0, { wait = "gone" })
    scale("deployment/web", replicas)
    state.replicas = replicas
  end,
  verify = function() wait_rollout("deployment/web") end,
}
step "rest" {
  title = "The rest",
  run = function()
    create { apiVersion = "v1", kind = "ConfigMap", metadata = { generateName = "made-" }, data = { a = tostring(state.replicas) } }
    drain("n1")
    uncordon("n1")
    label("deployment/web", { upgraded = "yes" })
  end,
}
"#;

const TWO: &str = "apiVersion: v1\nkind: Node\nmetadata: { name: n2 }\n---\n";

fn host() -> Host {
    Host::new().file("r/runbook.luau", &format!("{HEAD}{STEPS}")).file("r/cluster.yaml", &format!("{TWO}{CLUSTER}"))
}

/// What stops the request of this number on one side of its commit.
pub(super) fn holding(number: usize, side: &str) -> String {
    format!("apiVersion: lockgate.dev/v1\nkind: Faults\nrules:\n- match: {{nth: {number}}}\n  do: {{hold: {side}}}\n")
}

/// The cluster of the newest run, made again from its folder.
pub(super) fn again(host: &Host) -> Simulation {
    let folder = Runs::at(host.path().join("state")).open("last").unwrap();
    let data = |name: &str| fs::read_to_string(folder.path().join("script/data").join(name));
    let mut sim = Fixture::parse("cluster.yaml", &data("fixture.yaml").unwrap()).unwrap().cluster(Options::default()).unwrap();
    if let Ok(faults) = data("faults.yaml") {
        sim.disturb(FaultsDocument::parse("faults.yaml", &faults).unwrap());
    }
    let simulation = Simulation::new(sim);
    simulation.replay(requests::read(&folder).unwrap(), None).unwrap();
    simulation
}

fn ended(host: &Host) -> (Vec<String>, Vec<String>) {
    again(host).with(|sim| (held(sim), effects(sim)))
}

/// The numbers of the writes among the requests that rules count; those of the lock apart.
fn writes(host: &Host) -> Vec<usize> {
    let asked: Vec<_> = again(host).with(|sim| sim.faults().asked().cloned().collect());
    let is_write = |verb: &str| !matches!(verb, "get" | "list" | "watch");
    let numbered = asked.iter().enumerate().filter(|(_, asked)| is_write(asked.verb) && !asked.what.starts_with("lease/"));
    numbered.map(|(place, _)| place + 1).collect()
}

/// Begins a run that stands still at a request, and kills it there.
fn killed_at(host: &Host, number: usize) {
    killed_in(host, &["run", "r", "--sandbox", "--chaos", "chaos.yaml", "--runs", "state"], number);
}

/// The same with another command.
fn killed_in(host: &Host, words: &[&str], number: usize) {
    let mut child = host.command(words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let began = Instant::now();
    // It stands still for as long as it lives.
    while requests_kept(host) < number {
        assert!(child.try_wait().unwrap().is_none(), "it ended before its request {number}");
        assert!(began.elapsed() < Duration::from_secs(60), "request {number} was never made");
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

/// How many requests of those that rules count are in the folder of the run.
pub(super) fn requests_kept(host: &Host) -> usize {
    let Ok(folders) = fs::read_dir(host.path().join("state")) else { return 0 };
    let files = folders.map(|folder| folder.unwrap().path().join(requests::REQUESTS)).collect::<Vec<PathBuf>>();
    let is_asked =
        |line: &str| line.contains(r#""k":"request""#) && ["path\":\"/api/v1/", "path\":\"/apis/"].iter().any(|path| line.contains(path));
    let counts = |line: &&str| is_asked(line) || line.contains(r#""k":"sealed""#);
    let texts = files.iter().filter_map(|path| fs::read_to_string(path).ok());
    texts.map(|text| text.lines().filter(counts).filter(|line| line.matches('/').count() > 3).count()).max().unwrap_or_default()
}

#[test]
fn a_killed_run_goes_on_in_its_cluster() {
    let whole = host().file("chaos.yaml", &holding(9999, "before"));
    let words = ["run", "r", "--sandbox", "--chaos", "chaos.yaml", "--runs", "state"];
    whole.run(&words).exits(0);
    let (wanted, numbers) = (ended(&whole), writes(&whole));
    assert!(numbers.len() >= 8, "{numbers:?}");
    for number in numbers {
        for side in ["before", "after"] {
            let host = host().file("chaos.yaml", &holding(number, side));
            killed_at(&host, number);
            // What the operator's files hold now does not matter.
            let host = host.file("chaos.yaml", "gone").file("r/cluster.yaml", "gone");
            let said = host.run(&["resume", "last", "--runs", "state"]);
            assert_eq!(said.code, Some(0), "{side} request {number}\n{}", said.transcript());
            assert_eq!(ended(&host), wanted, "{side} request {number}\n{}", said.transcript());
            host.run(&["resume", "last", "--runs", "state"]).exits(0).tells("is over: nothing is left to do");
        }
    }
}

#[test]
fn a_run_that_was_killed_over_its_lock_gives_it_back() {
    let whole = host().file("chaos.yaml", &holding(9999, "before"));
    whole.run(&["run", "r", "--sandbox", "--chaos", "chaos.yaml", "--runs", "state"]).exits(0);
    let asked: Vec<_> = again(&whole).with(|sim| sim.faults().asked().cloned().collect());
    let last = asked.iter().rposition(|asked| asked.what.starts_with("lease/") && asked.verb != "get").unwrap() + 1;
    for side in ["before", "after"] {
        let host = host().file("chaos.yaml", &holding(last, side));
        killed_at(&host, last);
        let said = host.run(&["resume", "last", "--runs", "state"]).exits(0);
        assert!(!said.stderr.contains("is over"), "{side}\n{}", said.transcript());
        let free = again(&host)
            .with(|sim| sim.store().list(lockgate_sim::kinds::LEASE, None).map(|(_, lease)| lease.to_string()).collect::<Vec<_>>());
        assert!(free.iter().all(|lease| !lease.contains("holderIdentity")), "{side} {free:?}");
        host.run(&["resume", "last", "--runs", "state"]).exits(0).tells("is over: nothing is left to do");
    }
}

#[test]
fn a_killed_run_is_taken_back_in_its_cluster() {
    let before = host().file("chaos.yaml", &holding(9999, "before"));
    before.run(&["run", "r", "--sandbox", "--chaos", "chaos.yaml", "--runs", "state"]).exits(0);
    let numbers = writes(&before);
    for (number, side) in [(numbers[0], "after"), (numbers[1], "after"), (numbers[2], "before")] {
        let host = host().file("chaos.yaml", &holding(number, side));
        killed_at(&host, number);
        let said = host.run(&["rollback", "last", "--runs", "state", "--yes"]).exits(0);
        let found = again(&host).with(held);
        let web = found.iter().find(|line| line.contains(r#""kind":"Deployment""#)).unwrap();
        assert!(web.contains("web:v1.2.3") && web.contains(r#""replicas":2"#), "{side} request {number}\n{}\n{web}", said.transcript());
    }
}

#[test]
fn a_whole_run_is_taken_back_and_the_rollback_can_be_resumed() {
    let host = host();
    host.run(&["run", "r", "--sandbox", "--runs", "state"]).exits(0);
    let said = host.run(&["rollback", "last", "--runs", "state", "--yes"]);
    // What was evicted and made stays told of; the image is back.
    let found = again(&host).with(held);
    let web = found.iter().find(|line| line.contains(r#""kind":"Deployment""#)).unwrap();
    assert!(web.contains("web:v1.2.3"), "{}\n{web}", said.transcript());
    host.run(&["resume", "last", "--runs", "state"]).exits(0).tells("is over: nothing is left to do");
}

#[test]
fn a_run_that_was_taken_back_in_part_is_taken_back_further() {
    let host = host();
    host.run(&["run", "r", "--sandbox", "--runs", "state"]).exits(0);
    let run = Runs::at(host.path().join("state")).open("last").unwrap().id().to_owned();
    let web = |host: &Host| again(host).with(held).into_iter().find(|line| line.contains(r#""kind":"Deployment""#)).unwrap();
    let back = |to: &[&str]| host.run(&[&["rollback", &run, "--runs", "state", "--yes"], to].concat());
    back(&["--to", "down-and-up"]).exits(0).hides("take back: Down and up");
    assert!(web(&host).contains("web:v2") && !web(&host).contains("upgraded"), "{}", web(&host));
    back(&["--to", "image"]).exits(0).hides("take back: The rest").hides("take back: A new image");
    assert!(web(&host).contains("web:v2"), "{}", web(&host));
    back(&[]).exits(0).shows("take back: A new image").hides("take back: The rest");
    assert!(web(&host).contains("web:v1.2.3") && web(&host).contains(r#""replicas":2"#), "{}", web(&host));
    back(&[]).exits(0).tells("nothing is left to take back, and nothing was written");
}

#[test]
fn a_rollback_that_was_killed_is_gone_on_with_by_another() {
    let whole = host().file("chaos.yaml", &holding(9999, "before"));
    whole.run(&["run", "r", "--sandbox", "--chaos", "chaos.yaml", "--runs", "state"]).exits(0);
    let first = *writes(&whole).last().unwrap();
    whole.run(&["rollback", "last", "--runs", "state", "--yes"]).exits(0);
    let (wanted, numbers) = (ended(&whole), writes(&whole));
    let numbers: Vec<usize> = numbers.into_iter().filter(|number| *number > first).collect();
    assert!(numbers.len() >= 3, "{numbers:?}");
    for (number, side) in numbers.into_iter().flat_map(|number| [(number, "before"), (number, "after")]) {
        let host = host().file("chaos.yaml", &holding(number, side));
        host.run(&["run", "r", "--sandbox", "--chaos", "chaos.yaml", "--runs", "state"]).exits(0);
        let run = Runs::at(host.path().join("state")).open("last").unwrap().id().to_owned();
        let words = ["rollback", &run, "--runs", "state", "--yes"];
        killed_in(&host, &words, number);
        let said = host.run(&words);
        assert_eq!(said.code, Some(0), "{side} request {number}\n{}", said.transcript());
        assert_eq!(ended(&host), wanted, "{side} request {number}\n{}", said.transcript());
        host.run(&words).exits(0).tells("nothing is left to take back");
    }
}

#[test]
fn a_parked_run_goes_on() {
    let text = format!(
        "{HEAD}step \"down\" {{ title = \"Down\", run = function()\n  annotate(\"deployment/web\", {{ a = \"b\" }})\n  \
         confirm(\"Scale web to 0?\")\n  scale(\"deployment/web\", 0, {{ wait = \"gone\" }})\nend }}\n\
         permissions {{ {{ verbs = {{ \"patch\" }}, kinds = {{ \"deployments\" }}, namespaces = {{ \"shop\" }} }} }}\n"
    );
    let host = Host::with_runbook(&text);
    host.run(&["run", "r", "--sandbox", "--no-plan", "--yes", "--runs", "state"]).exits(4).golden("sandbox-parked");
    // Nobody has answered yet.
    host.run(&["resume", "last", "--runs", "state"]).exits(4).tells("nobody answered `Scale web to 0?`").golden("sandbox-parked-again");
}

/// A run that writes Secrets, with a question in the middle.
const ROTATE: &str = r#"
step "rotate" {
  title = "Rotate",
  run = function()
    local made = create { apiVersion = "v1", kind = "Secret", metadata = { name = "new" }, stringData = { key = "canary-" .. "of-mine" } }
    patch("secret/db", { stringData = { other = "canary-of-another" } })
    annotate("deployment/web", { rotated = made.object.metadata.name })
    scale("deployment/web", 0, { wait = "gone" })
    scale("deployment/web", 2)
  end,
  verify = function() wait_rollout("deployment/web") end,
}
"#;

#[test]
fn a_killed_run_that_wrote_secrets_goes_on() {
    let db = "---\napiVersion: v1\nkind: Secret\nmetadata: { name: db, namespace: shop }\nstringData: { first: canary-of-the-first }\n";
    let host = || Host::with_runbook(&format!("{HEAD}{ROTATE}")).file("r/cluster.yaml", &format!("{CLUSTER}{db}"));
    let whole = host().file("chaos.yaml", &holding(9999, "before"));
    let run = ["run", "r", "--sandbox", "--chaos", "chaos.yaml", "--runs", "state"];
    whole.run(&run).exits(0);
    let (wanted, numbers) = (ended(&whole), writes(&whole));
    let secrets = |held: &[String]| held.iter().filter(|line| line.contains("Y2FuYXJ5LW9mLW1pbmU=")).count();
    assert_eq!(secrets(&wanted.0), 1, "{:?}", wanted.0);
    for number in numbers {
        for side in ["before", "after"] {
            let host = host().file("chaos.yaml", &holding(number, side));
            killed_at(&host, number);
            let said = host.run(&["resume", "last", "--runs", "state"]);
            assert_eq!(said.code, Some(0), "{side} request {number}\n{}", said.transcript());
            let now = ended(&host);
            assert_eq!(now.1, wanted.1, "{side} request {number}\n{}", said.transcript());
            assert_eq!(now, wanted, "{side} request {number}\n{}", said.transcript());
            let folder = Runs::at(host.path().join("state")).open("last").unwrap();
            for name in ["journal.jsonl", requests::REQUESTS] {
                let text = fs::read_to_string(folder.path().join(name)).unwrap();
                for canary in ["canary-of-mine", "canary-of-another", "Y2FuYXJ5LW9mLW1pbmU", "Y2FuYXJ5LW9mLWFub3RoZXI"] {
                    assert!(!text.contains(canary), "{canary} in {name}");
                }
            }
        }
    }
}

#[test]
fn a_cluster_that_cannot_be_made_again_is_named() {
    let secret = format!(
        "{HEAD}step \"s\" {{ title = \"S\", run = function()\n  \
         create {{ apiVersion = \"v1\", kind = \"Secret\", metadata = {{ name = \"new\" }}, stringData = {{ a = \"hunter2-hunter2\" }} }}\n  \
         error(\"stop\")\nend }}\n\
         permissions {{ {{ verbs = {{ \"create\" }}, kinds = {{ \"secrets\" }}, namespaces = {{ \"shop\" }} }} }}\n"
    );
    let host = Host::with_runbook(&secret);
    host.run(&["run", "r", "--sandbox", "--no-plan", "--yes", "--runs", "state"]).exits(1).tells("stop");
    let folder = Runs::at(host.path().join("state")).open("last").unwrap();
    assert!(!fs::read_to_string(folder.path().join(requests::REQUESTS)).unwrap().contains("hunter2"));
    // A folder that was copied without the key beside it.
    fs::remove_file(host.path().join("state/seal")).unwrap();
    host.run(&["resume", "last", "--runs", "state"]).exits(5).tells("was not written with the key of this folder of runs");
    host.run(&["resume", "last", "--accept-truncated", "--runs", "state"]).exits(5).golden("sandbox-secret");

    let host = Host::with_runbook(&format!("{HEAD}step \"s\" {{ title = \"S\", run = function() error(\"x\") end }}\n"));
    host.run(&["run", "r", "--sandbox", "--no-plan", "--yes", "--runs", "state"]);
    let folder = Runs::at(host.path().join("state")).open("last").unwrap();
    fs::remove_file(folder.path().join(requests::REQUESTS)).unwrap();
    host.run(&["resume", "last", "--runs", "state"]).exits(5).tells("its folder has no `requests.jsonl`");
}
