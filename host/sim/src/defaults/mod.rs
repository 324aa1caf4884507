//! What the API server fills in: defaults of missing fields, and what it sets or clears when an object is created.
//!
//! The values are those of v1.36 (`pkg/apis/*/v1/defaults.go`, the `strategy.go` of each kind, and the admission plugins that
//! are on by default).

mod data;
mod pod;
pub(crate) mod workload;

use crate::json::{Map, Value, json};

use crate::base64;
use crate::crd;
use crate::kinds::{self, Kind};
use crate::view;

type Fields = Map;

/// Fills in the defaults of a kind and drops what is empty. Applying it again changes nothing.
pub fn apply(kind: &'static Kind, object: &mut Value) {
    // Raw data and the explicit nulls of events and statuses are kept as they are.
    if !kind.is(kinds::CONTROLLER_REVISION) && !kind.is(kinds::EVENT) && kind.custom().is_none() {
        let status = view::remove(object, &["status"]);
        // Looking is cheap; changing copies what is shared.
        if has_null(object) {
            drop_nulls(object);
        }
        if let Some(status) = status.filter(|status| !status.is_null()) {
            view::set(object, &["status"], status);
        }
    }
    let Some(fields) = object.as_object_mut() else { return };
    fields.insert("apiVersion", crd::stored_version(kind).into());
    fields.insert("kind", kind.kind.into());
    if let Some(meta) = section(fields, "metadata") {
        drop_empty(meta, &["annotations", "finalizers", "labels", "ownerReferences"]);
    }
    match kind.built_in() {
        "Pod" => pod::pod(fields),
        "Deployment" => deployment(fields),
        "ReplicaSet" => replica_set(fields),
        "DaemonSet" => daemon_set(fields),
        "StatefulSet" => workload::stateful_set(fields),
        "Job" => workload::job(fields),
        "Service" => service(fields),
        "Secret" => secret(fields),
        "Namespace" => namespace(fields),
        "EndpointSlice" => endpoint_slice(fields),
        "Endpoints" => endpoints(fields),
        "HorizontalPodAutoscaler" => data::autoscaler(fields),
        "ServiceAccount" => data::service_account(fields),
        "Role" | "ClusterRole" => data::role(fields),
        "RoleBinding" | "ClusterRoleBinding" => data::binding(fields),
        "PriorityClass" => data::priority_class(fields),
        "Ingress" => data::ingress(fields),
        "IngressClass" => data::ingress_class(fields),
        "NetworkPolicy" => data::network_policy(fields),
        "APIService" => data::api_service(fields),
        "MutatingWebhookConfiguration" => data::webhooks(fields, true),
        "ValidatingWebhookConfiguration" => data::webhooks(fields, false),
        "CronJob" => data::cron_job(fields),
        "ConfigMap" => drop_empty(fields, &["binaryData", "data"]),
        "Lease" => data::lease(fields),
        "PodDisruptionBudget" => data::with_spec(fields),
        "CustomResourceDefinition" => crd::define::defaults(fields),
        "Event" => event(fields),
        "Node" => node(fields),
        _ => {}
    }
}

/// Sets what a client cannot choose when it creates an object: the first status, and the quality of service of a pod.
pub fn reset_for_create(kind: &'static Kind, object: &mut Value) {
    if kind.custom().is_some() && kind.has_status() {
        view::remove(object, &["status"]);
    }
    let first = match kind.built_in() {
        "Deployment" | "Job" => json!({}),
        "StatefulSet" => workload::first_of_stateful_set(),
        "ReplicaSet" => json!({"replicas": 0}),
        "DaemonSet" => json!({
            "currentNumberScheduled": 0, "desiredNumberScheduled": 0, "numberMisscheduled": 0, "numberReady": 0,
        }),
        "Pod" => json!({"phase": "Pending", "qosClass": pod::quality_of_service(object)}),
        "Service" => json!({"loadBalancer": {}}),
        "Namespace" => json!({"phase": "Active"}),
        "CustomResourceDefinition" => crd::define::first_status(object),
        "Ingress" => json!({"loadBalancer": {}}),
        "APIService" | "CronJob" => json!({}),
        "HorizontalPodAutoscaler" => json!({"currentMetrics": null, "desiredReplicas": 0}),
        "PodDisruptionBudget" => {
            json!({"currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0})
        }
        _ => return,
    };
    view::set(object, &["status"], first);
}

fn has_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.values().any(has_null),
        Value::Array(list) => list.iter().any(has_null),
        _ => false,
    }
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, v| !v.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(list) => list.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// The object in a field, created when the field is missing; `None` when it holds something else.
fn section<'a>(fields: &'a mut Fields, name: &str) -> Option<&'a mut Fields> {
    if !fields.contains_key(name) {
        fields.insert(name.to_owned(), Value::Object(Map::new()));
    }
    fields.get_mut(name)?.as_object_mut()
}

/// The objects in a list field.
fn each<'a>(fields: &'a mut Fields, name: &str) -> impl Iterator<Item = &'a mut Fields> {
    fields.get_mut(name).and_then(Value::as_array_mut).into_iter().flatten().filter_map(Value::as_object_mut)
}

