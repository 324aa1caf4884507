//! What goes wrong on the way, by rules of the simulated cluster.

use lockgate::base::{Kind, ObjectRef, Reason, Span};
use lockgate::cluster::{Cluster, Follow, OP_ANNOTATION, Options, PatchType, RunId, Select, Target, Verb, Woke};
use lockgate_sim::json::{Value, json};

use super::support::{config_map, empty, run, simulated};

fn break_it(cluster: &Cluster, rules: Value) {
    let rules: Vec<lockgate_sim::faults::Rule> = lockgate_sim::json::from_value(rules).unwrap();
    cluster.simulation().unwrap().with(|sim| rules.into_iter().for_each(|rule| sim.add_fault(rule)));
}

async fn with_map() -> (Cluster, Target) {
    let cluster = simulated(Options::new(RunId::generate()));
    let resource = cluster.resolve("cm", None).await.unwrap();
    cluster.create(&resource, None, config_map("a", json!({"k": "1"}))).await.unwrap();
    let target = cluster.target(&ObjectRef::new("cm", "a"), None).await.unwrap();
    (cluster, target)
}

fn count(cluster: &Cluster, verb: Verb) -> usize {
    cluster.requests().iter().filter(|request| request.verb == verb).count()
}

#[test]
fn a_lost_read_is_sent_again() {
    run(async {
        let (cluster, a) = with_map().await;
        let start = cluster.clock().now();
        break_it(&cluster, json!([{"match": {"verb": "get", "nth": 1}, "do": "lost_before"}]));
        assert_eq!(cluster.get(&a).await.unwrap()["data"]["k"], "1");
        assert_eq!(count(&cluster, Verb::Get), 2);
        assert_eq!(Span::between(start, cluster.clock().now()), Span::from_millis(100), "a pause in virtual time");
        assert_eq!(cluster.requests().iter().filter(|request| request.status.is_none()).count(), 1);
    });
}

#[test]
fn a_write_whose_answer_is_lost_is_settled_by_one_read() {
    run(async {
        for (fault, patches) in
            [(json!("lost_before"), 2), (json!("lost_after"), 1), (json!({"truncate": 3}), 1), (json!({"fail": {"code": 500}}), 2)]
        {
            let (cluster, a) = with_map().await;
            break_it(&cluster, json!([{"match": {"verb": "patch", "nth": 1}, "do": fault}]));
            let patched = cluster.patch(&a, PatchType::Merge, json!({"data": {"k": "2"}}), None).await.unwrap();
            assert_eq!(patched["data"]["k"], "2", "{fault}");
            assert_eq!((count(&cluster, Verb::Patch), count(&cluster, Verb::Get)), (patches, 1), "{fault}");
            let stamp = cluster.get(&a).await.unwrap()["metadata"]["annotations"][OP_ANNOTATION].as_str().unwrap().to_owned();
            assert_eq!(stamp, format!("{}/2/1", cluster.run()), "{fault}: it is the same write, whichever try made it");
        }
    });
}

#[test]
fn a_write_that_never_arrives_is_told_as_not_made() {
    run(async {
        let (cluster, a) = with_map().await;
        break_it(&cluster, json!([{"match": {"verb": "patch"}, "do": "lost_before"}]));
        let error = cluster.patch(&a, PatchType::Merge, json!({"data": {"k": "2"}}), None).await.unwrap_err();
        assert_eq!((error.kind, error.reason), (Kind::Cluster, Reason::Unreachable));
        assert_eq!(error.details["outcome"], "not_made");
        assert!(error.message.ends_with("the change was not made"), "{error}");
        assert_eq!(count(&cluster, Verb::Patch), 5);
    });
}

#[test]
fn a_write_that_cannot_be_looked_at_stays_unknown() {
    run(async {
        let (cluster, a) = with_map().await;
        break_it(&cluster, json!([{"match": {"verb": "patch"}, "do": "lost_after"}, {"match": {"verb": "get"}, "do": "lost_before"}]));
        let error = cluster.patch(&a, PatchType::Merge, json!({"data": {"k": "2"}}), None).await.unwrap_err();
        assert_eq!(error.details["outcome"], "unknown");
        assert_eq!(count(&cluster, Verb::Patch), 1, "it is not sent again blindly");
    });
}

