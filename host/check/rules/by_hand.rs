//! No rule: what the steps of a runbook leave to people, for those who read about it.

use std::collections::BTreeMap;

use super::reach;
use crate::check::space::{Space, Unit};
use crate::check::tree::Shape;

/// The first line of each text of `manual` that a step comes to, by the line in which the step is declared.
pub(crate) fn by_hand(space: &Space<'_>, unit: &Unit) -> BTreeMap<u32, Vec<String>> {
    let here = space.place_of(unit);
    let mut found: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for step in unit.tree.declarations.iter().filter(|declaration| declaration.word == "step") {
        let working = step.items.iter().flatten().filter(|item| matches!(item.key.as_deref(), Some("run" | "recover" | "rollback")));
        for hit in working.flat_map(|item| reach::from(space, here, &item.value)).filter(|hit| hit.word == "manual") {
            let text = match hit.call.and_then(|call| call.arguments.first()).map(|text| &text.shape) {
                Some(Shape::Text(text)) => text.trim().lines().next().unwrap_or_default().to_owned(),
                _ => "the run says what and where".to_owned(),
            };
            let texts = found.entry(unit.tree.place(step.at).line).or_default();
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
    }
    found
}
