//! Maps walked over without `pairs`: their order is not that of the keys, and differs from run to run.

use crate::check::finding::{Finding, Rule};
use crate::check::space::{Space, Unit};
use crate::check::tree::Ty;

/// Looks at every loop over a value.
pub(super) fn order(unit: &Unit, found: &mut Vec<Finding>) {
    for walked in &unit.tree.loops {
        if matches!(Space::ty(unit, &walked.over), Some(Ty::Map | Ty::Images)) {
            let finding = Finding::new(Rule::Order, unit.tree.place(walked.at), "a map is walked over in no order");
            found.push(finding.hint("write `pairs(…)`, which goes by the keys in order: a run must be the same each time"));
        }
    }
}
