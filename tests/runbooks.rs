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

/// So many kills of each runbook in every test run. With `LOCKGATE_KILLS=all` all of them, with `fixtures` all of one scenario of each
/// fixture; `BLESS=1` writes how many there were, of all scenarios where nothing else is said.
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

/// Which kills are wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// So many that differ, of scenarios that are spread over the file.
    Sample,
    /// Every point of one scenario of each fixture: the first that is killed anywhere.
    Fixtures,
    /// Every point of every scenario.
    All,
}

impl Wanted {
    fn asked() -> Result<Wanted, String> {
        let given = |name: &str| std::env::var(name).unwrap_or_default();
        match given("LOCKGATE_KILLS").as_str() {
            "" if given("BLESS") == "1" => Ok(Wanted::All),
            "" => Ok(Wanted::Sample),
            "all" => Ok(Wanted::All),
            "fixtures" => Ok(Wanted::Fixtures),
            other => Err(format!("LOCKGATE_KILLS is `{other}`: it must be `all` or `fixtures`")),
        }
    }
}

/// Plays scenarios with kills.
fn kills(name: &str, path: &Path) -> Result<(), Failed> {
    let wanted = Wanted::asked()?;
    let source = Source::on_disk(path).map_err(|error| error.to_string())?;
    let tests = test::tests(&source).map_err(|error| error.to_string())?;
    let scenarios: Vec<&Test> = tests.iter().filter(|test| matches!(test, Test::Scenario(_))).collect();
    let done = match wanted {
        Wanted::Sample => Done { scenarios: scenarios.len(), points: sample(&source, &scenarios)? },
        Wanted::All => everywhere(name, &source, scenarios.iter().map(|one| vec![*one]).collect())?,
        Wanted::Fixtures => everywhere(name, &source, by_fixture(&source, &scenarios)?)?,
    };
    KILLED.fetch_add(done.points, Ordering::Relaxed);
    if std::env::var("BLESS").is_ok_and(|word| word == "1") {
        let part = if wanted == Wanted::Fixtures { format!("{} of ", done.scenarios) } else { String::new() };
        let text = format!("{part}{} scenarios, killed at {} points\n", scenarios.len(), done.points);
        let file = counted(name);
        fs::create_dir_all(file.parent().unwrap_or(Path::new("."))).map_err(|error| error.to_string())?;
        fs::write(file, text).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Those that are spread over the file first, until there were enough.
fn sample(source: &Source, scenarios: &[&Test]) -> Result<usize, String> {
    let mut points = 0;
    for scenario in spread(scenarios) {
        points += killed(source, scenario, EACH)?;
        if points >= SAMPLE {
            break;
        }
    }
    Ok(points)
}

/// The scenarios of each fixture, in their order.
fn by_fixture<'a>(source: &Source, scenarios: &[&'a Test]) -> Result<Vec<Vec<&'a Test>>, String> {
    let fixtures = test::fixtures(source).map_err(|error| error.to_string())?;
    let mut found: BTreeMap<&str, Vec<&Test>> = BTreeMap::new();
    for scenario in scenarios.iter().copied() {
        if let Some(fixture) = fixtures.get(&scenario.to_string()) {
            found.entry(fixture).or_default().push(scenario);
        }
    }
    Ok(found.into_values().collect())
}

/// At how many points runs of a scenario were killed.
fn killed(source: &Source, scenario: &Test, kills: usize) -> Result<usize, String> {
    let killed = test::one(source, scenario, false, kills).map_err(|error| format!("{scenario}: {error}"))?;
    match killed.breaks {
        Some(broken) => Err(format!("{scenario}: it breaks an invariant though nobody kills it: {broken}")),
        None => Ok(killed.points),
    }
}

/// What was killed everywhere.
#[derive(Default)]
struct Done {
    scenarios: usize,
    points: usize,
}

/// The same at every point of one scenario of each group, the first that has any; one group on each processor at a time. It takes an hour for
/// the longest runbooks, so it says how far it is. A failure stops it.
fn everywhere(name: &str, source: &Source, groups: Vec<Vec<&Test>>) -> Result<Done, String> {
    let (next, done, failed) = (AtomicUsize::new(0), Mutex::new(Done::default()), Mutex::new(None));
    let group = |at: usize, group: &[&Test]| -> Result<(), String> {
        for scenario in group {
            let more = killed(source, scenario, usize::MAX)?;
            let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
            if more > 0 {
                done.scenarios += 1;
                done.points += more;
            }
            let all = done.points;
            let told = format!("kills::{name}: {} of {}, {more} points, {all} so far: {scenario}\n", at + 1, groups.len());
            // Whoever cannot be told is not waiting for it.
            std::io::stderr().write_all(told.as_bytes()).ok();
            if more > 0 {
                break;
            }
        }
        Ok(())
    };
    let work = || {
        while failed.lock().unwrap_or_else(PoisonError::into_inner).is_none() {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(these) = groups.get(at) else { break };
            if let Err(error) = group(at, these) {
                *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    failed.map_or_else(|| Ok(done.into_inner().unwrap_or_else(PoisonError::into_inner)), Err)
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
