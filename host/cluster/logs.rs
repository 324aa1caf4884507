//! What the containers of a pod have written, in part.

use super::client::{Cluster, Target};
use super::request::Verb;
use crate::base::{Result, Span};

/// Which part of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogPart {
    /// The container; may be left out where the pod has only one.
    pub container: Option<String>,
    /// The run before the present one.
    pub previous: bool,
    /// Only so many lines at the end.
    pub tail: Option<u32>,
    /// Only what is not older.
    pub since: Option<Span>,
    /// At most so many bytes, from the beginning of that part.
    pub limit: Option<u32>,
}

impl Cluster {
    /// Reads a part of a container's log, as far as it is written now.
    ///
    /// # Errors
    /// `not_found` for the pod, `invalid` for the container or a run that there is not, `unmodelled` where no model says what is in the
    /// log; else as [`Cluster::get`].
    pub async fn log(&self, pod: &Target, part: &LogPart) -> Result<String> {
        let mut call = self.call(Verb::Get, pod, Some("log"));
        call.about = format!("the log of {}", call.about);
        call.accept = "application/json, */*";
        let mut query = |name: &'static str, value: Option<String>| {
            if let Some(value) = value {
                call.query.push((name, value));
            }
        };
        query("container", part.container.clone());
        query("previous", part.previous.then(|| "true".to_owned()));
        query("tailLines", part.tail.map(|lines| lines.to_string()));
        // Whole seconds, as many as cover it: 0 would be an error.
        query("sinceSeconds", part.since.map(|since| since.as_millis().div_ceil(1000).max(1).to_string()));
        query("limitBytes", part.limit.map(|bytes| bytes.to_string()));
        self.wire().text(&call).await
    }
}
