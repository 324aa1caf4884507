//! A file of scenarios: `scenario "name" { … }` as data and functions. What the fields mean is not decided here.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use mlua::{Function, MultiValue, Table, Value as LuaValue};

use super::engine::{Core, Engine};
use super::error::{broken, fault, one};
use super::objects::Given;
use super::require::{Modules, Shelves};
use super::session::{Mode, Session};
use super::{fields, requires, sandbox, stack};
use crate::base::{Error, Place, Result, Value};
use crate::run::Source;

/// The text that stands for `absent` when a value crosses to the host.
pub const ABSENT: &str = "\u{0}absent";

/// A file of scenarios that was loaded.
#[derive(Debug)]
pub struct TestFile {
    /// Its scenarios, in file order.
    pub scenarios: Vec<RawScenario>,
    engine: Engine,
    session: SessionHandle,
}

/// Keeps what the functions of a test file need.
struct SessionHandle(Rc<Session>, #[expect(dead_code, reason = "functions may call `require` while they run")] Rc<Modules>);

impl std::fmt::Debug for SessionHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("session")
    }
}

/// One `scenario "name" { … }`, its fields as they were written.
#[derive(Clone, Debug)]
pub struct RawScenario {
    /// Its name, a sentence.
    pub name: String,
    /// Where it is declared.
    pub place: Place,
    /// Its fields.
    pub fields: BTreeMap<String, Field>,
    /// The text behind [`RawScenario::field_place`].
    places: BTreeMap<String, Place>,
}

/// One field of a scenario.
#[derive(Clone, Debug)]
pub enum Field {
    /// A function.
    Function(TestFunction),
    /// A table whose values are functions, such as `at`.
    Functions(Vec<(String, TestFunction)>),
    /// Anything else.
    Value(Value),
}

/// A function of a test file.
#[derive(Clone, Debug)]
pub struct TestFunction(Function);

impl RawScenario {
    /// Where a field is written; the scenario's own place when that cannot be told.
    #[must_use]
    pub fn field_place(&self, field: &str) -> &Place {
        self.places.get(field).unwrap_or(&self.place)
    }
}

/// What a file has declared so far.
#[derive(Default)]
struct Declared {
    scenarios: Vec<RawScenario>,
    open: Vec<(String, Place)>,
}

impl TestFile {
    /// Loads a file of scenarios on the Lua state of this thread.
    ///
    /// # Errors
    /// What is wrong with the file, with its place.
    pub fn load(engine: &Engine, source: &Source) -> Result<TestFile> {
        requires::check(&source.file, &source.text)?;
        let compiled = engine.compile(&source.file, &source.text)?;
        let (lua, core) = (engine.lua(), engine.core());
        let declared = Rc::new(RefCell::new(Declared::default()));
        let modules = Modules::new(engine, &Shelves { folders: source.modules.clone() }, &Rc::new(RefCell::new(HashMap::new())));
        let environment = (|| {
            let words = lua.create_table()?;
            words.raw_set("scenario", opener(core, lua, &declared)?)?;
            words.raw_set("absent", ABSENT)?;
            words.raw_set("require", modules.require(core, lua, source.beside.clone())?)?;
            sandbox::environment(core, lua, &words)
        })();
        let chunk = engine.instantiate(&compiled, &environment.map_err(fault)?)?;
        let session = Session::new(Mode::Load, None);
        let ran = engine.work(&session, &chunk, MultiValue::new());
        session.set_mode(Mode::Scenario);
        let declared = std::mem::take(&mut *declared.borrow_mut());
        ran?;
        if let Some((name, place)) = declared.open.into_iter().next() {
            let mut error = broken(format!("`scenario \"{name}\"` has no body"));
            error.places.push(place);
            return Err(error);
        }
        Ok(TestFile { scenarios: declared.scenarios, engine: engine.clone(), session: SessionHandle(session, modules) })
    }

