//! The kinds that the simulated cluster serves.
//!
//! One static row per kind; everything that depends on a kind (paths, discovery, generation, subresources) reads it from here.
//! What is not in [`ALL`] is either refused by name ([`not_modelled`]) or does not exist.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use crate::crd::Version;

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
    /// Modelled subresources: `status`, `scale`, and of pods more.
    pub subresources: &'static [&'static str],
    /// Whether `metadata.generation` is kept.
    pub has_generation: bool,
    /// Discovery categories, for example `all`.
    pub categories: &'static [&'static str],
    /// Whether anything here acts on objects of this kind.
    pub status: Modelling,
    /// What the definition of a custom resource says of this version.
    pub(crate) definition: Option<&'static Version>,
    /// See [`rank`].
    pub(crate) rank: (u64, u64),
}

/// The beginnings of group and plural as numbers: they decide nearly every comparison of two kinds without a look at the names.
pub(crate) const fn rank(group: &str, plural: &str) -> (u64, u64) {
    (beginning(group.as_bytes()), beginning(plural.as_bytes()))
}

/// The first eight bytes, filled up with zeros: numbers in the order of the names, but different names may have the same.
const fn beginning(name: &[u8]) -> u64 {
    let (mut number, mut rest, mut left) = (0, name, 8);
    while left > 0 {
        left -= 1;
        number <<= 8;
        if let [first, tail @ ..] = rest {
            number |= *first as u64;
            rest = tail;
        }
    }
    number
}

/// Whether anything in the simulated cluster acts on objects of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Modelling {
    /// What a real cluster does with such objects happens here too.
    Modelled,
    /// Objects are stored, defaulted and validated; no controller acts, so their status and their effect are not modelled.
    Data,
    /// There are none: lists are empty, watches tell nothing, and all else is refused by name.
    Absent,
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
        self.definition.map_or_else(|| format!("{}List", self.kind), |version| version.list_kind.to_string())
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

    /// All versions of a custom resource name the same objects.
    fn id(&self) -> (&str, &str, &str) {
        (self.group, self.plural, if self.definition.is_some() { "" } else { self.version })
    }

    /// The kind, if Kubernetes itself has it: a custom resource may have the same name.
    pub(crate) fn built_in(&self) -> &'static str {
        if self.definition.is_some() { "" } else { self.kind }
    }

    /// What the definition of a custom resource says; `None` for a kind of Kubernetes itself.
    pub(crate) fn custom(&self) -> Option<&'static Version> {
        self.definition
    }
}

