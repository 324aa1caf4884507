//! Arguments and options that a verb does not take.

use std::collections::BTreeMap;

use luau_syntax::location::Location;

use crate::base::{Value, did_you_mean};
use crate::check::finding::{Finding, Rule};
use crate::check::space::{Reached, Space, Unit};
use crate::check::tree::{Call, Expr, Shape};
use crate::primitives::registry::{list, plural};
use crate::primitives::types::Type;
use crate::primitives::{self, Arg, Arguments, Definition};

/// Looks at every call of a word.
pub(super) fn calls(space: &Space<'_>, unit: &Unit, found: &mut Vec<Finding>) {
    let here = space.place_of(unit);
    for call in &unit.tree.calls {
        let Reached::Word(word) = space.meant(here, &call.target) else { continue };
        let Some(definition) = primitives::ALL.iter().copied().find(|definition| definition.name == word) else { continue };
        arguments(unit, call, definition, found);
        options(unit, call, definition, found);
    }
}

fn arguments(unit: &Unit, call: &Call, definition: &Definition, found: &mut Vec<Finding>) {
    let (name, params) = (definition.name, definition.params);
    let most = params.len() + usize::from(!definition.options.is_empty());
    if call.arguments.len() > most {
        let at = call.arguments.get(most).map_or(call.at, |argument| argument.at);
        let message = format!("`{name}` takes {}, got {}", plural(params.len(), "argument"), call.arguments.len());
        found.push(Finding::new(Rule::Option, unit.tree.place(at), message).hint(format!("write `{}`", definition.signature())));
        return;
    }
    // What a call or `...` at the end gives may be several values, or none.
    if !call.open
        && let Some(missing) = params.iter().skip(call.arguments.len()).find(|param| !param.ty.optional)
    {
        let message = format!("`{name}`: argument `{}` is missing: it is {}", missing.name, missing.ty.text);
        found.push(Finding::new(Rule::Option, unit.tree.place(call.at), message).hint(format!("write `{}`", definition.signature())));
    }
    for (param, argument) in params.iter().zip(&call.arguments) {
        choice(unit, name, "argument", param.name, &param.ty, argument, found);
    }
}

fn options(unit: &Unit, call: &Call, definition: &Definition, found: &mut Vec<Finding>) {
    let Some(Expr { shape: Shape::Table(items), .. }) = call.arguments.get(definition.params.len()) else { return };
    for item in items {
        match &item.key {
            Some(key) => match definition.options.iter().find(|option| option.name == key) {
                Some(option) => choice(unit, definition.name, "option", key, &option.ty, &item.value, found),
                None => unknown(unit, definition, key, item.at, found),
            },
            None if !item.keyed => {
                let message = format!("`{}`: the options must have names: `{{ name = value }}`", definition.name);
                found.push(Finding::new(Rule::Option, unit.tree.place(item.at), message));
            }
            None => {}
        }
    }
}

/// An option that the verb does not know, in the words of the run.
fn unknown(unit: &Unit, definition: &Definition, key: &str, at: Location, found: &mut Vec<Finding>) {
    let options = BTreeMap::from([(key.to_owned(), Arg::Value(Value::Nil))]);
    if let Err(error) = (Arguments { positional: Vec::new(), options }).check(definition) {
        found.push(Finding::of(Rule::Option, &error, unit.tree.place(at)));
    }
}

/// A word that is none of the few.
fn choice(unit: &Unit, verb: &str, noun: &str, name: &str, ty: &Type, value: &Expr, found: &mut Vec<Finding>) {
    let Shape::Text(word) = &value.shape else { return };
    if ty.choices.is_empty() || ty.choices.contains(&word.as_str()) {
        return;
    }
    let message = format!("`{verb}`: {noun} `{name}` must be one of {}, got `{word}`", list(ty.choices.iter().copied()));
    let finding = Finding::new(Rule::Option, unit.tree.place(value.at), message);
    found.push(match did_you_mean(word, ty.choices.iter().copied()) {
        Some(near) => finding.hint(format!("did you mean `{near}`?")),
        None => finding,
    });
}
