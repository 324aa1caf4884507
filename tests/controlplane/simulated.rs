//! The same runs on the simulated cluster, in this process.

use std::cell::RefCell;
use std::rc::Rc;

use futures::future::LocalBoxFuture;
use lockgate::base::{Result, Span};
use lockgate::cluster::{Cluster, Options, RunId, Simulation};
use lockgate::lua::LuaHost;
use lockgate::primitives::AskOptions;
use lockgate::run::{self, Confirmation, End, Given, Operator, Record, Script, Source, Voice};
use lockgate_sim::Options as SimOptions;
use lockgate_sim::fixture::Fixture;
use lockgate_sim::kinds;
use serde_json::Value;

use super::Outcome;
use super::fixture::{self, RUNBOOK};
use super::normalise::{self, State};

/// Virtual time for the controllers to come to rest after a run, less than any deadline.
const REST: u64 = 120;

/// Says the same to every confirmation.
#[derive(Clone, Copy, Debug)]
struct Says(bool);

impl Operator for Says {
    fn confirm<'a>(&'a self, _: &'a Confirmation) -> LocalBoxFuture<'a, Result<Option<bool>>> {
        Box::pin(async { Ok(Some(self.0)) })
    }

    fn ask<'a>(&'a self, _: &'a Confirmation, _: &'a AskOptions) -> LocalBoxFuture<'a, Result<Option<String>>> {
        Box::pin(async { Ok(None) })
    }
}

/// Runs the runbook on a fixture, answers its confirmations, and gives what the cluster holds afterwards.
///
/// # Errors
/// The run did not end as expected.
pub(crate) fn state_after(file: &str, image: &str, consent: bool, expected: End) -> Outcome<State> {
    let words = |error: lockgate::base::Error| format!("{error}");
    let text = std::fs::read_to_string(fixture::path(file)).map_err(|error| format!("reading {file}: {error}"))?;
    let options = SimOptions::default();
    let run_id = RunId::simulated(options.start, options.seed);
    let sim = Fixture::parse(file, &text).and_then(|fixture| fixture.cluster(options)).map_err(|error| error.to_string())?;
    let cluster = Cluster::simulated(sim, Options::new(run_id));

    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = Rc::new(runtime.map_err(|error| format!("starting the runtime: {error}"))?);
    let source = Source::bundled(RUNBOOK).ok_or_else(|| format!("{RUNBOOK} is not bundled"))?;
    let mut script = LuaHost::new(source, Some(runtime)).map_err(words)?;
    let runbook = Rc::new(script.load().map_err(words)?);
    let given = Given::words(&[image.to_owned()]).map_err(words)?;
    let params = run::params::resolve(&runbook, &given, &mut |pattern, text| script.matches(pattern, text)).map_err(words)?;

    let voice = Voice::Person { operator: Rc::new(Says(consent)), consented: Vec::new() };
    let records: Rc<RefCell<Vec<Record>>> = Rc::default();
    let summary = run::run(&mut script, &cluster, &runbook, &Rc::new(params), voice, records.clone());
    if summary.end != expected {
        return Err(format!("the run ended {:?} instead of {expected:?}: {:?}\n{:#?}", summary.end, summary.error, records.borrow()));
    }
    let simulation = cluster.simulation().ok_or("the cluster is not simulated")?;
    Ok(state(&simulation))
}

/// What the cluster holds at rest, made comparable.
fn state(simulation: &Simulation) -> State {
    simulation.with(|sim| {
        let until = sim.now() + Span::from_secs(REST).as_duration();
        sim.advance_to(until);
        let mut objects: Vec<Value> = Vec::new();
        for (group, version, plural) in fixture::COMPARED {
            let Some(kind) = kinds::by_resource(group, version, plural) else { continue };
            objects.extend(sim.store().list(kind, Some(fixture::NAMESPACE)).map(|(_, object)| Value::from(&**object)));
        }
        normalise::normalise(objects)
    })
}
