//! The same requests as on a real API server, with the same answers.
//!
//! `recorded.json` holds what kube-apiserver v1.36.4, alone with etcd, answered to a sequence of requests on an empty cluster. A row
//! has the whole answer, or, where the simulator says the same in other words or its controllers act in between, only the
//! reason. Both sides are stripped of what differs by nature: uids, versions, times, addresses, ports, managed fields, and what
//! controllers write (status of workloads, conditions of pods, the revision annotation).

use lockgate_sim::json::{Map, Value, json};
use lockgate_sim::{Cluster, Method, Options, Request};

use crate::support::Api;

/// A cluster with the namespaces that a new server has.
fn fresh() -> Api {
    let mut api = Api(Cluster::new(Options::default()));
    for name in ["default", "kube-system"] {
        api.ok(&Request::post("/api/v1/namespaces", &json!({"metadata": {"name": name}})));
    }
    api
}

fn request(row: &Value) -> Request {
    let text = |field: &str| row[field].as_str().unwrap_or_default();
    let method = match text("method") {
        "GET" => Method::Get,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "PATCH" => Method::Patch,
        "DELETE" => Method::Delete,
        other => panic!("no method {other}"),
    };
    let mut request = Request::new(method, text("path"));
    for (_, value) in &mut request.query {
        *value = decoded(value);
    }
    text("type").clone_into(&mut request.content_type);
    request.body = text("body").as_bytes().to_vec();
    request
}

fn decoded(text: &str) -> String {
    let mut parts = text.split('%');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |done, part| {
        let (code, rest) = part.split_at(2);
        done + &char::from(u8::from_str_radix(code, 16).unwrap()).to_string() + rest
    })
}

/// A document without what differs by nature.
fn plain(value: &Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(plain_fields(fields)),
        Value::Array(items) => items.iter().map(plain).collect(),
        Value::String(text) => plain_text(text).into(),
        other => other.clone(),
    }
}

fn plain_fields(fields: &Map) -> Map {
    let kind = fields.get("kind").and_then(Value::as_str).unwrap_or_default();
    let controlled = matches!(kind, "Deployment" | "DaemonSet" | "ReplicaSet" | "PodDisruptionBudget");
    let of_pod = fields.contains_key("phase") && fields.contains_key("qosClass");
    let mut kept = Map::new();
    for (name, value) in fields {
        let value = match name.as_str() {
            "managedFields" => continue,
            "status" if controlled => continue,
            "conditions" if of_pod => continue,
            "resourceVersion" | "creationTimestamp" | "deletionTimestamp" | "nodePort" => "volatile".into(),
            "uid" if value.as_str().is_some_and(|uid| uid == "UID" || uid.len() == 36) => "volatile".into(),
            "annotations" => {
                let mut left = plain(value);
                if let Some(map) = left.as_object_mut() {
                    map.remove("deployment.kubernetes.io/revision");
                }
                if left == json!({}) {
                    continue;
                }
                left
            }
            _ => plain(value),
        };
        kept.insert(name.clone(), value);
    }
    kept
}

fn plain_text(text: &str) -> String {
    let word = |word: &str| {
        let bare = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
        let volatile = bare == "UID" || (bare.len() == 36 && bare.bytes().filter(|b| *b == b'-').count() == 4);
        let address = bare == "IP" || bare.starts_with("10.96.") || bare.starts_with("10.0.0.");
        if volatile {
            word.replace(bare, "UID")
        } else if address {
            word.replace(bare, "IP")
        } else {
            word.to_owned()
        }
    };
    let text: Vec<String> = text.split(' ').map(word).collect();
    let text = text.join(" ");
    // The version that a precondition was compared with.
    match text.split_once("in record (") {
        Some((before, rest)) if rest.starts_with(|c: char| c.is_ascii_digit()) => {
            let (_, after) = rest.split_once(')').unwrap_or_default();
            format!("{before}in record (RV){after}")
        }
        _ => text,
    }
}

#[test]
fn answers_are_those_of_a_real_server() {
    let rows: Vec<Value> = serde_json::from_str(include_str!("recorded.json")).unwrap();
    let mut api = fresh();
    let mut differ = Vec::new();
    for row in &rows {
        let response = api.0.handle(&request(row));
        let about = format!("{} {} {}", row["method"], row["path"], row["body"]);
        if json!(response.status) != row["status"] {
            differ.push(format!("{about}\n  recorded: {}\n  answered: {} {:?}", row["status"], response.status, response.value()));
            continue;
        }
        let answer = response.value().map(plain);
        let (same, recorded) = match (row.get("answer"), row.get("reason")) {
            (Some(Value::String(_)), _) => (answer.is_none(), "a watch".into()),
            (Some(recorded), _) => (answer == Some(plain(recorded)), plain(recorded)),
            (None, Some(reason)) => {
                let reasons = answer.as_ref().and_then(|a| a.get("reason")).cloned().unwrap_or_else(|| "".into());
                (reasons == *reason, reason.clone())
            }
            (None, None) => panic!("the row has no answer: {row}"),
        };
        if !same {
            differ.push(format!("{about}\n  recorded: {recorded}\n  answered: {}", answer.unwrap_or_default()));
        }
    }
    assert!(differ.is_empty(), "{} of {} differ:\n{}", differ.len(), rows.len(), differ.join("\n"));
    let whole = rows.iter().filter(|row| row.get("answer").is_some()).count();
    assert!(whole >= 190, "only {whole} rows have the whole answer");
}

/// The comparison sees what it is there to see.
#[test]
fn the_comparison_is_not_blind() {
    let object = json!({"kind": "ConfigMap", "metadata": {"name": "a", "uid": "00000000-0000-4000-8000-000000000000"}, "data": {"a": "1"}});
    for (path, value) in [("/data/a", "2"), ("/metadata/name", "b"), ("/kind", "Secret")] {
        let mut other = object.clone();
        *other.pointer_mut(path).unwrap() = value.into();
        assert_ne!(plain(&object), plain(&other), "{path}");
    }
    assert_eq!(plain(&json!("clusterIP 10.96.3.4: taken")), plain(&json!("clusterIP IP: taken")));
    assert_ne!(plain(&json!("uid must match")), plain(&json!("uid must not match")));
}
