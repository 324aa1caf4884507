//! What can go wrong between a request and its answer, and the one place where it becomes an [`Error`].

use std::fmt;

use crate::base::json::{Value as Json, json};

use super::cancel::Cancel;
use super::request::{Act, Call, Verb};
use super::tls;
use crate::base::{Error, Kind, Reason, Span};

/// Why there is no good answer.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The server answered with an error.
    Status { code: u16, retry_after: Option<u64>, status: Json },
    /// No connection: nothing was sent.
    Connect(String),
    /// TLS said no: nothing was sent.
    Tls(String),
    /// The connection broke, or the answer did: what was sent may have been done.
    Lost(String),
    /// The answer is not what an API server says.
    Strange(String),
    /// No answer in this time.
    Silent(Span),
    /// The operator stopped it.
    Stopped,
    /// It never left: a layer refused it, or time could not be moved on.
    Error(Error),
}

impl Trouble {
    /// Whether it is a 429 about a disruption budget.
    pub(crate) fn names_budget(&self) -> bool {
        let Trouble::Status { code: 429, status, .. } = self else { return false };
        let causes = status.pointer("/details/causes").and_then(Json::as_array);
        causes.is_some_and(|causes| causes.iter().any(|cause| cause.get("reason").is_some_and(|reason| reason == "DisruptionBudget")))
    }

    /// In a few words, for who waits.
    pub(crate) fn brief(&self) -> String {
        match self {
            Trouble::Status { code, status, .. } => {
                let reason = status.get("reason").and_then(Json::as_str).unwrap_or_default();
                format!("the server answered {code} {reason}").trim_end().to_owned()
            }
            Trouble::Connect(_) => "no connection".to_owned(),
            Trouble::Tls(_) => "no secure connection".to_owned(),
            Trouble::Lost(_) => "the connection was lost".to_owned(),
            Trouble::Strange(_) => "the answer could not be read".to_owned(),
            Trouble::Silent(span) => format!("no answer in {}", span.rounded()),
            Trouble::Stopped => "stopped".to_owned(),
            Trouble::Error(error) => error.message.clone(),
        }
    }
}

/// A lost connection of the simulated cluster.
#[derive(Debug)]
pub(crate) struct Lost;

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("connection reset by the simulated cluster")
    }
}

impl std::error::Error for Lost {}

/// A connection that the simulated cluster did not take: nothing was sent.
#[derive(Debug)]
pub(crate) struct Refused;

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("connection refused by the simulated cluster")
    }
}

impl std::error::Error for Refused {}

fn refused(error: &kube::Error) -> bool {
    std::iter::successors(std::error::Error::source(error), |error| error.source()).any(|error| error.is::<Refused>())
}

/// Whether an error of the client is one of connecting, and whether TLS said no: then nothing was sent.
fn phase(error: &kube::Error, chain: &[String]) -> (bool, bool) {
    let has = |needle: &str| chain.iter().any(|text| text.to_lowercase().contains(needle));
    // The client's own texts for its phases; tests connect to a closed and to an untrusted port to notice when they change.
    let connecting = has("client error (connect)") || refused(error);
    let tls = ["certificate", "tls", "handshake", "corrupt message"].into_iter().any(has);
    (connecting, has("fatal alert") || (connecting && tls))
}

/// Whether an error of the client says that there was no connection, so that nothing was sent.
pub(super) fn no_connection(error: &kube::Error) -> bool {
    phase(error, &chain(error)) == (true, false)
}

impl Trouble {
    /// Reads an error of the client: the kind of trouble is in the chain of its sources.
    pub(crate) fn of(error: kube::Error) -> Trouble {
        let error = match error {
            kube::Error::Service(error) => match error.downcast::<Error>() {
                Ok(error) => return Trouble::Error(*error),
                Err(error) => kube::Error::Service(error),
            },
            error => error,
        };
        let chain = chain(&error);
        let (connecting, tls) = phase(&error, &chain);
        if tls {
            return Trouble::Tls(last(&chain));
        }
        if connecting {
            return Trouble::Connect(last(&chain));
        }
        Trouble::Lost(last(&chain))
    }

