//! `confirm`: the operator's consent.

use super::cx::Cx;
use super::done::Done;
use crate::base::{Error, Result};
use crate::primitive;

primitive! {
    /// Asks the operator for consent and goes on after a yes. After a no the run is parked.
    ///
    /// A plan lists the question and goes on as after a yes; what the plan has shown and the operator accepted is not asked again.
    pub ask fn confirm as Confirm(
        /// The question: what will be done, and what it means for those who use the cluster.
        question: String,
    ) -> "boolean", "`true`; a no does not come back";
    since "0.1";
    example r#"confirm("A new ipam pod waits for a port that an old one holds. Scale ipam to 0 and back?")"#;
    needs [];
}

impl Confirm {
    async fn run(self, cx: Cx) -> Result<Done> {
        if self.question.trim().is_empty() {
            return Err(Error::usage("`confirm`: the question is empty"));
        }
        cx.talk.confirm(&self.question).await?;
        Ok(Done::read(true))
    }
}
