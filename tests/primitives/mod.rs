//! The verbs on a simulated cluster, called as a script calls them.

mod read;
mod revisions;
mod scale;
mod set_image;
mod support;
mod talk;
mod wait;
mod wait_rollout;
mod write;
