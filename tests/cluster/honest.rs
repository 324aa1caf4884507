//! Servers that cannot say all that a plan would like to know. Each is a few answers behind a socket.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use lockgate::base::{ObjectRef, Reason};
use lockgate::cluster::{Applying, Cluster, LiveOptions, Options, PatchType, RunId, Select};
use lockgate_sim::json::{Value, json};
use tempfile::TempDir;

use super::support::run;

/// A server that knows these paths and nothing else.
struct Server {
    folder: TempDir,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn new(answers: &[(&str, u16, Value)]) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let folder = TempDir::new().unwrap();
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": format!("http://{}", listener.local_addr().unwrap())}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}], "users": [{"name": "u", "user": {}}],
        });
        std::fs::write(folder.path().join("config"), config.to_string()).unwrap();
        let answers: BTreeMap<String, (u16, String)> =
            answers.iter().map(|(path, code, body)| ((*path).to_owned(), (*code, body.to_string()))).collect();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let record = asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
                    head.push(byte[0]);
                }
                let head = String::from_utf8_lossy(&head).into_owned();
                let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok());
                let mut body = vec![0; length.unwrap_or_default()];
                stream.read_exact(&mut body).ok();
                let mut words = head.split_whitespace();
                let (method, uri) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
                record.lock().unwrap().push(format!("{method} {uri}"));
                let path = uri.split('?').next().unwrap_or_default();
                let none = (404, json!({"kind": "Status", "code": 404, "reason": "NotFound", "message": "not found"}).to_string());
                let (code, body) = answers.get(path).cloned().unwrap_or(none);
                let head = format!(
                    "HTTP/1.1 {code} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    body.len()
                );
                stream.write_all(format!("{head}{body}").as_bytes()).ok();
            }
        });
        Server { folder, asked }
    }

    /// A plan on it.
    async fn plan(&self) -> Cluster {
        let live = LiveOptions { kubeconfig: Some(self.folder.path().join("config")), context: None };
        Cluster::live(live, Options::new(RunId::generate())).await.unwrap().planning()
    }

    /// Everything that was sent to it and is no GET.
    fn written(&self) -> Vec<String> {
        self.asked.lock().unwrap().iter().filter(|line| !line.starts_with("GET ")).cloned().collect()
    }
}

fn map() -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"k": "1"},
        "metadata": {"name": "a", "namespace": "default", "uid": "u", "resourceVersion": "7", "creationTimestamp": "2020-01-01T00:00:00Z"}})
}

const A: &str = "/api/v1/namespaces/default/configmaps/a";

fn resources(version: &str, kind: &str, plural: &str) -> Value {
    json!({"kind": "APIResourceList", "groupVersion": version, "resources": [
        {"name": plural, "singularName": kind.to_lowercase(), "namespaced": true, "kind": kind, "verbs": ["get"]}]})
}

#[test]
fn a_group_that_fails_in_discovery_hides_no_other_and_is_named() {
    run(async {
        let group = |name: &str| {
            let version = json!({"groupVersion": format!("{name}/v1"), "version": "v1"});
            json!({"name": name, "versions": [version.clone()], "preferredVersion": version})
        };
        let failure = json!({"kind": "Status", "code": 404, "reason": "NotFound", "message": "nobody is behind this group"});
        let server = Server::new(&[
            ("/api", 200, json!({"kind": "APIVersions", "versions": []})),
            ("/apis", 200, json!({"kind": "APIGroupList", "groups": [group("broken.example.org"), group("good.example.org")]})),
            ("/apis/broken.example.org/v1", 404, failure),
            ("/apis/good.example.org/v1", 200, resources("good.example.org/v1", "Gadget", "gadgets")),
        ]);
        let plan = server.plan().await;
        assert_eq!(plan.resolve("gadget", None).await.unwrap().plural, "gadgets");
        let error = plan.resolve("thing", None).await.unwrap_err();
        assert_eq!(error.reason, Reason::Usage);
        let told = error.causes.join("\n");
        assert!(told.starts_with("the server does not say what it serves of `broken.example.org/v1`: "), "{told}");
    });
}

#[test]
fn a_server_that_knows_no_dry_run_is_asked_nothing() {
    run(async {
        for version in [json!({"major": "1", "minor": "12+"}), json!({"kind": "Status"})] {
            // It has no OpenAPI either.
            let server = Server::new(&[("/version", 200, version), (A, 200, map())]);
            let plan = server.plan().await;
            let a = plan.target(&ObjectRef::parse("cm/default/a").unwrap(), None).await.unwrap();
            let patched = plan.patch(&a, PatchType::Merge, json!({"data": {"k": "2"}}), None).await.unwrap();
            assert_eq!(patched["data"]["k"], "2");
            assert!(!plan.admitted());
            let told = plan.take_warnings();
            assert!(told.len() == 1 && told[0].contains("cannot be asked about writes"), "{told:?}");
            assert_eq!(server.written(), Vec::<String>::new());
        }
    });
}

