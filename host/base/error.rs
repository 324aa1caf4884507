//! The one error type that people see, and the table from its kind to the exit code.
//!
//! A message says what was being done to which object, in lower case, without a final period, ids in backticks.
//! Causes follow, then a hint that says what would be right.

use std::fmt;
use std::ops::{Deref, DerefMut};

use crate::base::json::Value as Json;
use serde::{Deserialize, Serialize};

/// What an operation gives: its value or the one [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Who has to act on an error; decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The runbook itself is wrong or said no (`ensure`, `error`, a Lua fault).
    Runbook,
    /// The cluster answered with an error, or could not be reached.
    Cluster,
    /// Something waited for made no progress or cannot.
    Stuck,
    /// A fault of lockgate.
    Internal,
    /// Wrong usage or parameters; nothing was contacted or written for it.
    Input,
    /// Stopped on purpose and resumable: interrupted, declined, parked.
    Cancelled,
    /// Refused: by the server's authorisation, by permissions, by a read-only place.
    Refused,
}

impl Kind {
    /// The exit code of a command that ends with this kind of error.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Kind::Runbook | Kind::Cluster | Kind::Stuck | Kind::Internal => 1,
            Kind::Input => 2,
            Kind::Cancelled => 4,
            Kind::Refused => 5,
        }
    }

    /// The name scripts see in `err.kind`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Runbook => "runbook",
            Kind::Cluster => "cluster",
            Kind::Stuck => "stuck",
            Kind::Internal => "internal",
            Kind::Input => "input",
            Kind::Cancelled => "cancelled",
            Kind::Refused => "refused",
        }
    }
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $name:literal),+ $(,)?) => {
        /// The machine-readable cause of an error: the only key a script may branch on. A closed list.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum Reason {
            $($(#[$doc])* #[serde(rename = $name)] $variant),+
        }
        impl Reason {
            /// Every reason, in the order of the reference.
            pub const ALL: &'static [Reason] = &[$(Reason::$variant),+];
            /// The text that scripts compare with.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Reason::$variant => $name),+ }
            }
            /// The reason of that text.
            #[must_use]
            pub fn parse(text: &str) -> Option<Reason> {
                Self::ALL.iter().copied().find(|reason| reason.as_str() == text)
            }
        }
    };
}

reasons! {
    /// An object, kind, revision or container is not there.
    NotFound = "not_found",
    /// Somebody else changed the object.
    Conflict = "conflict",
    /// The server's authorisation said no (401, 403).
    Forbidden = "forbidden",
    /// The server found the object invalid (400, 422).
    Invalid = "invalid",
    /// No answer from the server.
    Unreachable = "unreachable",
    /// The whole time allowed is over.
    Timeout = "timeout",
    /// No progress for the time allowed.
    Stalled = "stalled",
    /// A condition that the call names does not hold.
    Precondition = "precondition",
    /// The object was deleted and created again under the same name.
    Replaced = "replaced",
    /// The operator said no, or there was nobody to ask.
    Declined = "declined",
    /// A rule of lockgate says no.
    Refused = "refused",
    /// The object or server cannot do this.
    Unsupported = "unsupported",
    /// The simulated cluster does not model this.
    Unmodelled = "unmodelled",
    /// Wrong call: arguments, options, types, names.
    Usage = "usage",
    /// Stopped by Ctrl-C or by a limit.
    Interrupted = "interrupted",
    /// A disruption budget does not allow it now.
    BlockedByBudget = "blocked_by_budget",
    /// The Deployment passed its own `progressDeadlineSeconds`.
    ProgressDeadline = "progress_deadline",
    /// A new pod waits for a host port that another pod holds.
    HostPortConflict = "host_port_conflict",
    /// No node can take a pod, for another reason than a host port.
    Unschedulable = "unschedulable",
    /// An image cannot be pulled.
    ImagePull = "image_pull",
    /// A container ends again and again.
    CrashLoop = "crash_loop",
    /// Pods run but do not become ready.
    NotReady = "not_ready",
    /// A quota or admission keeps pods from being created.
    Quota = "quota",
    /// The workload is paused.
    Paused = "paused",
    /// A command ended with an error.
    CommandFailed = "command_failed",
    /// A command is not there.
    CommandMissing = "command_missing",
    /// A Helm release is locked by another operation.
    HelmLocked = "helm_locked",
    /// A Helm operation failed.
    HelmFailed = "helm_failed",
    /// A Helm hook failed.
    HelmHook = "helm_hook_failed",
    /// A chart cannot be rendered.
    HelmRender = "helm_render",
    /// A chart cannot be found.
    HelmChartNotFound = "helm_chart_not_found",
    /// A chart or release uses an API that the server no longer has.
    HelmRemovedApi = "helm_removed_api",
    /// A Helm release was rolled back by its own failure handling.
    HelmRolledBack = "helm_rolled_back",
    /// A version skew rule says no.
    Skew = "skew",
    /// A check of the runbook does not hold, or `ensure` said no.
    CheckFailed = "check_failed",
}

