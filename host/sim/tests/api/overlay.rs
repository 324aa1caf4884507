//! A cluster that knows only what was loaded, and copies of clusters.

use lockgate_sim::json::{Value, json};
use lockgate_sim::{Cluster, Options, Part, Request, Scope, kinds};

use crate::support::{Api, DEPLOYMENTS, MAPS, MERGE, names};

fn partial() -> Api {
    Api(Cluster::new(Options { partial: true, ..Options::default() }))
}

fn scope(kind: &'static lockgate_sim::kinds::Kind, namespace: Option<&str>) -> Scope {
    Scope::all(kind, namespace)
}

fn live(name: &str, version: u64) -> Value {
    json!({"metadata": {"name": name, "namespace": "x", "uid": format!("uid-{name}"), "resourceVersion": version.to_string(),
        "creationTimestamp": "2000-01-01T00:00:00Z", "managedFields": [{"manager": "m"}]}, "data": {"a": "live"}})
}

#[test]
fn loaded_objects_keep_their_identity() {
    let mut api = partial();
    let request = Request::get(&format!("{MAPS}/a"));
    let wanted = scope(kinds::CONFIG_MAP, Some("x"));
    assert_eq!(api.0.scopes(&request), [Scope::named(kinds::CONFIG_MAP, Some("x"), "a")]);
    assert_eq!(api.0.scopes(&Request::get(MAPS)), std::slice::from_ref(&wanted));
    assert!(!api.0.is_loaded(&wanted));
    api.0.load(wanted.clone(), vec![live("a", 500), live("b", 400)]);
    assert!(api.0.is_loaded(&wanted));
    assert!(!api.0.is_loaded(&scope(kinds::CONFIG_MAP, Some("y"))));
    let a = api.get(&format!("{MAPS}/a"));
    assert_eq!(
        (&a["kind"], &a["metadata"]["uid"], &a["metadata"]["resourceVersion"]),
        (&json!("ConfigMap"), &json!("uid-a"), &json!("500"))
    );
    assert_eq!(a["metadata"]["managedFields"], json!([{"manager": "m"}]), "an apply must know who owns what");
    let changed = api.patch(&format!("{MAPS}/b"), &json!({"data": {"a": "here"}}));
    assert_eq!(changed["metadata"]["resourceVersion"], "501");
}

#[test]
fn what_was_changed_here_survives_a_wider_load() {
    let mut api = partial();
    api.0.load(scope(kinds::CONFIG_MAP, Some("x")), vec![live("a", 1), live("b", 2)]);
    api.patch(&format!("{MAPS}/a"), &json!({"data": {"a": "here"}}));
    api.ok(&Request::delete(&format!("{MAPS}/b")));
    let mut elsewhere = live("c", 9);
    elsewhere["metadata"]["namespace"] = "y".into();
    api.0.load(scope(kinds::CONFIG_MAP, None), vec![live("a", 1), live("b", 2), elsewhere]);
    assert_eq!(names(&api.get("/api/v1/configmaps")), ["a", "c"]);
    assert_eq!(api.get(&format!("{MAPS}/a"))["data"]["a"], "here");
    assert!(api.0.is_loaded(&scope(kinds::CONFIG_MAP, Some("z"))));
}

#[test]
fn requests_name_what_they_touch() {
    let api = partial();
    let scopes = |request: &Request| -> Vec<String> { api.0.scopes(request).iter().map(shown).collect() };
    assert_eq!(scopes(&Request::get("/api/v1/pods")), ["Pod@"]);
    assert_eq!(scopes(&Request::get("/api/v1/pods?labelSelector=b=c,a&fieldSelector=spec.nodeName=n")), ["Pod@?b=c,a&spec.nodeName=n"]);
    assert_eq!(scopes(&Request::get(&format!("{MAPS}?fieldSelector=metadata.name=a"))), ["ConfigMap@x/a"]);
    assert_eq!(scopes(&Request::post(MAPS, &json!({"metadata": {"name": "m"}}))), ["ConfigMap@x/m", "Namespace@/x"]);
    assert_eq!(scopes(&Request::post(MAPS, &json!({"metadata": {"generateName": "m"}}))), ["Namespace@/x"]);
    assert_eq!(scopes(&Request::delete(&format!("{DEPLOYMENTS}/d"))), ["Deployment@x/d"], "what goes with it is known when it is");
    assert!(scopes(&Request::delete("/api/v1/namespaces/x")).contains(&"Secret@x".to_owned()));
    assert_eq!(scopes(&Request::get("/version")), [""; 0]);
    assert_eq!(scopes(&Request::get("/apis/example.com/v1/things")), [""; 0]);
}

