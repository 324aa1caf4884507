//! How true the simulated cluster is, as a number: cases that were recorded on a real control plane, replayed on the simulated one.
//!
//! A case is a folder with `case.yaml` and what was recorded in `golden.json`. Replaying needs no kubectl: the requests that it sent
//! are part of the recording. Where a control plane is built (`tests/controlplane/build`), `controlplane::conformance::CASE` runs the
//! case on it and says whether the recording still holds; `BLESS=1` records the cases that have changed, `BLESS=all` every
//! case that the filter names.

mod case;
mod door;
mod gaps;
mod golden;
mod guards;
mod live;
mod names;
mod normalise;
mod parallel;
mod path;
mod programs;
mod proxy;
mod random;
mod replay;
mod run;
mod served;
mod subject;
mod template;
mod traces;
mod versions;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::rc::Rc;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use libtest_mimic::{Completion, Failed, Trial};

use crate::controlplane::plane::{ControlPlane, Server};
use crate::controlplane::{self, Binaries};
use case::Case;
use gaps::Gap;
use golden::Golden;
use live::Live;
use run::Target as _;

/// What a part of the harness gives, or what went wrong in words.
pub(crate) type Outcome<T = ()> = Result<T, String>;

/// How many differences are told of one case.
const SHOWN: usize = 25;

/// All there is about a replay, once.
type Replayed = Arc<Mutex<BTreeMap<String, Arc<Outcome<Vec<Difference>>>>>>;

/// A place at which the simulated cluster differs from the real one.
#[derive(Clone, Debug)]
struct Difference {
    /// The number of the step.
    step: usize,
    /// Its words.
    words: String,
    /// Where.
    path: String,
    /// What the real one says.
    real: String,
    /// What the simulated one says.
    simulated: String,
}

/// All the cases, by name.
pub(crate) fn cases() -> Vec<Trial> {
    let loaded = case::all().and_then(|cases| Ok((cases, gaps::known()?, gaps::pending()?)));
    let (cases, gaps, pending) = match loaded {
        Ok(loaded) => loaded,
        Err(error) => return vec![Trial::test("conformance::cases_load", move || Err(Failed::from(error)))],
    };
    let (cases, gaps, pending) = (Arc::new(cases), Arc::new(gaps), Arc::new(pending));
    let replayed = Replayed::default();
    let mut trials = vec![
        Trial::test("conformance::rules_of_comparison", || Ok(normalise::rules()?)),
        Trial::test("conformance::rules_of_versions", || Ok(versions::patterns()?)),
    ];
    for case in cases.iter() {
        let (one, known, replayed, reason) = (case.clone(), gaps.clone(), replayed.clone(), pending.get(&case.name).cloned());
        trials.push(Trial::ignorable_test(format!("conformance::{}", case.name), move || {
            let verdict = verdict(&one, &known, &replayed);
            match (reason, verdict) {
                (None, verdict) => verdict.map(|()| Completion::Completed).map_err(Failed::from),
                (Some(_), Err(error)) if controlplane::is_required("conformance") => Err(Failed::from(error)),
                (Some(reason), Err(_)) => Ok(Completion::ignored_with(reason)),
                (Some(_), Ok(())) => Ok(Completion::ignored_with("it agrees now: take it out of pending.txt")),
            }
        }));
        let one = case.clone();
        trials.push(Trial::ignorable_test(format!("controlplane::conformance::{}", case.name), move || real(&one)));
        let one = case.clone();
        trials.push(Trial::ignorable_test(format!("sandbox::conformance::{}", case.name), move || served(&one)));
    }
    trials.extend(programs::trials(&pending));
    trials.extend(guards::trials(&cases, &pending));
    trials.extend(versions::trials(&cases));
    trials.extend(path::trials(&cases));
    trials.push(Trial::test("conformance::result", move || Ok(result(&cases, &gaps, &pending, &replayed)?)));
    trials
}

/// Whether the simulated cluster agrees, apart from known gaps.
fn verdict(case: &Case, gaps: &[Gap], replayed: &Replayed) -> Outcome {
    let outcome = differences(case, replayed);
    let found = outcome.as_ref().as_ref().map_err(Clone::clone)?;
    let unknown: Vec<Difference> =
        found.iter().filter(|difference| !gaps.iter().any(|gap| covers(gap, case, difference))).cloned().collect();
    if unknown.is_empty() { Ok(()) } else { Err(told(case, &unknown)) }
}

/// What differs, in words.
fn told(case: &Case, found: &[Difference]) -> String {
    let mut text = format!("{}: {} differences from the recording; it guards: {}\n", case.text.title, found.len(), case.text.guards);
    for difference in found.iter().take(SHOWN) {
        let Difference { step, words, path, real, simulated } = difference;
        // Writing to a string cannot fail.
        writeln!(text, "step {step} ({words}) {path}\n  real:      {real}\n  simulated: {simulated}").unwrap_or_default();
    }
    text
}

