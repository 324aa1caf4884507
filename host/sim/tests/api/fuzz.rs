//! Whatever is sent: an answer, never a panic, and a cluster that is whole afterwards.
//!
//! Each case takes a stretch of the requests that a real server was asked, spoils them, sends them, and lets time pass.
//! `PROPTEST_CASES` says how many cases; `cargo test` makes a few hundred of them.

mod spoil;

use std::sync::OnceLock;

use lockgate_sim::fixture::Fixture;
use lockgate_sim::json::{Map, Value, json};
use lockgate_sim::kinds::{self, Kind};
use lockgate_sim::{Body, Cluster, Method, Options, Request, Response};
use proptest::prelude::*;

use super::replay;
use super::support::{DEPLOYMENTS, JSON_PATCH, MAPS, MERGE, NOWHERE, PODS, text};
use spoil::Spoil;

const CLUSTER: &str = r#"
apiVersion: v1
kind: Node
metadata: {name: n1}
---
apiVersion: v1
kind: Node
metadata: {name: n2}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: x}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: "registry.example/web:v1"}]}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent, namespace: x}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec: {containers: [{name: agent, image: "registry.example/agent:v1"}]}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web, namespace: x}
spec: {minAvailable: 1, selector: {matchLabels: {app: web}}}
---
apiVersion: v1
kind: Pod
metadata: {name: lone, namespace: x}
spec: {containers: [{name: a, image: "registry.example/a:v1"}]}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gears.alpha.example}
spec:
  group: alpha.example
  names: {plural: gears, kind: Gear}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}, scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas}}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            properties: {replicas: {type: integer, default: 1}, size: {type: string, maxLength: 20}}
          status: {type: object, x-kubernetes-preserve-unknown-fields: true}
---
apiVersion: alpha.example/v1
kind: Gear
metadata: {name: g, namespace: x}
spec: {size: large}
---
apiVersion: lockgate.dev/v1
kind: Model
exec: [{match: {}, answer: {stdout: ok}, why: a test}]
logs: [{match: {}, answer: {text: "one\ntwo\n"}, why: a test}]
"#;

/// A cluster with the namespaces of every request.
fn cluster() -> Cluster {
    static READY: OnceLock<std::sync::Mutex<Cluster>> = OnceLock::new();
    let ready = READY.get_or_init(|| {
        let mut cluster = Fixture::parse("cluster.yaml", CLUSTER).unwrap().cluster(Options::default()).unwrap();
        cluster.furnish();
        let paths = corpus().iter().map(|request| request.path.clone());
        let namespaces = paths.filter_map(|path| path.split("/namespaces/").nth(1)?.split('/').next().map(str::to_owned));
        for name in namespaces.collect::<std::collections::BTreeSet<_>>() {
            cluster.handle(&Request::post("/api/v1/namespaces", &json!({"metadata": {"name": name}})));
        }
        cluster.into()
    });
    ready.lock().unwrap_or_else(std::sync::PoisonError::into_inner).fork()
}

/// What a real server was asked for the other tests, and what none of them asks.
fn corpus() -> &'static [Request] {
    static CORPUS: OnceLock<Vec<Request>> = OnceLock::new();
    CORPUS.get_or_init(|| {
        let files = [
            include_str!("recorded.json"),
            include_str!("data.json"),
            include_str!("strict.json"),
            include_str!("apply.json"),
            include_str!("crd.json"),
            include_str!("workloads.json"),
            include_str!("eviction.json"),
            include_str!("access.json"),
        ];
        let rows = files.iter().flat_map(|file| serde_json::from_str::<Vec<Value>>(file).unwrap());
        let rows = rows.filter(|row| row.get("method").is_some()).map(|row| replay::request(&row));
        let protobuf: Vec<Value> = serde_json::from_str(include_str!("protobuf.json")).unwrap();
        rows.chain(protobuf.iter().map(super::protobuf::request)).chain(own()).collect()
    })
}

