//! The command runs each bundled runbook in its own cluster and is killed by SIGKILL: where one of its requests stands still, before or after
//! it is carried out, and where a machine is about to be told something. Whoever goes on must come to the end that the run has that nobody
//! kills. At a handful of places each; at every request with `LOCKGATE_KILLS=all`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use lockgate::base::json::Value as Json;
use lockgate::cli::test::difference;
use lockgate::cli::test::ended::{effects, held};
use lockgate::run::Source;

use super::support::{Host, Said};
use super::worlds::{again, holding, requests_kept};

/// How many requests each is killed at by default, on both sides.
const SOME: usize = 2;
/// A process that is neither over nor where it is to die by then hangs, however busy the machine is.
const LIMIT: Duration = Duration::from_secs(600);

/// A bundled runbook in a folder of its own, with parameters that fit its cluster.
struct Bundled {
    name: &'static str,
    params: Vec<String>,
}

/// Where a process is killed.
#[derive(Clone, Copy, Debug)]
enum At {
    /// Where its request of this number stands still.
    Request(usize, &'static str),
    /// When its journal has so many lines.
    Line(usize),
}

impl Bundled {
    fn host(&self, chaos: &str) -> Host {
        let host = Host::new().file("chaos.yaml", chaos);
        copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("runbooks").join(self.name), &host.path().join("r"));
        host
    }

    /// The examples of the parameters that have no default.
    fn of(name: &'static str) -> Bundled {
        let bundled = Bundled { name, params: Vec::new() };
        let said = bundled.host("").run(&["show", "r", "-o", "json"]).exits(0);
        let shown: Json = serde_json::from_str(&said.stdout).unwrap();
        let text = |param: &Json, field: &str| param[field].as_str().map(str::to_owned);
        let required = shown["parameters"].as_array().unwrap().iter().filter(|param| param["required"] == true);
        let params = required.map(|param| {
            let (name, example) = (text(param, "name").unwrap(), text(param, "example").unwrap());
            // Files lie beside the runbook.
            let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("runbooks").join(bundled.name).join(&example);
            if file.is_file() { format!("{name}=r/{example}") } else { format!("{name}={example}") }
        });
        Bundled { params: params.collect(), ..bundled }
    }

    /// What begins the run, or goes on with it.
    fn words<'a>(&'a self, host: &Host, begun: bool) -> Vec<&'a str> {
        if begun {
            // What holds a secret is in no journal, and is given again.
            let text = journal(host);
            let header: Json = serde_json::from_str(text.lines().next().unwrap()).unwrap();
            let is_mark = |name: &str| header["typed"].get(name).is_none();
            let given = self.params.iter().map(String::as_str).filter(|word| is_mark(word.split('=').next().unwrap_or_default()));
            return ["resume", "last", "--runs", "state"].into_iter().chain(given).collect();
        }
        let words = ["run", "r", "--sandbox", "--chaos", "chaos.yaml", "--yes", "--runs", "state"];
        words.into_iter().chain(self.params.iter().map(String::as_str)).collect()
    }

    /// Says yes to what the run waits for.
    fn approve(host: &Host) {
        let said = host.run(&["status", "last", "-o", "json", "--runs", "state"]).exits(0);
        let status: Json = serde_json::from_str(&said.stdout).unwrap();
        let at = status["asked"]["confirmation"]["place"].as_str().unwrap().split_once(' ').unwrap().1.to_owned();
        host.run(&["approve", "last", &at, "--yes", "--runs", "state"]).exits(0);
    }

    /// Goes on to the end, whoever has to say yes.
    fn to_the_end(&self, host: &Host, mut begun: bool) -> Said {
        for _ in 0..20 {
            let said = host.run(&self.words(host, begun));
            begun = true;
            if said.code != Some(4) {
                return said.exits(0);
            }
            Bundled::approve(host);
        }
        panic!("{}: it waits again and again", self.name);
    }

    /// How the cluster ended and what was done in it. What helm was in the middle of is begun again.
    fn ended(host: &Host) -> (Vec<String>, Vec<String>) {
        let (held, mut effects) = again(host).with(|sim| (held(sim), effects(sim)));
        effects.retain(|effect| !effect.contains("sh.helm.release.v1."));
        (held, effects)
    }

    /// Kills it there; gives whether it came to that place.
    fn killed(&self, host: &Host, at: At) -> bool {
        let (began, mut begun) = (Instant::now(), false);
        loop {
            let mut child = host.command(&self.words(host, begun)).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            begun = true;
            let code = loop {
                let there = match at {
                    At::Request(number, _) => requests_kept(host) >= number,
                    At::Line(line) => lines(host) >= line,
                };
                if there {
                    child.kill().unwrap();
                    child.wait().unwrap();
                    return true;
                }
                if let Some(status) = child.try_wait().unwrap() {
                    break status.code();
                }
                assert!(began.elapsed() < LIMIT, "{} {at:?}: it is neither over nor there", self.name);
                std::thread::yield_now();
            };
            match code {
                Some(4) => Bundled::approve(host),
                // It was faster than who looks at its journal.
                Some(0) if matches!(at, At::Line(_)) => return false,
                code => panic!("{} {at:?}: it ended with {code:?}", self.name),
            }
        }
    }

    /// Kills it at some places; gives how often.
    fn at_some(&self) -> usize {
        let whole = self.host(&holding(999_999, "before"));
        self.to_the_end(&whole, false);
        let (wanted, places) = (Bundled::ended(&whole), places(&whole));
        assert!(places.len() >= 2, "{}: {places:?}", self.name);
        let mut killed = 0;
        for at in places {
            let chaos = if let At::Request(number, side) = at { holding(number, side) } else { holding(999_999, "before") };
            let host = self.host(&chaos);
            if !self.killed(&host, at) {
                continue;
            }
            killed += 1;
            let said = self.to_the_end(&host, lines(&host) > 0);
            let ended = Bundled::ended(&host);
            let differs = difference(&wanted.0, &ended.0).into_iter().chain(difference(&wanted.1, &ended.1)).collect::<Vec<_>>();
            assert!(differs.is_empty(), "{} {at:?}\n{}\n{}", self.name, differs.join("\n"), said.transcript());
        }
        killed
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path()) {
        let there = to.join(entry.file_name().unwrap());
        if entry.is_dir() { copy(&entry, &there) } else { assert!(fs::copy(&entry, &there).is_ok()) }
    }
}

