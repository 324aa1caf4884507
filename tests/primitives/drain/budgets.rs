//! drain and disruption budgets: `reference/primitives.md` §1.2, acceptance 2, 3, 4, 11.

use lockgate::base::{Kind, ObjectRef, Reason, Span};
use lockgate::cluster::PatchType;
use lockgate_sim::json::json;

use super::super::support::arg;
use super::support::{NODE, asked, evictions, left, rig, rig_with, took};

#[test]
fn an_impossible_budget_is_found_before_anything_is_written_with_its_numbers() {
    let rig = rig("deployment web 1\nbudget web min=1");
    let (error, took) = took(&rig, || rig.error("drain", json!([NODE]), json!({ "timeout": "20s" })));
    assert_eq!((error.kind, error.reason), (Kind::Stuck, Reason::BlockedByBudget));
    assert_eq!(error.message, "draining `node/s-a`: 1 pod of it can never go");
    let pod = left(&rig, NODE).remove(0);
    assert_eq!(error.causes, [format!("`pod/s/{pod}`: budget `s/web` keeps 1 of its 1 pod")]);
    let blocked = &error.details["blocked"][0];
    assert_eq!(blocked["pod"], format!("s/{pod}"));
    assert_eq!(blocked["budgets"], json!(["s/web"]));
    let numbers = ["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"].map(|name| blocked[name].as_i64().unwrap());
    assert_eq!(numbers, [0, 1, 1, 1]);
    assert_eq!(blocked["unhealthy_pods"], json!([]));
    assert_eq!(blocked["condition"]["reason"], "InsufficientPods");
    assert!(took <= Span::from_secs(1), "{took}");
    assert_eq!(rig.writes(), 0, "not even the cordon");
}

#[test]
fn the_plan_names_the_budget_and_writes_nothing() {
    let rig = rig("deployment web 1\nbudget web min=1");
    rig.read_only();
    let plan = rig.value("drain_plan", json!([NODE]), json!({}));
    let pod = left(&rig, NODE).remove(0);
    let row =
        json!({ "pod": format!("s/{pod}"), "class": "replicated", "action": "evict", "blocker": "budget `s/web` keeps 1 of its 1 pod" });
    assert_eq!(plan["pods"], json!([row]));
    assert_eq!(plan["message"], format!("never, because of `pod/s/{pod}`: budget `s/web` keeps 1 of its 1 pod"));
    assert_eq!(rig.writes(), 0);
}

#[test]
fn a_budget_of_one_lets_pods_go_one_by_one() {
    let rig = rig("deployment web 3\nbudget web max=1");
    let (done, took) = took(&rig, || rig.call("drain", json!([NODE]), json!({})).unwrap());
    assert_eq!(done.value.into_json()["evicted"].as_array().unwrap().len(), 3);
    assert_eq!(asked(&rig), 3, "no eviction is sent that would be refused");
    assert!(took < Span::from_secs(60), "{took}: a change of the budget wakes the drain");
    let states = rig.operator.states.borrow().join("\n");
    assert!(states.contains("drain of node/s-a: 0 of 3 pods gone, 1 terminating; pod/s/web-"), "{states}");
    assert!(states.contains("(and 1 more) waits: budget `s/web` "), "{states}");
    assert!(states.contains("drain of node/s-a: 3 pods gone after "), "{states}");
}

#[test]
fn two_budgets_on_one_pod_are_both_named() {
    let rig = rig("deployment web 2\nbudget web max=1\nbudget more max=1 of=web");
    let error = rig.error("drain", json!([NODE]), json!({}));
    assert_eq!(error.reason, Reason::BlockedByBudget);
    let cause = "budgets `s/more` and `s/web` cover it, and the server evicts no pod with more than one";
    assert!(error.causes[0].ends_with(cause), "{:?}", error.causes);
}

#[test]
fn unready_pods_go_when_their_budget_says_so_and_the_hint_says_how() {
    let stuck = rig("deployment web 1 unready\nbudget web min=1");
    let error = stuck.error("drain", json!([NODE]), json!({}));
    let hint = "nothing was written; `unhealthyPodEvictionPolicy: AlwaysAllow` in the budget lets pods go that are not ready";
    assert_eq!((error.reason, error.hint.as_deref()), (Reason::BlockedByBudget, Some(hint)));
    assert_eq!(error.details["blocked"][0]["unhealthy_pods"].as_array().unwrap().len(), 1);
    let goes = rig("deployment web 1 unready\nbudget web min=1 always");
    assert_eq!(goes.value("drain", json!([NODE]), json!({}))["evicted"].as_array().unwrap().len(), 1);
}

