//! `cordon`, `uncordon`, `drain` and `drain_plan`.

pub(crate) mod given;
pub(crate) mod situations;

mod budgets;
mod cordon;
mod hazards;
mod invariants;
mod nodes;
mod support;
mod table;
