//! Questions of a plan to the live server: a write that it does all but store (`dryRun=All`), and whether this user may do something.
//!
//! What only asks is told from what writes here, by the whole request: a server takes the options of a deletion from its body when there is
//! one, and then does not look at its query (`k8s.io/apiserver/pkg/endpoints/handlers/delete.go`).

use bytes::Bytes;
use http::{HeaderMap, Method, Request, header};
use kube::client::Body;

use super::request::{AGENT, Act, Call, Verb, decode};
use crate::base::json::{Value as Json, json};
use crate::base::{Error, Result};

/// Parts of objects that can be written in a dry run. To others a connection is made, or a program acts, whatever the query says.
const PARTS: [&str; 3] = ["status", "scale", "eviction"];

/// Whether this request asks and changes nothing, although its verb is one that writes.
pub(super) fn only_asks(act: &Act, query: &str, body: &[u8]) -> bool {
    if !act.is_resource() || act.subresource.as_deref().is_some_and(|part| !PARTS.contains(&part)) {
        return false;
    }
    if is_review(act) {
        return act.verb == Verb::Create;
    }
    let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let mut said = pairs.filter(|(name, _)| decode(name, true) == "dryRun").map(|(_, value)| decode(value, true));
    if said.next().as_deref() != Some("All") || said.next().is_some() {
        return false;
    }
    let in_body = |pointer: &str| {
        let document = serde_json::from_slice::<Json>(body).ok();
        document.is_some_and(|document| document.pointer(pointer) == Some(&json!(["All"])))
    };
    match act.verb {
        Verb::Delete | Verb::DeleteCollection => in_body("/dryRun"),
        Verb::Create if act.subresource.as_deref() == Some("eviction") => in_body("/deleteOptions/dryRun"),
        _ => true,
    }
}

/// Whether it asks what this user may do: answered at once, never stored.
pub(super) fn is_review(act: &Act) -> bool {
    act.group == "authorization.k8s.io" && act.resource == "selfsubjectaccessreviews" && act.name.is_none() && act.subresource.is_none()
}

/// A write as it is put to the server.
#[derive(Clone, Debug)]
pub(super) struct Question {
    method: Method,
    uri: String,
    content_type: String,
    body: Bytes,
}

/// A write as it came, before it is read.
#[derive(Clone, Debug)]
pub(super) struct Original {
    pub(super) method: Method,
    /// Path and query, encoded.
    pub(super) uri: String,
    pub(super) content_type: String,
    pub(super) body: Vec<u8>,
}

impl Original {
    /// The document that it carries; nothing when it is none, or in another encoding than JSON.
    pub(super) fn document(&self) -> Option<Json> {
        serde_json::from_slice(&self.body).ok()
    }

    /// Its field manager.
    fn manager(&self) -> Option<String> {
        let (_, query) = self.uri.split_once('?')?;
        query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find(|(name, _)| *name == "fieldManager")
            .map(|(_, value)| decode(value, true))
    }
}

impl Question {
    /// The very request. Where it names the version of the object that it is about, that is the one on the cluster.
    pub(super) fn verbatim(original: &Original, act: &Act, version: Option<&str>) -> Question {
        let mark = if original.uri.contains('?') { '&' } else { '?' };
        let (mut content_type, mut body) = (original.content_type.clone(), original.body.clone());
        let replaced = match (act.verb, act.subresource.as_deref()) {
            (Verb::Delete | Verb::DeleteCollection, _) => Some(deletion(original.document())),
            (Verb::Create, Some("eviction")) => Some(eviction(original.document(), act)),
            _ => original.document().and_then(|document| bound(document, version)),
        };
        if let Some(document) = replaced {
            body = document.to_string().into_bytes();
            if matches!(act.verb, Verb::Delete | Verb::DeleteCollection | Verb::Create) {
                "application/json".clone_into(&mut content_type);
            }
        }
        let uri = format!("{}{mark}dryRun=All", original.uri);
        Question { method: original.method.clone(), uri, content_type, body: body.into() }
    }

    /// Everything that the plan has done to this object, as one merge patch.
    pub(super) fn patch(original: &Original, act: &Act, patch: &Json) -> Question {
        let call = Call { content_type: "application/merge-patch+json", ..managed(original, act) };
        Question::of(&call.body(patch.clone()), Method::PATCH)
    }

    /// The same as a replacement.
    pub(super) fn update(original: &Original, act: &Act, object: Json) -> Question {
        Question::of(&managed(original, act).body(object), Method::PUT)
    }

    /// An object that the plan made, with all that it has done to it since.
    pub(super) fn create(original: &Original, act: &Act, object: Json) -> Question {
        let act = Act { verb: Verb::Create, name: None, ..act.clone() };
        Question::of(&managed(original, &act).body(object), Method::POST)
    }

