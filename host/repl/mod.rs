//! L5: the prompt. The editor (rustyline) has a thread of its own; the session owns Lua and a copy of the cluster.

mod commands;
mod commit;
mod complete;
mod editor;
mod live;
mod loaded;
mod net;
mod pending;
mod reporter;
mod save;
mod session;
mod show;

pub use live::Recorder;
pub use session::{Setting, run};
