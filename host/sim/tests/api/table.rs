//! The same tables as those of a real API server.
//!
//! `table.json` holds what kube-apiserver v1.36.4 showed: for each collection its table with whole objects in the rows, and the time
//! of the answer. The case `controlplane::tables_are_current` writes it. Here the objects of the rows are put into a cluster at
//! that time, and its table must be the same, ages included.

use jiff::Timestamp;
use lockgate_sim::json::{Value, json};
use lockgate_sim::{Body, Cluster, Options, Request, WatchPoll, kinds};

use crate::support::{Api, MAPS, MERGE, PODS, pod, text};

const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";
const PARTIAL: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
const PARTIAL_LIST: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";

fn rows() -> Vec<Value> {
    serde_json::from_str(include_str!("table.json")).unwrap()
}

/// A cluster with the objects of a recorded table.
fn loaded(row: &Value) -> Api {
    let start: Timestamp = row["now"].as_str().unwrap().parse().unwrap();
    let mut cluster = Cluster::new(Options { start, ..Options::default() });
    for shown in row["table"]["rows"].as_array().unwrap() {
        let object = shown["object"].clone();
        let kind = kinds::by_kind(object["apiVersion"].as_str().unwrap(), object["kind"].as_str().unwrap()).unwrap();
        cluster.load_object(kind, object).unwrap();
    }
    Api(cluster)
}

/// Words about columns are not kept, the version of the list counts all objects of the server, and an object may leave out what is
/// null in another.
fn comparable(table: &Value) -> Value {
    let mut table = table.clone();
    for row in table["rows"].as_array_mut().unwrap().iter_mut() {
        row["object"].as_object_mut().unwrap().retain(|_, value| !value.is_null());
    }
    table["metadata"] = json!({});
    for column in table["columnDefinitions"].as_array_mut().unwrap().iter_mut() {
        column.as_object_mut().unwrap().remove("description");
    }
    table
}

#[test]
fn tables_are_those_of_a_real_server() {
    let rows = rows();
    let mut differ = Vec::new();
    for row in &rows {
        let path = format!("{}?includeObject=Object", text(&row["path"]));
        let answered = comparable(&loaded(row).ok(&Request::get(&path).with_accept(TABLE)));
        let recorded = comparable(&row["table"]);
        for part in ["kind", "apiVersion", "columnDefinitions"] {
            if answered[part] != recorded[part] {
                differ.push(format!("{path} {part}\n  recorded: {}\n  answered: {}", recorded[part], answered[part]));
            }
        }
        let (ours, theirs) = (answered["rows"].as_array().unwrap(), recorded["rows"].as_array().unwrap());
        assert_eq!(ours.len(), theirs.len(), "{path}");
        let different = ours.iter().zip(theirs).filter(|(ours, theirs)| ours != theirs);
        differ.extend(different.map(|(ours, theirs)| format!("{path}\n  recorded: {theirs}\n  answered: {ours}")));
    }
    assert!(differ.is_empty(), "{} differ:\n{}", differ.len(), differ.join("\n"));
    let shown: usize = rows.iter().map(|row| row["table"]["rows"].as_array().unwrap().len()).sum();
    assert!(rows.len() >= 30 && shown >= 95, "{} tables, {shown} rows", rows.len());
}

/// Each cell of the recording, altered, would be noticed.
#[test]
fn the_comparison_is_not_blind() {
    for row in rows() {
        for (at, shown) in row["table"]["rows"].as_array().unwrap().iter().enumerate() {
            for cell in 0..shown["cells"].as_array().unwrap().len() {
                let mut other = row["table"].clone();
                other["rows"][at]["cells"][cell] = "altered".into();
                assert_ne!(comparable(&other), comparable(&row["table"]));
            }
        }
    }
}

