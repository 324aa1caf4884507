//! The way to the cluster, from the outside.

mod faults;
mod follow;
mod live;
mod overlay;
mod simulated;
mod support;
