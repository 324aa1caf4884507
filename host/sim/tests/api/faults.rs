//! Fault rules over the wire.

use lockgate_sim::faults::Rule;
use lockgate_sim::json::{Value, json};
use lockgate_sim::{Request, WatchPoll};

use crate::support::{Api, MAPS, MERGE};

fn with(rule: Value) -> Api {
    let mut api = Api::new();
    api.map("a", json!({}));
    api.0.add_fault(lockgate_sim::json::from_value::<Rule>(rule).unwrap());
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

const A: &str = "/api/v1/namespaces/x/configmaps/a";

fn bump() -> Request {
    Request::patch(A, MERGE, &json!({"data": {"a": "2"}}))
}

#[test]
fn a_refused_connection_is_known_to_have_sent_nothing() {
    let mut api = with(json!({"match": {"verb": "patch", "nth": 1}, "do": "refuse"}));
    let response = api.0.handle(&bump());
    assert!(response.status == 0 && response.conduct.refused);
    assert_eq!(response.conduct.fault.as_deref(), Some("finds no connection"));
    assert_eq!(api.0.handle(&Request::get(A)).conduct.fault, None);
    assert_eq!(api.get(A)["data"]["a"], "1");
}

#[test]
fn answers_can_be_late_cut_and_stale() {
    let mut api = with(json!({"match": {"verb": "patch"}, "do": {"late": "3s"}}));
    let response = api.0.handle(&bump());
    assert_eq!((response.status, response.conduct.late.as_secs()), (200, 3));
    assert_eq!(api.get(A)["data"]["a"], "2", "it is done before its answer comes");

    let mut api = with(json!({"match": {"verb": "get"}, "do": {"truncate": 10}}));
    assert_eq!(api.0.handle(&Request::get(A)).conduct.cut, Some(10));

    let mut api = with(json!({"match": {"verb": "get"}, "do": "stale"}));
    assert_eq!(api.get(A)["data"]["a"], "1");
    api.ok(&bump());
    assert_eq!(api.get(A)["data"]["a"], "1", "the answer is of the moment when the rule first applied");
    assert_eq!(api.get(MAPS)["items"][0]["data"]["a"], "2", "the rule is about GET alone");
    api.0.clear_faults();
    assert_eq!(api.get(A)["data"]["a"], "2");
}

#[test]
fn a_watch_expires_and_one_never_tells_how_far_it_is() {
    let mut api = with(json!({"match": {"kind": "ConfigMap"}, "do": {"expire_watch": 1}}));
    let id = api.watch(&format!("{MAPS}?watch=true"));
    let WatchPoll::Event(first) = api.0.poll_watch(id) else { panic!("the first event comes") };
    let WatchPoll::Event(second) = api.0.poll_watch(id) else { panic!("then an error") };
    assert_eq!((&first["type"], &second["type"]), (&json!("ADDED"), &json!("ERROR")));
    assert_eq!((&second["object"]["code"], &second["object"]["reason"]), (&json!(410), &json!("Expired")));
    assert_eq!(api.0.poll_watch(id), WatchPoll::Closed);

    let bookmarks = |rule: Value| {
        let mut api = with(rule);
        let id = api.watch(&format!("{MAPS}?watch=true&allowWatchBookmarks=true"));
        api.advance(600);
        api.events(id).0.iter().filter(|event| event.starts_with("BOOKMARK")).count()
    };
    assert_eq!(bookmarks(json!({"match": {"verb": "watch"}, "do": "no_bookmarks"})), 0);
    assert!(bookmarks(json!({"match": {"name": "other"}, "do": "refuse"})) > 0);
}

#[test]
fn somebody_else_writes_between_a_read_and_a_write() {
    let other = json!({"write": {"by": "gitops", "verb": "patch", "path": A, "body": {"data": {"b": "x"}}}});
    let mut api = with(json!({"match": {"verb": "update", "nth": 1}, "do": {"before": other}}));
    let mut read = api.get(A);
    read["data"]["a"] = json!("2");
    let (code, reason, _) = api.fails(&Request::put(A, &read));
    assert_eq!((code, reason.as_str()), (409, "Conflict"), "a true conflict, with the other's change in place");
    assert_eq!(api.get(A)["data"], json!({"a": "1", "b": "x"}));
    assert!(api.0.event_log().any(|line| line.ends_with("gitops") && line.contains("patch")));
}

#[test]
fn somebody_else_reverts_a_change_later() {
    let revert = json!({"delay": "30s", "write": {"verb": "patch", "path": A, "body": {"data": {"a": "1"}}}});
    let mut api = with(json!({"match": {"verb": "patch", "nth": 1}, "do": {"after": revert}}));
    api.ok(&bump());
    assert!(api.0.next_event_at().is_some(), "something is going to happen");
    api.advance(29);
    assert_eq!(api.get(A)["data"]["a"], "2");
    api.advance(1);
    assert_eq!(api.get(A)["data"]["a"], "1");
    assert_eq!(api.0.faults().misfires(), [""; 0]);
}

#[test]
fn what_happens_by_itself_happens_in_time_and_a_misfire_is_told() {
    let mut api = Api::new();
    api.map("a", json!({}));
    let document = json!({
        "apiVersion": "lockgate.dev/v1", "kind": "Faults",
        "happenings": [
            {"at": "1m", "do": {"write": {"verb": "delete", "path": A}}},
            {"at": "2m", "do": {"write": {"by": "late", "verb": "patch", "path": A, "body": {}}}},
        ],
    });
    api.0.disturb(lockgate_sim::json::from_value(document).unwrap());
    api.advance(60);
    assert!(api.gone(A));
    api.advance(60);
    assert_eq!(api.0.faults().misfires(), [format!("PATCH {A} of `late`: configmaps \"a\" not found")]);
    assert!(api.0.faults().is_empty());
}

#[test]
fn an_admission_webhook_changes_what_is_stored() {
    let mut api = with(json!({"match": {"kind": "ConfigMap"}, "do": {"admit": {"metadata": {"labels": {"seen": "yes"}}}}}));
    assert_eq!(api.map("b", json!({}))["metadata"]["labels"]["seen"], "yes");
    assert_eq!(api.ok(&bump())["metadata"]["labels"]["seen"], "yes");
}

#[test]
fn a_request_stands_still_on_either_side_of_its_commit() {
    for (side, done) in [("before", "1"), ("after", "2")] {
        let mut api = with(json!({"match": {"verb": "patch", "nth": 1}, "do": {"hold": side}}));
        let response = api.0.handle(&bump());
        let held = response.conduct.held.unwrap();
        assert_eq!(held.request, "patch configmap/x/a");
        assert_eq!(api.get(A)["data"]["a"], done, "{side}");
        assert_eq!(api.0.faults().held(), std::slice::from_ref(&held));
        assert!(api.0.release(held.id) && !api.0.release(held.id));
        if side == "before" {
            assert_eq!(response.status, 0);
            assert_eq!(api.0.handle_held(&bump()).status, 200);
        }
        assert_eq!(api.get(A)["data"]["a"], "2");
    }
}

#[test]
fn a_lost_request_may_be_carried_out_later() {
    let mut api = with(json!({"match": {"verb": "patch", "nth": 1}, "do": {"delayed": "30s"}}));
    assert_eq!(api.0.handle(&bump()).status, 0);
    api.advance(29);
    assert_eq!(api.get(A)["data"]["a"], "1");
    api.advance(1);
    assert_eq!(api.get(A)["data"]["a"], "2");
    // By then the API may say no; nobody hears it.
    let mut api = with(json!({"match": {"verb": "patch", "nth": 1}, "do": {"delayed": "30s"}}));
    let stale = api.get(A)["metadata"]["resourceVersion"].clone();
    assert_eq!(api.0.handle(&Request::patch(A, MERGE, &json!({"metadata": {"resourceVersion": stale}, "data": {"a": "9"}}))).status, 0);
    api.ok(&bump());
    api.advance(60);
    assert_eq!((&api.get(A)["data"]["a"], api.0.faults().misfires().len()), (&json!("2"), 0));
}

#[test]
fn a_server_that_is_down_answers_nobody_and_nothing() {
    let mut api = with(json!({"match": {"verb": "patch", "nth": 1}, "do": {"down": "10m"}}));
    let refused = |api: &mut Api, request: &Request| api.0.handle(request).conduct.refused;
    assert!(!refused(&mut api, &Request::get("/version")));
    for request in [bump(), Request::get(A), Request::get("/version"), Request::get("/apis"), Request::get("/readyz")] {
        assert!(refused(&mut api, &request), "{}", request.path);
    }
    api.advance(599);
    assert!(refused(&mut api, &Request::get(A)));
    api.advance(1);
    assert_eq!(api.get(A)["data"]["a"], "1");
    assert_eq!(api.0.faults().fired(), [1]);
    // The same by the clock, for one client alone.
    let mut api = with(json!({"match": {"after": "1m", "until": "11m", "client": "kubectl"}, "do": "refuse"}));
    let kubectl = |path: &str| Request { user_agent: "kubectl/v1.36.4".to_owned(), ..Request::get(path) };
    assert!(!refused(&mut api, &kubectl("/version")));
    api.advance(60);
    assert!(refused(&mut api, &kubectl("/version")) && refused(&mut api, &kubectl(A)) && !refused(&mut api, &Request::get(A)));
    api.advance(600);
    assert!(!refused(&mut api, &kubectl("/version")) && !refused(&mut api, &kubectl(A)));
}

#[test]
fn a_rule_of_a_step_holds_in_that_step_alone() {
    let mut api = with(json!({"match": {"verb": "patch", "step": "move"}, "do": "conflict"}));
    for (step, code) in [(None, 200), (Some("check"), 200), (Some("move"), 409), (Some("moved"), 200), (None, 200)] {
        api.0.enter_step(step);
        assert_eq!(api.send(&bump()).0, code, "{step:?}");
    }
    assert_eq!(api.0.faults().fired(), [1]);
}

#[test]
fn clocks_differ_from_the_beginning_and_jump_in_the_middle() {
    let skew = |api: &Api| api.0.faults().skew().as_secs();
    let mut api = Api::new();
    api.map("a", json!({}));
    let happenings = json!([{"at": "1m", "do": {"clock": "-90s"}}]);
    let document = json!({"apiVersion": "lockgate.dev/v1", "kind": "Faults", "clock": "1h", "happenings": happenings,
        "rules": [{"match": {"verb": "patch"}, "do": {"before": {"clock": "0s"}}}]});
    api.0.disturb(lockgate_sim::json::from_value(document).unwrap());
    assert_eq!(skew(&api), 3600);
    api.advance(59);
    assert_eq!(skew(&api), 3600);
    api.advance(1);
    assert_eq!(skew(&api), -90, "so far is the cluster ahead from now on");
    let before = api.0.now();
    api.ok(&bump());
    assert_eq!((skew(&api), api.0.now()), (0, before), "the clock of the cluster itself never jumps");
}

#[test]
fn an_answer_may_be_another_stall_or_never_end() {
    let mut api = with(json!({"match": {"verb": "patch"}, "do": {"answer": {"kind": "Pod"}}}));
    assert_eq!(api.send(&bump()), (200, json!({"kind": "Pod"})));
    assert_eq!(api.get(A)["data"]["a"], "2", "it is done all the same");
    let mut api = with(json!({"match": {"verb": "get"}, "do": {"stall": 3}}));
    assert_eq!(api.0.handle(&Request::get(A)).conduct.stalls, Some(3));
    let mut api = with(json!({"match": {"verb": "get"}, "do": {"pad": 5}}));
    assert_eq!(api.0.handle(&Request::get(A)).conduct.pad, 5);
}

#[test]
fn a_failure_has_causes() {
    let fail = json!({"fail": {"code": 429, "retry_after": 10, "causes": [{"reason": "DisruptionBudget", "message": "no"}]}});
    let mut api = with(json!({"match": {"verb": "patch"}, "do": fail}));
    let (_, status) = api.send(&bump());
    assert_eq!(status["details"], json!({"retryAfterSeconds": 10, "causes": [{"reason": "DisruptionBudget", "message": "no"}]}));
}

#[test]
fn every_fault_is_tried_at_every_request_and_says_whether_it_happened() {
    let requests = [Request::get(A), Request::get(MAPS), bump(), Request::delete(A)];
    let fresh = || {
        let mut api = Api::new();
        api.map("a", json!({}));
        api
    };
    let mut api = fresh();
    let before = api.0.faults().asked().len();
    requests.iter().for_each(|request| drop(api.ok(request)));
    let asked: Vec<_> = api.0.faults().asked().skip(before).cloned().collect();
    let told: Vec<String> = asked.iter().map(|asked| format!("{} {}", asked.verb, asked.what)).collect();
    assert_eq!(told, ["get configmap/x/a", "list configmap/x", "patch configmap/x/a", "delete configmap/x/a"]);
    let schedules = lockgate_sim::faults::schedules(&asked);
    assert!(schedules.len() > 80, "{}", schedules.len());
    for schedule in &schedules {
        let mut api = fresh();
        api.0.add_fault(schedule.rule.clone());
        let clean: Vec<_> = requests.iter().map(|request| fresh_answer(&mut fresh(), &requests, request)).collect();
        let answers: Vec<_> = requests.iter().map(|request| api.0.handle(request)).collect();
        assert_eq!(api.0.faults().unfired().count(), 0, "{}", schedule.name);
        let (faulty, clean) = (&answers[schedule.request], &clean[schedule.request]);
        // A stale answer is no other one before somebody wrote.
        assert!(schedule.fault == "stale" || faulty != clean, "{}: {faulty:?}", schedule.name);
        assert!(
            api.gone(A) || ["down for 10 min", "delayed by 30 s"].contains(&schedule.fault) || answers[3].status != 200,
            "{}",
            schedule.name
        );
    }
    let mut api = fresh();
    api.0.add_fault(schedules.last().unwrap().rule.clone());
    api.ok(&bump());
    assert_eq!(api.0.faults().unfired().count(), 1, "the fourth request never came");
}

/// What a request is answered after those before it.
fn fresh_answer(api: &mut Api, requests: &[Request], wanted: &Request) -> lockgate_sim::Response {
    let place = requests.iter().position(|request| request == wanted).unwrap();
    requests[..place].iter().for_each(|request| drop(api.ok(request)));
    api.0.handle(wanted)
}