    /// Whether the server may answer otherwise when asked again, with the seconds it wants to be left alone.
    pub(crate) fn is_transient(&self) -> Option<Option<u64>> {
        match self {
            Trouble::Status { status, .. } if fits_no_schema(status) => None,
            Trouble::Status { code: 429 | 500 | 502 | 503 | 504, retry_after, .. } => Some(*retry_after),
            Trouble::Lost(_) | Trouble::Connect(_) | Trouble::Silent(_) => Some(None),
            _ => None,
        }
    }

    /// The error people see.
    pub(crate) fn into_error(self, call: &Call, server: &str) -> Error {
        let doing = call.doing();
        let write = call.writes();
        if let Trouble::Error(error) = self {
            return error;
        }
        let lost = |what: String| {
            if write {
                unreachable(format!("{doing}: {what}; whether the change was made is unknown")).details(json!({ "outcome": "unknown" }))
            } else {
                unreachable(format!("{doing}: {what}"))
            }
        };
        match self {
            Trouble::Status { code, retry_after, status } => of_status(call, code, retry_after, &status),
            Trouble::Connect(cause) => unreachable(format!("{doing}: no connection to `{server}`"))
                .cause(cause)
                .hint("check the address in the kubeconfig, and whether the server is up"),
            Trouble::Tls(said) => {
                let (cause, hint) = tls::explained(&said);
                unreachable(format!("{doing}: no trusted connection to `{server}`")).cause(cause).hint(hint)
            }
            Trouble::Lost(cause) => lost(format!("the connection to `{server}` was lost")).cause(cause),
            Trouble::Strange(cause) => lost(format!("the answer of `{server}` is not that of an API server"))
                .cause(cause)
                .hint("check the address in the kubeconfig, and whether a proxy is in the way"),
            Trouble::Silent(span) => {
                let mut error = lost(format!("no answer from `{server}` within {span}"));
                error.reason = Reason::Timeout;
                error
            }
            Trouble::Stopped if write => {
                let mut error = Cancel::error().details(json!({ "outcome": "unknown" }));
                error.message = format!("{doing}: interrupted before the answer; whether the change was made is unknown");
                error
            }
            Trouble::Stopped => Cancel::error(),
            Trouble::Error(error) => error,
        }
        .about(call.object.as_deref().unwrap_or(call.about.trim_matches('`')))
    }
}

fn unreachable(message: String) -> Error {
    Error::new(Kind::Cluster, Reason::Unreachable, message)
}

/// The texts of an error and its sources, outermost first.
pub(crate) fn chain(error: &dyn std::error::Error) -> Vec<String> {
    let mut texts = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        texts.push(error.to_string());
        next = error.source();
    }
    texts
}

fn last(chain: &[String]) -> String {
    chain.last().cloned().unwrap_or_default()
}

