//! Watches.

use std::collections::BTreeMap;

use lockgate_sim::json::{Value, json};
use lockgate_sim::{Request, WatchPoll};
use proptest::prelude::*;

use crate::support::{Api, MAPS, rv, text};

#[test]
fn a_watch_goes_on_from_a_version() {
    let mut api = Api::new();
    let a = api.map("a", json!({}));
    api.map("b", json!({}));
    let id = api.watch(&format!("{MAPS}?watch=true&resourceVersion={}", rv(&a)));
    assert_eq!(api.events(id), (vec!["ADDED b".to_owned()], false));
    api.patch(&format!("{MAPS}/a"), &json!({"data": {"a": "2"}}));
    api.ok(&Request::post("/api/v1/namespaces/y/configmaps", &json!({"metadata": {"name": "elsewhere"}})));
    api.ok(&Request::delete(&format!("{MAPS}/b")));
    let expected = vec!["MODIFIED a".to_owned(), "DELETED b".to_owned()];
    assert_eq!(api.events(id), (expected, false));
}

#[test]
fn a_deletion_carries_a_new_version() {
    let mut api = Api::new();
    let a = api.map("a", json!({}));
    let id = api.watch(&format!("{MAPS}?watch=1&resourceVersion={}", rv(&a)));
    api.ok(&Request::delete(&format!("{MAPS}/a")));
    let WatchPoll::Event(event) = api.0.poll_watch(id) else { panic!("no event") };
    assert_eq!(rv(&event["object"]), rv(&a) + 1);
    assert_eq!(event["object"]["data"], a["data"]);
}

#[test]
fn without_a_version_the_present_comes_first() {
    let mut api = Api::new();
    api.map("a", json!({}));
    for query in ["watch=true", "watch=true&resourceVersion=0"] {
        let id = api.watch(&format!("{MAPS}?{query}"));
        assert_eq!(api.events(id), (vec!["ADDED a".to_owned()], false), "{query}");
    }
    let query = "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let id = api.watch(&format!("{MAPS}?{query}"));
    assert_eq!(
        api.0.poll_watch(id),
        WatchPoll::Event(json!({"type": "ADDED", "object": api.0.store().list(lockgate_sim::kinds::CONFIG_MAP, None).next().unwrap().1}))
    );
    let end = json!({"type": "BOOKMARK", "object": {"kind": "ConfigMap", "apiVersion": "v1", "metadata":
        {"resourceVersion": api.0.store().rv().to_string(), "annotations": {"k8s.io/initial-events-end": "true"}}}});
    assert_eq!(api.0.poll_watch(id), WatchPoll::Event(end));
    assert_eq!(api.fails(&Request::get(&format!("{MAPS}?watch=true&sendInitialEvents=true"))).0, 422);
    assert_eq!(api.fails(&Request::get(&format!("{MAPS}?watch=true&resourceVersionMatch=NotOlderThan"))).0, 422);
    // Who takes no bookmarks is not told where the present ends.
    let id = api.watch(&format!("{MAPS}?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"));
    assert_eq!(api.events(id), (vec!["ADDED a".to_owned()], false));
}

#[test]
fn objects_enter_and_leave_a_selection() {
    let mut api = Api::new();
    let id = api.watch(&format!("{MAPS}?watch=true&labelSelector=app=web"));
    let path = format!("{MAPS}/a");
    api.map("a", json!({"app": "db"}));
    assert_eq!(api.events(id).0, [""; 0]);
    api.patch(&path, &json!({"metadata": {"labels": {"app": "web"}}}));
    api.patch(&path, &json!({"data": {"a": "2"}}));
    let left = api.patch(&path, &json!({"metadata": {"labels": {"app": "db"}}, "data": {"a": "3"}}));
    assert_eq!(api.0.poll_watch(id), WatchPoll::Event(json!({"type": "ADDED", "object": api_object(&left, "web", "1", 2)})));
    assert_eq!(api.0.poll_watch(id), WatchPoll::Event(json!({"type": "MODIFIED", "object": api_object(&left, "web", "2", 1)})));
    // The last state that was selected, with the version of the change that ended it.
    assert_eq!(api.0.poll_watch(id), WatchPoll::Event(json!({"type": "DELETED", "object": api_object(&left, "web", "2", 0)})));
    api.ok(&Request::delete(&path));
    assert_eq!(api.events(id).0, [""; 0]);
}

fn api_object(last: &Value, app: &str, data: &str, versions_before: u64) -> Value {
    let mut object = last.clone();
    object["metadata"]["labels"]["app"] = app.into();
    object["data"]["a"] = data.into();
    object["metadata"]["resourceVersion"] = (rv(last) - versions_before).to_string().into();
    object
}

