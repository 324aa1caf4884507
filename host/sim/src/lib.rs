//! A deterministic simulated Kubernetes cluster.
//!
//! [`Cluster::handle`](cluster::Cluster::handle) answers the requests that a client sends to an API server; controllers, a
//! scheduler and kubelets carry on what was written, in virtual time. There is no IO, no thread and no wall clock in here:
//! Equal seed and equal requests give equal answers, byte by byte.
//!
//! What is not modelled is refused by name with a `501` (see [`kinds`]); it is never guessed.

mod access;
mod api;
mod apply;
pub mod base64;
pub mod cluster;
mod commands;
mod controllers;
mod crd;
pub mod defaults;
mod engine;
pub mod eviction;
pub mod faults;
pub mod fixture;
pub mod gaps;
mod gc;
pub mod generate;
mod hash;
pub mod json;
pub mod kinds;
mod kubelet;
pub mod ledger;
mod lifecycle;
pub mod machines;
pub mod model;
mod openapi;
pub mod patch;
pub mod quantity;
pub mod request;
pub mod rng;
mod rules;
mod scheduler;
mod schema;
pub mod selector;
mod stages;
pub mod status;
pub mod store;
mod unmodelled;
mod upkeep;
pub mod validate;
mod view;
mod watch;
mod wire;

pub use crate::api::exec::{Exec, Ran};
pub use crate::api::log::{LogFollow, LogPoll};
pub use crate::cluster::{CONTROLLERS, Cluster, Options};
pub use crate::crd::ever_defined;
pub use crate::engine::{Part, Scope};
pub use crate::request::{Body, Method, Request, Response, User, WatchId};
pub use crate::rules::RULES;
pub use crate::scheduler::reduced;
pub use crate::store::{Change, Key, Store};
pub use crate::watch::WatchPoll;
pub use crate::wire::read_document as document;

/// The code of the README is a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