/// The error of a `Status` that the server sent, or of a code without one.
pub(crate) fn of_status(call: &Call, code: u16, retry_after: Option<u64>, status: &Json) -> Error {
    let text = |field: &str| status.get(field).and_then(Json::as_str).filter(|text| !text.is_empty());
    let names_object = status.pointer("/details/name").and_then(Json::as_str).is_some_and(|name| !name.is_empty());
    let (kind, reason, what) = match (code, text("reason")) {
        (401, _) => (Kind::Refused, Reason::Forbidden, "the server does not know this user".to_owned()),
        (403, _) if refuses_anybody(call, status) => {
            (Kind::Refused, Reason::Forbidden, "a rule of the cluster does not allow it".to_owned())
        }
        (403, _) => (Kind::Refused, Reason::Forbidden, "this user may not do that".to_owned()),
        (404, _) if !names_object => (Kind::Cluster, Reason::Unsupported, format!("the server does not serve {}", call.act.resource)),
        (404, _) if call.act.verb == Verb::Create => (Kind::Cluster, Reason::NotFound, "what it belongs to does not exist".to_owned()),
        (404, _) => (Kind::Cluster, Reason::NotFound, "no such object".to_owned()),
        (409, Some("AlreadyExists")) => (Kind::Cluster, Reason::Conflict, "it exists already".to_owned()),
        (409, _) => (Kind::Cluster, Reason::Conflict, "it is not as it was read any more".to_owned()),
        (500, _) if fits_no_schema(status) => (Kind::Cluster, Reason::Invalid, "the server finds the request invalid".to_owned()),
        (400 | 405 | 406 | 413 | 415 | 422, _) => (Kind::Cluster, Reason::Invalid, "the server finds the request invalid".to_owned()),
        (429, _) => (Kind::Cluster, Reason::Unreachable, "the server is busy".to_owned()),
        (410, _) => (Kind::Cluster, Reason::Conflict, "the server has forgotten that state".to_owned()),
        (501, _) => (Kind::Cluster, Reason::Unmodelled, "the simulated cluster cannot answer that".to_owned()),
        (500..=599, _) => (Kind::Cluster, Reason::Unreachable, format!("the server failed with {code}")),
        _ => (Kind::Cluster, Reason::Unsupported, format!("the server answered {code}")),
    };
    let mut error = Error::new(kind, reason, format!("{}: {what}", call.doing()));
    if let Some(message) = text("message") {
        error = error.cause(message);
    }
    if code == 403 && refuses_anybody(call, status) {
        error = error.hint("it is refused to whoever asks: change what is asked for, or the webhook, policy or quota that the cause names");
    } else if code == 403 && text("message").is_some_and(|message| message.contains("attempting to grant")) {
        error = error.hint(format!("the user needs all that the role grants, or `escalate` on `{}`", call.act.resource));
    } else if code == 403 {
        error = error.hint(format!("the user needs {}", rule(&call.act)));
    } else if code == 401 {
        error = error.hint("check the user's credentials in the kubeconfig; a token may have expired");
    }
    let mut details = json!({ "code": code });
    if let Some(reason) = text("reason") {
        details["reason"] = reason.into();
    }
    if let Some(causes) = status.pointer("/details/causes") {
        details["causes"] = causes.clone();
    }
    if let Some(seconds) = retry_after {
        details["retry_after"] = seconds.into();
    }
    error.details(details)
}

/// Whether a webhook, a policy, a quota or a namespace that goes refuses the object, and not the authorizer the user: that one says who cannot
/// do what (`k8s.io/apiserver/pkg/endpoints/handlers/responsewriters/errors.go`, `…/pkg/admission/errors.go`).
fn refuses_anybody(call: &Call, status: &Json) -> bool {
    if !call.act.verb.is_write() {
        // Only the authorizer looks at what reads.
        return false;
    }
    let message = status.get("message").and_then(Json::as_str).unwrap_or_default();
    let denied = ["denied the request", "denied request"].iter().any(|words| message.contains(words));
    let is_of_a_right = [" cannot ", "attempting to grant"].iter().any(|words| message.contains(words));
    denied || message.contains(" is forbidden: ") && !is_of_a_right
}

/// Whether a server-side apply says what its kind has no field for. Servers answer that with 500, and will again
/// (`k8s.io/apimachinery/pkg/util/managedfields/internal/structuredmerge.go`).
fn fits_no_schema(status: &Json) -> bool {
    status.get("message").and_then(Json::as_str).is_some_and(|message| message.starts_with("failed to create typed patch object"))
}

