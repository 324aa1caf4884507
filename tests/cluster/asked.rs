//! A plan on a live cluster asks the server what it would say about each write. The server is a second simulated cluster; what it was
//! asked is read off its record.

use lockgate::base::{ObjectRef, Reason};
use lockgate::cluster::{Access, Cluster, Options, PatchType, RunId, Target};
use lockgate_sim::faults::{Action, Failure, Match, Rule};
use lockgate_sim::fixture::Fixture;
use lockgate_sim::json::{Value, json};

use super::support::run;

const WORLD: &str = "
apiVersion: v1
kind: Node
metadata: {name: n1}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: a, namespace: default, labels: {team: x}}
data: {k: '1'}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web, namespace: default}
spec: {minAvailable: 1, selector: {matchLabels: {app: web}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: default}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: c, image: 'registry.example/web:1.0'}]}
";

fn options() -> Options {
    Options::new(RunId::generate())
}

/// A plan on that cluster, with these rules at its server.
fn plan(rules: Vec<Rule>) -> (Cluster, Cluster) {
    let mut sim = Fixture::parse("world.yaml", WORLD).unwrap().cluster(lockgate_sim::Options::default()).unwrap();
    rules.into_iter().for_each(|rule| sim.add_fault(rule));
    let live = Cluster::stand_in(sim, options());
    let plan = live.planning();
    (live, plan)
}

fn at(verb: &str, kind: &str) -> Match {
    Match { verb: Some(verb.into()), kind: Some(kind.into()), ..Match::default() }
}

fn says_no(when: Match, code: u16, message: &str) -> Rule {
    let failure = Failure { code, reason: None, message: Some(message.into()), retry_after: None, causes: Vec::new() };
    Rule { when, action: Action::Fail(failure) }
}

async fn target(cluster: &Cluster, text: &str) -> Target {
    cluster.target(&ObjectRef::parse(text).unwrap(), None).await.unwrap()
}

/// What the server was asked about writes.
fn asked(plan: &Cluster) -> Vec<String> {
    let writes = plan.requests().into_iter().filter(|request| !request.dry && request.verb.is_write());
    let told = writes.map(|request| {
        assert!(request.dry_run || request.resource == "selfsubjectaccessreviews.authorization.k8s.io", "{request:?}");
        let part = request.subresource.map_or_else(String::new, |part| format!("/{part}"));
        format!("{} {}{part} {}", request.verb, request.resource, request.status.unwrap_or_default())
    });
    told.collect()
}

fn rv(live: &Cluster) -> u64 {
    live.simulation().unwrap().with(|sim| sim.store().rv())
}

#[test]
fn the_servers_no_is_the_answer_of_the_plan() {
    run(async {
        let webhook = "admission webhook \"images.example\" denied the request: no tag `latest`";
        let (live, plan) = plan(vec![says_no(at("patch", "Deployment"), 403, webhook)]);
        let before = rv(&live);
        let web = target(&plan, "deployment/web").await;
        let error = plan.patch(&web, PatchType::Merge, json!({ "spec": { "replicas": 3 } }), None).await.unwrap_err();
        assert_eq!((error.reason, error.causes.as_slice()), (Reason::Forbidden, [webhook.to_owned()].as_slice()));
        assert_eq!(plan.get(&web).await.unwrap()["spec"]["replicas"], 2, "the copy has not done it either");
        assert_eq!(asked(&plan), ["patch deployments.apps 403"]);
        assert_eq!(rv(&live), before, "a question changes nothing");
    });
}

#[test]
fn a_plan_that_leaves_the_server_out_sends_reads_only() {
    run(async {
        let mut sim = Fixture::parse("world.yaml", WORLD).unwrap().cluster(lockgate_sim::Options::default()).unwrap();
        sim.add_fault(says_no(at("patch", "Deployment"), 403, "no"));
        let live = Cluster::stand_in(sim, Options { local: true, ..options() });
        let plan = live.planning();
        let web = target(&plan, "deployment/web").await;
        plan.patch(&web, PatchType::Merge, json!({ "spec": { "replicas": 3 } }), None).await.unwrap();
        assert!(!plan.admitted());
        assert_eq!(asked(&plan), Vec::<String>::new());
        let live = self::plan(Vec::new()).0;
        live.plan_locally();
        let plan = live.planning();
        plan.patch(&target(&plan, "cm/a").await, PatchType::Merge, json!({ "data": { "k": "2" } }), None).await.unwrap();
        assert_eq!(asked(&plan), Vec::<String>::new());
    });
}

