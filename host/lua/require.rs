//! `require`: beside the file that asks, then the folders of `--modules`, then the standard library in the binary.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use include_dir::Dir;
use mlua::{Function, Lua, MultiValue, Table, Value as LuaValue};

use super::engine::{Compiled, Core, Engine};
use super::error::{broken, fault, one};
use super::{sandbox, stack};
use crate::base::{Error, Result, did_you_mean};
use crate::run::source::Beside;

/// The standard library shipped in the binary.
pub static STDLIB: Dir<'static> = include_dir::include_dir!("$CARGO_MANIFEST_DIR/stdlib");

/// The endings of module files, in the order they are looked for.
const ENDINGS: &[&str] = &["luau", "lua"];

/// Where modules come from.
#[derive(Clone, Debug, Default)]
pub struct Shelves {
    /// Folders given by `--modules`.
    pub folders: Vec<PathBuf>,
}

/// A module that was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// The file as people know it; modules are told apart by it.
    pub label: String,
    /// Its text.
    pub text: String,
    /// What is beside it.
    pub beside: Beside,
}

impl Shelves {
    /// The module of that name, for a file with these neighbours.
    ///
    /// # Errors
    /// A name that no module can have, one that nobody has, or a file that cannot be read.
    pub fn find(&self, beside: &Beside, name: &str) -> Result<Found> {
        check_name(name)?;
        let mut places = vec![beside.clone()];
        places.extend(self.folders.iter().cloned().map(Beside::Disk));
        places.push(Beside::Bundled(&STDLIB));
        for place in &places {
            for ending in ENDINGS {
                let relative = format!("{name}.{ending}");
                if let Some(text) = place.read(&relative)? {
                    let label = match place {
                        Beside::Bundled(dir) if dir.path() == STDLIB.path() => format!("stdlib/{relative}"),
                        _ => place.label(&relative),
                    };
                    return Ok(Found { label, text, beside: place.clone() });
                }
            }
        }
        let error = broken(format!("there is no module `{name}`"));
        let standard = standard_modules();
        Err(match did_you_mean(name, standard.iter().map(String::as_str)) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error.hint("modules are looked for beside the file, in the folders of `--modules`, and in the standard library"),
        })
    }
}

/// The modules of one load of one runbook, and the compiled ones of all its loads.
pub(crate) struct Modules {
    engine: Engine,
    shelves: Shelves,
    compiled: Rc<RefCell<HashMap<String, Compiled>>>,
    /// What each module returned in this load.
    loaded: RefCell<HashMap<String, LuaValue>>,
    /// The modules being loaded, outermost first.
    loading: RefCell<Vec<String>>,
}

/// Compiled modules, kept over the loads of one runbook.
pub(crate) type Cache = Rc<RefCell<HashMap<String, Compiled>>>;

impl Modules {
    pub(crate) fn new(engine: &Engine, shelves: &Shelves, compiled: &Cache) -> Rc<Modules> {
        Rc::new(Modules {
            engine: engine.clone(),
            shelves: shelves.clone(),
            compiled: compiled.clone(),
            loaded: RefCell::new(HashMap::new()),
            loading: RefCell::new(Vec::new()),
        })
    }

    /// Forgets what was loaded: the values hold their Lua state.
    pub(crate) fn clear(&self) {
        self.loaded.borrow_mut().clear();
    }

    /// The function `require` of a file with these neighbours.
    pub(crate) fn require(self: &Rc<Self>, core: &Rc<Core>, lua: &Lua, beside: Beside) -> mlua::Result<Function> {
        let modules = Rc::downgrade(self);
        core.function(lua, "require", move |core, lua, arguments| {
            let modules = modules.upgrade().ok_or_else(|| broken("`require` is called after its file was left"))?;
            let Some(LuaValue::String(name)) = arguments.front() else {
                return Err(broken("`require` needs the name of a module").hint("write `local nodes = require \"nodes\"`"));
            };
            one(modules.load(core, lua, &beside, &name.to_string_lossy())?)
        })
    }

