//! The rules, one file each. A rule says only what it can know; what depends on values is for the run.

mod by_hand;
mod calls;
mod compare;
mod coverage;
mod declared;
mod names;
mod order;
mod params;
mod permissions;
mod places;
mod reach;

pub(super) use self::by_hand::by_hand;
use super::finding::{Finding, Rule};
use super::space::{Space, Unit};

/// Everything that the rules find in a file.
pub(super) fn all(space: &Space<'_>, unit: &Unit) -> Vec<Finding> {
    let broken: Vec<Finding> =
        unit.tree.broken.iter().map(|(why, at)| Finding::new(Rule::Syntax, unit.tree.place(*at), why.clone())).collect();
    if !broken.is_empty() {
        return broken;
    }
    let mut found = Vec::new();
    names::names(space, unit, &mut found);
    names::requires(unit, &mut found);
    calls::calls(space, unit, &mut found);
    declared::declared(unit, &mut found);
    places::places(space, unit, &mut found);
    params::params(space, unit, &mut found);
    compare::compare(unit, &mut found);
    order::order(unit, &mut found);
    coverage::coverage(unit, &mut found);
    permissions::permissions(space, unit, &mut found);
    declared::loads(unit, &mut found);
    found
}