#[test]
fn later_writes_are_asked_about_with_all_before_them() {
    run(async {
        let (live, plan) = plan(Vec::new());
        let before = rv(&live);
        let a = target(&plan, "cm/a").await;
        plan.patch(&a, PatchType::Merge, json!({ "metadata": { "labels": { "first": "1" } } }), None).await.unwrap();
        assert!(plan.admitted());
        // By itself the server would refuse this: it has no such label.
        let second = json!([{ "op": "replace", "path": "/metadata/labels/first", "value": "2" }]);
        plan.patch(&a, PatchType::Json, second, None).await.unwrap();
        let mut whole = (*plan.get(&a).await.unwrap()).clone();
        whole["data"]["k"] = "3".into();
        plan.replace(&a, whole).await.unwrap();
        // An object that only the plan has.
        let maps = a.resource.clone();
        let new = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "new" }, "data": { "x": "1" } });
        plan.create(&maps, None, new).await.unwrap();
        let new = target(&plan, "cm/new").await;
        plan.patch(&new, PatchType::Merge, json!({ "data": { "x": "2" } }), None).await.unwrap();
        let expected =
            ["patch configmaps 200", "patch configmaps 200", "update configmaps 200", "create configmaps 201", "create configmaps 201"];
        assert_eq!(asked(&plan), expected);
        assert!(plan.admitted(), "all of them");
        assert_eq!((plan.get(&a).await.unwrap()["data"]["k"].clone(), rv(&live)), ("3".into(), before));
    });
}

#[test]
fn the_whole_is_refused_where_only_the_whole_is_wrong() {
    run(async {
        let (_, plan) = plan(Vec::new());
        let a = target(&plan, "cm/a").await;
        plan.patch(&a, PatchType::Merge, json!({ "immutable": true }), None).await.unwrap();
        let error = plan.patch(&a, PatchType::Merge, json!({ "data": { "k": "2" } }), None).await.unwrap_err();
        assert_eq!(error.reason, Reason::Invalid);
    });
}

#[test]
fn what_webhooks_change_and_servers_fill_in_is_in_the_plan() {
    run(async {
        let inject = json!({ "metadata": { "annotations": { "injected": "yes" } }, "spec": { "minReadySeconds": 7 } });
        let (_, plan) = plan(vec![Rule { when: at("patch", "Deployment"), action: Action::Admit(inject) }]);
        let web = target(&plan, "deployment/web").await;
        let stored = plan.patch(&web, PatchType::Merge, json!({ "spec": { "replicas": 1 } }), None).await.unwrap();
        let seen = |object: &Value| (object["spec"]["replicas"].clone(), object["spec"]["minReadySeconds"].clone());
        assert_eq!(seen(&stored), (1.into(), 7.into()));
        assert_eq!(stored["metadata"]["annotations"]["injected"], "yes");
        let again = plan.patch(&web, PatchType::Merge, json!({ "spec": { "replicas": 3 } }), None).await.unwrap();
        assert_eq!(seen(&again), (3.into(), 7.into()));
        assert_eq!(asked(&plan), ["patch deployments.apps 200", "patch deployments.apps 200"]);
    });
}

#[test]
fn a_webhook_that_takes_no_dry_run_is_told_and_no_failure() {
    run(async {
        let text = "admission webhook \"old.example\" does not support dry run";
        for code in [400, 500] {
            let (_, plan) = plan(vec![says_no(at("patch", "ConfigMap"), code, text)]);
            let a = target(&plan, "cm/a").await;
            for k in ["2", "3"] {
                plan.patch(&a, PatchType::Merge, json!({ "data": { "k": k } }), None).await.unwrap();
            }
            assert_eq!(plan.get(&a).await.unwrap()["data"]["k"], "3");
            assert!(!plan.admitted());
            let told = plan.take_warnings();
            assert_eq!(told, [format!("the server could not be asked about every write: {text}")], "once");
        }
        // One that cannot be called would fail the run too.
        let text = "Internal error occurred: failed calling webhook \"w.example\": connection refused";
        let (_, plan) = plan(vec![says_no(at("patch", "ConfigMap"), 500, text)]);
        let error = plan.patch(&target(&plan, "cm/a").await, PatchType::Merge, json!({ "data": { "k": "2" } }), None).await.unwrap_err();
        assert_eq!(error.causes, [text]);
    });
}

#[test]
fn a_server_that_gives_no_answer_is_asked_again_and_then_told() {
    run(async {
        let busy = |nth| Rule { when: Match { nth: Some(nth), ..at("patch", "ConfigMap") }, action: Action::LostBefore };
        let (_, plan) = plan(vec![busy(1), busy(2)]);
        let a = target(&plan, "cm/a").await;
        plan.patch(&a, PatchType::Merge, json!({ "data": { "k": "2" } }), None).await.unwrap();
        assert!(plan.admitted() && plan.take_warnings().is_empty());
        let (_, plan) = self::plan(vec![Rule { when: at("patch", "ConfigMap"), action: Action::LostBefore }]);
        let a = target(&plan, "cm/a").await;
        plan.patch(&a, PatchType::Merge, json!({ "data": { "k": "2" } }), None).await.unwrap();
        assert!(!plan.admitted());
        let told = plan.take_warnings();
        assert!(told.len() == 1 && told[0].contains("could not be asked about every write"), "{told:?}");
    });
}

