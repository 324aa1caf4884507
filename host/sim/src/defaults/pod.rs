//! Defaults of pods and pod templates.

use crate::json::{Map, Value, json};

use super::{Fields, drop_empty, each, fill, section};
use crate::quantity::Quantity;
use crate::view;

const CONTAINERS: [&str; 3] = ["containers", "initContainers", "ephemeralContainers"];

/// Defaults of a pod, beyond those of its spec in a template.
pub(super) fn pod(fields: &mut Fields) {
    let Some(fields) = section(fields, "spec") else { return };
    spec(fields);
    fill(fields, "enableServiceLinks", true);
    let host_network = fields.get("hostNetwork").and_then(Value::as_bool).unwrap_or(false);
    for list in ["containers", "initContainers"] {
        for container in each(fields, list) {
            requests_from_limits(container);
            if host_network {
                host_ports(container);
            }
        }
    }
    whole(fields);
    priority(fields);
    tolerate_lost_nodes(fields);
    // A time that cannot be is the shortest one.
    if fields.get("terminationGracePeriodSeconds").and_then(Value::as_i64).is_some_and(|seconds| seconds < 0) {
        fields.insert("terminationGracePeriodSeconds", 1.into());
    }
}

/// A container in the network of the host opens its ports there.
fn host_ports(container: &mut Fields) {
    for port in each(container, "ports") {
        let unset = port.get("hostPort").is_none_or(|p| p.is_null() || p.as_i64() == Some(0));
        if let Some(number) = port.get("containerPort").filter(|_| unset).cloned() {
            port.insert("hostPort", number);
        }
    }
}

fn requests_from_limits(container: &mut Fields) {
    let Some(resources) = section(container, "resources") else { return };
    let Some(Value::Object(limits)) = resources.get("limits").cloned() else { return };
    if let Some(requests) = section(resources, "requests") {
        limits.into_iter().for_each(|(name, amount)| fill(requests, &name, amount));
    }
}

/// What a pod asks for as a whole: what its containers do together, or else what it is limited to.
fn whole(spec: &mut Fields) {
    let containers: Vec<Value> = spec.get("containers").and_then(Value::as_array).map(|list| list.to_vec()).unwrap_or_default();
    let amount = |container: &Value, name: &str| -> Option<Quantity> {
        view::at(container, &["resources", "requests", name]).and_then(Value::as_str).and_then(|text| text.parse().ok())
    };
    let Some(resources) = spec.get_mut("resources").and_then(Value::as_object_mut) else { return };
    let Some(Value::Object(limits)) = resources.get("limits").cloned() else { return };
    let Some(requests) = section(resources, "requests") else { return };
    for (name, limit) in limits.into_iter().filter(|(name, _)| matches!(name.as_str(), "cpu" | "memory") || name.starts_with("hugepages-"))
    {
        let asked: Vec<Quantity> = containers.iter().filter_map(|container| amount(container, &name)).collect();
        let together = asked.iter().try_fold(Quantity::from_int(0), |sum, one| sum.checked_add(*one));
        match together.filter(|_| !asked.is_empty()) {
            Some(sum) => fill(requests, &name, sum.to_string()),
            None => fill(requests, &name, limit),
        }
    }
}

/// The admission plugin `Priority`, for the classes that every cluster has.
fn priority(spec: &mut Fields) {
    let class = spec.get("priorityClassName").and_then(Value::as_str).unwrap_or_default();
    let value = match class {
        "system-node-critical" => 2_000_001_000,
        "system-cluster-critical" => 2_000_000_000,
        "" => 0,
        // Priority classes are not modelled: the value of another one cannot be known.
        _ => return,
    };
    fill(spec, "priority", value);
    fill(spec, "preemptionPolicy", "PreemptLowerPriority");
}

/// The admission plugin `DefaultTolerationSeconds`.
fn tolerate_lost_nodes(spec: &mut Fields) {
    if !spec.contains_key("tolerations") {
        spec.insert("tolerations", json!([]));
    }
    let Some(list) = spec.get_mut("tolerations").and_then(Value::as_array_mut) else { return };
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let tolerated =
            list.iter().any(|t| ["", key].contains(&view::text(t, &["key"])) && ["", "NoExecute"].contains(&view::text(t, &["effect"])));
        if !tolerated {
            list.push(json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}));
        }
    }
}