fn covers(gap: &Gap, case: &Case, difference: &Difference) -> bool {
    gap.case == case.name && gap.step == difference.step && difference.path.starts_with(&gap.path)
}

/// What differs. A case is replayed once, whoever asks first.
fn differences(case: &Case, replayed: &Replayed) -> Arc<Outcome<Vec<Difference>>> {
    let known = |replayed: &Replayed| replayed.lock().unwrap_or_else(PoisonError::into_inner).get(&case.name).cloned();
    if let Some(outcome) = known(replayed) {
        return outcome;
    }
    let outcome = Arc::new(replay(case));
    replayed.lock().unwrap_or_else(PoisonError::into_inner).insert(case.name.clone(), outcome.clone());
    outcome
}

fn replay(case: &Case) -> Outcome<Vec<Difference>> {
    let golden = Golden::read(&case.folder.join("golden.json"))?;
    if golden.digest != case.digest {
        return Err(format!("{} was recorded before it was changed: BLESS=1 cargo test --test cases controlplane::conformance", case.name));
    }
    compare(&golden, &run::run(case, &mut replay::Simulated::new(case)?, &golden.steps))
}

fn compare(golden: &Golden, ran: &run::Ran) -> Outcome<Vec<Difference>> {
    let mut differences = Vec::new();
    for (index, (before, now)) in golden.steps.iter().zip(&ran.steps).enumerate() {
        let value = |done: &golden::Done| -> Outcome<serde_json::Value> {
            let mut done = done.clone();
            if now.said.is_null() {
                // Nobody asked kubectl.
                done.said = serde_json::Value::Null;
            }
            // What kubectl copies out of an answer has the times of that cluster.
            for exchange in &mut done.exchanges {
                exchange.sent.body = normalise::sent(&exchange.sent.body);
                if !exchange.sent.agent.is_empty() {
                    exchange.sent.path = normalise::path(&exchange.sent.path);
                }
            }
            let mut value = serde_json::to_value(done).map_err(|error| error.to_string())?;
            normalise::without_race(&mut value);
            Ok(value)
        };
        let mut found = Vec::new();
        normalise::differences("", Some(&value(before)?), Some(&value(now)?), &mut found);
        let words: String = before.step.chars().take(100).collect();
        differences.extend(found.into_iter().map(|(path, real, simulated)| Difference {
            step: index + 1,
            words: words.clone(),
            path,
            real,
            simulated,
        }));
    }
    if let Some(failure) = &ran.failure {
        let step = ran.steps.len() + 1;
        let simulated = failure.clone();
        differences.push(Difference { step, words: String::new(), path: "/failure".to_owned(), real: "is so".to_owned(), simulated });
    }
    Ok(differences)
}

/// How many behaviours each have a number of their own: none of these may be a gap.
const NUMBERED: u32 = 34;

/// What the run of the cases found; nothing when none was played.
static TOLD: Mutex<String> = Mutex::new(String::new());

/// The count, as the run found it.
pub(crate) fn count() -> String {
    TOLD.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Each of the numbered behaviours has a case, which agrees.
fn numbered(cases: &[Case], gaps: &[Gap], pending: &BTreeMap<String, String>) -> Outcome {
    for number in 1..=NUMBERED {
        let mut of = cases.iter().filter(|case| case.text.number == Some(number)).peekable();
        if of.peek().is_none() {
            return Err(format!("behaviour {number} of {NUMBERED} has no case"));
        }
        if let Some(case) = of.find(|case| pending.contains_key(&case.name) || gaps.iter().any(|gap| gap.case == case.name)) {
            return Err(format!("{}: behaviour {number} of {NUMBERED} may be no gap", case.name));
        }
    }
    Ok(())
}

/// Counts, looks for gaps that are none any more, and compares the count with `result.txt`.
fn result(cases: &[Case], gaps: &[Gap], pending: &BTreeMap<String, String>, replayed: &Replayed) -> Outcome {
    let agree = cases.iter().filter(|case| !pending.contains_key(&case.name) && verdict(case, gaps, replayed).is_ok()).count();
    for gap in gaps {
        let case = cases.iter().find(|case| case.name == gap.case).ok_or_else(|| format!("known-gaps.yaml: no case {}", gap.case))?;
        let outcome = differences(case, replayed);
        let used = outcome.as_ref().as_ref().is_ok_and(|found| found.iter().any(|difference| covers(gap, case, difference)));
        if !used {
            return Err(format!("known-gaps.yaml: step {} of {} agrees at {}: take the row out", gap.step, gap.case, gap.path));
        }
    }
    if let Some(name) = pending.keys().find(|name| !name.contains("::") && !cases.iter().any(|case| case.name == **name)) {
        return Err(format!("pending.txt: no case {name}"));
    }
    numbered(cases, gaps, pending)?;
    let text = format!("conformance: {agree} of {} cases, {} known gaps\n", cases.len(), gaps.len());
    TOLD.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&text);
    let path = case::home().join("result.txt");
    if std::env::var_os("BLESS").is_some_and(|value| value == "1") {
        return std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()));
    }
    let before = case::read(&path)?;
    let rows: Vec<String> = gaps.iter().map(|gap| format!("  {} step {} {}: {}", gap.case, gap.step, gap.path, gap.reason)).collect();
    if before == text { Ok(()) } else { Err(format!("result.txt says {before}now it is {text}{}\nBLESS=1 writes it", rows.join("\n"))) }
}

