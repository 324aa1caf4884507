//! Rows of requests with the answers of a real server, in `host/sim/tests/api/`, and the first objects of such a server.
//!
//! Each file is a sequence for an API server of its own that nobody else works with. `BLESS=1 cargo test --test cases
//! controlplane::rows` writes the answers anew: a new row needs its request only. Without, the case says whether the answers are
//! still those. A row keeps its kind: one with a `reason` gets the reason, one with neither gets the status alone.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use http::header::{ACCEPT, CONTENT_TYPE, RETRY_AFTER};
use http_body_util::BodyExt as _;
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Map, Value, json};

use super::Outcome;
use super::binaries::Binaries;
use super::plane::{ControlPlane, Pace};

/// A file of rows.
struct File {
    name: &'static str,
    /// What is there before the first row.
    before: &'static str,
    /// How long the server may take to notice what was written, before somebody is asked for.
    moment: Duration,
    /// The controllers that work meanwhile.
    controllers: &'static str,
    /// How an answer is written.
    form: fn(&Value) -> Value,
}

const FILES: [File; 8] = [
    File { name: "access", before: "", moment: Duration::from_millis(200), controllers: "clusterrole-aggregation-controller", form: bare },
    File { name: "data", before: "", moment: Duration::ZERO, controllers: "", form: bare },
    File { name: "eviction", before: "", moment: Duration::ZERO, controllers: "", form: parts },
    File { name: "pods", before: "", moment: Duration::ZERO, controllers: "", form: bare },
    File { name: "protobuf", before: "", moment: Duration::ZERO, controllers: "", form: homeless },
    File { name: "recorded", before: "", moment: Duration::ZERO, controllers: "", form: marked },
    File { name: "streams", before: STREAMS, moment: Duration::ZERO, controllers: "", form: bare },
    File { name: "workloads", before: "", moment: Duration::ZERO, controllers: "", form: named },
];

/// The pods of `streams.rs`, on a node that has no kubelet.
const STREAMS: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: x}
---
apiVersion: v1
kind: Node
metadata: {name: n1}
status: {addresses: [{type: InternalIP, address: 127.0.0.1}]}
---
apiVersion: v1
kind: Pod
metadata: {name: one, namespace: x}
spec: {nodeName: n1, containers: [{name: a, image: i}]}
---
apiVersion: v1
kind: Pod
metadata: {name: two, namespace: x}
spec: {nodeName: n1, initContainers: [{name: i, image: i}], containers: [{name: a, image: i}, {name: b, image: i}]}
---
apiVersion: v1
kind: Pod
metadata: {name: homeless, namespace: x}
spec: {nodeSelector: {no: where}, containers: [{name: a, image: i}]}
"#;

/// How long controllers may take for their part.
const LIMIT: Duration = Duration::from_secs(30);

/// What is another one on every server.
const VOLATILE: [&str; 6] = ["creationTimestamp", "deletionTimestamp", "managedFields", "resourceVersion", "time", "uid"];

/// What stands for it where that it is there matters.
const MARKS: [(&str, &str); 5] =
    [("creationTimestamp", "TIME"), ("deletionTimestamp", "TIME"), ("resourceVersion", "RV"), ("nodePort", "PORT"), ("uid", "UID")];

/// The rows of a file are those of this server.
///
/// # Errors
/// Rows with another answer, by their numbers.
pub(crate) fn are_current(binaries: &Binaries, name: &str) -> Outcome {
    let file = FILES.iter().find(|file| file.name == name).ok_or_else(|| format!("no file {name}"))?;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("host/sim/tests/api/{name}.json"));
    let text = std::fs::read_to_string(&path).map_err(|error| format!("reading {}: {error}", path.display()))?;
    let rows: Vec<Map<String, Value>> = serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut plane = ControlPlane::alone(binaries, Pace::default())?;
    if !file.controllers.is_empty() {
        plane.start_only(file.controllers)?;
        plane.until("roles gather their rules", LIMIT, |plane| {
            Ok(plane.kubectl(&["get", "clusterrole", "admin", "-o", "json"])?.contains("pods"))
        })?;
    }
    if !file.before.is_empty() {
        plane.apply(file.before)?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| format!("runtime: {error}"))?;
    let answered = runtime.block_on(answers(&plane, file, &rows))?;
    if std::env::var_os("BLESS").is_some() {
        let lines: Vec<String> = answered.into_iter().map(|row| Value::from(row).to_string()).collect();
        return write(&path, &lines);
    }
    let changed = rows.iter().zip(&answered).enumerate().filter(|(_, (before, after))| steady(before, file) != steady(after, file));
    let differ: Vec<String> = changed.map(|(at, (_, after))| format!("{name} row {at}: {}", Value::from(after.clone()))).collect();
    if differ.is_empty() { Ok(()) } else { Err(format!("{} of {} answers differ:\n{}", differ.len(), rows.len(), differ.join("\n"))) }
}

