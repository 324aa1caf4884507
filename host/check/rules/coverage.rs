//! Coverage tables: ids that do not exist, lines twice, lines that nobody answers for.

use crate::base::Place;
use crate::check::finding::{Finding, Rule};
use crate::check::space::Unit;
use crate::run::coverage;

/// Audits every table, and says all of it.
pub(super) fn coverage(unit: &Unit, found: &mut Vec<Finding>) {
    let Some(Ok(runbook)) = &unit.runbook else { return };
    for table in &runbook.coverage {
        let declared = unit
            .tree
            .declarations
            .iter()
            .find(|declaration| declaration.word == "coverage" && declaration.id.as_deref() == Some(table.document.as_str()));
        let whole = declared.map_or_else(|| table.place.clone(), |declaration| unit.tree.place(declaration.at));
        let entry = |key: &str| -> Option<Place> {
            let item = declared?.items.as_ref()?.iter().find(|item| item.key.as_deref() == Some(key))?;
            Some(unit.tree.place(item.at))
        };
        let lines = match coverage::committed(&unit.source, table) {
            Ok(lines) => lines,
            Err(error) => {
                found.push(Finding { place: whole, ..Finding::of(Rule::Coverage, &error, table.place.clone()) });
                continue;
            }
        };
        for (key, error) in coverage::problems(table, &lines, runbook) {
            let place = key.as_deref().and_then(entry).unwrap_or_else(|| whole.clone());
            found.push(Finding { place, ..Finding::of(Rule::Coverage, &error, table.place.clone()) });
        }
    }
}
