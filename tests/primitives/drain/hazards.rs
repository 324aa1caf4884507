//! drain while things go wrong: `reference/primitives.md` §1.2, acceptance 5 to 10 and 12, and the faults of `reference/safety.md` §5.7.

use lockgate::base::{Kind, Reason, Span};
use lockgate::cluster::Verb;
use lockgate::primitives::Inverse;
use lockgate_sim::Request;
use lockgate_sim::json::{Value as Json, json};
use lockgate_sim::model::{ModelDocument, PodMatch};

use super::super::support::arg;
use super::support::{NODE, asked, effects, evictions, left, rig, rig_with, rule, sent, took};

#[test]
fn a_drain_tells_its_writes_as_it_makes_them_and_how_they_are_taken_back() {
    let rig = rig("deployment web 2\ndaemonset agent");
    let done = rig.call("drain", json!([NODE]), json!({})).unwrap();
    assert_eq!(done.wrote, *rig.operator.told.borrow());
    let told: Vec<(&str, bool)> =
        done.wrote.iter().map(|wrote| (wrote.verb.as_str(), matches!(wrote.inverse, Inverse::Call { .. }))).collect();
    assert_eq!(told, [("cordon", true), ("evict", false), ("evict", false)]);
    assert!(done.wrote[1].target.starts_with("pod/s/web-"), "{}", done.wrote[1].target);
    let value = done.value.clone().into_json();
    assert_eq!((&value["nodes"], &value["cordoned"]), (&json!([NODE]), &json!([NODE])));
    assert_eq!((&value["changed"], &value["already_empty"]), (&json!(true), &json!(false)));
    assert_eq!(value["skipped"].as_array().unwrap().len(), 1);
    assert_eq!(value["skipped"][0]["class"], "daemonset");
    rig.undo(&done);
    assert!(rig.object("node/s-a")["spec"]["unschedulable"].is_null());
}

#[test]
fn the_second_drain_finds_nothing_to_do() {
    let rig = rig("deployment web 2");
    rig.call("drain", json!([NODE]), json!({})).unwrap();
    rig.read_only();
    let again = rig.call("drain", json!([NODE]), json!({})).unwrap();
    assert_eq!(again.wrote, vec![]);
    let value = again.value.into_json();
    assert_eq!((&value["already_empty"], &value["changed"], &value["took"]), (&json!(true), &json!(false), &json!("0s")));
}

#[test]
fn what_may_not_go_is_named_with_every_reason_and_nothing_is_written() {
    let rig = rig("pod tool emptydir\ndeployment web 1");
    let error = rig.error("drain", json!([NODE]), json!({}));
    assert_eq!((error.kind, error.reason, rig.writes()), (Kind::Refused, Reason::Refused, 0));
    assert_eq!(error.message, "draining `node/s-a`: 1 pod of it may not go");
    assert_eq!(error.causes, ["`pod/s/tool`: it has data in an emptyDir and no controller makes it again"]);
    let hint = "nothing was evicted; `delete_emptydir_data = true` and `force = true` allow it";
    assert_eq!(error.hint.as_deref(), Some(hint));
}

#[test]
fn one_list_and_one_watch_for_pods_and_for_budgets() {
    let rig = rig("deployment web 3\nbudget web max=1");
    rig.call("drain", json!([NODE]), json!({})).unwrap();
    let count = |verb, resource| rig.requests(verb, resource);
    assert_eq!((count(Verb::Watch, "pods"), count(Verb::Watch, "poddisruptionbudgets.policy")), (1, 1));
    assert_eq!(count(Verb::List, "poddisruptionbudgets.policy"), 1);
    assert_eq!(count(Verb::List, "pods"), 2, "the second one asks whether the node is empty");
    assert_eq!(count(Verb::Get, "pods"), 0, "nobody polls");
}

#[test]
fn a_pod_made_again_under_its_name_is_another_one() {
    let rig = rig("statefulset db 1");
    let before = sent(&rig, &Request::get("/api/v1/namespaces/s/pods/db-0"))["metadata"]["uid"].clone();
    let value = rig.value("drain", json!([NODE]), json!({}));
    assert_eq!(value["evicted"], json!(["s/db-0"]));
    rig.run(rig.cluster.clock().sleep(Span::from_secs(60))).unwrap();
    let after = sent(&rig, &Request::get("/api/v1/namespaces/s/pods/db-0"));
    assert_ne!(after["metadata"]["uid"], before);
    assert_eq!((after["spec"]["nodeName"].as_str(), asked(&rig)), (Some("s-b"), 1));
}