    /// Whether this user may do that.
    pub(super) fn may(act: &Act, name: Option<&str>) -> Question {
        let attributes = json!({
            "namespace": act.namespace, "verb": act.verb.as_str(), "group": act.group, "version": act.version,
            "resource": act.resource, "subresource": act.subresource, "name": name,
        });
        let attributes: Json = attributes
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        let body = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": { "resourceAttributes": attributes },
        });
        Question {
            method: Method::POST,
            uri: "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews".to_owned(),
            content_type: "application/json".to_owned(),
            body: body.to_string().into(),
        }
    }

    fn of(call: &Call, method: Method) -> Question {
        let body = call.body.as_ref().map(Json::to_string).unwrap_or_default();
        Question { method, uri: call.uri(), content_type: call.content_type.to_owned(), body: body.into() }
    }

    /// What it does, by its method and path.
    pub(super) fn act(&self) -> Act {
        let (path, query) = self.uri.split_once('?').unwrap_or((&self.uri, ""));
        Act::of(&self.method, path, query)
    }

    /// It as HTTP.
    pub(super) fn request(&self) -> Result<Request<Body>> {
        let mut builder = Request::builder().method(self.method.clone()).uri(&self.uri);
        builder = builder.header(header::ACCEPT, "application/json").header(header::USER_AGENT, AGENT);
        if !self.content_type.is_empty() {
            builder = builder.header(header::CONTENT_TYPE, &self.content_type);
        }
        builder
            .body(Body::from(self.body.to_vec()))
            .map_err(|error| Error::internal("a question to the server cannot be made").cause(error.to_string()))
    }
}

fn managed(original: &Original, act: &Act) -> Call {
    let call = Call::new(act.clone(), String::new()).query("dryRun", "All");
    match original.manager() {
        Some(manager) => call.query("fieldManager", manager),
        None => call,
    }
}

/// The options of a deletion that is only asked about. Versions are the copy's own.
fn deletion(options: Option<Json>) -> Json {
    let mut options = options.filter(Json::is_object).unwrap_or_else(|| json!({}));
    options["apiVersion"] = "v1".into();
    options["kind"] = "DeleteOptions".into();
    options["dryRun"] = json!(["All"]);
    unbound(options.get_mut("preconditions"));
    options
}

fn eviction(document: Option<Json>, act: &Act) -> Json {
    let fresh = || {
        json!({
            "apiVersion": "policy/v1", "kind": "Eviction",
            "metadata": { "name": act.name.clone().unwrap_or_default(), "namespace": act.namespace.clone().unwrap_or_default() },
        })
    };
    let mut document = document.filter(Json::is_object).unwrap_or_else(fresh);
    document["deleteOptions"]["dryRun"] = json!(["All"]);
    unbound(document.pointer_mut("/deleteOptions/preconditions"));
    document
}

fn unbound(preconditions: Option<&mut Json>) {
    if let Some(preconditions) = preconditions.and_then(Json::as_object_mut) {
        drop(preconditions.remove("resourceVersion"));
    }
}

/// The document bound to this version, if it names any; nothing when it stays as it is.
fn bound(mut document: Json, version: Option<&str>) -> Option<Json> {
    let named = document.pointer_mut("/metadata/resourceVersion")?;
    *named = version?.into();
    Some(document)
}

