use http::Method;

use super::*;

const WEB: &str = "/apis/apps/v1/namespaces/shop/deployments/web";
const POD: &str = "/api/v1/namespaces/shop/pods/web-7c9-x";
const MERGE: &str = "application/merge-patch+json";

fn grant(verbs: &[Verb], kinds: &[&str], names: &[&str]) -> Grant {
    Grant {
        verbs: verbs.to_vec(),
        kinds: kinds.iter().map(|kind| KindName::parse(kind).unwrap()).collect(),
        namespaces: vec!["shop".to_owned()],
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        ..Grant::default()
    }
}

fn permit(grants: Vec<Grant>, limits: Caps) -> Permit {
    let permit = Permit::default();
    permit.restrict(Permissions { grants, limits, ..Permissions::default() }, GrantedBy::Block);
    permit
}

fn patch(path: &str, body: &str) -> Wanted {
    Wanted::of(&Method::PATCH, path, "", MERGE, body.as_bytes())
}

fn evict(pod: &str, uid: &str) -> Wanted {
    let body = format!(r#"{{"deleteOptions":{{"preconditions":{{"uid":"{uid}"}}}}}}"#);
    Wanted::of(&Method::POST, &format!("/api/v1/namespaces/shop/pods/{pod}/eviction"), "", "application/json", body.as_bytes())
}

fn set_image(image: &str) -> Wanted {
    patch(WEB, &format!(r#"{{"spec":{{"template":{{"spec":{{"containers":[{{"name":"c","image":"{image}"}}]}}}}}}}}"#))
}

#[test]
fn what_is_not_granted_is_refused_with_the_line_that_grants_it() {
    let permit = permit(vec![grant(&[Verb::Patch], &["deployments"], &["web"])], Caps::default());
    permit.admit(&set_image("a/b:1")).unwrap();
    let error = permit.admit(&patch("/apis/apps/v1/namespaces/shop/deployments/db", "{}")).unwrap_err();
    assert_eq!((error.kind, error.reason), (Kind::Refused, Reason::Refused));
    assert_eq!(error.message, "`patch deployments.apps shop/db`: the runbook's `permissions` do not grant it");
    let line = r#"{ verbs = { "patch" }, kinds = { "deployments" }, namespaces = { "shop" }, names = { "db" } }"#;
    assert_eq!(error.hint.as_deref(), Some(format!("add to `permissions`: `{line}`").as_str()));
    assert!(error.causes[0].contains("root on the node"), "{:?}", error.causes);
    // Another verb, another kind, a part of it, another namespace.
    for wanted in [
        Wanted::of(&Method::DELETE, WEB, "", "", b""),
        patch("/apis/apps/v1/namespaces/shop/daemonsets/web", "{}"),
        patch(&format!("{WEB}/scale"), "{}"),
        patch("/apis/apps/v1/namespaces/other/deployments/web", "{}"),
        Wanted::of(&Method::DELETE, "/apis/apps/v1/namespaces/shop/deployments", "", "", b""),
    ] {
        assert!(permit.admit(&wanted).is_err(), "{}", wanted.act);
    }
}

#[test]
fn values_are_bounded_too() {
    let bounded =
        Grant { images: vec!["registry.example/*".to_owned()], replicas: Some((1, 5)), ..grant(&[Verb::Patch], &["deployments"], &[]) };
    let permit = permit(vec![bounded], Caps::default());
    permit.admit(&set_image("registry.example/web:v2")).unwrap();
    permit.admit(&patch(WEB, r#"{"spec":{"replicas":5}}"#)).unwrap();
    let image = permit.admit(&set_image("evil.example/web:v2")).unwrap_err();
    assert_eq!(image.causes[0], "the image `evil.example/web:v2` is none of `registry.example/*`");
    assert!(image.hint.as_ref().unwrap().contains(r#"images = { "evil.example/web:v2" }"#));
    let replicas = permit.admit(&patch(WEB, r#"{"spec":{"replicas":0}}"#)).unwrap_err();
    assert_eq!(replicas.causes[0], "0 replicas are not within 1 and 5");
    let copied = r#"[{"op":"copy","from":"/metadata/annotations/x","path":"/spec/template/spec/containers/0/image"}]"#;
    let copied = Wanted::of(&Method::PATCH, WEB, "", "application/json-patch+json", copied.as_bytes());
    assert!(permit.admit(&copied).unwrap_err().causes[0].starts_with("nobody can tell which values it sets"));
}

#[test]
fn deny_wins() {
    let grants = vec![grant(&[Verb::Patch], &["deployments"], &[]), grant(&[Verb::Patch], &["deployments"], &["!db*"])];
    let permit = permit(grants, Caps::default());
    permit.admit(&patch(WEB, "{}")).unwrap();
    let error = permit.admit(&patch("/apis/apps/v1/namespaces/shop/deployments/db-1", "{}")).unwrap_err();
    assert_eq!(error.message, "`patch deployments.apps shop/db-1`: `permissions` deny it");
    assert_eq!(error.causes, ["its `names` take `db-1` away"]);
}

#[test]
fn a_shell_by_get_is_a_write() {
    let permit = permit(vec![], Caps::default());
    for part in ["exec?command=id", "attach", "portforward", "proxy/x"] {
        let (path, query) = part.split_once('?').unwrap_or((part, ""));
        let wanted = Wanted::of(&Method::GET, &format!("{POD}/{path}"), query, "", b"");
        assert!(!Permit::is_free(&wanted.act), "{part}");
        let error = permit.admit(&wanted).unwrap_err();
        assert!(error.hint.as_ref().unwrap().contains(r#"verbs = { "create" }"#), "{part}: {error:?}");
    }
    for (path, free) in [
        (POD, true),
        ("/api/v1/namespaces/shop/pods/web-7c9-x/log", true),
        ("/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/lockgate", true),
    ] {
        assert_eq!(Permit::is_free(&Act::of(&Method::GET, path, "")), free, "{path}");
    }
}

#[test]
fn only_asking_and_leaving_word_is_free() {
    let leases = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases";
    for (method, path, free) in [
        // The lock of a run is no runbook's to write: lockgate keeps it by a way of its own.
        (Method::PATCH, &*format!("{leases}/lockgate"), false),
        (Method::PUT, &*format!("{leases}/lockgate"), false),
        (Method::DELETE, &*format!("{leases}/lockgate"), false),
        (Method::POST, leases, false),
        (Method::POST, "/api/v1/namespaces/shop/events", true),
        (Method::DELETE, "/api/v1/namespaces/shop/events/web.1", false),
        (Method::DELETE, "/api/v1/namespaces/shop/events", false),
        (Method::PATCH, "/apis/events.k8s.io/v1/namespaces/shop/events/web.1", false),
        (Method::POST, "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", true),
    ] {
        assert_eq!(Permit::is_free(&Act::of(&method, path, "")), free, "{method} {path}");
    }
}

#[test]
fn limits_count_what_is_different() {
    let all =
        vec![Grant { namespaces: Vec::new(), ..grant(&[Verb::Patch], &["nodes"], &[]) }, grant(&[Verb::Create], &["pods/eviction"], &[])];
    let limited = permit(all, Caps { nodes: Some(1), evictions: Some(2), writes_per_minute: None });
    let cordon = |node: &str| patch(&format!("/api/v1/nodes/{node}"), r#"{"spec":{"unschedulable":true}}"#);
    limited.admit(&cordon("n1")).unwrap();
    limited.admit(&cordon("n1")).unwrap();
    let error = limited.admit(&cordon("n2")).unwrap_err();
    assert_eq!(error.causes, ["`limits.nodes` of `permissions` is 1, and so many were touched: `n1`"]);
    // The same pod again is a try, a pod of the same name with another uid is another one.
    for _ in 0..3 {
        limited.admit(&evict("web-0", "u1")).unwrap();
    }
    limited.admit(&evict("web-0", "u2")).unwrap();
    let error = limited.admit(&evict("web-1", "u3")).unwrap_err();
    assert!(error.causes[0].starts_with("`limits.evictions` of `permissions` is 2"));
    // What a run that goes on had used up counts.
    let again = permit(
        vec![Grant { namespaces: Vec::new(), ..grant(&[Verb::Patch], &["nodes"], &[]) }],
        Caps { nodes: Some(1), ..Caps::default() },
    );
    again.set_spent(limited.spent());
    assert!(again.admit(&cordon("n3")).is_err());
    assert!(again.command("n3", &["id".to_owned()]).is_err());
}

#[test]
fn writes_per_minute_wait() {
    let permit = permit(vec![], Caps { writes_per_minute: Some(2), ..Caps::default() });
    let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let at = |seconds: u64| start.checked_add(Duration::from_secs(seconds)).unwrap();
    assert_eq!((permit.next_write(at(0)), permit.next_write(at(10))), (None, None));
    assert_eq!(permit.next_write(at(20)), Some(at(60)));
    assert_eq!(permit.next_write(at(60)), None);
    assert_eq!(permit.next_write(at(61)), Some(at(70)));
}

#[test]
fn an_accepted_plan_grants_what_it_showed_and_pods_by_their_controller() {
    let plan = Permit::default();
    plan.trace();
    let pod = |name: &str| {
        json!({
            "metadata": { "namespace": "shop", "name": name, "labels": { "pod-template-hash": "7c9" },
                "ownerReferences": [{ "controller": true, "kind": "ReplicaSet", "name": "web-7c9" }] },
        })
    };
    plan.learn([&pod("web-7c9-x")]);
    plan.admit(&evict("web-7c9-x", "u")).unwrap();
    plan.admit(&patch(WEB, "{}")).unwrap();
    let made = br#"{"metadata":{"generateName":"probe-","name":"probe-abcde"}}"#;
    plan.admit(&Wanted::of(&Method::POST, "/api/v1/namespaces/shop/configmaps", "", "application/json", made)).unwrap();
    plan.admit(&Wanted::of(&Method::DELETE, "/api/v1/namespaces/shop/configmaps/probe-abcde", "", "", b"")).unwrap();
    // A name that looks like a glob is a name.
    plan.admit(&Wanted::of(&Method::DELETE, "/api/v1/namespaces/shop/secrets/%2A", "", "", b"")).unwrap();
    let run = Permit::default();
    run.restrict(plan.asked().permissions(), GrantedBy::Plan);
    run.learn([&pod("web-7c9-other")]);
    let other = json!({ "metadata": { "namespace": "shop", "name": "db-1", "ownerReferences": [{ "controller": true, "kind": "StatefulSet", "name": "db" }] } });
    run.learn([&other]);
    run.admit(&evict("web-7c9-other", "u2")).unwrap();
    run.admit(&patch(WEB, "{}")).unwrap();
    run.admit(&Wanted::of(&Method::DELETE, "/api/v1/namespaces/shop/configmaps/probe-fghij", "", "", b"")).unwrap();
    for wanted in [
        evict("db-1", "u3"),
        evict("never-read", "u4"),
        patch("/apis/apps/v1/namespaces/shop/deployments/db", "{}"),
        Wanted::of(&Method::DELETE, WEB, "", "", b""),
        Wanted::of(&Method::DELETE, "/api/v1/namespaces/shop/secrets/token", "", "", b""),
        Wanted::of(&Method::DELETE, "/api/v1/namespaces/shop/configmaps/probe-", "", "", b""),
    ] {
        let error = run.admit(&wanted).unwrap_err();
        assert!(error.message.ends_with("the accepted plan did not show it"), "{error}");
    }
}

#[test]
fn charts_and_commands_have_doors_of_their_own() {
    let permit = Permit::default();
    let permissions = Permissions {
        charts: vec!["oci://registry.example/charts/*".to_owned()],
        machine: vec![MachineGrant { argv: vec!["kubeadm".to_owned(), "upgrade".to_owned()], ..MachineGrant::default() }],
        ..Permissions::default()
    };
    permit.restrict(permissions, GrantedBy::Block);
    permit.look_chart("oci://registry.example/charts/cilium").unwrap();
    let error = permit.look_chart("https://evil.example/cilium.tgz").unwrap_err().error;
    assert_eq!(error.hint.as_deref(), Some(r#"add to `permissions`: `helm = { charts = { "https://evil.example/cilium.tgz" } }`"#));
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    permit.command("n1", &words("kubeadm upgrade node")).unwrap();
    let error = permit.command("n1", &words("rm -rf /")).unwrap_err();
    assert_eq!(error.message, "`rm -rf /` on `n1`: the runbook's `permissions` do not grant it");
    assert_eq!(error.hint.as_deref(), Some(r#"add to `permissions`: `machine = { { "rm", "-rf" } }`"#));
    // Helm's own records go with its charts.
    let record = br#"{"metadata":{"name":"sh.helm.release.v1.cilium.v2"}}"#;
    permit.admit(&Wanted::of(&Method::POST, "/api/v1/namespaces/kube-system/secrets", "", "application/json", record)).unwrap();
}
