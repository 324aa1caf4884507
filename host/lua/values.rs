//! Typed values in Lua: versions, images, durations, quantities. They print as text and compare with their own type.

use std::cmp::Ordering;

use mlua::{AnyUserData, FromLua, Lua, MetaMethod, UserData, UserDataFields, UserDataMethods, Value as LuaValue};

use super::error::{Raised, broken, kind};
use crate::base::{Error, Image, Quantity, Result, Span, Typed, Value, Version, did_you_mean};
use crate::primitives::Arg;
use crate::primitives::registry::list;
use crate::primitives::types::ArgType;

/// A type that scripts hold as a value of its own.
trait Held: ArgType + Clone + PartialEq + std::fmt::Display + 'static {
    /// What `typeof` says, and the word that makes one.
    const NAME: &'static str;
    /// What follows a dot or a colon.
    const MEMBERS: &'static [&'static str];
    /// How two of them are ordered; `None` when they have no order.
    fn order(&self, other: &Self) -> Option<Ordering>;
    fn fields<F: UserDataFields<Holder<Self>>>(_: &mut F) {}
    fn methods<M: UserDataMethods<Holder<Self>>>(_: &mut M) {}
}

/// The userdata that holds one.
struct Holder<T>(T);

impl<T: Held> UserData for Holder<T> {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields.add_meta_field("__type", T::NAME);
        T::fields(fields);
    }

    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        T::methods(methods);
        methods.add_meta_method(MetaMethod::ToString, |_, this, ()| Ok(this.0.to_string()));
        methods.add_meta_function(MetaMethod::Eq, |_, (left, right): (LuaValue, LuaValue)| {
            Ok(held::<T>(&left).is_some_and(|left| held::<T>(&right) == Some(left)))
        });
        methods.add_meta_function(MetaMethod::Lt, |_, (left, right)| compare::<T>(&left, &right).map(Ordering::is_lt));
        methods.add_meta_function(MetaMethod::Le, |_, (left, right)| compare::<T>(&left, &right).map(Ordering::is_le));
        methods.add_meta_function(MetaMethod::Concat, |_, (left, right): (LuaValue, LuaValue)| {
            Ok(format!("{}{}", printed(&left)?, printed(&right)?))
        });
        methods.add_meta_method(MetaMethod::Index, |_, _, key: LuaValue| -> mlua::Result<LuaValue> {
            let key = key.to_string()?;
            let error = broken(format!("a {} has no field `{key}`", T::NAME));
            Err(raise(match did_you_mean(&key, T::MEMBERS.iter().copied()) {
                Some(near) => error.hint(format!("did you mean `{near}`?")),
                None if T::MEMBERS.is_empty() => error.hint("it has no fields: it compares and prints"),
                None => error.hint(format!("it has {}", list(T::MEMBERS.iter().copied()))),
            }))
        });
    }
}

fn raise(error: Error) -> mlua::Error {
    mlua::Error::external(Raised(error))
}

/// The value in a userdata of this type.
fn held<T: Held>(value: &LuaValue) -> Option<T> {
    let LuaValue::UserData(data) = value else { return None };
    data.borrow::<Holder<T>>().ok().map(|holder| holder.0.clone())
}

fn compare<T: Held>(left: &LuaValue, right: &LuaValue) -> mlua::Result<Ordering> {
    let (Some(left), Some(right)) = (held::<T>(left), held::<T>(right)) else {
        return Err(raise(broken(format!("a {} compares with its own type only", T::NAME))));
    };
    left.order(&right).ok_or_else(|| {
        raise(broken(format!("two {}s have no order", T::NAME)).hint("compare what they hold, for example their `.version`"))
    })
}

/// One side of `..`.
fn printed(value: &LuaValue) -> mlua::Result<String> {
    match value {
        LuaValue::Nil | LuaValue::Boolean(_) | LuaValue::Table(_) | LuaValue::Function(_) => {
            Err(raise(broken(format!("cannot join text with a {}", kind(value)))))
        }
        other => other.to_string(),
    }
}

/// An argument of this type: a value of it, or what makes one.
fn argument<T: Held>(lua: &Lua, method: &str, value: LuaValue) -> mlua::Result<T> {
    let given = match &value {
        LuaValue::UserData(data) => unwrap(data).map(Value::Typed),
        LuaValue::String(text) => Some(Value::from(text.to_string_lossy())),
        LuaValue::Number(_) | LuaValue::Integer(_) => {
            f64::from_lua(value.clone(), lua).ok().and_then(crate::base::json::Number::from_f64).map(|n| Value::Json(n.into()))
        }
        _ => None,
    };
    let wrong = || broken(format!("`{method}` needs {}, got a {}", T::TYPE.text, kind(&value)));
    let given = given.ok_or_else(|| raise(wrong()))?;
    T::from_arg(Arg::Value(given)).map_err(|error| raise(broken(format!("`{method}`: the argument {}", error.message))))
}

