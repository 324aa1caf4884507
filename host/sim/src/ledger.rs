//! What came of requests: one entry for each that changed the store. Tests count effects here, not in what a client believes.

use jiff::Timestamp;

use crate::api::Call;
use crate::request::Request;

/// A request that changed the store, or ran a command in a container. One that was refused, lost on its way, or asked for what was there
/// already is not among them; nor is what controllers write by themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    /// When.
    pub at: Timestamp,
    /// The client's `User-Agent`.
    pub by: String,
    /// The verb: `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub verb: &'static str,
    /// What was written: `deployment/shop/web`, with its subresource where there is one.
    pub subject: String,
    /// The store's version after it.
    pub version: u64,
    /// The words of a command in a container, one space between them; empty for everything else.
    pub command: String,
}

impl Effect {
    pub(crate) fn of(call: &Call, request: &Request, at: Timestamp, version: u64) -> Effect {
        let words = request.query.iter().filter(|(name, _)| name == "command").map(|(_, word)| word.as_str());
        let command = words.collect::<Vec<_>>().join(" ");
        Effect { at, by: request.user_agent.clone(), verb: call.verb.as_str(), subject: call.subject(), version, command }
    }
}