impl PartialEq for Kind {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other) || (self.rank == other.rank && self.id() == other.id())
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
        if std::ptr::eq(self, other) { Ordering::Equal } else { self.rank.cmp(&other.rank).then_with(|| self.id().cmp(&other.id())) }
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
        short $short:expr, $scope:ident, sub $sub:expr, generation $generation:literal, in $categories:expr $(, $mark:ident)?;)*) => {
        $($(#[$doc])* pub static $name: &Kind = &Kind {
            group: $group, version: $version, kind: $kind, plural: $plural, singular: $singular,
            short: &$short, namespaced: kinds!(@$scope), subresources: &$sub, has_generation: $generation,
            categories: &$categories, status: kinds!(@status $($mark)?), definition: None,
            rank: rank($group, $plural),
        };)*

        /// Every served kind, in the order of discovery.
        pub static ALL: &[&Kind] = &[$($name),*];
    };
    (@namespaced) => { true };
    (@cluster) => { false };
    (@status) => { Modelling::Modelled };
    (@status data) => { Modelling::Data };
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
        short ["po"], namespaced, sub ["binding", "eviction", "exec", "log", "status"], generation true, in ["all"];
    /// `v1` Secret.
    SECRET = "" "v1" "Secret" "secrets" "secret"
        short [], namespaced, sub [], generation false, in [];
    /// `v1` Service.
    SERVICE = "" "v1" "Service" "services" "service"
        short ["svc"], namespaced, sub ["status"], generation false, in ["all"];
    /// `v1` ServiceAccount.
    SERVICE_ACCOUNT = "" "v1" "ServiceAccount" "serviceaccounts" "serviceaccount"
        short ["sa"], namespaced, sub ["token"], generation false, in [];
    /// `admissionregistration.k8s.io/v1` MutatingWebhookConfiguration; data only, nobody is called.
    MUTATING_WEBHOOK_CONFIGURATION = "admissionregistration.k8s.io" "v1" "MutatingWebhookConfiguration"
        "mutatingwebhookconfigurations" "mutatingwebhookconfiguration"
        short [], cluster, sub [], generation true, in ["api-extensions"], data;
    /// `admissionregistration.k8s.io/v1` ValidatingWebhookConfiguration; data only, nobody is called.
    VALIDATING_WEBHOOK_CONFIGURATION = "admissionregistration.k8s.io" "v1" "ValidatingWebhookConfiguration"
        "validatingwebhookconfigurations" "validatingwebhookconfiguration"
        short [], cluster, sub [], generation true, in ["api-extensions"], data;
    /// `apiextensions.k8s.io/v1` CustomResourceDefinition.
    CUSTOM_RESOURCE_DEFINITION = "apiextensions.k8s.io" "v1" "CustomResourceDefinition" "customresourcedefinitions"
        "customresourcedefinition"
        short ["crd", "crds"], cluster, sub ["status"], generation true, in ["api-extensions"];
    /// `apiregistration.k8s.io/v1` APIService; data only, nothing is passed on.
    API_SERVICE = "apiregistration.k8s.io" "v1" "APIService" "apiservices" "apiservice"
        short [], cluster, sub ["status"], generation false, in ["api-extensions"], data;
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
    /// `apps/v1` StatefulSet.
    STATEFUL_SET = "apps" "v1" "StatefulSet" "statefulsets" "statefulset"
        short ["sts"], namespaced, sub ["scale", "status"], generation true, in ["all"];
    /// `autoscaling/v2` HorizontalPodAutoscaler; data only, no controller.
    HORIZONTAL_POD_AUTOSCALER = "autoscaling" "v2" "HorizontalPodAutoscaler" "horizontalpodautoscalers" "horizontalpodautoscaler"
        short ["hpa"], namespaced, sub ["status"], generation false, in ["all"], data;
    /// `batch/v1` CronJob; data only, no job is ever started.
    CRON_JOB = "batch" "v1" "CronJob" "cronjobs" "cronjob"
        short ["cj"], namespaced, sub ["status"], generation true, in ["all"], data;
    /// `batch/v1` Job.
    JOB = "batch" "v1" "Job" "jobs" "job"
        short [], namespaced, sub ["status"], generation true, in ["all"];
    /// `coordination.k8s.io/v1` Lease.
    LEASE = "coordination.k8s.io" "v1" "Lease" "leases" "lease"
        short [], namespaced, sub [], generation false, in [];
    /// `discovery.k8s.io/v1` EndpointSlice.
    ENDPOINT_SLICE = "discovery.k8s.io" "v1" "EndpointSlice" "endpointslices" "endpointslice"
        short [], namespaced, sub [], generation true, in [];
    /// `networking.k8s.io/v1` Ingress; data only.
    INGRESS = "networking.k8s.io" "v1" "Ingress" "ingresses" "ingress"
        short ["ing"], namespaced, sub ["status"], generation true, in [], data;
    /// `networking.k8s.io/v1` IngressClass; data only.
    INGRESS_CLASS = "networking.k8s.io" "v1" "IngressClass" "ingressclasses" "ingressclass"
        short [], cluster, sub [], generation true, in [], data;
    /// `networking.k8s.io/v1` NetworkPolicy; data only, no traffic is modelled.
    NETWORK_POLICY = "networking.k8s.io" "v1" "NetworkPolicy" "networkpolicies" "networkpolicy"
        short ["netpol"], namespaced, sub [], generation true, in [], data;
    /// `policy/v1` PodDisruptionBudget.
    POD_DISRUPTION_BUDGET = "policy" "v1" "PodDisruptionBudget" "poddisruptionbudgets" "poddisruptionbudget"
        short ["pdb"], namespaced, sub ["status"], generation true, in [];
    /// `rbac.authorization.k8s.io/v1` ClusterRole.
    CLUSTER_ROLE = "rbac.authorization.k8s.io" "v1" "ClusterRole" "clusterroles" "clusterrole"
        short [], cluster, sub [], generation false, in [];
    /// `rbac.authorization.k8s.io/v1` ClusterRoleBinding.
    CLUSTER_ROLE_BINDING = "rbac.authorization.k8s.io" "v1" "ClusterRoleBinding" "clusterrolebindings" "clusterrolebinding"
        short [], cluster, sub [], generation false, in [];
    /// `rbac.authorization.k8s.io/v1` Role.
    ROLE = "rbac.authorization.k8s.io" "v1" "Role" "roles" "role"
        short [], namespaced, sub [], generation false, in [];
    /// `rbac.authorization.k8s.io/v1` RoleBinding.
    ROLE_BINDING = "rbac.authorization.k8s.io" "v1" "RoleBinding" "rolebindings" "rolebinding"
        short [], namespaced, sub [], generation false, in [];
    /// `scheduling.k8s.io/v1` PriorityClass.
    PRIORITY_CLASS = "scheduling.k8s.io" "v1" "PriorityClass" "priorityclasses" "priorityclass"
        short ["pc"], cluster, sub [], generation true, in [];
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

