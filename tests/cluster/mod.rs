//! The way to the cluster, from the outside.

mod asked;
mod controller;
mod defined;
mod exec;
mod faults;
mod follow;
mod honest;
mod lazy;
mod live;
mod overlay;
mod serve;
mod simulated;
mod support;
