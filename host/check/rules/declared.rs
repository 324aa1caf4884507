//! Declarations: fields that nobody knows, fields that are missing, and files that do not load.

use luau_syntax::location::Location;

use crate::base::did_you_mean;
use crate::check::finding::{Finding, Rule};
use crate::check::space::Unit;
use crate::check::tree::{Declaration, Shape};
use crate::lua::declarations::{WORDS, Word};
use crate::primitives::registry::list;

/// Fields of declarations that are written out.
pub(super) fn declared(unit: &Unit, found: &mut Vec<Finding>) {
    for declaration in &unit.tree.declarations {
        let Some(word) = WORDS.iter().find(|word| word.name == declaration.word && !word.fields.is_empty()) else { continue };
        let what = match &declaration.id {
            Some(id) => format!("{} \"{id}\"", declaration.word),
            None => declaration.word.clone(),
        };
        unknown(unit, declaration, word, &what, found);
        missing(unit, declaration, word, &what, found);
    }
}

fn unknown(unit: &Unit, declaration: &Declaration, word: &Word, what: &str, found: &mut Vec<Finding>) {
    let known = || word.fields.iter().map(|field| field.name).filter(|name| !name.starts_with('['));
    for item in declaration.items.iter().flatten() {
        let Some(key) = &item.key else { continue };
        if known().any(|name| name == key) {
            continue;
        }
        let finding = Finding::new(Rule::Declaration, unit.tree.place(item.at), format!("`{what}` has no field `{key}`"));
        found.push(match did_you_mean(key, known()) {
            Some(near) => finding.hint(format!("did you mean `{near}`?")),
            None => finding.hint(format!("its fields are {}", list(known()))),
        });
    }
}

fn missing(unit: &Unit, declaration: &Declaration, word: &Word, what: &str, found: &mut Vec<Finding>) {
    let Some(items) = &declaration.items else { return };
    // A key that is computed may be any of them.
    if items.iter().any(|item| item.keyed && item.key.is_none()) {
        return;
    }
    for field in word.fields.iter().filter(|field| field.required) {
        let given = items.iter().find(|item| item.key.as_deref() == Some(field.name));
        let wrong = |at: Location, message: String| {
            Finding::new(Rule::Declaration, unit.tree.place(at), message).hint(format!("`{}`: {}", field.name, field.doc))
        };
        match given.map(|item| &item.value) {
            None => found.push(wrong(declaration.at, format!("`{what}` has no `{}`", field.name))),
            Some(value) => {
                if matches!(&value.shape, Shape::Text(text) if text.trim().is_empty()) {
                    found.push(wrong(value.at, format!("`{what}`: `{}` is empty", field.name)));
                }
            }
        }
    }
}

/// What the loader says, when nothing else has said it.
pub(super) fn loads(unit: &Unit, found: &mut Vec<Finding>) {
    let Some(Err(error)) = &unit.runbook else { return };
    let finding = Finding::of(Rule::Declaration, error, unit.tree.place(Location::zero()));
    let line = finding.place.line;
    // It stops at the first mistake, which another rule may know better.
    if !found.iter().any(|other| other.place.line == line || matches!(other.rule, Rule::Require | Rule::Declaration)) {
        found.push(finding);
    }
}