#[test]
fn a_creation_and_a_deletion_are_settled_too() {
    run(async {
        for fault in ["lost_before", "lost_after"] {
            let (cluster, a) = with_map().await;
            break_it(
                &cluster,
                json!([{"match": {"verb": "create", "nth": 1}, "do": fault}, {"match": {"verb": "delete", "nth": 1}, "do": fault}]),
            );
            let mut named = config_map("", json!({"k": "1"}));
            named["metadata"] = json!({"generateName": "made-"});
            let made = cluster.create(&a.resource, None, named).await.unwrap();
            let all = cluster.list(&a.resource, None, &Select::default()).await.unwrap().items;
            assert_eq!(all.iter().filter(|map| map["metadata"]["generateName"] == "made-").count(), 1, "{fault}");
            assert!(made["metadata"]["name"].as_str().is_some_and(|name| name.len() == "made-".len() + 5));
            let uid = cluster.get(&a).await.unwrap()["metadata"]["uid"].clone();
            cluster.delete(&a, json!({"preconditions": {"uid": uid}})).await.unwrap();
            assert!(cluster.find(&a).await.unwrap().is_none(), "{fault}");
        }
    });
}

#[test]
fn an_eviction_is_of_one_pod_and_settled_by_its_end() {
    run(async {
        for fault in ["lost_before", "lost_after"] {
            let cluster = simulated(Options::new(RunId::generate()));
            let pods = cluster.resolve("pod", None).await.unwrap();
            let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
            let made = cluster.create(&pods, None, pod).await.unwrap();
            let target = cluster.object(pods.clone(), None, "p");
            let error = cluster.evict(&target, "11111111-1111-4111-8111-111111111111", json!({})).await.unwrap_err();
            assert_eq!(error.reason, Reason::Conflict, "{error}");
            break_it(&cluster, json!([{"match": {"subresource": "eviction", "nth": 1}, "do": fault}]));
            cluster.evict(&target, made["metadata"]["uid"].as_str().unwrap(), json!({})).await.unwrap();
            assert!(cluster.find(&target).await.unwrap().is_none(), "{fault}");
        }
    });
}

#[test]
fn an_expired_token_is_renewed_once() {
    run(async {
        let (cluster, a) = with_map().await;
        break_it(&cluster, json!([{"match": {"verb": "get", "nth": 1}, "do": {"fail": {"code": 401}}}]));
        cluster.get(&a).await.unwrap();
        break_it(&cluster, json!([{"match": {"verb": "get"}, "do": {"fail": {"code": 401}}}]));
        assert_eq!(cluster.get(&a).await.unwrap_err().reason, Reason::Forbidden);
    });
}

#[test]
fn a_conflict_is_the_callers_to_judge() {
    run(async {
        let (cluster, a) = with_map().await;
        break_it(&cluster, json!([{"match": {"verb": "patch", "nth": 1}, "do": "conflict"}]));
        let error = cluster.patch(&a, PatchType::Merge, json!({"data": {"k": "2"}}), None).await.unwrap_err();
        assert_eq!((error.kind, error.reason), (Kind::Cluster, Reason::Conflict));
        assert_eq!(count(&cluster, Verb::Patch), 1);
        cluster.patch(&a, PatchType::Merge, json!({"data": {"k": "2"}}), None).await.unwrap();
    });
}

#[test]
fn a_forbidden_read_names_the_right_that_is_missing() {
    run(async {
        let (cluster, a) = with_map().await;
        let rule = json!([{"match": {"verb": "get"}, "do": {"fail": {"code": 403, "message": "no way"}}}]);
        break_it(&cluster, rule);
        let error = cluster.find(&a).await.unwrap_err();
        assert_eq!((error.kind, error.kind.exit_code(), error.reason), (Kind::Refused, 5, Reason::Forbidden));
        assert_eq!(error.to_string(), "reading `configmap/a`: this user may not do that: no way");
        assert_eq!(error.hint.as_deref(), Some("the user needs `get` on `configmaps` in namespace `default`"));
    });
}

#[test]
fn a_watch_cut_in_the_middle_loses_nothing() {
    run(async {
        let (cluster, a) = with_map().await;
        break_it(&cluster, json!([{"match": {"verb": "watch", "nth": 1}, "do": {"drop_watch": 1}}]));
        let scope = Follow { resource: a.resource.clone(), namespace: None, select: Select::default() };
        let mut following = cluster.follow(vec![scope]).await.unwrap();
        let soon = |seconds| Some(Span::from_secs(seconds).after(cluster.clock().now()));
        assert_eq!(following.changed(soon(1)).await.unwrap(), Woke::Deadline);
        for name in ["b", "c", "d"] {
            cluster.create(&a.resource, None, config_map(name, json!({}))).await.unwrap();
        }
        while following.items(0).count() < 4 {
            assert_eq!(following.changed(soon(60)).await.unwrap(), Woke::Changed);
        }
        assert_eq!((count(&cluster, Verb::List), count(&cluster, Verb::Watch)), (1, 2));
    });
}

