//! The files that are looked at, and the modules that they ask for.

use std::collections::BTreeMap;

use super::tree::{Declaration, FnId, Guess, Meant, Shape, Target, Tree, Ty};
use crate::base::{Error, Result};
use crate::lua::{Engine, LuaHost, Shelves};
use crate::run::{Runbook, Source};

/// What a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It declares a runbook.
    Runbook,
    /// It has scenarios.
    Scenarios,
    /// Others ask for it.
    Module,
}

/// A file.
#[derive(Debug)]
pub(crate) struct Unit {
    /// Its text and neighbours.
    pub(crate) source: Source,
    /// What it is for.
    pub(crate) kind: Kind,
    /// As the rules read it.
    pub(crate) tree: Tree,
    /// The modules that it asks for: their places in the space, or why they are not there.
    pub(crate) modules: BTreeMap<String, std::result::Result<usize, Error>>,
    /// What it declares, when it is a runbook that was asked about; or why it does not load.
    pub(crate) runbook: Option<Result<Runbook>>,
    asked: bool,
}

/// All files.
pub(crate) struct Space<'e> {
    /// The Lua state, which knows the names.
    pub(crate) engine: &'e Engine,
    /// The names that every file sees.
    pub(crate) names: BTreeMap<String, std::collections::BTreeSet<String>>,
    units: Vec<Unit>,
}

/// A function somewhere in the space.
pub(crate) type Anywhere = (usize, FnId);

impl<'e> Space<'e> {
    /// Reads files, and the modules that they ask for.
    pub(crate) fn read(engine: &'e Engine, shelves: &Shelves, sources: &[Source]) -> Space<'e> {
        let mut space = Space { engine, names: engine.names(), units: Vec::new() };
        for source in sources {
            let place = space.add(source.clone());
            if let Some(unit) = space.units.get_mut(place) {
                unit.asked = true;
            }
        }
        let mut next = 0;
        while let Some(unit) = space.units.get(next) {
            let beside = unit.source.beside.clone();
            let names: Vec<String> = unit.tree.requires.iter().map(|require| require.name.clone()).collect();
            let mut modules = BTreeMap::new();
            for name in names {
                let found = shelves.find(&beside, &name).map(|found| {
                    let text = found.text.as_str().into();
                    space.add(Source { name: name.clone(), file: found.label, text, beside: found.beside, modules: Vec::new() })
                });
                modules.insert(name, found);
            }
            if let Some(unit) = space.units.get_mut(next) {
                unit.modules = modules;
            }
            next += 1;
        }
        for unit in space.units.iter_mut().filter(|unit| unit.asked && unit.kind == Kind::Runbook && unit.tree.broken.is_empty()) {
            let host = LuaHost::on(engine, unit.source.clone(), None);
            unit.runbook = Some(crate::run::Script::load(&mut host.with_modules(shelves.folders.clone())));
        }
        space
    }

    fn add(&mut self, source: Source) -> usize {
        if let Some(known) = self.units.iter().position(|unit| unit.source.file == source.file) {
            return known;
        }
        let tree = Tree::read(&source.file, &source.text);
        let kind = kind(&source, &tree);
        self.units.push(Unit { source, kind, tree, modules: BTreeMap::new(), runbook: None, asked: false });
        self.units.len() - 1
    }

    /// The files that are looked at.
    pub(crate) fn asked(&self) -> impl Iterator<Item = &Unit> {
        self.units.iter().filter(|unit| unit.asked)
    }

    /// The place of a file.
    pub(crate) fn place_of(&self, unit: &Unit) -> usize {
        self.units.iter().position(|other| std::ptr::eq(other, unit)).unwrap_or(0)
    }

    /// The file at a place.
    pub(crate) fn unit(&self, place: usize) -> Option<&Unit> {
        self.units.get(place)
    }

    /// The word or function that a name stands for, through modules.
    pub(crate) fn meant<'a>(&'a self, unit: usize, target: &'a Target) -> Reached<'a> {
        let Some(here) = self.units.get(unit) else { return Reached::Unknown };
        match here.tree.meant(target) {
            Meant::Word(family, name) => Reached::Word(match family {
                None => name.to_owned(),
                Some(family) => format!("{family}.{name}"),
            }),
            Meant::Function(function) => Reached::Function((unit, function)),
            Meant::OfModule(module, name) => self.of_module(here, module, name),
            Meant::Value(value) => Reached::Value(&value.shape),
            Meant::Unknown => Reached::Unknown,
        }
    }

    fn of_module<'a>(&'a self, here: &'a Unit, module: &str, name: &str) -> Reached<'a> {
        let Some(Ok(place)) = here.modules.get(module) else { return Reached::Unknown };
        let Some(unit) = self.units.get(*place) else { return Reached::Unknown };
        let returned = unit.tree.returned.as_ref().map(|returned| &returned.shape);
        let value = match returned {
            Some(Shape::Table(items)) => items.iter().find(|item| item.key.as_deref() == Some(name)).map(|item| &item.value),
            Some(Shape::Name(Target::Local(local))) => unit.tree.locals.get(local).and_then(|bound| bound.fields.get(name)),
            _ => None,
        };
        match value.map(|value| &value.shape) {
            Some(Shape::Function(function)) => Reached::Function((*place, *function)),
            // A name that stands for a name of another module leads no further than the files there are.
            Some(Shape::Name(next)) if *place != self.place_of(here) => self.meant(*place, next),
            Some(shape) => Reached::Value(shape),
            None => Reached::Unknown,
        }
    }

    /// The declared types of a runbook's parameters, by name; as written when it does not load.
    pub(crate) fn param_type(unit: &Unit, name: &str) -> Option<Ty> {
        if let Some(Ok(runbook)) = &unit.runbook {
            let declared = runbook.params.iter().find(|param| param.name == name)?;
            return Ty::of_param(declared.ty.as_str());
        }
        let declared = unit.tree.declarations.iter().find(|declared| declared.word == "param" && declared.id.as_deref() == Some(name))?;
        match field(declared, "type").map(|item| &item.value.shape) {
            Some(Shape::Text(word)) => Ty::of_param(word),
            _ => None,
        }
    }

    /// What is known of a type.
    pub(crate) fn ty(unit: &Unit, guess: &Guess) -> Option<Ty> {
        guess.ty(|param| Space::param_type(unit, param))
    }
}

/// What a name leads to.
#[derive(Clone, Debug)]
pub(crate) enum Reached<'a> {
    /// A word of every file: `scale`, `helm.install`.
    Word(String),
    /// A function.
    Function(Anywhere),
    /// A value.
    Value(&'a Shape),
    /// Nobody can say.
    Unknown,
}

/// A field of a declaration, as it is written.
pub(crate) fn field<'a>(declaration: &'a Declaration, name: &str) -> Option<&'a super::tree::Item> {
    declaration.items.as_ref()?.iter().find(|item| item.key.as_deref() == Some(name))
}

fn kind(source: &Source, tree: &Tree) -> Kind {
    let declares = tree.declarations.iter().any(|declared| declared.word == "runbook");
    let name = source.file.rsplit('/').next().unwrap_or_default();
    let scenario = |target: &Target| *target == Target::Global("scenario".to_owned());
    let scenarios = tree.functions.first().is_some_and(|file| file.mentions.iter().any(|mention| scenario(&mention.target)));
    if declares || source.is_folder() && crate::run::source::FILES.contains(&name) {
        Kind::Runbook
    } else if scenarios || name == "test.luau" {
        Kind::Scenarios
    } else {
        Kind::Module
    }
}
