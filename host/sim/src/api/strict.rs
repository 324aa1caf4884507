//! Fields that a type does not have and fields that come twice: told, dropped or refused, as the client wants it.

use super::options::Validation;
use super::{Call, Cx};
use crate::apply::plain_in_go;
use crate::crd;
use crate::json::Value;
use crate::kinds::Kind;
use crate::openapi;
use crate::patch::PatchKind;
use crate::schema::{self, ANY, Finding, Type};
use crate::status::Status;
use crate::view;

/// All warnings of one answer have at most this many characters.
const MOST_CHARACTERS: usize = 4096;

/// The type that the body of a call has.
fn type_of(call: &Call) -> &'static Type {
    let named = match call.subresource.as_str() {
        "scale" => openapi::type_named("io.k8s.api.autoscaling.v1.Scale"),
        "eviction" => openapi::type_named("io.k8s.api.policy.v1.Eviction"),
        "binding" => openapi::type_named("io.k8s.api.core.v1.Binding"),
        "token" => openapi::type_named("io.k8s.api.authentication.v1.TokenRequest"),
        _ => openapi::type_of(call.kind),
    };
    named.unwrap_or(&ANY)
}

/// The type that Go decodes a body into: of a custom resource it knows what every object has.
fn decoded(call: &Call, kind: &'static Type) -> &'static Type {
    if call.kind.custom().is_some() && call.subresource != "scale" { crd::frame() } else { kind }
}

/// Looks for such fields in a body and drops them. The error is the reason of a refusal.
pub(super) fn body(cx: &mut Cx<'_>, call: &Call, wanted: Validation, text: &[u8], object: &mut Value) -> Result<(), String> {
    let kind = type_of(call);
    let stored = cx.store.get(&call.key()).map(|stored| &**stored).filter(|_| call.subresource != "scale");
    let found = schema::findings(kind, text, stored);
    if found.iter().any(|finding| matches!(finding, Finding::Unknown(_))) {
        schema::prune(kind, object, stored);
    }
    schema::decode(decoded(call, kind), object, stored);
    let mut found: Vec<String> = found.iter().map(Finding::to_string).collect();
    if call.kind.custom().is_some() {
        // The server looks at the metadata of embedded objects last.
        found.sort_by_key(|text| (text.contains(".metadata."), text.clone()));
    }
    tell(cx, wanted, found)
}

/// Tells the fields of a custom resource in a version that is not served, of which nobody knows any.
pub(super) fn foreign(cx: &mut Cx<'_>, kind: &Kind, wanted: Validation, object: &Value) -> Result<(), String> {
    let metadata = schema::unknown(crd::frame(), object, None);
    let mut found: Vec<String> = metadata.into_iter().filter(|path| path.starts_with("metadata.")).collect();
    let own = ["apiVersion", "kind", "metadata"];
    let others = object.as_object().into_iter().flatten().map(|(name, _)| name.to_string());
    found.extend(others.filter(|name| !own.contains(&name.as_str())));
    if view::text(object, &["kind"]) != kind.kind {
        return Ok(());
    }
    tell(cx, wanted, found.into_iter().map(|path| Finding::Unknown(path).to_string()).collect())
}

/// Looks for such fields in a patch and in what it makes of an object, and drops them.
///
/// # Errors
/// 422 when the client wants them to be refused.
pub(super) fn patched(
    cx: &mut Cx<'_>,
    call: &Call,
    (wanted, patch): (Validation, PatchKind),
    text: &[u8],
    before: &Value,
    after: &mut Value,
) -> Result<(), Status> {
    let kind = type_of(call);
    let prefix = if patch == PatchKind::Json { "json patch " } else { "" };
    let mut found: Vec<String> = schema::findings(&ANY, text, None).iter().map(|finding| format!("{prefix}{finding}")).collect();
    let unknown = schema::unknown(kind, after, Some(before));
    found.extend(unknown.iter().map(|path| Finding::Unknown(path.clone()).to_string()));
    let refuse = |why: String| match patch {
        PatchKind::Strategic => {
            let patch: Value = serde_json::from_slice(text).unwrap_or_default();
            Status::invalid_patch_text(&plain_in_go(&patch), &why)
        }
        _ => Status::invalid_patch(after, &why),
    };
    tell(cx, wanted, found).map_err(refuse)?;
    if !unknown.is_empty() {
        schema::prune(kind, after, Some(before));
    }
    schema::decode(decoded(call, kind), after, Some(before));
    Ok(())
}

/// Keys that come twice in an applied configuration, which made this of an object.
///
/// # Errors
/// 400 when the client wants them to be refused.
pub(super) fn applied(
    cx: &mut Cx<'_>,
    call: &Call,
    (wanted, twice): (Validation, Vec<String>),
    before: Option<&Value>,
    after: &mut Value,
) -> Result<(), Status> {
    schema::decode(decoded(call, type_of(call)), after, before);
    if wanted == Validation::Strict && !twice.is_empty() {
        let why = format!("error converting YAML to JSON: yaml: unmarshal errors:\n  {}", twice.join("\n  "));
        return Err(Status::bad_request(format!("error strict decoding YAML: {why}")));
    }
    tell(cx, wanted, twice).map_err(Status::bad_request)
}

/// Does with what was found as the client wants it.
fn tell(cx: &mut Cx<'_>, wanted: Validation, found: Vec<String>) -> Result<(), String> {
    if found.is_empty() || wanted == Validation::Ignore {
        return Ok(());
    }
    if wanted == Validation::Strict {
        return Err(format!("strict decoding error: {}", found.join(", ")));
    }
    for text in found {
        if !cx.warnings.contains(&text) {
            cx.warnings.push(text);
        }
    }
    Ok(())
}

/// The headers that tell the warnings.
pub(crate) fn warning_headers(warnings: &[String]) -> impl Iterator<Item = (String, String)> {
    let mut characters = 0;
    let fits = move |text: &&String| {
        characters += text.chars().count();
        characters <= MOST_CHARACTERS
    };
    warnings.iter().take_while(fits).map(|text| {
        let plain = text.chars().filter(|c| !c.is_control()).collect::<String>();
        ("Warning".to_owned(), format!("299 - \"{}\"", plain.replace('\\', "\\\\").replace('"', "\\\"")))
    })
}
