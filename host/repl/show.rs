//! How the prompt shows a value: lists of objects as a table, objects and other tables as YAML, the rest as text.

use std::sync::Arc;

use crate::base::json::Value as Json;

use crate::base::{Error, Object, Result, Span, Timestamp, Value};
use crate::report::Paint;
use crate::report::table::columns as columns_of;
use crate::run::journal::Redactor;

/// A column of a kind's table: its heading, and what it shows of an object.
type Column = (&'static str, fn(&Json, Timestamp) -> String);

/// The text for one value; empty for `nil`, which the prompt passes over. `(secret)` stands for what a Secret holds, wherever it stands.
///
/// # Errors
/// When a value cannot be written as YAML.
pub(super) fn show(value: &Value, now: Timestamp, secrets: &Redactor) -> Result<String> {
    let masked = |mut json: Json| {
        secrets.json(&mut json);
        yaml(&json)
    };
    match value {
        Value::Nil => Ok(String::new()),
        Value::Json(Json::String(text)) => Ok(secrets.text(text).into_owned()),
        Value::Json(json @ (Json::Array(_) | Json::Object(_))) => masked(json.clone()),
        Value::Json(json) => Ok(json.to_string()),
        Value::Typed(typed) => Ok(typed.to_string()),
        Value::Object(object) => masked(readable(&object.current)),
        Value::List(items) => match objects(items) {
            Some(objects) if !objects.is_empty() => Ok(table(&objects, now)),
            _ => masked(value.clone().into_json()),
        },
        Value::Map(_) => masked(value.clone().into_json()),
    }
}

/// The objects of a list that holds nothing else.
fn objects(items: &[Value]) -> Option<Vec<Arc<Json>>> {
    items
        .iter()
        .map(|item| match item {
            Value::Object(Object { current, .. }) => Some(current.clone()),
            _ => None,
        })
        .collect()
}

/// The object without what only machines read.
fn readable(object: &Json) -> Json {
    let mut shown = object.clone();
    if let Some(metadata) = shown.get_mut("metadata").and_then(Json::as_object_mut) {
        metadata.remove("managedFields");
    }
    shown
}

fn yaml(json: &Json) -> Result<String> {
    let text = serde_saphyr::to_string(json).map_err(|error| Error::internal("writing a value as YAML").cause(error.to_string()))?;
    Ok(text.trim_end().to_owned())
}

/// A table of objects; the columns are those of the first object's kind, with a namespace column when there are several.
fn table(objects: &[Arc<Json>], now: Timestamp) -> String {
    let kind = objects.first().and_then(|object| object.get("kind")).and_then(Json::as_str).unwrap_or_default();
    let columns = columns(kind);
    let namespace = |object: &Json| text(object, "/metadata/namespace");
    let several = objects.iter().any(|object| objects.first().is_some_and(|first| namespace(first) != namespace(object)));
    let mut headings: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    if several {
        headings.insert(0, "NAMESPACE");
    }
    let rows: Vec<Vec<String>> = objects
        .iter()
        .map(|object| {
            let own = columns.iter().map(|(_, cell)| cell(object, now));
            several.then(|| namespace(object)).into_iter().chain(own).collect()
        })
        .collect();
    columns_of(&headings, &rows, Paint::plain()).trim_end().to_owned()
}

/// The columns of a kind, after those that operators know from their other tools.
fn columns(kind: &str) -> Vec<Column> {
    let mut columns: Vec<Column> = vec![("NAME", |object, _| text(object, "/metadata/name"))];
    match kind {
        "Deployment" => columns.extend::<[Column; 3]>([
            ("READY", |object, _| format!("{}/{}", number(object, "/status/readyReplicas"), number(object, "/spec/replicas"))),
            ("UP-TO-DATE", |object, _| number(object, "/status/updatedReplicas").to_string()),
            ("AVAILABLE", |object, _| number(object, "/status/availableReplicas").to_string()),
        ]),
        "DaemonSet" => columns.extend::<[Column; 4]>([
            ("DESIRED", |object, _| number(object, "/status/desiredNumberScheduled").to_string()),
            ("READY", |object, _| number(object, "/status/numberReady").to_string()),
            ("UP-TO-DATE", |object, _| number(object, "/status/updatedNumberScheduled").to_string()),
            ("AVAILABLE", |object, _| number(object, "/status/numberAvailable").to_string()),
        ]),
        "ReplicaSet" => columns.extend::<[Column; 3]>([
            ("DESIRED", |object, _| number(object, "/spec/replicas").to_string()),
            ("CURRENT", |object, _| number(object, "/status/replicas").to_string()),
            ("READY", |object, _| number(object, "/status/readyReplicas").to_string()),
        ]),
        "Pod" => columns.extend::<[Column; 4]>([
            ("READY", |object, _| ready_containers(object)),
            ("STATUS", |object, _| pod_status(object)),
            ("RESTARTS", |object, _| restarts(object).to_string()),
            ("NODE", |object, _| text(object, "/spec/nodeName")),
        ]),
        "Node" => columns.extend::<[Column; 2]>([
            ("STATUS", |object, _| node_status(object)),
            ("VERSION", |object, _| text(object, "/status/nodeInfo/kubeletVersion")),
        ]),
        "ConfigMap" | "Secret" => columns.push(("DATA", |object, _| keys(object, "/data").to_string())),
        _ => {}
    }
    columns.push(("AGE", age));
    columns
}

fn text(object: &Json, pointer: &str) -> String {
    object.pointer(pointer).and_then(Json::as_str).unwrap_or_default().to_owned()
}

fn number(object: &Json, pointer: &str) -> i64 {
    object.pointer(pointer).and_then(Json::as_i64).unwrap_or(0)
}

fn keys(object: &Json, pointer: &str) -> usize {
    object.pointer(pointer).and_then(Json::as_object).map_or(0, crate::base::json::Map::len)
}

fn list<'a>(object: &'a Json, pointer: &str) -> &'a [Json] {
    object.pointer(pointer).and_then(Json::as_array).map_or(&[], |items| items)
}

