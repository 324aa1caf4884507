//! `ask`: a text from the operator.

use super::cx::{AskOptions, Cx};
use super::done::Done;
use super::registry::list;
use crate::base::{Error, Result, did_you_mean};
use crate::primitive;

primitive! {
    /// Asks the operator for a text.
    ///
    /// A plan takes the default, which is then an assumption; without one what follows is unknown.
    pub ask fn ask as Ask(
        /// The question.
        question: String,
    ) options {
        /// The answers allowed; any text when left out.
        choices: Option<Vec<String>>,
        /// The answer when the operator just presses Enter.
        default: Option<String>,
    } -> "string", "the answer";
    since "0.1";
    example r#"local replicas = tonumber(ask("ipam is scaled to 0 and nobody noted its size. How many replicas shall it have?"))"#;
    needs [];
}

impl Ask {
    async fn run(self, cx: Cx) -> Result<Done> {
        if self.question.trim().is_empty() {
            return Err(Error::usage("`ask`: the question is empty"));
        }
        let options = AskOptions { choices: self.choices.unwrap_or_default(), default: self.default };
        if let Some(default) = &options.default
            && !options.choices.is_empty()
            && !options.choices.contains(default)
        {
            let choices = || options.choices.iter().map(String::as_str);
            let error = Error::usage(format!("`ask`: the default `{default}` is not among the choices {}", list(choices())));
            return Err(match did_you_mean(default, choices()) {
                Some(near) => error.hint(format!("did you mean `{near}`?")),
                None => error,
            });
        }
        Ok(Done::read(cx.talk.ask(&self.question, &options).await?))
    }
}
