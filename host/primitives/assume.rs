//! `assume`: what a plan may take for granted where nobody models it.

use std::rc::Rc;

use super::cx::Cx;
use super::done::Done;
use super::registry::{Arg, Callback};
use super::types::{ArgType, Type, mismatch};
use crate::base::{Error, Reason, Result, Value};
use crate::primitive;

/// Any value, `nil` too.
#[derive(Clone, Debug, PartialEq)]
pub struct Anything(pub Value);

impl ArgType for Anything {
    const TYPE: Type = Type::new("any", "any value but a function");
    fn from_arg(arg: Arg) -> Result<Self> {
        match arg {
            Arg::Value(value) => Ok(Anything(value)),
            Arg::Function(_) => Err(mismatch::<Self>(&arg)),
        }
    }
}

primitive! {
    /// Calls a function; where a plan meets something in it that nobody models, the value is taken in its place.
    ///
    /// A plan that took such a value says so in its list of assumptions and ends with exit code 3. In a run the function's own result counts,
    /// and its errors are errors. Any other error of the function is raised in a plan too.
    pub read fn assume as Assume(
        /// What is called, without arguments.
        function: Rc<dyn Callback>,
        /// What a plan takes for its result.
        value: Anything,
        /// Why this can be assumed, in a sentence.
        why: String,
    ) -> "any", "the function's result, or the value";
    since "0.1";
    example r#"local pools = assume(function() return exec("pod/calicoctl", { "calicoctl", "get", "ippools" }).stdout end, "", "a plan runs no commands")"#;
    needs [];
}

impl Assume {
    async fn run(self, cx: Cx) -> Result<Done> {
        if self.why.trim().is_empty() {
            return Err(Error::usage("`assume`: argument `why` is empty").hint("say in a sentence why it can be assumed"));
        }
        match self.function.invoke(Vec::new()).await {
            Ok(values) => Ok(Done::read(values.into_iter().next().unwrap_or(Value::Nil))),
            Err(error) if error.reason == Reason::Unmodelled && cx.cluster.label().plan => {
                let Anything(value) = self.value;
                let shown = match &value {
                    Value::Nil => "nothing".to_owned(),
                    other => other.clone().into_json().to_string(),
                };
                cx.talk.assume(&format!("{shown} ({})", self.why.trim()), Some(&error));
                Ok(Done::read(value))
            }
            Err(error) => Err(error),
        }
    }
}
