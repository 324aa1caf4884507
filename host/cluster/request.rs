//! One API request as data: what it asks, the path it becomes, and what a path and method mean.

use std::fmt;

use crate::base::json::Value as Json;
use bytes::Bytes;
use http::Method;
use serde::{Deserialize, Serialize};

use crate::base::{Error, Result};

/// The field manager of every write and the first part of the user agent.
pub const MANAGER: &str = "lockgate";

/// The `User-Agent` of every request.
pub(crate) const AGENT: &str = concat!("lockgate/", env!("CARGO_PKG_VERSION"));

/// What a request does, in the words of Kubernetes' authorisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// Read one object, or a path that is no resource.
    Get,
    /// Read many objects.
    List,
    /// Be told of changes.
    Watch,
    /// Create an object or send an action such as an eviction.
    Create,
    /// Replace an object.
    Update,
    /// Change an object in part.
    Patch,
    /// Delete an object.
    Delete,
    /// Delete many objects.
    DeleteCollection,
}

impl Verb {
    /// Whether it can change the cluster.
    #[must_use]
    pub fn is_write(self) -> bool {
        !matches!(self, Verb::Get | Verb::List | Verb::Watch)
    }

    /// The verb as roles spell it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Verb::Get => "get",
            Verb::List => "list",
            Verb::Watch => "watch",
            Verb::Create => "create",
            Verb::Update => "update",
            Verb::Patch => "patch",
            Verb::Delete => "delete",
            Verb::DeleteCollection => "deletecollection",
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a request is about, read off its method and path: the words of the guard, the recorder and later the permissions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Act {
    /// What it does.
    pub verb: Verb,
    /// API group; empty for the core group and for paths that are no resource.
    pub group: String,
    /// API version; empty for paths that are no resource.
    pub version: String,
    /// Resource, for example `deployments`; the whole path when it is no resource.
    pub resource: String,
    /// Namespace, where there is one.
    pub namespace: Option<String>,
    /// Name, where there is one.
    pub name: Option<String>,
    /// Subresource, where there is one.
    pub subresource: Option<String>,
}

impl Act {
    /// Reads a request. What a method may do is judged from the safe side: an unknown one counts as a write.
    #[must_use]
    pub fn of(method: &Method, path: &str, query: &str) -> Act {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let (group, version, rest) = match parts.as_slice() {
            ["api", version, rest @ ..] if !rest.is_empty() => ("", *version, rest),
            ["apis", group, version, rest @ ..] if !rest.is_empty() => (*group, *version, rest),
            _ => return Act::plain(method, path),
        };
        // `namespaces/NAME` and its own subresources are about the namespace itself.
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() && !matches!(rest, ["status" | "finalize"]) => {
                (Some(decode(namespace, false)), rest)
            }
            rest => (None, rest),
        };
        let resource = rest.first().copied().unwrap_or_default().to_owned();
        let name = rest.get(1).map(|name| decode(name, false));
        let subresource = (rest.len() > 2).then(|| rest[2..].join("/"));
        let watch = query.split('&').any(|pair| matches!(pair, "watch=true" | "watch=1" | "watch"));
        let streams = matches!(subresource.as_deref(), Some("exec" | "attach" | "portforward"))
            || subresource.as_deref().is_some_and(|subresource| subresource.starts_with("proxy"));
        let verb = match *method {
            // Opening a shell or a tunnel changes what runs, whatever its method.
            _ if streams => Verb::Create,
            Method::GET | Method::HEAD if watch => Verb::Watch,
            Method::GET | Method::HEAD if name.is_none() => Verb::List,
            Method::GET | Method::HEAD => Verb::Get,
            Method::PUT => Verb::Update,
            Method::PATCH => Verb::Patch,
            Method::DELETE if name.is_none() => Verb::DeleteCollection,
            Method::DELETE => Verb::Delete,
            _ => Verb::Create,
        };
        Act { verb, group: group.to_owned(), version: version.to_owned(), resource, namespace, name, subresource }
    }

    fn plain(method: &Method, path: &str) -> Act {
        let verb = match *method {
            Method::GET | Method::HEAD | Method::OPTIONS => Verb::Get,
            Method::PUT => Verb::Update,
            Method::PATCH => Verb::Patch,
            Method::DELETE => Verb::Delete,
            _ => Verb::Create,
        };
        Act {
            verb,
            group: String::new(),
            version: String::new(),
            resource: path.to_owned(),
            namespace: None,
            name: None,
            subresource: None,
        }
    }

    /// Whether it is about an object or a collection, not about a path such as `/version`.
    #[must_use]
    pub fn is_resource(&self) -> bool {
        !self.version.is_empty()
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        if let Some(subresource) = &self.subresource {
            write!(f, "/{subresource}")?;
        }
        match (&self.namespace, &self.name) {
            (Some(namespace), Some(name)) => write!(f, " {namespace}/{name}"),
            (Some(name), None) | (None, Some(name)) => write!(f, " {name}"),
            (None, None) => Ok(()),
        }
    }
}