/// Defaults of a pod spec, in a pod or in a template.
pub(super) fn spec(spec: &mut Fields) {
    fill(spec, "dnsPolicy", "ClusterFirst");
    fill(spec, "restartPolicy", "Always");
    fill(spec, "schedulerName", "default-scheduler");
    fill(spec, "terminationGracePeriodSeconds", 30);
    fill(spec, "securityContext", Value::Object(Map::new()));
    // The older name of the field follows the newer one, and counts where that is missing.
    let account = ["serviceAccountName", "serviceAccount"]
        .into_iter()
        .find_map(|field| spec.get(field).filter(|account| account.as_str().is_some_and(|account| !account.is_empty())).cloned());
    if let Some(account) = account {
        for field in ["serviceAccountName", "serviceAccount"] {
            if spec.get(field) != Some(&account) {
                spec.insert(field, account.clone());
            }
        }
    }
    for list in CONTAINERS {
        each(spec, list).for_each(container);
    }
    each(spec, "volumes").for_each(volume);
    drop_empty(
        spec,
        &[
            "ephemeralContainers",
            "hostAliases",
            "imagePullSecrets",
            "initContainers",
            "nodeSelector",
            "tolerations",
            "topologySpreadConstraints",
            "volumes",
        ],
    );
}

fn container(container: &mut Fields) {
    let image = container.get("image").and_then(Value::as_str).unwrap_or_default();
    let policy = if pulls_always(image) { "Always" } else { "IfNotPresent" };
    fill(container, "imagePullPolicy", policy);
    fill(container, "terminationMessagePath", "/dev/termination-log");
    fill(container, "terminationMessagePolicy", "File");
    fill(container, "resources", Value::Object(Map::new()));
    each(container, "ports").for_each(|port| fill(port, "protocol", "TCP"));
    for env in each(container, "env") {
        if let Some(field) = env.get_mut("valueFrom").and_then(|v| v.get_mut("fieldRef")).and_then(Value::as_object_mut) {
            fill(field, "apiVersion", "v1");
        }
        if let Some(amount) = env.get_mut("valueFrom").and_then(|v| v.get_mut("resourceFieldRef")).and_then(Value::as_object_mut) {
            fill(amount, "divisor", "0");
        }
    }
    stop_signal(container);
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(fields) = container.get_mut(name).and_then(Value::as_object_mut) {
            probe(fields);
        }
    }
    drop_empty(container, &["args", "command", "env", "envFrom", "ports", "volumeDevices", "volumeMounts"]);
}

/// A signal of its own is a feature that is off by default, and left out.
fn stop_signal(container: &mut Fields) {
    let Some(lifecycle) = container.get_mut("lifecycle").and_then(Value::as_object_mut) else { return };
    if lifecycle.remove("stopSignal").is_some() && lifecycle.is_empty() {
        container.remove("lifecycle");
    }
}

/// An image without a tag or digest, or with the tag `latest`.
fn pulls_always(image: &str) -> bool {
    // What cannot be read is taken for something with a tag.
    if image.contains('@') || image.trim() != image {
        return false;
    }
    let last = image.rsplit('/').next().unwrap_or_default();
    last.split_once(':').is_none_or(|(_, tag)| tag == "latest")
}

fn probe(probe: &mut Fields) {
    for (name, value) in [("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)] {
        if probe.get(name).and_then(Value::as_i64) == Some(0) {
            probe.remove(name);
        }
        fill(probe, name, value);
    }
    if let Some(get) = probe.get_mut("httpGet").and_then(Value::as_object_mut) {
        fill(get, "path", "/");
        fill(get, "scheme", "HTTP");
    }
    if let Some(grpc) = probe.get_mut("grpc").and_then(Value::as_object_mut) {
        grpc.entry("service").or_insert_with(|| "".into());
    }
}

fn volume(volume: &mut Fields) {
    if volume.len() == 1 && volume.contains_key("name") {
        volume.insert("emptyDir", json!({}));
    }
    for source in ["configMap", "downwardAPI", "projected", "secret"] {
        if let Some(fields) = volume.get_mut(source).and_then(Value::as_object_mut) {
            fill(fields, "defaultMode", 0o644);
        }
    }
    if let Some(fields) = volume.get_mut("downwardAPI").and_then(Value::as_object_mut) {
        files(fields);
    }
    if let Some(fields) = volume.get_mut("projected").and_then(Value::as_object_mut) {
        for source in each(fields, "sources") {
            if let Some(fields) = source.get_mut("downwardAPI").and_then(Value::as_object_mut) {
                files(fields);
            }
            if let Some(token) = source.get_mut("serviceAccountToken").and_then(Value::as_object_mut) {
                fill(token, "expirationSeconds", 3600);
            }
        }
    }
    if let Some(fields) = volume.get_mut("hostPath").and_then(Value::as_object_mut) {
        fields.entry("type").or_insert_with(|| "".into());
    }
}

/// Files with fields of the pod.
fn files(list: &mut Fields) {
    for file in each(list, "items") {
        if let Some(field) = file.get_mut("fieldRef").and_then(Value::as_object_mut) {
            fill(field, "apiVersion", "v1");
        }
        if let Some(amount) = file.get_mut("resourceFieldRef").and_then(Value::as_object_mut) {
            fill(amount, "divisor", "0");
        }
    }
}

/// `Guaranteed` when every container limits CPU and memory to what it requests, `BestEffort` when none asks for either.
pub(super) fn quality_of_service(pod: &Value) -> &'static str {
    let containers = || {
        let spec = |name: &str| view::list(pod, &["spec", name]);
        spec("containers").iter().chain(spec("initContainers"))
    };
    let amount = |container: &Value, side: &str, name: &str| -> Option<crate::quantity::Quantity> {
        match view::at(container, &["resources", side, name])? {
            Value::String(text) => text.parse().ok(),
            other => other.to_string().parse().ok(),
        }
    };
    let amount = |container: &Value, side: &str, name: &str| amount(container, side, name).filter(|q| !q.is_zero());
    let names = ["cpu", "memory"];
    let asks = |c: &Value| names.iter().any(|n| amount(c, "requests", n).is_some() || amount(c, "limits", n).is_some());
    let fixed =
        |c: &Value| names.iter().all(|n| amount(c, "limits", n).is_some_and(|limit| amount(c, "requests", n).is_none_or(|r| r == limit)));
    if !containers().any(asks) {
        "BestEffort"
    } else if containers().all(fixed) {
        "Guaranteed"
    } else {
        "Burstable"
    }
}

