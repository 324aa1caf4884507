//! Errors between Lua and the host: the tables that scripts catch, and what an uncaught one becomes.

use std::rc::Rc;

use crate::base::json::{Array, Value as Json};
use mlua::{AnyUserData, Function, Lua, MultiValue, Table, UserData, Value as LuaValue};

use super::engine::Core;
use super::limits::Halt;
use super::stack;
use crate::base::{Error, Kind, Reason, Result};

/// A host error on its way through the interpreter.
#[derive(Debug)]
pub(crate) struct Raised(pub(crate) Error);

impl std::fmt::Display for Raised {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Raised {}

/// The host error behind an error table; what the script cannot see or change.
struct Origin(Error);

impl UserData for Origin {}

/// Makes error tables and reads them back.
pub(crate) struct Errors {
    meta: Table,
    /// Error table → [`Origin`], weak.
    origins: Table,
}

/// A fault in the runbook's own text.
pub(crate) fn broken(message: impl Into<String>) -> Error {
    Error::new(Kind::Runbook, Reason::Usage, message)
}

impl Errors {
    pub(crate) fn new(lua: &Lua) -> mlua::Result<Errors> {
        let meta = lua.create_table()?;
        let weak = lua.create_table()?;
        weak.raw_set("__mode", "k")?;
        let origins = lua.create_table()?;
        origins.set_metatable(Some(weak))?;
        let text = lua.create_function(|_, this: Table| {
            let mut text: String = this.raw_get::<Option<String>>("message")?.unwrap_or_default();
            if let Some(causes) = this.raw_get::<Option<Table>>("causes")? {
                for cause in causes.sequence_values::<String>() {
                    text.push_str(": ");
                    text.push_str(&cause?);
                }
            }
            Ok(text)
        })?;
        meta.raw_set("__tostring", text)?;
        meta.raw_set("__metatable", false)?;
        meta.set_readonly(true);
        Ok(Errors { meta, origins })
    }

    /// The table that a script catches.
    pub(crate) fn table(&self, core: &Core, lua: &Lua, error: &Error) -> mlua::Result<Table> {
        let table = lua.create_table()?;
        table.raw_set("kind", error.kind.as_str())?;
        table.raw_set("reason", error.reason.as_str())?;
        table.raw_set("message", error.message.as_str())?;
        table.raw_set("object", error.object.as_deref())?;
        table.raw_set("hint", error.hint.as_deref())?;
        table.raw_set("causes", lua.create_sequence_from(error.causes.iter().map(String::as_str))?)?;
        if !error.details.is_null() {
            table.raw_set("details", core.convert.json(lua, &error.details)?)?;
        }
        table.set_metatable(Some(self.meta.clone()))?;
        self.origins.raw_set(table.clone(), lua.create_userdata(Origin(error.clone()))?)?;
        Ok(table)
    }

    /// The host error of a table that was raised: ours, or one that a script made.
    fn read(&self, core: &Core, lua: &Lua, table: &Table) -> Error {
        let origin = self.origins.raw_get::<Option<AnyUserData>>(table.clone()).ok().flatten();
        let origin = origin.and_then(|origin| origin.borrow::<Origin>().ok().map(|origin| origin.0.clone()));
        let mut error = origin.unwrap_or_else(|| {
            let text = |key: &str| table.raw_get::<LuaValue>(key).ok().and_then(|value| plain_text(&value));
            let reason = text("reason").and_then(|reason| Reason::parse(&reason)).unwrap_or(Reason::CheckFailed);
            let message = text("message").unwrap_or_else(|| "an error without a message".to_owned());
            let mut error = super::words::raised(reason, message);
            error.object = text("object");
            error.hint = text("hint");
            error
        });
        let details: LuaValue = table.raw_get("details").unwrap_or(LuaValue::Nil);
        if !matches!(details, LuaValue::Nil) {
            error.details = core.convert.read(lua, &details).map_or(Json::Null, crate::base::Value::into_json);
        }
        error
    }
}

/// The text of a string or number.
fn plain_text(value: &LuaValue) -> Option<String> {
    match value {
        LuaValue::String(text) => Some(text.to_string_lossy()),
        LuaValue::Number(number) => Some(number.to_string()),
        LuaValue::Integer(number) => Some(number.to_string()),
        _ => None,
    }
}

impl Core {
    /// What was raised, as a host error without places where they are not known.
    pub(crate) fn read_error(&self, lua: &Lua, value: &LuaValue) -> Error {
        match value {
            LuaValue::Table(table) => self.errors.read(self, lua, table),
            LuaValue::Error(error) => self.read_rust_error(error),
            LuaValue::String(text) => self.read_text(&text.to_string_lossy()),
            LuaValue::Nil => Error::new(Kind::Runbook, Reason::CheckFailed, "an error without a message"),
            other => {
                let text = plain_text(other).unwrap_or_else(|| format!("an error that is a {}", kind(other)));
                Error::new(Kind::Runbook, Reason::CheckFailed, text)
            }
        }
    }

