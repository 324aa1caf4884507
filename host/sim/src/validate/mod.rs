//! What the API server refuses: wrong types, and values that no controller could work with.
//!
//! It covers what is easily written wrong in a runbook; texts and fields are those of v1.36. What is not checked here is accepted.

mod affinity;
mod autoscaler;
mod common;
mod container;
mod cron;
mod data;
mod extension;
mod job;
mod network;
mod owners;
mod pod;
mod rbac;
mod resources;
mod security;
mod service;
mod shape;
mod sources;
mod stateful;
mod volumes;

pub(crate) use self::service::{is_external, needs_health_check, node_port_fits};
pub(crate) use self::shape::json_type;

use crate::crd;
use crate::json::{Value, json};

use crate::kinds::Kind;
use crate::selector::{LabelSelector, is_dns_label};
use crate::status::{Cause, Status};
use crate::view;

const LABEL_TEXT: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and \
    end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN_TEXT: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must \
    start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const IMMUTABLE: &str = "field is immutable";
const NOT_NEGATIVE: &str = "must be greater than or equal to 0";

/// Checks the JSON types of an object. The error says which field cannot be read as what.
///
/// # Errors
/// The text of the server's decoder.
pub fn shape(kind: &Kind, object: &Value) -> Result<(), String> {
    shape::check(kind, object, None, shape::Reader::Decoder)
}

/// As [`shape`], for what a change makes of an object whose types were checked before.
///
/// # Errors
/// As [`shape`].
pub(crate) fn changed_shape(kind: &Kind, before: &Value, after: &Value) -> Result<(), String> {
    shape::check(kind, after, Some(before), shape::Reader::Decoder)
}

/// As [`changed_shape`], where the server converts what it has merged in memory and decodes no text: it refuses in other words.
///
/// # Errors
/// As [`shape`].
pub(crate) fn converted_shape(kind: &Kind, before: &Value, after: &Value) -> Result<(), String> {
    shape::check(kind, after, Some(before), shape::Reader::Converter)
}

/// Checks an object as it is to be stored, defaults included.
///
/// # Errors
/// 422 with every cause.
pub fn create(kind: &Kind, object: &Value) -> Result<(), Status> {
    let refused = match kind.built_in() {
        "StatefulSet" => stateful::not_modelled(object),
        "Job" => job::not_modelled(object),
        _ => None,
    };
    if let Some(what) = refused {
        return Err(Status::not_modelled(&what));
    }
    let mut causes = Vec::new();
    metadata(kind, object, &mut causes);
    content(kind, object, &mut causes);
    match kind.built_in() {
        "Pod" => pod::create(object, &mut causes),
        "Ingress" => network::ingress_class_given_twice(object, &mut causes),
        "CustomResourceDefinition" => crd::define::create(object, &mut causes),
        "StatefulSet" => stateful::service_name(object, &mut causes),
        _ => {}
    }
    finish(kind, object, &causes)
}

/// Checks everything behind the metadata.
fn content(kind: &Kind, object: &Value, causes: &mut Vec<Cause>) {
    match kind.built_in() {
        "Pod" => pod::pod(object, causes),
        "Deployment" => deployment(object, causes),
        "ReplicaSet" => {
            counts(object, &["replicas", "minReadySeconds"], causes);
            selector(object, "deployment", causes);
            template(object, "ReplicaSet", causes);
        }
        "DaemonSet" => daemon_set(object, causes),
        "StatefulSet" => stateful::content(object, causes),
        "Job" => job::content(object, causes),
        "Node" => taints(object, causes),
        "Service" => service::service(object, causes),
        "ConfigMap" => data::config_map(object, causes),
        "Secret" => data::secret(object, causes),
        "PodDisruptionBudget" => budget(object, causes),
        "HorizontalPodAutoscaler" => autoscaler::autoscaler(object, causes),
        "Role" | "ClusterRole" => rbac::role(object, kind.namespaced, causes),
        "RoleBinding" | "ClusterRoleBinding" => rbac::binding(object, kind.namespaced, causes),
        "PriorityClass" => extension::priority_class(object, causes),
        "Ingress" => network::ingress(object, causes),
        "IngressClass" => network::ingress_class(object, causes),
        "NetworkPolicy" => network::policy(object, causes),
        "APIService" => extension::api_service(object, causes),
        "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration" => {
            extension::webhooks(object, kind.kind.starts_with("Mutating"), causes);
        }
        "CronJob" => cron::cron_job(object, causes),
        "Lease" => lease(object, causes),
        "Event" => event(object, causes),
        _ => {}
    }
}

