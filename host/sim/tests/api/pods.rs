//! What a pod may not say: the same requests as to a real server, with the same answers.
//!
//! `pods.json` holds what kube-apiserver v1.36.4 answered to pods that would be created (`dryRun=All`).

use lockgate_sim::json::{Value, json};
use lockgate_sim::{Cluster, Options};

use crate::answers;
use crate::replay::request;
use crate::support::{Api, text};

#[test]
fn refusals_are_those_of_a_real_server() {
    let rows: Vec<Value> = serde_json::from_str(include_str!("pods.json")).unwrap();
    let mut api = Api(Cluster::new(Options::default()));
    let mut differ = Vec::new();
    for row in &rows {
        let mut asked = request(row);
        if let Some((path, query)) = text(&row["path"]).split_once('?') {
            path.clone_into(&mut asked.path);
            asked.query = query.split('&').filter_map(|pair| pair.split_once('=')).map(|(a, b)| (a.to_owned(), b.to_owned())).collect();
        }
        let (status, answer) = api.send(&asked);
        // Of a pod that is accepted its defaults have tests of their own.
        let shown = |answer: &Value| if answer["kind"] == "Status" { answers::plain(answer) } else { Value::Null };
        let (here, there) = (json!([status, shown(&answer)]), json!([row["status"].clone(), shown(&row["answer"])]));
        if here != there {
            differ.push(format!("{}\n  recorded: {there}\n  answered: {here}", text(&row["body"])));
        }
    }
    assert!(differ.is_empty(), "{} of {} differ:\n{}", differ.len(), rows.len(), differ.join("\n"));
    assert!(rows.iter().filter(|row| row["status"] == 422).count() >= 50);
}

/// `podspecs.json` has pods and workloads with one thing wrong in each, and others that are right, which are compared with their defaults.
#[test]
fn specs_are_refused_and_completed_as_by_a_real_server() {
    let rows: Vec<Value> = serde_json::from_str(include_str!("podspecs.json")).unwrap();
    let differ = answers::differences("podspecs", &rows);
    assert!(differ.is_empty(), "{} of {} differ:\n{}", differ.len(), rows.len(), differ.join("\n"));
    assert!(rows.iter().filter(|row| row["status"] == 422).count() >= 430);
}
