//! Verbs where they may not be called: writes in functions that only read, questions in `verify`, anything but declarations while a
//! file loads.

use super::reach::{self, Hit};
use crate::base::Place;
use crate::check::finding::{Finding, Rule};
use crate::check::space::{Kind, Space, Unit};
use crate::lua;
use crate::primitives::{self, Definition, Effect};
use crate::run::Phase;

/// The function of a declaration that a field holds.
fn phase(word: &str, field: &str) -> Option<Phase> {
    match (word, field) {
        ("check", "run") => Some(Phase::Check),
        ("step", "run") => Some(Phase::Run),
        ("step", "verify") => Some(Phase::Verify),
        ("step", "recover") => Some(Phase::Recover),
        ("step", "rollback") => Some(Phase::Rollback),
        ("check" | "step" | "group", "when") => Some(Phase::When),
        ("step" | "group", "each") => Some(Phase::Each),
        ("step" | "group", "batch") => Some(Phase::Batch),
        ("step", "title") => Some(Phase::Title),
        ("step", "gate") => Some(Phase::Gate),
        _ => None,
    }
}

fn definition(word: &str) -> Option<&'static Definition> {
    primitives::ALL.iter().copied().find(|definition| definition.name == word)
}

/// What the verb does in this call, when that can be told.
fn effect(hit: &Hit<'_>, definition: &Definition) -> Effect {
    // A call that may only read is not found fault with.
    let reads = reach::says_read(hit.call, definition.params.len()).unwrap_or(true);
    definition.effect_in(reads)
}

/// Looks at every function of the file's declarations, and at what runs while it loads.
pub(super) fn places(space: &Space<'_>, unit: &Unit, found: &mut Vec<Finding>) {
    let here = space.place_of(unit);
    if unit.kind == Kind::Scenarios {
        return scenario(unit, found);
    }
    for declaration in &unit.tree.declarations {
        for item in declaration.items.iter().flatten() {
            let Some(phase) = item.key.as_deref().and_then(|key| phase(&declaration.word, key)) else { continue };
            let what = match &declaration.id {
                Some(id) => format!("`{}` of `{} \"{id}\"`", phase.as_str(), declaration.word),
                None => format!("`{}` of a {}", phase.as_str(), declaration.word),
            };
            for hit in reach::from(space, here, &item.value) {
                out_of_place(space, here, phase, &what, &hit, found);
            }
        }
    }
    loading(space, here, found);
}

fn out_of_place(space: &Space<'_>, here: usize, phase: Phase, what: &str, hit: &Hit<'_>, found: &mut Vec<Finding>) {
    if hit.word == "not_needed" && phase != Phase::Check {
        let finding = Finding::new(Rule::Place, place(space, here, hit), "`not_needed` is called outside of a check");
        found.push(along(space, here, hit, what, finding.hint("only a check can find that there is nothing to do")));
        return;
    }
    let Some(definition) = definition(&hit.word) else { return };
    let effect = effect(hit, definition);
    if !lua::may_call(phase, effect) {
        let finding = Finding::of(Rule::Place, &lua::out_of_place(phase, definition.name, effect), place(space, here, hit));
        found.push(along(space, here, hit, what, finding));
    }
}

/// What is called while the file loads.
fn loading(space: &Space<'_>, here: usize, found: &mut Vec<Finding>) {
    for hit in reach::while_loading(space, here) {
        if definition(&hit.word).is_some_and(|definition| definition.effect != Effect::Pure || hit.word == "not_needed") {
            let finding = Finding::of(Rule::Place, &lua::while_loading(&hit.word), place(space, here, &hit));
            found.push(along(space, here, &hit, "the file itself", finding));
        }
    }
    let Some(unit) = space.unit(here).filter(|unit| unit.kind == Kind::Runbook) else { return };
    for mention in unit.tree.functions.first().into_iter().flat_map(|file| &file.mentions) {
        let name = match &mention.target {
            crate::check::tree::Target::Global(name) | crate::check::tree::Target::Member(name, _) => name.as_str(),
            _ => continue,
        };
        if matches!(name, "params" | "state") {
            found.push(Finding::of(Rule::Place, &lua::read_while_loading(name), unit.tree.place(mention.at)));
        }
    }
}

/// Verbs in scenarios.
fn scenario(unit: &Unit, found: &mut Vec<Finding>) {
    for call in &unit.tree.calls {
        let word = match unit.tree.meant(&call.target) {
            crate::check::tree::Meant::Word(None, name) => name.to_owned(),
            crate::check::tree::Meant::Word(Some(family), name) => format!("{family}.{name}"),
            _ => continue,
        };
        if definition(&word).is_some_and(|definition| definition.effect != Effect::Pure) {
            found.push(Finding::of(Rule::Place, &lua::in_scenario(&word), unit.tree.place(call.at)));
        }
    }
}

/// The place of a finding in the file that was asked about: the call, or what leads to it.
fn place(space: &Space<'_>, here: usize, hit: &Hit<'_>) -> Place {
    let at = if hit.unit == here { Some(hit.at) } else { hit.way.iter().rfind(|(unit, ..)| *unit == here).map(|(_, at, _)| *at) };
    match (space.unit(here), at) {
        (Some(unit), Some(at)) => unit.tree.place(at),
        _ => Place::default(),
    }
}

/// How one comes from the declaration to the call.
fn along(space: &Space<'_>, here: usize, hit: &Hit<'_>, what: &str, finding: Finding) -> Finding {
    let mut finding = finding;
    let mut from = what.to_owned();
    for (unit, at, name) in &hit.way {
        let Some(file) = space.unit(*unit) else { continue };
        let place = file.tree.place(*at);
        let inside = if *unit == here { String::new() } else { format!("`{}` ", place.file) };
        finding = finding.cause(format!("{from} calls `{name}` in {inside}line {}", place.line));
        from = format!("`{name}`");
    }
    if hit.unit != here
        && let Some(file) = space.unit(hit.unit)
    {
        let place = file.tree.place(hit.at);
        finding = finding.cause(format!("{from} calls `{}` in `{}` line {}", hit.word, place.file, place.line));
    } else if hit.way.is_empty() {
        finding = finding.cause(format!("in {what}"));
    }
    finding
}