/// All files, by name.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    FILES.iter().map(|file| file.name)
}

/// The roles, bindings and classes with which a server begins, as `host/sim/src/access/bootstrap.json` has them: those of people, not
/// those of the parts of the control plane.
///
/// # Errors
/// The file is another one.
pub(crate) fn bootstrap(binaries: &Binaries) -> Outcome {
    let plane = ControlPlane::alone(binaries, Pace::default())?;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("host/sim/src/access/bootstrap.json");
    let kinds = [("clusterroles", "ClusterRole"), ("clusterrolebindings", "ClusterRoleBinding"), ("priorityclasses", "PriorityClass")];
    let bound = of_people(&plane.list(None, "clusterrolebindings")?);
    let mut lines = Vec::new();
    for (plural, kind) in kinds {
        for object in plane.list(None, plural)? {
            let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            let wanted = match kind {
                "PriorityClass" => true,
                "ClusterRoleBinding" => bound.iter().any(|(binding, _)| *binding == name),
                _ => bound.iter().any(|(_, role)| *role == name) || name.starts_with("system:aggregate-to-") || !name.contains(':'),
            };
            if !wanted {
                continue;
            }
            let mut object = bare(&object);
            if let Some(fields) = object.as_object_mut() {
                // What follows from the rest is filled in by whoever reads the file.
                fields.retain(|field, value| !matches!(field.as_str(), "apiVersion" | "preemptionPolicy") && !value.is_null());
                fields.insert("kind".to_owned(), kind.into());
            }
            if let Some(metadata) = object["metadata"].as_object_mut() {
                metadata.remove("generation");
            }
            lines.push(object.to_string());
        }
    }
    if std::env::var_os("BLESS").is_some() {
        return write(&path, &lines);
    }
    let text = std::fs::read_to_string(&path).map_err(|error| format!("reading {}: {error}", path.display()))?;
    let parsed = |text: &str| serde_json::from_str::<Value>(text).map_err(|error| format!("{}: {error}", path.display()));
    if parsed(&text)? == parsed(&format!("[{}]", lines.join(",")))? {
        return Ok(());
    }
    Err(format!("{} is not what this server has:\n{}", path.display(), lines.join("\n")))
}

/// Bindings whose subjects are groups of people, with their roles.
fn of_people(bindings: &[Value]) -> Vec<(String, String)> {
    let groups = ["system:masters", "system:authenticated", "system:unauthenticated", "system:monitoring"];
    let is_theirs = |subject: &Value| subject["kind"] == "Group" && groups.iter().any(|group| subject["name"] == *group);
    let theirs = bindings.iter().filter(|binding| binding["subjects"].as_array().is_some_and(|subjects| subjects.iter().any(is_theirs)));
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    theirs.map(|binding| (text(&binding["metadata"]["name"]), text(&binding["roleRef"]["name"]))).collect()
}

fn write(path: &PathBuf, lines: &[String]) -> Outcome {
    std::fs::write(path, format!("[\n{}\n]\n", lines.join(",\n"))).map_err(|error| format!("writing {}: {error}", path.display()))
}