/// How a patch is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PatchType {
    /// JSON merge patch (RFC 7386).
    Merge,
    /// Kubernetes' strategic merge patch.
    Strategic,
    /// JSON patch (RFC 6902).
    Json,
}

impl PatchType {
    /// The content type of its body.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            PatchType::Merge => "application/merge-patch+json",
            PatchType::Strategic => "application/strategic-merge-patch+json",
            PatchType::Json => "application/json-patch+json",
        }
    }
}

/// A request before it is on its way.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// What it does, to which object.
    pub(crate) act: Act,
    /// How the object is named to people.
    pub(crate) about: String,
    /// How the object is named to scripts, `kind/namespace/name`; nothing where it is no single object.
    pub(crate) object: Option<String>,
    /// Query parameters, not yet encoded.
    pub(crate) query: Vec<(&'static str, String)>,
    /// The type of the body.
    pub(crate) content_type: &'static str,
    /// The type of the answer.
    pub(crate) accept: &'static str,
    /// The body.
    pub(crate) body: Option<Json>,
    /// Whether sending it again after "come back later" has the same effect as sending it once.
    pub(crate) idempotent: bool,
    /// What people call what it does, where the verb of the request does not say it.
    pub(crate) doing: Option<&'static str>,
    /// Whether the answer is a text and no document.
    pub(crate) plain: bool,
    /// Whether its deadline stands even when the server is away: whoever asks tries again by itself.
    pub(crate) at_once: bool,
}

impl Call {
    /// A request without query and body.
    pub(crate) fn new(act: Act, about: impl Into<String>) -> Call {
        Call {
            act,
            about: about.into(),
            object: None,
            query: Vec::new(),
            content_type: "application/json",
            accept: "application/json",
            body: None,
            idempotent: false,
            doing: None,
            plain: false,
            at_once: false,
        }
    }

    /// A read of a path that is no resource, for example `/version`.
    pub(crate) fn path(path: &str, about: impl Into<String>) -> Call {
        Call::new(Act::plain(&Method::GET, path), about)
    }

    /// The same with a query parameter.
    pub(crate) fn query(mut self, name: &'static str, value: impl Into<String>) -> Call {
        self.query.push((name, value.into()));
        self
    }

    /// The same with a body.
    pub(crate) fn body(mut self, body: Json) -> Call {
        self.body = Some(body);
        self
    }

    /// Whether it may change something: a dry run does not, whatever its verb.
    pub(crate) fn writes(&self) -> bool {
        self.act.verb.is_write() && !self.query.iter().any(|(name, value)| *name == "dryRun" && value == "All")
    }

    /// What is being done to which object, for messages.
    pub(crate) fn doing(&self) -> String {
        let doing = self.doing.unwrap_or(match self.act.verb {
            Verb::Get => "reading",
            Verb::List => "listing",
            Verb::Watch => "watching",
            Verb::Create => "creating",
            Verb::Update => "replacing",
            Verb::Patch => "patching",
            Verb::Delete | Verb::DeleteCollection => "deleting",
        });
        format!("{doing} {}", self.about)
    }

    fn method(&self) -> Method {
        match self.act.verb {
            Verb::Get | Verb::List | Verb::Watch => Method::GET,
            Verb::Create => Method::POST,
            Verb::Update => Method::PUT,
            Verb::Patch => Method::PATCH,
            Verb::Delete | Verb::DeleteCollection => Method::DELETE,
        }
    }

    /// The path with its query.
    pub(crate) fn uri(&self) -> String {
        let act = &self.act;
        let mut uri = if !act.is_resource() {
            act.resource.clone()
        } else if act.group.is_empty() {
            format!("/api/{}", act.version)
        } else {
            format!("/apis/{}/{}", act.group, act.version)
        };
        if act.is_resource() {
            if let Some(namespace) = &act.namespace {
                uri.push_str("/namespaces/");
                encode(&mut uri, namespace);
            }
            for part in [Some(&act.resource), act.name.as_ref(), act.subresource.as_ref()].into_iter().flatten() {
                uri.push('/');
                encode(&mut uri, part);
            }
        }
        for (index, (name, value)) in self.query.iter().enumerate() {
            uri.push(if index == 0 { '?' } else { '&' });
            uri.push_str(name);
            uri.push('=');
            encode(&mut uri, value);
        }
        uri
    }

