//! Objects whose operator is a model: what `objects` entries say, and the operators that a fixture can include.

use lockgate_sim::fixture::Fixture;
use lockgate_sim::json::{Value, json};
use lockgate_sim::{Options, Request};

use crate::support::{Api, MERGE, STRATEGIC, names, text};

fn api(fixture: &str) -> Api {
    Api(Fixture::parse("cluster.yaml", fixture).unwrap().cluster(Options::default()).unwrap())
}

fn wrong(model: &str) -> String {
    Fixture::parse("cluster.yaml", &format!("apiVersion: lockgate.dev/v1\nkind: Model\n{model}")).unwrap_err().to_string()
}

fn condition(object: &Value, kind: &str) -> String {
    let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    conditions.iter().find(|condition| condition["type"] == kind).map(|condition| text(&condition["status"])).unwrap_or_default()
}

fn images(api: &mut Api, path: &str) -> Vec<String> {
    let spec = api.get(path)["spec"]["template"]["spec"].clone();
    let of = |field: &str| spec[field].as_array().cloned().unwrap_or_default();
    of("containers").iter().chain(&of("initContainers")).map(|container| text(&container["image"])).collect()
}

const WIDGETS: &str = r#"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.org}
spec:
  group: example.org
  scope: Namespaced
  names: {kind: Widget, plural: widgets}
  versions:
  - {name: v1, served: true, storage: true, subresources: {status: {}}, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
---
apiVersion: lockgate.dev/v1
kind: Model
objects:
- name: starts
  kind: Widget
  when: [{path: .status.phase, absent: true}]
  after: 5s
  status: {phase: Pending, seen: "${generation}"}
  why: a test
- name: runs
  kind: Widget
  match: {labels: {app: web}}
  when: [{path: .status.phase, is: Pending}, {of: configmap/go, exists: true}]
  after: 10s
  status: {phase: Running}
  why: a test
- name: child
  kind: Widget
  when: [{path: .status.phase, is: Running}]
  make: {apiVersion: v1, kind: ConfigMap, metadata: {name: "of-${name}"}, data: {phase: "is ${.status.phase}"}}
  owned: true
  why: a test
- name: guarded
  kind: ConfigMap
  match: {name: guarded}
  after: 30s
  set: {data: {colour: green}}
  why: another operator, which reverts what people change
"#;

const A: &str = "/apis/example.org/v1/namespaces/x/widgets/a";

fn with_widget(labels: Value) -> Api {
    let mut api = api(WIDGETS);
    api.ok(&Request::post("/api/v1/namespaces", &json!({"metadata": {"name": "x"}})));
    let widget = json!({"apiVersion": "example.org/v1", "kind": "Widget", "metadata": {"name": "a", "labels": labels}});
    api.ok(&Request::post("/apis/example.org/v1/namespaces/x/widgets", &widget));
    api
}

#[test]
fn an_object_changes_in_time_when_its_conditions_hold() {
    let mut api = with_widget(json!({"app": "web"}));
    api.advance(4);
    assert!(api.get(A)["status"].is_null());
    api.advance(1);
    assert_eq!(api.get(A)["status"], json!({"phase": "Pending", "seen": 1}));
    // Nothing more happens before another object is there.
    api.advance(100);
    assert_eq!(api.get(A)["status"]["phase"], "Pending");
    api.map("go", json!({}));
    api.advance(9);
    assert_eq!(api.get(A)["status"]["phase"], "Pending");
    api.advance(1);
    assert_eq!(api.get(A)["status"]["phase"], "Running");
    let child = api.get("/api/v1/namespaces/x/configmaps/of-a");
    assert_eq!((&child["data"]["phase"], &child["metadata"]["ownerReferences"][0]["name"]), (&json!("is Running"), &json!("a")));
    // What it made is made again, and goes with it.
    api.ok(&Request::delete("/api/v1/namespaces/x/configmaps/of-a"));
    assert!(!api.gone("/api/v1/namespaces/x/configmaps/of-a"));
    api.ok(&Request::delete(A));
    api.advance(60);
    assert!(api.gone("/api/v1/namespaces/x/configmaps/of-a"));
}

#[test]
fn conditions_that_cease_to_hold_begin_anew_and_other_objects_are_left_alone() {
    let mut api = with_widget(json!({"app": "other"}));
    api.map("go", json!({}));
    api.advance(100);
    assert_eq!(api.get(A)["status"]["phase"], "Pending", "its labels are others");
    let mut api = with_widget(json!({"app": "web"}));
    api.advance(5);
    api.map("go", json!({}));
    api.advance(6);
    api.ok(&Request::delete("/api/v1/namespaces/x/configmaps/go"));
    api.map("go", json!({}));
    api.advance(6);
    assert_eq!(api.get(A)["status"]["phase"], "Pending", "ten seconds without a break");
    api.advance(4);
    assert_eq!(api.get(A)["status"]["phase"], "Running");
}

#[test]
fn an_operator_takes_back_what_others_change() {
    let mut api = with_widget(json!({}));
    api.map("guarded", json!({}));
    let guarded = "/api/v1/namespaces/x/configmaps/guarded";
    for colour in ["red", "blue"] {
        api.patch(guarded, &json!({"data": {"colour": colour}}));
        api.advance(29);
        assert_eq!(api.get(guarded)["data"]["colour"], colour);
        api.advance(1);
        assert_eq!(api.get(guarded)["data"]["colour"], "green");
    }
}

#[test]
fn a_later_entry_of_the_same_name_takes_the_place_of_an_earlier_one() {
    let off =
        "---\napiVersion: lockgate.dev/v1\nkind: Model\nobjects: [{name: starts, kind: Widget, never: true, why: the operator is down}]\n";
    let mut api = api(&format!("{WIDGETS}{off}"));
    api.ok(&Request::post("/api/v1/namespaces", &json!({"metadata": {"name": "x"}})));
    let widget = json!({"apiVersion": "example.org/v1", "kind": "Widget", "metadata": {"name": "a"}});
    api.ok(&Request::post("/apis/example.org/v1/namespaces/x/widgets", &widget));
    api.advance(600);
    assert!(api.get(A)["status"].is_null());
}

#[test]
fn entries_are_checked() {
    for (entry, message) in [
        ("{kind: A, why: x}", "an entry about A says one thing: `set`, `status`, `tags` or `conditions`, else `make`, `delete` or `never`"),
        ("{kind: A, delete: true, status: {a: 1}, why: x}", "says one thing"),
        ("{kind: A, never: true, why: x}", "needs the `name`"),
        ("{kind: A, status: 3, why: x}", "`status` of an entry about A is no mapping"),
        ("{kind: A, make: {kind: B}, why: x}", "`make` needs `apiVersion`"),
        ("{kind: A, to: b, status: {a: 1}, why: x}", "`b` is no object"),
        ("{kind: A, when: [{agent: {a: b}}], status: {a: 1}, why: x}", "`agent` asks about nodes and pods alone"),
        ("{kind: A, when: [{of: a/b}], status: {a: 1}, why: x}", "asks nothing"),
        ("{kind: A, when: [{path: .a}], status: {a: 1}, why: x}", "needs one of `is`, `like` and `absent`"),
        ("{kind: A, when: [{path: a, is: 1}], status: {a: 1}, why: x}", "`a` is no path"),
        ("{kind: A, conditions: {B: {status: yes}}, why: x}", "`yes` is no status of a condition"),
        ("{kind: A, status: {a: 1}, why: ' '}", "`why` of a model entry is empty"),
    ] {
        let got = wrong(&format!("objects: [{entry}]\n"));
        assert!(got.contains(message), "{entry}: {got}");
    }
    assert!(
        wrong("include: [istio]\n").contains("cluster.yaml:1: there is nothing to include as `istio`"),
        "{}",
        wrong("include: [istio]\n")
    );
}

#[test]
fn a_definition_may_be_slow_to_be_served() {
    let slow = "apiVersion: lockgate.dev/v1\nkind: Model\ndefinitions: [{match: '*.example.org', established: 20s, why: a busy server}]\n";
    let mut api = api(slow);
    let definition: Value = Fixture::parse("a", WIDGETS).unwrap().objects().next().unwrap().clone();
    api.ok(&Request::post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", &definition));
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.example.org";
    for (seconds, established) in [(0, "False"), (19, "False"), (1, "True")] {
        api.advance(seconds);
        let definition = api.get(path);
        assert_eq!(
            (condition(&definition, "NamesAccepted"), condition(&definition, "Established")),
            ("True".to_owned(), established.to_owned())
        );
        assert_eq!(api.gone("/apis/example.org/v1/widgets"), established == "False");
    }
}

/// Calico as its operator has installed it.
const OPERATOR: &str = r#"
apiVersion: lockgate.dev/v1
kind: Model
include: [calico-operator]
images: [{match: "*", pull: 5s, why: a test}]
---
apiVersion: v1
kind: NodeList
items: [{metadata: {name: n1}}, {metadata: {name: n2}}, {metadata: {name: n3}}]
---
apiVersion: operator.tigera.io/v1
kind: Installation
metadata: {name: default}
spec: {variant: Calico}
---
apiVersion: crd.projectcalico.org/v1
kind: ClusterInformation
metadata: {name: default}
spec: {calicoVersion: v3.30.7, datastoreReady: true}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: tigera-operator, namespace: tigera-operator}
spec:
  selector: {matchLabels: {name: tigera-operator}}
  template:
    metadata: {labels: {name: tigera-operator}}
    spec: {containers: [{name: tigera-operator, image: "mirror.example:5000/tigera/operator:v1.38.13"}]}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: calico-node, namespace: calico-system}