/// Checks an object whose status was written.
///
/// # Errors
/// 422 with every cause.
pub(crate) fn status(kind: &Kind, object: &Value) -> Result<(), Status> {
    let mut causes = Vec::new();
    if kind.kind == "Ingress" {
        network::ingress_status(object, &mut causes);
    }
    if kind.kind == "Deployment" {
        deployment_status(object, &mut causes);
    }
    finish(kind, object, &causes)
}

/// Counts of pods that cannot be (kubernetes: pkg/apis/apps/validation, `ValidateDeploymentStatus`).
fn deployment_status(object: &Value, causes: &mut Vec<Cause>) {
    let count = |name: &str| view::int(object, &["status", name]).unwrap_or(0);
    let mut too_many = |name: &str, of: &str, why: &str| {
        if count(name) > count(of) {
            causes.push(Cause::invalid(format!("status.{name}"), &count(name).into(), why));
        }
    };
    for name in ["updatedReplicas", "readyReplicas", "availableReplicas"] {
        too_many(name, "replicas", "cannot be greater than status.replicas");
    }
    too_many("availableReplicas", "readyReplicas", "cannot be greater than readyReplicas");
}

/// Checks a changed object: what may not change, and all that is checked when it is created.
///
/// # Errors
/// 422 with every cause.
pub fn update(kind: &Kind, before: &Value, after: &Value) -> Result<(), Status> {
    let mut causes = Vec::new();
    changed_metadata(kind, before, after, &mut causes);
    if kind.kind == "DaemonSet" {
        // Here the server looks at the selector first.
        immutable(before, after, &["spec", "selector"], &mut causes);
    }
    content(kind, after, &mut causes);
    let mut fixed = |path: &[&str]| immutable(before, after, path, &mut causes);
    match kind.built_in() {
        "Deployment" | "ReplicaSet" => fixed(&["spec", "selector"]),
        "Secret" => fixed(&["type"]),
        "ControllerRevision" => fixed(&["data"]),
        "IngressClass" => fixed(&["spec", "controller"]),
        _ => {}
    }
    match kind.built_in() {
        "Service" => service::update(before, after, &mut causes),
        "CustomResourceDefinition" => crd::define::update(before, after, &mut causes),
        "RoleBinding" | "ClusterRoleBinding" => rbac::rebinding(before, after, &mut causes),
        "PriorityClass" => extension::priority_class_update(before, after, &mut causes),
        "Pod" => pod::update(before, after, &mut causes),
        "StatefulSet" => stateful::update(before, after, &mut causes),
        "Job" => job::update(before, after, &mut causes),
        "ConfigMap" | "Secret" if view::flag(before, &["immutable"]) => {
            let why = "field is immutable when `immutable` is set";
            for field in ["immutable", "data", "binaryData"] {
                if before.get(field) != after.get(field) {
                    causes.push(Cause::forbidden(field, why));
                }
            }
        }
        _ => {}
    }
    finish(kind, after, &causes)
}

/// An object that is being deleted takes no further finalizers.
/// Checks the metadata of a changed object. The server does so several times, the more the more carefully a kind was written, and tells
/// each time what it finds; how often was counted on v1.36.4.
fn changed_metadata(kind: &Kind, before: &Value, after: &Value, causes: &mut Vec<Cause>) {
    let group = kind.group;
    let passes = match kind.built_in() {
        "Event" | "PodDisruptionBudget" => 2,
        "ConfigMap" | "ControllerRevision" | "Endpoints" | "Ingress" | "Job" | "Namespace" | "Node" | "Secret" | "ServiceAccount" => 4,
        _ if group == "rbac.authorization.k8s.io" => 4,
        _ => 3,
    };
    let unnamed_finalizers = passes == 2 || kind.built_in() == "Lease" || group == "admissionregistration.k8s.io";
    let mut found = Vec::new();
    metadata(kind, after, &mut found);
    for pass in 0..passes {
        let counts = |cause: &&Cause| !cause.field.starts_with("metadata.finalizers[") || (pass >= 2 && !unnamed_finalizers);
        causes.extend(found.iter().filter(counts).cloned());
    }
    for _ in 0..passes.min(3) - 1 {
        new_finalizers(before, after, causes);
    }
}