/// The order in which versions of one group are preferred: `v2`, `v1`, `v1beta2`, `v1beta1`, `v1alpha1`, then any other by name.
#[must_use]
pub fn compare_versions(a: &str, b: &str) -> Ordering {
    let rank = |version: &str| -> Option<(u8, u64, u64)> {
        let rest = version.strip_prefix('v')?;
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (major, rest) = (rest[..digits].parse().ok()?, &rest[digits..]);
        for (stage, name) in [(2, "beta"), (1, "alpha")] {
            if let Some(minor) = rest.strip_prefix(name) {
                return Some((stage, major, minor.parse().ok()?));
            }
        }
        rest.is_empty().then_some((3, major, 0))
    };
    match (rank(a), rank(b)) {
        (Some(a), Some(b)) => b.cmp(&a),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => a.cmp(b),
    }
}

/// A review: a resource that is only ever created, and answered at once instead of stored. No row of [`ALL`].
macro_rules! reviews {
    ($($group:literal $kind:literal $plural:literal $scope:ident;)*) => {
        /// The kinds that are questions to the server: created, answered, never stored.
        pub static REVIEWS: &[&Kind] = &[$(&Kind {
            group: $group, version: "v1", kind: $kind, plural: $plural, singular: $plural.split_at($plural.len() - 1).0, short: &[],
            namespaced: kinds!(@$scope), subresources: &[], has_generation: false, categories: &[], status: Modelling::Modelled, definition: None,
            rank: rank($group, $plural),
        }),*];
    };
}

reviews! {
    "authentication.k8s.io" "SelfSubjectReview" "selfsubjectreviews" cluster;
    "authorization.k8s.io" "LocalSubjectAccessReview" "localsubjectaccessreviews" namespaced;
    "authorization.k8s.io" "SelfSubjectAccessReview" "selfsubjectaccessreviews" cluster;
    "authorization.k8s.io" "SelfSubjectRulesReview" "selfsubjectrulesreviews" cluster;
    "authorization.k8s.io" "SubjectAccessReview" "subjectaccessreviews" cluster;
}

/// The review behind a resource path.
#[must_use]
pub fn review(group: &str, version: &str, plural: &str) -> Option<&'static Kind> {
    REVIEWS.iter().copied().find(|k| k.plural == plural && k.group == group && k.version == version)
}

/// A kind of which there are no objects. No row of [`ALL`].
macro_rules! absent {
    ($($group:literal $kind:literal $plural:literal $singular:literal short $short:expr, $scope:ident, in $categories:expr;)*) => {
        /// Kinds that are known and not modelled: they are listed, for clients look for them on their way, and there are none.
        pub static ABSENT: &[&Kind] = &[$(&Kind {
            group: $group, version: "v1", kind: $kind, plural: $plural, singular: $singular, short: &$short,
            namespaced: kinds!(@$scope), subresources: &[], has_generation: false, categories: &$categories, status: Modelling::Absent,
            definition: None, rank: rank($group, $plural),
        }),*];
    };
}

absent! {
    "" "LimitRange" "limitranges" "limitrange" short ["limits"], namespaced, in [];
    "" "PersistentVolumeClaim" "persistentvolumeclaims" "persistentvolumeclaim" short ["pvc"], namespaced, in [];
    "" "PersistentVolume" "persistentvolumes" "persistentvolume" short ["pv"], cluster, in [];
    "" "PodTemplate" "podtemplates" "podtemplate" short [], namespaced, in [];
    "" "ReplicationController" "replicationcontrollers" "replicationcontroller" short ["rc"], namespaced, in ["all"];
    "" "ResourceQuota" "resourcequotas" "resourcequota" short ["quota"], namespaced, in [];
    "storage.k8s.io" "StorageClass" "storageclasses" "storageclass" short ["sc"], cluster, in [];
}

/// The kind behind a resource path of which there are no objects.
#[must_use]
pub fn absent(group: &str, version: &str, plural: &str) -> Option<&'static Kind> {
    ABSENT.iter().copied().find(|k| k.plural == plural && k.group == group && k.version == version)
}

/// The kinds that are stored but acted on by nobody: their status and their effect are not modelled.
pub fn data() -> impl Iterator<Item = &'static Kind> {
    ALL.iter().copied().filter(|kind| kind.status == Modelling::Data)
}

/// Groups of a real server of this release, none of whose resources are modelled.
const FOREIGN_GROUPS: &[&str] = &[
    "certificates.k8s.io",
    "events.k8s.io",
    "flowcontrol.apiserver.k8s.io",
    "internal.apiserver.k8s.io",
    "metrics.k8s.io",
    "node.k8s.io",
    "resource.k8s.io",
    "storage.k8s.io",
    "storagemigration.k8s.io",
];