    /// Calls a function of the file with objects and values.
    ///
    /// # Errors
    /// What the function, or a method that it called, raised.
    pub fn call(&self, function: &TestFunction, given: &[Given]) -> Result<Vec<Value>> {
        let arguments: Result<MultiValue> = given.iter().map(|given| self.engine.given(given)).collect();
        let returned = self.engine.work(&self.session.0, &function.0, arguments?)?;
        self.engine.core().read_all(self.engine.lua(), &returned)
    }
}

/// `scenario "name"`: gives the function that takes the braces.
fn opener(core: &Rc<Core>, lua: &mlua::Lua, declared: &Rc<RefCell<Declared>>) -> mlua::Result<Function> {
    let declared = declared.clone();
    core.function(lua, "scenario", move |core, lua, arguments| {
        let Some(LuaValue::String(name)) = arguments.front() else {
            return Err(broken("`scenario` needs a name first").hint("write `scenario \"what is seen\" { … }`"));
        };
        let name = name.to_string_lossy();
        let place = stack::places(core, lua, Some("scenario")).into_iter().next().unwrap_or_default();
        declared.borrow_mut().open.push((name.clone(), place.clone()));
        let this = declared.clone();
        let take = core.function(lua, "scenario", move |core, lua, arguments| {
            let Some(LuaValue::Table(table)) = arguments.front() else {
                return Err(broken(format!("`scenario \"{name}\"` takes a table in braces")));
            };
            let scenario = read(core, lua, &name, table, &place)?;
            let mut declared = this.borrow_mut();
            declared.open.retain(|(open, at)| *open != name || *at != place);
            if let Some(earlier) = declared.scenarios.iter().find(|other| other.name == name) {
                let error = broken(format!("`scenario \"{name}\"` is declared twice"));
                return Err(error.hint(format!("it is declared in line {} already", earlier.place.line)));
            }
            declared.scenarios.push(scenario);
            Ok(MultiValue::new())
        });
        one(LuaValue::Function(take.map_err(fault)?))
    })
}

fn read(core: &Core, lua: &mlua::Lua, name: &str, table: &Table, place: &Place) -> Result<RawScenario> {
    let mut scenario = RawScenario { name: name.to_owned(), place: place.clone(), fields: BTreeMap::new(), places: BTreeMap::new() };
    for pair in table.pairs::<LuaValue, LuaValue>() {
        let (key, value) = pair.map_err(fault)?;
        let LuaValue::String(key) = key else {
            return Err(broken(format!("`scenario \"{name}\"` has an entry without a name")));
        };
        let key = key.to_string_lossy();
        let at = fields::field_place(core, place, &key);
        let field = field(core, lua, &value).map_err(|mut error: Error| {
            error.message = format!("`scenario \"{name}\"`: `{key}` {}", error.message);
            error.places = vec![at.clone()];
            error
        })?;
        scenario.places.insert(key.clone(), at);
        scenario.fields.insert(key, field);
    }
    Ok(scenario)
}

fn field(core: &Core, lua: &mlua::Lua, value: &LuaValue) -> Result<Field> {
    match value {
        LuaValue::Function(function) => Ok(Field::Function(TestFunction(function.clone()))),
        LuaValue::Table(table) => {
            let pairs: mlua::Result<Vec<(LuaValue, LuaValue)>> = table.pairs::<LuaValue, LuaValue>().collect();
            let pairs = pairs.map_err(fault)?;
            let functions: Option<Vec<(String, TestFunction)>> = pairs
                .iter()
                .map(|(key, value)| match (key, value) {
                    (LuaValue::String(key), LuaValue::Function(function)) => Some((key.to_string_lossy(), TestFunction(function.clone()))),
                    _ => None,
                })
                .collect();
            match functions {
                Some(mut functions) if !functions.is_empty() => {
                    functions.sort_by(|(left, _), (right, _)| left.cmp(right));
                    Ok(Field::Functions(functions))
                }
                _ => core.convert.read(lua, value).map(Field::Value),
            }
        }
        other => core.convert.read(lua, other).map(Field::Value),
    }
}
