//! Words of the language that need no cluster: `ensure`, `not_needed`, typed values, and help with JSON.

use std::collections::BTreeMap;
use std::rc::Rc;

use mlua::{Lua, MultiValue, Table, Value as LuaValue};

use super::engine::Core;
use super::error::{broken, fault, kind, one};
use super::session::Mode;
use super::values;
use crate::base::{Error, Kind, Reason, Result, Value, did_you_mean};
use crate::run::Phase;

/// The words of every file that are not verbs, for tests of the reference and for completion.
pub const WORDS: &[&str] =
    &["ensure", "not_needed", "version", "image", "duration", "quantity", "array", "object", "null", "at", "merge", "json"];

/// Adds the words of every file.
pub(crate) fn add(core: &Rc<Core>, lua: &Lua, base: &Table) -> mlua::Result<()> {
    base.raw_set("null", LuaValue::NULL)?;
    base.raw_set("ensure", core.function(lua, "ensure", |core, lua, arguments| ensure(core, lua, &arguments))?)?;
    base.raw_set("not_needed", core.function(lua, "not_needed", |core, _, arguments| not_needed(core, &arguments))?)?;
    base.raw_set("array", core.function(lua, "array", |core, _, arguments| mark(core, &arguments, "array"))?)?;
    base.raw_set("object", core.function(lua, "object", |core, _, arguments| mark(core, &arguments, "object"))?)?;
    base.raw_set("at", core.function(lua, "at", |core, _, arguments| at(core, &arguments))?)?;
    base.raw_set("merge", core.function(lua, "merge", |core, lua, arguments| merge(core, lua, &arguments))?)?;
    base.raw_set("json", core.function(lua, "json", |core, lua, arguments| json(core, lua, &arguments))?)?;
    for word in values::MAKERS {
        let make = core.function(lua, word, move |core, lua, arguments| {
            let given = arguments.front().cloned().unwrap_or(LuaValue::Nil);
            let value = core.convert.read(lua, &given).map_err(|error| argument(word, error))?;
            let typed = values::make(word, value)?;
            one(values::wrap(lua, &typed).map_err(fault)?)
        })?;
        base.raw_set(*word, make)?;
    }
    Ok(())
}

/// An error about an argument, which completes "the argument".
fn argument(word: &str, mut error: Error) -> Error {
    error.message = format!("`{word}`: the argument {}", error.message);
    error
}

/// The text of a message argument.
fn message(word: &str, place: usize, arguments: &MultiValue) -> Result<Option<String>> {
    match arguments.get(place) {
        None | Some(LuaValue::Nil) => Ok(None),
        Some(LuaValue::String(text)) => Ok(Some(text.to_string_lossy())),
        Some(value @ (LuaValue::Number(_) | LuaValue::Integer(_) | LuaValue::UserData(_))) => value.to_string().map(Some).map_err(fault),
        Some(other) => Err(broken(format!("`{word}` needs a text as argument {}, got a {}", place + 1, kind(other)))),
    }
}

/// `ensure(ok, message, { reason })`.
fn ensure(core: &Core, lua: &Lua, arguments: &MultiValue) -> Result<MultiValue> {
    let mut reason = Reason::CheckFailed;
    if let Some(options) = arguments.get(2).filter(|value| !matches!(value, LuaValue::Nil)) {
        let read = core.convert.read(lua, options).map_err(|error| argument("ensure", error))?.into_json();
        let options = read.as_object().ok_or_else(|| broken("`ensure` takes its options as a table: `{ reason = \"…\" }`"))?;
        for (key, value) in options {
            if key != "reason" {
                return Err(broken(format!("`ensure` has no option `{key}`")).hint("its option is `reason`"));
            }
            let word = value.as_str().unwrap_or_default();
            reason = Reason::parse(word).ok_or_else(|| {
                let error = broken(format!("`ensure`: there is no reason {value}"));
                match did_you_mean(word, Reason::ALL.iter().map(|reason| reason.as_str())) {
                    Some(near) => error.hint(format!("did you mean `{near}`?")),
                    None => error.hint("the reasons are a closed list: see the reference"),
                }
            })?;
        }
    }
    if matches!(arguments.front(), None | Some(LuaValue::Nil | LuaValue::Boolean(false))) {
        let message = message("ensure", 1, arguments)?.unwrap_or_else(|| "a condition of the runbook does not hold".to_owned());
        return Err(raised(reason, message));
    }
    one(arguments.front().cloned().unwrap_or(LuaValue::Nil))
}

/// An error that a runbook raises with a reason of its choice: a rule about versions refuses, as permissions do, a wrong parameter is the
/// operator's to mend, and everything else is the runbook's own no.
pub(super) fn raised(reason: Reason, message: String) -> Error {
    let kind = match reason {
        Reason::Skew => Kind::Refused,
        Reason::Usage => Kind::Input,
        _ => Kind::Runbook,
    };
    Error::new(kind, reason, message)
}

