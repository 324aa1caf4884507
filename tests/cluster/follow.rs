//! Following objects of a simulated cluster in virtual time.

use lockgate::base::{ObjectRef, Reason, Span};
use lockgate::cluster::{Cluster, Follow, Following, Options, PatchType, RunId, Select, Verb, Woke};
use lockgate_sim::json::json;

use super::support::{config_map, run, simulated};

async fn follow(cluster: &Cluster) -> Following {
    let resource = cluster.resolve("cm", None).await.unwrap();
    cluster.follow(vec![Follow { resource, namespace: Some("default".into()), select: Select::default() }]).await.unwrap()
}

fn names(following: &Following) -> Vec<&str> {
    following.items(0).filter_map(|item| item["metadata"]["name"].as_str()).collect()
}

async fn create(cluster: &Cluster, name: &str) {
    let resource = cluster.resolve("cm", None).await.unwrap();
    cluster.create(&resource, None, config_map(name, json!({}))).await.unwrap();
}

#[test]
fn changes_arrive_and_time_passes_only_when_all_wait() {
    run(async {
        let cluster = simulated(Options::new(RunId::generate()));
        let start = cluster.clock().now();
        let after = |seconds| Span::from_secs(seconds).after(start);
        create(&cluster, "a").await;
        let mut following = follow(&cluster).await;
        let other = cluster.clock().join();
        let writer = async {
            other.sleep(Span::from_secs(5)).await.unwrap();
            create(&cluster, "b").await;
            let b = cluster.target(&ObjectRef::new("cm", "b"), None).await.unwrap();
            other.sleep(Span::from_secs(5)).await.unwrap();
            cluster.patch(&b, PatchType::Merge, json!({"data": {"k": "v"}}), None).await.unwrap();
            other.sleep(Span::from_secs(5)).await.unwrap();
            cluster.delete(&b, json!({})).await.unwrap();
            drop(other);
        };
        let reader = async {
            for (second, expected) in [(5, vec!["a", "b"]), (10, vec!["a", "b"]), (15, vec!["a"])] {
                assert_eq!(following.changed(Some(after(60))).await.unwrap(), Woke::Changed);
                assert_eq!((cluster.clock().now(), names(&following)), (after(second), expected));
            }
            assert_eq!(following.changed(Some(after(60))).await.unwrap(), Woke::Deadline);
            assert_eq!(cluster.clock().now(), after(60));
        };
        futures::join!(writer, reader);
        let count = |verb| cluster.requests().iter().filter(|request| request.verb == verb).count();
        assert_eq!((count(Verb::List), count(Verb::Watch)), (1, 1), "one list and one watch");
    });
}

#[test]
fn a_deadline_that_has_passed_asks_once() {
    run(async {
        let cluster = simulated(Options::new(RunId::generate()));
        let mut following = follow(&cluster).await;
        let now = cluster.clock().now();
        assert_eq!(following.changed(Some(now)).await.unwrap(), Woke::Deadline);
        assert_eq!(cluster.clock().now(), now);
        assert!(cluster.requests().iter().all(|request| request.verb != Verb::Watch));
    });
}

#[test]
fn what_happened_between_two_waits_is_seen_at_once() {
    run(async {
        let cluster = simulated(Options::new(RunId::generate()));
        let mut following = follow(&cluster).await;
        let now = cluster.clock().now();
        let soon = Some(Span::from_secs(1).after(now));
        assert_eq!(following.changed(soon).await.unwrap(), Woke::Deadline);
        create(&cluster, "a").await;
        create(&cluster, "b").await;
        let now = cluster.clock().now();
        assert_eq!(following.changed(Some(now)).await.unwrap(), Woke::Changed);
        assert_eq!(names(&following), ["a", "b"], "changes of one moment come together");
    });
}

#[test]
fn a_stop_ends_the_wait() {
    run(async {
        let cluster = simulated(Options::new(RunId::generate()));
        let mut following = follow(&cluster).await;
        cluster.cancel().press();
        let error = following.changed(None).await.unwrap_err();
        assert_eq!(error.reason, Reason::Interrupted);
    });
}
