//! `lockgate test`: the scenarios of a runbook, and the tests that every runbook gets for free.

mod back;
mod cluster;
mod elsewhere;
pub mod ended;
mod expect;
mod fields;
mod free;
mod hollow;
pub mod kill;
mod kills;
mod life;
mod names;
#[cfg(test)]
mod page_tests;
mod play;
mod pods;
mod roles;

pub use self::hollow::{Reached, hollow, noticed};
pub use self::kills::{Killed, difference};

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};

use super::args::{Format, TestArgs};
use super::{Done, find};
use crate::base::{Error, Result};
use crate::lua::{Engine, TestFile};
use crate::primitives::registry::plural;
use crate::report::json as report;
use crate::report::{Screen, escape, excerpt};
use crate::run::Source;
use crate::run::source::{FILES, unreadable};

/// The file of scenarios beside a runbook.
const SCENARIOS: &str = "test.luau";
/// The test that there is when the file of scenarios does not load: it fails.
const SCENARIOS_LOAD: &str = "its scenarios load";

/// One test of a runbook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test {
    /// The file loads without a cluster.
    Loads,
    /// Every line of the source document is answered for.
    Coverage,
    /// The plan on the runbook's own fixture is the committed one.
    Plan,
    /// The roles of that plan are what its run needs, and no more.
    Roles,
    /// Its run on that fixture is taken back after each of its steps, to how the cluster was.
    Back,
    /// The steps of the test of a module hold on its own cluster.
    Holds,
    /// A scenario, by name.
    Scenario(String),
}

impl std::fmt::Display for Test {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Test::Loads => f.write_str("loads without a cluster"),
            Test::Coverage => f.write_str("answers for every line of its source"),
            Test::Plan => f.write_str("plans as committed"),
            Test::Roles => f.write_str("runs under exactly the roles of its plan"),
            Test::Back => f.write_str("is taken back from every step"),
            Test::Holds => f.write_str("holds on its cluster"),
            Test::Scenario(name) => f.write_str(name),
        }
    }
}

fn scenarios(source: &Source) -> Result<Option<TestFile>> {
    let Some(text) = source.beside.read(SCENARIOS)? else { return Ok(None) };
    let file = Source { file: source.beside.label(SCENARIOS), text: text.into(), ..source.clone() };
    TestFile::load(&Engine::of_thread()?, &file).map(Some)
}

/// The tests of a runbook, in the order in which they are run.
///
/// # Errors
/// When its file of scenarios does not load. A runbook that does not load has one test, which says so.
pub fn tests(source: &Source) -> Result<Vec<Test>> {
    let mut tests = vec![Test::Loads];
    if free::is_of_module(source) {
        return Ok(vec![Test::Loads, Test::Holds]);
    }
    let Ok(runbook) = super::host::declared(source, &[]) else { return Ok(tests) };
    if !runbook.coverage.is_empty() {
        tests.push(Test::Coverage);
    }
    if source.beside.read(free::FIXTURE)?.is_some() {
        tests.push(Test::Plan);
        if free::committed(source)?.is_some_and(|plan| roles::is_whole(&plan)) {
            tests.extend([Test::Roles, Test::Back]);
        }
    }
    if let Some(file) = scenarios(source)? {
        tests.extend(file.scenarios.iter().map(|scenario| Test::Scenario(scenario.name.clone())));
    }
    Ok(tests)
}

/// The fixture of each scenario, by their names.
///
/// # Errors
/// When the file of scenarios does not load. A scenario that is written wrongly is left out: it fails as a test.
pub fn fixtures(source: &Source) -> Result<BTreeMap<String, String>> {
    let file = scenarios(source)?;
    let all = file.iter().flat_map(|file| &file.scenarios);
    Ok(all.filter_map(|raw| Some((raw.name.clone(), fields::Scenario::read(raw).ok()?.fixture))).collect())
}

/// What is odd about the fixtures beside a runbook, each once.
fn fixture_notes(source: &Source) -> Result<Vec<String>> {
    let mut names = std::collections::BTreeSet::from([free::FIXTURE.to_owned()]);
    // A file of scenarios that does not load fails as a test.
    names.extend(fixtures(source).unwrap_or_default().into_values());
    let mut told = Vec::new();
    for name in names {
        if let Some(text) = source.beside.read(&name)? {
            told.extend(super::target::notes(&source.beside.label(&name), &text));
        }
    }
    Ok(told)
}

