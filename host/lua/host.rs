//! The script side of a run: loads a runbook, gives its declarations, calls its functions.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::rc::Rc;

use mlua::{Function, MultiValue, Table, Value as LuaValue};

use super::engine::{Compiled, Engine};
use super::error::{broken, fault, kind};
use super::fields::field_place;
use super::lane::{LuaLane, Port};
use super::require::{Cache, Modules, Shelves};
use super::session::{Mode, Session, read_while_loading};
use super::{declare, requires, sandbox, stack};
use crate::base::{Error, Place, Result, Value, did_you_mean};
use crate::cluster::Access;
use crate::run::script::Lane;
use crate::run::{CallbackId, Owner, Params, Phase, Returned, Runbook, Scene, Script, Source, State};

/// A runbook file, ready to be loaded and called.
pub struct LuaHost {
    engine: Engine,
    runtime: Option<Rc<tokio::runtime::Runtime>>,
    source: Source,
    shelves: Shelves,
    compiled: Option<Compiled>,
    modules: Cache,
    entered: Option<Loaded>,
}

impl std::fmt::Debug for LuaHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LuaHost").field("source", &self.source.file).finish_non_exhaustive()
    }
}

/// One load of the file.
struct Loaded {
    session: Rc<Session>,
    functions: BTreeMap<CallbackId, Function>,
    names: Vec<String>,
    /// Whose function ran last.
    ran: Cell<Option<Owner>>,
    /// Where every check and step is declared.
    declared: BTreeMap<Owner, Place>,
    words: FileWords,
    modules: Rc<Modules>,
}

/// The words of the runbook's own file that change between loading and calling.
struct FileWords {
    params: Table,
    state: Table,
}

impl LuaHost {
    /// A runbook on the Lua state of this thread. Without a runtime it can be loaded but no verb can be called.
    ///
    /// # Errors
    /// When the interpreter cannot be set up.
    pub fn new(source: Source, runtime: Option<Rc<tokio::runtime::Runtime>>) -> Result<LuaHost> {
        Ok(Self::on(&Engine::of_thread()?, source, runtime))
    }

    /// A runbook on this Lua state.
    #[must_use]
    pub fn on(engine: &Engine, source: Source, runtime: Option<Rc<tokio::runtime::Runtime>>) -> LuaHost {
        LuaHost {
            engine: engine.clone(),
            runtime,
            shelves: Shelves { folders: source.modules.clone() },
            source,
            compiled: None,
            modules: Rc::new(RefCell::new(HashMap::new())),
            entered: None,
        }
    }

    /// The same, with folders where `require` looks after the runbook's own.
    #[must_use]
    pub fn with_modules(mut self, folders: Vec<PathBuf>) -> LuaHost {
        self.shelves.folders.extend(folders);
        self
    }

    /// Enters the file in the thread of an item: its verbs go through this port.
    ///
    /// # Errors
    /// As `enter`.
    pub(super) fn enter_lane(&mut self, params: &Params, state: &State, port: Rc<Port>) -> Result<()> {
        let (_, loaded) = self.run_file()?;
        loaded.open(&self.engine, params, state).map_err(fault)?;
        loaded.session.set_port(Some(port));
        self.entered = Some(loaded);
        Ok(())
    }

    fn compiled(&mut self) -> Result<Compiled> {
        if let Some(compiled) = &self.compiled {
            return Ok(compiled.clone());
        }
        requires::check(&self.source.file, &self.source.text)?;
        let compiled = self.engine.compile(&self.source.file, &self.source.text)?;
        self.compiled = Some(compiled.clone());
        Ok(compiled)
    }

    /// Runs the file in a new environment and gives what it declared.
    fn run_file(&mut self) -> Result<(Runbook, Loaded)> {
        let compiled = self.compiled()?;
        let (lua, core) = (self.engine.lua(), self.engine.core());
        let session = Session::new(Mode::Load, self.runtime.clone());
        let declared = Rc::new(RefCell::new(declare::Declared::default()));
        let modules = Modules::new(&self.engine, &self.shelves, &self.modules);
        let (environment, words) = self.environment(&declared, &modules).map_err(fault)?;
        let chunk = self.engine.instantiate(&compiled, &environment)?;
        let ran = self.engine.work(&session, &chunk, MultiValue::new());
        // Taken in any case: the words of the environment would keep its own functions alive.
        let declared = std::mem::take(&mut *declared.borrow_mut());
        ran?;
        declared.finish()?;
        let Some((header, _)) = declared.header else {
            return Err(broken(format!("`{}` declares no `runbook`", self.source.file))
                .hint("a runbook begins with `runbook { title = \"…\", summary = \"…\", impact = \"none\" }`"));
        };
        let names = declared.params.iter().map(|param| param.name.clone()).collect();
        let checks = declared.checks.iter().enumerate().map(|(at, check)| (Owner::Check(at), check.place.clone()));
        let steps = declared.steps.iter().enumerate().map(|(at, step)| (Owner::Step(at), step.place.clone()));
        let groups = declared.groups.iter().enumerate().map(|(at, group)| (Owner::Group(at), group.place.clone()));
        let owners = checks.chain(steps).chain(groups).collect();
        let runbook = Runbook {
            name: self.source.name.clone(),
            header,
            params: declared.params,
            checks: declared.checks,
            steps: declared.steps,
            groups: declared.groups,
            coverage: declared.coverage,
            permissions: declared.permissions.map(|(permissions, _)| permissions),
        };
        tracing::trace!(file = %self.source.file, memory = lua.used_memory(), halted = core.brake.halted(), "loaded");
        Ok((runbook, Loaded { session, functions: declared.functions, names, declared: owners, ran: Cell::new(None), words, modules }))
    }

