//! Paths: which resource a request is about, and what it wants.

use super::discovery;
use crate::crd::Customs;
use crate::kinds::{self, Kind};
use crate::request::{Method, Request};
use crate::status::Status;
use crate::store::Key;

/// What a request wants of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    List,
    Watch,
    Create,
    Update,
    Patch,
    Delete,
    DeleteCollection,
}

impl Verb {
    /// The verb as access rules and fault rules write it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
        }
    }

    /// Whether the verb changes anything.
    pub(crate) fn writes(self) -> bool {
        !matches!(self, Self::Get | Self::List | Self::Watch)
    }
}

/// A request for a resource.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) verb: Verb,
    pub(crate) kind: &'static Kind,
    /// `None`: all namespaces, or a cluster-scoped kind.
    pub(crate) namespace: Option<String>,
    /// Empty for a collection.
    pub(crate) name: String,
    /// Empty for the object itself.
    pub(crate) subresource: String,
}

impl Call {
    /// The object that the call names.
    pub(crate) fn key(&self) -> Key {
        Key::new(self.kind, self.namespace.as_deref().unwrap_or_default(), &self.name)
    }

    /// The subject as the log writes it: `deployment/ns/name/scale`, with parts left out that the call has not.
    pub(crate) fn subject(&self) -> String {
        let parts = [self.kind.singular, self.namespace.as_deref().unwrap_or_default(), &self.name, &self.subresource];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/")
    }
}

/// What a path leads to.
#[derive(Debug)]
pub(crate) enum Target {
    /// `/readyz`, `/livez`, `/healthz`.
    Health,
    /// `/version`.
    Version,
    /// `/api`, `/apis` and below, without a resource.
    Discovery(Vec<String>),
    /// `/openapi/v3` and below: what stands behind it, empty for the list of documents.
    OpenApi(String),
    /// `/openapi/v2`.
    OpenApi2,
    /// A resource.
    Resource(Call),
}

/// What a real server has beside its resources, and this one has not.
const OWN: [&str; 3] = ["metrics", "debug", "openid"];

/// Reads the path of a request.
///
/// # Errors
/// 404 for what no server has, 501 for what this one has not, 405 for a verb that a resource has not.
pub(crate) fn target(request: &Request, customs: &Customs) -> Result<Target, Status> {
    let Some(path) = request.path.trim_end_matches('/').strip_prefix('/') else { return Err(Status::unknown_path()) };
    let segments: Vec<&str> = path.split('/').collect();
    match segments.as_slice() {
        ["readyz" | "livez" | "healthz", ..] => Ok(Target::Health),
        ["version"] => Ok(Target::Version),
        ["openapi", "v3", rest @ ..] => Ok(Target::OpenApi(rest.join("/"))),
        ["openapi", "v2"] => Ok(Target::OpenApi2),
        [first, ..] if OWN.contains(first) => Err(Status::not_modelled(&format!("/{first}"))),
        ["api"] | ["apis"] | ["api" | "apis", _] | ["apis", _, _] => described(&segments, customs),
        ["api", version, rest @ ..] => resource(request, ("", version), rest, customs).map(Target::Resource),
        ["apis", group, version, rest @ ..] => resource(request, (group, version), rest, customs).map(Target::Resource),
        _ => Err(Status::unknown_path()),
    }
}

/// Whether a path leads to nothing that any part of the server looks after: the answer is then no document.
pub(crate) fn is_nowhere(request: &Request, customs: &Customs) -> bool {
    let segments: Vec<&str> = request.path.split('/').filter(|part| !part.is_empty()).collect();
    match segments.as_slice() {
        ["apis", group, ..] if discovery::serves(group, None, &[]) => false,
        // What is no kind of custom resources is nobody's, in their groups too.
        ["apis", group, version, "namespaces", _, plural, ..] | ["apis", group, version, plural, ..] => {
            !customs.kinds().iter().any(|kind| (kind.group, kind.version, kind.plural) == (*group, *version, *plural))
        }
        ["api", _, ..] => false,
        _ => true,
    }
}

fn described(segments: &[&str], customs: &Customs) -> Result<Target, Status> {
    let known = match segments {
        ["api"] | ["apis"] => true,
        ["api", version] => *version == "v1",
        ["apis", group] => discovery::serves(group, None, &customs.kinds()),
        ["apis", group, version] => discovery::serves(group, Some(version), &customs.kinds()),
        _ => false,
    };
    if known {
        return Ok(Target::Discovery(segments.iter().map(|s| (*s).to_owned()).collect()));
    }
    let group = segments.get(1).copied().unwrap_or_default();
    Err(kinds::not_modelled(group, "v1", "").map_or_else(Status::unknown_path, |what| Status::not_modelled(&what)))
}

