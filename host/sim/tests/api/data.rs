//! Kinds that are mostly data: their defaults, what is refused, and what may not change, as on a real server.
//!
//! `data.json` holds what kube-apiserver v1.36.4 answered, alone with etcd. Both sides are stripped of what differs by nature: addresses
//! and ports that the server chose, managed fields (`apply.json` has them), and what controllers write.

use lockgate_sim::json::{Map, Value, json};
use lockgate_sim::{Cluster, Options};

use crate::answers;
use crate::replay::request;
use crate::support::{Api, text};

/// Kinds whose status belongs to a controller.
const CONTROLLED: [&str; 5] = ["APIService", "DaemonSet", "Deployment", "PodDisruptionBudget", "ReplicaSet"];
/// An annotation that the simulator's controller writes right after the write, and a real server with it.
const LATE: &str = "deprecated.daemonset.template.generation";

/// An answer without what differs by nature.
fn plain(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let controlled = fields.get("kind").and_then(Value::as_str).is_some_and(|kind| CONTROLLED.contains(&kind));
            let stays = |name: &str| name != "managedFields" && name != LATE && !(controlled && name == "status");
            let one = |(name, value): (&str, &Value)| {
                let value = match (name, value) {
                    ("clusterIP", Value::String(ip)) if ip.starts_with("10.") => "ADDRESS".into(),
                    ("clusterIPs", Value::Array(ips)) if ips.first().and_then(Value::as_str).is_some_and(|ip| ip.starts_with("10.")) => {
                        json!(["ADDRESS"])
                    }
                    ("nodePort" | "healthCheckNodePort", Value::Number(_)) => "PORT".into(),
                    ("annotations", Value::Object(notes)) if notes.len() == 1 && notes.contains_key(LATE) => Value::Null,
                    _ => plain(value),
                };
                (name.into(), value)
            };
            let fields = fields.iter().filter(|(name, _)| stays(name.as_str())).map(|(name, value)| one((name.as_str(), value)));
            Value::Object(
                fields
                    .filter(|(name, value): &(lockgate_sim::json::Text, Value)| name.as_str() != "annotations" || !value.is_null())
                    .collect::<Map>(),
            )
        }
        Value::Array(items) => items.iter().map(plain).collect(),
        other => other.clone(),
    }
}

/// Sends every row to a new cluster and gives what differs from the recorded answers.
fn differences(rows: &[Value]) -> Vec<String> {
    let mut api = Api(Cluster::new(Options::default()));
    api.0.furnish();
    let mut differ = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        let (status, answer) = api.send(&request(row));
        let here = json!({"status": status, "answer": plain(&answers::plain(&answer))});
        let there = json!({"status": row["status"].clone(), "answer": plain(&answers::plain(&row["answer"]))});
        if here != there {
            let about =
                format!("row {at}: {} {} {}", text(&row["method"]), text(&row["path"]), row.get("body").map(text).unwrap_or_default());
            differ.push(format!("{about}\n  recorded: {there}\n  answered: {here}"));
        }
    }
    differ
}

#[test]
fn answers_are_those_of_a_real_server() {
    let rows: Vec<Value> = serde_json::from_str(include_str!("data.json")).unwrap();
    let differ = differences(&rows);
    assert!(differ.is_empty(), "{} of {} differ:\n{}", differ.len(), rows.len(), differ.join("\n"));
    assert!(rows.len() >= 390);
}

#[test]
fn the_first_bodies_are_read_in_every_form() {
    let mut api = Api::new();
    let path = "/api/v1/namespaces/x/configmaps";
    let mut yaml = lockgate_sim::Request::new(lockgate_sim::Method::Post, path);
    yaml.content_type = "application/yaml".to_owned();
    yaml.body = b"metadata:\n  name: a\ndata:\n  k: v\n".to_vec();
    assert_eq!(api.ok(&yaml)["data"], json!({"k": "v"}));
    yaml.body = b"metadata: [".to_vec();
    assert_eq!(api.fails(&yaml).0, 400);
    yaml.content_type = "application/xml".to_owned();
    let (code, reason, text) = api.fails(&yaml);
    assert_eq!((code, reason.as_str()), (415, "UnsupportedMediaType"));
    assert!(text.ends_with("application/json, application/yaml, application/vnd.kubernetes.protobuf"), "{text}");
}
