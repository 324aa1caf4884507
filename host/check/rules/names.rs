//! Names that nobody knows, globals that are set, and modules that are not there.

use crate::base::did_you_mean;
use crate::check::finding::{Finding, Rule};
use crate::check::space::{Kind, Space, Unit};
use crate::check::tree::Target;
use crate::lua::declarations::WORDS;

/// The names that a file has beside those of every file.
fn own(kind: Kind) -> Vec<&'static str> {
    match kind {
        Kind::Runbook => WORDS.iter().map(|word| word.name).chain(["waived", "params", "state", "require"]).collect(),
        Kind::Scenarios => vec!["scenario", "absent", "require"],
        Kind::Module => vec!["require"],
    }
}

/// Unknown names and members, and globals that are set.
pub(super) fn names(space: &Space<'_>, unit: &Unit, found: &mut Vec<Finding>) {
    let own = own(unit.kind);
    let known = |name: &str| own.contains(&name) || space.names.contains_key(name);
    let tree = &unit.tree;
    for mention in tree.functions.iter().flat_map(|function| &function.mentions) {
        match &mention.target {
            Target::Global(name) if !known(name) => {
                found.push(Finding::of(Rule::Name, &space.engine.unknown(name), tree.place(mention.at)));
            }
            Target::Member(family, _) if !known(family) => {
                let mut at = mention.at;
                at.end = at.begin;
                at.end.column = at.begin.column.saturating_add(u32::try_from(family.len()).unwrap_or(0));
                found.push(Finding::of(Rule::Name, &space.engine.unknown(family), tree.place(at)));
            }
            Target::Member(family, name) => {
                let Some(members) = space.names.get(family).filter(|members| !members.is_empty()) else { continue };
                if !members.contains(name) {
                    let finding = Finding::new(Rule::Name, tree.place(mention.at), format!("`{family}` has no `{name}`"));
                    found.push(match did_you_mean(name, members.iter().map(String::as_str)) {
                        Some(near) => finding.hint(format!("did you mean `{family}.{near}`?")),
                        None => finding,
                    });
                }
            }
            _ => {}
        }
    }
    for assigned in &tree.assigned {
        let error = space.engine.assigned(&assigned.name, assigned.function);
        found.push(Finding::of(Rule::Name, &error, tree.place(assigned.at)));
    }
}

/// Modules that are not there.
pub(super) fn requires(unit: &Unit, found: &mut Vec<Finding>) {
    for require in &unit.tree.requires {
        if let Some(Err(error)) = unit.modules.get(&require.name) {
            found.push(Finding::of(Rule::Require, error, unit.tree.place(require.at)));
        }
    }
}
