//! Values between Lua and the host. Our own converter, because what a script did not touch must not change on its way:
//! integers beyond 2^53, nulls, empty lists against empty objects. What has no meaning as JSON is an error with its path.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::json::{Map, Number, Value as Json, json};
use mlua::{AnyUserData, Function, Lua, Table, UserData, Value as LuaValue};

use super::error::{broken, kind};
use super::values;
use crate::base::{Error, Object, ObjectRef, Result, Value};
use crate::primitives::cx::unmodelled_status;

/// How deep tables may be nested.
const DEEPEST: usize = 128;
/// The greatest whole number that a Lua number holds exactly, with all its neighbours.
const EXACT: f64 = 9_007_199_254_740_991.0;

/// An object as the cluster gave it, kept beside its table.
struct Original(Arc<Json>);

impl UserData for Original {}

/// Converts; knows the marks of empty tables and the originals of objects.
pub(crate) struct Converter {
    /// Metatable of lists: says that an empty one is a list.
    list: Table,
    /// Metatable of `object{}`.
    object: Table,
    /// Table → [`Original`], weak.
    originals: Table,
    /// Metatable of what stands for the status of an object that nobody knows: to read it is an error.
    pub(crate) unmodelled: Table,
    /// Such a table → the name of its object, weak.
    nameless: Table,
}

/// One reading of a Lua value.
struct Reading<'a> {
    converter: &'a Converter,
    path: Path,
    above: Vec<*const std::ffi::c_void>,
}

impl Converter {
    pub(crate) fn new(lua: &Lua) -> mlua::Result<Converter> {
        let mark = || -> mlua::Result<Table> {
            // Not locked: `table.clone` refuses tables with a locked metatable, and a copied list should stay a list.
            let meta = lua.create_table()?;
            meta.set_readonly(true);
            Ok(meta)
        };
        let weak = lua.create_table()?;
        weak.raw_set("__mode", "k")?;
        let (originals, nameless) = (lua.create_table()?, lua.create_table()?);
        originals.set_metatable(Some(weak.clone()))?;
        nameless.set_metatable(Some(weak))?;
        // Its functions come when there is a state to raise errors in.
        Ok(Converter { list: mark()?, object: mark()?, originals, unmodelled: lua.create_table()?, nameless })
    }

    /// What it raises when somebody reads it.
    ///
    /// # Errors
    /// When memory is short.
    pub(crate) fn raises(&self, raise: &Function) -> mlua::Result<()> {
        for event in ["__index", "__newindex", "__len", "__iter", "__call", "__unm", "__concat"] {
            self.unmodelled.raw_set(event, raise)?;
        }
        self.unmodelled.set_readonly(true);
        Ok(())
    }

    /// The error of who reads this table; `None` when it may be read.
    pub(crate) fn unreadable(&self, table: &Table) -> Option<Error> {
        if !Self::is_marked(table, &self.unmodelled) {
            return None;
        }
        let object = self.nameless.raw_get::<Option<String>>(table.clone()).ok().flatten().unwrap_or_default();
        Some(unmodelled_status(&object))
    }

    /// What stands for a status that nobody knows.
    fn no_status(&self, lua: &Lua, object: &Json) -> mlua::Result<Table> {
        let table = lua.create_table()?;
        let name = ObjectRef::of(object).map_or_else(|_| "the object".to_owned(), |reference| reference.to_string());
        self.nameless.raw_set(table.clone(), name)?;
        table.set_metatable(Some(self.unmodelled.clone()))?;
        table.set_readonly(true);
        Ok(table)
    }

    /// Marks a table as a list, so that it stays one when it is empty.
    pub(crate) fn mark_list(&self, table: &Table) -> mlua::Result<()> {
        table.set_metatable(Some(self.list.clone()))
    }

    /// Marks a table as an object, so that it stays one when it is empty.
    pub(crate) fn mark_object(&self, table: &Table) -> mlua::Result<()> {
        table.set_metatable(Some(self.object.clone()))
    }

