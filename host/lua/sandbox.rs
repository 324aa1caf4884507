//! What a file can see: its own environment over its words over the words of every file, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use mlua::{Function, Lua, LuaString, MultiValue, Table, Value as LuaValue};

use super::engine::Core;
use super::error::{self, broken, fault, kind, one};
use super::session::Mode;
use super::{bind, declarations};
use crate::base::{Error, did_you_mean};

/// Names that people try, and what there is instead.
const ABSENT: &[(&str, &str)] = &[
    ("io", "a runbook reads and writes the cluster, not files"),
    ("os", "a runbook cannot see the machine it runs on"),
    ("debug", "an error already says where it came from"),
    ("load", "code comes from files: put it into a module and `require` it"),
    ("loadstring", "code comes from files: put it into a module and `require` it"),
    ("dofile", "code comes from files: put it into a module and `require` it"),
    ("getfenv", "a file sees its own names and the verbs"),
    ("setfenv", "a file sees its own names and the verbs"),
    ("newproxy", "a table with a metatable does it"),
    ("collectgarbage", "memory looks after itself"),
    ("_G", "a file sees its own names and the verbs"),
];

/// The functions that the prelude is given.
pub(crate) fn host_functions(core: &Rc<Core>, lua: &Lua) -> mlua::Result<Table> {
    let host = lua.create_table()?;
    host.raw_set("null", LuaValue::NULL)?;
    error::host_functions(core, lua, &host)?;
    host.raw_set("find", core.function(lua, "find", |_, _, arguments| find(&arguments))?)?;
    host.raw_set("split", core.function(lua, "split", |_, lua, arguments| split(lua, &arguments))?)?;
    let absent = core.function(lua, "", |core, lua, arguments| Err(unknown_member(core, lua, &arguments)))?;
    host.raw_set("unknown_member", absent)?;
    let raise = core.function(lua, "", |core, lua, arguments| Err(unreadable(core, lua, &arguments)))?;
    core.convert.raises(&raise)?;
    host.raw_set("unmodelled", &core.convert.unmodelled)?;
    host.raw_set("print", core.function(lua, "print", |core, lua, arguments| bind::print(core, lua, &arguments))?)?;
    Ok(host)
}

/// Somebody reads what stands for a status that nobody knows.
fn unreadable(core: &Core, lua: &Lua, arguments: &MultiValue) -> Error {
    let found = arguments.iter().find_map(|argument| argument.as_table().and_then(|table| core.convert.unreadable(table)));
    let mut error = found.unwrap_or_else(|| Error::internal("a status that nobody knows has no object"));
    error.places = super::stack::places(core, lua, None);
    error
}

/// Makes the words that every file sees final.
pub(crate) fn close(core: &Rc<Core>, lua: &Lua, base: &Table) -> mlua::Result<()> {
    let unknown = core.function(lua, "", |core, lua, arguments| {
        let name = arguments.get(1).map(|name| name.to_string()).transpose().map_err(fault)?.unwrap_or_default();
        let mut error = unknown(core, &name);
        error.places = super::stack::places(core, lua, Some(&name));
        Err(error)
    })?;
    let meta = lua.create_table()?;
    meta.raw_set("__index", unknown)?;
    meta.raw_set("__metatable", false)?;
    meta.set_readonly(true);
    base.set_metatable(Some(meta))?;
    base.set_readonly(true);
    if let Some(strings) = lua.type_metatable::<LuaString>() {
        strings.set_readonly(false);
        strings.raw_set("__metatable", false)?;
        strings.set_readonly(true);
    }
    Ok(())
}

/// A new environment over these words: reading an unknown name and assigning a global are errors.
pub(crate) fn environment(core: &Rc<Core>, lua: &Lua, file_words: &Table) -> mlua::Result<Table> {
    let refuse = core.function(lua, "", |core, lua, arguments| {
        let name = arguments.get(1).map(|name| name.to_string()).transpose().map_err(fault)?.unwrap_or_default();
        let mut error = assigned(core, &name, matches!(arguments.get(2), Some(LuaValue::Function(_))));
        error.places = super::stack::places(core, lua, Some(&name));
        if let Some(here) = error.places.first_mut()
            && let Some(column) = here.source.as_deref().and_then(|line| super::stack::assigned(line, &name))
        {
            (here.column, here.length) = (Some(column), u32::try_from(name.chars().count()).ok());
        }
        Err(error)
    })?;
    over(core, lua, file_words, &refuse)
}