/// Sets a field that is missing, or has the zero value that the server cannot tell from missing.
fn fill(fields: &mut Fields, name: &str, value: impl Into<Value>) {
    let missing = match fields.get(name) {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => text.is_empty(),
        _ => false,
    };
    if missing {
        fields.insert(name.to_owned(), value.into());
    }
}

/// Takes away lists and maps without content: the server does not write them.
fn drop_empty(fields: &mut Fields, names: &[&str]) {
    for name in names {
        let empty = match fields.get(name) {
            Some(Value::Object(map)) => map.is_empty(),
            Some(Value::Array(list)) => list.is_empty(),
            _ => false,
        };
        if empty {
            fields.remove(name);
        }
    }
}

fn template(spec: &mut Fields) {
    let Some(template) = section(spec, "template") else { return };
    if let Some(meta) = section(template, "metadata") {
        drop_empty(meta, &["annotations", "finalizers", "labels"]);
    }
    if let Some(spec) = section(template, "spec") {
        pod::spec(spec);
    }
}

fn deployment(fields: &mut Fields) {
    let Some(spec) = section(fields, "spec") else { return };
    fill(spec, "replicas", 1);
    fill(spec, "revisionHistoryLimit", 10);
    fill(spec, "progressDeadlineSeconds", 600);
    if let Some(strategy) = section(spec, "strategy") {
        rolling(strategy, "25%".into(), "25%".into());
    }
    template(spec);
}

/// Fills in a strategy whose default is `RollingUpdate`.
fn rolling(strategy: &mut Fields, unavailable: Value, surge: Value) {
    fill(strategy, "type", "RollingUpdate");
    let is_rolling = strategy.get("type").and_then(Value::as_str) == Some("RollingUpdate");
    if let Some(rolling) = is_rolling.then(|| section(strategy, "rollingUpdate")).flatten() {
        fill(rolling, "maxUnavailable", unavailable);
        fill(rolling, "maxSurge", surge);
    }
}

fn replica_set(fields: &mut Fields) {
    let Some(spec) = section(fields, "spec") else { return };
    fill(spec, "replicas", 1);
    template(spec);
}

fn daemon_set(fields: &mut Fields) {
    let Some(spec) = section(fields, "spec") else { return };
    fill(spec, "revisionHistoryLimit", 10);
    if let Some(strategy) = section(spec, "updateStrategy") {
        rolling(strategy, 1.into(), 0.into());
        // Of another type they are no defaults: the server keeps both numbers, and writes those that nobody gave as 0.
        if let Some(rolling) = strategy.get_mut("rollingUpdate").and_then(Value::as_object_mut) {
            fill(rolling, "maxUnavailable", 0);
            fill(rolling, "maxSurge", 0);
        }
    }
    template(spec);
}

fn service(fields: &mut Fields) {
    let Some(spec) = section(fields, "spec") else { return };
    fill(spec, "sessionAffinity", "None");
    fill(spec, "type", "ClusterIP");
    service_affinity(spec);
    let kind = spec.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
    for port in each(spec, "ports") {
        fill(port, "protocol", "TCP");
        if let Some(number) = port.get("port").cloned() {
            if matches!(port.get("targetPort"), Some(target) if target.as_i64() == Some(0) || target.as_str() == Some("")) {
                port.remove("targetPort");
            }
            fill(port, "targetPort", number);
        }
        if port.get("nodePort").and_then(Value::as_i64) == Some(0) {
            port.remove("nodePort");
        }
    }
    drop_empty(spec, &["selector", "externalIPs", "loadBalancerSourceRanges"]);
    let from_outside = matches!(kind.as_str(), "NodePort" | "LoadBalancer") || (kind == "ClusterIP" && spec.contains_key("externalIPs"));
    if from_outside {
        fill(spec, "externalTrafficPolicy", "Cluster");
    }
    if kind == "LoadBalancer" {
        fill(spec, "allocateLoadBalancerNodePorts", true);
    }
    if kind != "ExternalName" {
        fill(spec, "internalTrafficPolicy", "Cluster");
        let headless = spec.get("clusterIP").and_then(Value::as_str) == Some("None");
        let selects = spec.get("selector").and_then(Value::as_object).is_some_and(|s| !s.is_empty());
        // Without a selector nobody knows the families of what is behind a headless service.
        if headless && !selects {
            fill(spec, "ipFamilies", json!(["IPv4", "IPv6"]));
            fill(spec, "ipFamilyPolicy", "RequireDualStack");
        }
        fill(spec, "ipFamilies", json!(["IPv4"]));
        fill(spec, "ipFamilyPolicy", "SingleStack");
    }
}

fn service_affinity(spec: &mut Fields) {
    match spec.get("sessionAffinity").and_then(Value::as_str) {
        Some("None") => {
            spec.remove("sessionAffinityConfig");
        }
        Some("ClientIP") => {
            if let Some(client) = section(spec, "sessionAffinityConfig").and_then(|config| section(config, "clientIP")) {
                fill(client, "timeoutSeconds", 10_800);
            }
        }
        _ => {}
    }
}