    /// The environment of the runbook's own file.
    fn environment(&self, declared: &Rc<RefCell<declare::Declared>>, modules: &Rc<Modules>) -> mlua::Result<(Table, FileWords)> {
        let (lua, core) = (self.engine.lua(), self.engine.core());
        let words = lua.create_table()?;
        declare::add(core, lua, &words, declared)?;
        words.raw_set("require", modules.require(core, lua, self.source.beside.clone())?)?;
        let params = lua.create_table()?;
        let state = lua.create_table()?;
        for (name, table) in [("params", &params), ("state", &state)] {
            words.raw_set(name, table.clone())?;
            // Replaced by `Loaded::open` when functions are called.
            let guard = core.function(lua, name, move |_, _, _| Err(read_while_loading(name)))?;
            let meta = lua.create_table()?;
            meta.raw_set("__index", guard.clone())?;
            meta.raw_set("__newindex", guard)?;
            meta.raw_set("__metatable", false)?;
            table.set_metatable(Some(meta))?;
        }
        Ok((sandbox::environment(core, lua, &words)?, FileWords { params, state }))
    }
}

impl Loaded {
    /// Puts the parameters and `state` in place; from now on functions are called, and verbs are allowed.
    fn open(&self, engine: &Engine, params: &Params, state: &State) -> mlua::Result<()> {
        let (lua, core) = (engine.lua(), engine.core());
        self.words.state.set_metatable(None)?;
        for (key, value) in state {
            self.words.state.raw_set(key.as_str(), core.convert.write(lua, value, false)?)?;
        }
        let known = self.names.clone();
        let guard = core.function(lua, "params", move |_, _, arguments| param(&known, &arguments))?;
        let meta = lua.create_table()?;
        meta.raw_set("__index", guard.clone())?;
        meta.raw_set("__newindex", guard)?;
        meta.raw_set("__metatable", false)?;
        self.words.params.set_metatable(Some(meta))?;
        for (key, value) in params {
            self.words.params.raw_set(key.as_str(), core.convert.write(lua, value, false)?)?;
        }
        self.words.params.set_readonly(true);
        Ok(())
    }

    /// `state` as the functions left it.
    fn state(&self, engine: &Engine) -> Result<State> {
        let (lua, core) = (engine.lua(), engine.core());
        let mut state = State::new();
        for pair in self.words.state.pairs::<LuaValue, LuaValue>() {
            let (key, value) = pair.map_err(fault)?;
            let LuaValue::String(name) = &key else {
                return Err(broken(format!("`state` has a key that is a {}", kind(&key))).hint("its keys are names"));
            };
            let name = name.to_string_lossy();
            let value = core.convert.read(lua, &value).map_err(|mut error| {
                error.message = format!("`state.{name}` {}", error.message);
                error.places.extend(self.set_at(engine, &name));
                error.hint("what lives across steps is JSON and typed values")
            })?;
            state.insert(name, settled(value));
        }
        Ok(state)
    }

    /// Where a name of `state` is set, when one line of the file sets it; else the declaration that ran.
    fn set_at(&self, engine: &Engine, name: &str) -> Option<Place> {
        let declaration = self.declared.get(&self.ran.get()?)?;
        let (core, name) = (engine.core(), format!("state.{name}"));
        let text = core.text(&declaration.file)?;
        let mut lines = (1_u32..).zip(text.lines()).filter_map(|(line, source)| Some((line, stack::assigned(source, &name)?)));
        match (lines.next(), lines.next()) {
            (Some((line, column)), None) => {
                let length = u32::try_from(name.chars().count()).ok();
                Some(Place { column: Some(column), length, ..stack::place(core, &declaration.file, line, None, None) })
            }
            _ => Some(declaration.clone()),
        }
    }

