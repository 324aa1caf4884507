//! Whether a server says of a verb that it can be tried: by the parameter `dryRun` in its OpenAPI document of the group and version, as kubectl
//! looks it up (`k8s.io/cli-runtime/pkg/resource/query_param_verifier_v3.go`). Where there is no such document its version decides.

use std::collections::{BTreeMap, BTreeSet};

use super::request::{Act, Call, Verb};
use super::wire::Wire;
use crate::base::json::Value as Json;
use crate::base::{Reason, Result};

/// What was looked up so far: by group and version, the verbs that can be tried; none where the server does not say.
#[derive(Clone, Debug, Default)]
pub(super) struct Tries(BTreeMap<String, Option<BTreeSet<String>>>);

impl Tries {
    /// Whether what was looked up has this act's group and version.
    pub(super) fn knows(&self, act: &Act) -> bool {
        self.0.contains_key(&root(act))
    }

    /// Notes what was looked up.
    pub(super) fn take(&mut self, act: &Act, found: Option<BTreeSet<String>>) {
        self.0.insert(root(act), found);
    }

    /// Why the server is not asked about a write: it says what can be tried, and this is not among it.
    pub(super) fn lacks(&self, act: &Act) -> Option<String> {
        let known = self.0.get(&root(act))?.as_ref()?;
        (!known.contains(&operation(act))).then(|| {
            let part = act.subresource.as_ref().map_or_else(String::new, |part| format!("/{part}"));
            format!("not asked: the server does not say that `{}` of `{}{part}` can be tried (`dryRun`)", act.verb, act.resource)
        })
    }
}

/// Looks it up; nothing where there is no document.
///
/// # Errors
/// When the operator stops it.
pub(super) async fn look_up(base: &Wire, act: &Act) -> Result<Option<BTreeSet<String>>> {
    let root = root(act);
    match base.json(&Call::path(&format!("/openapi/v3{root}"), "what the server says of its verbs")).await {
        Ok(document) => Ok(tried(&document)),
        Err(error) if error.reason == Reason::Interrupted => Err(error),
        Err(_) => Ok(None),
    }
}

/// The operations of a document with the parameter; nothing when it has no paths.
fn tried(document: &Json) -> Option<BTreeSet<String>> {
    let paths = document.get("paths").and_then(Json::as_object).filter(|paths| !paths.is_empty())?;
    let has = |of: &Json| {
        let parameters = of.get("parameters").and_then(Json::as_array).into_iter().flatten();
        parameters.into_iter().any(|parameter| parameter.get("name").and_then(Json::as_str) == Some("dryRun"))
    };
    let mut found = BTreeSet::new();
    for (path, operations) in paths.iter() {
        let whole = has(operations);
        for method in ["post", "put", "patch", "delete"] {
            if operations.get(method).is_some_and(|operation| whole || has(operation)) {
                found.insert(format!("{method} {path}"));
            }
        }
    }
    Some(found)
}

/// `/apis/apps/v1`
fn root(act: &Act) -> String {
    if act.group.is_empty() { format!("/api/{}", act.version) } else { format!("/apis/{}/{}", act.group, act.version) }
}

/// `patch /apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale`
fn operation(act: &Act) -> String {
    let method = match act.verb {
        Verb::Create => "post",
        Verb::Update => "put",
        Verb::Patch => "patch",
        _ => "delete",
    };
    let namespace = if act.namespace.is_some() { "/namespaces/{namespace}" } else { "" };
    let is_named = act.subresource.is_some() || !matches!(act.verb, Verb::Create | Verb::DeleteCollection);
    let name = if is_named { "/{name}" } else { "" };
    let part = act.subresource.as_ref().map_or_else(String::new, |part| format!("/{part}"));
    format!("{method} {}{namespace}/{}{name}{part}", root(act), act.resource)
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;
    use crate::base::json::json;

    #[test]
    fn what_a_document_says_decides_and_no_document_nothing() {
        let dry = json!({ "parameters": [{ "name": "dryRun", "in": "query" }] });
        let document = json!({ "paths": {
            "/apis/apps/v1/namespaces/{namespace}/deployments/{name}": { "patch": dry.clone(), "delete": {}, "get": {} },
            "/apis/apps/v1/namespaces/{namespace}/deployments": { "post": dry.clone() },
            "/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale": { "parameters": [{ "name": "dryRun" }], "put": {} },
        } });
        let act = |method: &Method, path: &str| Act::of(method, &format!("/apis/apps/v1/namespaces/d/deployments{path}"), "");
        let mut tries = Tries::default();
        let patch = act(&Method::PATCH, "/x");
        assert!(!tries.knows(&patch) && tries.lacks(&patch).is_none());
        tries.take(&patch, tried(&document));
        for (method, path, lacks) in [
            (Method::PATCH, "/x", false),
            (Method::POST, "", false),
            (Method::PUT, "/x/scale", false),
            (Method::DELETE, "/x", true),
            (Method::PATCH, "/x/scale", true),
            (Method::PUT, "/x", true),
        ] {
            assert_eq!(tries.lacks(&act(&method, path)).is_some(), lacks, "{method} {path}");
        }
        tries.take(&patch, tried(&json!({ "kind": "Status" })));
        assert_eq!(tries.lacks(&act(&Method::DELETE, "/x")), None);
    }
}
