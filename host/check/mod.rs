//! What is wrong with Lua before it runs: `lockgate check`. Reads files and loads runbooks; never touches a cluster, and writes nothing.
//!
//! A [`Space`] is the files that are looked at and the modules they ask for, each read once into a tree; a rule looks at one file of
//! it and says what it finds. The type checker stands behind a trait ([`types::Analyzer`]) and a cargo feature; without it all other
//! rules hold, and the report says that types were not looked at.

mod finding;
mod rules;
mod space;
mod tree;
mod types;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;

pub use self::finding::{Finding, Rule};
use self::space::Space;
use crate::base::{Error, Kind, Reason, Result};
use crate::lua::{Engine, Shelves};
use crate::run::Source;

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The files that were looked at, in order.
    pub files: Vec<String>,
    /// What was found, by file and line.
    pub findings: Vec<Finding>,
    /// What was not looked at, and why: one sentence each.
    pub left_out: Vec<String>,
}

/// Looks at files. One of them can look many times: what it has to learn first, it learns once.
#[derive(Debug)]
pub struct Checker {
    engine: Engine,
    shelves: Shelves,
    types: std::result::Result<Box<dyn types::Analyzer>, &'static str>,
}

impl Checker {
    /// Makes one. `strict`: types are looked at as `--!strict` says, in every file; otherwise as each file says.
    ///
    /// # Errors
    /// When the interpreter or the type checker cannot be set up.
    pub fn new(strict: bool, modules: Vec<PathBuf>) -> Result<Checker> {
        let shelves = Shelves { folders: modules };
        Ok(Checker { engine: Engine::of_thread()?, types: types::analyzer(strict, &shelves)?, shelves })
    }

    /// Looks at these files, and at nothing of the modules that they ask for but what they give.
    ///
    /// # Errors
    /// When the type checker breaks.
    pub fn check(&mut self, sources: &[Source]) -> Result<Report> {
        let space = Space::read(&self.engine, &self.shelves, sources);
        let mut report = Report { files: space.asked().map(|unit| unit.tree.file.clone()).collect(), ..Report::default() };
        for unit in space.asked() {
            let mut found = rules::all(&space, unit);
            if let Ok(types) = &mut self.types
                && unit.tree.broken.is_empty()
            {
                let known: Vec<_> = found.iter().map(Finding::at).collect();
                let told = types.analyze(&unit.source)?;
                found.extend(told.into_iter().filter(|finding| !known.contains(&finding.at())));
            }
            found.sort_by_key(Finding::at);
            found.dedup_by(|left, right| left.rule == right.rule && left.at() == right.at() && left.message == right.message);
            report.findings.append(&mut found);
        }
        if let Err(why) = &self.types {
            report.left_out.push((*why).to_owned());
        }
        Ok(report)
    }
}

/// What the steps of a runbook leave to people: the texts of `manual`, by the line in which the step is declared.
///
/// # Errors
/// When the interpreter cannot be set up.
pub fn by_hand(source: &Source) -> Result<BTreeMap<u32, Vec<String>>> {
    let engine = Engine::of_thread()?;
    let space = Space::read(&engine, &Shelves { folders: source.modules.clone() }, std::slice::from_ref(source));
    Ok(space.asked().map(|unit| rules::by_hand(&space, unit)).next().unwrap_or_default())
}

/// The work of a step, as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    /// The step; where its id is not written out, the line of its declaration.
    pub step: String,
    /// Where the value of its `run` is, in bytes.
    pub text: Range<usize>,
}

/// What stands for the name of a step whose name is not written down: this and its line.
pub const UNNAMED: &str = "line ";

/// Where the `run` of each step of a runbook is written.
///
/// # Errors
/// When the file cannot be read as Luau.
pub fn works(source: &Source) -> Result<Vec<Work>> {
    let tree = tree::Tree::read(&source.file, &source.text);
    if let Some((why, at)) = tree.broken.first() {
        let mut error = Error::new(Kind::Runbook, Reason::Invalid, why.clone());
        error.places.push(tree.place(*at));
        return Err(error);
    }
    let steps = tree.declarations.iter().filter(|declaration| declaration.word == "step");
    let works = steps.filter_map(|step| {
        let run = step.items.as_ref()?.iter().find(|item| item.key.as_deref() == Some("run"))?;
        let name = step.id.clone().unwrap_or_else(|| format!("{UNNAMED}{}", tree.place(step.at).line));
        Some(Work { step: name, text: tree.bytes(run.value.at) })
    });
    Ok(works.collect())
}