    fn read_rust_error(&self, error: &mlua::Error) -> Error {
        if let Some(raised) = error.downcast_ref::<Raised>() {
            return raised.0.clone();
        }
        if error.downcast_ref::<Halt>().is_some() {
            return self.brake.why().unwrap_or_else(|| Error::internal("stopped without a reason"));
        }
        self.notice(error);
        let mut root = error;
        while let mlua::Error::CallbackError { cause, .. } = root {
            root = cause;
        }
        match root {
            mlua::Error::RuntimeError(text) => self.read_text(text),
            other => broken(first_line(&other.to_string())),
        }
    }

    /// A text that the interpreter raised: `file:line: message`, with the host's own frames as `host:line`.
    pub(crate) fn read_text(&self, text: &str) -> Error {
        self.notice_text(text);
        if let Some(why) = self.brake.why() {
            return why;
        }
        let text = first_line(text);
        let (file, line, message) = match position(&text) {
            Some((file, line, message)) if file == "host" || self.text(file).is_some() => (file, line, message),
            _ => ("", 0, text.as_str()),
        };
        let mut error = broken(message);
        if self.text(file).is_some() {
            error.places.push(stack::place(self, file, line, quoted(message).as_deref(), None));
        }
        match hint(message) {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }

    /// The error that `recover` is given, as JSON of [`Error`], as a table like the caught ones.
    pub(crate) fn error_value(&self, lua: &Lua, value: &crate::base::Value) -> mlua::Result<LuaValue> {
        let mut json = value.clone().into_json();
        if let Some(fields) = json.as_object_mut() {
            fields.entry("places").or_insert_with(|| Json::Array(Array::new()));
        }
        match crate::base::json::from_value::<Error>(json) {
            Ok(error) => self.errors.table(self, lua, &error).map(LuaValue::Table),
            Err(_) => self.convert.write(lua, value, false),
        }
    }

    /// What the script catches for an error: an error table, or the very table it raised. A stop is no error to catch.
    fn settled(&self, lua: &Lua, value: LuaValue) -> mlua::Result<LuaValue> {
        match &value {
            LuaValue::Table(_) => Ok(value),
            LuaValue::Error(_) | LuaValue::String(_) => {
                let error = self.read_error(lua, &value);
                if self.brake.halted() || error.is_stop() {
                    self.brake.halt(error);
                    return Err(mlua::Error::external(Halt));
                }
                self.errors.table(self, lua, &error).map(LuaValue::Table)
            }
            _ => Ok(value),
        }
    }
}

/// The functions of the prelude that deal with errors.
pub(crate) fn host_functions(core: &Rc<Core>, lua: &Lua, host: &Table) -> mlua::Result<()> {
    let this = core.clone();
    let settle = lua.create_function(move |lua, value: LuaValue| {
        if this.brake.halted() {
            return Err(mlua::Error::external(Halt));
        }
        this.settled(lua, value)
    })?;
    let this = core.clone();
    let peek = lua.create_function(move |lua, value: LuaValue| this.settled(lua, value))?;
    let this = core.clone();
    let check = lua.create_function(move |_, ()| if this.brake.halted() { Err(mlua::Error::external(Halt)) } else { Ok(()) })?;
    let raise = core.function(lua, "error", |core, lua, arguments| {
        let message = arguments.front().and_then(plain_text).unwrap_or_else(|| "an error without a message".to_owned());
        let above = match arguments.get(1) {
            Some(LuaValue::Integer(level)) => usize::try_from(level.saturating_sub(1)).unwrap_or(0),
            _ => 0,
        };
        let mut error = Error::new(Kind::Runbook, Reason::CheckFailed, message);
        let places = stack::places(core, lua, Some("error"));
        error.places = if above < places.len() { places.into_iter().skip(above).collect() } else { places };
        Err(error)
    })?;
    host.raw_set("settle", settle)?;
    host.raw_set("peek", peek)?;
    host.raw_set("check", check)?;
    host.raw_set("raise", raise)
}

/// The handler of protected calls: it runs where the error was raised, so that the stack can still be read.
pub(crate) fn handler(core: &Rc<Core>, lua: &Lua) -> mlua::Result<Function> {
    let core = core.clone();
    lua.create_function(move |lua, arguments: MultiValue| {
        let value = arguments.front().cloned().unwrap_or(LuaValue::Nil);
        let mut error = core.read_error(lua, &value);
        if error.is_stop() {
            core.brake.halt(error.clone());
        }
        // A text carries at most the one place in it; the stack says who called.
        if error.places.is_empty() || matches!(value, LuaValue::String(_)) {
            let here = stack::places(&core, lua, quoted(&error.message).as_deref());
            if !here.is_empty() {
                error.places = here;
            }
        }
        core.keep(error);
        Ok(())
    })
}

/// What the compiler said about a file.
pub(crate) fn syntax(file: &str, text: &str, error: &mlua::Error) -> Error {
    let said = match error {
        mlua::Error::SyntaxError { message, .. } => message.clone(),
        other => other.to_string(),
    };
    let said = first_line(&said);
    let rest = said.trim_start_matches(':');
    let (line, message) = match rest.split_once(": ").map(|(line, message)| (line.parse::<u32>(), message)) {
        Some((Ok(line), message)) => (line, message),
        _ => (1, rest),
    };
    let mut error = broken(format!("syntax error: {}", lower_first(message)));
    error.places.push(syntax_place(file, text, line, message));
    error
}

/// Where the compiler stumbled. It knows the line only, so that the caret needs a word which stands there once; at the end of the
/// file it is behind the last line with text.
fn syntax_place(file: &str, text: &str, line: u32, message: &str) -> crate::base::Place {
    let at_end = message.contains("got <eof>");
    let last = || (1_u32..).zip(text.lines()).filter(|(_, source)| !source.trim().is_empty()).last();
    let (line, source) = match (at_end, last()) {
        (true, Some((last, source))) => (last, Some(source)),
        _ => (line, text.lines().nth(line.saturating_sub(1) as usize)),
    };
    let token = message.rsplit_once("got ").map(|(_, token)| quoted(token).unwrap_or_else(|| token.to_owned()));
    let count = |text: &str| u32::try_from(text.chars().count()).ok();
    let (column, length) = match (source, token.as_deref()) {
        (Some(source), _) if at_end => (count(source.trim_end()).map(|width| width + 1), Some(1)),
        (Some(source), Some(token)) if !token.is_empty() && source.matches(token).count() == 1 => {
            let before = source.split(token).next().and_then(count);
            (before.map(|before| before + 1), count(token))
        }
        _ => (None, None),
    };
    crate::base::Place { file: file.to_owned(), line, column, length, source: source.map(str::to_owned), function: None }
}

/// What people call a value's type.
pub(crate) fn kind(value: &LuaValue) -> &'static str {
    match value {
        LuaValue::Integer(_) => "number",
        LuaValue::LightUserData(_) => "null",
        LuaValue::Thread(_) => "coroutine",
        other => other.type_name(),
    }
}

/// Splits `file:12: message`.
fn position(text: &str) -> Option<(&str, u32, &str)> {
    let mut from = 0;
    while let Some(at) = text.get(from..)?.find(':').map(|at| from + at) {
        let rest = text.get(at + 1..)?;
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        if digits > 0
            && let Some(message) = rest.get(digits..).and_then(|rest| rest.strip_prefix(": "))
        {
            return Some((text.get(..at)?, rest.get(..digits)?.parse().ok()?, message));
        }
        from = at + 1;
    }
    None
}

/// The first text in quotes of a message: the name it is about.
fn quoted(message: &str) -> Option<String> {
    let quote = message.find(['\'', '`'])?;
    let mark = message.get(quote..)?.chars().next()?;
    let rest = message.get(quote + 1..)?;
    rest.find(mark).and_then(|end| rest.get(..end)).map(str::to_owned)
}

/// The hint for what the interpreter says about common mistakes.
fn hint(message: &str) -> Option<String> {
    if message.starts_with("attempt to index nil") {
        return Some("what may be absent is read with `at(object, { \"spec\", \"x\" }, default)`".to_owned());
    }
    let compared = message.strip_prefix("attempt to compare ")?;
    let (left, right) = compared.split_once(" <= ").or_else(|| compared.split_once(" < "))?;
    for kind in ["version", "image", "duration", "quantity"] {
        if left == kind || right == kind {
            return Some(match (left, right) {
                ("string" | "number", _) | (_, "string" | "number") => {
                    format!("a {kind} compares with its own type: write `{kind}(\"…\")` around the other side")
                }
                _ => format!("a {kind} compares with its own type only"),
            });
        }
    }
    None
}

/// The message without the traceback that follows it.
pub(crate) fn first_line(text: &str) -> String {
    let text = text.strip_prefix("runtime error: ").unwrap_or(text);
    text.split("\nstack traceback:").next().unwrap_or_default().lines().next().unwrap_or_default().trim_end().to_owned()
}

/// `Expected …` as `expected …`.
fn lower_first(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_lowercase().chain(characters).collect())
}

