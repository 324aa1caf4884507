//! Who may do what: the same requests by the same users as on a real server, with the same answers.
//!
//! `access.json` holds what kube-apiserver v1.36.4 answered under RBAC: refusals, reviews, attempts to grant more than one has. A row
//! without an answer is compared by its status alone: documents that have their own tests.

use lockgate_sim::json::{Map, Value, json};
use lockgate_sim::{Cluster, Options, Request, User};

use crate::answers;
use crate::replay::request;
use crate::support::{Api, MERGE, text};

/// The user of a row.
fn user(row: &Value) -> Option<User> {
    let name = row.get("user").map(text)?;
    let groups: Vec<String> = row["groups"].as_array().unwrap().iter().map(text).collect();
    Some(User::new(&name, &groups.iter().map(String::as_str).collect::<Vec<_>>()))
}

/// An answer in which the order of rules does not count: a real server goes through bindings in any order.
fn plain(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .filter(|(name, _)| name.as_str() != "managedFields")
            .map(|(name, value)| {
                let sorted = matches!(name.as_str(), "resourceRules" | "nonResourceRules");
                let value = match value {
                    Value::Array(rules) if sorted => {
                        let mut rules: Vec<String> = rules.iter().map(Value::to_string).collect();
                        rules.sort();
                        rules.iter().map(|rule| Value::from(rule.as_str())).collect()
                    }
                    other => plain(other),
                };
                (name.clone(), value)
            })
            .collect::<Map>()
            .into(),
        Value::Array(items) => items.iter().map(plain).collect(),
        other => other.clone(),
    }
}

fn differences(rows: &[Value]) -> Vec<String> {
    let mut api = Api(Cluster::new(Options::default()));
    api.0.furnish();
    let mut differ = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        let mut request = request(row);
        for (_, value) in &mut request.query {
            *value = value.replace("%3D", "=");
        }
        request.user = user(row);
        let (status, answer) = api.send(&request);
        let compared = row.get("answer").is_some();
        let shown = |value: &Value| if compared { plain(&answers::plain(value)) } else { Value::Null };
        let here = json!({"status": status, "answer": shown(&answer)});
        let there = json!({"status": row["status"].clone(), "answer": shown(row.get("answer").unwrap_or(&Value::Null))});
        if here != there {
            let body = row.get("body").map(text).unwrap_or_default();
            let about = format!("row {at}: {} {} {} {body}", text(&row["method"]), text(&row["path"]), row["user"]);
            differ.push(format!("{about}\n  recorded: {there}\n  answered: {here}"));
        }
    }
    differ
}

#[test]
fn answers_are_those_of_a_real_server() {
    let rows: Vec<Value> = serde_json::from_str(include_str!("access.json")).unwrap();
    let differ = differences(&rows);
    assert!(differ.is_empty(), "{} of {} differ:\n{}", differ.len(), rows.len(), differ.join("\n"));
    assert!(rows.len() >= 180);
}

#[test]
fn a_cluster_without_roles_of_its_own_has_the_first_ones() {
    let mut api = Api::new();
    let group = "rbac.authorization.k8s.io";
    let binding = json!({"metadata": {"name": "b"}, "roleRef": {"kind": "ClusterRole", "name": "view", "apiGroup": group},
        "subjects": [{"kind": "User", "name": "vera"}]});
    api.ok(&Request::post(&format!("/apis/{group}/v1/namespaces/x/rolebindings"), &binding));
    let vera = User::new("vera", &[]);
    for (path, code) in [("/api/v1/namespaces/x/pods", 200), ("/api/v1/namespaces/x/secrets", 403), ("/api", 200), ("/metrics", 403)] {
        assert_eq!(api.send(&Request::get(path).by(&vera)).0, code, "{path}");
    }
    api.ok(&Request::get("/api/v1/namespaces/x/secrets"));
}

#[test]
fn a_furnished_cluster_gives_every_namespace_an_account_and_certificates() {
    let mut api = Api(Cluster::new(Options::default()));
    api.0.furnish();
    for namespace in ["default", "kube-system"] {
        api.get(&format!("/api/v1/namespaces/{namespace}/serviceaccounts/default"));
        api.get(&format!("/api/v1/namespaces/{namespace}/configmaps/kube-root-ca.crt"));
    }
    api.ok(&Request::post("/api/v1/namespaces", &json!({"metadata": {"name": "x"}})));
    let account = api.get("/api/v1/namespaces/x/serviceaccounts/default");
    api.ok(&Request::delete("/api/v1/namespaces/x/serviceaccounts/default"));
    assert_ne!(api.get("/api/v1/namespaces/x/serviceaccounts/default")["metadata"]["uid"], account["metadata"]["uid"]);
    let path = "/api/v1/namespaces/x/configmaps/kube-root-ca.crt";
    let before = api.get(path);
    api.ok(&Request::patch(path, MERGE, &json!({"data": {"ca.crt": "mine"}})));
    assert_eq!(api.get(path)["data"], before["data"]);
    api.ok(&Request::delete("/api/v1/namespaces/x"));
    while let Some(at) = api.0.next_event_at() {
        api.0.advance_to(at);
    }
    assert!(api.gone("/api/v1/namespaces/x") && api.gone("/api/v1/namespaces/x/serviceaccounts/default"));
    // Without it nothing comes by itself.
    let mut bare = Api::new();
    assert!(bare.gone("/api/v1/namespaces/x/serviceaccounts/default"));
}
