//! Checks of Jobs.

use crate::json::{Value, json};
use crate::selector::LabelSelector;
use crate::status::Cause;
use crate::view;

use super::{IMMUTABLE, counts};

/// Labels with the uid and the name of the Job, the older ones first.
const OWN_LABELS: [(&str, &str); 4] = [
    ("controller-uid", "uid"),
    ("job-name", "name"),
    ("batch.kubernetes.io/controller-uid", "uid"),
    ("batch.kubernetes.io/job-name", "name"),
];
/// More pods than this an indexed Job may not run at once.
const MOST_INDEXED: i64 = 100_000;

/// Parts of a Job that are not modelled: the first that is used.
pub(super) fn not_modelled(object: &Value) -> Option<String> {
    let field = ["podFailurePolicy", "successPolicy", "backoffLimitPerIndex", "maxFailedIndexes", "managedBy"]
        .into_iter()
        .find(|field| view::at(object, &["spec", field]).is_some_and(|v| !v.is_null()))?;
    Some(format!("{field} of a Job"))
}

/// Checks everything behind the metadata.
pub(super) fn content(object: &Value, causes: &mut Vec<Cause>) {
    generated(object, causes);
    spec(object, causes);
}

fn spec(object: &Value, causes: &mut Vec<Cause>) {
    counts(object, &["parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished"], causes);
    mode(object, causes);
    let replacement = view::text(object, &["spec", "podReplacementPolicy"]);
    if !matches!(replacement, "Failed" | "TerminatingOrFailed") {
        causes.push(Cause::not_supported("spec.podReplacementPolicy", &replacement.into(), &["Failed", "TerminatingOrFailed"]));
    }
    super::pod_template(object, causes);
    let field = "spec.template.spec.restartPolicy";
    match view::text(object, &["spec", "template", "spec", "restartPolicy"]) {
        "OnFailure" | "Never" => {}
        "Always" | "" => causes.push(Cause::required(field, "valid values: \"OnFailure\", \"Never\"")),
        // That it is none at all the checks of the pod have said.
        other => causes.push(Cause::not_supported(field, &other.into(), &["OnFailure", "Never"])),
    }
    matches_template(object, causes);
}

fn mode(object: &Value, causes: &mut Vec<Cause>) {
    match view::text(object, &["spec", "completionMode"]) {
        "NonIndexed" => {}
        "Indexed" => {
            if view::at(object, &["spec", "completions"]).is_none() {
                causes.push(Cause::required("spec.completions", "when completion mode is Indexed"));
            }
            let parallel = view::count(object, &["spec", "parallelism"]);
            if parallel > MOST_INDEXED {
                let why = format!("must be less than or equal to {MOST_INDEXED} when completion mode is Indexed");
                causes.push(Cause::invalid("spec.parallelism", &parallel.into(), &why));
            }
        }
        other => causes.push(Cause::not_supported("spec.completionMode", &other.into(), &["NonIndexed", "Indexed"])),
    }
}

/// Without a selector of its own a Job selects by its uid, and its pods carry uid and name.
fn generated(object: &Value, causes: &mut Vec<Cause>) {
    if view::flag(object, &["spec", "manualSelector"]) || view::at(object, &["spec", "selector"]).is_none() {
        return;
    }
    let labels = view::at(object, &["spec", "template", "metadata", "labels"]);
    let mut expected = json!({});
    for (label, field) in OWN_LABELS {
        let own = view::text(object, &["metadata", field]);
        view::set(&mut expected, &[label], own);
        let actual = labels.and_then(|l| l.get(label)).and_then(Value::as_str);
        let field = format!("spec.template.metadata.labels[{label}]");
        match actual {
            None => causes.push(Cause::required(field, &format!("must be '{own}'"))),
            Some(actual) if actual != own => {
                causes.push(Cause::invalid(field, labels.unwrap_or(&Value::Null), &format!("must be '{own}'")));
            }
            Some(_) => {}
        }
    }
    let selector = view::at(object, &["spec", "selector"]).unwrap_or(&Value::Null);
    if LabelSelector::from_value(selector).is_ok_and(|s| !s.matches_labels(expected.as_object())) {
        causes.push(Cause::invalid("spec.selector", selector, "`selector` not auto-generated"));
    }
}

