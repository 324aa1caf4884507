//! The documents of `/openapi/v3`: which operations there are comes from the table of kinds, the schemas from the archive.
//!
//! A document says what clients read of the real one: operations with their group, version and kind and the parameters by which
//! kubectl knows that the server validates fields and rehearses writes; schemas with all that they refer to. Words are left out.

use std::collections::BTreeSet;

use super::{REFERENCE, name_of, schema_named};
use crate::crd;
use crate::json::{Map, Value, json};
use crate::kinds::{self, Kind};
use crate::request::{Method, Request, Response};
use crate::status::Status;
use crate::view;

/// Schemas that every document has.
const COMMON: [&str; 3] = ["io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions", "io.k8s.apimachinery.pkg.apis.meta.v1.Status", PATCH];
const PATCH: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch";
const PATCH_TYPES: [&str; 4] = [
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
];

/// The group and version of a path below `/openapi/v3/`.
fn group_version(path: &str) -> Option<(&str, &str)> {
    match path.split('/').collect::<Vec<_>>().as_slice() {
        ["api", version] => Some(("", version)),
        ["apis", group, version] => Some((group, version)),
        _ => None,
    }
}

fn base(kind: &Kind) -> String {
    let prefix = if kind.group.is_empty() { "api" } else { "apis" };
    format!("{prefix}/{}", kind.api_version())
}