/// A `Result` for scripts' functions: several values.
pub(crate) fn one(value: LuaValue) -> Result<MultiValue> {
    Ok(MultiValue::from_vec(vec![value]))
}

/// A fault of the interpreter inside a host function.
pub(crate) fn fault(error: mlua::Error) -> Error {
    match error.downcast_ref::<Raised>() {
        Some(raised) => raised.0.clone(),
        None => match error {
            mlua::Error::MemoryError(_) => Error::new(Kind::Runbook, Reason::Interrupted, "the script needs more memory than it may have"),
            other => Error::internal("running Lua").cause(first_line(&other.to_string())),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_split_off_also_where_paths_have_colons() {
        assert_eq!(position("a/b.luau:12: x: y"), Some(("a/b.luau", 12, "x: y")));
        assert_eq!(position("C:\\r.luau:3: bad"), Some(("C:\\r.luau", 3, "bad")));
        assert_eq!(position("no position: here"), None);
    }

    #[test]
    fn the_quoted_name_is_what_it_is_about() {
        assert_eq!(quoted("attempt to index nil with 'spec'").as_deref(), Some("spec"));
        assert_eq!(quoted("`scale` is called").as_deref(), Some("scale"));
        assert_eq!(quoted("nothing"), None);
    }

    #[test]
    fn comparing_with_a_string_says_what_to_write() {
        assert!(hint("attempt to compare version < string").unwrap().contains("version(\"…\")"));
        assert!(hint("attempt to compare version < image").unwrap().contains("its own type only"));
        assert_eq!(hint("attempt to compare nil < number"), None);
    }
}