#[test]
fn a_watch_ends_in_virtual_time() {
    let mut api = Api::new();
    let id = api.watch(&format!("{MAPS}?watch=true&timeoutSeconds=90&allowWatchBookmarks=true"));
    let plain = api.watch(&format!("{MAPS}?watch=true&timeoutSeconds=90"));
    assert_eq!(api.0.next_watch_end().map(|t| t.to_string()).as_deref(), Some("2001-02-03T04:06:36Z"));
    api.advance(59);
    assert_eq!(api.events(id), (vec![], false));
    api.advance(1);
    assert_eq!(api.events(id), (vec!["BOOKMARK -".to_owned()], false));
    api.map("a", json!({}));
    api.advance(60);
    api.map("late", json!({}));
    assert_eq!(api.events(id), (vec!["ADDED a".to_owned(), "BOOKMARK -".to_owned()], true));
    assert_eq!(api.events(plain), (vec!["ADDED a".to_owned()], true));
    assert_eq!(api.0.poll_watch(id), WatchPoll::Closed);
    assert_eq!(api.0.next_watch_end(), None);
}

#[test]
fn a_forgotten_version_is_an_error_event() {
    let mut api = Api::new();
    let a = api.map("a", json!({}));
    api.0.set_history_limit(1);
    api.map("b", json!({}));
    api.map("c", json!({}));
    let id = api.watch(&format!("{MAPS}?watch=true&resourceVersion={}", rv(&a)));
    let WatchPoll::Event(event) = api.0.poll_watch(id) else { panic!("no event") };
    assert_eq!((text(&event["type"]), event["object"]["code"].as_i64()), ("ERROR".to_owned(), Some(410)));
    assert_eq!(
        (text(&event["object"]["reason"]), text(&event["object"]["message"])),
        ("Expired".to_owned(), format!("too old resource version: {} ({})", rv(&a), api.0.store().rv()))
    );
    assert_eq!(api.0.poll_watch(id), WatchPoll::Closed);
    assert_eq!(api.fails(&Request::get(&format!("{MAPS}?watch=true&resourceVersion=99999"))).0, 504);
}

#[test]
fn an_open_watch_keeps_its_history() {
    let mut api = Api::new();
    let id = api.watch(&format!("{MAPS}?watch=true"));
    api.0.set_history_limit(1);
    for name in ["a", "b", "c"] {
        api.map(name, json!({}));
    }
    assert_eq!(api.events(id).0, ["ADDED a", "ADDED b", "ADDED c"]);
    api.0.close_watch(id);
    assert_eq!(api.0.poll_watch(id), WatchPoll::Closed);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// What a client knows from a list and the events after it is what the server has.
    #[test]
    fn a_list_and_its_watch_give_the_present(
        steps in prop::collection::vec((0_u8..3, 0_u8..5, prop_oneof![Just("web"), Just("db")]), 0..40),
        from in 0_usize..40,
        selector in prop_oneof![Just(""), Just("app=web")],
    ) {
        let mut api = Api::new();
        let mut known: Option<(BTreeMap<String, Value>, lockgate_sim::WatchId)> = None;
        for (at, (what, which, app)) in steps.iter().enumerate() {
            if at == from.min(steps.len() - 1) {
                let list = api.ok(&Request::get(MAPS).with_query("labelSelector", selector));
                let objects = list["items"].as_array().unwrap().iter();
                let state = objects.map(|o| (text(&o["metadata"]["name"]), o["metadata"].clone())).collect();
                known = Some((state, api.watch(&format!("{MAPS}?watch=true&resourceVersion={}&labelSelector={selector}", rv(&list)))));
            }
            let (name, path) = (format!("m{which}"), format!("{MAPS}/m{which}"));
            let body = json!({"metadata": {"name": name, "labels": {"app": app}}, "data": {"n": at.to_string()}});
            let request = match what {
                0 => Request::post(MAPS, &body),
                1 => Request::put(&path, &body),
                _ => Request::delete(&path),
            };
            api.send(&request);
        }
        if let Some((mut state, id)) = known {
            let mut last = 0;
            while let WatchPoll::Event(event) = api.0.poll_watch(id) {
                let meta = event["object"]["metadata"].clone();
                let (name, version) = (text(&meta["name"]), rv(&event["object"]));
                prop_assert!(version > last);
                last = version;
                let before = match event["type"].as_str() {
                    Some("DELETED") => state.remove(&name).is_some(),
                    Some("MODIFIED") => state.insert(name, meta).is_some(),
                    _ => state.insert(name, meta).is_none(),
                };
                prop_assert!(before, "{} does not fit what the client knows", event["type"]);
            }
            let now = api.ok(&Request::get(MAPS).with_query("labelSelector", selector));
            let now: BTreeMap<String, Value> =
                now["items"].as_array().unwrap().iter().map(|o| (text(&o["metadata"]["name"]), o["metadata"].clone())).collect();
            prop_assert_eq!(state, now);
        }
    }
}