/// The right that an act needs, as people say it.
fn rule(act: &Act) -> String {
    let mut resource = act.resource.clone();
    if let Some(subresource) = &act.subresource {
        resource = format!("{resource}/{subresource}");
    }
    let group = if act.group.is_empty() { String::new() } else { format!(" of group `{}`", act.group) };
    let namespace = match &act.namespace {
        Some(namespace) => format!(" in namespace `{namespace}`"),
        None if matches!(act.verb, Verb::List | Verb::Watch) => " in the whole cluster".to_owned(),
        None => String::new(),
    };
    // A stream is opened by a GET, and since 1.35 the server asks for the right to create one besides.
    let is_stream = matches!(act.subresource.as_deref(), Some("exec" | "attach" | "portforward"));
    let verbs = if is_stream { "`get` and `create`".to_owned() } else { format!("`{}`", act.verb) };
    format!("{verbs} on `{resource}`{group}{namespace}")
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    fn call(method: &Method) -> Call {
        Call::new(Act::of(method, "/apis/apps/v1/namespaces/d/deployments/x", ""), "`deployment/x`")
    }

    #[test]
    fn statuses_have_one_voice() {
        let status = |code: u16, reason: &str| {
            let body = json!({"kind": "Status", "code": code, "reason": reason, "message": "server says", "details": {"name": "x"}});
            of_status(&call(&Method::PATCH), code, None, &body)
        };
        for (code, reason, expected, exit) in [
            (404, "NotFound", Reason::NotFound, 1),
            (409, "Conflict", Reason::Conflict, 1),
            (409, "AlreadyExists", Reason::Conflict, 1),
            (401, "Unauthorized", Reason::Forbidden, 5),
            (403, "Forbidden", Reason::Forbidden, 5),
            (422, "Invalid", Reason::Invalid, 1),
            (501, "NotImplemented", Reason::Unmodelled, 1),
            (500, "InternalError", Reason::Unreachable, 1),
        ] {
            let error = status(code, reason);
            assert_eq!((error.reason, error.kind.exit_code()), (expected, exit), "{code}");
            assert!(error.message.starts_with("patching `deployment/x`: "), "{}", error.message);
            assert_eq!(error.causes, ["server says"]);
            assert_eq!(error.details["code"], code);
        }
        let hint = status(403, "Forbidden").hint.clone().unwrap();
        assert_eq!(hint, "the user needs `patch` on `deployments` of group `apps` in namespace `d`");
    }

    #[test]
    fn only_a_missing_right_is_called_one() {
        let hint = |message: &str| {
            let body = json!({"kind": "Status", "code": 403, "reason": "Forbidden", "message": message, "details": {"name": "x"}});
            let error = of_status(&call(&Method::PATCH), 403, None, &body);
            assert_eq!((error.reason, error.kind), (Reason::Forbidden, Kind::Refused), "{message}");
            (error.message.rsplit_once(": ").unwrap().1.to_owned(), error.hint.clone().unwrap())
        };
        for message in [
            "admission webhook \"guard.example\" denied the request: not now",
            "deployments.apps \"x\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no",
            "pods \"x\" is forbidden: exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1",
            "pods \"x\" is forbidden: violates PodSecurity \"restricted:latest\": privileged",
            "configmaps \"x\" is forbidden: unable to create new content in namespace d because it is being terminated",
        ] {
            let (what, hint) = hint(message);
            assert_eq!(what, "a rule of the cluster does not allow it", "{message}");
            assert!(!hint.contains("the user needs"), "{hint}");
        }
        let (what, right) =
            hint("deployments.apps \"x\" is forbidden: User \"u\" cannot patch resource \"deployments\" in API group \"apps\"");
        assert_eq!((what.as_str(), right.contains("needs `patch` on `deployments`")), ("this user may not do that", true));
        let (_, right) = hint(
            "roles.rbac.authorization.k8s.io \"x\" is forbidden: user \"u\" is attempting to grant RBAC permissions not currently held",
        );
        assert!(right.contains("`escalate`"), "{right}");
    }

    #[test]
    fn a_missing_kind_is_not_a_missing_object() {
        let body = json!({"kind": "Status", "code": 404, "message": "the server could not find the requested resource"});
        assert_eq!(of_status(&call(&Method::GET), 404, None, &body).reason, Reason::Unsupported);
    }

    #[test]
    fn only_a_write_has_an_unknown_outcome() {
        let read = Trouble::Lost("reset".into()).into_error(&call(&Method::GET), "https://h");
        assert_eq!(read.to_string(), "reading `deployment/x`: the connection to `https://h` was lost: reset");
        let write = Trouble::Lost("reset".into()).into_error(&call(&Method::PATCH), "https://h");
        assert_eq!(write.details["outcome"], "unknown");
        assert_eq!(write.object.as_deref(), Some("deployment/x"));
        let stopped = Trouble::Stopped.into_error(&call(&Method::PATCH), "https://h");
        assert!(stopped.is_stop());
        assert!(stopped.message.ends_with("unknown"));
    }
}