spec:
  selector: {matchLabels: {k8s-app: calico-node}}
  template:
    metadata: {labels: {k8s-app: calico-node}}
    spec:
      initContainers: [{name: install-cni, image: "mirror.example:5000/calico/cni:v3.30.7"}]
      containers: [{name: calico-node, image: "mirror.example:5000/calico/node:v3.30.7"}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: calico-kube-controllers, namespace: calico-system}
spec:
  selector: {matchLabels: {k8s-app: calico-kube-controllers}}
  template:
    metadata: {labels: {k8s-app: calico-kube-controllers}}
    spec: {containers: [{name: calico-kube-controllers, image: "mirror.example:5000/calico/kube-controllers:v3.30.7"}]}
"#;

#[test]
fn the_operator_of_calico_rolls_its_release_out_and_tells_how_far_it_is() {
    let status = "/apis/operator.tigera.io/v1/tigerastatuses/calico";
    let operator = "/apis/apps/v1/namespaces/tigera-operator/deployments/tigera-operator";
    let node = "/apis/apps/v1/namespaces/calico-system/daemonsets/calico-node";
    let mut api = api(OPERATOR);
    let told = |api: &mut Api| ["Available", "Progressing", "Degraded"].map(|kind| condition(&api.get(status), kind));
    let done = ["True", "False", "False"].map(str::to_owned);
    assert_eq!(told(&mut api), done);
    assert_eq!(api.get("/apis/operator.tigera.io/v1/installations/default")["status"]["calicoVersion"], "v3.30.7");
    let image = json!({"spec": {"template": {"spec": {"containers": [{"name": "tigera-operator", "image": "mirror.example:5000/tigera/operator:v1.40.15"}]}}}});
    api.ok(&Request::patch(operator, STRATEGIC, &image));
    api.advance(2);
    assert_eq!(told(&mut api), done, "it says the old before the new operator has looked");
    let mut seen = Vec::new();
    for _ in 0..120 {
        api.advance(1);
        let now = (
            told(&mut api)[1].clone(),
            text(&api.get("/apis/crd.projectcalico.org/v1/clusterinformations/default")["spec"]["calicoVersion"]),
        );
        if seen.last() != Some(&now) {
            seen.push(now);
        }
    }
    let pair = |progressing: &str, version: &str| (progressing.to_owned(), version.to_owned());
    assert_eq!(
        seen,
        [pair("False", "v3.30.7"), pair("True", "v3.30.7"), pair("True", "v3.31.7"), pair("False", "v3.31.7")],
        "the first new agent changes the version of the cluster, long before all are there"
    );
    assert_eq!(images(&mut api, node), ["mirror.example:5000/calico/node:v3.31.7", "mirror.example:5000/calico/cni:v3.31.7"]);
    assert_eq!(told(&mut api), done);
    assert_eq!(api.get("/apis/operator.tigera.io/v1/installations/default")["status"]["calicoVersion"], "v3.31.7");
    // The operator takes back what somebody else does to its workloads.
    let foreign = json!({"spec": {"template": {"spec": {"containers": [{"name": "calico-node", "image": "mirror.example:5000/calico/node:v3.0.0"}]}}}});
    api.ok(&Request::patch(node, STRATEGIC, &foreign));
    api.advance(200);
    assert_eq!(images(&mut api, node)[0], "mirror.example:5000/calico/node:v3.31.7");
    // Of a release that nobody knows it does nothing.
    let unknown = json!({"spec": {"template": {"spec": {"containers": [{"name": "tigera-operator", "image": "tigera/operator:v9.9.9"}]}}}});
    api.ok(&Request::patch(operator, STRATEGIC, &unknown));
    api.advance(200);
    assert_eq!(images(&mut api, node)[0], "mirror.example:5000/calico/node:v3.31.7");
}