    /// JSON as Lua holds it.
    pub(crate) fn json(&self, lua: &Lua, json: &Json) -> mlua::Result<LuaValue> {
        Ok(match json {
            Json::Null => LuaValue::NULL,
            Json::Bool(value) => LuaValue::Boolean(*value),
            // Text forms such as 9007199254740993 lose digits here; the original beside the table keeps them.
            Json::Number(number) => LuaValue::Number(number.as_f64().unwrap_or(f64::INFINITY)),
            Json::String(text) => LuaValue::String(lua.create_string(text)?),
            Json::Array(items) => {
                let table = lua.create_table_with_capacity(items.len(), 0)?;
                for item in items {
                    table.raw_push(self.json(lua, item)?)?;
                }
                self.mark_list(&table)?;
                LuaValue::Table(table)
            }
            Json::Object(entries) => {
                let table = lua.create_table_with_capacity(0, entries.len())?;
                for (key, value) in entries {
                    table.raw_set(key.as_str(), self.json(lua, value)?)?;
                }
                LuaValue::Table(table)
            }
        })
    }

    /// A value as Lua holds it. With `fresh`, objects remember what the cluster gave, so that `update` can tell what changed.
    pub(crate) fn write(&self, lua: &Lua, value: &Value, fresh: bool) -> mlua::Result<LuaValue> {
        Ok(match value {
            Value::Nil => LuaValue::Nil,
            Value::Json(json) => self.json(lua, json)?,
            Value::Typed(typed) => values::wrap(lua, typed)?,
            Value::Object(object) => {
                let table = self.json(lua, &object.current)?;
                if let (true, LuaValue::Table(table), Some(original)) = (fresh, &table, &object.original) {
                    self.originals.raw_set(table.clone(), lua.create_userdata(Original(original.clone()))?)?;
                }
                if let (true, LuaValue::Table(table)) = (object.unmodelled, &table) {
                    table.raw_set("status", self.no_status(lua, &object.current)?)?;
                }
                table
            }
            Value::List(items) => {
                let table = lua.create_table_with_capacity(items.len(), 0)?;
                for item in items {
                    // A `nil` would end the list.
                    let item = if *item == Value::Nil { LuaValue::NULL } else { self.write(lua, item, fresh)? };
                    table.raw_push(item)?;
                }
                self.mark_list(&table)?;
                LuaValue::Table(table)
            }
            Value::Map(entries) => {
                let table = lua.create_table_with_capacity(0, entries.len())?;
                for (key, value) in entries {
                    table.raw_set(key.as_str(), self.write(lua, value, fresh)?)?;
                }
                LuaValue::Table(table)
            }
        })
    }

    /// A Lua value as the host holds it.
    ///
    /// # Errors
    /// When it has no meaning as JSON; says what and where: "holds a function at `spec.x`".
    pub(crate) fn read(&self, _: &Lua, value: &LuaValue) -> Result<Value> {
        Reading { converter: self, path: Path::default(), above: Vec::new() }.value(value, None)
    }

    /// The object that the cluster gave as this table, in this step.
    fn original(&self, table: &Table) -> Option<Arc<Json>> {
        let found = self.originals.raw_get::<Option<AnyUserData>>(table.clone()).ok().flatten()?;
        found.borrow::<Original>().ok().map(|original| original.0.clone())
    }

    /// Whether the status of this object is one that nobody knows.
    fn hides_status(&self, table: &Table) -> bool {
        let status = table.raw_get::<LuaValue>("status").ok();
        matches!(status, Some(LuaValue::Table(status)) if Self::is_marked(&status, &self.unmodelled))
    }

    fn is_marked(table: &Table, mark: &Table) -> bool {
        table.metatable().is_some_and(|meta| meta == *mark)
    }
}

