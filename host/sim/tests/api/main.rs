//! The simulated API server, as a client sees it.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that fails panics")]

mod deletion;
mod faults;
mod garbage;
mod lists;
mod objects;
mod overlay;
mod patches;
mod recorded;
mod server;
mod support;
mod watches;
