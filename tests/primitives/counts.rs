//! What a wait asks of the server: one list and one watch of each kind that it looks at, however long it takes. Counted in the record
//! of requests, for every verb that waits.

use std::collections::BTreeMap;

use lockgate::cluster::Verb;
use lockgate_sim::json::{Value as Json, json};
use lockgate_sim::model::ModelDocument;
use lockgate_sim::request::Request;

use super::helm::chart;
use super::support::Rig;

const SETS: &str = "---
apiVersion: apps/v1
kind: StatefulSet
metadata: { name: db }
spec:
  replicas: 2
  selector: { matchLabels: { app: db } }
  template:
    metadata: { labels: { app: db } }
    spec: { containers: [{ name: db, image: \"registry.example/db:v1\" }] }
";

const CHART: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: { name: shop }
spec:
  replicas: 2
  selector: { matchLabels: { app: shop } }
  template:
    metadata: { labels: { app: shop } }
    spec: { containers: [{ name: shop, image: registry.example/shop:v1 }] }
";

fn definition() -> Json {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": { "name": "widgets.example.com" },
        "spec": {
            "group": "example.com", "scope": "Namespaced", "names": { "plural": "widgets", "singular": "widget", "kind": "Widget" },
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": { "openAPIV3Schema": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } },
            }],
        },
    })
}

/// A call, with what is done before it, and how often it may read what besides: `verb resource`.
struct Case {
    name: &'static str,
    given: fn(&Rig),
    verb: &'static str,
    arguments: Json,
    options: Json,
    /// Reads of their own reason, beyond one list and one watch a kind and one read of the object.
    besides: &'static [(&'static str, usize)],
    /// What must have been watched.
    watched: &'static [&'static str],
}

fn case(name: &'static str, verb: &'static str, arguments: Json, watched: &'static [&'static str]) -> Case {
    Case { name, given: |_| {}, verb, arguments, options: json!({}), besides: &[], watched }
}

fn new_image(rig: &Rig, workload: &str, container: &str) {
    let images: Json = [(container.to_owned(), Json::from("registry.example/other:v2"))].into_iter().collect();
    rig.call("set_image", json!([workload, images]), json!({})).unwrap();
}

fn cases() -> Vec<Case> {
    vec![
        Case {
            given: |rig| new_image(rig, "deployment/web", "web"),
            ..case(
                "a rollout of a Deployment",
                "wait_rollout",
                json!(["deployment/web"]),
                &["deployments.apps", "pods", "replicasets.apps"],
            )
        },
        Case {
            given: |rig| new_image(rig, "daemonset/agent", "agent"),
            ..case("a rollout of a DaemonSet", "wait_rollout", json!(["daemonset/agent"]), &["daemonsets.apps", "pods"])
        },
        Case {
            given: |rig| new_image(rig, "statefulset/db", "db"),
            ..case("a rollout of a StatefulSet", "wait_rollout", json!(["statefulset/db"]), &["statefulsets.apps", "pods"])
        },
        Case {
            given: |rig| new_image(rig, "deployment/web", "web"),
            options: json!({ "stable": "30s" }),
            ..case("a condition, held for a while", "wait_for", json!(["deployment/web", "Available"]), &["deployments.apps"])
        },
        Case {
            given: |rig| drop(rig.sim(|sim| sim.handle(&Request::delete("/api/v1/namespaces/default/pods/db-0")))),
            ..case("a pod that goes", "wait_gone", json!(["pod/db-0"]), &["pods"])
        },
        Case { options: json!({ "wait": true }), ..case("a deletion that is waited for", "delete", json!(["pod/db-1"]), &["pods"]) },
        Case {
            options: json!({ "wait": "gone", "force_hpa": true }),
            ..case("surplus pods", "scale", json!(["deployment/web", 0]), &["deployments.apps", "pods"])
        },
        Case {
            options: json!({ "node": "w1" }),
            ..case("the successor of a pod", "replace_pod", json!(["daemonset/agent"]), &["daemonsets.apps", "pods"])
        },
        Case {
            // The node is read for its cordon too, and the server is asked once more whether the node is empty.
            besides: &[("get nodes", 1), ("list pods", 1)],
            ..case("a drain", "drain", json!(["w1"]), &["pods", "poddisruptionbudgets.policy"])
        },
        // The server of a simulated cluster serves it at once.
        case("a definition that is established", "apply", json!([definition()]), &[]),
        Case {
            options: json!({ "version": "1.0.0", "values": {} }),
            // Its objects are read before and after, and so are the revisions.
            besides: &[("get deployments.apps", 2), ("list secrets", 1)],
            ..case("a release", "helm.install", json!(["shop", "shop"]), &["deployments.apps", "pods", "replicasets.apps"])
        },
    ]
}

/// How often each kind was read in which way, watches that went on after a cut among them.
fn reads(rig: &Rig, from: usize) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for request in rig.cluster.requests().iter().skip(from).filter(|request| !request.verb.is_write()) {
        *counts.entry(format!("{} {}", request.verb, request.resource)).or_default() += 1;
    }
    counts
}

#[test]
fn a_wait_is_one_list_and_one_watch_of_each_kind() {
    let mut wrong = Vec::new();
    for case in cases() {
        let rig = Rig::also(SETS, |sim| {
            sim.models_mut().extend(ModelDocument { charts: vec![chart("1.0.0", CHART)], ..ModelDocument::default() });
        });
        (case.given)(&rig);
        let (from, begun) = (rig.cluster.requests().len(), rig.cluster.clock().now());
        if let Err(error) = rig.call(case.verb, case.arguments, case.options) {
            wrong.push(format!("{}: {error}", case.name));
            continue;
        }
        let counts = reads(&rig, from);
        let allowed = |read: &str| {
            let more = case.besides.iter().find(|(what, _)| *what == read).map_or(0, |(_, more)| *more);
            let one = ["list ", "watch ", "get "].iter().any(|verb| read.starts_with(verb));
            usize::from(one) + more
        };
        for (read, count) in counts.iter().filter(|(read, count)| **count > allowed(read)) {
            wrong.push(format!("{}: {count} times {read}", case.name));
        }
        for kind in case.watched.iter().filter(|kind| counts.get(&format!("{} {kind}", Verb::Watch)) != Some(&1)) {
            wrong.push(format!("{}: {kind} is not watched", case.name));
        }
        if case.verb != "apply" && rig.cluster.clock().now() == begun {
            wrong.push(format!("{}: it took no time, so that nothing was waited for", case.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
