//! Runs with a journal: killed everywhere and resumed, stopped, changed underneath, taken back.

mod back;
mod harness;
mod kills;
mod lock;
