//! A file of Luau as the rules read it: its functions and what they mention, its calls, declarations, comparisons and loops. Made by one
//! walk over the parser's tree, so that no rule knows that tree.

mod shape;
mod walk;

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

use luau_syntax::location::{Location, Position};
use luau_syntax::parser::{ParseOptions, ParsedSource};

pub(crate) use self::shape::{Expr, Guess, Item, Shape, Ty};
use crate::base::Place;

/// A function of a file, by its place in [`Tree::functions`]; 0 is the file itself.
pub(crate) type FnId = usize;

/// A local variable of a file.
pub(crate) type LocalId = u64;

/// What a name stands for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Target {
    /// A word of every file: `scale`.
    Global(String),
    /// A member of a global: `helm.install`.
    Member(String, String),
    /// A local variable.
    Local(LocalId),
    /// A field of a local variable: `nodes.rolling`.
    Field(LocalId, String),
}

/// A name inside a function.
#[derive(Clone, Debug)]
pub(crate) struct Mention {
    /// What it stands for.
    pub(crate) target: Target,
    /// Where.
    pub(crate) at: Location,
    /// The call that it is the function of, by its place in [`Tree::calls`].
    pub(crate) call: Option<usize>,
}

/// A function.
#[derive(Clone, Debug, Default)]
pub(crate) struct Function {
    /// Its name, where it has one.
    pub(crate) name: Option<String>,
    /// The function around it.
    pub(crate) parent: Option<FnId>,
    /// What it names, nested functions left out.
    pub(crate) mentions: Vec<Mention>,
    /// Whether it is called by somebody else than the function around it: a function of a declaration, or what stands for the
    /// operator in a plan.
    pub(crate) apart: bool,
}

/// A call.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// What is called; through `pcall` and `xpcall` the function that they call.
    pub(crate) target: Target,
    /// Where the name of the function is.
    pub(crate) at: Location,
    /// The arguments of `target`.
    pub(crate) arguments: Vec<Expr>,
    /// Whether the last argument may stand for several, or arguments are those of a method.
    pub(crate) open: bool,
}

/// `step "id" { … }`, as it is written.
#[derive(Clone, Debug)]
pub(crate) struct Declaration {
    /// The word.
    pub(crate) word: String,
    /// The id, where it is a plain text.
    pub(crate) id: Option<String>,
    /// Where the word and its id are.
    pub(crate) at: Location,
    /// The fields, where they are written out.
    pub(crate) items: Option<Vec<Item>>,
}

/// A comparison.
#[derive(Clone, Debug)]
pub(crate) struct Compare {
    /// The operator.
    pub(crate) op: &'static str,
    /// Its sides.
    pub(crate) sides: [Guess; 2],
    /// Where the whole is.
    pub(crate) at: Location,
}

/// `for … in x`, without `pairs`, `ipairs` or another iterator.
#[derive(Clone, Debug)]
pub(crate) struct Loop {
    /// What is walked over.
    pub(crate) over: Guess,
    /// Where it is written.
    pub(crate) at: Location,
}

/// `require "x"`.
#[derive(Clone, Debug)]
pub(crate) struct Require {
    /// The name of the module.
    pub(crate) name: String,
    /// Where it is written.
    pub(crate) at: Location,
}

/// What is known of a local variable.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bound {
    /// Its value when it was made, of what is set only once.
    pub(crate) value: Option<Expr>,
    /// The functions and values that are its fields.
    pub(crate) fields: BTreeMap<String, Expr>,
    /// Whether it is set again.
    pub(crate) set_again: bool,
    /// What its annotation says.
    pub(crate) says: Option<Ty>,
}

/// An assignment of a global.
#[derive(Clone, Debug)]
pub(crate) struct Assigned {
    /// Its name.
    pub(crate) name: String,
    /// Where.
    pub(crate) at: Location,
    /// Whether a function is assigned.
    pub(crate) function: bool,
}

/// A file as the rules read it.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    /// The file as people know it.
    pub(crate) file: String,
    text: Arc<str>,
    /// Its functions.
    pub(crate) functions: Vec<Function>,
    /// Its calls.
    pub(crate) calls: Vec<Call>,
    /// Its declarations.
    pub(crate) declarations: Vec<Declaration>,
    /// Its comparisons.
    pub(crate) compares: Vec<Compare>,
    /// Its loops.
    pub(crate) loops: Vec<Loop>,
    /// The modules it asks for.
    pub(crate) requires: Vec<Require>,
    /// The globals that it sets.
    pub(crate) assigned: Vec<Assigned>,
    /// The parameters that it reads, by name; empty where all are read.
    pub(crate) params: Vec<(Option<String>, Location)>,
    /// Its local variables.
    pub(crate) locals: HashMap<LocalId, Bound>,
    /// What it returns.
    pub(crate) returned: Option<Expr>,
    /// What cannot be read as Luau.
    pub(crate) broken: Vec<(String, Location)>,
}

