//! How soon a run stops that somebody stops, measured on a cluster in another process; and what a person does about a run that cannot go on
//! inside of a step.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, SystemTime};

use lockgate::base::Timestamp;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::support::{CLUSTER, HEAD, Host};

/// `lockgate sandbox` in a process of its own.
struct Served {
    child: Child,
    kubeconfig: String,
}

impl Served {
    fn start(host: &Host, words: &[&str]) -> Served {
        let words: Vec<&str> = ["sandbox", "r"].into_iter().chain(words.iter().copied()).collect();
        let mut command = host.command(&words);
        command.env("TMPDIR", host.path()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let kubeconfig = line.trim().strip_prefix("export KUBECONFIG=").unwrap().trim_matches('\'').to_owned();
        Served { child, kubeconfig }
    }

    /// A run on it that nobody is asked about.
    fn run<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        let words = ["run", "r", "--yes", "--no-plan", "--runs", "state", "--kubeconfig", &self.kubeconfig];
        words.into_iter().chain(more.iter().copied()).collect()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

const GRANTS: &str = "permissions { { verbs = { \"patch\", \"create\", \"delete\" }, kinds = { \"deployments\", \"secrets\" }, namespaces = { \"shop\" } } }\n";

/// The journal of the only run.
fn journal(host: &Host) -> PathBuf {
    host.runs_in("state")[0].join("journal.jsonl")
}

/// When the run announced its last write.
fn last_intent(host: &Host) -> SystemTime {
    let text = std::fs::read_to_string(journal(host)).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<lockgate::base::json::Value>(line).unwrap());
    let mut at = lines.filter(|line| line["k"] == "intent").map(|line| line["at"].as_str().unwrap().parse::<Timestamp>().unwrap());
    SystemTime::from(at.next_back().unwrap())
}

/// A run that writes and writes, and is told to stop in the middle: how long after that it announced its last write, and how long it took
/// to end.
fn stops(signal: Signal) -> (Duration, Duration) {
    let writes = "step \"many\" { title = \"Many\", run = function()\n for i = 1, 1000000 do annotate(\"deployment/web\", { n = tostring(i) }) end\n end }\n";
    let host = Host::with_runbook(&format!("{HEAD}{GRANTS}{writes}"));
    let served = Served::start(&host, &[]);
    let mut command = host.command(&served.run(&[]));
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.by_ref().map(Result::unwrap).filter(|line| line.contains("patch ")).nth(20).is_some(), "it writes");
    let told = SystemTime::now();
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
    // It must not wait for who reads what it says.
    lines.map(Result::unwrap).for_each(drop);
    assert_eq!(child.wait().unwrap().code(), Some(4));
    let ended = told.elapsed().unwrap();
    (last_intent(&host).duration_since(told).unwrap_or_default(), ended)
}

#[test]
fn nothing_new_is_written_a_tenth_of_a_second_after_a_stop() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        // Other tests work the machine at the same time: what it can do shows in the best of several.
        let (wrote, ended) = (0..3).map(|_| stops(signal)).min().unwrap();
        assert!(wrote <= Duration::from_millis(100), "{signal}: the last write was announced {wrote:?} after it");
        assert!(ended < Duration::from_secs(5), "{signal}: it ended {ended:?} after it");
    }
}

/// A run whose write is made and whose answer does not come. Each signal is sent when the line before it was said; how long after the last of
/// them it ended, and what it keeps and says of that.
fn held(signals: &[(&str, Signal)]) -> (Duration, String) {
    let writes = "step \"one\" { title = \"One\", run = function() annotate(\"deployment/web\", { one = \"1\" }) end }\n";
    let holds = "apiVersion: lockgate.dev/v1\nkind: Faults\nrules:\n- { match: { verb: patch, kind: Deployment }, do: { hold: after } }\n";
    let host = Host::with_runbook(&format!("{HEAD}{GRANTS}{writes}")).file("hold.yaml", holds);
    let served = Served::start(&host, &["--chaos", "hold.yaml"]);
    let mut command = host.command(&served.run(&[]));
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let (mut told, mut left) = (None, signals.iter());
    let mut next = left.next();
    let mut said = String::new();
    for line in lines.map(Result::unwrap) {
        if let Some((_, signal)) = next.filter(|(words, _)| line.contains(words)) {
            told = Some(SystemTime::now());
            kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), *signal).unwrap();
            next = left.next();
        }
        said.push_str(&format!("{line}\n"));
    }
    assert_eq!((child.wait().unwrap().code(), next), (Some(4), None), "{said}");
    let ended = told.unwrap().elapsed().unwrap();
    let kept = std::fs::read_to_string(journal(&host)).unwrap();
    assert!(kept.contains("\"is\":\"unknown\""), "{kept}");
    // Whoever goes on looks, and finds it made.
    drop(served);
    (ended, format!("{kept}{said}"))
}

