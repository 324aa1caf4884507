//! An empty cluster with one namespace, and short ways to speak to it.

use jiff::SignedDuration;
use lockgate_sim::json::{Value, json};
use lockgate_sim::{Body, Cluster, Options, Request, WatchId, WatchPoll};

pub(crate) struct Api(pub(crate) Cluster);

pub(crate) const MERGE: &str = "application/merge-patch+json";
pub(crate) const STRATEGIC: &str = "application/strategic-merge-patch+json";
pub(crate) const JSON_PATCH: &str = "application/json-patch+json";

pub(crate) const MAPS: &str = "/api/v1/namespaces/x/configmaps";
pub(crate) const PODS: &str = "/api/v1/namespaces/x/pods";
pub(crate) const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/x/deployments";
pub(crate) const REPLICA_SETS: &str = "/apis/apps/v1/namespaces/x/replicasets";

/// The answer for a path that no part of the server looks after.
pub(crate) const NOWHERE: &str = "404 page not found\n";

impl Api {
    pub(crate) fn new() -> Self {
        let mut api = Self(Cluster::new(Options { seed: 7, ..Options::default() }));
        for name in ["x", "y"] {
            api.ok(&Request::post("/api/v1/namespaces", &json!({"metadata": {"name": name}})));
        }
        api
    }

    pub(crate) fn send(&mut self, request: &Request) -> (u16, Value) {
        let response = self.0.handle(request);
        match response.body {
            Body::Json(value) => (response.status, (*value).clone()),
            Body::Text(text) => (response.status, text.into()),
            Body::Watch(_) | Body::Log(_) | Body::Exec(_) => panic!("{} opens a stream", request.path),
        }
    }

    /// Sends a request that must succeed.
    pub(crate) fn ok(&mut self, request: &Request) -> Value {
        let (status, value) = self.send(request);
        assert!((200..300).contains(&status), "{} {}: {value}", request.method.as_str(), request.path);
        value
    }

    /// Sends a request that must fail: code, reason, message.
    pub(crate) fn fails(&mut self, request: &Request) -> (u16, String, String) {
        let (status, value) = self.send(request);
        assert!(status >= 400, "{} {}: {value}", request.method.as_str(), request.path);
        if value == NOWHERE {
            return (status, String::new(), text(&value));
        }
        assert_eq!(value["code"], status);
        assert_eq!((value["kind"].as_str(), value["status"].as_str()), (Some("Status"), Some("Failure")));
        (status, text(&value["reason"]), text(&value["message"]))
    }

    pub(crate) fn get(&mut self, path: &str) -> Value {
        self.ok(&Request::get(path))
    }

    pub(crate) fn gone(&mut self, path: &str) -> bool {
        self.send(&Request::get(path)).0 == 404
    }

    pub(crate) fn map(&mut self, name: &str, labels: Value) -> Value {
        self.ok(&Request::post(MAPS, &json!({"metadata": {"name": name, "labels": labels}, "data": {"a": "1"}})))
    }

    pub(crate) fn patch(&mut self, path: &str, patch: &Value) -> Value {
        self.ok(&Request::patch(path, MERGE, patch))
    }

    pub(crate) fn watch(&mut self, path: &str) -> WatchId {
        let response = self.0.handle(&Request::get(path));
        match response.body {
            Body::Watch(id) => id,
            other => panic!("no watch: {other:?}"),
        }
    }

    /// The events that a watch has now, as type and name, and whether it has ended.
    pub(crate) fn events(&mut self, id: WatchId) -> (Vec<String>, bool) {
        let mut events = Vec::new();
        loop {
            match self.0.poll_watch(id) {
                WatchPoll::Event(event) => events.push(format!(
                    "{} {}",
                    event["type"].as_str().unwrap(),
                    event["object"]["metadata"]["name"].as_str().unwrap_or("-")
                )),
                WatchPoll::Pending => return (events, false),
                WatchPoll::Closed => return (events, true),
            }
        }
    }

    pub(crate) fn advance(&mut self, seconds: i64) {
        let to = self.0.now().checked_add(SignedDuration::from_secs(seconds)).unwrap();
        assert!(self.0.advance_to(to));
    }
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

pub(crate) fn rv(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
}

pub(crate) fn names(list: &Value) -> Vec<String> {
    list["items"].as_array().unwrap().iter().map(|item| text(&item["metadata"]["name"])).collect()
}

/// A Deployment without replicas: no controller makes noise.
pub(crate) fn deployment(name: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"replicas": 0, "selector": {"matchLabels": {"app": name}},
        "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "a", "image": "a:1"}]}}}})
}

pub(crate) fn pod(name: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "a", "image": "a:1"}]}})
}