impl Tree {
    /// Reads a file.
    pub(crate) fn read(file: &str, text: &Arc<str>) -> Tree {
        let mut tree = Tree { file: file.to_owned(), text: text.clone(), ..Tree::default() };
        match ParsedSource::parse(text.as_bytes(), ParseOptions::default()) {
            Ok(parsed) => {
                let errors = &parsed.metadata().errors;
                tree.broken.extend(errors.iter().map(|error| (error.to_string(), error.location)));
                walk::file(&mut tree, parsed.root());
            }
            Err(errors) => tree.broken.extend(errors.errors().iter().map(|error| (error.to_string(), error.location))),
        }
        tree
    }

    /// A place of the file, for people: lines and columns from 1, in characters.
    pub(crate) fn place(&self, at: Location) -> Place {
        place(&self.file, &self.text, at)
    }

    /// The bytes of a place.
    pub(crate) fn bytes(&self, at: Location) -> Range<usize> {
        let offset = |position: Position| {
            let line = usize::try_from(position.line).unwrap_or(usize::MAX);
            let before: usize = self.text.split_inclusive('\n').take(line).map(str::len).sum();
            before + usize::try_from(position.column).unwrap_or(0)
        };
        offset(at.begin)..offset(at.end)
    }

    /// What a local variable was made as, when it is never set again.
    pub(crate) fn value(&self, local: LocalId) -> Option<&Expr> {
        self.locals.get(&local).filter(|bound| !bound.set_again)?.value.as_ref()
    }

    /// The function or value behind a name, followed through local variables.
    pub(crate) fn meant<'a>(&'a self, target: &'a Target) -> Meant<'a> {
        let mut target = target;
        // A name stands for a name, which stands for a name: names of one file end somewhere, but not those of a wrong one.
        for _ in 0..8 {
            let value = match target {
                Target::Local(local) => self.value(*local),
                Target::Field(local, field) => match self.locals.get(local).and_then(|bound| bound.fields.get(field)) {
                    Some(value) => Some(value),
                    None => {
                        return match self.value(*local).map(|value| &value.shape) {
                            Some(Shape::Require(module)) => Meant::OfModule(module, field),
                            _ => Meant::Unknown,
                        };
                    }
                },
                Target::Global(name) => return Meant::Word(None, name),
                Target::Member(family, name) => return Meant::Word(Some(family), name),
            };
            match value.map(|value| &value.shape) {
                Some(Shape::Name(next)) => target = next,
                Some(Shape::Function(function)) => return Meant::Function(*function),
                Some(_) => return value.map_or(Meant::Unknown, Meant::Value),
                None => return Meant::Unknown,
            }
        }
        Meant::Unknown
    }
}

/// What a name stands for in the end.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Meant<'a> {
    /// A word of every file, perhaps of a family.
    Word(Option<&'a str>, &'a str),
    /// A function of this file.
    Function(FnId),
    /// What a module returns under this name.
    OfModule(&'a str, &'a str),
    /// A value that is no function.
    Value(&'a Expr),
    /// Nobody can say.
    Unknown,
}

/// A place for people, of a place of the parser: its columns are bytes.
pub(crate) fn place(file: &str, text: &str, at: Location) -> Place {
    let number = |position: u32| usize::try_from(position).unwrap_or(0);
    let source = text.lines().nth(number(at.begin.line)).unwrap_or_default();
    let chars = |bytes: u32| source.char_indices().take_while(|(byte, _)| *byte < number(bytes)).count();
    let begin = chars(at.begin.column);
    let end = if at.end.line == at.begin.line { chars(at.end.column) } else { source.trim_end().chars().count() };
    Place {
        file: file.to_owned(),
        line: at.begin.line.saturating_add(1),
        column: u32::try_from(begin + 1).ok(),
        length: u32::try_from(end.saturating_sub(begin).max(1)).ok(),
        source: Some(source.to_owned()),
        function: None,
    }
}
