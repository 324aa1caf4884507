//! What a fixture becomes.

use lockgate_sim::fixture::Fixture;
use lockgate_sim::{Options, Request};

use crate::support::{Sim, deployment, nodes};

#[test]
fn a_node_with_a_name_is_enough() {
    let mut sim = Sim::new(&nodes(&["n1"]));
    let node = sim.get("node/n1");
    assert_eq!(node["status"]["allocatable"]["pods"], "110");
    assert_eq!(node["status"]["allocatable"]["memory"], "16Gi");
    assert_eq!(node["status"]["nodeInfo"]["kubeletVersion"], "v1.36.4");
    assert_eq!(node["metadata"]["labels"]["kubernetes.io/os"], "linux");
    assert_eq!(node["metadata"]["labels"]["kubernetes.io/hostname"], "n1");
    assert_eq!(crate::support::condition(&node, "Ready").0, "True");
}

#[test]
fn namespaces_that_are_used_exist() {
    let mut sim = Sim::new(&deployment(0, ""));
    for name in ["default", "kube-system", "shop"] {
        let namespace = sim.ok(&lockgate_sim::Request::get(&format!("/api/v1/namespaces/{name}")));
        assert_eq!(namespace["status"]["phase"], "Active", "{name}");
    }
}

#[test]
fn objects_of_a_running_cluster_are_kept_as_they_are() {
    let mut first = Sim::new(&(nodes(&["n1", "n2"]) + &deployment(2, "")));
    let mut items = Vec::new();
    for kind in ["node", "deploy", "rs", "pod"] {
        items.extend(first.list(kind).into_iter().map(|mut item| {
            // As kubectl prints the items of a list.
            let (kind_name, version) = match kind {
                "node" => ("Node", "v1"),
                "pod" => ("Pod", "v1"),
                "rs" => ("ReplicaSet", "apps/v1"),
                _ => ("Deployment", "apps/v1"),
            };
            item["kind"] = kind_name.into();
            item["apiVersion"] = version.into();
            item
        }));
    }
    let dump = lockgate_sim::json::json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string();
    let mut second = Sim::new(&dump);
    assert_eq!(second.counters("deploy/web"), [2, 2, 2, 2, 0]);
    let names = |sim: &mut Sim| sim.list("pod").iter().map(|p| p["metadata"]["uid"].clone()).collect::<Vec<_>>();
    assert_eq!(names(&mut first), names(&mut second), "the pods are the same ones");
    // A null says nothing, and is not kept.
    let statuses = |sim: &mut Sim| {
        let texts = sim.list("pod").into_iter().map(|p| p["status"].to_string().replace("\"lastProbeTime\":null,", ""));
        texts.collect::<Vec<_>>()
    };
    assert_eq!(statuses(&mut first), statuses(&mut second));
    second.set_image("deploy/web", "shop/web:v2");
    second.go(60);
    assert_eq!(second.images(), ["shop/web:v2"; 2]);
}

#[test]
fn what_the_server_refuses_is_named_with_its_line() {
    let text = nodes(&["n1"]) + &deployment(-1, "");
    let error = Fixture::parse("cluster.yaml", &text).unwrap().cluster(Options::default()).err().unwrap();
    assert_eq!(error.line, 5, "{error}");
    assert!(error.to_string().starts_with("cluster.yaml:5: `deployment/shop/web` cannot be created: "), "{error}");
    assert!(error.message.contains("spec.replicas"), "{error}");
}

#[test]
fn time_begins_after_everything_that_has_happened() {
    let mut sim =
        Sim::new("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: shop, creationTimestamp: '2026-05-01T10:00:00Z'}\n");
    assert!(sim.0.now() >= "2026-05-01T10:00:00Z".parse().unwrap());
    sim.go(1);
}

const RELEASE: &str = r#"
apiVersion: lockgate.dev/v1
kind: Model
charts:
- name: web
  version: 1.1.0
  appVersion: v2
  values: {replicas: 1}
  why: a test
  when: {replicas: 2}
  manifest: |
    apiVersion: v1
    kind: ConfigMap
    metadata: {name: web}
    data: {replicas: "2"}
    ---
    apiVersion: v1
    kind: ConfigMap
    metadata: {name: own}
    ---
    apiVersion: old.example/v1
    kind: Cog
    metadata: {name: one}
    ---
    apiVersion: v1
    kind: Pod
    metadata: {name: hook, annotations: {helm.sh/hook: pre-upgrade}}
    spec: {containers: [{name: a, image: a}]}
  crds: |
    apiVersion: apiextensions.k8s.io/v1
    kind: CustomResourceDefinition
    metadata: {name: cogs.old.example}
    spec:
      group: old.example
      scope: Cluster
      names: {kind: Cog, plural: cogs}
      versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]
releases:
- {name: web, namespace: shop, chart: web, version: 1.1.0, values: {replicas: 2}, why: a test, STATUS history: [{revision: 3, version: 1.0.0}]}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: own, namespace: shop}, data: {of: the fixture}}
"#;

#[test]
fn a_release_brings_its_records_and_its_objects() {
    let mut sim = Sim::new(&RELEASE.replace("STATUS", ""));
    let map = |sim: &mut Sim, name: &str| sim.ok(&Request::get(&format!("/api/v1/namespaces/shop/configmaps/{name}")));
    let web = map(&mut sim, "web");
    assert_eq!(web["data"]["replicas"], "2");
    assert_eq!(web["metadata"]["labels"]["app.kubernetes.io/managed-by"], "Helm");
    assert_eq!(web["metadata"]["annotations"]["meta.helm.sh/release-name"], "web");
    assert_eq!(map(&mut sim, "own")["data"]["of"], "the fixture");
    assert!(!sim.exists("pod/hook"));
    sim.ok(&Request::get("/apis/old.example/v1/cogs/one"));
    let secrets = sim.ok(&Request::get("/api/v1/namespaces/shop/secrets").with_query("labelSelector", "owner=helm"));
    let told: Vec<(&str, &str)> = secrets["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|secret| (secret["metadata"]["name"].as_str().unwrap(), secret["metadata"]["labels"]["status"].as_str().unwrap()))
        .collect();
    assert_eq!(told, [("sh.helm.release.v1.web.v3", "superseded"), ("sh.helm.release.v1.web.v4", "deployed")]);
}

#[test]
fn a_release_that_makes_no_sense_is_refused() {
    let wrong = |status: &str, version: &str| {
        let text = RELEASE.replace("STATUS", status).replace("chart: web, version: 1.1.0", &format!("chart: web, version: {version}"));
        Fixture::parse("cluster.yaml", &text).unwrap_err().to_string()
    };
    assert!(wrong("status: lost,", "1.1.0").contains("`lost` is no status of release shop/web"));
    assert!(wrong("revision: 3,", "1.1.0").contains("do not go up"));
    assert!(wrong("", "9.0.0").contains("needs an entry of `charts` for web 9.0.0"));
}
