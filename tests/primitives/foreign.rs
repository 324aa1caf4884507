//! Other programs on the same cluster: each is found by what it leaves there, and each is refused or warned of as the table says.

use lockgate::cluster::permit::Planned;
use lockgate::cluster::{Cluster, Options, RunId};
use lockgate::primitives::foreign::{Found, Touch, look};
use lockgate_sim::json::{Value as Json, json};
use lockgate_sim::request::Request;
use lockgate_sim::{Cluster as Sim, Options as SimOptions};

fn run<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn post(sim: &mut Sim, path: &str, object: &Json) {
    let answer = sim.handle(&Request::post(path, object));
    assert!((200..300).contains(&answer.status), "{path}: {answer:?}");
}

fn namespace(sim: &mut Sim, name: &str) {
    post(sim, "/api/v1/namespaces", &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}));
}

fn node(sim: &mut Sim, name: &str, annotations: Json, conditions: Json) {
    let metadata = json!({"name": name, "annotations": annotations});
    post(sim, "/api/v1/nodes", &json!({"apiVersion": "v1", "kind": "Node", "metadata": metadata, "status": {"conditions": conditions}}));
}

fn daemon_set(sim: &mut Sim, name: &str, annotations: Json, labels: Json) {
    let template = json!({"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "c", "image": "c:1"}]}});
    let spec = json!({"selector": {"matchLabels": {"app": name}}, "template": template});
    let metadata = json!({"name": name, "annotations": annotations, "labels": labels});
    let object = json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": metadata, "spec": spec});
    post(sim, "/apis/apps/v1/namespaces/kube-system/daemonsets", &object);
}

fn custom(sim: &mut Sim, kind: &str, plural: &str, group: &str, version: &str, scope: &str) {
    let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    let spec = json!({
        "group": group, "scope": scope,
        "names": {"kind": kind, "plural": plural, "singular": kind.to_lowercase(), "listKind": format!("{kind}List")},
        "versions": [{"name": version, "served": true, "storage": true, "schema": schema}],
    });
    let name = format!("{plural}.{group}");
    let definition =
        json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": name}, "spec": spec});
    post(sim, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", &definition);
    sim.advance_to(sim.now() + std::time::Duration::from_secs(5));
}

fn sees(touch: &Touch, given: impl FnOnce(&mut Sim)) -> Found {
    let mut sim = Sim::new(SimOptions::default());
    for name in ["default", "kube-system"] {
        namespace(&mut sim, name);
    }
    given(&mut sim);
    let at = sim.now();
    let cluster = Cluster::simulated(sim, Options::new(RunId::simulated(at, 1)));
    let found = run(look(&cluster, touch)).unwrap();
    assert_eq!(cluster.requests().len(), 0, "a look beside the run is none of its requests");
    found
}

fn refused(found: &Found) -> Vec<String> {
    let error = found.admits("prod").unwrap_err();
    assert_eq!(
        (error.kind.exit_code(), error.message.as_str()),
        (5, "another program is changing the nodes of `prod`: nothing was written")
    );
    assert!(error.hint.is_some());
    error.causes.clone()
}

#[test]
fn alone_there_is_nothing_to_say() {
    let found = sees(&Touch::unknown(), |sim| {
        node(sim, "w1", json!({}), json!([{"type": "Ready", "status": "True"}]));
        daemon_set(sim, "agent", json!({}), json!({}));
    });
    assert_eq!(found, Found::default());
    found.admits("prod").unwrap();
}

#[test]
fn kured_with_its_lock_held_refuses() {
    let lock = r#"{"nodeID":"w2","metadata":{"unschedulable":false},"created":"2001-01-01T00:00:00Z","TTL":0}"#;
    let given = |sim: &mut Sim| daemon_set(sim, "kured", json!({"weave.works/kured-node-lock": lock}), json!({}));
    let found = sees(&Touch::unknown(), given);
    assert_eq!(refused(&found), ["kured (`daemonset/kube-system/kured`) holds its lock for `w2`: it drains and reboots it"]);
    let hint = &found.actors[0].hint;
    assert!(hint.contains("kubectl annotate daemonset -n kube-system kured weave.works/kured-node-lock-"), "{hint}");
    // A run that does not touch nodes goes beside it.
    sees(&Touch::default(), given).admits("prod").unwrap();
}

#[test]
fn kured_at_rest_and_a_lock_that_has_run_out_are_warned_of() {
    let found = sees(&Touch::unknown(), |sim| daemon_set(sim, "kured", json!({}), json!({})));
    found.admits("prod").unwrap();
    assert!(found.warnings()[0].starts_with("kured (`daemonset/kube-system/kured`) may reboot a node during the run"), "{found:?}");
    let lock = r#"{"nodeID":"w2","created":"1999-01-01T00:00:00Z","TTL":1800000000000}"#;
    let found = sees(&Touch::unknown(), |sim| daemon_set(sim, "k", json!({"weave.works/kured-node-lock": lock}), json!({})));
    found.admits("prod").unwrap();
    assert!(found.warnings()[0].contains("has a lock for `w2` that has run out"), "{found:?}");
}

#[test]
fn running_jobs_of_the_upgrade_controller_refuse() {
    let given = |active: bool| {
        move |sim: &mut Sim| {
            custom(sim, "Plan", "plans", "upgrade.cattle.io", "v1", "Namespaced");
            namespace(sim, "system-upgrade");
            let plan = json!({"apiVersion": "upgrade.cattle.io/v1", "kind": "Plan", "metadata": {"name": "k3s"}});
            post(sim, "/apis/upgrade.cattle.io/v1/namespaces/system-upgrade/plans", &plan);
            if active {
                let labels = json!({"upgrade.cattle.io/plan": "k3s", "upgrade.cattle.io/node": "w1"});
                let pod = json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "c:1"}]}});
                let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "apply-k3s", "labels": labels}, "spec": {"template": pod}});
                post(sim, "/apis/batch/v1/namespaces/system-upgrade/jobs", &job);
                sim.advance_to(sim.now() + std::time::Duration::from_secs(5));
            }
        }
    };
    let found = sees(&Touch::unknown(), given(true));
    assert_eq!(refused(&found), ["the system-upgrade-controller works on its plan `k3s` on `w1` (`job/system-upgrade/apply-k3s`)"]);
    assert_eq!(sees(&Touch::unknown(), given(false)), Found::default());
}