#[test]
fn an_object_that_was_made_anew_is_a_question_of_access() {
    run(async {
        let (live, plan) = plan(Vec::new());
        let before = rv(&live);
        let a = target(&plan, "cm/a").await;
        plan.delete(&a, json!({})).await.unwrap();
        let new = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "a" }, "data": {} });
        plan.create(&a.resource, None, new).await.unwrap();
        plan.patch(&a, PatchType::Merge, json!({ "data": { "k": "2" } }), None).await.unwrap();
        let review = "create selfsubjectaccessreviews.authorization.k8s.io 201";
        assert_eq!(asked(&plan), ["delete configmaps 200", review, review]);
        assert_eq!(rv(&live), before);
    });
}

#[test]
fn budgets_are_counted_by_the_copy() {
    run(async {
        let (live, plan) = plan(Vec::new());
        let pods = plan.resolve("pods", None).await.unwrap();
        let listed = plan.list(&pods, Some("default"), &lockgate::cluster::Select::default()).await.unwrap().items;
        let mut refused = Vec::new();
        for pod in &listed {
            let text = |field: &str| pod["metadata"][field].as_str().unwrap();
            let (name, uid) = (text("name"), text("uid"));
            let pod = target(&plan, &format!("pod/{name}")).await;
            refused.push(plan.evict(&pod, uid, json!({})).await.is_err());
        }
        assert_eq!(refused, [false, true], "the server would let both go, one at a time");
        assert_eq!(asked(&plan), ["create pods/eviction 201"], "what the copy refuses by itself is no question");
        let left = live.list(&pods, Some("default"), &lockgate::cluster::Select::default()).await.unwrap().items;
        assert!(left.len() == 2 && left.iter().all(|pod| pod["metadata"]["deletionTimestamp"].is_null()), "{left:?}");
    });
}

/// A right that is missing is named, whichever question met it.
#[test]
fn a_write_that_this_user_may_not_make_is_told_with_the_right() {
    run(async {
        let no = |what: &str| format!("{what} is forbidden: User \"u\" cannot do that");
        let (_, plan) = plan(vec![
            says_no(at("patch", "Deployment"), 403, &no("deployments.apps \"web\"")),
            says_no(Match { subresource: Some("eviction".into()), ..at("create", "Pod") }, 403, &no("pods \"web\"")),
            says_no(at("delete", "ConfigMap"), 403, &no("configmaps \"a\"")),
        ]);
        let right = |error: lockgate::base::Error| (error.reason, error.hint.clone().unwrap_or_default());
        let web = target(&plan, "deployment/web").await;
        let error = plan.patch(&web, PatchType::Merge, json!({ "spec": { "replicas": 1 } }), None).await.unwrap_err();
        assert_eq!(
            right(error),
            (Reason::Forbidden, "the user needs `patch` on `deployments` of group `apps` in namespace `default`".into())
        );
        let pods = plan.resolve("pods", None).await.unwrap();
        let listed = plan.list(&pods, Some("default"), &lockgate::cluster::Select::default()).await.unwrap().items;
        let text = |field: &str| listed[0]["metadata"][field].as_str().unwrap();
        let pod = target(&plan, &format!("pod/{}", text("name"))).await;
        let error = plan.evict(&pod, text("uid"), json!({})).await.unwrap_err();
        assert_eq!(right(error), (Reason::Forbidden, "the user needs `create` on `pods/eviction` in namespace `default`".into()));
        let error = plan.delete(&target(&plan, "cm/a").await, json!({})).await.unwrap_err();
        assert_eq!(right(error), (Reason::Forbidden, "the user needs `delete` on `configmaps` in namespace `default`".into()));
    });
}

#[test]
fn nothing_but_questions_passes_beside_the_reads() {
    run(async {
        let (live, plan) = plan(Vec::new());
        let events = |live: &Cluster| live.simulation().unwrap().with(|sim| sim.ledger().len());
        let before = (events(&live), rv(&live));
        plan.set_access(Access::ReadWrite);
        let web = target(&plan, "deployment/web").await;
        plan.patch(&web, PatchType::Strategic, json!({ "spec": { "replicas": 5 } }), None).await.unwrap();
        plan.patch(&web, PatchType::Merge, json!({ "spec": { "replicas": 1 } }), Some("scale")).await.unwrap();
        plan.delete(&web, json!({ "propagationPolicy": "Foreground" })).await.unwrap();
        assert_eq!(asked(&plan), ["patch deployments.apps 200", "patch deployments.apps/scale 200", "delete deployments.apps 200"]);
        assert_eq!((events(&live), rv(&live)), before);
    });
}
