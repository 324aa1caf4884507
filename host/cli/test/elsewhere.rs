//! `lockgate test --snapshot FILE`: what was written for the cluster of a fixture, planned and played on somebody's own.

use std::path::Path;

use super::fields::Scenario;
use super::{Killed, SCENARIOS_LOAD, Test, Told, free, play, scenarios};
use crate::base::Result;
use crate::cli::target;
use crate::cluster::snapshot::Contents;
use crate::cluster::{Cancel, Cluster};
use crate::run::{End, Source};

/// The test of a runbook that there is on a snapshot only.
const PLANS: &str = "plans on the snapshot";

/// A cluster as a snapshot has it.
pub(super) struct Elsewhere {
    label: String,
    contents: Contents,
}

impl Elsewhere {
    /// Reads the snapshot.
    ///
    /// # Errors
    /// Input: what is wrong with the file, or with what it has of custom resources.
    pub(super) fn open(path: &Path) -> Result<Elsewhere> {
        let other = Elsewhere { label: target::label(path), contents: Contents::open(path)? };
        other.world().map(drop)?;
        Ok(other)
    }

    /// The sentence about it for whoever starts the tests.
    pub(super) fn told(&self) -> String {
        target::told(&self.contents)
    }

    /// It as a cluster in which things happen, made anew.
    ///
    /// # Errors
    /// As [`Elsewhere::open`].
    pub(super) fn world(&self) -> Result<Cluster> {
        self.contents.world(&self.label, &Cancel::new())
    }

    /// What came of each test of a runbook, in their order. What is wrong with a runbook is a test that fails.
    pub(super) fn tests(&self, source: &Source, kills: usize) -> Vec<(String, Told)> {
        let mut done = vec![(Test::Loads.to_string(), Told::of(free::loads(source).map(|()| Killed::default())))];
        if free::is_of_module(source) {
            done.push((Test::Holds.to_string(), skipped("the test of a module has a cluster of its own")));
            return done;
        }
        if done.iter().any(|(_, told)| matches!(told.outcome, Some(Err(_)))) {
            return done;
        }
        done.push((PLANS.to_owned(), self.plan(source)));
        let file = match scenarios(source) {
            Ok(Some(file)) => file,
            Ok(None) => return done,
            Err(error) => {
                done.push((SCENARIOS_LOAD.to_owned(), Told::of(Err(error))));
                return done;
            }
        };
        for raw in &file.scenarios {
            let told = match Scenario::read(raw) {
                Ok(scenario) if scenario.fixture != free::FIXTURE => {
                    skipped(&format!("it has a fixture of its own, `{}`", scenario.fixture))
                }
                Ok(scenario) => Told::of(play::play((source, Some(self)), &file, &scenario, kills)),
                Err(error) => Told::of(Err(error)),
            };
            done.push((raw.name.clone(), told));
        }
        done
    }

    /// The plan with the examples of the parameters, as `lockgate plan --snapshot` makes it.
    fn plan(&self, source: &Source) -> Told {
        let cluster = target::on_snapshot(&self.label, self.contents.clone(), &Cancel::new());
        match free::planned_on(source, cluster) {
            Err(error) => Told::of(Err(error)),
            Ok(planned) => match (planned.summary.end, planned.summary.error) {
                (End::Unknown, error) => Told {
                    outcome: Some(Ok(Killed::default())),
                    note: Some(format!(
                        "as far as can be known: {}",
                        error.as_ref().map_or_else(|| "it rests on assumptions".to_owned(), ToString::to_string)
                    )),
                },
                (_, Some(error)) => Told::of(Err(error)),
                (_, None) => Told::of(Ok(Killed::default())),
            },
        }
    }
}

fn skipped(why: &str) -> Told {
    Told { outcome: None, note: Some(why.to_owned()) }
}