#[test]
fn agents_of_cilium_write_nodes_endpoints_and_identities() {
    let fixture = r#"
apiVersion: lockgate.dev/v1
kind: Model
include: [cilium]
---
apiVersion: v1
kind: NodeList
items: [{metadata: {name: n1}}, {metadata: {name: n2}}]
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: cilium, namespace: kube-system}
spec:
  selector: {matchLabels: {k8s-app: cilium}}
  template:
    metadata: {labels: {k8s-app: cilium}}
    spec: {hostNetwork: true, containers: [{name: cilium-agent, image: "quay.io/cilium/cilium:v1.16.19"}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: "registry.example/web:v1"}]}
"#;
    let mut api = api(fixture);
    assert_eq!(names(&api.get("/apis/cilium.io/v2/ciliumnodes")), ["n1", "n2"]);
    let pods = names(&api.get("/api/v1/namespaces/shop/pods"));
    let endpoints = api.get("/apis/cilium.io/v2/ciliumendpoints");
    assert_eq!(names(&endpoints), pods, "the agents are in the network of their hosts");
    let identities: Vec<Value> =
        endpoints["items"].as_array().unwrap().iter().map(|item| item["status"]["identity"]["id"].clone()).collect();
    assert!(identities[0].as_i64().is_some() && identities[0] == identities[1], "{identities:?}");
    assert_eq!(names(&api.get("/apis/cilium.io/v2/ciliumidentities")), [identities[0].to_string()]);
    assert_eq!(condition(&api.get("/api/v1/nodes/n1"), "NetworkUnavailable"), "False");
    api.ok(&Request::patch("/apis/apps/v1/namespaces/shop/deployments/web", MERGE, &json!({"spec": {"replicas": 0}})));
    api.advance(60);
    assert_eq!(names(&api.get("/apis/cilium.io/v2/ciliumendpoints")), [""; 0]);
    // A node that goes takes its CiliumNode along.
    api.ok(&Request::delete("/api/v1/nodes/n2"));
    api.advance(60);
    assert_eq!(names(&api.get("/apis/cilium.io/v2/ciliumnodes")), ["n1"]);
}

