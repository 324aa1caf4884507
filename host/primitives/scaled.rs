//! What can be scaled, and whose pods are then waited for.
//!
//! Built-in workloads have their number in `spec.replicas`, where the write carries the annotation of the operation. For a custom
//! resource only its definition knows which field that is: the number is read and written through the `scale` subresource
//! (`autoscaling/v1`), which also says by which labels its pods are found.

use std::sync::Arc;

use crate::base::json::Value as Json;

use super::cx::Cx;
use super::view;
use super::watched::{Watched, by_name, deleted, same};
use super::workload::{replicas, unsupported};
use crate::base::{Result, Timestamp};
use crate::cluster::{Follow, Following, Select, Target};

/// How the number of replicas is read and written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// In the object.
    Spec,
    /// In its `scale` subresource.
    Subresource,
}

impl Way {
    /// The way for this kind.
    ///
    /// # Errors
    /// `unsupported` for kinds that cannot be scaled.
    pub(super) fn of(target: &Target) -> Result<Way> {
        let resource = &target.resource;
        match (resource.group.as_str(), resource.kind.as_str()) {
            ("apps", "Deployment" | "StatefulSet" | "ReplicaSet") | ("", "ReplicationController") => Ok(Way::Spec),
            ("apps", "DaemonSet") => Err(unsupported(target, format!("scaling `{target}`: a daemonset has as many pods as it has nodes"))),
            _ if resource.scalable => Ok(Way::Subresource),
            _ => Err(unsupported(target, format!("scaling `{target}`: the server serves no `{}/scale`", resource.group_resource())).hint(
                "it takes deployments, statefulsets, replicasets, replicationcontrollers, and custom resources whose definition has a \
                 `scale` subresource",
            )),
        }
    }

    /// What is read and written: a subresource, or `None` for the object itself.
    pub(super) fn part(self) -> Option<&'static str> {
        match self {
            Way::Spec => None,
            Way::Subresource => Some("scale"),
        }
    }

    /// The number of what was read. A `Scale` leaves out 0; an object leaves out the default, 1.
    pub(super) fn replicas(self, read: &Json) -> i64 {
        match self {
            Way::Spec => replicas(read),
            Way::Subresource => view::count(read, "/spec/replicas"),
        }
    }
}

/// What is scaled, and its pods, followed.
pub(super) enum Scaled {
    /// A built-in workload.
    Workload(Watched),
    /// A custom resource.
    Custom(Custom),
}

/// A custom resource that is followed, with its `Scale` as it was at its last change.
pub(super) struct Custom {
    target: Target,
    uid: String,
    version: String,
    scale: Arc<Json>,
    following: Following,
}

/// What is scaled, at one moment.
pub(super) struct Now {
    /// The replicas asked for.
    pub(super) replicas: i64,
    /// Its pods, those that are terminating included.
    pub(super) pods: Vec<Arc<Json>>,
    /// Whether its controller has seen the number.
    pub(super) observed: bool,
}

const CUSTOM: usize = 0;
const PODS: usize = 1;

impl Scaled {
    /// Follows it. `read` is what [`Way::part`] gave.
    pub(super) async fn follow(way: Way, cx: &Cx, target: &Target, read: &Arc<Json>) -> Result<Scaled> {
        match way {
            Way::Spec => Ok(Scaled::Workload(Watched::begin(cx, target, read, "scaling").await?)),
            Way::Subresource => {
                let select = Select { labels: Some(selector(target, read)?), fields: None };
                let pods = Follow { resource: cx.cluster.resolve("pods", None).await?, namespace: target.namespace.clone(), select };
                let following = cx.cluster.follow(vec![by_name(target), pods]).await?;
                let (target, uid) = (target.clone(), view::uid(read).to_owned());
                Ok(Scaled::Custom(Custom { target, uid, version: String::new(), scale: read.clone(), following }))
            }
        }
    }

    /// How it is now.
    ///
    /// # Errors
    /// `not_found` when it was deleted, `replaced` when another has its name; those of a read.
    pub(super) async fn look(&mut self, cx: &Cx) -> Result<Now> {
        match self {
            Scaled::Workload(watched) => {
                let rollout = watched.look()?;
                let (replicas, observed) = (replicas(&rollout.workload), view::is_observed(&rollout.workload));
                // A pod that nobody controls is adopted or deleted by the workload: until then it may hold what others wait for.
                Ok(Now { replicas, observed, pods: rollout.pods.into_iter().chain(rollout.orphans).collect() })
            }
            Scaled::Custom(custom) => custom.look(cx).await,
        }
    }

    /// Waits for a change.
    pub(super) async fn changed(&mut self, until: Timestamp) -> Result<()> {
        let following = match self {
            Scaled::Workload(watched) => return watched.changed(until).await.map(drop),
            Scaled::Custom(custom) => &mut custom.following,
        };
        following.changed(Some(until)).await.map(drop)
    }
}

impl Custom {
    async fn look(&mut self, cx: &Cx) -> Result<Now> {
        let Some(object) = self.following.items(CUSTOM).next().cloned() else { return Err(deleted(&self.target)) };
        if self.uid.is_empty() {
            // An API server of its own need not say it in the `Scale`.
            view::uid(&object).clone_into(&mut self.uid);
        }
        same(&self.target, &self.uid, &object)?;
        let version = super::tries::version(&object);
        if version != self.version {
            self.scale = cx.read_part(&self.target, Way::Subresource.part()).await?;
            version.clone_into(&mut self.version);
        }
        let replicas = Way::Subresource.replicas(&self.scale);
        // Which generation its controller has seen only its own kind knows; that it counts no more than asked for all of them say.
        let observed = view::count(&self.scale, "/status/replicas") <= replicas;
        Ok(Now { replicas, observed, pods: self.following.items(PODS).cloned().collect() })
    }
}

/// The labels by which a `Scale` says that its pods are found.
///
/// # Errors
/// `unsupported` when it does not say: without labels every pod of the namespace would be meant.
pub(super) fn selector(target: &Target, scale: &Json) -> Result<String> {
    match view::text(scale, "/status/selector") {
        "" => Err(unsupported(target, format!("scaling `{target}`: its `scale` says no labels by which its pods are found"))
            .hint("leave out `wait`, and wait with `wait_gone` or `wait_for` for what is known of it")),
        labels => Ok(labels.to_owned()),
    }
}
