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
/// fixture, with names of fixtures (`cluster.yaml,cluster-canal.yaml`) of one of each of these; `BLESS=1` writes how many there were, of all
/// scenarios where nothing else is said. What was written of other fixtures stays, so that long proofs can be made in parts.
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
#[derive(Clone, Debug, PartialEq, Eq)]
enum Wanted {
    /// So many that differ, of scenarios that are spread over the file.
    Sample,
    /// Every point of one scenario of each of these fixtures, or of all: the first that is killed anywhere.
    Fixtures(Vec<String>),
    /// Every point of every scenario.
    All,
}

impl Wanted {
    fn asked() -> Result<Wanted, String> {
        match given("LOCKGATE_KILLS").as_str() {
            "" if given("BLESS") == "1" => Ok(Wanted::All),
            "" => Ok(Wanted::Sample),
            "all" => Ok(Wanted::All),
            "fixtures" => Ok(Wanted::Fixtures(Vec::new())),
            names if names.ends_with(".yaml") => Ok(Wanted::Fixtures(names.split(',').map(str::to_owned).collect())),
            other => Err(format!("LOCKGATE_KILLS is `{other}`: it must be `all`, `fixtures` or names of fixtures, as `cluster.yaml`")),
        }
    }
}

fn given(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

/// Plays scenarios with kills.
fn kills(name: &str, path: &Path) -> Result<(), Failed> {
    let source = Source::on_disk(path).map_err(|error| error.to_string())?;
    let tests = test::tests(&source).map_err(|error| error.to_string())?;
    let scenarios: Vec<&Test> = tests.iter().filter(|test| matches!(test, Test::Scenario(_))).collect();
    let whole = |groups: Vec<Group<'_>>| everywhere(name, &source, groups).map(|done| (done.values().sum(), done));
    let (points, done) = match Wanted::asked()? {
        Wanted::Sample => (sample(&source, &scenarios)?, None),
        Wanted::All => whole(scenarios.iter().map(|one| (one.to_string(), vec![*one])).collect()).map(|(points, _)| (points, None))?,
        Wanted::Fixtures(names) => whole(by_fixture(&source, &scenarios, &names)?).map(|(points, done)| (points, Some(done)))?,
    };
    KILLED.fetch_add(points, Ordering::Relaxed);
    if given("BLESS") == "1" {
        note(name, scenarios.len(), points, done)?;
    }
    Ok(())
}

/// Writes at how many points a runbook was killed: of all scenarios, or of one of each fixture together with what was written of others.
fn note(name: &str, scenarios: usize, points: usize, fixtures: Option<BTreeMap<String, usize>>) -> Result<(), String> {
    let file = counted(name);
    let text = match fixtures {
        None => format!("{scenarios} scenarios, killed at {points} points\n"),
        Some(done) => {
            let former = fs::read_to_string(&file).unwrap_or_default();
            let line = |line: &str| line.split_once(": ").and_then(|(name, points)| Some((name.to_owned(), points.parse().ok()?)));
            let mut all: BTreeMap<String, usize> = former.lines().filter_map(line).collect();
            all.extend(done.into_iter().filter(|(_, points)| *points > 0));
            let lines: String = all.iter().map(|(name, points)| format!("{name}: {points}\n")).collect();
            format!("{} of {scenarios} scenarios, killed at {} points\n{lines}", all.len(), all.values().sum::<usize>())
        }
    };
    fs::create_dir_all(file.parent().unwrap_or(Path::new("."))).map_err(|error| error.to_string())?;
    fs::write(file, text).map_err(|error| error.to_string())
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

/// Scenarios of which the first that is killed anywhere is enough, and what they are called together.
type Group<'a> = (String, Vec<&'a Test>);

/// The scenarios of each of these fixtures, in their order; of all where none is named.
fn by_fixture<'a>(source: &Source, scenarios: &[&'a Test], names: &[String]) -> Result<Vec<Group<'a>>, String> {
    let fixtures = test::fixtures(source).map_err(|error| error.to_string())?;
    let mut found: BTreeMap<&str, Vec<&Test>> = BTreeMap::new();
    for scenario in scenarios.iter().copied() {
        if let Some(fixture) = fixtures.get(&scenario.to_string()) {
            found.entry(fixture).or_default().push(scenario);
        }
    }
    if let Some(unknown) = names.iter().find(|name| !found.contains_key(name.as_str())) {
        return Err(format!("no scenario of {} has the fixture `{unknown}`", source.name));
    }
    let wanted = |name: &str| names.is_empty() || names.iter().any(|one| one == name);
    Ok(found.into_iter().filter(|(name, _)| wanted(name)).map(|(name, scenarios)| (name.to_owned(), scenarios)).collect())
}

/// At how many points runs of a scenario were killed.
fn killed(source: &Source, scenario: &Test, kills: usize) -> Result<usize, String> {
    let killed = test::one(source, scenario, false, kills).map_err(|error| format!("{scenario}: {error}"))?;
    match killed.breaks {
        Some(broken) => Err(format!("{scenario}: it breaks an invariant though nobody kills it: {broken}")),
        None => Ok(killed.points),
    }
}

/// The same at every point of one scenario of each group, the first that has any; one group on each processor at a time. It takes an hour for
/// the longest runbooks, so it says how far it is. A failure stops it. Gives the points of each group.
fn everywhere(name: &str, source: &Source, groups: Vec<Group<'_>>) -> Result<BTreeMap<String, usize>, String> {
    let (next, done, failed) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()), Mutex::new(None));
    let group = |at: usize, (called, scenarios): &Group<'_>| -> Result<(), String> {
        for scenario in scenarios {
            let points = killed(source, scenario, usize::MAX)?;
            let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
            done.insert(called.clone(), points);
            let all: usize = done.values().sum();
            let told = format!("kills::{name}: {} of {}, {points} points, {all} so far: {scenario}\n", at + 1, groups.len());
            // Whoever cannot be told is not waiting for it.
            std::io::stderr().write_all(told.as_bytes()).ok();
            if points > 0 {
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
