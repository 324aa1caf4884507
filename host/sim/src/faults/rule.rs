//! Fault rules as data.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde::Deserialize;
use serde::de::{self, Deserializer};

use crate::json::Value;
use crate::model::{ImageModel, ModelDocument, NodeModel, PodModel, Span};
use crate::request::{Method, Request};
use crate::status::Status;
use crate::view;

/// What a rule applies to. What is left out matches everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Match {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete` or `deletecollection`.
    pub verb: Option<String>,
    /// The API group, for example `apps`; an empty text is the core group.
    pub group: Option<String>,
    /// The kind, for example `Deployment`.
    pub kind: Option<String>,
    /// The namespace of the request.
    pub namespace: Option<String>,
    /// The name of the object.
    pub name: Option<String>,
    /// The subresource, for example `scale`; an empty text matches requests without one.
    pub subresource: Option<String>,
    /// A part of the client's `User-Agent`.
    pub client: Option<String>,
    /// From so long after the rule was added on, in virtual time; rules of a file are added when the cluster is ready.
    pub after: Option<Span>,
    /// Until so long after the rule was added.
    pub until: Option<Span>,
    /// Only while the run is in this step: see [`Cluster::enter_step`](crate::Cluster::enter_step).
    pub step: Option<String>,
    /// Which of the matching requests, counted from 1. Without `nth` and `every`: all of them.
    pub nth: Option<u64>,
    /// Every so-many-th of the matching requests.
    pub every: Option<u64>,
}

/// What happens to a request.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// The server answers with this failure and does nothing.
    Fail(Failure),
    /// The server answers 409 as if somebody else had changed the object in between.
    Conflict,
    /// No connection can be opened: nothing is sent.
    Refuse,
    /// The connection is lost before the request arrives: nothing is done.
    LostBefore,
    /// The request is carried out, then the connection is lost.
    LostAfter,
    /// The request is carried out, and its answer takes so long.
    Late(Span),
    /// The answer to a GET or LIST is of the moment when the rule first applied.
    Stale,
    /// The connection is lost, and the request is carried out all the same, so much later.
    Delayed(Span),
    /// From this request on no connection can be opened for so long, by nobody and for nothing.
    Down(Span),
    /// The answer ends after so many bytes, and the connection with it.
    Truncate(usize),
    /// The answer stops after so many bytes; the connection stays, and nothing more comes.
    Stall(usize),
    /// So many blanks follow the answer.
    Pad(u64),
    /// The request is carried out, and where it succeeds it is answered `200 OK` with this document instead.
    Answer(Value),
    /// The watch is cut after so many events, without a last bookmark.
    DropWatch(u64),
    /// The watch ends after so many events with `410 Expired`.
    ExpireWatch(u64),
    /// The watch never sends a bookmark.
    NoBookmarks,
    /// Somebody else acts right before the request is carried out, for example between the client's GET and its PUT.
    Before(Deed),
    /// Somebody else acts after the request, at once or after a delay.
    After(Deed),
    /// What an admission webhook changes: a JSON merge patch on the object that a create, update or patch is about to store.
    Admit(Value),
    /// The request stands still until [`Cluster::release`](crate::Cluster::release).
    Hold(Side),
}

impl Action {
    /// Whether it can happen to a request of this verb.
    pub(crate) fn happens_to(&self, verb: &str) -> bool {
        match self {
            Action::DropWatch(_) | Action::ExpireWatch(_) | Action::NoBookmarks => verb == "watch",
            Action::Stale => matches!(verb, "get" | "list"),
            Action::Admit(_) => matches!(verb, "create" | "update" | "patch"),
            _ => true,
        }
    }
}

/// On which side of its commit a request stands still.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Nothing is done yet.
    Before,
    /// It is done, and not yet answered.
    After,
}

/// What somebody else does: a write through the API, a change of the world behind it, or a clock that is set. Exactly one of them.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "DeedData")]
pub struct Deed {
    /// How much later; by default at once.
    pub delay: Span,
    /// What.
    pub act: Act,
}

