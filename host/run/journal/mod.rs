//! The journal of a run: what it will do before it does it, and what became of it. Append-only JSON lines in the run's folder, each
//! chained to the one before; `less` reads them.

pub mod book;
pub mod chain;
pub mod entry;
pub mod file;
pub mod folder;
pub mod io;
pub mod listed;
pub mod memory;
pub mod past;
pub mod pin;
pub mod read;
pub mod redact;
pub mod requests;
mod seal;
pub mod taken;
pub mod view;

pub use book::Book;
pub use entry::{Entry, Fact};
pub use file::Journal;
pub use folder::{Held, RunFolder, Runs};
pub use past::Past;
pub use pin::Pinned;
pub use read::{Read, read};
pub use redact::Redactor;
pub(in crate::run) use seal::Marks;
pub use taken::TakenBack;
pub use view::Story;

use crate::base::{Result, Timestamp};

/// Where facts are kept.
pub trait Keep {
    /// Adds a line; when this comes back, a fact that something rests on is on the disk. Gives its number.
    ///
    /// # Errors
    /// When it cannot be kept: then nothing that rests on it may be done.
    fn append(&self, at: Timestamp, fact: &Fact) -> Result<u64>;

    /// The hash of its last line, for others to notice when it was rewritten; `None` where lines are not chained.
    fn head(&self) -> Option<String> {
        None
    }
}