    /// Refuses `false` from a check or `verify`, and what `recover` may not answer, at the field of the declaration.
    fn judge(&self, engine: &Engine, callback: CallbackId, returned: &Returned) -> Result<()> {
        let Some(declaration) = self.declared.get(&callback.owner) else { return Ok(()) };
        let judged = match callback.phase {
            Phase::Check | Phase::Verify => returned.holds(callback.owner),
            Phase::Recover => returned.answers(),
            Phase::Title | Phase::When | Phase::Run | Phase::Each | Phase::Batch | Phase::Gate | Phase::Rollback => Ok(()),
        };
        judged.map_err(|mut error| {
            error.places.push(field_place(engine.core(), declaration, callback.phase.as_str()));
            error
        })
    }
}

/// A value without the originals of its objects: they hold for one step.
fn settled(value: Value) -> Value {
    match value {
        Value::Object(object) => Value::Json(std::sync::Arc::unwrap_or_clone(object.current)),
        Value::List(items) => Value::List(items.into_iter().map(settled).collect()),
        Value::Map(entries) => Value::Map(entries.into_iter().map(|(key, value)| (key, settled(value))).collect()),
        other => other,
    }
}

/// Reading a parameter that was not given is `nil`; reading one that was never declared, or setting one, is a mistake.
fn param(known: &[String], arguments: &MultiValue) -> Result<MultiValue> {
    let name = arguments.get(1).map(LuaValue::to_string).transpose().map_err(fault)?.unwrap_or_default();
    if arguments.len() > 2 {
        return Err(broken(format!("`params.{name}` is set")).hint("parameters are given by the operator; keep values in `state`"));
    }
    if known.contains(&name) {
        return Ok(MultiValue::new());
    }
    let error = broken(format!("there is no parameter `{name}`"));
    Err(match did_you_mean(&name, known.iter().map(String::as_str)) {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => error.hint(format!("declare it: `param \"{name}\" {{ type = …, doc = … }}`")),
    })
}

impl Script for LuaHost {
    fn load(&mut self) -> Result<Runbook> {
        let (runbook, loaded) = self.run_file()?;
        loaded.modules.clear();
        Ok(runbook)
    }

    fn enter(&mut self, scene: Scene) -> Result<()> {
        let (_, loaded) = self.run_file()?;
        loaded.open(&self.engine, &scene.params, &scene.state).map_err(fault)?;
        loaded.session.set_scene(Some(scene));
        self.entered = Some(loaded);
        Ok(())
    }

    fn call(&mut self, callback: CallbackId, arguments: Vec<Value>) -> Result<Returned> {
        let loaded = self.entered.as_ref().ok_or_else(|| Error::internal("a function is called before its file was entered"))?;
        let function =
            loaded.functions.get(&callback).ok_or_else(|| Error::internal(format!("the runbook has no function for {callback:?}")))?;
        let (lua, core) = (self.engine.lua(), self.engine.core());
        loaded.session.set_mode(Mode::Call(callback.phase));
        loaded.ran.set(Some(callback.owner));
        tracing::info!(target: "lockgate::step", function = callback.phase.as_str(), "called");
        loaded.session.not_needed.borrow_mut().take();
        if let Some(scene) = loaded.session.scene() {
            scene.cx.cluster.set_access(if callback.phase.writes() { Access::ReadWrite } else { Access::ReadOnly });
        }
        let mut given = MultiValue::new();
        for (place, value) in arguments.iter().enumerate() {
            let as_error = place == 0 && callback.phase == Phase::Recover;
            let value = if as_error { core.error_value(lua, value) } else { core.convert.write(lua, value, true) };
            given.push_back(value.map_err(fault)?);
        }
        let returned = self.engine.work(&loaded.session, function, given)?;
        let values = core.read_all(lua, &returned).map_err(|mut error| {
            error.message = format!("`{}`: {}", callback.phase.as_str(), error.message);
            error
        })?;
        let not_needed = loaded.session.not_needed.borrow_mut().take();
        let returned = Returned { values, not_needed };
        if returned.not_needed.is_none() {
            loaded.judge(&self.engine, callback, &returned)?;
        }
        Ok(returned)
    }

    fn leave(&mut self) -> Result<State> {
        let loaded = self.entered.take().ok_or_else(|| Error::internal("a file is left before it was entered"))?;
        let state = loaded.state(&self.engine);
        loaded.session.set_scene(None);
        loaded.session.set_port(None);
        loaded.modules.clear();
        state
    }

    fn lane(&mut self) -> Result<Option<Box<dyn Lane>>> {
        if self.runtime.is_none() {
            return Ok(None);
        }
        let limits = self.engine.core().brake.limits();
        Ok(Some(Box::new(LuaLane::begin(&self.source, &self.shelves.folders, limits)?)))
    }

    fn runtime(&self) -> Option<Rc<tokio::runtime::Runtime>> {
        self.runtime.clone()
    }

    fn matches(&mut self, pattern: &str, text: &str) -> Result<bool> {
        self.engine.matches(pattern, text)
    }
}
