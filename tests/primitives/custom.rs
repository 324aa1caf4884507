//! `scale` of custom resources, which only the server's discovery knows: against a small API server on loopback.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use lockgate::base::{Error, Kind, Reason, Result};
use lockgate::cluster::{Access, Cluster, LiveOptions, Options, RunId, Verb};
use lockgate::primitives::{Arguments, Cx, Done, find};
use lockgate_sim::json::{Value as Json, json};
use lockgate_sim::request::Request;

use super::support::{Operator, Rig, arg, changes};

/// The group of the server's only custom kind, `widgets`.
const GROUP: &str = "shop.example.com";
const WIDGET: &str = "/apis/shop.example.com/v1/namespaces/default/widgets";

/// What the server is like.
#[derive(Clone, Copy)]
struct Served {
    /// Whether it answers discovery in the aggregated form.
    aggregated: bool,
    /// Whether widgets have a `scale` subresource.
    scale: bool,
    /// The labels of `status.selector`.
    selector: &'static str,
    /// How many bytes its discovery has beside what is wanted.
    padding: usize,
}

const SERVED: Served = Served { aggregated: true, scale: true, selector: "app=w", padding: 0 };

/// The widget `w`, and what was asked.
struct State {
    replicas: i64,
    version: u64,
    /// Somebody else's number, written just before the first patch arrives.
    meddler: Option<i64>,
    asked: Vec<String>,
}

struct Server {
    served: Served,
    state: Mutex<State>,
    /// Rings when the number was changed: the pods are gone then.
    scaled: Condvar,
}