#[test]
fn machines_of_this_cluster_that_come_or_go_refuse_and_those_of_others_do_not() {
    let given = |cluster: &'static str, phase: &'static str| {
        move |sim: &mut Sim| {
            custom(sim, "Machine", "machines", "cluster.x-k8s.io", "v1beta1", "Namespaced");
            node(sim, "w1", json!({"cluster.x-k8s.io/cluster-name": "prod"}), json!([]));
            let machine = json!({
                "apiVersion": "cluster.x-k8s.io/v1beta1", "kind": "Machine", "metadata": {"name": "m1"},
                "spec": {"clusterName": cluster}, "status": {"phase": phase},
            });
            post(sim, "/apis/cluster.x-k8s.io/v1beta1/namespaces/default/machines", &machine);
        }
    };
    let found = sees(&Touch::unknown(), given("prod", "Provisioning"));
    assert_eq!(refused(&found), ["Cluster API is rolling machines: `machine/default/m1` is Provisioning"]);
    assert_eq!(sees(&Touch::unknown(), given("prod", "Running")), Found::default());
    assert_eq!(sees(&Touch::unknown(), given("stage", "Provisioning")), Found::default());
}

#[test]
fn a_node_that_somebody_drains_refuses_and_planned_maintenance_is_warned_of() {
    let given = |condition: &'static str, status: &'static str| {
        move |sim: &mut Sim| node(sim, "w1", json!({}), json!([{"type": condition, "status": status}]))
    };
    let found = sees(&Touch::unknown(), given("DrainInProgress", "True"));
    assert_eq!(refused(&found), ["`node/w1` has the condition `DrainInProgress`: somebody works on it"]);
    assert_eq!(sees(&Touch::unknown(), given("DrainInProgress", "False")), Found::default());
    let found = sees(&Touch::unknown(), given("MaintenancePlanned", "True"));
    found.admits("prod").unwrap();
    assert_eq!(found.warnings(), ["`node/w1` has the condition `MaintenancePlanned`: somebody else has plans for it"]);
}

