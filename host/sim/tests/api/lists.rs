//! Lists: selectors, pages, snapshots.

use lockgate_sim::Request;
use lockgate_sim::json::json;
use proptest::prelude::*;

use crate::support::{Api, MAPS, PODS, names, pod, rv, text};

fn filled(count: usize) -> Api {
    let mut api = Api::new();
    for at in 0..count {
        api.map(&format!("m{at:02}"), json!({"even": (at % 2 == 0).to_string()}));
    }
    api
}

#[test]
fn lists_have_a_version_and_bare_items() {
    let mut api = filled(2);
    let list = api.get(MAPS);
    assert_eq!((list["kind"].as_str(), list["apiVersion"].as_str()), (Some("ConfigMapList"), Some("v1")));
    assert_eq!(list["metadata"], json!({"resourceVersion": api.0.store().rv().to_string()}));
    assert_eq!(list["items"][0].get("kind"), None);
    assert_eq!(names(&list), ["m00", "m01"]);
    assert_eq!(names(&api.get("/api/v1/namespaces/y/configmaps")), [""; 0]);
    assert_eq!(names(&api.get("/api/v1/configmaps?resourceVersion=0")), ["m00", "m01"]);
}

#[test]
fn selectors_select() {
    let mut api = filled(4);
    let select = |api: &mut Api, name: &str, value: &str| names(&api.ok(&Request::get(MAPS).with_query(name, value)));
    assert_eq!(select(&mut api, "labelSelector", "even=true"), ["m00", "m02"]);
    assert_eq!(select(&mut api, "labelSelector", "even notin (true),even"), ["m01", "m03"]);
    assert_eq!(select(&mut api, "fieldSelector", "metadata.name=m01"), ["m01"]);
    assert_eq!(select(&mut api, "fieldSelector", "metadata.name!=m01,metadata.namespace=x"), ["m00", "m02", "m03"]);
    let (code, reason, message) = api.fails(&Request::get(MAPS).with_query("fieldSelector", "data.a=1"));
    assert_eq!((code, reason.as_str()), (400, "BadRequest"));
    assert_eq!(message, r#""data.a" is not a known field selector: only "metadata.name", "metadata.namespace""#);
    assert_eq!(api.fails(&Request::get(MAPS).with_query("labelSelector", "a in (")).0, 400);
    api.ok(&Request::post(PODS, &pod("p")));
    let list = api.ok(&Request::get("/api/v1/pods").with_query("fieldSelector", "spec.nodeName=,status.phase=Pending"));
    assert_eq!(names(&list), ["p"]);
}

#[test]
fn pages_show_one_snapshot() {
    let mut api = filled(5);
    let first = api.get(&format!("{MAPS}?limit=2"));
    assert_eq!((names(&first).len(), first["metadata"]["remainingItemCount"].as_i64()), (2, Some(3)));
    let token = text(&first["metadata"]["continue"]);
    api.ok(&Request::delete(&format!("{MAPS}/m03")));
    api.map("m02a", json!({}));
    api.patch(&format!("{MAPS}/m04"), &json!({"data": {"a": "new"}}));
    let second = api.get(&format!("{MAPS}?limit=2&continue={token}"));
    assert_eq!(names(&second), ["m02", "m03"]);
    assert_eq!(rv(&second), rv(&first));
    let third = api.get(&format!("{MAPS}?limit=2&continue={}", text(&second["metadata"]["continue"])));
    assert_eq!(names(&third), ["m04"]);
    assert_eq!(third["items"][0]["data"]["a"], "1");
    assert_eq!(third["metadata"].get("continue"), None);
    let exact = api.get(&format!("{MAPS}?resourceVersion={}&resourceVersionMatch=Exact", rv(&first)));
    assert_eq!(names(&exact), ["m00", "m01", "m02", "m03", "m04"]);
    // Behind a selector nobody counts.
    let selected = api.get(&format!("{MAPS}?limit=1&labelSelector=even"));
    assert_eq!(selected["metadata"].get("remainingItemCount"), None);
}

#[test]
fn an_old_snapshot_expires() {
    let mut api = filled(3);
    let token = text(&api.get(&format!("{MAPS}?limit=1"))["metadata"]["continue"]);
    api.0.set_history_limit(1);
    api.map("z1", json!({}));
    api.map("z2", json!({}));
    let (code, status) = api.send(&Request::get(&format!("{MAPS}?limit=1&continue={token}")));
    assert_eq!((code, status["reason"].as_str()), (410, Some("Expired")));
    // The answer has a token that goes on in the present.
    let fresh = text(&status["metadata"]["continue"]);
    assert_eq!(names(&api.get(&format!("{MAPS}?continue={fresh}"))), ["m01", "m02", "z1", "z2"]);
    assert_eq!(api.fails(&Request::get(&format!("{MAPS}?resourceVersion=1&resourceVersionMatch=Exact"))).0, 410);
}

#[test]
fn options_that_make_no_sense_are_refused() {
    let mut api = filled(1);
    for (query, code) in [
        ("continue=nonsense", 400),
        ("limit=many", 400),
        ("resourceVersion=abc", 400),
        ("resourceVersion=999999", 504),
        ("resourceVersionMatch=Exact", 422),
        ("resourceVersionMatch=Roughly&resourceVersion=1", 422),
    ] {
        assert_eq!(api.fails(&Request::get(&format!("{MAPS}?{query}"))).0, code, "{query}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn pages_together_are_the_whole_list(count in 0_usize..14, limit in 1_usize..6, selector in prop_oneof![Just(""), Just("even=true")]) {
        let mut api = filled(count);
        let whole = names(&api.ok(&Request::get(MAPS).with_query("labelSelector", selector)));
        let (mut pages, mut token) = (Vec::new(), String::new());
        for asked in 0.. {
            let request = Request::get(&format!("{MAPS}?limit={limit}")).with_query("labelSelector", selector);
            let page = api.ok(&request.with_query("continue", &token));
            let found = names(&page);
            prop_assert!(found.len() <= limit);
            pages.extend(found);
            token = text(&page["metadata"]["continue"]);
            // Whatever happens in between does not matter. Behind a selector the last page may be empty.
            api.map(&format!("extra{asked}"), json!({"even": "true"}));
            if token.is_empty() {
                break;
            }
        }
        prop_assert_eq!(pages, whole);
    }
}
