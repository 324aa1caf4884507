//! The kinds that the simulated cluster serves.
//!
//! One static row per kind; everything that depends on a kind (paths, discovery, generation, subresources) reads it from here.
//! What is not in [`ALL`] is either refused by name ([`not_modelled`]) or does not exist.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

/// One served kind.
#[derive(Debug)]
pub struct Kind {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// API version inside the group, for example `v1`.
    pub version: &'static str,
    /// The kind, for example `Deployment`.
    pub kind: &'static str,
    /// The resource name in paths, for example `deployments`.
    pub plural: &'static str,
    /// The singular name that discovery reports.
    pub singular: &'static str,
    /// Short names, for example `deploy`.
    pub short: &'static [&'static str],
    /// Whether objects live in a namespace.
    pub namespaced: bool,
    /// Modelled subresources: `status`, `scale`.
    pub subresources: &'static [&'static str],
    /// Whether `metadata.generation` is kept.
    pub has_generation: bool,
    /// Discovery categories, for example `all`.
    pub categories: &'static [&'static str],
}

impl Kind {
    /// `group/version`, or the version alone for the core group.
    #[must_use]
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) }
    }

    /// The name that the server uses in messages: `deployments.apps`, or `pods` in the core group.
    #[must_use]
    pub fn group_resource(&self) -> String {
        if self.group.is_empty() { self.plural.to_owned() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// The name that validation messages use: `Deployment.apps`, or `Pod` in the core group.
    #[must_use]
    pub fn group_kind(&self) -> String {
        if self.group.is_empty() { self.kind.to_owned() } else { format!("{}.{}", self.kind, self.group) }
    }

    /// The kind of a list, for example `DeploymentList`.
    #[must_use]
    pub fn list_kind(&self) -> String {
        format!("{}List", self.kind)
    }

    /// Whether the subresource is served for this kind.
    #[must_use]
    pub fn has_subresource(&self, name: &str) -> bool {
        self.subresources.contains(&name)
    }

    /// Whether `.status` can only be written through the `status` subresource.
    #[must_use]
    pub fn has_status(&self) -> bool {
        self.has_subresource("status")
    }

    /// Whether this is the given kind: two references to the same row.
    #[must_use]
    pub fn is(&self, other: &Kind) -> bool {
        std::ptr::eq(self, other) || self == other
    }

    fn id(&self) -> (&str, &str, &str) {
        (self.group, self.plural, self.version)
    }
}

impl PartialEq for Kind {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other) || self.id() == other.id()
    }
}

impl Eq for Kind {}

impl PartialOrd for Kind {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Kind {
    fn cmp(&self, other: &Self) -> Ordering {
        if std::ptr::eq(self, other) { Ordering::Equal } else { self.id().cmp(&other.id()) }
    }
}

impl Hash for Kind {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id().hash(state);
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.singular)
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $group:literal $version:literal $kind:literal $plural:literal $singular:literal
        short $short:expr, $scope:ident, sub $sub:expr, generation $generation:literal, in $categories:expr;)*) => {
        $($(#[$doc])* pub static $name: &Kind = &Kind {
            group: $group, version: $version, kind: $kind, plural: $plural, singular: $singular,
            short: &$short, namespaced: kinds!(@$scope), subresources: &$sub, has_generation: $generation,
            categories: &$categories,
        };)*

        /// Every served kind, in the order of discovery.
        pub static ALL: &[&Kind] = &[$($name),*];
    };
    (@namespaced) => { true };
    (@cluster) => { false };
}