fn secret(fields: &mut Fields) {
    fill(fields, "type", "Opaque");
    let Some(Value::Object(plain)) = fields.remove("stringData") else { return };
    if let Some(data) = section(fields, "data") {
        for (name, value) in plain {
            if let Some(text) = value.as_str() {
                data.insert(name, base64::encode(text.as_bytes()).into());
            }
        }
    }
}

fn namespace(fields: &mut Fields) {
    let name = fields.get("metadata").and_then(|m| m.get("name")).and_then(Value::as_str).unwrap_or_default().to_owned();
    if let Some(labels) = section(fields, "metadata").and_then(|meta| section(meta, "labels")).filter(|_| !name.is_empty()) {
        fill(labels, "kubernetes.io/metadata.name", name);
    }
    if let Some(spec) = section(fields, "spec") {
        fill(spec, "finalizers", json!(["kubernetes"]));
    }
}

fn endpoint_slice(fields: &mut Fields) {
    for port in each(fields, "ports") {
        port.entry("name").or_insert_with(|| "".into());
        fill(port, "protocol", "TCP");
    }
    each(fields, "endpoints").for_each(|endpoint| fill(endpoint, "conditions", json!({})));
}

/// Events show these fields also when they are empty.
fn event(fields: &mut Fields) {
    let mut fill = |field: &str, value: Value| {
        if !fields.contains_key(field) {
            fields.insert(field, value);
        }
    };
    for time in ["eventTime", "firstTimestamp", "lastTimestamp"] {
        fill(time, Value::Null);
    }
    for text in ["reportingComponent", "reportingInstance"] {
        fill(text, "".into());
    }
    fill("source", json!({}));
}

fn node(fields: &mut Fields) {
    let Some(spec) = section(fields, "spec") else { return };
    if let Some(range) = spec.get("podCIDR").cloned() {
        fill(spec, "podCIDRs", json!([range]));
    }
}

fn endpoints(fields: &mut Fields) {
    for subset in each(fields, "subsets") {
        each(subset, "ports").for_each(|port| fill(port, "protocol", "TCP"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deployments_get_the_servers_defaults() {
        let mut d = json!({"metadata": {"name": "d", "labels": {}}, "spec": {"template": {"spec": {
            "hostNetwork": true,
            "containers": [{"name": "a", "image": "r/a:1", "ports": [{"containerPort": 80}], "command": null}]}}}});
        apply(kinds::DEPLOYMENT, &mut d);
        assert_eq!(d["apiVersion"], "apps/v1");
        assert_eq!(d["metadata"], json!({"name": "d"}));
        let spec = &d["spec"];
        assert_eq!(spec["strategy"], json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}}));
        assert_eq!([&spec["replicas"], &spec["revisionHistoryLimit"], &spec["progressDeadlineSeconds"]], [1, 10, 600]);
        // Host ports are filled in on pods, not in templates.
        assert_eq!(
            spec["template"]["spec"]["containers"],
            json!([{"name": "a", "image": "r/a:1", "imagePullPolicy": "IfNotPresent", "ports":
                [{"containerPort": 80, "protocol": "TCP"}], "resources": {}, "terminationMessagePath": "/dev/termination-log",
                "terminationMessagePolicy": "File"}])
        );
        let again = d.clone();
        apply(kinds::DEPLOYMENT, &mut d);
        assert_eq!(d, again);
    }

    #[test]
    fn recreate_has_no_rolling_section() {
        let mut d = json!({"spec": {"strategy": {"type": "Recreate"}}});
        apply(kinds::DEPLOYMENT, &mut d);
        assert_eq!(d["spec"]["strategy"], json!({"type": "Recreate"}));
    }

    #[test]
    fn secrets_take_plain_text() {
        let mut s = json!({"data": {"old": "eA=="}, "stringData": {"a": "a", "b": "bc", "c": "def", "d": ""}});
        apply(kinds::SECRET, &mut s);
        assert_eq!(s["type"], "Opaque");
        assert_eq!(s["data"], json!({"old": "eA==", "a": "YQ==", "b": "YmM=", "c": "ZGVm", "d": ""}));
        assert_eq!(s.get("stringData"), None);
    }

    #[test]
    fn a_service_gets_ports_and_policies() {
        let mut s = json!({"spec": {"ports": [{"port": 80}, {"port": 53, "protocol": "UDP", "targetPort": "dns"}]}});
        apply(kinds::SERVICE, &mut s);
        assert_eq!(
            s["spec"]["ports"],
            json!([{"port": 80, "protocol": "TCP", "targetPort": 80}, {"port": 53, "protocol": "UDP", "targetPort": "dns"}])
        );
        assert_eq!(s["spec"]["type"], "ClusterIP");
        assert_eq!(s["spec"]["internalTrafficPolicy"], "Cluster");
    }

    #[test]
    fn wrong_types_do_no_harm() {
        for wrong in [json!([]), json!(1), json!({"spec": 1}), json!({"metadata": [], "spec": {"template": "x", "ports": {}}})] {
            for kind in kinds::ALL {
                let mut object = wrong.clone();
                apply(kind, &mut object);
                reset_for_create(kind, &mut object);
            }
        }
    }
}