fn new_finalizers(before: &Value, after: &Value, causes: &mut Vec<Cause>) {
    if !view::is_terminating(before) {
        return;
    }
    let old = view::list(before, &["metadata", "finalizers"]);
    let new = view::list(after, &["metadata", "finalizers"]).iter().filter(|f| !old.contains(f));
    let new: Vec<String> = new.filter_map(Value::as_str).map(|name| format!("{name:?}")).collect();
    if !new.is_empty() {
        let why = "no new finalizers can be added if the object is being deleted, found new finalizers []string";
        causes.push(Cause::forbidden("metadata.finalizers", &format!("{why}{{{}}}", new.join(", "))));
    }
}

fn finish(kind: &Kind, object: &Value, causes: &[Cause]) -> Result<(), Status> {
    if causes.is_empty() {
        return Ok(());
    }
    let name = Some(view::name(object)).filter(|n| !n.is_empty()).unwrap_or(view::text(object, &["metadata", "generateName"]));
    Err(Status::invalid(kind, name, causes))
}

fn immutable(before: &Value, after: &Value, path: &[&str], causes: &mut Vec<Cause>) {
    let (old, new) = (view::at(before, path), view::at(after, path));
    if old != new {
        causes.push(Cause::invalid(path.join("."), new.unwrap_or(&Value::Null), IMMUTABLE));
    }
}

/// Whether a name fits the kind.
fn name_text(kind: &Kind, name: &str) -> Option<&'static str> {
    if kind.group == "rbac.authorization.k8s.io" || kind.kind == "APIService" {
        return common::segment_text(name);
    }
    let label = matches!(kind.built_in(), "Namespace" | "Service" | "StatefulSet");
    let (longest, too_long) = if label { (63, "must be no more than 63 characters") } else { (253, "must be no more than 253 characters") };
    if name.len() > longest {
        return Some(too_long);
    }
    if label && name.contains('.') {
        return Some("must not contain dots");
    }
    let fits = if label { is_dns_label(name) } else { !name.is_empty() && name.split('.').all(is_dns_label) };
    (!fits).then_some(if label { LABEL_TEXT } else { SUBDOMAIN_TEXT })
}

fn metadata(kind: &Kind, object: &Value, causes: &mut Vec<Cause>) {
    let (name, base) = (view::name(object), view::text(object, &["metadata", "generateName"]));
    if name.is_empty() && base.is_empty() {
        causes.push(Cause::required("metadata.name", "name or generateName is required"));
    }
    // A base may end with what a whole name may not.
    let checks = [("metadata.generateName", base, base.trim_end_matches(['-', '.'])), ("metadata.name", name, name)];
    for (field, given, checked) in checks.into_iter().filter(|(_, _, checked)| !checked.is_empty()) {
        if let Some(text) = name_text(kind, checked) {
            causes.push(Cause::invalid(field, &given.into(), text));
        }
    }
    finalizer_names(object, causes);
    labels(view::at(object, &["metadata", "labels"]), "metadata.labels", causes);
    annotations(view::at(object, &["metadata", "annotations"]), "metadata.annotations", causes);
    owners::check(object, causes);
}

/// Keys of annotations, whose case does not count.
fn annotations(annotations: Option<&Value>, field: &str, causes: &mut Vec<Cause>) {
    for (key, _) in annotations.and_then(Value::as_object).into_iter().flatten() {
        let mut wrong = Vec::new();
        common::qualified(&key.to_ascii_lowercase(), field, &mut wrong);
        let shown = |cause: Cause| Cause { message: cause.message.replacen(key.to_ascii_lowercase().as_str(), key, 1), ..cause };
        causes.extend(wrong.into_iter().map(shown));
    }
}

