//! Runs with a journal: killed everywhere and resumed, stopped, changed underneath, taken back.

mod again;
mod back;
mod batches;
mod cce;
pub(crate) mod count;
mod double;
mod harness;
mod incidents;
mod kill;
mod kills;
mod kinds;
mod lock;
mod panics;
mod proves;
mod seeds;
mod taken;