#[test]
fn autoscalers_are_warned_of() {
    let found = sees(&Touch::unknown(), |sim| {
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "cluster-autoscaler-status"}});
        post(sim, "/api/v1/namespaces/kube-system/configmaps", &map);
        custom(sim, "NodePool", "nodepools", "karpenter.sh", "v1", "Cluster");
        let pool = json!({"apiVersion": "karpenter.sh/v1", "kind": "NodePool", "metadata": {"name": "default"}});
        post(sim, "/apis/karpenter.sh/v1/nodepools", &pool);
    });
    found.admits("prod").unwrap();
    let warnings = found.warnings();
    assert!(warnings[0].starts_with("the cluster-autoscaler may remove nodes"), "{warnings:?}");
    assert!(warnings[1].starts_with("Karpenter (`nodepool/default`) may replace nodes"), "{warnings:?}");
}

fn touches(names: &[&str]) -> Touch {
    let object = |name: &&str| ("daemonsets.apps".to_owned(), Some("kube-system".to_owned()), (*name).to_owned());
    Touch { nodes: false, objects: names.iter().map(object).collect() }
}

#[test]
fn objects_that_a_repository_keeps_are_named() {
    let found = sees(&touches(&["mine", "argo", "flux", "quiet", "gone"]), |sim| {
        daemon_set(sim, "mine", json!({}), json!({}));
        daemon_set(sim, "argo", json!({"argocd.argoproj.io/tracking-id": "net:apps/DaemonSet:kube-system/argo"}), json!({}));
        daemon_set(sim, "flux", json!({}), json!({"kustomize.toolkit.fluxcd.io/name": "net"}));
        let off = json!({"kustomize.toolkit.fluxcd.io/reconcile": "disabled"});
        daemon_set(sim, "quiet", off, json!({"kustomize.toolkit.fluxcd.io/name": "net"}));
    });
    found.admits("prod").unwrap();
    let warnings = found.warnings();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].starts_with("`daemonset/kube-system/argo` belongs to Argo CD, which will revert the run: switch"), "{warnings:?}");
    assert!(warnings[1].starts_with("`daemonset/kube-system/flux` belongs to Flux, which will revert the run: suspend"), "{warnings:?}");
    // One by one it is the same as in one list.
    let one = sees(&touches(&["argo"]), |sim| {
        daemon_set(sim, "argo", json!({"argocd.argoproj.io/tracking-id": "x"}), json!({}));
    });
    assert_eq!(one.warnings().len(), 1);
}

#[test]
fn a_plan_says_what_it_touches() {
    let mut sim = Sim::new(SimOptions::default());
    namespace(&mut sim, "default");
    let at = sim.now();
    let cluster = Cluster::simulated(sim, Options::new(RunId::simulated(at, 1)));
    run(async {
        let maps = cluster.resolve("configmap", None).await.unwrap();
        cluster.create(&maps, None, json!({"metadata": {"name": "a"}})).await.unwrap();
        let map = cluster.target(&"configmap/a".parse().unwrap(), None).await.unwrap();
        cluster.delete(&map, json!({})).await.unwrap();
    });
    let touch = Touch::of(&cluster.requests());
    let map = ("configmaps".to_owned(), Some("default".to_owned()), "a".to_owned());
    assert_eq!(touch, Touch { nodes: false, objects: vec![map] });
    // Where a plan ended that nobody knew how to go on, the run may come to nodes.
    let mut planned = Planned::default();
    assert_eq!(Touch::of_plan(&planned), Touch::default());
    planned.open = true;
    assert_eq!(Touch::of_plan(&planned), Touch { nodes: true, objects: Vec::new() });
}