impl Server {
    fn start(served: Served, meddler: Option<i64>) -> (Arc<Server>, String) {
        let state = State { replicas: 2, version: 7, meddler, asked: Vec::new() };
        let server = Arc::new(Server { served, state: Mutex::new(state), scaled: Condvar::new() });
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let this = server.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let this = this.clone();
                thread::spawn(move || this.answer(stream.unwrap()));
            }
        });
        (server, address)
    }

    /// One request, one connection. What the client no longer wants to hear is not written.
    fn answer(&self, stream: TcpStream) {
        let mut reader = BufReader::new(stream);
        let (mut head, mut line) = (String::new(), String::new());
        while reader.read_line(&mut line).is_ok_and(|length| length > 2) {
            head.push_str(&line.to_lowercase());
            line.clear();
        }
        let mut words = head.split_whitespace();
        let (Some(method), Some(target)) = (words.next(), words.next()) else { return };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:")).map_or(0, |value| value.trim().parse().unwrap());
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let stream = reader.into_inner();
        if query.contains("watch=") {
            self.watch(stream, path);
            return;
        }
        let (code, document) = self.document(method, path, &body);
        let text = document.to_string();
        let head =
            format!("HTTP/1.1 {code} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", text.len());
        (&stream).write_all(format!("{head}{text}").as_bytes()).ok();
    }

    fn document(&self, method: &str, path: &str, body: &[u8]) -> (u16, Json) {
        let mut state = self.state.lock().unwrap();
        state.asked.push(format!("{method} {path}"));
        let empty = json!({ "kind": "List", "metadata": { "resourceVersion": "7" }, "items": [] });
        let scale = format!("{WIDGET}/w/scale");
        match (method, path) {
            ("get", "/api") => (200, json!({ "kind": "APIVersions", "versions": [] })),
            ("get", "/apis" | "/apis/shop.example.com/v1") => (200, self.discovery(path)),
            ("get", path) if path == scale => (200, self.scale(&state)),
            ("patch", path) if path == scale => {
                if let Some(number) = state.meddler.take() {
                    (state.replicas, state.version) = (number, state.version + 1);
                }
                let change: Json = serde_json::from_slice(body).unwrap();
                if change["metadata"]["resourceVersion"].as_str() != Some(state.version.to_string().as_str()) {
                    let status =
                        json!({ "kind": "Status", "code": 409, "reason": "Conflict", "message": "modified", "details": { "name": "w" } });
                    return (409, status);
                }
                (state.replicas, state.version) = (change["spec"]["replicas"].as_i64().unwrap(), state.version + 1);
                self.scaled.notify_all();
                (200, self.scale(&state))
            }
            ("get", WIDGET) => {
                let mut list = empty;
                list["items"] = json!([widget(7)]);
                (200, list)
            }
            ("get", "/api/v1/namespaces/default/pods") => {
                let mut list = empty;
                list["items"] = json!([pod("w-1"), pod("w-2")]);
                (200, list)
            }
            ("get", "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers") => (200, empty),
            _ => (
                404,
                json!({ "kind": "Status", "code": 404, "reason": "NotFound", "message": format!("no {path}"), "details": { "name": "x" } }),
            ),
        }
    }

    fn discovery(&self, path: &str) -> Json {
        let Served { aggregated, scale, padding, .. } = self.served;
        let subresources = if scale { json!([{ "subresource": "scale" }]) } else { json!([]) };
        if aggregated {
            return json!({ "kind": "APIGroupDiscoveryList", "padding": " ".repeat(padding), "items": [{ "metadata": { "name": GROUP }, "versions": [{ "version": "v1",
                "resources": [{ "resource": "widgets", "scope": "Namespaced", "singularResource": "widget",
                    "responseKind": { "group": GROUP, "version": "v1", "kind": "Widget" }, "subresources": subresources }] }] }] });
        }
        let version = format!("{GROUP}/v1");
        if path == "/apis" {
            let version = json!({ "groupVersion": version });
            return json!({ "kind": "APIGroupList", "groups": [{ "name": GROUP, "preferredVersion": version, "versions": [version] }] });
        }
        let mut resources = vec![json!({ "name": "widgets", "singularName": "widget", "kind": "Widget", "namespaced": true })];
        if scale {
            resources
                .push(json!({ "name": "widgets/scale", "group": "autoscaling", "version": "v1", "kind": "Scale", "namespaced": true }));
        }
        json!({ "kind": "APIResourceList", "groupVersion": version, "resources": resources })
    }

    /// The `Scale` as servers write it: a number that is 0 is left out. Its pods count until the patch.
    fn scale(&self, state: &State) -> Json {
        let meta = json!({ "name": "w", "namespace": "default", "uid": "u-w", "resourceVersion": state.version.to_string() });
        let spec = if state.replicas == 0 { json!({}) } else { json!({ "replicas": state.replicas }) };
        let status = json!({ "replicas": state.replicas, "selector": self.served.selector });
        json!({ "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": meta, "spec": spec, "status": status })
    }

    /// Nothing until the number is changed; then both pods go.
    fn watch(&self, mut stream: TcpStream, path: &str) {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n").ok();
        let state = self.scaled.wait_while(self.state.lock().unwrap(), |state| state.replicas == 2).unwrap();
        let events = match path {
            WIDGET => vec![json!({ "type": "MODIFIED", "object": widget(state.version) })],
            _ => ["w-1", "w-2"].map(|name| json!({ "type": "DELETED", "object": pod(name) })).to_vec(),
        };
        drop(state);
        let lines: String = events.iter().map(|event| format!("{event}\n")).collect();
        stream.write_all(lines.as_bytes()).ok();
        // Open for as long as the client wants.
        stream.read_exact(&mut [0]).ok();
    }

    fn asked(&self, word: &str) -> usize {
        self.state.lock().unwrap().asked.iter().filter(|asked| asked.starts_with(word)).count()
    }
}

fn widget(version: u64) -> Json {
    let meta = json!({ "name": "w", "namespace": "default", "uid": "u-w", "resourceVersion": version.to_string() });
    json!({ "kind": "Widget", "apiVersion": "shop.example.com/v1", "metadata": meta, "spec": { "size": 2 } })
}

fn pod(name: &str) -> Json {
    let meta = json!({ "name": name, "namespace": "default", "uid": name, "resourceVersion": "7", "deletionTimestamp": "2001-02-03T04:05:06Z",
                       "labels": { "app": "w" } });
    json!({ "kind": "Pod", "apiVersion": "v1", "metadata": meta, "spec": { "nodeName": "n1" }, "status": { "phase": "Running" } })
}

