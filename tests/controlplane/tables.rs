//! What a real API server shows of many objects as tables, and what it says about itself: for the tests of the simulated one.
//!
//! `tables.json` beside this file has the objects, one a line, with the status that they get. The case writes them to a server
//! without controllers and asks for the table of each collection, whole objects in its rows. With `BLESS` in the environment
//! the tables go to `host/sim/tests/api/table.json` with the time of the answer, and the aggregated discovery to `discovery.json`
//! beside it; without, the columns and the kinds are compared with what is there, for the cells have ages in them.

use std::path::{Path, PathBuf};

use http::header::{ACCEPT, CONTENT_TYPE, DATE};
use http_body_util::BodyExt as _;
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};

use super::Outcome;
use super::binaries::Binaries;
use super::plane::{ControlPlane, Pace};

const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// Parts of an answer that are for readers or that no table needs.
const LEFT_OUT: [&str; 2] = ["description", "managedFields"];

struct Client(kube::Client);

/// The recorded tables have the columns of this server, and the recorded discovery its kinds.
///
/// # Errors
/// What differs.
pub(crate) fn are_current(binaries: &Binaries) -> Outcome {
    let plane = ControlPlane::alone(binaries, Pace::default())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| format!("runtime: {error}"))?;
    let (tables, discovery) = runtime.block_on(recorded(&plane))?;
    let mut differ = Vec::new();
    for (name, rows, compared) in [("table", tables, "/table/columnDefinitions"), ("discovery", discovery, "/answer")] {
        let path = path(name);
        if std::env::var_os("BLESS").is_some() {
            let lines: Vec<String> = rows.iter().map(Value::to_string).collect();
            std::fs::write(&path, format!("[\n{}\n]\n", lines.join(",\n")))
                .map_err(|error| format!("writing {}: {error}", path.display()))?;
        }
        let text = std::fs::read_to_string(&path).map_err(|error| format!("reading {}: {error}", path.display()))?;
        let kept: Vec<Value> = serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        let same = |at: usize| kept.get(at).and_then(|row| row.pointer(compared)) == rows[at].pointer(compared);
        differ.extend((0..rows.len()).filter(|at| !same(*at)).map(|at| format!("{name} {}", rows[at]["path"])));
    }
    if differ.is_empty() { Ok(()) } else { Err(format!("recorded otherwise: {}", differ.join(", "))) }
}

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("host/sim/tests/api/{name}.json"))
}

async fn recorded(plane: &ControlPlane) -> Outcome<(Vec<Value>, Vec<Value>)> {
    let config = Kubeconfig::read_from(plane.kubeconfig("admin")).map_err(|error| format!("kubeconfig: {error}"))?;
    let config = kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await;
    let client = kube::Client::try_from(config.map_err(|error| format!("kubeconfig: {error}"))?);
    let client = Client(client.map_err(|error| format!("client: {error}"))?);
    // Before the objects: one of them is an API that nobody serves.
    let mut discovery = Vec::new();
    for path in ["/api", "/apis"] {
        discovery.push(json!({"path": path, "answer": client.send("GET", path, AGGREGATED, None).await?.1}));
    }
    let rows: Vec<Value> = serde_json::from_str(include_str!("tables.json")).map_err(|error| format!("tables.json: {error}"))?;
    let mut collections: Vec<&str> = Vec::new();
    for row in &rows {
        client.write(row).await?;
        let path = row["path"].as_str().unwrap_or_default();
        if !collections.contains(&path) {
            collections.push(path);
        }
    }
    let mut tables = Vec::new();
    for path in collections {
        let (now, mut table) = client.send("GET", &format!("{path}?includeObject=Object"), TABLE, None).await?;
        let own = |shown: &Value| {
            let name = &shown["object"]["metadata"]["name"];
            rows.iter().any(|row| row["path"] == path && row["object"]["metadata"]["name"] == *name)
        };
        if let Some(shown) = table["rows"].as_array_mut() {
            shown.retain(own);
        }
        tables.push(json!({"path": path, "now": now, "table": plain(table)}));
    }
    Ok((tables, discovery))
}

impl Client {
    /// Creates the object of a row and brings it into its state.
    async fn write(&self, row: &Value) -> Outcome {
        let path = row["path"].as_str().unwrap_or_default();
        let one = format!("{path}/{}", row["object"]["metadata"]["name"].as_str().unwrap_or_default());
        self.send("POST", path, "application/json", Some(&row["object"])).await?;
        if let Some(status) = row.get("status") {
            self.send("PATCH", &format!("{one}/status"), "application/json", Some(&json!({"status": status}))).await?;
        }
        if row.get("delete").is_some() {
            self.send("DELETE", &one, "application/json", None).await?;
        }
        Ok(())
    }

    /// Sends a request that must succeed, and gives the time of the answer with the answer.
    async fn send(&self, method: &str, path: &str, accept: &str, body: Option<&Value>) -> Outcome<(String, Value)> {
        let about = |error: &dyn std::fmt::Display| format!("{method} {path}: {error}");
        let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let bytes = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        let request = http::Request::builder().method(method).uri(path).header(CONTENT_TYPE, kind).header(ACCEPT, accept);
        let request = request.body(Body::from(bytes)).map_err(|error| about(&error))?;
        let response = self.0.send(request).await.map_err(|error| about(&error))?;
        let status = response.status();
        let date = response.headers().get(DATE).and_then(|date| date.to_str().ok()).unwrap_or_default().to_owned();
        let bytes = response.into_body().collect().await.map_err(|error| about(&error))?.to_bytes();
        if !status.is_success() {
            return Err(about(&String::from_utf8_lossy(&bytes)));
        }
        let date = jiff::fmt::rfc2822::parse(&date).map_err(|error| about(&error))?;
        let answer = serde_json::from_slice(&bytes).map_err(|error| about(&error))?;
        Ok((date.timestamp().to_string(), answer))
    }
}

/// An answer without what is left out.
fn plain(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            fields.into_iter().filter(|(name, _)| !LEFT_OUT.contains(&name.as_str())).map(|(name, value)| (name, plain(value))).collect()
        }
        Value::Array(items) => items.into_iter().map(plain).collect(),
        other => other,
    }
}
