//! The command as a person meets it: argument lines in, exit codes and words out.

mod bad_input;
mod commands;
mod elsewhere;
mod excerpts;
mod faults;
mod journals;
mod json_schema;
mod output;
mod permissions;
mod rbac;
mod runs;
mod sandbox;
mod scenarios;
mod secrets;
mod servers;
mod signals;
mod skew;
mod support;
mod terminal;
mod threats;
mod tls;
mod verbs;
