//! What a real API server answers to rows of requests, for the tests of the simulated one.
//!
//! A row in `host/sim/tests/api/{strict,apply,crd,podspecs}.json` has a request and the answer to it. The case says whether the answers are still
//! those; with `BLESS` in the environment it writes them anew, so that a new row needs its request only. The server runs alone: no
//! controller changes anything in between.

use std::path::Path;
use std::time::{Duration, Instant};

use http::header::{ACCEPT, CONTENT_TYPE, USER_AGENT, WARNING};
use http_body_util::BodyExt as _;
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Map, Value, json};

use super::Outcome;
use super::binaries::Binaries;
use super::plane::{ControlPlane, Pace};

/// How long a row may wait.
const LIMIT: Duration = Duration::from_secs(30);

/// The files, each with a namespace for its objects.
const FILES: [&str; 4] = ["strict", "apply", "crd", "podspecs"];

/// Fields that are others on every server.
const VOLATILE: [&str; 4] = ["uid", "resourceVersion", "creationTimestamp", "time"];

/// How often the rows are asked. A server orders the managers of an object by the second of their writes: the rows were recorded within
/// one, and a busy machine may need two.
const TRIES: usize = 4;

/// Every row has the answer of this server.
///
/// # Errors
/// Rows with another answer, by their numbers.
pub(crate) fn are_current(binaries: &Binaries) -> Outcome {
    let mut outcome = ask(binaries);
    for _ in 1..TRIES {
        if outcome.is_ok() {
            break;
        }
        outcome = ask(binaries);
    }
    outcome
}

fn ask(binaries: &Binaries) -> Outcome {
    let plane = ControlPlane::alone(binaries, Pace::default())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| format!("runtime: {error}"))?;
    let mut differ = Vec::new();
    for name in FILES {
        plane.kubectl(&["create", "namespace", name])?;
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("host/sim/tests/api/{name}.json"));
        let text = std::fs::read_to_string(&path).map_err(|error| format!("reading {}: {error}", path.display()))?;
        let rows: Vec<Map<String, Value>> = serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        let answered = runtime.block_on(answers(&plane, &rows))?;
        let steady = if name == "crd" { in_order } else { without_objects };
        let answered: Vec<_> = answered.into_iter().map(steady).collect();
        let changed = rows.iter().zip(&answered).enumerate().filter(|(_, (before, after))| steady((*before).clone()) != **after);
        differ.extend(changed.map(|(at, (_, after))| format!("{name} row {at}: {}", Value::from(after.clone()))));
        if std::env::var_os("BLESS").is_some() {
            let lines: Vec<String> = answered.into_iter().map(|row| Value::from(row).to_string()).collect();
            std::fs::write(&path, format!("[\n{}\n]\n", lines.join(",\n")))
                .map_err(|error| format!("writing {}: {error}", path.display()))?;
            differ.clear();
        }
    }
    if differ.is_empty() { Ok(()) } else { Err(format!("{} answers differ:\n{}", differ.len(), differ.join("\n"))) }
}