/// One act of somebody else.
#[derive(Debug, Clone, PartialEq)]
pub enum Act {
    /// A request to the API.
    Write(Write),
    /// Entries about the world behind the API that hold from now on.
    Model(Box<Entries>),
    /// From now on the clock of the cluster is so far ahead of its clients': theirs jump. Who sleeps until a time of such a clock wakes
    /// when it shows that time.
    Clock(Skew),
    /// A client's own request that its connection did not live to see carried out.
    Late(Box<Request>),
}

/// Entries as in a `Model` document.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entries {
    /// About images.
    #[serde(default)]
    pub images: Vec<ImageModel>,
    /// About pods.
    #[serde(default)]
    pub pods: Vec<PodModel>,
    /// About nodes.
    #[serde(default)]
    pub nodes: Vec<NodeModel>,
}

impl From<Entries> for ModelDocument {
    fn from(entries: Entries) -> ModelDocument {
        ModelDocument { images: entries.images, pods: entries.pods, nodes: entries.nodes, ..ModelDocument::default() }
    }
}

/// A request of somebody else.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Write {
    /// Who: the field manager and user agent. Default `somebody-else`.
    #[serde(default = "somebody")]
    pub by: String,
    /// `create`, `update`, `patch` (a merge patch, for the status too) or `delete`.
    #[serde(deserialize_with = "method")]
    pub verb: Method,
    /// The path of the request, for example `/api/v1/nodes/n1`.
    pub path: String,
    /// The body.
    #[serde(default)]
    pub body: Value,
}

fn somebody() -> String {
    "somebody-else".to_owned()
}

fn method<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Method, D::Error> {
    match String::deserialize(deserializer)?.as_str() {
        "create" => Ok(Method::Post),
        "update" => Ok(Method::Put),
        "patch" => Ok(Method::Patch),
        "delete" => Ok(Method::Delete),
        other => Err(de::Error::custom(format!("`{other}` is none of create, update, patch, delete"))),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DeedData {
    delay: Option<Span>,
    write: Option<Write>,
    model: Option<Entries>,
    clock: Option<Skew>,
}

impl TryFrom<DeedData> for Deed {
    type Error = String;

    fn try_from(data: DeedData) -> Result<Deed, String> {
        let act = match (data.write, data.model, data.clock) {
            (Some(write), None, None) => Act::Write(write),
            (None, Some(model), None) => Act::Model(Box::new(model)),
            (None, None, Some(skew)) => Act::Clock(skew),
            _ => return Err("a deed is either a `write`, a `model` or a `clock`".to_owned()),
        };
        Ok(Deed { delay: data.delay.unwrap_or(Span::ZERO), act })
    }
}

impl Write {
    /// It as a request.
    #[must_use]
    pub fn request(&self) -> Request {
        let mut request = Request::new(self.verb, &self.path);
        self.by.clone_into(&mut request.user_agent);
        match self.verb {
            _ if self.body.is_null() => request,
            Method::Patch => request.with_body("application/merge-patch+json", &self.body),
            _ => request.with_body("application/json", &self.body),
        }
    }
}

/// A failure to answer with.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    /// The HTTP status code, 400 to 599.
    pub code: u16,
    /// The reason; by default the server's usual one for the code.
    #[serde(default)]
    pub reason: Option<String>,
    /// The message.
    #[serde(default)]
    pub message: Option<String>,
    /// Seconds for `Retry-After`.
    #[serde(default)]
    pub retry_after: Option<u32>,
    /// Causes in the details, for example `{reason: DisruptionBudget, message: …}`.
    #[serde(default)]
    pub causes: Vec<BTreeMap<String, String>>,
}

impl Failure {
    /// The `Status` to answer with.
    #[must_use]
    pub fn status(&self) -> Status {
        let usual = match self.code {
            400 => ("BadRequest", "the server rejected the request"),
            401 => ("Unauthorized", "Unauthorized"),
            403 => ("Forbidden", "forbidden"),
            404 => ("NotFound", "the server could not find the requested resource"),
            409 => ("Conflict", "the object has been modified"),
            410 => ("Expired", "the resource version is too old"),
            422 => ("Invalid", "the server rejected our request due to an error in our request"),
            429 => ("TooManyRequests", "too many requests, please try again later"),
            500 => ("InternalError", "an internal error occurred"),
            503 => ("ServiceUnavailable", "the server is currently unable to handle the request"),
            504 => ("Timeout", "the server was unable to return a response in the time allotted"),
            _ => ("", "the request failed"),
        };
        let mut details = crate::json::json!({});
        if let Some(seconds) = self.retry_after {
            view::set(&mut details, &["retryAfterSeconds"], seconds);
        }
        if !self.causes.is_empty() {
            let text = |(field, text): (&String, &String)| (field.clone(), Value::from(text.as_str()));
            let causes: Value = self.causes.iter().map(|cause| Value::Object(cause.iter().map(text).collect())).collect();
            view::set(&mut details, &["causes"], causes);
        }
        let details = if details == crate::json::json!({}) { Value::Null } else { details };
        Status::new(self.code, self.reason.as_deref().unwrap_or(usual.0), self.message.as_deref().unwrap_or(usual.1), details)
    }
}

/// A rule: what it applies to, and what then happens.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// What it applies to.
    #[serde(rename = "match", default)]
    pub when: Match,
    /// What happens.
    #[serde(rename = "do")]
    pub action: Action,
}