/// A place in a Lua file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// File as people know it: a path, or `cce-cni-v1-patch/runbook.luau` of a bundled runbook.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1, of what the message is about.
    pub column: Option<u32>,
    /// Length in characters of what the message is about.
    pub length: Option<u32>,
    /// The text of the line.
    pub source: Option<String>,
    /// The function that was running there, where it has a name.
    pub function: Option<String>,
}

/// What an [`Error`] holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ErrorData {
    /// Who has to act.
    pub kind: Kind,
    /// The machine-readable cause.
    pub reason: Reason,
    /// What was being done to which object, and what happened.
    pub message: String,
    /// The object it is about, `kind/namespace/name`.
    pub object: Option<String>,
    /// What would be right.
    pub hint: Option<String>,
    /// Why, nearest first.
    pub causes: Vec<String>,
    /// Facts for scripts; `null` when there are none.
    pub details: Json,
    /// Where in the script, innermost first.
    pub places: Vec<Place>,
}

/// The one error of lockgate. Boxed, so that results stay small.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Error(Box<ErrorData>);

impl Error {
    /// An error of this kind, reason and message.
    #[must_use]
    pub fn new(kind: Kind, reason: Reason, message: impl Into<String>) -> Self {
        Error(Box::new(ErrorData {
            kind,
            reason,
            message: message.into(),
            object: None,
            hint: None,
            causes: Vec::new(),
            details: Json::Null,
            places: Vec::new(),
        }))
    }

    /// Wrong usage: an argument, a parameter, a file.
    #[must_use]
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Input, Reason::Usage, message)
    }

    /// A fault of lockgate itself.
    #[must_use]
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Kind::Internal, Reason::Unsupported, message)
    }

    /// Something named is not there.
    #[must_use]
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(Kind::Cluster, Reason::NotFound, message)
    }

    /// The same with a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// The same with one more cause behind those it has.
    #[must_use]
    pub fn cause(mut self, cause: impl Into<String>) -> Self {
        self.0.causes.push(cause.into());
        self
    }

    /// The same about this object.
    #[must_use]
    pub fn about(mut self, object: impl fmt::Display) -> Self {
        self.0.object = Some(object.to_string());
        self
    }

    /// The same with facts for scripts.
    #[must_use]
    pub fn details(mut self, details: Json) -> Self {
        self.0.details = details;
        self
    }

    /// The same under a message that says what was being done; the old message becomes the nearest cause.
    #[must_use]
    pub fn context(mut self, message: impl Into<String>) -> Self {
        let old = std::mem::replace(&mut self.0.message, message.into());
        self.0.causes.insert(0, old);
        self
    }

    /// Whether a script must not be able to catch it: the operator said stop, or said no.
    #[must_use]
    pub fn is_stop(&self) -> bool {
        matches!(self.0.reason, Reason::Interrupted | Reason::Declined)
    }
}

impl Deref for Error {
    type Target = ErrorData;
    fn deref(&self) -> &ErrorData {
        &self.0
    }
}

impl DerefMut for Error {
    fn deref_mut(&mut self) -> &mut ErrorData {
        &mut self.0
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        for cause in &self.0.causes {
            write!(f, ": {cause}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// The candidate nearest to `word`, when one is near enough to be meant.
#[must_use]
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (word.chars().count() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word.to_lowercase(), &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= limit || (word.len() >= 3 && candidate.starts_with(word)))
        .min_by_key(|(distance, candidate)| (*distance, candidate.len()))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_decide_the_exit_code() {
        assert_eq!(Kind::Runbook.exit_code(), 1);
        assert_eq!(Kind::Input.exit_code(), 2);
        assert_eq!(Kind::Cancelled.exit_code(), 4);
        assert_eq!(Kind::Refused.exit_code(), 5);
    }

    #[test]
    fn reasons_round_trip_through_their_text() {
        for reason in Reason::ALL {
            assert_eq!(Reason::parse(reason.as_str()), Some(*reason));
        }
        assert_eq!(Reason::parse("nope"), None);
    }

    #[test]
    fn suggestions_are_near_or_absent() {
        assert_eq!(did_you_mean("wait_rolout", ["wait_rollout", "wait_for"]), Some("wait_rollout"));
        assert_eq!(did_you_mean("stal", ["stall", "timeout"]), Some("stall"));
        assert_eq!(did_you_mean("banana", ["stall", "timeout"]), None);
    }

    #[test]
    fn context_keeps_the_old_message_as_a_cause() {
        let error = Error::not_found("no such thing").cause("deep").context("reading `x`");
        assert_eq!(error.to_string(), "reading `x`: no such thing: deep");
    }
}
