//! `env`: what the operator's environment says.

use super::cx::Cx;
use super::done::Done;
use crate::base::{Error, Result, Value};
use crate::primitive;

primitive! {
    /// Gives an environment variable of the process that runs the runbook, or `nil`.
    ///
    /// It is kept in the record, so that it is no place for secrets: those are parameters of the type `secret`. What every run needs is
    /// better a parameter too: a plan shows it.
    pub read fn env as Env(
        /// The variable's name.
        name: String,
    ) -> "string?", "its value";
    since "0.1";
    example r#"local ticket = env("CHANGE_TICKET") or "none""#;
    needs [];
}

impl Env {
    async fn run(self, _: Cx) -> Result<Done> {
        if self.name.is_empty() || self.name.contains(['=', '\0']) {
            return Err(Error::usage(format!("`env`: `{}` cannot be the name of a variable", self.name.escape_debug())));
        }
        let value = std::env::var_os(&self.name).map(|value| value.to_string_lossy().into_owned());
        Ok(Done::read(value.map_or(Value::Nil, Value::from)))
    }
}