/// Runs a case on the real control plane and records it, or says whether the recording still holds.
fn real(case: &Case) -> Result<Completion, Failed> {
    let bless = std::env::var("BLESS").unwrap_or_default();
    let path = case.folder.join("golden.json");
    if bless.is_empty() && !controlplane::is_required("conformance") {
        return Ok(Completion::ignored_with("recorded; BLESS=all records it anew, LOCKGATE_REQUIRE=conformance compares"));
    }
    let before = Golden::read(&path);
    if bless != "all" && !bless.is_empty() && before.as_ref().is_ok_and(|golden| golden.digest == case.digest) {
        return Ok(Completion::ignored_with("the recording is of this case"));
    }
    let golden = record(case)?;
    if !bless.is_empty() {
        golden.write(&path)?;
        return Ok(Completion::Completed);
    }
    let ran = run::Ran { steps: golden.steps, failure: None };
    match compare(&before?, &ran)?.first() {
        None => Ok(Completion::Completed),
        Some(found) => Err(Failed::from(format!("the recording does not hold any more: {found:?}"))),
    }
}

/// Runs a case on the simulated cluster through its socket, with the real kubectl where it has commands of kubectl.
fn served(case: &Case) -> Result<Completion, Failed> {
    let program = match controlplane::kubectl() {
        _ if !case.needs_kubectl() => None,
        Ok(program) => Some(program),
        Err(reason) if controlplane::is_required("controlplane") => return Err(Failed::from(reason)),
        Err(reason) => return Ok(Completion::ignored_with(reason)),
    };
    let golden = Golden::read(&case.folder.join("golden.json"))?;
    let ran = run::run(case, &mut served::Served::new(case, program)?, &[]);
    let found = compare(&golden, &ran)?;
    if found.is_empty() { Ok(Completion::Completed) } else { Err(Failed::from(told(case, &found))) }
}

fn record(case: &Case) -> Outcome<Golden> {
    /// Two at a time leave nothing of two cores.
    static TURN: OnceLock<Mutex<()>> = OnceLock::new();
    let _turn = TURN.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    let binaries = controlplane::found().as_ref().map_err(Clone::clone)?;
    let plane = start(case, binaries)?;
    plane.apply(&case.cluster)?;
    let (server, kubeconfig) = (plane.kubectl(&["get", "--raw", "/version"])?, plane.kubeconfig("admin"));
    let server: serde_json::Value = serde_json::from_str(&server).map_err(|error| error.to_string())?;
    if !case.text.plane.alone {
        ready(&plane)?;
    }
    let plane = Rc::new(RefCell::new(plane));
    let compacted = plane.clone();
    let live = Live::open(&kubeconfig, &binaries.path("kubectl"))?;
    let mut live = live.with_compaction(Box::new(move || compacted.borrow_mut().compact()));
    live.rest()?;
    let ran = run::run(case, &mut live, &[]);
    match ran.failure {
        Some(failure) => Err(format!("{}: {failure}", case.name)),
        None => Ok(Golden {
            server: server["gitVersion"].as_str().unwrap_or_default().to_owned(),
            digest: case.digest.clone(),
            steps: ran.steps,
        }),
    }
}

/// The control plane that a case asks for.
fn start(case: &Case, binaries: &Binaries) -> Outcome<ControlPlane> {
    let wanted = &case.text.plane;
    let server = Server {
        accounts: wanted.service_accounts,
        emulates: wanted.emulates.clone(),
        version: wanted.version.clone(),
        ..Server::default()
    };
    if wanted.alone {
        ControlPlane::server(binaries, server)
    } else {
        let (usual, own) = (include_str!("stages.yaml"), &case.stages);
        let stages = if own.is_empty() { usual.to_owned() } else { format!("{usual}\n---\n{own}") };
        ControlPlane::start_with(binaries, &stages, server)
    }
}

/// Waits until every node is ready, and what a namespace is given is there.
fn ready(plane: &ControlPlane) -> Outcome {
    plane.until("the nodes are ready", std::time::Duration::from_secs(60), |plane| {
        let nodes = plane.list(None, "nodes")?;
        let ready = |node: &serde_json::Value| node["status"]["conditions"].to_string().contains("KubeletReady");
        let given = plane.kubectl(&["get", "-n", case::NAMESPACE, "configmap/kube-root-ca.crt", "serviceaccount/default"]).is_ok();
        Ok(given && nodes.iter().all(ready))
    })
}
