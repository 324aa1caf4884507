//! What has a version in a cluster.

use serde::{Serialize, Serializer};

use crate::base::{Error, Result, did_you_mean};

/// A program whose version can be read, in the order in which people list them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Component {
    /// An API server.
    ApiServer,
    /// The controllers.
    ControllerManager,
    /// The scheduler.
    Scheduler,
    /// The controllers of a cloud provider.
    CloudControllerManager,
    /// The agent of a node.
    Kubelet,
    /// The Service proxy of a node.
    KubeProxy,
    /// A client; the cluster does not know it.
    Kubectl,
    /// This program, by the Kubernetes that its requests are written for. It asks for nothing that a server does not list, so that no rule
    /// forbids it.
    Lockgate,
    /// The installer on the nodes; the cluster does not know it.
    Kubeadm,
    /// What `kubeadm` was last told to install.
    Declared,
    /// The store. No rule of the skew policy is about it.
    Etcd,
    /// The cluster's DNS. No rule of the skew policy is about it.
    CoreDns,
}

impl Component {
    /// All of them.
    pub const ALL: &'static [Component] = &[
        Component::ApiServer,
        Component::ControllerManager,
        Component::Scheduler,
        Component::CloudControllerManager,
        Component::Kubelet,
        Component::KubeProxy,
        Component::Kubectl,
        Component::Lockgate,
        Component::Kubeadm,
        Component::Declared,
        Component::Etcd,
        Component::CoreDns,
    ];

    /// Its name, as its image or program is called.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Component::ApiServer => "kube-apiserver",
            Component::ControllerManager => "kube-controller-manager",
            Component::Scheduler => "kube-scheduler",
            Component::CloudControllerManager => "cloud-controller-manager",
            Component::Kubelet => "kubelet",
            Component::KubeProxy => "kube-proxy",
            Component::Kubectl => "kubectl",
            Component::Lockgate => "lockgate",
            Component::Kubeadm => "kubeadm",
            Component::Declared => "kubeadm-config",
            Component::Etcd => "etcd",
            Component::CoreDns => "coredns",
        }
    }

    /// The component of this name.
    ///
    /// # Errors
    /// A usage error with the nearest name.
    pub fn parse(name: &str) -> Result<Component> {
        if let Some(found) = Self::ALL.iter().find(|component| component.as_str() == name) {
            return Ok(*found);
        }
        let names = || Self::ALL.iter().map(|component| component.as_str());
        let error = Error::usage(format!("`{name}` is no component"));
        Err(match did_you_mean(name, names()) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error.hint(format!("components are {}", names().collect::<Vec<_>>().join(", "))),
        })
    }

    /// Whether its version counts as Kubernetes counts, so that the policy says something about it.
    #[must_use]
    pub fn has_rules(self) -> bool {
        !matches!(self, Component::Etcd | Component::CoreDns | Component::Declared | Component::Lockgate)
    }

    /// Whether it runs on every node.
    #[must_use]
    pub fn is_on_nodes(self) -> bool {
        matches!(self, Component::Kubelet | Component::KubeProxy)
    }
}

impl Serialize for Component {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
