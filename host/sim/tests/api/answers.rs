//! Rows of requests with the answers of a real server, which the case `controlplane::answers_are_current` records.

use lockgate_sim::json::{Map, Value, json};
use lockgate_sim::{Body, Cluster, Options, Request};

use crate::replay;
use crate::support::{Api, text};

/// Fields that are others on every server.
const VOLATILE: [&str; 4] = ["uid", "resourceVersion", "creationTimestamp", "time"];

/// The warnings that are modelled; a real server has others about odd pod specs and old kinds.
const WARNINGS: [&str; 3] = ["unknown field", "duplicate field", "already set in map"];

/// Sends every row to a new cluster and gives what differs from the recorded answers.
pub(crate) fn differences(namespace: &str, rows: &[Value]) -> Vec<String> {
    let mut api = Api(Cluster::new(Options::default()));
    api.ok(&Request::post("/api/v1/namespaces", &json!({"metadata": {"name": namespace}})));
    let mut differ = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        let mut request = replay::request(row);
        for (_, value) in &mut request.query {
            *value = value.replace("%0a", "\n");
        }
        request.user_agent = row.get("agent").map_or_else(|| "tester/1.0".to_owned(), text);
        let response = api.0.handle(&request);
        let answer = match &response.body {
            Body::Json(value) => plain(value),
            Body::Text(text) => text.as_str().into(),
            other => panic!("row {at}: {other:?}"),
        };
        let warnings = response.headers.iter().filter(|(name, _)| name == "Warning").map(|(_, text)| text.as_str());
        // What is not modelled here no other server says.
        let warnings: Vec<&str> = warnings.filter(|text| !text.contains("simulator:")).collect();
        let here = json!({"status": response.status, "answer": answer, "warnings": warnings});
        let told = row.get("warnings").and_then(Value::as_array).cloned().unwrap_or_default();
        let warnings: Value =
            told.iter().filter(|text| WARNINGS.iter().any(|kind| text.as_str().unwrap().contains(kind))).cloned().collect();
        let there = json!({"status": row["status"].clone(), "answer": plain(&row["answer"]), "warnings": warnings});
        if here != there {
            let about = format!("row {at}: {} {} {}", text(&row["method"]), text(&row["path"]), text(&row["body"]));
            differ.push(format!("{about}\n  recorded: {there}\n  answered: {here}"));
        }
    }
    differ
}

/// An answer without what differs by nature, and without what controllers write: the recorded server was alone.
pub(crate) fn plain(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let controlled = matches!(fields.get("kind").and_then(Value::as_str), Some("Deployment" | "PodDisruptionBudget"));
            let stays = |name: &str, value: &Value| {
                let left_out = match name {
                    "managedFields" => value.as_array().is_some_and(|list| list.is_empty()),
                    "status" => controlled,
                    _ => VOLATILE.contains(&name),
                };
                !left_out
            };
            let plain = fields.iter().map(|(name, value)| (name.clone(), plain(value)));
            Value::Object(plain.filter(|(name, value)| stays(name, value)).collect::<Map>())
        }
        Value::Array(items) => {
            let mut items: Vec<Value> = items.iter().filter(|item| !is_of_controllers(item)).map(plain).collect();
            // Owners stand in the order of times, which here are all the same; causes of a conflict in none.
            if items
                .iter()
                .all(|item| item.get("fieldsV1").is_some() || item.get("reason").is_some_and(|why| why == "FieldManagerConflict"))
            {
                items.sort_by_key(ToString::to_string);
            }
            Value::from(items)
        }
        Value::String(text) => plain_text(text).into(),
        other => other.clone(),
    }
}

/// An entry of `managedFields` that a controller of the simulator wrote.
fn is_of_controllers(item: &Value) -> bool {
    item.get("manager").and_then(Value::as_str) == Some("kube-controller-manager")
}

/// The patched object in a refusal has the whole object in it; times are of the day of the recording.
fn plain_text(text: &str) -> String {
    let text = match (text.find("Invalid value: \"{"), text.rfind("}\": ")) {
        (Some(from), Some(to)) if from < to => format!("{}Invalid value: OBJECT{}", &text[..from], &text[to + 2..]),
        _ => text.to_owned(),
    };
    if text.starts_with("10.96.") || text.starts_with("10.0.0.") {
        return "ADDRESS".to_owned();
    }
    let is_time = |word: &str| word.len() == 20 && word.ends_with('Z') && word.as_bytes()[4] == b'-' && word.as_bytes()[10] == b'T';
    let words: Vec<&str> = text.split(' ').map(|word| if is_time(word.trim_end_matches(':')) { "TIME" } else { word }).collect();
    words.join(" ")
}
