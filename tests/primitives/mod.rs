//! The verbs on a simulated cluster, called as a script calls them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod apply;
mod conflicts;
mod containers;
mod counts;
mod custom;
mod drain;
mod edits;
mod examples;
mod exec;
mod faults;
mod foreign;
pub(crate) mod helm;
#[path = "../support/kept.rs"]
mod kept;
mod led;
mod lifecycle;
pub(crate) mod machine;
mod planned;
mod read;
mod resumed;
mod revisions;
mod scale;
mod set_image;
mod skew;
mod support;
mod talk;
mod wait;
mod wait_rollout;
mod write;