/// A call against a server like this.
fn call(address: &str, verb: &str, positional: &[Json], options: &Json) -> Result<Done, Error> {
    call_on(address, |live| live, verb, positional, options)
}

/// The same on what is made of the live cluster.
fn call_on(address: &str, of: impl FnOnce(Cluster) -> Cluster, verb: &str, positional: &[Json], options: &Json) -> Result<Done, Error> {
    let folder = tempfile::TempDir::new().unwrap();
    let kubeconfig = folder.path().join("config");
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{{name: c, cluster: {{server: '{address}'}}}}]\n\
         contexts: [{{name: c, context: {{cluster: c, user: u}}}}]\nusers: [{{name: u, user: {{}}}}]\n"
    );
    std::fs::write(&kubeconfig, text).unwrap();
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let live = LiveOptions { kubeconfig: Some(kubeconfig), context: None };
        let cluster = Cluster::live(live, Options::new(RunId::generate())).await.unwrap();
        cluster.set_access(Access::ReadWrite);
        let cx = Cx { cluster: of(cluster), talk: Rc::new(Operator::default()) };
        let options = options.as_object().into_iter().flatten().map(|(key, value)| (key.to_string(), arg(value.clone()))).collect();
        let call = find(verb).unwrap().call.unwrap();
        call(cx, Arguments { positional: positional.iter().cloned().map(arg).collect(), options }).await
    })
}

#[test]
fn what_discovery_lists_is_scaled_through_its_subresource() {
    for aggregated in [true, false] {
        let (server, address) = Server::start(Served { aggregated, ..SERVED }, None);
        let done = call(&address, "scale", &[json!("widget/w"), json!(0)], &json!({ "wait": "gone" })).unwrap();
        assert_eq!(done.value.clone().into_json(), json!({ "changed": true, "previous": 2, "replicas": 0 }));
        assert_eq!(changes(&done), ["spec.replicas 2 -> 0"]);
        assert_eq!((server.asked("patch"), server.state.lock().unwrap().replicas), (1, 0));
        let again = call(&address, "scale", &[json!("widgets.shop.example.com/w"), json!(0)], &json!({})).unwrap();
        assert_eq!(again.value.into_json(), json!({ "changed": false, "previous": 0, "replicas": 0 }), "0 is left out of a `Scale`");
        assert_eq!(server.asked("patch"), 1);
    }
}

#[test]
fn a_conflict_there_is_looked_at_again_too() {
    let (server, address) = Server::start(SERVED, Some(5));
    let done = call(&address, "scale", &[json!("widget/w"), json!(1)], &json!({})).unwrap();
    assert_eq!(done.value.into_json(), json!({ "changed": true, "previous": 5, "replicas": 1 }));
    assert_eq!((server.asked("patch"), server.asked(&format!("get {WIDGET}/w/scale"))), (2, 2));
}

#[test]
fn what_discovery_does_not_list_is_refused_by_name() {
    let (server, address) = Server::start(Served { scale: false, ..SERVED }, None);
    let error = call(&address, "scale", &[json!("widget/w"), json!(0)], &json!({})).unwrap_err();
    assert_eq!((error.kind, error.reason), (Kind::Input, Reason::Unsupported));
    assert_eq!(error.message, "scaling `widget/w`: the server serves no `widgets.shop.example.com/scale`");
    assert!(error.hint.as_deref().is_some_and(|hint| hint.contains("`scale` subresource")), "{error:?}");
    assert_eq!(server.asked("patch"), 0);
}

#[test]
fn pods_that_nothing_finds_are_not_waited_for_and_nothing_is_written() {
    let (server, address) = Server::start(Served { selector: "", ..SERVED }, None);
    let error = call(&address, "scale", &[json!("widget/w"), json!(0)], &json!({ "wait": "gone" })).unwrap_err();
    assert_eq!((error.kind, error.reason), (Kind::Input, Reason::Unsupported));
    assert_eq!(error.message, "scaling `widget/w`: its `scale` says no labels by which its pods are found");
    assert_eq!(server.asked("patch"), 0);
    call(&address, "scale", &[json!("widget/w"), json!(0)], &json!({})).unwrap();
    assert_eq!(server.asked("patch"), 1);
}

