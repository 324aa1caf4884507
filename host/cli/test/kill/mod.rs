//! Runs that are killed: a process that dies at a moment, what it leaves on its disk and in its cluster, and everywhere that it could have
//! died. `lockgate test` kills the scenarios of runbooks with this, and the tests of lockgate itself everything else.
//!
//! A run that nobody stops is *watched*: at each line of its journal, at each of its requests and in the middle of its waits the cluster is
//! kept as it is ([`Moment`]). From a moment each world can be made in which a killed process leaves it ([`Point`]), without the process that
//! died. Whoever wants to see it die as well kills it ([`Kill`]): the world is the same.

mod deeds;
mod disk;
mod invariants;
mod point;
mod process;
mod report;
mod trace;
mod world;

pub use self::deeds::{Deeds, full_name, pardoned};
pub use self::disk::{Disk, Kill, Wrote};
pub use self::invariants::{Broken, broken, looked_at};
pub use self::point::{At, Does, LATE, Moment, Point, Seen, points};
pub use self::process::{Lived, Process, process};
pub use self::report::lies;
pub use self::trace::{Of, Trace};
pub use self::world::{SOMEBODY, World, is_ours};