#[test]
fn a_kind_that_may_not_be_read_is_named_and_the_plan_goes_on() {
    run(async {
        let forbidden = json!({"kind": "Status", "code": 403, "reason": "Forbidden", "message": "secrets is forbidden: nobody may"});
        let server = Server::new(&[
            ("/version", 200, json!({"major": "1", "minor": "36"})),
            ("/api/v1/namespaces/default/secrets", 403, forbidden),
            (A, 200, map()),
        ]);
        let plan = server.plan().await;
        let secrets = plan.resolve("secrets", None).await.unwrap();
        let error = plan.list(&secrets, Some("default"), &Select::default()).await.unwrap_err();
        assert_eq!(error.reason, Reason::Forbidden);
        let right = "the user needs `list` on `secrets` in namespace `default`";
        assert_eq!(plan.unknowns(), [format!("secrets in namespace `default`: secrets is forbidden: nobody may; {right}")]);
        let a = plan.target(&ObjectRef::parse("cm/default/a").unwrap(), None).await.unwrap();
        assert_eq!(plan.get(&a).await.unwrap()["data"]["k"], "1");
    });
}

const HOOKS: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
const MUTATING: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";

fn hooks(effects: &str) -> Value {
    let rule = json!({"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"], "scope": "*"});
    json!({"kind": "ValidatingWebhookConfigurationList", "metadata": {"resourceVersion": "3"}, "items": [
        {"metadata": {"name": "old"}, "webhooks": [{"name": "old.example", "sideEffects": effects, "rules": [rule]}]}]})
}

fn no_hooks() -> Value {
    json!({"kind": "MutatingWebhookConfigurationList", "metadata": {"resourceVersion": "3"}, "items": []})
}

#[test]
fn webhooks_that_take_no_dry_run_are_named_and_never_reached() {
    run(async {
        for (effects, asked) in [("Unknown", 0), ("Some", 0), ("NoneOnDryRun", 2), ("None", 2)] {
            let server = Server::new(&[
                ("/version", 200, json!({"major": "1", "minor": "36"})),
                (HOOKS, 200, hooks(effects)),
                (MUTATING, 200, no_hooks()),
                (A, 200, map()),
            ]);
            let plan = server.plan().await;
            let a = plan.target(&ObjectRef::parse("cm/default/a").unwrap(), None).await.unwrap();
            for k in ["2", "3"] {
                let patched = plan.patch(&a, PatchType::Merge, json!({"data": {"k": k}}), None).await.unwrap();
                assert_eq!(patched["data"]["k"], if asked == 0 { k } else { "1" }, "what the server would store");
            }
            assert_eq!((server.written().len(), plan.admitted()), (asked, asked > 0), "{effects}: {:?}", server.written());
            assert!(server.written().iter().all(|line| line.contains("dryRun=All")));
            let told = plan.take_warnings();
            if asked > 0 {
                assert_eq!(told, Vec::<String>::new());
                continue;
            }
            let hook = format!("webhook `old.example` of validatingwebhookconfiguration/old (side effects: {effects})");
            assert!(told.len() == 1 && told[0].ends_with(&hook), "once: {told:?}");
            let reads = server.asked.lock().unwrap().iter().filter(|line| line.contains(HOOKS)).count();
            assert_eq!(reads, 1);
        }
    });
}

#[test]
fn what_is_applied_and_not_there_reaches_webhooks_that_hear_of_what_is_new() {
    run(async {
        // What is there is changed: a webhook that hears of new things alone does not hear of it.
        for (operation, exists, asked) in [("CREATE", false, 0), ("UPDATE", false, 2), ("CREATE", true, 2), ("UPDATE", true, 0)] {
            let mut hooks = hooks("Some");
            hooks["items"][0]["webhooks"][0]["rules"][0]["operations"] = json!([operation]);
            let found = if exists { (200, map()) } else { (404, json!({"kind": "Status", "code": 404, "reason": "NotFound"})) };
            let server = Server::new(&[
                ("/version", 200, json!({"major": "1", "minor": "36"})),
                (HOOKS, 200, hooks),
                (MUTATING, 200, no_hooks()),
                ("/api/v1/namespaces/default/configmaps", 201, map()),
                (
                    "/api/v1/namespaces/default",
                    200,
                    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default", "uid": "n", "resourceVersion": "1"}}),
                ),
                (A, found.0, found.1),
            ]);
            let plan = server.plan().await;
            let a = plan.target(&ObjectRef::parse("cm/default/a").unwrap(), None).await.unwrap();
            let wanted =
                json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "default"}, "data": {"k": "2"}});
            plan.apply(&a, wanted, Applying { force: true, ..Applying::default() }).await.unwrap();
            // What only the plan has is put to the server as something new once more.
            plan.patch(&a, PatchType::Merge, json!({"data": {"k": "3"}}), None).await.unwrap();
            let written = server.written();
            assert_eq!(written.iter().filter(|line| line.contains("configmaps")).count(), asked, "{operation} {exists}: {written:?}");
            assert!(written.iter().all(|line| line.contains("dryRun=All")), "{written:?}");
            let told = plan.take_warnings();
            assert_eq!(told.iter().filter(|told| told.contains("webhook `old.example`")).count(), usize::from(asked == 0), "{told:?}");
        }
    });
}

