//! What a function may come to call, through the functions that it names, in other files too.

use std::collections::{BTreeSet, VecDeque};

use luau_syntax::location::Location;

use crate::check::space::{Anywhere, Reached, Space};
use crate::check::tree::{Call, Expr, Mention, Shape, Target, Tree};

/// A word that is reached.
#[derive(Clone, Debug)]
pub(super) struct Hit<'a> {
    /// The word: `scale`, `helm.install`.
    pub(super) word: String,
    /// The call, where it is one.
    pub(super) call: Option<&'a Call>,
    /// The file.
    pub(super) unit: usize,
    /// Where in it.
    pub(super) at: Location,
    /// How one comes there: in which file and where a function is named, and how it is called.
    pub(super) way: Vec<(usize, Location, String)>,
}

/// Whether functions inside of a function are taken for reached: they are when it runs in the end, not while a file loads.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Inside {
    /// They are.
    Counts,
    /// They are not, nor is what is only named.
    Waits,
}

/// Every word that a value comes to call when it is called: a function, its name, or what a function makes.
pub(super) fn from<'a>(space: &'a Space<'_>, unit: usize, value: &'a Expr) -> Vec<Hit<'a>> {
    match &value.shape {
        Shape::Function(function) => walk(space, vec![((unit, *function), Vec::new())], Inside::Counts),
        Shape::Name(target) => named(space, unit, target, value.at),
        // What a function makes is one of the functions inside of it.
        Shape::Call(target) => match space.meant(unit, target) {
            Reached::Function(function) => {
                let way = vec![(unit, value.at, label(space, function))];
                let inner = inside(space, function).into_iter().map(|inner| (inner, way.clone())).collect();
                walk(space, inner, Inside::Counts)
            }
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

fn named<'a>(space: &'a Space<'_>, unit: usize, target: &'a Target, at: Location) -> Vec<Hit<'a>> {
    match space.meant(unit, target) {
        Reached::Function(function) => walk(space, vec![(function, vec![(unit, at, label(space, function))])], Inside::Counts),
        Reached::Word(word) => vec![Hit { word, call: None, unit, at, way: Vec::new() }],
        Reached::Value(_) | Reached::Unknown => Vec::new(),
    }
}

/// Every word that is called while a file loads.
pub(super) fn while_loading<'a>(space: &'a Space<'_>, unit: usize) -> Vec<Hit<'a>> {
    walk(space, vec![((unit, 0), Vec::new())], Inside::Waits)
}

/// The functions right inside of a function.
fn inside(space: &Space<'_>, (unit, function): Anywhere) -> Vec<Anywhere> {
    let Some(unit_of) = space.unit(unit) else { return Vec::new() };
    let functions = unit_of.tree.functions.iter().enumerate();
    functions.filter(|(_, inner)| inner.parent == Some(function) && !inner.apart).map(|(own, _)| (unit, own)).collect()
}

fn label(space: &Space<'_>, (unit, function): Anywhere) -> String {
    let named = space.unit(unit).and_then(|unit| unit.tree.functions.get(function)?.name.clone());
    named.unwrap_or_else(|| "a function".to_owned())
}

/// How one came to a function.
type Way = Vec<(usize, Location, String)>;

fn walk<'a>(space: &'a Space<'_>, starts: Vec<(Anywhere, Way)>, mode: Inside) -> Vec<Hit<'a>> {
    let mut seen: BTreeSet<Anywhere> = starts.iter().map(|(function, _)| *function).collect();
    let mut open: VecDeque<(Anywhere, Way)> = starts.into();
    let mut hits = Vec::new();
    while let Some(((unit, function), way)) = open.pop_front() {
        let Some(here) = space.unit(unit) else { continue };
        let Some(own) = here.tree.functions.get(function) else { continue };
        for mention in &own.mentions {
            let call = mention.call.and_then(|call| here.tree.calls.get(call));
            if call.is_none() && (mode == Inside::Waits || is_argument_of_call(&here.tree, mention)) {
                continue;
            }
            let (target, at) = call.map_or((&mention.target, mention.at), |call| (&call.target, call.at));
            match space.meant(unit, target) {
                Reached::Word(word) => hits.push(Hit { word, call, unit, at, way: way.clone() }),
                Reached::Function(next) => {
                    if seen.insert(next) {
                        let mut further = way.clone();
                        further.push((unit, at, label(space, next)));
                        open.push_back((next, further));
                    }
                }
                Reached::Value(_) | Reached::Unknown => {}
            }
        }
        if mode == Inside::Counts {
            for inner in inside(space, (unit, function)) {
                if seen.insert(inner) {
                    open.push_back((inner, way.clone()));
                }
            }
        }
    }
    hits
}

/// Whether it is the function that a `pcall` calls: it is seen as that call.
fn is_argument_of_call(tree: &Tree, mention: &Mention) -> bool {
    tree.calls.iter().any(|call| call.at == mention.at)
}

/// Whether the call has the option `read = true`; `None` when nobody can tell.
pub(super) fn says_read(call: Option<&Call>, params: usize) -> Option<bool> {
    let Some(options) = call?.arguments.get(params) else { return Some(false) };
    match &options.shape {
        Shape::Table(items) => match items.iter().find(|item| item.key.as_deref() == Some("read")).map(|item| &item.value.shape) {
            Some(Shape::Boolean(read)) => Some(*read),
            None if items.iter().all(|item| item.key.is_some()) => Some(false),
            _ => None,
        },
        Shape::Nil => Some(false),
        _ => None,
    }
}