fn resource(request: &Request, (group, version): (&str, &str), rest: &[&str], customs: &Customs) -> Result<Call, Status> {
    if rest.iter().any(|part| part.is_empty()) {
        return Err(Status::unknown_path());
    }
    if rest.first() == Some(&"watch") {
        return Err(Status::not_modelled("the deprecated /watch/ paths"));
    }
    // `/namespaces/x/status` is the namespace itself; `/namespaces/x/pods` is what lives in it.
    let (namespace, rest) = match rest {
        ["namespaces", name, plural, more @ ..] if !(group.is_empty() && matches!(*plural, "status" | "finalize")) => {
            let _ = more;
            (Some((*name).to_owned()), &rest[2..])
        }
        _ => (None, rest),
    };
    let (plural, name, subresource) = match rest {
        [plural] => (*plural, "", ""),
        [plural, name] => (*plural, *name, ""),
        [plural, name, subresource] => (*plural, *name, *subresource),
        // Whatever comes behind `proxy` belongs to the proxied path.
        [plural, name, "proxy", ..] => (*plural, *name, "proxy"),
        _ => return Err(Status::unknown_path()),
    };
    if (group, version, plural) == ("", "v1", "bindings") {
        return bindings(request, namespace, name);
    }
    if let Some(review) = kinds::review(group, version, plural) {
        return question(request, review, namespace, rest.len());
    }
    let found = kinds::by_resource(group, version, plural).or_else(|| customs.served(group, version, plural));
    let Some(kind) = found else {
        if let Some(call) = nothing(request, (group, version, plural), namespace.as_deref(), rest.len()) {
            return Ok(call);
        }
        let what = kinds::not_modelled(group, version, plural);
        return Err(what.map_or_else(Status::unknown_path, |what| Status::not_modelled(&what)));
    };
    if kind.namespaced != namespace.is_some() && !(kind.namespaced && name.is_empty()) {
        return Err(Status::unknown_path());
    }
    if !subresource.is_empty() && !kind.has_subresource(subresource) {
        if kind.custom().is_some() {
            return Err(Status::not_found(kind, name));
        }
        let what = kinds::subresource_not_modelled(kind, subresource);
        return Err(what.map_or_else(Status::unknown_path, |what| Status::not_modelled(&what)));
    }
    let all_namespaces = kind.namespaced && namespace.is_none();
    let verb = verb(request, name, subresource, all_namespaces)?;
    if verb == Verb::DeleteCollection && kind.is(kinds::NAMESPACE) {
        return Err(Status::method_not_allowed());
    }
    Ok(Call { verb, kind, namespace, name: name.to_owned(), subresource: subresource.to_owned() })
}

/// A list or a watch of a kind of which there are no objects. Whoever wants one of them, or makes one, is refused by name.
fn nothing(request: &Request, (group, version, plural): (&str, &str, &str), namespace: Option<&str>, parts: usize) -> Option<Call> {
    let kind = kinds::absent(group, version, plural)?;
    let fits = parts == 1 && (kind.namespaced || namespace.is_none());
    let verb = verb(request, "", "", namespace.is_none()).ok().filter(|verb| fits && matches!(verb, Verb::List | Verb::Watch))?;
    Some(Call { verb, kind, namespace: namespace.map(str::to_owned), name: String::new(), subresource: String::new() })
}

/// A question about access can only be created.
fn question(request: &Request, kind: &'static Kind, namespace: Option<String>, parts: usize) -> Result<Call, Status> {
    if parts > 1 || kind.namespaced != namespace.is_some() {
        return Err(Status::unknown_path());
    }
    if request.method != Method::Post {
        return Err(Status::method_not_allowed());
    }
    Ok(Call { verb: Verb::Create, kind, namespace, name: String::new(), subresource: String::new() })
}

/// The older way to bind a pod: the name of the pod is in the body.
fn bindings(request: &Request, namespace: Option<String>, name: &str) -> Result<Call, Status> {
    if namespace.is_none() || !name.is_empty() {
        return Err(Status::unknown_path());
    }
    if request.method != Method::Post {
        return Err(Status::method_not_allowed());
    }
    Ok(Call { verb: Verb::Create, kind: kinds::POD, namespace, name: String::new(), subresource: "binding".to_owned() })
}

/// Subresources that are only ever created.
const CREATED: &[&str] = &["binding", "eviction", "token"];
/// Subresources that only some methods go with, with the verbs of these.
const CONNECTED: &[(&str, &[(Method, Verb)])] =
    &[("exec", &[(Method::Get, Verb::Get), (Method::Post, Verb::Create)]), ("log", &[(Method::Get, Verb::Get)])];

