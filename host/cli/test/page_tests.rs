//! The page about scenarios names every word that a scenario may use.

use std::cell::RefCell;
use std::rc::Rc;

use super::cluster::{self, Hand};
use super::expect::{self, Outcome};
use super::fields;
use crate::cli::target;
use crate::cluster::Cancel;

const PAGE: &str = include_str!("../../../runbooks/scenarios.md");

#[test]
fn every_field_and_method_is_on_the_page() -> crate::base::Result<()> {
    let cluster = target::sandbox("sandbox", "empty", "apiVersion: v1\nkind: Node\nmetadata: { name: n1 }\n", &Cancel::new())?;
    let simulation = cluster.simulation().ok_or_else(|| crate::base::Error::internal("it is simulated"))?;
    let of_cluster = cluster::object(&Hand::now(&simulation), "default");
    let outcome = Outcome {
        refused: None,
        summary: None,
        records: Vec::new(),
        clusters: vec![cluster],
        simulation: simulation.clone(),
        alive: None,
        before: simulation.fork(),
        namespace: "default".to_owned(),
        ran: false,
    };
    let of_run = expect::object(&Rc::new(RefCell::new(outcome)));
    let missing: Vec<String> = fields::KNOWN
        .iter()
        .map(|field| format!("| `{field}` |"))
        .chain(of_cluster.names().chain(of_run.names()).map(|method| format!("`{method}")))
        .filter(|words| !PAGE.contains(words.as_str()))
        .collect();
    assert_eq!(missing, Vec::<String>::new());
    Ok(())
}
