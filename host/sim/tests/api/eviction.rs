//! Evictions and bindings: the same requests as on a real API server, with the same answers.
//!
//! `eviction.json` holds what kube-apiserver v1.36.4, alone with etcd, answered to a sequence of requests. A row has the answer (of
//! pods and budgets the parts that an eviction changes), or only the reason where the simulator says the same in other words, or
//! only the code of a request that prepares something.

use lockgate_sim::json::{Value, json};
use lockgate_sim::{Cluster, Options, Request, Response};

use crate::replay::{plain, request};
use crate::support::{Api, MERGE, PODS, pod, text};

/// An API server whose controllers wait for what is never loaded.
pub(crate) fn alone() -> Api {
    Api(Cluster::new(Options { partial: true, ..Options::default() }))
}

/// The parts of an answer that the recorded one has.
fn like(answer: &Value, recorded: &Value) -> Value {
    let of = |section: &str, fields: &[&str]| {
        let all = answer[section].as_object().cloned().unwrap_or_default();
        let kept = all.into_iter().filter(|(name, _)| fields.is_empty() || fields.contains(&name.as_str()));
        Value::from(kept.collect::<lockgate_sim::json::Map>())
    };
    match answer["kind"].as_str() {
        Some("Pod") if recorded.get("kind").is_none() => json!({
            "metadata": of("metadata", &["name", "generation", "deletionGracePeriodSeconds", "labels", "annotations", "finalizers"]),
            "spec": of("spec", &["nodeName"]), "status": of("status", &[]),
        }),
        Some("PodDisruptionBudget") if recorded.get("kind").is_none() => json!({"status": of("status", &[])}),
        _ => answer.clone(),
    }
}

fn retry_after(response: &Response) -> Option<&str> {
    response.headers.iter().find(|(name, _)| name == "Retry-After").map(|(_, value)| value.as_str())
}

#[test]
fn answers_are_those_of_a_real_server() {
    let rows: Vec<Value> = serde_json::from_str(include_str!("eviction.json")).unwrap();
    let mut api = alone();
    let mut differ = Vec::new();
    for row in &rows {
        let response = api.0.handle(&request(row));
        let answer = response.value().cloned().unwrap_or_default();
        let mut expect = |what: &str, recorded: &Value, answered: &Value| {
            if recorded != answered {
                differ.push(format!(
                    "{} {} {}\n  {what} recorded: {recorded}\n  {what} answered: {answered}",
                    row["method"], row["path"], row["body"]
                ));
            }
        };
        expect("code", &row["status"], &response.status.into());
        expect("Retry-After", &row["retry_after"], &retry_after(&response).map_or(Value::Null, Value::from));
        if let Some(recorded) = row.get("answer") {
            expect("answer", &plain(recorded), &plain(&like(&answer, recorded)));
        } else if let Some(reason) = row.get("reason") {
            expect("reason", reason, &answer["reason"]);
        }
    }
    assert!(differ.is_empty(), "{} differ:\n{}", differ.len(), differ.join("\n"));
    let evictions = rows.iter().filter(|row| text(&row["path"]).contains("/eviction") && row.get("answer").is_some()).count();
    assert!(evictions >= 50, "only {evictions} evictions are compared");
}

#[test]
fn nothing_is_evicted_into_a_namespace_that_goes() {
    let mut api = alone();
    api.ok(&Request::post("/api/v1/namespaces", &json!({"metadata": {"name": "x"}})));
    api.ok(&Request::post(PODS, &pod("p")));
    api.ok(&Request::patch(&format!("{PODS}/p"), MERGE, &json!({"metadata": {"finalizers": ["example.com/stay"]}})));
    api.ok(&Request::delete("/api/v1/namespaces/x"));
    let eviction = json!({"metadata": {"name": "p"}});
    let (_, refusal) = api.send(&Request::post(&format!("{PODS}/p/eviction"), &eviction));
    assert_eq!(refusal["code"], 403);
    assert_eq!(refusal["details"]["causes"][0]["reason"], "NamespaceTerminating");
}

#[test]
fn a_budget_with_too_many_unconfirmed_evictions_is_closed() {
    let mut api = alone();
    api.ok(&Request::post("/api/v1/namespaces", &json!({"metadata": {"name": "x"}})));
    let budgets = "/apis/policy/v1/namespaces/x/poddisruptionbudgets";
    api.ok(&Request::post(budgets, &json!({"metadata": {"name": "b"}, "spec": {"minAvailable": 1, "selector": {}}})));
    let disrupted: lockgate_sim::json::Map = (0..2001).map(|n| (format!("p{n}"), Value::from("2001-02-03T04:05:06Z"))).collect();
    let status = json!({"status": {"observedGeneration": 1, "disruptionsAllowed": 5, "currentHealthy": 6, "desiredHealthy": 1,
        "disruptedPods": disrupted}});
    api.patch(&format!("{budgets}/b/status"), &status);
    api.ok(&Request::post(PODS, &pod("p")));
    let running = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
    api.patch(&format!("{PODS}/p/status"), &running);
    let (code, _, message) = api.fails(&Request::post(&format!("{PODS}/p/eviction"), &json!({"metadata": {"name": "p"}})));
    assert_eq!(code, 403);
    assert!(message.starts_with("poddisruptionbudget.policy \"b\" is forbidden: DisruptedPods map too big"), "{message}");
}