/// The environment of a prompt: assigning a new name keeps it; the words cannot be replaced.
pub(crate) fn session_environment(core: &Rc<Core>, lua: &Lua, file_words: &Table) -> mlua::Result<Table> {
    let assign = core.function(lua, "", |core, _, arguments| {
        let (Some(LuaValue::Table(environment)), Some(name)) = (arguments.front(), arguments.get(1)) else {
            return Err(Error::internal("assigning at the prompt"));
        };
        let text = name.to_string().map_err(fault)?;
        if core.base.contains_key(name.clone()).is_ok_and(|known| known) && is_word(core, &text) {
            return Err(assigned(core, &text, matches!(arguments.get(2), Some(LuaValue::Function(_)))));
        }
        environment.raw_set(name.clone(), arguments.get(2).cloned().unwrap_or(LuaValue::Nil)).map_err(fault)?;
        Ok(MultiValue::new())
    })?;
    over(core, lua, file_words, &assign)
}

fn over(core: &Core, lua: &Lua, file_words: &Table, assign: &Function) -> mlua::Result<Table> {
    let below = lua.create_table()?;
    below.raw_set("__index", core.base.clone())?;
    file_words.set_metatable(Some(below))?;
    file_words.set_readonly(true);
    let meta = lua.create_table()?;
    meta.raw_set("__index", file_words.clone())?;
    meta.raw_set("__newindex", assign.clone())?;
    meta.raw_set("__metatable", false)?;
    meta.set_readonly(true);
    let environment = lua.create_table()?;
    environment.set_metatable(Some(meta))?;
    Ok(environment)
}

/// Whether every file sees this name.
fn is_word(core: &Core, name: &str) -> bool {
    core.base.raw_get::<LuaValue>(name).is_ok_and(|value| !matches!(value, LuaValue::Nil))
}

/// The names that every file sees, and those of declarations.
fn known_names(core: &Core) -> Vec<String> {
    let mut names: Vec<String> = declarations::declaring().map(str::to_owned).collect();
    names.extend(["params", "state", "require"].map(str::to_owned));
    let walked = core.base.for_each(|name: String, _: LuaValue| {
        names.push(name);
        Ok(())
    });
    if let Err(error) = walked {
        tracing::debug!(%error, "listing the known names");
    }
    names.sort();
    names
}

/// The names that every file sees, each with its members where it is a table.
pub(super) fn names(core: &Core) -> BTreeMap<String, BTreeSet<String>> {
    let mut names = BTreeMap::new();
    let walked = core.base.for_each(|name: String, value: LuaValue| {
        let members = match value {
            LuaValue::Table(table) => table.pairs::<String, LuaValue>().filter_map(|pair| pair.ok().map(|(member, _)| member)).collect(),
            _ => BTreeSet::new(),
        };
        names.insert(name, members);
        Ok(())
    });
    if let Err(error) = walked {
        tracing::debug!(%error, "listing the known names");
    }
    names
}

pub(super) fn unknown(core: &Core, name: &str) -> Error {
    if let Some((_, instead)) = ABSENT.iter().find(|(absent, _)| *absent == name) {
        return broken(format!("there is no `{name}` here")).hint(*instead);
    }
    if declarations::is_declaring(name) || name == "params" || name == "state" {
        return broken(format!("there is no `{name}` here"))
            .hint("declarations, `params` and `state` belong to the runbook's own file: give a module what it needs as an argument");
    }
    let error = broken(format!("nothing is called `{name}`"));
    let known = known_names(core);
    let at_prompt = core.session().is_some_and(|session| session.mode() == Mode::Prompt);
    match did_you_mean(name, known.iter().map(String::as_str)) {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None if at_prompt => error.hint(format!("a `local` ends with its line; a name that stays is set without it: `{name} = …`")),
        None => error.hint("a name of your own begins with `local`; the verbs are in the reference"),
    }
}