impl Reading<'_> {
    fn wrong(&self, what: &str) -> Error {
        if self.path.is_empty() { broken(format!("is {what}")) } else { broken(format!("holds {what} at `{}`", self.path)) }
    }

    fn value(&mut self, value: &LuaValue, guide: Option<&Json>) -> Result<Value> {
        Ok(match value {
            LuaValue::Nil => Value::Nil,
            LuaValue::Boolean(value) => Value::Json(Json::Bool(*value)),
            // Every number of Luau is a float; the binding calls the whole ones integers.
            LuaValue::Integer(number) => Value::Json(Json::Number(self.number(*number as f64, guide)?)),
            LuaValue::Number(number) => Value::Json(Json::Number(self.number(*number, guide)?)),
            LuaValue::String(text) => match text.to_str() {
                Ok(text) => Value::Json(text.as_ref().into()),
                Err(_) => return Err(self.wrong("bytes that are not UTF-8 text")),
            },
            LuaValue::LightUserData(pointer) if pointer.0.is_null() => Value::Json(Json::Null),
            LuaValue::Table(table) => self.table(table, guide)?,
            LuaValue::UserData(data) => match values::unwrap(data) {
                Some(typed) => Value::Typed(typed),
                None => return Err(self.wrong("a handle of the host")),
            },
            LuaValue::Function(_) => return Err(self.wrong("a function")),
            LuaValue::Thread(_) => return Err(self.wrong("a coroutine")),
            other => return Err(self.wrong(&format!("a {}", kind(other)))),
        })
    }

    fn number(&self, number: f64, guide: Option<&Json>) -> Result<Number> {
        if let Some(Json::Number(original)) = guide
            && original.as_f64() == Some(number)
        {
            return Ok(original.clone());
        }
        if number.fract() == 0.0 {
            if number.abs() > EXACT {
                return Err(self.wrong(&format!("the number {number}, which Lua cannot hold exactly")).hint(
                    "whole numbers are exact up to 2^53; change other fields of the object that was read, and leave this one alone",
                ));
            }
            return Ok(Number::from(number as i64));
        }
        Number::from_f64(number)
            .ok_or_else(|| self.wrong(if number.is_nan() { "a number that is not one (0/0)" } else { "an infinite number" }))
    }

    fn table(&mut self, table: &Table, guide: Option<&Json>) -> Result<Value> {
        if self.above.contains(&table.to_pointer()) {
            return Err(self.wrong("a table that contains itself"));
        }
        if self.above.len() >= DEEPEST {
            return Err(self.wrong(&format!("tables nested more than {DEEPEST} deep")));
        }
        if let Some(error) = self.converter.unreadable(table) {
            return Err(error);
        }
        let original = self.converter.original(table);
        let unmodelled = original.is_some() && self.converter.hides_status(table);
        self.above.push(table.to_pointer());
        let read = self.entries(table, original.as_deref().or(guide), unmodelled);
        self.above.pop();
        match (read?, original) {
            (Value::Json(mut current), Some(original)) => {
                // Nobody could touch it.
                if let (true, Some(fields), Some(status)) = (unmodelled, current.as_object_mut(), original.get("status")) {
                    fields.insert("status", status.clone());
                }
                Ok(Value::Object(Object { current: current.into(), original: Some(original), unmodelled }))
            }
            (value, Some(_)) => {
                let typed = self.typed_in(&value);
                Err(self.wrong(&format!("an object with a typed value in it{typed}")).hint("write `tostring(value)` into objects"))
            }
            (value, None) => Ok(value),
        }
    }

    /// Where in an object the first typed value is.
    fn typed_in(&self, value: &Value) -> String {
        match value {
            Value::Map(entries) => entries
                .iter()
                .find(|(_, value)| !matches!(value, Value::Json(_)))
                .map_or_else(String::new, |(key, value)| format!(" under `{key}`{}", self.typed_in(value))),
            _ => String::new(),
        }
    }

    fn entries(&mut self, table: &Table, guide: Option<&Json>, without_status: bool) -> Result<Value> {
        let mut named: BTreeMap<String, LuaValue> = BTreeMap::new();
        let mut numbered: BTreeMap<u64, LuaValue> = BTreeMap::new();
        let mut strange: Option<Error> = None;
        let walked = table.for_each(|key: LuaValue, value: LuaValue| {
            match key {
                LuaValue::String(text) => match text.to_str() {
                    Ok(text) if without_status && text == "status" => {}
                    Ok(text) => {
                        named.insert(text.to_owned(), value);
                    }
                    Err(_) => strange = Some(self.wrong("a key that is not UTF-8 text")),
                },
                LuaValue::Integer(place) if place >= 1 => {
                    numbered.insert(place.unsigned_abs(), value);
                }
                LuaValue::Number(place) if place >= 1.0 && place.fract() == 0.0 && place <= EXACT => {
                    numbered.insert(place as u64, value);
                }
                other => strange = Some(self.wrong(&format!("the key {}", key_text(&other)))),
            }
            Ok(())
        });
        walked.map_err(super::error::fault)?;
        if let Some(error) = strange {
            return Err(error);
        }
        match (named.is_empty(), numbered.is_empty()) {
            (true, true) => Ok(Value::Json(self.empty(table, guide))),
            (true, false) => self.list(numbered, guide),
            (false, true) => self.map(named, guide),
            (false, false) => {
                let key = named.keys().next().cloned().unwrap_or_default();
                Err(self.wrong(&format!("a table that is both a list and a map (it has [1] and `{key}`)")))
            }
        }
    }

    /// `{}`: what it was, what it is marked as, else an object.
    fn empty(&self, table: &Table, guide: Option<&Json>) -> Json {
        let marked_list = Converter::is_marked(table, &self.converter.list);
        let marked_object = Converter::is_marked(table, &self.converter.object);
        if marked_list || (!marked_object && matches!(guide, Some(Json::Array(_)))) { json!([]) } else { json!({}) }
    }

    fn list(&mut self, items: BTreeMap<u64, LuaValue>, guide: Option<&Json>) -> Result<Value> {
        let mut list = Vec::with_capacity(items.len());
        for (expected, (place, item)) in (1..).zip(items) {
            if place != expected {
                return Err(self
                    .wrong(&format!("a list with a hole: [{expected}] is nil and [{place}] is not"))
                    .hint("write `null` for an entry without a value"));
            }
            let guide = counterpart(guide, place, &item);
            self.path.push_place(place);
            list.push(self.value(&item, guide)?);
            self.path.pop();
        }
        if list.iter().all(|item| matches!(item, Value::Json(_))) {
            return Ok(Value::Json(Json::Array(list.into_iter().map(Value::into_json).collect())));
        }
        Ok(Value::List(list))
    }

    fn map(&mut self, entries: BTreeMap<String, LuaValue>, guide: Option<&Json>) -> Result<Value> {
        let mut map = BTreeMap::new();
        for (key, value) in entries {
            let guide = guide.and_then(|guide| guide.get(&key));
            self.path.push_key(&key);
            let value = self.value(&value, guide)?;
            self.path.pop();
            map.insert(key, value);
        }
        if map.values().all(|value| matches!(value, Value::Json(_))) {
            let json: Map = map.into_iter().map(|(key, value)| (key, value.into_json())).collect();
            return Ok(Value::Json(Json::Object(json)));
        }
        Ok(Value::Map(map))
    }
}

