//! What goes into the simulated API server and what comes out.

use std::sync::Arc;

use crate::json::Value;

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
    /// The body; empty when absent.
    pub body: Vec<u8>,
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
            body: Vec::new(),
        }
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

    /// The first value of a query parameter.
    #[must_use]
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
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
}

/// The answer to a request.
///
/// `status` 0 means that the connection was lost by a fault rule and there is no answer: the caller turns it into a transport
/// error. Whether the write was done is then unknown to the client; the body is an empty text.
#[derive(Debug, Clone, PartialEq)]
pub struct Response {
    /// The HTTP status code, or 0 for a lost connection.
    pub status: u16,
    /// Further headers, for example `Retry-After`.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Body,
}

impl Response {
    /// A JSON answer.
    #[must_use]
    pub fn json(status: u16, body: Arc<Value>) -> Self {
        Self { status, headers: vec![("Content-Type".into(), "application/json".into())], body: Body::Json(body) }
    }

    /// A plain text answer.
    #[must_use]
    pub fn text(status: u16, body: &str) -> Self {
        let headers = vec![("Content-Type".into(), "text/plain; charset=utf-8".into())];
        Self { status, headers, body: Body::Text(body.to_owned()) }
    }

    /// A lost connection.
    #[must_use]
    pub fn lost() -> Self {
        Self { status: 0, headers: Vec::new(), body: Body::Text(String::new()) }
    }

    /// The JSON body, `None` for text and watches.
    #[must_use]
    pub fn value(&self) -> Option<&Value> {
        match &self.body {
            Body::Json(value) => Some(value),
            Body::Text(_) | Body::Watch(_) => None,
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
