//! StatefulSets and Jobs: the same requests as on a real API server, with the same answers.
//!
//! `workloads.json` holds what kube-apiserver v1.36.4 answered while its controllers were stopped: defaults, what is refused, what may
//! not change, selectors and labels of Jobs, and what becomes of a deleted Job. A row has the answer, or only the reason where the
//! server prints a Go type.

use lockgate_sim::Request;
use lockgate_sim::json::{Value, json};

use crate::eviction::alone;
use crate::replay::{plain, request};
use crate::support::text;

/// Without what is never the same twice.
fn comparable(value: &Value) -> Value {
    let mut value = plain(value);
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        for field in ["uid", "resourceVersion", "creationTimestamp", "deletionTimestamp"] {
            metadata.remove(field);
        }
    }
    let words = value.to_string();
    let mut out = String::new();
    for (at, part) in words.split("gen-").enumerate() {
        // Generated names end in five characters.
        let rest = if at == 0 { part } else { part.strip_prefix("ID").unwrap_or_else(|| part.get(5..).unwrap_or_default()) };
        out += if at == 0 { "" } else { "gen-" };
        out += rest;
    }
    Value::from(ids(&out))
}

/// The text with `ID` in the place of every uid.
fn ids(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c.is_ascii_hexdigit()) {
        let run = rest[at..].find(|c: char| !c.is_ascii_hexdigit() && c != '-').map_or(rest.len() - at, |end| end);
        let word = &rest[at..at + run];
        out += &rest[..at];
        out += if word.len() == 36 && word.bytes().filter(|b| *b == b'-').count() == 4 { "ID" } else { word };
        rest = &rest[at + run..];
    }
    out + rest
}

#[test]
fn answers_are_those_of_a_real_server() {
    let rows: Vec<Value> = serde_json::from_str(include_str!("workloads.json")).unwrap();
    let mut api = alone();
    let mut differ = Vec::new();
    for row in &rows {
        let response = api.0.handle(&request(row));
        let answer = response.value().cloned().unwrap_or_default();
        let mut expect = |what: &str, recorded: &Value, answered: &Value| {
            if recorded != answered {
                differ.push(format!(
                    "{} {} {}\n  {what} recorded: {recorded}\n  {what} answered: {answered}",
                    row["method"], row["path"], row["body"]
                ));
            }
        };
        expect("code", &row["status"], &response.status.into());
        match row.get("answer") {
            Some(recorded) => expect("answer", &comparable(recorded), &comparable(&answer)),
            None => expect("reason", &row["reason"], &answer["reason"]),
        }
    }
    assert!(differ.is_empty(), "{} of {} differ:\n{}", differ.len(), rows.len(), differ.join("\n"));
    assert!(rows.iter().filter(|row| row.get("answer").is_some()).count() >= 80);
}

#[test]
fn the_comparison_sees_what_matters() {
    let uid = "d2231b9c-75de-42c7-951d-53f153d001ed";
    assert_eq!(comparable(&json!({"a": uid, "b": "gen-x2z4q"})), Value::from(r#"{"a":"ID","b":"gen-"}"#));
    assert_ne!(comparable(&json!({"a": 1})), comparable(&json!({"a": 2})));
    assert_ne!(comparable(&json!({"a": "field is immutable"})), comparable(&json!({"a": "field is required"})));
}

#[test]
fn what_is_not_modelled_is_refused_by_name() {
    let mut api = alone();
    api.ok(&Request::post("/api/v1/namespaces", &json!({"metadata": {"name": "x"}})));
    let template =
        json!({"metadata": {"labels": {"app": "a"}}, "spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "a:1"}]}});
    for (field, value) in [
        ("podFailurePolicy", json!({"rules": []})),
        ("successPolicy", json!({"rules": []})),
        ("backoffLimitPerIndex", json!(1)),
        ("maxFailedIndexes", json!(1)),
        ("managedBy", json!("example.com/x")),
    ] {
        let mut job = json!({"metadata": {"name": "j"}, "spec": {"template": template}});
        job["spec"][field] = value;
        let (code, _, message) = api.fails(&Request::post("/apis/batch/v1/namespaces/x/jobs", &job));
        assert_eq!((code, message), (501, format!("simulator: not modelled: {field} of a Job")));
    }
    let claims = json!([{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}]);
    let set = json!({"metadata": {"name": "s"}, "spec": {"selector": {"matchLabels": {"app": "a"}}, "template": template,
        "volumeClaimTemplates": claims}});
    let (code, _, message) = api.fails(&Request::post("/apis/apps/v1/namespaces/x/statefulsets", &set));
    assert_eq!((code, text(&message.into())), (501, "simulator: not modelled: volumeClaimTemplates of a StatefulSet".into()));
}
