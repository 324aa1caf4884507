//! The API server's own record of who asked what.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use super::Outcome;

/// One request as the server recorded it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// get, list, watch, create, update, patch, delete, …
    pub(crate) verb: String,
    /// Path and query.
    pub(crate) uri: String,
    /// Who asked.
    pub(crate) user: String,
    /// How the client calls itself.
    pub(crate) user_agent: String,
    /// HTTP status of the answer.
    pub(crate) code: u64,
    /// `deployments`, `daemonsets/status`, …; empty for paths that are no resources.
    pub(crate) resource: String,
    /// What was sent, where it is recorded.
    pub(crate) body: Option<Value>,
    /// When the server received it, microseconds since the epoch.
    pub(crate) received: i64,
    /// When the answer began (watches) or was complete, microseconds since the epoch.
    pub(crate) answered: i64,
}

impl Request {
    /// Whether it can change nothing: it reads, or asks what would be.
    pub(crate) fn is_read(&self) -> bool {
        matches!(self.verb.as_str(), "get" | "list" | "watch") || self.is_question()
    }

    /// Whether a connection is opened by it, a program acts, or a token is made: nothing that a dry run could stand for.
    pub(crate) fn acts(&self) -> bool {
        ["/exec", "/attach", "/portforward", "/proxy", "/token", "/binding"].iter().any(|part| self.resource.ends_with(part))
    }

    /// Whether it asks what the server would say about a write, or what somebody may do.
    pub(crate) fn is_question(&self) -> bool {
        self.uri.contains("dryRun=All") || self.uri.ends_with("/selfsubjectaccessreviews")
    }
}

/// Reads a log: one entry per request, in the order in which they were answered.
///
/// # Errors
/// The file cannot be read or a complete line is not an audit event.
pub(crate) fn read(path: &Path) -> Outcome<Vec<Request>> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("reading {}: {error}", path.display()))?;
    let mut seen = BTreeSet::new();
    let mut requests = Vec::new();
    // The last line may still be being written.
    let complete = text.rfind('\n').map_or("", |end| &text[..end]);
    for line in complete.lines() {
        let event: Value = serde_json::from_str(line).map_err(|error| format!("audit event {line}: {error}"))?;
        // A watch is recorded when it starts and again when it ends.
        if seen.insert(text_at(&event, "/auditID")) {
            requests.push(request(&event)?);
        }
    }
    Ok(requests)
}

fn request(event: &Value) -> Outcome<Request> {
    let resource = text_at(event, "/objectRef/resource");
    let subresource = text_at(event, "/objectRef/subresource");
    Ok(Request {
        verb: text_at(event, "/verb"),
        uri: text_at(event, "/requestURI"),
        user: text_at(event, "/user/username"),
        user_agent: text_at(event, "/userAgent"),
        code: event.pointer("/responseStatus/code").and_then(Value::as_u64).unwrap_or(0),
        resource: if subresource.is_empty() { resource } else { format!("{resource}/{subresource}") },
        body: event.pointer("/requestObject").cloned(),
        received: time_at(event, "/requestReceivedTimestamp")?,
        answered: time_at(event, "/stageTimestamp")?,
    })
}

fn text_at(event: &Value, pointer: &str) -> String {
    event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn time_at(event: &Value, pointer: &str) -> Outcome<i64> {
    let text = text_at(event, pointer);
    let time: jiff::Timestamp = text.parse().map_err(|error| format!("time {text:?} in the audit log: {error}"))?;
    Ok(time.as_microsecond())
}