async fn answers(plane: &ControlPlane, file: &File, rows: &[Map<String, Value>]) -> Outcome<Vec<Map<String, Value>>> {
    let config = Kubeconfig::read_from(plane.kubeconfig("admin")).map_err(|error| format!("kubeconfig: {error}"))?;
    let config = kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await;
    let mut config = config.map_err(|error| format!("kubeconfig: {error}"))?;
    // What the server says is wanted, not what it says at last.
    config.default_retry = false;
    let client = kube::Client::try_from(config).map_err(|error| format!("client: {error}"))?;
    let mut answered = Vec::new();
    for row in rows {
        let start = Instant::now();
        let text = |field: &str| row.get(field).and_then(Value::as_str).unwrap_or_default();
        if text("method") == "GET" || row.contains_key("user") {
            // The server learns of rules and bindings by a watch of its own: a moment after they are written.
            tokio::time::sleep(file.moment).await;
        }
        answered.push(loop {
            let given = answer(&client, file, row).await.map_err(|error| format!("{row:?}: {error}"))?;
            // A role that gathers rules has none at first.
            let count = |row: &Map<String, Value>| row.get("answer").and_then(|answer| answer["rules"].as_array()).map_or(0, Vec::len);
            let late = row.contains_key("aggregated") && count(&given) < count(row).max(1);
            if !late || start.elapsed() > LIMIT {
                break given;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        });
        let classes = ["/ingressclasses", "/priorityclasses"].iter().any(|classes| text("path").contains(classes));
        let status = answered.last().and_then(|row| row.get("status")).and_then(Value::as_u64);
        if classes && text("method") != "GET" && status.is_none_or(|status| status < 300) {
            // Admission learns of default classes by watches of its own.
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
    Ok(answered)
}

/// Sends the request of a row and gives the row with the answer.
async fn answer(
    client: &kube::Client,
    file: &File,
    row: &Map<String, Value>,
) -> Result<Map<String, Value>, Box<dyn std::error::Error + Send + Sync>> {
    let text = |field: &str, or: &str| row.get(field).and_then(Value::as_str).unwrap_or(or).to_owned();
    let path = text("path", &text("get", "/"));
    let (kind, body) = match file.name {
        "protobuf" => ("application/vnd.kubernetes.protobuf", bytes(&text("body", ""))),
        _ => ("application/json", text("body", "").into_bytes()),
    };
    let mut request = http::Request::builder()
        .method(text("method", "GET").as_str())
        .uri(path)
        .header(CONTENT_TYPE, text("type", kind))
        .header(ACCEPT, text("accept", "application/json"));
    if let Some(user) = row.get("user").and_then(Value::as_str) {
        request = request.header("Impersonate-User", user);
        for group in row.get("groups").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
            request = request.header("Impersonate-Group", group);
        }
    }
    let response = client.send(request.body(Body::from(body))?).await?;
    let (status, after) = (response.status().as_u16(), response.headers().get(RETRY_AFTER).cloned());
    let watches = status == 200 && text("path", "").contains("watch=true");
    // A watch that is not refused goes on and on.
    let bytes = if watches { r#""<watch>""#.into() } else { response.into_body().collect().await?.to_bytes() };
    let answer = serde_json::from_slice(&bytes).unwrap_or_else(|_| json!(String::from_utf8_lossy(&bytes)));
    let is_new = !row.contains_key("status") && !row.contains_key("code");
    let mut row = row.clone();
    row.insert(if row.contains_key("code") { "code" } else { "status" }.to_owned(), status.into());
    if row.contains_key("reason") {
        row.insert("reason".to_owned(), answer.get("reason").cloned().unwrap_or_else(|| json!("")));
    } else if row.contains_key("answer") || is_new {
        let shown = if row.get("answer").is_some_and(|old| old.get("kind").is_none()) { parts(&answer) } else { (file.form)(&answer) };
        row.insert("answer".to_owned(), if answer == json!("") { Value::Null } else { shown });
    }
    row.remove("retry_after");
    if let Some(after) = after.filter(|_| file.name == "eviction") {
        row.insert("retry_after".to_owned(), json!(String::from_utf8_lossy(after.as_bytes())));
    }
    Ok(row)
}

/// A row as it is compared: rules and causes in an order, because a server tells them in any.
fn steady(row: &Map<String, Value>, file: &File) -> Value {
    fn sorted(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields.iter_mut() {
                    sorted(value);
                    match (name.as_str(), value) {
                        ("resourceRules" | "nonResourceRules" | "causes", Value::Array(items)) => items.sort_by_key(Value::to_string),
                        ("lastTransitionTime", time) => *time = "TIME".into(),
                        ("clusterIP", Value::String(address)) if address.starts_with("10.") => "IP".clone_into(address),
                        ("clusterIPs", Value::Array(addresses)) => addresses.retain(|address| address == "None"),
                        ("nodePort" | "healthCheckNodePort", port) => *port = "PORT".into(),
                        _ => {}
                    }
                }
            }
            Value::Array(items) => items.iter_mut().for_each(sorted),
            Value::String(text) if text.parse::<jiff::Timestamp>().is_ok() => "TIME".clone_into(text),
            // A version, and a whole object that is told as a wrong value.
            Value::String(text) => {
                if let Some((before, after)) = text.split_once("in record (").and_then(|(a, b)| Some((a, b.split_once(')')?.1))) {
                    *text = format!("{before}in record (RV){after}");
                }
                if let Some((before, list)) = text.split_once("RBAC: [").map(|(before, rest)| (before, rest.trim_end_matches(']'))) {
                    let mut parts: Vec<&str> = list.split(", ").collect();
                    parts.sort_unstable();
                    *text = format!("{before}RBAC: [{}]", parts.join(", "));
                }
                if let Some((before, _)) = text.split_once("ResourceVersion in object meta: ") {
                    before.to_owned().clone_into(text);
                }
                if let (Some(from), Some(to)) = (text.find("Invalid value: \"{"), text.rfind("}\": ")) {
                    *text = format!("{}Invalid value: OBJECT{}", &text[..from], &text[to + 2..]);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    let mut row = row.clone();
    if let Some(answer) = row.get_mut("answer") {
        let mut plain = if answer.get("kind").is_none() { answer.clone() } else { (file.form)(answer) };
        if plain.pointer("/details/causes").and_then(Value::as_array).is_some_and(|causes| causes.len() > 1) {
            // It tells the causes once more, in the order of that moment.
            plain["message"] = Value::Null;
        }
        sorted(&mut plain);
        *answer = plain;
    }
    Value::from(row)
}

/// An answer without what is another one on every server.
fn bare(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().filter(|(name, _)| !VOLATILE.contains(&name.as_str()));
            fields.map(|(name, value)| (name.clone(), bare(value))).collect()
        }
        Value::Array(items) => items.iter().map(bare).collect(),
        Value::String(text) => words(text, "UID").into(),
        other => other.clone(),
    }
}

/// As [`bare`], without the addresses and ports that a server draws.
fn homeless(value: &Value) -> Value {
    let mut value = bare(value);
    let Some(spec) = value.get_mut("spec").and_then(Value::as_object_mut) else { return value };
    let drawn = spec.get("clusterIP").and_then(Value::as_str).is_some_and(|address| address.starts_with("10."));
    spec.retain(|name, _| !(drawn && matches!(name.as_str(), "clusterIP" | "clusterIPs")));
    for port in spec.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten().filter_map(Value::as_object_mut) {
        port.remove("nodePort");
    }
    value
}

/// An answer in which words stand for what is another one on every server.
fn marked(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().filter(|(name, _)| *name != "managedFields");
            let mark = |(name, value): (&String, &Value)| {
                let word = MARKS.iter().find(|(field, _)| field == name && !value.is_null()).map(|(_, word)| json!(word));
                (name.clone(), word.unwrap_or_else(|| marked(value)))
            };
            fields.map(mark).collect()
        }
        Value::Array(items) => items.iter().map(marked).collect(),
        Value::String(text) => without_addresses(&words(text, "UID")).into(),
        other => other.clone(),
    }
}

/// As [`bare`], with `ID` for uids, and for the ends of generated names.
fn named(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            // The uid of somebody else says whom a text or an owner means.
            let stays = |name: &str| !VOLATILE.contains(&name) || (name == "uid" && !fields.contains_key("resourceVersion"));
            fields.iter().filter(|(name, _)| stays(name)).map(|(name, value)| (name.clone(), named(value))).collect()
        }
        Value::Array(items) => items.iter().map(named).collect(),
        Value::String(text) => match text.strip_prefix("gen-").filter(|end| end.len() == 5) {
            Some(_) => "gen-ID".into(),
            None => words(text, "ID").into(),
        },
        other => other.clone(),
    }
}

