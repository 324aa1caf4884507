//! The simulated cluster of a run: kept while the run goes, and made again for who goes on with it or takes it back.

use super::args::TargetArgs;
use super::record::FIXTURE;
use super::resume::Found;
use super::{chaos, target};
use crate::base::{Error, Result, Timestamp, Value};
use crate::cluster::{Cancel, Cluster, Input, Simulation};
use crate::run::journal::requests::{self, Requests};
use crate::run::journal::{Redactor, pin};
use crate::run::runbook::ParamType;
use crate::run::{Params, Runbook};

/// The name of the pinned faults, where they came from a file.
pub(super) const FAULTS: &str = "faults.yaml";

/// What makes the cluster of a run again.
pub(super) struct World {
    fixture: String,
    faults: Option<String>,
    inputs: Vec<(Timestamp, Input<'static>)>,
    until: Option<Timestamp>,
}

impl World {
    /// Of this run; none when its cluster is a live one.
    ///
    /// # Errors
    /// When its folder does not hold what makes it again.
    pub(super) fn of(found: &Found) -> Result<Option<World>> {
        if !found.header.target.simulated {
            return Ok(None);
        }
        let inputs = requests::read(&found.folder)?;
        let fixture = pin::data(&found.folder, FIXTURE)?;
        let fixture = fixture.ok_or_else(|| Error::internal(format!("run `{}` has no pinned fixture", found.header.run)))?;
        Ok(Some(World { fixture, faults: pin::data(&found.folder, FAULTS)?, inputs, until: found.past.last }))
    }

    /// The cluster as it was when the last process of the run ended, and a line about it.
    ///
    /// # Errors
    /// When this lockgate makes another cluster of the same words than the one that began.
    pub(super) fn cluster(self, args: &TargetArgs, cancel: &Cancel) -> Result<(Cluster, Vec<String>)> {
        let cluster = target::sandbox(&target::name(args), "the pinned fixture", &self.fixture, cancel)?;
        let simulation = cluster.simulation().ok_or_else(|| Error::internal("the cluster of the run is not simulated"))?;
        if let Some(word) = &args.chaos {
            let faults = match &self.faults {
                Some(text) => chaos::parsed("the pinned faults", text)?,
                None => chaos::faults(word)?,
            };
            simulation.with(|sim| sim.disturb(faults));
        }
        simulation.replay(self.inputs, self.until)?;
        let told = format!("the simulated cluster was made again as it was at {}", simulation.now());
        Ok((cluster, vec![told]))
    }
}

/// Keeps what a simulated cluster is asked from now on; none for a live one.
pub(super) fn kept(cluster: &Cluster, runbook: &Runbook, params: &Params) -> Option<Requests> {
    let simulation = cluster.simulation().filter(|_| cluster.label().simulated)?;
    let redactor = Redactor::new([0; 32]);
    for decl in runbook.params.iter().filter(|decl| decl.ty == ParamType::Secret) {
        params.get(&decl.name).and_then(Value::as_text).iter().for_each(|text| redactor.learn(text));
    }
    secrets(&simulation, &redactor);
    let requests = Requests::new(redactor);
    simulation.record(Box::new(requests.clone()));
    Some(requests)
}

/// What the Secrets of the cluster hold is looked for, too.
fn secrets(simulation: &Simulation, redactor: &Redactor) {
    simulation.with(|sim| {
        let secrets = sim.store().list(lockgate_sim::kinds::SECRET, None);
        secrets.for_each(|(_, secret)| redactor.learn_object(secret));
    });
}