kinds! {
    /// `v1` ConfigMap.
    CONFIG_MAP = "" "v1" "ConfigMap" "configmaps" "configmap"
        short ["cm"], namespaced, sub [], generation false, in [];
    /// `v1` Endpoints.
    ENDPOINTS = "" "v1" "Endpoints" "endpoints" "endpoints"
        short ["ep"], namespaced, sub [], generation false, in [];
    /// `v1` Event.
    EVENT = "" "v1" "Event" "events" "event"
        short ["ev"], namespaced, sub [], generation false, in [];
    /// `v1` Namespace.
    NAMESPACE = "" "v1" "Namespace" "namespaces" "namespace"
        short ["ns"], cluster, sub ["status"], generation false, in [];
    /// `v1` Node.
    NODE = "" "v1" "Node" "nodes" "node"
        short ["no"], cluster, sub ["status"], generation false, in [];
    /// `v1` Pod.
    POD = "" "v1" "Pod" "pods" "pod"
        short ["po"], namespaced, sub ["status"], generation true, in ["all"];
    /// `v1` Secret.
    SECRET = "" "v1" "Secret" "secrets" "secret"
        short [], namespaced, sub [], generation false, in [];
    /// `v1` Service.
    SERVICE = "" "v1" "Service" "services" "service"
        short ["svc"], namespaced, sub ["status"], generation false, in ["all"];
    /// `apps/v1` ControllerRevision.
    CONTROLLER_REVISION = "apps" "v1" "ControllerRevision" "controllerrevisions" "controllerrevision"
        short [], namespaced, sub [], generation false, in [];
    /// `apps/v1` DaemonSet.
    DAEMON_SET = "apps" "v1" "DaemonSet" "daemonsets" "daemonset"
        short ["ds"], namespaced, sub ["status"], generation true, in ["all"];
    /// `apps/v1` Deployment.
    DEPLOYMENT = "apps" "v1" "Deployment" "deployments" "deployment"
        short ["deploy"], namespaced, sub ["scale", "status"], generation true, in ["all"];
    /// `apps/v1` ReplicaSet.
    REPLICA_SET = "apps" "v1" "ReplicaSet" "replicasets" "replicaset"
        short ["rs"], namespaced, sub ["scale", "status"], generation true, in ["all"];
    /// `autoscaling/v2` HorizontalPodAutoscaler; data only, no controller.
    HORIZONTAL_POD_AUTOSCALER = "autoscaling" "v2" "HorizontalPodAutoscaler" "horizontalpodautoscalers" "horizontalpodautoscaler"
        short ["hpa"], namespaced, sub ["status"], generation false, in ["all"];
    /// `coordination.k8s.io/v1` Lease.
    LEASE = "coordination.k8s.io" "v1" "Lease" "leases" "lease"
        short [], namespaced, sub [], generation false, in [];
    /// `discovery.k8s.io/v1` EndpointSlice.
    ENDPOINT_SLICE = "discovery.k8s.io" "v1" "EndpointSlice" "endpointslices" "endpointslice"
        short [], namespaced, sub [], generation true, in [];
    /// `policy/v1` PodDisruptionBudget.
    POD_DISRUPTION_BUDGET = "policy" "v1" "PodDisruptionBudget" "poddisruptionbudgets" "poddisruptionbudget"
        short ["pdb"], namespaced, sub ["status"], generation true, in [];
}

/// The kind with this `apiVersion` and `kind`.
#[must_use]
pub fn by_kind(api_version: &str, kind: &str) -> Option<&'static Kind> {
    let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
    ALL.iter().copied().find(|k| k.kind == kind && k.group == group && k.version == version)
}

/// The kind behind a resource path.
#[must_use]
pub fn by_resource(group: &str, version: &str, plural: &str) -> Option<&'static Kind> {
    ALL.iter().copied().find(|k| k.plural == plural && k.group == group && k.version == version)
}

/// Groups of a real server of this release, none of whose resources are modelled.
const FOREIGN_GROUPS: &[&str] = &[
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "apiregistration.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "batch",
    "certificates.k8s.io",
    "events.k8s.io",
    "flowcontrol.apiserver.k8s.io",
    "internal.apiserver.k8s.io",
    "metrics.k8s.io",
    "networking.k8s.io",
    "node.k8s.io",
    "rbac.authorization.k8s.io",
    "resource.k8s.io",
    "scheduling.k8s.io",
    "storage.k8s.io",
    "storagemigration.k8s.io",
];