#[test]
fn a_finalizer_is_named_and_the_node_stays_cordoned() {
    let rig = rig("deployment web 1 held");
    let error = rig.error("drain", json!([NODE]), json!({ "timeout": "20s" }));
    assert_eq!((error.kind, error.reason), (Kind::Stuck, Reason::Timeout));
    assert_eq!(error.message, "draining `node/s-a` did not finish within 20s: 1 pod is left, and the node stays cordoned");
    assert!(error.causes[0].ends_with("terminating, held by finalizer `example.com/held`"), "{:?}", error.causes);
    assert_eq!(error.hint.as_deref(), Some("find out why those who put the finalizers there do not take them away"));
    assert_eq!(rig.object("node/s-a")["spec"]["unschedulable"], true);
}

#[test]
fn a_pod_of_a_namespace_that_goes_is_waited_for() {
    let rig = rig("deployment web 2");
    sent(&rig, &Request::delete("/api/v1/namespaces/s"));
    let value = rig.value("drain", json!([NODE]), json!({}));
    assert_eq!((&value["evicted"], left(&rig, NODE).len()), (&json!([]), 0));
}

#[test]
fn a_namespace_that_begins_to_go_in_the_middle_is_no_error() {
    let terminating = json!({ "fail": { "code": 403, "causes": [
        { "reason": "NamespaceTerminating", "message": "namespace s is being terminated", "field": "metadata.namespace" }] } });
    let rig = rig_with("deployment web 1", |sim| sim.add_fault(evictions(&terminating, Some(1))));
    let value = rig.value("drain", json!([NODE]), json!({}));
    assert_eq!(value["evicted"].as_array().unwrap().len(), 1);
}

#[test]
fn a_server_that_is_away_for_a_while_is_waited_for() {
    // 20 s are the restart of an API server; 10 minutes that of a control plane with trouble.
    for seconds in [20_u64, 600] {
        let down = json!({ "down": format!("{seconds}s") });
        let rig = rig_with("deployment web 3", |sim| sim.add_fault(evictions(&down, Some(2))));
        let options = json!({ "timeout": "20m", "stall": "15m" });
        let (value, took) = took(&rig, || rig.value("drain", json!([NODE]), options));
        assert_eq!(left(&rig, NODE).len(), 0, "{value}");
        assert_eq!(value["evicted"].as_array().unwrap().len(), 3, "{value}");
        assert!(took >= Span::from_secs(seconds), "{took}");
    }
}

#[test]
fn an_answer_that_is_lost_is_looked_up_by_uid_and_nothing_is_done_twice() {
    let actions = [
        json!("lost_after"),
        json!("lost_before"),
        json!({ "fail": { "code": 500 } }),
        json!({ "fail": { "code": 503, "retry_after": 1 } }),
        json!({ "fail": { "code": 504 } }),
        json!({ "delayed": "3s" }),
        json!("conflict"),
    ];
    for action in actions {
        for nth in [1, 2] {
            let rig = rig_with("deployment web 2", |sim| sim.add_fault(evictions(&action, Some(nth))));
            let value = rig.value("drain", json!([NODE]), json!({}));
            assert_eq!((left(&rig, NODE).len(), &value["changed"]), (0, &json!(true)), "{action} {nth}");
            let mut evicted: Vec<String> = effects(&rig).into_iter().filter(|effect| effect.contains("pod/s/")).collect();
            let all = evicted.len();
            evicted.sort();
            evicted.dedup();
            assert_eq!((evicted.len(), all), (2, 2), "{action} {nth}: {evicted:?}");
        }
    }
}

#[test]
fn a_watch_that_is_cut_is_gone_on_with() {
    for action in [json!({ "drop_watch": 1 }), json!({ "expire_watch": 1 })] {
        let cut = rule(json!({ "match": { "verb": "watch" }, "do": action }));
        let rig = rig_with("deployment web 3\nbudget web max=1", |sim| sim.add_fault(cut));
        let value = rig.value("drain", json!([NODE]), json!({}));
        assert_eq!((value["evicted"].as_array().unwrap().len(), left(&rig, NODE).len()), (3, 0), "{action}");
    }
}