fn matches_template(object: &Value, causes: &mut Vec<Cause>) {
    let labels = view::at(object, &["spec", "template", "metadata", "labels"]);
    let selector = view::at(object, &["spec", "selector"]);
    if selector.is_none() {
        causes.push(Cause::required("spec.selector", ""));
    }
    let matches = selector.is_some_and(|s| LabelSelector::from_value(s).is_ok_and(|s| s.matches_labels(labels.and_then(Value::as_object))));
    if !matches {
        let why = "`selector` does not match template `labels`";
        causes.push(Cause::invalid("spec.template.metadata.labels", labels.unwrap_or(&Value::Null), why));
    }
}

/// What may not change: the number of completions of a Job that is not indexed, the selector, the template, the mode.
pub(super) fn update(before: &Value, after: &Value, causes: &mut Vec<Cause>) {
    // The server checks the spec of a changed Job twice.
    spec(after, causes);
    let (old, new) = (|path: &[&str]| view::at(before, path).cloned(), |path: &[&str]| view::at(after, path).cloned());
    let mut fixed = |path: &[&str]| {
        if old(path) != new(path) {
            causes.push(Cause::invalid(path.join("."), &new(path).unwrap_or_default(), IMMUTABLE));
        }
    };
    // An indexed Job may be scaled when both numbers change together.
    let (completions, parallelism) = (new(&["spec", "completions"]), new(&["spec", "parallelism"]));
    let elastic = view::text(before, &["spec", "completionMode"]) == "Indexed" && completions.is_some() && completions == parallelism;
    if !elastic {
        fixed(&["spec", "completions"]);
    }
    fixed(&["spec", "selector"]);
    if changeable_template(before, after) != new(&["spec", "template"]) {
        // The server prints its own type here, with every field there is.
        causes.push(Cause::invalid("spec.template", &new(&["spec", "template"]).unwrap_or_default(), IMMUTABLE));
    }
    let mut fixed = |path: &[&str]| {
        if old(path) != new(path) {
            causes.push(Cause::invalid(path.join("."), &new(path).unwrap_or_default(), IMMUTABLE));
        }
    };
    fixed(&["spec", "completionMode"]);
}

/// The old template with what may change taken from the new one: while a Job is suspended and has not run, where its pods may
/// go and what they ask for.
fn changeable_template(before: &Value, after: &Value) -> Option<Value> {
    let mut template = view::at(before, &["spec", "template"])?.clone();
    let untouched = view::at(before, &["status", "startTime"]).is_none() || view::condition_is_true(before, "Suspended");
    let still = view::flag(before, &["spec", "suspend"]) && untouched && view::count(before, &["status", "active"]) == 0;
    if !still {
        return Some(template);
    }
    let paths: [&[&str]; 5] = [
        &["metadata", "annotations"],
        &["metadata", "labels"],
        &["spec", "nodeSelector"],
        &["spec", "tolerations"],
        &["spec", "schedulingGates"],
    ];
    let new = view::at(after, &["spec", "template"])?;
    for path in paths.iter().copied().chain([&["spec", "affinity", "nodeAffinity"][..]]) {
        match view::at(new, path) {
            Some(value) => view::set(&mut template, path, value.clone()),
            None => {
                view::remove(&mut template, path);
            }
        }
    }
    for list in ["containers", "initContainers"] {
        let wanted: Vec<(String, Option<Value>)> =
            view::list(new, &["spec", list]).iter().map(|c| (view::text(c, &["name"]).to_owned(), c.get("resources").cloned())).collect();
        let Some(containers) = template.get_mut("spec").and_then(|s| s.get_mut(list)).and_then(Value::as_array_mut) else { continue };
        if containers.len() != wanted.len() {
            continue;
        }
        for (at, (name, resources)) in wanted.into_iter().enumerate() {
            if view::text(&containers[at], &["name"]) == name {
                view::set(&mut containers[at], &["resources"], resources.unwrap_or_else(|| json!({})));
            }
        }
    }
    Some(template)
}
