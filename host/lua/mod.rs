//! L3: the language of runbooks. Luau in a sandbox, the verbs of the registry as its functions, declarations as plain data.
//!
//! In reading order: [`Engine`] is one Lua state with its limits; [`LuaHost`] loads a runbook and calls its functions
//! ([`crate::run::Script`]); [`Prompt`] runs lines; [`TestFile`] loads scenarios. `mlua` is imported nowhere else but at the prompt.

mod bind;
mod convert;
pub mod declarations;
mod declare;
mod engine;
mod error;
mod fields;
mod host;
mod lane;
mod limits;
mod objects;
mod permissions;
mod prompt;
mod require;
mod requires;
mod sandbox;
mod session;
mod stack;
mod steps;
mod testfile;
pub mod types;
mod values;
mod words;
mod worker;

pub use engine::Engine;
pub use host::LuaHost;
pub use limits::Limits;
pub use objects::{Given, Method, Methods};
pub use prompt::{Evaluated, Prompt};
pub use require::{Found, STDLIB, Shelves, standard_modules};
pub(crate) use session::{in_scenario, may_call, out_of_place, read_while_loading, while_loading};
pub use testfile::{ABSENT, Field, RawScenario, TestFile, TestFunction};
pub use words::WORDS;
