//! Bodies in protobuf, as kubectl 1.36 and helm 3.21 and 4.2 sent them, with the answers of kube-apiserver v1.36.4.

use lockgate_sim::json::{Value, json};
use lockgate_sim::{Cluster, Method, Options, Request};

use super::support::Api;

/// Fields that no two clusters share, and those that only an apply has here.
const OWN: [&str; 7] = ["uid", "resourceVersion", "creationTimestamp", "managedFields", "clusterIP", "clusterIPs", "nodePort"];

const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

fn plain(value: &Value, uid: &str) -> Value {
    match value {
        Value::Object(map) => {
            let fields = map.iter().filter(|(name, _)| !OWN.contains(&name.as_str()));
            Value::Object(fields.map(|(name, value)| (name.clone(), plain(value, uid))).collect())
        }
        Value::Array(list) => Value::Array(list.iter().map(|value| plain(value, uid)).collect()),
        Value::String(text) if !uid.is_empty() && text.as_str() == uid => json!("UID"),
        other => other.clone(),
    }
}

fn bytes(base64: &str) -> Vec<u8> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = base64.trim_end_matches('=').bytes().map(|byte| DIGITS.iter().position(|digit| *digit == byte).unwrap());
    let bits: Vec<u8> = digits.flat_map(|digit| (0..6).rev().map(move |bit| u8::from(digit >> bit & 1 == 1))).collect();
    bits.chunks_exact(8).map(|byte| byte.iter().fold(0, |value, bit| value << 1 | bit)).collect()
}

pub(crate) fn request(row: &Value) -> Request {
    let (path, query) = row["path"].as_str().unwrap().split_once('?').unwrap_or((row["path"].as_str().unwrap(), ""));
    let method = match row["method"].as_str().unwrap() {
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "DELETE" => Method::Delete,
        other => panic!("{other}"),
    };
    Request {
        method,
        query: query.split('&').filter_map(|pair| pair.split_once('=')).map(|(name, value)| (name.into(), value.into())).collect(),
        content_type: PROTOBUF.to_owned(),
        body: bytes(row["body"].as_str().unwrap()),
        ..Request::get(path)
    }
}

#[test]
fn bodies_of_real_clients_are_read_as_a_real_server_reads_them() {
    let rows: Vec<Value> = serde_json::from_str(include_str!("protobuf.json")).unwrap();
    assert!(rows.len() > 30);
    let mut api = Api(Cluster::new(Options::default()));
    for row in &rows {
        let (code, answer) = api.send(&request(row));
        let uid = answer["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
        let path = row["path"].as_str().unwrap();
        assert_eq!((&json!(code), plain(&answer, &uid)), (&row["code"], plain(&row["answer"], "")), "{path}");
    }
}

#[test]
fn kinds_without_messages_are_refused_with_what_would_be_read() {
    let mut api = Api::new();
    let mut request = Request::post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", &json!({}));
    request.content_type = PROTOBUF.to_owned();
    let (code, reason, text) = api.fails(&request);
    assert_eq!((code, reason.as_str()), (415, "UnsupportedMediaType"));
    assert!(text.ends_with("accepted media types include: application/json, application/yaml"), "{text}");
}

#[test]
fn every_beginning_of_a_real_body_is_answered() {
    let rows: Vec<Value> = serde_json::from_str(include_str!("protobuf.json")).unwrap();
    let mut api = Api::new();
    let row = rows.iter().find(|row| row["path"].as_str().unwrap().contains("deployments")).unwrap();
    let whole = request(row);
    // The last four bytes are two empty fields of the envelope.
    for length in 0..whole.body.len() - 4 {
        let (code, answer) = api.send(&Request { body: whole.body[..length].to_vec(), ..whole.clone() });
        assert!(code >= 400, "{length} of {} bytes: {answer}", whole.body.len());
        assert_eq!(answer["kind"], "Status");
    }
    assert_eq!(api.send(&whole).0, 201);
}