fn finalizer_names(object: &Value, causes: &mut Vec<Cause>) {
    let names = view::list(object, &["metadata", "finalizers"]).iter().enumerate();
    for (at, name) in names.filter_map(|(at, name)| name.as_str().map(|name| (at, name))) {
        common::qualified(name, "metadata.finalizers", causes);
        if !name.contains('/') && !matches!(name, "foregroundDeletion" | "kubernetes" | "orphan") {
            let why = "name is neither a standard finalizer name nor is it fully qualified";
            causes.push(Cause::invalid(format!("metadata.finalizers[{at}]"), &name.into(), why));
        }
    }
}

fn labels(labels: Option<&Value>, field: &str, causes: &mut Vec<Cause>) {
    for (key, value) in labels.and_then(Value::as_object).into_iter().flatten() {
        common::qualified(key, field, causes);
        common::label_value(value.as_str().unwrap_or_default(), field, causes);
    }
}

/// Fields of the spec that count something.
fn counts(object: &Value, fields: &[&str], causes: &mut Vec<Cause>) {
    for field in fields {
        if let Some(number) = view::int(object, &["spec", field]).filter(|n| *n < 0) {
            causes.push(Cause::invalid(format!("spec.{field}"), &number.into(), NOT_NEGATIVE));
        }
    }
}

/// The selector of a workload, and that its template fits it.
fn selector(object: &Value, what: &str, causes: &mut Vec<Cause>) {
    let Some(value) = view::at(object, &["spec", "selector"]) else {
        if what != "daemonset" {
            causes.push(Cause::required("spec.selector", ""));
        }
        let labels = view::at(object, &["spec", "template", "metadata", "labels"]).cloned().unwrap_or(Value::Null);
        causes.push(Cause::invalid("spec.template.metadata.labels", &labels, "`selector` does not match template `labels`"));
        return;
    };
    let mut wrong = Vec::new();
    common::selector(Some(value), "spec.selector", &mut wrong);
    if !wrong.is_empty() {
        causes.extend(wrong);
        match what {
            "daemonset" => {}
            "statefulset" => {
                let message = format!("Invalid value: {value}");
                causes.push(Cause { reason: "FieldValueInvalid", field: "spec.selector".to_owned(), message });
            }
            _ => causes.push(Cause::invalid("spec.selector", value, "invalid label selector")),
        }
        return;
    }
    if view::selector_is_empty(Some(value)) {
        causes.push(Cause::invalid("spec.selector", value, &format!("empty selector is invalid for {what}")));
        return;
    }
    let Ok(selector) = LabelSelector::from_value(value) else { return };
    let labels = view::at(object, &["spec", "template", "metadata", "labels"]);
    if !selector.matches_labels(labels.and_then(Value::as_object)) {
        let labels = labels.cloned().unwrap_or(Value::Null);
        causes.push(Cause::invalid("spec.template.metadata.labels", &labels, "`selector` does not match template `labels`"));
    }
}

/// A template of pods: of its metadata only labels and annotations count.
fn pod_template(object: &Value, causes: &mut Vec<Cause>) {
    template_metadata(object, causes);
    pod::template(view::at(object, &["spec", "template", "spec"]), "spec.template.spec", causes);
}

fn template_metadata(object: &Value, causes: &mut Vec<Cause>) {
    labels(view::at(object, &["spec", "template", "metadata", "labels"]), "spec.template.labels", causes);
    annotations(view::at(object, &["spec", "template", "metadata", "annotations"]), "spec.template.annotations", causes);
}

/// A template whose pods run for ever; `what` owns them.
fn template(object: &Value, what: &str, causes: &mut Vec<Cause>) {
    pod_template(object, causes);
    let policy = view::text(object, &["spec", "template", "spec", "restartPolicy"]);
    if !policy.is_empty() && policy != "Always" {
        causes.push(Cause::not_supported("spec.template.spec.restartPolicy", &policy.into(), &["Always"]));
    }
    if view::at(object, &["spec", "template", "spec", "activeDeadlineSeconds"]).is_some_and(|seconds| !seconds.is_null()) {
        let why = format!("activeDeadlineSeconds in {what} is not Supported");
        causes.push(Cause::forbidden("spec.template.spec.activeDeadlineSeconds", &why));
    }
}