/// Resources of served groups that a real server has and this one has not.
const FOREIGN_RESOURCES: &[(&str, &str, &str)] = &[
    ("", "v1", "bindings"),
    ("", "v1", "componentstatuses"),
    ("", "v1", "limitranges"),
    ("", "v1", "persistentvolumeclaims"),
    ("", "v1", "persistentvolumes"),
    ("", "v1", "podtemplates"),
    ("", "v1", "replicationcontrollers"),
    ("", "v1", "resourcequotas"),
    ("", "v1", "serviceaccounts"),
    ("apps", "v1", "statefulsets"),
    ("autoscaling", "v1", "horizontalpodautoscalers"),
];

/// Subresources of served kinds that a real server has and this one has not.
const FOREIGN_SUBRESOURCES: &[(&str, &[&str])] = &[
    ("namespaces", &["finalize"]),
    ("nodes", &["proxy"]),
    ("pods", &["attach", "binding", "ephemeralcontainers", "eviction", "exec", "log", "portforward", "proxy", "resize"]),
    ("services", &["proxy"]),
];

/// The name under which a resource of a real server is refused here, `None` when a real server does not have it either.
#[must_use]
pub fn not_modelled(group: &str, version: &str, plural: &str) -> Option<String> {
    if FOREIGN_GROUPS.contains(&group) {
        return Some(if plural.is_empty() { format!("group {group}") } else { format!("{plural}.{group}") });
    }
    FOREIGN_RESOURCES.contains(&(group, version, plural)).then(|| match (group, version) {
        ("", _) => plural.to_owned(),
        ("autoscaling", _) => format!("{plural}.{version}.{group}"),
        _ => format!("{plural}.{group}"),
    })
}

/// The name under which a subresource of a real server is refused here.
#[must_use]
pub fn subresource_not_modelled(kind: &Kind, subresource: &str) -> Option<String> {
    let known = FOREIGN_SUBRESOURCES.iter().any(|(plural, subs)| *plural == kind.plural && subs.contains(&subresource));
    known.then(|| format!("{}/{subresource}", kind.group_resource()))
}

/// The kind of a refused object as a person writes it, by `apiVersion` and `kind`: for fixtures.
#[must_use]
pub fn kind_not_modelled(api_version: &str, kind: &str) -> Option<String> {
    let group = api_version.rsplit_once('/').map_or("", |(group, _)| group);
    let known = FOREIGN_GROUPS.contains(&group)
        || matches!(
            (group, kind),
            ("apps", "StatefulSet")
                | (
                    "",
                    "ServiceAccount"
                        | "LimitRange"
                        | "PersistentVolume"
                        | "PersistentVolumeClaim"
                        | "PodTemplate"
                        | "ReplicationController"
                        | "ResourceQuota"
                )
        );
    known.then(|| if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lookups_agree_with_the_table() {
        for kind in ALL {
            assert_eq!(by_kind(&kind.api_version(), kind.kind), Some(*kind));
            assert_eq!(by_resource(kind.group, kind.version, kind.plural), Some(*kind));
            assert_eq!(not_modelled(kind.group, kind.version, kind.plural), None, "{kind} is served and refused");
        }
        assert_eq!(by_kind("apps/v1beta1", "Deployment"), None);
    }

    #[test]
    fn refusals_have_names() {
        assert_eq!(not_modelled("apps", "v1", "statefulsets").as_deref(), Some("statefulsets.apps"));
        assert_eq!(not_modelled("batch", "v1", "jobs").as_deref(), Some("jobs.batch"));
        assert_eq!(not_modelled("", "v1", "serviceaccounts").as_deref(), Some("serviceaccounts"));
        assert_eq!(not_modelled("example.com", "v1", "things"), None);
        assert_eq!(subresource_not_modelled(POD, "eviction").as_deref(), Some("pods/eviction"));
        assert_eq!(subresource_not_modelled(POD, "nonsense"), None);
        assert_eq!(kind_not_modelled("batch/v1", "Job").as_deref(), Some("Job.batch"));
    }
}
