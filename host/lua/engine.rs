//! One Lua state, made once per thread and used again for every load: limits, the words every file sees, protected calls.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::Arc;

use mlua::chunk::{ChunkMode, Compiler};
use mlua::{Function, Lua, LuaOptions, MultiValue, StdLib, Table, Value as LuaValue};

use super::error::{self, Raised};
use super::limits::{Brake, Limits};
use super::session::Session;
use super::{bind, convert, objects, sandbox, stack, words};
use crate::base::{Error, Result};

/// How many compiled texts a state keeps: more than a runbook has files.
const CODES: usize = 64;

/// A Lua state. Clones are the same state.
#[derive(Clone)]
pub struct Engine {
    lua: Lua,
    core: Rc<Core>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("memory", &self.lua.used_memory()).finish_non_exhaustive()
    }
}

/// What the functions that scripts call need to know. Holds no strong reference to the state that holds it.
pub(crate) struct Core {
    /// Limits and the stop.
    pub(crate) brake: Rc<Brake>,
    /// Values between Lua and the host.
    pub(crate) convert: convert::Converter,
    /// Error tables.
    pub(crate) errors: error::Errors,
    /// Objects with methods, such as those of scenarios.
    pub(crate) objects: objects::Objects,
    /// The words that every file sees.
    pub(crate) base: Table,
    /// What runs now.
    session: RefCell<Option<Rc<Session>>>,
    /// Source texts by file, for excerpts.
    texts: RefCell<HashMap<String, Arc<str>>>,
    /// What was compiled here last, by its text: the processes of a test load the same files again and again.
    codes: RefCell<HashMap<Arc<str>, Rc<[u8]>>>,
    /// Protected calls nested in each other.
    depth: Cell<usize>,
    /// What the handler of a protected call made of an error.
    caught: RefCell<Option<Error>>,
    /// A fault of lockgate itself in a function that a script called.
    fallen: RefCell<Option<Box<dyn Any + Send>>>,
    xpcall: Function,
    handler: RefCell<Option<Function>>,
}

/// A compiled file.
#[derive(Clone, Debug)]
pub(crate) struct Compiled {
    /// The file as people know it.
    pub(crate) file: String,
    code: Rc<[u8]>,
}

thread_local! {
    static OF_THREAD: RefCell<Option<Engine>> = const { RefCell::new(None) };
}

impl Engine {
    /// A new state with these limits.
    ///
    /// # Errors
    /// When the interpreter cannot be set up.
    pub fn new(limits: Limits) -> Result<Engine> {
        Self::build(limits).map_err(|error| Error::internal("starting Lua").cause(error.to_string()))
    }

    /// The state of this thread with the default limits, made at first use.
    ///
    /// # Errors
    /// When the interpreter cannot be set up.
    pub fn of_thread() -> Result<Engine> {
        if let Some(engine) = OF_THREAD.with_borrow(Clone::clone) {
            return Ok(engine);
        }
        let engine = Self::new(Limits::default())?;
        OF_THREAD.set(Some(engine.clone()));
        Ok(engine)
    }

    fn build(limits: Limits) -> mlua::Result<Engine> {
        let libraries = StdLib::COROUTINE | StdLib::TABLE | StdLib::STRING | StdLib::UTF8 | StdLib::MATH | StdLib::BUFFER;
        let lua = Lua::new_with(libraries | StdLib::BIT | StdLib::VECTOR, LuaOptions::new())?;
        lua.set_memory_limit(limits.memory)?;
        let brake = Brake::new(limits);
        let base = lua.create_table()?;
        let xpcall: Function = lua.globals().get("xpcall")?;
        let core = Rc::new(Core {
            brake: brake.clone(),
            convert: convert::Converter::new(&lua)?,
            errors: error::Errors::new(&lua)?,
            objects: objects::Objects::new(),
            base: base.clone(),
            session: RefCell::new(None),
            texts: RefCell::new(HashMap::new()),
            codes: RefCell::new(HashMap::new()),
            depth: Cell::new(0),
            caught: RefCell::new(None),
            fallen: RefCell::new(None),
            xpcall,
            handler: RefCell::new(None),
        });
        let host = sandbox::host_functions(&core, &lua)?;
        let prelude = lua.load(include_str!("prelude.luau")).set_name("=host").set_mode(ChunkMode::Text);
        let safe: Table = prelude.call(host)?;
        safe.for_each(|name: LuaValue, value: LuaValue| base.raw_set(name, value))?;
        words::add(&core, &lua, &base)?;
        bind::add(&core, &lua, &base)?;
        sandbox::close(&core, &lua, &base)?;
        *core.handler.borrow_mut() = Some(error::handler(&core, &lua)?);
        lua.set_interrupt(move |_| brake.turn());
        Ok(Engine { lua, core })
    }

