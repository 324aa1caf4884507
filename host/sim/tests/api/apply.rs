//! Who owns which field, and server-side apply.

use lockgate_sim::json::{Value, json};

use crate::answers::differences;

fn rows() -> Vec<Value> {
    serde_json::from_str(include_str!("apply.json")).unwrap()
}

#[test]
fn answers_are_those_of_a_real_server() {
    let rows = rows();
    let differ = differences("apply", &rows);
    assert!(differ.is_empty(), "{} of {} differ:\n{}", differ.len(), rows.len(), differ.join("\n"));
    let applied = rows.iter().filter(|row| row.get("type").is_some_and(|kind| *kind == "application/apply-patch+yaml")).count();
    assert!(applied >= 60, "only {applied} rows apply");
}

#[test]
fn the_comparison_sees_owners() {
    let rows = rows();
    let at = rows.iter().position(|row| row["status"] == 201).unwrap();
    let mut altered = rows[..=at].to_vec();
    assert_eq!(differences("apply", &altered), Vec::<String>::new());
    altered[at]["answer"]["metadata"]["managedFields"][0]["fieldsV1"]["f:data"]["f:other"] = json!({});
    assert_eq!(differences("apply", &altered).len(), 1);
}