#[cfg(test)]
mod tests {
    use super::super::{apply, reset_for_create};
    use super::*;
    use crate::kinds;

    fn defaulted(spec: Value) -> Value {
        let mut pod = json!({"metadata": {"name": "p"}, "spec": spec});
        apply(kinds::POD, &mut pod);
        reset_for_create(kinds::POD, &mut pod);
        pod
    }

    #[test]
    fn host_network_ports_are_host_ports() {
        let pod = defaulted(json!({"hostNetwork": true, "containers": [
            {"name": "a", "image": "a", "ports": [{"containerPort": 80}, {"containerPort": 81, "hostPort": 8081}]}]}));
        let ports = &pod["spec"]["containers"][0]["ports"];
        assert_eq!([&ports[0]["hostPort"], &ports[1]["hostPort"]], [80, 8081]);
        let pod = defaulted(json!({"containers": [{"name": "a", "image": "a", "ports": [{"containerPort": 80}]}]}));
        assert_eq!(pod["spec"]["containers"][0]["ports"][0].get("hostPort"), None);
    }

    #[test]
    fn pull_policy_follows_the_tag() {
        for (image, policy) in [
            ("a", "Always"),
            ("a:latest", "Always"),
            ("a:1", "IfNotPresent"),
            ("host:5000/a", "Always"),
            ("host:5000/a:2", "IfNotPresent"),
            ("a@sha256:00", "IfNotPresent"),
        ] {
            let pod = defaulted(json!({"containers": [{"name": "a", "image": image}]}));
            assert_eq!(pod["spec"]["containers"][0]["imagePullPolicy"], policy, "{image}");
        }
    }

    #[test]
    fn lost_nodes_are_tolerated_for_a_while() {
        let pod = defaulted(json!({"containers": []}));
        assert_eq!(pod["spec"]["tolerations"].as_array().unwrap().len(), 2);
        let pod = defaulted(json!({"tolerations": [{"operator": "Exists"}]}));
        assert_eq!(pod["spec"]["tolerations"], json!([{"operator": "Exists"}]));
    }

    #[test]
    fn quality_of_service_follows_requests_and_limits() {
        let qos =
            |resources: Value| defaulted(json!({"containers": [{"image": "a:1", "resources": resources}]}))["status"]["qosClass"].clone();
        assert_eq!(qos(json!({})), "BestEffort");
        assert_eq!(qos(json!({"requests": {"cpu": "1"}})), "Burstable");
        assert_eq!(qos(json!({"limits": {"cpu": "1", "memory": "1Gi"}})), "Guaranteed");
        assert_eq!(qos(json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}})), "Burstable");
    }

    #[test]
    fn probes_and_volumes_are_completed() {
        let pod = defaulted(json!({"volumes": [{"name": "e"}, {"name": "c", "configMap": {"name": "c"}}],
            "containers": [{"image": "a:1", "livenessProbe": {"httpGet": {"port": 80}, "periodSeconds": 0}}]}));
        assert_eq!(pod["spec"]["volumes"][0]["emptyDir"], json!({}));
        assert_eq!(pod["spec"]["volumes"][1]["configMap"]["defaultMode"], 420);
        assert_eq!(
            pod["spec"]["containers"][0]["livenessProbe"],
            json!({"httpGet": {"port": 80, "path": "/", "scheme": "HTTP"}, "timeoutSeconds": 1, "periodSeconds": 10,
                "successThreshold": 1, "failureThreshold": 3})
        );
    }
}
