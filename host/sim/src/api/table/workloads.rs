//! Cells of workloads, nodes, events and rights.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{cells, duration};
use crate::json::Value;
use crate::view;

fn template(object: &Value) -> &[Value] {
    let paths: [&[&str]; 2] =
        [&["spec", "template", "spec", "containers"], &["spec", "jobTemplate", "spec", "template", "spec", "containers"]];
    paths.into_iter().map(|path| view::list(object, path)).find(|containers| !containers.is_empty()).unwrap_or_default()
}

fn of_containers(object: &Value, field: &str) -> String {
    template(object).iter().map(|container| view::text(container, &[field])).collect::<Vec<_>>().join(",")
}

/// The names of the containers of a template.
pub(super) fn containers(object: &Value) -> String {
    of_containers(object, "name")
}

/// The images of a template.
pub(super) fn images(object: &Value) -> String {
    of_containers(object, "image")
}

/// How many replicas are ready of how many wanted.
pub(super) fn ready(object: &Value) -> String {
    format!("{}/{}", view::count(object, &["status", "readyReplicas"]), view::count(object, &["spec", "replicas"]))
}

/// The controller that owns an object.
pub(super) fn owner(object: &Value) -> String {
    let Some(owner) = view::controller_of(object) else { return "<none>".to_owned() };
    let group = view::text(owner, &["apiVersion"]).rsplit_once('/').map_or(String::new(), |(group, _)| format!(".{group}"));
    format!("{}{group}/{}", view::text(owner, &["kind"]).to_lowercase(), view::text(owner, &["name"]))
}

/// The subjects of one kind that a binding names.
pub(super) fn subjects(binding: &Value, kind: &str) -> String {
    let subjects = view::list(binding, &["subjects"]).iter().filter(|subject| view::text(subject, &["kind"]) == kind);
    let name = |subject: &Value| match kind {
        "ServiceAccount" => format!("{}/{}", view::text(subject, &["namespace"]), view::text(subject, &["name"])),
        _ => view::text(subject, &["name"]).to_owned(),
    };
    subjects.map(name).collect::<Vec<_>>().join(", ")
}

/// Whether a node is ready and takes pods.
pub(super) fn node_status(node: &Value) -> String {
    let ready = match view::condition(node, "Ready") {
        None => "Unknown",
        Some(_) if view::condition_is_true(node, "Ready") => "Ready",
        Some(_) => "NotReady",
    };
    let closed = if view::flag(node, &["spec", "unschedulable"]) { ",SchedulingDisabled" } else { "" };
    format!("{ready}{closed}")
}

/// The roles that the labels of a node name.
pub(super) fn node_roles(node: &Value) -> String {
    let mut roles = BTreeSet::new();
    for (label, value) in view::labels(node).into_iter().flatten() {
        match label.strip_prefix("node-role.kubernetes.io/") {
            Some(role) if !role.is_empty() => roles.insert(role.to_owned()),
            None if label == "kubernetes.io/role" => roles.insert(value.as_str().unwrap_or_default().to_owned()),
            _ => false,
        };
    }
    roles.remove("");
    cells::or(&roles.into_iter().collect::<Vec<_>>().join(","), "<none>")
}

/// The first address of this type.
pub(super) fn node_address(node: &Value, kind: &str) -> String {
    let found = view::list(node, &["status", "addresses"]).iter().find(|address| view::text(address, &["type"]) == kind);
    cells::or(found.map_or("", |address| view::text(address, &["address"])), "<none>")
}

/// The kernel of a node and what it runs on.
pub(super) fn node_kernel(node: &Value) -> String {
    let info = |field: &str| view::text(node, &["status", "nodeInfo", field]);
    match (info("kernelVersion"), info("architecture")) {
        ("", _) => "<unknown>".to_owned(),
        (kernel, "") => kernel.to_owned(),
        (kernel, architecture) => format!("{kernel} ({architecture})"),
    }
}

/// What an event is about.
pub(super) fn involved(event: &Value) -> String {
    let kind = view::text(event, &["involvedObject", "kind"]).to_lowercase();
    match view::text(event, &["involvedObject", "name"]) {
        "" => kind,
        name => format!("{kind}/{name}"),
    }
}

/// Who tells of an event.
pub(super) fn event_source(event: &Value) -> String {
    let first = |old: &[&str], new: &str| match view::text(event, old) {
        "" => view::text(event, &[new]).to_owned(),
        text => text.to_owned(),
    };
    let (component, host) = (first(&["source", "component"], "reportingComponent"), first(&["source", "host"], "reportingInstance"));
    if host.is_empty() { component } else { format!("{component}, {host}") }
}

fn first(event: &Value) -> Option<Timestamp> {
    view::time(event, &["firstTimestamp"]).or_else(|| view::time(event, &["eventTime"]))
}

