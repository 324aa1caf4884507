//! What arguments may be: each type says how it reads in the reference, in Luau, and how it is made from a script's value.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::base::json::Value as Json;

use super::registry::{Arg, Callback, list};
use crate::base::{Error, Result};
use crate::base::{Image, Object, ObjectRef, Quantity, Reason, Span, Typed, Value, Version, did_you_mean};

/// What an argument takes, for people and editors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Type {
    /// The Luau type, without the `?` of an optional one.
    pub luau: &'static str,
    /// What people call it, with its article: `a duration such as "90s"`.
    pub text: &'static str,
    /// Whether it may be left out.
    pub optional: bool,
    /// The allowed words, when it is one of a few.
    pub choices: &'static [&'static str],
    /// What a prompt may complete here.
    pub completes: Completes,
}

/// What a prompt completes for an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completes {
    /// Nothing.
    Nothing,
    /// A reference: kinds, then object names.
    Reference,
    /// A kind.
    Kind,
    /// One of the choices.
    Choices,
}

impl Type {
    /// A required type without choices.
    #[must_use]
    pub const fn new(luau: &'static str, text: &'static str) -> Self {
        Type { luau, text, optional: false, choices: &[], completes: Completes::Nothing }
    }

    /// The same, optional.
    #[must_use]
    pub const fn optional(self) -> Self {
        Type { optional: true, ..self }
    }

    /// The same with something to complete.
    #[must_use]
    pub const fn completes(self, completes: Completes) -> Self {
        Type { completes, ..self }
    }
}

/// A type that an argument of a primitive can have.
pub trait ArgType: Sized {
    /// How it reads.
    const TYPE: Type;

    /// Makes it from what the script gave.
    ///
    /// # Errors
    /// A usage error; its message completes "argument `x` of `verb`: …", or stands alone after the colon.
    fn from_arg(arg: Arg) -> Result<Self>;
}

/// The error for an argument of the wrong type.
pub fn mismatch<T: ArgType>(arg: &Arg) -> Error {
    if arg.is_nil() {
        return Error::usage(format!("is missing: it is {}", T::TYPE.text));
    }
    Error::usage(format!("must be {}, got {}", T::TYPE.text, arg.kind_name()))
}

/// Makes one argument and puts its name into what goes wrong.
///
/// # Errors
/// The error of [`ArgType::from_arg`], naming verb and argument.
pub fn decode<T: ArgType>(verb: &str, noun: &str, name: &str, arg: Arg) -> Result<T> {
    T::from_arg(arg).map_err(|mut error| {
        error.message = format!("`{verb}`: {noun} `{name}` {}", error.message);
        error.reason = Reason::Usage;
        error
    })
}

impl<T: ArgType> ArgType for Option<T> {
    const TYPE: Type = T::TYPE.optional();
    fn from_arg(arg: Arg) -> Result<Self> {
        if arg.is_nil() { Ok(None) } else { T::from_arg(arg).map(Some) }
    }
}

impl ArgType for bool {
    const TYPE: Type = Type::new("boolean", "true or false");
    fn from_arg(arg: Arg) -> Result<Self> {
        match arg {
            Arg::Value(Value::Json(Json::Bool(value))) => Ok(value),
            other => Err(mismatch::<Self>(&other)),
        }
    }
}

impl ArgType for String {
    const TYPE: Type = Type::new("string", "a string");
    fn from_arg(arg: Arg) -> Result<Self> {
        match arg {
            Arg::Value(Value::Json(Json::String(text))) => Ok(text.into()),
            Arg::Value(Value::Typed(typed)) => Ok(typed.to_string()),
            other => Err(mismatch::<Self>(&other)),
        }
    }
}

impl ArgType for f64 {
    const TYPE: Type = Type::new("number", "a number");
    fn from_arg(arg: Arg) -> Result<Self> {
        match &arg {
            Arg::Value(Value::Json(Json::Number(number))) => number.as_f64().ok_or_else(|| mismatch::<Self>(&arg)),
            other => Err(mismatch::<Self>(other)),
        }
    }
}

impl ArgType for u32 {
    const TYPE: Type = Type::new("number", "a whole number, 0 or more");
    fn from_arg(arg: Arg) -> Result<Self> {
        match &arg {
            Arg::Value(Value::Json(Json::Number(number))) => number
                .as_u64()
                .or_else(|| number.as_f64().filter(|value| value.fract() == 0.0 && *value >= 0.0).map(|value| value as u64))
                .and_then(|value| u32::try_from(value).ok())
                .ok_or_else(|| Error::usage(format!("must be {}, got {number}", Self::TYPE.text))),
            other => Err(mismatch::<Self>(other)),
        }
    }
}