/// Resources of served groups that a real server has and this one has not.
const FOREIGN_RESOURCES: &[(&str, &str, &str)] = &[
    ("", "v1", "componentstatuses"),
    ("", "v1", "limitranges"),
    ("", "v1", "persistentvolumeclaims"),
    ("", "v1", "persistentvolumes"),
    ("", "v1", "podtemplates"),
    ("", "v1", "replicationcontrollers"),
    ("", "v1", "resourcequotas"),
    ("autoscaling", "v1", "horizontalpodautoscalers"),
    ("admissionregistration.k8s.io", "v1", "mutatingadmissionpolicies"),
    ("admissionregistration.k8s.io", "v1", "mutatingadmissionpolicybindings"),
    ("admissionregistration.k8s.io", "v1", "validatingadmissionpolicies"),
    ("admissionregistration.k8s.io", "v1", "validatingadmissionpolicybindings"),
    ("authentication.k8s.io", "v1", "tokenreviews"),
    ("networking.k8s.io", "v1", "ipaddresses"),
    ("networking.k8s.io", "v1", "servicecidrs"),
];

/// Subresources of served kinds that a real server has and this one has not.
const FOREIGN_SUBRESOURCES: &[(&str, &[&str])] = &[
    ("namespaces", &["finalize"]),
    ("nodes", &["proxy"]),
    ("pods", &["attach", "ephemeralcontainers", "portforward", "proxy", "resize"]),
    ("services", &["proxy"]),
];

/// Everything that a real server has and this one refuses by name: whole groups, then single resources and subresources.
pub(crate) fn refused() -> (&'static [&'static str], Vec<String>) {
    let whole = FOREIGN_RESOURCES.iter().filter(|(group, version, plural)| absent(group, version, plural).is_none());
    let resources = whole.filter_map(|(group, version, plural)| not_modelled(group, version, plural));
    let subresources = FOREIGN_SUBRESOURCES.iter().flat_map(|(plural, subs)| subs.iter().map(move |sub| format!("{plural}/{sub}")));
    (FOREIGN_GROUPS, resources.chain(subresources).collect())
}

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
            (
                "admissionregistration.k8s.io",
                "MutatingAdmissionPolicy"
                    | "MutatingAdmissionPolicyBinding"
                    | "ValidatingAdmissionPolicy"
                    | "ValidatingAdmissionPolicyBinding"
            ) | ("networking.k8s.io", "IPAddress" | "ServiceCIDR")
                | (
                    "",
                    "LimitRange" | "PersistentVolume" | "PersistentVolumeClaim" | "PodTemplate" | "ReplicationController" | "ResourceQuota"
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
        for kind in ABSENT {
            assert_eq!(absent(kind.group, kind.version, kind.plural), Some(*kind));
            assert!(not_modelled(kind.group, kind.version, kind.plural).is_some(), "what is done with a {kind} is refused by name");
            assert!(kind_not_modelled(&kind.api_version(), kind.kind).is_some() && !ALL.contains(kind), "{kind}");
        }
        assert_eq!(by_kind("apps/v1beta1", "Deployment"), None);
    }

    #[test]
    fn stable_and_new_versions_come_first() {
        let mut versions = ["foo1", "v1alpha1", "v1", "v10beta3", "v11alpha2", "v2", "v10", "v3beta1", "foo10", "v12alpha1", "v1beta2"];
        versions.sort_by(|a, b| compare_versions(a, b));
        let wanted = ["v10", "v2", "v1", "v10beta3", "v3beta1", "v1beta2", "v12alpha1", "v11alpha2", "v1alpha1", "foo1", "foo10"];
        assert_eq!(versions, wanted);
    }

    #[test]
    fn refusals_have_names() {
        assert_eq!(not_modelled("storage.k8s.io", "v1", "storageclasses").as_deref(), Some("storageclasses.storage.k8s.io"));
        assert_eq!(not_modelled("networking.k8s.io", "v1", "servicecidrs").as_deref(), Some("servicecidrs.networking.k8s.io"));
        assert_eq!(not_modelled("", "v1", "limitranges").as_deref(), Some("limitranges"));
        assert_eq!(not_modelled("example.com", "v1", "things"), None);
        assert_eq!(subresource_not_modelled(POD, "resize").as_deref(), Some("pods/resize"));
        assert_eq!(subresource_not_modelled(POD, "nonsense"), None);
        assert_eq!(kind_not_modelled("v1", "LimitRange").as_deref(), Some("LimitRange"));
    }
}
