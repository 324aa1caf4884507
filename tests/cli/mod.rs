//! The command as a person meets it: argument lines in, exit codes and words out.

mod bad_input;
mod commands;
mod excerpts;
mod faults;
mod json_schema;
mod output;
mod runs;
mod sandbox;
mod scenarios;
mod servers;
mod skew;
mod support;
mod terminal;
mod tls;
mod verbs;
