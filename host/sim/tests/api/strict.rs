//! Fields that nobody knows, fields that come twice, and values of the wrong type: refused, told or dropped as by a real server.

use lockgate_sim::json::{Value, json};
use lockgate_sim::{Cluster, Options, Request, Scope, kinds};

use crate::answers::{differences, plain};
use crate::support::{Api, MAPS};

#[test]
fn answers_are_those_of_a_real_server() {
    let rows: Vec<Value> = serde_json::from_str(include_str!("strict.json")).unwrap();
    let differ = differences("strict", &rows);
    assert!(differ.is_empty(), "{} of {} differ:\n{}", differ.len(), rows.len(), differ.join("\n"));
    assert!(rows.len() >= 90);
}

#[test]
fn the_comparison_sees_what_matters() {
    let rows: Vec<Value> = serde_json::from_str(include_str!("strict.json")).unwrap();
    for (at, field, other) in [(0, "status", json!(201)), (1, "warnings", json!([])), (4, "answer", json!({}))] {
        let mut altered = rows.clone();
        altered[at][field] = other;
        assert_eq!(differences("strict", &altered[..=at]).len(), 1, "row {at} {field}");
    }
    assert_ne!(plain(&json!("unknown field \"a\"")), plain(&json!("unknown field \"b\"")));
}

#[test]
fn what_a_newer_server_gave_stays() {
    let mut api = Api::new();
    let mut other = Cluster::new(Options { partial: true, ..Options::default() });
    let object =
        json!({"metadata": {"name": "a", "namespace": "x", "uid": "u", "resourceVersion": "5"}, "news": {"a": 1}, "data": {"a": "1"}});
    let namespace = api.get("/api/v1/namespaces/x");
    for (kind, object) in [(kinds::CONFIG_MAP, object), (kinds::NAMESPACE, namespace)] {
        other.load(Scope::all(kind, None), vec![object]);
    }
    let patch = Request::patch(&format!("{MAPS}/a"), "application/merge-patch+json", &json!({"data": {"b": "2"}, "typo": 1}));
    let response = other.handle(&patch);
    let value = response.value().unwrap();
    assert_eq!((&value["news"], value.get("typo")), (&json!({"a": 1}), None));
    let warnings: Vec<&String> = response.headers.iter().filter(|(name, _)| name == "Warning").map(|(_, text)| text).collect();
    assert_eq!(warnings, [r#"299 - "unknown field \"typo\"""#]);
}
