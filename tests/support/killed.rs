//! The command is killed by SIGKILL at every write of a run, before the write is made and after it, while the cluster lives on in another
//! process; then it is started again. The cluster has to end as if nothing had happened, and nothing may have been done twice.
//!
//! A write that may still be on its way is waited for until it cannot come any more. Nobody waits that long here: whoever goes on comes half an
//! hour later, which is to say that the journal of the dead process is half an hour older.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a helper of a test fails like the test itself")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use lockgate::base::json::{Value as Json, json};
use lockgate::cli::test::difference;
use lockgate::cli::test::ended::{KINDS, tidy};
use lockgate::run::journal::io::JOURNAL;
use lockgate::run::journal::{Fact, Journal, Runs, read};
use lockgate_sim::kinds;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// How long a request may take, and a run that lives until it is held: nothing of a busy machine, only what hangs, takes as long.
const LIMIT: std::time::Duration = std::time::Duration::from_secs(900);
/// How often it is looked whether a run still lives.
const LOOK: std::time::Duration = std::time::Duration::from_millis(100);

/// How many runs are killed at a time.
const WORKERS: usize = 4;

/// A folder with the files of a runbook, in which the command is run without terminal, kubeconfig or the user's settings.
struct Place<'a> {
    folder: TempDir,
    env: &'a [(&'static str, String)],
}

