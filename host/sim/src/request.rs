//! What goes into the simulated API server and what comes out.

use std::sync::Arc;

use jiff::SignedDuration;

use crate::json::Value;

use crate::api::exec::Exec;
use crate::api::log::LogFollow;
use crate::faults::Held;
use crate::status::Status;

/// An HTTP method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// Read one object, a list, or watch.
    Get,
    /// Create.
    Post,
    /// Replace.
    Put,
    /// Change in part.
    Patch,
    /// Delete one object or a collection.
    Delete,
}

impl Method {
    /// The method as it is written in HTTP.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

/// One request, as bytes came off the wire but with path and query decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The path without the query, for example `/api/v1/nodes/n1`.
    pub path: String,
    /// Decoded query parameters in their order.
    pub query: Vec<(String, String)>,
    /// The `Content-Type` header; empty when absent.
    pub content_type: String,
    /// The `Accept` header; empty when absent.
    pub accept: String,
    /// The `User-Agent` header; empty when absent.
    pub user_agent: String,
    /// The `Upgrade` header, for example `websocket`; empty when absent.
    pub upgrade: String,
    /// The `If-None-Match` header: the tags of the documents that the client has; empty when absent.
    pub if_none_match: String,
    /// The body; empty when absent.
    pub body: Vec<u8>,
    /// Who asks; `None` is the administrator, who may do everything.
    pub user: Option<User>,
}

/// Somebody who makes requests, as the server knows him after he has shown who he is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The name, for example `alice` or `system:serviceaccount:shop:robot`.
    pub name: String,
    /// All groups, those included that the server itself adds.
    pub groups: Vec<String>,
}

impl User {
    /// A user in these groups, and in those that the server adds: `system:authenticated`, and for a ServiceAccount its own.
    #[must_use]
    pub fn new(name: &str, groups: &[&str]) -> Self {
        let mut all: Vec<String> = groups.iter().map(|group| (*group).to_owned()).collect();
        let mut add = |group: String| {
            if !all.contains(&group) {
                all.push(group);
            }
        };
        if let Some((namespace, _)) = name.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split_once(':')) {
            add("system:serviceaccounts".to_owned());
            add(format!("system:serviceaccounts:{namespace}"));
        }
        add(if name == "system:anonymous" { "system:unauthenticated" } else { "system:authenticated" }.to_owned());
        Self { name: name.to_owned(), groups: all }
    }

    /// The ServiceAccount of this name.
    #[must_use]
    pub fn service_account(namespace: &str, name: &str) -> Self {
        Self::new(&format!("system:serviceaccount:{namespace}:{name}"), &[])
    }

    /// Whom requests without a user come from.
    #[must_use]
    pub fn administrator() -> Self {
        Self::new("admin", &["system:masters"])
    }
}

impl Request {
    /// A request without a body.
    #[must_use]
    pub fn new(method: Method, path: &str) -> Self {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let query = query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        Self {
            method,
            path: path.to_owned(),
            query,
            content_type: String::new(),
            accept: String::new(),
            user_agent: String::new(),
            upgrade: String::new(),
            if_none_match: String::new(),
            body: Vec::new(),
            user: None,
        }
    }

    /// A request as it comes off the wire: the method's name, and the path with its query, percent-encoded. Scheme and host may stand
    /// before it. `None` for a method that no API has.
    #[must_use]
    pub fn from_uri(method: &str, uri: &str) -> Option<Self> {
        let methods = [Method::Get, Method::Post, Method::Put, Method::Patch, Method::Delete];
        let method = methods.into_iter().find(|known| known.as_str() == method)?;
        let path = uri.split_once("://").map_or(uri, |(_, rest)| rest.find('/').map_or("/", |at| &rest[at..]));
        let mut request = Self::new(method, path);
        request.path = decoded(&request.path, false);
        for (name, value) in &mut request.query {
            (*name, *value) = (decoded(name, true), decoded(value, true));
        }
        Some(request)
    }

    /// The same request, made by this user: what he may do is decided by roles and bindings.
    #[must_use]
    pub fn by(mut self, user: &User) -> Self {
        self.user = Some(user.clone());
        self
    }

    /// A GET. The path may carry an undecoded query (`?a=b&c=d`), for tests and fixtures.
    #[must_use]
    pub fn get(path: &str) -> Self {
        Self::new(Method::Get, path)
    }

    /// A DELETE without options.
    #[must_use]
    pub fn delete(path: &str) -> Self {
        Self::new(Method::Delete, path)
    }

    /// A POST of a JSON body.
    #[must_use]
    pub fn post(path: &str, body: &Value) -> Self {
        Self::new(Method::Post, path).with_body("application/json", body)
    }

    /// A PUT of a JSON body.
    #[must_use]
    pub fn put(path: &str, body: &Value) -> Self {
        Self::new(Method::Put, path).with_body("application/json", body)
    }

    /// A PATCH with this content type, for example `application/merge-patch+json`.
    #[must_use]
    pub fn patch(path: &str, content_type: &str, body: &Value) -> Self {
        Self::new(Method::Patch, path).with_body(content_type, body)
    }