/// Requests about what is in the cluster from the start.
fn own() -> Vec<Request> {
    let gear = "/apis/alpha.example/v1/namespaces/x/gears/g";
    let web = format!("{DEPLOYMENTS}/web");
    let lone = format!("{PODS}/lone");
    let get = |path: String| Request::get(&path);
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    let scale = json!({"spec": {"replicas": 3}});
    let template = json!({"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "b:2"}]}}}});
    let operations =
        json!([{"op": "copy", "from": "/metadata", "path": "/spec/template/metadata/annotations"}, {"op": "test", "path": "", "value": 1}]);
    vec![
        Request::patch(&web, MERGE, &scale),
        Request::patch(&web, "application/strategic-merge-patch+json", &template),
        Request::patch(&web, JSON_PATCH, &operations),
        Request::patch(&format!("{web}/scale"), MERGE, &scale),
        Request::patch(&format!("{gear}/scale"), MERGE, &scale),
        Request::patch(&format!("{web}?fieldManager=me&force=true"), "application/apply-patch+yaml", &template),
        Request::patch(gear, MERGE, &json!({"spec": {"size": "small"}})),
        Request::patch(&format!("{gear}/status"), MERGE, &json!({"status": {"a": [1, 2, {"b": null}]}})),
        Request::patch("/api/v1/nodes/n1", MERGE, &json!({"spec": {"unschedulable": true}})),
        Request::patch("/api/v1/nodes/n1/status", MERGE, &json!({"status": {"allocatable": {"cpu": "2", "memory": "1Ki"}}})),
        Request::put(&web, &template),
        Request::delete(&format!("{PODS}?labelSelector=app%20in%20(web)")),
        Request::delete("/api/v1/nodes/n2"),
        Request::delete("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/gears.alpha.example"),
        Request::post(&format!("{lone}/eviction"), &json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "lone"}})),
        Request::post(&format!("{lone}/binding"), &json!({"target": {"kind": "Node", "name": "n1"}})),
        get(format!("{lone}/exec?command=a&stdout=true")).with_upgrade("websocket"),
        get(format!("{lone}/log?tailLines=1&timestamps=true&limitBytes=3")),
        get(format!("{PODS}?watch=true&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan")),
        get(format!("{MAPS}?limit=1&labelSelector=a!=b,c")),
        get(format!("{PODS}?fieldSelector=spec.nodeName=n1,metadata.name!=x")).with_accept(table),
        get("/openapi/v3/apis/apps/v1?hash=0".to_owned()),
        get("/apis".to_owned()).with_accept("application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"),
    ]
}

/// Sends a request and holds the answer to the promises of the API.
fn ask(cluster: &mut Cluster, request: &Request) -> Response {
    let response = cluster.handle(request);
    let told = || format!("{} {} {:?}: {response:?}", request.method.as_str(), request.path, String::from_utf8_lossy(&request.body));
    let answered = match &response.body {
        Body::Json(value) if response.status >= 400 => {
            let status = (text(&value["kind"]), text(&value["status"]), value["code"].as_u64(), text(&value["message"]).is_empty());
            status == ("Status".to_owned(), "Failure".to_owned(), Some(response.status.into()), false)
        }
        Body::Json(value) => value["kind"].is_string() || ["/version", "/openapi"].iter().any(|path| request.path.starts_with(path)),
        // Of a document that there is not the server says nothing at all.
        Body::Text(text) => response.status == 200 || (response.status == 404 && (text == NOWHERE || request.path.contains("openapi"))),
        Body::Watch(_) | Body::Log(_) => response.status == 200,
        Body::Exec(_) => response.status == 101,
    };
    assert!(answered && (101..600).contains(&response.status), "{}", told());
    // Nothing is wrong with the server itself, but for what a real one takes for its own fault: a patch or an apply that does not fit
    // (their texts are compared elsewhere), a binding without a target, two budgets for one pod, and two opinions about a rehearsal.
    let known = request.method == Method::Patch
        && response.value().is_some_and(|status| !text(&status["message"]).starts_with("simulator"))
        || request.path.contains("/binding")
        || response.value().is_some_and(|status| {
            let message = text(&status["message"]);
            message.contains("more than one PodDisruptionBudget") || message.starts_with("Non-matching dry-run options")
        });
    assert!(response.status != 500 || known, "{}", told());
    if let Body::Watch(id) = response.body {
        for _ in 0..5 {
            cluster.poll_watch(id);
        }
    }
    response
}

/// Every object can be listed, and be read by its name as it is listed.
fn check(cluster: &mut Cluster) {
    assert_eq!(cluster.failure(), None);
    for kind in kinds::ALL.iter().copied().filter(|kind| !kinds::REVIEWS.contains(kind)) {
        check_kind(cluster, &root(kind), kind.plural, kind.namespaced);
    }
    if cluster.handle(&Request::get("/apis/alpha.example/v1/gears")).status != 404 {
        check_kind(cluster, "/apis/alpha.example/v1", "gears", true);
    }
}