impl Place<'_> {
    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn file(self, path: &str, text: &str) -> Self {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lockgate"));
        command.args(words).current_dir(self.path()).env_clear().env("HOME", self.path()).env("TMPDIR", self.path()).stdin(Stdio::null());
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// How the command ended, and all that it said.
struct Said {
    code: Option<i32>,
    text: String,
}

/// `lockgate sandbox` in a process of its own, and a client of it.
struct Sandbox {
    child: Child,
    kubeconfig: PathBuf,
    client: kube::Client,
    runtime: Runtime,
}

impl Sandbox {
    fn start(place: &Place<'_>, words: &[&str]) -> Sandbox {
        let words: Vec<&str> = ["sandbox", "r"].into_iter().chain(words.iter().copied()).collect();
        let mut command = place.command(&words);
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let kubeconfig = PathBuf::from(line.trim().strip_prefix("export KUBECONFIG=").unwrap().trim_matches('\''));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let client = runtime.block_on(async {
            let read = kube::config::Kubeconfig::read_from(&kubeconfig).unwrap();
            let config = kube::Config::from_custom_kubeconfig(read, &Default::default()).await.unwrap();
            kube::Client::try_from(config).unwrap()
        });
        Sandbox { child, kubeconfig, client, runtime }
    }

    fn ask(&self, method: &str, path: &str) -> Json {
        self.send(http::Request::builder().method(method).uri(path).body(Vec::new()).unwrap())
    }

    fn send(&self, request: http::Request<Vec<u8>>) -> Json {
        let (method, path) = (request.method().clone(), request.uri().clone());
        // Whoever is never held would be waited for without end.
        let answer = async { tokio::time::timeout(LIMIT, self.client.request(request)).await };
        let answer = self.runtime.block_on(answer).unwrap_or_else(|_| panic!("{method} {path}: no answer in {} s", LIMIT.as_secs()));
        answer.unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// Waits until a request of this process is held; `None` when it ended without.
    fn held(&self, process: &mut Child) -> Option<u64> {
        let holds = http::Request::get("/lockgate.dev/holds?wait").body(Vec::new()).unwrap();
        self.runtime.block_on(async {
            let mut held = std::pin::pin!(self.client.request::<Json>(holds));
            let (mut look, mut looks) = (tokio::time::interval(LOOK), 0_u32);
            loop {
                tokio::select! {
                    biased;
                    held = &mut held => return Some(held.unwrap()["holds"][0]["id"].as_u64().unwrap()),
                    _ = look.tick() => {
                        if process.try_wait().unwrap().is_some() {
                            return None;
                        }
                        looks += 1;
                        assert!(LOOK * looks < LIMIT, "a process that lives is neither over nor held");
                    }
                }
            }
        })
    }

    /// What there is now, and what clients did, each in the words that every run has for it.
    fn ended(&self) -> Ended {
        let mut found = Vec::new();
        for (group, version, plural) in KINDS {
            let root = if group.is_empty() { "api".to_owned() } else { format!("apis/{group}") };
            let kind = kinds::by_resource(group, version, plural).unwrap();
            for item in self.ask("GET", &format!("/{root}/{version}/{plural}"))["items"].as_array().unwrap().iter() {
                let mut item = item.clone();
                item["kind"] = kind.kind.into();
                found.push(tidy(&item).to_string());
            }
        }
        found.sort();
        let effects = self.ask("GET", "/lockgate.dev/effects");
        let told = |effect: &Json| format!("{} {}", effect["verb"].as_str().unwrap(), subject(effect["subject"].as_str().unwrap()));
        let mut effects: Vec<String> = effects["effects"].as_array().unwrap().iter().map(told).collect();
        effects.retain(|effect| !effect.contains(" lease/") && !effect.contains(" event/"));
        effects.sort();
        Ended { state: found, effects }
    }

    /// The lock says no more at which line the journal was: the one that will be there is another.
    fn forgets_the_journal(&self) {
        let lock = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/lockgate";
        let patch = json!({ "metadata": { "annotations": { "lockgate.dev/head": null } } }).to_string().into_bytes();
        let request = http::Request::patch(lock).header("content-type", "application/merge-patch+json").body(patch).unwrap();
        self.send(request);
    }

    /// Begins a run on it.
    fn run(&self, place: &Place<'_>, runbook: &Runbook) -> std::process::Command {
        let mut words = vec!["run", "r", "--yes", "--runs", "state", "--kubeconfig", self.kubeconfig.to_str().unwrap()];
        words.extend(runbook.params);
        place.command(&words)
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Lets half an hour pass in which nobody works on the run: its journal is so much older.
fn half_an_hour_passes(place: &Place<'_>) {
    let folder = Runs::at(place.path().join("state")).open("last").unwrap();
    let past = read(&mut folder.disk(), folder.id(), false).unwrap();
    fs::remove_file(folder.path().join(JOURNAL)).unwrap();
    let aged = past.entries.iter().map(|entry| (entry.at - jiff::SignedDuration::from_mins(30), &entry.fact));
    let mut journal = None;
    for (at, fact) in aged {
        match (fact, &journal) {
            (Fact::Header(header), None) => journal = Some(Journal::create(Box::new(folder.disk()), None, at, (**header).clone()).unwrap()),
            (fact, Some(journal)) => drop(journal.append(at, fact).unwrap()),
            (fact, None) => panic!("{fact:?} comes before the header"),
        }
    }
}

/// A pod has another name in every cluster.
fn subject(subject: &str) -> String {
    match subject.strip_prefix("pod/").and_then(|rest| rest.split_once('/')) {
        Some((namespace, rest)) => format!("pod/{namespace}/*{}", rest.split_once('/').map_or("", |(_, part)| part)),
        None => subject.to_owned(),
    }
}

/// One request of a run as a fault rule finds it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Asked {
    verb: String,
    group: String,
    kind: String,
    namespace: String,
    name: String,
    subresource: String,
}

impl Asked {
    fn of(asked: &Json) -> Option<Asked> {
        let text = |field: &str| asked["act"][field].as_str().unwrap_or_default().to_owned();
        let (verb, group) = (text("verb"), text("group"));
        let kind = kinds::by_resource(&group, &text("version"), &text("resource"))?;
        // Of pods only one is ever meant, whatever its name is.
        let name = if kind.kind == "Pod" { String::new() } else { text("name") };
        Some(Asked { verb, group, kind: kind.kind.to_owned(), namespace: text("namespace"), name, subresource: text("subresource") })
    }

    /// Whether it only reads.
    fn reads(&self) -> bool {
        ["get", "list", "watch"].contains(&self.verb.as_str()) && self.subresource != "exec"
    }

    fn rule(&self, nth: usize, side: &str) -> Json {
        let Asked { verb, group, kind, namespace, name, subresource } = self;
        let mut when = json!({ "group": group, "kind": kind, "subresource": subresource, "nth": nth });
        // A command is begun by a GET or a POST, as the client likes.
        if subresource != "exec" {
            when["verb"] = verb.clone().into();
        }
        if !name.is_empty() {
            when["name"] = name.clone().into();
        }
        if !namespace.is_empty() {
            when["namespace"] = namespace.clone().into();
        }
        json!({ "match": when, "do": { "hold": side } })
    }
}

/// What is killed.
pub(crate) struct Runbook {
    pub(crate) source: String,
    pub(crate) fixture: String,
    pub(crate) params: &'static [&'static str],
    /// Further files, by their paths.
    pub(crate) files: Vec<(String, String)>,
    /// Variables of the command.
    pub(crate) env: Vec<(&'static str, String)>,
    /// What is said of the end of a run that was killed and went on, beside that of the run that nobody killed: `Err` says what is wrong.
    pub(crate) judge: fn(&Ended, &Ended) -> Result<(), String>,
}

/// It ends as the run that nobody killed, and nothing more was done.
pub(crate) fn same(wanted: &Ended, ended: &Ended) -> Result<(), String> {
    let differs = difference(&wanted.effects, &ended.effects).into_iter().chain(difference(&wanted.state, &ended.state));
    let differs: Vec<String> = differs.collect();
    if differs.is_empty() { Ok(()) } else { Err(differs.join("\n")) }
}

/// What a cluster holds at its end, and what was done in it.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) state: Vec<String>,
    pub(crate) effects: Vec<String>,
}

impl Runbook {
    fn place(&self) -> Place<'_> {
        let place = Place { folder: TempDir::new().unwrap(), env: &self.env };
        let place = place.file("r/runbook.luau", &self.source).file("r/cluster.yaml", &self.fixture);
        self.files.iter().fold(place, |place, (path, text)| place.file(path, text))
    }

    /// The run that nobody kills: how the cluster ends, what was done, and each of its requests with its number among those like it; those
    /// of its plan, of its lock and of events are left out.
    fn whole(&self) -> (Ended, Vec<(Asked, usize)>) {
        let place = self.place();
        let sandbox = Sandbox::start(&place, &["--record", "requests.jsonl"]);
        let output = sandbox.run(&place, self).output().unwrap();
        assert!(output.status.success(), "{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let ended = sandbox.ended();
        let text = fs::read_to_string(place.path().join("requests.jsonl")).unwrap();
        let mut counts: BTreeMap<Asked, usize> = BTreeMap::new();
        let (mut requests, mut begun) = (Vec::new(), false);
        for line in text.lines().map(|line| serde_json::from_str::<Json>(line).unwrap()) {
            let Some(asked) = Asked::of(&line) else { continue };
            let count = counts.entry(asked.clone()).or_default();
            *count += 1;
            // The run begins with its lock; whoever dies before has not begun.
            begun |= asked.kind == "Lease" && asked.verb == "create";
            let is_dry = line["uri"].as_str().unwrap().contains("dryRun=All");
            let counts = !is_dry && (asked.reads() || line["status"].as_u64().unwrap() < 300);
            if begun && counts && !["Lease", "Event"].contains(&asked.kind.as_str()) {
                requests.push((asked, *count));
            }
        }
        (ended, requests)
    }

    /// Kills it at every write; gives how often.
    pub(crate) fn everywhere(&self) -> usize {
        let (wanted, requests) = self.whole();
        let writes: Vec<&(Asked, usize)> = requests.iter().filter(|(asked, _)| !asked.reads()).collect();
        self.at_all(&writes, &wanted)
    }

    /// Kills it at so many of its reads, and of its watches: while it looks, and while it waits. Gives how often. All of them with
    /// `LOCKGATE_KILLS=all`.
    #[allow(dead_code, reason = "helm reads too much for it: only tests without helm use it")]
    pub(crate) fn while_it_reads(&self, most: usize) -> usize {
        let (wanted, requests) = self.whole();
        let some = |verb: &[&str]| -> Vec<&(Asked, usize)> {
            let all: Vec<_> = requests.iter().filter(|(asked, _)| asked.reads() && verb.contains(&asked.verb.as_str())).collect();
            let most = if std::env::var("LOCKGATE_KILLS").is_ok_and(|word| word == "all") { all.len() } else { most.min(all.len()) };
            (0..most).map(|place| all[place * all.len() / most]).collect()
        };
        let (reads, watches) = (some(&["get", "list"]), some(&["watch"]));
        assert!(!reads.is_empty() && !watches.is_empty(), "it reads {} times and watches {} times", reads.len(), watches.len());
        self.at_all(&reads.into_iter().chain(watches).collect::<Vec<_>>(), &wanted)
    }

    /// Kills it before and after each of these is carried out. Several at a time: most of it is waiting.
    fn at_all(&self, requests: &[&(Asked, usize)], wanted: &Ended) -> usize {
        let points: Vec<(&Asked, usize, &str)> =
            requests.iter().flat_map(|(asked, nth)| ["before", "after"].map(|side| (asked, *nth, side))).collect();
        let (next, killed) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..WORKERS {
                scope.spawn(|| {
                    while let Some((write, nth, side)) = points.get(next.fetch_add(1, Ordering::Relaxed)) {
                        killed.fetch_add(usize::from(self.at(write, *nth, side, wanted)), Ordering::Relaxed);
                    }
                });
            }
        });
        killed.into_inner()
    }

    /// Kills it at one request; gives whether it came to that.
    fn at(&self, write: &Asked, nth: usize, side: &str, wanted: &Ended) -> bool {
        let what = format!("{side} {write:?}, the {nth}. of its kind");
        let rules = json!({ "apiVersion": "lockgate.dev/v1", "kind": "Faults", "rules": [write.rule(nth, side)] });
        let place = self.place().file("chaos.yaml", &rules.to_string());
        let sandbox = Sandbox::start(&place, &["--chaos", "chaos.yaml"]);
        let Some(said) = self.killed(&place, &sandbox) else {
            // How often it looks while it waits is a matter of moments; what it writes is not.
            assert!(write.reads(), "{what}: it was never made");
            return false;
        };
        let ended = sandbox.ended();
        if write.subresource == "exec" {
            // Whether a command ran is for a person to say, and here is nobody.
            assert_eq!(said.code, Some(4), "{what}\n{}", said.text);
            assert!(said.text.contains("Run it again?"), "{what}\n{}", said.text);
            let more = ended.effects.iter().find(|effect| !wanted.effects.contains(effect));
            assert_eq!(more, None, "{what}");
            return true;
        }
        assert_eq!(said.code, Some(0), "{what}\n{}", said.text);
        if let Err(wrong) = (self.judge)(wanted, &ended) {
            panic!("{what}\n{wrong}\n{}", said.text);
        }
        true
    }

    /// Begins a run, kills it when its request stands still, and goes on with it; `None` when that request was never made.
    fn killed(&self, place: &Place<'_>, sandbox: &Sandbox) -> Option<Said> {
        let log = fs::File::create(place.path().join("first")).unwrap();
        let mut child = sandbox.run(place, self).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        let held = sandbox.held(&mut child);
        child.kill().unwrap();
        child.wait().unwrap();
        let id = held?;
        sandbox.ask("POST", &format!("/lockgate.dev/holds/{id}/release"));
        half_an_hour_passes(place);
        sandbox.forgets_the_journal();
        let output = place.command(&["resume", "last", "--runs", "state"]).output().unwrap();
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        Some(Said { code: output.status.code(), text })
    }
}