/// The entry of the original list that this entry was: the one of the same name, else the one at the same place.
fn counterpart<'a>(guide: Option<&'a Json>, place: u64, item: &LuaValue) -> Option<&'a Json> {
    let items = guide?.as_array()?;
    let name = match item {
        LuaValue::Table(table) => table.raw_get::<Option<String>>("name").ok().flatten(),
        _ => None,
    };
    match name {
        Some(name) => items.iter().find(|item| item.get("name").and_then(Json::as_str) == Some(&name)),
        None => items.get(usize::try_from(place - 1).ok()?),
    }
}

fn key_text(key: &LuaValue) -> String {
    match key {
        LuaValue::Integer(number) => format!("[{number}]: a list begins at [1]"),
        LuaValue::Number(number) => format!("[{number}]: keys are names or places from 1"),
        LuaValue::Boolean(value) => format!("[{value}]: keys are names or places from 1"),
        other => format!("that is a {}: keys are names or places from 1", kind(other)),
    }
}

/// Where in a value: `spec.containers[1].image`.
#[derive(Default)]
struct Path(Vec<String>);

impl Path {
    fn push_key(&mut self, key: &str) {
        let plain = !key.is_empty() && key.chars().all(|character| character.is_alphanumeric() || character == '_');
        self.0.push(match (plain, self.0.is_empty()) {
            (true, true) => key.to_owned(),
            (true, false) => format!(".{key}"),
            (false, _) => format!("[{key:?}]"),
        });
    }

    fn push_place(&mut self, place: u64) {
        self.0.push(format!("[{place}]"));
    }

    fn pop(&mut self) {
        self.0.pop();
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl std::fmt::Display for Path {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|part| f.write_str(part))
    }
}