const HOSTS: &str = r#"
{apiVersion: v1, kind: Node, metadata: {name: n1, labels: {zone: a}}, status: {addresses: [{type: InternalIP, address: 10.0.0.1}]}}
---
{apiVersion: v1, kind: Node, metadata: {name: n2}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: calico-kube-controllers, namespace: kube-system}
spec:
  selector: {matchLabels: {k8s-app: calico-kube-controllers}}
  template:
    metadata: {labels: {k8s-app: calico-kube-controllers}}
    spec: {containers: [{name: calico-kube-controllers, image: "registry.example/kube-controllers:v3.22.5"}]}
---
{apiVersion: crd.projectcalico.org/v1, kind: KubeControllersConfiguration, metadata: {name: default}, spec: {controllers: {node: {hostEndpoint: {autoCreate: Disabled}}}}}
---
{apiVersion: crd.projectcalico.org/v1, kind: HostEndpoint, metadata: {name: own}, spec: {node: n1, interfaceName: "*"}}
---
{apiVersion: lockgate.dev/v1, kind: Model, include: [calico]}
"#;

#[test]
fn calico_makes_host_endpoints_when_it_is_told_to_and_takes_them_away() {
    let mut api = api(HOSTS);
    let heps = "/apis/crd.projectcalico.org/v1/hostendpoints";
    let config = "/apis/crd.projectcalico.org/v1/kubecontrollersconfigurations/default";
    let set = |api: &mut Api, to: &str| {
        let spec = json!({"controllers": {"node": {"hostEndpoint": {"autoCreate": to}}}});
        api.ok(&Request::patch(config, MERGE, &json!({ "spec": spec })));
        api.advance(20);
    };
    api.advance(20);
    assert_eq!(names(&api.get(heps)), ["own"]);
    set(&mut api, "Enabled");
    assert_eq!(names(&api.get(heps)), ["n1-auto-hep", "n2-auto-hep", "own"]);
    let one = api.get(&format!("{heps}/n1-auto-hep"));
    assert_eq!(one["spec"]["expectedIPs"], json!(["10.0.0.1"]));
    assert_eq!(one["metadata"]["labels"]["zone"], "a");
    assert_eq!(one["metadata"]["labels"]["projectcalico.org/created-by"], "calico-kube-controllers");
    api.ok(&Request::patch("/api/v1/nodes/n2", MERGE, &json!({"metadata": {"labels": {"rack": "r1"}}})));
    api.advance(20);
    assert_eq!(api.get(&format!("{heps}/n2-auto-hep"))["metadata"]["labels"]["rack"], "r1");
    api.ok(&Request::delete("/api/v1/nodes/n2"));
    api.advance(20);
    assert_eq!(names(&api.get(heps)), ["n1-auto-hep", "own"]);
    set(&mut api, "Disabled");
    assert_eq!(names(&api.get(heps)), ["own"]);
}