    /// The state that this belongs to.
    pub(super) fn of(lua: &Lua, core: &Rc<Core>) -> Engine {
        Engine { lua: lua.clone(), core: core.clone() }
    }

    pub(crate) fn lua(&self) -> &Lua {
        &self.lua
    }

    pub(crate) fn core(&self) -> &Rc<Core> {
        &self.core
    }

    /// Compiles a source text; the bytecode can be loaded any number of times.
    pub(crate) fn compile(&self, file: &str, text: &Arc<str>) -> Result<Compiled> {
        let limit = self.core.brake.limits().source;
        if text.len() > limit {
            return Err(error::broken(format!("`{file}` is too large: {} bytes, at most {limit}", text.len())));
        }
        self.core.texts.borrow_mut().insert(file.to_owned(), text.clone());
        let known = self.core.codes.borrow().get(text).cloned();
        let code = match known {
            Some(code) => code,
            None => self.core.compiled(file, text)?,
        };
        Ok(Compiled { file: file.to_owned(), code })
    }

    /// Excerpts of this file show this text from now on.
    pub(crate) fn show_as(&self, file: &str, text: &str) {
        self.core.texts.borrow_mut().insert(file.to_owned(), text.into());
    }

    /// A function that runs a compiled file in this environment.
    pub(crate) fn instantiate(&self, compiled: &Compiled, environment: &Table) -> Result<Function> {
        self.lua
            .load(&*compiled.code)
            .set_name(format!("@{}", compiled.file))
            .set_mode(ChunkMode::Binary)
            .set_environment(environment.clone())
            .into_function()
            .map_err(|error| Error::internal(format!("loading `{}`", compiled.file)).cause(error.to_string()))
    }

    /// Calls a function as a piece of work of its own: with the full allowance, stopped by this switch.
    pub(crate) fn work(&self, session: &Rc<Session>, function: &Function, arguments: MultiValue) -> Result<MultiValue> {
        if self.core.depth.get() == 0 {
            self.core.brake.release(session.cancel());
        }
        let before = self.core.session.replace(Some(session.clone()));
        let result = self.core.protected(function, arguments);
        self.core.session.replace(before);
        if self.core.depth.get() == 0 && self.core.brake.halted() {
            self.recover();
        }
        result
    }

    /// After a stop: drops what the script left behind, so that the next one finds all its memory.
    fn recover(&self) {
        self.core.brake.release(None);
        // A second round frees what the first one found finalizable.
        for _ in 0..2 {
            if let Err(error) = self.lua.gc_collect() {
                tracing::warn!(%error, "collecting after a stop");
            }
        }
    }

    /// The names that every file sees, each with its members where it is a table.
    #[must_use]
    pub fn names(&self) -> BTreeMap<String, BTreeSet<String>> {
        sandbox::names(&self.core)
    }

    /// The error of a name that nobody knows, with what may have been meant.
    #[must_use]
    pub fn unknown(&self, name: &str) -> Error {
        sandbox::unknown(&self.core, name)
    }

    /// The error of a global that is set.
    #[must_use]
    pub fn assigned(&self, name: &str, function: bool) -> Error {
        sandbox::assigned(&self.core, name, function)
    }

    /// Bytes in use.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.lua.used_memory()
    }

    /// Whether the text is a chunk that more lines could complete.
    #[must_use]
    pub fn incomplete(&self, text: &str) -> bool {
        let compile = |text: &str| Compiler::new().compile(text);
        if text.len() > self.core.brake.limits().source || compile(&format!("return {text}")).is_ok() {
            return false;
        }
        matches!(compile(text), Err(mlua::Error::SyntaxError { incomplete_input: true, .. }))
    }

    /// Whether the whole text matches a Lua pattern.
    ///
    /// # Errors
    /// When the pattern is malformed.
    pub fn matches(&self, pattern: &str, text: &str) -> Result<bool> {
        let matching = || -> mlua::Result<bool> {
            let string: Table = self.lua.globals().get("string")?;
            let matched: Function = string.get("match")?;
            let found: MultiValue = matched.call((text, format!("^{pattern}$")))?;
            Ok(!matches!(found.front(), None | Some(LuaValue::Nil)))
        };
        self.core.brake.release(None);
        let result = matching();
        if self.core.brake.halted() {
            self.recover();
            return Err(error::broken(format!("the pattern `{pattern}` takes too long")));
        }
        result.map_err(|error| error::broken(format!("`{pattern}` is no Lua pattern")).cause(error::first_line(&error.to_string())))
    }
}

impl Core {
    /// What runs now.
    pub(crate) fn session(&self) -> Option<Rc<Session>> {
        self.session.borrow().clone()
    }

