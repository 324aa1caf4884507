//! A cluster from a fixture, and short ways to speak to it.

use jiff::{SignedDuration, Timestamp};
use lockgate_sim::fixture::Fixture;
use lockgate_sim::json::{Value, json};
use lockgate_sim::{Body, Cluster, Options, Request};

pub(crate) struct Sim(pub(crate) Cluster);

/// Paths of objects in namespace `shop`, of nodes, and of the collections above them.
pub(crate) fn path(of: &str) -> String {
    let (kind, name) = of.split_once('/').unwrap_or((of, ""));
    let collection = match kind {
        "node" => "/api/v1/nodes".to_owned(),
        "pod" => "/api/v1/namespaces/shop/pods".to_owned(),
        "event" => "/api/v1/namespaces/shop/events".to_owned(),
        "priorityclass" => "/apis/scheduling.k8s.io/v1/priorityclasses".to_owned(),
        "service" => "/api/v1/namespaces/shop/services".to_owned(),
        "endpoints" => "/api/v1/namespaces/shop/endpoints".to_owned(),
        "slice" => "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices".to_owned(),
        "pdb" => "/apis/policy/v1/namespaces/shop/poddisruptionbudgets".to_owned(),
        "deploy" => "/apis/apps/v1/namespaces/shop/deployments".to_owned(),
        "rs" => "/apis/apps/v1/namespaces/shop/replicasets".to_owned(),
        "ds" => "/apis/apps/v1/namespaces/shop/daemonsets".to_owned(),
        "sts" => "/apis/apps/v1/namespaces/shop/statefulsets".to_owned(),
        "job" => "/apis/batch/v1/namespaces/shop/jobs".to_owned(),
        "revision" => "/apis/apps/v1/namespaces/shop/controllerrevisions".to_owned(),
        other => panic!("no path for {other}"),
    };
    if name.is_empty() { collection } else { format!("{collection}/{name}") }
}

impl Sim {
    pub(crate) fn new(fixture: &str) -> Self {
        Self::seeded(fixture, 1)
    }

    pub(crate) fn seeded(fixture: &str, seed: u64) -> Self {
        let options = Options { seed, ..Options::default() };
        Self(Fixture::parse("cluster.yaml", fixture).unwrap().cluster(options).unwrap())
    }

    fn send(&mut self, request: &Request) -> (u16, Value) {
        let response = self.0.handle(request);
        match response.body {
            Body::Json(value) => (response.status, (*value).clone()),
            other => panic!("{other:?}"),
        }
    }

    /// Sends a request that must succeed.
    pub(crate) fn ok(&mut self, request: &Request) -> Value {
        let (status, value) = self.send(request);
        assert!((200..300).contains(&status), "{} {}: {value}", request.method.as_str(), request.path);
        value
    }

    pub(crate) fn get(&mut self, of: &str) -> Value {
        self.ok(&Request::get(&path(of)))
    }

    pub(crate) fn exists(&mut self, of: &str) -> bool {
        self.send(&Request::get(&path(of))).0 == 200
    }

    pub(crate) fn list(&mut self, kind: &str) -> Vec<Value> {
        self.ok(&Request::get(&path(kind)))["items"].as_array().unwrap().to_vec()
    }

    pub(crate) fn patch(&mut self, of: &str, body: &Value) -> Value {
        self.ok(&Request::patch(&path(of), "application/merge-patch+json", body))
    }

    pub(crate) fn create(&mut self, kind: &str, body: &Value) -> Value {
        self.ok(&Request::post(&path(kind), body))
    }

    pub(crate) fn delete(&mut self, of: &str) {
        self.ok(&Request::delete(&path(of)));
    }

    /// Changes the image of the first container of a workload.
    pub(crate) fn set_image(&mut self, of: &str, image: &str) {
        let mut containers = self.get(of)["spec"]["template"]["spec"]["containers"].clone();
        containers[0]["image"] = image.into();
        self.patch(of, &json!({"spec": {"template": {"spec": {"containers": containers}}}}));
    }

    pub(crate) fn scale(&mut self, of: &str, replicas: i64) {
        self.patch(of, &json!({"spec": {"replicas": replicas}}));
    }

    /// Lets time go by.
    pub(crate) fn go(&mut self, seconds: i64) {
        let to = self.0.now().checked_add(SignedDuration::from_secs(seconds)).unwrap();
        self.until(to);
    }

    pub(crate) fn until(&mut self, to: Timestamp) {
        assert!(self.0.advance_to(to), "something must be loaded: {:?}", self.0.needs());
        assert_eq!(self.0.failure(), None);
    }

    /// Lets time go by, event by event, and calls `check` after each.
    pub(crate) fn step_through(&mut self, seconds: i64, mut check: impl FnMut(&mut Self)) {
        let end = self.0.now().checked_add(SignedDuration::from_secs(seconds)).unwrap();
        check(self);
        while let Some(at) = self.0.next_event_at().filter(|at| *at <= end) {
            self.until(at);
            check(self);
        }
        self.until(end);
    }

    /// Number of pods that are not being deleted, with the image of their first container.
    pub(crate) fn images(&mut self) -> Vec<String> {
        let pods = self.list("pod").into_iter().filter(|pod| pod["metadata"].get("deletionTimestamp").is_none());
        let mut images: Vec<String> = pods.map(|pod| pod["spec"]["containers"][0]["image"].as_str().unwrap().to_owned()).collect();
        images.sort();
        images
    }

    /// Counters of a Deployment: replicas, updated, ready, available, unavailable.
    pub(crate) fn counters(&mut self, of: &str) -> [i64; 5] {
        let status = self.get(of)["status"].clone();
        ["replicas", "updatedReplicas", "readyReplicas", "availableReplicas", "unavailableReplicas"]
            .map(|field| status[field].as_i64().unwrap_or(0))
    }

    /// Messages of events with this reason, oldest first.
    pub(crate) fn events(&mut self, reason: &str) -> Vec<String> {
        let mut events = self.list("event");
        events.retain(|e| e["reason"] == reason);
        events.sort_by_key(|e| e["metadata"]["resourceVersion"].as_str().unwrap().parse::<u64>().unwrap());
        events.iter().map(|e| e["message"].as_str().unwrap().to_owned()).collect()
    }
}

/// A condition of an object as (status, reason, message).
pub(crate) fn condition(object: &Value, kind: &str) -> (String, String, String) {
    let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let found = conditions.into_iter().find(|c| c["type"] == kind).unwrap_or_default();
    let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
    (text("status"), text("reason"), text("message"))
}

/// Nodes with these names.
pub(crate) fn nodes(names: &[&str]) -> String {
    names.iter().map(|n| format!("apiVersion: v1\nkind: Node\nmetadata: {{name: {n}}}\n---\n")).collect()
}

/// Deployment `web` with one container, image `shop/web:v1`, and more fields of its spec.
pub(crate) fn deployment(replicas: i64, more: &str) -> String {
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata: {{name: web, namespace: shop}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: web}}}}
{more}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      containers:
      - {{name: web, image: 'shop/web:v1'}}
---
"
    )
}

/// A `Model` document; `body` is indented by nothing.
pub(crate) fn model(body: &str) -> String {
    format!("apiVersion: lockgate.dev/v1\nkind: Model\n{body}\n---\n")
}
