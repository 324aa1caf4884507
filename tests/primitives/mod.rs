//! The verbs on a simulated cluster, called as a script calls them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod conflicts;
mod custom;
mod read;
mod revisions;
mod scale;
mod set_image;
mod support;
mod talk;
mod wait;
mod wait_rollout;
mod write;