fn check_kind(cluster: &mut Cluster, root: &str, plural: &str, namespaced: bool) {
    let list = ask(cluster, &Request::get(&format!("{root}/{plural}")));
    assert_eq!(list.status, 200, "{plural}: {list:?}");
    let items = list.value().and_then(|list| list["items"].as_array()).unwrap().clone();
    let mut seen = std::collections::BTreeSet::new();
    for item in &items {
        let meta = &item["metadata"];
        let named = ["name", "uid", "resourceVersion", "creationTimestamp"].iter().all(|field| !text(&meta[*field]).is_empty());
        assert!(named && seen.insert((text(&meta["namespace"]), text(&meta["name"]))), "{item}");
        assert_eq!(namespaced, !text(&meta["namespace"]).is_empty(), "{item}");
    }
    let Some(item) = items.last() else { return };
    let meta = &item["metadata"];
    let namespace = if namespaced { format!("/namespaces/{}", text(&meta["namespace"])) } else { String::new() };
    let mut read = ask(cluster, &Request::get(&format!("{root}{namespace}/{plural}/{}", text(&meta["name"])))).value().unwrap().clone();
    let mut listed = item.clone();
    for object in [&mut read, &mut listed] {
        object.as_object_mut().into_iter().for_each(untyped);
    }
    assert_eq!(read, listed);
}

fn untyped(object: &mut Map) {
    object.remove("kind");
    object.remove("apiVersion");
}

fn root(kind: &Kind) -> String {
    if kind.group.is_empty() { format!("/api/{}", kind.version) } else { format!("/apis/{}/{}", kind.group, kind.version) }
}

/// What may be seen of a case that fails: the requests themselves.
#[derive(Debug, Clone)]
struct Case {
    start: usize,
    spoils: Vec<Spoil>,
}

fn case() -> impl Strategy<Value = Case> {
    (0..corpus().len(), prop::collection::vec(spoil::spoil(), 1..12)).prop_map(|(start, spoils)| Case { start, spoils })
}

fn cases(few: u32) -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(few)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(250), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn spoilt_requests_are_answered_and_harm_nothing(case in case()) {
        let mut cluster = cluster();
        for (request, spoil) in corpus().iter().cycle().skip(case.start).zip(&case.spoils) {
            for request in spoil.apply(request) {
                ask(&mut cluster, &request);
            }
        }
        check(&mut cluster);
        // What was let in is worked on.
        for _ in 0..30 {
            let Some(at) = cluster.next_event_at() else { break };
            cluster.advance_to(at);
        }
        check(&mut cluster);
    }

    #[test]
    fn arbitrary_requests_are_answered(
        method in prop::sample::select(vec![Method::Get, Method::Post, Method::Put, Method::Patch, Method::Delete]),
        path in prop_oneof!["/[ -~]{0,40}", "(/(api|apis|v1|apps|pods|x|namespaces|watch|web|scale|status|\\PC)){0,9}", "\\PC{0,20}"],
        query in prop::collection::vec(("[a-zA-Z]{0,20}", "\\PC{0,12}"), 0..4),
        kinds in ("[ -~]{0,30}", "[ -~]{0,30}"),
        body in prop::collection::vec(any::<u8>(), 0..80),
    ) {
        let mut cluster = cluster();
        let request = Request { method, path, query, content_type: kinds.0, accept: kinds.1, body, ..Request::get("/") };
        ask(&mut cluster, &request);
        check(&mut cluster);
    }
}

#[test]
fn a_body_may_be_deep_and_a_patch_may_not_make_it_deeper_for_ever() {
    let mut cluster = cluster();
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        for content in ["application/json", "application/yaml", MERGE, JSON_PATCH, "application/apply-patch+yaml"] {
            let body = format!("{{\"data\":{}1{}}}", open.repeat(100_000), close.repeat(100_000)).into_bytes();
            for method in [Method::Post, Method::Patch] {
                let path = if method == Method::Post { MAPS.to_owned() } else { format!("{DEPLOYMENTS}/web?fieldManager=a") };
                let request = Request { content_type: content.to_owned(), body: body.clone(), ..Request::new(method, &path) };
                assert!(ask(&mut cluster, &request).status >= 400);
            }
        }
    }
    // Each copy makes the object twice as large.
    let gear = "/apis/alpha.example/v1/namespaces/x/gears/g";
    for count in [25, 200, 5_000] {
        let copies = (0..count).map(|at| json!({"op": "copy", "from": "/spec", "path": format!("/spec/a{at}")}));
        assert_eq!(ask(&mut cluster, &Request::patch(gear, JSON_PATCH, &copies.collect())).status, 422, "{count}");
    }
    // Each pair of moves puts one level more around what was there.
    let wrap = [
        json!({"op": "add", "path": "/t", "value": {}}),
        json!({"op": "move", "from": "/spec", "path": "/t/a"}),
        json!({"op": "move", "from": "/t", "path": "/spec"}),
    ];
    let wraps: Vec<Value> = wrap.iter().cycle().take(9_000).cloned().collect();
    assert_eq!(ask(&mut cluster, &Request::patch(gear, JSON_PATCH, &wraps.into())).status, 422);
    check(&mut cluster);
}