#[test]
fn deletion_past_a_budget_is_asked_for_by_name_and_no_means_no() {
    let rig = rig("deployment web 1\nbudget web max=0");
    let pod = left(&rig, NODE).remove(0);
    rig.operator.declines.set(true);
    for options in [json!({ "on_impossible_budget": "delete" }), json!({ "disable_eviction": true })] {
        let error = rig.error("drain", json!([NODE]), options);
        assert_eq!((error.reason, rig.writes()), (Reason::Declined, 0));
    }
    let question = format!("delete `pod/s/{pod}` in despite of budget `s/web`?");
    assert!(rig.operator.asked.borrow().iter().all(|(asked, _)| *asked == question), "{:?}", rig.operator.asked.borrow());
    rig.operator.declines.set(false);
    let done = rig.value("drain", json!([NODE]), json!({ "on_impossible_budget": "delete" }));
    assert_eq!((&done["deleted"], &done["evicted"]), (&json!([format!("s/{pod}")]), &json!([])));
    assert_eq!(asked(&rig), 0);
}

#[test]
fn without_a_budget_in_the_way_nobody_is_asked() {
    let rig = rig("deployment web 2\nbudget web max=1");
    rig.value("drain", json!([NODE]), json!({ "disable_eviction": true, "timeout": "5m" }));
    assert_eq!(rig.operator.asked.borrow().len(), 0);
}

#[test]
fn a_budget_that_is_changed_meanwhile_lets_go_at_once() {
    let rig = rig("deployment web 1\nbudget web max=0");
    let call = rig.calling("drain", vec![arg(json!(NODE))], &json!({ "on_impossible_budget": "wait" }));
    let other = rig.cluster.clock().join();
    let cluster = rig.cluster.clone();
    let start = rig.cluster.clock().now();
    let done = rig.run(async move {
        let meddler = async {
            other.sleep(Span::from_secs(30)).await.unwrap();
            let budget = ObjectRef::parse("poddisruptionbudget/s/web").unwrap();
            let target = cluster.target(&budget, None).await.unwrap();
            cluster.patch(&target, PatchType::Merge, json!({ "spec": { "maxUnavailable": 1 } }), None).await.unwrap();
            drop(other);
        };
        futures::join!(call, meddler).0.unwrap()
    });
    assert_eq!(done.wrote.len(), 2, "the cordon and one eviction");
    let took = Span::between(start, rig.cluster.clock().now());
    assert!(took < Span::from_secs(35), "{took}");
}

#[test]
fn a_refusal_by_the_server_is_waited_out_as_it_says() {
    let busy = json!({ "fail": { "code": 429, "retry_after": 7 } });
    let rig = rig_with("deployment web 1", |sim| sim.add_fault(evictions(&busy, Some(1))));
    let (done, took) = took(&rig, || rig.call("drain", json!([NODE]), json!({})).unwrap());
    assert_eq!((done.wrote.len(), asked(&rig)), (2, 2));
    assert!(took >= Span::from_secs(7), "{took}");
}

#[test]
fn a_budget_that_was_not_counted_yet_is_waited_for() {
    let rig = rig_with("deployment web 1", |sim| {
        sim.stop_controller("disruption-controller");
        let budget =
            json!({ "metadata": { "name": "web" }, "spec": { "maxUnavailable": 1, "selector": { "matchLabels": { "app": "web" } } } });
        let path = "/apis/policy/v1/namespaces/s/poddisruptionbudgets";
        assert_eq!(sim.handle(&lockgate_sim::Request::post(path, &budget)).status, 201);
    });
    assert_eq!(rig.value("drain_plan", json!([NODE]), json!({}))["verdict"], "slow");
    let error = rig.error("drain", json!([NODE]), json!({ "stall": "30s" }));
    assert_eq!(error.reason, Reason::BlockedByBudget);
    assert_eq!(error.message, "draining `node/s-a` made no progress for 30s: 1 pod is left, and the node stays cordoned");
    assert!(error.causes[0].ends_with("waits: budget `s/web` has not been counted yet"), "{:?}", error.causes);
    assert_eq!(asked(&rig), 0);
}