#[test]
fn what_a_plan_may_not_read_is_unknown() {
    run(async {
        let mut sim = empty();
        let body = config_map("a", json!({}));
        sim.handle(&lockgate_sim::request::Request::post("/api/v1/namespaces/default/configmaps", &body));
        let live = Cluster::stand_in(sim, Options::new(RunId::generate()));
        let fail = json!({"fail": {"code": 403, "message": "secrets is forbidden"}});
        break_it(&live, json!([{"match": {"kind": "Secret"}, "do": fail}]));
        break_it(&live, json!([{"match": {"kind": "ConfigMap", "nth": 1}, "do": {"fail": {"code": 503}}}]));
        let plan = live.planning();
        let secret = plan.target(&ObjectRef::new("secret", "s"), None).await.unwrap();
        for _ in 0..2 {
            let error = plan.get(&secret).await.unwrap_err();
            assert_eq!((error.reason, error.causes[0].as_str()), (Reason::Forbidden, "secrets is forbidden"));
        }
        assert_eq!(
            plan.unknowns(),
            ["secret `s` in namespace `default`: secrets is forbidden; the user needs `get` on `secrets` in namespace `default`"]
        );
        let map = plan.target(&ObjectRef::new("cm", "a"), None).await.unwrap();
        plan.get(&map).await.unwrap();
        let wire: Vec<_> = plan.requests().into_iter().filter(|request| !request.dry).map(|request| request.status).collect();
        assert_eq!(wire, [Some(403), Some(503), Some(200)], "a refusal stands, a busy server is asked again");
    });
}

#[test]
fn a_refused_connection_sends_nothing_and_is_tried_again() {
    run(async {
        let (cluster, a) = with_map().await;
        break_it(&cluster, json!([{"match": {"verb": "patch", "nth": 1}, "do": "refuse"}]));
        cluster.patch(&a, PatchType::Merge, json!({"data": {"k": "2"}}), None).await.unwrap();
        assert_eq!(count(&cluster, Verb::Patch), 2, "nothing was sent, so a write may be sent again");
    });
}

#[test]
fn a_late_answer_takes_its_time_and_one_that_is_too_late_is_not_waited_for() {
    run(async {
        let (cluster, a) = with_map().await;
        break_it(&cluster, json!([{"match": {"verb": "get", "nth": 1}, "do": {"late": "7s"}}]));
        let start = cluster.clock().now();
        cluster.get(&a).await.unwrap();
        assert_eq!((Span::between(start, cluster.clock().now()), count(&cluster, Verb::Get)), (Span::from_secs(7), 1));
        assert_eq!(cluster.take_delays().len(), 1, "after 5 s it is shown");

        break_it(&cluster, json!([{"match": {"verb": "patch"}, "do": {"late": "2m"}}]));
        let patched = cluster.patch(&a, PatchType::Merge, json!({"data": {"k": "2"}}), None).await.unwrap();
        assert_eq!((patched["data"]["k"].as_str(), count(&cluster, Verb::Patch)), (Some("2"), 1), "it was made, and was found so");
    });
}

#[test]
fn an_answer_that_breaks_off_is_read_again() {
    run(async {
        let (cluster, a) = with_map().await;
        break_it(&cluster, json!([{"match": {"verb": "get", "nth": 1}, "do": {"truncate": 20}}]));
        assert_eq!(cluster.get(&a).await.unwrap()["data"]["k"], "1");
        assert_eq!(count(&cluster, Verb::Get), 2);
    });
}

#[test]
fn a_held_write_stands_still_until_it_is_released() {
    run(async {
        for (side, done) in [("before", "1"), ("after", "2")] {
            let (cluster, a) = with_map().await;
            break_it(&cluster, json!([{"match": {"verb": "patch", "nth": 1}, "do": {"hold": side}}]));
            let simulation = cluster.simulation().unwrap();
            let start = cluster.clock().now();
            let write = cluster.patch(&a, PatchType::Merge, json!({"data": {"k": "2"}}), None);
            let mut write = std::pin::pin!(write);
            assert!(futures::poll!(&mut write).is_pending());
            for _ in 0..3 {
                tokio::task::yield_now().await;
                assert!(futures::poll!(&mut write).is_pending());
            }
            let held = simulation.with(|sim| sim.faults().held().to_vec());
            assert_eq!(held.len(), 1, "{side}");
            assert_eq!(simulation.with(stored), done, "{side}");
            assert!(simulation.release(held[0].id));
            write.await.unwrap();
            assert_eq!(simulation.with(stored), "2");
            assert_eq!(cluster.clock().now(), start, "no time passed meanwhile");
        }
    });
}

