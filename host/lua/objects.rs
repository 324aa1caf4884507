//! Objects with methods written in Rust, such as the `cluster` and `run` of a scenario.

use std::collections::BTreeMap;
use std::rc::Rc;

use mlua::{Lua, MultiValue, Table, Value as LuaValue};

use super::engine::{Core, Engine};
use super::error::{broken, fault};
use super::stack;
use crate::base::{Error, Place, Result, Value, did_you_mean};
use crate::primitives::registry::list;

/// A method: gets the arguments after the object, and where it is called, innermost first.
pub type Method = Rc<dyn Fn(Vec<Value>, &[Place]) -> Result<Value>>;

/// The same of a method that gives another object.
type Maker = Rc<dyn Fn(Vec<Value>, &[Place]) -> Result<Methods>>;

#[derive(Clone)]
enum Does {
    Value(Method),
    Object(Maker),
}

/// An object for scripts: methods called with a colon, and plain fields.
#[derive(Clone, Default)]
pub struct Methods {
    name: String,
    methods: BTreeMap<String, Does>,
    fields: BTreeMap<String, Value>,
}

impl std::fmt::Debug for Methods {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Methods").field("name", &self.name).field("methods", &self.methods.keys()).finish_non_exhaustive()
    }
}

impl Methods {
    /// An object that scripts know by this name.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Methods {
        Methods { name: name.into(), ..Methods::default() }
    }

    /// The same with one more method.
    #[must_use]
    pub fn method(mut self, name: impl Into<String>, method: impl Fn(Vec<Value>, &[Place]) -> Result<Value> + 'static) -> Methods {
        self.methods.insert(name.into(), Does::Value(Rc::new(method)));
        self
    }

    /// The same with one more method, which gives another object.
    #[must_use]
    pub fn maker(mut self, name: impl Into<String>, maker: impl Fn(Vec<Value>, &[Place]) -> Result<Methods> + 'static) -> Methods {
        self.methods.insert(name.into(), Does::Object(Rc::new(maker)));
        self
    }

    /// The names of its methods, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.methods.keys().map(String::as_str)
    }

    /// The same with one more plain field.
    #[must_use]
    pub fn field(mut self, name: impl Into<String>, value: Value) -> Methods {
        self.fields.insert(name.into(), value);
        self
    }
}

/// What can be given to a script's function.
#[derive(Clone, Debug)]
pub enum Given {
    /// A value.
    Value(Value),
    /// An object.
    Object(Methods),
}

/// Makes objects.
pub(crate) struct Objects;

impl Objects {
    pub(crate) fn new() -> Objects {
        Objects
    }

    pub(crate) fn table(&self, core: &Rc<Core>, lua: &Lua, object: &Methods) -> mlua::Result<Table> {
        let table = lua.create_table()?;
        for (name, value) in &object.fields {
            table.raw_set(name.as_str(), core.convert.write(lua, value, false)?)?;
        }
        for (name, method) in &object.methods {
            let (own, method, path) = (table.clone(), method.clone(), format!("{}:{name}", object.name));
            table.raw_set(
                name.as_str(),
                core.function(lua, name, move |core, lua, arguments| call(core, lua, &own, &path, &method, arguments))?,
            )?;
        }
        let (owner, names) = (object.name.clone(), object.methods.keys().cloned().collect::<Vec<_>>());
        let unknown = core.function(lua, "", move |core, lua, arguments| Err(unknown(core, lua, &owner, &names, &arguments)))?;
        let meta = lua.create_table()?;
        meta.raw_set("__index", unknown)?;
        meta.raw_set("__metatable", false)?;
        table.set_metatable(Some(meta))?;
        table.set_readonly(true);
        Ok(table)
    }
}

fn call(core: &Rc<Core>, lua: &Lua, own: &Table, path: &str, method: &Does, mut arguments: MultiValue) -> Result<MultiValue> {
    if !matches!(arguments.pop_front(), Some(LuaValue::Table(this)) if this == *own) {
        return Err(broken(format!("`{path}` is called without its object")).hint(format!("write `{path}(…)` with a colon")));
    }
    let mut values = Vec::new();
    for (place, value) in arguments.iter().enumerate() {
        values.push(core.convert.read(lua, value).map_err(|mut error| {
            error.message = format!("`{path}`: argument {} {}", place + 1, error.message);
            error
        })?);
    }
    let name = path.rsplit(':').next().unwrap_or_default();
    let places = stack::places(core, lua, Some(name));
    let given = match method {
        Does::Value(method) => {
            let value = method(values, &places)?;
            core.brake.refill();
            core.convert.write(lua, &value, true)
        }
        Does::Object(maker) => {
            let object = maker(values, &places)?;
            core.brake.refill();
            core.objects.table(core, lua, &object).map(LuaValue::Table)
        }
    };
    Ok(MultiValue::from_vec(vec![given.map_err(fault)?]))
}

fn unknown(core: &Core, lua: &Lua, owner: &str, names: &[String], arguments: &MultiValue) -> Error {
    let name = arguments.get(1).and_then(|name| name.to_string().ok()).unwrap_or_default();
    let mut error = broken(format!("`{owner}` has no `{name}`"));
    error = match did_you_mean(&name, names.iter().map(String::as_str)) {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => error.hint(format!("it has {}", list(names.iter().map(String::as_str)))),
    };
    error.places = stack::places(core, lua, Some(&name));
    error
}

impl Engine {
    /// The Lua value for something given to a script's function.
    pub(crate) fn given(&self, given: &Given) -> Result<LuaValue> {
        let (lua, core) = (self.lua(), self.core());
        match given {
            Given::Value(value) => core.convert.write(lua, value, true),
            Given::Object(object) => core.objects.table(core, lua, object).map(LuaValue::Table),
        }
        .map_err(fault)
    }
}