#[test]
fn objects_change_one_after_the_other() {
    let model = r#"
---
apiVersion: lockgate.dev/v1
kind: Model
objects:
- name: mark
  kind: Node
  when: [{path: .metadata.labels.done, absent: true}]
  after: 10s
  in_turn: true
  set: {metadata: {labels: {done: "yes"}}}
  why: a test
"#;
    let nodes = "{apiVersion: v1, kind: Node, metadata: {name: n1}}\n---\n{apiVersion: v1, kind: Node, metadata: {name: n2}}\n---\n{apiVersion: v1, kind: Node, metadata: {name: n3}}\n---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: c}}";
    let mut cluster = Fixture::parse("cluster.yaml", nodes).unwrap().cluster(Options::default()).unwrap();
    cluster.models_mut().extend(serde_saphyr::from_str(model.trim_start_matches("\n---\n")).unwrap());
    let mut api = Api(cluster);
    let marked = |api: &mut Api| names(&api.ok(&Request::get("/api/v1/nodes").with_query("labelSelector", "done"))).len();
    let mut seen = Vec::new();
    for _ in 0..5 {
        api.ok(&Request::get("/api/v1/namespaces/default/configmaps/c"));
        seen.push(marked(&mut api));
        api.advance(10);
    }
    assert_eq!(seen, [0, 1, 2, 3, 3]);
    assert!(wrong(model.replace("  after: 10s\n", "").split("kind: Model\n").nth(1).unwrap()).contains("needs an `after`"));
}