    /// The same request with a body.
    #[must_use]
    pub fn with_body(mut self, content_type: &str, body: &Value) -> Self {
        content_type.clone_into(&mut self.content_type);
        self.body = body.to_string().into_bytes();
        self
    }

    /// The same request with one more query parameter.
    #[must_use]
    pub fn with_query(mut self, name: &str, value: &str) -> Self {
        self.query.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same request, to be carried on as a stream of this protocol: `websocket`.
    #[must_use]
    pub fn with_upgrade(mut self, protocol: &str) -> Self {
        protocol.clone_into(&mut self.upgrade);
        self
    }

    /// The same request with an `Accept` header.
    #[must_use]
    pub fn with_accept(mut self, accept: &str) -> Self {
        accept.clone_into(&mut self.accept);
        self
    }

    /// The first value of a query parameter.
    #[must_use]
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// A text without percent-encoding; what is not well encoded stays as it is.
fn decoded(text: &str, plus_is_space: bool) -> String {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16)).and_then(|digit| u8::try_from(digit).ok());
    let (bytes, mut out, mut at) = (text.as_bytes(), Vec::new(), 0);
    while let Some(byte) = bytes.get(at) {
        match (byte, digit(bytes.get(at + 1)), digit(bytes.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                out.push(high * 16 + low);
                at += 2;
            }
            (b'+', ..) if plus_is_space => out.push(b' '),
            _ => out.push(*byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Names one open watch of one [`Cluster`](crate::Cluster).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WatchId(pub u64);

/// The body of a response.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// A JSON document.
    Json(Arc<Value>),
    /// Plain text, for `/readyz` and its kin.
    Text(String),
    /// An open watch: poll it with [`Cluster::poll_watch`](crate::Cluster::poll_watch).
    Watch(WatchId),
    /// A log that goes on: poll a copy of it with [`Cluster::poll_log`](crate::Cluster::poll_log).
    Log(Arc<LogFollow>),
    /// A command in a container, for a client that speaks the stream protocol. The status is 101.
    Exec(Arc<Exec>),
}

/// The answer to a request.
///
/// `status` 0 means that a fault rule took the connection away and there is no answer: the caller turns it into a transport
/// error. Whether the write was done is then unknown to the client, unless [`Conduct::refused`] says that nothing was sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Response {
    /// The HTTP status code, or 0 for a lost connection.
    pub status: u16,
    /// Further headers, for example `Retry-After`.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Body,
    /// How it is delivered.
    pub conduct: Conduct,
}

/// How an answer is delivered: what fault rules do to it on its way. Whoever carries it out is between client and cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conduct {
    /// The connection was never opened; `status` is 0.
    pub refused: bool,
    /// It arrives so much later, in virtual time.
    pub late: SignedDuration,
    /// The request stands still until the hold is released. On the far side of its commit the answer is delivered then; on the
    /// near side `status` is 0, nothing was done, and [`Cluster::handle_held`](crate::Cluster::handle_held) does it then.
    pub held: Option<Held>,
    /// It ends after so many bytes of its body, and the connection with it.
    pub cut: Option<usize>,
    /// It stops after so many bytes of its body, and the connection stays.
    pub stalls: Option<usize>,
    /// So many blanks follow its body.
    pub pad: u64,
    /// What the rule that decided about the request does, in words; `None` without one.
    pub fault: Option<String>,
}

impl Response {
    /// A JSON answer.
    #[must_use]
    pub fn json(status: u16, body: Arc<Value>) -> Self {
        Self {
            status,
            headers: vec![("Content-Type".into(), "application/json".into())],
            body: Body::Json(body),
            conduct: Conduct::default(),
        }
    }

    /// A plain text answer.
    #[must_use]
    pub fn text(status: u16, body: &str) -> Self {
        let headers = vec![("Content-Type".into(), "text/plain; charset=utf-8".into())];
        Self { status, headers, body: Body::Text(body.to_owned()), conduct: Conduct::default() }
    }

    /// A lost connection.
    #[must_use]
    pub fn lost() -> Self {
        Self { status: 0, headers: Vec::new(), body: Body::Text(String::new()), conduct: Conduct::default() }
    }

    /// A connection that could not be opened.
    #[must_use]
    pub fn refused() -> Self {
        Self { conduct: Conduct { refused: true, ..Conduct::default() }, ..Self::lost() }
    }

    /// The JSON body, `None` for text and watches.
    #[must_use]
    pub fn value(&self) -> Option<&Value> {
        match &self.body {
            Body::Json(value) => Some(value),
            Body::Text(_) | Body::Watch(_) | Body::Log(_) | Body::Exec(_) => None,
        }
    }
}

impl From<Status> for Response {
    fn from(status: Status) -> Self {
        let mut response = Self::json(status.code(), Arc::new(status.clone().into_value()));
        if let Some(seconds) = status.retry_after_seconds() {
            response.headers.push(("Retry-After".into(), seconds.to_string()));
        }
        response
    }
}
