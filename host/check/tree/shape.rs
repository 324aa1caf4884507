//! Expressions as far as rules look at them.

use luau_syntax::location::Location;

use super::{FnId, Target};

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Expr {
    /// Where it is.
    pub(crate) at: Location,
    /// What it is.
    pub(crate) shape: Shape,
    /// What is known of its type.
    pub(crate) guess: Guess,
}

/// What an expression is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Shape {
    /// A text, written out.
    Text(String),
    /// A number, written out.
    Number(f64),
    /// `true` or `false`.
    Boolean(bool),
    /// `nil`.
    Nil,
    /// A table, written out.
    Table(Vec<Item>),
    /// A function, written out.
    Function(FnId),
    /// A name.
    Name(Target),
    /// What a call gives.
    Call(Target),
    /// `require "x"`.
    Require(String),
    /// `waived "reason"` and other things that nobody looks into.
    Other,
}

/// An entry of a table.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Item {
    /// Its key, where it is a plain text; none for an entry of a list.
    pub(crate) key: Option<String>,
    /// Where the key is; where the value is in a list.
    pub(crate) at: Location,
    /// Whether it has a key at all.
    pub(crate) keyed: bool,
    /// Its value.
    pub(crate) value: Expr,
}

/// A type that rules know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ty {
    /// `version(…)`.
    Version,
    /// `image(…)`.
    Image,
    /// `duration(…)`.
    Duration,
    /// `quantity(…)`.
    Quantity,
    /// A text.
    Text,
    /// A number.
    Number,
    /// Names to images.
    Images,
    /// Names to anything.
    Map,
    /// A list.
    List,
}

impl Ty {
    /// The typed value that one word makes.
    pub(crate) fn made_by(word: &str) -> Option<Ty> {
        match word {
            "version" => Some(Ty::Version),
            "image" => Some(Ty::Image),
            "duration" => Some(Ty::Duration),
            "quantity" => Some(Ty::Quantity),
            _ => None,
        }
    }

    /// What the type of a parameter gives.
    pub(crate) fn of_param(word: &str) -> Option<Ty> {
        match word {
            "string" | "choice" | "secret" => Some(Ty::Text),
            "integer" | "number" => Some(Ty::Number),
            "list" | "manifests" => Some(Ty::List),
            "map" => Some(Ty::Map),
            typed => Ty::made_by(typed),
        }
    }

    /// The word that makes it, for a typed value.
    pub(crate) fn word(self) -> Option<&'static str> {
        match self {
            Ty::Version => Some("version"),
            Ty::Image => Some("image"),
            Ty::Duration => Some("duration"),
            Ty::Quantity => Some("quantity"),
            _ => None,
        }
    }

    /// A field of it.
    pub(crate) fn field(self, name: &str) -> Option<Ty> {
        match (self, name) {
            (Ty::Images, _) => Some(Ty::Image),
            (Ty::Image, "version") => Some(Ty::Version),
            (Ty::Image, "registry" | "repository" | "tag" | "digest") => Some(Ty::Text),
            (Ty::Version, "major" | "minor" | "patch") => Some(Ty::Number),
            _ => None,
        }
    }
}

/// What is known of a type, perhaps only when the parameters are known.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Guess {
    /// Nothing.
    #[default]
    Unknown,
    /// It.
    Is(Ty),
    /// That of a parameter, or of a field of it.
    Param(String, Vec<String>),
}

impl Guess {
    /// That of a field.
    pub(crate) fn field(&self, name: &str) -> Guess {
        match self {
            Guess::Unknown => Guess::Unknown,
            Guess::Is(ty) => ty.field(name).map_or(Guess::Unknown, Guess::Is),
            Guess::Param(param, path) => Guess::Param(param.clone(), path.iter().cloned().chain([name.to_owned()]).collect()),
        }
    }

    /// The type, where the types of the parameters are known.
    pub(crate) fn ty(&self, params: impl Fn(&str) -> Option<Ty>) -> Option<Ty> {
        match self {
            Guess::Unknown => None,
            Guess::Is(ty) => Some(*ty),
            Guess::Param(param, path) => path.iter().try_fold(params(param)?, |ty, field| ty.field(field)),
        }
    }
}
