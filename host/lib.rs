//! lockgate: an embedded scripting host for Kubernetes upgrade runbooks.
//!
//! The layers in reading order; each uses those before it and none after it (`tests/layers.rs` checks that):
//!
//! 1. [`base`]: words everybody uses: references, versions, images, durations, errors, the clock.
//! 2. [`cluster`]: the one way to an API server, live or simulated. Nothing else opens a connection.
//! 3. [`primitives`]: the verbs of a runbook, one file each, in one ordered table that everything else derives from.
//! 4. [`run`] and [`lua`]: one run of one runbook, and the language it is written in. `run` does not know Lua: it defines the
//!    trait that `lua` implements.
//! 5. [`check`]: what is wrong with a script before it runs, without a cluster.
//! 6. [`report`]: what happened, for people and machines; and everything generated from the table of verbs.
//! 7. [`cli`]: one file a command; [`repl`]: the prompt.
//!
//! The simulated cluster is a crate of its own, `lockgate-sim`, beneath `cluster`; it imports nothing from here.
//! `host/README.md` follows one run from the command line to the API and back.

pub mod base;
pub mod check;
pub mod cli;
pub mod cluster;
pub mod lua;
pub mod primitives;
pub mod repl;
pub mod report;
pub mod run;