fn deployment(object: &Value, causes: &mut Vec<Cause>) {
    counts(object, &["replicas"], causes);
    selector(object, "deployment", causes);
    template(object, "ReplicaSet", causes);
    let strategy = &["spec", "strategy"];
    let rolling = view::at(object, &[strategy[0], strategy[1], "rollingUpdate"]);
    match view::text(object, &["spec", "strategy", "type"]) {
        "Recreate" if rolling.is_some() => {
            let why = "may not be specified when strategy `type` is 'Recreate'";
            causes.push(Cause::forbidden("spec.strategy.rollingUpdate", why));
        }
        "Recreate" => {}
        "RollingUpdate" => {
            let field = "spec.strategy.rollingUpdate";
            let unavailable = int_or_percent(rolling, field, "maxUnavailable", causes);
            let surge = int_or_percent(rolling, field, "maxSurge", causes);
            if unavailable == Some(0) && surge == Some(0) {
                let value = rolling.and_then(|r| r.get("maxUnavailable")).cloned().unwrap_or(json!(0));
                causes.push(Cause::invalid(format!("{field}.maxUnavailable"), &value, "may not be 0 when `maxSurge` is 0"));
            }
            at_most_all(rolling, field, "maxUnavailable", causes);
        }
        other => strategy_type("spec.strategy", other, &["Recreate", "RollingUpdate"], causes),
    }
    counts(object, &["minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"], causes);
    let deadline = view::count(object, &["spec", "progressDeadlineSeconds"]);
    if deadline <= view::count(object, &["spec", "minReadySeconds"]) {
        let why = "must be greater than minReadySeconds";
        causes.push(Cause::invalid("spec.progressDeadlineSeconds", &deadline.into(), why));
    }
}

/// The number of an integer or a percentage; what is neither is a cause.
fn int_or_percent(parent: Option<&Value>, field: &str, name: &str, causes: &mut Vec<Cause>) -> Option<i64> {
    let value = parent?.get(name)?;
    let field = format!("{field}.{name}");
    let number = number_of(value);
    if value.is_string() && number.is_none() {
        let why = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for \
            validation is '[0-9]+%')";
        causes.push(Cause::invalid(field.as_str(), value, why));
    }
    if number.is_some_and(|n| n < 0) {
        causes.push(Cause::invalid(field, value, NOT_NEGATIVE));
    }
    number
}

/// The number of an integer or of a percentage.
fn number_of(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => {
            let digits = text.strip_suffix('%').filter(|d| !d.is_empty() && d.bytes().all(|b| b.is_ascii_digit()));
            digits.and_then(|digits| digits.parse().ok())
        }
        _ => None,
    }
}

fn at_most_all(parent: Option<&Value>, field: &str, name: &str, causes: &mut Vec<Cause>) {
    let value = parent.and_then(|parent| parent.get(name)).filter(|value| value.is_string());
    if let Some(value) = value.filter(|value| number_of(value).is_some_and(|percent| percent > 100)) {
        causes.push(Cause::invalid(format!("{field}.{name}"), value, "must not be greater than 100%"));
    }
}

/// The server shows the whole strategy here, in the form of its own type.
fn strategy_type(field: &str, given: &str, known: &[&str], causes: &mut Vec<Cause>) {
    let list: Vec<String> = known.iter().map(|name| format!("{name:?}")).collect();
    let message = format!("Unsupported value: {{\"Type\":{given:?},\"RollingUpdate\":null}}: supported values: {}", list.join(", "));
    causes.push(Cause { reason: "FieldValueNotSupported", field: field.to_owned(), message });
}

fn taints(object: &Value, causes: &mut Vec<Cause>) {
    for (at, taint) in view::list(object, &["spec", "taints"]).iter().enumerate() {
        let effect = view::text(taint, &["effect"]);
        if view::text(taint, &["key"]).is_empty() {
            causes.push(Cause::required(format!("metadata.taints[{at}].key"), ""));
        }
        let known = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
        if effect.is_empty() {
            causes.push(Cause::required(format!("metadata.taints[{at}].effect"), ""));
        } else if !known.contains(&effect) {
            causes.push(Cause::not_supported(format!("metadata.taints[{at}].effect"), &effect.into(), &known));
        }
    }
}