fn journal(host: &Host) -> String {
    let folder = host.runs_in("state").into_iter().next();
    folder.and_then(|folder| fs::read_to_string(folder.join("journal.jsonl")).ok()).unwrap_or_default()
}

/// How many whole lines the journal has.
fn lines(host: &Host) -> usize {
    journal(host).matches('\n').count()
}

/// Where it is killed: at requests, evenly, and where machines are told something. Whether a command in a pod ran is for a person to say: it
/// is not killed there.
fn places(host: &Host) -> Vec<At> {
    let all = std::env::var("LOCKGATE_KILLS").is_ok_and(|word| word == "all");
    let asked: Vec<_> = again(host).with(|sim| sim.faults().asked().cloned().collect());
    let begun = asked.iter().position(|asked| asked.what.starts_with("lease/") && asked.verb == "create").unwrap_or(0);
    let numbers = asked.iter().enumerate().skip(begun + 1).filter(|(_, asked)| !asked.what.contains("/exec"));
    let numbers: Vec<usize> = numbers.map(|(place, _)| place + 1).collect();
    let most = if all { numbers.len() } else { SOME };
    let mut places: Vec<At> = Vec::new();
    for place in 0..most {
        let number = numbers[(2 * place + 1) * numbers.len() / (2 * most)];
        let sides = if all {
            &["before", "after"][..]
        } else if place % 2 == 0 {
            &["before"]
        } else {
            &["after"]
        };
        places.extend(sides.iter().map(|side| At::Request(number, side)));
    }
    let text = journal(host);
    let told = text.lines().enumerate().filter(|(_, line)| line.contains("\"k\":\"intent\"") && line.contains("\"verb\":\"machine\""));
    let told: Vec<usize> = told.map(|(place, _)| place + 1).collect();
    let most = if all { told.len() } else { told.len().min(1) };
    places.extend((0..most).map(|place| At::Line(told[(2 * place + 1) * told.len() / (2 * most)])));
    places
}

/// Those of the same letter are a test, so that several are worked on at the same time.
fn killed(names: &[&'static str]) {
    let counts: BTreeMap<&str, usize> = names.iter().map(|name| (*name, Bundled::of(name).at_some())).collect();
    assert!(counts.values().all(|count| *count >= SOME), "{counts:?}");
}

const CALICO: [&str; 4] = ["calico-auto-host-endpoints", "calico-etcd-to-kdd", "calico-manifest-to-operator", "calico-upgrade"];
const CNX: [&str; 4] = ["cnx-add", "cnx-calico-upgrade", "cnx-components", "cnx-manager"];
const OTHERS: [&str; 3] = ["cce-cni-v1-patch", "cilium-helm-upgrade", "kubeadm-upgrade"];

#[test]
fn calico_is_killed_at_some_places() {
    killed(&CALICO);
}

#[test]
fn cnx_is_killed_at_some_places() {
    killed(&CNX);
}

#[test]
fn the_others_are_killed_at_some_places() {
    killed(&OTHERS);
}

#[test]
fn no_bundled_runbook_is_left_out() {
    let mut named: Vec<&str> = CALICO.into_iter().chain(CNX).chain(OTHERS).collect();
    named.sort_unstable();
    assert_eq!(named, Source::bundled_names());
}