#[test]
fn rows_carry_as_much_of_the_object_as_was_asked_for() {
    let mut api = Api::new();
    api.map("a", json!({"l": "1"}));
    let mut rows = |query: &str| api.ok(&Request::get(&format!("{MAPS}{query}")).with_accept(TABLE))["rows"][0].clone();
    let object = rows("")["object"].clone();
    assert_eq!((object["kind"].as_str(), object["metadata"]["labels"]["l"].as_str()), (Some("PartialObjectMetadata"), Some("1")));
    assert!(object.get("data").is_none());
    assert_eq!(rows("?includeObject=Metadata")["object"], object);
    assert_eq!(rows("?includeObject=None")["object"], Value::Null);
    let object = rows("?includeObject=Object")["object"].clone();
    assert_eq!((object["kind"].as_str(), object["data"]["a"].as_str()), (Some("ConfigMap"), Some("1")));
    let (code, reason, message) = api.fails(&Request::get(&format!("{MAPS}?includeObject=Foo")).with_accept(TABLE));
    assert_eq!((code, reason.as_str()), (400, "BadRequest"));
    let wanted =
        "Unable to convert to Table as requested: includeObject: Invalid value: \"Foo\": must be 'Metadata', 'Object', 'None', or empty";
    assert_eq!(message, wanted);
}

#[test]
fn tables_have_pages_and_are_given_for_writes_too() {
    let mut api = Api::new();
    for name in ["a", "b", "c"] {
        api.map(name, json!({}));
    }
    let first = api.ok(&Request::get(&format!("{MAPS}?limit=2")).with_accept(TABLE));
    assert_eq!((first["rows"].as_array().unwrap().len(), &first["metadata"]["remainingItemCount"]), (2, &json!(1)));
    let next = format!("{MAPS}?limit=2&continue={}", text(&first["metadata"]["continue"]));
    let second = api.ok(&Request::get(&next).with_accept(TABLE));
    assert_eq!(second["rows"][0]["cells"], json!(["c", 1, "0s"]));
    let made = api.ok(&Request::post(MAPS, &json!({"metadata": {"name": "d"}})).with_accept(TABLE));
    assert_eq!((made["kind"].as_str(), &made["rows"][0]["cells"]), (Some("Table"), &json!(["d", 0, "0s"])));
    assert_eq!(made["metadata"], json!({"resourceVersion": made["rows"][0]["object"]["metadata"]["resourceVersion"].clone()}));
    let patch = Request::patch(&format!("{MAPS}/d"), MERGE, &json!({"data": {"x": "1"}}));
    assert_eq!(api.ok(&patch.with_accept(TABLE))["rows"][0]["cells"][1], json!(1));
    // Failures and the status of a deletion are never tables.
    assert_eq!(api.ok(&Request::delete(&format!("{MAPS}/d")).with_accept(TABLE))["kind"], "Status");
    assert_eq!(api.fails(&Request::get(&format!("{MAPS}/d")).with_accept(TABLE)).0, 404);
    let left = api.ok(&Request::delete(MAPS).with_accept(TABLE));
    assert_eq!((left["kind"].as_str(), left["rows"].as_array().unwrap().len()), (Some("Table"), 3));
}

