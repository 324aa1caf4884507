//! L2: the verbs. One file each and one line in [`ALL`]; no Lua, no printing, no journal.

pub mod cx;
pub mod done;
pub mod macros;
pub mod registry;
pub mod types;

pub use cx::{AskOptions, Cx, Progress, Talk};
pub use done::{Done, Inverse, Wrote};
pub use registry::{Arg, Arguments, Callback, Definition, Effect, Param};

/// Every verb, in the order of the reference.
pub static ALL: &[&Definition] = &[];

/// The verb of that name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Definition> {
    ALL.iter().copied().find(|definition| definition.name == name)
}
