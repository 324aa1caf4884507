//! What the API types look like: read from OpenAPI schemas, those of Kubernetes itself and those of custom resources.

mod decode;
mod read;
mod strict;
mod walk;

use std::sync::OnceLock;

use crate::json::{Text, Value};
use crate::openapi;

pub(crate) use self::decode::decode;
pub(crate) use self::strict::{Finding, findings};
pub(crate) use self::walk::{prune, unknown};

/// A type: what a value may be, and whether it is merged in parts.
#[derive(Debug, Clone)]
pub(crate) struct Type {
    pub(crate) shape: Shape,
    /// Whether lists and maps of this type are one value for those who own fields; `None` where the schema says nothing.
    pub(crate) atomic: Option<bool>,
}

/// What a value may be.
#[derive(Debug, Clone)]
pub(crate) enum Shape {
    /// Nothing is known.
    Any,
    /// A map of which nothing more is known.
    AnyMap,
    Text,
    /// Text in base64.
    Bytes,
    /// A time in the form of RFC 3339.
    Time,
    /// An integer of this many bits.
    Integer(u8),
    Number,
    Bool,
    IntOrText,
    /// A quantity such as `100m`.
    Amount,
    List(List),
    /// A map with keys of any name and values of one type.
    Map(Box<Type>),
    Struct(Struct),
    Reference(Reference),
}

/// A list.
#[derive(Debug, Clone)]
pub(crate) struct List {
    pub(crate) items: Box<Type>,
    pub(crate) identity: Identity,
}

/// What makes an item of a list itself, wherever it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Identity {
    /// Nothing: the list is one value.
    Place,
    /// Its value: a set.
    Value,
    /// These fields of it.
    Keys(Vec<Text>),
}

/// A map with named fields.
#[derive(Debug, Clone, Default)]
pub(crate) struct Struct {
    /// In the order of their names.
    fields: Vec<(Text, Field)>,
    /// Whether further fields are kept.
    pub(crate) open: bool,
}

/// One field.
#[derive(Debug, Clone)]
pub(crate) struct Field {
    pub(crate) kind: Type,
    /// What the schema says of a missing field. An empty map is a struct that Go always has.
    pub(crate) default: Option<Value>,
    /// Whether Go writes the field even when it is empty.
    pub(crate) required: bool,
    /// For strategic merge patches: whether a list is merged with what is there.
    pub(crate) merges: bool,
    /// For strategic merge patches: whether a map is replaced as a whole.
    pub(crate) replaces: bool,
    /// For strategic merge patches: the field by which items of the list are found.
    pub(crate) merge_key: Option<Text>,
}

/// A type by its name.
#[derive(Debug, Clone)]
pub(crate) struct Reference {
    pub(crate) name: Text,
    target: OnceLock<Option<&'static Type>>,
}

/// The type of what no schema tells about.
pub(crate) static ANY: Type = Type { shape: Shape::Any, atomic: None };

impl Reference {
    fn new(name: Text) -> Self {
        Self { name, target: OnceLock::new() }
    }

    fn target(&self) -> &'static Type {
        self.target.get_or_init(|| openapi::type_named(&self.name)).unwrap_or(&ANY)
    }
}

impl Struct {
    /// The field of this name.
    pub(crate) fn field(&self, name: &str) -> Option<&Field> {
        self.fields.binary_search_by(|(field, _)| field.as_str().cmp(name)).ok().and_then(|at| self.fields.get(at)).map(|(_, field)| field)
    }
}

impl Type {
    /// The name of the type in Go, for example `v1.Container`; empty for a type that has no name.
    pub(crate) fn go_name(&self) -> &str {
        let Shape::Reference(reference) = &self.shape else { return "" };
        let mut parts = reference.name.rmatch_indices('.');
        parts.nth(1).map_or(reference.name.as_str(), |(at, _)| &reference.name[at + 1..])
    }

    /// The shape behind any reference.
    pub(crate) fn shape(&self) -> &Shape {
        match &self.shape {
            Shape::Reference(reference) => reference.target().shape(),
            shape => shape,
        }
    }

    /// Whether a list or map of this type is one value for those who own fields.
    pub(crate) fn is_atomic(&self) -> bool {
        match (&self.shape, self.atomic) {
            (_, Some(atomic)) => atomic,
            (Shape::Reference(reference), None) => reference.target().is_atomic(),
            (Shape::List(list), None) => list.identity == Identity::Place,
            _ => false,
        }
    }

    /// The type of a field or of the values of a map.
    pub(crate) fn below(&self, name: &str) -> &Type {
        match self.shape() {
            Shape::Struct(fields) => fields.field(name).map_or(&ANY, |field| &field.kind),
            Shape::Map(values) => values,
            _ => &ANY,
        }
    }

    /// The named fields, if it has any.
    pub(crate) fn as_struct(&self) -> Option<&Struct> {
        match self.shape() {
            Shape::Struct(fields) => Some(fields),
            _ => None,
        }
    }

    /// The type of the items of a list.
    pub(crate) fn items(&self) -> &Type {
        match self.shape() {
            Shape::List(list) => &list.items,
            _ => &ANY,
        }
    }

    /// Tells the names of the types that this one refers to itself.
    #[cfg(test)]
    pub(crate) fn references(&self, tell: &mut impl FnMut(&str)) {
        match &self.shape {
            Shape::Reference(reference) => tell(&reference.name),
            Shape::List(list) => list.items.references(tell),
            Shape::Map(values) => values.references(tell),
            Shape::Struct(fields) => fields.fields.iter().for_each(|(_, field)| field.kind.references(tell)),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