#[test]
fn a_webhook_that_says_no_is_waited_for_and_named() {
    let message = "admission webhook \"guard.example.com\" denied the request: backup is running";
    let denied = json!({ "fail": { "code": 403, "message": message } });
    let rig = rig_with("deployment web 1", |sim| sim.add_fault(evictions(&denied, None)));
    let error = rig.error("drain", json!([NODE]), json!({ "stall": "1m" }));
    assert_eq!((error.kind, error.reason), (Kind::Stuck, Reason::Stalled));
    assert!(error.causes[0].ends_with(&format!("waits: {message}")), "{:?}", error.causes);
    let times = rig_with("deployment web 1", |sim| {
        for nth in 1..=3 {
            sim.add_fault(evictions(&denied, Some(nth)));
        }
    });
    assert_eq!(times.value("drain", json!([NODE]), json!({}))["evicted"].as_array().unwrap().len(), 1);
}

#[test]
fn a_user_who_may_not_evict_fails_with_the_right_that_is_missing() {
    let rig = rig_with("deployment web 1", |sim| sim.add_fault(evictions(&json!({ "fail": { "code": 403 } }), None)));
    let error = rig.error("drain", json!([NODE]), json!({}));
    assert_eq!((error.kind, error.reason), (Kind::Refused, Reason::Forbidden));
    assert_eq!(error.hint.as_deref(), Some("the user needs `create` on `pods/eviction` in namespace `s`"));
}

#[test]
fn a_server_without_budgets_of_policy_v1_is_refused_before_the_first_write() {
    let rig = rig_with("deployment web 1", |sim| {
        let rule = json!({ "match": { "verb": "list", "kind": "PodDisruptionBudget" }, "do": { "fail": { "code": 404 } } });
        sim.add_fault(serde_json::from_str(&rule.to_string()).unwrap());
    });
    for verb in ["drain_plan", "drain"] {
        let error = rig.error(verb, json!([NODE]), json!({}));
        assert_eq!((error.kind, error.reason), (Kind::Cluster, Reason::Unsupported), "{error}");
        assert_eq!(error.hint.as_deref(), Some("draining needs `policy/v1`, which API servers have with evictions from 1.22 on"));
    }
    assert_eq!(rig.writes(), 0);
}

/// What somebody else cordoned is drained, and stays theirs: neither `drain` nor `uncordon` makes it this run's.
#[test]
fn a_cordon_of_somebody_else_stays_theirs() {
    let rig = rig("deployment web 1");
    let theirs = json!({ "spec": { "unschedulable": true } });
    rig.sim(|sim| sim.handle(&Request::patch(&format!("/api/v1/nodes/{NODE}"), "application/merge-patch+json", &theirs)));
    let value = rig.value("drain", json!([NODE]), json!({}));
    assert_eq!((&value["cordoned"], value["evicted"].as_array().unwrap().len()), (&json!([]), 1), "{value}");
    let node = rig.object(&format!("node/{NODE}"));
    assert_eq!(node["metadata"]["annotations"]["lockgate.dev/cordoned-by"], Json::Null, "{node}");
    assert_eq!(rig.error("uncordon", json!([NODE]), json!({})).reason, Reason::Refused);
    assert_eq!(rig.object(&format!("node/{NODE}"))["spec"]["unschedulable"], true);
}

#[test]
fn the_pods_of_a_dead_kubelet_are_left_behind_when_asked() {
    let stopped = |given: &'static str| {
        rig_with(given, |sim| {
            let model = json!({ "apiVersion": "lockgate.dev/v1", "kind": "Model", "nodes": [{ "match": NODE, "kubelet": "stopped", "why": "a test" }] });
            let document: ModelDocument = lockgate_sim::json::from_value(model).unwrap();
            sim.models_mut().extend(document);
            let end = sim.now() + std::time::Duration::from_secs(120);
            sim.advance_to(end);
        })
    };
    let rig = stopped("deployment web 2");
    let plan = rig.value("drain_plan", json!([NODE]), json!({}));
    assert_eq!(plan["verdict"], "never");
    assert!(plan["message"].as_str().unwrap().contains("the kubelet of the node does not answer"), "{plan}");
    let error = rig.error("drain", json!([NODE]), json!({ "stall": "1m" }));
    assert_eq!(error.reason, Reason::Stalled);
    assert!(error.hint.as_deref().unwrap().contains("skip_wait_for_delete_timeout"), "{:?}", error.hint);
    let value = rig.value("drain", json!([NODE]), json!({ "skip_wait_for_delete_timeout": 30 }));
    let classes: Vec<&Json> = value["skipped"].as_array().unwrap().iter().map(|pod| &pod["class"]).collect();
    assert_eq!(classes, ["overdue", "overdue"]);
}

