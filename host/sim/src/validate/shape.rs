//! JSON types of fields: what the server's decoder refuses before anything else is looked at.

use crate::json::Value;

use crate::kinds::Kind;
use crate::quantity::Quantity;

/// The type of a field. Fields that are not listed may hold anything.
enum Type {
    Int32,
    Int64,
    Bool,
    Text,
    IntOrText,
    Amounts,
    Texts,
    /// A list of texts.
    TextList,
    /// Texts in base64.
    Bytes,
    /// An object with a Go type name and its fields; `{}` in the name is the kind.
    Object(&'static str, &'static [(&'static str, Type)]),
    /// A list of such objects.
    List(&'static str, &'static [(&'static str, Type)]),
}

use Type::{Amounts, Bool, Bytes, Int32, Int64, IntOrText, List, Object, Text, TextList, Texts};

const METADATA: &[(&str, Type)] = &[
    ("name", Text),
    ("generateName", Text),
    ("namespace", Text),
    ("uid", Text),
    ("resourceVersion", Text),
    ("labels", Texts),
    ("annotations", Texts),
    ("finalizers", TextList),
    (
        "ownerReferences",
        List(
            "OwnerReference",
            &[("apiVersion", Text), ("kind", Text), ("name", Text), ("uid", Text), ("controller", Bool), ("blockOwnerDeletion", Bool)],
        ),
    ),
];
const SELECTOR: &[(&str, Type)] = &[
    ("matchLabels", Texts),
    ("matchExpressions", List("LabelSelectorRequirement", &[("key", Text), ("operator", Text), ("values", TextList)])),
];
const PORT: &[(&str, Type)] = &[("name", Text), ("containerPort", Int32), ("hostPort", Int32), ("hostIP", Text), ("protocol", Text)];
const PROBE: &[(&str, Type)] = &[
    ("initialDelaySeconds", Int32),
    ("timeoutSeconds", Int32),
    ("periodSeconds", Int32),
    ("successThreshold", Int32),
    ("failureThreshold", Int32),
];
const CONTAINER: &[(&str, Type)] = &[
    ("name", Text),
    ("image", Text),
    ("imagePullPolicy", Text),
    ("workingDir", Text),
    ("args", TextList),
    ("command", TextList),
    ("env", List("EnvVar", &[("name", Text), ("value", Text)])),
    ("ports", List("ContainerPort", PORT)),
    ("volumeMounts", List("VolumeMount", &[("name", Text), ("mountPath", Text), ("readOnly", Bool), ("subPath", Text)])),
    ("resources", Object("ResourceRequirements", &[("limits", Amounts), ("requests", Amounts)])),
    ("livenessProbe", Object("Probe", PROBE)),
    ("readinessProbe", Object("Probe", PROBE)),
    ("startupProbe", Object("Probe", PROBE)),
    ("restartPolicy", Text),
];
const TOLERATION: &[(&str, Type)] = &[("key", Text), ("operator", Text), ("value", Text), ("effect", Text), ("tolerationSeconds", Int64)];
const POD_SPEC: &[(&str, Type)] = &[
    ("containers", List("Container", CONTAINER)),
    ("initContainers", List("Container", CONTAINER)),
    ("volumes", List("Volume", &[("name", Text)])),
    ("nodeName", Text),
    ("nodeSelector", Texts),
    ("hostNetwork", Bool),
    ("hostPID", Bool),
    ("restartPolicy", Text),
    ("dnsPolicy", Text),
    ("schedulerName", Text),
    ("serviceAccountName", Text),
    ("priorityClassName", Text),
    ("priority", Int32),
    ("terminationGracePeriodSeconds", Int64),
    ("activeDeadlineSeconds", Int64),
    ("tolerations", List("Toleration", TOLERATION)),
    ("affinity", Object("Affinity", &[])),
    ("overhead", Amounts),
];
const TEMPLATE: &[(&str, Type)] = &[("metadata", Object("ObjectMeta", METADATA)), ("spec", Object("PodSpec", POD_SPEC))];
const ROLLING: &[(&str, Type)] = &[("maxUnavailable", IntOrText), ("maxSurge", IntOrText)];
const STRATEGY: &[(&str, Type)] = &[("type", Text), ("rollingUpdate", Object("RollingUpdate", ROLLING))];
const WORKLOAD_SPEC: &[(&str, Type)] = &[
    ("replicas", Int32),
    ("minReadySeconds", Int32),
    ("revisionHistoryLimit", Int32),
    ("progressDeadlineSeconds", Int32),
    ("paused", Bool),
    ("selector", Object("LabelSelector", SELECTOR)),
    ("template", Object("PodTemplateSpec", TEMPLATE)),
    ("strategy", Object("DeploymentStrategy", STRATEGY)),
    ("updateStrategy", Object("DaemonSetUpdateStrategy", STRATEGY)),
];
const SERVICE_PORT: &[(&str, Type)] =
    &[("name", Text), ("protocol", Text), ("port", Int32), ("targetPort", IntOrText), ("nodePort", Int32)];
const SERVICE_SPEC: &[(&str, Type)] = &[
    ("type", Text),
    ("clusterIP", Text),
    ("clusterIPs", TextList),
    ("selector", Texts),
    ("ports", List("ServicePort", SERVICE_PORT)),
    ("externalName", Text),
    ("sessionAffinity", Text),
];
const TAINT: &[(&str, Type)] = &[("key", Text), ("value", Text), ("effect", Text), ("timeAdded", Text)];
const NODE_SPEC: &[(&str, Type)] = &[("unschedulable", Bool), ("podCIDR", Text), ("taints", List("Taint", TAINT))];
const NODE_STATUS: &[(&str, Type)] = &[("capacity", Amounts), ("allocatable", Amounts), ("nodeInfo", Object("NodeSystemInfo", &[]))];
const BUDGET_SPEC: &[(&str, Type)] =
    &[("minAvailable", IntOrText), ("maxUnavailable", IntOrText), ("selector", Object("LabelSelector", SELECTOR))];
const LEASE_SPEC: &[(&str, Type)] =
    &[("holderIdentity", Text), ("leaseDurationSeconds", Int32), ("leaseTransitions", Int32), ("acquireTime", Text), ("renewTime", Text)];
const SCALER_SPEC: &[(&str, Type)] = &[
    ("minReplicas", Int32),
    ("maxReplicas", Int32),
    ("scaleTargetRef", Object("CrossVersionObjectReference", &[("apiVersion", Text), ("kind", Text), ("name", Text)])),
    ("metrics", List("MetricSpec", &[])),
];

const PLAIN: &[(&str, Type)] = &[("metadata", Object("ObjectMeta", METADATA))];
const POD: &[(&str, Type)] = &[
    ("metadata", Object("ObjectMeta", METADATA)),
    ("spec", Object("PodSpec", POD_SPEC)),
    ("status", Object("PodStatus", &[("phase", Text), ("conditions", List("PodCondition", &[]))])),
];
const WORKLOAD: &[(&str, Type)] =
    &[("metadata", Object("ObjectMeta", METADATA)), ("spec", Object("{}Spec", WORKLOAD_SPEC)), ("status", Object("{}Status", &[]))];
const SERVICE: &[(&str, Type)] = &[("metadata", Object("ObjectMeta", METADATA)), ("spec", Object("ServiceSpec", SERVICE_SPEC))];
const NODE: &[(&str, Type)] =
    &[("metadata", Object("ObjectMeta", METADATA)), ("spec", Object("NodeSpec", NODE_SPEC)), ("status", Object("NodeStatus", NODE_STATUS))];
const BUDGET: &[(&str, Type)] = &[("metadata", Object("ObjectMeta", METADATA)), ("spec", Object("PodDisruptionBudgetSpec", BUDGET_SPEC))];
const LEASE: &[(&str, Type)] = &[("metadata", Object("ObjectMeta", METADATA)), ("spec", Object("LeaseSpec", LEASE_SPEC))];
const SCALER: &[(&str, Type)] =
    &[("metadata", Object("ObjectMeta", METADATA)), ("spec", Object("HorizontalPodAutoscalerSpec", SCALER_SPEC))];
const CONFIG_MAP: &[(&str, Type)] =
    &[("metadata", Object("ObjectMeta", METADATA)), ("data", Texts), ("binaryData", Bytes), ("immutable", Bool)];
const SECRET: &[(&str, Type)] =
    &[("metadata", Object("ObjectMeta", METADATA)), ("data", Bytes), ("stringData", Texts), ("immutable", Bool), ("type", Text)];

/// Checks an object. The error is worded like the server's decoder.
pub(super) fn check(kind: &Kind, object: &Value) -> Result<(), String> {
    let fields = match kind.kind {
        "Pod" => POD,
        "Deployment" | "ReplicaSet" | "DaemonSet" => WORKLOAD,
        "Service" => SERVICE,
        "Node" => NODE,
        "PodDisruptionBudget" => BUDGET,
        "Lease" => LEASE,
        "HorizontalPodAutoscaler" => SCALER,
        "ConfigMap" => CONFIG_MAP,
        "Secret" => SECRET,
        _ => PLAIN,
    };
    members(object, kind.kind, fields, "", kind.kind)
}

fn members(object: &Value, go: &str, fields: &[(&str, Type)], path: &str, kind: &str) -> Result<(), String> {
    let Some(map) = object.as_object() else {
        return Err(format!("json: cannot unmarshal {} into Go value of type v1.{go}", json_type(object)));
    };
    for (name, wanted) in fields {
        let Some(value) = map.get(name).filter(|value| !value.is_null()) else { continue };
        let path = if path.is_empty() { (*name).to_owned() } else { format!("{path}.{name}") };
        field(value, go, wanted, &path, kind)?;
    }
    Ok(())
}

fn field(value: &Value, go: &str, wanted: &Type, path: &str, kind: &str) -> Result<(), String> {
    let fits = |ok: bool, name: &str| if ok { Ok(()) } else { Err(wrong(value, go, path, name)) };
    let text = |v: &Value| if v.is_string() || v.is_null() { Ok(()) } else { Err(wrong(v, go, path, "string")) };
    let map = |name: &str| value.as_object().ok_or_else(|| wrong(value, go, path, name));
    let list = |name: &str| value.as_array().ok_or_else(|| wrong(value, go, path, name));
    match wanted {
        Int32 => fits(value.as_i64().is_some_and(|n| i32::try_from(n).is_ok()), "int32"),
        Int64 => fits(value.as_i64().is_some(), "int64"),
        Bool => fits(value.is_boolean(), "bool"),
        Text => fits(value.is_string(), "string"),
        IntOrText => fits(value.is_string() || value.as_i64().is_some(), "intstr.IntOrString"),
        Texts => map("map[string]string")?.values().try_for_each(text),
        TextList => list("[]string")?.iter().try_for_each(text),
        Bytes => map("map[string][]uint8")?.values().try_for_each(|v| bytes(v, go, path)),
        Amounts => map("v1.ResourceList")?.values().try_for_each(|v| amount(v, go, path)),
        Object(name, fields) => {
            let name = name.replace("{}", kind);
            fits(value.is_object(), &format!("v1.{name}"))?;
            members(value, &name, fields, path, kind)
        }
        List(name, fields) => {
            let list = list(&format!("[]v1.{name}"))?;
            list.iter().filter(|v| !v.is_null()).try_for_each(|v| {
                fits(v.is_object(), &format!("v1.{name}")).map_err(|_| wrong(v, go, path, &format!("v1.{name}")))?;
                members(v, name, fields, path, kind)
            })
        }
    }
}

/// Checks standard base64 with padding; line breaks are allowed.
fn bytes(value: &Value, go: &str, path: &str) -> Result<(), String> {
    let Some(text) = value.as_str() else {
        return if value.is_null() { Ok(()) } else { Err(wrong(value, go, path, "[]uint8")) };
    };
    let digits = text.trim_end_matches(['\n', '\r']).trim_end_matches('=');
    let alphabet = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'\n' | b'\r');
    let padded = text.bytes().filter(|b| !matches!(b, b'\n' | b'\r')).count();
    match digits.bytes().position(|b| !alphabet(b)) {
        Some(at) => Err(format!("illegal base64 data at input byte {at}")),
        None if padded % 4 != 0 => Err(format!("illegal base64 data at input byte {}", padded / 4 * 4)),
        None => Ok(()),
    }
}

fn amount(value: &Value, go: &str, path: &str) -> Result<(), String> {
    let text = match value {
        Value::String(text) => text.to_string(),
        Value::Number(number) => number.to_string(),
        other => return Err(wrong(other, go, path, "resource.Quantity")),
    };
    text.parse::<Quantity>().map(|_| ()).map_err(|error| error.to_string())
}

/// The name of a JSON type as the decoder writes it.
fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn wrong(value: &Value, go: &str, path: &str, wanted: &str) -> String {
    let number = match value {
        // A number that does not fit is named, one in a wrong place is not.
        Value::Number(number) if wanted.starts_with("int") => format!(" {number}"),
        _ => String::new(),
    };
    format!("json: cannot unmarshal {}{number} into Go struct field {go}.{path} of type {wanted}", json_type(value))
}
