//! Scripts whose steps depend on what they wrote before: the plan on a server ends as the run on it does, at the same step, with the same
//! reason about the same object, after the same writes, and foresees what the cluster holds at the end. Here the server is a simulated
//! cluster that a plan reads from as from a live one; `controlplane::truth` does the same on the real one.

pub(crate) mod judge;
mod programs;

use std::rc::Rc;
use std::sync::Mutex;
use std::sync::PoisonError;

use libtest_mimic::Trial;
use lockgate::base::Span;
use lockgate::cluster::{Access, Cluster, Options, RunId};
use lockgate::run::What;
use lockgate_sim::Options as SimOptions;
use lockgate_sim::fixture::Fixture;

use crate::controlplane::Outcome;
use crate::controlplane::normalise::State;
use judge::Case;

/// Virtual time for the controllers to come to rest.
const REST: u64 = 300;

/// Which of the scripts were played, and ended as they had to.
static TRUE: Mutex<(usize, usize)> = Mutex::new((0, 0));

/// One case for each script.
pub(crate) fn cases() -> Vec<Trial> {
    let mut trials: Vec<Trial> = match judge::cases() {
        Ok(cases) => cases.into_iter().map(|case| Trial::test(format!("truth::{}", case.name), move || Ok(agrees(&case)?))).collect(),
        Err(error) => vec![Trial::test("truth::its scripts can be read", move || Err(error.clone().into()))],
    };
    trials.extend(programs::cases());
    trials
}

/// What the run of the cases found; nothing when none was played.
pub(crate) fn told() -> String {
    let (right, all) = *TRUE.lock().unwrap_or_else(PoisonError::into_inner);
    if all == 0 { String::new() } else { format!("dependent steps: {right} of {all}\n") }
}

fn agrees(case: &Case) -> Outcome {
    let played = play(case);
    let mut counts = TRUE.lock().unwrap_or_else(PoisonError::into_inner);
    counts.1 += 1;
    counts.0 += usize::from(played.is_ok());
    played
}

fn play(case: &Case) -> Outcome {
    let options = SimOptions::default();
    let run = RunId::simulated(options.start, options.seed);
    let sim = Fixture::parse("world.yaml", &case.world).and_then(|fixture| fixture.cluster(options));
    let cluster = Cluster::stand_in(sim.map_err(|error| error.to_string())?, Options::new(run));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = Rc::new(runtime.map_err(|error| format!("starting the runtime: {error}"))?);

    let stored = || cluster.simulation().map(|simulation| simulation.with(|sim| (sim.store().rv(), sim.ledger().len())));
    let untouched = stored();
    let twin = cluster.planning();
    let before = rested(&runtime, &cluster.planning(), case)?;
    let plan = case.perform(&runtime, &twin, What::Plan)?;
    let planned = rested(&runtime, &twin, case)?;
    if rested(&runtime, &cluster.planning(), case)? != before || stored() != untouched {
        return Err(format!("{}: the plan has changed the cluster", case.name));
    }
    cluster.set_access(Access::ReadWrite);
    let run = case.perform(&runtime, &cluster, What::Run)?;
    let state = rested(&runtime, &cluster, case)?;
    let found = judge::disagreements(case, (&plan, &planned), (&run, &state));
    if found.is_empty() { Ok(()) } else { Err(found.join("\n")) }
}

/// What the cluster holds when its controllers have nothing left to do.
fn rested(runtime: &tokio::runtime::Runtime, cluster: &Cluster, case: &Case) -> Outcome<State> {
    runtime.block_on(async {
        let until = cluster.clock().now() + Span::from_secs(REST).as_duration();
        cluster.rest(until).await.map_err(|error| format!("{}: {error}", case.name))?;
        judge::state(cluster, case).await
    })
}