impl ArgType for Span {
    const TYPE: Type = Type::new("Duration | string | number", "a duration such as \"90s\" or \"1h30m\", or seconds");
    fn from_arg(arg: Arg) -> Result<Self> {
        match &arg {
            Arg::Value(Value::Typed(Typed::Duration(span))) => Ok(*span),
            Arg::Value(Value::Json(Json::String(text))) => {
                Span::parse(text).map_err(|error| Error::usage(format!("must be {}: {error}", Self::TYPE.text)))
            }
            Arg::Value(Value::Json(Json::Number(number))) => number
                .as_f64()
                .filter(|seconds| seconds.is_finite() && *seconds >= 0.0)
                .map(Span::from_secs_f64)
                .ok_or_else(|| Error::usage(format!("must be {}, got {number}", Self::TYPE.text))),
            other => Err(mismatch::<Self>(other)),
        }
    }
}

macro_rules! typed_argument {
    ($type:ident, $luau:literal, $text:literal) => {
        impl ArgType for $type {
            const TYPE: Type = Type::new($luau, $text);
            fn from_arg(arg: Arg) -> Result<Self> {
                match &arg {
                    Arg::Value(Value::Typed(Typed::$type(value))) => Ok(value.clone()),
                    Arg::Value(Value::Json(Json::String(text))) => {
                        text.parse::<$type>().map_err(|error| Error::usage(format!("must be {}: {error}", Self::TYPE.text)))
                    }
                    other => Err(mismatch::<Self>(other)),
                }
            }
        }
    };
}
typed_argument!(Version, "Version | string", "a version such as \"v1.9.3\"");
typed_argument!(Image, "Image | string", "an image such as \"registry.example/cni:v1.9.3\"");
typed_argument!(Quantity, "Quantity | string", "a quantity such as \"500m\" or \"2Gi\"");

/// A reference: text or an object that was read.
impl ArgType for ObjectRef {
    const TYPE: Type = Type::new("Ref", "a reference such as \"deployment/web\", or an object").completes(Completes::Reference);
    fn from_arg(arg: Arg) -> Result<Self> {
        let made = match &arg {
            Arg::Value(Value::Json(Json::String(text))) => ObjectRef::parse(text),
            Arg::Value(Value::Object(object)) => ObjectRef::of(&object.current),
            Arg::Value(Value::Json(json @ Json::Object(_))) => ObjectRef::of(json),
            other => return Err(mismatch::<Self>(other)),
        };
        made.map_err(|error| {
            let wrong = Error::usage(format!("is no reference: {error}"));
            match &error.hint {
                Some(hint) => wrong.hint(hint.clone()),
                None => wrong,
            }
        })
    }
}

/// A node: its bare name, `node/NAME`, or the object that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRef(pub ObjectRef);

impl ArgType for NodeRef {
    const TYPE: Type = Type::new("Ref", "a node such as \"w1\" or \"node/w1\", or its object").completes(Completes::Reference);
    fn from_arg(arg: Arg) -> Result<Self> {
        let made = match &arg {
            Arg::Value(Value::Json(Json::String(text))) => ObjectRef::parse_node(text),
            Arg::Value(Value::Object(object)) => ObjectRef::of(&object.current),
            Arg::Value(Value::Json(json @ Json::Object(_))) => ObjectRef::of(json),
            _ => return Err(mismatch::<Self>(&arg)),
        };
        let reference = made.map_err(|error| Error::usage(format!("is no node: {error}")))?;
        let is_node = reference.group.as_deref().unwrap_or_default().is_empty()
            && ["node", "nodes", "no"].iter().any(|kind| reference.kind.eq_ignore_ascii_case(kind));
        if is_node { Ok(NodeRef(reference)) } else { Err(Error::usage(format!("must be {}, got `{reference}`", Self::TYPE.text))) }
    }
}

/// A kind as people write it: singular, plural, short name, `kind.group`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KindName(pub String);

impl ArgType for KindName {
    const TYPE: Type = Type::new("string", "a kind such as \"pods\" or \"deployment\"").completes(Completes::Kind);
    fn from_arg(arg: Arg) -> Result<Self> {
        match arg {
            Arg::Value(Value::Json(Json::String(text))) if !text.is_empty() && !text.contains('/') => Ok(KindName(text.into())),
            Arg::Value(Value::Json(Json::String(text))) => Err(Error::usage(format!("must be {}, got `{text}`", Self::TYPE.text))),
            other => Err(mismatch::<Self>(&other)),
        }
    }
}

/// An API object with the original it was read as.
impl ArgType for Object {
    const TYPE: Type = Type::new("Object", "an object that `get` or `list` gave");
    fn from_arg(arg: Arg) -> Result<Self> {
        match arg {
            Arg::Value(Value::Object(object)) => Ok(object),
            Arg::Value(Value::Json(json @ Json::Object(_))) => Ok(Object { current: json.into(), original: None, unmodelled: false }),
            other => Err(mismatch::<Self>(&other)),
        }
    }
}

/// Any table or value, as JSON.
impl ArgType for Json {
    const TYPE: Type = Type::new("any", "a table");
    fn from_arg(arg: Arg) -> Result<Self> {
        match arg {
            Arg::Value(Value::Nil) | Arg::Function(_) => Err(mismatch::<Self>(&arg)),
            Arg::Value(value) => Ok(value.into_json()),
        }
    }
}