const WAITS: &str = "waiting  an answer to patching";

#[test]
fn a_request_to_terminate_waits_25_seconds_for_an_answer_and_no_longer() {
    let (ended, _) = held(&[(WAITS, Signal::SIGTERM)]);
    assert!(ended < Duration::from_secs(27), "{ended:?}");
}

#[test]
fn ctrl_c_twice_gives_up_an_answer_that_does_not_come() {
    let (ended, said) = held(&[(WAITS, Signal::SIGINT), ("press again to stop waiting for answers", Signal::SIGINT)]);
    assert!(ended < Duration::from_secs(5), "{ended:?}");
    assert!(said.contains("interrupted again: giving up on answers; the outcome of a write that was sent is unknown"), "{said}");
    assert!(said.contains("SIGINT: stops before the next write") && said.contains("SIGINT again: answers are given up"), "{said}");
}

const SECRET: &str = "{ apiVersion = \"v1\", kind = \"Secret\", metadata = { name = \"new\" }, stringData = { a = \"canary-of-mine\" } }";

#[test]
fn what_a_call_that_wrote_a_secret_gave_is_read_again() {
    let rotate = format!(
        "step \"rotate\" {{ title = \"Rotate\", run = function()\n local new = create {SECRET}\n \
         confirm(\"Did the clients follow?\")\n annotate(\"deployment/web\", {{ length = tostring(#new.object.data.a) }})\n end }}\n"
    );
    let here = Host::with_runbook(&format!("{HEAD}{GRANTS}{rotate}")).file("r/cluster.yaml", CLUSTER);
    let resume = ["resume", "last", "--runs", "state"];
    let served = Served::start(&here, &[]);
    here.run(&served.run(&[])).exits(4).shows("create   secret/new").tells("nobody answered `Did the clients follow?`");
    // It is asked again, and nothing is made again.
    here.run(&resume).exits(4).tells("nobody answered `Did the clients follow?`").hides("create ");
    here.run(&["approve", "last", "rotate", "--yes", "--runs", "state"]).exits(0);
    here.run(&resume).exits(0).shows("metadata.annotations.length  added 20");
    let report = here.run(&["report", "last", "--runs", "state"]).exits(0);
    assert_eq!(report.stdout.matches("create   secret/new").count(), 1, "{}", report.stdout);
    let text = std::fs::read_to_string(journal(&here)).unwrap();
    assert!(!text.contains("canary-of-mine"));
    assert_eq!(text.matches(r#""k":"intent""#).count(), 2, "{text}");

    // It is not what it was then: here by the step itself, which might be somebody else.
    let twice = rotate.replace("confirm(", "annotate(\"secret/new\", { more = \"yes\" })\n confirm(");
    let here = Host::with_runbook(&format!("{HEAD}{GRANTS}{twice}")).file("r/cluster.yaml", CLUSTER);
    let served = Served::start(&here, &[]);
    here.run(&served.run(&[])).exits(4);
    here.run(&resume).exits(5).tells("what `create` gives is not what it was before the run was stopped");
}

#[test]
fn a_step_that_cannot_go_on_for_a_secret_is_taken_back() {
    let rotate = format!(
        "step \"rotate\" {{ title = \"Rotate\", run = function()\n annotate(\"deployment/web\", {{ rotated = \"yes\" }})\n create {SECRET}\n \
         delete(\"secret/new\")\n confirm(\"Did the clients follow?\")\n annotate(\"deployment/web\", {{ over = \"yes\" }})\n end }}\n"
    );
    let host = Host::with_runbook(&format!("{HEAD}{GRANTS}{rotate}")).file("r/cluster.yaml", CLUSTER);
    let served = Served::start(&host, &[]);
    host.run(&served.run(&[])).exits(4).tells("nobody answered `Did the clients follow?`");
    // What was made is gone, so that it cannot be read again, and what the step does next may depend on it.
    let said = host.run(&["resume", "last", "--runs", "state"]).exits(5);
    said.tells("is not what it was before the run was stopped").tells("`lockgate rollback");
    assert!(!std::fs::read_to_string(journal(&host)).unwrap().contains("canary-of-mine"));
    host.run(&["rollback", "last", "--runs", "state", "--yes"]).exits(0).shows("metadata.annotations.rotated  removed");
}
