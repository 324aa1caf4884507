//! L4: what happened, for people and machines, and everything that is generated from the table of verbs. Never decides anything;
//! the only place that prints.

pub mod catalogue;
pub mod check;
pub mod commands;
pub mod escape;
#[cfg(test)]
mod escape_tests;
pub mod excerpt;
pub mod explained;
mod given;
pub mod html;
pub mod json;
pub mod markup;
pub mod paint;
pub mod permissions;
pub mod planned;
mod planned_html;
pub mod rbac;
pub mod reference;
pub mod runs;
pub mod sandbox;
pub mod schema;
pub mod screen;
pub mod skew;
pub mod table;
pub mod trace;
pub mod transcript;

pub use paint::Paint;
pub use screen::Screen;
pub use transcript::Transcript;
