//! `now`: the time.

use super::cx::Cx;
use super::done::Done;
use crate::base::{Result, Timestamp};
use crate::primitive;

primitive! {
    /// Gives the time of the run, in UTC and whole seconds, as the API writes times: two of them compare as texts do.
    ///
    /// It is kept in the record: a step that is entered again gets the time that it got at first. In a simulated cluster and in a plan it is
    /// virtual.
    pub read fn now as Now() -> "string", "for example `2026-11-21T14:00:00Z`";
    since "0.1";
    example r#"annotate("node/w1", { ["example.com/begun"] = now() })"#;
    needs [];
}

impl Now {
    async fn run(self, cx: Cx) -> Result<Done> {
        let now = cx.now();
        let whole = Timestamp::from_second(now.as_second()).unwrap_or(now);
        Ok(Done::read(whole.to_string()))
    }
}
