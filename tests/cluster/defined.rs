//! Custom resources in a plan on a live cluster: their definitions are read from it, and writes of them stay in the plan.

use lockgate::base::{ObjectRef, Reason};
use lockgate::cluster::{Cluster, Follow, Options, PatchType, RunId, Select, Target};
use lockgate_sim::faults::{Action, Failure, Match, Rule};
use lockgate_sim::fixture::Fixture;
use lockgate_sim::json::json;

use super::support::run;

const WORLD: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gears.alpha.example.org}
spec:
  group: alpha.example.org
  scope: Namespaced
  names: {kind: Gear, plural: gears, singular: gear}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}, scale: {specReplicasPath: .spec.teeth, statusReplicasPath: .status.teeth}}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec: {type: object, properties: {teeth: {type: integer, minimum: 1}, metal: {type: string, default: steel}}}
          status: {type: object, x-kubernetes-preserve-unknown-fields: true}
---
apiVersion: alpha.example.org/v1
kind: Gear
metadata: {name: a, namespace: default, uid: 0d3f6c1e-0000-4000-8000-000000000001}
spec: {teeth: 3}
status: {phase: Turns}
";

/// A plan on that cluster, with these rules at its server.
fn plan(rules: Vec<Rule>) -> (Cluster, Cluster) {
    let mut sim = Fixture::parse("world.yaml", WORLD).unwrap().cluster(lockgate_sim::Options::default()).unwrap();
    rules.into_iter().for_each(|rule| sim.add_fault(rule));
    let live = Cluster::stand_in(sim, Options { local: true, ..Options::new(RunId::generate()) });
    let plan = live.planning();
    (live, plan)
}

async fn gear(cluster: &Cluster, name: &str) -> Target {
    cluster.target(&ObjectRef::parse(&format!("gear/{name}")).unwrap(), None).await.unwrap()
}

/// What left the process about resources.
fn wire(plan: &Cluster) -> Vec<String> {
    let real = plan.requests().into_iter().filter(|request| !request.dry && !request.resource.starts_with('/'));
    real.map(|request| format!("{} {}", request.verb, request.resource.split('.').next().unwrap_or_default())).collect()
}

#[test]
fn the_definition_of_a_kind_is_read_once_and_writes_stay_in_the_plan() {
    run(async {
        let (live, plan) = plan(Vec::new());
        let a = gear(&plan, "a").await;
        let read = plan.get(&a).await.unwrap();
        assert_eq!((read["spec"]["teeth"].as_i64(), read["status"]["phase"].as_str()), (Some(3), Some("Turns")));
        let patched = plan.patch(&a, PatchType::Merge, json!({"spec": {"teeth": 5}}), None).await.unwrap();
        assert_eq!((patched["spec"]["teeth"].as_i64(), patched["metadata"]["generation"].as_i64()), (Some(5), Some(2)));
        let made = json!({"apiVersion": "alpha.example.org/v1", "kind": "Gear", "metadata": {"name": "b"}, "spec": {"teeth": 2}});
        plan.create(&a.resource, Some("default"), made).await.unwrap();
        let b = gear(&plan, "b").await;
        let made = plan.get(&b).await.unwrap();
        assert_eq!(made["spec"]["metal"], "steel", "defaulted as its schema says");
        plan.delete(&b, json!({})).await.unwrap();
        assert_eq!(plan.find(&b).await.unwrap(), None);
        assert_eq!(wire(&plan), ["get customresourcedefinitions", "get gears", "get gears", "get namespaces"]);
        assert_eq!(live.get(&a).await.unwrap()["spec"]["teeth"], 3, "nothing was written");
    });
}

#[test]
fn what_the_schema_forbids_is_refused_in_the_servers_words() {
    run(async {
        let (_, plan) = plan(Vec::new());
        let a = gear(&plan, "a").await;
        let error = plan.patch(&a, PatchType::Merge, json!({"spec": {"teeth": 0}}), None).await.unwrap_err();
        assert_eq!(error.reason, Reason::Invalid);
        let told = format!("{error:?}");
        assert!(told.contains("should be greater than or equal to 1"), "{told}");
    });
}

#[test]
fn what_an_operator_would_do_is_not_modelled() {
    run(async {
        let (_, plan) = plan(Vec::new());
        let a = gear(&plan, "a").await;
        plan.patch(&a, PatchType::Merge, json!({"spec": {"teeth": 5}}), None).await.unwrap();
        let scope = Follow { resource: a.resource.clone(), namespace: None, select: Select::default() };
        let mut following = plan.follow(vec![scope]).await.unwrap();
        assert_eq!(following.items(0).count(), 1);
        let error = following.changed(None).await.err().unwrap();
        assert_eq!(error.reason, Reason::Unmodelled, "nothing would ever come");
        let told = "whether gears.alpha.example.org changes is not known: nobody plays in a plan what its operator does";
        assert_eq!(error.causes, [told]);
    });
}

#[test]
fn a_definition_that_may_not_be_read_is_told_and_writes_are_refused() {
    run(async {
        let when = Match { verb: Some("get".into()), kind: Some("CustomResourceDefinition".into()), ..Match::default() };
        let failure = Failure { code: 403, reason: None, message: Some("not for you".into()), retry_after: None, causes: Vec::new() };
        let (_, plan) = plan(vec![Rule { when, action: Action::Fail(failure) }]);
        let a = gear(&plan, "a").await;
        assert_eq!(plan.get(&a).await.unwrap()["spec"]["teeth"], 3, "read through");
        for _ in 0..2 {
            let error = plan.patch(&a, PatchType::Merge, json!({"spec": {"teeth": 5}}), None).await.unwrap_err();
            assert_eq!(error.reason, Reason::Unmodelled);
        }
        let right = "the user needs `get` on `customresourcedefinitions` of group `apiextensions.k8s.io`";
        assert_eq!(plan.unknowns(), [format!("the definition of gears.alpha.example.org: not for you; {right}")]);
        assert_eq!(wire(&plan), ["get customresourcedefinitions", "get gears"]);
        plan.planning().get(&a).await.unwrap();
    });
}
