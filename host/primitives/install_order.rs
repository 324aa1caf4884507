//! The order in which kinds are installed.

/// Kinds in the order in which helm installs them (helm4: pkg/release/v1/util/kind_sorter.go).
const KINDS: [&str; 36] = [
    "PriorityClass",
    "Namespace",
    "NetworkPolicy",
    "ResourceQuota",
    "LimitRange",
    "PodSecurityPolicy",
    "PodDisruptionBudget",
    "ServiceAccount",
    "Secret",
    "SecretList",
    "ConfigMap",
    "StorageClass",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "CustomResourceDefinition",
    "ClusterRole",
    "ClusterRoleList",
    "ClusterRoleBinding",
    "ClusterRoleBindingList",
    "Role",
    "RoleList",
    "RoleBinding",
    "RoleBindingList",
    "Service",
    "DaemonSet",
    "Pod",
    "ReplicationController",
    "ReplicaSet",
    "Deployment",
    "HorizontalPodAutoscaler",
    "StatefulSet",
    "Job",
    "CronJob",
    "IngressClass",
    "Ingress",
    "APIService",
];
/// What judges all writes comes last, so that it does not judge those of this very call before what answers for it is there.
const LAST: [&str; 2] = ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"];

/// The place of a kind. Kinds that are not in the list come after those that are, in the order in which they were written down; a kind
/// of somebody's own group is none of the list, whatever its name.
pub(super) fn rank(api_version: &str, kind: &str) -> usize {
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    let is_built_in = !group.contains('.') || group.ends_with(".k8s.io");
    if let Some(place) = LAST.iter().position(|known| *known == kind).filter(|_| is_built_in) {
        return KINDS.len() + 1 + place;
    }
    KINDS.iter().position(|known| *known == kind).filter(|_| is_built_in).unwrap_or(KINDS.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_need_comes_first() {
        let mut kinds = [
            ("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration"),
            ("example.com/v1", "Window"),
            ("apps/v1", "Deployment"),
            ("serving.knative.dev/v1", "Service"),
            ("v1", "Service"),
            ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
            ("v1", "ConfigMap"),
            ("v1", "Namespace"),
        ];
        kinds.sort_by_key(|(version, kind)| rank(version, kind));
        let names: Vec<&str> = kinds.iter().map(|(_, kind)| *kind).collect();
        assert_eq!(
            names,
            [
                "Namespace",
                "ConfigMap",
                "CustomResourceDefinition",
                "Service",
                "Deployment",
                "Window",
                "Service",
                "ValidatingWebhookConfiguration"
            ]
        );
    }
}