fn shown(scope: &Scope) -> String {
    let part = match &scope.part {
        Part::All => String::new(),
        Part::Name(name) => format!("/{name}"),
        Part::Selected { labels, fields } => format!("?{labels}&{fields}"),
        Part::Reduced => "~".to_owned(),
    };
    format!("{}@{}{part}", scope.kind.kind, scope.namespace.as_deref().unwrap_or_default())
}

#[test]
fn what_goes_with_an_object_is_asked_for_by_its_selector() {
    let mut api = partial();
    let deployment = json!({"metadata": {"name": "d", "namespace": "x", "uid": "u"}, "spec": {"selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}}}});
    let itself = Scope::named(kinds::DEPLOYMENT, Some("x"), "d");
    let request = Request::delete(&format!("{DEPLOYMENTS}/d"));
    api.0.load(itself, vec![deployment]);
    let missing: Vec<String> = api.0.scopes(&request).iter().filter(|scope| !api.0.is_loaded(scope)).map(shown).collect();
    assert_eq!(missing, ["ReplicaSet@x?a=b&", "Pod@x?a=b&"]);
}

#[test]
fn a_selection_is_known_with_everything_that_it_covers() {
    let mut api = partial();
    let selected = |labels: &str, fields: &str| Scope::selected(kinds::POD, Some("x"), labels, fields);
    let pod = |name: &str, app: &str| {
        json!({"metadata": {"name": name, "namespace": "x", "uid": name, "labels": {"app": app, "tier": "t"}},
            "spec": {"nodeName": "n"}, "status": {"phase": "Running"}})
    };
    api.0.load(selected("app=a", ""), vec![pod("one", "a")]);
    for (labels, fields, known) in [
        ("app=a", "", true),
        ("tier=t,app=a", "", true),
        ("app=a", "spec.nodeName=n", true),
        ("app=b", "", false),
        ("tier=t", "", false),
        ("", "spec.nodeName=n", false),
    ] {
        assert_eq!(api.0.is_loaded(&selected(labels, fields)), known, "{labels} {fields}");
    }
    assert!(!api.0.is_loaded(&Scope::selected(kinds::POD, Some("y"), "app=a", "")));
    assert!(api.0.is_loaded(&Scope::named(kinds::POD, Some("x"), "one")), "it came with the others");
    assert!(!api.0.is_loaded(&Scope::named(kinds::POD, Some("x"), "two")));
    // What should have come before and did not is younger than the plan.
    api.0.load(scope(kinds::POD, Some("x")), vec![pod("one", "a"), pod("late", "a"), pod("two", "b")]);
    assert_eq!(names(&api.get("/api/v1/namespaces/x/pods")), ["one", "two"]);
}

#[test]
fn what_is_known_for_the_scheduler_only_is_read_again_for_everybody_else() {
    let mut api = partial();
    let pod = |name: &str, image: &str| {
        json!({"metadata": {"name": name, "namespace": "x", "uid": name, "resourceVersion": "7"},
            "spec": {"nodeName": "n", "containers": [{"name": "c", "image": image}]}, "status": {"phase": "Running"}})
    };
    let reduced = Scope { part: Part::Reduced, ..scope(kinds::POD, None) };
    api.0.load(reduced.clone(), vec![pod("a", "i:1"), pod("b", "i:1"), pod("gone", "i:1")]);
    assert!(api.0.is_loaded(&reduced));
    let one = Scope::named(kinds::POD, Some("x"), "a");
    assert!(!api.0.is_loaded(&one));
    assert!(!api.0.is_loaded(&scope(kinds::POD, Some("x"))));
    api.0.load(one.clone(), vec![pod("a", "i:1")]);
    assert!(api.0.is_loaded(&one));
    assert_eq!(api.get("/api/v1/namespaces/x/pods/a")["spec"]["containers"][0]["image"], "i:1");
    api.patch("/api/v1/namespaces/x/pods/a", &json!({"metadata": {"labels": {"plan": "yes"}}}));
    api.0.load(scope(kinds::POD, Some("x")), vec![pod("a", "i:1"), pod("b", "i:1"), pod("late", "i:1")]);
    let pods = api.get("/api/v1/namespaces/x/pods");
    assert_eq!(names(&pods), ["a", "b"], "one is gone since, one has come since");
    assert_eq!(pods["items"][0]["metadata"]["labels"]["plan"], "yes");
    assert_eq!(pods["items"][1]["spec"]["containers"][0]["image"], "i:1");
    let needs: Vec<String> = api.0.needs().iter().map(shown).collect();
    assert!(needs.contains(&"Service@x".to_owned()), "who selects the pod that was labelled: {needs:?}");
}

#[test]
fn a_refused_scope_answers_with_its_status() {
    let mut api = partial();
    let forbidden = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 403, "reason": "Forbidden",
        "message": "secrets is forbidden: nobody may list them"});
    api.0.load_refused(scope(kinds::SECRET, Some("x")), forbidden.clone());
    api.0.load_refused(Scope::named(kinds::SECRET, Some("x"), "a"), forbidden.clone());
    api.0.load_refused(scope(kinds::NAMESPACE, None), forbidden);
    let secrets = "/api/v1/namespaces/x/secrets";
    for request in [
        Request::get(secrets),
        Request::get(&format!("{secrets}/a")),
        Request::patch(&format!("{secrets}/a"), MERGE, &json!({})),
        Request::delete(&format!("{secrets}/a")),
    ] {
        assert_eq!(api.fails(&request).2, "secrets is forbidden: nobody may list them");
    }
    // What is created on top can be read, and a namespace that cannot be seen is taken to exist.
    api.ok(&Request::post(secrets, &json!({"metadata": {"name": "a"}, "stringData": {"k": "v"}})));
    assert_eq!(api.get(&format!("{secrets}/a"))["data"]["k"], "dg==");
}

#[test]
fn forks_go_their_own_ways() {
    let mut api = Api::new();
    api.map("a", json!({}));
    let mut fork = Api(api.0.fork());
    assert_eq!(fork.0.store().rv(), api.0.store().rv());
    fork.patch(&format!("{MAPS}/a"), &json!({"data": {"a": "fork"}}));
    assert_eq!(api.get(&format!("{MAPS}/a"))["data"]["a"], "1");
    // Both go on from the same seed state.
    let (here, there) = (api.map("b", json!({})), fork.map("b", json!({})));
    assert_eq!(here["metadata"]["uid"], there["metadata"]["uid"]);
    fork.advance(60);
    assert_ne!(fork.0.now(), api.0.now());
}

#[test]
fn forks_go_their_own_ways_and_the_difference_is_what_was_written() {
    let mut api = Api::new();
    api.ok(&Request::post("/api/v1/namespaces", &json!({"metadata": {"name": "n"}})));
    for name in ["a", "b", "c"] {
        api.ok(&Request::post("/api/v1/namespaces/n/configmaps", &json!({"metadata": {"name": name}, "data": {"k": "v"}})));
    }
    let before = api.0.fork();
    assert_eq!(api.0.store().diff(before.store()), []);
    api.ok(&Request::delete("/api/v1/namespaces/n/configmaps/a"));
    let patch = json!({"data": {"k": "w"}});
    api.ok(&Request::patch("/api/v1/namespaces/n/configmaps/b", "application/merge-patch+json", &patch));
    api.ok(&Request::post("/api/v1/namespaces/n/configmaps", &json!({"metadata": {"name": "d"}})));
    let found = before.store().diff(api.0.store());
    let row = |d: &lockgate_sim::store::Difference| (d.key.name.clone(), d.here.is_some(), d.there.is_some());
    assert_eq!(found.iter().map(row).collect::<Vec<_>>(), [("a".into(), true, false), ("b".into(), true, true), ("d".into(), false, true)]);
    let (here, there) = (found[1].here.as_ref().unwrap(), found[1].there.as_ref().unwrap());
    assert_eq!((&here["data"]["k"], &there["data"]["k"]), (&json!("v"), &json!("w")));
    assert!(api.0.event_log().len() > before.event_log().len());
}