/// When an event was seen first.
pub(super) fn first_seen(event: &Value, now: Timestamp) -> String {
    duration::since(now, first(event))
}

/// When an event was seen last.
pub(super) fn last_seen(event: &Value, now: Timestamp) -> String {
    let series = view::time(event, &["series", "lastObservedTime"]);
    duration::since(now, series.or_else(|| view::time(event, &["lastTimestamp"])).or_else(|| first(event)))
}

/// How often an event was seen.
pub(super) fn event_count(event: &Value) -> i64 {
    view::int(event, &["series", "count"]).unwrap_or_else(|| view::count(event, &["count"]).max(1))
}

/// What an autoscaler scales.
pub(super) fn scaled(autoscaler: &Value) -> String {
    let part = |field: &str| view::text(autoscaler, &["spec", "scaleTargetRef", field]);
    format!("{}/{}", part("kind"), part("name"))
}

/// The metrics of an autoscaler: what is, and what is wanted.
pub(super) fn targets(autoscaler: &Value) -> String {
    let statuses = view::list(autoscaler, &["status", "currentMetrics"]);
    let metrics = view::list(autoscaler, &["spec", "metrics"]);
    if metrics.is_empty() {
        return "<none>".to_owned();
    }
    let shown: Vec<String> = metrics.iter().enumerate().map(|(at, metric)| target(metric, statuses.get(at))).collect();
    cells::cut(&shown, ", ", 2)
}

fn target(metric: &Value, status: Option<&Value>) -> String {
    let (field, of_resource) = match view::text(metric, &["type"]) {
        "External" => ("external", false),
        "Pods" => ("pods", false),
        "Object" => ("object", false),
        "Resource" => ("resource", true),
        "ContainerResource" => ("containerResource", true),
        _ => return "<unknown type>".to_owned(),
    };
    let wanted = |value: &str| view::at(metric, &[field, "target", value]);
    let current = |value: &str| status.and_then(|status| view::at(status, &[field, "current", value]));
    let show = |value: Option<&Value>, absent: &str| cells::int_or_text(value, absent);
    let average = wanted("averageValue").is_some();
    let name = if of_resource { format!("{}: ", view::text(metric, &[field, "name"])) } else { String::new() };
    if of_resource && !average {
        let percent = |value: Option<&Value>, absent: &str| value.map_or_else(|| absent.to_owned(), |value| format!("{value}%"));
        let (is, wanted) = (current("averageUtilization"), wanted("averageUtilization"));
        return format!("{name}{}/{}", percent(is, "<unknown>"), percent(wanted, "<auto>"));
    }
    let value = if average { "averageValue" } else { "value" };
    let mark = if average && matches!(field, "external" | "object") { " (avg)" } else { "" };
    format!("{name}{}/{}{mark}", show(current(value), "<unknown>"), show(wanted(value), "<unknown>"))
}

/// Whether a CronJob is suspended.
pub(super) fn suspended(job: &Value) -> String {
    match view::at(job, &["spec", "suspend"]).and_then(Value::as_bool) {
        Some(true) => "True".to_owned(),
        Some(false) => "False".to_owned(),
        None => "<unset>".to_owned(),
    }
}

/// When a CronJob began its last job.
pub(super) fn last_schedule(job: &Value, now: Timestamp) -> String {
    view::time(job, &["status", "lastScheduleTime"]).map_or_else(|| "<none>".to_owned(), |then| duration::since(now, Some(then)))
}

/// How far a Job is.
pub(super) fn job_status(job: &Value) -> String {
    let conditions = [("Complete", "Complete"), ("Failed", "Failed"), ("Suspended", "Suspended")];
    let later = [("FailureTarget", "FailureTarget"), ("SuccessCriteriaMet", "SuccessCriteriaMet")];
    let holds = |list: &[(&str, &'static str)]| list.iter().find(|(kind, _)| view::condition_is_true(job, kind)).map(|(_, word)| *word);
    let ending = || view::is_terminating(job).then_some("Terminating");
    holds(&conditions).or_else(ending).or_else(|| holds(&later)).unwrap_or("Running").to_owned()
}

/// How many completions a Job has of how many wanted.
pub(super) fn completions(job: &Value) -> String {
    let done = view::count(job, &["status", "succeeded"]);
    match (view::int(job, &["spec", "completions"]), view::count(job, &["spec", "parallelism"])) {
        (Some(wanted), _) => format!("{done}/{wanted}"),
        (None, parallel) if parallel > 1 => format!("{done}/1 of {parallel}"),
        (None, _) => format!("{done}/1"),
    }
}

/// How long a Job has run.
pub(super) fn job_duration(job: &Value, now: Timestamp) -> String {
    let Some(start) = view::time(job, &["status", "startTime"]) else { return String::new() };
    duration::since(view::time(job, &["status", "completionTime"]).unwrap_or(now), Some(start))
}