/// A map from names to values of one type.
#[derive(Clone, Debug, PartialEq)]
pub struct Map<T>(pub BTreeMap<String, T>);

/// Splits a table into its entries; an empty list counts as an empty map, since both are `{}` in Lua.
pub(super) fn entries(arg: Arg) -> std::result::Result<Vec<(String, Arg)>, Box<Arg>> {
    match arg {
        Arg::Value(Value::Map(map)) => Ok(map.into_iter().map(|(key, value)| (key, Arg::Value(value))).collect()),
        Arg::Value(Value::Json(Json::Object(map))) => {
            Ok(map.into_iter().map(|(key, value)| (key.into(), Arg::Value(Value::Json(value)))).collect())
        }
        Arg::Value(Value::Json(Json::Array(items))) if items.is_empty() => Ok(Vec::new()),
        Arg::Value(Value::List(items)) if items.is_empty() => Ok(Vec::new()),
        other => Err(Box::new(other)),
    }
}

impl ArgType for Map<Image> {
    const TYPE: Type = Type::new("{ [string]: Image | string }", "a table from container names to images");
    fn from_arg(arg: Arg) -> Result<Self> {
        let entries = entries(arg).map_err(|other| mismatch::<Self>(&other))?;
        let made: Result<BTreeMap<String, Image>> = entries
            .into_iter()
            .map(|(key, value)| match Image::from_arg(value) {
                Ok(image) => Ok((key, image)),
                Err(error) => Err(Error::usage(format!("has a wrong entry `{key}`: it {}", error.message))),
            })
            .collect();
        made.map(Map)
    }
}

impl ArgType for Vec<String> {
    const TYPE: Type = Type::new("{ string }", "a list of strings");
    fn from_arg(arg: Arg) -> Result<Self> {
        let items = match arg {
            Arg::Value(Value::Json(Json::Array(items))) => items.into_iter().map(Value::Json).collect(),
            Arg::Value(Value::List(items)) => items,
            other => return Err(mismatch::<Self>(&other)),
        };
        items
            .into_iter()
            .map(|item| item.as_text().ok_or_else(|| Error::usage(format!("must be a list of strings, but holds {}", item.kind_name()))))
            .collect()
    }
}

impl ArgType for Rc<dyn Callback> {
    const TYPE: Type = Type::new("(...any) -> ...any", "a function");
    fn from_arg(arg: Arg) -> Result<Self> {
        match arg {
            Arg::Function(function) => Ok(function),
            other => Err(mismatch::<Self>(&other)),
        }
    }
}

/// The condition of `wait_for`: the name of a condition, or a function that says whether it holds.
#[derive(Clone)]
pub enum Condition {
    /// A condition of the object's status, such as `Ready`; it must be `True`.
    Named(String),
    /// A function of the object (`nil` while absent) that returns whether it holds, and progress.
    Function(Rc<dyn Callback>),
}

impl ArgType for Condition {
    const TYPE: Type = Type::new("string | (any) -> ...any", "a condition such as \"Ready\", or a function of the object");
    fn from_arg(arg: Arg) -> Result<Self> {
        match arg {
            Arg::Function(function) => Ok(Condition::Function(function)),
            Arg::Value(Value::Json(Json::String(text))) if !text.is_empty() => Ok(Condition::Named(text.into())),
            other => Err(mismatch::<Self>(&other)),
        }
    }
}

/// Finds a word among the choices.
///
/// # Errors
/// A usage error with the nearest choice or all of them.
pub fn choose(word: &str, choices: &'static [&'static str]) -> Result<&'static str> {
    if let Some(choice) = choices.iter().find(|choice| **choice == word) {
        return Ok(choice);
    }
    let error = Error::usage(format!("must be one of {}, got `{word}`", list(choices.iter().copied())));
    Err(match did_you_mean(word, choices.iter().copied()) {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => error,
    })
}

/// Declares an argument that is one of a few words.
#[macro_export]
macro_rules! choice {
    ($(#[$doc:meta])* pub enum $Name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal),+ $(,)? } is $luau:literal, $text:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $Name { $($(#[$vdoc])* $variant),+ }
        impl $crate::primitives::types::ArgType for $Name {
            const TYPE: $crate::primitives::types::Type = $crate::primitives::types::Type {
                choices: &[$($word),+],
                completes: $crate::primitives::types::Completes::Choices,
                ..$crate::primitives::types::Type::new($luau, $text)
            };
            fn from_arg(arg: $crate::primitives::registry::Arg) -> $crate::base::Result<Self> {
                let word = match &arg {
                    $crate::primitives::registry::Arg::Value($crate::base::Value::Json($crate::base::json::Value::String(word))) => word.clone(),
                    other => return Err($crate::primitives::types::mismatch::<Self>(other)),
                };
                match $crate::primitives::types::choose(&word, Self::TYPE.choices)? {
                    $($word => Ok($Name::$variant),)+
                    other => Err($crate::base::Error::internal(format!("choice `{other}` has no variant"))),
                }
            }
        }
    };
}