#[test]
fn a_plan_reads_the_scale_and_says_that_it_cannot_model_the_write() {
    // So large that it comes in pieces: virtual time must not pass between them.
    let (server, address) = Server::start(Served { padding: 8 << 20, ..SERVED }, None);
    let plan = |live: Cluster| live.planning();
    let same = call_on(&address, plan, "scale", &[json!("widget/w"), json!(2)], &json!({})).unwrap();
    assert_eq!(same.value.into_json()["previous"], 2);
    let error = call_on(&address, plan, "scale", &[json!("widget/w"), json!(0)], &json!({})).unwrap_err();
    assert_eq!((error.kind, error.reason), (Kind::Cluster, Reason::Unmodelled), "{error:?}");
    assert!(error.message.starts_with("patching `widget/w`"), "{error}");
    assert_eq!(server.asked("patch"), 0);
}

#[test]
fn a_kind_that_the_cluster_does_not_have_is_told() {
    let error = super::support::Rig::new().error("scale", json!(["widgets.shop.example.com/w", 0]), json!({}));
    assert_eq!((error.kind, error.reason), (Kind::Input, Reason::Usage));
    assert_eq!(error.message, "the cluster has no kind `widgets.shop.example.com`");
}

/// On the simulated cluster, which keeps custom resources by their definitions and plays no operator.
#[test]
fn the_simulated_cluster_scales_custom_resources_by_their_definition() {
    let scale = json!({ "specReplicasPath": ".spec.size", "statusReplicasPath": ".status.size", "labelSelectorPath": ".status.labels" });
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": { "name": "widgets.shop.example.com" },
        "spec": {
            "group": GROUP, "scope": "Namespaced", "names": { "kind": "Widget", "plural": "widgets", "singular": "widget" },
            "versions": [{
                "name": "v1", "served": true, "storage": true, "subresources": { "status": {}, "scale": scale },
                "schema": { "openAPIV3Schema": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } },
            }],
        },
    });
    let object = json!({ "apiVersion": "shop.example.com/v1", "kind": "Widget", "metadata": { "name": "w" }, "spec": { "size": 2 } });
    let rig = Rig::new();
    rig.call("apply", json!([[definition, object]]), json!({})).unwrap();
    let said = json!({ "status": { "size": 2, "labels": "app=web" } });
    rig.sim(|sim| {
        let path = "/apis/shop.example.com/v1/namespaces/default/widgets/w/status";
        assert_eq!(sim.handle(&Request::patch(path, "application/merge-patch+json", &said)).status, 200);
    });
    let writes = rig.writes();
    let done = rig.call("scale", json!(["widget/w", 5]), json!({})).unwrap();
    assert_eq!(done.value.clone().into_json(), json!({ "changed": true, "previous": 2, "replicas": 5 }));
    assert_eq!(changes(&done), ["spec.replicas 2 -> 5"]);
    assert_eq!((&rig.object("widget/w")["spec"]["size"], rig.writes() - writes), (&json!(5), 1));
    let request = rig.cluster.requests().into_iter().rfind(|request| request.verb == Verb::Patch).unwrap();
    assert_eq!((request.resource.as_str(), request.subresource.as_deref()), ("widgets.shop.example.com", Some("scale")));
    assert_eq!(rig.value("scale", json!(["widget/w", 5]), json!({}))["changed"], false);
    rig.undo(&done);
    assert_eq!(rig.object("widget/w")["spec"]["size"], 2);
    // Its pods are those that its status names, and they do not go as long as nobody makes them.
    let error = rig.error("scale", json!(["widget/w", 0]), json!({ "wait": "gone", "stall": "1m" }));
    assert_eq!((error.kind, error.reason), (Kind::Stuck, Reason::Stalled), "{error}");
    assert_eq!(rig.object("widget/w")["spec"]["size"], 0, "it was asked for all the same");
}