#[test]
fn a_pod_that_comes_straight_back_is_told() {
    let rig = rig("deployment web 1 tolerant pinned");
    let error = rig.error("drain", json!([NODE]), json!({}));
    assert_eq!((error.kind, error.reason), (Kind::Stuck, Reason::Stalled));
    assert_eq!(error.message, "draining `node/s-a`: each time a pod is evicted another one is put in its place");
    assert!(error.causes[0].ends_with("tolerates the cordon, and is number 3 that came back"), "{:?}", error.causes);
    assert_eq!(asked(&rig), 4, "the first one and three that came");
}

#[test]
fn a_pod_that_comes_back_once_goes_again_and_is_reported() {
    let rig = rig("statefulset db 1 tolerant");
    let value = rig.value("drain", json!([NODE]), json!({}));
    assert_eq!(left(&rig, NODE).len(), 0, "{value}");
    let (evicted, came) = (value["evicted"].as_array().unwrap().len(), value["rescheduled"].as_array().unwrap().len());
    assert_eq!(evicted, came + 1, "{value}");
}

#[test]
fn pods_of_one_set_and_more_than_allowed_do_not_go_at_once() {
    let rig = rig("deployment web 6\nstatefulset db 3");
    rig.call("drain", json!([NODE]), json!({ "max_evictions": 2 })).unwrap();
    let most = rig.operator.states.borrow().iter().filter_map(|state| terminating(state)).max();
    assert_eq!(most, Some(2));
    assert_eq!(rig.error("drain", json!([NODE]), json!({ "max_evictions": 0 })).reason, Reason::Usage);
}

/// The number before `terminating` in a line of progress.
fn terminating(state: &str) -> Option<u32> {
    state.split_once(" terminating")?.0.rsplit(' ').next()?.parse().ok()
}

#[test]
fn a_pod_that_never_ends_stalls_after_its_grace_period() {
    let rig = rig_with("deployment web 1", |sim| {
        let labels = [("app".to_owned(), "web".to_owned())].into();
        sim.models_mut().stuck_terminating(PodMatch { labels, ..PodMatch::default() });
    });
    let (error, took) = took(&rig, || rig.error("drain", json!([NODE]), json!({ "grace_period": 20, "stall": "1m" })));
    assert_eq!(error.reason, Reason::Stalled);
    assert_eq!(took, Span::from_secs(80));
    assert!(error.causes[0].ends_with("terminating, 1m beyond its grace period"), "{:?}", error.causes);
}

#[test]
fn what_is_put_on_the_node_meanwhile_goes_too_or_is_refused() {
    for (forced, ends) in [(true, true), (false, false)] {
        let rig = rig("deployment web 1");
        let late = json!({ "metadata": { "name": "late", "namespace": "s" }, "spec": { "nodeName": NODE, "containers": [{ "name": "c", "image": "x:v1" }] } });
        let create =
            json!({ "after": { "write": { "by": "somebody", "verb": "create", "path": "/api/v1/namespaces/s/pods", "body": late } } });
        rig.sim(|sim| sim.add_fault(evictions(&create, Some(1))));
        let result = rig.run(rig.calling("drain", vec![arg(json!(NODE))], &json!({ "force": forced })));
        match result {
            Ok(done) => {
                let value = done.value.into_json();
                assert!(ends && value["rescheduled"] == json!(["s/late"]), "{value}");
                assert_eq!(left(&rig, NODE).len(), 0);
            }
            Err(error) => {
                assert!(!ends && error.reason == Reason::Refused, "{error}");
                assert_eq!(error.causes, ["`pod/s/late`: no controller makes it again"]);
            }
        }
    }
}