async fn answers(plane: &ControlPlane, rows: &[Map<String, Value>]) -> Outcome<Vec<Map<String, Value>>> {
    let config = Kubeconfig::read_from(plane.kubeconfig("admin")).map_err(|error| format!("kubeconfig: {error}"))?;
    let config = kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await;
    let client =
        kube::Client::try_from(config.map_err(|error| format!("kubeconfig: {error}"))?).map_err(|error| format!("client: {error}"))?;
    let mut answered = Vec::new();
    for row in rows {
        let start = Instant::now();
        loop {
            let given = answer(&client, row).await.map_err(|error| format!("{row:?}: {error}"))?;
            if is_awaited(&given) {
                answered.push(given);
                break;
            }
            if start.elapsed() > LIMIT {
                return Err(format!("not so after {} s: {row:?}", LIMIT.as_secs()));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    Ok(answered)
}

/// Whether an answer is the one that a row waits for: `until` names its status or a part of it, and the value.
fn is_awaited(row: &Map<String, Value>) -> bool {
    let Some((part, wanted)) = row.get("until").and_then(Value::as_str).and_then(|until| until.split_once('=')) else { return true };
    let found = if part == "status" { row.get("status") } else { row.get("answer").and_then(|answer| answer.pointer(part)) };
    found.is_some_and(|found| found.as_str().map_or_else(|| found.to_string(), str::to_owned) == wanted)
}

/// A row without the whole objects in its refusals, which have times and uids; managers of a conflict come in any order.
fn without_objects(mut row: Map<String, Value>) -> Map<String, Value> {
    let cut = |text: &mut Value| {
        let Some(said) = text.as_str() else { return };
        if let (Some(from), Some(to)) = (said.find("Invalid value: \"{"), said.rfind("}\": ")) {
            *text = format!("{}Invalid value: OBJECT{}", &said[..from], &said[to + 2..]).into();
        }
    };
    let Some(answer) = row.get_mut("answer").filter(|answer| answer["kind"] == "Status") else { return row };
    cut(&mut answer["message"]);
    if let Some(causes) = answer.pointer_mut("/details/causes").and_then(Value::as_array_mut) {
        causes.iter_mut().for_each(|cause| cut(&mut cause["message"]));
        if causes.iter().all(|cause| cause["reason"] == "FieldManagerConflict") {
            causes.sort_by_key(Value::to_string);
        }
    }
    row
}

/// A row without times, its causes in an order: a server tells the faults of many fields in any order.
fn in_order(mut row: Map<String, Value>) -> Map<String, Value> {
    fn without_times(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                fields.retain(|name, _| !matches!(name.as_str(), "deletionTimestamp" | "lastTransitionTime"));
                fields.values_mut().for_each(without_times);
            }
            Value::Array(items) => items.iter_mut().for_each(without_times),
            // The age of an object that was made a moment ago, in a cell of a table.
            Value::String(text) if text.strip_suffix('s').is_some_and(|age| age.parse::<u8>().is_ok()) => "now".clone_into(text),
            _ => {}
        }
    }
    let Some(answer) = row.get_mut("answer") else { return row };
    without_times(answer);
    let causes = answer.pointer_mut("/details/causes").and_then(Value::as_array_mut);
    let several = causes.is_some_and(|causes| {
        causes.sort_by_key(Value::to_string);
        causes.len() > 1
    });
    let patched = answer["message"].as_str().is_some_and(|message| message.starts_with(" \"\" is invalid: patch:"));
    if several || patched {
        // It holds the same in an order of its own, or the whole object with its times.
        answer["message"] = Value::Null;
        if patched {
            answer["details"] = Value::Null;
        }
    }
    row
}

/// Sends the request of a row and gives the row with the answer.
async fn answer(client: &kube::Client, row: &Map<String, Value>) -> Result<Map<String, Value>, Box<dyn std::error::Error + Send + Sync>> {
    let text = |field: &str, or: &str| row.get(field).and_then(Value::as_str).unwrap_or(or).to_owned();
    let request = http::Request::builder()
        .method(text("method", "GET").as_str())
        .uri(text("path", "/"))
        .header(CONTENT_TYPE, text("type", "application/json"))
        .header(ACCEPT, text("accept", "application/json"))
        .header(USER_AGENT, text("agent", "tester/1.0"))
        .body(Body::from(text("body", "").into_bytes()))?;
    let response = client.send(request).await?;
    let status = response.status().as_u16();
    let warnings: Vec<String> =
        response.headers().get_all(WARNING).iter().map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned()).collect();
    let bytes = response.into_body().collect().await?.to_bytes();
    let answer = serde_json::from_slice(&bytes).unwrap_or_else(|_| json!(String::from_utf8_lossy(&bytes)));
    let mut row = row.clone();
    row.insert("status".to_owned(), status.into());
    row.insert("answer".to_owned(), plain(answer));
    row.remove("warnings");
    if !warnings.is_empty() {
        row.insert("warnings".to_owned(), warnings.into());
    }
    Ok(row)
}

/// An answer without what differs by nature.
fn plain(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            fields.into_iter().filter(|(name, _)| !VOLATILE.contains(&name.as_str())).map(|(name, value)| (name, plain(value))).collect()
        }
        Value::Array(items) => items.into_iter().map(plain).collect(),
        // Addresses of services are drawn.
        Value::String(text) if text.starts_with("10.0.0.") => "10.0.0.1".into(),
        other => other,
    }
}