#[test]
fn only_what_the_server_says_can_be_tried_is_asked() {
    run(async {
        let document = |parameters: Value| json!({"openapi": "3.0.0", "paths": {"/api/v1/namespaces/{namespace}/configmaps/{name}": {"patch": {"parameters": parameters}}}});
        let dry = json!([{"in": "query", "name": "dryRun"}]);
        let cases = [(200, document(dry), 1), (200, document(json!([])), 0), (404, json!({"kind": "Status"}), 1), (200, json!([]), 1)];
        for (code, document, asked) in cases {
            let server = Server::new(&[
                ("/version", 200, json!({"major": "1", "minor": "36"})),
                ("/openapi/v3/api/v1", code, document),
                (HOOKS, 200, hooks("None")),
                (MUTATING, 200, no_hooks()),
                (A, 200, map()),
            ]);
            let plan = server.plan().await;
            let a = plan.target(&ObjectRef::parse("cm/default/a").unwrap(), None).await.unwrap();
            plan.patch(&a, PatchType::Merge, json!({"data": {"k": "2"}}), None).await.unwrap();
            assert_eq!((server.written().len(), plan.admitted()), (asked, asked > 0));
            let told = plan.take_warnings();
            let words = "not asked: the server does not say that `patch` of `configmaps` can be tried (`dryRun`)";
            assert_eq!(told, if asked > 0 { Vec::new() } else { vec![words.to_owned()] });
        }
    });
}

#[test]
fn configurations_of_webhooks_that_may_not_be_read_are_named_with_the_right() {
    run(async {
        let forbidden = json!({"kind": "Status", "code": 403, "reason": "Forbidden", "message": "User \"u\" cannot list resource"});
        let server = Server::new(&[
            ("/version", 200, json!({"major": "1", "minor": "36"})),
            (HOOKS, 403, forbidden),
            (MUTATING, 200, no_hooks()),
            (A, 200, map()),
        ]);
        let plan = server.plan().await;
        let a = plan.target(&ObjectRef::parse("cm/default/a").unwrap(), None).await.unwrap();
        plan.patch(&a, PatchType::Merge, json!({"data": {"k": "2"}}), None).await.unwrap();
        assert_eq!(server.written().len(), 1, "the server itself refuses a dry run that would reach one");
        let told = plan.take_warnings();
        let right =
            "the user needs `list` on `validatingwebhookconfigurations` of group `admissionregistration.k8s.io` in the whole cluster";
        assert!(told.len() == 1 && told[0].ends_with(right), "{told:?}");
        assert_eq!(plan.unknowns(), Vec::<String>::new());
    });
}

#[test]
fn a_definition_without_a_schema_takes_what_it_is_given() {
    run(async {
        let definition = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "gears.old.example.org"},
            "spec": {"group": "old.example.org", "scope": "Namespaced", "preserveUnknownFields": true,
                "names": {"kind": "Gear", "listKind": "GearList", "plural": "gears", "singular": "gear"},
                "versions": [{"name": "v1", "served": true, "storage": true}]},
            "status": {"acceptedNames": {"kind": "Gear", "plural": "gears"}, "storedVersions": ["v1"], "conditions": [
                {"type": "NamesAccepted", "status": "True"}, {"type": "Established", "status": "True"}]},
        });
        let group = json!({"groupVersion": "old.example.org/v1", "version": "v1"});
        let gear = json!({"apiVersion": "old.example.org/v1", "kind": "Gear", "spec": {"teeth": 3, "other": {"a": [1]}},
            "metadata": {"name": "g", "namespace": "default", "uid": "u", "resourceVersion": "9", "creationTimestamp": "2020-01-01T00:00:00Z"}});
        let server = Server::new(&[
            ("/version", 200, json!({"major": "1", "minor": "12"})),
            ("/api", 200, json!({"kind": "APIVersions", "versions": []})),
            (
                "/apis",
                200,
                json!({"kind": "APIGroupList", "groups": [
                {"name": "old.example.org", "versions": [group.clone()], "preferredVersion": group}]}),
            ),
            ("/apis/old.example.org/v1", 200, resources("old.example.org/v1", "Gear", "gears")),
            ("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/gears.old.example.org", 200, definition),
            ("/apis/old.example.org/v1/namespaces/default/gears/g", 200, gear),
        ]);
        let plan = server.plan().await;
        let g = plan.target(&ObjectRef::parse("gear/default/g").unwrap(), None).await.unwrap();
        let patched = plan.patch(&g, PatchType::Merge, json!({"spec": {"teeth": "many", "new": true}}), None).await.unwrap();
        assert_eq!(patched["spec"], json!({"teeth": "many", "other": {"a": [1]}, "new": true}));
        assert_eq!(server.written(), Vec::<String>::new());
    });
}
