//! Lua at the prompt: one line after the other in one environment that keeps what is assigned.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use mlua::{MultiValue, Table, Value as LuaValue};

use super::engine::Engine;
use super::error::{fault, kind};
use super::require::{Modules, Shelves};
use super::sandbox;
use super::session::{Mode, Session};
use crate::base::{Result, Value};
use crate::run::source::Beside;
use crate::run::{Params, Scene};

/// The file that errors of a line name.
const FILE: &str = "prompt";

/// What became of a line.
#[derive(Clone, Debug, PartialEq)]
pub enum Evaluated {
    /// It ran and gave these values.
    Values(Vec<Value>),
    /// It is the beginning of something: more lines are needed.
    Incomplete,
}

/// A session at the prompt.
pub struct Prompt {
    engine: Engine,
    session: Rc<Session>,
    environment: Table,
    params: Table,
    #[expect(dead_code, reason = "`require` at the prompt finds its modules here")]
    modules: Rc<Modules>,
}

impl std::fmt::Debug for Prompt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prompt").finish_non_exhaustive()
    }
}

impl Prompt {
    /// A session whose verbs act on the scene's cluster; `require` looks in these folders first.
    ///
    /// # Errors
    /// When the interpreter refuses.
    pub fn new(engine: &Engine, runtime: Rc<tokio::runtime::Runtime>, scene: Scene, folders: Vec<PathBuf>) -> Result<Prompt> {
        let (lua, core) = (engine.lua(), engine.core());
        let session = Session::new(Mode::Prompt, Some(runtime));
        let modules = Modules::new(engine, &Shelves { folders }, &Rc::new(RefCell::new(HashMap::new())));
        let (environment, params) = (|| {
            let words = lua.create_table()?;
            words.raw_set("require", modules.require(core, lua, Beside::Nothing)?)?;
            let (params, state) = (lua.create_table()?, lua.create_table()?);
            for (name, value) in scene.params.iter() {
                params.raw_set(name.as_str(), core.convert.write(lua, value, false)?)?;
            }
            for (name, value) in &scene.state {
                state.raw_set(name.as_str(), core.convert.write(lua, value, false)?)?;
            }
            words.raw_set("params", &params)?;
            words.raw_set("state", state)?;
            Ok((sandbox::session_environment(core, lua, &words)?, params))
        })()
        .map_err(fault)?;
        session.set_scene(Some(scene));
        Ok(Prompt { engine: engine.clone(), session, environment, params, modules })
    }

    /// Goes on with another scene, for example another cluster or namespace; names that were assigned stay.
    pub fn set_scene(&self, scene: Scene) {
        self.session.set_scene(Some(scene));
    }

    /// `params` are these from now on.
    ///
    /// # Errors
    /// When the interpreter refuses.
    pub fn set_params(&self, params: &Params) -> Result<()> {
        let (lua, core) = (self.engine.lua(), self.engine.core());
        self.params.clear().map_err(fault)?;
        for (name, value) in params {
            self.params.raw_set(name.as_str(), core.convert.write(lua, value, false).map_err(fault)?).map_err(fault)?;
        }
        Ok(())
    }

    /// Whether more lines are needed.
    #[must_use]
    pub fn incomplete(&self, text: &str) -> bool {
        self.engine.incomplete(text)
    }

    /// Runs a line: an expression gives its values, a statement none.
    ///
    /// # Errors
    /// What is wrong with the line, or what it raised; the session goes on.
    pub fn eval(&self, text: &str) -> Result<Evaluated> {
        if self.incomplete(text) {
            return Ok(Evaluated::Incomplete);
        }
        let as_value: Arc<str> = format!("return {text}").into();
        let compiled = match self.engine.compile(FILE, &as_value) {
            Ok(compiled) => {
                // Errors show the line as it was typed.
                self.engine.show_as(FILE, text);
                compiled
            }
            Err(_) => self.engine.compile(FILE, &text.into())?,
        };
        let chunk = self.engine.instantiate(&compiled, &self.environment)?;
        let returned = self.engine.work(&self.session, &chunk, MultiValue::new())?;
        Ok(Evaluated::Values(returned.iter().map(|value| self.shown(value)).collect()))
    }

    /// A value for display; what is no data is shown by its kind.
    fn shown(&self, value: &LuaValue) -> Value {
        match self.engine.core().convert.read(self.engine.lua(), value) {
            Ok(value) => value,
            Err(error) => Value::from(format!("({} that {})", kind(value), error.message)),
        }
    }

    /// The names that were assigned, sorted.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> =
            self.environment.pairs::<String, LuaValue>().filter_map(|pair| pair.ok().map(|(name, _)| name)).collect();
        names.sort();
        names
    }

    /// The fields of the table that was assigned to this name, sorted, for completion.
    #[must_use]
    pub fn fields(&self, name: &str) -> Vec<String> {
        let Ok(LuaValue::Table(table)) = self.environment.raw_get::<LuaValue>(name) else { return Vec::new() };
        let mut names: Vec<String> = table
            .pairs::<LuaValue, LuaValue>()
            .filter_map(|pair| pair.ok())
            .filter_map(|(key, _)| match key {
                LuaValue::String(key) => Some(key.to_string_lossy()),
                _ => None,
            })
            .collect();
        names.sort();
        names
    }
}