    /// The request as HTTP.
    pub(crate) fn to_http(&self) -> Result<http::Request<Bytes>> {
        let body = self.body.as_ref().map(Json::to_string).unwrap_or_default();
        let mut builder = http::Request::builder()
            .method(self.method())
            .uri(self.uri())
            .header(http::header::ACCEPT, self.accept)
            .header(http::header::USER_AGENT, AGENT);
        if !body.is_empty() {
            builder = builder.header(http::header::CONTENT_TYPE, self.content_type);
        }
        builder
            .body(Bytes::from(body))
            .map_err(|error| Error::internal(format!("{}: no request can be made of it", self.doing())).cause(error.to_string()))
    }
}

/// Appends text with everything encoded that has a meaning in a path or query.
fn encode(out: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push('%');
            for nibble in [byte >> 4, byte & 15] {
                out.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0').to_ascii_uppercase());
            }
        }
    }
}

/// Decodes `%XX` and, in queries, `+`. Bytes that are no text become replacement characters.
pub(crate) fn decode(text: &str, plus_is_space: bool) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = |offset: usize| bytes.get(at + offset).and_then(|byte| char::from(*byte).to_digit(16));
        match (bytes[at], hex(1), hex(2)) {
            (b'%', Some(high), Some(low)) => {
                out.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
                at += 2;
            }
            (b'+', ..) if plus_is_space => out.push(b' '),
            (byte, ..) => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8(out).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn act(method: &Method, uri: &str) -> String {
        let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
        Act::of(method, path, query).to_string()
    }

    #[test]
    fn acts_are_read_off_paths() {
        for (method, uri, expected) in [
            (Method::GET, "/api/v1/nodes", "list nodes"),
            (Method::GET, "/api/v1/nodes/n1", "get nodes n1"),
            (Method::GET, "/api/v1/namespaces/default", "get namespaces default"),
            (Method::PUT, "/api/v1/namespaces/default/finalize", "update namespaces/finalize default"),
            (Method::GET, "/api/v1/namespaces/default/pods?watch=true", "watch pods default"),
            (Method::GET, "/apis/apps/v1/deployments?limit=500", "list deployments.apps"),
            (Method::PATCH, "/apis/apps/v1/namespaces/d/deployments/x/scale", "patch deployments.apps/scale d/x"),
            (Method::DELETE, "/api/v1/namespaces/d/pods", "deletecollection pods d"),
            (Method::POST, "/api/v1/namespaces/d/pods/p/eviction", "create pods/eviction d/p"),
            (Method::GET, "/api/v1/namespaces/d/pods/p/exec", "create pods/exec d/p"),
            (Method::GET, "/api/v1/nodes/n1/proxy/metrics", "create nodes/proxy/metrics n1"),
            (Method::GET, "/api/v1/namespaces/d/pods/p/log", "get pods/log d/p"),
            (Method::GET, "/version", "get /version"),
            (Method::GET, "/apis/apps/v1", "get /apis/apps/v1"),
            (Method::POST, "/version", "create /version"),
            (Method::CONNECT, "/api/v1/nodes/n1", "create nodes n1"),
        ] {
            assert_eq!(act(&method, uri), expected, "{method} {uri}");
        }
    }

    #[test]
    fn a_call_and_its_act_agree() {
        for uri in ["/api/v1/nodes/n1", "/apis/apps/v1/namespaces/d/deployments/x/scale", "/version", "/api/v1/pods"] {
            let call = Call::new(Act::of(&Method::GET, uri, ""), "it");
            assert_eq!(call.uri(), uri);
        }
    }

    #[test]
    fn queries_survive_the_way() {
        let call = Call::new(Act::of(&Method::GET, "/api/v1/pods", ""), "pods")
            .query("labelSelector", "app in (a,b),x=ü +%")
            .query("limit", "500");
        let uri = call.uri();
        assert_eq!(uri, "/api/v1/pods?labelSelector=app%20in%20%28a%2Cb%29%2Cx%3D%C3%BC%20%2B%25&limit=500");
        let query = uri.split_once('?').unwrap().1;
        let first = query.split('&').next().unwrap().split_once('=').unwrap().1;
        assert_eq!(decode(first, true), "app in (a,b),x=ü +%");
        assert_eq!(decode("a+b%2", true), "a b%2");
        assert_eq!(decode("a+b", false), "a+b");
    }

    #[test]
    fn every_request_says_who_we_are() {
        let call = Call::new(Act::of(&Method::PATCH, "/api/v1/nodes/n1", ""), "n1").body(crate::base::json::json!({"a": 1}));
        let request = call.to_http().unwrap();
        assert!(request.headers()["user-agent"].to_str().unwrap().starts_with("lockgate/"));
        assert_eq!(request.headers()["content-type"], "application/json");
        assert_eq!(request.body().as_ref(), br#"{"a":1}"#);
        assert_eq!(request.method(), Method::PATCH);
    }
}
