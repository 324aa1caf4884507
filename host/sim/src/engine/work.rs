//! What there is to do: one variant for each controller.

use crate::kinds::{self, Kind};
use crate::store::Key;

/// One thing to reconcile. A key is in the queue at most once and has at most one timer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Work {
    /// A Deployment.
    Deployment(Key),
    /// A ReplicaSet.
    ReplicaSet(Key),
    /// A DaemonSet.
    DaemonSet(Key),
    /// A StatefulSet.
    StatefulSet(Key),
    /// A Job.
    Job(Key),
    /// A finished Job that is to go after a time.
    Expire(Key),
    /// A pod that no Job will count any more.
    Untrack(Key),
    /// The Endpoints and EndpointSlice of a Service.
    Endpoints(Key),
    /// The status of a PodDisruptionBudget.
    Disruption(Key),
    /// Taints that follow from the state of a Node.
    Node(Key),
    /// The conditions of a namespace that is going.
    Namespace(Key),
    /// A pod on a node that drives pods away.
    Evict(Key),
    /// A pod whose node is gone or out of service.
    PodGc(Key),
    /// A pod without a node.
    Schedule(Key),
    /// A pod on a node.
    Kubelet(Key),
    /// An object whose operator is a model.
    Lifecycle(Key),
    /// A definition that takes its time.
    Establish(Key),
    /// What is due on the machine of a node.
    Machine(Key),
}

impl Work {
    /// The object that is reconciled.
    pub(super) fn key(&self) -> &Key {
        match self {
            Self::Deployment(key)
            | Self::ReplicaSet(key)
            | Self::DaemonSet(key)
            | Self::StatefulSet(key)
            | Self::Job(key)
            | Self::Expire(key)
            | Self::Untrack(key)
            | Self::Endpoints(key)
            | Self::Disruption(key)
            | Self::Node(key)
            | Self::Namespace(key)
            | Self::Evict(key)
            | Self::PodGc(key)
            | Self::Schedule(key)
            | Self::Kubelet(key)
            | Self::Lifecycle(key)
            | Self::Establish(key)
            | Self::Machine(key) => key,
        }
    }

    /// What the controller reads beside the object itself: the kind, and whether in all namespaces.
    pub(super) fn scopes_needed(&self) -> Vec<(&'static Kind, bool)> {
        match self {
            Self::Deployment(_) | Self::ReplicaSet(_) => vec![(kinds::REPLICA_SET, false), (kinds::POD, false)],
            Self::DaemonSet(_) => vec![(kinds::POD, false), (kinds::CONTROLLER_REVISION, false), (kinds::NODE, true)],
            Self::StatefulSet(_) => vec![(kinds::POD, false), (kinds::CONTROLLER_REVISION, false)],
            Self::Endpoints(_) => vec![(kinds::POD, false), (kinds::ENDPOINTS, false), (kinds::ENDPOINT_SLICE, false)],
            // The workloads above the pods are asked for when the pods are known: see [`Engine::require`].
            Self::Disruption(_) => vec![(kinds::POD, false)],
            Self::Job(_) => vec![(kinds::POD, false)],
            Self::Untrack(_) => vec![(kinds::JOB, false)],
            Self::Node(_) | Self::Namespace(_) | Self::Expire(_) | Self::Machine(_) => Vec::new(),
            Self::Lifecycle(_) | Self::Establish(_) => Vec::new(),
            Self::Schedule(_) => vec![(kinds::NODE, true), (kinds::POD, true)],
            Self::Kubelet(_) | Self::Evict(_) | Self::PodGc(_) => vec![(kinds::NODE, true)],
        }
    }

    /// Who the log names as the author of the changes.
    pub(super) fn actor(&self) -> &'static str {
        match self {
            Self::Deployment(_) => "deployment-controller",
            Self::ReplicaSet(_) => "replicaset-controller",
            Self::DaemonSet(_) => "daemonset-controller",
            Self::StatefulSet(_) => "statefulset-controller",
            Self::Job(_) | Self::Untrack(_) => "job-controller",
            Self::Expire(_) => "ttl-after-finished-controller",
            Self::Endpoints(_) => "endpoints-controller",
            Self::Disruption(_) => "disruption-controller",
            Self::Node(_) => "node-controller",
            Self::Namespace(_) => "namespace-controller",
            Self::Evict(_) => "taint-eviction-controller",
            Self::PodGc(_) => "pod-garbage-collector",
            Self::Schedule(_) => "scheduler",
            Self::Kubelet(_) => "kubelet",
            Self::Lifecycle(_) => "operator",
            Self::Establish(_) => "apiserver",
            Self::Machine(_) => "machine",
        }
    }
}
