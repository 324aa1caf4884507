//! Following a workload and all that belongs to it: one list and one watch a kind, for verbs that wait and verbs that look once.

use std::sync::Arc;

use crate::base::json::Value as Json;

use super::cx::Cx;
use super::rollout::{Rollout, Shape};
use super::view;
use super::workload::{selector, unsupported};
use crate::base::{Error, Kind, Reason, Result, Timestamp};
use crate::cluster::{Follow, Following, Select, Target, Woke};

const WORKLOAD: usize = 0;
const PODS: usize = 1;
const HOLDERS: usize = 2;

/// A workload that is followed.
pub(super) struct Watched {
    target: Target,
    shape: Shape,
    uid: String,
    following: Following,
}

impl Watched {
    /// Lists the workload and what belongs to it. `object` is the workload as it was read: from now on its uid must not change.
    pub(super) async fn begin(cx: &Cx, target: &Target, object: &Arc<Json>, doing: &str) -> Result<Watched> {
        let message = || format!("{doing} `{target}`: a {} has no pods of its own", target.resource);
        let shape = Shape::of(target).ok_or_else(|| unsupported(target, message()))?;
        let labels = selector(object).ok_or_else(|| unsupported(target, format!("{doing} `{target}`: it selects no pods")))?;
        let namespace = &target.namespace;
        let select = Select { labels: Some(labels), fields: None };
        let pods = cx.cluster.resolve("pods", None).await?;
        let mut scopes = vec![by_name(target), Follow { resource: pods, namespace: namespace.clone(), select: select.clone() }];
        let holder = match shape {
            Shape::Deployment => Some("replicasets"),
            Shape::DaemonSet => Some("controllerrevisions"),
            Shape::StatefulSet | Shape::Replicas => None,
        };
        if let Some(kind) = holder {
            let resource = cx.cluster.resolve(kind, Some("apps")).await?;
            scopes.push(Follow { resource, namespace: namespace.clone(), select });
        }
        let following = cx.cluster.follow(scopes).await?;
        Ok(Watched { target: target.clone(), shape, uid: view::uid(object).to_owned(), following })
    }

    /// Everything as it is now.
    ///
    /// # Errors
    /// `not_found` when the workload was deleted, `replaced` when another has its name.
    pub(super) fn look(&self) -> Result<Rollout> {
        let target = &self.target;
        let Some(workload) = self.following.items(WORKLOAD).next() else { return Err(deleted(target)) };
        same(target, &self.uid, workload)?;
        let (pods, holders) = (self.following.items(PODS), self.following.items(HOLDERS));
        Ok(Rollout::new(self.shape, target.to_string(), workload.clone(), pods, holders))
    }

    /// Waits for a change of any of them.
    pub(super) async fn changed(&mut self, until: Timestamp) -> Result<Woke> {
        self.following.changed(Some(until)).await
    }

    /// What keeps the server from being heard at present.
    pub(super) fn trouble(&self) -> Option<&Error> {
        self.following.trouble()
    }
}

/// One object, to be followed.
pub(super) fn by_name(target: &Target) -> Follow {
    let select = Select { labels: None, fields: Some(format!("metadata.name={}", target.name)) };
    Follow { resource: target.resource.clone(), namespace: target.namespace.clone(), select }
}

/// The error of a wait whose object went away.
pub(super) fn deleted(target: &Target) -> Error {
    let message = format!("waiting for `{target}`: it was deleted meanwhile");
    Error::new(Kind::Cluster, Reason::NotFound, message).about(target.full_name())
}

/// Says no when the object is not the one that the wait began with.
pub(super) fn same(target: &Target, uid: &str, object: &Json) -> Result<()> {
    if view::uid(object) == uid {
        return Ok(());
    }
    Err(replaced("waiting for", target).hint("look at what created it, then start the wait again"))
}

/// The error of a call whose object is another one now.
pub(super) fn replaced(doing: &str, target: &Target) -> Error {
    let message = format!("{doing} `{target}`: it was deleted meanwhile, and another was created under its name");
    Error::new(Kind::Cluster, Reason::Replaced, message).about(target.full_name())
}
