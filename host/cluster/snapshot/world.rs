//! A snapshot as a simulated cluster: what was there stands there, and from then on it is written to like any other.

use lockgate_sim::{Cluster as Sim, Options as SimOptions, Scope, kinds};

use super::Contents;
use crate::base::json::Value as Json;
use crate::base::{Error, Result, Timestamp};
use crate::cluster::Cluster;
use crate::cluster::{Cancel, Options, RunId};

/// What is drawn here is drawn otherwise than in the cluster of which the snapshot is, should that have been a simulated one.
const SEED: u64 = 0x776f_726c;

impl Contents {
    /// A simulated cluster that begins as the snapshot, under this name. What the snapshot does not know cannot be read in it either, by
    /// name; controllers take it for empty.
    ///
    /// # Errors
    /// Input: the file has objects of a custom resource whose definition cannot be used.
    pub fn world(&self, label: &str, cancel: &Cancel) -> Result<Cluster> {
        let start = self.start();
        let mut sim = Sim::new(SimOptions { partial: true, seed: SEED, ..self.options() });
        let definitions = kinds::CUSTOM_RESOURCE_DEFINITION;
        for definition in self.of(definitions.group, definitions.plural, None) {
            sim.define(definition.clone()).map_err(|refusal| {
                let name = definition.pointer("/metadata/name").and_then(Json::as_str).unwrap_or_default();
                Error::usage(format!("the snapshot `{label}` cannot be written to: the definition `{name}` cannot be used"))
                    .cause(refusal.message())
            })?;
        }
        for kind in sim.store().served_kinds() {
            let parts =
                self.head.scopes.iter().filter(|part| {
                    (part.group.as_str(), part.resource.as_str()) == (kind.group, kind.plural) && part.version == kind.version
                });
            for part in parts {
                let namespace = part.namespace.as_deref();
                let objects = self.of(kind.group, kind.plural, namespace).cloned().collect();
                sim.load(Scope::all(kind, namespace), objects);
            }
        }
        sim.close(&format!("the snapshot `{label}` has no"));
        sim.settle();
        let options = Options {
            cancel: cancel.clone(),
            name: Some(format!("{} (simulated from {label})", self.head.cluster)),
            namespace: Some(self.head.namespace.clone()).filter(|name| !name.is_empty()),
            ..Options::new(RunId::simulated(start, SEED))
        };
        Ok(Cluster::simulated(sim, options))
    }

    /// When it was made; where it says nothing, when every simulated cluster begins.
    fn start(&self) -> Timestamp {
        Some(self.head.at).filter(|at| *at != Timestamp::UNIX_EPOCH).unwrap_or(SimOptions::default().start)
    }

    /// What a simulated cluster has of it: its moment and its version.
    pub(super) fn options(&self) -> SimOptions {
        let mut options = SimOptions { start: self.start(), ..SimOptions::default() };
        if !self.head.version.is_empty() {
            options.version.clone_from(&self.head.version);
        }
        options
    }
}