/// Answers `/openapi/v3` and below; `path` is what stands behind it. Documents are JSON only. `customs` are the served kinds of custom
/// resources.
pub(crate) fn answer(path: &str, request: &Request, version: &str, customs: &[&'static Kind]) -> Response {
    let types = request.accept.split(',').map(|range| range.split(';').next().unwrap_or_default().trim());
    let takes_json =
        request.accept.is_empty() || types.into_iter().any(|range| matches!(range, "application/json" | "application/*" | "*/*"));
    if request.method != Method::Get {
        return Status::method_not_allowed().into();
    }
    match if path.is_empty() { Some(index(customs)) } else { document(path, version, customs) } {
        // The real server says nothing more, neither here nor there.
        None => Response::text(404, ""),
        Some(_) if !takes_json => Response::text(406, ""),
        Some(document) => Response::json(200, document.into()),
    }
}

/// Answers `/openapi/v2` with a document in which nothing is: kubectl asks for it when version 3 does not know a kind, and says that there
/// is none when it is not there either.
pub(crate) fn second(request: &Request, version: &str) -> Response {
    const PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
    if request.method != Method::Get {
        return Status::method_not_allowed().into();
    }
    if request.accept.contains(PROTOBUF) {
        let headers = vec![("Content-Type".to_owned(), PROTOBUF.replace('@', "."))];
        return Response { headers, ..Response::text(200, "") };
    }
    Response::json(200, json!({"swagger": "2.0", "info": {"title": "Kubernetes", "version": version}, "paths": {}}).into())
}

/// The list of the documents. The hash of a document differs when its kinds do.
fn index(customs: &[&'static Kind]) -> Value {
    let all = || kinds::ALL.iter().chain(kinds::ABSENT).chain(customs);
    let bases: BTreeSet<String> = all().map(|kind| base(kind)).collect();
    let entry = |path: String| {
        let of_it = all().filter(|kind| base(kind) == path);
        let fields = |kind: &Kind| crd::document(kind).map(|document| document.to_string()).unwrap_or_default();
        // FNV-1a over everything that a document is made of.
        let text =
            of_it.map(|kind| format!("{} {:?} {}{};", kind.plural, kind.subresources, kind.namespaced, fields(kind))).collect::<String>();
        let seed = super::ARCHIVE.len() as u64 ^ 0xcbf2_9ce4_8422_2325;
        let hash = text.bytes().fold(seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        let url = format!("/openapi/v3/{path}?hash={hash:016X}");
        (path, json!({"serverRelativeURL": url}))
    };
    json!({"paths": Value::Object(bases.into_iter().map(entry).collect())})
}

/// The document of one group and version; `path` is what stands behind `/openapi/v3/`.
fn document(path: &str, version: &str, customs: &[&'static Kind]) -> Option<Value> {
    let (group, of) = group_version(path)?;
    let kinds: Vec<&Kind> =
        kinds::ALL.iter().chain(kinds::ABSENT).chain(customs).copied().filter(|kind| kind.group == group && kind.version == of).collect();
    if kinds.is_empty() {
        return None;
    }
    let mut wanted: Vec<String> = COMMON.iter().map(|name| (*name).to_owned()).collect();
    let mut paths = Map::new();
    for kind in &kinds {
        wanted.extend([name_of(group, of, kind.kind), name_of(group, of, &kind.list_kind())]);
        wanted.extend(
            kind.subresources.iter().filter_map(|sub| subject(kind, sub)).map(|(group, version, kind)| name_of(group, version, kind)),
        );
        add_paths(kind, &mut paths);
    }
    Some(json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": version},
        "paths": paths,
        "components": {"schemas": schemas(wanted, &custom_schemas(&kinds))},
    }))
}

/// The schemas of custom resources and of lists of them.
fn custom_schemas(kinds: &[&Kind]) -> Map {
    let mut schemas = Map::new();
    for kind in kinds {
        let Some(mut schema) = crd::document(kind).cloned() else { continue };
        let marked = |name: String| json!([{"group": kind.group, "version": kind.version, "kind": name}]);
        view::set(&mut schema, &["x-kubernetes-group-version-kind"], marked(kind.kind.to_owned()));
        let name = name_of(kind.group, kind.version, kind.kind);
        let list = json!({"type": "object", "required": ["items"], "x-kubernetes-group-version-kind": marked(kind.list_kind()),
            "properties": {"apiVersion": {"type": "string"}, "kind": {"type": "string"},
                "items": {"type": "array", "items": reference(&name)},
                "metadata": reference("io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta")}});
        schemas.insert(name, schema);
        schemas.insert(name_of(kind.group, kind.version, &kind.list_kind()), list);
    }
    schemas
}

/// The schemas of these names and all that they refer to.
fn schemas(mut wanted: Vec<String>, customs: &Map) -> Map {
    let mut schemas = Map::new();
    while let Some(name) = wanted.pop() {
        if schemas.contains_key(&name) {
            continue;
        }
        let Some(schema) = customs.get(&name).cloned().or_else(|| schema_named(&name)) else { continue };
        references(&schema, &mut wanted);
        schemas.insert(name, schema);
    }
    schemas
}

fn references(schema: &Value, found: &mut Vec<String>) {
    match schema {
        Value::Object(fields) => {
            found.extend(fields.get("$ref").and_then(Value::as_str).and_then(|path| path.strip_prefix(REFERENCE)).map(str::to_owned));
            fields.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

/// What a subresource reads and writes, where that is not the object itself.
fn subject(kind: &Kind, subresource: &str) -> Option<(&'static str, &'static str, &'static str)> {
    match subresource {
        "scale" => Some(("autoscaling", "v1", "Scale")),
        "eviction" => Some(("policy", "v1", "Eviction")),
        "binding" => Some(("", "v1", "Binding")),
        "status" => None,
        _ => Some((kind.group, kind.version, kind.kind)),
    }
}

fn add_paths(kind: &Kind, paths: &mut Map) {
    let place = if kind.namespaced { "namespaces/{namespace}/" } else { "" };
    let collection = format!("/{}/{place}{}", base(kind), kind.plural);
    let own = (kind.group, kind.version, kind.kind);
    let list = (kind.group, kind.version, kind.list_kind());
    let listing = operation("list", own, Some(reference(&name_of(list.0, list.1, &list.2))), None);
    let all = json!({
        "get": listing,
        "post": operation("post", own, Some(own_reference(own)), Some(body(own))),
        "delete": operation("deletecollection", own, Some(reference(COMMON[1])), None),
    });
    if kind.namespaced {
        paths.insert(format!("/{}/{}", base(kind), kind.plural), json!({"get": all["get"].clone()}));
    }
    paths.insert(collection.clone(), all);
    let item = format!("{collection}/{{name}}");
    let mut one = changed(own);
    view::set(&mut one, &["delete"], operation("delete", own, Some(reference(COMMON[1])), None));
    paths.insert(item.clone(), one);
    for name in kind.subresources {
        let of = subject(kind, name).unwrap_or(own);
        let operations = match *name {
            "status" | "scale" => changed(of),
            "binding" | "eviction" => json!({"post": operation("post", of, Some(own_reference(of)), Some(body(of)))}),
            _ => continue,
        };
        paths.insert(format!("{item}/{name}"), operations);
    }
}

type GroupVersionKind<'a> = (&'a str, &'a str, &'a str);

/// Reading, replacing and patching one object.
fn changed(of: GroupVersionKind<'_>) -> Value {
    let patch = PATCH_TYPES.iter().map(|kind| (*kind, json!({"schema": reference(PATCH)})));
    json!({
        "get": operation("get", of, Some(own_reference(of)), None),
        "put": operation("put", of, Some(own_reference(of)), Some(body(of))),
        "patch": operation("patch", of, Some(own_reference(of)), Some(json!({"content": Value::from_iter(patch), "required": true}))),
    })
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("{REFERENCE}{name}")})
}

fn own_reference(of: GroupVersionKind<'_>) -> Value {
    reference(&name_of(of.0, of.1, of.2))
}

fn body(of: GroupVersionKind<'_>) -> Value {
    json!({"content": {"*/*": {"schema": own_reference(of)}}, "required": true})
}

fn operation(action: &str, of: GroupVersionKind<'_>, answer: Option<Value>, body: Option<Value>) -> Value {
    let names: &[&str] = match action {
        "post" | "put" => &["dryRun", "fieldManager", "fieldValidation"],
        "patch" => &["dryRun", "fieldManager", "fieldValidation", "force"],
        "delete" | "deletecollection" => &["dryRun", "gracePeriodSeconds", "propagationPolicy"],
        "list" => &["continue", "fieldSelector", "labelSelector", "limit", "resourceVersion", "resourceVersionMatch", "watch"],
        _ => &[],
    };
    let kind = |name: &str| match name {
        "force" | "watch" => "boolean",
        "gracePeriodSeconds" | "limit" => "integer",
        _ => "string",
    };
    let parameters: Vec<Value> =
        names.iter().map(|name| json!({"name": name, "in": "query", "schema": {"type": kind(name), "uniqueItems": true}})).collect();
    let mut operation = json!({
        "parameters": parameters,
        "responses": {"200": {"description": "OK", "content": {"application/json": {"schema": answer.unwrap_or_default()}}}},
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": {"group": of.0, "version": of.1, "kind": of.2},
    });
    if let Some(body) = body {
        view::set(&mut operation, &["requestBody"], body);
    }
    operation
}
