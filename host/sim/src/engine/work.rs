//! What there is to do: one variant for each controller.

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
    /// What commands in the containers of a pod change.
    Command(Key),
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
            | Self::Machine(key)
            | Self::Command(key) => key,
        }
    }

    /// Who the log names as the author of the changes.
    pub(crate) fn actor(&self) -> &'static str {
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
            Self::Command(_) => "command",
        }
    }
}