fn ready_containers(pod: &Json) -> String {
    let ready = list(pod, "/status/containerStatuses").iter().filter(|status| status["ready"] == true).count();
    format!("{ready}/{}", list(pod, "/spec/containers").len())
}

fn restarts(pod: &Json) -> i64 {
    list(pod, "/status/containerStatuses").iter().map(|status| number(status, "/restartCount")).sum()
}

/// What keeps a pod from running, else its phase.
fn pod_status(pod: &Json) -> String {
    if pod.pointer("/metadata/deletionTimestamp").is_some() {
        return "Terminating".to_owned();
    }
    let waiting = list(pod, "/status/initContainerStatuses")
        .iter()
        .chain(list(pod, "/status/containerStatuses"))
        .find_map(|status| status.pointer("/state/waiting/reason").and_then(Json::as_str));
    match waiting {
        Some(reason) if reason != "PodInitializing" => reason.to_owned(),
        _ => text(pod, "/status/phase"),
    }
}

fn node_status(node: &Json) -> String {
    let ready = list(node, "/status/conditions").iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True");
    let mut status = if ready { "Ready" } else { "NotReady" }.to_owned();
    if node.pointer("/spec/unschedulable").and_then(Json::as_bool) == Some(true) {
        status.push_str(",SchedulingDisabled");
    }
    status
}

fn age(object: &Json, now: Timestamp) -> String {
    match text(object, "/metadata/creationTimestamp").parse::<Timestamp>() {
        Ok(created) => Span::between(created, now).rounded().to_string(),
        Err(_) => "<unknown>".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::json::json;
    use crate::run::hiding;

    fn now() -> Timestamp {
        "2001-02-03T04:05:06Z".parse().unwrap()
    }

    fn object(json: Json) -> Value {
        Value::Object(Object::read(Arc::new(json)))
    }

    #[test]
    fn scalars_are_plain_text() {
        assert_eq!(show(&Value::Nil, now(), &hiding::nothing_yet()).unwrap(), "");
        assert_eq!(show(&Value::from("a b".to_owned()), now(), &hiding::nothing_yet()).unwrap(), "a b");
        assert_eq!(show(&Value::Json(json!(3)), now(), &hiding::nothing_yet()).unwrap(), "3");
    }

    #[test]
    fn one_object_is_yaml_without_managed_fields() {
        let shown =
            show(&object(json!({ "kind": "ConfigMap", "metadata": { "name": "a", "managedFields": [1] } })), now(), &hiding::nothing_yet())
                .unwrap();
        assert!(shown.contains("name: a"), "{shown}");
        assert!(!shown.contains("managedFields"), "{shown}");
    }

    #[test]
    fn what_a_secret_holds_is_not_shown_wherever_it_stands() {
        let secrets = hiding::nothing_yet();
        let secret = json!({ "kind": "Secret", "data": { "pin": "MQ==", "token": "Y2FuYXJ5LTAwMDE=" } });
        let shown = show(&object(secret.clone()), now(), &secrets).unwrap();
        assert!(shown.contains("pin: (secret)") && shown.contains("token: (secret)"), "{shown}");
        let shown = show(&Value::Json(json!({ "one": [secret] })), now(), &secrets).unwrap();
        assert!(!shown.contains("MQ=="), "{shown}");
        assert_eq!(show(&Value::from("it is canary-0001".to_owned()), now(), &secrets).unwrap(), "it is (secret)");
    }

    #[test]
    fn objects_are_a_table_with_the_columns_of_their_kind() {
        let pod = |namespace: &str, name: &str| {
            object(json!({
                "kind": "Pod",
                "metadata": { "namespace": namespace, "name": name, "creationTimestamp": "2001-02-03T04:04:06Z" },
                "spec": { "nodeName": "w1", "containers": [{ "name": "c" }] },
                "status": { "phase": "Running", "containerStatuses": [{ "ready": true, "restartCount": 2, "state": { "running": {} } }] }
            }))
        };
        let shown = show(&Value::List(vec![pod("a", "x"), pod("b", "y")]), now(), &hiding::nothing_yet()).unwrap();
        let lines: Vec<Vec<&str>> = shown.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[0], ["NAMESPACE", "NAME", "READY", "STATUS", "RESTARTS", "NODE", "AGE"]);
        assert_eq!(lines[1], ["a", "x", "1/1", "Running", "2", "w1", "1m"]);
        assert_eq!(lines.len(), 3);
    }

    #[test]
    fn a_terminating_and_a_waiting_pod_say_so() {
        assert_eq!(pod_status(&json!({ "metadata": { "deletionTimestamp": "x" } })), "Terminating");
        let waiting = json!({ "status": { "phase": "Pending", "containerStatuses": [{ "state": { "waiting": { "reason": "ImagePullBackOff" } } }] } });
        assert_eq!(pod_status(&waiting), "ImagePullBackOff");
    }
}