/// Runs one test. With `bless` the committed plan is written instead of compared; the run of a scenario is killed, too, at no more than `kills`
/// of its different states, spread over it: `usize::MAX` is everywhere, 0 not at all. Gives how often a run was killed and came to the same
/// end.
///
/// # Errors
/// What was not as it should be, and where.
pub fn one(source: &Source, test: &Test, bless: bool, kills: usize) -> Result<Killed> {
    match test {
        Test::Loads => free::loads(source).map(|()| Killed::default()),
        Test::Coverage => free::coverage(source).map(|()| Killed::default()),
        Test::Plan => free::plan(source, bless).map(|()| Killed::default()),
        Test::Roles => roles::exact(source).map(|()| Killed::default()),
        Test::Back => back::from_every_step(source),
        Test::Holds => free::holds(source).map(|()| Killed::default()),
        Test::Scenario(name) => {
            let file = scenarios(source)?.ok_or_else(|| Error::usage(format!("there is no `{SCENARIOS}`")))?;
            let raw = file.scenarios.iter().find(|scenario| scenario.name == *name);
            let raw = raw.ok_or_else(|| Error::usage(format!("there is no scenario `{name}`")))?;
            play::play((source, None), &file, &fields::Scenario::read(raw)?, kills)
        }
    }
}

/// Runs the tests of the runbooks that were named, or of all bundled ones.
///
/// # Errors
/// A runbook that is not there, or a document that cannot be read. Failed tests are the exit code.
pub(super) fn test(args: &TestArgs, screen: &Screen) -> Done {
    let sources: Vec<Source> = if args.runbooks.is_empty() {
        Source::bundled_names().iter().filter_map(|name| Source::bundled(name)).collect()
    } else {
        args.runbooks.iter().map(|word| named(word)).collect::<Result<Vec<_>>>()?.concat()
    };
    super::host::folders(&args.modules)?;
    let sources: Vec<Source> = sources.into_iter().map(|source| Source { modules: args.modules.clone(), ..source }).collect();
    if !args.documents.is_empty() {
        return documents(args, &sources, screen);
    }
    let bless = args.bless || std::env::var_os("BLESS").is_some_and(|value| value == "1");
    let mut tally = Tally::default();
    let mut take = |source: &Source, test: &str, outcome: Result<Killed>| tally.take(args, screen, (&source.name, test), Told::of(outcome));
    let kills = if args.no_kills { 0 } else { usize::MAX };
    if let Some(path) = &args.snapshot {
        let other = elsewhere::Elsewhere::open(path)?;
        screen.talk(&other.told());
        for source in &sources {
            other.tests(source, kills).into_iter().for_each(|(test, told)| tally.take(args, screen, (&source.name, &test), told));
        }
        return tally.end(args, screen);
    }
    for source in &sources {
        fixture_notes(source)?.iter().for_each(|line| screen.talk(line));
        let mut reached = Reached::default();
        match tests(source) {
            Ok(tests) => {
                for test in &tests {
                    let outcome = one(source, test, bless, kills);
                    outcome.iter().for_each(|played| reached.note(test, played));
                    take(source, &test.to_string(), outcome);
                }
            }
            // The tests of the other runbooks are run all the same.
            Err(error) => take(source, SCENARIOS_LOAD, Err(error)),
        }
        if args.hollow {
            for (step, emptied) in hollow(source)? {
                let outcome = noticed(&step, &emptied, &reached).map(|()| Killed::default());
                take(source, &format!("a step that does nothing is noticed: {step}"), outcome);
            }
        }
    }
    tally.end(args, screen)
}

/// What came of one test.
struct Told {
    /// What is wrong, or how often its run was killed; none for one that was left out.
    outcome: Option<Result<Killed>>,
    /// What there is to say of it besides.
    note: Option<String>,
}

impl Told {
    fn of(outcome: Result<Killed>) -> Told {
        Told { outcome: Some(outcome), note: None }
    }
}