/// Of pods and budgets only what an eviction or a binding changes; anything else as [`bare`] has it.
fn parts(answer: &Value) -> Value {
    let of = |section: &str, fields: &[&str]| -> Value {
        let kept = answer[section].as_object().into_iter().flatten();
        let kept = kept.filter(|(name, _)| fields.is_empty() || fields.contains(&name.as_str()));
        kept.map(|(name, value)| (name.clone(), bare(value))).collect::<Map<_, _>>().into()
    };
    match answer["kind"].as_str() {
        Some("Pod") => json!({
            "metadata": of("metadata", &["name", "generation", "deletionGracePeriodSeconds", "labels", "annotations", "finalizers"]),
            "spec": of("spec", &["nodeName"]), "status": of("status", &[]),
        }),
        Some("PodDisruptionBudget") => json!({"status": of("status", &[])}),
        _ => bare(answer),
    }
}

/// A text with `IP` in the place of every address of a service.
fn without_addresses(text: &str) -> String {
    let mut parts = text.split("10.0.0.");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |done, rest| done + "IP" + rest.trim_start_matches(|letter: char| letter.is_ascii_digit()))
}

/// A text with a word in the place of every uid.
fn words(text: &str, uid: &str) -> String {
    let is_uid = |bytes: &[u8]| {
        bytes.iter().enumerate().all(|(at, byte)| if [8, 13, 18, 23].contains(&at) { *byte == b'-' } else { byte.is_ascii_hexdigit() })
    };
    let (mut done, mut rest) = (String::new(), text);
    while let Some(at) = (0..rest.len().saturating_sub(35)).find(|at| rest.as_bytes().get(*at..at + 36).is_some_and(is_uid)) {
        done = done + &rest[..at] + uid;
        rest = &rest[at + 36..];
    }
    done + rest
}

/// Base64 as bytes.
fn bytes(text: &str) -> Vec<u8> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = text.bytes().filter_map(|byte| DIGITS.iter().position(|digit| *digit == byte));
    let bits: Vec<usize> = digits.flat_map(|digit| (0..6).rev().map(move |bit| digit >> bit & 1)).collect();
    bits.chunks_exact(8).filter_map(|byte| u8::try_from(byte.iter().fold(0, |value, bit| value << 1 | bit)).ok()).collect()
}