fn verb(request: &Request, name: &str, subresource: &str, all_namespaces: bool) -> Result<Verb, Status> {
    let flag = |name: &str| request.query(name).is_some_and(|v| matches!(v, "" | "true" | "1"));
    if CREATED.contains(&subresource) {
        return if request.method == Method::Post { Ok(Verb::Create) } else { Err(Status::method_not_allowed()) };
    }
    if let Some((_, methods)) = CONNECTED.iter().find(|(connected, _)| *connected == subresource) {
        let verb = methods.iter().find(|(method, _)| *method == request.method).map(|(_, verb)| *verb);
        return verb.ok_or_else(Status::method_not_allowed);
    }
    let verb = match (request.method, name.is_empty()) {
        (Method::Get, true) if flag("watch") => Verb::Watch,
        (Method::Get, true) => Verb::List,
        (Method::Get, false) => Verb::Get,
        (Method::Post, true) => Verb::Create,
        (Method::Put, false) => Verb::Update,
        (Method::Patch, false) => Verb::Patch,
        (Method::Delete, true) => Verb::DeleteCollection,
        (Method::Delete, false) => Verb::Delete,
        (Method::Post, false) | (Method::Put | Method::Patch, true) => return Err(Status::method_not_allowed()),
    };
    let read_only = (all_namespaces || !subresource.is_empty()) && matches!(verb, Verb::Create | Verb::DeleteCollection);
    if read_only || (!subresource.is_empty() && verb == Verb::Delete) {
        return Err(Status::method_not_allowed());
    }
    Ok(verb)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(request: &Request) -> Result<Call, (u16, String)> {
        match target(request, &Customs::default()) {
            Ok(Target::Resource(call)) => Ok(call),
            Ok(other) => panic!("not a resource: {other:?}"),
            Err(status) => Err((status.code(), status.message().to_owned())),
        }
    }

    #[test]
    fn resources_are_found() {
        let c = call(&Request::get("/apis/apps/v1/namespaces/x/deployments/d/scale")).unwrap();
        assert_eq!((c.kind.kind, c.key().to_string().as_str(), c.verb), ("Deployment", "deployment/x/d", Verb::Get));
        assert_eq!(c.subject(), "deployment/x/d/scale");
        let c = call(&Request::get("/api/v1/namespaces/x/status")).unwrap();
        assert_eq!((c.kind.kind, c.name.as_str(), c.subresource.as_str()), ("Namespace", "x", "status"));
        let c = call(&Request::get("/api/v1/pods?watch=true")).unwrap();
        assert_eq!((c.verb, c.namespace), (Verb::Watch, None));
        let c = call(&Request::delete("/api/v1/namespaces/x/pods")).unwrap();
        assert_eq!(c.verb, Verb::DeleteCollection);
        let c = call(&Request::get("/api/v1/nodes/n1")).unwrap();
        assert_eq!(c.key().to_string(), "node/n1");
    }

    #[test]
    fn what_is_missing_is_named_or_unknown() {
        let code = |path: &str| call(&Request::get(path)).unwrap_err();
        assert_eq!(code("/api/v1/componentstatuses"), (501, "simulator: not modelled: componentstatuses".into()));
        assert_eq!(code("/apis/storage.k8s.io/v1/csinodes"), (501, "simulator: not modelled: csinodes.storage.k8s.io".into()));
        assert_eq!(code("/api/v1/namespaces/x/pods/p/attach").1, "simulator: not modelled: pods/attach");
        assert_eq!(code("/apis/apps/v1/namespaces/x/daemonsets/d/scale").0, 404);
        assert_eq!(code("/apis/example.com/v1/things").0, 404);
        assert_eq!(code("/apis/apps/v1beta1/deployments").0, 404);
        assert_eq!(code("/api/v1/pods/p").0, 404);
        assert_eq!(code("/api/v1/namespaces/x/nodes").0, 404);
        assert_eq!(code("/api/v1//pods").0, 404);
        assert_eq!(code("/openapi/v1").0, 404);
        assert_eq!(code("/metrics"), (501, "simulator: not modelled: /metrics".into()));
        assert_eq!(code("").0, 404);
    }

    #[test]
    fn what_there_is_none_of_can_be_listed_and_nothing_else() {
        for path in ["/api/v1/namespaces/x/limitranges", "/api/v1/limitranges?watch=true", "/apis/storage.k8s.io/v1/storageclasses"] {
            let call = call(&Request::get(path)).unwrap();
            assert_eq!((call.kind.status, call.name.as_str()), (kinds::Modelling::Absent, ""), "{path}");
        }
        let refused = |request: &Request| call(request).unwrap_err();
        let claims = "/api/v1/namespaces/x/persistentvolumeclaims";
        let named = (501, "simulator: not modelled: persistentvolumeclaims".to_owned());
        assert_eq!(refused(&Request::get(&format!("{claims}/data"))), named);
        assert_eq!(refused(&Request::get(&format!("{claims}/data/status"))), named);
        for (method, path) in [(Method::Post, claims), (Method::Delete, claims), (Method::Patch, &format!("{claims}/data"))] {
            assert_eq!(refused(&Request::new(method, path)), named, "{method:?}");
        }
        assert_eq!(refused(&Request::get("/api/v1/namespaces/x/persistentvolumes")).0, 501);
    }

    #[test]
    fn wrong_verbs_are_refused() {
        let code = |method, path: &str| call(&Request::new(method, path)).unwrap_err().0;
        assert_eq!(code(Method::Post, "/api/v1/namespaces/x/pods/p"), 405);
        assert_eq!(code(Method::Put, "/api/v1/nodes"), 405);
        assert_eq!(code(Method::Delete, "/apis/apps/v1/namespaces/x/deployments/d/status"), 405);
        assert_eq!(code(Method::Delete, "/api/v1/pods"), 405);
    }
}
