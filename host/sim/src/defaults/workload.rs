//! Defaults of StatefulSets and Jobs.

use crate::json::{Value, json};

use super::{Fields, fill, section};
use crate::kinds::{self, Kind};
use crate::store::Store;
use crate::view;

/// Defaults of a StatefulSet. `maxUnavailable` belongs to a feature that is off in v1.36: the server drops it.
pub(super) fn stateful_set(fields: &mut Fields) {
    let Some(spec) = section(fields, "spec") else { return };
    fill(spec, "podManagementPolicy", "OrderedReady");
    if let Some(strategy) = section(spec, "updateStrategy") {
        // A strategy that is named without its section has none.
        if strategy.get("type").and_then(Value::as_str).is_none_or(str::is_empty) {
            fill(strategy, "type", "RollingUpdate");
            fill(strategy, "rollingUpdate", json!({}));
        }
        let is_rolling = strategy.get("type").and_then(Value::as_str) == Some("RollingUpdate");
        if let Some(rolling) = strategy.get_mut("rollingUpdate").and_then(Value::as_object_mut) {
            if is_rolling {
                fill(rolling, "partition", 0);
            }
            rolling.remove("maxUnavailable");
        }
    }
    fill(spec, "replicas", 1);
    fill(spec, "revisionHistoryLimit", 10);
    if let Some(policy) = section(spec, "persistentVolumeClaimRetentionPolicy") {
        fill(policy, "whenDeleted", "Retain");
        fill(policy, "whenScaled", "Retain");
    }
    super::template(spec);
    fill(spec, "serviceName", "");
}

/// The annotation that counts the templates of a DaemonSet, from 1: what is left of a field of older API versions.
pub(crate) const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

/// Counts the templates of a DaemonSet (`PrepareForCreate` and `PrepareForUpdate` of `pkg/registry/apps/daemonset/strategy.go`): a
/// client may say where the count begins, and nothing else.
pub(crate) fn count_template(kind: &Kind, before: Option<&Value>, after: &mut Value) {
    if !kind.is(kinds::DAEMON_SET) {
        return;
    }
    let counted = |set: &Value| view::annotation(set, TEMPLATE_GENERATION).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0).max(1);
    let template = |set: &Value| view::at(set, &["spec", "template"]).cloned();
    let number = match before {
        None => counted(after),
        Some(before) => counted(before) + u64::from(template(before) != template(after)),
    };
    view::set(after, &["metadata", "annotations", TEMPLATE_GENERATION], number.to_string());
}

/// Defaults of a Job; its labels are those of its template when it has none.
pub(super) fn job(fields: &mut Fields) {
    let has_labels = fields.get("metadata").and_then(|m| m.get("labels")).and_then(Value::as_object).is_some_and(|l| !l.is_empty());
    let Some(spec) = section(fields, "spec") else { return };
    // A number of pods at once without a number of completions means: until one of them succeeds.
    if spec.get("parallelism").is_none_or(Value::is_null) {
        fill(spec, "completions", 1);
    }
    fill(spec, "parallelism", 1);
    fill(spec, "backoffLimit", 6);
    fill(spec, "completionMode", "NonIndexed");
    fill(spec, "suspend", false);
    fill(spec, "podReplacementPolicy", "TerminatingOrFailed");
    fill(spec, "manualSelector", false);
    super::template(spec);
    let labels = spec.get("template").and_then(|t| t.get("metadata")).and_then(|m| m.get("labels")).cloned();
    if let Some(labels) = labels.filter(|l| !has_labels && l.as_object().is_some_and(|l| !l.is_empty()))
        && let Some(meta) = section(fields, "metadata")
    {
        meta.insert("labels", labels);
    }
}

/// Gives a Job its name, its uid, and what follows from them.
pub(crate) fn identify(store: &mut Store, job: &mut Value) {
    if view::uid(job).is_empty() {
        store.identify(job);
    }
    // Labels that were left out are those of the template, with what is added to it.
    let path = ["metadata", "labels"];
    let own =
        view::labels(job).is_some_and(|labels| view::at(job, &["spec", "template", "metadata", "labels"]) != Some(&labels.clone().into()));
    if !own {
        view::remove(job, &path);
    }
    select(job);
    super::apply(kinds::JOB, job);
}

/// Gives a Job with a uid the selector and the labels that follow from it, unless it brings its own selector.
fn select(job: &mut Value) {
    if view::flag(job, &["spec", "manualSelector"]) {
        return;
    }
    let (uid, name) = (view::uid(job).to_owned(), view::name(job).to_owned());
    for (label, value) in [
        ("job-name", &name),
        ("batch.kubernetes.io/job-name", &name),
        ("controller-uid", &uid),
        ("batch.kubernetes.io/controller-uid", &uid),
    ] {
        let path = ["spec", "template", "metadata", "labels", label];
        if view::at(job, &path).is_none() {
            view::set(job, &path, value.as_str());
        }
    }
    let path = ["spec", "selector", "matchLabels", "batch.kubernetes.io/controller-uid"];
    if view::at(job, &path).is_none() {
        view::set(job, &path, uid);
    }
}

/// The first status of a StatefulSet.
pub(super) fn first_of_stateful_set() -> Value {
    json!({"replicas": 0, "availableReplicas": 0})
}