impl Held for Version {
    const NAME: &'static str = "version";
    const MEMBERS: &'static [&'static str] = &["major", "minor", "patch", "pre", "is_patch_of", "same_minor"];
    fn order(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
    fn fields<F: UserDataFields<Holder<Self>>>(fields: &mut F) {
        fields.add_field_method_get("major", |_, this| Ok(this.0.major as f64));
        fields.add_field_method_get("minor", |_, this| Ok(this.0.minor as f64));
        fields.add_field_method_get("patch", |_, this| Ok(this.0.patch.map(|patch| patch as f64)));
        fields.add_field_method_get("pre", |_, this| Ok(this.0.pre.clone()));
    }
    fn methods<M: UserDataMethods<Holder<Self>>>(methods: &mut M) {
        methods.add_method("is_patch_of", |lua, this, other: LuaValue| Ok(this.0.is_patch_of(&argument(lua, "is_patch_of", other)?)));
        methods.add_method("same_minor", |lua, this, other: LuaValue| Ok(this.0.same_minor(&argument(lua, "same_minor", other)?)));
    }
}

impl Held for Image {
    const NAME: &'static str = "image";
    const MEMBERS: &'static [&'static str] = &["registry", "repository", "tag", "digest", "version"];
    fn order(&self, _: &Self) -> Option<Ordering> {
        None
    }
    fn fields<F: UserDataFields<Holder<Self>>>(fields: &mut F) {
        fields.add_field_method_get("registry", |_, this| Ok(this.0.registry.clone()));
        fields.add_field_method_get("repository", |_, this| Ok(this.0.repository.clone()));
        fields.add_field_method_get("tag", |_, this| Ok(this.0.tag.clone()));
        fields.add_field_method_get("digest", |_, this| Ok(this.0.digest.clone()));
        fields.add_field_method_get("version", |lua, this| {
            this.0.version().map_or(Ok(LuaValue::Nil), |version| wrap(lua, &Typed::Version(version)))
        });
    }
}

macro_rules! plain {
    ($type:ident, $name:literal) => {
        impl Held for $type {
            const NAME: &'static str = $name;
            const MEMBERS: &'static [&'static str] = &[];
            fn order(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }
    };
}
plain!(Span, "duration");
plain!(Quantity, "quantity");

/// A typed value as Lua holds it.
pub(crate) fn wrap(lua: &Lua, typed: &Typed) -> mlua::Result<LuaValue> {
    let data = match typed {
        Typed::Version(version) => lua.create_userdata(Holder(version.clone()))?,
        Typed::Image(image) => lua.create_userdata(Holder(image.clone()))?,
        Typed::Duration(span) => lua.create_userdata(Holder(*span))?,
        Typed::Quantity(quantity) => lua.create_userdata(Holder(*quantity))?,
    };
    Ok(LuaValue::UserData(data))
}

/// The typed value in a userdata.
pub(crate) fn unwrap(data: &AnyUserData) -> Option<Typed> {
    let version = data.borrow::<Holder<Version>>().ok().map(|holder| Typed::Version(holder.0.clone()));
    let image = || data.borrow::<Holder<Image>>().ok().map(|holder| Typed::Image(holder.0.clone()));
    let duration = || data.borrow::<Holder<Span>>().ok().map(|holder| Typed::Duration(holder.0));
    let quantity = || data.borrow::<Holder<Quantity>>().ok().map(|holder| Typed::Quantity(holder.0));
    version.or_else(image).or_else(duration).or_else(quantity)
}

/// What makes a typed value from a script's value, by its word: `version("v1.2.3")`.
pub(crate) fn make(word: &str, value: Value) -> Result<Typed> {
    fn of<T: ArgType>(word: &str, value: Value) -> Result<T> {
        T::from_arg(Arg::Value(value)).map_err(|error| {
            let wrong = broken(format!("`{word}`: the argument {}", error.message));
            match &error.hint {
                Some(hint) => wrong.hint(hint.clone()),
                None => wrong,
            }
        })
    }
    match word {
        "version" => of(word, value).map(Typed::Version),
        "image" => of(word, value).map(Typed::Image),
        "duration" => of(word, value).map(Typed::Duration),
        _ => of(word, value).map(Typed::Quantity),
    }
}

/// The words that make typed values.
pub(crate) const MAKERS: &[&str] = &["version", "image", "duration", "quantity"];