/// What came of all of them.
#[derive(Default)]
struct Tally {
    results: Vec<Json>,
    passed: usize,
    failed: usize,
    skipped: usize,
    killed: Killed,
}

impl Tally {
    /// One test is over: of a runbook, by its name.
    fn take(&mut self, args: &TestArgs, screen: &Screen, (runbook, test): (&str, &str), told: Told) {
        let word = match &told.outcome {
            None => "skipped",
            Some(Ok(_)) => "ok",
            Some(Err(_)) => "failed",
        };
        match &told.outcome {
            None => self.skipped += 1,
            Some(Ok(_)) => self.passed += 1,
            Some(Err(_)) => self.failed += 1,
        }
        if args.output.output == Format::Text {
            let word = match word {
                "failed" => "FAILED",
                "skipped" => "skip",
                other => other,
            };
            screen.data(&format!("{word:<6}  {runbook}  {test}"));
            told.note.iter().for_each(|note| screen.data(&format!("        {}", escape::line(note))));
            match &told.outcome {
                Some(Ok(killed)) => killed.told().iter().for_each(|line| screen.data(&format!("        {line}"))),
                Some(Err(error)) => screen.data(&excerpt::error(error, screen.paint)),
                None => {}
            }
        }
        let mut entry = json!({ "runbook": runbook, "name": test, "result": word });
        if let Some(note) = told.note {
            entry["note"] = note.into();
        }
        match told.outcome {
            Some(Ok(killed)) => {
                if killed.points > 0 {
                    entry["killed"] = killed.points.into();
                }
                if killed.back > 0 {
                    entry["taken_back"] = killed.back.into();
                }
                self.killed += killed;
            }
            Some(Err(error)) => entry["error"] = json!(error),
            None => {}
        }
        self.results.push(entry);
    }

    /// The last lines, or the document; the exit code.
    fn end(self, args: &TestArgs, screen: &Screen) -> Done {
        let Tally { results, passed, failed, skipped, killed } = self;
        match args.output.output {
            Format::Text => {
                let rest = if skipped > 0 { format!(", {skipped} skipped") } else { String::new() };
                screen.data(&format!("{}: {passed} passed, {failed} failed{rest}", plural(passed + failed, "test")));
                killed.told().iter().for_each(|line| screen.data(line));
            }
            Format::Json => screen.data(&report::document(
                report::TEST,
                &json!({
                    "tests": results, "passed": passed, "failed": failed, "skipped": skipped,
                    "killed": killed.points, "asked": killed.asked, "taken_back": killed.back,
                }),
            )?),
        }
        Ok(u8::from(failed > 0))
    }
}

/// The runbooks that a word means: one, or those in the folders of a folder. The scenarios of a runbook stand for it.
fn named(word: &str) -> Result<Vec<Source>> {
    let path = Path::new(word);
    if path.file_name().is_some_and(|name| name == SCENARIOS) {
        return Ok(vec![Source::on_disk(path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new(".")))?]);
    }
    let one = find::runbook(word);
    if one.is_ok() || !path.is_dir() {
        return one.map(|source| vec![source]);
    }
    let inner = std::fs::read_dir(path).map_err(|error| unreadable(path, &error))?;
    let mut inner: Vec<PathBuf> = inner.filter_map(|entry| Some(entry.ok()?.path())).collect();
    inner.sort();
    let sources: Vec<Source> = inner
        .iter()
        .filter(|path| FILES.iter().any(|file| path.join(file).is_file()) || free::tests_module(path))
        .map(|path| Source::on_disk(path))
        .collect::<Result<_>>()?;
    if sources.is_empty() { one.map(|source| vec![source]) } else { Ok(sources) }
}

/// `--document NUMBER=FILE`: compares the committed line hashes with the document at hand, or writes them.
fn documents(args: &TestArgs, sources: &[Source], screen: &Screen) -> Done {
    let [source] = sources else {
        return Err(Error::usage("`--document` goes with one runbook").hint("name its folder"));
    };
    for word in &args.documents {
        let (number, file) =
            word.split_once('=').ok_or_else(|| Error::usage(format!("`{word}` is no document")).hint("write `--document 002=FILE`"))?;
        screen.data(&free::document(source, number, std::path::Path::new(file), args.bless)?);
    }
    Ok(0)
}