impl Rule {
    /// What is wrong with it, if anything: a part that never applies is a mistake.
    ///
    /// # Errors
    /// One sentence.
    pub fn check(&self) -> Result<(), String> {
        const VERBS: [&str; 8] = ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"];
        let when = &self.when;
        if let Some(verb) = when.verb.as_deref().filter(|verb| !VERBS.contains(verb)) {
            return Err(format!("`{verb}` is no verb; there are {}", VERBS.join(", ")));
        }
        if let Some(kind) = when.kind.as_deref().filter(|kind| !kind.chars().next().is_some_and(char::is_uppercase)) {
            return Err(format!("`{kind}` is no kind; kinds begin with a capital letter, for example `Deployment`"));
        }
        if when.nth == Some(0) || when.every == Some(0) {
            return Err("`nth` and `every` count from 1".to_owned());
        }
        if let (Some(after), Some(until)) = (when.after, when.until)
            && after >= until
        {
            return Err("`until` is not later than `after`".to_owned());
        }
        let (wanted, what): (&[&str], &str) = match &self.action {
            Action::DropWatch(_) | Action::ExpireWatch(_) | Action::NoBookmarks => (&["watch"], "a watch"),
            Action::Stale => (&["get", "list"], "a read"),
            Action::Admit(_) => (&["create", "update", "patch"], "a write of an object"),
            Action::Fail(failure) if !(400..600).contains(&failure.code) => {
                return Err(format!("{} is no status of a failure: 400 to 599", failure.code));
            }
            _ => return Ok(()),
        };
        match when.verb.as_deref() {
            Some(verb) if !wanted.contains(&verb) => Err(format!("it happens to {what} alone, and `verb` is `{verb}`")),
            _ => Ok(()),
        }
    }
}

/// Something that happens by itself.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Happening {
    /// So long after the cluster is ready.
    pub at: Span,
    /// What.
    #[serde(rename = "do")]
    pub deed: Deed,
}

/// How far a clock is ahead of another; negative when it is behind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Skew(pub SignedDuration);

impl<'de> Deserialize<'de> for Skew {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        // Half a century is far beyond what any clock was ever wrong by, and keeps all times within what can be written.
        let span = text.parse::<SignedDuration>().ok().filter(|span| span.abs() <= SignedDuration::from_hours(24 * 366 * 50));
        span.map(Self).ok_or_else(|| de::Error::custom(format!("`{text}` is not a duration such as `1h` or `-90s`")))
    }
}

/// A `Faults` document of a fixture or a chaos file.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct FaultsDocument {
    /// `lockgate.dev/v1`.
    pub api_version: String,
    /// `Faults`.
    pub kind: String,
    /// Rules for requests, in order: the first that is due decides.
    #[serde(default)]
    pub rules: Vec<Rule>,
    /// What happens by itself.
    #[serde(default)]
    pub happenings: Vec<Happening>,
    /// How far the clock of the cluster is ahead of its clients': `1h`, or `-90s` for one that is behind.
    pub clock: Option<Skew>,
}

impl FaultsDocument {
    /// Whether a document of this type and kind is one.
    #[must_use]
    pub fn is_one(value: &Value) -> bool {
        use crate::view::text;
        text(value, &["apiVersion"]) == "lockgate.dev/v1" && text(value, &["kind"]) == "Faults"
    }
}