#[test]
fn a_watch_tells_the_columns_once() {
    let mut api = Api::new();
    api.map("a", json!({}));
    let watch = format!("{MAPS}?watch=1&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan");
    let Body::Watch(id) = api.0.handle(&Request::get(&watch).with_accept(TABLE)).body else { panic!("no watch") };
    api.map("b", json!({}));
    api.ok(&Request::delete(&format!("{MAPS}/a")));
    let mut seen = Vec::new();
    while let WatchPoll::Event(event) = api.0.poll_watch(id) {
        let table = &event["object"];
        assert_eq!((table["kind"].as_str(), table["apiVersion"].as_str()), (Some("Table"), Some("meta.k8s.io/v1")));
        assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
        assert_eq!(table["columnDefinitions"].is_array(), seen.is_empty());
        seen.push(format!("{} {}", text(&event["type"]), table["rows"][0]["cells"]));
    }
    let wanted = [r#"ADDED ["a",1,"0s"]"#, r#"BOOKMARK ["",0,"<unknown>"]"#, r#"ADDED ["b",1,"0s"]"#, r#"DELETED ["a",1,"0s"]"#];
    assert_eq!(seen, wanted);
}

#[test]
fn metadata_alone_is_given_for_objects_lists_and_watches() {
    let mut api = Api::new();
    api.map("a", json!({"l": "1"}));
    let one = api.ok(&Request::get(&format!("{MAPS}/a")).with_accept(PARTIAL));
    assert_eq!((one["kind"].as_str(), one["apiVersion"].as_str()), (Some("PartialObjectMetadata"), Some("meta.k8s.io/v1")));
    assert_eq!((one["metadata"]["labels"]["l"].as_str(), one.get("data")), (Some("1"), None));
    let list = api.ok(&Request::get(MAPS).with_accept(&PARTIAL_LIST.replace("v=v1", "v=v1beta1")));
    assert_eq!((list["kind"].as_str(), list["apiVersion"].as_str()), (Some("PartialObjectMetadataList"), Some("meta.k8s.io/v1beta1")));
    assert_eq!(
        (list["items"][0]["kind"].as_str(), list["items"][0]["apiVersion"].as_str()),
        (Some("PartialObjectMetadata"), Some("meta.k8s.io/v1beta1"))
    );
    let wrong = |api: &mut Api, path: &str, accept: &str| {
        let (code, reason, message) = api.fails(&Request::get(path).with_accept(accept));
        assert_eq!((code, reason.as_str()), (406, "NotAcceptable"));
        message
    };
    let list = "you requested PartialObjectMetadata, but the requested object is a list (*core.ConfigMapList)";
    assert_eq!(wrong(&mut api, MAPS, &format!("{PARTIAL},application/json")), list);
    let one = "you requested PartialObjectMetadataList, but the requested object is not a list (*core.ConfigMap)";
    assert_eq!(wrong(&mut api, &format!("{MAPS}/a"), PARTIAL_LIST), one);
    let Body::Watch(id) = api.0.handle(&Request::get(&format!("{MAPS}?watch=1")).with_accept(PARTIAL)).body else { panic!("no watch") };
    let WatchPoll::Event(event) = api.0.poll_watch(id) else { panic!("no event") };
    assert_eq!((event["object"]["kind"].as_str(), event["object"].get("data")), (Some("PartialObjectMetadata"), None));
    let Body::Watch(id) = api.0.handle(&Request::get(&format!("{MAPS}?watch=1")).with_accept(PARTIAL_LIST)).body else {
        panic!("no watch")
    };
    assert_eq!(api.0.poll_watch(id), WatchPoll::Closed);
}

#[test]
fn what_nobody_can_give_is_not_acceptable_and_nothing_is_written() {
    let mut api = Api::new();
    let types = "application/json, application/yaml, application/vnd.kubernetes.protobuf";
    for (accept, message) in [
        ("text/plain", format!("406: Not Acceptable\n\nAvailable representations: {types}")),
        ("application/json;as=Table;g=meta.k8s.io;v=v1alpha1", format!("only the following media types are accepted: {types}")),
        ("application/json;as=Tabl;g=meta.k8s.io;v=v1", format!("only the following media types are accepted: {types}")),
        ("application/json;as=Table", format!("only the following media types are accepted: {types}")),
    ] {
        let request = Request::post(PODS, &pod("p")).with_accept(accept);
        assert_eq!(api.fails(&request), (406, "NotAcceptable".to_owned(), message));
    }
    assert!(api.gone(&format!("{PODS}/p")));
    let unknown_first = "application/json;as=Tabl;v=v1;g=meta.k8s.io,application/json";
    assert_eq!(api.ok(&Request::post(PODS, &pod("p")).with_accept(unknown_first))["kind"], "Pod");
}

#[test]
fn ages_go_on_with_the_time() {
    let mut api = Api::new();
    api.map("a", json!({}));
    for (seconds, age) in [(90, "90s"), (60, "2m30s"), (3600, "62m"), (86_400, "25h")] {
        api.advance(seconds);
        assert_eq!(api.ok(&Request::get(MAPS).with_accept(TABLE))["rows"][0]["cells"][2], age);
    }
}

#[test]
fn a_scale_has_its_own_columns() {
    let mut api = Api::new();
    api.ok(&Request::post(crate::support::DEPLOYMENTS, &crate::support::deployment("d")));
    let path = format!("{}/d/scale", crate::support::DEPLOYMENTS);
    assert_eq!(api.ok(&Request::get(&path).with_accept(TABLE))["rows"][0]["cells"], json!(["d", 0, 0, "0s"]));
}
