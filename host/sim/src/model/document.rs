//! A `Model` document: entries of all sorts, each with its reason.

use serde::Deserialize;
use serde::de::{self, Deserializer};

use super::{ChartModel, DefinitionModel, ExecModel, ImageModel, LogModel, NodeModel, ObjectModel, PodModel, ProgramModel, ReleaseModel};
use crate::machines::MachineModel;

/// A `Model` document of a fixture.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelDocument {
    /// Entries about images.
    pub images: Vec<ImageModel>,
    /// Entries about pods.
    pub pods: Vec<PodModel>,
    /// Entries about commands in containers.
    pub exec: Vec<ExecModel>,
    /// Entries about logs.
    pub logs: Vec<LogModel>,
    /// Entries about nodes.
    pub nodes: Vec<NodeModel>,
    /// Entries about the machines behind nodes.
    pub machines: Vec<MachineModel>,
    /// Entries about charts.
    pub charts: Vec<ChartModel>,
    /// Entries about programs of the operator's machine.
    pub programs: Vec<ProgramModel>,
    /// Releases of helm that the cluster begins with.
    pub releases: Vec<ReleaseModel>,
    /// Entries about definitions of kinds.
    pub definitions: Vec<DefinitionModel>,
    /// Entries about objects whose operator is elsewhere.
    pub objects: Vec<ObjectModel>,
    /// What else is taken in, by the names of [`INCLUDES`](crate::fixture::INCLUDES).
    pub include: Vec<String>,
}

/// A document as it is written, with the sections that are refused by name.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
    #[serde(rename = "metadata", default)]
    _metadata: de::IgnoredAny,
    #[serde(default)]
    images: Vec<ImageModel>,
    #[serde(default)]
    pods: Vec<PodModel>,
    #[serde(default)]
    objects: Vec<ObjectModel>,
    #[serde(default)]
    definitions: Vec<DefinitionModel>,
    #[serde(default)]
    include: Vec<String>,
    #[serde(default)]
    machines: Vec<MachineModel>,
    #[serde(default)]
    charts: Vec<ChartModel>,
    #[serde(default)]
    programs: Vec<ProgramModel>,
    #[serde(default)]
    releases: Vec<ReleaseModel>,
    #[serde(default)]
    logs: Vec<LogModel>,
    #[serde(default)]
    exec: Vec<ExecModel>,
    #[serde(default)]
    nodes: Vec<NodeModel>,
}

impl<'de> Deserialize<'de> for ModelDocument {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let w = Written::deserialize(deserializer)?;
        let whys = w.images.iter().map(|m| &m.why).chain(w.pods.iter().map(|m| &m.why));
        let whys = whys.chain(w.exec.iter().map(|m| &m.why)).chain(w.logs.iter().map(|m| &m.why)).chain(w.nodes.iter().map(|m| &m.why));
        let whys = whys.chain(w.machines.iter().map(|m| &m.why)).chain(w.charts.iter().map(|m| &m.why));
        let whys = whys.chain(w.programs.iter().map(|m| &m.why));
        let whys = whys.chain(w.releases.iter().map(|m| &m.why));
        let whys = whys.chain(w.definitions.iter().map(|m| &m.why)).chain(w.objects.iter().map(|m| &m.why));
        let checked = w.objects.iter().try_for_each(ObjectModel::check).and_then(|()| w.exec.iter().try_for_each(ExecModel::check));
        let checked = checked.and_then(|()| w.pods.iter().try_for_each(PodModel::check));
        let checked = checked.and_then(|()| w.releases.iter().try_for_each(ReleaseModel::check));
        checked.and_then(|()| w.machines.iter().try_for_each(MachineModel::check)).map_err(de::Error::custom)?;
        w.charts.iter().try_for_each(ChartModel::check).map_err(de::Error::custom)?;
        if whys.into_iter().any(|why| why.trim().is_empty()) {
            return Err(de::Error::custom("`why` of a model entry is empty; say why it is believed"));
        }
        Ok(Self {
            images: w.images,
            pods: w.pods,
            exec: w.exec,
            logs: w.logs,
            nodes: w.nodes,
            machines: w.machines,
            charts: w.charts,
            programs: w.programs,
            releases: w.releases,
            definitions: w.definitions,
            objects: w.objects,
            include: w.include,
        })
    }
}