    fn load(self: &Rc<Self>, core: &Rc<Core>, lua: &Lua, beside: &Beside, name: &str) -> Result<LuaValue> {
        let found = self.shelves.find(beside, name)?;
        if let Some(value) = self.loaded.borrow().get(&found.label) {
            return Ok(value.clone());
        }
        if let Some(at) = self.loading.borrow().iter().position(|label| *label == found.label) {
            let mut way: Vec<String> = self.loading.borrow().iter().skip(at).map(|label| format!("`{label}`")).collect();
            way.push(format!("`{}`", found.label));
            return Err(broken(format!("module `{name}` requires itself")).cause(way.join(" requires ")));
        }
        if self.loading.borrow().len() >= 32 {
            return Err(broken(format!("module `{name}` is required too deeply")));
        }
        let function = self.instantiate(core, lua, &found)?;
        self.loading.borrow_mut().push(found.label.clone());
        let returned = function.call::<MultiValue>(());
        self.loading.borrow_mut().pop();
        // The error keeps the module's own place; the call of `require` is one of its callers.
        let mut returned = returned.map_err(|error| self.failed(core, lua, error))?;
        let value = returned.pop_front().unwrap_or(LuaValue::Nil);
        if matches!(value, LuaValue::Nil) || !returned.is_empty() {
            return Err(broken(format!("module `{}` must return one value", found.label)).hint("end it with `return { … }`"));
        }
        self.loaded.borrow_mut().insert(found.label, value.clone());
        Ok(value)
    }

    /// The error of a module's own code, with the call of `require` behind its places.
    fn failed(&self, core: &Core, lua: &Lua, error: mlua::Error) -> Error {
        core.notice(&error);
        let mut error = core.read_error(lua, &LuaValue::Error(Box::new(error)));
        for place in stack::places(core, lua, Some("require")) {
            let known = error.places.iter().any(|other| other.file == place.file && other.line == place.line);
            if !known {
                error.places.push(place);
            }
        }
        error
    }

    fn instantiate(self: &Rc<Self>, core: &Rc<Core>, lua: &Lua, found: &Found) -> Result<Function> {
        let known = self.compiled.borrow().get(&found.label).cloned();
        let compiled = match known {
            Some(compiled) => compiled,
            None => {
                let text: Arc<str> = found.text.as_str().into();
                super::requires::check(&found.label, &text)?;
                let compiled = self.engine.compile(&found.label, &text)?;
                self.compiled.borrow_mut().insert(found.label.clone(), compiled.clone());
                compiled
            }
        };
        let words: mlua::Result<Table> = (|| {
            let words = lua.create_table()?;
            words.raw_set("require", self.require(core, lua, found.beside.clone())?)?;
            sandbox::environment(core, lua, &words)
        })();
        self.engine.instantiate(&compiled, &words.map_err(fault)?)
    }
}

/// The modules of the standard library, by name.
#[must_use]
pub fn standard_modules() -> Vec<String> {
    let mut names: Vec<String> = STDLIB
        .files()
        .filter(|file| file.path().extension().is_some_and(|ending| ENDINGS.iter().any(|known| ending == *known)))
        .filter_map(|file| file.path().file_stem().map(|name| name.to_string_lossy().into_owned()))
        .filter(|name| !name.ends_with("_test"))
        .collect();
    names.sort();
    names
}

/// `nodes`, `vendor/checks`: no way up, no absolute path, no ending.
fn check_name(name: &str) -> Result<()> {
    let part = |part: &str| {
        !part.is_empty() && part.chars().all(|character| character.is_ascii_alphanumeric() || character == '_' || character == '-')
    };
    if name.split('/').all(part) {
        return Ok(());
    }
    let error = broken(format!("`{name}` cannot be the name of a module"));
    let bare = name.strip_prefix("./").or(name.strip_prefix("@self/")).unwrap_or(name);
    let plain = bare.strip_suffix(".luau").or(bare.strip_suffix(".lua")).unwrap_or(bare);
    Err(match plain.split('/').all(part) {
        true => error.hint(format!("write `require(\"{plain}\")`: it is looked for beside the file first")),
        false => error.hint("a name has letters, digits, `_`, `-` and `/`"),
    })
}
