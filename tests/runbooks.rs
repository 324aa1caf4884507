//! What is proved of every bundled runbook beside its own tests: that a scenario notices each step that does nothing, and that runs which
//! are killed come to the same end. The numbers of the README's table come from here.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use libtest_mimic::{Failed, Trial};
use lockgate::cli::test::{self, Killed, Reached, Test};
use lockgate::run::Source;

/// So many kills of each runbook in every test run. With `LOCKGATE_KILLS=all` all of them, with a number all of so many scenarios that are
/// spread over the file; `BLESS=1` writes how many there were, of all scenarios where no number is given.
const SAMPLE: usize = 300;
/// In so many states of each scenario, when not all are asked for; a state can be come to by several kills.
const EACH: usize = 60;

/// Which steps the scenarios of a runbook come to, by its name: as far as they were played before.
static REACHED: Mutex<BTreeMap<String, Reached>> = Mutex::new(BTreeMap::new());

/// A test of a runbook was played.
pub(crate) fn played(runbook: &str, test: &Test, played: &Killed) {
    REACHED.lock().unwrap_or_else(PoisonError::into_inner).entry(runbook.to_owned()).or_default().note(test, played);
}

/// How often runs of bundled runbooks were killed here.
static KILLED: AtomicUsize = AtomicUsize::new(0);

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Where the number of kills of a runbook is kept.
pub(crate) fn counted(name: &str) -> PathBuf {
    root().join("tests/runbooks").join(format!("{name}.txt"))
}

/// A case for each step of every runbook, and one for the kills of each.
pub(crate) fn cases() -> Vec<Trial> {
    Source::bundled_names().into_iter().flat_map(|name| of_runbook(&name)).collect()
}

fn of_runbook(name: &str) -> Vec<Trial> {
    let path = root().join("runbooks").join(name);
    let steps = Source::on_disk(&path).and_then(|source| test::hollow(&source));
    let mut trials = match steps {
        Ok(steps) => steps.into_iter().map(|(step, source)| hollow(name, step, source)).collect(),
        Err(error) => {
            let told = error.to_string();
            vec![Trial::test(format!("mutants::{name}::its steps are found"), move || Err(Failed::from(told)))]
        }
    };
    let own = name.to_owned();
    trials.push(Trial::test(format!("kills::{name}"), move || kills(&own, &path)));
    trials
}

fn hollow(name: &str, step: String, source: Source) -> Trial {
    let runbook = name.to_owned();
    Trial::test(format!("mutants::{name}::{step}"), move || {
        let reached = REACHED.lock().unwrap_or_else(PoisonError::into_inner).get(&runbook).cloned().unwrap_or_default();
        test::noticed(&step, &source, &reached).map_err(|error| Failed::from(error.to_string()))
    })
}

/// Plays scenarios with kills: those that are spread over the file first, until there were enough.
fn kills(name: &str, path: &Path) -> Result<(), Failed> {
    let given = |name: &str| std::env::var(name).unwrap_or_default();
    let (bless, most) = (given("BLESS") == "1", given("LOCKGATE_KILLS"));
    let most = if most.is_empty() && bless { Some(usize::MAX) } else { asked(&most)? };
    let source = Source::on_disk(path).map_err(|error| error.to_string())?;
    let tests = test::tests(&source).map_err(|error| error.to_string())?;
    let scenarios: Vec<&Test> = tests.iter().filter(|test| matches!(test, Test::Scenario(_))).collect();
    let spread: Vec<&Test> = spread(&scenarios).into_iter().take(most.unwrap_or(usize::MAX)).collect();
    let mut points = 0;
    if most.is_some() {
        points = everywhere(name, &source, &spread)?;
    } else {
        for scenario in &spread {
            points += killed(&source, scenario, EACH)?;
            if points >= SAMPLE {
                break;
            }
        }
    }
    KILLED.fetch_add(points, Ordering::Relaxed);
    if bless {
        let part = if spread.len() < scenarios.len() { format!("{} of ", spread.len()) } else { String::new() };
        let text = format!("{part}{} scenarios, killed at {points} points\n", scenarios.len());
        let file = counted(name);
        fs::create_dir_all(file.parent().unwrap_or(Path::new("."))).map_err(|error| error.to_string())?;
        fs::write(file, text).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Of how many scenarios `LOCKGATE_KILLS` wants every point; nothing where it is not given.
fn asked(kills: &str) -> Result<Option<usize>, String> {
    match kills {
        "" => Ok(None),
        "all" => Ok(Some(usize::MAX)),
        number => number.parse().map(Some).map_err(|_| format!("LOCKGATE_KILLS is `{number}`: it must be `all` or a number of scenarios")),
    }
}

/// At how many points runs of a scenario were killed.
fn killed(source: &Source, scenario: &Test, kills: usize) -> Result<usize, String> {
    let killed = test::one(source, scenario, false, kills).map_err(|error| format!("{scenario}: {error}"))?;
    match killed.breaks {
        Some(broken) => Err(format!("{scenario}: it breaks an invariant though nobody kills it: {broken}")),
        None => Ok(killed.points),
    }
}

/// The same at every point of all scenarios, one on each processor at a time. It takes an hour for the longest runbooks, so it says how far
/// it is. A failure stops it.
fn everywhere(name: &str, source: &Source, scenarios: &[&Test]) -> Result<usize, String> {
    let (next, points, failed) = (AtomicUsize::new(0), AtomicUsize::new(0), Mutex::new(None));
    let work = || {
        while failed.lock().unwrap_or_else(PoisonError::into_inner).is_none() {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(scenario) = scenarios.get(at) else { break };
            match killed(source, scenario, usize::MAX) {
                Ok(more) => {
                    let all = points.fetch_add(more, Ordering::Relaxed) + more;
                    let told = format!("kills::{name}: {} of {}, {more} points, {all} so far: {scenario}\n", at + 1, scenarios.len());
                    // Whoever cannot be told is not waiting for it.
                    std::io::stderr().write_all(told.as_bytes()).ok();
                }
                Err(error) => *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error),
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    failed.map_or_else(|| Ok(points.into_inner()), Err)
}

/// The same in an order that goes over the whole many times: the first, then those far apart.
fn spread<'a, T>(all: &[&'a T]) -> Vec<&'a T> {
    const STRIDE: usize = 5;
    (0..STRIDE).flat_map(|first| all.iter().copied().skip(first).step_by(STRIDE)).collect()
}

/// One line of all kills; nothing when none were asked for.
pub(crate) fn told() -> String {
    match KILLED.load(Ordering::Relaxed) {
        0 => String::new(),
        points => format!("bundled runbooks: killed at {points} points, 0 differences\n"),
    }
}