/// The error of a global that is set.
pub(super) fn assigned(core: &Core, name: &str, function: bool) -> Error {
    if is_word(core, name) || declarations::is_declaring(name) || ["params", "state", "require"].contains(&name) {
        return broken(format!("`{name}` is a word of lockgate and cannot be replaced")).hint("choose another name, with `local`");
    }
    let error = broken(format!("`{name}` is assigned as a global"));
    if function {
        error.hint(format!("write `local function {name}(…)`"))
    } else {
        error.hint(format!("write `local {name} = …`; what later steps need goes into `state`"))
    }
}

fn unknown_member(core: &Core, lua: &Lua, arguments: &MultiValue) -> Error {
    let text = |place: usize| arguments.get(place).and_then(|value| value.to_string().ok()).unwrap_or_default();
    let (library, name) = (text(0), text(1));
    let mut error = broken(format!("`{library}` has no `{name}`"));
    if library == "math" && name.starts_with("random") {
        error = error.hint("runs are repeatable: nothing in a runbook is random");
    } else if let Ok(LuaValue::Table(members)) = core.base.raw_get(library.as_str()) {
        let names: Vec<String> = members.pairs::<String, LuaValue>().filter_map(|pair| pair.ok().map(|(name, _)| name)).collect();
        if let Some(near) = did_you_mean(&name, names.iter().map(String::as_str)) {
            error = error.hint(format!("did you mean `{near}`?"));
        }
    }
    error.places = super::stack::places(core, lua, Some(&name));
    error
}

/// The bytes of a string argument.
fn bytes(arguments: &MultiValue, place: usize, function: &str) -> Result<Vec<u8>, Error> {
    match arguments.get(place) {
        Some(LuaValue::String(text)) => Ok(text.as_bytes().to_vec()),
        Some(LuaValue::Number(number)) => Ok(number.to_string().into_bytes()),
        Some(value @ (LuaValue::Integer(_) | LuaValue::UserData(_))) => value.to_string().map(String::into_bytes).map_err(fault),
        other => {
            let got = other.map_or("nothing".to_owned(), |value| format!("a {}", kind(value)));
            Err(broken(format!("`{function}` needs a string as argument {}, got {got}", place + 1)))
        }
    }
}

/// `string.find` of a plain text, in linear time: the library's own would take the product of both lengths, unstoppably.
fn find(arguments: &MultiValue) -> Result<MultiValue, Error> {
    let (text, wanted) = (bytes(arguments, 0, "find")?, bytes(arguments, 1, "find")?);
    let init = match arguments.get(2) {
        Some(LuaValue::Number(init)) => *init,
        Some(LuaValue::Integer(init)) => *init as f64,
        None | Some(LuaValue::Nil) => 1.0,
        Some(other) => return Err(broken(format!("`find` needs a number as argument 3, got a {}", kind(other)))),
    };
    let length = text.len() as f64;
    let start = if init < 0.0 { (length + init).max(0.0) } else { (init - 1.0).max(0.0) };
    let found = text.get(start as usize..).and_then(|rest| memchr::memmem::find(rest, &wanted)).map(|at| at + start as usize);
    match found {
        None => one(LuaValue::Nil),
        Some(at) => {
            let ends = [at + 1, at + wanted.len()].map(|place| LuaValue::Number(place as f64));
            Ok(MultiValue::from_iter(ends))
        }
    }
}

/// `string.split`, in linear time for the same reason.
fn split(lua: &Lua, arguments: &MultiValue) -> Result<MultiValue, Error> {
    let text = bytes(arguments, 0, "split")?;
    let separator = match arguments.get(1) {
        None | Some(LuaValue::Nil) => b",".to_vec(),
        Some(_) => bytes(arguments, 1, "split")?,
    };
    let parts = lua.create_table().map_err(fault)?;
    let push = |part: &[u8]| parts.raw_push(lua.create_string(part)?);
    if separator.is_empty() {
        text.chunks(1).try_for_each(push).map_err(fault)?;
        return one(LuaValue::Table(parts));
    }
    let mut from = 0;
    for at in memchr::memmem::find_iter(&text, &separator) {
        push(text.get(from..at).unwrap_or_default()).map_err(fault)?;
        from = at + separator.len();
    }
    push(text.get(from..).unwrap_or_default()).map_err(fault)?;
    one(LuaValue::Table(parts))
}
