//! The simulated API server, as a client sees it.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that fails panics")]

mod access;
mod answers;
mod apply;
mod crd;
mod data;
mod deletion;
mod discovery;
mod eviction;
mod faults;
mod fuzz;
mod garbage;
mod lifecycles;
mod lists;
mod objects;
mod openapi;
mod overlay;
mod patches;
mod pods;
mod protobuf;
mod recorded;
mod replay;
mod server;
mod streams;
mod strict;
mod support;
mod table;
mod tokens;
mod watches;
mod workloads;
