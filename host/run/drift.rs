//! When a run goes on: is what it wrote still as it left it? Each object that it wrote is read once, several of a kind by one list.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::journal::past::Written;
use super::runner::{Runner, Stop};
use crate::base::diff::{changes, reaches};
use crate::base::json::Value as Json;
use crate::base::{ObjectRef, Reason, Result};
use crate::cluster::keep::{Drift, Keeper as _};
use crate::cluster::{Access, Cluster, Select, Target};

impl Runner<'_> {
    /// Compares the cluster with the record of a run that goes on; steps that are to be done again are forgotten.
    pub(super) fn as_left(&mut self) -> Result<(), Stop> {
        let Some(record) = self.record.clone() else { return Ok(()) };
        let written = record.book.written();
        if written.is_empty() {
            return Ok(());
        }
        self.cluster.set_access(Access::ReadOnly);
        for (written, differences) in record.runtime.block_on(changed(&self.cluster, written)).map_err(Stop::Error)? {
            match record.book.drift(&written.target, differences).map_err(Stop::Error)? {
                Drift::Accept => {}
                Drift::Again => record.book.forget(&written.place),
            }
        }
        Ok(())
    }
}

/// What is no longer as it was written, with the differences. What a Secret held is not in the record.
pub(super) async fn changed(cluster: &Cluster, written: Vec<Written>) -> Result<Vec<(Written, Vec<String>)>> {
    let written = written.into_iter().filter(|written| !written.target.starts_with("secret/")).collect();
    let found = read(cluster, written).await?.into_iter().map(|(written, now)| {
        let differences = differences(&written, now.as_deref());
        (written, differences)
    });
    Ok(found.filter(|(_, differences)| !differences.is_empty()).collect())
}

/// Which fields are no longer as they were written.
fn differences(written: &Written, now: Option<&Json>) -> Vec<String> {
    match (&written.after, now) {
        (None, None) => Vec::new(),
        (Some(_), None) => vec!["it is gone".to_owned()],
        // What was deleted may have been made anew by whoever it belongs to.
        (None, Some(_)) => Vec::new(),
        (Some(after), Some(now)) => {
            let touched = |path: &str| written.paths.iter().any(|own| reaches(path, own) || reaches(own, path));
            changes(after, now).iter().filter(|change| touched(&change.path)).map(ToString::to_string).collect()
        }
    }
}

/// What was written, and where it is read.
type Aimed = (Target, Written);

/// Reads every object that was written, as it is now.
async fn read(cluster: &Cluster, written: Vec<Written>) -> Result<Vec<(Written, Option<Arc<Json>>)>> {
    let mut groups: BTreeMap<(String, Option<String>), Vec<Aimed>> = BTreeMap::new();
    for written in written {
        let target = cluster.target(&ObjectRef::parse(&written.target)?, None).await?;
        groups.entry((target.resource.to_string(), target.namespace.clone())).or_default().push((target, written));
    }
    let mut found = Vec::new();
    for ((_, namespace), group) in groups {
        let whole = group.iter().filter(|(_, written)| written.part.is_none()).count();
        let listed = match group.first() {
            Some((target, _)) if whole > 1 => Some(cluster.list(&target.resource, namespace.as_deref(), &Select::default()).await?),
            _ => None,
        };
        for (target, written) in group {
            let now = match &listed {
                Some(listed) if written.part.is_none() => listed
                    .items
                    .iter()
                    .find(|item| item.pointer("/metadata/name").is_some_and(|name| name == target.name.as_str()))
                    .cloned(),
                _ => match cluster.get_part(&target, written.part.as_deref()).await {
                    Ok(object) => Some(object),
                    Err(error) if error.reason == Reason::NotFound => None,
                    Err(error) => return Err(error),
                },
            };
            found.push((written, now));
        }
    }
    Ok(found)
}
