//! The language of runbooks: sandbox, values, errors, declarations, modules, limits.

mod convert;
mod declarations;
mod errors;
mod hostile;
mod modules;
mod prompt;
mod sandbox;
mod scenarios;
mod support;
mod values;
mod verbs;