/// What the server warned of.
pub(super) fn warnings(headers: &HeaderMap) -> Vec<String> {
    headers.get_all(header::WARNING).iter().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(method: &Method, uri: &str, body: &str) -> bool {
        let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
        only_asks(&Act::of(method, path, query), query, body.as_bytes())
    }

    #[test]
    fn what_only_asks_is_told_from_what_writes() {
        let pod = "/api/v1/namespaces/d/pods/p";
        for (method, uri, body, expected) in [
            (Method::PATCH, "/api/v1/nodes/n?dryRun=All", "{}", true),
            (Method::PATCH, "/api/v1/nodes/n?fieldManager=a&dryRun=All", "{}", true),
            (Method::POST, "/api/v1/namespaces/d/pods?dryRun=All", "{}", true),
            (Method::PUT, "/apis/apps/v1/namespaces/d/deployments/x/scale?dryRun=All", "{}", true),
            (Method::DELETE, &format!("{pod}?dryRun=All"), r#"{"dryRun":["All"]}"#, true),
            (Method::POST, &format!("{pod}/eviction?dryRun=All"), r#"{"deleteOptions":{"dryRun":["All"]}}"#, true),
            (Method::POST, "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", "{}", true),
            (Method::PATCH, "/api/v1/nodes/n", "{}", false),
            (Method::PATCH, "/api/v1/nodes/n?dryRun=all", "{}", false),
            (Method::PATCH, "/api/v1/nodes/n?dryRun=All&dryRun=None", "{}", false),
            (Method::PATCH, "/api/v1/nodes/n?dryRun=All&dry%52un=", "{}", false),
            (Method::PATCH, "/api/v1/nodes/n?x=dryRun=All", "{}", false),
            // With a body, the body decides.
            (Method::DELETE, &format!("{pod}?dryRun=All"), "{}", false),
            (Method::DELETE, &format!("{pod}?dryRun=All"), "", false),
            (Method::DELETE, &format!("{pod}?dryRun=All"), "k8s\0", false),
            (Method::DELETE, "/api/v1/namespaces/d/pods?dryRun=All", "{}", false),
            (Method::POST, &format!("{pod}/eviction?dryRun=All"), "{}", false),
            // Connections and programs know no dry run.
            (Method::GET, &format!("{pod}/exec?dryRun=All"), "", false),
            (Method::POST, &format!("{pod}/exec?dryRun=All"), "", false),
            (Method::POST, "/api/v1/nodes/n/proxy/run?dryRun=All", "", false),
            (Method::POST, "/api/v1/namespaces/d/serviceaccounts/a/token?dryRun=All", "{}", false),
            (Method::POST, &format!("{pod}/binding?dryRun=All"), "{}", false),
            (Method::POST, "/version?dryRun=All", "", false),
            (Method::POST, "/apis/authorization.k8s.io/v1/subjectaccessreviews", "{}", false),
            (Method::DELETE, "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", "{}", false),
        ] {
            assert_eq!(asks(&method, uri, body), expected, "{method} {uri} {body}");
        }
    }

    #[test]
    fn every_question_only_asks() {
        for (method, path, body) in [
            (Method::DELETE, "/api/v1/nodes/n", String::new()),
            (
                Method::DELETE,
                "/api/v1/nodes/n",
                r#"{"preconditions":{"uid":"u","resourceVersion":"7"},"propagationPolicy":"Foreground"}"#.to_owned(),
            ),
            (Method::DELETE, "/api/v1/namespaces/d/pods", "k8s\0 what protobuf begins with".to_owned()),
            (Method::POST, "/api/v1/namespaces/d/pods/p/eviction", r#"{"deleteOptions":{"gracePeriodSeconds":5}}"#.to_owned()),
            (Method::POST, "/api/v1/namespaces/d/pods/p/eviction", String::new()),
            (Method::PATCH, "/api/v1/nodes/n?fieldManager=helm", r#"{"metadata":{"resourceVersion":"9"}}"#.to_owned()),
            (Method::PUT, "/api/v1/nodes/n", "k8s\0".to_owned()),
        ] {
            let (bare, query) = path.split_once('?').unwrap_or((path, ""));
            let act = Act::of(&method, bare, query);
            let original = Original { method, uri: path.to_owned(), content_type: "application/json".to_owned(), body: body.into_bytes() };
            let whole = json!({ "metadata": { "name": "n" } });
            for question in [
                Question::verbatim(&original, &act, Some("3")),
                Question::patch(&original, &Act { verb: Verb::Patch, subresource: None, ..act.clone() }, &whole),
                Question::update(&original, &Act { verb: Verb::Update, subresource: None, ..act.clone() }, whole.clone()),
                Question::create(&original, &Act { subresource: None, ..act.clone() }, whole.clone()),
                Question::may(&act, Some("n")),
            ] {
                let (path, query) = question.uri.split_once('?').unwrap_or((&question.uri, ""));
                assert!(only_asks(&Act::of(&question.method, path, query), query, &question.body), "{question:?}");
            }
        }
    }

    #[test]
    fn a_question_keeps_what_the_write_says() {
        let act = Act::of(&Method::DELETE, "/api/v1/nodes/n", "");
        let body = br#"{"preconditions":{"uid":"u","resourceVersion":"7"},"propagationPolicy":"Orphan"}"#.to_vec();
        let original = Original { method: Method::DELETE, uri: "/api/v1/nodes/n".into(), content_type: "application/json".into(), body };
        let asked: Json = serde_json::from_slice(&Question::verbatim(&original, &act, None).body).unwrap();
        let expected = json!({
            "apiVersion": "v1", "kind": "DeleteOptions", "dryRun": ["All"], "preconditions": { "uid": "u" }, "propagationPolicy": "Orphan",
        });
        assert_eq!(asked, expected);
        let act = Act::of(&Method::PATCH, "/api/v1/nodes/n", "");
        let body = br#"{"metadata":{"resourceVersion":"900"},"spec":{"unschedulable":true}}"#.to_vec();
        let original = Original { method: Method::PATCH, uri: "/api/v1/nodes/n".into(), content_type: "application/json".into(), body };
        let asked: Json = serde_json::from_slice(&Question::verbatim(&original, &act, Some("4")).body).unwrap();
        assert_eq!(asked, json!({ "metadata": { "resourceVersion": "4" }, "spec": { "unschedulable": true } }));
    }
}
