//! Names of Go that no schema tells: texts that have a type of their own, and structs that Go embeds in others.
//!
//! They only matter for the words of a refusal. Both were tried on kube-apiserver v1.36.4; what is not here is called by the names
//! that the schema has.

/// Texts with a type of their own: the struct, or `*` for any, the field, the type.
const TEXTS: &[(&str, &str, &str)] = &[
    ("*", "uid", "types.UID"),
    ("*", "imagePullPolicy", "v1.PullPolicy"),
    ("*", "terminationMessagePolicy", "v1.TerminationMessagePolicy"),
    ("PodSpec", "dnsPolicy", "v1.DNSPolicy"),
    ("PodSpec", "restartPolicy", "v1.RestartPolicy"),
    ("PodStatus", "phase", "v1.PodPhase"),
    ("Toleration", "operator", "v1.TolerationOperator"),
    ("Toleration", "effect", "v1.TaintEffect"),
    ("Taint", "effect", "v1.TaintEffect"),
    ("TopologySpreadConstraint", "whenUnsatisfiable", "v1.UnsatisfiableConstraintAction"),
    ("LabelSelectorRequirement", "operator", "v1.LabelSelectorOperator"),
    ("NodeSelectorRequirement", "operator", "v1.NodeSelectorOperator"),
    ("DeploymentStrategy", "type", "v1.DeploymentStrategyType"),
    ("DaemonSetUpdateStrategy", "type", "v1.DaemonSetUpdateStrategyType"),
    ("StatefulSetUpdateStrategy", "type", "v1.StatefulSetUpdateStrategyType"),
    ("StatefulSetSpec", "podManagementPolicy", "v1.PodManagementPolicyType"),
    ("Secret", "type", "v1.SecretType"),
    ("ServiceSpec", "type", "v1.ServiceType"),
    ("ServiceSpec", "sessionAffinity", "v1.ServiceAffinity"),
    ("ServiceSpec", "ipFamilies", "v1.IPFamily"),
    ("ServicePort", "protocol", "v1.Protocol"),
    ("ContainerPort", "protocol", "v1.Protocol"),
    ("HostPathVolumeSource", "type", "v1.HostPathType"),
];

/// The name of the type of a text in Go, where it has one.
pub(super) fn text(go: &str, field: &str) -> Option<&'static str> {
    let row = TEXTS.iter().find(|(owner, name, _)| *name == field && (*owner == "*" || *owner == go));
    row.map(|(_, _, name)| *name)
}

/// The struct that Go embeds in another one to have this field.
pub(super) fn embedded(go: &str, field: &str) -> Option<&'static str> {
    let selectors = ["ConfigMapKeySelector", "SecretKeySelector", "ConfigMapVolumeSource", "ConfigMapEnvSource", "SecretEnvSource"];
    match field {
        "exec" | "httpGet" | "tcpSocket" | "grpc" if go == "Probe" => Some("ProbeHandler"),
        "name" if selectors.contains(&go) => Some("LocalObjectReference"),
        "name" => None,
        _ if go == "Volume" => Some("VolumeSource"),
        _ => None,
    }
}
