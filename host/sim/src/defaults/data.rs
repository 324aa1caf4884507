//! Defaults of the kinds that are mostly data.

use crate::json::{Map, Value, json};

use super::{Fields, drop_empty, each, fill, section};

const GROUP: &str = "rbac.authorization.k8s.io";

/// Empty lists of references are none.
pub(super) fn service_account(fields: &mut Fields) {
    drop_empty(fields, &["imagePullSecrets", "secrets"]);
}

/// A role always shows its rules, if only that it has none.
pub(super) fn role(fields: &mut Fields) {
    drop_empty(fields, &["rules"]);
    fields.entry("rules").or_insert(Value::Null);
}

pub(super) fn binding(fields: &mut Fields) {
    if let Some(role) = section(fields, "roleRef") {
        fill(role, "apiGroup", GROUP);
    }
    for subject in each(fields, "subjects") {
        match subject.get("kind").and_then(Value::as_str) {
            Some("User" | "Group") => fill(subject, "apiGroup", GROUP),
            _ => drop_text(subject, "apiGroup"),
        }
    }
    drop_empty(fields, &["subjects"]);
}

pub(super) fn priority_class(fields: &mut Fields) {
    fill(fields, "value", 0);
    fill(fields, "preemptionPolicy", "PreemptLowerPriority");
    drop_false(fields, "globalDefault");
    drop_text(fields, "description");
}

pub(super) fn ingress(fields: &mut Fields) {
    let Some(spec) = section(fields, "spec") else { return };
    for rule in each(spec, "rules") {
        drop_text(rule, "host");
        if let Some(http) = rule.get_mut("http").and_then(Value::as_object_mut) {
            each(http, "paths").for_each(|path| drop_text(path, "path"));
        }
    }
    drop_empty(spec, &["rules", "tls"]);
}

pub(super) fn ingress_class(fields: &mut Fields) {
    let Some(spec) = section(fields, "spec") else { return };
    if let Some(parameters) = spec.get_mut("parameters").and_then(Value::as_object_mut) {
        fill(parameters, "scope", "Cluster");
    }
}

pub(super) fn network_policy(fields: &mut Fields) {
    let Some(spec) = section(fields, "spec") else { return };
    section(spec, "podSelector");
    for direction in ["ingress", "egress"] {
        for rule in each(spec, direction) {
            each(rule, "ports").for_each(|port| fill(port, "protocol", "TCP"));
            drop_empty(rule, &["from", "ports", "to"]);
        }
    }
    drop_empty(spec, &["egress", "ingress", "policyTypes"]);
    let types = if spec.contains_key("egress") { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) };
    fill(spec, "policyTypes", types);
}

pub(super) fn api_service(fields: &mut Fields) {
    let Some(spec) = section(fields, "spec") else { return };
    if let Some(service) = spec.get_mut("service").and_then(Value::as_object_mut) {
        fill(service, "port", 443);
    }
    drop_false(spec, "insecureSkipTLSVerify");
}

/// Defaults of a configuration of webhooks; only mutating ones say whether they are asked again.
pub(super) fn webhooks(fields: &mut Fields, mutating: bool) {
    for hook in each(fields, "webhooks") {
        if let Some(to) = hook.get_mut("clientConfig").and_then(|client| client.get_mut("service")).and_then(Value::as_object_mut) {
            fill(to, "port", 443);
        }
        for rule in each(hook, "rules") {
            fill(rule, "scope", "*");
        }
        fill(hook, "failurePolicy", "Fail");
        fill(hook, "matchPolicy", "Equivalent");
        section(hook, "namespaceSelector");
        section(hook, "objectSelector");
        fill(hook, "timeoutSeconds", 10);
        if mutating {
            fill(hook, "reinvocationPolicy", "Never");
        }
    }
    drop_empty(fields, &["webhooks"]);
}

pub(super) fn cron_job(fields: &mut Fields) {
    let Some(spec) = section(fields, "spec") else { return };
    fill(spec, "concurrencyPolicy", "Allow");
    fill(spec, "suspend", false);
    fill(spec, "successfulJobsHistoryLimit", 3);
    fill(spec, "failedJobsHistoryLimit", 1);
    let Some(job) = section(spec, "jobTemplate") else { return };
    if let Some(meta) = section(job, "metadata") {
        drop_empty(meta, &["annotations", "finalizers", "labels"]);
    }
    if let Some(spec) = section(job, "spec") {
        super::template(spec);
    }
}

pub(super) fn autoscaler(fields: &mut Fields) {
    let Some(spec) = section(fields, "spec") else { return };
    fill(spec, "minReplicas", 1);
    drop_empty(spec, &["metrics"]);
    let cpu = json!([{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}]);
    fill(spec, "metrics", cpu);
    let Some(behavior) = spec.get_mut("behavior").and_then(Value::as_object_mut) else { return };
    // Once one direction is given both are shown.
    let everything = json!({"type": "Percent", "value": 100, "periodSeconds": 15});
    if let Some(up) = section(behavior, "scaleUp") {
        fill(up, "stabilizationWindowSeconds", 0);
        fill(up, "policies", json!([{"type": "Pods", "value": 4, "periodSeconds": 15}, everything.clone()]));
        fill(up, "selectPolicy", "Max");
    }
    if let Some(down) = section(behavior, "scaleDown") {
        fill(down, "policies", json!([everything]));
        fill(down, "selectPolicy", "Max");
    }
}

/// Two fields belong to a feature that is off in v1.36: the server drops them.
pub(super) fn lease(fields: &mut Fields) {
    with_spec(fields);
    if let Some(spec) = section(fields, "spec") {
        spec.remove("strategy");
        spec.remove("preferredHolder");
    }
}

/// Kinds whose spec is shown also when it is empty.
pub(super) fn with_spec(fields: &mut Fields) {
    fields.entry("spec").or_insert_with(|| Value::Object(Map::new()));
}

fn drop_false(fields: &mut Fields, name: &str) {
    if fields.get(name) == Some(&Value::Bool(false)) {
        fields.remove(name);
    }
}

fn drop_text(fields: &mut Fields, name: &str) {
    if fields.get(name).and_then(Value::as_str) == Some("") {
        fields.remove(name);
    }
}
