//! Rows of requests and answers of a real server: what to send, and what to compare.

use lockgate_sim::json::Value;
use lockgate_sim::{Method, Request};

use crate::support::text;

/// The request of a row.
pub(crate) fn request(row: &Value) -> Request {
    let method = match row["method"].as_str().unwrap() {
        "GET" => Method::Get,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "PATCH" => Method::Patch,
        "DELETE" => Method::Delete,
        other => panic!("no method {other}"),
    };
    let mut request = Request::new(method, row["path"].as_str().unwrap());
    request.content_type = row.get("type").map_or_else(|| "application/json".into(), text);
    request.body = row.get("body").map(text).unwrap_or_default().into_bytes();
    request
}

/// Ids, numbers of versions and times of today are no part of the behaviour, nor is what says nothing in a status that a client
/// wrote.
pub(crate) fn plain(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .filter(|(name, value)| !matches!(name.as_str(), "qosClass" | "managedFields") && !value.is_null())
            .filter(|(name, value)| name.as_str() != "observedGeneration" || value.as_i64() != Some(0))
            .map(|(name, value)| {
                let value = match (name.as_str(), value) {
                    ("lastTransitionTime", Value::String(time)) if !time.starts_with("2001-01-01") => "now".into(),
                    ("disruptedPods", Value::Object(pods)) => pods.keys().map(|pod| Value::from(pod.as_str())).collect(),
                    _ => plain(value),
                };
                (name.clone(), value)
            })
            .collect::<lockgate_sim::json::Map>()
            .into(),
        Value::Array(items) => items.iter().map(plain).collect(),
        Value::String(text) => {
            let word = |word: &str| {
                let bare = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
                let id = bare.len() == 36 && bare.bytes().filter(|b| *b == b'-').count() == 4;
                let version = word.starts_with('(') && bare.bytes().all(|b| b.is_ascii_digit());
                if id || version { word.replace(bare, "ID") } else { word.to_owned() }
            };
            let words: Vec<String> = text.split(' ').map(word).collect();
            let text = words.join(" ");
            match text.split_once("ResourceVersion in object meta: ") {
                Some((before, _)) => before.into(),
                None => text.into(),
            }
        }
        other => other.clone(),
    }
}
