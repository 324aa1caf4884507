//! What the cluster of a run was told of its journal, and the way to that cluster from the run's folder.

use tokio::runtime::Runtime;

use super::resume::{self, Found};
use super::setting::Setting;
use crate::base::{Error, Kind, Reason, Result};
use crate::cluster::{Cancel, Cluster, LiveOptions, Options, RunId};
use crate::run::journal::Read;
use crate::run::journal::entry::Header;
use crate::run::lock::{self, Told};

/// Refuses a journal that is not the one that the lock of its cluster was told of. With `truncated` the person has said to go on from
/// what there is.
///
/// # Errors
/// That, and those of a read.
pub(super) fn checked(setting: &Setting, found: &Found, truncated: bool) -> Result<()> {
    if truncated {
        return Ok(());
    }
    compared(&setting.runtime, &setting.cluster, &found.read).map(drop)
}

/// What the lock of this cluster was told of a journal.
///
/// # Errors
/// Refused when the journal is not that one; those of a read.
pub(super) fn compared(runtime: &Runtime, cluster: &Cluster, read: &Read) -> Result<Told> {
    let name = cluster.label().name;
    let lease = runtime.block_on(cluster.lease()).map_err(|error| error.context(format!("reading the lock of `{name}`")))?;
    lock::compared(read, lease.as_ref(), &name)
}

/// The cluster that the folder of a run names, looked at and found to be the same.
///
/// # Errors
/// When it was simulated and is gone, its kubeconfig is, or it is another one now.
pub(super) fn cluster(runtime: &Runtime, header: &Header) -> Result<Cluster> {
    if header.target.simulated {
        let message = format!("run `{}` was made in a simulated cluster, which ended with its process", header.run);
        return Err(Error::new(Kind::Refused, Reason::Unsupported, message).cause("there is no lock that could be asked"));
    }
    let target = resume::target(header)?;
    let live = LiveOptions { kubeconfig: target.kubeconfig, context: target.context };
    let cluster = runtime.block_on(Cluster::live(live, Options { cancel: Cancel::new(), ..Options::new(RunId::generate()) }))?;
    resume::is_cluster_of(runtime, &cluster, header)?;
    Ok(cluster)
}
