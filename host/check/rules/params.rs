//! Parameters that are not declared, or not used.

use std::collections::BTreeSet;

use crate::base::did_you_mean;
use crate::check::finding::{Finding, Rule};
use crate::check::space::{Kind, Space, Unit};
use crate::primitives::registry::list;

/// Compares what is declared with what is read.
pub(super) fn params(_: &Space<'_>, unit: &Unit, found: &mut Vec<Finding>) {
    if unit.kind != Kind::Runbook {
        return;
    }
    let Some(declared) = declared(unit) else { return };
    let known = || declared.iter().map(|(name, _)| name.as_str());
    let mut used: BTreeSet<&str> = BTreeSet::new();
    let mut all = false;
    for (name, at) in &unit.tree.params {
        let Some(name) = name else {
            all = true;
            continue;
        };
        used.insert(name);
        if known().any(|known| known == name) {
            continue;
        }
        let finding = Finding::new(Rule::Param, unit.tree.place(*at), format!("there is no parameter `{name}`"));
        found.push(match did_you_mean(name, known()) {
            Some(near) => finding.hint(format!("did you mean `{near}`?")),
            None if declared.is_empty() => finding.hint(format!("declare it: `param \"{name}\" {{ … }}`")),
            None => finding.hint(format!("its parameters are {}", list(known()))),
        });
    }
    if all {
        return;
    }
    for (name, place) in declared.iter().filter(|(name, _)| !used.contains(name.as_str())) {
        let finding = Finding::new(Rule::Param, place.clone(), format!("parameter `{name}` is never read"));
        found.push(finding.hint(format!("read `params.{name}`, or leave the declaration out")));
    }
}

/// The parameters, with where they are declared; none when that cannot be told.
fn declared(unit: &Unit) -> Option<Vec<(String, crate::base::Place)>> {
    let written = unit.tree.declarations.iter().filter(|declaration| declaration.word == "param");
    let places: Vec<(Option<String>, crate::base::Place)> =
        written.map(|declaration| (declaration.id.clone(), unit.tree.place(declaration.at))).collect();
    match &unit.runbook {
        Some(Ok(runbook)) => Some(
            runbook
                .params
                .iter()
                .map(|param| {
                    let place = places.iter().find(|(id, _)| id.as_deref() == Some(param.name.as_str())).map(|(_, place)| place.clone());
                    (param.name.clone(), place.unwrap_or_else(|| param.place.clone()))
                })
                .collect(),
        ),
        _ => places.into_iter().map(|(id, place)| Some((id?, place))).collect(),
    }
}
