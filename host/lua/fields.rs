//! The fields of one declaration: known names, types, and errors that point at the field.

use std::collections::BTreeMap;

use mlua::{Function, Table, Value as LuaValue};

use super::declarations::Field;
use super::engine::Core;
use super::error::{broken, fault, kind};
use super::stack;
use crate::base::{Error, Place, Result, Value, did_you_mean};
use crate::primitives::registry::list;

/// A field that is plain text or a function.
pub(crate) enum Plain {
    /// Text.
    Text(String),
    /// A function.
    Function(Function),
}

/// The table of one declaration.
pub(crate) struct Fields<'a> {
    core: &'a Core,
    what: String,
    table: &'a Table,
    place: Place,
}

impl<'a> Fields<'a> {
    /// The table of `what`, which was declared at this place and may have these fields.
    ///
    /// # Errors
    /// Names an unknown field and the nearest known one.
    pub(crate) fn new(core: &'a Core, what: String, table: &'a Table, place: Place, known: &'static [Field]) -> Result<Fields<'a>> {
        let fields = Fields { core, what, table, place };
        let mut names = Vec::new();
        for pair in table.pairs::<LuaValue, LuaValue>() {
            match pair.map_err(fault)?.0 {
                LuaValue::String(name) => names.push(name.to_string_lossy()),
                _ => {
                    let error = broken(format!("`{}` has an entry without a name", fields.what));
                    return Err(fields.here(error).hint("its fields are `name = value`"));
                }
            }
        }
        names.sort();
        for name in names {
            if known.iter().any(|field| field.name == name) {
                continue;
            }
            let error = fields.at(&name, broken(format!("`{}` has no field `{name}`", fields.what)));
            let names = || known.iter().map(|field| field.name);
            return Err(match did_you_mean(&name, names()) {
                Some(near) => error.hint(format!("did you mean `{near}`?")),
                None => error.hint(format!("its fields are {}", list(names()))),
            });
        }
        Ok(fields)
    }

    /// Where it is declared.
    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    fn here(&self, mut error: Error) -> Error {
        error.places.push(self.place.clone());
        error
    }

    fn at(&self, field: &str, mut error: Error) -> Error {
        error.places.push(field_place(self.core, &self.place, field));
        error
    }

    /// An error about a field: `` `step "x"`: `title` must be … ``.
    pub(crate) fn wrong(&self, field: &str, why: &str) -> Error {
        self.at(field, broken(format!("`{}`: `{field}` {why}", self.what)))
    }

    /// The error of a field that has to be there.
    pub(crate) fn missing(&self, field: &str) -> Error {
        self.here(broken(format!("`{}` has no `{field}`", self.what)))
    }

    fn get(&self, field: &str) -> Result<Option<LuaValue>> {
        let value: LuaValue = self.table.raw_get(field).map_err(fault)?;
        Ok(if matches!(value, LuaValue::Nil) { None } else { Some(value) })
    }

    /// The value as it is.
    pub(crate) fn raw(&self, field: &str) -> Result<Option<LuaValue>> {
        self.get(field)
    }

    fn mismatch(&self, field: &str, wanted: &str, got: &LuaValue) -> Error {
        self.wrong(field, &format!("must be {wanted}, got a {}", kind(got)))
    }

    pub(crate) fn text(&mut self, field: &str) -> Result<Option<String>> {
        match self.get(field)? {
            None => Ok(None),
            Some(LuaValue::String(text)) => {
                let text = text.to_str().map_err(|_| self.wrong(field, "is not UTF-8 text"))?.to_owned();
                if text.trim().is_empty() { Err(self.wrong(field, "is empty")) } else { Ok(Some(text)) }
            }
            Some(other) => Err(self.mismatch(field, "a text", &other)),
        }
    }

    pub(crate) fn need_text(&mut self, field: &str) -> Result<String> {
        self.text(field)?.ok_or_else(|| self.missing(field))
    }

    /// A text, number, boolean or typed value, as people would type it.
    pub(crate) fn scalar(&mut self, field: &str) -> Result<Option<String>> {
        match self.get(field)? {
            None => Ok(None),
            Some(
                value @ (LuaValue::String(_) | LuaValue::Number(_) | LuaValue::Integer(_) | LuaValue::UserData(_) | LuaValue::Boolean(_)),
            ) => value.to_string().map(Some).map_err(fault),
            Some(other) => Err(self.mismatch(field, "a text as one would type it", &other)),
        }
    }

    /// One of a few words.
    pub(crate) fn word(&mut self, field: &str, words: &[&'static str]) -> Result<Option<&'static str>> {
        let Some(text) = self.text(field)? else { return Ok(None) };
        if let Some(word) = words.iter().find(|word| **word == text) {
            return Ok(Some(word));
        }
        let error = self.wrong(field, &format!("must be one of {}, got `{text}`", list(words.iter().copied())));
        Err(match did_you_mean(&text, words.iter().copied()) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error,
        })
    }

    pub(crate) fn need_word(&mut self, field: &str, words: &[&'static str]) -> Result<&'static str> {
        self.word(field, words)?.ok_or_else(|| self.missing(field).hint(format!("it is one of {}", list(words.iter().copied()))))
    }

    pub(crate) fn flag(&mut self, field: &str) -> Result<Option<bool>> {
        match self.get(field)? {
            None => Ok(None),
            Some(LuaValue::Boolean(value)) => Ok(Some(value)),
            Some(other) => Err(self.mismatch(field, "true or false", &other)),
        }
    }

    pub(crate) fn number(&mut self, field: &str) -> Result<Option<f64>> {
        match self.get(field)? {
            None => Ok(None),
            Some(LuaValue::Number(value)) => Ok(Some(value)),
            Some(LuaValue::Integer(value)) => Ok(Some(value as f64)),
            Some(other) => Err(self.mismatch(field, "a number", &other)),
        }
    }

    pub(crate) fn function(&mut self, field: &str) -> Result<Option<Function>> {
        match self.get(field)? {
            None => Ok(None),
            Some(LuaValue::Function(function)) => Ok(Some(function)),
            Some(other) => Err(self.mismatch(field, "a function", &other).hint(format!("write `{field} = function() … end`"))),
        }
    }

    pub(crate) fn need_function(&mut self, field: &str) -> Result<Function> {
        self.function(field)?.ok_or_else(|| self.missing(field).hint(format!("write `{field} = function() … end`")))
    }

    pub(crate) fn text_or_function(&mut self, field: &str) -> Result<Option<Plain>> {
        match self.get(field)? {
            Some(LuaValue::Function(function)) => Ok(Some(Plain::Function(function))),
            _ => Ok(self.text(field)?.map(Plain::Text)),
        }
    }

    /// A plain value.
    pub(crate) fn value(&mut self, core: &Core, field: &str) -> Result<Option<Value>> {
        let Some(value) = self.get(field)? else { return Ok(None) };
        let Some(lua) = self.table.weak_lua().try_upgrade() else {
            return Err(Error::internal("a declaration outlived its Lua state"));
        };
        core.convert.read(&lua, &value).map(Some).map_err(|error| self.wrong(field, &error.message))
    }

    /// A list of texts; empty when absent.
    pub(crate) fn texts(&mut self, field: &str) -> Result<Vec<String>> {
        let table = match self.get(field)? {
            None => return Ok(Vec::new()),
            Some(LuaValue::Table(table)) => table,
            Some(other) => return Err(self.mismatch(field, "a list of texts", &other)),
        };
        let mut texts = Vec::new();
        for item in table.sequence_values::<LuaValue>() {
            match item.map_err(fault)? {
                LuaValue::String(text) => texts.push(text.to_string_lossy()),
                other => return Err(self.mismatch(field, "a list of texts", &other)),
            }
        }
        Ok(texts)
    }

    /// A map of texts; empty when absent.
    pub(crate) fn texts_by_name(&mut self, field: &str) -> Result<BTreeMap<String, String>> {
        let table = match self.get(field)? {
            None => return Ok(BTreeMap::new()),
            Some(LuaValue::Table(table)) => table,
            Some(other) => return Err(self.mismatch(field, "a table of texts", &other)),
        };
        let mut texts = BTreeMap::new();
        for pair in table.pairs::<LuaValue, LuaValue>() {
            match pair.map_err(fault)? {
                (LuaValue::String(name), LuaValue::String(text)) => texts.insert(name.to_string_lossy(), text.to_string_lossy()),
                (_, other) => return Err(self.mismatch(field, "a table of texts", &other)),
            };
        }
        Ok(texts)
    }
}

/// The place of a field of a declaration: the first line from the declaration on where `field =` stands, else its own.
pub(crate) fn field_place(core: &Core, declaration: &Place, field: &str) -> Place {
    let Some(text) = core.text(&declaration.file) else { return declaration.clone() };
    for (number, line) in (1u32..).zip(text.lines()).skip(declaration.line.saturating_sub(1) as usize) {
        // The next declaration begins at the margin.
        let starts_another = number > declaration.line && line.starts_with(|first: char| first.is_ascii_lowercase());
        if starts_another {
            break;
        }
        if let Some(column) = stack::assigned(line, field) {
            let length = u32::try_from(field.chars().count()).ok();
            let place = stack::place(core, &declaration.file, number, None, None);
            return Place { column: Some(column), length, ..place };
        }
    }
    declaration.clone()
}
