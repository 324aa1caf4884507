//! `random`: a number that nobody chose.

use super::cx::Cx;
use super::done::Done;
use crate::base::{Error, Result, Value};
use crate::primitive;

primitive! {
    /// Gives a whole number from 1 to `n`, each as likely as the others.
    ///
    /// It is kept in the record: a step that is entered again gets the number that it got at first. In a simulated run the numbers follow from
    /// its seed. Not for secrets.
    pub read fn random as Random(
        /// The largest number.
        n: u32,
    ) -> "number", "from 1 to `n`";
    since "0.1";
    example r#"local first = nodes[random(#nodes)]"#;
    needs [];
}

impl Random {
    async fn run(self, cx: Cx) -> Result<Done> {
        if self.n == 0 {
            return Err(Error::usage("`random`: argument `n` is 0: there is no number from 1 to 0"));
        }
        Ok(Done::read(Value::Json((cx.cluster.draw() % u64::from(self.n) + 1).into())))
    }
}