fn stored(sim: &mut lockgate_sim::Cluster) -> String {
    let answer = sim.handle(&lockgate_sim::Request::get("/api/v1/namespaces/default/configmaps/a"));
    answer.value().unwrap()["data"]["k"].as_str().unwrap().to_owned()
}

#[test]
fn the_clocks_of_client_and_cluster_may_differ() {
    run(async {
        for (skew, seconds) in [("1h", 3600), ("-90s", -90)] {
            let cluster = simulated(Options::new(RunId::generate()));
            let faults = json!({"apiVersion": "lockgate.dev/v1", "kind": "Faults", "clock": skew});
            let faults = lockgate_sim::json::from_value(faults).unwrap();
            let simulation = cluster.simulation().unwrap();
            simulation.with(|sim| sim.disturb(faults));
            let resource = cluster.resolve("cm", None).await.unwrap();
            let made = cluster.create(&resource, None, config_map("a", json!({}))).await.unwrap();
            let made: lockgate::base::Timestamp = made["metadata"]["creationTimestamp"].as_str().unwrap().parse().unwrap();
            assert_eq!(made.as_second() - cluster.clock().now().as_second(), seconds, "{skew}");
            // What takes a minute takes a minute on both.
            let (before, world) = (cluster.clock().now(), simulation.now());
            cluster.clock().sleep_until(lockgate::base::clock::later(before, std::time::Duration::from_secs(60))).await.unwrap();
            assert_eq!(Span::between(before, cluster.clock().now()), Span::from_secs(60), "{skew}");
            assert_eq!(Span::between(world, simulation.now()), Span::from_secs(60), "{skew}");
        }
    });
}

#[test]
fn an_answer_that_stalls_is_given_up() {
    run(async {
        let (cluster, a) = with_map().await;
        let start = cluster.clock().now();
        break_it(&cluster, json!([{"match": {"verb": "get", "nth": 1}, "do": {"stall": 10}}]));
        assert_eq!(cluster.get(&a).await.unwrap_err().reason, Reason::Timeout);
        assert!(Span::between(start, cluster.clock().now()) <= Span::from_secs(60));
        assert_eq!(cluster.simulation().unwrap().with(|sim| sim.faults().unfired().count()), 0);
        assert_eq!(cluster.get(&a).await.unwrap()["data"]["k"], "1");
    });
}

#[test]
fn an_answer_that_is_far_too_large_is_not_kept() {
    run(async {
        let (cluster, a) = with_map().await;
        break_it(&cluster, json!([{"match": {"verb": "get"}, "do": {"pad": 400_000_000}}]));
        let error = cluster.get(&a).await.unwrap_err();
        assert_eq!((error.kind, error.causes.as_slice()), (Kind::Cluster, &["length limit exceeded".to_owned()][..]), "{error}");
        assert_eq!(cluster.simulation().unwrap().with(|sim| sim.faults().unfired().count()), 0);
    });
}

#[test]
fn a_clock_that_jumps_in_the_middle_is_seen_at_once() {
    run(async {
        let cluster = simulated(Options::new(RunId::generate()));
        let simulation = cluster.simulation().unwrap();
        let happenings = json!([{"at": "30s", "do": {"clock": "-10m"}}, {"at": "60s", "do": {"clock": "5m"}}]);
        let faults = json!({"apiVersion": "lockgate.dev/v1", "kind": "Faults", "happenings": happenings});
        simulation.with(|sim| sim.disturb(lockgate_sim::json::from_value(faults).unwrap()));
        let (clock, start, world) = (cluster.clock(), cluster.clock().now(), simulation.now());
        let seen = |seconds: u64, passed: u64| {
            assert_eq!(Span::between(start, cluster.clock().now()), Span::from_secs(seconds));
            assert_eq!(Span::between(world, simulation.now()), Span::from_secs(passed));
        };
        // The clock leaps over the time that is waited for, as that of a machine that slept.
        clock.sleep_until(lockgate::base::clock::later(start, std::time::Duration::from_secs(120))).await.unwrap();
        seen(630, 30);
        clock.sleep_until(lockgate::base::clock::later(start, std::time::Duration::from_secs(650))).await.unwrap();
        seen(650, 50);
        // It is set back: what was ten seconds away is far again.
        clock.sleep_until(lockgate::base::clock::later(start, std::time::Duration::from_secs(670))).await.unwrap();
        seen(670, 970);
    });
}