fn lease(object: &Value, causes: &mut Vec<Cause>) {
    if let Some(seconds) = view::int(object, &["spec", "leaseDurationSeconds"]).filter(|n| *n <= 0) {
        causes.push(Cause::invalid("spec.leaseDurationSeconds", &seconds.into(), "must be greater than 0"));
    }
    counts(object, &["leaseTransitions"], causes);
}

/// An event about a namespaced object lives in its namespace, one about a cluster-scoped object in `default`.
fn event(object: &Value, causes: &mut Vec<Cause>) {
    let about = view::text(object, &["involvedObject", "namespace"]);
    let here = view::namespace(object);
    if about != here && !(about.is_empty() && matches!(here, "default" | "kube-system")) {
        causes.push(Cause::invalid("involvedObject.namespace", &about.into(), "does not match event.namespace"));
    }
}

fn daemon_set(object: &Value, causes: &mut Vec<Cause>) {
    selector(object, "daemonset", causes);
    template(object, "DaemonSet", causes);
    counts(object, &["minReadySeconds"], causes);
    match view::text(object, &["spec", "updateStrategy", "type"]) {
        "OnDelete" => {}
        "RollingUpdate" => {
            let (field, rolling) = ("spec.updateStrategy.rollingUpdate", view::at(object, &["spec", "updateStrategy", "rollingUpdate"]));
            let unavailable = int_or_percent(rolling, field, "maxUnavailable", causes);
            let surge = int_or_percent(rolling, field, "maxSurge", causes);
            at_most_all(rolling, field, "maxUnavailable", causes);
            at_most_all(rolling, field, "maxSurge", causes);
            match (unavailable, surge) {
                // What cannot be read counts as nothing.
                (None | Some(0), None | Some(0)) if rolling.is_some() => {
                    causes.push(Cause::required(format!("{field}.maxUnavailable"), "cannot be 0 when maxSurge is 0"));
                }
                (Some(u), Some(s)) if u != 0 && s != 0 => {
                    let value = rolling.and_then(|r| r.get("maxSurge")).cloned().unwrap_or(Value::Null);
                    causes.push(Cause::invalid(format!("{field}.maxSurge"), &value, "may not be set when maxUnavailable is non-zero"));
                }
                _ => {}
            }
        }
        other => strategy_type("spec.updateStrategy", other, &["RollingUpdate", "OnDelete"], causes),
    }
    counts(object, &["revisionHistoryLimit"], causes);
}

fn budget(object: &Value, causes: &mut Vec<Cause>) {
    let spec = view::at(object, &["spec"]);
    let both = ["minAvailable", "maxUnavailable"].map(|name| {
        int_or_percent(spec, "spec", name, causes);
        at_most_all(spec, "spec", name, causes);
        spec.is_some_and(|s| s.get(name).is_some())
    });
    if both == [true, true] {
        let field = |name: &str| spec.and_then(|s| s.get(name)).cloned().unwrap_or_default();
        // The server shows its own type here, with its fields in their order.
        let message = format!(
            r#"Invalid value: {{"MinAvailable":{},"Selector":{},"MaxUnavailable":{},"UnhealthyPodEvictionPolicy":{}}}: {}"#,
            field("minAvailable"),
            field("selector"),
            field("maxUnavailable"),
            field("unhealthyPodEvictionPolicy"),
            "minAvailable and maxUnavailable cannot be both set"
        );
        causes.push(Cause { reason: "FieldValueInvalid", field: "spec".to_owned(), message });
    }
    common::selector(view::at(object, &["spec", "selector"]), "spec.selector", causes);
    let known = ["AlwaysAllow", "IfHealthyBudget"];
    common::one_of_if_any(object, &["spec", "unhealthyPodEvictionPolicy"], "spec.unhealthyPodEvictionPolicy", &known, causes);
}

#[cfg(test)]
mod tests;