/// `not_needed(why)`.
fn not_needed(core: &Core, arguments: &MultiValue) -> Result<MultiValue> {
    let session = core.session().ok_or_else(|| Error::internal("`not_needed` without a session"))?;
    match session.mode() {
        Mode::Call(Phase::Check) => {}
        Mode::Load => return Err(super::session::while_loading("not_needed")),
        _ => return Err(broken("`not_needed` is called outside of a check").hint("only a check can find that there is nothing to do")),
    }
    let why = message("not_needed", 0, arguments)?
        .ok_or_else(|| broken("`not_needed` needs a reason").hint("write `not_needed(\"everything runs v1.9.3 already\")`"))?;
    session.not_needed.borrow_mut().get_or_insert(why);
    Ok(MultiValue::new())
}

/// `array{}`, `object{}`.
fn mark(core: &Core, arguments: &MultiValue, word: &str) -> Result<MultiValue> {
    let Some(LuaValue::Table(table)) = arguments.front() else {
        return Err(broken(format!("`{word}` needs a table")).hint(format!("write `{word} {{}}`")));
    };
    if word == "array" { core.convert.mark_list(table) } else { core.convert.mark_object(table) }.map_err(fault)?;
    one(LuaValue::Table(table.clone()))
}

/// `at(object, { "spec", "x" }, default)`.
fn at(core: &Core, arguments: &MultiValue) -> Result<MultiValue> {
    let default = arguments.get(2).cloned().unwrap_or(LuaValue::Nil);
    let Some(LuaValue::Table(path)) = arguments.get(1) else {
        return Err(broken("`at` needs a path as its second argument").hint("write `at(object, { \"spec\", \"replicas\" }, 1)`"));
    };
    let mut value = arguments.front().cloned().unwrap_or(LuaValue::Nil);
    for place in 1..=path.raw_len() {
        let key: LuaValue = path.raw_get(place).map_err(fault)?;
        let LuaValue::Table(table) = &value else { return one(default) };
        if let Some(error) = core.convert.unreadable(table) {
            return Err(error);
        }
        value = table.raw_get(key).map_err(fault)?;
    }
    let absent = matches!(value, LuaValue::Nil) || value == LuaValue::NULL;
    one(if absent { default } else { value })
}

/// `merge(a, b)`: RFC 7386, into a new table.
fn merge(core: &Core, lua: &Lua, arguments: &MultiValue) -> Result<MultiValue> {
    let side = |place: usize| {
        let given = arguments.get(place).cloned().unwrap_or(LuaValue::Nil);
        let value = core.convert.read(lua, &given).map_err(|error| argument("merge", error))?;
        if matches!(value, Value::Nil) {
            return Err(broken("`merge` needs two tables"));
        }
        Ok(value)
    };
    let merged = merged(side(0)?, side(1)?);
    one(core.convert.write(lua, &merged, false).map_err(fault)?)
}

/// `json(text)`: one value of JSON, as objects of the cluster are given.
fn json(core: &Core, lua: &Lua, arguments: &MultiValue) -> Result<MultiValue> {
    let Some(LuaValue::String(text)) = arguments.front() else {
        let got = arguments.front().map_or_else(|| "nothing".to_owned(), |other| format!("a {}", kind(other)));
        return Err(broken(format!("`json` needs a text, got {got}")).hint("it reads what a program printed: `json(output.stdout)`"));
    };
    let value: crate::base::json::Value = serde_json::from_slice(&text.as_bytes()).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let said = error.to_string();
        let why = said.split(" at line ").next().unwrap_or_default();
        let message = match text.as_bytes().iter().all(u8::is_ascii_whitespace) {
            true => "`json`: the text is empty".to_owned(),
            false => format!("`json`: line {line}, column {column}: {why}"),
        };
        Error::new(Kind::Cluster, Reason::Invalid, message)
            .hint("ask the program for JSON (`-o json`), and for nothing beside it on standard output")
    })?;
    one(core.convert.write(lua, &Value::Json(value), false).map_err(fault)?)
}

/// The entries of a table, when it is a map.
fn entries(value: Value) -> std::result::Result<BTreeMap<String, Value>, Box<Value>> {
    match value {
        Value::Map(entries) => Ok(entries),
        Value::Json(crate::base::json::Value::Object(entries)) => {
            Ok(entries.into_iter().map(|(key, value)| (key.into(), Value::Json(value))).collect())
        }
        Value::Object(object) => entries(Value::Json(std::sync::Arc::unwrap_or_clone(object.current))),
        other => Err(Box::new(other)),
    }
}

fn merged(below: Value, above: Value) -> Value {
    match entries(above) {
        Err(above) => *above,
        Ok(above) => {
            let mut result = entries(below).unwrap_or_default();
            for (key, value) in above {
                if value == Value::Json(crate::base::json::Value::Null) {
                    result.remove(&key);
                } else {
                    let old = result.remove(&key).unwrap_or(Value::Nil);
                    result.insert(key, merged(old, value));
                }
            }
            Value::Map(result)
        }
    }
}
