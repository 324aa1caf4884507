use std::collections::BTreeMap;

use super::*;

fn pod() -> Value {
    json!({
        "metadata": {"name": "a", "labels": {"app": "web", "zone": null}},
        "spec": {"containers": [{"name": "c", "ports": [80, 443]}], "terminationGracePeriodSeconds": 30},
    })
}

#[test]
fn a_change_copies_only_the_way_to_it() {
    let before = pod();
    let mut after = before.clone();
    assert!(after.shares(&before));
    after["metadata"]["name"] = "b".into();
    assert_eq!((before["metadata"]["name"].as_str(), after["metadata"]["name"].as_str()), (Some("a"), Some("b")));
    assert!(after["spec"].shares(&before["spec"]));
    assert!(after["metadata"]["labels"].shares(&before["metadata"]["labels"]));
    assert_ne!(before, after);
    after["metadata"]["name"] = "a".into();
    assert_eq!(before, after);
}

#[test]
fn reading_what_changes_nothing_keeps_parts_shared() {
    let before = pod();
    let mut after = before.clone();
    after.as_object_mut().unwrap().retain(|_, _| true);
    after["spec"]["containers"].as_array_mut().unwrap().retain(|_| true);
    assert!(after["spec"]["containers"].shares(&before["spec"]["containers"]));
    after.as_object_mut().unwrap().retain(|key, _| key == "spec");
    assert_eq!(after.as_object().unwrap().len(), 1);
}

#[test]
fn the_text_is_that_of_serde_json() {
    let text = r#"{"z":[1,-2,3.5,18446744073709551615,true,null,"ü\n"],"a":{},"m":{"k":"v"},"terminationGracePeriodSeconds":1}"#;
    let ours: Value = serde_json::from_str(text).unwrap();
    let theirs: serde_json::Value = serde_json::from_str(text).unwrap();
    assert_eq!(ours.to_string(), theirs.to_string());
    assert_eq!(format!("{ours:#}"), format!("{theirs:#}"));
    assert_eq!(Value::from(theirs.clone()), ours);
    assert_eq!(serde_json::Value::from(&ours), theirs);
    assert_eq!(to_value(&theirs).unwrap(), ours);
    assert_eq!(from_value::<BTreeMap<String, serde_json::Value>>(&ours).unwrap().len(), 4);
}

#[test]
fn maps_are_equal_however_they_came_about() {
    let keys: Vec<String> = (0..60).map(|number| format!("k{number:02}")).collect();
    let all: Map = keys.iter().map(|key| (key.as_str(), 1)).collect();
    let mut map = Map::new();
    for key in keys.iter().rev() {
        map.insert(key, 1.into());
    }
    assert_eq!(map, all);
    for key in &keys {
        assert_ne!(map, Map::new());
        assert_eq!(map.remove(key), Some(1.into()));
    }
    assert_eq!(map, Map::new());
    assert_eq!((map.len(), map.is_empty(), map.iter().next(), map.get("k00")), (0, true, None, None));
    map.insert("k00", 1.into());
    assert_eq!(Value::Object(map), json!({(&keys[0]): 1}));
}

#[test]
fn of_equal_keys_the_last_counts() {
    let value: Value = serde_json::from_str(r#"{"b":1,"a":2,"b":3,"a":4,"c":5}"#).unwrap();
    assert_eq!(value.to_string(), r#"{"a":4,"b":3,"c":5}"#);
}

#[test]
fn members_are_found_set_and_removed() {
    let mut map = Map::new();
    for key in ["m", "z", "a", "m"] {
        map.insert(key, key.len().into());
    }
    assert_eq!(map.keys().map(Text::as_str).collect::<Vec<_>>(), ["a", "m", "z"]);
    *map.entry("m").or_insert(json!(0)) = json!([1]);
    assert_eq!(*map.entry("n").or_insert(json!(7)), 7);
    assert_eq!(map.remove("m"), Some(json!([1])));
    assert_eq!(map.remove("m"), None);
    assert_eq!(map.get("n"), Some(&json!(7)));
    assert!(!map.contains_key("q"));
}

#[test]
fn paths_and_places() {
    let pod = pod();
    assert_eq!(pod.at(&["spec", "containers", "0", "ports", "1"]), Some(&json!(443)));
    assert_eq!(pod.at(&["spec", "containers", "1"]), None);
    assert_eq!(pod.at(&["metadata", "name", "x"]), None);
    assert_eq!(pod.pointer("/spec/containers/0/ports/1"), Some(&json!(443)));
    assert_eq!(json!({"a/b": {"m~n": 8}}).pointer("/a~1b/m~0n"), Some(&json!(8)));
    assert_eq!((pod.pointer(""), pod.pointer("spec"), pod.pointer("/spec/containers/00")), (Some(&pod), None, None));
    assert!(pod["nothing"]["below"][3].is_null());
    let mut items = Array::from_iter([1, 2, 3]);
    assert_eq!(items.remove(1), Some(json!(2)));
    assert_eq!(items.remove(9), None);
    items.insert(9, json!(4));
    assert_eq!(Value::from(items), json!([1, 3, 4]));
}

#[test]
fn expressions_stand_in_documents() {
    let (key, none, list) = ("k", None::<&str>, vec!["x".to_owned()]);
    let made = json!({(key): list, "none": none, "sum": 1 + 2, "deep": [[], {}, null, {"a": -1}], "text": format!("{key}!"),});
    assert_eq!(made.to_string(), r#"{"deep":[[],{},null,{"a":-1}],"k":["x"],"none":null,"sum":3,"text":"k!"}"#);
}

#[test]
fn what_is_equal_is_shared_again() {
    let old = pod();
    let mut new: Value = serde_json::from_str(&old.to_string()).unwrap();
    assert!(!new.shares(&old));
    new["metadata"]["labels"]["app"] = "api".into();
    new.share_with(&old);
    assert!(new["spec"].shares(&old["spec"]) && !new["metadata"].shares(&old["metadata"]));
    assert_eq!(new["metadata"]["labels"], json!({"app": "api", "zone": null}));
    let mut same: Value = serde_json::from_str(&old.to_string()).unwrap();
    same.share_with(&old);
    assert!(same.shares(&old));
}

#[test]
fn merge_patches_follow_their_rfc() {
    for (target, patch, result) in [
        (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
        (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
        (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
        (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
        (json!(["a"]), json!(["c"]), json!(["c"])),
        (json!({"e": null}), json!({"a": 1}), json!({"a": 1, "e": null})),
        (json!([1, 2]), json!({"a": "b", "c": null}), json!({"a": "b"})),
        (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
    ] {
        let mut merged = target.clone();
        merged.merge(&patch);
        assert_eq!(merged, result, "{target} with {patch}");
    }
}

#[test]
fn keys_are_in_the_order_of_their_text() {
    let keys = ["", "a", "a\0", "ab", "abcdefg", "abcdefgh", "abcdefgh\0", "abcdefghi", "abcdefgi", "b", "é", "éé", "日本語日本"];
    let mut map = Map::new();
    for key in keys.iter().rev().chain(&keys) {
        map.insert(*key, key.len().into());
    }
    assert!(map.keys().map(Text::as_str).eq(keys));
    assert!(keys.iter().all(|key| map.get(key).and_then(Value::as_u64) == Some(key.len() as u64)));
    assert_eq!(map.get("abcdefghj"), None);
}
