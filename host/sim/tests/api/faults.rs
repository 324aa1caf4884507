//! Fault rules over the wire.

use lockgate_sim::faults::Rule;
use lockgate_sim::json::{Value, json};
use lockgate_sim::{Request, WatchPoll};

use crate::support::{Api, MAPS, MERGE};

fn with(rule: Value) -> Api {
    let mut api = Api::new();
    api.map("a", json!({}));
    api.0.faults_mut().push(lockgate_sim::json::from_value::<Rule>(rule).unwrap());
    api
}

#[test]
fn a_failure_does_nothing() {
    let fail = json!({"fail": {"code": 429, "message": "slow down", "retry_after": 7}});
    let mut api = with(json!({"match": {"verb": "patch", "kind": "ConfigMap", "nth": 1}, "do": fail}));
    let patch = Request::patch(&format!("{MAPS}/a"), MERGE, &json!({"data": {"a": "2"}}));
    let response = api.0.handle(&patch);
    assert_eq!(response.status, 429);
    assert!(response.headers.contains(&("Retry-After".to_owned(), "7".to_owned())));
    assert_eq!(api.get(&format!("{MAPS}/a"))["data"]["a"], "1");
    assert_eq!(api.ok(&patch)["data"]["a"], "2");
    assert_eq!(api.0.faults().fired(), [1]);
}

#[test]
fn a_lost_connection_tells_nothing() {
    for (action, value) in [("lost_before", "1"), ("lost_after", "2")] {
        let mut api = with(json!({"match": {"verb": "patch", "nth": 1}, "do": action}));
        let response = api.0.handle(&Request::patch(&format!("{MAPS}/a"), MERGE, &json!({"data": {"a": "2"}})));
        assert_eq!(response.status, 0);
        assert_eq!(api.get(&format!("{MAPS}/a"))["data"]["a"], value, "{action}");
    }
}

#[test]
fn a_conflict_has_the_servers_words() {
    let mut api = with(json!({"match": {"verb": "update", "name": "a"}, "do": "conflict"}));
    let (code, reason, message) = api.fails(&Request::put(&format!("{MAPS}/a"), &json!({})));
    assert_eq!((code, reason.as_str()), (409, "Conflict"));
    assert!(message.starts_with("Operation cannot be fulfilled on configmaps \"a\": the object has been modified"), "{message}");
}

#[test]
fn a_watch_is_cut() {
    let mut api = with(json!({"match": {"kind": "ConfigMap"}, "do": {"drop_watch": 2}}));
    let id = api.watch(&format!("{MAPS}?watch=true&allowWatchBookmarks=true"));
    api.map("b", json!({}));
    api.map("c", json!({}));
    assert_eq!(api.events(id), (vec!["ADDED a".to_owned(), "ADDED b".to_owned()], true));
    assert_eq!(api.0.poll_watch(id), WatchPoll::Closed);
}