    /// Compiles a text, and keeps what comes of it.
    fn compiled(&self, file: &str, text: &Arc<str>) -> Result<Rc<[u8]>> {
        // The compiler takes a NUL for the end of the text.
        if text.contains('\0') {
            return Err(error::broken(format!("`{file}` is not a text file")).hint("a runbook is written in Luau"));
        }
        let code: Rc<[u8]> = Compiler::new().compile(text.as_bytes()).map_err(|error| error::syntax(file, text, &error))?.into();
        let mut codes = self.codes.borrow_mut();
        if codes.len() >= CODES {
            codes.clear();
        }
        codes.insert(text.clone(), code.clone());
        Ok(code)
    }

    /// The text of a file that was compiled here.
    pub(crate) fn text(&self, file: &str) -> Option<Arc<str>> {
        self.texts.borrow().get(file).cloned()
    }

    /// Calls a function and makes a host error of what it raises, with the places where it was raised.
    pub(crate) fn protected(&self, function: &Function, mut arguments: MultiValue) -> Result<MultiValue> {
        let Some(handler) = self.handler.borrow().clone() else {
            return Err(Error::internal("Lua is called before it is set up"));
        };
        arguments.push_front(LuaValue::Function(handler));
        arguments.push_front(LuaValue::Function(function.clone()));
        self.depth.set(self.depth.get() + 1);
        let outcome = self.xpcall.call::<MultiValue>(arguments);
        self.depth.set(self.depth.get() - 1);
        let caught = self.caught.borrow_mut().take();
        if let Some(thrown) = self.fallen.borrow_mut().take() {
            resume_unwind(thrown);
        }
        match outcome {
            Ok(mut values) => match values.pop_front() {
                Some(LuaValue::Boolean(true)) if !self.brake.halted() => Ok(values),
                _ => Err(self.outcome(caught, "an error while an error was handled")),
            },
            Err(error) => {
                self.notice(&error);
                Err(self.outcome(caught, &error.to_string()))
            }
        }
    }

    /// The error of a protected call: the stop when there was one, else what the handler saw.
    fn outcome(&self, caught: Option<Error>, otherwise: &str) -> Error {
        match (self.brake.why(), caught) {
            (Some(mut why), Some(caught)) if why.places.is_empty() => {
                why.places.clone_from(&caught.places);
                why
            }
            (Some(why), _) => why,
            (None, Some(caught)) => caught,
            (None, None) => error::broken(error::first_line(otherwise)),
        }
    }

    /// Keeps what the handler of a protected call made of an error.
    pub(crate) fn keep(&self, error: Error) {
        *self.caught.borrow_mut() = Some(error);
    }

    /// Stops the script when this error is one that ends it: out of memory, or too deep.
    pub(crate) fn notice(&self, error: &mlua::Error) {
        match error {
            mlua::Error::MemoryError(_) => self.brake.halt(self.brake.out_of_memory()),
            mlua::Error::RuntimeError(text) => self.notice_text(text),
            mlua::Error::CallbackError { cause, .. } => self.notice(cause),
            _ => {}
        }
    }

    /// The same for an error that is a text. Only the interpreter itself raises texts: `error` is ours.
    pub(crate) fn notice_text(&self, text: &str) {
        let line = text.lines().next().unwrap_or_default();
        if line.ends_with("not enough memory") {
            self.brake.halt(self.brake.out_of_memory());
        } else if line.ends_with("stack overflow") || line.ends_with("error in error handling") {
            self.brake.halt(Brake::too_deep());
        }
    }

    /// A function for scripts. What it raises carries the places of the call; `name` is the word that the caret points at.
    pub(crate) fn function<F>(self: &Rc<Self>, lua: &Lua, name: &str, work: F) -> mlua::Result<Function>
    where
        F: Fn(&Rc<Core>, &Lua, MultiValue) -> Result<MultiValue> + 'static,
    {
        let core = self.clone();
        let name = name.to_owned();
        lua.create_function(move |lua, arguments: MultiValue| {
            if core.brake.halted() {
                return Err(mlua::Error::external(super::limits::Halt));
            }
            // A fault of ours is none of the script: it may not catch it, and nothing is told or kept of it. It goes on beyond the script.
            match catch_unwind(AssertUnwindSafe(|| work(&core, lua, arguments))) {
                Ok(done) => done.map_err(|error| core.raised(lua, &name, error)),
                Err(thrown) => {
                    *core.fallen.borrow_mut() = Some(thrown);
                    core.brake.halt(Error::internal("a fault of lockgate itself"));
                    Err(mlua::Error::external(super::limits::Halt))
                }
            }
        })
    }

    /// The error as it travels through the interpreter, with the places of the call now running.
    pub(crate) fn raised(&self, lua: &Lua, name: &str, mut error: Error) -> mlua::Error {
        if error.places.is_empty() {
            error.places = stack::places(self, lua, Some(name));
        }
        mlua::Error::external(Raised(error))
    }
}
