//! `note`: a word to the operator.

use super::cx::Cx;
use super::done::Done;
use crate::base::{Result, Value};
use crate::primitive;

primitive! {
    /// Tells the operator something, and keeps it in the record of the run. `print` does the same with all its arguments.
    pub tell fn note as Note(
        /// What to say.
        text: String,
    ) -> "()", "nothing";
    since "0.1";
    example r#"note("While the agent of a node is replaced, pods that start there get no address.")"#;
    needs [];
}

impl Note {
    async fn run(self, cx: Cx) -> Result<Done> {
        cx.talk.note(&self.text);
        Ok(Done::read(Value::Nil))
    }
}
